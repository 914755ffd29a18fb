import { LRUCache } from 'lru-cache';
import type { UserId } from '../../../matrix/identifiers.ts';
import type { StreamPosition } from '../../../storage/types.ts';
import type { StoredPresence } from '../store.ts';
import { atMost } from '../../../util/lru.ts';

/** Users whose presence is in memory; of others, what is stored. */
export const MAX_SHOWN = 20_000;

/** What others are shown of a user's presence. */
export interface ShownPresence extends StoredPresence {
  readonly currentlyActive: boolean;
}

/** What everybody was last shown as, in the order in which it was shown. */
export class PresenceBoard {
  readonly #shown = new LRUCache<UserId, { presence: ShownPresence }>(atMost(MAX_SHOWN));

  find(userId: UserId): ShownPresence | undefined {
    return this.#shown.peek(userId)?.presence;
  }

  /** Takes note of when somebody last did something, which is no news by itself. Their place stays what it is. */
  amend(userId: UserId, lastActiveTs: number): void {
    const entry = this.#shown.peek(userId);
    if (entry !== undefined) entry.presence = { ...entry.presence, lastActiveTs };
  }

  /** Shows something new: `position` has to be the highest so far. */
  show(userId: UserId, presence: ShownPresence): void {
    this.#shown.set(userId, { presence });
  }

  forget(userId: UserId): void {
    this.#shown.delete(userId);
  }

  /** Whose presence changed in (since, now], and to what. */
  *listSince(since: StreamPosition, now: StreamPosition): Generator<readonly [UserId, ShownPresence]> {
    // Those shown last come first, so the first that is too old ends the walk.
    for (const [userId, { presence }] of this.#shown.entries()) {
      if (presence.position <= since) return;
      if (presence.position <= now) yield [userId, presence];
    }
  }
}
