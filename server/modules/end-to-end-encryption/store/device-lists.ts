import type { UserId } from '../../../matrix/identifiers.ts';
import type { Database, StreamPosition, WriteTx } from '../../../storage/types.ts';

/** When the devices and keys of users last changed. */
export class DeviceListStore {
  readonly #put;
  readonly #list;
  readonly #listAll;

  constructor(db: Database) {
    this.#put = db.prepareWrite(`
      INSERT INTO device_list_changes (user_id, viewer, position) VALUES (?, ?, ?)
      ON CONFLICT DO UPDATE SET position = excluded.position`);
    this.#list = db.prepareRead<{ user_id: string; for_viewer: number }>(`
      SELECT user_id, max(viewer != '') AS for_viewer FROM device_list_changes
      WHERE position > ? AND position <= ? AND viewer IN ('', ?) GROUP BY user_id`);
    this.#listAll = db.prepareRead<{ user_id: string }>(
      "SELECT user_id FROM device_list_changes WHERE position > ? AND position <= ? AND viewer = ''",
    );
  }

  /** Something changed, for everybody or for one viewer alone. */
  put(tx: WriteTx, userId: UserId, viewer?: UserId): void {
    this.#put.run(tx, userId, viewer ?? '', tx.nextPosition());
  }

  /** Users who last changed in (since, now], for everyone who shares a room with them. */
  listAllChanged(since: StreamPosition, now: StreamPosition): UserId[] {
    return this.#listAll.list(since, now).map((row) => row.user_id as UserId);
  }

  /**
   * Users who last changed in (since, now]; `forViewer` if that concerns `viewer` alone, else it concerns everyone who
   * shares a room with the user.
   */
  listChanged(
    viewer: UserId,
    since: StreamPosition,
    now: StreamPosition,
  ): { readonly userId: UserId; readonly forViewer: boolean }[] {
    return this.#list
      .list(since, now, viewer)
      .map((row) => ({ userId: row.user_id as UserId, forViewer: row.for_viewer === 1 }));
  }
}
