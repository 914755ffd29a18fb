import type { Clock } from '../../../util/clock.ts';

/**
 * Waits a little before what is new is indexed, so that a busy hour costs a few writes and not one for each message;
 * unless somebody searches.
 */
export class Gathering {
  readonly #clock: Pick<Clock, 'after'>;
  readonly #waitMs: number;
  #end: (() => void) | undefined;
  #hurried = 0;

  constructor(clock: Pick<Clock, 'after'>, waitMs: number) {
    this.#clock = clock;
    this.#waitMs = waitMs;
  }

  /** Resolves after a while, or at once if somebody is in a hurry, or the server stops. */
  wait(stopping: AbortSignal): Promise<void> {
    if (this.#hurried > 0 || stopping.aborted) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.#clock.after(this.#waitMs, resolve);
    this.#end = resolve;
    const onAbort = (): void => resolve();
    stopping.addEventListener('abort', onAbort);
    return promise.finally(() => {
      timer.cancel();
      stopping.removeEventListener('abort', onAbort);
      this.#end = undefined;
    });
  }

  /** Nobody waits while `work` is under way. */
  async hurry(work: Promise<void>): Promise<void> {
    this.#hurried += 1;
    this.#end?.();
    try {
      await work;
    } finally {
      this.#hurried -= 1;
    }
  }
}
