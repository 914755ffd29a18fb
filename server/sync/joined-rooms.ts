import { LRUCache } from 'lru-cache';
import type { RoomId, UserId } from '../matrix/identifiers.ts';
import type { MembershipReader } from '../rooms/types.ts';
import type { Database, StreamPosition } from '../storage/types.ts';
import type { JoinedRoom } from './types.ts';
import { atMost } from '../util/lru.ts';

/** Users whose joined rooms are remembered between their requests. */
const REMEMBERED_USERS = 1_000;

interface Remembered {
  readonly at: StreamPosition;
  readonly rooms: ReadonlyMap<RoomId, JoinedRoom>;
}

const LONG_JOINED: JoinedRoom = { newlyJoined: false };

/**
 * The rooms each user is joined to, kept up by what changed since they were last asked for: a user of many rooms who
 * syncs often does not have all of them listed each time.
 */
export class JoinedRooms {
  readonly #db: Pick<Database, 'position' | 'committed'>;
  readonly #members: Pick<MembershipReader, 'listRoomsOf' | 'listMembershipChanges'>;
  readonly #excluded: ReadonlySet<RoomId>;
  readonly #remembered = new LRUCache<UserId, Remembered>(atMost(REMEMBERED_USERS));

  constructor(needs: {
    db: Pick<Database, 'position' | 'committed'>;
    members: Pick<MembershipReader, 'listRoomsOf' | 'listMembershipChanges'>;
    /** Rooms that never appear in /sync. */
    excluded: ReadonlySet<RoomId>;
  }) {
    this.#db = needs.db;
    this.#members = needs.members;
    this.#excluded = needs.excluded;
  }

  /** Memberships of these users are gone without having changed. */
  forget(users: readonly UserId[]): void {
    for (const userId of users) this.#remembered.delete(userId);
  }

  /** The rooms as they are now, none of them marked as newly joined. Not to be changed; it does not change either. */
  of(userId: UserId): ReadonlyMap<RoomId, JoinedRoom> {
    const now = this.#db.position();
    const known = this.#remembered.get(userId);
    if (known?.at === now) return known.rooms;
    const rooms = known === undefined ? this.#list(userId) : this.#follow(userId, known, now);
    this.#remember(userId, { at: now, rooms });
    return rooms;
  }

  #list(userId: UserId): ReadonlyMap<RoomId, JoinedRoom> {
    const rooms = new Map<RoomId, JoinedRoom>();
    for (const { roomId } of this.#members.listRoomsOf(userId, ['join'])) {
      if (!this.#excluded.has(roomId)) rooms.set(roomId, LONG_JOINED);
    }
    return rooms;
  }

  #follow(userId: UserId, known: Remembered, now: StreamPosition): ReadonlyMap<RoomId, JoinedRoom> {
    const changes = this.#members.listMembershipChanges(userId, known.at, now);
    if (changes.length === 0) return known.rooms;
    const rooms = new Map(known.rooms);
    for (const { roomId, after } of changes) {
      if (after.membership === 'join' && !this.#excluded.has(roomId)) rooms.set(roomId, LONG_JOINED);
      else rooms.delete(roomId);
    }
    return rooms;
  }

  #remember(userId: UserId, entry: Remembered): void {
    this.#remembered.set(userId, entry);
    // What was read may yet be undone with its transaction, and its position would not come again to tell.
    this.#db.committed().catch(() => this.#remembered.delete(userId));
  }
}
