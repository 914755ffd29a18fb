import { purgeBy, type RoomPurge } from '../../rooms/purge/hook.ts';
import type { Database } from '../../storage/types.ts';

/** Where users left off reading. */
export function readMarkerPurge(db: Database): RoomPurge {
  return purgeBy(db, {
    users: [`DELETE FROM read_markers WHERE user_id = ? AND room_id = ? AND ? > 0`],
  });
}
