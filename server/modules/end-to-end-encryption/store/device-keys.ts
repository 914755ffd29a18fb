import type { DeviceId, UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';

interface Row {
  device_id: string;
  keys: string;
}

/** The identity keys of devices, as they were uploaded. */
export class DeviceKeyStore {
  readonly #find;
  readonly #list;
  readonly #put;
  readonly #remove;

  constructor(db: Database) {
    this.#find = db.prepareRead<Row>('SELECT device_id, keys FROM device_keys WHERE user_id = ? AND device_id = ?');
    this.#list = db.prepareRead<Row>('SELECT device_id, keys FROM device_keys WHERE user_id = ?');
    this.#put = db.prepareWrite(`
      INSERT INTO device_keys (user_id, device_id, keys) VALUES (?, ?, ?)
      ON CONFLICT DO UPDATE SET keys = excluded.keys`);
    this.#remove = db.prepareWrite('DELETE FROM device_keys WHERE user_id = ? AND device_id = ?');
  }

  find(userId: UserId, deviceId: DeviceId): JsonObject | undefined {
    const row = this.#find.find(userId, deviceId);
    return row === undefined ? undefined : JSON.parse(row.keys);
  }

  list(userId: UserId): (readonly [DeviceId, JsonObject])[] {
    return this.#list.list(userId).map((row) => [row.device_id as DeviceId, JSON.parse(row.keys)]);
  }

  put(tx: WriteTx, userId: UserId, deviceId: DeviceId, keys: JsonObject): void {
    this.#put.run(tx, userId, deviceId, JSON.stringify(keys));
  }

  /** Whether there were any. */
  remove(tx: WriteTx, userId: UserId, deviceId: DeviceId): boolean {
    return this.#remove.run(tx, userId, deviceId).changes > 0;
  }
}
