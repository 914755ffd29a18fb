import {
  isRoomAlias,
  isRoomId,
  isUserId,
  type RoomAlias,
  type RoomId,
  type UserId,
} from '../../../matrix/identifiers.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';

/** An alias of this server, the room it leads to, and who made it. */
export interface StoredAlias {
  readonly alias: RoomAlias;
  readonly roomId: RoomId;
  readonly creator: UserId;
}

interface Row {
  alias: string;
  room_id: string;
  creator: string;
}

/** The aliases of this server. */
export class AliasStore {
  readonly #find;
  readonly #list;
  readonly #insert;
  readonly #move;
  readonly #remove;
  readonly #removeRoom;

  constructor(db: Database) {
    const select = 'SELECT alias, room_id, creator FROM room_aliases';
    this.#find = db.prepareRead<Row>(`${select} WHERE alias = ?`);
    this.#list = db.prepareRead<Row>(`${select} WHERE room_id = ? ORDER BY alias`);
    this.#insert = db.prepareWrite(`
      INSERT INTO room_aliases (alias, room_id, creator) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`);
    this.#move = db.prepareWrite('UPDATE room_aliases SET room_id = ? WHERE room_id = ?');
    this.#remove = db.prepareWrite('DELETE FROM room_aliases WHERE alias = ?');
    this.#removeRoom = db.prepareWrite('DELETE FROM room_aliases WHERE room_id = ?');
  }

  find(alias: RoomAlias): StoredAlias | undefined {
    const row = this.#find.find(alias);
    return row === undefined ? undefined : readRow(row);
  }

  /** In the order of the alphabet. */
  list(roomId: RoomId): StoredAlias[] {
    return this.#list.list(roomId).map(readRow);
  }

  /** Returns false if there is such an alias already. */
  insert(tx: WriteTx, { alias, roomId, creator }: StoredAlias): boolean {
    return this.#insert.run(tx, alias, roomId, creator).changes > 0;
  }

  /** All aliases of one room lead to another from now on. */
  move(tx: WriteTx, from: RoomId, to: RoomId): void {
    this.#move.run(tx, to, from);
  }

  remove(tx: WriteTx, alias: RoomAlias): void {
    this.#remove.run(tx, alias);
  }

  removeRoom(tx: WriteTx, roomId: RoomId): void {
    this.#removeRoom.run(tx, roomId);
  }
}

function readRow({ alias, room_id: roomId, creator }: Row): StoredAlias {
  if (!isRoomAlias(alias) || !isRoomId(roomId) || !isUserId(creator)) throw new Error('a stored alias is damaged');
  return { alias, roomId, creator };
}
