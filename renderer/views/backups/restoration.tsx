import type { ReactNode } from 'react';
import type { RestoreResult } from '../../../server/appliance/contract.ts';
import { JobNotice } from '../../components/jobs.tsx';
import { Card, Notice } from '../../components/page.tsx';
import { formatMoment } from '../../models/format.ts';
import { text } from '../../strings/text.ts';

/** How a restoration goes, and what came of it. */
export function Restoration({ jobId }: { jobId: string }): ReactNode {
  return (
    <Card>
      <JobNotice jobId={jobId}>{({ result }) => <Restored result={result as RestoreResult} />}</JobNotice>
    </Card>
  );
}

function Restored({ result: { madeAt, kept, hasMedia, isRunning } }: { result: RestoreResult }): ReactNode {
  return (
    <Notice tone={isRunning ? 'good' : 'warning'} title={text('restoring.done', { when: formatMoment(madeAt) })} isLive>
      {!isRunning && <p>{text('restoring.not-running')}</p>}
      <p>
        {text('restoring.undone')} <a href="#/people">{text('restoring.look')}</a>
      </p>
      {!hasMedia && <p>{text('restoring.done-no-media')}</p>}
      {kept !== undefined && <p className="break">{text('restoring.done-kept', { folder: kept })}</p>}
    </Notice>
  );
}
