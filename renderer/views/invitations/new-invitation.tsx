import { type ReactNode, useState } from 'react';
import { Refusal } from '../../api/api.ts';
import { useAct } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { Dialog } from '../../components/dialog.tsx';
import { Select, TextField } from '../../components/fields.tsx';
import { Notice, sayFailure } from '../../components/page.tsx';
import { useToast } from '../../components/toasts.tsx';
import { text } from '../../strings/text.ts';
import { Share } from './share.tsx';

const MOST_USES = 1000;
const DAY_MS = 86_400_000;
const LASTS = { day: DAY_MS, week: 7 * DAY_MS, month: 30 * DAY_MS, ever: undefined } as const;
type Lasts = keyof typeof LASTS;

/** Makes an invitation, and shows it to be passed on. */
export function NewInvitation({ onClose }: { onClose: () => void }): ReactNode {
  const [note, setNote] = useState('');
  const [count, setCount] = useState('1');
  const [lasts, setLasts] = useState<Lasts>('week');
  const make = useAct('POST /invitations');
  const toast = useToast();
  const uses = Number(count);
  const isCount = Number.isInteger(uses) && uses >= 1 && uses <= MOST_USES;
  const { failure, answer } = make;
  const faultAt = failure instanceof Refusal ? failure.field : undefined;
  if (answer !== undefined) {
    return (
      <Dialog
        title={text('invitations.ready')}
        isOpen
        onClose={onClose}
        actions={
          <Button kind="primary" autoFocus onPress={onClose}>
            {text('common.close')}
          </Button>
        }
      >
        <Share invitation={answer} />
      </Dialog>
    );
  }
  return (
    <Dialog
      title={text('invitations.new')}
      isOpen
      onClose={onClose}
      isBusy={make.isRunning}
      onSubmit={async () => {
        if (!isCount || make.isRunning) return;
        const span = LASTS[lasts];
        const made = await make.run({
          body: {
            ...(note.trim() === '' ? {} : { note: note.trim() }),
            uses,
            ...(span === undefined ? {} : { expiresAt: Date.now() + span }),
          },
        });
        if (made !== undefined) toast.done(text('invitations.made-done'));
      }}
      actions={
        <>
          <Button onPress={onClose}>{text('common.cancel')}</Button>
          <Button type="submit" kind="primary" isBusy={make.isRunning} isDisabled={!isCount}>
            {text('invitations.make')}
          </Button>
        </>
      }
    >
      {failure !== undefined && faultAt === undefined && (
        <Notice tone="bad" isLive>
          {sayFailure(failure)}
        </Notice>
      )}
      <TextField
        label={text('invitations.note')}
        help={text('invitations.note-help')}
        placeholder={text('invitations.note-example')}
        value={note}
        onChange={setNote}
        autoComplete="off"
        autoFocus
        problem={failure !== undefined && faultAt === 'note' ? sayFailure(failure) : undefined}
      />
      <TextField
        label={text('invitations.count')}
        type="number"
        min={1}
        max={MOST_USES}
        value={count}
        onChange={setCount}
        problem={
          isCount
            ? failure !== undefined && faultAt === 'uses'
              ? sayFailure(failure)
              : undefined
            : text('invitations.count-wrong')
        }
      />
      <Select<Lasts>
        label={text('invitations.lasts')}
        value={lasts}
        choices={[
          { id: 'day', title: text('invitations.lasts-day') },
          { id: 'week', title: text('invitations.lasts-week') },
          { id: 'month', title: text('invitations.lasts-month') },
          { id: 'ever', title: text('invitations.lasts-ever') },
        ]}
        onChange={setLasts}
        problem={failure !== undefined && faultAt === 'expiresAt' ? sayFailure(failure) : undefined}
      />
    </Dialog>
  );
}
