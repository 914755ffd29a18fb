import { LRUCache } from 'lru-cache';
import type { Clock } from '../../util/clock.ts';
import { atMost } from '../../util/lru.ts';

/** Something found out, and for how long it may be relied on (ms). */
export interface Found<Value> {
  readonly value: Value;
  readonly ttlMs: number;
}

/** Remembers what was found out for as long as it holds. Of those who ask for one key at a time, one goes and looks. */
export class TimedCache<Value> {
  readonly #clock: Clock;
  readonly #kept: LRUCache<string, { readonly value: Value; readonly expiresAt: number }>;
  readonly #loading = new Map<string, Promise<Value>>();

  constructor(clock: Clock, count: number) {
    this.#clock = clock;
    this.#kept = new LRUCache(atMost(count));
  }

  /** What is kept under `key`, or else what `load` finds. A rejection is passed on and not kept. */
  async get(key: string, load: () => Promise<Found<Value>>): Promise<Value> {
    const kept = this.find(key);
    if (kept !== undefined) return kept.value;
    const running = this.#loading.get(key);
    if (running !== undefined) return running;
    const loading = this.#load(key, load).finally(() => {
      if (this.#loading.get(key) === loading) this.#loading.delete(key);
    });
    this.#loading.set(key, loading);
    return loading;
  }

  /** What is kept under `key` and still holds. */
  find(key: string): { readonly value: Value } | undefined {
    const kept = this.#kept.get(key);
    return kept !== undefined && kept.expiresAt > this.#clock.now() ? kept : undefined;
  }

  put(key: string, { value, ttlMs }: Found<Value>): void {
    this.#kept.set(key, { value, expiresAt: this.#clock.now() + ttlMs });
  }

  delete(key: string): void {
    this.#kept.delete(key);
    this.#loading.delete(key);
  }

  clear(): void {
    this.#kept.clear();
    this.#loading.clear();
  }

  async #load(key: string, load: () => Promise<Found<Value>>): Promise<Value> {
    const found = await load();
    this.put(key, found);
    return found.value;
  }
}
