import type { DeviceId, RoomId, UserId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import type { WriteTx } from '../../storage/types.ts';
import { type KeyRoutesNeeds, keyRoutes } from './routes.ts';
import { createCrossSigning } from './service/cross-signing.ts';
import { createDeviceKeys } from './service/device-keys.ts';
import { createDeviceLists, type DeviceListSender } from './service/device-lists.ts';
import { CrossSigningStore } from './store/cross-signing.ts';
import { DeviceKeyStore } from './store/device-keys.ts';
import { DeviceListStore } from './store/device-lists.ts';
import { OneTimeKeyStore } from './store/one-time-keys.ts';
import { encryptionContribution } from './sync.ts';

export { migrations } from './schema.ts';

export interface EncryptionNeeds extends KeyRoutesNeeds {
  readonly rooms: {
    shareRoom(a: UserId, b: UserId): boolean;
    /** Rooms the user is joined to. */
    listRoomIdsOf(userId: UserId): readonly RoomId[];
  };
  readonly devices: {
    exists(userId: UserId, deviceId: DeviceId): boolean;
    findDisplayName(userId: UserId, deviceId: DeviceId): string | undefined;
  };
  readonly deviceListSender?: DeviceListSender;
}

/** Keys of devices and users (spec: "End-to-End Encryption": key exchange, cross-signing, device lists). */
export function endToEndEncryption(needs: EncryptionNeeds): Module & {
  readonly onDeviceChanged: (tx: WriteTx, userId: UserId, deviceId: DeviceId) => void;
  readonly onDeviceDeleted: (tx: WriteTx, userId: UserId, deviceId: DeviceId) => void;
  readonly onDeactivated: (tx: WriteTx, userId: UserId) => void;
  /** Whether a user has a cross-signing key so called: a device may not be. */
  readonly isCrossSigningKey: (userId: UserId, name: string) => boolean;
} {
  const { db, devices, rooms } = needs;
  const keys = new DeviceKeyStore(db);
  const oneTimeKeys = new OneTimeKeyStore(db);
  const crossSigningStore = new CrossSigningStore(db);
  const deviceListStore = new DeviceListStore(db);
  const deviceLists = createDeviceLists({ store: deviceListStore, rooms, sender: needs.deviceListSender });
  const deviceKeys = createDeviceKeys({
    db,
    devices,
    keys,
    oneTimeKeys,
    crossSigning: crossSigningStore,
    deviceLists,
  });
  const crossSigning = createCrossSigning({
    db,
    devices,
    deviceKeys: keys,
    store: crossSigningStore,
    deviceLists,
  });
  return {
    name: 'end-to-end-encryption',
    routes: keyRoutes({ ...needs, deviceKeys, crossSigning, deviceLists: deviceListStore }),
    sync: [encryptionContribution({ deviceLists: deviceListStore, deviceKeys, rooms })],
    onDeviceChanged: (tx, userId) => deviceLists.changed(tx, userId),
    onDeviceDeleted: (tx, userId, deviceId) => deviceKeys.deviceRemoved(tx, userId, deviceId),
    onDeactivated: (tx, userId) => {
      crossSigningStore.removeUser(tx, userId);
      deviceLists.changed(tx, userId);
    },
    isCrossSigningKey: (userId, name) => crossSigningStore.isPublicKey(userId, name),
  };
}
