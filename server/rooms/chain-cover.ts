import { setImmediate as nextTurn } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import { EVENTS_PER_STEP, type Steps } from '../matrix/state-resolution/event-source.ts';
import { jsonList } from '../storage/sql.ts';
import type { Database, ReadStatement, WriteStatement, WriteTx } from '../storage/types.ts';
import type { Logger } from '../util/log.ts';
import { atMost } from '../util/lru.ts';

/** Where an event stands in the cover: in which chain, and the how manieth it is, from 1 on. */
interface Place {
  readonly chain: number;
  readonly seq: number;
}

/** From `seq` on, the events of a chain rest upon another chain up to `toSeq`. */
interface Link {
  readonly seq: number;
  readonly toChain: number;
  readonly toSeq: number;
}

/** Says of an event, in small steps, whether all sets rest upon it by something they share. */
export type IsCommon = (nid: number) => Steps<boolean>;

/** How far sets of events lead: for each chain the newest event they rest upon. */
type Reach = Map<number, number>;

const PLACES_KEPT = 20_000;
const LINKS_KEPT = 100_000;
/** Rows read in one statement. */
const PAGE = 500;
/** Cheap operations between two yields. */
const OPERATIONS_PER_STEP = 2_000;
/** State events whose auth events are filed in one write: a few milliseconds. */
const FILED_AT_ONCE = 50;

/**
 * An index of the auth events, by which it costs as much as there are chains, not as there are events, to tell what
 * events rest upon. After Jagadish, "A compression technique to materialize transitive closure" (1990).
 *
 * Each event that others rest upon stands in a chain, in which every event rests upon the one before it; chains are the
 * versions of one key of the state, one after the other. Links tell from where on a chain rests upon which part of
 * another. They are not closed transitively, which in rooms where everybody was invited by the one before would take a
 * row for each pair of members: to find all, one follows them.
 *
 * An event that nobody cites, as most joins are, is not in the index: it rests upon what its own auth events do.
 */
export class ChainCover {
  readonly #db: Database;
  readonly #log: Logger;
  readonly #places = new LRUCache<number, Place>(atMost(PLACES_KEPT));
  /** Of events that nobody cites: the places of what they rest upon. */
  readonly #below = new LRUCache<number, readonly Place[]>(atMost(PLACES_KEPT));
  readonly #links = new LRUCache<number, readonly Link[]>({
    maxSize: LINKS_KEPT,
    sizeCalculation: (links) => 1 + links.length,
  });
  #isComplete: boolean;
  #stopping = false;
  #filling: Promise<void> | undefined;

  readonly #findPlace: ReadStatement<Place>;
  readonly #listPlaces: ReadStatement<Place & { event_nid: number }>;
  readonly #findKey: ReadStatement<{ type: string; state_key: string | null }>;
  readonly #findLength: ReadStatement<{ length: number | null }>;
  readonly #listAuth: ReadStatement<{ auth_nid: number }>;
  readonly #listAuthPlaces: ReadStatement<Place & { event_nid: number }>;
  readonly #listChain: ReadStatement<{ event_nid: number; seq: number }>;
  readonly #listLinks: ReadStatement<{ seq: number; to_chain: number; to_seq: number }>;
  readonly #findLink: ReadStatement<{ to_seq: number }>;
  readonly #listUnfiled: ReadStatement<{ event_nid: number }>;
  readonly #findFiled: ReadStatement<{ filed: number; complete: number }>;
  readonly #insertPlace: WriteStatement;
  readonly #putLink: WriteStatement;
  readonly #removeLinks: WriteStatement;
  readonly #setFiled: WriteStatement;

  constructor({ db, log }: { db: Database; log: Logger }) {
    this.#db = db;
    this.#log = log;
    this.#findPlace = db.prepareRead('SELECT chain, seq FROM auth_chain_places WHERE event_nid = ?');
    this.#listPlaces = db.prepareRead(`
      SELECT event_nid, chain, seq FROM auth_chain_places WHERE event_nid IN (SELECT value FROM json_each(?))`);
    this.#findKey = db.prepareRead(`
      SELECT json_extract(pdu, '$.type') AS type, json_extract(pdu, '$.state_key') AS state_key
      FROM events WHERE event_nid = ?`);
    this.#findLength = db.prepareRead('SELECT max(seq) AS length FROM auth_chain_places WHERE chain = ?');
    this.#listAuth = db.prepareRead('SELECT auth_nid FROM auth_edges WHERE event_nid = ?');
    this.#listAuthPlaces = db.prepareRead(`
      SELECT auth_edges.event_nid, chain, seq
      FROM auth_edges JOIN auth_chain_places ON auth_chain_places.event_nid = auth_nid
      WHERE auth_edges.event_nid IN (SELECT value FROM json_each(?))`);
    // What was removed since still has its place, so that nothing else ever gets it.
    this.#listChain = db.prepareRead(`
      SELECT event_nid, seq FROM auth_chain_places JOIN events USING (event_nid)
      WHERE chain = ? AND seq > ? AND seq <= ? ORDER BY seq DESC LIMIT ${PAGE}`);
    this.#listLinks = db.prepareRead(`
      SELECT seq, to_chain, to_seq FROM auth_chain_links
      WHERE chain = ? AND (to_chain, seq) > (?, ?) ORDER BY to_chain, seq LIMIT ${PAGE}`);
    this.#findLink = db.prepareRead(`
      SELECT to_seq FROM auth_chain_links WHERE chain = ? AND to_chain = ? AND seq <= ? ORDER BY seq DESC LIMIT 1`);
    this.#listUnfiled = db.prepareRead(`
      SELECT DISTINCT event_nid FROM auth_edges WHERE event_nid > ? ORDER BY event_nid LIMIT ${FILED_AT_ONCE}`);
    this.#findFiled = db.prepareRead('SELECT filed, complete FROM auth_chain_progress');
    this.#insertPlace = db.prepareWrite('INSERT INTO auth_chain_places (event_nid, chain, seq) VALUES (?, ?, ?)');
    this.#putLink = db.prepareWrite(`
      INSERT OR REPLACE INTO auth_chain_links (chain, to_chain, seq, to_seq) VALUES (?, ?, ?, ?)`);
    this.#removeLinks = db.prepareWrite(`
      DELETE FROM auth_chain_links WHERE chain = ? AND to_chain = ? AND seq > ? AND to_seq <= ?`);
    this.#setFiled = db.prepareWrite('UPDATE auth_chain_progress SET filed = ?, complete = ?');
    this.#isComplete = this.#findFiled.find()?.complete === 1;
  }

  /** Whether all events are filed, so that its answers are right. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** A state event rests upon these, by what is noted in `auth_edges` already. */
  add(tx: WriteTx, nid: number, authNids: readonly number[]): void {
    // What is stored meanwhile has its turn when the rest has.
    if (this.#isComplete) this.#file(tx, nid, authNids);
  }

  /** Files what was stored before there was this index, in slices, until all is there. */
  start(): void {
    if (this.#isComplete) return;
    this.#stopping = false;
    this.#filling ??= this.#fill();
  }

  /** What is not filed yet waits for the next start. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#filling;
    this.#filling = undefined;
  }

  /** Resolves when all is filed, or cannot be for now. */
  async filled(): Promise<void> {
    await this.#filling;
  }

  /**
   * What some of these sets rest upon and others do not; a set rests upon its own events too. With `isCommon`, without
   * what that says of: it is asked of the events of a chain from the newest down, until it says yes.
   */
  *difference(sets: readonly ReadonlySet<number>[], isCommon?: IsCommon): Steps<Set<number>> {
    const starts = yield* this.#startsOf(sets);
    const most: Reach = new Map();
    let least: Reach = new Map();
    const uncited = new Map<number, number>();
    let operations = 0;
    for (const [index, set] of sets.entries()) {
      const places: Place[] = [];
      for (const nid of set) {
        if (++operations % OPERATIONS_PER_STEP === 0) yield;
        const place = starts.places.get(nid);
        if (place === undefined) uncited.set(nid, (uncited.get(nid) ?? 0) + 1);
        else places.push(place);
        for (const below of starts.below.get(nid) ?? []) places.push(below);
      }
      const reach = yield* this.#reach(places);
      for (const [chain, seq] of reach) {
        if (++operations % OPERATIONS_PER_STEP === 0) yield;
        most.set(chain, Math.max(seq, most.get(chain) ?? 0));
      }
      least = index === 0 ? reach : yield* minimum(least, reach);
    }
    const difference = new Set<number>();
    for (const [nid, count] of uncited) if (count < sets.length) difference.add(nid);
    for (const [chain, to] of most) {
      if (++operations % OPERATIONS_PER_STEP === 0) yield;
      const from = least.get(chain) ?? 0;
      if (from < to) yield* this.#collect(chain, from, to, difference, isCommon);
    }
    return difference;
  }

  /** The events on any path along auth events from one of `conflicted` to another, both ends included. */
  *subgraph(conflicted: ReadonlySet<number>): Steps<Set<number>> {
    const { places, below } = yield* this.#startsOf([conflicted]);
    const highest = yield* this.#reach([...places.values(), ...[...below.values()].flat()]);
    const lowest: Reach = new Map();
    let lowered = new Set<number>();
    const lower = (chain: number, seq: number): void => {
      if (seq >= (lowest.get(chain) ?? Number.POSITIVE_INFINITY)) return;
      lowest.set(chain, seq);
      lowered.add(chain);
    };
    for (const { chain, seq } of places.values()) lower(chain, seq);
    // From whatever leads to one of them, too, one comes to it.
    const leading = new Map<number, { chain: number; link: Link }[]>();
    let operations = 0;
    for (const [chain, seq] of highest) {
      for (const link of yield* this.#linksOf(chain)) {
        if (++operations % OPERATIONS_PER_STEP === 0) yield;
        if (link.seq > seq) continue;
        const known = leading.get(link.toChain);
        if (known === undefined) leading.set(link.toChain, [{ chain, link }]);
        else known.push({ chain, link });
      }
    }
    while (lowered.size > 0) {
      const round = lowered;
      lowered = new Set();
      for (const target of round) {
        const seq = lowest.get(target) ?? 0;
        for (const { chain, link } of leading.get(target) ?? []) {
          if (++operations % OPERATIONS_PER_STEP === 0) yield;
          if (link.toSeq >= seq) lower(chain, link.seq);
        }
      }
    }
    const between = new Set(conflicted);
    for (const [chain, seq] of lowest) yield* this.#collect(chain, seq - 1, highest.get(chain) ?? 0, between);
    return between;
  }

  /** Adds the events of a chain in (from, to], down to the first that `isCommon` says yes of. */
  *#collect(chain: number, from: number, to: number, found: Set<number>, isCommon?: IsCommon): Steps<void> {
    for (let upTo = to; ; ) {
      const rows = this.#listChain.list(chain, from, upTo);
      for (const { event_nid: nid } of rows) {
        if (isCommon !== undefined && (yield* isCommon(nid))) return;
        found.add(nid);
      }
      const last = rows.at(-1);
      if (last === undefined || rows.length < PAGE) return;
      upTo = last.seq - 1;
      yield;
    }
  }

  /** The places of events, and of those that nobody cites the places of what they rest upon. */
  *#startsOf(
    sets: readonly ReadonlySet<number>[],
  ): Steps<{ readonly places: Map<number, Place>; readonly below: Map<number, readonly Place[]> }> {
    const places = new Map<number, Place>();
    const below = new Map<number, readonly Place[]>();
    const wanted: number[] = [];
    const seen = new Set<number>();
    let operations = 0;
    for (const set of sets) {
      for (const nid of set) {
        if (++operations % OPERATIONS_PER_STEP === 0) yield;
        if (seen.has(nid)) continue;
        seen.add(nid);
        const place = this.#places.get(nid);
        const kept = place === undefined ? this.#below.get(nid) : undefined;
        if (place !== undefined) places.set(nid, place);
        else if (kept !== undefined) below.set(nid, kept);
        else wanted.push(nid);
      }
    }
    for (let at = 0; at < wanted.length; at += PAGE) {
      const some = wanted.slice(at, at + PAGE);
      for (const { event_nid: nid, chain, seq } of this.#listPlaces.list(jsonList(some))) {
        places.set(nid, this.#keepPlace(nid, { chain, seq }));
      }
      const uncited = new Map<number, Place[]>();
      for (const nid of some) if (!places.has(nid)) uncited.set(nid, []);
      for (const { event_nid: nid, chain, seq } of this.#listAuthPlaces.list(jsonList(uncited.keys()))) {
        uncited.get(nid)?.push({ chain, seq });
      }
      for (const [nid, found] of uncited) {
        below.set(nid, found);
        this.#below.set(nid, found);
      }
      if (some.length === PAGE) yield;
    }
    return { places, below };
  }

  /** All that events at these places rest upon, themselves included. */
  *#reach(places: readonly Place[]): Steps<Reach> {
    const reach: Reach = new Map();
    let raised = new Set<number>();
    const raise = (chain: number, seq: number): void => {
      if (seq <= (reach.get(chain) ?? 0)) return;
      reach.set(chain, seq);
      raised.add(chain);
    };
    for (const { chain, seq } of places) raise(chain, seq);
    let operations = 0;
    while (raised.size > 0) {
      const round = raised;
      raised = new Set();
      for (const chain of round) {
        if (++operations % EVENTS_PER_STEP === 0) yield;
        for (const { seq, toChain, toSeq } of yield* this.#linksOf(chain)) {
          if (seq <= (reach.get(chain) ?? 0)) raise(toChain, toSeq);
        }
      }
    }
    return reach;
  }

  *#linksOf(chain: number): Steps<readonly Link[]> {
    const kept = this.#links.get(chain);
    if (kept !== undefined) return kept;
    const links: Link[] = [];
    for (let last: Link | undefined; ; ) {
      const rows = this.#listLinks.list(chain, last?.toChain ?? 0, last?.seq ?? 0);
      for (const row of rows) links.push({ seq: row.seq, toChain: row.to_chain, toSeq: row.to_seq });
      last = links.at(-1);
      if (rows.length < PAGE) break;
      yield;
    }
    // If it took several steps, something may have been added meanwhile.
    if (links.length < PAGE) this.#links.set(chain, links);
    return links;
  }

  #file(tx: WriteTx, nid: number, authNids: readonly number[]): void {
    this.#below.delete(nid);
    tx.onRollback(() => this.#below.delete(nid));
    for (const authNid of authNids) if (authNid !== nid) this.#place(tx, authNid);
    const own = this.#placeOf(nid);
    // It is cited already: what it rests upon came after it.
    if (own !== undefined) for (const authNid of authNids) this.#link(tx, own, authNid);
  }

  /** Gives an event its place, and before it all that it rests upon. */
  #place(tx: WriteTx, start: number): void {
    if (this.#placeOf(start) !== undefined) return;
    const stack = [{ nid: start, authNids: this.#authOf(start), next: 0 }];
    const entered = new Set([start]);
    // In room versions 1 and 2, events may rest upon each other.
    const circular: [number, number][] = [];
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const authNid = top.authNids[top.next];
      top.next += 1;
      if (authNid === undefined) {
        this.#takePlace(tx, top.nid, top.authNids);
        stack.pop();
      } else if (this.#placeOf(authNid) === undefined) {
        if (entered.has(authNid)) circular.push([top.nid, authNid]);
        else stack.push({ nid: authNid, authNids: this.#authOf(authNid), next: 0 });
        entered.add(authNid);
      }
    }
    for (const [from, to] of circular) {
      const place = this.#placeOf(from);
      if (place !== undefined && from !== to) this.#link(tx, place, to);
    }
  }

  #authOf(nid: number): number[] {
    return this.#listAuth.list(nid).map((row) => row.auth_nid);
  }

  #takePlace(tx: WriteTx, nid: number, authNids: readonly number[]): void {
    const place = this.#findEnd(nid, authNids) ?? { chain: nid, seq: 1 };
    this.#insertPlace.run(tx, nid, place.chain, place.seq);
    this.#keepPlace(nid, place);
    this.#below.delete(nid);
    tx.onRollback(() => this.#places.delete(nid));
    for (const authNid of authNids) this.#link(tx, place, authNid);
  }

  /** The end of the chain that an event goes on: that of the one it replaces. */
  #findEnd(nid: number, authNids: readonly number[]): Place | undefined {
    const key = this.#keyOf(nid);
    if (key === undefined) return undefined;
    for (const authNid of authNids) {
      const place = this.#placeOf(authNid);
      if (place === undefined || this.#keyOf(authNid) !== key) continue;
      if (this.#findLength.find(place.chain)?.length === place.seq) return { chain: place.chain, seq: place.seq + 1 };
    }
    return undefined;
  }

  #keyOf(nid: number): string | undefined {
    const row = this.#findKey.find(nid);
    return row === undefined || row.state_key === null ? undefined : `${row.type}\0${row.state_key}`;
  }

  #link(tx: WriteTx, { chain, seq }: Place, toNid: number): void {
    const to = this.#placeOf(toNid);
    if (to === undefined || (to.chain === chain && to.seq <= seq)) return;
    const known = this.#findLink.find(chain, to.chain, seq)?.to_seq ?? 0;
    if (known >= to.seq) return;
    // What is found last is always the farthest.
    this.#removeLinks.run(tx, chain, to.chain, seq, to.seq);
    this.#putLink.run(tx, chain, to.chain, seq, to.seq);
    this.#links.delete(chain);
    tx.onRollback(() => this.#links.delete(chain));
  }

  #placeOf(nid: number): Place | undefined {
    const kept = this.#places.get(nid);
    if (kept !== undefined) return kept;
    const place = this.#findPlace.find(nid);
    return place === undefined ? undefined : this.#keepPlace(nid, place);
  }

  #keepPlace(nid: number, place: Place): Place {
    this.#places.set(nid, place);
    return place;
  }

  async #fill(): Promise<void> {
    try {
      while (!this.#stopping && !this.#isComplete) {
        this.#db.write((tx) => this.#fileSome(tx));
        await this.#db.committed();
        await nextTurn();
      }
    } catch (error) {
      // A full disk, for instance. Without it, all is as it should be, only slower.
      this.#log.error({ error }, 'the index of auth events could not be filled; it is tried again at the next start');
    }
  }

  #fileSome(tx: WriteTx): void {
    const filed = this.#findFiled.find()?.filed ?? 0;
    const unfiled = this.#listUnfiled.list(filed).map((row) => row.event_nid);
    for (const nid of unfiled) this.#file(tx, nid, this.#authOf(nid));
    const last = unfiled.at(-1);
    this.#setFiled.run(tx, last ?? filed, last === undefined ? 1 : 0);
    if (last !== undefined) return;
    this.#isComplete = true;
    tx.onRollback(() => {
      this.#isComplete = false;
    });
  }
}

/** What two sets of events both rest upon. */
function* minimum(one: Reach, other: Reach): Steps<Reach> {
  const both: Reach = new Map();
  let operations = 0;
  for (const [chain, seq] of one) {
    if (++operations % OPERATIONS_PER_STEP === 0) yield;
    const found = other.get(chain);
    if (found !== undefined) both.set(chain, Math.min(seq, found));
  }
  return both;
}
