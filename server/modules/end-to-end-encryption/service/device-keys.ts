import { canonicalJson } from '../../../matrix/canonical-json.ts';
import { badJson, invalidParam } from '../../../matrix/errors.ts';
import { type DeviceId, isUserId, type ServerName, serverNameOf, type UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import type { CrossSigningStore } from '../store/cross-signing.ts';
import type { DeviceKeyStore } from '../store/device-keys.ts';
import type { NamedKey, OneTimeKeyStore } from '../store/one-time-keys.ts';
import type { DeviceLists } from './device-lists.ts';

/** How long it is remembered that a key was claimed: longer than any client repeats an upload. */
const CLAIMED_KEPT_MS = 30 * 24 * 3_600_000;
const EXPIRY_INTERVAL_MS = 3_600_000;
/** Of one algorithm and device. Clients keep 50 to 100. */
const MAX_ONE_TIME_KEYS = 5_000;
/** What clients want to see counted even if there are none (spec: `device_one_time_keys_count`). */
const USUAL_ALGORITHM = 'signed_curve25519';

export interface KeyUpload {
  readonly device_keys?: JsonObject;
  readonly one_time_keys?: JsonObject;
  readonly fallback_keys?: JsonObject;
}

export interface DeviceKeys {
  /** Stores keys of the requester's device. @throws MatrixError M_INVALID_PARAM, M_BAD_JSON */
  upload(userId: UserId, deviceId: DeviceId, upload: KeyUpload): void;
  countOneTimeKeys(userId: UserId, deviceId: DeviceId): Readonly<Record<string, number>>;
  listUnusedFallback(userId: UserId, deviceId: DeviceId): readonly string[];
  /** The keys of a local user's devices as `viewer` may see them; of all devices if none are named. */
  query(userId: UserId, deviceIds: readonly string[], viewer: UserId | undefined): JsonObject;
  /** Takes a key of each algorithm wanted from a local user's device; the fallback key where there is no other. */
  claim(tx: WriteTx, userId: UserId, deviceId: DeviceId, algorithm: string): NamedKey | undefined;
  deviceRemoved(tx: WriteTx, userId: UserId, deviceId: DeviceId): void;
}

export interface DeviceKeysNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly devices: { findDisplayName(userId: UserId, deviceId: DeviceId): string | undefined };
  readonly keys: DeviceKeyStore;
  readonly oneTimeKeys: OneTimeKeyStore;
  readonly crossSigning: CrossSigningStore;
  readonly deviceLists: DeviceLists;
}

function readNamedKeys(keys: JsonObject, where: string): NamedKey[] {
  return Object.entries(keys).map(([name, key]) => {
    const colon = name.indexOf(':');
    if (colon < 1 || colon === name.length - 1 || Buffer.byteLength(name) > 255) {
      throw invalidParam(`${where}: "${name}" is not <algorithm>:<key ID>`);
    }
    if (typeof key !== 'string' && !isJsonObject(key)) throw badJson(`${where}.${name} must be text or an object`);
    return { algorithm: name.slice(0, colon), keyId: name.slice(colon + 1), key };
  });
}

function sameJson(a: JsonValue, b: JsonValue): boolean {
  return canonicalJson(a) === canonicalJson(b);
}

function checkOwner(keys: JsonObject, userId: UserId, deviceId: DeviceId): void {
  if (keys['user_id'] !== userId || keys['device_id'] !== deviceId) {
    throw invalidParam('device_keys: user_id and device_id must be those of the device that uploads them');
  }
}

export function createDeviceKeys(needs: DeviceKeysNeeds): DeviceKeys {
  const { db, clock, devices, keys, oneTimeKeys, crossSigning, deviceLists } = needs;
  let nextExpiry = 0;

  function putDeviceKeys(tx: WriteTx, userId: UserId, deviceId: DeviceId, uploaded: JsonObject): void {
    const { unsigned: _unsigned, ...deviceKeys } = uploaded;
    const old = keys.find(userId, deviceId);
    if (old !== undefined && sameJson(old, deviceKeys)) return;
    keys.put(tx, userId, deviceId, deviceKeys);
    if (old !== undefined) crossSigning.removeSignaturesOn(tx, userId, deviceId);
    deviceLists.changed(tx, userId);
  }

  function putOneTimeKeys(tx: WriteTx, userId: UserId, deviceId: DeviceId, uploaded: readonly NamedKey[]): void {
    const counts = new Map(Object.entries(oneTimeKeys.count(userId, deviceId)));
    for (const key of uploaded) {
      const known = oneTimeKeys.find(userId, deviceId, key.algorithm, key.keyId);
      if (known === undefined) {
        const count = (counts.get(key.algorithm) ?? 0) + 1;
        if (count > MAX_ONE_TIME_KEYS) throw invalidParam(`A device has at most ${MAX_ONE_TIME_KEYS} one-time keys`);
        counts.set(key.algorithm, count);
        oneTimeKeys.insert(tx, userId, deviceId, key);
      } else if (!known.claimed && !sameJson(known.key, key.key)) {
        // Two different keys of one name would make sessions that the device cannot open.
        throw invalidParam(`There already is another one-time key ${key.algorithm}:${key.keyId}`);
      }
    }
  }

  function withSignatures(
    userId: UserId,
    deviceId: DeviceId,
    deviceKeys: JsonObject,
    viewer: UserId | undefined,
  ): JsonObject {
    const displayName = devices.findDisplayName(userId, deviceId);
    const signers = viewer === undefined || viewer === userId ? [userId] : [userId, viewer];
    return {
      ...deviceKeys,
      ...mergeSignatures(crossSigning, deviceKeys, userId, deviceId, signers),
      unsigned: displayName === undefined ? {} : { device_display_name: displayName },
    };
  }

  return {
    upload: (userId, deviceId, upload) => {
      if (upload.device_keys !== undefined) checkOwner(upload.device_keys, userId, deviceId);
      const oneTime = readNamedKeys(upload.one_time_keys ?? {}, 'one_time_keys');
      const fallback = readNamedKeys(upload.fallback_keys ?? {}, 'fallback_keys');
      if (new Set(fallback.map(({ algorithm }) => algorithm)).size < fallback.length) {
        throw invalidParam('fallback_keys: there can be one key for each algorithm');
      }
      db.write((tx) => {
        if (upload.device_keys !== undefined) putDeviceKeys(tx, userId, deviceId, upload.device_keys);
        putOneTimeKeys(tx, userId, deviceId, oneTime);
        for (const key of fallback) oneTimeKeys.putFallback(tx, userId, deviceId, key);
        if (oneTime.length + fallback.length > 0) tx.touch(`device:${userId}/${deviceId}`);
      });
    },
    countOneTimeKeys: (userId, deviceId) => ({ [USUAL_ALGORITHM]: 0, ...oneTimeKeys.count(userId, deviceId) }),
    listUnusedFallback: (userId, deviceId) => oneTimeKeys.listUnusedFallback(userId, deviceId),
    query: (userId, deviceIds, viewer) => {
      const wanted = new Set(deviceIds);
      return Object.fromEntries(
        keys
          .list(userId)
          .filter(([deviceId]) => wanted.size === 0 || wanted.has(deviceId))
          .map(([deviceId, deviceKeys]) => [deviceId, withSignatures(userId, deviceId, deviceKeys, viewer)]),
      );
    },
    claim: (tx, userId, deviceId, algorithm) => {
      const now = clock.now();
      if (now >= nextExpiry) {
        nextExpiry = now + EXPIRY_INTERVAL_MS;
        oneTimeKeys.removeClaimedBefore(tx, now - CLAIMED_KEPT_MS);
      }
      const key = oneTimeKeys.claim(tx, userId, deviceId, algorithm, now);
      if (key !== undefined) {
        tx.touch(`device:${userId}/${deviceId}`);
        return key;
      }
      const fallback = oneTimeKeys.findFallback(userId, deviceId, algorithm);
      if (fallback === undefined) return undefined;
      if (!fallback.used) {
        oneTimeKeys.markFallbackUsed(tx, userId, deviceId, algorithm);
        tx.touch(`device:${userId}/${deviceId}`);
      }
      return fallback;
    },
    deviceRemoved: (tx, userId, deviceId) => {
      oneTimeKeys.removeDevice(tx, userId, deviceId);
      keys.remove(tx, userId, deviceId);
      crossSigning.removeSignaturesOn(tx, userId, deviceId);
      deviceLists.changed(tx, userId);
    },
  };
}

/** The `signatures` of keys with those that were made later, as far as they are by one of `signers`. */
export function mergeSignatures(
  store: CrossSigningStore,
  keys: JsonObject,
  userId: UserId,
  target: string,
  signers: readonly UserId[],
): { readonly signatures?: JsonObject } {
  const signatures = new Map<string, JsonValue>(
    isJsonObject(keys['signatures']) ? Object.entries(keys['signatures']) : [],
  );
  for (const signer of signers) {
    const later = store.listSignatures(userId, target, signer);
    if (later.length === 0) continue;
    const first = signatures.get(signer);
    signatures.set(signer, { ...(isJsonObject(first) ? first : {}), ...Object.fromEntries(later) });
  }
  // fromEntries makes own properties of every name, also of "__proto__".
  return signatures.size === 0 ? {} : { signatures: Object.fromEntries(signatures) };
}

/** Splits what is asked of users by the server they are on; what is no user ID is left out. */
export function splitByServer<T>(
  wanted: Readonly<Record<string, T>>,
  own: ServerName,
): {
  readonly local: readonly (readonly [UserId, T])[];
  readonly remote: ReadonlyMap<ServerName, readonly (readonly [UserId, T])[]>;
} {
  const local: (readonly [UserId, T])[] = [];
  const remote = new Map<ServerName, (readonly [UserId, T])[]>();
  for (const [userId, value] of Object.entries(wanted)) {
    if (!isUserId(userId)) continue;
    const server = serverNameOf(userId);
    if (server === own) local.push([userId, value]);
    else remote.set(server, [...(remote.get(server) ?? []), [userId, value]]);
  }
  return { local, remote };
}
