import { purgeBy, type RoomPurge } from '../../rooms/purge/hook.ts';
import type { Database } from '../../storage/types.ts';

/** The threads of a room. */
export function threadPurge(db: Database): RoomPurge {
  return purgeBy(db, {
    room: [
      `DELETE FROM threads WHERE (room_id, root_id) IN (
        SELECT room_id, root_id FROM threads WHERE room_id = ? LIMIT ?)`,
    ],
  });
}
