import type { DeviceId, ServerName, UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { Database, StreamPosition, WriteTx } from '../../../storage/types.ts';

/** A device as servers tell each other of it. */
export interface PublicDevice {
  readonly deviceId: DeviceId;
  readonly keys: JsonObject;
  readonly displayName: string | undefined;
}

/** Cross-signing keys that others than their owner may see. */
export interface RemoteCrossSigning {
  readonly master: JsonObject | undefined;
  readonly selfSigning: JsonObject | undefined;
}

/** What is known of a user's device list, besides the devices. */
export interface RemoteList extends RemoteCrossSigning {
  /** Updates that the list holds, the newest last. */
  readonly streamIds: readonly number[];
  /** Since when it has been kept up, if it was ever fetched. */
  readonly trackedSince: StreamPosition | undefined;
  readonly stale: boolean;
  /** Fetches in a row that failed. */
  readonly failures: number;
}

/** A whole list as the other server gave it. */
export interface RemoteSnapshot extends RemoteCrossSigning {
  readonly streamId: number;
  readonly devices: ReadonlyMap<DeviceId, PublicDevice>;
}

interface ListRow {
  stream_ids: string;
  tracked_since: number | null;
  stale: number;
  failures: number;
  master_key: string | null;
  self_signing_key: string | null;
}

/** Updates are remembered to recognise what later ones follow: no more than this many. */
const STREAM_IDS_KEPT = 30;

/** Device lists of users of other servers. */
export class RemoteListStore {
  readonly #find;
  readonly #listUsers;
  readonly #listDevices;
  readonly #findDevice;
  readonly #countDevices;
  readonly #put;
  readonly #putStale;
  readonly #putStreamIds;
  readonly #putCrossSigning;
  readonly #putDevice;
  readonly #removeDevice;
  readonly #remove;
  readonly #removeDevices;
  readonly #listDue;
  readonly #nextDue;
  readonly #postpone;
  readonly #postponeServer;
  readonly #hasten;
  readonly #putAllStale;

  constructor(db: Database) {
    this.#find = db.prepareRead<ListRow>(`
      SELECT stream_ids, tracked_since, stale, failures, master_key, self_signing_key
      FROM remote_device_lists WHERE user_id = ?`);
    this.#listUsers = db.prepareRead<{ user_id: string }>(
      'SELECT user_id FROM remote_device_lists WHERE user_id > ? ORDER BY user_id LIMIT ?',
    );
    const device = 'SELECT device_id, keys, display_name FROM remote_devices WHERE user_id = ?';
    this.#listDevices = db.prepareRead<{ device_id: string; keys: string; display_name: string | null }>(device);
    this.#findDevice = db.prepareRead<{ device_id: string; keys: string; display_name: string | null }>(
      `${device} AND device_id = ?`,
    );
    this.#countDevices = db.prepareRead<{ devices: number }>(
      'SELECT count(*) AS devices FROM remote_devices WHERE user_id = ?',
    );
    this.#put = db.prepareWrite(`
      INSERT INTO remote_device_lists (user_id, server, stream_ids, tracked_since, stale, failures, retry_at, master_key,
        self_signing_key)
      VALUES (?, ?, ?, ?, 0, 0, 0, ?, ?)
      ON CONFLICT DO UPDATE SET stream_ids = excluded.stream_ids, tracked_since = excluded.tracked_since, stale = 0,
        failures = 0, retry_at = 0, master_key = excluded.master_key, self_signing_key = excluded.self_signing_key`);
    this.#putStale = db.prepareWrite(`
      INSERT INTO remote_device_lists (user_id, server, stream_ids, stale, failures, retry_at) VALUES (?, ?, ?, 1, 0, ?)
      ON CONFLICT DO UPDATE SET stream_ids = excluded.stream_ids,
        retry_at = CASE WHEN stale = 1 THEN min(retry_at, excluded.retry_at) ELSE excluded.retry_at END, stale = 1`);
    this.#putStreamIds = db.prepareWrite('UPDATE remote_device_lists SET stream_ids = ? WHERE user_id = ?');
    this.#putCrossSigning = db.prepareWrite(
      'UPDATE remote_device_lists SET master_key = ?, self_signing_key = ? WHERE user_id = ?',
    );
    this.#putDevice = db.prepareWrite(`
      INSERT INTO remote_devices (user_id, device_id, keys, display_name) VALUES (?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET keys = excluded.keys, display_name = excluded.display_name
      WHERE keys != excluded.keys OR display_name IS NOT excluded.display_name`);
    this.#removeDevice = db.prepareWrite('DELETE FROM remote_devices WHERE user_id = ? AND device_id = ?');
    this.#remove = db.prepareWrite('DELETE FROM remote_device_lists WHERE user_id = ?');
    this.#removeDevices = db.prepareWrite('DELETE FROM remote_devices WHERE user_id = ?');
    this.#listDue = db.prepareRead<{ user_id: string; server: string }>(`
      SELECT user_id, server FROM remote_device_lists WHERE stale = 1 AND retry_at <= ? ORDER BY retry_at LIMIT ?`);
    this.#nextDue = db.prepareRead<{ retry_at: number }>(`
      SELECT retry_at FROM remote_device_lists WHERE stale = 1 AND retry_at > ? ORDER BY retry_at LIMIT 1`);
    this.#postpone = db.prepareWrite(`
      UPDATE remote_device_lists SET retry_at = ?, failures = failures + 1 WHERE user_id = ? AND stale = 1`);
    this.#postponeServer = db.prepareWrite(
      'UPDATE remote_device_lists SET retry_at = ? WHERE server = ? AND stale = 1 AND retry_at < ?',
    );
    this.#putAllStale = db.prepareWrite('UPDATE remote_device_lists SET stale = 1, failures = 0, retry_at = 0');
    this.#hasten = db.prepareWrite(
      'UPDATE remote_device_lists SET retry_at = ? WHERE server = ? AND stale = 1 AND retry_at > ?',
    );
  }

  find(userId: UserId): RemoteList | undefined {
    const row = this.#find.find(userId);
    if (row === undefined) return undefined;
    return {
      streamIds: JSON.parse(row.stream_ids),
      trackedSince: (row.tracked_since ?? undefined) as StreamPosition | undefined,
      stale: row.stale === 1,
      failures: row.failures,
      master: row.master_key === null ? undefined : JSON.parse(row.master_key),
      selfSigning: row.self_signing_key === null ? undefined : JSON.parse(row.self_signing_key),
    };
  }

  /** A page of the users that there are lists of. */
  listUsers(after: string, limit: number): UserId[] {
    return this.#listUsers.list(after, limit).map((row) => row.user_id as UserId);
  }

  listDevices(userId: UserId): PublicDevice[] {
    return this.#listDevices.list(userId).map(readDevice);
  }

  findDevice(userId: UserId, deviceId: DeviceId): PublicDevice | undefined {
    const row = this.#findDevice.find(userId, deviceId);
    return row === undefined ? undefined : readDevice(row);
  }

  countDevices(userId: UserId): number {
    return this.#countDevices.find(userId)?.devices ?? 0;
  }

  /** Puts a list in the place of what was known; says whether it tells anything new of the devices. */
  putSnapshot(
    tx: WriteTx,
    of: { readonly userId: UserId; readonly server: ServerName },
    snapshot: RemoteSnapshot,
    options: { readonly streamIds: readonly number[]; readonly trackedSince: StreamPosition },
  ): boolean {
    const { userId, server } = of;
    const { devices, master, selfSigning } = snapshot;
    const ids = idsText([...options.streamIds, snapshot.streamId]);
    this.#put.run(tx, userId, server, ids, options.trackedSince, textOf(master), textOf(selfSigning));
    let changed = false;
    for (const { deviceId } of this.listDevices(userId)) {
      if (!devices.has(deviceId)) changed = this.removeDevice(tx, userId, deviceId) || changed;
    }
    for (const device of devices.values()) changed = this.putDevice(tx, userId, device) || changed;
    return changed;
  }

  /** Says that a list lacks something, whether it was ever fetched or not. `heard`: an update it does not hold. */
  putStale(
    tx: WriteTx,
    of: { readonly userId: UserId; readonly server: ServerName },
    options: { readonly heard: readonly number[]; readonly retryAt: number },
  ): void {
    const ids = idsText([...(this.find(of.userId)?.streamIds ?? []), ...options.heard]);
    this.#putStale.run(tx, of.userId, of.server, ids, options.retryAt);
  }

  /** Every list may lack something. */
  putAllStale(tx: WriteTx): void {
    this.#putAllStale.run(tx);
  }

  /** One more update is part of the list. */
  addStreamId(tx: WriteTx, userId: UserId, streamIds: readonly number[], streamId: number): void {
    this.#putStreamIds.run(tx, idsText([...streamIds, streamId]), userId);
  }

  putCrossSigning(tx: WriteTx, userId: UserId, { master, selfSigning }: RemoteCrossSigning): void {
    this.#putCrossSigning.run(tx, textOf(master), textOf(selfSigning), userId);
  }

  /** Whether that is news. */
  putDevice(tx: WriteTx, userId: UserId, { deviceId, keys, displayName }: PublicDevice): boolean {
    return this.#putDevice.run(tx, userId, deviceId, JSON.stringify(keys), displayName ?? null).changes > 0;
  }

  /** Whether there was one. */
  removeDevice(tx: WriteTx, userId: UserId, deviceId: DeviceId): boolean {
    return this.#removeDevice.run(tx, userId, deviceId).changes > 0;
  }

  remove(tx: WriteTx, userId: UserId): void {
    this.#remove.run(tx, userId);
    this.#removeDevices.run(tx, userId);
  }

  /** Lists to be fetched now, those first that have been due the longest. */
  listDue(now: number, limit: number): { readonly userId: UserId; readonly server: ServerName }[] {
    return this.#listDue
      .list(now, limit)
      .map((row) => ({ userId: row.user_id as UserId, server: row.server as ServerName }));
  }

  /** When the next list falls due that is not due yet, ms. */
  nextDue(now: number): number | undefined {
    return this.#nextDue.find(now)?.retry_at;
  }

  /** A fetch failed: not before `retryAt` again. */
  postpone(tx: WriteTx, userId: UserId, retryAt: number): void {
    this.#postpone.run(tx, retryAt, userId);
  }

  /** A server does not answer: none of its lists before `retryAt`. */
  postponeServer(tx: WriteTx, server: ServerName, retryAt: number): void {
    this.#postponeServer.run(tx, retryAt, server, retryAt);
  }

  /** A server answers again: its lists are due. Says whether there are any. */
  hasten(tx: WriteTx, server: ServerName, now: number): boolean {
    return this.#hasten.run(tx, now, server, now).changes > 0;
  }
}

function readDevice(row: { device_id: string; keys: string; display_name: string | null }): PublicDevice {
  return {
    deviceId: row.device_id as DeviceId,
    keys: JSON.parse(row.keys),
    displayName: row.display_name ?? undefined,
  };
}

function idsText(ids: readonly number[]): string {
  return JSON.stringify([...new Set(ids)].slice(-STREAM_IDS_KEPT));
}

function textOf(keys: JsonObject | undefined): string | null {
  return keys === undefined ? null : JSON.stringify(keys);
}
