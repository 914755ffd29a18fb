import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from './clock.ts';

/** Keeps long work from holding up everything else: cut into small steps, it lets the event loop turn now and then. */
export class Pace {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #sliceMs: number;
  #end: number;

  /** `sliceMs`: how long may be worked at a stretch. */
  constructor(clock: Pick<Clock, 'monotonic'>, sliceMs: number) {
    this.#clock = clock;
    this.#sliceMs = sliceMs;
    this.#end = clock.monotonic() + sliceMs;
  }

  /** Call before each step. What was read before may have changed after. */
  async step(): Promise<void> {
    if (this.#clock.monotonic() < this.#end) return;
    await nextTurn();
    this.#end = this.#clock.monotonic() + this.#sliceMs;
  }
}
