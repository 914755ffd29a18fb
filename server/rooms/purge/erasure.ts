import { type EventId, isEventId, type RoomId } from '../../matrix/identifiers.ts';
import { jsonList } from '../../storage/sql.ts';
import type { Database, ReadStatement, WriteStatement, WriteTx } from '../../storage/types.ts';
import type { EventStore } from '../event-store.ts';
import type { RoomHead, RoomHeads } from '../extremities.ts';
import type { Members } from '../membership.ts';
import { decodeNode } from '../state-tree.ts';

export interface ErasureParts {
  readonly db: Database;
  readonly heads: RoomHeads;
  readonly events: EventStore;
  readonly members: Members;
}

/** Events removed in one statement, which is a few milliseconds. */
const EVENTS_AT_ONCE = 15;
/** Nodes of state trees that are looked at in one go. */
const NODES_AT_ONCE = 200;

/** Removes what the rooms themselves keep of a room, piece by piece. */
export class Erasure {
  readonly #parts: ErasureParts;
  readonly #listShown: ReadStatement<{ event_nid: number; event_id: string }>;
  readonly #listNotShown: ReadStatement<{ event_nid: number; event_id: string }>;
  readonly #removeOfEvents: readonly WriteStatement[];
  readonly #removeOfRoom: readonly WriteStatement[];
  readonly #removeStaged: WriteStatement;
  readonly #listNodes: ReadStatement<{ node_nid: number; data: Buffer }>;
  readonly #listMissing: ReadStatement<{ nid: number }>;
  readonly #removeNodes: WriteStatement;

  constructor(parts: ErasureParts) {
    this.#parts = parts;
    const { db } = parts;
    this.#listShown = db.prepareRead(`
      SELECT event_nid, event_id FROM events INDEXED BY events_by_place WHERE room_nid = ? AND timeline > 0 LIMIT ?`);
    this.#listNotShown = db.prepareRead(`
      SELECT event_nid, event_id FROM events INDEXED BY events_not_shown WHERE room_nid = ? AND timeline = 0 LIMIT ?`);
    // What refers to events goes first. Chains are named after events, and stay within their room.
    this.#removeOfEvents = [
      'DELETE FROM unredacted_events WHERE event_nid IN (SELECT value FROM json_each(?))',
      'DELETE FROM waiting_redactions WHERE event_nid IN (SELECT value FROM json_each(?))',
      'DELETE FROM auth_edges WHERE event_nid IN (SELECT value FROM json_each(?))',
      'DELETE FROM auth_edges WHERE auth_nid IN (SELECT value FROM json_each(?))',
      'DELETE FROM auth_chain_places WHERE event_nid IN (SELECT value FROM json_each(?))',
      'DELETE FROM auth_chain_places WHERE chain IN (SELECT value FROM json_each(?))',
      'DELETE FROM auth_chain_links WHERE chain IN (SELECT value FROM json_each(?))',
      'DELETE FROM backward_extremities WHERE event_nid IN (SELECT value FROM json_each(?))',
      'DELETE FROM room_members WHERE event_nid IN (SELECT value FROM json_each(?))',
      'DELETE FROM membership_changes WHERE event_nid IN (SELECT value FROM json_each(?))',
      'DELETE FROM event_transactions WHERE event_nid IN (SELECT value FROM json_each(?))',
      'DELETE FROM forwarded_events WHERE event_nid IN (SELECT value FROM json_each(?))',
      'DELETE FROM events WHERE event_nid IN (SELECT value FROM json_each(?))',
    ].map((sql) => db.prepareWrite(sql));
    this.#removeOfRoom = [
      `DELETE FROM current_states WHERE room_nid = ? AND position IN (
        SELECT position FROM current_states WHERE room_nid = ? LIMIT ?)`,
      `DELETE FROM room_members WHERE room_nid = ? AND user_id IN (
        SELECT user_id FROM room_members WHERE room_nid = ? LIMIT ?)`,
    ].map((sql) => db.prepareWrite(sql));
    this.#removeStaged = db.prepareWrite(`
      DELETE FROM staged_events WHERE seq IN (SELECT seq FROM staged_events WHERE room_id = ? LIMIT ?)`);
    this.#listNodes = db.prepareRead(`
      SELECT node_nid, data FROM state_nodes WHERE node_nid > ? ORDER BY node_nid LIMIT ${NODES_AT_ONCE}`);
    this.#listMissing = db.prepareRead(`
      SELECT value AS nid FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM events WHERE event_nid = value)`);
    this.#removeNodes = db.prepareWrite('DELETE FROM state_nodes WHERE node_nid IN (SELECT value FROM json_each(?))');
  }

  /** From here on the room is one of which nothing but a record is there; what is left of it, nobody comes across. */
  hide(tx: WriteTx, head: RoomHead): void {
    const { heads, members } = this.#parts;
    members.removeLocal(tx, head);
    heads.empty(tx, head);
  }

  /** Removes up to `limit` rows that are about the room itself; says how many. */
  removeRows(tx: WriteTx, { nid, roomId }: { nid: number; roomId: RoomId }, limit: number): number {
    let left = limit - this.#removeStaged.run(tx, roomId, limit).changes;
    for (const statement of this.#removeOfRoom) if (left > 0) left -= statement.run(tx, nid, nid, left).changes;
    return limit - left;
  }

  /** The next events to be removed. */
  listEvents({ nid }: { nid: number }): { nid: number; eventId: EventId }[] {
    const shown = this.#listShown.list(nid, EVENTS_AT_ONCE);
    const rows = shown.length > 0 ? shown : this.#listNotShown.list(nid, EVENTS_AT_ONCE);
    return rows.map(({ event_nid, event_id: eventId }) => {
      if (!isEventId(eventId)) throw new Error('a stored event ID is none');
      return { nid: event_nid, eventId };
    });
  }

  removeEvents(tx: WriteTx, events: readonly { nid: number; eventId: EventId }[]): void {
    const nids = jsonList(events.map(({ nid }) => nid));
    for (const statement of this.#removeOfEvents) statement.run(tx, nids);
    for (const event of events) this.#parts.events.forget(tx, event);
  }

  /**
   * Removes those of the next nodes of state trees, after `last`, whose events are gone: all of a node are of one room.
   * Gives the last it has looked at; undefined when there was none.
   */
  removeNodes(tx: WriteTx, last: number): number | undefined {
    const nodes = this.#listNodes.list(last);
    const firstOf = new Map(nodes.map(({ node_nid: node, data }) => [node, decodeNode(data).values[0] ?? 0] as const));
    const missing = new Set(this.#listMissing.list(jsonList(new Set(firstOf.values()))).map((row) => row.nid));
    const gone = [...firstOf].filter(([, eventNid]) => missing.has(eventNid)).map(([node]) => node);
    if (gone.length > 0) this.#removeNodes.run(tx, jsonList(gone));
    return nodes.at(-1)?.node_nid;
  }
}
