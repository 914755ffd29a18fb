import type { RoomId } from '../matrix/identifiers.ts';
import type { Database, StreamPosition } from '../storage/types.ts';
import type { Clock, Timer } from '../util/clock.ts';

/** What a waiting request wants to hear of. */
export interface Interest {
  /** `user:@a:x`, `device:@a:x/DEV`. */
  readonly keys: readonly string[];
  /** The rooms it follows. Asked, never listed: waiting costs the same in one room and in a thousand. */
  readonly rooms: { has(roomId: RoomId): boolean };
}

/** Why a wait ended: something moved; the time is up; or the one who waited has gone away. */
export type Woken = 'changed' | 'timeout' | 'aborted';

/** The longest a request is held, ms: proxies and sockets seldom last longer. */
export const LONGEST_WAIT_MS = 10 * 60_000;

/** How long a request may still be held. Right also if the machine slept or its clock was set meanwhile. */
export class Deadline {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #startedAt: number;
  readonly #startedMonotonic: number;

  /** Begins now; `timeoutMs` is cut to `LONGEST_WAIT_MS`. */
  constructor(clock: Clock, timeoutMs: number) {
    this.#clock = clock;
    this.#timeoutMs = Math.min(timeoutMs, LONGEST_WAIT_MS);
    this.#startedAt = clock.now();
    this.#startedMonotonic = clock.monotonic();
  }

  /** Milliseconds left, 0 when it has passed. */
  remaining(): number {
    // The monotonic clock may stand still while the machine sleeps; the other may be set back. The later one is right.
    const elapsed = Math.max(this.#clock.now() - this.#startedAt, this.#clock.monotonic() - this.#startedMonotonic);
    return Math.max(0, this.#timeoutMs - elapsed);
  }
}

interface Waiter {
  readonly interest: Interest;
  readonly since: StreamPosition;
  readonly deadline: Deadline;
  readonly end: (why: Woken) => void;
}

const ROOM_PREFIX = 'room:';

/**
 * Holds long polls until what they follow has moved (and is on disk). It carries no data: who wakes reads again, and
 * waits again if it was nothing.
 */
export class Notifier {
  readonly #db: Pick<Database, 'subscribe' | 'position'>;
  readonly #clock: Clock;
  /** Those who wait for a key by its name. */
  readonly #byKey = new Map<string, Set<Waiter>>();
  readonly #waiters = new Set<Waiter>();
  #subscription: { unsubscribe(): void } | undefined;

  constructor({ db, clock }: { db: Pick<Database, 'subscribe' | 'position'>; clock: Clock }) {
    this.#db = db;
    this.#clock = clock;
    this.#subscription = db.subscribe((now, keys) => this.#moved(now, keys));
  }

  /** Requests being held. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /**
   * Waits until something of `interest` moves beyond `since`, the position up to which the caller has read. Call it in
   * the turn of that read, or see to it that nothing moved in between (it returns at once if the stream has moved on).
   */
  wait(interest: Interest, since: StreamPosition, deadline: Deadline, signal: AbortSignal): Promise<Woken> {
    if (signal.aborted) return Promise.resolve('aborted');
    // Whether the caller's keys were among what moved is no longer known, so it has to look.
    if (this.#db.position() > since) return Promise.resolve('changed');
    return new Promise((resolve) => {
      let timer: Timer | undefined;
      const end = (why: Woken): void => {
        timer?.cancel();
        signal.removeEventListener('abort', onAbort);
        this.#remove(waiter);
        resolve(why);
      };
      const waiter: Waiter = { interest, since, deadline, end };
      const onAbort = (): void => end('aborted');
      const watchTime = (): void => {
        const left = deadline.remaining();
        if (left <= 0) end('timeout');
        else timer = this.#clock.after(left, watchTime);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#add(waiter);
      watchTime();
    });
  }

  /** Lets everybody go, as if their time were up, and hears of nothing any more. */
  stop(): void {
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
    for (const waiter of this.#waiters) waiter.end('timeout');
  }

  #add(waiter: Waiter): void {
    this.#waiters.add(waiter);
    for (const key of waiter.interest.keys) {
      const set = this.#byKey.get(key);
      if (set === undefined) this.#byKey.set(key, new Set([waiter]));
      else set.add(waiter);
    }
  }

  #remove(waiter: Waiter): void {
    this.#waiters.delete(waiter);
    for (const key of waiter.interest.keys) {
      const set = this.#byKey.get(key);
      set?.delete(waiter);
      if (set?.size === 0) this.#byKey.delete(key);
    }
  }

  #moved(now: StreamPosition, keys: ReadonlySet<string>): void {
    if (this.#waiters.size === 0) return;
    const woken = new Set<Waiter>();
    const rooms: RoomId[] = [];
    for (const key of keys) {
      if (key.startsWith(ROOM_PREFIX)) rooms.push(key.slice(ROOM_PREFIX.length) as RoomId);
      for (const waiter of this.#byKey.get(key) ?? []) woken.add(waiter);
    }
    if (rooms.length > 0) {
      for (const waiter of this.#waiters) {
        if (!woken.has(waiter) && rooms.some((roomId) => waiter.interest.rooms.has(roomId))) woken.add(waiter);
      }
    }
    for (const waiter of this.#waiters) {
      // A commit of what the reader had already seen is no news. A timer that slept too long is made up for here.
      if (woken.has(waiter) && now > waiter.since) waiter.end('changed');
      else if (waiter.deadline.remaining() === 0) waiter.end('timeout');
    }
  }
}
