import type { EventId, RoomId, UserId } from '../../../matrix/identifiers.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';

/** Something that a user is still to be told of. */
export interface OutboxEntry {
  /** Of its event, in the stream. */
  readonly position: number;
  readonly eventId: EventId;
  readonly roomId: RoomId;
  /** JSON, of the rule that matched. */
  readonly actions: string;
  /** When it came, ms since the epoch. */
  readonly ts: number;
}

interface EntryRow {
  position: number;
  event_id: EventId;
  room_id: RoomId;
  actions: string;
  ts: number;
}

/** What pushers have still to say. Only for users who have pushers; what was read meanwhile is passed over. */
export class OutboxStore {
  readonly #insert;
  readonly #listUnread;
  readonly #findLast;
  readonly #findLastBefore;
  readonly #prune;
  readonly #removeUser;

  constructor(db: Database) {
    this.#insert = db.prepareWrite(`
      INSERT OR IGNORE INTO push_outbox (user_id, position, event_id, unread_nid, actions, ts)
      SELECT ?, ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM push_pushers WHERE user_id = ? AND enabled = 1)`);
    this.#listUnread = db.prepareRead<EntryRow>(`
      SELECT outbox.position, event_id, room_id, actions, ts
      FROM push_outbox AS outbox CROSS JOIN push_unread AS unread ON unread.unread_nid = outbox.unread_nid
      WHERE outbox.user_id = ? AND outbox.position > ? AND outbox.position > unread.read_up_to
      ORDER BY outbox.position LIMIT ?`);
    this.#findLast = db.prepareRead<{ position: number | null }>(
      'SELECT max(position) AS position FROM push_outbox WHERE user_id = ?',
    );
    this.#findLastBefore = db.prepareRead<{ position: number | null }>(
      'SELECT max(position) AS position FROM push_outbox WHERE user_id = ? AND ts < ?',
    );
    this.#prune = db.prepareWrite(`
      DELETE FROM push_outbox WHERE user_id = ? AND position <= coalesce(
        (SELECT min(position) FROM push_pushers WHERE user_id = ? AND enabled = 1), ${Number.MAX_SAFE_INTEGER})`);
    this.#removeUser = db.prepareWrite('DELETE FROM push_outbox WHERE user_id = ?');
  }

  /** Puts down what a user is to be told of, if they have a pusher that could. Says whether they have. */
  insert(
    tx: WriteTx,
    {
      userId,
      unreadNid,
      position,
      eventId,
      actions,
      ts,
    }: Omit<OutboxEntry, 'roomId'> & { readonly userId: UserId; readonly unreadNid: number },
  ): boolean {
    return this.#insert.run(tx, userId, position, eventId, unreadNid, actions, ts, userId).changes > 0;
  }

  /** What came after a position and is not read, oldest first. */
  listUnread(userId: UserId, after: number, limit: number): OutboxEntry[] {
    return this.#listUnread
      .list(userId, after, limit)
      .map(({ position, event_id: eventId, room_id: roomId, actions, ts }) => ({
        position,
        eventId,
        roomId,
        actions,
        ts,
      }));
  }

  /** The position of the newest entry, read or not; 0 if there is none. */
  findLast(userId: UserId): number {
    return this.#findLast.find(userId)?.position ?? 0;
  }

  /** The position of the newest entry that came before `ts` (ms); 0 if there is none. */
  findLastBefore(userId: UserId, ts: number): number {
    return this.#findLastBefore.find(userId, ts)?.position ?? 0;
  }

  /** Removes what all of a user's pushers are done with. */
  prune(tx: WriteTx, userId: UserId): void {
    this.#prune.run(tx, userId, userId);
  }

  removeUser(tx: WriteTx, userId: UserId): void {
    this.#removeUser.run(tx, userId);
  }
}
