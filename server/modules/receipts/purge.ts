import { purgeBy, type RoomPurge } from '../../rooms/purge/hook.ts';
import type { Database } from '../../storage/types.ts';

/** How far people have read a room. */
export function receiptPurge(db: Database): RoomPurge {
  return purgeBy(db, {
    room: [
      `DELETE FROM receipts WHERE (room_id, user_id, type, thread_id) IN (
        SELECT room_id, user_id, type, thread_id FROM receipts WHERE room_id = ? LIMIT ?)`,
    ],
  });
}
