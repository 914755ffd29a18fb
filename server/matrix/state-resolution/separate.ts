import type { StateKey, StateMap } from '../events/event.ts';
import type { EventId } from '../identifiers.ts';
import type { Steps } from './event-source.ts';

/** Several states told apart into what they agree on and what they do not. */
export interface Separated {
  readonly unconflicted: Map<StateKey, EventId>;
  /** For each key in conflict the events that compete for it. */
  readonly conflicted: Map<StateKey, Set<EventId>>;
}

const ENTRIES_PER_STEP = 10_000;

/**
 * Tells conflicted keys from unconflicted ones. A key that some states lack is in conflict only if `absenceConflicts`:
 * so it is from room version 2 on, while version 1 takes whatever one state has.
 */
export function* separate(stateSets: readonly StateMap[], absenceConflicts: boolean): Steps<Separated> {
  const [first = new Map(), ...others] = stateSets;
  const unconflicted = new Map<StateKey, EventId>(first);
  const conflicted = new Map<StateKey, Set<EventId>>();
  let entries = first.size;

  const contest = (key: StateKey, ...ids: readonly (EventId | undefined)[]): void => {
    const rivals = conflicted.get(key) ?? new Set();
    for (const id of ids) if (id !== undefined) rivals.add(id);
    conflicted.set(key, rivals);
    unconflicted.delete(key);
  };
  for (const state of others) {
    let matched = 0;
    for (const [key, id] of state) {
      if (++entries % ENTRIES_PER_STEP === 0) yield;
      const agreed = unconflicted.get(key);
      if (agreed === id) matched += 1;
      else if (agreed !== undefined) contest(key, agreed, id);
      else if (absenceConflicts || conflicted.has(key)) contest(key, id);
      else unconflicted.set(key, id);
    }
    // Only when this state did not have all that was agreed so far is it worth looking for what it lacks.
    if (absenceConflicts && matched < unconflicted.size) {
      for (const [key, id] of unconflicted) {
        if (++entries % ENTRIES_PER_STEP === 0) yield;
        if (!state.has(key)) contest(key, id);
      }
    }
  }
  return { unconflicted, conflicted };
}
