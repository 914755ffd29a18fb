import type { RoomId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { RoomSyncPart, SyncContribution } from '../../sync/types.ts';
import type { AccountDataStore, AccountDatum } from './store.ts';

function toEvent({ type, content }: AccountDatum): JsonObject {
  return { type, content };
}

/** Account data that changed in the window, and all of a room's for a room that is new to the viewer. */
export function accountDataContribution(store: AccountDataStore): SyncContribution {
  return {
    name: 'account-data',
    sliding: 'account_data',
    contribute: (window) => {
      const global: JsonObject[] = [];
      const rooms = new Map<RoomId, JsonObject[]>();
      for (const datum of store.listSince(window.userId, window.since, window.now)) {
        // Who begins anew has never heard of it.
        if (datum.deleted && window.initial) continue;
        if (datum.roomId === undefined) global.push(toEvent(datum));
        else rooms.set(datum.roomId, [...(rooms.get(datum.roomId) ?? []), toEvent(datum)]);
      }
      if (!window.initial) {
        for (const [roomId, room] of window.joined) {
          if (!room.newlyJoined) continue;
          const all = store.listRoom(window.userId, roomId);
          if (all.length > 0) rooms.set(roomId, all.map(toEvent));
        }
      }
      const parts = new Map<RoomId, RoomSyncPart>();
      for (const [roomId, accountData] of rooms) parts.set(roomId, { accountData });
      return { accountData: global, rooms: parts };
    },
  };
}
