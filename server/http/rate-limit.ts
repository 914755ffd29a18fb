import { LRUCache } from 'lru-cache';

import { limitExceeded } from '../matrix/errors.ts';
import type { Clock } from '../util/clock.ts';
import type { Requester } from './route.ts';
import { atMost } from '../util/lru.ts';

/** How often something may be done: `burstCount` times at once, then `perSecond` times a second. */
export interface RateLimitOptions {
  readonly perSecond: number;
  readonly burstCount: number;
  readonly clock: Pick<Clock, 'monotonic'>;
  /** How many keys are remembered; the one unused longest is forgotten first, and so gets a full bucket. */
  readonly maxKeys?: number;
}

interface Bucket {
  /** What is left, as of `at`. */
  tokens: number;
  /** Monotonic milliseconds. */
  at: number;
}

// With nothing refilled there is no honest answer to "when"; an hour keeps clients from trying in vain.
const LONGEST_WAIT_MS = 3_600_000;

/** A token bucket for each key (a user, an address, a room). The keys it remembers are bounded. */
export class RateLimit {
  readonly #perMs: number;
  readonly #burst: number;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #buckets: LRUCache<string, Bucket>;

  constructor({ perSecond, burstCount, clock, maxKeys = 20_000 }: RateLimitOptions) {
    if (!(perSecond >= 0) || !(burstCount >= 0)) throw new RangeError('a rate limit cannot be negative');
    this.#perMs = perSecond / 1000;
    this.#burst = burstCount;
    this.#clock = clock;
    this.#buckets = new LRUCache(atMost(maxKeys));
  }

  /** Takes `count` for `key`, or throws M_LIMIT_EXCEEDED with the time to wait. What is refused takes nothing. */
  check(key: string, count = 1): void {
    const wait = this.#take(key, count);
    if (wait > 0) throw limitExceeded(wait);
  }

  /** As `check`, but spares requesters whom rate limits do not apply to. */
  checkFor(requester: Pick<Requester, 'rateLimited'>, key: string, count = 1): void {
    if (requester.rateLimited) this.check(key, count);
  }

  /** Takes `count` for `key` if they are there, and says whether they were. */
  tryTake(key: string, count = 1): boolean {
    return this.#take(key, count) === 0;
  }

  /** Milliseconds until `count` can be taken for `key`, 0 for now. Takes nothing. */
  peek(key: string, count = 1): number {
    return this.#wait(this.#tokensOf(this.#buckets.peek(key)), count);
  }

  /** Gives `key` a full bucket again, for instance after a login that succeeded. */
  reset(key: string): void {
    this.#buckets.delete(key);
  }

  #take(key: string, count: number): number {
    const bucket = this.#buckets.get(key);
    const tokens = this.#tokensOf(bucket);
    const wait = this.#wait(tokens, count);
    if (wait > 0) return wait;
    const at = this.#clock.monotonic();
    if (bucket === undefined) this.#buckets.set(key, { tokens: tokens - count, at });
    else Object.assign(bucket, { tokens: tokens - count, at });
    return 0;
  }

  #tokensOf(bucket: Bucket | undefined): number {
    if (bucket === undefined) return this.#burst;
    return Math.min(this.#burst, bucket.tokens + (this.#clock.monotonic() - bucket.at) * this.#perMs);
  }

  #wait(tokens: number, count: number): number {
    // Refilling adds fractions; without the slack a client that waits exactly as told could be a hair short.
    if (tokens + 1e-9 >= count) return 0;
    if (count > this.#burst || this.#perMs === 0) return LONGEST_WAIT_MS;
    return Math.min(LONGEST_WAIT_MS, Math.ceil((count - tokens) / this.#perMs));
  }
}
