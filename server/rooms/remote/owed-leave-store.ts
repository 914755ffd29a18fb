import {
  type EventId,
  isEventId,
  isRoomId,
  isServerName,
  isUserId,
  type RoomId,
  type ServerName,
  type UserId,
} from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../matrix/json.ts';
import { jsonList } from '../../storage/sql.ts';
import type { Database, ReadStatement, WriteStatement, WriteTx } from '../../storage/types.ts';

/** A leave that the servers of the room have not heard of. Times in ms since the epoch. */
export interface OwedLeave {
  readonly roomId: RoomId;
  readonly userId: UserId;
  /** The leave that stands here in its place. */
  readonly eventId: EventId;
  readonly content: JsonObject;
  /** Whom it may be told; those who gave an answer that is final are no longer among them. */
  readonly servers: readonly ServerName[];
  readonly sinceTs: number;
  readonly tries: number;
  readonly retryAt: number;
}

interface Row {
  room_id: string;
  user_id: string;
  event_id: string;
  content: string;
  servers: string;
  since_ts: number;
  tries: number;
  retry_at: number;
}

/** Leaves kept until a server of the room has taken them. */
export class OwedLeaveStore {
  readonly #put: WriteStatement;
  readonly #trimUser: WriteStatement;
  readonly #trim: WriteStatement;
  readonly #delay: WriteStatement;
  readonly #hasten: WriteStatement;
  readonly #remove: WriteStatement;
  readonly #removeAll: WriteStatement;
  readonly #listDue: ReadStatement<Row>;
  readonly #findNext: ReadStatement<{ retry_at: number | null }>;
  readonly #find: ReadStatement<{ event_id: string }>;

  constructor(db: Pick<Database, 'prepareRead' | 'prepareWrite'>) {
    this.#put = db.prepareWrite(`
      INSERT OR REPLACE INTO owed_leaves (room_id, user_id, event_id, content, servers, since_ts, tries, retry_at)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?)`);
    this.#trimUser = db.prepareWrite(`
      DELETE FROM owed_leaves WHERE user_id = ? AND room_id IN (
        SELECT room_id FROM owed_leaves WHERE user_id = ? ORDER BY since_ts DESC LIMIT -1 OFFSET ?)`);
    this.#trim = db.prepareWrite(`
      DELETE FROM owed_leaves WHERE (room_id, user_id) IN (
        SELECT room_id, user_id FROM owed_leaves ORDER BY since_ts DESC LIMIT -1 OFFSET ?)`);
    const isSame = 'room_id = ? AND user_id = ? AND event_id = ?';
    this.#delay = db.prepareWrite(`UPDATE owed_leaves SET servers = ?, tries = ?, retry_at = ? WHERE ${isSame}`);
    this.#hasten = db.prepareWrite(`
      UPDATE owed_leaves SET retry_at = ? WHERE retry_at > ? AND EXISTS (
        SELECT 1 FROM json_each(servers) AS one WHERE one.value IN (SELECT value FROM json_each(?)))`);
    this.#remove = db.prepareWrite(`DELETE FROM owed_leaves WHERE ${isSame}`);
    this.#removeAll = db.prepareWrite('DELETE FROM owed_leaves');
    this.#listDue = db.prepareRead(`
      SELECT room_id, user_id, event_id, content, servers, since_ts, tries, retry_at
      FROM owed_leaves WHERE retry_at <= ? ORDER BY retry_at LIMIT ?`);
    this.#findNext = db.prepareRead('SELECT min(retry_at) AS retry_at FROM owed_leaves');
    this.#find = db.prepareRead('SELECT event_id FROM owed_leaves WHERE room_id = ? AND user_id = ?');
  }

  /** Of more than so many, of the user or in all, the oldest are given up. */
  put(tx: WriteTx, owed: OwedLeave, keep: { readonly ofUser: number; readonly all: number }): void {
    const { roomId, userId, eventId, content, servers, sinceTs, tries, retryAt } = owed;
    const [text, list] = [JSON.stringify(content), jsonList(servers)];
    this.#put.run(tx, roomId, userId, eventId, text, list, sinceTs, tries, retryAt);
    this.#trimUser.run(tx, userId, userId, keep.ofUser);
    this.#trim.run(tx, keep.all);
  }

  /** Changes what may change: `servers`, `tries`, `retryAt`. */
  delay(tx: WriteTx, { roomId, userId, eventId, servers, tries, retryAt }: OwedLeave): void {
    this.#delay.run(tx, jsonList(servers), tries, retryAt, roomId, userId, eventId);
  }

  /** What these servers may take becomes due at once. */
  hasten(tx: WriteTx, servers: Iterable<ServerName>, now: number): void {
    this.#hasten.run(tx, now, now, jsonList(servers));
  }

  remove(tx: WriteTx, { roomId, userId, eventId }: OwedLeave): void {
    this.#remove.run(tx, roomId, userId, eventId);
  }

  removeAll(tx: WriteTx): void {
    this.#removeAll.run(tx);
  }

  listDue(now: number, limit: number): OwedLeave[] {
    return this.#listDue.list(now, limit).map(readRow);
  }

  /** When the next one is due; undefined if there is none. */
  findNext(): number | undefined {
    return this.#findNext.find()?.retry_at ?? undefined;
  }

  has({ roomId, userId, eventId }: OwedLeave): boolean {
    return this.#find.find(roomId, userId)?.event_id === eventId;
  }
}

function readRow(row: Row): OwedLeave {
  const { room_id: roomId, user_id: userId, event_id: eventId } = row;
  const content = JSON.parse(row.content) as JsonValue;
  const servers = JSON.parse(row.servers) as JsonValue;
  if (
    !isRoomId(roomId) ||
    !isUserId(userId) ||
    !isEventId(eventId) ||
    !isJsonObject(content) ||
    !Array.isArray(servers)
  ) {
    throw new Error('an owed leave is damaged');
  }
  return {
    roomId,
    userId,
    eventId,
    content,
    servers: servers.filter((server) => typeof server === 'string').filter(isServerName),
    sinceTs: row.since_ts,
    tries: row.tries,
    retryAt: row.retry_at,
  };
}
