import { type RoomEvent, type StateKey, stateKeyOf } from '../events/event.ts';
import type { EventId } from '../identifiers.ts';
import { allowed, createEventIdOf, rejected, type Verdict } from './auth-state.ts';
import { thirdPartyToken } from './third-party-invite.ts';

/** What the selection of auth events depends on: an event, or one still to be built. */
export type Authorisable = Pick<RoomEvent, 'type' | 'stateKey' | 'sender' | 'content' | 'version'>;

/**
 * The keys of the state that an event's auth_events are taken from, as far as the state has them (server-server API,
 * "Auth events selection"). Without m.room.create from room version 12 on, where the room ID implies it.
 */
export function authEventKeys(event: Authorisable): StateKey[] {
  const { type, stateKey, sender, content, version } = event;
  if (type === 'm.room.create') return [];
  const keys = new Set<StateKey>();
  if (!version.roomIdIsCreateHash) keys.add(stateKeyOf('m.room.create', ''));
  keys.add(stateKeyOf('m.room.power_levels', ''));
  keys.add(stateKeyOf('m.room.member', sender));
  if (type === 'm.room.member') {
    const membership = content['membership'];
    if (stateKey !== undefined) keys.add(stateKeyOf('m.room.member', stateKey));
    if (membership === 'join' || membership === 'invite' || membership === 'knock') {
      keys.add(stateKeyOf('m.room.join_rules', ''));
    }
    const token = membership === 'invite' ? thirdPartyToken(content) : undefined;
    if (token !== undefined) keys.add(stateKeyOf('m.room.third_party_invite', token));
    const authoriser = content['join_authorised_via_users_server'];
    if (membership === 'join' && version.restrictedJoins && typeof authoriser === 'string') {
      keys.add(stateKeyOf('m.room.member', authoriser));
    }
  }
  return [...keys];
}

/** What is known about an event's auth events beside the events themselves. */
export interface AuthEventsFacts {
  isRejected(id: EventId): boolean;
  /** From room version 12 on: the event that the room ID names, if we have it. Earlier versions list it instead. */
  readonly create?: RoomEvent | undefined;
}

/**
 * The rules about the list of auth events (auth rule 2 in room versions 1 to 11, rules 2 and 3 from 12 on). `authEvents`
 * are the events that `event.authEvents` names, in any order; gathering them comes first.
 */
export function checkAuthEvents(event: RoomEvent, authEvents: readonly RoomEvent[], facts: AuthEventsFacts): Verdict {
  // A create event is judged by rule 1 alone, which comes before these.
  if (event.type === 'm.room.create') return allowed;
  const { version } = event;
  // 2 from version 12 on
  if (version.roomIdIsCreateHash) {
    const { create } = facts;
    if (create?.type !== 'm.room.create' || create.eventId !== createEventIdOf(event.roomId)) {
      return rejected('the room ID names no m.room.create event');
    }
    if (facts.isRejected(create.eventId)) return rejected('the m.room.create event was rejected');
  }
  const known = new Map(authEvents.map((authEvent) => [authEvent.eventId, authEvent]));
  const selectable = new Set(authEventKeys(event));
  const seen = new Set<StateKey>();
  for (const id of event.authEvents) {
    const authEvent = known.get(id);
    if (!authEvent) return rejected('an auth event is missing');
    // Rule 2.x up to version 11 is 3.x from 12 on. What is no state event matches no key, which is 3.2 below.
    const key = authEvent.stateKey === undefined ? undefined : stateKeyOf(authEvent.type, authEvent.stateKey);
    // 3.1
    if (key !== undefined && seen.has(key)) return rejected('two auth events have the same type and state key');
    // 3.2
    if (key === undefined || !selectable.has(key)) return rejected('an auth event has no bearing on this event');
    // 3.3
    if (facts.isRejected(id)) return rejected('an auth event was rejected');
    // 3.5 (2.5)
    if (authEvent.roomId !== event.roomId) return rejected('an auth event is of another room');
    seen.add(key);
  }
  // 2.4 up to version 11
  if (!version.roomIdIsCreateHash && !seen.has(stateKeyOf('m.room.create', ''))) {
    return rejected('m.room.create is not among the auth events');
  }
  return allowed;
}
