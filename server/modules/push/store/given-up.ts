import { jsonList } from '../../../storage/sql.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';

/** Counts of rooms that their user has left. */
export interface GivenUp {
  /** Whose they were. */
  readonly userId: string;
  readonly nids: readonly number[];
}

/** What was unread in rooms that users have left (`UnreadStore.giveUpRoom`): nobody sees it, and it goes bit by bit. */
export class GivenUpStore {
  readonly #findUser;
  readonly #list;
  readonly #findEnd;
  readonly #removeFromOutbox;
  readonly #removeNotifications;
  readonly #remove;

  constructor(db: Database) {
    this.#findUser = db.prepareRead<{ room_id: string }>(
      "SELECT room_id FROM push_unread WHERE user_id = '' ORDER BY room_id LIMIT 1",
    );
    this.#list = db.prepareRead<{ unread_nid: number }>(
      "SELECT unread_nid FROM push_unread WHERE user_id = '' AND room_id = ? LIMIT ?",
    );
    this.#findEnd = db.prepareRead<{ position: number | null }>(`
      SELECT max(position) AS position FROM (
        SELECT position FROM push_outbox WHERE user_id = ? AND position > ? ORDER BY position LIMIT ?)`);
    this.#removeFromOutbox = db.prepareWrite(`
      DELETE FROM push_outbox WHERE user_id = ? AND position > ? AND position <= ?
        AND unread_nid IN (SELECT value FROM json_each(?))`);
    this.#removeNotifications = db.prepareWrite(`
      DELETE FROM push_notifications WHERE (unread_nid, highlight, position) IN (
        SELECT unread_nid, highlight, position FROM push_notifications WHERE unread_nid = ? LIMIT ?)`);
    this.#remove = db.prepareWrite('DELETE FROM push_unread WHERE unread_nid IN (SELECT value FROM json_each(?))');
  }

  /** At most `limit` counts of one user; undefined when there are none. */
  find(limit: number): GivenUp | undefined {
    const userId = this.#findUser.find()?.room_id;
    if (userId === undefined) return undefined;
    return { userId, nids: this.#list.list(userId, limit).map((row) => row.unread_nid) };
  }

  /**
   * Looks at the next entries of the user's outbox, at most `limit`, and removes what hangs on these counts: their numbers
   * may be given out again. Gives the position of the last one looked at; undefined when there was none.
   */
  removeFromOutbox(tx: WriteTx, { userId, nids }: GivenUp, after: number, limit: number): number | undefined {
    const end = this.#findEnd.find(userId, after, limit)?.position ?? undefined;
    if (end !== undefined) this.#removeFromOutbox.run(tx, userId, after, end, jsonList(nids));
    return end;
  }

  /** Removes at most `limit` notifications of a count. Gives how many. */
  removeNotifications(tx: WriteTx, nid: number, limit: number): number {
    return this.#removeNotifications.run(tx, nid, limit).changes;
  }

  /** Once nothing hangs on them. */
  remove(tx: WriteTx, { nids }: GivenUp): void {
    this.#remove.run(tx, jsonList(nids));
  }
}
