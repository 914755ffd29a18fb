import type { RoomEvent } from '../events/event.ts';
import type { EventId } from '../identifiers.ts';

/** A computation that yields every few milliseconds at most, so that its caller can let others have their turn. */
export type Steps<Result> = Generator<void, Result, void>;

/** How many events are looked up or checked between two yields; a lookup may be a read from disk. */
export const EVENTS_PER_STEP = 50;

/** Where a resolution gets its events from. All of one room; state events and their auth chains suffice. */
export interface EventSource {
  /** The event, or undefined where we do not have it. It is asked for each event once per resolution. */
  get(id: EventId): RoomEvent | undefined;
  /** Of each set take the events and all their auth chains; the answer is what some of these have and others lack. */
  authChainDifference(sets: readonly (readonly EventId[])[]): ReadonlySet<EventId>;
  /** The same in slices, used in its place where it is there. */
  authChainDifferenceSteps?(sets: readonly (readonly EventId[])[]): Steps<ReadonlySet<EventId>>;
  /**
   * The events on any path along auth_events from one of `conflicted` to another, both ends included. Where it is
   * missing, the auth chains of `conflicted` are walked.
   */
  conflictedSubgraph?(conflicted: ReadonlySet<EventId>): ReadonlySet<EventId>;
  /** Whether the event was rejected; such events do not serve as auth events of others. */
  isRejected(id: EventId): boolean;
}

type Get = EventSource['get'];

/** Runs a sliced computation to its end in one go. */
export function runToEnd<Result>(steps: Steps<Result>): Result {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** The plain way to `EventSource.authChainDifference`: `walkAuthChainDifference` run to its end. */
export function authChainDifferenceByWalking(get: Get): EventSource['authChainDifference'] {
  return (sets) => runToEnd(walkAuthChainDifference(get, sets));
}

/**
 * The auth chain difference by walking all chains. Its cost is the size of the auth chains, so a store with an index of
 * them does better.
 */
export function* walkAuthChainDifference(get: Get, sets: readonly (readonly EventId[])[]): Steps<ReadonlySet<EventId>> {
  const everywhere = new Set<EventId>();
  const [first = [], ...others] = sets.map((set) => new Set(set));
  const shared = [...first].filter((id) => others.every((set) => set.has(id)));
  yield* walk(get, shared, (id) => isNew(everywhere, id));
  // From how many sets an event is reached; what a set shares with all others was walked above.
  const reached = new Map<EventId, { count: number; lastSet: number }>();
  for (const [index, set] of sets.entries()) {
    yield* walk(get, set, (id) => {
      if (everywhere.has(id)) return false;
      const known = reached.get(id);
      if (known?.lastSet === index) return false;
      if (known) {
        known.count += 1;
        known.lastSet = index;
      } else {
        reached.set(id, { count: 1, lastSet: index });
      }
      return true;
    });
  }
  const difference = new Set<EventId>();
  for (const [id, { count }] of reached) if (count < sets.length) difference.add(id);
  return difference;
}

/** The conflicted subgraph (room version 12, "Definitions") by walking the auth chains of `conflicted`. */
export function* walkConflictedSubgraph(get: Get, conflicted: ReadonlySet<EventId>): Steps<ReadonlySet<EventId>> {
  // Down from the conflicted events, remembering who cited whom …
  const citedBy = new Map<EventId, EventId[]>();
  const below = new Set<EventId>();
  yield* walk(
    get,
    conflicted,
    (id) => isNew(below, id),
    (from, to) => {
      const known = citedBy.get(to);
      if (known) known.push(from);
      else citedBy.set(to, [from]);
    },
  );
  // … and up again: what is met on both ways lies between two of them.
  const between = new Set<EventId>();
  const pending = [...conflicted];
  for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
    if (isNew(between, id)) for (const from of citedBy.get(id) ?? []) pending.push(from);
  }
  return between;
}

/** Adds to a set and says whether that changed it. */
function isNew(set: Set<EventId>, id: EventId): boolean {
  if (set.has(id)) return false;
  set.add(id);
  return true;
}

/** Follows auth_events from `starts` on, past every event that `enter` says true of. No recursion: chains are long. */
function* walk(
  get: Get,
  starts: Iterable<EventId>,
  enter: (id: EventId) => boolean,
  follow?: (from: EventId, to: EventId) => void,
): Steps<void> {
  const pending = [...starts];
  let entered = 0;
  for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
    if (!enter(id)) continue;
    if (++entered % EVENTS_PER_STEP === 0) yield;
    for (const authEvent of get(id)?.authEvents ?? []) {
      follow?.(id, authEvent);
      pending.push(authEvent);
    }
  }
}
