/** How requests between servers are signed (spec: server-server API, "Request Authentication"). */
import { canonicalJson, MAX_PARSE_DEPTH } from '../matrix/canonical-json.ts';
import { isServerName, type ServerName } from '../matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../matrix/json.ts';
import { isKeyId, type KeyId, type SigningKey, signText } from '../matrix/signing.ts';

/** What the signature of a request covers. */
export interface RequestToSign {
  readonly method: string;
  /** Path and query as they are sent. */
  readonly uri: string;
  readonly origin: ServerName;
  readonly destination: ServerName;
  /** The JSON body; undefined where there is none. */
  readonly content?: JsonValue | undefined;
}

/** What an `Authorization: X-Matrix` header says. Nothing of it is verified. */
export interface RequestAuthorization {
  readonly origin: ServerName;
  /** Senders older than version 1.3 of the spec leave it out. */
  readonly destination: ServerName | undefined;
  readonly keyId: KeyId;
  /** In base64, as it was sent. */
  readonly signature: string;
}

/** Longer headers are refused unread: two server names, a key ID and a signature fit many times. */
const MAX_HEADER_LENGTH = 4096;

/** The object whose signature a request bears, without the signature. */
export function requestJson({ method, uri, origin, destination, content }: RequestToSign): JsonObject {
  return { method, uri, origin, destination, ...(content === undefined ? {} : { content }) };
}

/**
 * The text of a request's body as it is signed and sent. Looser than what events are held to, for a transaction may hold
 * events of old rooms: floats (spec: rooms/v1, "Canonical JSON") and any depth that can be parsed. Throws
 * CanonicalJsonError for what has no canonical form even so.
 */
export function bodyText(content: JsonValue): string {
  return canonicalJson(content, { strict: false, maxDepth: MAX_PARSE_DEPTH });
}

/** The text that the signature of a request covers. Throws as `bodyText`. */
export function requestText(request: RequestToSign): string {
  return textAround(request, request.content === undefined ? undefined : bodyText(request.content));
}

/**
 * The value of the Authorization header for a request. `contentText` is its body as `bodyText` wrote it, so that a large one
 * is written once; undefined where there is none.
 */
export function signRequest(
  { contentText, ...request }: Omit<RequestToSign, 'content'> & { contentText?: string | undefined },
  key: SigningKey,
): string {
  const { origin, destination } = request;
  const signature = signText(textAround(request, contentText), key);
  // This order and spacing is what the oldest parsers understand. Neither name nor base64 ever needs a backslash.
  return `X-Matrix origin="${origin}",destination="${destination}",key="${key.keyId}",sig="${signature}"`;
}

function textAround({ method, uri, origin, destination }: RequestToSign, contentText: string | undefined): string {
  const head = canonicalJson(requestJson({ method, uri, origin, destination }));
  // "content" is the first of the keys in canonical order.
  return contentText === undefined ? head : `{"content":${contentText},${head.slice(1)}`;
}

const SCHEME = /^[ \t]*x-matrix[ \t]+/i;
// RFC 9110, 5.6.2 and 11.4. A bare value may hold what no token does (":" by the spec, base64 by practice), as long as it
// is clear where it ends.
const NAME = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y;
const EQUALS = /[ \t]*=[ \t]*/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;
const BARE = /[^\s",\\]+/y;
const COMMAS = /[ \t]*(?:,[ \t]*)+/y;
const END = /[ \t]*$/y;

/**
 * Reads an `Authorization: X-Matrix` header in all the forms that senders use. Undefined for another scheme, for what is
 * malformed, for a parameter given twice, and for a key that is no Ed25519 key.
 */
export function parseAuthorization(header: string): RequestAuthorization | undefined {
  if (header.length > MAX_HEADER_LENGTH) return undefined;
  const scheme = SCHEME.exec(header);
  if (scheme === null) return undefined;
  const parameters = readParameters(header, scheme[0].length);
  const origin = parameters?.get('origin');
  const destination = parameters?.get('destination');
  const keyId = parameters?.get('key');
  const signature = parameters?.get('sig');
  if (origin === undefined || keyId === undefined || signature === undefined) return undefined;
  if (!isServerName(origin) || !isKeyId(keyId)) return undefined;
  if (destination !== undefined && !isServerName(destination)) return undefined;
  return { origin, destination, keyId, signature };
}

/** The parameters from `start` to the end, by their lower-case name. */
function readParameters(header: string, start: number): ReadonlyMap<string, string> | undefined {
  const parameters = new Map<string, string>();
  let at = start;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(header);
    if (found !== null) at = pattern.lastIndex;
    return found;
  };
  // An empty list element counts for nothing (RFC 9110, 5.6.1.2).
  take(COMMAS);
  while (take(END) === null) {
    const name = take(NAME)?.[0].toLowerCase();
    if (name === undefined || take(EQUALS) === null) return undefined;
    const value = take(QUOTED)?.[1]?.replaceAll(/\\(.)/g, '$1') ?? take(BARE)?.[0];
    if (value === undefined || parameters.has(name)) return undefined;
    parameters.set(name, value);
    if (take(COMMAS) === null && take(END) === null) return undefined;
  }
  return parameters;
}
