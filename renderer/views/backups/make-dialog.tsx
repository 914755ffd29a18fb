import { type ReactNode, useState } from 'react';
import type { Backups } from '../../../server/appliance/contract.ts';
import { useAct } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { Dialog } from '../../components/dialog.tsx';
import { CheckboxField, PasswordField } from '../../components/fields.tsx';
import { StrengthMeter } from '../../components/strength-meter.tsx';
import { formatBytes } from '../../models/format.ts';
import { text } from '../../strings/text.ts';
import { FailureNotice, passphraseProblem, problemAt } from './parts.tsx';

/** Begins a backup. */
export function MakeDialog({
  backups: { schedule, freeBytes, estimateBytes, directory, problem },
  onClose,
  onStarted,
}: {
  backups: Backups;
  onClose: () => void;
  onStarted: (jobId: string) => void;
}): ReactNode {
  const [passphrase, setPassphrase] = useState('');
  const [again, setAgain] = useState('');
  const [media, setMedia] = useState(schedule.media);
  const [isTried, setTried] = useState(false);
  const make = useAct('POST /backups');
  const isKept = schedule.hasPassphrase && passphrase === '';
  const { first, second } = isKept ? {} : passphraseProblem(passphrase, again);
  return (
    <Dialog
      title={text('backups.make-title')}
      isOpen
      onClose={onClose}
      isBusy={make.isRunning}
      onSubmit={async () => {
        setTried(true);
        if (first !== undefined || second !== undefined || make.isRunning) return;
        const started = await make.run({ body: { media, ...(isKept ? {} : { passphrase }) } });
        if (started !== undefined) onStarted(started.jobId);
      }}
      actions={
        <>
          <Button onPress={onClose}>{text('common.cancel')}</Button>
          <Button type="submit" kind="primary" isBusy={make.isRunning}>
            {text('backups.make-start')}
          </Button>
        </>
      }
    >
      {estimateBytes > 0 && problem === undefined && (
        <p className="muted break">
          {text('backups.make-text', {
            need: formatBytes(estimateBytes),
            free: formatBytes(freeBytes),
            where: directory,
          })}
        </p>
      )}
      <FailureNotice act={make} fields={['passphrase']} />
      <PasswordField
        label={text('backups.passphrase')}
        help={text(schedule.hasPassphrase ? 'backups.passphrase-kept' : 'backups.passphrase-new')}
        value={passphrase}
        onChange={setPassphrase}
        autoComplete="new-password"
        autoFocus
        problem={problemAt(make, 'passphrase') ?? (isTried ? first : undefined)}
      />
      {!isKept && (
        <>
          <StrengthMeter password={passphrase} />
          <PasswordField
            label={text('backups.passphrase-again')}
            value={again}
            onChange={setAgain}
            autoComplete="new-password"
            problem={isTried ? second : undefined}
          />
        </>
      )}
      <CheckboxField
        label={text('backups.media')}
        help={text('backups.media-help')}
        value={media}
        onChange={setMedia}
      />
    </Dialog>
  );
}
