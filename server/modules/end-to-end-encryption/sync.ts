import type { UserId } from '../../matrix/identifiers.ts';
import type { SyncContribution, SyncWindow } from '../../sync/types.ts';
import type { DeviceKeys } from './service/device-keys.ts';
import type { DeviceListStore } from './store/device-lists.ts';

interface SharedRooms {
  shareRoom(a: UserId, b: UserId): boolean;
}

/** Whose devices a client has to look at anew, and whose it may forget (spec: "Extensions to /sync", `device_lists`). */
export function changedUsers(
  window: SyncWindow,
  store: DeviceListStore,
  rooms: SharedRooms,
): { readonly changed: UserId[]; readonly left: UserId[] } {
  const { userId: viewer, since, now } = window;
  const moved = store
    .listChanged(viewer, since, now)
    .filter(({ userId, forViewer }) => forViewer || userId === viewer || rooms.shareRoom(viewer, userId))
    .map(({ userId }) => userId);
  return {
    // Who is invited may be let read what was said meanwhile, so clients want their devices already.
    changed: [...new Set([...moved, ...window.newlySharing(), ...window.newlyInvited()])],
    left: [...window.noLongerSharing()],
  };
}

export function encryptionContribution(needs: {
  readonly deviceLists: DeviceListStore;
  readonly deviceKeys: DeviceKeys;
  readonly rooms: SharedRooms;
}): SyncContribution {
  const { deviceLists, deviceKeys, rooms } = needs;
  return {
    name: 'end-to-end-encryption',
    sliding: 'e2ee',
    contribute: (window) => {
      const { userId, requester, initial } = window;
      const { deviceId } = requester;
      return {
        // A client that knows nothing asks for the devices of whom it meets anyway.
        ...(initial ? {} : { deviceLists: changedUsers(window, deviceLists, rooms) }),
        ...(deviceId === undefined
          ? {}
          : {
              oneTimeKeysCount: deviceKeys.countOneTimeKeys(userId, deviceId),
              unusedFallbackKeyTypes: deviceKeys.listUnusedFallback(userId, deviceId),
            }),
      };
    },
  };
}
