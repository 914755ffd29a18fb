import { type DeviceId, isDeviceId, type UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';

/** A device that is not in use, with what its owner needs to use it: encrypted, the server cannot read it. */
export interface DehydratedDevice {
  readonly deviceId: DeviceId;
  readonly data: JsonObject;
}

/** The dehydrated devices of users, one each. */
export class DehydratedDeviceStore {
  readonly #find;
  readonly #put;
  readonly #remove;

  constructor(db: Database) {
    this.#find = db.prepareRead<{ device_id: string; device_data: string }>(
      'SELECT device_id, device_data FROM dehydrated_devices WHERE user_id = ?',
    );
    this.#put = db.prepareWrite(`
      INSERT INTO dehydrated_devices (user_id, device_id, device_data) VALUES (?, ?, ?)
      ON CONFLICT DO UPDATE SET device_id = excluded.device_id, device_data = excluded.device_data`);
    this.#remove = db.prepareWrite('DELETE FROM dehydrated_devices WHERE user_id = ? AND device_id = ?');
  }

  find(userId: UserId): DehydratedDevice | undefined {
    const row = this.#find.find(userId);
    if (row === undefined) return undefined;
    if (!isDeviceId(row.device_id)) throw new TypeError('a stored device ID is none');
    return { deviceId: row.device_id, data: JSON.parse(row.device_data) };
  }

  /** In the place of the one there was. */
  put(tx: WriteTx, userId: UserId, { deviceId, data }: DehydratedDevice): void {
    this.#put.run(tx, userId, deviceId, JSON.stringify(data));
  }

  /** Nothing happens if the dehydrated device is another one. */
  remove(tx: WriteTx, userId: UserId, deviceId: DeviceId): void {
    this.#remove.run(tx, userId, deviceId);
  }
}
