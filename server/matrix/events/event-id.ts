import { encodeBase64, encodeBase64Url } from '../base64.ts';
import { type EventId, isEventId, isRoomId, isServerName, type RoomId, type ServerName } from '../identifiers.ts';
import type { RoomVersion } from '../room-versions.ts';
import type { Pdu } from './event.ts';
import { referenceText, sha256 } from './hash.ts';

/**
 * The ID of an event by the rules of its room's version: the one it carries (1, 2) or its reference hash (3 on). Undefined
 * where versions 1 and 2 require an ID and the PDU has no proper one. Throws CanonicalJsonError for what has no canonical
 * form.
 */
export function findEventId(pdu: Pdu, version: RoomVersion): EventId | undefined {
  if (version.eventIds !== 'given') return eventIdFromText(referenceText(pdu, version), version);
  const given = pdu['event_id'];
  return typeof given === 'string' && givenIdServer(given) !== undefined && isEventId(given) ? given : undefined;
}

/** The ID of the event whose reference text (see `referenceText`) this is, in room versions that hash. */
export function eventIdFromText(text: string, version: RoomVersion): EventId {
  const hash = sha256(text);
  return asEventId(version.eventIds === 'hash-base64' ? encodeBase64(hash) : encodeBase64Url(hash));
}

/** The server that gave an event of room versions 1 or 2 its ID (`$opaque:server`); undefined where it names none. */
export function givenIdServer(eventId: string): ServerName | undefined {
  const colon = eventId.indexOf(':');
  const server = eventId.slice(colon + 1);
  return colon > 1 && isServerName(server) ? server : undefined;
}

/** Room version 12: the room a create event makes (spec: rooms/v12, "Event format"). */
export function roomIdOfCreate(createEventId: EventId): RoomId {
  const id = `!${createEventId.slice(1)}`;
  if (!isRoomId(id)) throw new TypeError('the event ID of a create event was no hash');
  return id;
}

/** Room version 12: the create event of a room, which its ID names. */
export function createEventIdOf(roomId: RoomId): EventId {
  return asEventId(roomId.slice(1));
}

function asEventId(opaque: string): EventId {
  const id = `$${opaque}`;
  if (!isEventId(id)) throw new TypeError('a hash made no event ID');
  return id;
}
