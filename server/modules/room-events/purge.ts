import { purgeBy, type RoomPurge } from '../../rooms/purge/hook.ts';
import type { Database } from '../../storage/types.ts';

/** When messages are to vanish by themselves. */
export function expiryPurge(db: Database): RoomPurge {
  return purgeBy(db, {
    events: [`DELETE FROM ephemeral_messages WHERE event_id IN (SELECT value FROM json_each(?))`],
  });
}
