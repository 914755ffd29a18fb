import type { StateKey } from '../matrix/events/event.ts';
import { stateKeyOf } from '../matrix/events/event.ts';
import type { EventId, RoomId } from '../matrix/identifiers.ts';
import type { StreamPosition } from '../storage/types.ts';
import type { EventStore } from './event-store.ts';
import type { RoomHeads } from './extremities.ts';
import { EMPTY_STATE, type StateGroupId, type StateGroups, StoredState } from './state-groups.ts';
import type { EventReader, PersistedEvent, RoomInfo, RoomState, StateReader } from './types.ts';

/** The events as the rest of the server sees them. */
export function eventReader({ heads, events }: { heads: RoomHeads; events: EventStore }): EventReader {
  return {
    findRoom: (roomId): RoomInfo | undefined => {
      const head = heads.find(roomId);
      return head === undefined ? undefined : { roomId, version: head.version };
    },
    findEvent: (eventId) => events.find(eventId),
    listEvents: (eventIds) => eventIds.map((id) => events.find(id)).filter((event) => event !== undefined),
    findUnredacted: (eventId) => events.findUnredacted(eventId),
  };
}

/** The states as the rest of the server sees them. */
export class States implements StateReader {
  readonly #heads: RoomHeads;
  readonly #events: EventStore;
  readonly #groups: StateGroups;

  constructor({ heads, events, groups }: { heads: RoomHeads; events: EventStore; groups: StateGroups }) {
    this.#heads = heads;
    this.#events = events;
    this.#groups = groups;
  }

  currentState(roomId: RoomId): RoomState {
    return this.#view(this.#heads.find(roomId)?.current ?? EMPTY_STATE);
  }

  findCurrent(roomId: RoomId, type: string, stateKey: string): PersistedEvent | undefined {
    const head = this.#heads.find(roomId);
    const nid = head === undefined ? undefined : this.#groups.find(head.current, type, stateKey);
    return nid === undefined ? undefined : this.#events.getByNid(nid);
  }

  stateBefore(eventId: EventId): RoomState | undefined {
    const state = this.#events.find(eventId)?.stateBefore;
    return state === undefined ? undefined : this.#view(state);
  }

  stateAfter(eventId: EventId): RoomState | undefined {
    const state = this.#events.find(eventId)?.stateAfter;
    return state === undefined ? undefined : this.#view(state);
  }

  stateAt(roomId: RoomId, position: StreamPosition): RoomState {
    const head = this.#heads.find(roomId);
    return this.#view(head === undefined ? EMPTY_STATE : this.#heads.stateAt(head.nid, position));
  }

  difference(
    from: RoomState,
    to: RoomState,
  ): readonly (readonly [StateKey, EventId | undefined, EventId | undefined])[] {
    if (!(from instanceof StoredState && to instanceof StoredState)) {
      throw new TypeError('only states that came from the rooms can be compared');
    }
    const idOf = (nid: number | undefined): EventId | undefined =>
      nid === undefined ? undefined : this.#events.eventIdOf(nid);
    return this.#groups
      .difference(from.group, to.group)
      .map(({ type, stateKey, left, right }) => [stateKeyOf(type, stateKey), idOf(left), idOf(right)] as const);
  }

  #view(state: StateGroupId): RoomState {
    return new StoredState(state, this.#groups, this.#events);
  }
}
