import { type ReactNode, useState } from 'react';
import { useIsTold, useJob, useJobEndings, useJobs, useWatch } from '../api/calls.ts';
import type { Job } from '../../server/appliance/contract.ts';
import { text } from '../strings/text.ts';
import { Button, IconButton, Spinner } from './button.tsx';
import { useDeed } from './deed.tsx';
import { Icon } from './icon.tsx';
import { Progress } from './meter.tsx';
import { asSentence, Notice, Skeleton } from './page.tsx';
import { useNow } from './time.tsx';
import { useToast } from './toasts.tsx';

/** How long (ms) what is over stays in the tray. */
const LINGERS_MS = 60_000;
/** How long (ms) it may take until the page that began something has the answer, and knows which job that is. */
const ANSWER_MS = 700;

/** How one piece of long work goes, with a way to break it off where there is one. */
export function JobProgress({ job }: { job: Job }): ReactNode {
  const cancel = useDeed('POST /jobs/{jobId}/cancel');
  return (
    <div className="job" role="group" aria-label={job.title}>
      <div className="row apart tight">
        <span className="break grow">{job.title}</span>
        <JobState job={job} />
      </div>
      {job.state === 'running' && <Progress label={job.title} value={job.progress} />}
      {(job.step !== undefined || job.canCancel) && job.state === 'running' && (
        <div className="row apart tight small">
          <span className="muted grow break">{job.step}</span>
          {job.canCancel && (
            <Button
              kind="quiet"
              size="small"
              isBusy={cancel.isRunning}
              onPress={() => cancel.run({ params: { jobId: job.id } })}
            >
              {text('common.cancel')}
            </Button>
          )}
        </div>
      )}
      {job.error !== undefined && <p className="small tone-bad break">{asSentence(job.error.error)}</p>}
    </div>
  );
}

function JobState({ job }: { job: Job }): ReactNode {
  if (job.state === 'running') return <span className="muted small">{text('jobs.running')}</span>;
  const tone = job.state === 'done' ? 'tone-good' : job.state === 'failed' ? 'tone-bad' : 'muted';
  return (
    <span className={`row tight small ${tone}`}>
      <Icon name={job.state === 'done' ? 'good' : job.state === 'failed' ? 'bad' : 'skipped'} />
      {text(`jobs.${job.state}`)}
    </span>
  );
}

/** How the work with this ID goes, in place: while it runs and after it has failed; `children` once it is done. */
export function JobNotice({
  jobId,
  children,
}: {
  jobId: string | undefined;
  children?: (job: Job) => ReactNode;
}): ReactNode {
  const job = useJob(jobId);
  useWatch(jobId, children === undefined ? 'failures' : 'every-end');
  if (jobId === undefined) return null;
  if (job === undefined) return <Skeleton lines={1} />;
  if (job.state === 'failed') {
    return (
      <Notice tone="bad" title={text('jobs.failed-title', { title: job.title })} isLive>
        {job.error === undefined ? undefined : asSentence(job.error.error)}
      </Notice>
    );
  }
  if (job.state === 'cancelled') return <Notice isLive>{text('jobs.cancelled-title', { title: job.title })}</Notice>;
  if (job.state === 'done') return children?.(job) ?? null;
  return <JobProgress job={job} />;
}

/** All long work, in the corner of every page, while there is any. */
export function JobTray(): ReactNode {
  const jobs = useJobs();
  const now = useNow();
  const toast = useToast();
  const isTold = useIsTold();
  const [isOpen, setOpen] = useState(false);
  const [dismissed, setDismissed] = useState<ReadonlySet<string>>(new Set());
  const dismiss = (ids: readonly string[]): void => setDismissed((before) => new Set([...before, ...ids]));
  const tell = (job: Job): void => {
    if (job.state === 'done') toast.done(text('jobs.done-title', { title: job.title }));
    if (job.state === 'failed')
      toast.failed(text('jobs.failed-with', { title: job.title, why: asSentence(job.error?.error ?? '') }), 'passes');
  };
  useJobEndings((job) => {
    if (isTold(job)) return dismiss([job.id]);
    setTimeout(() => (isTold(job) ? dismiss([job.id]) : tell(job)), ANSWER_MS);
  });
  const shown = jobs.filter(
    ({ id, state, endedAt }) =>
      state === 'running' || (!dismissed.has(id) && endedAt !== undefined && now - endedAt < LINGERS_MS),
  );
  const running = shown.filter(({ state }) => state === 'running').length;
  const failed = shown.filter(({ state }) => state === 'failed').length;
  if (shown.length === 0) return null;
  if (!isOpen) {
    return (
      <Button kind="secondary" onPress={() => setOpen(true)}>
        {running > 0 ? (
          <Spinner />
        ) : failed > 0 ? (
          <Icon name="bad" className="tone-bad" />
        ) : (
          <Icon name="good" className="tone-good" />
        )}
        {running > 0
          ? text('jobs.count', { count: running })
          : failed > 0
            ? text('jobs.count-failed', { count: failed })
            : text('jobs.all-over')}
        <Icon name="chevron-up" />
      </Button>
    );
  }
  return (
    <section className="jobs" aria-label={text('jobs.title')}>
      <div className="jobs-head">
        <h2 className="grow">{text('jobs.title')}</h2>
        <IconButton
          icon="chevron-down"
          size="small"
          label={text('jobs.hide')}
          onPress={() => {
            setOpen(false);
            dismiss(shown.filter(({ state }) => state !== 'running').map(({ id }) => id));
          }}
        />
      </div>
      <div className="jobs-list">
        {shown.map((job) => (
          <JobProgress key={job.id} job={job} />
        ))}
      </div>
    </section>
  );
}
