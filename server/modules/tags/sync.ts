import type { RoomId } from '../../matrix/identifiers.ts';
import type { RoomSyncPart, SyncContribution } from '../../sync/types.ts';
import type { TagStore, Tags } from './store.ts';

function part(tags: Tags): RoomSyncPart {
  return { accountData: [{ type: 'm.tag', content: { tags } }] };
}

/** Tags as the m.tag account data of their rooms. */
export function tagContribution(store: TagStore): SyncContribution {
  return {
    name: 'tags',
    sliding: 'account_data',
    contribute: (window) => {
      const rooms = new Map<RoomId, RoomSyncPart>();
      for (const { roomId, tags } of store.listSince(window.userId, window.since, window.now)) {
        // A client that knows nothing yet need not hear that there are none.
        if (!window.initial || Object.keys(tags).length > 0) rooms.set(roomId, part(tags));
      }
      if (!window.initial) {
        for (const [roomId, room] of window.joined) {
          const tags = room.newlyJoined ? store.find(window.userId, roomId) : undefined;
          if (tags !== undefined) rooms.set(roomId, part(tags));
        }
      }
      return { rooms };
    },
  };
}
