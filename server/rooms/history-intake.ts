import { setImmediate as nextTurn } from 'node:timers/promises';
import { FederationError } from '../federation/errors.ts';
import type { KeyRing } from '../federation/types.ts';
import { type RoomEvent, type StateKey, stateKeyOf } from '../matrix/events/event.ts';
import { parsePdu } from '../matrix/events/parse.ts';
import type { EventId, ServerName } from '../matrix/identifiers.ts';
import type { JsonValue } from '../matrix/json.ts';
import type { Database, ReadStatement } from '../storage/types.ts';
import { Gate } from '../util/gate.ts';
import type { Logger } from '../util/log.ts';
import type { EventStore } from './event-store.ts';
import type { RoomHeads } from './extremities.ts';
import type { OutlierStore } from './federation-types.ts';
import { type Batch, nearestOf, reachableFrom, sortByGraph } from './history-batch.ts';
import type { Acceptance } from './inbox/admission.ts';
import { withSoundContent } from './inbox.ts';
import type { PeerRequests } from './peer-requests.ts';
import { EMPTY_STATE, type StateChange, type StateGroupId, type StateGroups } from './state-groups.ts';
import type { RoomInfo } from './types.ts';

export interface IntakeParts {
  readonly db: Database;
  readonly log: Logger;
  readonly heads: RoomHeads;
  readonly events: EventStore;
  readonly groups: StateGroups;
  /** The road of an event whose format, signatures and hash are right. */
  readonly admit: (
    event: RoomEvent,
    options: { readonly as: 'history'; readonly toldStates?: readonly StateGroupId[] },
  ) => Promise<Acceptance>;
  readonly keyRing: Pick<KeyRing, 'checkEvents'>;
  readonly outliers: OutlierStore;
  readonly peers: Pick<PeerRequests, 'event' | 'stateIds' | 'state' | 'eventAuth'>;
}

/** What a server gave, and what it was asked for. */
export interface Given {
  readonly server: ServerName;
  readonly batch: Batch;
  /** The events behind which everything that was asked for lies, themselves included. */
  readonly wanted: readonly EventId[];
  /** An event that is held and whose state is likely to be much like that of what was given. */
  readonly near: EventId | undefined;
}

/** The most states asked for to place the events of one answer. */
const MOST_STATES = 5;
/** How often the auth events of an event are asked for by themselves, for one answer. */
const MOST_AUTH_CHAINS = 5;
/** From this many events of a state on, the whole of it is asked for. */
const WORTH_ALL = 150;
const AT_ONCE = 8;
/** Events placed, looked up, read or written into a state before others have their turn. */
const PLACED_IN_A_ROW = 10;
const LOOKED_UP_IN_A_ROW = 500;
const READ_IN_A_ROW = 100;
const WRITTEN_IN_A_ROW = 200;

/** Gives events that lie behind what this server holds their place in the graph. */
export class HistoryIntake {
  readonly #parts: IntakeParts;
  readonly #listKnown: ReadStatement<{ event_id: string; event_nid: number }>;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
    this.#listKnown = parts.db.prepareRead(
      'SELECT event_id, event_nid FROM events WHERE event_id IN (SELECT value FROM json_each(?))',
    );
  }

  /** What of an answer are events of the room that are not held yet: in the format of its version, each once. */
  read(room: RoomInfo, pdus: readonly JsonValue[]): Batch {
    const batch = new Map<EventId, RoomEvent>();
    for (const pdu of pdus) {
      const parsed = parsePdu(pdu, room.version, { anyNumberOfReferences: true });
      if (!parsed.ok || parsed.event.roomId !== room.roomId || this.#isHeld(parsed.event.eventId)) continue;
      batch.set(parsed.event.eventId, parsed.event);
    }
    return batch;
  }

  /**
   * Checks events that a server gave and stores those that what was asked for leads to, with the state before the
   * earliest of them as that server tells it. Resolves to how many are held now that were not before.
   * @throws FederationError, TooManyOutliersError where the server does not tell what its events rest upon; the signal's
   * reason
   */
  async take(room: RoomInfo, given: Given, signal: AbortSignal): Promise<number> {
    const { log, keyRing, admit } = this.#parts;
    const { server, batch, wanted } = given;
    const all = [...batch.values()];
    const sound = await keyRing.checkEvents(all);
    const signed = new Map(all.filter((_, at) => sound[at] === true).map((event) => [event.eventId, event]));
    if (signed.size < all.length) {
      const dropped = all.length - signed.size;
      log.info({ server, roomId: room.roomId, dropped }, 'history with missing or wrong signatures');
    }
    const isHeld = (eventId: EventId): boolean => this.#isHeld(eventId);
    const sorted = sortByGraph(nearestOf(reachableFrom(signed, wanted), MOST_STATES, isHeld));
    let states = MOST_STATES;
    let authChains = MOST_AUTH_CHAINS;
    let stored = 0;
    for (const [at, one] of sorted.entries()) {
      if (at % PLACED_IN_A_ROW === 0) await nextTurn();
      signal.throwIfAborted();
      const event = withSoundContent(one);
      const options: { as: 'history'; toldStates?: StateGroupId[] } = { as: 'history' };
      if (event.prevEvents.some((id) => !isHeld(id))) {
        // More than was reckoned with: something before it has not been taken.
        if (states === 0) continue;
        states -= 1;
        options.toldStates = [await this.#askForState(room, given, event.eventId, signal)];
      }
      let acceptance = await admit(event, options);
      if (acceptance.kind === 'missing' && acceptance.authEvents.length > 0 && authChains > 0) {
        authChains -= 1;
        await this.#askForAuthChain(room, server, event.eventId, signal);
        acceptance = await admit(event, options);
      }
      if (acceptance.kind === 'stored') stored += 1;
      else if (acceptance.kind !== 'known') {
        const reason = acceptance.kind === 'dropped' ? acceptance.reason : 'what it rests upon could not be had';
        log.info({ server, eventId: event.eventId, reason }, 'history not taken');
      }
    }
    return stored;
  }

  async #askForAuthChain(room: RoomInfo, server: ServerName, eventId: EventId, signal: AbortSignal): Promise<void> {
    const { outliers, peers } = this.#parts;
    await outliers.accept(room, peers.eventAuth(server, room.roomId, eventId, signal), { signal });
  }

  /**
   * The state before an event as a server tells it, stored. What cannot be had or does not pass is left out: in old rooms
   * there are servers whose keys nobody knows any more.
   */
  async #askForState(
    room: RoomInfo,
    { server, near }: Given,
    eventId: EventId,
    signal: AbortSignal,
  ): Promise<StateGroupId> {
    const { peers, outliers } = this.#parts;
    const { roomId } = room;
    const told = await peers.stateIds(server, roomId, eventId, signal);
    const wanted = [...new Set([...told.state, ...told.authChain])];
    const known = await this.#nidsOf(wanted);
    const lacking = wanted.filter((id) => !known.has(id));
    if (lacking.length > 0) {
      const pdus =
        lacking.length < WORTH_ALL
          ? await this.#fetchEach(server, lacking, signal)
          : peers.state(server, roomId, eventId, signal);
      await outliers.accept(room, pdus, { signal });
    }
    const state = await this.#buildState(room, new Set((await this.#nidsOf(told.state)).values()), near);
    if (state === undefined) {
      throw new FederationError('malformed', server, 'what it says to be the state of the room is none');
    }
    return state;
  }

  /**
   * Stores the state that consists of these events, as what it differs by from one that is stored. Undefined if it lacks
   * the create event or has two events in one place.
   */
  async #buildState(
    room: RoomInfo,
    holders: ReadonlySet<number>,
    near: EventId | undefined,
  ): Promise<StateGroupId | undefined> {
    const { db, heads, events, groups } = this.#parts;
    const nearby = near === undefined ? undefined : events.find(near)?.stateBefore;
    const base = nearby ?? heads.find(room.roomId)?.current ?? EMPTY_STATE;
    const held = groups.listHolders(base);
    const gone = [...held].filter((nid) => !holders.has(nid));
    const added = [...holders].filter((nid) => !held.has(nid));
    const changes = new Map<StateKey, StateChange>();
    for (const [at, nid] of [...gone, ...added].entries()) {
      if (at % READ_IN_A_ROW === READ_IN_A_ROW - 1) await nextTurn();
      const event = events.getByNid(nid);
      const { type, stateKey } = event;
      if (stateKey === undefined) continue;
      const key = stateKeyOf(type, stateKey);
      if (at < gone.length) {
        changes.set(key, { type, stateKey, eventNid: undefined });
      } else if (event.roomId === room.roomId && event.verdict !== 'rejected') {
        // A place that the base has and that is not given up, or that was taken a moment ago.
        const change = changes.get(key);
        const isTaken =
          change === undefined ? groups.find(base, type, stateKey) !== undefined : change.eventNid !== undefined;
        if (isTaken) return undefined;
        changes.set(key, { type, stateKey, eventNid: nid });
      }
    }
    let state = base;
    const all = [...changes.values()];
    for (let at = 0; at < all.length; at += WRITTEN_IN_A_ROW) {
      state = db.write((tx) => groups.change(tx, state, all.slice(at, at + WRITTEN_IN_A_ROW)));
      // What a commit that fails undoes must not be built upon.
      await db.committed();
    }
    return groups.find(state, 'm.room.create', '') === undefined ? undefined : state;
  }

  /** Events one by one, as far as the server gives them. */
  async #fetchEach(server: ServerName, eventIds: readonly EventId[], signal: AbortSignal): Promise<JsonValue[]> {
    const gate = new Gate(AT_ONCE);
    const fetched = await Promise.all(
      eventIds.map((eventId) =>
        gate.run(async () => {
          signal.throwIfAborted();
          try {
            return await this.#parts.peers.event(server, eventId, signal);
          } catch (error) {
            // A refusal is about this one event; anything else is about the server.
            if (error instanceof FederationError && error.kind === 'refused') return undefined;
            throw error;
          }
        }),
      ),
    );
    return fetched.filter((pdu) => pdu !== undefined);
  }

  /** The numbers of those events that are stored. */
  async #nidsOf(eventIds: readonly EventId[]): Promise<Map<string, number>> {
    const found = new Map<string, number>();
    for (let at = 0; at < eventIds.length; at += LOOKED_UP_IN_A_ROW) {
      if (at > 0) await nextTurn();
      const some = JSON.stringify(eventIds.slice(at, at + LOOKED_UP_IN_A_ROW));
      for (const { event_id: id, event_nid: nid } of this.#listKnown.list(some)) found.set(id, nid);
    }
    return found;
  }

  /** Whether an event stands in the graph that we hold. */
  #isHeld(eventId: EventId): boolean {
    return this.#parts.events.find(eventId)?.outlier === false;
  }
}
