import { badJson, invalidParam, MatrixError, notFound, tooLarge } from '../../../matrix/errors.ts';
import type { UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../../../matrix/json.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';
import { turns } from '../../../util/turns.ts';
import { type UploadedKey, toBackedUpKey } from './read-upload.ts';
import type { BackedUpKey, BackupConfig, BackupVersion, KeyBackupStore, KeyName } from './store.ts';
import type { Sweeper } from './sweeper.ts';

/** Keys stored or removed before others have a turn: with its commit that takes about 5 ms. */
const KEYS_AT_ONCE = 200;
/** Keys read before others have a turn. */
const PAGE = 500;
/** A public key and signatures have about 1 kB. */
const MAX_AUTH_DATA_BYTES = 64 * 1024;

/** What a change of keys is answered with. */
export interface BackupState {
  readonly etag: string;
  readonly count: number;
}

/** The backups of users' keys (spec: "Server-side key backups"). A version that is unknown or deleted: M_NOT_FOUND. */
export interface KeyBackups {
  /** Begins a backup, and gives its version. */
  create(userId: UserId, config: BackupConfig): string;
  /** What is known of a version, of the newest if none is named. */
  describe(userId: UserId, version?: string): JsonObject;
  /** Changes `auth_data`. @throws MatrixError M_INVALID_PARAM if it is about another version or algorithm */
  update(userId: UserId, version: string, change: BackupConfig & { readonly version: string | undefined }): void;
  /** Deletes a version with its keys. One that was deleted before is no error. */
  remove(userId: UserId, version: string): void;
  /**
   * Stores keys in the newest backup, the better one of two for a session. What is a lot is stored in several
   * transactions; to repeat a request that broke off does no harm.
   * @throws MatrixError M_WRONG_ROOM_KEYS_VERSION
   */
  put(userId: UserId, version: string, keys: readonly UploadedKey[]): Promise<BackupState>;
  /** @throws MatrixError M_NOT_FOUND if there is no such key */
  get(userId: UserId, version: string, name: KeyName): BackedUpKey;
  /** Keys in the order of their rooms, in pages; of one room if it is named. Fails if they are let go of meanwhile. */
  pages(
    userId: UserId,
    version: string,
    roomId: string | undefined,
  ): {
    readonly first: readonly (KeyName & BackedUpKey)[];
    readonly rest: AsyncIterable<readonly (KeyName & BackedUpKey)[]>;
  };
  /** Removes a key, if it is there. */
  removeKey(userId: UserId, version: string, name: KeyName): BackupState;
  removeKeysOfRoom(userId: UserId, version: string, roomId: string): Promise<BackupState>;
  removeKeys(userId: UserId, version: string): BackupState;
  /** Every backup of a user's. */
  removeUser(tx: WriteTx, userId: UserId): void;
}

const UNKNOWN_VERSION = 'There is no such backup';

export function createKeyBackups(needs: {
  readonly db: Database;
  readonly store: KeyBackupStore;
  readonly sweeper: Sweeper;
}): KeyBackups {
  const { db, store, sweeper } = needs;

  function get(userId: UserId, version: string): BackupVersion {
    const number = parseVersion(version);
    const found = number === undefined ? undefined : store.findVersion(userId, number);
    if (found === undefined || found === 'deleted') throw notFound(UNKNOWN_VERSION);
    return found;
  }

  /** The version, if it is the one that keys may be written to. */
  function getNewest(userId: UserId, version: string): BackupVersion {
    const found = get(userId, version);
    const newest = store.findLatest(userId);
    if (newest !== undefined && newest.version !== found.version) {
      throw new MatrixError('M_WRONG_ROOM_KEYS_VERSION', 'Keys go into the newest backup only', {
        fields: { current_version: String(newest.version) },
      });
    }
    return found;
  }

  function stateOf(userId: UserId, version: string): BackupState {
    const { etag, count } = get(userId, version);
    return { etag: String(etag), count };
  }

  function putSome(tx: WriteTx, userId: UserId, version: string, keys: readonly UploadedKey[]): void {
    const { version: number, storeId } = getNewest(userId, version);
    const outcomes = keys.map((uploaded) => store.put(tx, storeId, uploaded, toBackedUpKey(uploaded.key)));
    if (outcomes.every((outcome) => outcome === 'no better')) return;
    store.changed(tx, userId, number, outcomes.filter((outcome) => outcome === 'new').length);
  }

  return {
    create: (userId, config) => {
      checkAuthData(config.authData);
      return String(db.write((tx) => store.insertVersion(tx, userId, config)));
    },

    describe: (userId, version) => {
      const found = version === undefined ? store.findLatest(userId) : get(userId, version);
      if (found === undefined) throw notFound('There is no backup');
      return {
        algorithm: found.algorithm,
        auth_data: found.authData,
        count: found.count,
        etag: String(found.etag),
        version: String(found.version),
      };
    },

    update: (userId, version, change) => {
      checkAuthData(change.authData);
      if (change.version !== undefined && change.version !== version) {
        throw invalidParam('The version of the body is not that of the path');
      }
      const found = get(userId, version);
      if (found.algorithm !== change.algorithm) throw invalidParam('The algorithm of a backup cannot be changed');
      db.write((tx) => store.setAuthData(tx, userId, found.version, change.authData));
    },

    remove: (userId, version) => {
      const number = parseVersion(version);
      const found = number === undefined ? undefined : store.findVersion(userId, number);
      if (found === undefined) throw notFound(UNKNOWN_VERSION);
      if (found === 'deleted') return;
      db.write((tx) => {
        store.removeVersion(tx, userId, found);
        sweeper.wakeAfter(tx);
      });
    },

    put: async (userId, version, keys) => {
      getNewest(userId, version);
      for (let done = 0; done < keys.length; done += KEYS_AT_ONCE) {
        // The first ones need not wait, unless reading so large a body has already taken its time.
        if (keys.length > KEYS_AT_ONCE) await turns.wait();
        db.write((tx) => putSome(tx, userId, version, keys.slice(done, done + KEYS_AT_ONCE)));
      }
      return stateOf(userId, version);
    },

    get: (userId, version, name) => {
      const key = store.find(get(userId, version).storeId, name);
      if (key === undefined) throw notFound('There is no such key');
      return key;
    },

    pages: (userId, version, roomId) => {
      const { storeId } = get(userId, version);
      const first = store.list(storeId, { roomId, after: undefined, limit: PAGE });
      async function* readOn(): AsyncGenerator<readonly (KeyName & BackedUpKey)[], void> {
        for (let page = first; page.length === PAGE; ) {
          await turns.wait();
          // A backup of which half is missing must not look like a whole one.
          if (get(userId, version).storeId !== storeId) throw new Error('the keys were deleted while they were read');
          page = store.list(storeId, { roomId, after: page.at(-1), limit: PAGE });
          await db.committed();
          yield page;
        }
      }
      return { first, rest: readOn() };
    },

    removeKey: (userId, version, name) => {
      const { version: number, storeId } = get(userId, version);
      db.write((tx) => {
        if (store.remove(tx, storeId, name)) store.changed(tx, userId, number, -1);
      });
      return stateOf(userId, version);
    },

    removeKeysOfRoom: async (userId, version, roomId) => {
      for (;;) {
        const removed = db.write((tx) => {
          const { version: number, storeId } = get(userId, version);
          const count = store.removeOfRoom(tx, storeId, roomId, KEYS_AT_ONCE);
          if (count > 0) store.changed(tx, userId, number, -count);
          return count;
        });
        if (removed < KEYS_AT_ONCE) return stateOf(userId, version);
        await turns.wait();
      }
    },

    removeKeys: (userId, version) => {
      const found = get(userId, version);
      if (found.count > 0) {
        db.write((tx) => {
          store.empty(tx, userId, found);
          sweeper.wakeAfter(tx);
        });
      }
      return stateOf(userId, version);
    },

    removeUser: (tx, userId) => {
      store.removeUser(tx, userId);
      sweeper.wakeAfter(tx);
    },
  };
}

/** Clients are to take versions for opaque; those of this server are numbers from 1 on. */
function parseVersion(text: string): number | undefined {
  return /^[1-9][0-9]{0,14}$/.test(text) ? Number(text) : undefined;
}

function checkAuthData(authData: JsonValue): void {
  if (authData === null) throw badJson('auth_data is missing');
  if (Buffer.byteLength(JSON.stringify(authData)) > MAX_AUTH_DATA_BYTES) {
    throw tooLarge(`auth_data: at most ${MAX_AUTH_DATA_BYTES} bytes`);
  }
}
