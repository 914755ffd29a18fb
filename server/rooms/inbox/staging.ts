import { LRUCache } from 'lru-cache';
import type { RoomEvent } from '../../matrix/events/event.ts';
import { assembleEvent, readFormat } from '../../matrix/events/parse.ts';
import {
  type EventId,
  isEventId,
  isRoomId,
  isServerName,
  type RoomId,
  type ServerName,
} from '../../matrix/identifiers.ts';
import { isJsonObject } from '../../matrix/json.ts';
import type { RoomVersion } from '../../matrix/room-versions.ts';
import type { Database, ReadStatement, WriteStatement, WriteTx } from '../../storage/types.ts';

/** A checked event on its way into its room. */
export interface StagedEvent {
  /** The order of arrival. */
  readonly seq: number;
  readonly eventId: EventId;
  /** The server that sent it, which need not be its sender's. */
  readonly origin: ServerName;
  /** How often it could not be placed. */
  readonly attempts: number;
}

interface StagedRow {
  seq: number;
  event_id: string;
  origin: string;
  attempts: number;
}

/** Bytes of text of events that are kept parsed between their arrival and their turn. */
const TEXT_KEPT = 8_000_000;

/**
 * Events that have been taken from other servers and must not be lost before they stand in their rooms: format,
 * signatures and hashes are checked, nothing else.
 */
export class Staging {
  readonly #parsed = new LRUCache<EventId, RoomEvent>({ maxSize: TEXT_KEPT });
  /** Never given out twice while the server runs: whoever has read up to a number misses nothing. */
  #newest: number;

  readonly #insert: WriteStatement;
  readonly #remove: WriteStatement;
  readonly #setAttempts: WriteStatement;
  readonly #has: ReadStatement<{ found: 1 }>;
  readonly #count: ReadStatement<{ staged: number }>;
  readonly #list: ReadStatement<StagedRow>;
  readonly #listRooms: ReadStatement<{ room_id: string }>;
  readonly #findPdu: ReadStatement<{ pdu: string }>;

  constructor(db: Database) {
    this.#insert = db.prepareWrite(`
      INSERT OR IGNORE INTO staged_events (seq, room_id, event_id, origin, received_ts, pdu)
      VALUES (?, ?, ?, ?, ?, ?)`);
    this.#remove = db.prepareWrite('DELETE FROM staged_events WHERE event_id = ?');
    this.#setAttempts = db.prepareWrite('UPDATE staged_events SET attempts = ? WHERE event_id = ?');
    this.#has = db.prepareRead('SELECT 1 AS found FROM staged_events WHERE event_id = ?');
    this.#count = db.prepareRead(`
      SELECT count(*) AS staged FROM (SELECT 1 FROM staged_events WHERE room_id = ? LIMIT ?)`);
    this.#list = db.prepareRead(`
      SELECT seq, event_id, origin, attempts FROM staged_events WHERE room_id = ? AND seq > ? ORDER BY seq LIMIT ?`);
    this.#listRooms = db.prepareRead('SELECT DISTINCT room_id FROM staged_events');
    this.#findPdu = db.prepareRead('SELECT pdu FROM staged_events WHERE event_id = ?');
    this.#newest =
      db.prepareRead<{ newest: number | null }>('SELECT max(seq) AS newest FROM staged_events').find()?.newest ?? 0;
  }

  /** Keeps an event; one that is kept already stays as it is. `receivedTs` in ms. */
  insert(tx: WriteTx, event: RoomEvent, origin: ServerName, receivedTs: number): void {
    const text = JSON.stringify(event.pdu);
    this.#insert.run(tx, ++this.#newest, event.roomId, event.eventId, origin, receivedTs, text);
    this.#parsed.set(event.eventId, event, { size: text.length });
    tx.onRollback(() => this.#parsed.delete(event.eventId));
  }

  remove(tx: WriteTx, eventId: EventId): void {
    this.#remove.run(tx, eventId);
  }

  setAttempts(tx: WriteTx, eventId: EventId, attempts: number): void {
    this.#setAttempts.run(tx, attempts, eventId);
  }

  has(eventId: EventId): boolean {
    return this.#has.find(eventId) !== undefined;
  }

  /** How many wait in a room; counts no further than `limit`. */
  count(roomId: RoomId, limit: number): number {
    return this.#count.find(roomId, limit)?.staged ?? 0;
  }

  /** What came after `seq`, in the order of arrival. */
  list(roomId: RoomId, seq: number, limit: number): StagedEvent[] {
    return this.#list.list(roomId, seq, limit).map(({ event_id: eventId, origin, ...row }) => {
      if (!isEventId(eventId) || !isServerName(origin)) throw new Error('a staged event is damaged');
      return { seq: row.seq, eventId, origin, attempts: row.attempts };
    });
  }

  listRooms(): RoomId[] {
    return this.#listRooms
      .list()
      .map((row) => row.room_id)
      .filter(isRoomId);
  }

  /** The event itself; undefined if it is no longer staged. */
  read(eventId: EventId, version: RoomVersion): RoomEvent | undefined {
    const parsed = this.#parsed.get(eventId);
    if (parsed !== undefined) return parsed;
    const text = this.#findPdu.find(eventId)?.pdu;
    const pdu: unknown = text === undefined ? undefined : JSON.parse(text);
    if (!isJsonObject(pdu)) return undefined;
    const format = readFormat(pdu, version);
    return format.ok ? assembleEvent(pdu, version, eventId, format) : undefined;
  }
}
