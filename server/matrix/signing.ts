import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';

import { decodeBase64, encodeBase64 } from './base64.ts';
import { CanonicalJsonError, canonicalJson } from './canonical-json.ts';
import { isJsonObject, type JsonObject, type JsonValue } from './json.ts';

/** `ed25519:` and the key's version (spec: appendices, "Signing Details"). */
export type KeyId = `ed25519:${string}`;

/** An Ed25519 key this server signs with. */
export interface SigningKey {
  readonly keyId: KeyId;
  /** The part of the key ID after `ed25519:`. */
  readonly version: string;
  /** The 32 bytes all else follows from. Secret. */
  readonly seed: Buffer;
  /** 32 bytes. */
  readonly publicKey: Buffer;
  /** The public key as servers publish it, in unpadded base64. */
  readonly publicKeyBase64: string;
  readonly privateKey: KeyObject;
}

export const SEED_BYTES = 32;
export const PUBLIC_KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;

// RFC 8410: an Ed25519 key in PKCS #8 or SubjectPublicKeyInfo is always these bytes, then the key.
const PRIVATE_KEY_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const PUBLIC_KEY_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

const KEY_VERSION = /^[0-9A-Za-z_]+$/;

/** A signing key from its 32-byte seed. Throws RangeError for a seed of another length or a version out of the grammar. */
export function signingKeyFromSeed(seed: Uint8Array, version: string): SigningKey {
  if (seed.length !== SEED_BYTES) throw new RangeError('the seed of a signing key must be 32 bytes');
  if (!KEY_VERSION.test(version)) throw new RangeError('the version of a signing key is letters, digits and "_"');
  const secret = Buffer.from(seed);
  const privateKey = createPrivateKey({
    key: Buffer.concat([PRIVATE_KEY_PREFIX, secret]),
    format: 'der',
    type: 'pkcs8',
  });
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  const publicKey = Buffer.from(spki.subarray(-PUBLIC_KEY_BYTES));
  return {
    keyId: `ed25519:${version}`,
    version,
    seed: secret,
    publicKey,
    publicKeyBase64: encodeBase64(publicKey),
    privateKey,
  };
}

/**
 * A new signing key from 32 random bytes. Its version is taken from the public key, so that two keys of one server never
 * share an ID.
 */
export function generateSigningKey(randomSeed: Uint8Array): SigningKey {
  const { publicKey } = signingKeyFromSeed(randomSeed, '0');
  return signingKeyFromSeed(randomSeed, `a_${publicKey.toString('hex', 0, 4)}`);
}

/**
 * The keys of a signing key file in Synapse's format: a line for each, `ed25519 <version> <seed in base64>`. The first is
 * the one to sign with. Throws Error with the line's number where a line is none, or where there is no key at all.
 */
export function parseSigningKeyFile(text: string): readonly [SigningKey, ...SigningKey[]] {
  const keys: SigningKey[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const words = line.trim().split(/\s+/);
    if (words.length === 1 && words[0] === '') continue;
    const [algorithm = '', version = '', encodedSeed = ''] = words;
    // The line itself is a secret and stays out of the message.
    const fail = (reason: string): Error => new Error(`signing key file, line ${index + 1}: ${reason}`);
    if (words.length !== 3) throw fail('must be "ed25519 <version> <seed>"');
    if (algorithm !== 'ed25519') throw fail('only ed25519 keys are known');
    if (!KEY_VERSION.test(version)) throw fail('the version may hold letters, digits and "_" only');
    const seed = decodeBase64(encodedSeed);
    if (seed?.length !== SEED_BYTES) throw fail('the seed must be 32 bytes in base64');
    keys.push(signingKeyFromSeed(seed, version));
  }
  const [first, ...rest] = keys;
  if (first === undefined) throw new Error('the signing key file holds no key');
  return [first, ...rest];
}

/** The text of a signing key file with one key, in Synapse's format. Secret. */
export function formatSigningKeyFile(key: SigningKey): string {
  return `ed25519 ${key.version} ${encodeBase64(key.seed)}\n`;
}

/** Signs `text` (as UTF-8); the signature in unpadded base64. */
export function signText(text: string, key: SigningKey): string {
  return encodeBase64(sign(null, Buffer.from(text), key.privateKey));
}

/**
 * Whether `signature` (base64) is one of `text` by the holder of `publicKey` (base64 or 32 bytes). What is malformed is
 * simply not a signature.
 */
export function verifyText(text: string, signature: string, publicKey: string | Uint8Array): boolean {
  const key = findPublicKey(publicKey);
  const bytes = decodeBase64(signature);
  if (key === undefined || bytes?.length !== SIGNATURE_BYTES) return false;
  return verify(null, Buffer.from(text), key, bytes);
}

/** As `verifyText`, on a thread beside the event loop: checking a signature takes about a tenth of a millisecond. */
export function verifyTextAsync(text: string, signature: string, publicKey: string | Uint8Array): Promise<boolean> {
  const key = findPublicKey(publicKey);
  const bytes = decodeBase64(signature);
  if (key === undefined || bytes?.length !== SIGNATURE_BYTES) return Promise.resolve(false);
  return new Promise((resolve, reject) => {
    verify(null, Buffer.from(text), key, bytes, (error, valid) => (error === null ? resolve(valid) : reject(error)));
  });
}

// Reading a key costs about as much as using it, and the same few servers' keys come up all the time.
const publicKeys = new Map<string, KeyObject>();
const PUBLIC_KEYS_KEPT = 1000;

function findPublicKey(publicKey: string | Uint8Array): KeyObject | undefined {
  const encoded = typeof publicKey === 'string' ? publicKey : encodeBase64(publicKey);
  const kept = publicKeys.get(encoded);
  if (kept !== undefined) return kept;
  const bytes = decodeBase64(encoded);
  if (bytes?.length !== PUBLIC_KEY_BYTES) return undefined;
  const key = createPublicKey({ key: Buffer.concat([PUBLIC_KEY_PREFIX, bytes]), format: 'der', type: 'spki' });
  if (publicKeys.size >= PUBLIC_KEYS_KEPT) {
    const [oldest] = publicKeys.keys();
    if (oldest !== undefined) publicKeys.delete(oldest);
  }
  publicKeys.set(encoded, key);
  return key;
}

/** The text that signatures of `object` cover: its canonical JSON without `signatures` and `unsigned`. */
export function signedText(object: JsonObject, { strict = true }: { strict?: boolean } = {}): string {
  const { signatures: _signatures, unsigned: _unsigned, ...rest } = object;
  return canonicalJson(rest, { strict });
}

/**
 * `object` with a signature of `signer` added to those it has (spec: appendices, "Signing JSON"). `signer` is a server
 * name or, for cross-signing, a user ID. Throws CanonicalJsonError for what has no canonical form.
 */
export function signJson(object: JsonObject, signer: string, key: SigningKey): JsonObject {
  return {
    ...object,
    signatures: addSignature(object['signatures'], signer, key.keyId, signText(signedText(object), key)),
  };
}

/** `signatures` with one more; anything malformed in it gives way. */
export function addSignature(
  signatures: JsonValue | undefined,
  signer: string,
  keyId: string,
  signature: string,
): JsonObject {
  const all = signatures !== undefined && isJsonObject(signatures) ? signatures : {};
  const own = ownValue(all, signer);
  return { ...all, [signer]: { ...(isJsonObject(own) ? own : {}), [keyId]: signature } };
}

/**
 * Whether `object` bears a valid signature of `signer` made with the key `keyId`, whose public half is `publicKey` (spec:
 * appendices, "Checking for a Signature", steps 4 to 7). What has no canonical form is not validly signed.
 */
export function verifyJson(object: JsonObject, signer: string, keyId: string, publicKey: string | Uint8Array): boolean {
  const signature = signaturesOf(object, signer).find((candidate) => candidate.keyId === keyId)?.signature;
  if (signature === undefined) return false;
  try {
    return verifyText(signedText(object), signature, publicKey);
  } catch (error) {
    if (error instanceof CanonicalJsonError) return false;
    throw error;
  }
}

/** A signature as it stands in an object, not yet verified. */
export interface NamedSignature {
  readonly keyId: KeyId;
  readonly signature: string;
}

/** The Ed25519 signatures of `signer` that `object` bears; others are not understood and left out (the same, steps 1, 2). */
export function signaturesOf(object: JsonObject, signer: string): readonly NamedSignature[] {
  const all = object['signatures'];
  const own = isJsonObject(all) ? ownValue(all, signer) : undefined;
  if (!isJsonObject(own)) return [];
  const found: NamedSignature[] = [];
  for (const [keyId, signature] of Object.entries(own)) {
    if (isKeyId(keyId) && typeof signature === 'string') found.push({ keyId, signature });
  }
  return found;
}

/** Whether `text` names an Ed25519 key. The version is not checked: keys of other servers may be called anything. */
export function isKeyId(text: string): text is KeyId {
  return text.startsWith('ed25519:');
}

// `signer` comes from outside and may be "constructor" or "__proto__", which every object inherits.
function ownValue(object: JsonObject, key: string): JsonValue | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}
