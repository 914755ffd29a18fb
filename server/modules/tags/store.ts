import type { RoomId, UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { Database, StreamPosition, WriteTx } from '../../storage/types.ts';

/** Tag name → what the client keeps with it (`order`, usually). */
export type Tags = Readonly<Record<string, JsonObject>>;

interface Row {
  room_id: string;
  tags: string;
}

/** The tags local users put on their rooms. */
export class TagStore {
  readonly #find;
  readonly #listSince;
  readonly #put;
  readonly #removeUser;

  constructor(db: Database) {
    this.#find = db.prepareRead<Row>('SELECT room_id, tags FROM room_tags WHERE user_id = ? AND room_id = ?');
    this.#listSince = db.prepareRead<Row>(
      'SELECT room_id, tags FROM room_tags WHERE user_id = ? AND position > ? AND position <= ? ORDER BY position',
    );
    this.#put = db.prepareWrite(`
      INSERT INTO room_tags (user_id, room_id, tags, position) VALUES (?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET tags = excluded.tags, position = excluded.position`);
    this.#removeUser = db.prepareWrite('DELETE FROM room_tags WHERE user_id = ?');
  }

  /** Empty if there are none. */
  get(userId: UserId, roomId: RoomId): Tags {
    const row = this.#find.find(userId, roomId);
    return row === undefined ? {} : JSON.parse(row.tags);
  }

  /** Undefined if the room never had any; empty if they were taken away. */
  find(userId: UserId, roomId: RoomId): Tags | undefined {
    const row = this.#find.find(userId, roomId);
    return row === undefined ? undefined : JSON.parse(row.tags);
  }

  listSince(userId: UserId, since: StreamPosition, now: StreamPosition): { roomId: RoomId; tags: Tags }[] {
    return this.#listSince
      .list(userId, since, now)
      .map((row) => ({ roomId: row.room_id as RoomId, tags: JSON.parse(row.tags) }));
  }

  put(tx: WriteTx, userId: UserId, roomId: RoomId, tags: Tags): void {
    this.#put.run(tx, userId, roomId, JSON.stringify(tags), tx.nextPosition());
    tx.touch(`user:${userId}`);
  }

  removeUser(tx: WriteTx, userId: UserId): void {
    this.#removeUser.run(tx, userId);
  }
}
