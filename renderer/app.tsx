import { Activity, type ReactNode, useEffect, useRef, useState } from 'react';
import { I18nProvider } from 'react-aria-components';
import { Redirect, Router, useLocation } from 'wouter';
import { useHashLocation } from 'wouter/use-hash-location';
import { Unreachable } from './api/api.ts';
import { useCall } from './api/calls.ts';
import { HouseProvider, useConnection, useSession } from './api/house.tsx';
import { Spinner } from './components/button.tsx';
import { ConfirmProvider } from './components/dialog.tsx';
import { ErrorBoundary } from './components/error-boundary.tsx';
import { JobTray } from './components/jobs.tsx';
import { FailedState } from './components/page.tsx';
import { ToastProvider, Toasts } from './components/toasts.tsx';
import { locale, text } from './strings/text.ts';
import { Frame } from './views/frame/frame.tsx';
import { NoAnswer, Opening, Porch } from './views/porch/porch.tsx';
import { SetupPages } from './views/setup/setup-pages.tsx';
import { LinkPage } from './views/sign-in/link-page.tsx';
import { SignInPage } from './views/sign-in/sign-in-page.tsx';

/** The whole interface. */
export function App(): ReactNode {
  return (
    <I18nProvider locale={locale}>
      <Router hook={useHashLocation}>
        <HouseProvider>
          <ToastProvider>
            <LostBanner />
            <ErrorBoundary>
              <Door />
            </ErrorBoundary>
            <Corner />
          </ToastProvider>
        </HouseProvider>
      </Router>
    </I18nProvider>
  );
}

/** Who comes in where. */
function Door(): ReactNode {
  const { state } = useSession();
  const [location] = useLocation();
  const secret = /^\/link\/([\w-]+)$/.exec(location)?.[1];
  if (secret !== undefined) return <LinkPage key={secret} secret={secret} />;
  const isOpen = state.kind === 'open';
  // A session that ended by itself is begun anew where one was, with what had been typed.
  return (
    <>
      {(isOpen || state.ended) && (
        <Activity mode={isOpen ? 'visible' : 'hidden'}>
          <ConfirmProvider>
            <Inside />
          </ConfirmProvider>
        </Activity>
      )}
      {!isOpen && <SignInPage />}
    </>
  );
}

function Inside(): ReactNode {
  const setup = useCall('GET /setup', {}, { everyMs: 60_000 });
  const connection = useConnection();
  const [location] = useLocation();
  const wasSettingUp = useRef(false);
  if (setup.data === undefined) {
    if (setup.error instanceof Unreachable || (setup.error === null && connection.kind === 'lost')) return <NoAnswer />;
    if (setup.error === null) return <Opening />;
    return (
      <Porch size="centred">
        <FailedState failure={setup.error} onRetry={() => setup.refetch()} isRetrying={setup.isFetching} />
      </Porch>
    );
  }
  if (!setup.data.isDone) wasSettingUp.current = true;
  // What is done there is shown to its end, though the server counts as set up by then.
  const isSettingUp = location === '/setup/done' || (wasSettingUp.current && location.startsWith('/setup/'));
  if (!setup.data.isDone || isSettingUp) return <SetupPages setup={setup.data} />;
  return location.startsWith('/setup') ? <Redirect to="/status" replace /> : <Frame />;
}

/** How long (ms) an answer may be away before that is said: a restart is shorter. */
const PATIENCE_MS = 1_200;

function LostBanner(): ReactNode {
  const connection = useConnection();
  const { state } = useSession();
  const since = connection.kind === 'lost' && state.kind === 'open' ? connection.since : undefined;
  const [isShown, setShown] = useState(false);
  useEffect(() => {
    if (since === undefined) {
      setShown(false);
      return;
    }
    const timer = setTimeout(() => setShown(true), Math.max(0, since + PATIENCE_MS - Date.now()));
    return () => clearTimeout(timer);
  }, [since]);
  return (
    <div role="alert" className="banner-place">
      {isShown && (
        <div className="banner">
          <Spinner />
          {text('frame.lost')}
        </div>
      )}
    </div>
  );
}

function Corner(): ReactNode {
  const { state } = useSession();
  return (
    <div className="corner">
      <Toasts />
      {state.kind === 'open' && <JobTray />}
    </div>
  );
}
