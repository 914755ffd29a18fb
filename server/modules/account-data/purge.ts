import { purgeBy, type RoomPurge } from '../../rooms/purge/hook.ts';
import type { Database } from '../../storage/types.ts';

/** What users keep with a room. */
export function accountDataPurge(db: Database): RoomPurge {
  return purgeBy(db, {
    users: [
      `DELETE FROM account_data WHERE (user_id, room_id, type) IN (
        SELECT user_id, room_id, type FROM account_data WHERE user_id = ? AND room_id = ? LIMIT ?)`,
    ],
  });
}
