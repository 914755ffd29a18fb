import { invalidParam, MatrixError } from '../../../matrix/errors.ts';
import type { JsonObject, JsonValue } from '../../../matrix/json.ts';
import type { StoredProfile } from '../store.ts';

/** Longest key of a field, bytes. */
const MAX_KEY_BYTES = 255;
/** Largest profile, all fields with their keys as JSON, bytes. */
const MAX_PROFILE_BYTES = 65_536;
/** Both in UTF-16 units; the spec leaves them to servers. They go into every member event of the user. */
const MAX_DISPLAY_NAME_LENGTH = 256;
const MAX_AVATAR_URL_LENGTH = 1000;

// Spec: appendices, "Common Namespaced Identifier Grammar".
const NAMESPACED = /^[a-z][a-z0-9._-]*$/;

/** @throws MatrixError M_KEY_TOO_LARGE; M_INVALID_PARAM for what cannot be the key of a profile field */
export function checkFieldKey(key: string): void {
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) {
    throw new MatrixError('M_KEY_TOO_LARGE', `The key is longer than ${MAX_KEY_BYTES} bytes`);
  }
  if (!NAMESPACED.test(key)) throw invalidParam('This cannot be the key of a profile field');
}

/**
 * Checks what the spec says of the known fields; others may hold anything. A picture's address is not required to be
 * an MXC URI, since application services have always set others.
 * @throws MatrixError M_INVALID_PARAM
 */
export function checkFieldValue(key: string, value: JsonValue): void {
  if (key !== 'displayname' && key !== 'avatar_url' && key !== 'm.tz') return;
  if (typeof value !== 'string') throw invalidParam(`${key} must be a string`);
  if (key === 'displayname' && value.length > MAX_DISPLAY_NAME_LENGTH) {
    throw invalidParam(`A display name has at most ${MAX_DISPLAY_NAME_LENGTH} characters`);
  }
  if (key === 'avatar_url' && value.length > MAX_AVATAR_URL_LENGTH) {
    throw invalidParam(`The address of a picture has at most ${MAX_AVATAR_URL_LENGTH} characters`);
  }
}

/** @throws MatrixError M_PROFILE_TOO_LARGE */
export function checkProfileSize(profile: JsonObject): void {
  if (Buffer.byteLength(JSON.stringify(profile)) > MAX_PROFILE_BYTES) {
    throw new MatrixError('M_PROFILE_TOO_LARGE', `The profile would be larger than ${MAX_PROFILE_BYTES} bytes`);
  }
}

/** The profile with one field set. An empty name or picture is none. */
export function withField(profile: StoredProfile, key: string, value: JsonValue): StoredProfile {
  if (key === 'displayname') return { ...profile, displayName: textOrNone(value) };
  if (key === 'avatar_url') return { ...profile, avatarUrl: textOrNone(value) };
  return { ...profile, fields: { ...profile.fields, [key]: value } };
}

export function withoutField(profile: StoredProfile, key: string): StoredProfile {
  if (key === 'displayname') return { ...profile, displayName: undefined };
  if (key === 'avatar_url') return { ...profile, avatarUrl: undefined };
  return { ...profile, fields: Object.fromEntries(Object.entries(profile.fields).filter(([name]) => name !== key)) };
}

function textOrNone(value: JsonValue): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
