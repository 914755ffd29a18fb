import { isRoomId, type RoomId } from '../../matrix/identifiers.ts';
import type { Database, StreamPosition, WriteTx } from '../../storage/types.ts';

/** Rooms whose rule for guests changed and whose guests have yet to be looked at. */
export class GuestAccessChanges {
  readonly #list;
  readonly #put;
  readonly #remove;

  constructor(db: Database) {
    this.#list = db.prepareRead<{ room_id: string }>('SELECT room_id FROM guest_access_changes WHERE position <= ?');
    this.#put = db.prepareWrite(`
      INSERT INTO guest_access_changes (room_id, position) VALUES (?, ?)
      ON CONFLICT DO UPDATE SET position = excluded.position`);
    this.#remove = db.prepareWrite('DELETE FROM guest_access_changes WHERE room_id = ? AND position <= ?');
  }

  /** Those that changed up to a position. */
  list(now: StreamPosition): RoomId[] {
    return this.#list
      .list(now)
      .map((row) => row.room_id)
      .filter(isRoomId);
  }

  put(tx: WriteTx, roomId: RoomId, position: StreamPosition): void {
    this.#put.run(tx, roomId, position);
  }

  /** The room has been seen to, unless it changed again after `now`. */
  remove(tx: WriteTx, roomId: RoomId, now: StreamPosition): void {
    this.#remove.run(tx, roomId, now);
  }
}
