import { type RoomEvent, type StateKey, stateKeyOf } from '../events/event.ts';
import { type EventId, isEventId, type RoomId } from '../identifiers.ts';
import { type PowerLevels, readPowerLevels } from '../power-levels.ts';

/** What a rule says of an event; the reason is for logs and error messages. */
export type Verdict = { readonly allowed: true } | { readonly allowed: false; readonly reason: string };

export const allowed: Verdict = { allowed: true };

export function rejected(reason: string): Verdict {
  return { allowed: false, reason };
}

/**
 * The part of a room's state that rules look at. In room version 12 the create event is found here too, though no event
 * lists it in its auth_events.
 */
export interface AuthState {
  find(type: string, stateKey: string): RoomEvent | undefined;
}

/** An AuthState of these state events; of two with the same key the later one counts. */
export function authStateOf(events: Iterable<RoomEvent>): AuthState {
  const byKey = new Map<StateKey, RoomEvent>();
  for (const event of events) {
    if (event.stateKey !== undefined) byKey.set(stateKeyOf(event.type, event.stateKey), event);
  }
  return { find: (type, stateKey) => byKey.get(stateKeyOf(type, stateKey)) };
}

/** The power levels in force in this state. */
export function powerLevelsIn(auth: AuthState): PowerLevels {
  return readPowerLevels(auth.find('m.room.create', ''), auth.find('m.room.power_levels', ''));
}

/** A user's membership in this state; `leave` for one who never had any. */
export function membershipIn(auth: AuthState, user: string): string {
  const membership = auth.find('m.room.member', user)?.content['membership'];
  return typeof membership === 'string' ? membership : 'leave';
}

/** The join rule in this state; `invite` where none is set. */
export function joinRuleIn(auth: AuthState): string {
  const rule = auth.find('m.room.join_rules', '')?.content['join_rule'];
  return typeof rule === 'string' ? rule : 'invite';
}

/** The create event's ID, which a room ID is from room version 12 on. Undefined for a room ID with a domain. */
export function createEventIdOf(roomId: RoomId): EventId | undefined {
  const id = `$${roomId.slice(1)}`;
  return !roomId.includes(':') && isEventId(id) ? id : undefined;
}
