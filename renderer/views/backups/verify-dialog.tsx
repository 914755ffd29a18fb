import { type ReactNode, useState } from 'react';
import type { BackupFile } from '../../../server/appliance/contract.ts';
import { useAct } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { Dialog } from '../../components/dialog.tsx';
import { PasswordField } from '../../components/fields.tsx';
import { formatMoment } from '../../models/format.ts';
import { text } from '../../strings/text.ts';
import { FailureNotice, problemAt } from './parts.tsx';

/** Has a backup read whole, to see that it can be. */
export function VerifyDialog({
  backup: { name, madeAt },
  onClose,
  onStarted,
}: {
  backup: BackupFile;
  onClose: () => void;
  onStarted: (jobId: string) => void;
}): ReactNode {
  const [passphrase, setPassphrase] = useState('');
  const verify = useAct('POST /backups/{name}/verify');
  return (
    <Dialog
      title={text('backups.verify-title', { when: formatMoment(madeAt) })}
      isOpen
      onClose={onClose}
      isBusy={verify.isRunning}
      onSubmit={async () => {
        if (passphrase === '' || verify.isRunning) return;
        const started = await verify.run({ params: { name }, body: { passphrase } });
        if (started !== undefined) onStarted(started.jobId);
      }}
      actions={
        <>
          <Button onPress={onClose}>{text('common.cancel')}</Button>
          <Button type="submit" kind="primary" isBusy={verify.isRunning} isDisabled={passphrase === ''}>
            {text('backups.verify-start')}
          </Button>
        </>
      }
    >
      <p className="muted">{text('backups.verify-text')}</p>
      <FailureNotice act={verify} fields={['passphrase']} />
      <PasswordField
        label={text('backups.passphrase-of')}
        value={passphrase}
        onChange={setPassphrase}
        autoComplete="off"
        autoFocus
        problem={problemAt(verify, 'passphrase')}
      />
    </Dialog>
  );
}
