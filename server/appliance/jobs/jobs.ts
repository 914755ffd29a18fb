import { MatrixError, notFound } from '../../matrix/errors.ts';
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import { type Random, randomString } from '../../util/random.ts';
import type { Announcer } from '../announcer.ts';
import type { Job } from '../contract.ts';

/** What long work says of itself while it runs. */
export interface JobReport {
  /** Aborted when it is cancelled or the program stops; the work ends then, and leaves nothing half done. */
  readonly signal: AbortSignal;
  /** `progress` from 0 to 1, `step` in words. Others are told at most a few times a second. */
  progress(progress: number | undefined, step?: string): void;
}

export interface JobOrder {
  readonly kind: Job['kind'];
  /** In the words of the person who asked for it. */
  readonly title: string;
  /** Whether it can be broken off without harm. */
  readonly canCancel: boolean;
  /** Of the works that share a word only one runs at a time. */
  readonly excludes?: string;
  /** What it resolves with is the job's result; a MatrixError is shown to the person, other errors go to the log as well. */
  run(report: JobReport): Promise<unknown>;
}

interface JobsParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly announcer: Pick<Announcer, 'job'>;
}

/** How many that are over are kept. */
const KEPT = 50;
const TELL_EVERY_MS = 250;

interface Running {
  job: Job;
  readonly excludes: string | undefined;
  readonly abort: AbortController;
  readonly over: Promise<void>;
  toldAt: number;
}

/** Long work that goes on while people do something else. */
export class Jobs {
  readonly #parts: JobsParts;
  readonly #running = new Map<string, Running>();
  /** The latest last. */
  readonly #over: Job[] = [];
  #stopping = false;

  constructor(parts: JobsParts) {
    this.#parts = parts;
  }

  /** Begins. Throws M_UNKNOWN (409) while another that it excludes runs. */
  start(order: JobOrder): Job {
    const { clock, random } = this.#parts;
    if (this.#stopping) throw new MatrixError('M_UNKNOWN', 'Hearth is closing', { status: 503 });
    const other = [...this.#running.values()].find(
      ({ excludes }) => excludes !== undefined && excludes === order.excludes,
    );
    if (other !== undefined) {
      throw new MatrixError('M_UNKNOWN', `Something else is under way: ${other.job.title}`, { status: 409 });
    }
    const job: Job = {
      id: randomString(random, 12),
      kind: order.kind,
      title: order.title,
      state: 'running',
      startedAt: clock.now(),
      canCancel: order.canCancel,
    };
    const abort = new AbortController();
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const running: Running = { job, excludes: order.excludes, abort, over, toldAt: -Infinity };
    this.#running.set(job.id, running);
    this.#tell(running);
    void this.#run(running, order).finally(resolve);
    return job;
  }

  /** Those that run, then those that are over, the latest first. */
  list(): Job[] {
    return [...[...this.#running.values()].map(({ job }) => job).reverse(), ...this.#over.toReversed()];
  }

  /** Throws M_NOT_FOUND where there is no such job, M_FORBIDDEN where it cannot be broken off. One that is over stays as it is. */
  cancel(id: string): void {
    const running = this.#running.get(id);
    if (running === undefined) {
      if (this.#over.some((job) => job.id === id)) return;
      throw notFound('There is no such job');
    }
    if (!running.job.canCancel) throw new MatrixError('M_FORBIDDEN', 'This cannot be broken off any more');
    running.abort.abort(new JobCancelled());
  }

  /** Breaks off what can be, and waits until nothing runs any more. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const { abort } of this.#running.values()) abort.abort(new JobCancelled());
    await Promise.all([...this.#running.values()].map(({ over }) => over));
  }

  async #run(running: Running, order: JobOrder): Promise<void> {
    const { log } = this.#parts;
    const report: JobReport = {
      signal: running.abort.signal,
      progress: (progress, step = running.job.step) => {
        const { progress: _progress, step: _step, ...rest } = running.job;
        running.job = {
          ...rest,
          ...(progress === undefined ? {} : { progress: Math.min(1, Math.max(0, progress)) }),
          ...(step === undefined ? {} : { step }),
        };
        const isNewStep = step !== _step;
        if (isNewStep || this.#parts.clock.monotonic() - running.toldAt >= TELL_EVERY_MS) this.#tell(running);
      },
    };
    try {
      const result = await order.run(report);
      this.#end(running, { state: 'done', progress: 1, ...(result === undefined ? {} : { result }) });
    } catch (error) {
      if (running.abort.signal.aborted) return this.#end(running, { state: 'cancelled' });
      if (!(error instanceof MatrixError)) log.error({ error, kind: order.kind }, 'a job failed');
      const message = error instanceof Error ? error.message : String(error);
      const errcode = error instanceof MatrixError ? error.errcode : 'M_UNKNOWN';
      this.#end(running, { state: 'failed', error: { errcode, error: message } });
    }
  }

  #end(running: Running, outcome: Partial<Job>): void {
    running.job = { ...running.job, ...outcome, canCancel: false, endedAt: this.#parts.clock.now() };
    this.#running.delete(running.job.id);
    this.#over.push(running.job);
    if (this.#over.length > KEPT) this.#over.shift();
    this.#tell(running);
  }

  #tell(running: Running): void {
    running.toldAt = this.#parts.clock.monotonic();
    this.#parts.announcer.job(running.job);
  }
}

class JobCancelled extends Error {
  constructor() {
    super('broken off');
    this.name = 'JobCancelled';
  }
}
