import type { StateMap } from '../events/event.ts';
import type { RoomVersion } from '../room-versions.ts';
import { type EventSource, runToEnd, type Steps } from './event-source.ts';
import { type Separated, separate } from './separate.ts';
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
      return yield* resolveV1(yield* separate(distinct, false), source);
    case 'v2':
    case 'v2.1':
      return yield* resolveV2(yield* separate(distinct, true), source, {
        states: distinct.map((state) => [...state.values()]),
        isV21: version.stateResolution === 'v2.1',
      });
  }
}

export interface SeparatedResolution {
  readonly version: RoomVersion;
  /**
   * What the states agree on, as far as the auth rules may ask for it, and what they do not. A key that only some of them
   * have is in conflict, but in room version 1. Used up by the resolution.
   */
  readonly separated: Separated;
  /** Knows the states: what it is asked to tell of them, it is asked with an empty list. */
  readonly source: EventSource;
}

/** `resolveStateSteps` for those who know already in what the states differ. Gives the keys that they were told of. */
export function* resolveSeparatedSteps({ version, separated, source }: SeparatedResolution): Steps<StateMap> {
  if (version.stateResolution === 'v1') return yield* resolveV1(separated, source);
  return yield* resolveV2(separated, source, { states: [], isV21: version.stateResolution === 'v2.1' });
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
