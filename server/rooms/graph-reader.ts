import { setImmediate as nextTurn } from 'node:timers/promises';
import { createEventIdOf } from '../matrix/auth-rules/auth-state.ts';
import type { EventId, RoomId } from '../matrix/identifiers.ts';
import { jsonList } from '../storage/sql.ts';
import type { Database, ReadStatement } from '../storage/types.ts';
import type { EventStore, StoredEvent } from './event-store.ts';
import type { GraphReader } from './federation-types.ts';

/** Events whose auth events are looked up in one step: a millisecond or two. */
const STEP = 250;
/** Events looked at for one answer, for each that is wanted: some may be rejected, and those lead on but are not given. */
const LOOKED_AT_FOR_EACH = 10;

interface EdgeRow {
  event_nid: number;
  auth_nid: number;
}

/** The graph of a room and its auth chains, as other servers ask for them. */
export class RoomGraph implements GraphReader {
  readonly #events: EventStore;
  readonly #listEdges: ReadStatement<EdgeRow>;
  readonly #listNids: ReadStatement<{ event_nid: number; event_id: string }>;

  constructor({ db, events }: { db: Database; events: EventStore }) {
    this.#events = events;
    this.#listEdges = db.prepareRead(`
      SELECT event_nid, auth_nid FROM auth_edges WHERE event_nid IN (SELECT value FROM json_each(?))`);
    this.#listNids = db.prepareRead(`
      SELECT event_nid, event_id FROM events WHERE event_id IN (SELECT value FROM json_each(?))`);
  }

  listAuthChain(eventIds: Iterable<EventId>, { limit }: { readonly limit?: number } = {}): StoredEvent[] {
    const chain: StoredEvent[] = [];
    for (const step of this.#walk(eventIds)) {
      for (const nid of step) {
        if (chain.length === limit) return chain;
        chain.push(this.#events.getByNid(nid));
      }
    }
    return chain;
  }

  listAuthChainIds(eventIds: Iterable<EventId>): EventId[] {
    return [...this.walkAuthChain(eventIds)].flat();
  }

  async gatherAuthChain(eventIds: Iterable<EventId>): Promise<EventId[]> {
    const starts = [...eventIds];
    const nids = new Set<number>();
    for (const ids of stepsOf(starts)) for (const nid of this.#nidsOf(ids)) nids.add(nid);
    for (const step of this.#walk(starts)) {
      for (const nid of step) nids.add(nid);
      await nextTurn();
    }
    // An event is stored after those it rests upon.
    const ordered = [...nids].sort((a, b) => a - b);
    const chain: EventId[] = [];
    for (let at = 0; at < ordered.length; at += STEP) {
      chain.push(...this.#events.listEventIds(ordered.slice(at, at + STEP)));
      await nextTurn();
    }
    return chain;
  }

  *walkAuthChain(eventIds: Iterable<EventId>): Generator<readonly EventId[], void, undefined> {
    for (const step of this.#walk(eventIds)) yield this.#events.listEventIds(step);
  }

  listBackwards(roomId: RoomId, from: readonly EventId[], limit: number): StoredEvent[] {
    const found: StoredEvent[] = [];
    // What comes next is at the end.
    const front: StoredEvent[] = [];
    const seen = new Set<EventId>();
    const reach = (eventId: EventId): void => {
      if (seen.has(eventId)) return;
      seen.add(eventId);
      const event = this.#findInGraph(roomId, eventId);
      if (event !== undefined) front.splice(placeOf(front, event), 0, event);
    };
    for (const eventId of from) reach(eventId);
    for (let left = limit * LOOKED_AT_FOR_EACH; left > 0 && found.length < limit; left -= 1) {
      const event = front.pop();
      if (event === undefined) break;
      if (event.verdict !== 'rejected') found.push(event);
      for (const eventId of event.prevEvents) reach(eventId);
    }
    return found;
  }

  listMissing(
    roomId: RoomId,
    { earliest, latest, limit, minDepth }: Parameters<GraphReader['listMissing']>[1],
  ): StoredEvent[] {
    const found: StoredEvent[] = [];
    const seen = new Set<EventId>([...earliest, ...latest]);
    let left = limit * LOOKED_AT_FOR_EACH;
    let front = [...new Set(latest)].flatMap((eventId) => this.#findInGraph(roomId, eventId) ?? []);
    // Breadth first, as the spec has it: of what lies behind, the nearest.
    while (front.length > 0) {
      const next: StoredEvent[] = [];
      for (const eventId of front.flatMap(({ prevEvents }) => prevEvents)) {
        if (found.length === limit || left === 0) return found.toSorted(byPlace);
        if (seen.has(eventId)) continue;
        seen.add(eventId);
        left -= 1;
        const event = this.#findInGraph(roomId, eventId);
        if (event === undefined || event.depth < minDepth) continue;
        next.push(event);
        if (event.verdict !== 'rejected') found.push(event);
      }
      front = next;
    }
    return found.toSorted(byPlace);
  }

  #findInGraph(roomId: RoomId, eventId: EventId): StoredEvent | undefined {
    const event = this.#events.find(eventId);
    return event === undefined || event.roomId !== roomId || event.outlier ? undefined : event;
  }

  /**
   * The auth chain in steps of bounded work, each event once; a step may come to nothing new. The events that were asked
   * for are part of it only where others of them rest upon them.
   */
  *#walk(eventIds: Iterable<EventId>): Generator<number[], void, undefined> {
    const seen = new Set<number>();
    const pending: number[] = [];
    const takeNew = (nids: Iterable<number>): number[] => {
      const fresh: number[] = [];
      for (const nid of nids) {
        if (seen.has(nid)) continue;
        seen.add(nid);
        fresh.push(nid);
      }
      pending.push(...fresh);
      return fresh;
    };
    for (const ids of stepsOf(eventIds)) {
      const nids = this.#nidsOf(ids);
      const edges = this.#listEdges.list(jsonList(nids));
      const linked = new Set(edges.map(({ event_nid: nid }) => nid));
      // Edges are kept of state events only: the others name their auth events themselves.
      const named = nids.filter((nid) => !linked.has(nid)).flatMap((nid) => this.#authEventsOf(nid));
      // Where the room's ID names its create event, no event lists it, though all rest upon it.
      const [first] = nids;
      const create = seen.size > 0 || first === undefined ? [] : this.#impliedBy(first, nids);
      yield takeNew([...create, ...edges.map(({ auth_nid: nid }) => nid), ...named]);
    }
    // What is found is added behind.
    for (let at = 0; at < pending.length; ) {
      const some = pending.slice(at, at + STEP);
      at += some.length;
      const edges = this.#listEdges.list(jsonList(some));
      yield takeNew(edges.map(({ auth_nid: nid }) => nid));
    }
  }

  #nidsOf(eventIds: readonly EventId[]): number[] {
    return this.#listNids.list(JSON.stringify(eventIds)).map(({ event_nid: nid }) => nid);
  }

  #authEventsOf(nid: number): number[] {
    const { authEvents, roomId } = this.#events.getByNid(nid);
    return authEvents.flatMap((eventId) => {
      const authEvent = this.#events.find(eventId);
      return authEvent === undefined || authEvent.roomId !== roomId ? [] : authEvent.nid;
    });
  }

  #impliedBy(nid: number, all: readonly number[]): number[] {
    const { version, roomId } = this.#events.getByNid(nid);
    const createId = version.roomIdIsCreateHash ? createEventIdOf(roomId) : undefined;
    const create = createId === undefined ? undefined : this.#events.findNid(createId);
    const restsUponIt = all.some((one) => one !== create);
    return create === undefined || !restsUponIt ? [] : [create];
  }
}

function* stepsOf(eventIds: Iterable<EventId>): Generator<EventId[], void, undefined> {
  let step: EventId[] = [];
  for (const eventId of eventIds) {
    step.push(eventId);
    if (step.length < STEP) continue;
    yield step;
    step = [];
  }
  if (step.length > 0) yield step;
}

/** Depths are what servers say they are; the position settles what they leave open. */
function byPlace(a: StoredEvent, b: StoredEvent): number {
  return a.depth - b.depth || a.position - b.position;
}

/** Where an event goes in a list ordered by place. */
function placeOf(ordered: readonly StoredEvent[], event: StoredEvent): number {
  let low = 0;
  let high = ordered.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const there = ordered[middle];
    if (there !== undefined && byPlace(there, event) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
