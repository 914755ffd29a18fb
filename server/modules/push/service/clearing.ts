import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Database } from '../../../storage/types.ts';
import type { Clock, Timer } from '../../../util/clock.ts';
import type { Logger } from '../../../util/log.ts';
import type { ClearingStore, OldCount, OldNotification } from '../store/clearing.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** How long what was read stays listed, and what was not, or highlights. */
const READ_KEPT_MS = DAY_MS;
const KEPT_MS = 30 * DAY_MS;
/** Unread events of a thread that are known one by one. Of those before them only the number is. */
const UNREAD_KEPT = 1_000;
/** Rows looked at in one go: some milliseconds. */
const SLICE = 500;

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
  #stopped = false;

  constructor({ db, clock, log, store }: { db: Database; clock: Clock; log: Logger; store: ClearingStore }) {
    this.#db = db;
    this.#clock = clock;
    this.#log = log;
    this.#store = store;
  }

  start(): void {
    this.#timer = this.#clock.after(HOUR_MS, () => {
      this.#running = this.#clear()
        .catch((error: unknown) => this.#log.error({ error }, 'old notifications were not cleared away'))
        .finally(() => {
          if (!this.#stopped) this.start();
        });
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#running;
  }

  async #clear(): Promise<void> {
    const now = this.#clock.now();
    await this.#clearNotifications(now);
    await this.#clearCounts(now);
  }

  async #clearNotifications(now: number): Promise<void> {
    for (let last = 0; !this.#stopped; await nextTurn()) {
      const slice = this.#store.listNotifications(last, SLICE);
      const old = slice.filter((notification) => isSpent(notification, now)).map(({ id }) => id);
      if (old.length > 0) this.#db.write((tx) => this.#store.removeNotifications(tx, old));
      const newest = slice.at(-1);
      if (newest === undefined || slice.length < SLICE || newest.ts > now - READ_KEPT_MS) return;
      last = newest.id;
    }
  }

  async #clearCounts(now: number): Promise<void> {
    for (let last = 0; !this.#stopped; await nextTurn()) {
      const slice = this.#store.listCounts(last, SLICE);
      // A client that was away for so long learns of it with the next change in the room.
      const spent = slice.filter((count) => isForgettable(count, now));
      if (spent.length > 0) {
        this.#db.write((tx) => {
          for (const { nid } of spent) this.#store.removeCount(tx, nid);
        });
      }
      for (const { nid, notifications } of slice) {
        if (notifications > UNREAD_KEPT) await this.#clearSurplus(nid);
      }
      const newest = slice.at(-1);
      if (newest === undefined || slice.length < SLICE) return;
      last = newest.nid;
    }
  }

  async #clearSurplus(nid: number): Promise<void> {
    while (!this.#stopped && this.#db.write((tx) => this.#store.removeSurplus(tx, nid, UNREAD_KEPT, SLICE))) {
      await nextTurn();
    }
  }
}

function isSpent({ ts, read, highlight }: OldNotification, now: number): boolean {
  return ts < now - (read && !highlight ? READ_KEPT_MS : KEPT_MS);
}

function isForgettable({ isMain, notifications, changedTs }: OldCount, now: number): boolean {
  return !isMain && notifications === 0 && changedTs < now - KEPT_MS;
}
