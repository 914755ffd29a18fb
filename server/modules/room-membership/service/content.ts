import { badJson } from '../../../matrix/errors.ts';
import type { JsonObject, JsonValue } from '../../../matrix/json.ts';
import type { Membership } from '../../../rooms/types.ts';

/** Longest display name in a membership, in UTF-16 units as clients count. */
const MAX_DISPLAY_NAME = 256;
const MAX_AVATAR_URL = 1_000;

/** Keys that only this server may set, or that belong to the request rather than to the event. */
const NOT_FOR_CLIENTS = ['membership', 'join_authorised_via_users_server', 'third_party_signed'];

function checkText(content: JsonObject, key: string, longest: number): void {
  const value = content[key];
  if (value === undefined || value === null) return;
  if (typeof value !== 'string') throw badJson(`The key ${key} must be text`);
  if (value.length > longest) throw badJson(`The key ${key} must not have more than ${longest} characters`);
}

/**
 * What a client may add to a membership event, out of what it sent. Throws M_BAD_JSON where name, avatar or reason are
 * no text or too long. With `allowProfile` false, a name and avatar just for this room are dropped.
 */
export function readOwnContent(given: JsonObject, { allowProfile }: { allowProfile: boolean }): JsonObject {
  const content: Record<string, JsonValue> = { ...given };
  for (const key of NOT_FOR_CLIENTS) delete content[key];
  if (!allowProfile) {
    delete content['displayname'];
    delete content['avatar_url'];
  }
  checkText(content, 'displayname', MAX_DISPLAY_NAME);
  checkText(content, 'avatar_url', MAX_AVATAR_URL);
  checkText(content, 'reason', Number.POSITIVE_INFINITY);
  return content;
}

/**
 * The content of an m.room.member event. What the client gave wins over the profile; keys with nothing in them are left
 * out.
 */
export function memberContent(
  membership: Membership,
  own: JsonObject,
  profile: { readonly displayName?: string; readonly avatarUrl?: string } | undefined,
): JsonObject {
  return {
    ...(profile?.displayName === undefined ? {} : { displayname: profile.displayName }),
    ...(profile?.avatarUrl === undefined ? {} : { avatar_url: profile.avatarUrl }),
    ...own,
    membership,
  };
}
