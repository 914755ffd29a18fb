import { type ReactNode, useState } from 'react';
import type { Registration, RegistrationMode } from '../../../server/appliance/contract.ts';
import { useCall } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { useDeed } from '../../components/deed.tsx';
import { useConfirm } from '../../components/dialog.tsx';
import { RadioCards } from '../../components/fields.tsx';
import { Card, Loaded, Notice, Page } from '../../components/page.tsx';
import { RestartNotice, useRestartNote } from '../../components/restart.tsx';
import { useToast } from '../../components/toasts.tsx';
import { text } from '../../strings/text.ts';
import { InvitationList } from '../invitations/invitation-list.tsx';
import { NewInvitation } from '../invitations/new-invitation.tsx';

/** Who may make an account. */
export function RegistrationPage(): ReactNode {
  const read = useCall('GET /registration');
  const [isMaking, setMaking] = useState(false);
  return (
    <Page title={text('registration.title')} lead={text('registration.lead')}>
      <RestartNotice />
      <Card title={text('registration.mode')}>
        <Loaded read={read} lines={6}>
          {(registration) => <Modes key={registration.mode} registration={registration} />}
        </Loaded>
      </Card>
      <Card
        title={text('registration.tokens')}
        lead={text('registration.tokens-lead')}
        actions={
          <Button icon="plus" onPress={() => setMaking(true)}>
            {text('invitations.new')}
          </Button>
        }
      >
        <InvitationList onNew={() => setMaking(true)} />
      </Card>
      {isMaking && <NewInvitation onClose={() => setMaking(false)} />}
    </Page>
  );
}

const ICONS = { closed: 'lock', invitation: 'ticket', open: 'globe' } as const;
const MODES = ['closed', 'invitation', 'open'] as const satisfies readonly RegistrationMode[];

function Modes({ registration }: { registration: Registration }): ReactNode {
  const { mode, until, openIsSafe, reasons } = registration;
  const [wanted, setWanted] = useState<RegistrationMode>(mode);
  const save = useDeed('PUT /registration');
  const confirm = useConfirm();
  const note = useRestartNote();
  const toast = useToast();
  const isRisky = wanted === 'open' && !openIsSafe;
  const press = async (): Promise<void> => {
    const isMeant =
      !isRisky ||
      (await confirm({
        title: text('registration.open-title'),
        text: <Reasons reasons={reasons} />,
        action: text('registration.open-action'),
        isDangerous: true,
      }));
    if (!isMeant) return;
    const changed = await save.run({ body: { mode: wanted } });
    if (changed === undefined) return;
    note(changed);
    toast.done(text(changed.needsRestart ? 'registration.saved' : 'registration.saved-now'));
  };
  return (
    <div className="stack">
      <RadioCards<RegistrationMode>
        label={text('registration.mode')}
        isLabelHidden
        value={wanted}
        onChange={setWanted}
        isDisabled={save.isRunning}
        choices={MODES.map((id) => ({
          id,
          title: text(`registration.${id}`),
          text: text(`registration.${id}-text`),
          icon: ICONS[id],
        }))}
      />
      {isRisky && (
        <Notice
          tone="bad"
          title={text(mode === 'open' ? 'registration.open-is' : 'registration.open-warning')}
          isLive={mode !== 'open'}
        >
          <Reasons reasons={reasons} />
        </Notice>
      )}
      {until !== undefined && (
        <Notice title={text('registration.until')} isLive>
          {text('registration.until-text', { mode: text(`registration.${until}`) })}
        </Notice>
      )}
      <p className="muted small">{text('registration.when')}</p>
      <div className="row">
        <Button
          kind="primary"
          isBusy={save.isRunning}
          isDisabled={wanted === mode && until === undefined}
          onPress={press}
        >
          {text('common.save')}
        </Button>
      </div>
    </div>
  );
}

function Reasons({ reasons }: { reasons: readonly string[] }): ReactNode {
  return (
    <ul className="dots">
      {reasons.map((reason) => (
        <li key={reason}>{reason}</li>
      ))}
    </ul>
  );
}
