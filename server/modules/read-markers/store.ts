import type { EventId, RoomId, UserId } from '../../matrix/identifiers.ts';
import type { Database, StreamPosition, WriteTx } from '../../storage/types.ts';

/** A marker, with the place of its event in the room's graph. */
export interface ReadMarker {
  readonly roomId: RoomId;
  readonly eventId: EventId;
  readonly eventDepth: number;
  readonly eventPosition: number;
}

interface Row {
  room_id: string;
  event_id: string;
  event_depth: number;
  event_position: number;
}

const COLUMNS = 'room_id, event_id, event_depth, event_position';

function toMarker(row: Row): ReadMarker {
  return {
    roomId: row.room_id as RoomId,
    eventId: row.event_id as EventId,
    eventDepth: row.event_depth,
    eventPosition: row.event_position,
  };
}

/** Read markers of local users, one for each room. */
export class ReadMarkerStore {
  readonly #find;
  readonly #listSince;
  readonly #put;
  readonly #removeUser;

  constructor(db: Database) {
    this.#find = db.prepareRead<Row>(`SELECT ${COLUMNS} FROM read_markers WHERE user_id = ? AND room_id = ?`);
    this.#listSince = db.prepareRead<Row>(
      `SELECT ${COLUMNS} FROM read_markers WHERE user_id = ? AND position > ? AND position <= ?`,
    );
    this.#put = db.prepareWrite(`
      INSERT OR REPLACE INTO read_markers (user_id, ${COLUMNS}, position) VALUES (?, ?, ?, ?, ?, ?)`);
    this.#removeUser = db.prepareWrite('DELETE FROM read_markers WHERE user_id = ?');
  }

  find(userId: UserId, roomId: RoomId): ReadMarker | undefined {
    const row = this.#find.find(userId, roomId);
    return row === undefined ? undefined : toMarker(row);
  }

  listSince(userId: UserId, since: StreamPosition, now: StreamPosition): ReadMarker[] {
    return this.#listSince.list(userId, since, now).map(toMarker);
  }

  put(tx: WriteTx, userId: UserId, { roomId, eventId, eventDepth, eventPosition }: ReadMarker): void {
    this.#put.run(tx, userId, roomId, eventId, eventDepth, eventPosition, tx.nextPosition());
    tx.touch(`user:${userId}`);
  }

  removeUser(tx: WriteTx, userId: UserId): void {
    this.#removeUser.run(tx, userId);
  }
}
