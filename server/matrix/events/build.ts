import { encodeBase64 } from '../base64.ts';
import { CanonicalJsonError, canonicalJson } from '../canonical-json.ts';
import { badJson, tooLarge } from '../errors.ts';
import { type EventId, isEventId, type RoomId, type ServerName, type UserId } from '../identifiers.ts';
import type { JsonObject, JsonValue } from '../json.ts';
import type { RoomVersion } from '../room-versions.ts';
import { type SigningKey, signText } from '../signing.ts';
import type { Pdu, RoomEvent } from './event.ts';
import { eventIdFromText, givenIdServer } from './event-id.ts';
import { contentHashText, referenceText, sha256 } from './hash.ts';
import { assembleEvent, MAX_DEPTH, MAX_PDU_BYTES, readFormat } from './parse.ts';

/**
 * How a new event names another: by its ID, or, for rooms of versions 1 and 2, with its reference hash (unpadded base64,
 * see `referenceHashBase64`) as well. Later versions ignore the hash.
 */
export type EventReference = EventId | { readonly eventId: EventId; readonly sha256: string };

/** Who completes an event. */
export interface EventSigner {
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  /** Room versions 1 and 2: what stands between `$` and the server name in the new ID. Later versions hash instead. */
  readonly eventIdLocalpart?: string;
}

export interface EventDraft extends EventSigner {
  readonly version: RoomVersion;
  /** Undefined exactly for the create event of a room whose ID that event makes (room version 12 on). */
  readonly roomId: RoomId | undefined;
  readonly type: string;
  readonly sender: UserId;
  readonly stateKey?: string;
  readonly content: JsonObject;
  /** Milliseconds since the Unix epoch. */
  readonly originServerTs: number;
  /** One more than the greatest depth of the prev events. What exceeds the limit is set to it. */
  readonly depth: number;
  readonly prevEvents: readonly EventReference[];
  readonly authEvents: readonly EventReference[];
  /** For m.room.redaction: its target, put where the room version keeps it. */
  readonly redacts?: EventId;
}

/**
 * A new event: put in the format of its room's version, hashed, signed and named. Throws MatrixError M_TOO_LARGE over a
 * limit on bytes, M_BAD_JSON where the content has no canonical form or the format is broken, and TypeError where room
 * versions 1 and 2 lack what only the caller knows (the ID's localpart, hashes of the events referred to).
 */
export function buildEvent(draft: EventDraft): RoomEvent {
  const { version, roomId, stateKey, redacts } = draft;
  const redactsInContent = redacts !== undefined && version.redactsIn === 'content';
  const unsignedPdu: Record<string, JsonValue> = {
    auth_events: writeReferences(draft.authEvents, version),
    content: redactsInContent ? { ...draft.content, redacts } : draft.content,
    depth: Math.min(draft.depth, MAX_DEPTH),
    origin_server_ts: draft.originServerTs,
    prev_events: writeReferences(draft.prevEvents, version),
    sender: draft.sender,
    type: draft.type,
  };
  if (roomId !== undefined) unsignedPdu['room_id'] = roomId;
  if (stateKey !== undefined) unsignedPdu['state_key'] = stateKey;
  if (redacts !== undefined && !redactsInContent) unsignedPdu['redacts'] = redacts;
  return complete(unsignedPdu, version, draft);
}

/**
 * Makes an event out of a template that another server filled in (make_join, make_knock, make_leave; third-party invites):
 * as `buildEvent`, but with whatever keys the template has. Its ID, hashes, signatures and `unsigned` are replaced.
 */
export function completeTemplate(template: JsonObject, version: RoomVersion, signer: EventSigner): RoomEvent {
  const { event_id: _id, hashes: _hashes, signatures: _signatures, unsigned: _unsigned, ...pdu } = template;
  return complete(pdu, version, signer);
}

function complete(draft: JsonObject, version: RoomVersion, signer: EventSigner): RoomEvent {
  const givenId = version.eventIds === 'given' ? newGivenId(signer) : undefined;
  const hashed: Record<string, JsonValue> = { ...draft };
  if (givenId !== undefined) hashed['event_id'] = givenId;
  try {
    const contentText = contentHashText(hashed, version);
    hashed['hashes'] = { sha256: encodeBase64(sha256(contentText)) };
    const text = referenceText(hashed, version);
    const signatures = { [signer.serverName]: { [signer.signingKey.keyId]: signText(text, signer.signingKey) } };
    const pdu: Pdu = { ...hashed, signatures };

    const format = readFormat(pdu, version);
    if (!format.ok) throw format.tooLarge ? tooLarge(format.reason) : badJson(format.reason);
    if (sizeOf(contentText, hashed['hashes'], signatures) > MAX_PDU_BYTES) {
      throw tooLarge('the event is larger than 65536 bytes');
    }
    return assembleEvent(pdu, version, givenId ?? eventIdFromText(text, version), format);
  } catch (error) {
    if (error instanceof CanonicalJsonError) throw badJson(error.message);
    throw error;
  }
}

/** Bytes of the whole event as canonical JSON, from the text already written without these two keys. */
function sizeOf(contentText: string, hashes: JsonObject, signatures: JsonObject): number {
  const missing = `,"hashes":${canonicalJson(hashes)},"signatures":${canonicalJson(signatures)}`;
  return Buffer.byteLength(contentText) + Buffer.byteLength(missing);
}

function newGivenId({ eventIdLocalpart, serverName }: EventSigner): EventId {
  const id = `$${eventIdLocalpart ?? ''}:${serverName}`;
  if (!isEventId(id) || givenIdServer(id) !== serverName) {
    throw new TypeError('this room version needs a localpart for the ID of a new event');
  }
  return id;
}

function writeReferences(references: readonly EventReference[], version: RoomVersion): JsonValue[] {
  return references.map((reference) => {
    if (version.references === 'ids') return typeof reference === 'string' ? reference : reference.eventId;
    if (typeof reference === 'string') throw new TypeError('this room version needs the hash of an event referred to');
    return [reference.eventId, { sha256: reference.sha256 }];
  });
}
