import type { DeviceId, ServerName, UserId } from '../../../matrix/identifiers.ts';
import type { Database, StreamPosition, WriteTx } from '../../../storage/types.ts';

/** What changed of a user's: the device so called, or the cross-signing keys. */
export type OwnChange = { readonly device: DeviceId } | 'cross-signing';

/** How far a server was told of a user's changes. */
export interface Told {
  readonly position: StreamPosition;
  /** Of the last device list update it has; undefined if there was none. */
  readonly streamId: number | undefined;
}

// No device is called so.
const CROSS_SIGNING = '';

/** Changes of local users' devices, and which servers were told of them. */
export class OwnChangeStore {
  readonly #put;
  readonly #list;
  readonly #latest;
  readonly #listUsers;
  readonly #putMeeting;
  readonly #findTold;
  readonly #putTold;
  readonly #removeAllTold;
  readonly #listAll;

  constructor(db: Database) {
    this.#put = db.prepareWrite(`
      INSERT INTO own_device_changes (user_id, device_id, position) VALUES (?, ?, ?)
      ON CONFLICT DO UPDATE SET position = excluded.position`);
    this.#list = db.prepareRead<{ device_id: string; position: number }>(`
      SELECT device_id, position FROM own_device_changes WHERE user_id = ? AND position > ? ORDER BY position`);
    this.#latest = db.prepareRead<{ position: number | null; stream_id: number | null }>(`
      SELECT max(position) AS position, max(CASE WHEN device_id != '${CROSS_SIGNING}' THEN position END) AS stream_id
      FROM own_device_changes WHERE user_id = ?`);
    this.#listUsers = db.prepareRead<{ user_id: string; met: number }>(`
      SELECT user_id, max(met) AS met FROM (
        SELECT user_id, 0 AS met FROM own_device_changes WHERE position > ? AND position <= ?
        UNION ALL
        SELECT user_id, 1 AS met FROM device_list_meetings WHERE position > ? AND position <= ?
      ) GROUP BY user_id`);
    this.#putMeeting = db.prepareWrite(`
      INSERT INTO device_list_meetings (user_id, position) VALUES (?, ?)
      ON CONFLICT DO UPDATE SET position = excluded.position`);
    this.#findTold = db.prepareRead<{ position: number; stream_id: number | null }>(
      'SELECT position, stream_id FROM device_list_told WHERE user_id = ? AND server = ?',
    );
    this.#removeAllTold = db.prepareWrite('DELETE FROM device_list_told');
    this.#listAll = db.prepareRead<{ user_id: string; device_id: string }>(
      'SELECT user_id, device_id FROM own_device_changes ORDER BY position',
    );
    this.#putTold = db.prepareWrite(`
      INSERT INTO device_list_told (user_id, server, position, stream_id) VALUES (?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET position = excluded.position, stream_id = excluded.stream_id
      WHERE excluded.position > position`);
  }

  put(tx: WriteTx, userId: UserId, change: OwnChange): void {
    this.#put.run(tx, userId, change === 'cross-signing' ? CROSS_SIGNING : change.device, tx.nextPosition());
  }

  /** The last change of each thing, as far as that came after `since`, in order. */
  list(userId: UserId, since: StreamPosition): { readonly change: OwnChange; readonly position: StreamPosition }[] {
    return this.#list.list(userId, since).map((row) => ({
      change: row.device_id === CROSS_SIGNING ? 'cross-signing' : { device: row.device_id as DeviceId },
      position: row.position as StreamPosition,
    }));
  }

  /** Everything of all users that ever changed, in the order of the last changes. */
  listAll(): { readonly userId: UserId; readonly change: OwnChange }[] {
    return this.#listAll.list().map((row) => ({
      userId: row.user_id as UserId,
      change: row.device_id === CROSS_SIGNING ? 'cross-signing' : { device: row.device_id as DeviceId },
    }));
  }

  /** No server counts as having been told of anything. */
  removeAllTold(tx: WriteTx): void {
    this.#removeAllTold.run(tx);
  }

  /** How far a server is that knows the user's devices as they are now. */
  latest(userId: UserId): Told {
    const row = this.#latest.find(userId);
    return { position: (row?.position ?? 0) as StreamPosition, streamId: row?.stream_id ?? undefined };
  }

  /** The user came to share a room with servers that may have to be told of their devices. */
  putMeeting(tx: WriteTx, userId: UserId): void {
    this.#putMeeting.run(tx, userId, tx.nextPosition());
  }

  /** Users of whom something changed, or who met other servers, in (since, now]. */
  listUsers(since: StreamPosition, now: StreamPosition): { readonly userId: UserId; readonly hasMet: boolean }[] {
    return this.#listUsers
      .list(since, now, since, now)
      .map((row) => ({ userId: row.user_id as UserId, hasMet: row.met === 1 }));
  }

  findTold(userId: UserId, server: ServerName): Told | undefined {
    const row = this.#findTold.find(userId, server);
    if (row === undefined) return undefined;
    return { position: row.position as StreamPosition, streamId: row.stream_id ?? undefined };
  }

  /** Moves on only: who was told more is not told less. */
  putTold(tx: WriteTx, userId: UserId, server: ServerName, { position, streamId }: Told): void {
    this.#putTold.run(tx, userId, server, position, streamId ?? null);
  }
}
