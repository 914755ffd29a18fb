import { setImmediate as nextTurn } from 'node:timers/promises';
import { Backoff } from '../util/backoff.ts';
import type { Clock, Timer } from '../util/clock.ts';
import type { Logger } from '../util/log.ts';
import {
  type Database,
  type Follower,
  type ReadStatement,
  STREAM_START,
  type StreamPosition,
  type WriteStatement,
  type WriteTx,
} from './types.ts';

/** A cursor that moved without anything to write is stored this much later, ms: at most one write for all of them. */
const SAVE_DELAY_MS = 1_000;

const BACKOFF = { firstMs: 1_000, longestMs: 5 * 60_000 };

export interface FollowerRunnerOptions {
  readonly db: Database;
  /** No two may share a name: it is what their cursors are stored under. */
  readonly followers: readonly Follower[];
  readonly log: Logger;
  readonly clock: Clock;
}

/**
 * Calls followers as the stream grows, each on its own and one call at a time, and keeps their cursors. One that
 * throws is called again with the same start after a growing wait; the others go on. A new follower starts at the
 * beginning of the stream.
 */
export class FollowerRunner {
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #stopping = new AbortController();
  readonly #loops: readonly FollowerLoop[];
  readonly #cursors: ReadStatement<{ name: string; position: StreamPosition }>;
  readonly #storeCursor: WriteStatement;
  readonly #log: Logger;
  #subscription: { unsubscribe(): void } | undefined;
  #started: Promise<void> | undefined;
  #committed: StreamPosition = STREAM_START;
  #saveTimer: Timer | undefined;
  #settled = Promise.withResolvers<void>();

  constructor({ db, followers, log, clock }: FollowerRunnerOptions) {
    const names = new Set(followers.map((follower) => follower.name));
    if (names.size < followers.length) throw new Error('two followers have the same name');
    this.#db = db;
    this.#clock = clock;
    this.#log = log;
    this.#cursors = db.prepareRead('SELECT name, position FROM follower_cursors');
    // A cursor only moves on: a late store of an older value must not bring work back that was written since.
    this.#storeCursor = db.prepareWrite(`
      INSERT INTO follower_cursors (name, position) VALUES (?, ?)
      ON CONFLICT (name) DO UPDATE SET position = excluded.position WHERE excluded.position > position`);
    this.#loops = followers.map(
      (follower) =>
        new FollowerLoop(follower, {
          log: log.child({ follower: follower.name }),
          clock,
          stopping: this.#stopping.signal,
          commit: (write, loop, to) => this.#commit(write, loop, to),
          moved: () => this.#saveSoon(),
          paused: () => this.#announce(),
        }),
    );
  }

  /** Reads the cursors and lets every follower catch up, then follow what is committed from now on. */
  start(): void {
    if (this.#subscription !== undefined || this.#stopping.signal.aborted) {
      throw new Error('followers can be started once');
    }
    const stored = new Map(this.#cursors.list().map((row) => [row.name, row.position]));
    for (const loop of this.#loops) loop.cursor = loop.stored = stored.get(loop.name) ?? STREAM_START;
    this.#subscription = this.#db.subscribe((now) => this.#wake(now));
    this.#started = this.#wakeWhenCommitted();
  }

  /** Tells followers to stop, waits for those that are at work, and stores the cursors. */
  async stop(): Promise<void> {
    this.#subscription?.unsubscribe();
    this.#saveTimer?.cancel();
    this.#stopping.abort();
    await Promise.all(this.#loops.map((loop) => loop.finished()));
    this.#announce();
    this.#save();
    // A cursor that could not be stored only means that a range with nothing to write is seen again.
    await Promise.allSettled([this.#db.committed()]);
  }

  /**
   * Resolves when every follower has seen everything committed before, waiting out backoffs. Rejects if they are
   * stopped before that.
   */
  async idle(): Promise<void> {
    if (this.#started === undefined) throw new Error('followers were not started');
    await this.#started;
    for (;;) {
      // Writes that fail to commit are undone: nobody has to follow them.
      await Promise.allSettled([this.#db.committed()]);
      const goal = this.#committed;
      if (this.#loops.every((loop) => !loop.running && loop.cursor >= goal)) return;
      if (this.#stopping.signal.aborted) throw new Error('followers were stopped before they had seen everything');
      await this.#settled.promise;
    }
  }

  /** Ends all waits after failures: the machine woke up, or the network is back. */
  retryNow(): void {
    for (const loop of this.#loops) loop.retryNow();
  }

  #wake(now: StreamPosition): void {
    this.#committed = now;
    for (const loop of this.#loops) loop.wake(now);
  }

  // What the last run of the server committed, and what this one wrote so far, counts once nothing is pending.
  async #wakeWhenCommitted(): Promise<void> {
    for (;;) {
      const now = this.#db.position();
      const [outcome] = await Promise.allSettled([this.#db.committed()]);
      if (this.#stopping.signal.aborted) return;
      if (outcome.status === 'rejected') {
        await nextTurn();
        continue;
      }
      if (now > this.#committed) this.#wake(now);
      else this.#announce();
      return;
    }
  }

  async #commit(write: (tx: WriteTx) => void, own: FollowerLoop, to: StreamPosition): Promise<void> {
    this.#db.write((tx) => {
      write(tx);
      this.#store(tx, own, to);
      // The disk is written anyway, so the cursors that were waiting go along.
      for (const loop of this.#loops) if (loop !== own) this.#storeIfMoved(tx, loop);
    });
    await this.#db.committed();
  }

  #saveSoon(): void {
    if (this.#stopping.signal.aborted) return;
    this.#saveTimer ??= this.#clock.after(SAVE_DELAY_MS, () => {
      this.#saveTimer = undefined;
      this.#save();
    });
  }

  #save(): void {
    if (this.#loops.every((loop) => loop.cursor === loop.stored)) return;
    try {
      this.#db.write((tx) => {
        for (const loop of this.#loops) this.#storeIfMoved(tx, loop);
      });
    } catch (error) {
      this.#log.warn({ error }, 'follower cursors not stored');
    }
  }

  #storeIfMoved(tx: WriteTx, loop: FollowerLoop): void {
    if (loop.cursor > loop.stored) this.#store(tx, loop, loop.cursor);
  }

  #store(tx: WriteTx, loop: FollowerLoop, position: StreamPosition): void {
    this.#storeCursor.run(tx, loop.name, position);
    tx.onCommit(() => {
      if (position > loop.stored) loop.stored = position;
    });
  }

  #announce(): void {
    const settled = this.#settled;
    this.#settled = Promise.withResolvers();
    settled.resolve();
  }
}

interface LoopNeeds {
  readonly log: Logger;
  readonly clock: Clock;
  readonly stopping: AbortSignal;
  /** Writes what the follower returned together with its cursor; resolves when that is on disk. */
  commit(write: (tx: WriteTx) => void, loop: FollowerLoop, to: StreamPosition): Promise<void>;
  /** The cursor moved with nothing to write. */
  moved(): void;
  /** The follower has caught up or was stopped. */
  paused(): void;
}

class FollowerLoop {
  readonly #follower: Follower;
  readonly #needs: LoopNeeds;
  readonly #backoff = new Backoff(BACKOFF);
  /** Everything up to here was followed. */
  cursor: StreamPosition = STREAM_START;
  /** The cursor as it is on disk. */
  stored: StreamPosition = STREAM_START;
  #goal: StreamPosition = STREAM_START;
  #run: Promise<void> | undefined;
  #endWait: (() => void) | undefined;

  constructor(follower: Follower, needs: LoopNeeds) {
    this.#follower = follower;
    this.#needs = needs;
  }

  get name(): string {
    return this.#follower.name;
  }

  get running(): boolean {
    return this.#run !== undefined;
  }

  wake(now: StreamPosition): void {
    this.#goal = now;
    if (this.#run === undefined && this.cursor < now) this.#run = this.#catchUp();
  }

  retryNow(): void {
    this.#backoff.reset();
    this.#endWait?.();
  }

  async finished(): Promise<void> {
    await this.#run;
  }

  async #catchUp(): Promise<void> {
    const { stopping, log } = this.#needs;
    // Whoever waits for the commit goes first: replies leave and long polls end in this turn.
    await nextTurn();
    while (this.cursor < this.#goal && !stopping.aborted) {
      try {
        await this.#step(this.#goal);
        this.#backoff.reset();
      } catch (error) {
        if (stopping.aborted) break;
        const waitMs = this.#backoff.next();
        log.error({ error, failures: this.#backoff.failures, waitMs }, 'follower failed');
        await this.#wait(waitMs);
      }
    }
    this.#run = undefined;
    this.#needs.paused();
  }

  async #step(to: StreamPosition): Promise<void> {
    const { stopping } = this.#needs;
    const write = await this.#follower.follow(this.cursor, to, stopping);
    if (write !== undefined) {
      await this.#needs.commit(write, this, to);
      this.cursor = to;
    } else if (!stopping.aborted) {
      this.cursor = to;
      this.#needs.moved();
    }
    // Nothing to write from one told to stop may mean that it stopped half-way: it sees this range again.
  }

  #wait(waitMs: number): Promise<void> {
    const { clock, stopping } = this.#needs;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = clock.after(waitMs, resolve);
    this.#endWait = resolve;
    const onAbort = (): void => resolve();
    stopping.addEventListener('abort', onAbort);
    return promise.finally(() => {
      timer.cancel();
      stopping.removeEventListener('abort', onAbort);
      this.#endWait = undefined;
    });
  }
}
