import type { ReactNode } from 'react';
import type { Calls } from '../../../server/appliance/contract.ts';
import { useAct, useJob, useJobs, useWatch } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { JobProgress } from '../../components/jobs.tsx';
import { Card, EmptyState, Notice, sayFailure } from '../../components/page.tsx';
import { text } from '../../strings/text.ts';
import { Report } from '../reach/doctor.tsx';

/** Whether the TURN servers really relay. */
export function TurnTest({ calls: { settings, last } }: { calls: Calls }): ReactNode {
  const start = useAct('POST /calls/test');
  const started = useJob(start.answer?.jobId);
  useWatch(start.answer?.jobId, 'every-end');
  const jobs = useJobs();
  const running =
    started?.state === 'running' ? started : jobs.find(({ kind, state }) => kind === 'turn' && state === 'running');
  const hasServer = settings.uris.length > 0;
  return (
    <Card
      title={text('calls.test')}
      lead={text('calls.test-lead')}
      actions={
        <Button
          icon="stethoscope"
          isBusy={start.isRunning || running !== undefined}
          isDisabled={!hasServer}
          onPress={() => start.run()}
        >
          {text(last === undefined ? 'calls.test-run' : 'calls.test-again')}
        </Button>
      }
    >
      {start.failure !== undefined && (
        <Notice tone="bad" isLive>
          {sayFailure(start.failure)}
        </Notice>
      )}
      {started?.state === 'failed' && (
        <Notice tone="bad" isLive>
          {started.error?.error}
        </Notice>
      )}
      {running !== undefined && <JobProgress job={running} />}
      {last !== undefined ? (
        <Report report={last} />
      ) : (
        running === undefined && (
          <EmptyState icon="phone" title={text('calls.test-empty')}>
            {text(hasServer ? 'calls.test-empty-text' : 'calls.test-needs')}
          </EmptyState>
        )
      )}
    </Card>
  );
}
