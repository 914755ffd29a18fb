import { setImmediate as nextTurn } from 'node:timers/promises';
import { Backoff } from '../../../util/backoff.ts';
import type { Clock, Timer } from '../../../util/clock.ts';
import type { Logger } from '../../../util/log.ts';
import type { Random } from '../../../util/random.ts';

/** What came of one step: there may be more to do at once; nothing is; not before so many ms; it failed. */
export type StepOutcome = 'more' | 'idle' | 'failed' | { readonly waitMs: number };

/** One pusher's work: a step at a time, each of which reads afresh what there is to do. */
export interface PusherWork {
  step(stopping: AbortSignal): Promise<StepOutcome> | StepOutcome;
}

const BACKOFF = { firstMs: 1_000, longestMs: 3_600_000 };

/** Goes on with a pusher's work while there is some, one step at a time; after a failure with growing waits. */
export class PusherLoop {
  readonly #work: PusherWork;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #stopping: AbortSignal;
  readonly #finished: () => void;
  readonly #backoff: Backoff;
  #run: Promise<void> | undefined;
  #again = false;
  #timer: Timer | undefined;

  constructor(
    work: PusherWork,
    needs: {
      readonly clock: Clock;
      readonly random: Random;
      readonly log: Logger;
      readonly stopping: AbortSignal;
      /** Called each time nothing is left to do, and nothing waits. */
      readonly finished: () => void;
    },
  ) {
    this.#work = work;
    this.#clock = needs.clock;
    this.#log = needs.log;
    this.#stopping = needs.stopping;
    this.#finished = needs.finished;
    this.#backoff = new Backoff(BACKOFF, needs.random);
  }

  /** There is something new. A wait after a failure is waited out all the same. */
  wake(): void {
    if (this.#stopping.aborted) return;
    if (this.#run !== undefined) this.#again = true;
    else if (this.#timer === undefined || this.#backoff.failures === 0) this.#begin();
  }

  /** What held it up may be gone. */
  retryNow(): void {
    this.#backoff.reset();
    this.wake();
  }

  /** Resolves when no step is under way; no timer fires any more. */
  async stop(): Promise<void> {
    this.#timer?.cancel();
    await this.#run;
    this.#timer?.cancel();
  }

  #begin(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#run = this.#goOn().finally(() => {
      this.#run = undefined;
      if (this.#timer !== undefined) return;
      if (this.#again && !this.#stopping.aborted) this.#begin();
      else this.#finished();
    });
  }

  async #goOn(): Promise<void> {
    // Replies leave before notifications do.
    await nextTurn();
    while (!this.#stopping.aborted) {
      this.#again = false;
      const outcome = await this.#step();
      if (this.#stopping.aborted) return;
      if (outcome === 'failed') {
        this.#waitFor(this.#backoff.next());
        return;
      }
      this.#backoff.reset();
      if (outcome === 'more') continue;
      if (this.#again) continue;
      if (outcome !== 'idle') this.#waitFor(outcome.waitMs);
      return;
    }
  }

  async #step(): Promise<StepOutcome> {
    try {
      return await this.#work.step(this.#stopping);
    } catch (error) {
      if (!this.#stopping.aborted) this.#log.error({ error }, 'a pusher failed');
      return 'failed';
    }
  }

  #waitFor(ms: number): void {
    this.#again = false;
    this.#timer = this.#clock.after(ms, () => {
      this.#timer = undefined;
      this.#begin();
    });
  }
}
