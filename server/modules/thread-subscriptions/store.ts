import type { EventId, RoomId, UserId } from '../../matrix/identifiers.ts';
import type { Database, StreamPosition, WriteTx } from '../../storage/types.ts';

/** One thread of one room, as one user stands to it. */
export interface ThreadKey {
  readonly userId: UserId;
  readonly roomId: RoomId;
  readonly rootId: EventId;
}

/** A place in the stream and in the graph of a room. */
export interface Place {
  readonly position: StreamPosition;
  readonly depth: number;
}

/** How a user stands to a thread, as of a position of the stream. */
export interface Subscription {
  readonly roomId: RoomId;
  readonly rootId: EventId;
  readonly position: StreamPosition;
  readonly subscribed: boolean;
  /** A client made it by itself, since something was said to its user. */
  readonly automatic: boolean;
  /** Where the room stood when the user left the thread; undefined while they follow it. */
  readonly leftAt: Place | undefined;
}

interface Row {
  room_id: RoomId;
  root_id: EventId;
  position: StreamPosition;
  subscribed: number;
  automatic: number;
  left_position: StreamPosition | null;
  left_depth: number | null;
}

function toSubscription(row: Row): Subscription {
  const { left_position: position, left_depth: depth } = row;
  return {
    roomId: row.room_id,
    rootId: row.root_id,
    position: row.position,
    subscribed: row.subscribed === 1,
    automatic: row.automatic === 1,
    leftAt: position === null || depth === null ? undefined : { position, depth },
  };
}

/** The threads that users follow, or have left. */
export class ThreadSubscriptionStore {
  readonly #find;
  readonly #isSubscribed;
  readonly #listLatest;
  readonly #put;
  readonly #leave;
  readonly #removeUser;

  constructor(db: Database) {
    const columns = 'room_id, root_id, position, subscribed, automatic, left_position, left_depth';
    this.#find = db.prepareRead<Row>(
      `SELECT ${columns} FROM thread_subscriptions WHERE user_id = ? AND room_id = ? AND root_id = ?`,
    );
    this.#isSubscribed = db.prepareRead<{ subscribed: number }>(
      'SELECT subscribed FROM thread_subscriptions WHERE user_id = ? AND room_id = ? AND root_id = ?',
    );
    this.#listLatest = db.prepareRead<Row>(`
      SELECT ${columns} FROM thread_subscriptions
      WHERE user_id = ? AND position > ? AND position <= ? ORDER BY position DESC LIMIT ?`);
    this.#put = db.prepareWrite(`
      INSERT INTO thread_subscriptions (user_id, room_id, root_id, position, subscribed, automatic)
      VALUES (?, ?, ?, ?, 1, ?)
      ON CONFLICT DO UPDATE SET position = excluded.position, subscribed = 1, automatic = excluded.automatic,
        left_position = NULL, left_depth = NULL`);
    this.#leave = db.prepareWrite(`
      UPDATE thread_subscriptions SET position = ?, subscribed = 0, automatic = 0, left_position = ?, left_depth = ?
      WHERE user_id = ? AND room_id = ? AND root_id = ? AND subscribed = 1`);
    this.#removeUser = db.prepareWrite('DELETE FROM thread_subscriptions WHERE user_id = ?');
  }

  find({ userId, roomId, rootId }: ThreadKey): Subscription | undefined {
    const row = this.#find.find(userId, roomId, rootId);
    return row === undefined ? undefined : toSubscription(row);
  }

  isSubscribed({ userId, roomId, rootId }: ThreadKey): boolean {
    return this.#isSubscribed.find(userId, roomId, rootId)?.subscribed === 1;
  }

  /** What changed in (since, now], the latest change first. */
  listLatest(userId: UserId, since: StreamPosition, now: StreamPosition, limit: number): Subscription[] {
    return this.#listLatest.list(userId, since, now, limit).map(toSubscription);
  }

  put(tx: WriteTx, { userId, roomId, rootId }: ThreadKey, automatic: boolean): void {
    this.#put.run(tx, userId, roomId, rootId, tx.nextPosition(), automatic ? 1 : 0);
    tx.touch(`user:${userId}`);
  }

  leave(tx: WriteTx, { userId, roomId, rootId }: ThreadKey, at: Place): void {
    this.#leave.run(tx, tx.nextPosition(), at.position, at.depth, userId, roomId, rootId);
    tx.touch(`user:${userId}`);
  }

  removeUser(tx: WriteTx, userId: UserId): void {
    this.#removeUser.run(tx, userId);
  }
}
