import { splitStateKey, type StateKey } from '../matrix/events/event.ts';
import type { EventId, RoomId, UserId } from '../matrix/identifiers.ts';
import { isMembership } from '../rooms/membership.ts';
import type { EventReader, Membership, PersistedEvent, RoomState, StateReader } from '../rooms/types.ts';
import type { StreamPosition } from '../storage/types.ts';

/** How the current state of a room differs between the ends of a window. */
export interface RoomChange {
  readonly before: RoomState;
  readonly after: RoomState;
  readonly differences: readonly (readonly [StateKey, EventId | undefined, EventId | undefined])[];
  /** Users whose membership is another one now, with both; those who changed their name only are not among them. */
  readonly memberships: ReadonlyMap<UserId, { readonly before: Membership | undefined; readonly after: Membership }>;
  /** Users who were joined and are, by another event: they changed their name, or were away meanwhile. */
  readonly joinedAnew: readonly UserId[];
}

/** What changed in the current state of a room between two positions; costs what differs. */
export function findRoomChange(
  { state, events }: { state: Pick<StateReader, 'stateAt' | 'difference'>; events: Pick<EventReader, 'findEvent'> },
  roomId: RoomId,
  since: StreamPosition,
  now: StreamPosition,
): RoomChange {
  const earlier = state.stateAt(roomId, since);
  const after = state.stateAt(roomId, now);
  const differences = state.difference(earlier, after);
  const memberships = new Map<UserId, { before: Membership | undefined; after: Membership }>();
  const joinedAnew: UserId[] = [];
  for (const [key, from, to] of differences) {
    const { type, stateKey } = splitStateKey(key);
    if (type !== 'm.room.member') continue;
    const was = from === undefined ? undefined : membershipOf(events.findEvent(from));
    const is = (to === undefined ? undefined : membershipOf(events.findEvent(to))) ?? 'leave';
    if (was !== is) memberships.set(stateKey as UserId, { before: was, after: is });
    else if (is === 'join') joinedAnew.push(stateKey as UserId);
  }
  return { before: earlier, after, differences, memberships, joinedAnew };
}

/** The membership an m.room.member event gives; undefined if that is no such event. */
export function membershipOf(event: PersistedEvent | undefined): Membership | undefined {
  const membership = event?.content['membership'];
  return isMembership(membership) ? membership : undefined;
}
