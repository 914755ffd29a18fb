import type { KeyRing } from '../../federation/types.ts';
import { createEventIdOf } from '../../matrix/auth-rules/auth-state.ts';
import { parsePdu } from '../../matrix/events/parse.ts';
import { type StrippedStateEvent, stripStateEvent } from '../../matrix/events/strip.ts';
import { isUserId, type RoomId } from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonValue } from '../../matrix/json.ts';
import type { RoomVersion } from '../../matrix/room-versions.ts';

/** A room's face is some ten events; more than this many are not kept. */
const MAX_EVENTS = 100;
/** Of one stripped event as JSON, UTF-16 units. */
const MAX_EVENT = 65_536;
const MAX_ALL = 524_288;

/**
 * The stripped state out of what a server sent of a room with an invite or for a knock (`invite_room_state`,
 * `knock_room_state`). Whole events have to be of this room and rightly signed. Before room version 12 servers may still
 * send events that are stripped already, which prove nothing. What fits neither is left out.
 */
export async function readShownState(
  list: JsonValue | undefined,
  room: { readonly roomId: RoomId; readonly version: RoomVersion },
  keyRing: Pick<KeyRing, 'checkEvent'>,
): Promise<StrippedStateEvent[]> {
  const shown: StrippedStateEvent[] = [];
  let units = 0;
  for (const entry of Array.isArray(list) ? list.slice(0, MAX_EVENTS) : []) {
    const event = await readEntry(entry, room, keyRing);
    if (event === undefined) continue;
    const { length } = JSON.stringify(event);
    if (length > MAX_EVENT || units + length > MAX_ALL) continue;
    units += length;
    shown.push(event);
  }
  return shown;
}

async function readEntry(
  entry: JsonValue,
  { roomId, version }: { readonly roomId: RoomId; readonly version: RoomVersion },
  keyRing: Pick<KeyRing, 'checkEvent'>,
): Promise<StrippedStateEvent | undefined> {
  if (!isJsonObject(entry)) return undefined;
  const parsed = parsePdu(entry, version);
  if (parsed.ok) {
    const { event } = parsed;
    if (event.roomId !== roomId || event.stateKey === undefined) return undefined;
    return (await keyRing.checkEvent(event)) ? stripStateEvent(event) : undefined;
  }
  // Where the room ID names the create event nothing has to be believed.
  if (createEventIdOf(roomId) !== undefined || entry['signatures'] !== undefined) return undefined;
  const { type, state_key: stateKey, sender, content } = entry;
  if (typeof type !== 'string' || typeof stateKey !== 'string' || !isJsonObject(content)) return undefined;
  if (typeof sender !== 'string' || !isUserId(sender)) return undefined;
  return { type, state_key: stateKey, sender, content };
}
