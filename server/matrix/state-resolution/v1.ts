import { createHash } from 'node:crypto';
import type { AuthState } from '../auth-rules/auth-state.ts';
import { checkAuthRules } from '../auth-rules/check.ts';
import { type RoomEvent, type StateKey, type StateMap, splitStateKey, stateKeyOf } from '../events/event.ts';
import type { EventId } from '../identifiers.ts';
import { EVENTS_PER_STEP, type EventSource, type Steps } from './event-source.ts';
import { KnownEvents } from './known-events.ts';
import type { Separated } from './separate.ts';

/** State resolution of room version 1 (rooms/v1, "State resolution"). Its faults are part of it: later versions mend them. */
export function* resolveV1(separated: Separated, source: EventSource): Steps<StateMap> {
  const { unconflicted: resolved, conflicted } = separated;
  const events = new KnownEvents(source);
  const auth: AuthState = {
    find(type, stateKey) {
      const id = resolved.get(stateKeyOf(type, stateKey));
      return id === undefined ? undefined : events.find(id);
    },
  };
  // One pass for each type that later passes depend on, then all others. Within a pass, keys do not see each other's
  // outcome, or it would depend on which of them comes first.
  const passes: [RoomEvent[][], RoomEvent[][], RoomEvent[][], RoomEvent[][]] = [[], [], [], []];
  let sorted = 0;
  for (const [key, ids] of conflicted) {
    if (++sorted % EVENTS_PER_STEP === 0) yield;
    const rivals = oldestFirst(ids, events);
    if (rivals.length > 0) passes[passOf(key)].push(rivals);
  }
  for (const [pass, conflicts] of passes.entries()) {
    const winners: RoomEvent[] = [];
    let checks = 0;
    for (const rivals of conflicts) {
      const winner = pass < 3 ? lastInUnbrokenRow(rivals, auth) : newestAllowed(rivals, auth);
      if (winner) winners.push(winner);
      checks += rivals.length;
      if (checks >= EVENTS_PER_STEP) {
        checks = 0;
        yield;
      }
    }
    for (const { type, stateKey, eventId } of winners) resolved.set(stateKeyOf(type, stateKey ?? ''), eventId);
  }
  return resolved;
}

function passOf(key: StateKey): 0 | 1 | 2 | 3 {
  switch (splitStateKey(key).type) {
    case 'm.room.power_levels':
      return 0;
    case 'm.room.join_rules':
      return 1;
    case 'm.room.member':
      return 2;
    default:
      return 3;
  }
}

/** Ascending depth, then descending SHA-1 of the event ID. Events we do not have cannot win. */
function oldestFirst(ids: Iterable<EventId>, events: KnownEvents): RoomEvent[] {
  return [...ids]
    .map((id) => events.find(id))
    .filter((event) => event !== undefined)
    .map((event) => ({ event, digest: createHash('sha1').update(event.eventId).digest() }))
    .sort((left, right) => left.event.depth - right.event.depth || Buffer.compare(right.digest, left.digest))
    .map(({ event }) => event);
}

/** The oldest event is taken as it is; each later one replaces it as long as the one before it would allow that. */
function lastInUnbrokenRow(rivals: readonly RoomEvent[], auth: AuthState): RoomEvent | undefined {
  const [first, ...later] = rivals;
  let holder = first;
  const withHolder: AuthState = {
    find: (type, stateKey) =>
      holder !== undefined && holder.type === type && holder.stateKey === stateKey ? holder : auth.find(type, stateKey),
  };
  for (const event of later) {
    if (!checkAuthRules(event, withHolder).allowed) break;
    holder = event;
  }
  return holder;
}

function newestAllowed(rivals: readonly RoomEvent[], auth: AuthState): RoomEvent | undefined {
  // NOT-SPEC: the rules are silent when none is allowed; the oldest is what other servers then keep.
  return rivals.findLast((event) => checkAuthRules(event, auth).allowed) ?? rivals[0];
}
