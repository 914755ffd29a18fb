/**
 * The identifiers of Matrix (spec: appendices, "Identifier Grammar"). Each is a string whose type says that its shape
 * was checked; a plain string becomes one only through the functions here.
 */

declare const kind: unique symbol;
type Identifier<Kind extends string> = string & { readonly [kind]: Kind };

export type ServerName = Identifier<'server name'>;
export type UserId = Identifier<'user'>;
export type RoomId = Identifier<'room'>;
export type RoomAlias = Identifier<'room alias'>;
export type EventId = Identifier<'event'>;
export type DeviceId = Identifier<'device'>;

/** Longest identifier, in bytes of UTF-8, sigil and server name included. */
export const MAX_IDENTIFIER_BYTES = 255;

// host is an IPv4 literal or DNS name ([0-9A-Za-z-.]) or a bracketed IPv6 literal; port is 1 to 5 digits.
const SERVER_NAME = /^(?:\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,255})(?::[0-9]{1,5})?$/;
const OPAQUE_ID = /^[0-9A-Za-z\-._~]+$/;
// What new users may be called. Historical ones may hold any character but ":" and NUL.
const STRICT_LOCALPART = /^[a-z0-9._=\-/+]+$/;

function fits(text: string): boolean {
  // A UTF-16 unit is at most three bytes of UTF-8, so short text needs no counting.
  return text.length * 3 <= MAX_IDENTIFIER_BYTES || Buffer.byteLength(text) <= MAX_IDENTIFIER_BYTES;
}

/** Checks the grammar of a server name: DNS name, IPv4 or bracketed IPv6 literal, and an optional port. */
export function isServerName(text: string): text is ServerName {
  return SERVER_NAME.test(text) && fits(text);
}

function isSigilAndDomain(text: string, sigil: string): boolean {
  if (!text.startsWith(sigil) || !fits(text) || text.includes('\0')) return false;
  const colon = text.indexOf(':');
  return colon > 0 && isServerName(text.slice(colon + 1));
}

/** A user ID in the historical grammar: any localpart, the empty one too, for other servers still have them. */
export function isUserId(text: string): text is UserId {
  return isSigilAndDomain(text, '@');
}

/** Whether `localpart` is one that a new account may have. */
export function isStrictLocalpart(localpart: string): boolean {
  return STRICT_LOCALPART.test(localpart);
}

/** A room ID: `!opaque:domain`, or, from room version 12 on, `!` and a hash without a domain. */
export function isRoomId(text: string): text is RoomId {
  if (!text.startsWith('!') || text.length < 2 || !fits(text) || text.includes('\0')) return false;
  const colon = text.indexOf(':');
  return colon === -1 ? OPAQUE_ID.test(text.slice(1)) : isServerName(text.slice(colon + 1));
}

/** A room alias: `#localpart:domain`. */
export function isRoomAlias(text: string): text is RoomAlias {
  return isSigilAndDomain(text, '#') && text.indexOf(':') > 1;
}

/** An event ID: `$opaque:domain` in room versions 1 and 2, `$` and a hash later. */
export function isEventId(text: string): text is EventId {
  return text.startsWith('$') && text.length > 1 && fits(text) && !text.includes('\0');
}

/** A device ID is any non-empty string; the length is bounded so that it can be stored and sent. */
export function isDeviceId(text: string): text is DeviceId {
  return text.length > 0 && text.length <= 512;
}

/** The server a user or alias belongs to. (Rooms and events have none: room version 12 took it away.) */
export function serverNameOf(id: UserId | RoomAlias): ServerName {
  const name = id.slice(id.indexOf(':') + 1);
  if (!isServerName(name)) throw new TypeError('an identifier lost its server name');
  return name;
}

/** What stands between the sigil and the first colon. */
export function localpartOf(id: UserId | RoomAlias): string {
  return id.slice(1, id.indexOf(':'));
}

/** `@localpart:server`, or undefined where that is no user ID. */
export function buildUserId(localpart: string, server: ServerName): UserId | undefined {
  const id = `@${localpart}:${server}`;
  return !localpart.includes(':') && isUserId(id) ? id : undefined;
}
