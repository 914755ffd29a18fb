import type { Destinations, EduSender, FederationClient } from '../../federation/types.ts';
import type { DeviceId, UserId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import type { MembershipReader, SharingReader } from '../../rooms/types.ts';
import type { WriteTx } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import type { Random } from '../../util/random.ts';
import { type KeyRoutesNeeds, keyRoutes } from './routes/client.ts';
import { federationKeyRoutes } from './routes/federation.ts';
import { createCrossSigning } from './service/cross-signing.ts';
import { createDeviceKeys } from './service/device-keys.ts';
import { createDeviceLists } from './service/device-lists.ts';
import { createOutside, type OutsideNeeds } from './service/outside.ts';
import { CrossSigningStore } from './store/cross-signing.ts';
import { DeviceKeyStore } from './store/device-keys.ts';
import { DeviceListStore } from './store/device-lists.ts';
import { OneTimeKeyStore } from './store/one-time-keys.ts';
import { OwnChangeStore } from './store/own-changes.ts';
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
  readonly devices: {
    exists(userId: UserId, deviceId: DeviceId): boolean;
    findDisplayName(userId: UserId, deviceId: DeviceId): string | undefined;
  };
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

/** Keys of devices and users (spec: "End-to-End Encryption": key exchange, cross-signing, device lists). */
export function endToEndEncryption(needs: EncryptionNeeds): Module & {
  readonly onDeviceChanged: (tx: WriteTx, userId: UserId, deviceId: DeviceId) => void;
  readonly onDeviceDeleted: (tx: WriteTx, userId: UserId, deviceId: DeviceId) => void;
  readonly onDeactivated: (tx: WriteTx, userId: UserId) => void;
  /** Whether a user has a cross-signing key so called: a device may not be. */
  readonly isCrossSigningKey: (userId: UserId, name: string) => boolean;
} {
  const { db, serverName, devices, settings, federation } = needs;
  const rooms = roomsOf(needs.rooms);
  const keys = new DeviceKeyStore(db);
  const oneTimeKeys = new OneTimeKeyStore(db);
  const crossSigningStore = new CrossSigningStore(db);
  const deviceListStore = new DeviceListStore(db);
  const ownChanges = new OwnChangeStore(db);
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
  return {
    name: 'end-to-end-encryption',
    routes: [
      ...keyRoutes({ ...needs, deviceKeys, crossSigning, deviceLists: deviceListStore, remote: outside?.remote }),
      ...federationKeyRoutes({ db, serverName, rooms, deviceKeys, crossSigning, ownChanges }),
    ],
    sync: [encryptionContribution({ deviceLists: deviceListStore, deviceKeys, rooms })],
    ...outside?.parts,
    onDeviceChanged: (tx, userId, deviceId) => deviceLists.changed(tx, userId, [{ device: deviceId }]),
    onDeviceDeleted: (tx, userId, deviceId) => deviceKeys.deviceRemoved(tx, userId, deviceId),
    onDeactivated: (tx, userId) => {
      crossSigningStore.removeUser(tx, userId);
      deviceLists.changed(tx, userId, ['cross-signing']);
    },
    isCrossSigningKey: (userId, name) => crossSigningStore.isPublicKey(userId, name),
  };
}
