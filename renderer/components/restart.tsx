import { type ReactNode, useSyncExternalStore } from 'react';
import { useCall } from '../api/calls.ts';
import { Store } from '../models/store.ts';
import { text } from '../strings/text.ts';
import { Button } from './button.tsx';
import { useConfirm } from './dialog.tsx';
import { useDeed } from './deed.tsx';
import { Notice } from './page.tsx';
import { useToast } from './toasts.tsx';

/** When the server that does not know of a change yet was started; undefined while none waits. */
const waiting = new Store<{ readonly startedAt: number | undefined } | undefined>(undefined);

/** Keeps in mind that something was changed which only counts after a restart. */
export function useRestartNote(): (changed: { readonly needsRestart: boolean }) => void {
  const startedAt = useCall('GET /status').data?.startedAt;
  return ({ needsRestart }) => {
    if (needsRestart) waiting.set({ startedAt });
  };
}

/** Says that a restart is due, on every page where something can have made it so, and does it. */
export function RestartNotice(): ReactNode {
  const since = useSyncExternalStore(waiting.subscribe, waiting.get);
  const status = useCall('GET /status').data;
  const startedAt = status?.startedAt;
  const restart = useDeed('POST /server/restart');
  const confirm = useConfirm();
  const toast = useToast();
  // One that was restarted from elsewhere knows of it as well.
  const isNoted = since !== undefined && startedAt === since.startedAt;
  // The server knows of what was changed in the file by hand, too.
  if (startedAt === undefined || (!isNoted && status?.restartDue !== true)) return null;
  return (
    <Notice
      tone="warning"
      title={text('restart.due')}
      isLive
      actions={
        <Button
          size="small"
          icon="refresh"
          isBusy={restart.isRunning}
          onPress={async () => {
            const question = {
              title: text('status.restart-title'),
              text: text('status.restart-text'),
              action: text('status.restart'),
            };
            if (!(await confirm(question)) || (await restart.run()) === undefined) return;
            waiting.set(undefined);
            toast.done(text('restart.done'));
          }}
        >
          {text('restart.now')}
        </Button>
      }
    >
      {text('restart.text')}
    </Notice>
  );
}
