import { decodeBase64 } from '../../matrix/base64.ts';
import { CanonicalJsonError, canonicalJson } from '../../matrix/canonical-json.ts';
import type { ServerName } from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../matrix/json.ts';
import {
  isKeyId,
  type KeyId,
  PUBLIC_KEY_BYTES,
  signaturesOf,
  signedText,
  verifyTextAsync,
} from '../../matrix/signing.ts';

/** A public key of a server. */
export interface ServerKey {
  readonly keyId: KeyId;
  /** 32 bytes. */
  readonly publicKey: Buffer;
  /** What was signed after this does not count, ms. For an old key: when it was last used. */
  readonly validUntil: number;
  /** The server does not sign with it any more: good for old events, not for requests. */
  readonly expired: boolean;
}

/** What a server says of its keys, read and bounded. */
export interface ServerKeysAnswer {
  readonly server: ServerName;
  readonly keys: readonly ServerKey[];
  /** As it says, ms. */
  readonly validUntil: number;
  /** The answer with no signatures but the server's own. */
  readonly text: string;
}

/** Largest answer, bytes. A key takes about a hundred. */
export const MAX_ANSWER_BYTES = 32 * 1024;
/** No key counts for longer than this after it was fetched, ms (spec: server-server API, "Publishing Keys"). */
export const LONGEST_VALIDITY_MS = 7 * 24 * 60 * 60 * 1000;
/** Longest key ID, in characters; the spec names no bound. */
export const MAX_KEY_ID_LENGTH = 255;
/** Of an answer's own signatures, how many are tried. */
const SIGNATURES_TRIED = 5;

/**
 * Reads what `server` is said to have answered at `now` (ms) to the question for its keys (spec: server-server API,
 * "Publishing Keys"): it has to speak of that server and be signed with one of the keys it names. Or why it is no good.
 */
export async function readServerKeys(
  json: JsonValue,
  server: ServerName,
  now: number,
): Promise<ServerKeysAnswer | string> {
  if (!isJsonObject(json)) return 'the answer is not an object';
  if (json['server_name'] !== server) return 'the answer speaks of another server';
  const validUntil = json['valid_until_ts'];
  if (typeof validUntil !== 'number' || !Number.isSafeInteger(validUntil) || validUntil < 0) {
    return 'valid_until_ts is not a time';
  }
  const { verify_keys: current, old_verify_keys: old = {} } = json;
  if (!isJsonObject(current)) return 'verify_keys is not an object';
  if (!isJsonObject(old)) return 'old_verify_keys is not an object';

  const keys = new Map<KeyId, ServerKey>();
  for (const [keyId, publicKey] of readKeys(current)) {
    keys.set(keyId, {
      keyId,
      publicKey,
      validUntil: Math.min(validUntil, now + LONGEST_VALIDITY_MS),
      expired: false,
    });
  }
  const signers = new Map(keys);
  for (const [keyId, publicKey, entry] of readKeys(old)) {
    const expiredAt = entry['expired_ts'];
    if (typeof expiredAt !== 'number' || !Number.isSafeInteger(expiredAt) || expiredAt < 0) continue;
    // A key named in both places is one not to be signed with any more.
    keys.set(keyId, { keyId, publicKey, validUntil: Math.min(expiredAt, now), expired: true });
  }
  if (signers.size === 0) return 'verify_keys has no key';

  try {
    const { unsigned: _unsigned, signatures, ...rest } = json;
    const own = isJsonObject(signatures) && Object.hasOwn(signatures, server) ? signatures[server] : undefined;
    if (own === undefined) return 'the answer is not signed by the server';
    const text = canonicalJson({ ...rest, signatures: { [server]: own } });
    if (Buffer.byteLength(text) > MAX_ANSWER_BYTES) return 'the answer is too large';
    if (!(await isSignedWith(json, server, signers))) return 'no signature of the server with a key it names';
    return { server, keys: [...keys.values()], validUntil, text };
  } catch (error) {
    if (error instanceof CanonicalJsonError) return error.message;
    throw error;
  }
}

/** Whether `json` bears a signature of `server` with one of `keys`. Throws CanonicalJsonError for what has no canonical form. */
export async function isSignedWith(
  json: JsonObject,
  server: ServerName,
  keys: ReadonlyMap<string, { readonly publicKey: Uint8Array }>,
): Promise<boolean> {
  const text = signedText(json);
  let tried = 0;
  for (const { keyId, signature } of signaturesOf(json, server)) {
    const key = keys.get(keyId);
    if (key === undefined) continue;
    if (await verifyTextAsync(text, signature, key.publicKey)) return true;
    tried += 1;
    if (tried === SIGNATURES_TRIED) return false;
  }
  return false;
}

/** The Ed25519 keys of an object of them. Algorithms that are not known, and what is no key, are left out. */
function* readKeys(keys: JsonObject): Iterable<readonly [keyId: KeyId, publicKey: Buffer, entry: JsonObject]> {
  for (const [keyId, entry] of Object.entries(keys)) {
    if (!isKeyId(keyId) || keyId.length > MAX_KEY_ID_LENGTH || !isJsonObject(entry)) continue;
    const encoded = entry['key'];
    const publicKey = typeof encoded === 'string' ? decodeBase64(encoded) : undefined;
    if (publicKey?.length === PUBLIC_KEY_BYTES) yield [keyId, publicKey, entry];
  }
}
