import { purgeBy, type RoomPurge } from '../../rooms/purge/hook.ts';
import type { Database } from '../../storage/types.ts';

/** Whether guests may be in a room. */
export function guestAccessPurge(db: Database): RoomPurge {
  return purgeBy(db, {
    room: [`DELETE FROM guest_access_changes WHERE room_id = ? AND ? > 0`],
  });
}
