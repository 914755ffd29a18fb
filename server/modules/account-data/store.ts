import type { RoomId, UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { Database, StreamPosition, WriteTx } from '../../storage/types.ts';

/** One piece of account data. */
export interface AccountDatum {
  /** Undefined for what belongs to no room. */
  readonly roomId: RoomId | undefined;
  readonly type: string;
  readonly content: JsonObject;
  /** It is there no more; its content is empty. */
  readonly deleted: boolean;
}

interface Row {
  room_id: string;
  type: string;
  content: string;
  deleted: number;
}

function toDatum(row: Row): AccountDatum {
  return {
    roomId: row.room_id === '' ? undefined : (row.room_id as RoomId),
    type: row.type,
    content: JSON.parse(row.content),
    deleted: row.deleted === 1,
  };
}

/** The account data of local users, global and per room. */
export class AccountDataStore {
  readonly #find;
  readonly #listSince;
  readonly #listRoom;
  readonly #put;
  readonly #remove;
  readonly #removeUser;

  constructor(db: Database) {
    this.#find = db.prepareRead<Row>(
      'SELECT room_id, type, content, deleted FROM account_data WHERE user_id = ? AND room_id = ? AND type = ? AND deleted = 0',
    );
    this.#listSince = db.prepareRead<Row>(`
      SELECT room_id, type, content, deleted FROM account_data
      WHERE user_id = ? AND position > ? AND position <= ? ORDER BY position`);
    this.#listRoom = db.prepareRead<Row>(
      'SELECT room_id, type, content, deleted FROM account_data WHERE user_id = ? AND room_id = ? AND deleted = 0 ORDER BY position',
    );
    this.#put = db.prepareWrite(`
      INSERT INTO account_data (user_id, room_id, type, content, position) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET content = excluded.content, position = excluded.position, deleted = 0`);
    this.#remove = db.prepareWrite(`
      UPDATE account_data SET content = '{}', position = ?, deleted = 1
      WHERE user_id = ? AND room_id = ? AND type = ? AND deleted = 0`);
    this.#removeUser = db.prepareWrite('DELETE FROM account_data WHERE user_id = ?');
  }

  find(userId: UserId, roomId: RoomId | undefined, type: string): JsonObject | undefined {
    const row = this.#find.find(userId, roomId ?? '', type);
    return row === undefined ? undefined : toDatum(row).content;
  }

  /** What changed in (since, now], what was deleted too, oldest change first. */
  listSince(userId: UserId, since: StreamPosition, now: StreamPosition): AccountDatum[] {
    return this.#listSince.list(userId, since, now).map(toDatum);
  }

  listRoom(userId: UserId, roomId: RoomId): AccountDatum[] {
    return this.#listRoom.list(userId, roomId).map(toDatum);
  }

  put(tx: WriteTx, userId: UserId, roomId: RoomId | undefined, type: string, content: JsonObject): void {
    this.#put.run(tx, userId, roomId ?? '', type, JSON.stringify(content), tx.nextPosition());
    tx.touch(`user:${userId}`);
  }

  /** Takes it away, if it is there. */
  remove(tx: WriteTx, userId: UserId, roomId: RoomId | undefined, type: string): void {
    const { changes } = this.#remove.run(tx, tx.nextPosition(), userId, roomId ?? '', type);
    if (changes > 0) tx.touch(`user:${userId}`);
  }

  removeUser(tx: WriteTx, userId: UserId): void {
    this.#removeUser.run(tx, userId);
  }
}
