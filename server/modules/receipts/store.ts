import type { EventId, RoomId, UserId } from '../../matrix/identifiers.ts';
import type { Database, StreamPosition, WriteTx } from '../../storage/types.ts';

export type ReceiptType = 'm.read' | 'm.read.private';

/** How far somebody has read in a room, or in one thread of it. */
export interface Receipt {
  readonly roomId: RoomId;
  readonly userId: UserId;
  readonly type: ReceiptType;
  /** `main` or a thread root; undefined for a receipt that is not about threads. */
  readonly threadId: string | undefined;
  readonly eventId: EventId;
  readonly eventDepth: number;
  /** The event's place in the stream; 0 for history that was fetched later. */
  readonly eventPosition: StreamPosition;
  /** When it was read, ms since the epoch. */
  readonly ts: number;
}

interface Row {
  room_id: string;
  user_id: string;
  type: ReceiptType;
  thread_id: string;
  event_id: string;
  event_depth: number;
  event_position: number;
  ts: number;
}

const COLUMNS = 'room_id, user_id, type, thread_id, event_id, event_depth, event_position, ts';

function toReceipt(row: Row): Receipt {
  return {
    roomId: row.room_id as RoomId,
    userId: row.user_id as UserId,
    type: row.type,
    threadId: row.thread_id === '' ? undefined : row.thread_id,
    eventId: row.event_id as EventId,
    eventDepth: row.event_depth,
    eventPosition: row.event_position as StreamPosition,
    ts: row.ts,
  };
}

/** The receipts of all rooms, the last of each user, kind and thread. */
export class ReceiptStore {
  readonly #find;
  readonly #put;
  readonly #listSince;
  readonly #listRoom;
  readonly #removeUser;

  constructor(db: Database) {
    this.#find = db.prepareRead<Row>(
      `SELECT ${COLUMNS} FROM receipts WHERE room_id = ? AND user_id = ? AND type = ? AND thread_id = ?`,
    );
    this.#put = db.prepareWrite(`
      INSERT OR REPLACE INTO receipts (${COLUMNS}, position) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`);
    this.#listSince = db.prepareRead<Row>(
      `SELECT ${COLUMNS} FROM receipts WHERE position > ? AND position <= ? ORDER BY position`,
    );
    this.#listRoom = db.prepareRead<Row>(`SELECT ${COLUMNS} FROM receipts WHERE room_id = ?`);
    this.#removeUser = db.prepareWrite('DELETE FROM receipts WHERE user_id = ?');
  }

  find(roomId: RoomId, userId: UserId, type: ReceiptType, threadId: string | undefined): Receipt | undefined {
    const row = this.#find.find(roomId, userId, type, threadId ?? '');
    return row === undefined ? undefined : toReceipt(row);
  }

  put(tx: WriteTx, receipt: Receipt): void {
    const { roomId, userId, type, threadId, eventId, eventDepth, eventPosition, ts } = receipt;
    const position = tx.nextPosition();
    this.#put.run(tx, roomId, userId, type, threadId ?? '', eventId, eventDepth, eventPosition, ts, position);
    tx.touch(type === 'm.read' ? `room:${roomId}` : `user:${userId}`);
  }

  /** Those set in (since, now], in all rooms. */
  listSince(since: StreamPosition, now: StreamPosition): Receipt[] {
    return this.#listSince.list(since, now).map(toReceipt);
  }

  listRoom(roomId: RoomId): Receipt[] {
    return this.#listRoom.list(roomId).map(toReceipt);
  }

  removeUser(tx: WriteTx, userId: UserId): void {
    this.#removeUser.run(tx, userId);
  }
}
