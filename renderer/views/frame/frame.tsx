import { Fragment, type ReactNode, useState } from 'react';
import { Dialog as AriaDialog, Modal, ModalOverlay } from 'react-aria-components';
import { useLocation } from 'wouter';
import { isInShell } from '../../api/bridge.ts';
import { useCall } from '../../api/calls.ts';
import { useSession } from '../../api/house.tsx';
import { ButtonLink, IconButton } from '../../components/button.tsx';
import { ErrorBoundary } from '../../components/error-boundary.tsx';
import { Icon, Logo } from '../../components/icon.tsx';
import { EmptyState, Page } from '../../components/page.tsx';
import { toneOf } from '../../models/status-line.ts';
import { text } from '../../strings/text.ts';
import { findPage, type PageEntry, pages } from '../pages.ts';
import { pageViews } from '../page-views.ts';
import { ThemeSwitch } from './theme-switch.tsx';

/** How many pages are at hand in the bar of a phone, besides "More". */
const AT_HAND = 4;

/** All that is around a page, and the page that the address names. */
export function Frame(): ReactNode {
  const [location] = useLocation();
  const page = findPage(location === '/' ? 'status' : location);
  const View = page === undefined ? NoSuchPage : pageViews[page.id];
  return (
    <div className="frame">
      <a
        className="skip"
        href="#content"
        onClick={(event) => {
          // The address names the page: it is not to be replaced by a place within it.
          event.preventDefault();
          document.getElementById('content')?.focus();
        }}
      >
        {text('frame.skip')}
      </a>
      <Side current={page} />
      <main className="main" id="content" tabIndex={-1}>
        <ErrorBoundary key={page?.id ?? location} of={location}>
          <View />
        </ErrorBoundary>
      </main>
      <BottomBar current={page} />
    </div>
  );
}

function NoSuchPage(): ReactNode {
  return (
    <Page title={text('frame.not-found')}>
      <EmptyState
        icon="search"
        title={text('frame.not-found')}
        action={<ButtonLink href="#/status">{text('frame.to-status')}</ButtonLink>}
      >
        {text('frame.not-found-text')}
      </EmptyState>
    </Page>
  );
}

function Side({ current }: { current: PageEntry | undefined }): ReactNode {
  const status = useCall('GET /status').data;
  return (
    <div className="side">
      <div className="side-stays">
        <header className="brand">
          <Logo />
          <div className="grow">
            <p className="brand-name">{text('app.name')}</p>
            {status?.serverName !== undefined && <p className="brand-server">{status.serverName}</p>}
          </div>
        </header>
        <nav aria-label={text('frame.navigation')}>
          <NavLists current={current} />
        </nav>
        <footer className="side-foot">
          <ThemeSwitch />
          <SignOut />
        </footer>
      </div>
    </div>
  );
}

function SignOut(): ReactNode {
  const { end } = useSession();
  return !isInShell() && <IconButton icon="leave" label={text('frame.sign-out')} onPress={end} />;
}

const GROUPS: readonly PageEntry['group'][] = ['group.server', 'group.people', 'group.way', 'group.care'];

function NavLists({ current, onGo }: { current: PageEntry | undefined; onGo?: () => void }): ReactNode {
  return GROUPS.map((group) => (
    <div key={group} className="nav-group">
      <p className="nav-title">{text(group)}</p>
      <ul className="nav-list">
        {pages
          .filter((page) => page.group === group)
          .map((page) => (
            <li key={page.id}>
              <a
                className="nav-link"
                href={`#/${page.id}`}
                {...(page === current ? { 'aria-current': 'page' } : {})}
                {...(onGo === undefined ? {} : { onClick: onGo })}
              >
                <Icon name={page.icon} />
                {text(page.title)}
                {page.id === 'status' && <StatusDot />}
              </a>
            </li>
          ))}
      </ul>
    </div>
  ));
}

function StatusDot(): ReactNode {
  const status = useCall('GET /status').data;
  if (status === undefined) return null;
  return (
    <Fragment>
      <span className="nav-dot" style={{ background: `var(--${toneOf(status.line)})` }} />
      <span className="unseen">{text(`line.${status.line}`)}</span>
    </Fragment>
  );
}

function BottomBar({ current }: { current: PageEntry | undefined }): ReactNode {
  const [isOpen, setOpen] = useState(false);
  const close = (): void => setOpen(false);
  const isElsewhere = pages.findIndex(({ id }) => id === current?.id) >= AT_HAND;
  return (
    <nav className="bottom-bar" aria-label={text('frame.navigation')}>
      {pages.slice(0, AT_HAND).map((page) => (
        <a
          key={page.id}
          className="bottom-item"
          href={`#/${page.id}`}
          {...(page === current ? { 'aria-current': 'page' } : {})}
        >
          <Icon name={page.icon} />
          <span className="bottom-label">{text(page.title)}</span>
        </a>
      ))}
      <button
        type="button"
        className="bottom-item"
        aria-haspopup="dialog"
        onClick={() => setOpen(true)}
        {...(isElsewhere ? { 'aria-current': 'page' } : {})}
      >
        <Icon name="menu" />
        <span className="bottom-label">{text('frame.more')}</span>
      </button>
      <ModalOverlay className="sheet-overlay" isOpen={isOpen} onOpenChange={setOpen} isDismissable>
        <Modal className="sheet">
          <AriaDialog aria-label={text('frame.more-pages')} style={{ outline: 'none' }} className="stack">
            <NavLists current={current} onGo={close} />
            <div className="row apart">
              <ThemeSwitch />
              <SignOut />
            </div>
          </AriaDialog>
        </Modal>
      </ModalOverlay>
    </nav>
  );
}
