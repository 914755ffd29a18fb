import type { Random } from './random.ts';

export interface BackoffLimits {
  /** The wait after the first failure, ms. */
  readonly firstMs: number;
  /** No wait is longer, ms. */
  readonly longestMs: number;
  /** By how much each wait is longer than the one before; 2 unless told. */
  readonly factor?: number;
}

/**
 * How long to wait after each failure in a row: growing by a factor up to a limit. Given `random`, each wait falls
 * anywhere in its upper half, so that those who failed together do not all come back together.
 */
export class Backoff {
  readonly #limits: BackoffLimits;
  readonly #random: Random | undefined;
  #failures = 0;

  constructor(limits: BackoffLimits, random?: Random) {
    this.#limits = limits;
    this.#random = random;
  }

  /** Failures since the last success. */
  get failures(): number {
    return this.#failures;
  }

  /** Counts one more failure; returns how long to wait after it, whole ms. */
  next(): number {
    const { firstMs, longestMs, factor = 2 } = this.#limits;
    const wait = Math.min(longestMs, firstMs * factor ** this.#failures);
    this.#failures += 1;
    if (this.#random === undefined) return Math.round(wait);
    const part = this.#random.bytes(4).readUInt32BE() / 2 ** 32;
    return Math.round(wait * (0.5 + part / 2));
  }

  /** Forgets the failures: after a success, or when there is reason to think that all is different now. */
  reset(): void {
    this.#failures = 0;
  }
}
