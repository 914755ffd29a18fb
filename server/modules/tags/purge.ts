import { purgeBy, type RoomPurge } from '../../rooms/purge/hook.ts';
import type { Database } from '../../storage/types.ts';

/** The tags on a room. */
export function tagPurge(db: Database): RoomPurge {
  return purgeBy(db, {
    users: [`DELETE FROM room_tags WHERE user_id = ? AND room_id = ? AND ? > 0`],
  });
}
