import { CanonicalJsonError, canonicalJson } from '../canonical-json.ts';
import { type EventId, isEventId, isRoomId, isUserId, MAX_IDENTIFIER_BYTES, type RoomId } from '../identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../json.ts';
import type { RoomVersion } from '../room-versions.ts';
import type { Pdu, RoomEvent } from './event.ts';
import { findEventId, roomIdOfCreate } from './event-id.ts';

/** Largest event in bytes: canonical JSON, signatures included (spec: client-server API, "Size limits"). */
export const MAX_PDU_BYTES = 65_536;
export const MAX_PREV_EVENTS = 20;
export const MAX_AUTH_EVENTS = 10;
/** The deepest an event can stand in the graph; events built there keep this depth. */
export const MAX_DEPTH = Number.MAX_SAFE_INTEGER;

// Room versions 1 to 5 count to 2^63 - 1, which a double can only round up.
const MAX_LOOSE_DEPTH = 2 ** 63;
const HASH_ROOM_ID = /^![0-9A-Za-z_-]{43}$/;

/** Why something is no event of its room version. */
export interface FormatFault {
  readonly ok: false;
  readonly reason: string;
  /** A limit on bytes was overstepped, rather than the format. */
  readonly tooLarge: boolean;
}

export type ParsedPdu = { readonly ok: true; readonly event: RoomEvent } | FormatFault;

export interface ParseOptions {
  /**
   * However many prev and auth events there are: those limits are younger than some rooms, so history is not held to
   * them (spec: server-server API, GET /backfill).
   */
  readonly anyNumberOfReferences?: boolean;
}

/**
 * Reads an event as another server sends it: check 1 of "Checks performed on receipt of a PDU" (server-server API), the
 * format of its room's version and all limits on size. Signatures and hashes are not verified. `unsigned` is left out.
 */
export function parsePdu(json: unknown, version: RoomVersion, options: ParseOptions = {}): ParsedPdu {
  if (!isJsonObject(json)) return fault('the event is not an object');
  const { unsigned: _unsigned, ...pdu } = json;
  const format = readFormat(pdu, version, options);
  if (!format.ok) return format;
  try {
    const text = canonicalJson(pdu, { strict: version.strictCanonicalJson });
    if (!fitsInto(text, MAX_PDU_BYTES)) return tooLarge('the event is larger than 65536 bytes');
    const eventId = findEventId(pdu, version);
    if (eventId === undefined) return fault('event_id is not an event ID of this room version');
    return { ok: true, event: assembleEvent(pdu, version, eventId, format) };
  } catch (error) {
    if (error instanceof CanonicalJsonError) return fault(error.message);
    throw error;
  }
}

/** What `readFormat` read: the fields of RoomEvent that do not rest on the event ID. */
export interface EventFormat
  extends Pick<
    RoomEvent,
    'type' | 'sender' | 'stateKey' | 'content' | 'originServerTs' | 'depth' | 'prevEvents' | 'authEvents'
  > {
  readonly ok: true;
  /** Undefined on the create event of a room whose ID that event makes. */
  readonly roomId: RoomId | undefined;
}

/** Checks every key of a signed PDU against its room's version, but neither the size of the whole nor the event ID. */
export function readFormat(
  pdu: Pdu,
  version: RoomVersion,
  { anyNumberOfReferences = false }: ParseOptions = {},
): EventFormat | FormatFault {
  const { type, sender, content, state_key: stateKey, origin_server_ts: originServerTs, depth } = pdu;
  if (typeof type !== 'string') return fault('type is not a string');
  if (!fitsInto(type, MAX_IDENTIFIER_BYTES)) return tooLarge('type is longer than 255 bytes');
  // NOT-SPEC: no event type may hold NUL, because state maps join type and state key with it. No database of the common
  // servers can hold one either, so no room has such events.
  if (type.includes('\0')) return fault('type holds NUL');
  if (stateKey !== undefined) {
    if (typeof stateKey !== 'string') return fault('state_key is not a string');
    if (!fitsInto(stateKey, MAX_IDENTIFIER_BYTES)) return tooLarge('state_key is longer than 255 bytes');
  }
  if (typeof sender !== 'string' || !isUserId(sender)) return fault('sender is not a user ID');
  if (!isJsonObject(content)) return fault('content is not an object');
  if (typeof originServerTs !== 'number' || !Number.isSafeInteger(originServerTs)) {
    return fault('origin_server_ts is not an integer');
  }
  if (!isDepth(depth, version)) return fault('depth is not an integer within its bounds');

  const roomId = readRoomId(pdu, type, version);
  if (roomId === false) return fault('room_id is not what this room version asks for');
  const prevEvents = readReferences(pdu['prev_events'], version, anyNumberOfReferences ? Infinity : MAX_PREV_EVENTS);
  if (prevEvents === undefined) return fault('prev_events is not a list of at most 20 references');
  const authEvents = readReferences(pdu['auth_events'], version, anyNumberOfReferences ? Infinity : MAX_AUTH_EVENTS);
  if (authEvents === undefined) return fault('auth_events is not a list of at most 10 references');
  if (!isHashes(pdu['hashes'])) return fault('hashes has no sha256');
  if (!isSignatures(pdu['signatures'])) return fault('signatures is not an object of objects of strings');
  if (type === 'm.room.member' && version.restrictedJoins && !hasSoundAuthoriser(content)) {
    return fault('join_authorised_via_users_server is not a user ID');
  }
  return {
    ok: true,
    type,
    sender,
    roomId,
    stateKey,
    content,
    originServerTs,
    depth: Math.min(depth, MAX_DEPTH),
    prevEvents,
    authEvents,
  };
}

/** Puts a RoomEvent together from a PDU whose format was read and whose ID is known. */
export function assembleEvent(pdu: Pdu, version: RoomVersion, eventId: EventId, format: EventFormat): RoomEvent {
  const { type, sender, stateKey, content, originServerTs, depth, prevEvents, authEvents } = format;
  return {
    eventId,
    roomId: format.roomId ?? roomIdOfCreate(eventId),
    type,
    sender,
    stateKey,
    content,
    originServerTs,
    depth,
    prevEvents,
    authEvents,
    redacts: type === 'm.room.redaction' ? readRedacts(pdu, content, version) : undefined,
    pdu,
    version,
  };
}

/** Whether `text` has at most `bytes` bytes as UTF-8. */
export function fitsInto(text: string, bytes: number): boolean {
  // A UTF-16 unit is one to three bytes, so most text needs no counting.
  if (text.length * 3 <= bytes) return true;
  return text.length <= bytes && Buffer.byteLength(text) <= bytes;
}

function fault(reason: string): FormatFault {
  return { ok: false, reason, tooLarge: false };
}

function tooLarge(reason: string): FormatFault {
  return { ok: false, reason, tooLarge: true };
}

function isDepth(depth: JsonValue | undefined, version: RoomVersion): depth is number {
  if (typeof depth !== 'number' || !Number.isInteger(depth) || depth < 0) return false;
  return depth <= (version.strictCanonicalJson ? MAX_DEPTH : MAX_LOOSE_DEPTH);
}

/** The room ID, undefined where the event makes it, or false where it breaks the rules. */
function readRoomId(pdu: Pdu, type: string, version: RoomVersion): RoomId | undefined | false {
  const roomId = pdu['room_id'];
  // Auth rules, 1.2 (room version 12 on): a create event with a room_id is refused.
  if (version.roomIdIsCreateHash && type === 'm.room.create') return roomId === undefined ? undefined : false;
  if (typeof roomId !== 'string' || !isRoomId(roomId)) return false;
  const isOfVersion = version.roomIdIsCreateHash ? HASH_ROOM_ID.test(roomId) : roomId.includes(':');
  return isOfVersion ? roomId : false;
}

/** The event IDs of prev_events or auth_events, undefined where the list is malformed or too long. */
function readReferences(
  list: JsonValue | undefined,
  version: RoomVersion,
  limit: number,
): readonly EventId[] | undefined {
  if (!Array.isArray(list) || list.length > limit) return undefined;
  const ids: EventId[] = [];
  for (const entry of list as readonly JsonValue[]) {
    const id = version.references === 'pairs' ? idOfPair(entry) : entry;
    if (typeof id !== 'string' || !isEventId(id)) return undefined;
    ids.push(id);
  }
  return ids;
}

function idOfPair(entry: JsonValue): JsonValue | undefined {
  if (!Array.isArray(entry) || entry.length !== 2) return undefined;
  const [id, hashes] = entry as readonly JsonValue[];
  // The hash beside the ID says nothing that is used, and there are rooms with events that have none.
  return isJsonObject(hashes) ? id : undefined;
}

function isHashes(value: JsonValue | undefined): boolean {
  return isJsonObject(value) && typeof value['sha256'] === 'string';
}

function isSignatures(value: JsonValue | undefined): boolean {
  if (!isJsonObject(value)) return false;
  return Object.values(value).every(
    (own) => isJsonObject(own) && Object.values(own).every((signature) => typeof signature === 'string'),
  );
}

function hasSoundAuthoriser(content: JsonObject): boolean {
  const authoriser = content['join_authorised_via_users_server'];
  return authoriser === undefined || (typeof authoriser === 'string' && isUserId(authoriser));
}

function readRedacts(pdu: Pdu, content: JsonObject, version: RoomVersion): EventId | undefined {
  const redacts = version.redactsIn === 'content' ? content['redacts'] : pdu['redacts'];
  return typeof redacts === 'string' && isEventId(redacts) ? redacts : undefined;
}
