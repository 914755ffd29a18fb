import type { AuthState } from '../auth-rules/auth-state.ts';
import { checkAuthRules } from '../auth-rules/check.ts';
import { type RoomEvent, type StateKey, type StateMap, stateKeyOf } from '../events/event.ts';
import type { EventId } from '../identifiers.ts';
import { EVENTS_PER_STEP, type EventSource, type Steps, walkConflictedSubgraph } from './event-source.ts';
import { KnownEvents } from './known-events.ts';
import type { Separated } from './separate.ts';
import { mainlineOrder, reverseTopologicalPowerOrder } from './topological-order.ts';

/**
 * State resolution of room versions 2 to 11 (rooms/v2, "State resolution") and, with `isV21`, of version 12, which differs
 * in two things: the first pass starts from nothing instead of the unconflicted state, and what lies between conflicted
 * events takes part.
 */
export function* resolveV2(
  { unconflicted, conflicted }: Separated,
  source: EventSource,
  { states, isV21 }: { readonly states: readonly (readonly EventId[])[]; readonly isV21: boolean },
): Steps<StateMap> {
  if (conflicted.size === 0) return unconflicted;

  const events = new KnownEvents(source);
  const full = yield* fullConflictedSet(states, new Set([...conflicted.values()].flatMap((ids) => [...ids])), {
    source,
    events,
    isV21,
  });
  // 1
  const powerEvents = yield* withAuthChains([...full.values()].filter(isPowerEvent), full);
  const powerOrder = yield* reverseTopologicalPowerOrder(powerEvents, (event) => events.senderPower(event));
  // 2
  const base: StateMap = isV21 ? new Map() : unconflicted;
  const resolved = new Map<StateKey, EventId>();
  yield* applyAllowed(powerOrder, { base, resolved, events });
  // 3
  const powerLevelsKey = stateKeyOf('m.room.power_levels', '');
  const powerLevelsId = resolved.get(powerLevelsKey) ?? base.get(powerLevelsKey);
  const rest = [...full.values()].filter((event) => !powerEvents.has(event.eventId));
  const basis = powerLevelsId === undefined ? undefined : events.find(powerLevelsId);
  const mainline = yield* mainlineOrder(rest, basis, (event) => events.authEvent(event, 'm.room.power_levels', ''));
  // 4
  yield* applyAllowed(mainline, { base, resolved, events });
  // 5: what no state disputes stays as it is.
  const result = unconflicted;
  for (const [key, id] of resolved) if (!result.has(key)) result.set(key, id);
  return result;
}

/**
 * The full conflicted set, as far as we have its events.
 *
 * NOT-SPEC: by the letter an event is no part of its own auth chain, so an event that every state holds, but only some
 * cite, would be in the difference. Here, as in the servers we have to agree with, a state's chain includes its events.
 */
function* fullConflictedSet(
  states: readonly (readonly EventId[])[],
  conflicted: ReadonlySet<EventId>,
  { source, events, isV21 }: { source: EventSource; events: KnownEvents; isV21: boolean },
): Steps<ReadonlyMap<EventId, RoomEvent>> {
  const ids = new Set(conflicted);
  const difference = source.authChainDifferenceSteps
    ? yield* source.authChainDifferenceSteps(states)
    : source.authChainDifference(states);
  for (const id of difference) ids.add(id);
  if (isV21) {
    const between =
      source.conflictedSubgraph?.(conflicted) ?? (yield* walkConflictedSubgraph((id) => events.find(id), conflicted));
    for (const id of between) ids.add(id);
  }
  const full = new Map<EventId, RoomEvent>();
  let count = 0;
  for (const id of ids) {
    if (++count % EVENTS_PER_STEP === 0) yield;
    const event = events.find(id);
    if (event?.stateKey !== undefined) full.set(id, event);
  }
  return full;
}

/**
 * Events that may take from somebody the ability to do something.
 * NOT-SPEC: m.room.power_levels and m.room.join_rules count with the empty state key only; with any other they mean
 * nothing, and so other servers have it.
 */
function isPowerEvent({ type, stateKey, sender, content }: RoomEvent): boolean {
  if (type === 'm.room.power_levels' || type === 'm.room.join_rules') return stateKey === '';
  return (
    type === 'm.room.member' &&
    (content['membership'] === 'leave' || content['membership'] === 'ban') &&
    sender !== stateKey
  );
}

/**
 * The power events and what of their auth chains is in the full conflicted set.
 * NOT-SPEC: a chain is followed as long as it stays inside that set, as in other servers. It leaves and enters it again
 * only where an event that all states rest upon has been taken back into one of them.
 */
function* withAuthChains(
  powerEvents: readonly RoomEvent[],
  full: ReadonlyMap<EventId, RoomEvent>,
): Steps<ReadonlyMap<EventId, RoomEvent>> {
  const found = new Map<EventId, RoomEvent>();
  const pending = [...powerEvents];
  for (let event = pending.pop(); event !== undefined; event = pending.pop()) {
    if (found.has(event.eventId)) continue;
    found.set(event.eventId, event);
    if (found.size % EVENTS_PER_STEP === 0) yield;
    for (const id of event.authEvents) {
      const authEvent = full.get(id);
      if (authEvent) pending.push(authEvent);
    }
  }
  return found;
}

interface Application {
  /** The state to start from; only read. */
  readonly base: StateMap;
  /** What was put over it; added to. */
  readonly resolved: Map<StateKey, EventId>;
  readonly events: KnownEvents;
}

/** The iterative auth checks: each event in turn becomes part of the state if the state so far allows it. */
function* applyAllowed(order: readonly RoomEvent[], { base, resolved, events }: Application): Steps<void> {
  let count = 0;
  for (const event of order) {
    if (++count % EVENTS_PER_STEP === 0) yield;
    const auth: AuthState = {
      find(type, stateKey) {
        const key = stateKeyOf(type, stateKey);
        const id = resolved.get(key) ?? base.get(key);
        return (id === undefined ? undefined : events.find(id)) ?? events.usableAuthEvent(event, type, stateKey);
      },
    };
    if (checkAuthRules(event, auth).allowed) resolved.set(stateKeyOf(event.type, event.stateKey ?? ''), event.eventId);
  }
}
