import type { RoomEvent } from '../matrix/events/event.ts';
import { stripStateEvent } from '../matrix/events/strip.ts';
import type { JsonObject } from '../matrix/json.ts';
import type { StoredEvent } from './event-store.ts';

/** State that a room shows of itself to those who might join: of a type, with one state key or, without one, with any. */
export interface PrejoinState {
  readonly type: string;
  readonly stateKey: string | undefined;
}

/** What a room shows unless told otherwise (spec: client-server API, "Stripped state"). */
export const DEFAULT_PREJOIN_STATE: readonly PrejoinState[] = [
  'm.room.create',
  'm.room.name',
  'm.room.avatar',
  'm.room.topic',
  'm.room.join_rules',
  'm.room.canonical_alias',
  'm.room.encryption',
].map((type) => ({ type, stateKey: '' }));

/** The state of a room, to look up events in. */
export interface ShownState {
  find(type: string, stateKey: string): StoredEvent | undefined;
  list(type: string): readonly StoredEvent[];
}

/**
 * The stripped state that comes with an invite or knock: the room's face in the state the event led to, the member event
 * of whoever sent it, and the event itself last. `m.room.create` is always part of it, since other servers refuse an
 * invite without it (spec: server-server API, "Inviting to a room").
 */
export function strippedStateFor(member: StoredEvent, shown: readonly PrejoinState[], state: ShownState): JsonObject[] {
  return [...listShownState(member, shown, state), member].map(stripStateEvent);
}

/** What `strippedStateFor` shows beside the member event, as whole events. */
export function listShownState(
  member: Pick<RoomEvent, 'eventId' | 'sender'>,
  shown: readonly PrejoinState[],
  state: ShownState,
): StoredEvent[] {
  const events = [
    state.find('m.room.create', ''),
    ...shown.flatMap(({ type, stateKey }) => (stateKey === undefined ? state.list(type) : state.find(type, stateKey))),
    state.find('m.room.member', member.sender),
  ].filter((event) => event !== undefined);
  const others = new Map(events.map((event) => [event.nid, event]));
  return [...others.values()].filter(({ eventId }) => eventId !== member.eventId);
}
