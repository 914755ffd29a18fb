import type { Clock, Timer } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import type { Announcer } from '../announcer.ts';
import type { RecordFile, Records } from './records.ts';
import { firstAfter, nextAfter } from './schedule.ts';

export interface ScheduleNeeds {
  readonly clock: Clock;
  readonly log: Logger;
  readonly announcer: Pick<Announcer, 'moved'>;
  readonly records: RecordFile;
  /** Whether this is a moment at which a backup can be made. */
  readonly canBegin: () => boolean;
  /** Makes a backup; rejects where it cannot be made. */
  readonly run: () => Promise<Outcome>;
}

/** `busy`: another work on backups is under way. `called-off`: by a person, or because the program ends. */
export type Outcome = 'made' | 'busy' | 'called-off';

/** After a failure, ms; then the next one of the schedule has its turn. */
const RETRIES_MS = [15 * 60_000, 60 * 60_000, 4 * 3_600_000];
/** Timers stand still while the machine sleeps: the time is looked at this often, ms, and not more often than that. */
const LOOK_EVERY_MS = 15 * 60_000;
const LOOK_AT_LEAST_MS = 60_000;
/** Longer than any schedule waits: the clock was set back by far. */
const TOO_LONG_MS = 8 * 86_400_000;

/** Sees to it that backups are made when the schedule says so, or as soon after that as can be. */
export class ScheduleRunner {
  readonly #needs: ScheduleNeeds;
  #timer: Timer | undefined;
  #retries = 0;
  #retryAt: number | undefined;
  #isRunning = false;
  #isStarted = false;

  constructor(needs: ScheduleNeeds) {
    this.#needs = needs;
  }

  /** When the next one is to be made, ms since the epoch. */
  get nextAt(): number | undefined {
    return this.#retryAt ?? this.#needs.records.get().dueAt;
  }

  start(): void {
    this.#isStarted = true;
    this.wake();
  }

  stop(): void {
    this.#isStarted = false;
    this.#timer?.cancel();
  }

  /** Another schedule. What went wrong with the old one is forgotten; one of the same rhythm goes on with it. */
  change(schedule: Records['schedule']): void {
    const { clock, records } = this.#needs;
    const { schedule: before, dueAt: oldDue, failure: _failure, ...rest } = records.get();
    const isSameRhythm = before.every === schedule.every && before.atHour === schedule.atHour;
    const dueAt = isSameRhythm ? oldDue : firstAfter(schedule, clock.now());
    this.#retries = 0;
    this.#retryAt = undefined;
    records.put({ ...rest, schedule, ...(dueAt === undefined ? {} : { dueAt }) });
    this.wake();
  }

  /** Looks at the time. */
  wake(): void {
    const { clock, log, records, canBegin } = this.#needs;
    this.#timer?.cancel();
    if (!this.#isStarted || this.#isRunning) return;
    const { schedule } = records.get();
    if ((this.nextAt ?? 0) - clock.now() > TOO_LONG_MS) this.#plan(firstAfter(schedule, clock.now()));
    const { nextAt } = this;
    if (schedule.every === 'never' || nextAt === undefined) return;
    const wait = nextAt - clock.now();
    if (wait > 0 || !canBegin()) {
      this.#timer = clock.after(Math.min(Math.max(wait, LOOK_AT_LEAST_MS), LOOK_EVERY_MS), () => this.wake());
      return;
    }
    this.#isRunning = true;
    void this.#runDue()
      .catch((error: unknown) => log.error({ error }, 'the schedule of backups has failed'))
      .finally(() => {
        this.#isRunning = false;
        this.wake();
      });
  }

  async #runDue(): Promise<void> {
    const { clock, log, announcer, records, run } = this.#needs;
    try {
      const outcome = await run();
      // It is still due when the program starts again.
      if (!this.#isStarted) return;
      if (outcome === 'busy') {
        this.#retryAt = clock.now() + LOOK_AT_LEAST_MS;
        return;
      }
      this.#retries = 0;
      this.#plan(nextAfter(records.get().schedule, clock.now()), outcome === 'made' ? { failure: undefined } : {});
    } catch (error) {
      const now = clock.now();
      const message = error instanceof Error ? error.message : 'for an unknown reason';
      const wait = RETRIES_MS[this.#retries];
      log.error({ error: message, retryInMs: wait }, 'the backup of the schedule has failed');
      const { schedule, dueAt } = records.get();
      this.#plan(wait === undefined ? nextAfter(schedule, now) : dueAt, { failure: { at: now, error: message } });
      this.#retries = wait === undefined ? 0 : this.#retries + 1;
      this.#retryAt = wait === undefined ? undefined : now + wait;
    }
    announcer.moved('backups');
    announcer.moved('problems');
  }

  #plan(dueAt: number | undefined, changes: { readonly failure?: Records['failure'] | undefined } = {}): void {
    const { dueAt: _dueAt, failure: before, ...rest } = this.#needs.records.get();
    const failure = 'failure' in changes ? changes.failure : before;
    this.#retryAt = undefined;
    this.#needs.records.put({
      ...rest,
      ...(dueAt === undefined ? {} : { dueAt }),
      ...(failure === undefined ? {} : { failure }),
    });
  }
}
