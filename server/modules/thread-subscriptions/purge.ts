import { purgeBy, type RoomPurge } from '../../rooms/purge/hook.ts';
import type { Database } from '../../storage/types.ts';

/** The threads that users follow in a room. */
export function subscriptionPurge(db: Database): RoomPurge {
  return purgeBy(db, {
    users: [
      `DELETE FROM thread_subscriptions WHERE (user_id, room_id, root_id) IN (
        SELECT user_id, room_id, root_id FROM thread_subscriptions WHERE user_id = ? AND room_id = ? LIMIT ?)`,
    ],
  });
}
