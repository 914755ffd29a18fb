import { type ReactNode, useState } from 'react';
import { Form } from 'react-aria-components';
import type { Calls, CallSettings } from '../../../server/appliance/contract.ts';
import { Refusal } from '../../api/api.ts';
import { useAct } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { PasswordField, RadioCards, SwitchField, TextField } from '../../components/fields.tsx';
import { Notice, sayFailure } from '../../components/page.tsx';
import { QuantityField } from '../../components/quantity-field.tsx';
import { useRestartNote } from '../../components/restart.tsx';
import { useToast } from '../../components/toasts.tsx';
import { joinQuantity, splitQuantity } from '../../models/quantity.ts';
import { text } from '../../strings/text.ts';
import type { Proposal } from './turn-guide.tsx';

type Way = 'secret' | 'password';

const LEAST_SECONDS = 60;
const MOST_SECONDS = 30 * 86_400;
const FIELDS = ['uris', 'sharedSecret', 'username', 'password', 'lifetimeSeconds'];

function linesOf(typed: string): string[] {
  return typed
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

/** Where the TURN servers are, and how apps sign in to them. */
export function CallsForm({
  settings,
  proposal,
  onSaved,
}: {
  settings: Calls['settings'];
  /** Filled in instead of what is set. */
  proposal: Proposal | undefined;
  onSaved: () => void;
}): ReactNode {
  const [uris, setUris] = useState((proposal?.uris ?? settings.uris).join('\n'));
  const [way, setWay] = useState<Way>(
    proposal === undefined && !settings.hasSharedSecret && (settings.hasPassword || settings.username !== undefined)
      ? 'password'
      : 'secret',
  );
  const [secret, setSecret] = useState(proposal?.secret ?? '');
  const [username, setUsername] = useState(settings.username ?? '');
  const [password, setPassword] = useState('');
  const [lifetime, setLifetime] = useState(() => splitQuantity('duration', settings.lifetimeSeconds * 1000));
  const [allowGuests, setAllowGuests] = useState(settings.allowGuests);
  const save = useAct('PUT /calls');
  const note = useRestartNote();
  const toast = useToast();
  const { failure } = save;
  const faultAt = failure instanceof Refusal ? failure.field : undefined;
  const problemOf = (field: string): string | undefined =>
    failure !== undefined && faultAt === field ? sayFailure(failure) : undefined;
  const seconds = Math.round((joinQuantity('duration', lifetime) ?? 0) / 1000);
  const isLifetime = seconds >= LEAST_SECONDS && seconds <= MOST_SECONDS;
  const submit = async (): Promise<void> => {
    if (!isLifetime || save.isRunning) return;
    const body: CallSettings = {
      uris: linesOf(uris),
      // What belongs to the other way goes; a secret that is not typed anew stays.
      ...(way === 'password' ? { sharedSecret: '', username: username.trim() } : { username: '', password: '' }),
      ...(way === 'secret' && secret !== '' ? { sharedSecret: secret } : {}),
      ...(way === 'password' && password !== '' ? { password } : {}),
      lifetimeSeconds: seconds,
      allowGuests,
    };
    const changed = await save.run({ body });
    if (changed === undefined) return;
    setSecret('');
    setPassword('');
    note(changed);
    onSaved();
    toast.done(text('calls.saved'));
  };
  return (
    <Form
      className="stack wide"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      {settings.uris.length === 0 && (
        <Notice tone="warning" title={text('calls.none')}>
          {text('calls.none-text')}
        </Notice>
      )}
      {failure !== undefined && !FIELDS.includes(faultAt ?? '') && (
        <Notice tone="bad" isLive>
          {sayFailure(failure)}
        </Notice>
      )}
      <TextField
        label={text('calls.uris')}
        help={text('calls.uris-help')}
        placeholder={text('calls.uris-example')}
        value={uris}
        onChange={setUris}
        rows={3}
        isCode
        problem={problemOf('uris')}
      />
      <RadioCards<Way>
        label={text('calls.way')}
        value={way}
        onChange={setWay}
        choices={[
          { id: 'secret', title: text('calls.way-secret'), text: text('calls.way-secret-text'), icon: 'key' },
          { id: 'password', title: text('calls.way-password'), text: text('calls.way-password-text'), icon: 'person' },
        ]}
      />
      {way === 'secret' ? (
        <PasswordField
          label={text('calls.secret')}
          help={text(settings.hasSharedSecret ? 'calls.is-set' : 'calls.secret-help')}
          value={secret}
          onChange={setSecret}
          autoComplete="off"
          problem={problemOf('sharedSecret')}
        />
      ) : (
        <>
          <TextField
            label={text('calls.username')}
            value={username}
            onChange={setUsername}
            isCode
            autoComplete="off"
            problem={problemOf('username') ?? problemOf('sharedSecret')}
          />
          <PasswordField
            label={text('calls.password')}
            {...(settings.hasPassword ? { help: text('calls.is-set') } : {})}
            value={password}
            onChange={setPassword}
            autoComplete="off"
            problem={problemOf('password')}
          />
        </>
      )}
      {way === 'secret' && (
        <QuantityField
          label={text('calls.lifetime')}
          kind="duration"
          value={lifetime}
          onChange={setLifetime}
          problem={isLifetime ? problemOf('lifetimeSeconds') : text('calls.lifetime-wrong')}
        />
      )}
      <SwitchField
        label={text('calls.guests')}
        help={text('calls.guests-help')}
        value={allowGuests}
        onChange={setAllowGuests}
      />
      <div className="row">
        <Button type="submit" kind="primary" isBusy={save.isRunning} isDisabled={!isLifetime}>
          {text('common.save')}
        </Button>
      </div>
    </Form>
  );
}
