import { type ReactNode, useState } from 'react';
import { useAct } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { Dialog } from '../../components/dialog.tsx';
import { Select } from '../../components/fields.tsx';
import { Notice, sayFailure } from '../../components/page.tsx';
import { text } from '../../strings/text.ts';

const SPANS = ['7', '30', '90', '365', '0'] as const;
type Span = (typeof SPANS)[number];

/** Removes what of other servers nobody has looked at for long. */
export function PurgeDialog({
  onClose,
  onStarted,
}: {
  onClose: () => void;
  onStarted: (jobId: string) => void;
}): ReactNode {
  const [span, setSpan] = useState<Span>('90');
  const purge = useAct('POST /media/purge-remote');
  return (
    <Dialog
      title={text('media.purge-title')}
      isOpen
      onClose={onClose}
      isBusy={purge.isRunning}
      onSubmit={async () => {
        if (purge.isRunning) return;
        const started = await purge.run({ body: { unusedForDays: Number(span) } });
        if (started !== undefined) onStarted(started.jobId);
      }}
      actions={
        <>
          <Button onPress={onClose}>{text('common.cancel')}</Button>
          <Button type="submit" kind="danger filled" isBusy={purge.isRunning}>
            {text('media.purge-start')}
          </Button>
        </>
      }
    >
      <p>{text('media.purge-text')}</p>
      {purge.failure !== undefined && (
        <Notice tone="bad" isLive>
          {sayFailure(purge.failure)}
        </Notice>
      )}
      <Select<Span>
        label={text('media.purge-which')}
        value={span}
        choices={SPANS.map((id) => ({ id, title: text(`media.purge-${id}`) }))}
        onChange={setSpan}
      />
    </Dialog>
  );
}
