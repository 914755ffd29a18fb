import { type ReactNode, useState } from 'react';
import type { PersonDetails } from '../../../server/appliance/contract.ts';
import { Button } from '../../components/button.tsx';
import { useDeed } from '../../components/deed.tsx';
import { useConfirm } from '../../components/dialog.tsx';
import { Card } from '../../components/page.tsx';
import { useToast } from '../../components/toasts.tsx';
import { text } from '../../strings/text.ts';
import { CloseDialog } from './close-dialog.tsx';
import { PasswordDialog } from './password-dialog.tsx';
import { nameOf } from './who.tsx';

/** What whoever runs the server can do with an account. */
export function PersonRights({ person }: { person: PersonDetails }): ReactNode {
  const [open, setOpen] = useState<'password' | 'close'>();
  // Guests and those that bridges made sign in without a password, and run nothing.
  const isPerson = !person.isGuest && person.appservice === undefined;
  const close = (): void => setOpen(undefined);
  return (
    <Card title={text('person.rights')}>
      <ul className="danger-zone">
        {isPerson && (
          <Choice title={text('password.reset')} lead={text('person.password-text')}>
            <Button icon="key" onPress={() => setOpen('password')}>
              {text('password.reset')}
            </Button>
          </Choice>
        )}
        {isPerson && <Administrator person={person} />}
        <Lock person={person} />
        <Choice title={text('person.close')} lead={text('person.close-zone')}>
          <Button kind="danger" icon="trash" onPress={() => setOpen('close')}>
            {text('person.close')}
          </Button>
        </Choice>
      </ul>
      {open === 'password' && <PasswordDialog person={person} onClose={close} />}
      {open === 'close' && <CloseDialog person={person} onClose={close} />}
    </Card>
  );
}

function Choice({ title, lead, children }: { title: string; lead: string; children: ReactNode }): ReactNode {
  return (
    <li>
      <div>
        <h3>{title}</h3>
        <p className="muted">{lead}</p>
      </div>
      {children}
    </li>
  );
}

function Administrator({ person }: { person: PersonDetails }): ReactNode {
  const act = useDeed('PUT /people/{userId}/admin');
  const confirm = useConfirm();
  const toast = useToast();
  const name = nameOf(person);
  const { userId, isAdmin } = person;
  return (
    <Choice title={text('person.admin')} lead={text('person.admin-text')}>
      <Button
        isBusy={act.isRunning}
        onPress={async () => {
          const isMeant = await confirm({
            title: text(isAdmin ? 'person.admin-take-title' : 'person.admin-give-title', { name }),
            text: text(isAdmin ? 'person.admin-take-text' : 'person.admin-give-text', { name }),
            action: text(isAdmin ? 'person.admin-take' : 'person.admin-give'),
            isDangerous: isAdmin,
          });
          if (!isMeant || (await act.run({ params: { userId }, body: { admin: !isAdmin } })) === undefined) return;
          toast.done(text(isAdmin ? 'person.admin-taken' : 'person.admin-given', { name }));
        }}
      >
        {text(isAdmin ? 'person.admin-take' : 'person.admin-give')}
      </Button>
    </Choice>
  );
}

function Lock({ person }: { person: PersonDetails }): ReactNode {
  const act = useDeed('PUT /people/{userId}/locked');
  const confirm = useConfirm();
  const toast = useToast();
  const name = nameOf(person);
  const { userId, isLocked } = person;
  return (
    <Choice title={text(isLocked ? 'person.lock-of' : 'person.lock')} lead={text('person.lock-text')}>
      <Button
        icon="lock"
        isBusy={act.isRunning}
        onPress={async () => {
          const isMeant =
            isLocked ||
            (await confirm({
              title: text('person.lock-title', { name }),
              text: text('person.lock-question', { name }),
              action: text('person.lock'),
              isDangerous: true,
            }));
          if (!isMeant || (await act.run({ params: { userId }, body: { locked: !isLocked } })) === undefined) return;
          toast.done(text(isLocked ? 'person.unlocked' : 'person.locked', { name }));
        }}
      >
        {text(isLocked ? 'person.unlock' : 'person.lock')}
      </Button>
    </Choice>
  );
}
