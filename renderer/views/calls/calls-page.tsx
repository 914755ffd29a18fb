import { type ReactNode, useState } from 'react';
import { useCall } from '../../api/calls.ts';
import { Card, Loaded, Page } from '../../components/page.tsx';
import { RestartNotice } from '../../components/restart.tsx';
import { useToast } from '../../components/toasts.tsx';
import { text } from '../../strings/text.ts';
import { CallsForm } from './calls-form.tsx';
import { Credentials } from './credentials.tsx';
import { type Proposal, TurnGuide } from './turn-guide.tsx';
import { TurnTest } from './turn-test.tsx';

/** The TURN servers that relay calls, and whether they do. */
export function CallsPage(): ReactNode {
  const read = useCall('GET /calls');
  const toast = useToast();
  const [proposal, setProposal] = useState<Proposal>();
  return (
    <Page title={text('calls.title')} lead={text('calls.lead')}>
      <RestartNotice />
      <Loaded read={read} lines={8}>
        {(calls) => (
          <>
            <Card title={text('calls.servers')} lead={text('calls.servers-lead')}>
              {/* Filled in anew when the settings are others; what is being typed stays otherwise. */}
              <CallsForm
                key={JSON.stringify([calls.settings, proposal])}
                settings={calls.settings}
                proposal={proposal}
                onSaved={() => setProposal(undefined)}
              />
            </Card>
            <TurnGuide
              isOpen={calls.settings.uris.length === 0}
              hasSecret={calls.settings.hasSharedSecret}
              onUse={(made) => {
                setProposal(made);
                toast.done(text('calls.guide-filled'));
              }}
            />
            <TurnTest calls={calls} />
            {calls.settings.uris.length > 0 && <Credentials />}
          </>
        )}
      </Loaded>
    </Page>
  );
}
