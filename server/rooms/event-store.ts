import { LRUCache } from 'lru-cache';
import type { Pdu, RoomEvent } from '../matrix/events/event.ts';
import { assembleEvent, readFormat } from '../matrix/events/parse.ts';
import { type EventId, isEventId, type RoomId } from '../matrix/identifiers.ts';
import { isJsonObject } from '../matrix/json.ts';
import type { RoomVersion } from '../matrix/room-versions.ts';
import { jsonList } from '../storage/sql.ts';
import type { Database, ReadStatement, SqlValue, StreamPosition, WriteStatement, WriteTx } from '../storage/types.ts';
import type { ChainCover } from './chain-cover.ts';
import type { StateGroupId } from './state-groups.ts';
import type { PersistedEvent, Verdict } from './types.ts';
import { atMost } from '../util/lru.ts';

/** Whether an event is shown: never, as news, or as history that was fetched later. */
export type TimelineKind = 'none' | 'live' | 'history';

/** An event with what only the rooms themselves know of it. */
export interface StoredEvent extends PersistedEvent {
  readonly nid: number;
  readonly timeline: TimelineKind;
  /** Undefined for outliers. */
  readonly stateBefore: StateGroupId | undefined;
  readonly stateAfter: StateGroupId | undefined;
}

/** What is decided about an event when it is stored. */
export interface Placement {
  readonly position: StreamPosition;
  readonly receivedTs: number;
  readonly verdict: Verdict;
  readonly outlier: boolean;
  readonly timeline: TimelineKind;
  readonly stateBefore: StateGroupId | undefined;
  readonly stateAfter: StateGroupId | undefined;
  readonly replaces: number | undefined;
}

interface EventRow {
  event_nid: number;
  event_id: string;
  room_nid: number;
  position: number;
  received_ts: number;
  timeline: number;
  verdict: number;
  outlier: number;
  state_before: number | null;
  state_after: number | null;
  replaces: number | null;
  redacted_by: number | null;
  pdu: string;
}

const VERDICTS: readonly Verdict[] = ['accepted', 'soft-failed', 'rejected'];
const TIMELINES: readonly TimelineKind[] = ['none', 'live', 'history'];
const COLUMNS = `event_nid, event_id, room_nid, position, received_ts, timeline, verdict, outlier, state_before,
  state_after, replaces, redacted_by, pdu`;
/** Bytes, estimated: some five thousand ordinary events, or a hundred of the largest. */
const EVENTS_KEPT = 16_000_000;
/** What an event takes besides its text, bytes. */
const EVENT_OVERHEAD = 1_500;
const IDS_KEPT = 50_000;
/** From this many on, IDs that are not kept are read in one statement. */
const WORTH_A_LIST = 8;

/** What the event store must be told of a room to read its events. */
interface RoomNames {
  get(nid: number): { readonly roomId: RoomId; readonly version: RoomVersion };
}

/** Every stored event, whatever came of it. */
export class EventStore {
  readonly #rooms: RoomNames;
  readonly #cover: Pick<ChainCover, 'add'>;
  readonly #events = new LRUCache<number, StoredEvent>({ maxSize: EVENTS_KEPT });
  readonly #ids = new LRUCache<number, EventId>(atMost(IDS_KEPT));
  readonly #nids = new LRUCache<EventId, number>(atMost(IDS_KEPT));

  readonly #find: ReadStatement<EventRow>;
  readonly #findById: ReadStatement<EventRow>;
  readonly #findNid: ReadStatement<{ event_nid: number }>;
  readonly #findEventId: ReadStatement<{ event_id: string }>;
  readonly #listIds: ReadStatement<{ event_nid: number; event_id: string }>;
  readonly #insert: WriteStatement;
  readonly #replace: WriteStatement;
  readonly #setTimeline: WriteStatement;
  readonly #prune: WriteStatement;
  readonly #keepUnredacted: WriteStatement;
  readonly #findUnredacted: ReadStatement<{ pdu: string }>;
  readonly #insertAuthEdge: WriteStatement;
  readonly #countAuthEdges: ReadStatement<{ edges: number }>;
  readonly #removeAuthEdges: WriteStatement;
  readonly #remove: WriteStatement;

  constructor({ db, rooms, cover }: { db: Database; rooms: RoomNames; cover: Pick<ChainCover, 'add'> }) {
    this.#rooms = rooms;
    this.#cover = cover;
    this.#find = db.prepareRead(`SELECT ${COLUMNS} FROM events WHERE event_nid = ?`);
    this.#findById = db.prepareRead(`SELECT ${COLUMNS} FROM events WHERE event_id = ?`);
    this.#findNid = db.prepareRead('SELECT event_nid FROM events WHERE event_id = ?');
    this.#findEventId = db.prepareRead('SELECT event_id FROM events WHERE event_nid = ?');
    this.#listIds = db.prepareRead(`
      SELECT event_nid, event_id FROM events WHERE event_nid IN (SELECT value FROM json_each(?))`);
    this.#insert = db.prepareWrite(`
      INSERT INTO events (event_nid, event_id, room_nid, position, depth, origin_server_ts, received_ts, timeline,
        verdict, outlier, state_before, state_after, replaces, pdu)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
    this.#replace = db.prepareWrite(`
      UPDATE events SET position = ?, received_ts = ?, timeline = ?, verdict = ?, outlier = ?, state_before = ?,
        state_after = ?, replaces = ?
      WHERE event_nid = ?`);
    this.#setTimeline = db.prepareWrite('UPDATE events SET timeline = ?, position = ? WHERE event_nid = ?');
    this.#prune = db.prepareWrite('UPDATE events SET redacted_by = ?, pdu = ? WHERE event_nid = ?');
    this.#keepUnredacted = db.prepareWrite(`
      INSERT OR IGNORE INTO unredacted_events (event_nid, redacted_ts, pdu) VALUES (?, ?, ?)`);
    this.#findUnredacted = db.prepareRead('SELECT pdu FROM unredacted_events WHERE event_nid = ?');
    this.#insertAuthEdge = db.prepareWrite('INSERT OR IGNORE INTO auth_edges (event_nid, auth_nid) VALUES (?, ?)');
    this.#countAuthEdges = db.prepareRead('SELECT count(*) AS edges FROM auth_edges WHERE event_nid = ?');
    this.#removeAuthEdges = db.prepareWrite('DELETE FROM auth_edges WHERE event_nid = ? OR auth_nid = ?');
    this.#remove = db.prepareWrite('DELETE FROM events WHERE event_nid = ? AND outlier = 1');
  }

  findByNid(nid: number): StoredEvent | undefined {
    const kept = this.#events.get(nid);
    if (kept !== undefined) return kept;
    const row = this.#find.find(nid);
    return row === undefined ? undefined : this.#read(row);
  }

  getByNid(nid: number): StoredEvent {
    const event = this.findByNid(nid);
    if (event === undefined) throw new Error(`event ${nid} is missing`);
    return event;
  }

  find(eventId: EventId): StoredEvent | undefined {
    const nid = this.#nids.get(eventId);
    if (nid !== undefined) return this.findByNid(nid);
    const row = this.#findById.find(eventId);
    return row === undefined ? undefined : this.#read(row);
  }

  /** The number of an event, if it is stored. */
  findNid(eventId: EventId): number | undefined {
    const kept = this.#nids.get(eventId);
    if (kept !== undefined) return kept;
    const nid = this.#findNid.find(eventId)?.event_nid;
    if (nid !== undefined) this.#keepId(nid, eventId);
    return nid;
  }

  /** What the rooms know of an event that somebody holds. */
  asStored(event: PersistedEvent): StoredEvent | undefined {
    const nid = this.#nids.get(event.eventId);
    const kept = nid === undefined ? undefined : this.#events.get(nid);
    return kept ?? this.find(event.eventId);
  }

  eventIdOf(nid: number): EventId {
    const kept = this.#ids.get(nid);
    if (kept !== undefined) return kept;
    const id = this.#findEventId.find(nid)?.event_id;
    if (id === undefined || !isEventId(id)) throw new Error(`event ${nid} is missing`);
    this.#keepId(nid, id);
    return id;
  }

  listEventIds(nids: readonly number[]): EventId[] {
    const lacking = nids.filter((nid) => !this.#ids.has(nid));
    if (lacking.length < WORTH_A_LIST) return nids.map((nid) => this.eventIdOf(nid));
    // Held here as well: a long list may push its own beginning out of what is kept.
    const found = new Map<number, EventId>();
    for (const { event_nid: nid, event_id: id } of this.#listIds.list(jsonList(lacking))) {
      if (!isEventId(id)) continue;
      found.set(nid, id);
      this.#keepId(nid, id);
    }
    return nids.map((nid) => found.get(nid) ?? this.eventIdOf(nid));
  }

  /** Stores a new event under the number of its position. */
  insert(tx: WriteTx, roomNid: number, event: RoomEvent, placement: Placement): StoredEvent {
    const nid = placement.position;
    const text = JSON.stringify(event.pdu);
    this.#insert.run(
      tx,
      nid,
      event.eventId,
      roomNid,
      placement.position,
      event.depth,
      event.originServerTs,
      placement.receivedTs,
      TIMELINES.indexOf(placement.timeline),
      VERDICTS.indexOf(placement.verdict),
      placement.outlier ? 1 : 0,
      placement.stateBefore ?? null,
      ownAfter(placement),
      placement.replaces ?? null,
      text,
    );
    this.linkAuthEvents(tx, nid, event);
    const stored = this.#stored(nid, event, placement, undefined);
    this.#keep(stored, text);
    this.#keepId(nid, event.eventId);
    tx.onRollback(() => {
      this.#events.delete(nid);
      this.#ids.delete(nid);
      this.#nids.delete(event.eventId);
    });
    return stored;
  }

  /** Notes which events a state event rests upon, as far as they are stored. */
  linkAuthEvents(tx: WriteTx, nid: number, event: Pick<RoomEvent, 'stateKey' | 'authEvents'>): void {
    if (event.stateKey === undefined) return;
    const authNids: number[] = [];
    for (const id of event.authEvents) {
      const authNid = this.findNid(id);
      if (authNid === undefined) continue;
      this.#insertAuthEdge.run(tx, nid, authNid);
      authNids.push(authNid);
    }
    this.#cover.add(tx, nid, authNids);
  }

  /** Whether all that a state event rests upon was there when it was stored, or came since. */
  isLinked({ nid, stateKey, authEvents }: StoredEvent): boolean {
    return stateKey === undefined || (this.#countAuthEdges.find(nid)?.edges ?? 0) >= new Set(authEvents).size;
  }

  /** Removes an outlier that is no part of any state. */
  remove(tx: WriteTx, { nid, eventId }: StoredEvent): void {
    this.#removeAuthEdges.run(tx, nid, nid);
    this.#remove.run(tx, nid);
    this.#forget(tx, nid);
    this.#ids.delete(nid);
    this.#nids.delete(eventId);
  }

  /** An event was removed together with its room. */
  forget(tx: WriteTx, { nid, eventId }: { nid: number; eventId: EventId }): void {
    this.#forget(tx, nid);
    this.#ids.delete(nid);
    this.#nids.delete(eventId);
  }

  /** Gives an outlier its place in the graph. */
  replace(tx: WriteTx, outlier: StoredEvent, placement: Placement): StoredEvent {
    this.#replace.run(
      tx,
      placement.position,
      placement.receivedTs,
      TIMELINES.indexOf(placement.timeline),
      VERDICTS.indexOf(placement.verdict),
      placement.outlier ? 1 : 0,
      placement.stateBefore ?? null,
      ownAfter(placement),
      placement.replaces ?? null,
      outlier.nid,
    );
    this.#forget(tx, outlier.nid);
    return this.getByNid(outlier.nid);
  }

  /** Shows an event that was held back, as news at this position. */
  reveal(tx: WriteTx, nid: number, position: StreamPosition): StoredEvent {
    this.#setTimeline.run(tx, TIMELINES.indexOf('live'), position, nid);
    this.#forget(tx, nid);
    return this.getByNid(nid);
  }

  /** Puts the pruned form in an event's place and keeps what it was. `ts` in ms. */
  redact(tx: WriteTx, event: StoredEvent, redaction: StoredEvent, pruned: Pdu, ts: number): StoredEvent {
    this.#keepUnredacted.run(tx, event.nid, ts, JSON.stringify(event.pdu));
    this.#prune.run(tx, redaction.nid, JSON.stringify(pruned), event.nid);
    this.#forget(tx, event.nid);
    return this.getByNid(event.nid);
  }

  /** The event as it was before it was pruned; undefined if it was not, or that is no longer kept. */
  findUnredacted(eventId: EventId): StoredEvent | undefined {
    const event = this.find(eventId);
    if (event?.redactedBy === undefined) return undefined;
    const row = this.#findUnredacted.find(event.nid);
    return row === undefined ? undefined : { ...event, ...readPdu(row.pdu, event.version, eventId) };
  }

  /** Reads rows of another statement that selected `EVENT_COLUMNS`. */
  list(statement: ReadStatement<EventRow>, ...values: SqlValue[]): StoredEvent[] {
    return statement.list(...values).map((row) => this.#events.get(row.event_nid) ?? this.#read(row));
  }

  #read(row: EventRow): StoredEvent {
    if (!isEventId(row.event_id)) throw new Error('a stored event ID is none');
    const nid = row.event_nid;
    const event = readPdu(row.pdu, this.#rooms.get(row.room_nid).version, row.event_id);
    const stored = this.#stored(
      nid,
      event,
      {
        position: row.position as StreamPosition,
        receivedTs: row.received_ts,
        verdict: VERDICTS[row.verdict] ?? 'rejected',
        outlier: row.outlier !== 0,
        timeline: TIMELINES[row.timeline] ?? 'none',
        stateBefore: row.state_before ?? undefined,
        stateAfter: row.state_after ?? row.state_before ?? undefined,
        replaces: row.replaces ?? undefined,
      },
      row.redacted_by ?? undefined,
    );
    this.#keep(stored, row.pdu);
    this.#keepId(nid, row.event_id);
    return stored;
  }

  #stored(nid: number, event: RoomEvent, placement: Placement, redactedBy: number | undefined): StoredEvent {
    const { position, receivedTs, verdict, outlier, timeline, stateBefore, stateAfter, replaces } = placement;
    return {
      eventId: event.eventId,
      roomId: event.roomId,
      type: event.type,
      sender: event.sender,
      stateKey: event.stateKey,
      content: event.content,
      originServerTs: event.originServerTs,
      depth: event.depth,
      prevEvents: event.prevEvents,
      authEvents: event.authEvents,
      redacts: event.redacts,
      pdu: event.pdu,
      version: event.version,
      position,
      receivedTs,
      verdict,
      outlier,
      redactedBy: redactedBy === undefined ? undefined : this.eventIdOf(redactedBy),
      replacesState: replaces === undefined ? undefined : this.eventIdOf(replaces),
      nid,
      timeline,
      stateBefore,
      stateAfter,
    };
  }

  #keep(event: StoredEvent, text: string): void {
    // The text itself is not kept, but all its parts are.
    this.#events.set(event.nid, event, { size: EVENT_OVERHEAD + 2 * text.length });
  }

  #keepId(nid: number, eventId: EventId): void {
    this.#ids.set(nid, eventId);
    this.#nids.set(eventId, nid);
  }

  /** What is kept of an event is no longer true, and if this write is undone, neither is what replaces it. */
  #forget(tx: WriteTx, nid: number): void {
    this.#events.delete(nid);
    tx.onRollback(() => this.#events.delete(nid));
  }
}

/** For statements whose rows `EventStore.list` is to read. */
export const EVENT_COLUMNS = COLUMNS;
export type StoredEventRow = EventRow;

function ownAfter({ stateBefore, stateAfter }: Placement): number | null {
  return stateAfter === undefined || stateAfter === stateBefore ? null : stateAfter;
}

/** An event out of the text of its PDU as it was stored. Throws Error where that is damaged. */
export function readPdu(text: string, version: RoomVersion, eventId: EventId): RoomEvent {
  const pdu: unknown = JSON.parse(text);
  // What is stored has been checked then, by the limits of the way it came.
  const format = isJsonObject(pdu) ? readFormat(pdu, version, { anyNumberOfReferences: true }) : undefined;
  if (!isJsonObject(pdu) || format === undefined || !format.ok) throw new Error(`stored event ${eventId} is damaged`);
  return assembleEvent(pdu, version, eventId, format);
}
