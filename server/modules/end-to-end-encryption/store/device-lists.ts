import type { UserId } from '../../../matrix/identifiers.ts';
import type { Database, StreamPosition, WriteTx } from '../../../storage/types.ts';

/** When the devices and keys of users last changed. */
export class DeviceListStore {
  readonly #put;
  readonly #list;

  constructor(db: Database) {
    this.#put = db.prepareWrite(`
      INSERT INTO device_list_changes (user_id, viewer, position) VALUES (?, ?, ?)
      ON CONFLICT DO UPDATE SET position = excluded.position`);
    this.#list = db.prepareRead<{ user_id: string }>(`
      SELECT DISTINCT user_id FROM device_list_changes WHERE position > ? AND viewer IN ('', ?)`);
  }

  /** Something changed, for everybody or for one viewer alone. */
  put(tx: WriteTx, userId: UserId, viewer?: UserId): void {
    this.#put.run(tx, userId, viewer ?? '', tx.nextPosition());
  }

  /** Users with a change after `since` that `viewer` may hear of, if they share a room with them. */
  listSince(viewer: UserId, since: StreamPosition): UserId[] {
    return this.#list.list(since, viewer).map((row) => row.user_id as UserId);
  }
}
