import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Database, WriteTx } from '../../../storage/types.ts';
import type { Clock, Timer } from '../../../util/clock.ts';
import type { Logger } from '../../../util/log.ts';
import type { ClearingStore, OldCount } from '../store/clearing.ts';
import type { GivenUpStore } from '../store/given-up.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** How long what was read stays listed, and what was not, or highlights. */
const READ_KEPT_MS = DAY_MS;
const KEPT_MS = 30 * DAY_MS;
/** Unread events of a thread that are known one by one. Of those before them only the number is. */
const UNREAD_KEPT = 1_000;
/** Counts looked at, and notifications removed, in one go: some milliseconds. */
const COUNTS_SLICE = 100;
const SLICE = 500;
const ANY_POSITION = Number.MAX_SAFE_INTEGER;

/**
 * Clears away notifications nobody needs any more, once an hour, so that they do not grow without end. Counts stay as
 * they are: who never reads a room has one number there, not a row for every message.
 */
export class Clearing {
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #store: ClearingStore;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #clearingGivenUp: Promise<void> | undefined;
  readonly #givenUp: GivenUpStore;
  #stopped = false;

  constructor({
    db,
    clock,
    log,
    store,
    givenUp,
  }: {
    db: Database;
    clock: Clock;
    log: Logger;
    store: ClearingStore;
    givenUp: GivenUpStore;
  }) {
    this.#db = db;
    this.#clock = clock;
    this.#log = log;
    this.#store = store;
    this.#givenUp = givenUp;
  }

  start(): void {
    this.clearGivenUp();
    this.#schedule();
  }

  /** Somebody left a room, maybe before the server was stopped: what was unread there goes, piece by piece. */
  clearGivenUp(): void {
    if (this.#stopped || this.#clearingGivenUp !== undefined) return;
    this.#clearingGivenUp = this.#clearAllGivenUp()
      .catch((error: unknown) => this.#log.error({ error }, 'notifications of rooms left were not cleared away'))
      .finally(() => {
        this.#clearingGivenUp = undefined;
      });
  }

  #schedule(): void {
    this.#timer = this.#clock.after(HOUR_MS, () => {
      this.clearGivenUp();
      this.#running = this.#clear()
        .catch((error: unknown) => this.#log.error({ error }, 'old notifications were not cleared away'))
        .finally(() => {
          if (!this.#stopped) this.#schedule();
        });
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#running;
    await this.#clearingGivenUp;
  }

  async #clearAllGivenUp(): Promise<void> {
    for (;;) {
      // The write that gave something up is done first.
      await nextTurn();
      if (this.#stopped) return;
      const next = this.#givenUp.find(COUNTS_SLICE);
      if (next === undefined) return;
      for (let last: number | undefined = 0; last !== undefined; await nextTurn()) {
        if (this.#stopped) return;
        const from: number = last;
        last = this.#db.write((tx) => this.#givenUp.removeFromOutbox(tx, next, from, SLICE));
      }
      for (const nid of next.nids) {
        await this.#repeat((tx) => this.#givenUp.removeNotifications(tx, nid, SLICE));
        if (this.#stopped) return;
      }
      this.#db.write((tx) => this.#givenUp.remove(tx, next));
    }
  }

  async #clear(): Promise<void> {
    const now = this.#clock.now();
    for (let last = 0; !this.#stopped; await nextTurn()) {
      const slice = this.#store.listCounts(last, COUNTS_SLICE);
      for (const count of slice) if (count.hasNotifications) await this.#clearNotifications(count, now);
      const spent = slice.filter((count) => isSpent(count, now));
      if (spent.length > 0) {
        this.#db.write((tx) => {
          for (const { nid } of spent) this.#store.removeCount(tx, nid);
        });
      }
      const newest = slice.at(-1);
      if (newest === undefined || slice.length < COUNTS_SLICE) return;
      last = newest.nid;
    }
  }

  async #clearNotifications({ nid, readUpTo }: OldCount, now: number): Promise<void> {
    const limit = SLICE;
    const longAgo = now - KEPT_MS;
    await this.#repeat((tx) =>
      this.#store.removeOlder(tx, nid, { highlight: false, upTo: readUpTo, ts: now - READ_KEPT_MS, limit }),
    );
    for (const highlight of [false, true]) {
      await this.#repeat((tx) =>
        this.#store.removeOlder(tx, nid, { highlight, upTo: ANY_POSITION, ts: longAgo, limit }),
      );
    }
    await this.#repeat((tx) => this.#store.removeSurplus(tx, nid, UNREAD_KEPT, limit));
  }

  /** Removes slice by slice until one is not full, giving others their turn in between. */
  async #repeat(remove: (tx: WriteTx) => number): Promise<void> {
    while (!this.#stopped && this.#db.write(remove) === SLICE) await nextTurn();
  }
}

/**
 * Whether nothing is known of a thread that anybody could ask for. A client that was away for so long learns that it was
 * read with the next news of the room.
 */
function isSpent({ isMain, notifications, changedTs, hasNotifications }: OldCount, now: number): boolean {
  return !isMain && notifications === 0 && !hasNotifications && changedTs < now - KEPT_MS;
}
