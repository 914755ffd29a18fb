import { type ReactNode, useState } from 'react';
import type { PersonDetails } from '../../../server/appliance/contract.ts';
import { useAct } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { Dialog } from '../../components/dialog.tsx';
import { CheckboxField, TextField } from '../../components/fields.tsx';
import { Notice, sayFailure } from '../../components/page.tsx';
import { useToast } from '../../components/toasts.tsx';
import { text } from '../../strings/text.ts';
import { nameOf } from './who.tsx';

/** Closes an account for good, once its address has been typed. */
export function CloseDialog({ person, onClose }: { person: PersonDetails; onClose: () => void }): ReactNode {
  const { userId, rooms } = person;
  const [typed, setTyped] = useState('');
  const [erase, setErase] = useState(false);
  const act = useAct('POST /people/{userId}/deactivate');
  const toast = useToast();
  const name = nameOf(person);
  const isReady = typed.trim() === userId;
  return (
    <Dialog
      title={text('person.close-title', { name })}
      isOpen
      onClose={onClose}
      isBusy={act.isRunning}
      onSubmit={async () => {
        if (!isReady || act.isRunning) return;
        if ((await act.run({ params: { userId }, body: { erase } })) === undefined) return;
        toast.done(text('person.closed', { name }));
        onClose();
      }}
      actions={
        <>
          <Button onPress={onClose}>{text('common.cancel')}</Button>
          <Button type="submit" kind="danger filled" isBusy={act.isRunning} isDisabled={!isReady}>
            {text('person.close')}
          </Button>
        </>
      }
    >
      {act.failure !== undefined && (
        <Notice tone="bad" isLive>
          {sayFailure(act.failure)}
        </Notice>
      )}
      <p className="break">{text('person.close-text', { id: userId })}</p>
      <div>
        <p>{text('person.close-loses')}</p>
        <ul className="dots">
          <li>{text('person.close-loses-rooms', { count: rooms })}</li>
          <li>{text('person.close-loses-keys')}</li>
          <li>{text('person.close-loses-name')}</li>
        </ul>
      </div>
      <CheckboxField
        label={text('person.close-erase')}
        help={text('person.close-erase-help', { name })}
        value={erase}
        onChange={setErase}
      />
      <TextField
        label={text('confirm.type', { word: userId })}
        value={typed}
        onChange={setTyped}
        isCode
        autoComplete="off"
      />
    </Dialog>
  );
}
