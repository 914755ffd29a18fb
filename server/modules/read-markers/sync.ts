import type { RoomId } from '../../matrix/identifiers.ts';
import type { RoomSyncPart, SyncContribution } from '../../sync/types.ts';
import type { ReadMarker, ReadMarkerStore } from './store.ts';

function part({ eventId }: ReadMarker): RoomSyncPart {
  return { accountData: [{ type: 'm.fully_read', content: { event_id: eventId } }] };
}

/** Markers as the m.fully_read account data of their rooms. */
export function readMarkerContribution(store: ReadMarkerStore): SyncContribution {
  return {
    name: 'read-markers',
    sliding: 'account_data',
    contribute: ({ userId, since, now, initial, joined }) => {
      const rooms = new Map<RoomId, RoomSyncPart>();
      for (const marker of store.listSince(userId, since, now)) rooms.set(marker.roomId, part(marker));
      if (!initial) {
        for (const [roomId, { newlyJoined }] of joined) {
          const marker = newlyJoined ? store.find(userId, roomId) : undefined;
          if (marker !== undefined) rooms.set(roomId, part(marker));
        }
      }
      return { rooms };
    },
  };
}
