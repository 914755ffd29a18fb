import { LRUCache } from 'lru-cache';
import { authEventKeys } from '../matrix/auth-rules/auth-events.ts';
import { splitStateKey, type StateKey, stateKeyOf } from '../matrix/events/event.ts';
import type { EventId } from '../matrix/identifiers.ts';
import type { RoomVersion } from '../matrix/room-versions.ts';
import type { EventSource } from '../matrix/state-resolution/event-source.ts';
import { resolveState } from '../matrix/state-resolution/resolve.ts';
import { jsonList } from '../storage/sql.ts';
import type { Database, ReadStatement, WriteTx } from '../storage/types.ts';
import type { EventStore } from './event-store.ts';
import type { StateChange, StateGroupId, StateGroups } from './state-groups.ts';
import { atMost } from '../util/lru.ts';

/** Keys whose holders the auth rules may ask for whatever the event is. */
const ALWAYS_ASKED: readonly StateKey[] = [
  stateKeyOf('m.room.create', ''),
  stateKeyOf('m.room.power_levels', ''),
  stateKeyOf('m.room.join_rules', ''),
];

const RESOLVED_KEPT = 1_000;

/**
 * State resolution over stored states. The states agree on nearly everything, so only what they differ in, and what the
 * rules may ask about that, is laid before the algorithm; the rest is shared as it stands.
 */
export class StateResolver {
  readonly #groups: StateGroups;
  readonly #events: EventStore;
  readonly #resolved = new LRUCache<string, StateGroupId>(atMost(RESOLVED_KEPT));
  readonly #listAuth: ReadStatement<{ event_nid: number; auth_nid: number }>;
  readonly #listCiting: ReadStatement<{ event_nid: number }>;

  constructor({ db, groups, events }: { db: Database; groups: StateGroups; events: EventStore }) {
    this.#groups = groups;
    this.#events = events;
    this.#listAuth = db.prepareRead(`
      SELECT event_nid, auth_nid FROM auth_edges WHERE event_nid IN (SELECT value FROM json_each(?))`);
    this.#listCiting = db.prepareRead('SELECT event_nid FROM auth_edges WHERE auth_nid = ?');
  }

  /** The one state that follows from several (rooms/v1, v2, v12: "State resolution"); stored if it is a new one. */
  resolve(tx: WriteTx, version: RoomVersion, states: readonly StateGroupId[]): StateGroupId {
    const distinct = distinctStates(states);
    const [only] = distinct;
    if (only !== undefined && distinct.length === 1) return only;
    // Until something joins the branches of a fork, every message asks the same again.
    const key = `${version.id} ${distinct.join(' ')}`;
    const known = this.#resolved.get(key);
    if (known !== undefined) return known;
    const { base, changes } = this.plan(version, distinct);
    const resolved = this.#groups.change(tx, base, changes);
    this.#resolved.set(key, resolved);
    tx.onRollback(() => this.#resolved.delete(key));
    return resolved;
  }

  /** The same as one of the states and what is to be changed in it, some of which may be so already. */
  plan(version: RoomVersion, states: readonly StateGroupId[]): { base: StateGroupId; changes: readonly StateChange[] } {
    const distinct = distinctStates(states);
    const [base, ...others] = distinct;
    if (base === undefined) throw new Error('there is no state to resolve');
    if (others.length === 0) return { base, changes: [] };

    const conflictKeys = this.#conflictKeys(base, others);
    if (conflictKeys.size === 0) return { base, changes: [] };
    const conflicted = distinct.map((state) => this.#holders(state, conflictKeys));
    const difference = this.#authChainDifference(base, conflictKeys, conflicted);
    const all = new Set(conflicted.flatMap((holders) => [...holders]));
    const subgraph = version.stateResolution === 'v2.1' ? this.#subgraph(all) : new Set<number>();

    const keys = new Set<StateKey>([...conflictKeys, ...ALWAYS_ASKED]);
    for (const nid of new Set([...all, ...difference, ...subgraph])) {
      const event = this.#events.getByNid(nid);
      if (event.stateKey !== undefined) keys.add(stateKeyOf(event.type, event.stateKey));
      for (const key of authEventKeys(event)) keys.add(key);
    }
    const stateSets = distinct.map((state) => this.#part(state, keys));
    const toIds = (nids: Iterable<number>): Set<EventId> => new Set(this.#events.listEventIds([...nids]));
    const source: EventSource = {
      get: (id) => this.#events.find(id),
      authChainDifference: () => toIds(difference),
      conflictedSubgraph: () => toIds(subgraph),
      isRejected: (id) => this.#events.find(id)?.verdict === 'rejected',
    };
    const resolved = resolveState({ version, stateSets, source });
    const changes: StateChange[] = [];
    for (const key of keys) {
      const id = resolved.get(key);
      changes.push({ ...splitStateKey(key), eventNid: id === undefined ? undefined : this.#events.findNid(id) });
    }
    return { base, changes };
  }

  #conflictKeys(base: StateGroupId, others: readonly StateGroupId[]): Set<StateKey> {
    const keys = new Set<StateKey>();
    for (const other of others) {
      for (const { type, stateKey } of this.#groups.difference(base, other)) keys.add(stateKeyOf(type, stateKey));
    }
    return keys;
  }

  #holders(state: StateGroupId, keys: Iterable<StateKey>): Set<number> {
    const holders = new Set<number>();
    for (const key of keys) {
      const { type, stateKey } = splitStateKey(key);
      const nid = this.#groups.find(state, type, stateKey);
      if (nid !== undefined) holders.add(nid);
    }
    return holders;
  }

  #part(state: StateGroupId, keys: Iterable<StateKey>): Map<StateKey, EventId> {
    const part = new Map<StateKey, EventId>();
    for (const key of keys) {
      const { type, stateKey } = splitStateKey(key);
      const nid = this.#groups.find(state, type, stateKey);
      if (nid !== undefined) part.set(key, this.#events.eventIdOf(nid));
    }
    return part;
  }

  /**
   * What is in the auth chains of some states and not of others. A state's chain here includes its own events, as in the
   * algorithm itself. What all states share is in every chain, so only chains of the conflicted events are walked; of
   * what comes out, that which shared events rest upon as well is found by going up from it.
   */
  #authChainDifference(
    base: StateGroupId,
    conflictKeys: ReadonlySet<StateKey>,
    conflicted: readonly ReadonlySet<number>[],
  ): Set<number> {
    const reached = new Map<number, number>();
    for (const holders of conflicted) {
      for (const nid of this.#chain(holders).keys()) reached.set(nid, (reached.get(nid) ?? 0) + 1);
    }
    const candidates = [...reached].filter(([, count]) => count < conflicted.length).map(([nid]) => nid);
    if (candidates.length === 0) return new Set();
    const shared = this.#groups.listHolders(base).difference(this.#holders(base, conflictKeys));
    const restsBelow = new Map<number, boolean>();
    return new Set(candidates.filter((nid) => !this.#isBelow(nid, shared, restsBelow)));
  }

  /** Events and their auth chains, each with its own auth events. */
  #chain(starts: Iterable<number>): Map<number, number[]> {
    const chain = new Map<number, number[]>();
    let pending = [...new Set(starts)];
    while (pending.length > 0) {
      for (const nid of pending) chain.set(nid, []);
      const next = new Set<number>();
      for (const { event_nid: nid, auth_nid: authNid } of this.#listAuth.list(jsonList(pending))) {
        chain.get(nid)?.push(authNid);
        if (!chain.has(authNid)) next.add(authNid);
      }
      pending = [...next];
    }
    return chain;
  }

  /** Whether an event is one of `tops` or in the auth chain of one. `known` keeps what was found out. */
  #isBelow(start: number, tops: ReadonlySet<number>, known: Map<number, boolean>): boolean {
    const visited = new Set<number>();
    const pending = [start];
    for (let nid = pending.pop(); nid !== undefined; nid = pending.pop()) {
      const answer = tops.has(nid) || known.get(nid);
      if (answer === true) {
        known.set(start, true);
        return true;
      }
      if (answer === false || visited.has(nid)) continue;
      visited.add(nid);
      for (const { event_nid: citing } of this.#listCiting.list(nid)) pending.push(citing);
    }
    for (const nid of visited) known.set(nid, false);
    return false;
  }

  /** What lies on a path along auth events from one of `conflicted` to another, both included. */
  #subgraph(conflicted: ReadonlySet<number>): Set<number> {
    const citedBy = new Map<number, number[]>();
    for (const [nid, authNids] of this.#chain(conflicted)) {
      for (const authNid of authNids) {
        const known = citedBy.get(authNid);
        if (known === undefined) citedBy.set(authNid, [nid]);
        else known.push(nid);
      }
    }
    const between = new Set<number>();
    const pending = [...conflicted];
    for (let nid = pending.pop(); nid !== undefined; nid = pending.pop()) {
      if (between.has(nid)) continue;
      between.add(nid);
      pending.push(...(citedBy.get(nid) ?? []));
    }
    return between;
  }
}

/** Newest first: what comes later tends to hold most of what there is. */
function distinctStates(states: readonly StateGroupId[]): StateGroupId[] {
  return [...new Set(states)].sort((a, b) => b - a);
}
