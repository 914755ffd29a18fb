import type { RoomId, UserId } from '../../matrix/identifiers.ts';
import type { Database, StreamPosition, WriteTx } from '../../storage/types.ts';
import { RequiredState } from './required-state.ts';

/** What a device holds of a room, or of what an extension tells of it. */
export interface Sent {
  /** Told up to here; undefined: up to wherever the device has come. */
  readonly upTo: StreamPosition | undefined;
  /** Of the room itself: how many of its newest events the device holds, and which state. */
  readonly limit?: number | undefined;
  readonly required?: RequiredState | undefined;
  /** Told as a direct message. */
  readonly direct?: boolean | undefined;
  /** Where the membership stands in the stream that was told of a room the viewer is not joined to. */
  readonly place?: StreamPosition | undefined;
}

/** Room → what was sent; by part: '' for the room itself, or an extension's name. */
export type SentRooms = ReadonlyMap<string, ReadonlyMap<RoomId, Sent>>;
/** Undefined: nothing is held of it any more. */
export type SentChanges = Map<string, Map<RoomId, Sent | undefined>>;

export interface ConnectionKey {
  readonly userId: UserId;
  /** Empty for who has no device. */
  readonly deviceId: string;
  readonly connId: string;
}

export interface StoredConnection extends ConnectionKey {
  readonly nid: number;
  readonly held: number;
  readonly given: number;
  readonly usedMs: number;
  readonly changes: SentChanges | undefined;
}

interface ConnectionRow {
  connection_nid: number;
  user_id: string;
  device_id: string;
  conn_id: string;
  used_ms: number;
  held: number;
  given: number;
  changes: string | null;
}

interface SentRow {
  part: string;
  room_id: string;
  sent: string;
}

/** As it is written: short keys, what is usual left out. */
interface WrittenSent {
  u?: number;
  l?: number;
  r?: string;
  d?: 1;
  p?: number;
}

/** Old connections removed in one write. */
const EXPIRED_AT_ONCE = 100;

/** The tables of sliding sync. */
export class ConnectionStore {
  readonly #find;
  readonly #insert;
  readonly #remove;
  readonly #removeOldest;
  readonly #removeUnused;
  readonly #removeDevice;
  readonly #removeAll;
  readonly #setUsed;
  readonly #setGiven;
  readonly #setHeld;
  readonly #listSent;
  readonly #putSent;
  readonly #removeSent;
  readonly #listRequired;
  readonly #putRequired;

  constructor(db: Database) {
    this.#find = db.prepareRead<ConnectionRow>('SELECT * FROM sliding_connections WHERE connection_nid = ?');
    this.#insert = db.prepareReturning<{ connection_nid: number }>(`
      INSERT INTO sliding_connections (user_id, device_id, conn_id, used_ms, held, given) VALUES (?, ?, ?, ?, 0, 0)
      RETURNING connection_nid`);
    this.#remove = db.prepareWrite(
      'DELETE FROM sliding_connections WHERE user_id = ? AND device_id = ? AND conn_id = ?',
    );
    this.#removeOldest = db.prepareWrite(`
      DELETE FROM sliding_connections WHERE connection_nid IN (
        SELECT connection_nid FROM sliding_connections WHERE user_id = ? AND device_id = ?
        ORDER BY used_ms DESC, connection_nid DESC LIMIT -1 OFFSET ?)`);
    this.#removeUnused = db.prepareWrite(`
      DELETE FROM sliding_connections WHERE connection_nid IN (
        SELECT connection_nid FROM sliding_connections WHERE used_ms < ? LIMIT ${EXPIRED_AT_ONCE})`);
    this.#removeAll = db.prepareWrite('DELETE FROM sliding_connections');
    this.#removeDevice = db.prepareWrite('DELETE FROM sliding_connections WHERE user_id = ? AND device_id = ?');
    this.#setUsed = db.prepareWrite('UPDATE sliding_connections SET used_ms = ? WHERE connection_nid = ?');
    this.#setGiven = db.prepareWrite(
      'UPDATE sliding_connections SET given = ?, changes = ?, used_ms = ? WHERE connection_nid = ?',
    );
    this.#setHeld = db.prepareWrite(
      'UPDATE sliding_connections SET held = ?, changes = NULL, used_ms = ? WHERE connection_nid = ?',
    );
    this.#listSent = db.prepareRead<SentRow>('SELECT part, room_id, sent FROM sliding_sent WHERE connection_nid = ?');
    this.#putSent = db.prepareWrite(`
      INSERT INTO sliding_sent (connection_nid, part, room_id, sent) VALUES (?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET sent = excluded.sent`);
    this.#removeSent = db.prepareWrite(
      'DELETE FROM sliding_sent WHERE connection_nid = ? AND part = ? AND room_id = ?',
    );
    this.#listRequired = db.prepareRead<{ name: string; definition: string }>(
      'SELECT name, definition FROM sliding_required WHERE connection_nid = ?',
    );
    this.#putRequired = db.prepareWrite(`
      INSERT INTO sliding_required (connection_nid, name, definition) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`);
  }

  find(
    nid: number,
  ): { connection: StoredConnection; sent: Map<string, Map<RoomId, Sent>>; required: Map<string, number> } | undefined {
    const row = this.#find.find(nid);
    if (row === undefined) return undefined;
    const required = new Map(
      this.#listRequired.list(nid).map(({ name, definition }) => [name, RequiredState.parse(definition)]),
    );
    const sent = new Map<string, Map<RoomId, Sent>>();
    for (const { part, room_id: roomId, sent: written } of this.#listSent.list(nid)) {
      const rooms = sent.get(part) ?? new Map<RoomId, Sent>();
      rooms.set(roomId as RoomId, readSent(JSON.parse(written), required));
      sent.set(part, rooms);
    }
    const connection: StoredConnection = {
      nid,
      userId: row.user_id as UserId,
      deviceId: row.device_id,
      connId: row.conn_id,
      usedMs: row.used_ms,
      held: row.held,
      given: row.given,
      changes: row.changes === null ? undefined : readChanges(JSON.parse(row.changes), required),
    };
    return { connection, sent, required: new Map([...required].map(([name, { text }]) => [name, text.length])) };
  }

  /** A new connection in the place of an earlier one of the same name. Gives its number. */
  insert(tx: WriteTx, { userId, deviceId, connId }: ConnectionKey, usedMs: number): number {
    this.#remove.run(tx, userId, deviceId, connId);
    const row = this.#insert.find(tx, userId, deviceId, connId, usedMs);
    if (row === undefined) throw new Error('a connection was not stored');
    return row.connection_nid;
  }

  /** Leaves a device the `most` connections it used last. */
  removeOldest(tx: WriteTx, { userId, deviceId }: ConnectionKey, most: number): void {
    this.#removeOldest.run(tx, userId, deviceId, most);
  }

  /** Says whether there were any. */
  removeUnusedSince(tx: WriteTx, usedMs: number): boolean {
    return this.#removeUnused.run(tx, usedMs).changes > 0;
  }

  remove(tx: WriteTx, { userId, deviceId, connId }: ConnectionKey): void {
    this.#remove.run(tx, userId, deviceId, connId);
  }

  removeDevice(tx: WriteTx, userId: UserId, deviceId: string): void {
    this.#removeDevice.run(tx, userId, deviceId);
  }

  removeAll(tx: WriteTx): void {
    this.#removeAll.run(tx);
  }

  setUsed(tx: WriteTx, nid: number, usedMs: number): void {
    this.#setUsed.run(tx, usedMs, nid);
  }

  /** What the device will hold once it has the answer numbered `given`. */
  setGiven(tx: WriteTx, nid: number, given: number, changes: SentChanges, usedMs: number): void {
    for (const rooms of changes.values()) {
      for (const sent of rooms.values()) {
        if (sent?.required !== undefined) this.#putRequired.run(tx, nid, sent.required.name, sent.required.text);
      }
    }
    this.#setGiven.run(tx, given, JSON.stringify(writeChanges(changes)), usedMs, nid);
  }

  /** The device has the answer numbered `held`, and thereby these changes. */
  setHeld(tx: WriteTx, nid: number, held: number, changes: SentChanges, usedMs: number): void {
    for (const [part, rooms] of changes) {
      for (const [roomId, sent] of rooms) {
        if (sent === undefined) this.#removeSent.run(tx, nid, part, roomId);
        else this.#putSent.run(tx, nid, part, roomId, JSON.stringify(writeSent(sent)));
      }
    }
    this.#setHeld.run(tx, held, usedMs, nid);
  }
}

type WrittenChanges = Record<string, Record<string, WrittenSent | null>>;

function writeChanges(changes: SentChanges): WrittenChanges {
  const written: WrittenChanges = {};
  for (const [part, rooms] of changes) {
    written[part] = Object.fromEntries(
      [...rooms].map(([roomId, sent]) => [roomId, sent === undefined ? null : writeSent(sent)]),
    );
  }
  return written;
}

function readChanges(written: WrittenChanges, required: ReadonlyMap<string, RequiredState>): SentChanges {
  return new Map(
    Object.entries(written).map(([part, rooms]) => [
      part,
      new Map(
        Object.entries(rooms).map(([roomId, sent]) => [
          roomId as RoomId,
          sent === null ? undefined : readSent(sent, required),
        ]),
      ),
    ]),
  );
}

function writeSent({ upTo, limit, required, direct, place }: Sent): WrittenSent {
  return {
    ...(upTo === undefined ? {} : { u: upTo }),
    ...(limit === undefined ? {} : { l: limit }),
    ...(required === undefined ? {} : { r: required.name }),
    ...(direct === true ? { d: 1 } : {}),
    ...(place === undefined ? {} : { p: place }),
  };
}

function readSent({ u, l, r, d, p }: WrittenSent, required: ReadonlyMap<string, RequiredState>): Sent {
  return {
    upTo: u as StreamPosition | undefined,
    limit: l,
    required: r === undefined ? undefined : required.get(r),
    direct: d === 1,
    place: p as StreamPosition | undefined,
  };
}
