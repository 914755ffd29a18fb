import { type ReactNode, useState } from 'react';
import type { Person } from '../../../server/appliance/contract.ts';
import { Refusal } from '../../api/api.ts';
import { useAct } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { CopyField } from '../../components/copy.tsx';
import { Dialog } from '../../components/dialog.tsx';
import { CheckboxField, PasswordField } from '../../components/fields.tsx';
import { Notice, sayFailure } from '../../components/page.tsx';
import { StrengthMeter } from '../../components/strength-meter.tsx';
import { useToast } from '../../components/toasts.tsx';
import { makeUpPassword } from '../../models/passwords.ts';
import { text } from '../../strings/text.ts';
import { nameOf } from './who.tsx';

/** Gives somebody a new password, and shows it once so that it can be told. */
export function PasswordDialog({ person, onClose }: { person: Person; onClose: () => void }): ReactNode {
  const [password, setPassword] = useState('');
  const [signOut, setSignOut] = useState(false);
  const act = useAct('POST /people/{userId}/password');
  const toast = useToast();
  const name = nameOf(person);
  const { failure } = act;
  const isOfPassword =
    failure instanceof Refusal &&
    (failure.field === 'password' || ['M_WEAK_PASSWORD', 'M_INVALID_PARAM'].includes(failure.errcode));
  if (act.answer !== undefined) {
    return (
      <Dialog
        title={text('password.done-title')}
        isOpen
        onClose={onClose}
        actions={
          <Button kind="primary" autoFocus onPress={onClose}>
            {text('common.close')}
          </Button>
        }
      >
        <p>{text('password.tell', { name })}</p>
        <CopyField label={text('password.new')} value={password} />
      </Dialog>
    );
  }
  return (
    <Dialog
      title={text('password.title', { name })}
      isOpen
      onClose={onClose}
      isBusy={act.isRunning}
      onSubmit={async () => {
        if (password === '' || act.isRunning) return;
        const answer = await act.run({ params: { userId: person.userId }, body: { password, signOut } });
        if (answer !== undefined) toast.done(text('password.done', { name }));
      }}
      actions={
        <>
          <Button onPress={onClose}>{text('common.cancel')}</Button>
          <Button type="submit" kind="primary" isBusy={act.isRunning} isDisabled={password === ''}>
            {text('password.set')}
          </Button>
        </>
      }
    >
      <p className="muted">{text('password.lead')}</p>
      {failure !== undefined && !isOfPassword && (
        <Notice tone="bad" isLive>
          {sayFailure(failure)}
        </Notice>
      )}
      <PasswordField
        label={text('password.new')}
        value={password}
        onChange={setPassword}
        autoComplete="new-password"
        autoFocus
        problem={failure !== undefined && isOfPassword ? sayFailure(failure) : undefined}
      />
      {password !== password.trim() && <p className="small tone-warning">{text('password.spaces')}</p>}
      <StrengthMeter password={password} own={[name, person.userId]} />
      <div>
        <Button size="small" icon="key" onPress={() => setPassword(makeUpPassword())}>
          {text('password.make-up')}
        </Button>
      </div>
      <CheckboxField
        label={text('password.sign-out')}
        help={text('password.sign-out-help')}
        value={signOut}
        onChange={setSignOut}
      />
    </Dialog>
  );
}
