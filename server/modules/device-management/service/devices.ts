import { MatrixError, notFound } from '../../../matrix/errors.ts';
import type { DeviceId, UserId } from '../../../matrix/identifiers.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import type { Connection, Device, DeviceStore } from '../store.ts';
import type { Sightings } from './sightings.ts';

/** Longest display name in characters. */
const MAX_DISPLAY_NAME_LENGTH = 100;

/** Is told of a device, in the transaction that changes it. */
type DeviceHook = (tx: WriteTx, userId: UserId, deviceId: DeviceId) => void;

export interface DeviceHooks {
  /** A device is new, or has another name. */
  readonly onDeviceChanged: readonly DeviceHook[];
  /** A device is removed: its tokens, keys, messages and pushers are to go. */
  readonly onDeviceDeleted: readonly DeviceHook[];
}

/** The devices of this server's users. */
export interface Devices {
  find(userId: UserId, deviceId: DeviceId): Device | undefined;
  exists(userId: UserId, deviceId: DeviceId): boolean;
  /** Oldest first. */
  list(userId: UserId): readonly Device[];
  /** Where a user's devices were seen, newest first. */
  listConnections(userId: UserId): readonly Connection[];
  /** Makes the device unless it is there, and says whether it did. The name is only for a new one; a long one is cut. */
  ensure(tx: WriteTx, userId: UserId, deviceId: DeviceId, displayName: string | undefined): boolean;
  /** Throws M_NOT_FOUND, or M_TOO_LARGE for a name of more than 100 characters. */
  rename(userId: UserId, deviceId: DeviceId, displayName: string): void;
  /** Removes devices and all that hangs on them. Unknown ones are passed over. */
  remove(tx: WriteTx, userId: UserId, deviceIds: readonly DeviceId[]): void;
  /** Removes every device of a user but `except`. */
  removeAll(tx: WriteTx, userId: UserId, except?: DeviceId): void;
  /** A request was made with the device's token. Costs no write of its own. */
  seen(userId: UserId, deviceId: DeviceId, ip: string, userAgent: string | undefined): void;
}

export function createDevices(needs: {
  readonly db: Database;
  readonly clock: Pick<Clock, 'now'>;
  readonly store: DeviceStore;
  readonly sightings: Sightings;
  readonly hooks: DeviceHooks;
}): Devices {
  const { db, clock, store, sightings, hooks } = needs;

  function remove(tx: WriteTx, userId: UserId, deviceIds: readonly DeviceId[]): void {
    for (const deviceId of deviceIds) {
      if (!store.remove(tx, userId, deviceId)) continue;
      sightings.forget(userId, deviceId);
      for (const hook of hooks.onDeviceDeleted) hook(tx, userId, deviceId);
    }
  }

  return {
    find: (userId, deviceId) => {
      const device = store.find(userId, deviceId);
      return device === undefined ? undefined : sightings.complete(device);
    },
    exists: (userId, deviceId) => store.find(userId, deviceId) !== undefined,
    list: (userId) => store.list(userId).map((device) => sightings.complete(device)),
    listConnections: (userId) => {
      sightings.flush();
      return store.listConnections(userId);
    },
    ensure: (tx, userId, deviceId, displayName) => {
      const name = displayName === undefined ? undefined : cut(displayName);
      const isNew = store.insert(tx, { userId, deviceId, displayName: name, createdMs: clock.now() });
      if (isNew) for (const hook of hooks.onDeviceChanged) hook(tx, userId, deviceId);
      return isNew;
    },
    rename: (userId, deviceId, displayName) => {
      const device = store.find(userId, deviceId);
      if (device === undefined) throw notFound('There is no such device');
      if (cut(displayName) !== displayName) {
        throw new MatrixError('M_TOO_LARGE', `A device's name has at most ${MAX_DISPLAY_NAME_LENGTH} characters`, {
          status: 400,
        });
      }
      if (device.displayName === displayName) return;
      db.write((tx) => {
        store.setDisplayName(tx, userId, deviceId, displayName);
        for (const hook of hooks.onDeviceChanged) hook(tx, userId, deviceId);
      });
    },
    remove,
    removeAll: (tx, userId, except) => {
      const ids = store.list(userId).map((device) => device.deviceId);
      remove(
        tx,
        userId,
        ids.filter((id) => id !== except),
      );
    },
    seen: (userId, deviceId, ip, userAgent) => sightings.seen(userId, deviceId, ip, userAgent),
  };
}

function cut(name: string): string {
  // By code points: half a character would not be text any more.
  const characters = Array.from(name);
  return characters.length <= MAX_DISPLAY_NAME_LENGTH ? name : characters.slice(0, MAX_DISPLAY_NAME_LENGTH).join('');
}
