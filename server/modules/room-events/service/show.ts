import { setImmediate } from 'node:timers/promises';
import type { EventId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { PersistedEvent } from '../../../rooms/types.ts';
import type { EventViewer } from '../../../sync/client-event.ts';
import type { RoomEventsNeeds } from './needs.ts';

/** Events loaded and formatted in one go. */
const SLICE = 250;

/** Loads and formats events, however many: others get their turn in between. `accept` leaves some out. */
export async function showAll(
  { events, formatter }: Pick<RoomEventsNeeds, 'events' | 'formatter'>,
  eventIds: readonly EventId[],
  viewer: EventViewer,
  accept: (event: PersistedEvent) => boolean = () => true,
): Promise<JsonObject[]> {
  const shown: JsonObject[] = [];
  for (let at = 0; at < eventIds.length; at += SLICE) {
    if (at > 0) await setImmediate();
    const loaded = events.listEvents(eventIds.slice(at, at + SLICE)).filter(accept);
    shown.push(...formatter.format(loaded, viewer));
  }
  return shown;
}
