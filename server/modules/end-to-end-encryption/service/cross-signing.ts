import { decodeBase64, encodeBase64 } from '../../../matrix/base64.ts';
import { canonicalJson, checkCanonical } from '../../../matrix/canonical-json.ts';
import { badJson, forbidden, invalidParam, MatrixError, missingParam } from '../../../matrix/errors.ts';
import { type DeviceId, isDeviceId, isUserId, type UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../../matrix/json.ts';
import { PUBLIC_KEY_BYTES, signaturesOf, verifyJson } from '../../../matrix/signing.ts';
import type { Database } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import { Pace } from '../../../util/pace.ts';
import type { CrossSigningKey, CrossSigningStore, KeySignature, Usage } from '../store/cross-signing.ts';
import type { DeviceKeyStore } from '../store/device-keys.ts';
import { mergeSignatures } from './device-keys.ts';
import type { OwnChange } from '../store/own-changes.ts';
import type { DeviceLists } from './device-lists.ts';
import { withOwnSignatures } from './own-signatures.ts';

const MASTER = 'master';
/** How long signatures are verified at a stretch. */
const SLICE_MS = 5;
const FIELDS: readonly (readonly [field: 'master_key' | 'self_signing_key' | 'user_signing_key', usage: Usage])[] = [
  ['master_key', MASTER],
  ['self_signing_key', 'self_signing'],
  ['user_signing_key', 'user_signing'],
];

/** What a user uploads, checked. */
export type CrossSigningUpload = ReadonlyMap<Usage, CrossSigningKey>;

export interface CrossSigning {
  /**
   * Reads and checks an upload of cross-signing keys.
   * @throws MatrixError M_BAD_JSON, M_INVALID_PARAM, M_MISSING_PARAM (no master key), M_INVALID_SIGNATURE, M_FORBIDDEN
   */
  read(userId: UserId, body: JsonObject): CrossSigningUpload;
  /** Whether the upload would add to, or replace, the keys of a user who has a master key: that wants proof of identity. */
  replaces(userId: UserId, upload: CrossSigningUpload): boolean;
  store(userId: UserId, upload: CrossSigningUpload): void;
  /**
   * Stores signatures of a user on keys; those that were refused, by user and key, with the error. `masterKeys`: of users
   * of other servers.
   */
  addSignatures(
    signer: UserId,
    uploaded: Readonly<Record<string, JsonObject>>,
    masterKeys: JsonObject,
  ): Promise<Readonly<Record<string, JsonObject>>>;
  /** A user's key with the signatures `viewer` may see; the user-signing key is its owner's alone. */
  find(userId: UserId, usage: Usage, viewer: UserId | undefined): JsonObject | undefined;
  /** A local user's key as other servers may see it. */
  findForServers(userId: UserId, usage: 'master' | 'self_signing'): JsonObject | undefined;
  /** The master key of another server's user with the signatures that `viewer` made of it. */
  showRemoteMaster(userId: UserId, key: JsonObject, viewer: UserId): JsonObject;
}

function invalidSignature(message: string): MatrixError {
  return new MatrixError('M_INVALID_SIGNATURE', message, { status: 400 });
}

/** A key without what signatures do not cover, to compare it by. */
function contentOf({ signatures: _signatures, unsigned: _unsigned, ...content }: JsonObject): string {
  return canonicalJson(content);
}

/** What has no canonical form cannot be signed. */
function checkSignable(key: JsonObject, field: string): void {
  const problem = checkCanonical(key);
  if (problem !== undefined) throw badJson(`${field}: ${problem}`);
}

/** A cross-signing key with the one public key in it. @throws MatrixError M_BAD_JSON, M_INVALID_PARAM */
export function readCrossSigningKey(userId: UserId, key: unknown, usage: Usage): CrossSigningKey {
  const field = `${usage}_key`;
  if (!isJsonObject(key)) throw invalidParam(`${field} must be an object`);
  checkSignable(key, field);
  if (key['user_id'] !== userId) throw invalidParam(`${field}.user_id must be your own`);
  const usages = key['usage'];
  if (!Array.isArray(usages) || !usages.includes(usage)) throw invalidParam(`${field}.usage must contain "${usage}"`);
  const keys = isJsonObject(key['keys']) ? Object.entries(key['keys']) : [];
  const [first] = keys;
  if (first === undefined || keys.length !== 1) throw invalidParam(`${field}.keys must hold one key`);
  const [name, publicKey] = first;
  if (typeof publicKey !== 'string' || !isPublicKey(publicKey) || name !== `ed25519:${publicKey}`) {
    throw invalidParam(`${field}.keys must hold an Ed25519 key in unpadded base64, named ed25519: and the key itself`);
  }
  const { unsigned: _unsigned, ...kept } = key;
  return { publicKey, keys: kept };
}

function isPublicKey(text: string): boolean {
  const bytes = decodeBase64(text);
  return bytes?.length === PUBLIC_KEY_BYTES && encodeBase64(bytes) === text;
}

export function createCrossSigning(needs: {
  readonly db: Database;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly devices: { exists(userId: UserId, deviceId: DeviceId): boolean };
  readonly deviceKeys: DeviceKeyStore;
  readonly store: CrossSigningStore;
  readonly deviceLists: DeviceLists;
}): CrossSigning {
  const { db, clock, devices, deviceKeys, store, deviceLists } = needs;

  function isSame(userId: UserId, usage: Usage, key: CrossSigningKey): boolean {
    const old = store.find(userId, usage);
    return old !== undefined && contentOf(old.keys) === contentOf(key.keys);
  }

  /** The keys of a user that `target` names, for a signature of `signer`, and what they have to be signed with. */
  function findSigned(
    signer: UserId,
    userId: UserId,
    target: string,
    masterKeys: JsonObject,
  ): { readonly keys: JsonObject; readonly signingKeys: readonly (readonly [id: string, publicKey: string])[] } {
    const master = store.find(userId, MASTER) ?? findRemoteMaster(userId, masterKeys);
    if (userId !== signer) {
      // Of others one signs the master key, with one's user-signing key.
      const own = store.find(signer, 'user_signing');
      if (own === undefined) throw new MatrixError('M_NOT_FOUND', 'You have no user-signing key');
      if (master?.publicKey !== target) throw new MatrixError('M_NOT_FOUND', 'The user has no such master key');
      return { keys: master.keys, signingKeys: [[`ed25519:${own.publicKey}`, own.publicKey]] };
    }
    if (master?.publicKey === target) {
      // One's own master key is signed by one's devices.
      return {
        keys: master.keys,
        signingKeys: deviceKeys.list(signer).flatMap(([id, keys]) => signingKeyOf(id, keys)),
      };
    }
    const keys = isDeviceId(target) ? deviceKeys.find(signer, target) : undefined;
    if (keys === undefined) throw new MatrixError('M_NOT_FOUND', 'There is no such device or master key');
    const selfSigning = store.find(signer, 'self_signing');
    if (selfSigning === undefined) throw new MatrixError('M_NOT_FOUND', 'You have no self-signing key');
    return { keys, signingKeys: [[`ed25519:${selfSigning.publicKey}`, selfSigning.publicKey]] };
  }

  /** The signatures of `signer` on what was uploaded, each verified; throws if there is none or one is bad. */
  function readSignatures(
    signer: UserId,
    userId: UserId,
    target: string,
    { uploaded, masterKeys }: { readonly uploaded: unknown; readonly masterKeys: JsonObject },
  ): KeySignature[] {
    if (!isJsonObject(uploaded)) throw invalidParam('A signed key must be an object');
    checkSignable(uploaded, target);
    const { keys, signingKeys } = findSigned(signer, userId, target, masterKeys);
    if (contentOf(uploaded) !== contentOf(keys)) {
      throw invalidSignature('What was signed is not the key that was uploaded');
    }
    const found = signaturesOf(uploaded, signer);
    const relevant = signingKeys.filter(([id]) => found.some(({ keyId }) => keyId === id));
    if (relevant.length === 0) throw invalidSignature('There is no signature of a key that may sign this');
    return relevant.map(([id, publicKey]) => {
      const signature = found.find(({ keyId }) => keyId === id)?.signature;
      if (signature === undefined || !verifyJson(uploaded, signer, id, publicKey)) {
        throw invalidSignature('The signature is not valid');
      }
      return { userId, target, signer, signingKeyId: id, signature };
    });
  }

  /** Which of one's own things were signed. */
  function listChanges(userId: UserId, signatures: readonly KeySignature[]): OwnChange[] {
    return [...new Set(signatures.map(({ target }) => target))].map((target) =>
      isDeviceId(target) && store.find(userId, MASTER)?.publicKey !== target ? { device: target } : 'cross-signing',
    );
  }

  function storeSignatures(signer: UserId, good: readonly KeySignature[]): void {
    if (good.length === 0) return;
    db.write((tx) => {
      for (const signature of good) store.putSignature(tx, signature);
      const own = good.filter(({ userId }) => userId === signer);
      if (own.length > 0) deviceLists.changed(tx, signer, listChanges(signer, own));
      // What one signs of others concerns nobody but oneself.
      for (const { userId } of good) if (userId !== signer) deviceLists.changedFor(tx, userId, signer);
    });
  }

  return {
    read: (userId, body) => {
      const upload = new Map<Usage, CrossSigningKey>();
      for (const [field, usage] of FIELDS) {
        const key = body[field];
        if (key !== undefined && key !== null) upload.set(usage, readCrossSigningKey(userId, key, usage));
      }
      const master = upload.get(MASTER) ?? store.find(userId, MASTER);
      if (master === undefined) throw missingParam('There is no master key');
      for (const [usage, { publicKey, keys }] of upload) {
        if (isDeviceId(publicKey) && devices.exists(userId, publicKey)) {
          throw forbidden('A device of yours is called like the key');
        }
        if (usage !== MASTER && !verifyJson(keys, userId, `ed25519:${master.publicKey}`, master.publicKey)) {
          throw invalidSignature(`The ${usage} key is not signed by the master key`);
        }
      }
      return upload;
    },
    replaces: (userId, upload) =>
      store.find(userId, MASTER) !== undefined && [...upload].some(([usage, key]) => !isSame(userId, usage, key)),
    store: (userId, upload) => {
      const news = [...upload].filter(([usage, key]) => !isSame(userId, usage, key));
      if (news.length === 0) return;
      db.write((tx) => {
        for (const [usage, key] of news) {
          const old = store.find(userId, usage);
          if (old !== undefined) store.removeSignaturesAround(tx, userId, old.publicKey);
          store.put(tx, userId, usage, key);
        }
        // The user-signing key is shown to nobody else.
        if (news.some(([usage]) => usage !== 'user_signing')) deviceLists.changed(tx, userId, ['cross-signing']);
        else deviceLists.changedFor(tx, userId, userId);
      });
    },
    addSignatures: async (signer, uploaded, masterKeys) => {
      const failures = new Map<string, Map<string, JsonObject>>();
      const waiting = Object.entries(uploaded).flatMap(([userId, byTarget]) =>
        Object.entries(byTarget).map(([target, signed]) => [userId, target, signed] as const),
      );
      const pace = new Pace(clock, SLICE_MS);
      for (let at = 0; at < waiting.length; ) {
        await pace.step();
        const good: KeySignature[] = [];
        // What was verified is stored before anybody has a turn to change the keys it was verified against.
        do {
          const [userId, target, signed] = waiting[at] ?? ['', '', {}];
          at += 1;
          try {
            if (!isUserId(userId)) throw invalidParam('This is no user ID');
            good.push(...readSignatures(signer, userId, target, { uploaded: signed, masterKeys }));
          } catch (error) {
            if (!(error instanceof MatrixError)) throw error;
            const failed = failures.get(userId) ?? new Map<string, JsonObject>();
            failures.set(userId, failed.set(target, { errcode: error.errcode, error: error.message }));
          }
        } while (at < waiting.length && pace.isOn);
        storeSignatures(signer, good);
      }
      return Object.fromEntries([...failures].map(([userId, failed]) => [userId, Object.fromEntries(failed)]));
    },
    find: (userId, usage, viewer) => {
      if (usage === 'user_signing' && viewer !== userId) return undefined;
      const key = store.find(userId, usage);
      if (key === undefined) return undefined;
      const signers = viewer === undefined || viewer === userId ? [userId] : [userId, viewer];
      return { ...key.keys, ...mergeSignatures(store, key.keys, userId, key.publicKey, signers) };
    },
    findForServers: (userId, usage) => {
      const key = store.find(userId, usage);
      if (key === undefined) return undefined;
      const signed = { ...key.keys, ...mergeSignatures(store, key.keys, userId, key.publicKey, [userId]) };
      return withOwnSignatures(signed, userId);
    },
    showRemoteMaster: (userId, key, viewer) => {
      const { publicKey } = readCrossSigningKey(userId, key, MASTER);
      return { ...key, ...mergeSignatures(store, key, userId, publicKey, [viewer]) };
    },
  };
}

/** The master key of another server's user among those that were fetched. */
function findRemoteMaster(userId: UserId, masterKeys: JsonObject): CrossSigningKey | undefined {
  const key = Object.hasOwn(masterKeys, userId) ? masterKeys[userId] : undefined;
  return key === undefined ? undefined : readCrossSigningKey(userId, key, MASTER);
}

function signingKeyOf(deviceId: DeviceId, keys: JsonObject): (readonly [string, string])[] {
  const id = `ed25519:${deviceId}`;
  const publicKey = isJsonObject(keys['keys']) ? keys['keys'][id] : undefined;
  return typeof publicKey === 'string' ? [[id, publicKey]] : [];
}
