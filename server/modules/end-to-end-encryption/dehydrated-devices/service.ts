import { forbidden, invalidParam, notFound, tooLarge } from '../../../matrix/errors.ts';
import type { DeviceId, UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { Database, StreamPosition, WriteTx } from '../../../storage/types.ts';
import type { DeviceKeys, KeyUpload } from '../service/device-keys.ts';
import type { DehydratedDevice, DehydratedDeviceStore } from './store.ts';

/** An encrypted Olm account with its one-time keys has some 10 kB. */
const MAX_DATA_BYTES = 512 * 1024;

/** A message that waits for a device. */
export interface WaitingMessage {
  readonly position: StreamPosition;
  readonly sender: UserId;
  readonly type: string;
  readonly content: JsonObject;
}

export interface DehydratedDevicesNeeds {
  readonly db: Database;
  readonly devices: {
    exists(userId: UserId, deviceId: DeviceId): boolean;
    /** Makes the device unless it is there; the name is only for a new one. */
    ensure(tx: WriteTx, userId: UserId, deviceId: DeviceId, displayName: string | undefined): void;
    /** Removes devices and all that hangs on them. */
    remove(tx: WriteTx, userId: UserId, deviceIds: readonly DeviceId[]): void;
  };
  /** Messages to devices. */
  readonly toDevice: {
    /** Those that wait for a device and were sent after `after`, in the order they were sent, at most `limit`. */
    listWaiting(userId: UserId, deviceId: DeviceId, after: StreamPosition, limit: number): readonly WaitingMessage[];
  };
  readonly isCrossSigningKey: (userId: UserId, name: string) => boolean;
  readonly deviceKeys: Pick<DeviceKeys, 'upload'>;
  readonly store: DehydratedDeviceStore;
}

/** Devices that gather keys for users who have no other in use (MSC3814). A user has one at most. */
export interface DehydratedDevices {
  /**
   * Puts a device, with its keys, in the place of the one there was, whose messages are lost.
   * @throws MatrixError M_INVALID_PARAM if it is a device in use, M_FORBIDDEN if it is called like a cross-signing key,
   * M_TOO_LARGE, and what uploading keys throws
   */
  put(userId: UserId, device: DehydratedDevice & KeyUpload & { readonly displayName: string | undefined }): void;
  /** @throws MatrixError M_NOT_FOUND */
  get(userId: UserId): DehydratedDevice;
  /** Removes the device with its keys and messages, and says which it was. @throws MatrixError M_NOT_FOUND */
  remove(userId: UserId): DeviceId;
  /**
   * Messages for the device that were sent after `after`. They stay, so that whoever was interrupted can begin anew.
   * @throws MatrixError M_FORBIDDEN if it is not the user's dehydrated device
   */
  listMessages(
    userId: UserId,
    deviceId: string,
    page: { readonly after: StreamPosition; readonly limit: number },
  ): { readonly messages: readonly WaitingMessage[]; readonly isLast: boolean };
  isDehydrated(userId: UserId, deviceId: string): boolean;
  /** A device is gone, by whatever way. */
  deviceRemoved(tx: WriteTx, userId: UserId, deviceId: DeviceId): void;
}

export function createDehydratedDevices(needs: DehydratedDevicesNeeds): DehydratedDevices {
  const { db, devices, toDevice, deviceKeys, store } = needs;

  function get(userId: UserId): DehydratedDevice {
    const found = store.find(userId);
    if (found === undefined) throw notFound('There is no dehydrated device');
    return found;
  }

  return {
    get,

    put: (userId, { deviceId, data, displayName, ...keys }) => {
      if (Buffer.byteLength(JSON.stringify(data)) > MAX_DATA_BYTES) {
        throw tooLarge(`device_data: at most ${MAX_DATA_BYTES} bytes`);
      }
      if (needs.isCrossSigningKey(userId, deviceId)) throw forbidden('A cross-signing key of yours is called so');
      const old = store.find(userId);
      // Its owner is logged in with it, and would get keys of which they know nothing.
      if (old?.deviceId !== deviceId && devices.exists(userId, deviceId)) {
        throw invalidParam('A device of yours that is in use is called so');
      }
      db.write((tx) => {
        if (old !== undefined && old.deviceId !== deviceId) devices.remove(tx, userId, [old.deviceId]);
        devices.ensure(tx, userId, deviceId, displayName);
        deviceKeys.upload(userId, deviceId, keys);
        store.put(tx, userId, { deviceId, data });
      });
    },

    remove: (userId) => {
      const { deviceId } = get(userId);
      db.write((tx) => devices.remove(tx, userId, [deviceId]));
      return deviceId;
    },

    listMessages: (userId, deviceId, { after, limit }) => {
      const found = store.find(userId);
      if (found === undefined) throw forbidden('There is no dehydrated device');
      if (found.deviceId !== deviceId) throw forbidden('This is not your dehydrated device');
      const waiting = toDevice.listWaiting(userId, found.deviceId, after, limit + 1);
      return { messages: waiting.slice(0, limit), isLast: waiting.length <= limit };
    },

    isDehydrated: (userId, deviceId) => store.find(userId)?.deviceId === deviceId,

    deviceRemoved: (tx, userId, deviceId) => store.remove(tx, userId, deviceId),
  };
}
