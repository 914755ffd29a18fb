import { decodeBase64 } from '../matrix/base64.ts';
import type { ServerName } from '../matrix/identifiers.ts';
import type { JsonObject } from '../matrix/json.ts';
import { isKeyId, type KeyId, type SigningKey, signJson } from '../matrix/signing.ts';
import type { Clock } from '../util/clock.ts';
import type { ServerKey } from './key-ring/server-keys.ts';

export interface OwnKeysNeeds {
  readonly serverName: ServerName;
  /** The first is the one events and requests are signed with. */
  readonly signingKeys: readonly [SigningKey, ...SigningKey[]];
  /** Key ID → public key (unpadded base64) and when it was last used, ms. */
  readonly oldKeys: Readonly<Record<string, { readonly key: string; readonly expiredAtMs: number }>>;
  /** How long others may rely on an answer, ms. */
  readonly keyRefreshIntervalMs: number;
  readonly clock: Clock;
}

/** This server's own keys, as it publishes them. */
export class OwnKeys {
  readonly #needs: OwnKeysNeeds;
  /** Current and old ones by their ID; the current never expire for ourselves. */
  readonly keys: ReadonlyMap<KeyId, ServerKey>;
  #answer: { readonly json: JsonObject; readonly validUntil: number } | undefined;

  constructor(needs: OwnKeysNeeds) {
    this.#needs = needs;
    const keys = new Map<KeyId, ServerKey>();
    for (const [keyId, { key, expiredAtMs }] of Object.entries(needs.oldKeys)) {
      const publicKey = decodeBase64(key);
      if (!isKeyId(keyId) || publicKey === undefined) throw new TypeError('an old signing key is none');
      keys.set(keyId, { keyId, publicKey, validUntil: expiredAtMs, expired: true });
    }
    for (const { keyId, publicKey } of needs.signingKeys) {
      keys.set(keyId, { keyId, publicKey, validUntil: Number.POSITIVE_INFINITY, expired: false });
    }
    this.keys = keys;
  }

  /**
   * The answer to whoever asks for this server's keys, signed with each of them (spec: server-server API, "Publishing
   * Keys"). It always holds for at least half of the refresh interval.
   */
  answer(): JsonObject {
    const { clock, keyRefreshIntervalMs: interval } = this.#needs;
    const now = clock.now();
    const left = (this.#answer?.validUntil ?? 0) - now;
    // More than a whole interval is left where the machine's clock was set back.
    if (this.#answer === undefined || left < interval / 2 || left > interval) {
      this.#answer = { json: this.#sign(now + interval), validUntil: now + interval };
    }
    return this.#answer.json;
  }

  #sign(validUntil: number): JsonObject {
    const { serverName, signingKeys, oldKeys } = this.#needs;
    const current = Object.fromEntries(signingKeys.map((key) => [key.keyId, { key: key.publicKeyBase64 }]));
    const old = Object.entries(oldKeys)
      .filter(([keyId]) => !Object.hasOwn(current, keyId))
      .map(([keyId, { key, expiredAtMs }]) => [keyId, { key, expired_ts: expiredAtMs }]);
    let json: JsonObject = {
      server_name: serverName,
      verify_keys: current,
      old_verify_keys: Object.fromEntries(old),
      valid_until_ts: validUntil,
    };
    for (const key of signingKeys) json = signJson(json, serverName, key);
    return json;
  }
}
