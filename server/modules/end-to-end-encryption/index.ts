import type { Destinations, EduSender, FederationClient } from '../../federation/types.ts';
import type { DeviceId, UserId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import type { MembershipReader, SharingReader } from '../../rooms/types.ts';
import type { StreamPosition, WriteTx } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import type { Random } from '../../util/random.ts';
import { dehydratedDeviceRoutes } from './dehydrated-devices/routes.ts';
import { createDehydratedDevices, type DehydratedDevicesNeeds } from './dehydrated-devices/service.ts';
import { DehydratedDeviceStore } from './dehydrated-devices/store.ts';
import { keyBackup } from './key-backup/key-backup.ts';
import { type KeyRoutesNeeds, keyRoutes } from './routes/client.ts';
import { federationKeyRoutes } from './routes/federation.ts';
import { createCrossSigning } from './service/cross-signing.ts';
import { createDeviceKeys, type DeviceKeys } from './service/device-keys.ts';
import { createDeviceLists } from './service/device-lists.ts';
import { createOutside, type OutsideNeeds } from './service/outside.ts';
import { CrossSigningStore } from './store/cross-signing.ts';
import { DeviceKeyStore } from './store/device-keys.ts';
import { DeviceListStore } from './store/device-lists.ts';
import { OneTimeKeyStore } from './store/one-time-keys.ts';
import { OwnChangeStore } from './store/own-changes.ts';
import { RemoteListStore } from './store/remote-lists.ts';
import { encryptionContribution } from './sync.ts';

export { migrations } from './schema.ts';

/** The post office, where this server has dealings with others. */
export interface EncryptionFederation {
  readonly client: Pick<FederationClient, 'request'>;
  readonly sender: Pick<EduSender, 'sendDurably'>;
  readonly destinations: Pick<Destinations, 'onRecovered'>;
}

export interface EncryptionNeeds extends Omit<KeyRoutesNeeds, 'rooms'> {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly rooms: Pick<
    MembershipReader,
    'shareRoom' | 'isJoined' | 'listLocalJoined' | 'listServers' | 'membershipAt' | 'listRoomsOf'
  > &
    SharingReader;
  readonly devices: DehydratedDevicesNeeds['devices'] & {
    findDisplayName(userId: UserId, deviceId: DeviceId): string | undefined;
  };
  readonly toDevice: DehydratedDevicesNeeds['toDevice'];
  readonly settings: {
    /** Whether other servers are told the names of devices. */
    readonly namesForServers: boolean;
  };
  readonly federation?: EncryptionFederation | undefined;
}

/** What the parts of this module ask about rooms. */
function roomsOf(members: EncryptionNeeds['rooms']): OutsideNeeds['rooms'] & Pick<MembershipReader, 'shareRoom'> {
  return {
    shareRoom: (a, b) => members.shareRoom(a, b),
    isJoined: (roomId, userId) => members.isJoined(roomId, userId),
    listRoomIdsOf: (userId) => members.listRoomsOf(userId, ['join']).map(({ roomId }) => roomId),
    listLocalJoined: (roomId) => members.listLocalJoined(roomId),
    listServers: (roomId) => members.listServers(roomId),
    membershipAt: (roomId, userId, position) => members.membershipAt(roomId, userId, position),
    hasSharedSince: (userId, since) => members.hasSharedSince(userId, since),
  };
}

/** Keys of devices and users (spec: "End-to-End Encryption": key exchange, cross-signing, device lists, backups). */
export function endToEndEncryption(needs: EncryptionNeeds): Module & {
  readonly onDeviceChanged: (tx: WriteTx, userId: UserId, deviceId: DeviceId) => void;
  readonly onDeviceDeleted: (tx: WriteTx, userId: UserId, deviceId: DeviceId) => void;
  readonly onDeactivated: (tx: WriteTx, userId: UserId) => void;
  /** Whether a user has a cross-signing key so called: a device may not be. */
  readonly isCrossSigningKey: (userId: UserId, name: string) => boolean;
  /** Whether it is the user's dehydrated device: nobody logs in with it, and it does not have to be used to stay. */
  readonly isDehydrated: (userId: UserId, deviceId: string) => boolean;
  /** Users whose devices or keys changed in (since, now]. */
  readonly listChangedUsers: (since: StreamPosition, now: StreamPosition) => readonly UserId[];
  /** What a device has left. */
  readonly keyCounts: Pick<DeviceKeys, 'countOneTimeKeys' | 'listUnusedFallback'>;
} {
  const { db, clock, serverName, devices, settings, federation } = needs;
  const rooms = roomsOf(needs.rooms);
  const keys = new DeviceKeyStore(db);
  const oneTimeKeys = new OneTimeKeyStore(db);
  const crossSigningStore = new CrossSigningStore(db);
  const deviceListStore = new DeviceListStore(db);
  const ownChanges = new OwnChangeStore(db);
  const remoteLists = new RemoteListStore(db);
  const deviceLists = createDeviceLists({ store: deviceListStore, ownChanges, rooms });
  const deviceKeys = createDeviceKeys({
    db,
    devices,
    keys,
    oneTimeKeys,
    crossSigning: crossSigningStore,
    deviceLists,
    namesForServers: settings.namesForServers,
  });
  const crossSigning = createCrossSigning({
    db,
    clock,
    devices,
    deviceKeys: keys,
    store: crossSigningStore,
    deviceLists,
  });
  const outside =
    federation === undefined
      ? undefined
      : createOutside({
          ...needs,
          ...federation,
          rooms,
          ownChanges,
          crossSigningStore,
          deviceLists,
          deviceKeys,
          crossSigning,
        });
  const backup = keyBackup(needs);
  const dehydrated = createDehydratedDevices({
    ...needs,
    deviceKeys,
    store: new DehydratedDeviceStore(db),
    isCrossSigningKey: (userId, name) => crossSigningStore.isPublicKey(userId, name),
  });
  return {
    name: 'end-to-end-encryption',
    routes: [
      ...backup.routes,
      ...dehydratedDeviceRoutes(dehydrated),
      ...keyRoutes({ ...needs, deviceKeys, crossSigning, deviceLists: deviceListStore, remote: outside?.remote }),
      ...federationKeyRoutes({ db, clock, serverName, rooms, deviceKeys, crossSigning, ownChanges }),
    ],
    sync: [encryptionContribution({ deviceLists: deviceListStore, deviceKeys, rooms })],
    ...outside?.parts,
    afterRestore: (tx) => {
      // Some were given out since, and a key that is given out twice breaks what it is used for. Clients see that there are
      // none and upload new ones.
      oneTimeKeys.removeAllKeys(tx);
      // Other servers take a first update that follows no other as the reason to ask for the whole list; clients ask anyway.
      ownChanges.removeAllTold(tx);
      for (const { userId, change } of ownChanges.listAll()) deviceLists.changed(tx, userId, [change]);
      remoteLists.putAllStale(tx);
      backup.afterRestore(tx);
    },
    start: () => {
      backup.start();
      outside?.parts.start?.();
    },
    stop: async () => {
      await backup.stop();
      await outside?.parts.stop?.();
    },
    onDeviceChanged: (tx, userId, deviceId) => deviceLists.changed(tx, userId, [{ device: deviceId }]),
    onDeviceDeleted: (tx, userId, deviceId) => {
      dehydrated.deviceRemoved(tx, userId, deviceId);
      deviceKeys.deviceRemoved(tx, userId, deviceId);
    },
    onDeactivated: (tx, userId) => {
      crossSigningStore.removeUser(tx, userId);
      backup.removeUser(tx, userId);
      deviceLists.changed(tx, userId, ['cross-signing']);
    },
    isCrossSigningKey: (userId, name) => crossSigningStore.isPublicKey(userId, name),
    isDehydrated: (userId, deviceId) => dehydrated.isDehydrated(userId, deviceId),
    listChangedUsers: (since, now) => deviceListStore.listAllChanged(since, now),
    keyCounts: deviceKeys,
  };
}
