import { purgeBy, type RoomPurge } from '../../rooms/purge/hook.ts';
import type { Database } from '../../storage/types.ts';

/** What is unread in a room, and what was to be told of it. The rules that users made for it stay with them. */
export function pushPurge(db: Database): RoomPurge {
  const purge = purgeBy(db, {
    room: [
      `DELETE FROM push_mail_throttles WHERE (pusher_nid, room_id) IN (
        SELECT pusher_nid, room_id FROM push_mail_throttles WHERE room_id = ? LIMIT ?)`,
    ],
    users: [
      `DELETE FROM push_outbox WHERE (user_id, position) IN (
        SELECT user_id, o.position FROM push_unread AS u JOIN push_outbox AS o USING (user_id, unread_nid)
        WHERE user_id = ? AND u.room_id = ? LIMIT ?)`,
      `DELETE FROM push_notifications WHERE (unread_nid, highlight, position) IN (
        SELECT unread_nid, highlight, n.position FROM push_unread AS u CROSS JOIN push_notifications AS n USING (unread_nid)
        WHERE u.user_id = ? AND u.room_id = ? LIMIT ?)`,
      `DELETE FROM push_unread WHERE unread_nid IN (
        SELECT unread_nid FROM push_unread WHERE user_id = ? AND room_id = ? LIMIT ?)`,
    ],
  });
  // With the count goes all that was counted, which somebody who never reads may have a lot of.
  return { ...purge, beforeLeaving: (...order) => purge.room?.(...order) ?? 0 };
}
