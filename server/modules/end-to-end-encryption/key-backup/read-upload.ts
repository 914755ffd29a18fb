import { badJson, invalidParam } from '../../../matrix/errors.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { BackedUpKey, KeyName } from './store.ts';

/** Longest name of a room or session. Bytes, but what has fewer characters is let pass: they are ASCII. */
const MAX_NAME_LENGTH = 255;

/** A key as it was uploaded, checked. */
export interface UploadedKey extends KeyName {
  readonly key: JsonObject;
}

/** The keys of a body as `PUT /room_keys/keys` has it. @throws MatrixError M_BAD_JSON, M_INVALID_PARAM */
export function readRooms(body: JsonObject): UploadedKey[] {
  const { rooms } = body;
  if (!isJsonObject(rooms)) throw badJson('rooms must be an object');
  return Object.entries(rooms).flatMap(([roomId, ofRoom]) => {
    if (!isJsonObject(ofRoom)) throw badJson('A room must be an object with sessions');
    return readSessions(roomId, ofRoom);
  });
}

/** The keys of a body as `PUT /room_keys/keys/{roomId}` has it. @throws MatrixError M_BAD_JSON, M_INVALID_PARAM */
export function readSessions(roomId: string, body: JsonObject): UploadedKey[] {
  const { sessions } = body;
  if (!isJsonObject(sessions)) throw badJson('sessions must be an object');
  return Object.entries(sessions).map(([sessionId, key]) => readSession({ roomId, sessionId }, key));
}

/** A key with its name. @throws MatrixError M_BAD_JSON, M_INVALID_PARAM */
export function readSession({ roomId, sessionId }: KeyName, key: JsonValue): UploadedKey {
  checkName(roomId);
  checkName(sessionId);
  if (!isJsonObject(key)) throw badJson('A key must be an object');
  if (!isCount(key['first_message_index'])) throw badJson('first_message_index must be a whole number');
  if (!isCount(key['forwarded_count'])) throw badJson('forwarded_count must be a whole number');
  if (typeof key['is_verified'] !== 'boolean') throw badJson('is_verified must be true or false');
  // The spec says it is an object. There are others, of algorithms that came before, and it is the client's affair.
  if (key['session_data'] === undefined || key['session_data'] === null) throw badJson('session_data is missing');
  return { roomId, sessionId, key };
}

/** The form in which a checked key is stored. */
export function toBackedUpKey(key: JsonObject): BackedUpKey {
  return {
    isVerified: key['is_verified'] === true,
    firstMessageIndex: Number(key['first_message_index']),
    forwardedCount: Number(key['forwarded_count']),
    sessionData: JSON.stringify(key['session_data']),
  };
}

function isCount(value: JsonValue | undefined): boolean {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function checkName(name: string): void {
  if (name.length === 0 || name.length > MAX_NAME_LENGTH) {
    throw invalidParam(`The ID of a room or session has 1 to ${MAX_NAME_LENGTH} characters`);
  }
}
