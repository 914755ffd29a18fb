import { purgeBy, type RoomPurge } from '../../rooms/purge/hook.ts';
import type { Database } from '../../storage/types.ts';

/** What waits to be told to application services. */
export function appservicePurge(db: Database): RoomPurge {
  return purgeBy(db, {
    events: [`DELETE FROM appservice_events WHERE event_id IN (SELECT value FROM json_each(?))`],
  });
}
