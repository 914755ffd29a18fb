import type { RoomId, UserId } from '../../../matrix/identifiers.ts';
import type { WriteTx } from '../../../storage/types.ts';
import type { DeviceListStore } from '../store/device-lists.ts';

/** Tells those concerned that devices or keys of a user changed. */
export interface DeviceLists {
  /** For everyone who shares a room with the user, and their own other devices. */
  changed(tx: WriteTx, userId: UserId): void;
  /** For one viewer alone: what they signed of the user's keys. */
  changedFor(tx: WriteTx, userId: UserId, viewer: UserId): void;
}

/** Told of each change, to pass it on to other servers. */
export interface DeviceListSender {
  send(tx: WriteTx, userId: UserId): void;
}

export function createDeviceLists(needs: {
  readonly store: DeviceListStore;
  readonly rooms: { listRoomIdsOf(userId: UserId): readonly RoomId[] };
  readonly sender?: DeviceListSender | undefined;
}): DeviceLists {
  const { store, rooms, sender } = needs;
  return {
    changed: (tx, userId) => {
      store.put(tx, userId);
      tx.touch(`user:${userId}`);
      // Whoever waits for news of a shared room is one who should hear of it.
      for (const roomId of rooms.listRoomIdsOf(userId)) tx.touch(`room:${roomId}`);
      sender?.send(tx, userId);
    },
    changedFor: (tx, userId, viewer) => {
      store.put(tx, userId, viewer);
      tx.touch(`user:${viewer}`);
    },
  };
}
