import type { Clock, Timer } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import type { DoctorReport } from '../contract.ts';

interface ReachWatchNeeds {
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether there is a server that others are, or the home is, meant to find. */
  readonly isWanted: () => boolean;
  /** What was last found out. */
  readonly last: () => DoctorReport | undefined;
  /** Looks, and keeps what it finds. */
  readonly look: (signal: AbortSignal) => Promise<unknown>;
}

/** How often it is considered whether to look. */
const CONSIDER_EVERY_MS = 30_000;
/** A report is good for this long; one that found something wrong, until somebody may have mended it. */
const GOOD_FOR_MS = 24 * 3_600_000;
const BAD_FOR_MS = 3_600_000;
/** After a wake or a start, one from a moment ago is good enough. */
const MOMENT_MS = 600_000;
/** From the end of one look to the next, whatever happens. */
const LEAST_BETWEEN_MS = 300_000;

/** Looks at the way here from time to time, and when it may be another one: what the state of things says rests on it. */
export class ReachWatch {
  readonly #needs: ReachWatchNeeds;
  #timer: Timer | undefined;
  #looking: { readonly abort: AbortController; readonly over: Promise<void> } | undefined;
  #lookedAt = -Infinity;
  /** Since the machine or the server began anew, nobody has looked. */
  #isNew = true;

  constructor(needs: ReachWatchNeeds) {
    this.#needs = needs;
  }

  /** Whoever starts it stops it. */
  start(): void {
    this.#timer = this.#needs.clock.after(CONSIDER_EVERY_MS, () => {
      if (this.#timer === undefined) return;
      this.#consider();
      this.start();
    });
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#looking?.abort.abort();
    await this.#looking?.over;
  }

  /** The machine slept, or its network changed: what was found out before may not hold any more. */
  wake(): void {
    this.#isNew = true;
  }

  #consider(): void {
    const { clock, isWanted } = this.#needs;
    if (this.#looking !== undefined || clock.monotonic() - this.#lookedAt < LEAST_BETWEEN_MS) return;
    if (!isWanted() || !this.#isDue()) return;
    this.#isNew = false;
    const abort = new AbortController();
    const over = this.#look(abort.signal).finally(() => {
      this.#looking = undefined;
      this.#lookedAt = clock.monotonic();
    });
    this.#looking = { abort, over };
  }

  #isDue(): boolean {
    const last = this.#needs.last();
    if (last === undefined) return true;
    const age = this.#needs.clock.now() - (last.endedAt ?? last.startedAt);
    // One from the future was made while the clock was wrong.
    if (age < 0) return true;
    const isBad = last.verdict !== 'good' && last.verdict !== 'warning';
    return age > (this.#isNew ? MOMENT_MS : isBad ? BAD_FOR_MS : GOOD_FOR_MS);
  }

  async #look(signal: AbortSignal): Promise<void> {
    try {
      await this.#needs.look(signal);
    } catch (error) {
      if (!signal.aborted) this.#needs.log.warn({ error }, 'the way here could not be looked at');
    }
  }
}
