import type { Clock } from '../../../util/clock.ts';
import type { MediaAddress } from './media-uri.ts';

/** Those who wait for uploads that were announced and have not come yet. */
export class Announced {
  readonly #clock: Clock;
  readonly #waiting = new Map<string, Set<() => void>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves when the upload is there, after `timeoutMs`, or when whoever asked has gone. */
  async wait({ mediaId }: MediaAddress, timeoutMs: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted || timeoutMs <= 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = this.#waiting.get(mediaId) ?? new Set();
    this.#waiting.set(mediaId, waiting.add(resolve));
    const timer = this.#clock.after(timeoutMs, resolve);
    signal.addEventListener('abort', () => resolve(), { once: true });
    await promise;
    timer.cancel();
    waiting.delete(resolve);
    if (waiting.size === 0 && this.#waiting.get(mediaId) === waiting) this.#waiting.delete(mediaId);
  }

  arrived({ mediaId }: MediaAddress): void {
    for (const resolve of this.#waiting.get(mediaId) ?? []) resolve();
  }
}
