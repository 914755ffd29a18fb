import type { Database, WriteTx } from '../../../storage/types.ts';

/** The counts of a thread as far as they matter to what is kept of it. */
export interface OldCount {
  readonly nid: number;
  readonly isMain: boolean;
  readonly notifications: number;
  readonly readUpTo: number;
  /** When the counts last changed, ms since the epoch. */
  readonly changedTs: number;
  readonly hasNotifications: boolean;
}

interface CountRow {
  nid: number;
  is_main: number;
  notifications: number;
  read_up_to: number;
  changed_ts: number;
  has_notifications: number;
}

/** Walks what push has stored, a slice at a time, and clears away what is no longer needed. */
export class ClearingStore {
  readonly #listCounts;
  readonly #removeOlder;
  readonly #findSurplus;
  readonly #removeUpTo;
  readonly #removeCount;

  constructor(db: Database) {
    this.#listCounts = db.prepareRead<CountRow>(`
      SELECT unread_nid AS nid, thread_id = 'main' AS is_main, notifications, read_up_to, changed_ts,
        EXISTS (
          SELECT 1 FROM push_notifications AS one WHERE one.unread_nid = push_unread.unread_nid
        ) AS has_notifications
      FROM push_unread WHERE unread_nid > ? AND user_id <> '' ORDER BY unread_nid LIMIT ?`);
    // Times go up with the positions, so the first that is young enough ends it; the table is walked no further.
    this.#removeOlder = db.prepareWrite(`
      DELETE FROM push_notifications WHERE unread_nid = ? AND highlight = ? AND position IN (
        SELECT position FROM (
          SELECT position, ts FROM push_notifications
          WHERE unread_nid = ? AND highlight = ? AND position <= ? ORDER BY position LIMIT ?
        ) WHERE ts < ?)`);
    this.#findSurplus = db.prepareRead<{ position: number }>(`
      SELECT position FROM push_notifications WHERE unread_nid = ? AND highlight = 0
      ORDER BY position DESC LIMIT 1 OFFSET ?`);
    this.#removeUpTo = db.prepareWrite(`
      DELETE FROM push_notifications WHERE unread_nid = ? AND highlight = 0 AND position IN (
        SELECT position FROM push_notifications
        WHERE unread_nid = ? AND highlight = 0 AND position <= ? ORDER BY position LIMIT ?)`);
    this.#removeCount = db.prepareWrite('DELETE FROM push_unread WHERE unread_nid = ?');
  }

  /** Counts in the order of their numbers, after the one with the number `after`. */
  listCounts(after: number, limit: number): OldCount[] {
    return this.#listCounts.list(after, limit).map((row) => ({
      nid: row.nid,
      isMain: row.is_main !== 0,
      notifications: row.notifications,
      readUpTo: row.read_up_to,
      changedTs: row.changed_ts,
      hasNotifications: row.has_notifications !== 0,
    }));
  }

  /**
   * Removes notifications of a count from before `ts` (ms) and at most at the position `upTo`; at most `limit` of them.
   * Gives how many.
   */
  removeOlder(
    tx: WriteTx,
    nid: number,
    { highlight, upTo, ts, limit }: { highlight: boolean; upTo: number; ts: number; limit: number },
  ): number {
    const kind = highlight ? 1 : 0;
    return this.#removeOlder.run(tx, nid, kind, nid, kind, upTo, limit, ts).changes;
  }

  /**
   * Removes notifications that do not highlight, save the `keep` newest of them; at most `limit`. Gives how many.
   */
  removeSurplus(tx: WriteTx, nid: number, keep: number, limit: number): number {
    const surplus = this.#findSurplus.find(nid, keep);
    return surplus === undefined ? 0 : this.#removeUpTo.run(tx, nid, nid, surplus.position, limit).changes;
  }

  removeCount(tx: WriteTx, nid: number): void {
    this.#removeCount.run(tx, nid);
  }
}
