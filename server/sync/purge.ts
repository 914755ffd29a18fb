import type { UserId } from '../matrix/identifiers.ts';
import { purgeBy, type RoomPurge } from '../rooms/purge/hook.ts';
import type { Database } from '../storage/types.ts';

/** What is remembered of a room that devices were told of, and by `lists` of each user's rooms. */
export function syncPurge(db: Database, lists: readonly { forget(users: readonly UserId[]): void }[]): RoomPurge {
  return {
    ...purgeBy(db, {
      room: [
        // From one part of a connection to the next: what all connections hold of all rooms is much.
        `WITH RECURSIVE parts (nid, part) AS (
          SELECT connection_nid, (SELECT min(part) FROM sliding_sent AS s WHERE s.connection_nid = c.connection_nid)
          FROM sliding_connections AS c
          UNION ALL
          SELECT nid, (SELECT min(s.part) FROM sliding_sent AS s WHERE s.connection_nid = nid AND s.part > parts.part)
          FROM parts WHERE part IS NOT NULL)
        DELETE FROM sliding_sent WHERE (connection_nid, part, room_id) IN (
          SELECT nid, part, ? FROM parts WHERE part IS NOT NULL) AND ? > 0`,
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
