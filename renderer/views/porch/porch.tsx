import type { ReactNode } from 'react';
import { type Shell, useShell } from '../../api/shell.ts';
import type { ServerState } from '../../../main/contract.ts';
import { Icon, Logo } from '../../components/icon.tsx';
import { Button, Spinner } from '../../components/button.tsx';
import { Details, usePageTitle } from '../../components/page.tsx';
import { text } from '../../strings/text.ts';
import { ThemeSwitch } from '../frame/theme-switch.tsx';

/** A page before one is inside: in the middle, without navigation. */
export function Porch({
  size = 'wide',
  before,
  children,
}: {
  size?: 'wide' | 'narrow' | 'centred';
  before?: ReactNode;
  children: ReactNode;
}): ReactNode {
  return (
    <div className="porch">
      <header className="porch-head">
        <div className="brand">
          <Logo />
          <span className="brand-name">{text('app.name')}</span>
        </div>
        <ThemeSwitch />
      </header>
      <main className={`porch-body ${size === 'wide' ? '' : size === 'narrow' ? 'narrow' : 'narrow centred'}`}>
        {before}
        {children}
      </main>
    </div>
  );
}

export function PorchTitle({ title, lead }: { title: string; lead?: ReactNode }): ReactNode {
  const heading = usePageTitle(title);
  return (
    <header>
      <h1 ref={heading} tabIndex={-1}>
        {title}
      </h1>
      {lead !== undefined && <p className="muted">{lead}</p>}
    </header>
  );
}

/** There is nothing to show, since Hearth does not answer. */
export function NoAnswer(): ReactNode {
  const shell = useShell();
  if (shell?.info.server.kind === 'failed') return <GivenUp shell={shell} server={shell.info.server} />;
  return (
    <Porch size="centred">
      <div className="blank" role="alert">
        <Icon name="server" />
        <PorchTitle title={text('offline.title')} />
        <p>{text('offline.text')}</p>
        <p className="row">
          <Spinner /> {text('offline.waiting')}
        </p>
      </div>
    </Porch>
  );
}

/** The first moment. */
export function Opening(): ReactNode {
  return (
    <Porch size="centred">
      <p className="row" style={{ justifyContent: 'center' }} role="status">
        <Spinner /> {text('starting.title')}
      </p>
    </Porch>
  );
}

/** The shell has started the server's program again and again, and it would not stay. */
function GivenUp({ shell, server }: { shell: Shell; server: Extract<ServerState, { kind: 'failed' }> }): ReactNode {
  return (
    <Porch size="centred">
      <div className="blank" role="alert">
        <Icon name="warning" />
        <PorchTitle title={text('offline.given-up')} />
        <p className="break">{server.message}</p>
        <Button kind="primary" icon="refresh" onPress={shell.restartServer}>
          {text('common.try-again')}
        </Button>
      </div>
      {server.log.length > 0 && (
        <Details summary={text('offline.last-words')}>
          <pre className="log-detail">{server.log.join('\n')}</pre>
        </Details>
      )}
    </Porch>
  );
}
