import { randomBytes } from 'node:crypto';
import { encodeBase64 } from '../../server/matrix/base64.ts';
import type { JsonObject } from '../../server/matrix/json.ts';
import {
  addSignature,
  signedText,
  type SigningKey,
  signingKeyFromSeed,
  signText,
} from '../../server/matrix/signing.ts';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';

export const KEYS = '/_matrix/client/v3/keys';
export const CURVE = 'signed_curve25519';

export function newKey(): SigningKey {
  return signingKeyFromSeed(randomBytes(32), '0');
}

/** `object` signed by somebody's key, which is called `name`. */
export function signed(object: JsonObject, signer: string, name: string, key: SigningKey): JsonObject {
  const signature = signText(signedText(object), key);
  return { ...object, signatures: addSignature(object['signatures'], signer, `ed25519:${name}`, signature) };
}

function randomKey(): string {
  return encodeBase64(randomBytes(32));
}

/** A device's identity keys, signed by itself. */
export function deviceKeysOf({ userId, deviceId }: TestClient, key = newKey()): JsonObject {
  const keys = {
    user_id: userId,
    device_id: deviceId,
    algorithms: ['m.olm.v1.curve25519-aes-sha2', 'm.megolm.v1.aes-sha2'],
    keys: { [`curve25519:${deviceId}`]: randomKey(), [`ed25519:${deviceId}`]: key.publicKeyBase64 },
  };
  return signed(keys, userId, deviceId, key);
}

/** A one-time key as clients upload them. */
export function oneTimeKey({ userId, deviceId }: TestClient, key = newKey()): JsonObject {
  return signed({ key: randomKey() }, userId, deviceId, key);
}

/** One-time keys by name: `signed_curve25519:A1`, … */
export function oneTimeKeys(client: TestClient, count: number, prefix = 'A'): Record<string, JsonObject> {
  const key = newKey();
  const entries = Array.from({ length: count }, (_, n) => [`${CURVE}:${prefix}${n + 1}`, oneTimeKey(client, key)]);
  return Object.fromEntries(entries);
}

export async function upload(client: TestClient, body: Json): Promise<Json> {
  return expectOk(await client.post(`${KEYS}/upload`, body));
}

export async function query(client: TestClient, ...userIds: readonly string[]): Promise<Json> {
  const wanted = Object.fromEntries(userIds.map((userId) => [userId, []]));
  return expectOk(await client.post(`${KEYS}/query`, { device_keys: wanted }));
}

/** Claims a key of a device: its name and content, or undefined if there is none. */
export async function claim(
  client: TestClient,
  of: TestClient,
  algorithm = CURVE,
): Promise<{ name: string; key: Json } | undefined> {
  const wanted = { [of.userId]: { [of.deviceId]: algorithm } };
  const { one_time_keys: claimed } = expectOk(await client.post(`${KEYS}/claim`, { one_time_keys: wanted }));
  const [entry] = Object.entries<Json>(claimed[of.userId]?.[of.deviceId] ?? {});
  return entry === undefined ? undefined : { name: entry[0], key: entry[1] };
}

/** Somebody's three cross-signing keys, and the bodies they are uploaded in. */
export class Identity {
  readonly userId: string;
  readonly master: SigningKey;
  readonly selfSigning: SigningKey;
  readonly userSigning: SigningKey;

  constructor(userId: string, keys: { master?: SigningKey; selfSigning?: SigningKey; userSigning?: SigningKey } = {}) {
    this.userId = userId;
    this.master = keys.master ?? newKey();
    this.selfSigning = keys.selfSigning ?? newKey();
    this.userSigning = keys.userSigning ?? newKey();
  }

  get masterKey(): JsonObject {
    return this.#publicPart('master', this.master);
  }
  get selfSigningKey(): JsonObject {
    return this.#signedByMaster(this.#publicPart('self_signing', this.selfSigning));
  }
  get userSigningKey(): JsonObject {
    return this.#signedByMaster(this.#publicPart('user_signing', this.userSigning));
  }
  /** All three, as they are uploaded. */
  get keys(): JsonObject {
    return {
      master_key: this.masterKey,
      self_signing_key: this.selfSigningKey,
      user_signing_key: this.userSigningKey,
    };
  }

  async publish(client: TestClient): Promise<void> {
    expectOk(await client.post(`${KEYS}/device_signing/upload`, this.keys));
  }

  #publicPart(usage: string, key: SigningKey): JsonObject {
    const name = key.publicKeyBase64;
    return { user_id: this.userId, usage: [usage], keys: { [`ed25519:${name}`]: name } };
  }

  #signedByMaster(key: JsonObject): JsonObject {
    return signed(key, this.userId, this.master.publicKeyBase64, this.master);
  }
}

/** An object without its signatures. */
export function bare({ signatures: _signatures, ...rest }: JsonObject): JsonObject {
  return rest;
}
