import { purgeBy, type RoomPurge } from '../../rooms/purge/hook.ts';
import type { Database } from '../../storage/types.ts';

/** What events say of others. */
export function relationPurge(db: Database): RoomPurge {
  return purgeBy(db, {
    events: [`DELETE FROM relations WHERE child_id IN (SELECT value FROM json_each(?))`],
  });
}
