import { isUserId, type UserId } from '../../matrix/identifiers.ts';
import type { Database, WriteTx } from '../../storage/types.ts';

/** A new user on the way into the rooms meant for everybody. */
export interface PendingAutoJoin {
  readonly userId: UserId;
  /** Whether rooms that are not there are made on their account. */
  readonly mayCreate: boolean;
}

/** Those whose automatic joins are not done yet; kept so that a restart does not forget them. */
export class PendingAutoJoins {
  readonly #list;
  readonly #insert;
  readonly #remove;

  constructor(db: Database) {
    this.#list = db.prepareRead<{ user_id: string; may_create: number }>(
      'SELECT user_id, may_create FROM pending_auto_joins ORDER BY id',
    );
    this.#insert = db.prepareWrite(`
      INSERT INTO pending_auto_joins (user_id, may_create) VALUES (?, ?)
      ON CONFLICT DO UPDATE SET may_create = excluded.may_create`);
    this.#remove = db.prepareWrite('DELETE FROM pending_auto_joins WHERE user_id = ?');
  }

  /** First come, first. */
  list(): PendingAutoJoin[] {
    return this.#list
      .list()
      .flatMap(({ user_id: userId, may_create: mayCreate }) =>
        isUserId(userId) ? [{ userId, mayCreate: mayCreate !== 0 }] : [],
      );
  }

  put(tx: WriteTx, { userId, mayCreate }: PendingAutoJoin): void {
    this.#insert.run(tx, userId, mayCreate ? 1 : 0);
  }

  remove(tx: WriteTx, userId: UserId): void {
    this.#remove.run(tx, userId);
  }
}
