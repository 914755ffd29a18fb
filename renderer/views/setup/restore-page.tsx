import { type ReactNode, useState } from 'react';
import { Refusal } from '../../api/api.ts';
import type { RestoreResult } from '../../../server/appliance/contract.ts';
import { useAct, useJob, useWatch } from '../../api/calls.ts';
import { pathChooser } from '../../api/shell.ts';
import { Button, ButtonLink } from '../../components/button.tsx';
import { PasswordField, TextField } from '../../components/fields.tsx';
import { JobNotice } from '../../components/jobs.tsx';
import { Notice, sayFailure } from '../../components/page.tsx';
import { formatDay } from '../../models/format.ts';
import { text } from '../../strings/text.ts';
import { Porch, PorchTitle } from '../porch/porch.tsx';
import { StepForm } from './step-form.tsx';

/** A whole server back from a file, in place of making a new one. */
export function RestorePage(): ReactNode {
  const [path, setPath] = useState('');
  const [passphrase, setPassphrase] = useState('');
  const restore = useAct('POST /restore');
  const job = useJob(restore.answer?.jobId);
  useWatch(restore.answer?.jobId, 'every-end');
  const choose = pathChooser();
  const { failure } = restore;
  const faultAt = failure instanceof Refusal ? failure.field : undefined;
  const isReady = path.trim() !== '' && passphrase !== '';
  const isRunning = restore.isRunning || job?.state === 'running';
  return (
    <Porch>
      <div className="porch-card">
        <PorchTitle title={text('restore.title')} lead={text('restore.lead')} />
        {job?.state === 'done' ? (
          <>
            <Restored result={job.result as RestoreResult} />
            <ButtonLink kind="primary" size="large" href="#/status">
              {text('restore.go-on')}
            </ButtonLink>
          </>
        ) : (
          <StepForm
            onSubmit={() => {
              if (isReady && !isRunning)
                return restore.run({ body: { path: path.trim(), passphrase, replace: false } });
            }}
            foot={
              <>
                <ButtonLink kind="quiet" size="large" icon="arrow-left" href="#/setup/where">
                  {text('common.back')}
                </ButtonLink>
                <Button type="submit" kind="primary" size="large" isBusy={isRunning} isDisabled={!isReady}>
                  {text('restore.start')}
                </Button>
              </>
            }
          >
            {failure !== undefined && faultAt === undefined && (
              <Notice tone="bad" isLive>
                {sayFailure(failure)}
              </Notice>
            )}
            <JobNotice jobId={restore.answer?.jobId} />
            <TextField
              label={text('restore.path')}
              help={text('restore.path-help')}
              placeholder={text('restore.path-example')}
              value={path}
              onChange={setPath}
              problem={faultAt === 'path' && failure !== undefined ? sayFailure(failure) : undefined}
              isCode
              isRequired
              autoComplete="off"
            />
            {choose !== undefined && (
              <div>
                <Button
                  icon="folder"
                  onPress={async () => {
                    const chosen = await choose('backup-file');
                    if (chosen !== undefined) setPath(chosen);
                  }}
                >
                  {text('restore.choose')}
                </Button>
              </div>
            )}
            <PasswordField
              label={text('restore.passphrase')}
              value={passphrase}
              onChange={setPassphrase}
              problem={faultAt === 'passphrase' && failure !== undefined ? sayFailure(failure) : undefined}
              autoComplete="off"
              isRequired
            />
          </StepForm>
        )}
      </div>
    </Porch>
  );
}

function Restored({ result: { serverName, madeAt, kept, hasMedia, isRunning } }: { result: RestoreResult }): ReactNode {
  return (
    <Notice tone={isRunning ? 'good' : 'warning'} title={text('restore.done')} isLive>
      <p>{text('restore.done-text', { name: serverName, day: formatDay(madeAt) })}</p>
      {!isRunning && <p>{text('restore.not-running')}</p>}
      {!hasMedia && <p>{text('restore.no-media')}</p>}
      <p>{text('restore.undone')}</p>
      <p>{text('restore.schedule')}</p>
      {kept !== undefined && <p className="break">{text('restore.kept', { folder: kept })}</p>}
    </Notice>
  );
}
