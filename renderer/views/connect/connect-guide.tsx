import type { ReactNode } from 'react';
import type { ClientSteps, Connect, Reason } from '../../../server/appliance/contract.ts';
import { ButtonLink, TextLink } from '../../components/button.tsx';
import { CopyField, QrCode } from '../../components/copy.tsx';
import { NextStep } from '../../components/findings.tsx';
import { Tabs } from '../../components/tabs.tsx';
import { text } from '../../strings/text.ts';
import { findPage } from '../pages.ts';

/** How a device is connected: the address, a code for phones, what may be in the way, and the steps in each app. */
export function ConnectGuide({ connect }: { connect: Connect }): ReactNode {
  const { serverName, clientUrl, userId, qr, notes, clients } = connect;
  return (
    <div className="stack wide">
      <div className="connect">
        <QrCode value={qr.value} label={text('setup.done.qr', { url: qr.value })} />
        <div className="stack">
          {userId !== undefined && <CopyField label={text('setup.done.your-id')} value={userId} />}
          <CopyField label={text('status.address')} value={clientUrl} />
          {userId === undefined && <CopyField label={text('status.server-name')} value={serverName} />}
          <p className="muted small">{qr.about}</p>
        </div>
      </div>
      {notes.length > 0 && (
        <ul className="notes">
          {notes.map((note) => (
            <Note key={note.kind} note={note} />
          ))}
        </ul>
      )}
      <section className="stack">
        <h2>{text('setup.done.apps')}</h2>
        <Tabs
          label={text('setup.done.apps')}
          tabs={clients.map((client) => ({
            id: client.name,
            title: client.name,
            content: <ClientGuide client={client} />,
          }))}
        />
      </section>
    </div>
  );
}

function Note({ note: { text: sentence, nextStep, page: name } }: { note: Reason }): ReactNode {
  const page = findPage(name);
  return (
    <li>
      <p className="break">{sentence}</p>
      {nextStep !== undefined && (
        <NextStep>
          {nextStep}
          {page !== undefined && (
            <>
              {' '}
              <TextLink href={`#/${page.id}`}>{text('status.see', { page: text(page.title) })}</TextLink>
            </>
          )}
        </NextStep>
      )}
    </li>
  );
}

function ClientGuide({ client: { name, platforms, steps, link } }: { client: ClientSteps }): ReactNode {
  return (
    <div className="stack">
      <p className="muted small">{platforms.join(' · ')}</p>
      {steps.length === 1 ? (
        <p>{steps[0]}</p>
      ) : (
        <ol className="numbered">
          {steps.map((step) => (
            <li key={step}>
              <span>{step}</span>
            </li>
          ))}
        </ol>
      )}
      {link !== undefined && (
        <div>
          <ButtonLink href={link} size="small" icon="external">
            {text('setup.done.open', { name })}
          </ButtonLink>
        </div>
      )}
    </div>
  );
}
