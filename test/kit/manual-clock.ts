import type { Clock, Timer } from '../../server/util/clock.ts';

/** How long what is real may take before it must be the time that stands still, ms. */
const PATIENCE_MS = 400;

interface PendingTimer extends Timer {
  readonly at: number;
  readonly callback: () => void;
}

/** A clock that stands still until a test moves it. */
export class ManualClock implements Clock {
  #wall: number;
  #elapsed = 0;
  #timers: PendingTimer[] = [];

  /** `start`: milliseconds since the Unix epoch. */
  constructor(start = 1_700_000_000_000) {
    this.#wall = start;
  }

  now(): number {
    return this.#wall;
  }

  monotonic(): number {
    return this.#elapsed;
  }

  after(delayMs: number, callback: () => void): Timer {
    const timer: PendingTimer = {
      at: this.#elapsed + Math.max(0, delayMs),
      callback,
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
    this.#timers.push(timer);
    return timer;
  }

  /** How many timers are set. */
  get pending(): number {
    return this.#timers.length;
  }

  /**
   * Moves time on by `ms`, firing what falls due in order, each at its own time. Between two timers, before the first
   * and after the last, what they set off runs to its end: promises, and writes up to their commit; not real I/O.
   */
  async advance(ms: number): Promise<void> {
    const end = this.#elapsed + ms;
    await settle();
    for (let next = this.#nextUntil(end); next !== undefined; next = this.#nextUntil(end)) {
      this.#moveTo(next.at);
      next.cancel();
      next.callback();
      await settle();
    }
    this.#moveTo(end);
  }

  /** Waits for something that may itself wait for time to pass, as a stop does: where nothing else ends it, time does. */
  async passUntil<T>(work: Promise<T>): Promise<T> {
    let isOver = false;
    const end = work.finally(() => {
      isOver = true;
    });
    // Marked as handled here; whoever waits for the end is told.
    end.catch(() => undefined);
    for (let wait = 0; !isOver; wait += 1) {
      await new Promise((resolve) => setTimeout(resolve, PATIENCE_MS / 20));
      if (wait >= 20 && !isOver) await this.advance(1_000);
    }
    return await end;
  }

  /** Sets the wall clock, as a user or a time server may; timers and `monotonic` do not notice. */
  setWallClock(epochMs: number): void {
    this.#wall = epochMs;
  }

  #nextUntil(end: number): PendingTimer | undefined {
    let next: PendingTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.at <= end && (next === undefined || timer.at < next.at)) next = timer;
    }
    return next;
  }

  #moveTo(elapsed: number): void {
    const step = Math.max(0, elapsed - this.#elapsed);
    this.#elapsed += step;
    this.#wall += step;
  }
}

/** Lets everything that is ready to run do so: a few whole turns of the event loop. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
