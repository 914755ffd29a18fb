import { isDeviceId, isUserId, type DeviceId, type UserId } from '../../matrix/identifiers.ts';
import type { Database, ReadStatement, WriteStatement, WriteTx } from '../../storage/types.ts';

/** A device of a user: a client that is logged in. */
export interface Device {
  readonly userId: UserId;
  readonly deviceId: DeviceId;
  readonly displayName: string | undefined;
  readonly createdMs: number;
  readonly lastSeenMs: number | undefined;
  readonly lastSeenIp: string | undefined;
  readonly lastSeenUserAgent: string | undefined;
}

/** Where a device was seen. */
export interface Connection {
  readonly deviceId: DeviceId;
  readonly ip: string;
  readonly userAgent: string;
  readonly lastSeenMs: number;
}

interface Row {
  user_id: string;
  device_id: string;
  display_name: string | null;
  created_ms: number;
  last_seen_ms: number | null;
  last_seen_ip: string | null;
  last_seen_user_agent: string | null;
}

interface ConnectionRow {
  device_id: string;
  ip: string;
  user_agent: string;
  last_seen_ms: number;
}

function storedDeviceId(text: string): DeviceId {
  if (!isDeviceId(text)) throw new TypeError('a stored device ID is none');
  return text;
}

function toDevice(row: Row): Device {
  if (!isUserId(row.user_id)) throw new TypeError('a stored user ID is none');
  return {
    userId: row.user_id,
    deviceId: storedDeviceId(row.device_id),
    displayName: row.display_name ?? undefined,
    createdMs: row.created_ms,
    lastSeenMs: row.last_seen_ms ?? undefined,
    lastSeenIp: row.last_seen_ip ?? undefined,
    lastSeenUserAgent: row.last_seen_user_agent ?? undefined,
  };
}

const COLUMNS = 'user_id, device_id, display_name, created_ms, last_seen_ms, last_seen_ip, last_seen_user_agent';
/** A device that shows itself from ever new places is only remembered at this many. */
const MAX_CONNECTIONS = 50;

/** The tables of devices. */
export class DeviceStore {
  readonly #find: ReadStatement<Row>;
  readonly #list: ReadStatement<Row>;
  readonly #listUnseenSince: ReadStatement<Row>;
  readonly #listConnections: ReadStatement<ConnectionRow>;
  readonly #insert: WriteStatement;
  readonly #setDisplayName: WriteStatement;
  readonly #remove: WriteStatement;
  readonly #seen: WriteStatement;
  readonly #connected: WriteStatement;
  readonly #trimConnections: WriteStatement;
  readonly #removeOldConnections: WriteStatement;

  constructor(db: Database) {
    this.#find = db.prepareRead(`SELECT ${COLUMNS} FROM devices WHERE user_id = ? AND device_id = ?`);
    this.#list = db.prepareRead(`SELECT ${COLUMNS} FROM devices WHERE user_id = ? ORDER BY created_ms, device_id`);
    this.#listUnseenSince = db.prepareRead(
      `SELECT ${COLUMNS} FROM devices WHERE coalesce(last_seen_ms, created_ms) < ?`,
    );
    this.#listConnections = db.prepareRead(`
      SELECT device_id, ip, user_agent, last_seen_ms FROM device_connections WHERE user_id = ?
      ORDER BY last_seen_ms DESC`);
    this.#insert = db.prepareWrite(`
      INSERT INTO devices (user_id, device_id, display_name, created_ms) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`);
    this.#setDisplayName = db.prepareWrite('UPDATE devices SET display_name = ? WHERE user_id = ? AND device_id = ?');
    this.#remove = db.prepareWrite('DELETE FROM devices WHERE user_id = ? AND device_id = ?');
    this.#seen = db.prepareWrite(`
      UPDATE devices SET last_seen_ms = ?, last_seen_ip = ?, last_seen_user_agent = ?
      WHERE user_id = ? AND device_id = ? AND coalesce(last_seen_ms, 0) <= ?`);
    this.#connected = db.prepareWrite(`
      INSERT INTO device_connections (user_id, device_id, ip, user_agent, last_seen_ms)
      SELECT user_id, device_id, ?, ?, ? FROM devices WHERE user_id = ? AND device_id = ?
      ON CONFLICT DO UPDATE SET last_seen_ms = max(last_seen_ms, excluded.last_seen_ms)`);
    this.#trimConnections = db.prepareWrite(`
      DELETE FROM device_connections WHERE user_id = ? AND device_id = ? AND (ip, user_agent) IN (
        SELECT ip, user_agent FROM device_connections WHERE user_id = ? AND device_id = ?
        ORDER BY last_seen_ms DESC LIMIT -1 OFFSET ${MAX_CONNECTIONS})`);
    this.#removeOldConnections = db.prepareWrite('DELETE FROM device_connections WHERE last_seen_ms < ?');
  }

  find(userId: UserId, deviceId: DeviceId): Device | undefined {
    const row = this.#find.find(userId, deviceId);
    return row === undefined ? undefined : toDevice(row);
  }

  /** Oldest first. */
  list(userId: UserId): Device[] {
    return this.#list.list(userId).map(toDevice);
  }

  listUnseenSince(ms: number): Device[] {
    return this.#listUnseenSince.list(ms).map(toDevice);
  }

  /** Newest first. */
  listConnections(userId: UserId): Connection[] {
    return this.#listConnections.list(userId).map((row) => ({
      deviceId: storedDeviceId(row.device_id),
      ip: row.ip,
      userAgent: row.user_agent,
      lastSeenMs: row.last_seen_ms,
    }));
  }

  /** Says whether the device is new. */
  insert(tx: WriteTx, device: Pick<Device, 'userId' | 'deviceId' | 'displayName' | 'createdMs'>): boolean {
    const { userId, deviceId, displayName, createdMs } = device;
    return this.#insert.run(tx, userId, deviceId, displayName ?? null, createdMs).changes === 1;
  }

  setDisplayName(tx: WriteTx, userId: UserId, deviceId: DeviceId, displayName: string): void {
    this.#setDisplayName.run(tx, displayName, userId, deviceId);
  }

  /** Says whether there was such a device. */
  remove(tx: WriteTx, userId: UserId, deviceId: DeviceId): boolean {
    return this.#remove.run(tx, userId, deviceId).changes === 1;
  }

  /** Remembers where a device was seen; nothing happens if it is gone. */
  seen(tx: WriteTx, userId: UserId, { deviceId, ip, userAgent, lastSeenMs }: Connection): void {
    this.#seen.run(tx, lastSeenMs, ip, userAgent, userId, deviceId, lastSeenMs);
    this.#connected.run(tx, ip, userAgent, lastSeenMs, userId, deviceId);
    this.#trimConnections.run(tx, userId, deviceId, userId, deviceId);
  }

  removeConnectionsBefore(tx: WriteTx, ms: number): void {
    this.#removeOldConnections.run(tx, ms);
  }
}
