import type { Clock } from '../util/clock.ts';
import type { StreamPosition } from './types.ts';

interface Waiting {
  readonly goal: StreamPosition;
  readonly end: () => void;
}

/** How far a follower has come, for whoever wants to read what it makes of a change right after that. */
export class Progress {
  readonly #clock: Pick<Clock, 'after'>;
  readonly #waiting = new Set<Waiting>();
  #reached = 0;

  constructor(clock: Pick<Clock, 'after'>) {
    this.#clock = clock;
  }

  reach(position: StreamPosition): void {
    this.#reached = Math.max(this.#reached, position);
    for (const { goal, end } of this.#waiting) if (goal <= this.#reached) end();
  }

  /** Resolves when everything up to a position was followed, after `longestMs` milliseconds at the latest. */
  until(goal: StreamPosition, longestMs: number): Promise<void> {
    if (goal <= this.#reached) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting: Waiting = { goal, end: resolve };
    const timer = this.#clock.after(longestMs, resolve);
    this.#waiting.add(waiting);
    return promise.finally(() => {
      this.#waiting.delete(waiting);
      timer.cancel();
    });
  }
}
