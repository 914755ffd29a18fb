import { LRUCache } from 'lru-cache';
import { FederationError } from '../federation/errors.ts';
import type { KeyRing } from '../federation/types.ts';
import { type RoomEvent, type StateKey, splitStateKey, stateKeyOf } from '../matrix/events/event.ts';
import { createEventIdOf } from '../matrix/events/event-id.ts';
import { parsePdu } from '../matrix/events/parse.ts';
import { type EventId, type RoomId, type ServerName, serverNameOf } from '../matrix/identifiers.ts';
import type { JsonValue } from '../matrix/json.ts';
import type { Database } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import { Gate } from '../util/gate.ts';
import type { Logger } from '../util/log.ts';
import { atMost } from '../util/lru.ts';
import { Pace } from '../util/pace.ts';
import type { EventStore } from './event-store.ts';
import type { RoomHead, RoomHeads } from './extremities.ts';
import type { OutlierStore, ServerAcls } from './federation-types.ts';
import type { Gatherer } from './gather.ts';
import type { Acceptance } from './inbox/admission.ts';
import type { GapFilling } from './inbox/lines.ts';
import { inGraphOrder } from './inbox/order.ts';
import { withSoundContent } from './inbox.ts';
import { TooManyOutliersError } from './outliers.ts';
import type { PeerRequests, StateIds } from './peer-requests.ts';
import type { StateChange, StateGroupId, StateGroups } from './state-groups.ts';
import type { MembershipReader } from './types.ts';

/** How many events are asked for at a time, and from how many on an answer may have left some out. */
const ASKED_FOR = 20;
const MAYBE_CUT = 10;
/** Of one gap: how often the same server is asked for what lies further back, and how many events are taken. */
const MAX_ROUNDS = 10;
const MAX_PULLED = 200;
/** Of one gap: the states that are fetched where it is not closed, and how many of them may fail. */
const MAX_STATES = 5;
const MAX_FAILED_STATES = 2;
/** Servers asked besides the one an event came from. */
const MAX_OTHERS = 3;
/** From how many events on that are missing from a state, the whole is asked for at once. */
const WORTH_THE_WHOLE = 40;
/** Events fetched one by one: of a state or an auth chain; of one gap; at a time. */
const MAX_SINGLE = 100;
const MAX_FETCHED = 300;
const FETCHED_AT_ONCE = 6;
/** How far auth events are followed one by one. */
const MAX_LEVELS = 5;
const MAX_EARLIEST = 20;
/** How often (ms) a room may have servers asked that an event did not come from; and how many times that adds up to. */
const OTHERS_EVERY_MS = 5_000;
const OTHERS_AT_MOST = 10;
const ROOMS_KEPT = 1_000;
/** How long (ms) is worked at a stretch; and how many changes of a state are stored in one write. */
const SLICE_MS = 8;
const CHANGES_AT_ONCE = 200;

export interface GapParts {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly serverName: ServerName;
  readonly heads: RoomHeads;
  readonly events: EventStore;
  readonly groups: StateGroups;
  readonly gatherer: Gatherer;
  readonly members: Pick<MembershipReader, 'listServers'>;
  readonly acls: ServerAcls;
  readonly peers: PeerRequests;
  readonly keyRing: Pick<KeyRing, 'checkEvents'>;
  readonly outliers: OutlierStore;
  /** The road of an event whose format, signatures and hash are right. */
  readonly admit: (
    event: RoomEvent,
    options?: { readonly toldStates?: readonly StateGroupId[]; readonly as?: 'outlier' },
  ) => Promise<Acceptance>;
}

/**
 * The only stop on the road that awaits the network: brings the events that an event rests upon, those before it, and
 * the state where the gap cannot be closed. Nothing is believed: every event is checked and judged as if it had been sent
 * to us, and what a state is said to be only takes part in state resolution.
 */
export class GapFiller implements GapFilling {
  readonly #parts: GapParts;
  /** Room by room, when others may be asked the next time, were it used to the full. */
  readonly #othersAsked = new LRUCache<RoomId, number>(atMost(ROOMS_KEPT));

  constructor(parts: GapParts) {
    this.#parts = parts;
  }

  async fill(event: RoomEvent, origin: ServerName, signal: AbortSignal): Promise<Acceptance> {
    const head = this.#parts.heads.find(event.roomId);
    if (head === undefined) return { kind: 'dropped', reason: 'the room is not known' };
    const others = (): ServerName[] => this.#listOthers(event, origin);
    return new Gap(this.#parts, { event, head, origin, others, signal }).fill();
  }

  /** Other servers to ask, the sender's own first; few, and not too often, or anybody could send us to them. */
  #listOthers(event: RoomEvent, origin: ServerName): ServerName[] {
    const { clock, members, acls, serverName } = this.#parts;
    const { roomId } = event;
    const now = clock.monotonic();
    const spent = Math.max(now, this.#othersAsked.get(roomId) ?? 0) + OTHERS_EVERY_MS;
    if (spent > now + OTHERS_EVERY_MS * OTHERS_AT_MOST) return [];
    this.#othersAsked.set(roomId, spent);
    const residents = members.listServers(roomId);
    const own = serverNameOf(event.sender);
    const candidates = new Set([...(residents.includes(own) ? [own] : []), ...residents]);
    candidates.delete(origin);
    candidates.delete(serverName);
    return [...candidates].filter((server) => acls.isAllowed(server, roomId)).slice(0, MAX_OTHERS);
  }
}

interface GapCase {
  readonly event: RoomEvent;
  readonly head: RoomHead;
  readonly origin: ServerName;
  readonly others: () => ServerName[];
  readonly signal: AbortSignal;
}

/** What is found out while one event's gap is filled. */
class Gap {
  readonly #parts: GapParts;
  readonly #case: GapCase;
  readonly #room: Pick<RoomHead, 'roomId' | 'version'>;
  readonly #fetching = new Gate(FETCHED_AT_ONCE);
  readonly #states = new Map<EventId, StateGroupId | undefined>();
  readonly #pace: Pace;
  #servers: ServerName[] | undefined;
  #fetched = 0;
  #failedStates = 0;

  constructor(parts: GapParts, gap: GapCase) {
    this.#parts = parts;
    this.#case = gap;
    this.#pace = new Pace(parts.clock, SLICE_MS);
    const { roomId, version } = gap.head;
    this.#room = { roomId, version };
  }

  async fill(): Promise<Acceptance> {
    const { event } = this.#case;
    const { admit } = this.#parts;
    let acceptance = await admit(event);
    if (acceptance.kind === 'missing' && acceptance.prevEvents.length > 0) {
      await this.#fetchPredecessors();
      acceptance = await admit(event);
    }
    if (acceptance.kind === 'missing' && acceptance.authEvents.length > 0) {
      await this.#fetchAuthEvents(event);
      acceptance = await admit(event);
    }
    // The state at its own prev events is not asked for: whoever sends an event has those before it, and would otherwise
    // be free to make up what the room was like.
    return acceptance;
  }

  /** Brings the events between what we have and the event, as far as that is possible, and takes them into the room. */
  async #fetchPredecessors(): Promise<void> {
    const { event } = this.#case;
    for (const server of this.#eachServer()) {
      const pulled = await this.#pull(server);
      for (const predecessor of pulled) {
        await this.#pace.step();
        await this.#place(predecessor);
      }
      if (event.prevEvents.every((id) => this.#isPlaced(id))) return;
    }
  }

  /** What one server has of the events before ours, earlier ones first. */
  async #pull(server: ServerName): Promise<RoomEvent[]> {
    const { event, head, signal } = this.#case;
    const { peers, heads } = this.#parts;
    const { roomId } = event;
    const extremities = heads.find(roomId)?.extremities ?? head.extremities;
    const newest = extremities.toSorted((a, b) => b.depth - a.depth || b.nid - a.nid);
    const earliest = newest.slice(0, MAX_EARLIEST).map(({ eventId }) => eventId);
    const offered = new Map<EventId, RoomEvent>();
    let found: Reached = { events: [], edge: [event] };
    for (let round = 0; round < MAX_ROUNDS && found.edge.length > 0 && found.events.length < MAX_PULLED; round++) {
      const latest = found.edge.slice(0, MAX_EARLIEST).map(({ eventId }) => eventId);
      const asked = { roomId, earliest, latest, limit: ASKED_FOR };
      const answer = await this.#try(server, () => peers.missingEvents(server, asked, signal));
      if (answer === undefined) break;
      for (const good of await this.#check(answer)) offered.set(good.eventId, good);
      const before = found.events.length;
      found = this.#reach(offered);
      // Only where more was there than could be told is there a point in asking again.
      if (answer.length < MAYBE_CUT || found.events.length === before) break;
    }
    return inGraphOrder(found.events).slice(-MAX_PULLED);
  }

  /** Of what was offered, that which lies behind the event; and which of it, or the event, follows what nobody gave. */
  #reach(offered: ReadonlyMap<EventId, RoomEvent>): Reached {
    const reached = new Map<EventId, RoomEvent>();
    const edge: RoomEvent[] = [];
    const pending = [this.#case.event];
    for (let event = pending.pop(); event !== undefined; event = pending.pop()) {
      let isEdge = false;
      for (const id of event.prevEvents) {
        if (id === this.#case.event.eventId || reached.has(id) || this.#isPlaced(id)) continue;
        const prev = offered.get(id);
        if (prev === undefined) isEdge = true;
        else {
          reached.set(id, prev);
          pending.push(prev);
        }
      }
      if (isEdge) edge.push(event);
    }
    return { events: [...reached.values()], edge };
  }

  /** Those of some PDUs that are events of the room, properly signed. */
  async #check(pdus: readonly JsonValue[]): Promise<RoomEvent[]> {
    const events: RoomEvent[] = [];
    for (const pdu of pdus) {
      await this.#pace.step();
      const parsed = parsePdu(pdu, this.#room.version);
      if (parsed.ok && parsed.event.roomId === this.#room.roomId) events.push(parsed.event);
    }
    const checks = events.length === 0 ? [] : await this.#parts.keyRing.checkEvents(events);
    return events.filter((_event, index) => checks[index] === true).map(withSoundContent);
  }

  /** Takes an event that was fetched into the room, with the state told by others where the gap goes on behind it. */
  async #place(event: RoomEvent): Promise<void> {
    const { admit, log } = this.#parts;
    let acceptance = await admit(event);
    if (acceptance.kind === 'missing' && acceptance.authEvents.length > 0) {
      await this.#fetchAuthEvents(event);
      acceptance = await admit(event);
    }
    if (acceptance.kind === 'missing' && acceptance.authEvents.length === 0) {
      const toldStates: StateGroupId[] = [];
      for (const id of acceptance.prevEvents) {
        const state = await this.#stateAfter(id);
        if (state === undefined) break;
        toldStates.push(state);
      }
      if (toldStates.length === acceptance.prevEvents.length) acceptance = await admit(event, { toldStates });
    }
    if (acceptance.kind === 'stored' || acceptance.kind === 'known') return;
    const { roomId, eventId } = event;
    const reason = acceptance.kind === 'dropped' ? acceptance.reason : 'what it lacks could not be had';
    log.info({ roomId, eventId, reason }, 'an event that was fetched could not be placed');
  }

  /** The state after an event we lack, as the first server that answers well tells it. */
  async #stateAfter(eventId: EventId): Promise<StateGroupId | undefined> {
    const held = this.#parts.events.find(eventId);
    if (held?.outlier === false) return held.roomId === this.#room.roomId ? held.stateAfter : undefined;
    if (this.#states.has(eventId)) return this.#states.get(eventId);
    if (this.#states.size >= MAX_STATES || this.#failedStates >= MAX_FAILED_STATES) return undefined;
    let state: StateGroupId | undefined;
    for (const server of this.#eachServer()) {
      state = await this.#stateFrom(server, eventId);
      if (state !== undefined) break;
    }
    this.#states.set(eventId, state);
    if (state === undefined) this.#failedStates += 1;
    return state;
  }

  async #stateFrom(server: ServerName, eventId: EventId): Promise<StateGroupId | undefined> {
    const { peers, outliers } = this.#parts;
    const { signal } = this.#case;
    const { roomId } = this.#room;
    const told = await this.#try(server, () => peers.stateIds(server, roomId, eventId, signal));
    if (told === undefined) return undefined;
    let lacking = await this.#listLacking(told);
    if (lacking.length >= WORTH_THE_WHOLE) {
      const whole = peers.state(server, roomId, eventId, signal);
      await this.#try(server, () => outliers.accept(this.#room, whole, { signal }));
      lacking = lacking.filter((id) => !this.#isStored(id));
    }
    await this.#fetchEach(
      server,
      [eventId, ...lacking].filter((id) => !this.#isStored(id)),
    );
    return this.#buildState(eventId, told.state);
  }

  async #listLacking({ state, authChain }: StateIds): Promise<EventId[]> {
    const lacking: EventId[] = [];
    for (const id of new Set([...state, ...authChain])) {
      await this.#pace.step();
      if (!this.#isStored(id)) lacking.push(id);
    }
    return lacking;
  }

  /**
   * Stores the state after `eventId` out of the state before it. A few old events cannot be had by anybody any more, so
   * some may be missing, but not the create event, nor half of it; and no place may be held twice.
   */
  async #buildState(eventId: EventId, ids: readonly EventId[]): Promise<StateGroupId | undefined> {
    const { events, heads, groups, db } = this.#parts;
    const last = events.find(eventId);
    if (last === undefined || last.roomId !== this.#room.roomId) return undefined;
    const holders = new Map<StateKey, number>();
    let found = 0;
    for (const id of ids) {
      await this.#pace.step();
      const event = events.find(id);
      if (event?.stateKey === undefined || event.roomId !== this.#room.roomId) continue;
      found += 1;
      if (event.verdict === 'rejected') continue;
      const key = stateKeyOf(event.type, event.stateKey);
      if (holders.has(key)) return undefined;
      holders.set(key, event.nid);
    }
    const isFirst = last.type === 'm.room.create';
    if (!isFirst && (!holders.has(stateKeyOf('m.room.create', '')) || found * 2 < ids.length)) return undefined;
    if (last.stateKey !== undefined && last.verdict !== 'rejected') {
      holders.set(stateKeyOf(last.type, last.stateKey), last.nid);
    }
    // Most of it is as it is now: what differs is all that has to be stored.
    const base = heads.find(this.#room.roomId)?.current ?? this.#case.head.current;
    const changes: StateChange[] = [];
    for (const [type, stateKey, nid] of groups.list(base)) {
      const key = stateKeyOf(type, stateKey);
      const holder = holders.get(key);
      holders.delete(key);
      if (holder !== nid) changes.push({ type, stateKey, eventNid: holder });
    }
    for (const [key, eventNid] of holders) changes.push({ ...splitStateKey(key), eventNid });
    let state = base;
    for (let at = 0; at < changes.length; at += CHANGES_AT_ONCE) {
      const some = changes.slice(at, at + CHANGES_AT_ONCE);
      state = db.write((tx) => groups.change(tx, state, some));
      // What a failed commit undoes must not be built upon.
      await db.committed();
    }
    return state;
  }

  /** Brings the events an event rests upon. */
  async #fetchAuthEvents(event: RoomEvent): Promise<void> {
    const { peers, outliers, gatherer } = this.#parts;
    const { signal } = this.#case;
    const { roomId, version } = this.#room;
    for (const server of this.#eachServer()) {
      const chain = peers.eventAuth(server, roomId, event.eventId, signal);
      await this.#try(server, () => outliers.accept({ roomId, version }, chain, { signal }));
      const missing = gatherer.gather(event).missingAuthEvents;
      if (missing.length === 0) return;
      await this.#fetchEach(server, missing);
      if (gatherer.gather(event).missingAuthEvents.length === 0) return;
    }
  }

  /** Fetches events one by one, with what they rest upon, and stores them beside the graph. */
  async #fetchEach(server: ServerName, eventIds: readonly EventId[]): Promise<void> {
    const { outliers, admit } = this.#parts;
    const fetched = new Map<EventId, RoomEvent>();
    let wanted = eventIds.slice(0, MAX_SINGLE);
    for (let level = 0; level < MAX_LEVELS && wanted.length > 0; level++) {
      const events = await Promise.all(wanted.map((id) => this.#fetching.run(() => this.#fetch(server, id))));
      const next = new Set<EventId>();
      for (const event of events) {
        if (event === undefined) continue;
        fetched.set(event.eventId, event);
        for (const id of this.#restsOn(event)) if (!this.#isStored(id)) next.add(id);
      }
      for (const id of [...fetched.keys(), ...wanted]) next.delete(id);
      wanted = [...next].slice(0, MAX_SINGLE - fetched.size);
    }
    if (fetched.size === 0) return;
    const pdus = [...fetched.values()].map(({ pdu }) => pdu);
    await this.#try(server, () => outliers.accept(this.#room, pdus, { signal: this.#case.signal }));
    // What rests upon events of another room is not wanted in bulk; asked for by name, it is kept as rejected, so that
    // what refers to it can be judged.
    const left = [...fetched.values()].filter(({ eventId }) => eventIds.includes(eventId) && !this.#isStored(eventId));
    for (const event of await this.#check(left.map(({ pdu }) => pdu))) await admit(event, { as: 'outlier' });
  }

  async #fetch(server: ServerName, eventId: EventId): Promise<RoomEvent | undefined> {
    this.#fetched += 1;
    if (this.#fetched > MAX_FETCHED) return undefined;
    const pdu = await this.#try(server, () => this.#parts.peers.event(server, eventId, this.#case.signal));
    const parsed = parsePdu(pdu, this.#room.version);
    if (!parsed.ok || parsed.event.eventId !== eventId || parsed.event.roomId !== this.#room.roomId) return undefined;
    return parsed.event;
  }

  #restsOn({ authEvents, type }: RoomEvent): readonly EventId[] {
    const { version, roomId } = this.#room;
    return version.roomIdIsCreateHash && type !== 'm.room.create'
      ? [...authEvents, createEventIdOf(roomId)]
      : authEvents;
  }

  /** The server an event came from, then others; each only once the ones before have not sufficed. */
  *#eachServer(): Generator<ServerName, void, undefined> {
    const { origin, others } = this.#case;
    yield origin;
    const servers = this.#servers ?? others();
    this.#servers = servers;
    yield* servers;
  }

  /** What a server answers, undefined where it fails. @throws the signal's reason */
  async #try<Result>(server: ServerName, work: () => Promise<Result>): Promise<Result | undefined> {
    const { signal } = this.#case;
    signal.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof FederationError) && !(error instanceof TooManyOutliersError)) throw error;
      const kind = error instanceof FederationError ? error.kind : error.message;
      this.#parts.log.info({ server, roomId: this.#room.roomId, kind }, 'a server did not help to fill a gap');
      return undefined;
    }
  }

  #isStored(eventId: EventId): boolean {
    return this.#parts.events.findNid(eventId) !== undefined;
  }

  /** Whether an event stands in the graph, so that the state after it is known. */
  #isPlaced(eventId: EventId): boolean {
    return this.#parts.events.find(eventId)?.outlier === false;
  }
}

interface Reached {
  readonly events: readonly RoomEvent[];
  readonly edge: readonly RoomEvent[];
}
