import type { Steps } from '../matrix/state-resolution/event-source.ts';
import { jsonList } from '../storage/sql.ts';
import type { Database, ReadStatement } from '../storage/types.ts';

/** Events whose auth events are read in one statement. */
const EVENTS_AT_ONCE = 250;
/** Events citing one that are read in one statement. */
const CITING_AT_ONCE = 64;
/** Cheap operations between two yields. */
const OPERATIONS_PER_STEP = 2_000;

/** Says whether all sets of events share an event. */
export type IsShared = (nid: number) => boolean;

/**
 * The auth events of stored events, one by one: what holds as long as they are not all in the index (chain-cover.ts), and
 * where it is asked what rests upon an event.
 */
export class AuthWalk {
  readonly #listAuth: ReadStatement<{ event_nid: number; auth_nid: number }>;
  readonly #listCiting: ReadStatement<{ event_nid: number }>;

  constructor(db: Database) {
    this.#listAuth = db.prepareRead(`
      SELECT event_nid, auth_nid FROM auth_edges WHERE event_nid IN (SELECT value FROM json_each(?))`);
    this.#listCiting = db.prepareRead(`
      SELECT event_nid FROM auth_edges WHERE auth_nid = ? AND event_nid > ? ORDER BY event_nid LIMIT ${CITING_AT_ONCE}`);
  }

  /** What some of these sets rest upon and others do not; a set rests upon its own events too. */
  *difference(sets: readonly ReadonlySet<number>[]): Steps<Set<number>> {
    const reached = new Map<number, number>();
    for (const set of sets) {
      for (const nid of (yield* this.#chain(set)).keys()) reached.set(nid, (reached.get(nid) ?? 0) + 1);
      yield;
    }
    const difference = new Set<number>();
    for (const [nid, count] of reached) if (count < sets.length) difference.add(nid);
    return difference;
  }

  /** What lies on a path along auth events from one of `conflicted` to another, both included. */
  *subgraph(conflicted: ReadonlySet<number>): Steps<Set<number>> {
    const citedBy = new Map<number, number[]>();
    let operations = 0;
    for (const [nid, authNids] of yield* this.#chain(conflicted)) {
      if (++operations % OPERATIONS_PER_STEP === 0) yield;
      for (const authNid of authNids) {
        const known = citedBy.get(authNid);
        if (known === undefined) citedBy.set(authNid, [nid]);
        else known.push(nid);
      }
    }
    const between = new Set<number>();
    const pending = [...conflicted];
    for (let nid = pending.pop(); nid !== undefined; nid = pending.pop()) {
      if (++operations % OPERATIONS_PER_STEP === 0) yield;
      if (between.has(nid)) continue;
      between.add(nid);
      for (const citing of citedBy.get(nid) ?? []) pending.push(citing);
    }
    return between;
  }

  /** Whether something shared is this event or rests upon it; what was found out about others is remembered. */
  below(isShared: IsShared): (nid: number) => Steps<boolean> {
    const known = new Map<number, boolean>();
    const listCiting = this.#listCiting;
    return function* isBelow(start): Steps<boolean> {
      const settled = known.get(start);
      if (settled !== undefined) return settled;
      const visited = new Set([start]);
      let isBelowOne = isShared(start);
      const stack = [{ nid: start, upTo: 0 }];
      while (!isBelowOne) {
        const top = stack.at(-1);
        if (top === undefined) break;
        const citing = listCiting.list(top.nid, top.upTo).map((row) => row.event_nid);
        const last = citing.at(-1);
        if (last === undefined || citing.length < CITING_AT_ONCE) stack.pop();
        else top.upTo = last;
        for (const nid of citing) {
          if (visited.has(nid) || known.get(nid) === false) continue;
          visited.add(nid);
          if (known.get(nid) === true || isShared(nid)) {
            isBelowOne = true;
            break;
          }
          stack.push({ nid, upTo: 0 });
        }
        yield;
      }
      if (isBelowOne) known.set(start, true);
      else for (const nid of visited) known.set(nid, false);
      return isBelowOne;
    };
  }

  /** Events and their auth chains, each with its own auth events. */
  *#chain(starts: Iterable<number>): Steps<Map<number, number[]>> {
    const chain = new Map<number, number[]>();
    const found = new Set(starts);
    const pending = [...found];
    let at = 0;
    while (at < pending.length) {
      const some = pending.slice(at, at + EVENTS_AT_ONCE);
      at += some.length;
      for (const nid of some) chain.set(nid, []);
      for (const { event_nid: nid, auth_nid: authNid } of this.#listAuth.list(jsonList(some))) {
        chain.get(nid)?.push(authNid);
        if (found.has(authNid)) continue;
        found.add(authNid);
        pending.push(authNid);
      }
      yield;
    }
    return chain;
  }
}
