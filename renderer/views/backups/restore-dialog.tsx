import { type ReactNode, useState } from 'react';
import type { BackupFile } from '../../../server/appliance/contract.ts';
import { useAct, useCall } from '../../api/calls.ts';
import { pathChooser } from '../../api/shell.ts';
import { Button } from '../../components/button.tsx';
import { Dialog } from '../../components/dialog.tsx';
import { PasswordField, TextField } from '../../components/fields.tsx';
import { Notice } from '../../components/page.tsx';
import { text } from '../../strings/text.ts';
import { FailureNotice, problemAt } from './parts.tsx';

/** Puts a backup in the place of what is here, once the name of the server has been typed. */
export function RestoreDialog({
  backup,
  onClose,
  onStarted,
}: {
  /** Undefined: a file that is yet to be named. */
  backup: BackupFile | undefined;
  onClose: () => void;
  onStarted: (jobId: string) => void;
}): ReactNode {
  const [path, setPath] = useState(backup?.path ?? '');
  const [passphrase, setPassphrase] = useState('');
  const [typed, setTyped] = useState('');
  const restore = useAct('POST /restore');
  const word = useCall('GET /status').data?.serverName ?? text('restoring.word');
  const choose = pathChooser();
  const isReady = path.trim() !== '' && passphrase !== '' && typed.trim() === word;
  return (
    <Dialog
      title={text('restoring.title')}
      isOpen
      onClose={onClose}
      isBusy={restore.isRunning}
      onSubmit={async () => {
        if (!isReady || restore.isRunning) return;
        const started = await restore.run({ body: { path: path.trim(), passphrase, replace: true } });
        if (started !== undefined) onStarted(started.jobId);
      }}
      actions={
        <>
          <Button onPress={onClose}>{text('common.cancel')}</Button>
          <Button type="submit" kind="danger filled" isBusy={restore.isRunning} isDisabled={!isReady}>
            {text('restoring.start')}
          </Button>
        </>
      }
    >
      <Notice tone="warning">
        <p>{text('restoring.text')}</p>
        <p>{text('restoring.undone')}</p>
        <p>{text('restoring.kept')}</p>
      </Notice>
      <FailureNotice act={restore} fields={['path', 'passphrase']} />
      <TextField
        label={text('restore.path')}
        help={text('restore.path-help')}
        placeholder={text('restore.path-example')}
        value={path}
        onChange={setPath}
        isCode
        autoComplete="off"
        problem={problemAt(restore, 'path')}
      />
      {choose !== undefined && (
        <div>
          <Button
            size="small"
            icon="folder"
            onPress={async () => {
              const chosen = await choose('backup-file');
              if (chosen !== undefined) setPath(chosen);
            }}
          >
            {text('schedule.choose')}
          </Button>
        </div>
      )}
      <PasswordField
        label={text('backups.passphrase-of')}
        value={passphrase}
        onChange={setPassphrase}
        autoComplete="off"
        problem={problemAt(restore, 'passphrase')}
      />
      <TextField label={text('confirm.type', { word })} value={typed} onChange={setTyped} isCode autoComplete="off" />
    </Dialog>
  );
}
