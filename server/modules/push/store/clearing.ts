import { jsonList } from '../../../storage/sql.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';

/** A notification as far as it matters to whether it is kept. */
export interface OldNotification {
  readonly id: number;
  readonly ts: number;
  readonly highlight: boolean;
  readonly read: boolean;
}

/** The counts of a thread as far as they matter to whether they are kept. */
export interface OldCount {
  readonly nid: number;
  readonly isMain: boolean;
  readonly notifications: number;
  readonly changedTs: number;
}

/** Walks what push has stored, a slice at a time, and clears away what is no longer needed. */
export class ClearingStore {
  readonly #listNotifications;
  readonly #removeNotifications;
  readonly #listCounts;
  readonly #findSurplus;
  readonly #removeSurplus;
  readonly #removeCount;

  constructor(db: Database) {
    this.#listNotifications = db.prepareRead<{ id: number; ts: number; highlight: number; read: number }>(`
      SELECT id, ts, highlight, push_notifications.position <= read_up_to AS read
      FROM push_notifications JOIN push_unread USING (unread_nid) WHERE id > ? ORDER BY id LIMIT ?`);
    this.#removeNotifications = db.prepareWrite(
      'DELETE FROM push_notifications WHERE id IN (SELECT value FROM json_each(?))',
    );
    this.#listCounts = db.prepareRead<{ nid: number; is_main: number; notifications: number; changed_ts: number }>(`
      SELECT unread_nid AS nid, thread_id = 'main' AS is_main, notifications, changed_ts
      FROM push_unread WHERE unread_nid > ? ORDER BY unread_nid LIMIT ?`);
    this.#findSurplus = db.prepareRead<{ position: number }>(`
      SELECT position FROM push_notifications WHERE unread_nid = ? ORDER BY position DESC LIMIT 1 OFFSET ?`);
    this.#removeSurplus = db.prepareWrite(`
      DELETE FROM push_notifications WHERE id IN (
        SELECT id FROM push_notifications WHERE unread_nid = ? AND position <= ? AND highlight = 0 LIMIT ?)`);
    this.#removeCount = db.prepareWrite(`
      DELETE FROM push_unread WHERE unread_nid = ?
        AND NOT EXISTS (SELECT 1 FROM push_notifications WHERE unread_nid = push_unread.unread_nid)`);
  }

  /** The oldest notifications behind the one with the ID `after`. */
  listNotifications(after: number, limit: number): OldNotification[] {
    return this.#listNotifications
      .list(after, limit)
      .map(({ id, ts, highlight, read }) => ({ id, ts, highlight: highlight !== 0, read: read !== 0 }));
  }

  removeNotifications(tx: WriteTx, ids: readonly number[]): void {
    this.#removeNotifications.run(tx, jsonList(ids));
  }

  listCounts(after: number, limit: number): OldCount[] {
    return this.#listCounts.list(after, limit).map((row) => ({
      nid: row.nid,
      isMain: row.is_main !== 0,
      notifications: row.notifications,
      changedTs: row.changed_ts,
    }));
  }

  /**
   * Removes events behind a count, save its `keep` newest and those that highlight; at most `limit` of them.
   * Says whether there may be more.
   */
  removeSurplus(tx: WriteTx, nid: number, keep: number, limit: number): boolean {
    const surplus = this.#findSurplus.find(nid, keep);
    return surplus !== undefined && this.#removeSurplus.run(tx, nid, surplus.position, limit).changes === limit;
  }

  /** Removes a count that no listed notification belongs to. */
  removeCount(tx: WriteTx, nid: number): void {
    this.#removeCount.run(tx, nid);
  }
}
