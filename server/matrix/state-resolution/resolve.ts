import type { StateMap } from '../events/event.ts';
import type { RoomVersion } from '../room-versions.ts';
import { type EventSource, runToEnd, type Steps } from './event-source.ts';
import { resolveV1 } from './v1.ts';
import { resolveV2 } from './v2.ts';

export interface Resolution {
  readonly version: RoomVersion;
  /** The states after each of the events that are to be followed at once. */
  readonly stateSets: readonly StateMap[];
  readonly source: EventSource;
}

/**
 * The one state that follows from several (rooms/v1 and rooms/v2, "State resolution"), by the algorithm of the room's
 * version. The order of the sets is of no account. Pure as long as `source` gives the same answers.
 */
export function resolveState(resolution: Resolution): StateMap {
  return runToEnd(resolveStateSteps(resolution));
}

/** `resolveState` in slices of a few milliseconds: a caller may do something else whenever it yields. */
export function* resolveStateSteps({ version, stateSets, source }: Resolution): Steps<StateMap> {
  const distinct = yield* withoutRepetition(stateSets);
  const [only = new Map(), ...others] = distinct;
  if (others.length === 0) return only;
  switch (version.stateResolution) {
    case 'v1':
      return yield* resolveV1(distinct, source);
    case 'v2':
      return yield* resolveV2(distinct, source, false);
    case 'v2.1':
      return yield* resolveV2(distinct, source, true);
  }
}

/** Two equal states count as one, whichever the version: neither adds a conflict nor an auth chain. */
function* withoutRepetition(stateSets: readonly StateMap[]): Steps<readonly StateMap[]> {
  const distinct: StateMap[] = [];
  for (const state of new Set(stateSets)) {
    if (!distinct.some((other) => isEqual(state, other))) distinct.push(state);
    yield;
  }
  return distinct;
}

function isEqual(one: StateMap, other: StateMap): boolean {
  if (one.size !== other.size) return false;
  for (const [key, id] of one) if (other.get(key) !== id) return false;
  return true;
}
