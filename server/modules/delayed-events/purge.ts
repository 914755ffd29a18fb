import { purgeBy, type RoomPurge } from '../../rooms/purge/hook.ts';
import type { Database } from '../../storage/types.ts';

/** What was to be sent into a room later. */
export function delayedEventPurge(db: Database): RoomPurge {
  return purgeBy(db, {
    room: [
      `DELETE FROM delayed_events WHERE delay_id IN (
        SELECT delay_id FROM delayed_events WHERE room_id = ? LIMIT ?)`,
    ],
  });
}
