import { checkCanonical } from '../../../matrix/canonical-json.ts';
import { badJson, MatrixError } from '../../../matrix/errors.ts';
import { type DeviceId, isDeviceId, isUserId, type UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { Usage } from '../store/cross-signing.ts';
import type { RemoteCrossSigning, PublicDevice, RemoteSnapshot } from '../store/remote-lists.ts';
import { readCrossSigningKey } from './cross-signing.ts';
import { MAX_DEVICE_KEYS_BYTES } from './device-keys.ts';
import { withOwnSignatures } from './own-signatures.ts';

/*
 * Reads what other servers say of their users' devices. Nothing is kept that claims to be another user's or device's, or
 * that has no bounds; a bad device does not spoil the rest of a list.
 */

/** Devices of one user that are kept; what a list has beyond them is left out. */
export const MAX_DEVICES = 1_000;
const MAX_DISPLAY_NAME_LENGTH = 255;
/** Updates that one update may follow. From one server there is one, from a cluster a few. */
const MAX_PREV_IDS = 20;

/** One change of one device, as an EDU tells it (spec: `m.device_list_update`). */
export interface DeviceUpdate {
  readonly userId: UserId;
  readonly deviceId: DeviceId;
  readonly streamId: number;
  readonly prevIds: readonly number[];
  /** The device as it is now; undefined if it is gone or has no keys. */
  readonly device: PublicDevice | undefined;
}

function isNested(value: JsonValue | undefined, is: (inner: JsonValue) => boolean): boolean {
  return value === undefined || (isJsonObject(value) && Object.values(value).every(is));
}

function isText(value: JsonValue): boolean {
  return typeof value === 'string';
}

/**
 * The identity keys of a device (spec: DeviceKeys), or undefined if they are not. Fields that old servers leave out may
 * be missing; those that are there must name this user and this device.
 */
export function readDeviceKeys(userId: UserId, deviceId: string, keys: JsonValue | undefined): JsonObject | undefined {
  if (!isJsonObject(keys)) return undefined;
  const { user_id: user = userId, device_id: device = deviceId, algorithms = [], keys: named, signatures } = keys;
  if (user !== userId || device !== deviceId) return undefined;
  if (!Array.isArray(algorithms) || !algorithms.every(isText) || !isNested(named, isText)) return undefined;
  if (!isNested(signatures, (bySigner) => isNested(bySigner, isText))) return undefined;
  return isBounded(keys) ? withOwnSignatures(keys, userId) : undefined;
}

function isBounded(keys: JsonObject): boolean {
  return checkCanonical(keys, { strict: false }) === undefined && JSON.stringify(keys).length <= MAX_DEVICE_KEYS_BYTES;
}

function readDisplayName(name: JsonValue | undefined): string | undefined {
  return typeof name === 'string' ? name.slice(0, MAX_DISPLAY_NAME_LENGTH) : undefined;
}

/** A cross-signing key of somebody's, or undefined if it is none. */
export function readRemoteKey(userId: UserId, usage: Usage, key: JsonValue | undefined): JsonObject | undefined {
  if (!isJsonObject(key)) return undefined;
  try {
    const { keys } = readCrossSigningKey(userId, key, usage);
    return isBounded(keys) ? withOwnSignatures(keys, userId) : undefined;
  } catch (error) {
    if (error instanceof MatrixError) return undefined;
    throw error;
  }
}

/** An answer to `GET /user/devices/{userId}`, or undefined if it is none. */
export function readSnapshot(userId: UserId, answer: JsonValue): RemoteSnapshot | undefined {
  if (!isJsonObject(answer)) return undefined;
  const { user_id: user = userId, stream_id: stream, devices: listed } = answer;
  const streamId = readStreamId(stream);
  if (user !== userId || streamId === undefined || !Array.isArray(listed)) return undefined;
  const devices = new Map<DeviceId, PublicDevice>();
  for (const each of listed) {
    if (devices.size >= MAX_DEVICES) break;
    if (!isJsonObject(each)) continue;
    const { device_id: deviceId, keys: given, device_display_name: name } = each;
    if (typeof deviceId !== 'string' || !isDeviceId(deviceId)) continue;
    const keys = readDeviceKeys(userId, deviceId, given);
    if (keys !== undefined) devices.set(deviceId, { deviceId, keys, displayName: readDisplayName(name) });
  }
  return {
    streamId,
    devices,
    master: readRemoteKey(userId, 'master', answer['master_key']),
    selfSigning: readRemoteKey(userId, 'self_signing', answer['self_signing_key']),
  };
}

/** Devices of one user in an answer to `POST /user/keys/query`, as clients get them. */
export function readQueriedDevices(userId: UserId, wanted: readonly string[], answer: JsonValue): JsonObject {
  if (!isJsonObject(answer)) return {};
  const found: [string, JsonObject][] = [];
  for (const [deviceId, given] of Object.entries(answer)) {
    if (found.length >= MAX_DEVICES) break;
    if (!isDeviceId(deviceId) || (wanted.length > 0 && !wanted.includes(deviceId))) continue;
    const keys = readDeviceKeys(userId, deviceId, given);
    if (keys === undefined) continue;
    const unsigned = isJsonObject(given) ? given['unsigned'] : undefined;
    const name = isJsonObject(unsigned) ? readDisplayName(unsigned['device_display_name']) : undefined;
    found.push([deviceId, shownToClients(keys, name)]);
  }
  return Object.fromEntries(found);
}

/** A device's keys as clients get them. */
export function shownToClients(keys: JsonObject, displayName: string | undefined): JsonObject {
  return { ...keys, unsigned: displayName === undefined ? {} : { device_display_name: displayName } };
}

/** The content of an `m.device_list_update`. @throws MatrixError M_BAD_JSON */
export function readDeviceUpdate(content: JsonObject): DeviceUpdate {
  const { user_id: userId, device_id: deviceId, stream_id: stream, prev_id: prev = [], keys: given } = content;
  const streamId = readStreamId(stream);
  if (typeof userId !== 'string' || !isUserId(userId)) throw badJson('user_id must be a user ID');
  if (typeof deviceId !== 'string' || !isDeviceId(deviceId)) throw badJson('device_id must be a device ID');
  if (streamId === undefined) throw badJson('stream_id must be an integer');
  const prevIds = Array.isArray(prev) && prev.length <= MAX_PREV_IDS ? prev.map(readStreamId) : [undefined];
  const known = prevIds.filter((id) => id !== undefined);
  if (known.length < prevIds.length) throw badJson(`prev_id must be a list of at most ${MAX_PREV_IDS} integers`);
  const update = { userId, deviceId, streamId, prevIds: known };
  if (content['deleted'] === true || given === undefined || given === null) return { ...update, device: undefined };
  const keys = readDeviceKeys(userId, deviceId, given);
  if (keys === undefined) throw badJson('keys must be the keys of this device');
  return { ...update, device: { deviceId, keys, displayName: readDisplayName(content['device_display_name']) } };
}

/** The content of an `m.signing_key_update`; a key that is not there is undefined. @throws MatrixError M_BAD_JSON */
export function readSigningKeyUpdate(content: JsonObject): RemoteCrossSigning & { readonly userId: UserId } {
  const { user_id: userId, master_key: master, self_signing_key: selfSigning } = content;
  if (typeof userId !== 'string' || !isUserId(userId)) throw badJson('user_id must be a user ID');
  const read = (usage: Usage, key: JsonValue | undefined): JsonObject | undefined => {
    if (key === undefined || key === null) return undefined;
    const keys = readRemoteKey(userId, usage, key);
    if (keys === undefined) throw badJson(`${usage}_key must be a cross-signing key of the user`);
    return keys;
  };
  return { userId, master: read('master', master), selfSigning: read('self_signing', selfSigning) };
}

// Some servers have written them as text.
function readStreamId(id: JsonValue | undefined): number | undefined {
  const number = typeof id === 'string' && /^\d{1,16}$/.test(id) ? Number(id) : id;
  return typeof number === 'number' && Number.isSafeInteger(number) && number >= 0 ? number : undefined;
}
