import { isRoomId, isUserId, type RoomId, type UserId } from '../../matrix/identifiers.ts';
import type { Database, ReadStatement, StreamPosition, WriteStatement, WriteTx } from '../../storage/types.ts';

/** What is done of a purge, one after the other. */
export type PurgeStep = 'leaving' | 'telling' | 'removing' | 'tidying' | 'shrinking' | 'done';
const STEPS: readonly PurgeStep[] = ['leaving', 'telling', 'removing', 'tidying', 'shrinking', 'done'];

/** A room that is being removed from this server, or was. Times in ms since the epoch. */
export interface Purge {
  readonly roomId: RoomId;
  readonly startedTs: number;
  /** Undefined while it is under way. */
  readonly endedTs: number | undefined;
  readonly step: PurgeStep;
  /** Users of this server who had to do with the room; undefined as long as they have not left. */
  readonly users: readonly UserId[] | undefined;
  /** Those who were in the room, or invited, when it began; and where in the stream it was gone for them. */
  readonly present: readonly UserId[];
  readonly position: StreamPosition | undefined;
  /** What there was at first, and how much of it is gone. */
  readonly events: number;
  readonly removed: number;
  /** Size of the database file at first. */
  readonly bytesBefore: number;
  /** By how much the file is smaller than it was; known at the end. */
  readonly freedBytes: number | undefined;
}

interface Row {
  room_id: string;
  started_ts: number;
  ended_ts: number | null;
  step: string;
  users: string | null;
  present: string;
  position: number | null;
  events: number;
  removed: number;
  bytes_before: number;
  freed_bytes: number | null;
}

/** How long (ms) it is remembered how a purge went, for devices that come back as well. */
const REMEMBERED_MS = 90 * 24 * 3_600_000;

/** Which rooms are being removed, and which nobody may enter. */
export class PurgeStore {
  readonly #find: ReadStatement<Row>;
  readonly #list: ReadStatement<Row>;
  readonly #listFor: ReadStatement<{ room_id: string }>;
  readonly #start: WriteStatement;
  readonly #update: WriteStatement;
  readonly #removeOld: WriteStatement;
  readonly #isBlocked: ReadStatement<{ blocked: 1 }>;
  readonly #listBlocked: ReadStatement<{ room_id: string }>;
  readonly #block: WriteStatement;
  readonly #unblock: WriteStatement;

  constructor(db: Database) {
    const select = `
      SELECT room_id, started_ts, ended_ts, step, users, present, position, events, removed, bytes_before, freed_bytes
      FROM purges`;
    this.#find = db.prepareRead(`${select} WHERE room_id = ?`);
    this.#list = db.prepareRead(`${select} ORDER BY started_ts`);
    this.#start = db.prepareWrite(`
      INSERT OR REPLACE INTO purges (room_id, started_ts, step, present, events, bytes_before)
      VALUES (?, ?, ?, ?, ?, ?)`);
    this.#update = db.prepareWrite(`
      UPDATE purges SET ended_ts = ?, step = ?, users = ?, position = ?, removed = ?, freed_bytes = ? WHERE room_id = ?`);
    this.#listFor = db.prepareRead(`
      SELECT room_id FROM purges
      WHERE position > ? AND position <= ? AND EXISTS (SELECT 1 FROM json_each(present) WHERE value = ?)`);
    this.#removeOld = db.prepareWrite('DELETE FROM purges WHERE ended_ts < ?');
    this.#isBlocked = db.prepareRead('SELECT 1 AS blocked FROM blocked_rooms WHERE room_id = ?');
    this.#listBlocked = db.prepareRead('SELECT room_id FROM blocked_rooms');
    this.#block = db.prepareWrite('INSERT OR IGNORE INTO blocked_rooms (room_id, blocked_ts) VALUES (?, ?)');
    this.#unblock = db.prepareWrite('DELETE FROM blocked_rooms WHERE room_id = ?');
  }

  find(roomId: RoomId): Purge | undefined {
    const row = this.#find.find(roomId);
    return row === undefined ? undefined : readRow(row);
  }

  /** The one that was begun first comes first. */
  list(): Purge[] {
    return this.#list.list().map(readRow);
  }

  start(tx: WriteTx, order: Pick<Purge, 'roomId' | 'startedTs' | 'present' | 'events' | 'bytesBefore'>): void {
    const { roomId, startedTs, present, events, bytesBefore } = order;
    this.#removeOld.run(tx, startedTs - REMEMBERED_MS);
    this.#start.run(tx, roomId, startedTs, 'leaving', JSON.stringify(present), events, bytesBefore);
  }

  update(tx: WriteTx, { roomId, endedTs, step, users, position, removed, freedBytes }: Purge): void {
    const names = users === undefined ? null : JSON.stringify(users);
    this.#update.run(tx, endedTs ?? null, step, names, position ?? null, removed, freedBytes ?? null, roomId);
  }

  /** Rooms that were gone for a user in (since, now]. */
  listFor(userId: UserId, since: StreamPosition, now: StreamPosition): RoomId[] {
    return this.#listFor
      .list(since, now, userId)
      .map((row) => row.room_id)
      .filter(isRoomId);
  }

  isBlocked(roomId: RoomId): boolean {
    return this.#isBlocked.find(roomId) !== undefined;
  }

  listBlocked(): RoomId[] {
    return this.#listBlocked
      .list()
      .map((row) => row.room_id)
      .filter(isRoomId);
  }

  setBlocked(tx: WriteTx, roomId: RoomId, blocked: boolean, now: number): void {
    if (blocked) this.#block.run(tx, roomId, now);
    else this.#unblock.run(tx, roomId);
  }
}

function readRow(row: Row): Purge {
  const step = STEPS.find((each) => each === row.step);
  if (!isRoomId(row.room_id) || step === undefined) throw new Error('the record of a purge is damaged');
  return {
    roomId: row.room_id,
    startedTs: row.started_ts,
    endedTs: row.ended_ts ?? undefined,
    step,
    users: row.users === null ? undefined : readUsers(row.users),
    present: readUsers(row.present),
    position: row.position === null ? undefined : (row.position as StreamPosition),
    events: row.events,
    removed: row.removed,
    bytesBefore: row.bytes_before,
    freedBytes: row.freed_bytes ?? undefined,
  };
}

function readUsers(text: string): UserId[] {
  const users: unknown = JSON.parse(text);
  return Array.isArray(users) ? users.filter((user) => typeof user === 'string').filter(isUserId) : [];
}
