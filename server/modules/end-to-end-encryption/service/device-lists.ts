import type { RoomId, UserId } from '../../../matrix/identifiers.ts';
import type { WriteTx } from '../../../storage/types.ts';
import type { DeviceListStore } from '../store/device-lists.ts';
import type { OwnChange, OwnChangeStore } from '../store/own-changes.ts';

/** Tells those concerned that devices or keys of a user changed. */
export interface DeviceLists {
  /** What changed of a local user: for everyone who shares a room with them, and their own other devices. */
  changed(tx: WriteTx, userId: UserId, changes: readonly OwnChange[]): void;
  /** The same of another server's user, for everyone here who shares a room with them. */
  changedElsewhere(tx: WriteTx, userId: UserId): void;
  /** For one viewer alone: what they signed of the user's keys. */
  changedFor(tx: WriteTx, userId: UserId, viewer: UserId): void;
}

export function createDeviceLists(needs: {
  readonly store: DeviceListStore;
  readonly ownChanges: OwnChangeStore;
  readonly rooms: { listRoomIdsOf(userId: UserId): readonly RoomId[] };
}): DeviceLists {
  const { store, ownChanges, rooms } = needs;

  function tell(tx: WriteTx, userId: UserId): void {
    store.put(tx, userId);
    tx.touch(`user:${userId}`);
    // Whoever waits for news of a shared room is one who should hear of it.
    for (const roomId of rooms.listRoomIdsOf(userId)) tx.touch(`room:${roomId}`);
  }

  return {
    changed: (tx, userId, changes) => {
      for (const change of changes) ownChanges.put(tx, userId, change);
      tell(tx, userId);
    },
    changedElsewhere: tell,
    changedFor: (tx, userId, viewer) => {
      store.put(tx, userId, viewer);
      tx.touch(`user:${viewer}`);
    },
  };
}
