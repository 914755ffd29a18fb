import { LRUCache } from 'lru-cache';
import type { RoomVersion } from '../matrix/room-versions.ts';
import { runToEnd, type Steps } from '../matrix/state-resolution/event-source.ts';
import type { Database, WriteTx } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import { Pace } from '../util/pace.ts';
import { Gate } from '../util/gate.ts';
import { atMost } from '../util/lru.ts';
import type { ChainCover } from './chain-cover.ts';
import type { EventStore } from './event-store.ts';
import { type Plan, ResolutionPlanner } from './resolution-plan.ts';
import type { StateGroupId, StateGroups } from './state-groups.ts';

/** Characters of the names of states whose resolutions are remembered. */
const NAMES_KEPT = 1_000_000;
const HEAVY_KEPT = 1_000;
/** States that are resolved at once; an event may follow as many others. */
const MOST_AT_ONCE = 20;
/** One in so many states ends a bundle. */
const BUNDLE_END = 8;
/** What is resolved without giving anybody else a turn: so many steps, or so long (ms). */
const LIGHT_STEPS = 24;
const LIGHT_MS = 4;
/** How long (ms) is worked at a stretch on what takes longer. */
const SLICE_MS = 8;
/** Changes and nodes of a new state that are written in one step. */
const CHANGES_PER_STEP = 100;
const NODES_PER_STEP = 50;

interface Resolved {
  readonly state: StateGroupId;
  readonly isHeavy: boolean;
}

interface ResolverParts {
  readonly db: Database;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly groups: StateGroups;
  readonly events: EventStore;
  readonly cover: ChainCover;
}

/**
 * State resolution over stored states, remembered. It may be asked for an answer at once, or beforehand and in slices:
 * then it has the answer at hand when it is asked.
 *
 * More states than an event may follow are resolved in bundles, and what comes of these again: as the events would have it
 * that join them, which is how all servers will come to see them.
 */
export class StateResolver {
  readonly #db: Database;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #groups: StateGroups;
  readonly #planner: ResolutionPlanner;
  readonly #resolved = new LRUCache<string, Resolved>({
    maxSize: NAMES_KEPT,
    sizeCalculation: (_, key) => 50 + key.length,
  });
  /** What was begun and found to take long. */
  readonly #heavy = new LRUCache<string, true>(atMost(HEAVY_KEPT));
  readonly #preparing = new Map<string, Promise<void>>();
  /** One at a time, or their slices would add up. */
  readonly #gate = new Gate(1);
  readonly #stopping = new AbortController();

  constructor(parts: ResolverParts) {
    this.#db = parts.db;
    this.#clock = parts.clock;
    this.#groups = parts.groups;
    this.#planner = new ResolutionPlanner(parts);
  }

  /**
   * The one state that follows from several (rooms/v1, v2, v12: "State resolution"); stored if it is a new one, and not
   * if it is `near` or one of them.
   */
  resolve(tx: WriteTx, version: RoomVersion, states: readonly StateGroupId[], near?: StateGroupId): StateGroupId {
    const known = this.find(version, states);
    if (known !== undefined) return known;
    const key = keyOf(version, distinctStates(states));
    tx.onRollback(() => this.#resolved.delete(key));
    return runToEnd(this.#resolve(version, states, near));
  }

  /** What these states resolve to, if that is known. */
  find(version: RoomVersion, states: readonly StateGroupId[]): StateGroupId | undefined {
    const distinct = distinctStates(states);
    if (distinct.length === 1) return distinct[0];
    // Until something joins the branches of a fork, every message asks the same again.
    return this.#resolved.get(keyOf(version, distinct))?.state;
  }

  /** Whether `resolve` has the answer now, since it was known or took but a moment. Otherwise it wants to be prepared. */
  attempt(version: RoomVersion, states: readonly StateGroupId[], near?: StateGroupId): boolean {
    if (this.find(version, states) !== undefined) return true;
    const key = keyOf(version, distinctStates(states));
    if (this.#heavy.has(key)) return false;
    const steps = this.#resolve(version, states, near);
    const end = this.#clock.monotonic() + LIGHT_MS;
    for (let left = LIGHT_STEPS; left >= 0 && this.#clock.monotonic() <= end; left -= 1) {
      if (steps.next().done === true) return true;
    }
    this.#heavy.set(key, true);
    return false;
  }

  /** Whether these states take long to resolve, or took long when they were. */
  isHeavy(version: RoomVersion, states: readonly StateGroupId[]): boolean {
    const distinct = distinctStates(states);
    if (distinct.length < 2) return false;
    const key = keyOf(version, distinct);
    return this.#resolved.get(key)?.isHeavy ?? (this.#heavy.has(key) || !this.attempt(version, distinct));
  }

  /**
   * Resolves states in slices, so that `resolve` has the answer at hand.
   * @throws StorageError; the signal's reason; Error where it is stopped
   */
  async prepare(
    version: RoomVersion,
    states: readonly StateGroupId[],
    { near, signal }: { readonly near?: StateGroupId | undefined; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    signal?.throwIfAborted();
    if (this.find(version, states) !== undefined) return;
    const key = keyOf(version, distinctStates(states));
    let work = this.#preparing.get(key);
    if (work === undefined) {
      work = this.#gate
        .run(() => this.#runInSlices(() => this.#resolve(version, states, near)))
        .finally(() => this.#preparing.delete(key));
      this.#preparing.set(key, work);
    }
    await (signal === undefined ? work : unlessAborted(work, signal));
  }

  /** Whether a state is what these resolve to. */
  isResolution(version: RoomVersion, states: readonly StateGroupId[], state: StateGroupId): boolean {
    const distinct = distinctStates(states);
    return runToEnd(this.#resolveAnew(version, distinct, state)) === state;
  }

  /** Ends all preparing. */
  stop(): void {
    this.#stopping.abort(new Error('the server stops'));
  }

  async #runInSlices(begin: () => Steps<unknown>): Promise<void> {
    this.#stopping.signal.throwIfAborted();
    const steps = begin();
    const pace = new Pace(this.#clock, SLICE_MS);
    for (;;) {
      await pace.pause();
      let isDone = false;
      while (!isDone && pace.isOn) isDone = steps.next().done === true;
      // What is built upon must not be undone.
      await this.#db.committed();
      if (isDone) return;
      this.#stopping.signal.throwIfAborted();
    }
  }

  *#resolve(version: RoomVersion, states: readonly StateGroupId[], near?: StateGroupId): Steps<StateGroupId> {
    const distinct = distinctStates(states);
    const key = keyOf(version, distinct);
    const known = distinct.length === 1 ? distinct[0] : this.#resolved.get(key)?.state;
    if (known !== undefined) return known;
    const steps = this.#resolveAnew(version, distinct, near);
    for (let count = 0; ; count += 1) {
      const step = steps.next();
      if (step.done === true) {
        const isHeavy = count > LIGHT_STEPS || this.#heavy.has(key);
        this.#resolved.set(key, { state: step.value, isHeavy });
        return step.value;
      }
      yield;
    }
  }

  *#resolveAnew(version: RoomVersion, states: readonly StateGroupId[], near?: StateGroupId): Steps<StateGroupId> {
    let bundles = states.map((state) => ({ state, first: state }));
    for (let round = 1; bundles.length > MOST_AT_ONCE; round += 1) {
      const next: typeof bundles = [];
      for (const bundle of bundled(bundles, round)) {
        const state = yield* this.#resolve(
          version,
          bundle.map((part) => part.state),
        );
        next.push({ state, first: bundle[0]?.first ?? state });
      }
      bundles = next;
    }
    const distinct = distinctStates(bundles.map(({ state }) => state));
    const [only] = distinct;
    if (only !== undefined && distinct.length === 1) return only;
    const plan = yield* this.#planner.plan(version, distinct, near);
    return yield* this.#store(plan, keyOf(version, states));
  }

  *#store({ base, changes }: Plan, key: string): Steps<StateGroupId> {
    if (changes.length === 0) return base;
    const draft = this.#groups.draft(base);
    let isUndone = false;
    const write = <Result>(work: (tx: WriteTx) => Result extends PromiseLike<unknown> ? never : Result): Result => {
      if (isUndone) throw new Error('a state was undone while it was stored');
      return this.#db.write((tx) => {
        tx.onRollback(() => {
          isUndone = true;
          this.#resolved.delete(key);
        });
        return work(tx);
      });
    };
    for (let at = 0; at < changes.length; at += CHANGES_PER_STEP) {
      const some = changes.slice(at, at + CHANGES_PER_STEP);
      write((tx) => {
        for (const change of some) draft.add(tx, change);
      });
      if (some.length === CHANGES_PER_STEP) yield;
    }
    for (;;) {
      const state = write((tx) => draft.storeSome(tx, NODES_PER_STEP));
      if (state !== undefined) return state;
      yield;
    }
  }
}

/** Oldest first. Newer ones tend to hold more of what there is, so what is the same about them should be put together. */
function distinctStates(states: readonly StateGroupId[]): StateGroupId[] {
  return [...new Set(states)].sort((a, b) => a - b);
}

function keyOf(version: RoomVersion, distinct: readonly StateGroupId[]): string {
  return `${version.id} ${distinct.join(' ')}`;
}

interface Bundled {
  readonly state: StateGroupId;
  /** The first of the states it came from. */
  readonly first: StateGroupId;
}

/** Where a bundle ends depends on what is in it alone, so that one state more or less changes no other bundle. */
function bundled<Part extends Bundled>(parts: readonly Part[], round: number): Part[][] {
  const bundles: Part[][] = [];
  let bundle: Part[] = [];
  for (const part of parts) {
    bundle.push(part);
    const isEnd = scattered(part.first, round) % BUNDLE_END === 0;
    if (bundle.length < MOST_AT_ONCE && (bundle.length < 2 || !isEnd)) continue;
    bundles.push(bundle);
    bundle = [];
  }
  if (bundle.length > 0) bundles.push(bundle);
  return bundles;
}

function scattered(state: StateGroupId, round: number): number {
  let hash = Math.imul(state ^ Math.imul(round, 0x9e3779b1), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 15), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Settles as `work` does, or rejects once the signal is aborted; the work goes on. */
async function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort);
  try {
    await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
