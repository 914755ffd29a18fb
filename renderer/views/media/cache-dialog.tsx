import { type ReactNode, useState } from 'react';
import { useAct } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { Dialog } from '../../components/dialog.tsx';
import { sayFailure } from '../../components/page.tsx';
import { QuantityField } from '../../components/quantity-field.tsx';
import { useRestartNote } from '../../components/restart.tsx';
import { useToast } from '../../components/toasts.tsx';
import { joinQuantity, splitQuantity } from '../../models/quantity.ts';
import { text } from '../../strings/text.ts';

/** The option of the configuration that holds the limit. */
const OPTION = 'hearth.remote_media_cache_size';

/** How much of the disk media of other servers may take. */
export function CacheDialog({ cap, onClose }: { cap: number | undefined; onClose: () => void }): ReactNode {
  const [size, setSize] = useState(() => splitQuantity('bytes', cap ?? null));
  const save = useAct('PUT /settings');
  const note = useRestartNote();
  const toast = useToast();
  const value = joinQuantity('bytes', size);
  const problem =
    value === undefined ? text('quantity.wrong') : save.failure === undefined ? undefined : sayFailure(save.failure);
  return (
    <Dialog
      title={text('media.cache-title')}
      isOpen
      onClose={onClose}
      isBusy={save.isRunning}
      onSubmit={async () => {
        if (value === undefined || save.isRunning) return;
        const changed = await save.run({ body: { values: { [OPTION]: value } } });
        if (changed === undefined) return;
        note(changed);
        toast.done(text('media.cache-saved'));
        onClose();
      }}
      actions={
        <>
          <Button onPress={onClose}>{text('common.cancel')}</Button>
          <Button type="submit" kind="primary" isBusy={save.isRunning} isDisabled={value === undefined}>
            {text('common.save')}
          </Button>
        </>
      }
    >
      <p className="muted">{text('media.cache-text')}</p>
      <QuantityField
        label={text('media.cache-label')}
        help={text('media.cache-none-help')}
        kind="bytes"
        value={size}
        onChange={setSize}
        problem={problem}
      />
    </Dialog>
  );
}
