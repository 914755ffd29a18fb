import { authEventKeys } from '../matrix/auth-rules/auth-events.ts';
import { splitStateKey, type StateKey, type StateMap, stateKeyOf } from '../matrix/events/event.ts';
import type { EventId } from '../matrix/identifiers.ts';
import type { RoomVersion } from '../matrix/room-versions.ts';
import { EVENTS_PER_STEP, type EventSource, type Steps } from '../matrix/state-resolution/event-source.ts';
import { resolveSeparatedSteps } from '../matrix/state-resolution/resolve.ts';
import type { Separated } from '../matrix/state-resolution/separate.ts';
import type { Database } from '../storage/types.ts';
import { AuthWalk } from './auth-walk.ts';
import type { ChainCover } from './chain-cover.ts';
import type { EventStore } from './event-store.ts';
import type { StateChange, StateGroupId, StateGroups } from './state-groups.ts';

/** Keys whose holders the auth rules may ask for whatever the event is. */
const ALWAYS_ASKED: readonly StateKey[] = [
  stateKeyOf('m.room.create', ''),
  stateKeyOf('m.room.power_levels', ''),
  stateKeyOf('m.room.join_rules', ''),
];

/** Cheap operations between two yields. */
const OPERATIONS_PER_STEP = 2_000;
/** Nodes of state trees and keys of states that are looked at between two yields. */
const LOOKUPS_PER_STEP = 200;

/** A resolved state as one of those that were resolved, and what is to be changed in it. */
export interface Plan {
  readonly base: StateGroupId;
  readonly changes: readonly StateChange[];
}

/** The keys in which states differ, with the event that holds it in each of them, in their order. */
type Contested = ReadonlyMap<StateKey, readonly (number | undefined)[]>;

interface PlannerParts {
  readonly db: Database;
  readonly groups: StateGroups;
  readonly events: EventStore;
  readonly cover: ChainCover;
}

/**
 * Finds what stored states resolve to. They agree on nearly everything, so only what they differ in, and what the rules may
 * ask about that, is laid before the algorithm; the rest is shared as it stands.
 */
export class ResolutionPlanner {
  readonly #groups: StateGroups;
  readonly #events: EventStore;
  readonly #cover: ChainCover;
  readonly #walk: AuthWalk;

  constructor({ db, groups, events, cover }: PlannerParts) {
    this.#groups = groups;
    this.#events = events;
    this.#cover = cover;
    this.#walk = new AuthWalk(db);
  }

  /** What two or more different states resolve to, as the fewest changes to one of them, or to `near`. */
  *plan(version: RoomVersion, states: readonly StateGroupId[], near?: StateGroupId): Steps<Plan> {
    const contested = yield* this.#contest(states);
    const [first] = states;
    if (first === undefined) throw new Error('there is no state to resolve');
    if (contested.size === 0) return { base: first, changes: [] };
    const resolved = yield* this.#resolve(version, states, first, contested);
    const plan = yield* this.#fewestChanges(states, first, contested, resolved);
    if (near === undefined || states.includes(near) || plan.changes.length === 0) return plan;
    const other = yield* this.#rebased(near, plan);
    return other.changes.length < plan.changes.length ? other : plan;
  }

  *#contest([first, ...others]: readonly StateGroupId[]): Steps<Contested> {
    const contested = new Map<StateKey, (number | undefined)[]>();
    if (first === undefined) return contested;
    let lookups = 0;
    for (const [index, other] of others.entries()) {
      for (const difference of this.#groups.walkDifference(first, other)) {
        if (++lookups % LOOKUPS_PER_STEP === 0) yield;
        if (difference === undefined) continue;
        const { type, stateKey, left, right } = difference;
        const key = stateKeyOf(type, stateKey);
        let holders = contested.get(key);
        if (holders === undefined) {
          holders = Array.from({ length: others.length + 1 }, () => left);
          contested.set(key, holders);
        }
        holders[index + 1] = right;
      }
    }
    return contested;
  }

  /** Gives all keys that may come out other than they went in, and some more. */
  *#resolve(
    version: RoomVersion,
    states: readonly StateGroupId[],
    base: StateGroupId,
    contested: Contested,
  ): Steps<ReadonlyMap<StateKey, number | undefined>> {
    const rivals = new Set<number>();
    const sets = states.map(() => new Set<number>());
    let operations = 0;
    for (const holders of contested.values()) {
      for (let index = 0; index < holders.length; index += 1) {
        if (++operations % OPERATIONS_PER_STEP === 0) yield;
        const nid = holders[index];
        if (nid === undefined) continue;
        rivals.add(nid);
        sets[index]?.add(nid);
      }
    }
    const isV1 = version.stateResolution === 'v1';
    const difference = isV1 ? new Set<number>() : yield* this.#authChainDifference(base, contested, sets);
    const subgraph = version.stateResolution === 'v2.1' ? yield* this.#subgraph(rivals) : new Set<number>();

    const keys = new Set<StateKey>(contested.keys());
    for (const key of ALWAYS_ASKED) keys.add(key);
    let looked = 0;
    for (const nid of rivals.union(difference).union(subgraph)) {
      if (++looked % EVENTS_PER_STEP === 0) yield;
      const event = this.#events.getByNid(nid);
      if (event.stateKey !== undefined) keys.add(stateKeyOf(event.type, event.stateKey));
      for (const key of authEventKeys(event)) keys.add(key);
    }
    const separated = yield* this.#separate(base, keys, contested, isV1);
    const source: EventSource = {
      get: (id) => this.#events.find(id),
      authChainDifference: () => this.#toIds(difference),
      conflictedSubgraph: () => this.#toIds(subgraph),
      isRejected: (id) => this.#events.find(id)?.verdict === 'rejected',
    };
    const resolved = yield* resolveSeparatedSteps({ version, separated, source });
    return yield* this.#toNids(resolved, keys);
  }

  *#separate(base: StateGroupId, keys: ReadonlySet<StateKey>, contested: Contested, isV1: boolean): Steps<Separated> {
    const unconflicted = new Map<StateKey, EventId>();
    const conflicted = new Map<StateKey, Set<EventId>>();
    let lookups = 0;
    for (const key of keys) {
      if (++lookups % LOOKUPS_PER_STEP === 0) yield;
      const holders = contested.get(key);
      if (holders === undefined) {
        const { type, stateKey } = splitStateKey(key);
        const nid = this.#groups.find(base, type, stateKey);
        if (nid !== undefined) unconflicted.set(key, this.#events.eventIdOf(nid));
        continue;
      }
      const nids = new Set(holders.filter((nid) => nid !== undefined));
      const ids = this.#toIds(nids);
      const [only] = ids;
      // In room version 1, what only some states have is taken as if all had it.
      if (isV1 && ids.size === 1 && only !== undefined) unconflicted.set(key, only);
      else conflicted.set(key, ids);
    }
    return { unconflicted, conflicted };
  }

  *#toNids(resolved: StateMap, keys: Iterable<StateKey>): Steps<Map<StateKey, number | undefined>> {
    const nids = new Map<StateKey, number | undefined>();
    for (const key of keys) {
      if (nids.size % LOOKUPS_PER_STEP === LOOKUPS_PER_STEP - 1) yield;
      const id = resolved.get(key);
      nids.set(key, id === undefined ? undefined : this.#events.findNid(id));
    }
    return nids;
  }

  #toIds(nids: Iterable<number>): Set<EventId> {
    return new Set(this.#events.listEventIds([...nids]));
  }

  /**
   * What is in the auth chains of some states and not of others. A state's chain here includes its own events, as in the
   * algorithm itself. What all states share is in every chain, so only chains of the conflicted events are compared; of
   * what comes out, that which shared events rest upon as well is found by going up from it.
   */
  *#authChainDifference(
    base: StateGroupId,
    contested: Contested,
    sets: readonly ReadonlySet<number>[],
  ): Steps<ReadonlySet<number>> {
    const isBelowShared = this.#walk.below((nid) => this.#isShared(nid, base, contested));
    if (this.#cover.isComplete) return yield* this.#cover.difference(sets, isBelowShared);
    const difference = new Set<number>();
    for (const nid of yield* this.#walk.difference(sets)) if (!(yield* isBelowShared(nid))) difference.add(nid);
    return difference;
  }

  #isShared(nid: number, base: StateGroupId, contested: Contested): boolean {
    const { type, stateKey } = this.#events.getByNid(nid);
    if (stateKey === undefined || contested.has(stateKeyOf(type, stateKey))) return false;
    return this.#groups.find(base, type, stateKey) === nid;
  }

  #subgraph(rivals: ReadonlySet<number>): Steps<ReadonlySet<number>> {
    return this.#cover.isComplete ? this.#cover.subgraph(rivals) : this.#walk.subgraph(rivals);
  }

  /** The state that comes nearest: the less is changed, the more is shared. */
  *#fewestChanges(
    states: readonly StateGroupId[],
    first: StateGroupId,
    contested: Contested,
    resolved: ReadonlyMap<StateKey, number | undefined>,
  ): Steps<Plan> {
    const counts = states.map(() => 0);
    let operations = 0;
    for (const [key, holders] of contested) {
      const winner = resolved.get(key);
      for (let index = 0; index < holders.length; index += 1) {
        if (++operations % OPERATIONS_PER_STEP === 0) yield;
        if (holders[index] !== winner) counts[index] = (counts[index] ?? 0) + 1;
      }
    }
    const best = counts.indexOf(Math.min(...counts));
    const base = states[best] ?? first;
    const changes: StateChange[] = [];
    for (const [key, eventNid] of resolved) {
      if (++operations % LOOKUPS_PER_STEP === 0) yield;
      const { type, stateKey } = splitStateKey(key);
      const holders = contested.get(key);
      const holder = holders === undefined ? this.#groups.find(first, type, stateKey) : holders[best];
      if (holder !== eventNid) changes.push({ type, stateKey, eventNid });
    }
    return { base, changes };
  }

  /** The same plan with another state to begin from. */
  *#rebased(state: StateGroupId, { base, changes }: Plan): Steps<Plan> {
    const wanted = new Map(changes.map(({ type, stateKey, eventNid }) => [stateKeyOf(type, stateKey), eventNid]));
    const others: StateChange[] = [];
    let lookups = 0;
    for (const difference of this.#groups.walkDifference(state, base)) {
      if (++lookups % LOOKUPS_PER_STEP === 0) yield;
      if (difference === undefined) continue;
      const { type, stateKey, left, right } = difference;
      const key = stateKeyOf(type, stateKey);
      const eventNid = wanted.has(key) ? wanted.get(key) : right;
      wanted.delete(key);
      if (eventNid !== left) others.push({ type, stateKey, eventNid });
    }
    // In the rest, the two states are the same.
    for (const [key, eventNid] of wanted) others.push({ ...splitStateKey(key), eventNid });
    return { base: state, changes: others };
  }
}
