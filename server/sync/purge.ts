import type { UserId } from '../matrix/identifiers.ts';
import { purgeBy, type RoomPurge } from '../rooms/purge/hook.ts';
import type { Database } from '../storage/types.ts';

/** What is remembered of a room that devices were told of, and by `lists` of each user's rooms. */
export function syncPurge(db: Database, lists: readonly { forget(users: readonly UserId[]): void }[]): RoomPurge {
  return {
    ...purgeBy(db, {
      room: [
        `DELETE FROM sliding_sent WHERE (connection_nid, part, room_id) IN (
          SELECT connection_nid, part, room_id FROM sliding_sent WHERE room_id = ? LIMIT ?)`,
        'DELETE FROM sliding_bumps WHERE room_id = ? AND ? > 0',
      ],
    }),
    hide: (tx, { users }) => {
      const forget = (): void => {
        for (const list of lists) list.forget(users);
      };
      forget();
      tx.onRollback(forget);
    },
  };
}
