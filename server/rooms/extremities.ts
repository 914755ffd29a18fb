import { LRUCache } from 'lru-cache';
import { type EventId, isEventId, isRoomId, type RoomId } from '../matrix/identifiers.ts';
import { findRoomVersion, type RoomVersion } from '../matrix/room-versions.ts';
import type { Database, ReadStatement, StreamPosition, WriteStatement, WriteTx } from '../storage/types.ts';
import { EMPTY_STATE, type StateGroupId } from './state-groups.ts';
import { atMost } from '../util/lru.ts';

/** An event that nothing follows yet. */
export interface Extremity {
  readonly nid: number;
  readonly eventId: EventId;
  readonly depth: number;
}

/** A room as it stands: what the next event builds on. Replaced as a whole by each event. */
export interface RoomHead {
  readonly nid: number;
  readonly roomId: RoomId;
  readonly version: RoomVersion;
  /** The state resolved over the forward extremities. */
  readonly current: StateGroupId;
  readonly extremities: readonly Extremity[];
  /** Of the newest live event. */
  readonly lastPosition: number;
}

interface RoomRow {
  room_nid: number;
  room_id: string;
  version: string;
  state_root: number;
  last_position: number;
}

/** A state of a room and where in the stream it became the current one. */
interface StateSince {
  readonly position: number;
  readonly state: StateGroupId;
}

const HEADS_KEPT = 5_000;

/** The rooms this server knows, and the forward and backward extremities of their graphs. */
export class RoomHeads {
  readonly #heads = new LRUCache<RoomId, RoomHead>(atMost(HEADS_KEPT));
  readonly #roomIds = new LRUCache<number, RoomId>(atMost(HEADS_KEPT));
  /** The newest state of each room: nearly every question about a state is about that one. */
  readonly #newest = new LRUCache<number, StateSince>(atMost(HEADS_KEPT));

  readonly #find: ReadStatement<RoomRow>;
  readonly #findId: ReadStatement<{ room_id: string }>;
  readonly #listExtremities: ReadStatement<{ event_nid: number; event_id: string; depth: number }>;
  readonly #insert: WriteStatement;
  readonly #update: WriteStatement;
  readonly #insertExtremity: WriteStatement;
  readonly #replaceExtremity: WriteStatement;
  readonly #removeExtremity: WriteStatement;
  readonly #insertState: WriteStatement;
  readonly #findStateAt: ReadStatement<{ state_root: number }>;
  readonly #findNewestState: ReadStatement<{ position: number; state_root: number }>;
  readonly #insertMissing: WriteStatement;
  readonly #removeMissing: WriteStatement;
  readonly #findMissing: ReadStatement<{ found: 1 }>;
  readonly #listActive: ReadStatement<{ room_id: string }>;
  readonly #setVersion: WriteStatement;
  readonly #clearExtremities: WriteStatement;
  readonly #listRooms: ReadStatement<Pick<RoomRow, 'room_id' | 'version' | 'last_position'>>;

  constructor(db: Database) {
    const columns = 'room_nid, room_id, version, state_root, last_position';
    this.#find = db.prepareRead(`SELECT ${columns} FROM rooms WHERE room_id = ?`);
    this.#findId = db.prepareRead('SELECT room_id FROM rooms WHERE room_nid = ?');
    this.#listExtremities = db.prepareRead(`
      SELECT event_nid, event_id, depth FROM forward_extremities JOIN events USING (event_nid)
      WHERE forward_extremities.room_nid = ?`);
    this.#insert = db.prepareWrite('INSERT INTO rooms (room_id, version) VALUES (?, ?)');
    this.#update = db.prepareWrite('UPDATE rooms SET state_root = ?, last_position = ? WHERE room_nid = ?');
    this.#insertExtremity = db.prepareWrite('INSERT INTO forward_extremities (room_nid, event_nid) VALUES (?, ?)');
    this.#replaceExtremity = db.prepareWrite(`
      UPDATE forward_extremities SET event_nid = ? WHERE room_nid = ? AND event_nid = ?`);
    this.#removeExtremity = db.prepareWrite('DELETE FROM forward_extremities WHERE room_nid = ? AND event_nid = ?');
    this.#insertState = db.prepareWrite(`
      INSERT INTO current_states (room_nid, position, state_root) VALUES (?, ?, ?)`);
    this.#findStateAt = db.prepareRead(`
      SELECT state_root FROM current_states WHERE room_nid = ? AND position <= ? ORDER BY position DESC LIMIT 1`);
    this.#findNewestState = db.prepareRead(`
      SELECT position, state_root FROM current_states WHERE room_nid = ? ORDER BY position DESC LIMIT 1`);
    this.#insertMissing = db.prepareWrite(`
      INSERT OR IGNORE INTO backward_extremities (missing_id, event_nid, room_nid, depth)
      SELECT ?, event_nid, ?, depth FROM events WHERE event_nid = ?`);
    this.#removeMissing = db.prepareWrite('DELETE FROM backward_extremities WHERE missing_id = ? AND room_nid = ?');
    this.#findMissing = db.prepareRead(`
      SELECT 1 AS found FROM backward_extremities WHERE missing_id = ? AND room_nid = ?`);
    // A room whose newest event came after the window may have been active in it all the same.
    this.#listActive = db.prepareRead(`
      SELECT room_id FROM rooms WHERE last_position > ? AND (last_position <= ? OR EXISTS (
        SELECT 1 FROM events INDEXED BY events_by_position
        WHERE room_nid = rooms.room_nid AND timeline = 1 AND position > ? AND position <= ?))`);
    this.#clearExtremities = db.prepareWrite('DELETE FROM forward_extremities WHERE room_nid = ?');
    this.#listRooms = db.prepareRead(`
      SELECT room_id, version, last_position FROM rooms WHERE state_root <> ${EMPTY_STATE}`);
    this.#setVersion = db.prepareWrite('UPDATE rooms SET version = ? WHERE room_nid = ?');
  }

  find(roomId: RoomId): RoomHead | undefined {
    const kept = this.#heads.get(roomId);
    if (kept !== undefined) return kept;
    const row = this.#find.find(roomId);
    if (row === undefined) return undefined;
    const version = findRoomVersion(row.version);
    if (version === undefined) throw new Error(`room version ${row.version} of a stored room is unknown`);
    const head: RoomHead = {
      nid: row.room_nid,
      roomId,
      version,
      current: row.state_root,
      extremities: this.#listExtremities.list(row.room_nid).map(({ event_nid: nid, event_id: eventId, depth }) => {
        if (!isEventId(eventId)) throw new Error('a stored event ID is none');
        return { nid, eventId, depth };
      }),
      lastPosition: row.last_position,
    };
    this.#heads.set(roomId, head);
    return head;
  }

  get(nid: number): RoomHead {
    const roomId = this.#roomIds.get(nid) ?? this.#findId.find(nid)?.room_id;
    const head = roomId !== undefined && isRoomId(roomId) ? this.find(roomId) : undefined;
    if (head === undefined) throw new Error(`room ${nid} is missing`);
    this.#roomIds.set(nid, head.roomId);
    return head;
  }

  insert(tx: WriteTx, roomId: RoomId, version: RoomVersion): RoomHead {
    const nid = this.#insert.run(tx, roomId, version.id).lastId;
    const head: RoomHead = { nid, roomId, version, current: EMPTY_STATE, extremities: [], lastPosition: 0 };
    this.#keep(tx, head);
    tx.onRollback(() => this.#roomIds.delete(nid));
    return head;
  }

  /** Corrects the version of a room of which nothing but its record is stored. */
  setVersion(tx: WriteTx, head: RoomHead, version: RoomVersion): RoomHead {
    this.#setVersion.run(tx, version.id, head.nid);
    const corrected = { ...head, version };
    this.#keep(tx, corrected);
    return corrected;
  }

  /** Moves a room on. `position` is the one of the event that did it. */
  update(tx: WriteTx, before: RoomHead, after: RoomHead, position: StreamPosition): void {
    this.#updateExtremities(tx, before, after);
    if (before.current !== after.current) {
      this.#insertState.run(tx, after.nid, position, after.current);
      this.#newest.set(after.nid, { position, state: after.current });
      tx.onRollback(() => this.#newest.delete(after.nid));
    }
    if (before.current !== after.current || before.lastPosition !== after.lastPosition) {
      this.#update.run(tx, after.current, after.lastPosition, after.nid);
    }
    this.#keep(tx, after);
  }

  /** Leaves nothing of a room but its record. */
  empty(tx: WriteTx, head: RoomHead): void {
    this.#clearExtremities.run(tx, head.nid);
    this.#update.run(tx, EMPTY_STATE, 0, head.nid);
    this.#keep(tx, { ...head, current: EMPTY_STATE, extremities: [], lastPosition: 0 });
    this.forgetStates(head.nid);
  }

  /** What is kept of a room's states is no longer true. */
  forgetStates(nid: number): void {
    this.#newest.delete(nid);
  }

  /** Rooms this server has, or had, somebody in. */
  list(): { roomId: RoomId; version: string; lastPosition: number }[] {
    return this.#listRooms.list().flatMap(({ room_id: roomId, version, last_position: lastPosition }) => {
      return isRoomId(roomId) ? [{ roomId, version, lastPosition }] : [];
    });
  }

  /** What the current state was at a position of the stream. */
  stateAt(nid: number, position: StreamPosition): StateGroupId {
    const newest = this.#newest.get(nid) ?? this.#readNewest(nid);
    if (newest !== undefined && newest.position <= position) return newest.state;
    return this.#findStateAt.find(nid, position)?.state_root ?? EMPTY_STATE;
  }

  /** Notes that an event of ours follows one we lack. */
  insertMissing(tx: WriteTx, head: RoomHead, missing: EventId, follower: number): void {
    this.#insertMissing.run(tx, missing, head.nid, follower);
  }

  /** Whether an event of ours follows this one, which we lack. */
  isMissing(head: RoomHead, eventId: EventId): boolean {
    return this.#findMissing.find(eventId, head.nid) !== undefined;
  }

  /** An event we lacked is here. Says whether we did: then something of ours follows it already. */
  removeMissing(tx: WriteTx, head: RoomHead, eventId: EventId): boolean {
    return this.#removeMissing.run(tx, eventId, head.nid).changes > 0;
  }

  /** Rooms in which live events were accepted in (since, now]. */
  listActive(since: StreamPosition, now: StreamPosition): RoomId[] {
    return this.#listActive
      .list(since, now, since, now)
      .map((row) => row.room_id)
      .filter(isRoomId);
  }

  #readNewest(nid: number): StateSince | undefined {
    const row = this.#findNewestState.find(nid);
    if (row === undefined) return undefined;
    const newest = { position: row.position, state: row.state_root };
    this.#newest.set(nid, newest);
    return newest;
  }

  #updateExtremities(tx: WriteTx, before: RoomHead, after: RoomHead): void {
    const gone = before.extremities.filter(({ nid }) => !after.extremities.some((kept) => kept.nid === nid));
    const added = after.extremities.filter(({ nid }) => !before.extremities.some((old) => old.nid === nid));
    const [follower] = added;
    const [followed] = gone;
    if (follower !== undefined && followed !== undefined && added.length === 1 && gone.length === 1) {
      this.#replaceExtremity.run(tx, follower.nid, after.nid, followed.nid);
      return;
    }
    for (const { nid } of gone) this.#removeExtremity.run(tx, after.nid, nid);
    for (const { nid } of added) this.#insertExtremity.run(tx, after.nid, nid);
  }

  #keep(tx: WriteTx, head: RoomHead): void {
    this.#heads.set(head.roomId, head);
    // What the database holds then is read anew.
    tx.onRollback(() => this.#heads.delete(head.roomId));
  }
}
