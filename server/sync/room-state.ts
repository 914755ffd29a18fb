import { splitStateKey, type StateKey, stateKeyOf } from '../matrix/events/event.ts';
import type { EventId, UserId } from '../matrix/identifiers.ts';
import type { PersistedEvent, RoomState } from '../rooms/types.ts';
import type { EventMatcher } from './filter-match.ts';

export interface StateRequest {
  /** The differences from what the client holds to `end`; undefined if it is to be given everything. */
  readonly differences: readonly (readonly [StateKey, EventId | undefined, EventId | undefined])[] | undefined;
  /** The state before the first event of the timeline. */
  readonly start: RoomState;
  /** The state after its last event. */
  readonly end: RoomState;
  readonly timeline: readonly PersistedEvent[];
  /** The client takes its state from this section alone, and none from the timeline. */
  readonly stateAfter: boolean;
  readonly matcher: EventMatcher;
  /** Undefined without lazy-loading. */
  readonly lazy: LazyRequest | undefined;
}

export interface LazyRequest {
  /** Whose membership is wanted: the senders in the timeline, and whom a summary names. */
  readonly wanted: ReadonlySet<UserId>;
  /** Whether the client has been sent the membership before and still holds it. */
  isKnown(user: UserId, eventId: EventId): boolean;
}

const MEMBER = 'm.room.member';

/**
 * Which state events to send beside a timeline, so that a client that applies first them and then the timeline holds
 * the state at its end (spec: client-server API, "Syncing", and /sync's `state` and `state_after`).
 */
export function selectState(request: StateRequest): EventId[] {
  const { differences, end, matcher, stateAfter, start, timeline, lazy } = request;
  const shown = new Set(stateAfter ? [] : timeline.filter(isState).map((event) => event.eventId));
  // By key: a client must not be told two things of the same one.
  const chosen = new Map<StateKey, EventId>();

  // An event the timeline brings is not repeated; what stood in its place when the timeline began comes instead.
  const pick = (key: StateKey, from: EventId | undefined, to: EventId): EventId | undefined => {
    if (!shown.has(to)) return to;
    const { type, stateKey } = splitStateKey(key);
    const earlier = start.find(type, stateKey);
    return earlier === undefined || earlier === from || shown.has(earlier) ? undefined : earlier;
  };
  const choose = (key: StateKey, from: EventId | undefined, to: EventId): void => {
    const eventId = matcher.allowsType(splitStateKey(key).type) ? pick(key, from, to) : undefined;
    if (eventId !== undefined) chosen.set(key, eventId);
  };

  if (differences === undefined) {
    // Who loads members lazily should not have all of them gone through.
    const entries = lazy === undefined ? end.entries() : end.entriesWithout(MEMBER);
    for (const [key, eventId] of entries) choose(key, undefined, eventId);
  } else {
    // A key that is gone cannot be told of; the next state event of that key will.
    for (const [key, from, to] of differences) if (to !== undefined) choose(key, from, to);
  }

  if (lazy !== undefined && matcher.allowsType(MEMBER)) {
    for (const user of lazy.wanted) {
      const key = stateKeyOf(MEMBER, user);
      const to = end.find(MEMBER, user) ?? start.find(MEMBER, user);
      if (to === undefined || chosen.has(key)) continue;
      const eventId = pick(key, undefined, to);
      if (eventId !== undefined && !lazy.isKnown(user, eventId)) chosen.set(key, eventId);
    }
  }
  return [...chosen.values()];
}

function isState(event: PersistedEvent): boolean {
  return event.stateKey !== undefined;
}
