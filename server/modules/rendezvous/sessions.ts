import { LRUCache } from 'lru-cache';
import type { Clock } from '../../util/clock.ts';
import { atMost } from '../../util/lru.ts';
import { type Random, randomString } from '../../util/random.ts';

/** What two devices that do not know each other yet pass to and fro. */
export interface RendezvousSession {
  readonly data: Buffer;
  /** As it stands in the header, quotes included; another one after each change. */
  readonly etag: string;
  /** Ms since the epoch. */
  readonly lastModified: number;
  readonly expires: number;
}

const ID_LENGTH = 32;
const ETAG_LENGTH = 22;

/**
 * The sessions that are open, in memory only: they last minutes, and a client whose session is gone begins anew. Their
 * number is bounded; the oldest one goes first.
 */
export class RendezvousSessions {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #random: Random;
  readonly #lifetimeMs: number;
  readonly #sessions: LRUCache<string, RendezvousSession>;

  constructor(needs: {
    readonly clock: Pick<Clock, 'now'>;
    readonly random: Random;
    readonly lifetimeMs: number;
    readonly capacity: number;
  }) {
    this.#clock = needs.clock;
    this.#random = needs.random;
    this.#lifetimeMs = needs.lifetimeMs;
    this.#sessions = new LRUCache(atMost(needs.capacity));
  }

  open(data: Buffer): { readonly id: string; readonly session: RendezvousSession } {
    const id = randomString(this.#random, ID_LENGTH);
    const lastModified = this.#clock.now();
    const session = { data, etag: this.#newTag(), lastModified, expires: lastModified + this.#lifetimeMs };
    this.#sessions.set(id, session);
    return { id, session };
  }

  find(id: string): RendezvousSession | undefined {
    // Looked at, not used: being polled must not keep a session in place of younger ones.
    const session = this.#sessions.peek(id);
    if (session === undefined || session.expires > this.#clock.now()) return session;
    this.#sessions.delete(id);
    return undefined;
  }

  /** Puts other data in. How long the session lasts stays the same. */
  update(id: string, { expires }: RendezvousSession, data: Buffer): RendezvousSession {
    const changed = { data, etag: this.#newTag(), lastModified: this.#clock.now(), expires };
    this.#sessions.set(id, changed);
    return changed;
  }

  /** False if there is none. */
  close(id: string): boolean {
    return this.find(id) !== undefined && this.#sessions.delete(id);
  }

  #newTag(): string {
    return `"${randomString(this.#random, ETAG_LENGTH)}"`;
  }
}
