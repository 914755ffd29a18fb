import { purgeBy, type RoomPurge } from '../../rooms/purge/hook.ts';
import type { Database } from '../../storage/types.ts';
import type { SearchStore } from './store.ts';

/** The words of a room's events, and how far it was looked through. */
export function searchPurge(db: Database, store: SearchStore): RoomPurge {
  return {
    ...purgeBy(db, { room: ['DELETE FROM search_rooms WHERE room_id = ? AND ? > 0'] }),
    end: (tx, { roomId }) => store.removeName(tx, roomId),
    events: (tx, eventIds) => {
      store.removeMany(tx, eventIds);
      for (const eventId of eventIds) store.dequeue(tx, eventId);
    },
  };
}
