import { authEventKeys, type Authorisable } from '../matrix/auth-rules/auth-events.ts';
import { type AuthState, createEventIdOf } from '../matrix/auth-rules/auth-state.ts';
import { splitStateKey, type RoomEvent } from '../matrix/events/event.ts';
import type { EventId } from '../matrix/identifiers.ts';
import type { WriteTx } from '../storage/types.ts';
import type { EventStore, StoredEvent } from './event-store.ts';
import type { RoomHead } from './extremities.ts';
import type { StateResolver } from './resolution.ts';
import { EMPTY_STATE, type StateGroupId, type StateGroups } from './state-groups.ts';

/** What an event refers to, as far as we have it. */
export interface Gathered {
  readonly authEvents: readonly StoredEvent[];
  readonly missingAuthEvents: readonly EventId[];
  /** The create event that the room ID names, in room versions in which it does. */
  readonly create: StoredEvent | undefined;
  /** Those whose state we know. */
  readonly prevEvents: readonly StoredEvent[];
  readonly missingPrevEvents: readonly EventId[];
}

/** Brings together what the judge wants to see, out of the database. */
export class Gatherer {
  readonly #events: EventStore;
  readonly #groups: StateGroups;
  readonly #resolver: StateResolver;

  constructor({ events, groups, resolver }: { events: EventStore; groups: StateGroups; resolver: StateResolver }) {
    this.#events = events;
    this.#groups = groups;
    this.#resolver = resolver;
  }

  /** The events that an event names as its auth events and its predecessors. */
  gather(event: RoomEvent): Gathered {
    const authEvents: StoredEvent[] = [];
    const missingAuthEvents: EventId[] = [];
    for (const id of event.authEvents) {
      const found = this.#events.find(id);
      if (found === undefined) missingAuthEvents.push(id);
      else authEvents.push(found);
    }
    const createId = event.version.roomIdIsCreateHash ? createEventIdOf(event.roomId) : undefined;
    const create = createId === undefined ? undefined : this.#events.find(createId);
    if (create === undefined && createId !== undefined && createId !== event.eventId) missingAuthEvents.push(createId);
    const prevEvents: StoredEvent[] = [];
    const missingPrevEvents: EventId[] = [];
    for (const id of new Set(event.prevEvents)) {
      const found = this.#events.find(id);
      // One of another room is as good as none: nobody will ever have it in this room.
      if (found === undefined || found.outlier || found.roomId !== event.roomId) missingPrevEvents.push(id);
      else prevEvents.push(found);
    }
    return { authEvents, missingAuthEvents, create, prevEvents, missingPrevEvents };
  }

  /** The state before an event with these predecessors. */
  stateBefore(tx: WriteTx, head: RoomHead, prevEvents: readonly StoredEvent[]): StateGroupId {
    if (this.followsAll(head, prevEvents)) return head.current;
    const [first] = prevEvents;
    if (first === undefined) return EMPTY_STATE;
    const states = prevEvents.map(({ stateAfter }) => stateAfter ?? EMPTY_STATE);
    return this.#resolver.resolve(tx, head.version, states, head.current);
  }

  /** Whether these events are just those that nothing follows yet: then the state after them is the current one. */
  followsAll({ extremities }: RoomHead, prevEvents: readonly StoredEvent[]): boolean {
    if (prevEvents.length !== extremities.length) return false;
    const nids = new Set(prevEvents.map(({ nid }) => nid));
    return extremities.every(({ nid }) => nids.has(nid));
  }

  /** The auth events that this state has for an event (server-server API, "Auth events selection"). */
  selectAuthEvents(event: Authorisable, state: StateGroupId): StoredEvent[] {
    const selected: StoredEvent[] = [];
    for (const key of authEventKeys(event)) {
      const { type, stateKey } = splitStateKey(key);
      const found = this.findIn(state, type, stateKey);
      if (found !== undefined) selected.push(found);
    }
    return selected;
  }

  isRejected(id: EventId): boolean {
    return this.#events.find(id)?.verdict === 'rejected';
  }

  /** A stored state as the auth rules look at it. */
  authState(state: StateGroupId): AuthState {
    return { find: (type, stateKey) => this.findIn(state, type, stateKey) };
  }

  findIn(state: StateGroupId, type: string, stateKey: string): StoredEvent | undefined {
    const nid = this.#groups.find(state, type, stateKey);
    return nid === undefined ? undefined : this.#events.getByNid(nid);
  }
}
