import { type ReactNode, useEffect, useState } from 'react';
import type { ClientSteps } from '../../../server/appliance/contract.ts';
import { Button, ButtonLink } from '../../components/button.tsx';
import { CopyField, QrCode } from '../../components/copy.tsx';
import { Tabs } from '../../components/tabs.tsx';
import { text } from '../../strings/text.ts';
import { PorchTitle } from '../porch/porch.tsx';
import { findDone } from './done-store.ts';

export function DonePage({ onEnd }: { onEnd: () => void }): ReactNode {
  const [done] = useState(() => findDone(sessionStorage));
  useEffect(() => {
    if (done === undefined) onEnd();
  }, [done, onEnd]);
  if (done === undefined) return null;
  return (
    <>
      <PorchTitle title={text('setup.done.title')} lead={text('setup.done.lead')} />
      <div className="connect">
        <QrCode value={done.clientUrl} label={text('setup.done.qr', { url: done.clientUrl })} />
        <div className="stack">
          <CopyField label={text('setup.done.your-id')} value={done.userId} />
          <CopyField label={text('setup.done.server')} value={done.clientUrl} />
        </div>
      </div>
      <section className="stack">
        <h2>{text('setup.done.apps')}</h2>
        <Tabs
          label={text('setup.done.apps')}
          tabs={done.clients.map((client) => ({
            id: client.name,
            title: client.name,
            content: <ClientGuide client={client} />,
          }))}
        />
      </section>
      <div className="setup-foot">
        <Button kind="primary" size="large" onPress={onEnd}>
          {text('setup.done.finish')}
        </Button>
      </div>
    </>
  );
}

export function ClientGuide({ client: { name, platforms, steps, link } }: { client: ClientSteps }): ReactNode {
  return (
    <div className="stack">
      <p className="muted small">{platforms.join(' · ')}</p>
      <ol className="numbered">
        {steps.map((step) => (
          <li key={step}>
            <span>{step}</span>
          </li>
        ))}
      </ol>
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
