import { canonicalJson, checkCanonical } from '../../../matrix/canonical-json.ts';
import { badJson, invalidParam, tooLarge, unknownError, unknownToken } from '../../../matrix/errors.ts';
import { type DeviceId, isUserId, type ServerName, serverNameOf, type UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';
import type { CrossSigningStore } from '../store/cross-signing.ts';
import type { DeviceKeyStore } from '../store/device-keys.ts';
import { type KeyContent, type NamedKey, type OneTimeKeyStore, publicKeyOf } from '../store/one-time-keys.ts';
import type { PublicDevice } from '../store/remote-lists.ts';
import type { DeviceLists } from './device-lists.ts';
import { withOwnSignatures } from './own-signatures.ts';

/** The identity keys of one device. Usual ones have about 1 kB. */
export const MAX_DEVICE_KEYS_BYTES = 64 * 1024;
/** Of one device. Clients keep 50 to 100. */
const MAX_ONE_TIME_KEYS = 5_000;
/** Algorithms of one device's fallback keys. There is one that is in use. */
const MAX_FALLBACK_KEYS = 20;
/** What clients want to see counted even if there are none (spec: `device_one_time_keys_count`). */
const USUAL_ALGORITHM = 'signed_curve25519';

export interface KeyUpload {
  readonly device_keys?: JsonObject;
  readonly one_time_keys?: JsonObject;
  readonly fallback_keys?: JsonObject;
}

export interface DeviceKeys {
  /**
   * Stores keys of the requester's device.
   * @throws MatrixError M_BAD_JSON, M_INVALID_PARAM, M_UNKNOWN_TOKEN if the device is gone
   */
  upload(userId: UserId, deviceId: DeviceId, upload: KeyUpload): void;
  countOneTimeKeys(userId: UserId, deviceId: DeviceId): Readonly<Record<string, number>>;
  listUnusedFallback(userId: UserId, deviceId: DeviceId): readonly string[];
  /** The keys of a local user's devices as `viewer` may see them; of all devices if none are named. */
  query(userId: UserId, deviceIds: readonly string[], viewer: UserId | undefined): JsonObject;
  /** The same as other servers may see them. */
  listForServers(userId: UserId, deviceIds?: readonly string[]): PublicDevice[];
  /** Takes a key of a local user's device; the fallback key where there is no other. */
  claim(tx: WriteTx, userId: UserId, deviceId: DeviceId, algorithm: string): NamedKey | undefined;
  deviceRemoved(tx: WriteTx, userId: UserId, deviceId: DeviceId): void;
}

export interface DeviceKeysNeeds {
  readonly db: Database;
  readonly devices: {
    exists(userId: UserId, deviceId: DeviceId): boolean;
    findDisplayName(userId: UserId, deviceId: DeviceId): string | undefined;
  };
  readonly keys: DeviceKeyStore;
  readonly oneTimeKeys: OneTimeKeyStore;
  readonly crossSigning: CrossSigningStore;
  readonly deviceLists: DeviceLists;
  /** Whether other servers are told the names of devices. */
  readonly namesForServers: boolean;
}

/** Whether this is a one-time or fallback key (spec: "Key algorithms", KeyObject). */
export function isKeyContent(key: JsonValue): key is KeyContent {
  return (
    typeof key === 'string' || (isJsonObject(key) && typeof key['key'] === 'string' && isJsonObject(key['signatures']))
  );
}

function readNamedKeys(keys: JsonObject, where: string): NamedKey[] {
  return Object.entries(keys).map(([name, key]) => {
    const colon = name.indexOf(':');
    if (colon < 1 || colon === name.length - 1 || Buffer.byteLength(name) > 255) {
      throw badJson(`${where}: "${name}" is not <algorithm>:<key ID>`);
    }
    if (!isKeyContent(key)) throw badJson(`${where}.${name} must be a key, or an object with a key and its signatures`);
    return { algorithm: name.slice(0, colon), keyId: name.slice(colon + 1), key };
  });
}

/** What `device_keys` say, as far as signatures cover it. */
function contentOf({ signatures: _signatures, unsigned: _unsigned, ...content }: JsonObject): string {
  return canonicalJson(content);
}

function checkDeviceKeys(deviceKeys: JsonObject, userId: UserId, deviceId: DeviceId): void {
  if (deviceKeys['user_id'] !== userId || deviceKeys['device_id'] !== deviceId) {
    throw badJson('device_keys: user_id and device_id must be those of the device that uploads them');
  }
  const problem = checkCanonical(deviceKeys);
  if (problem !== undefined) throw badJson(`device_keys: ${problem}`);
  // Other servers would not take more.
  if (JSON.stringify(deviceKeys).length > MAX_DEVICE_KEYS_BYTES) {
    throw tooLarge(`device_keys: at most ${MAX_DEVICE_KEYS_BYTES} bytes`);
  }
}

export function createDeviceKeys(needs: DeviceKeysNeeds): DeviceKeys {
  const { db, devices, keys, oneTimeKeys, crossSigning, deviceLists } = needs;

  function putDeviceKeys(tx: WriteTx, userId: UserId, deviceId: DeviceId, uploaded: JsonObject): void {
    const { unsigned: _unsigned, ...deviceKeys } = uploaded;
    const old = keys.find(userId, deviceId);
    if (old !== undefined && canonicalJson(old) === canonicalJson(deviceKeys)) return;
    keys.put(tx, userId, deviceId, deviceKeys);
    if (old !== undefined && contentOf(old) !== contentOf(deviceKeys)) {
      crossSigning.removeSignaturesAround(tx, userId, deviceId);
      // A device that begins anew cannot open what is sent to its old keys, nor can anybody check those any more.
      const isNewIdentity = canonicalJson(old['keys'] ?? null) !== canonicalJson(deviceKeys['keys'] ?? null);
      if (isNewIdentity) oneTimeKeys.removeKeys(tx, userId, deviceId);
    }
    deviceLists.changed(tx, userId, [{ device: deviceId }]);
  }

  function putOneTimeKeys(tx: WriteTx, userId: UserId, deviceId: DeviceId, uploaded: readonly NamedKey[]): void {
    if (uploaded.length === 0) return;
    let count = Object.values(oneTimeKeys.count(userId, deviceId)).reduce((sum, some) => sum + some, 0);
    for (const named of uploaded) {
      if (oneTimeKeys.wasClaimed(userId, deviceId, named)) continue;
      const { algorithm, keyId, key } = named;
      const known = oneTimeKeys.find(userId, deviceId, algorithm, keyId);
      if (known === undefined) {
        count += 1;
        if (count > MAX_ONE_TIME_KEYS) throw invalidParam(`A device has at most ${MAX_ONE_TIME_KEYS} one-time keys`);
        oneTimeKeys.insert(tx, userId, deviceId, named);
      } else if (publicKeyOf(known) !== publicKeyOf(key)) {
        // Two different keys of one name would make sessions that the device cannot open. Clients know the refusal by
        // these words.
        throw unknownError(`One time key ${algorithm}:${keyId} already exists, and it is another one`);
      }
    }
  }

  function putFallbackKeys(tx: WriteTx, userId: UserId, deviceId: DeviceId, uploaded: readonly NamedKey[]): void {
    for (const named of uploaded) {
      const old = oneTimeKeys.findFallback(userId, deviceId, named.algorithm);
      // The same one again stays used if it was.
      const isSame = old?.keyId === named.keyId && publicKeyOf(old.key) === publicKeyOf(named.key);
      if (!isSame) oneTimeKeys.putFallback(tx, userId, deviceId, named);
    }
    if (uploaded.length > 0 && oneTimeKeys.listFallback(userId, deviceId).length > MAX_FALLBACK_KEYS) {
      throw invalidParam(`A device has fallback keys of at most ${MAX_FALLBACK_KEYS} algorithms`);
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
      if (upload.device_keys !== undefined) checkDeviceKeys(upload.device_keys, userId, deviceId);
      const oneTime = readNamedKeys(upload.one_time_keys ?? {}, 'one_time_keys');
      const fallback = readNamedKeys(upload.fallback_keys ?? {}, 'fallback_keys');
      if (new Set(fallback.map(({ algorithm }) => algorithm)).size < fallback.length) {
        throw invalidParam('fallback_keys: there can be one key for each algorithm');
      }
      // It may have been deleted while the request was on its way; its keys would stay for ever.
      if (!devices.exists(userId, deviceId)) throw unknownToken('This device is gone');
      db.write((tx) => {
        if (upload.device_keys !== undefined) putDeviceKeys(tx, userId, deviceId, upload.device_keys);
        putOneTimeKeys(tx, userId, deviceId, oneTime);
        putFallbackKeys(tx, userId, deviceId, fallback);
        if (oneTime.length + fallback.length > 0) countsChanged(tx, userId, deviceId);
      });
    },
    countOneTimeKeys: (userId, deviceId) => ({ [USUAL_ALGORITHM]: 0, ...oneTimeKeys.count(userId, deviceId) }),
    listUnusedFallback: (userId, deviceId) =>
      oneTimeKeys.listFallback(userId, deviceId).flatMap(({ algorithm, used }) => (used ? [] : [algorithm])),
    query: (userId, deviceIds, viewer) => {
      const wanted = new Set(deviceIds);
      return Object.fromEntries(
        keys
          .list(userId)
          .filter(([deviceId]) => wanted.size === 0 || wanted.has(deviceId))
          .map(([deviceId, deviceKeys]) => [deviceId, withSignatures(userId, deviceId, deviceKeys, viewer)]),
      );
    },
    listForServers: (userId, deviceIds = []) => {
      const wanted = new Set(deviceIds);
      return keys
        .list(userId)
        .filter(([deviceId]) => wanted.size === 0 || wanted.has(deviceId))
        .map(([deviceId, deviceKeys]) => {
          const signed = { ...deviceKeys, ...mergeSignatures(crossSigning, deviceKeys, userId, deviceId, [userId]) };
          const displayName = needs.namesForServers ? devices.findDisplayName(userId, deviceId) : undefined;
          return { deviceId, keys: withOwnSignatures(signed, userId), displayName };
        });
    },
    claim: (tx, userId, deviceId, algorithm) => {
      const key = oneTimeKeys.claim(tx, userId, deviceId, algorithm);
      if (key !== undefined) {
        countsChanged(tx, userId, deviceId);
        return key;
      }
      const fallback = oneTimeKeys.findFallback(userId, deviceId, algorithm);
      if (fallback === undefined) return undefined;
      if (!fallback.used) {
        oneTimeKeys.markFallbackUsed(tx, userId, deviceId, algorithm);
        countsChanged(tx, userId, deviceId);
      }
      return fallback;
    },
    deviceRemoved: (tx, userId, deviceId) => {
      oneTimeKeys.removeDevice(tx, userId, deviceId);
      keys.remove(tx, userId, deviceId);
      crossSigning.removeSignaturesAround(tx, userId, deviceId);
      deviceLists.changed(tx, userId, [{ device: deviceId }]);
    },
  };
}

/** Wakes the device: its next answer of /sync tells what it has left. */
function countsChanged(tx: WriteTx, userId: UserId, deviceId: DeviceId): void {
  // Who waits is only woken for something later than what they have read.
  tx.nextPosition();
  tx.touch(`device:${userId}/${deviceId}`);
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
    const users = server === own ? local : remote.get(server);
    if (users === undefined) remote.set(server, [[userId, value]]);
    else users.push([userId, value]);
  }
  return { local, remote };
}
