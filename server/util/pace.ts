import type { Clock } from './clock.ts';
import { turns } from './turns.ts';

/**
 * Keeps long work from holding up everything else: cut into small steps, it lets the event loop turn now and then, and
 * lets others work that do the same.
 */
export class Pace {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #sliceMs: number;
  #end = Number.NEGATIVE_INFINITY;

  /** `sliceMs`: how long may be worked at a stretch. */
  constructor(clock: Pick<Clock, 'monotonic'>, sliceMs: number) {
    this.#clock = clock;
    this.#sliceMs = sliceMs;
  }

  /** Call before each step. What was read before may have changed after. */
  async step(): Promise<void> {
    if (this.#clock.monotonic() < this.#end) return;
    await this.pause();
  }

  /** Waits for the next slice. */
  async pause(): Promise<void> {
    // The first slice need not wait, if nobody else is at it.
    const isFirst = this.#end === Number.NEGATIVE_INFINITY;
    if (!isFirst || !turns.take()) await turns.wait();
    this.#end = this.#clock.monotonic() + this.#sliceMs;
  }

  /** Whether the slice is not over yet. */
  get isOn(): boolean {
    return this.#clock.monotonic() < this.#end;
  }
}
