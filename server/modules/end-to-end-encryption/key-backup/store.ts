import type { UserId } from '../../../matrix/identifiers.ts';
import type { JsonValue } from '../../../matrix/json.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';

/** What a backup is made with: how its keys are encrypted. */
export interface BackupConfig {
  readonly algorithm: string;
  /** Depends on the algorithm. */
  readonly authData: JsonValue;
}

/** A backup that was not deleted. */
export interface BackupVersion extends BackupConfig {
  readonly version: number;
  /** Where its keys are. */
  readonly storeId: number;
  /** How many keys it holds. */
  readonly count: number;
  /** Another number after each change of them. */
  readonly etag: number;
}

/** A key in a backup, by what tells which of two is the better one. */
export interface BackedUpKey {
  readonly isVerified: boolean;
  readonly firstMessageIndex: number;
  readonly forwardedCount: number;
  /** JSON, as it was uploaded in essence: the server cannot read it. */
  readonly sessionData: string;
}

/** The room and megolm session a key is for. */
export interface KeyName {
  readonly roomId: string;
  readonly sessionId: string;
}

interface VersionRow {
  version: number;
  algorithm: string;
  auth_data: string;
  store_id: number;
  count: number;
  etag: number;
}

interface KeyRow {
  is_verified: number;
  first_message_index: number;
  forwarded_count: number;
  session_data: string;
}

interface NamedRow extends KeyRow {
  room_id: string;
  session_id: string;
}

const VERSION = 'version, algorithm, auth_data, store_id, count, etag';
const KEY = 'is_verified, first_message_index, forwarded_count, session_data';

/** Key backups: their versions, and the keys in them. */
export class KeyBackupStore {
  readonly #findVersion;
  readonly #findLatest;
  readonly #findHighest;
  readonly #insertVersion;
  readonly #setAuthData;
  readonly #setStore;
  readonly #removeVersion;
  readonly #changed;
  readonly #listStores;
  readonly #removeUser;
  readonly #stepOver;
  readonly #renumber;
  readonly #insertStore;
  readonly #discardStore;
  readonly #findDiscarded;
  readonly #removeStore;
  readonly #find;
  readonly #insert;
  readonly #replace;
  readonly #remove;
  readonly #removeOfRoom;
  readonly #removeOfStore;
  readonly #list;
  readonly #listRoom;

  constructor(db: Database) {
    this.#findVersion = db.prepareRead<Omit<VersionRow, 'store_id'> & { store_id: number | null }>(
      `SELECT ${VERSION} FROM key_backup_versions WHERE user_id = ? AND version = ?`,
    );
    this.#findLatest = db.prepareRead<VersionRow>(`
      SELECT ${VERSION} FROM key_backup_versions WHERE user_id = ? AND store_id IS NOT NULL
      ORDER BY version DESC LIMIT 1`);
    this.#findHighest = db.prepareRead<{ version: number }>(
      'SELECT version FROM key_backup_versions WHERE user_id = ? ORDER BY version DESC LIMIT 1',
    );
    this.#insertVersion = db.prepareWrite(`
      INSERT INTO key_backup_versions (user_id, version, algorithm, auth_data, store_id) VALUES (?, ?, ?, ?, ?)`);
    this.#setAuthData = db.prepareWrite(
      'UPDATE key_backup_versions SET auth_data = ? WHERE user_id = ? AND version = ?',
    );
    this.#setStore = db.prepareWrite(`
      UPDATE key_backup_versions SET store_id = ?, count = 0, etag = etag + 1 WHERE user_id = ? AND version = ?`);
    this.#removeVersion = db.prepareWrite(`
      UPDATE key_backup_versions SET store_id = NULL, algorithm = '', auth_data = 'null', count = 0
      WHERE user_id = ? AND version = ?`);
    this.#changed = db.prepareWrite(`
      UPDATE key_backup_versions SET count = count + ?, etag = etag + 1 WHERE user_id = ? AND version = ?`);
    this.#listStores = db.prepareRead<{ store_id: number }>(
      'SELECT store_id FROM key_backup_versions WHERE user_id = ? AND store_id IS NOT NULL',
    );
    this.#stepOver = db.prepareWrite(`
      INSERT INTO key_backup_versions (user_id, version, algorithm, auth_data, store_id)
      SELECT user_id, max(version) + ?, '', 'null', NULL FROM key_backup_versions GROUP BY user_id`);
    this.#renumber = db.prepareWrite('UPDATE key_backup_versions SET etag = etag + ?');
    this.#removeUser = db.prepareWrite('DELETE FROM key_backup_versions WHERE user_id = ?');
    this.#insertStore = db.prepareWrite('INSERT INTO key_backup_stores DEFAULT VALUES');
    this.#discardStore = db.prepareWrite('UPDATE key_backup_stores SET discarded = 1 WHERE id = ?');
    this.#findDiscarded = db.prepareRead<{ id: number }>(
      'SELECT id FROM key_backup_stores WHERE discarded = 1 ORDER BY id LIMIT 1',
    );
    this.#removeStore = db.prepareWrite('DELETE FROM key_backup_stores WHERE id = ?');
    this.#find = db.prepareRead<KeyRow>(
      `SELECT ${KEY} FROM key_backup_sessions WHERE store_id = ? AND room_id = ? AND session_id = ?`,
    );
    this.#insert = db.prepareWrite(`
      INSERT INTO key_backup_sessions (${KEY}, store_id, room_id, session_id) VALUES (?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT DO NOTHING`);
    // Spec: "Server-side key backups": verified before not verified, then the lower index, then the lower count.
    this.#replace = db.prepareWrite(`
      UPDATE key_backup_sessions
      SET is_verified = ?, first_message_index = ?, forwarded_count = ?, session_data = ?
      WHERE store_id = ? AND room_id = ? AND session_id = ?
        AND (-is_verified, first_message_index, forwarded_count) > (-?, ?, ?)`);
    this.#remove = db.prepareWrite(
      'DELETE FROM key_backup_sessions WHERE store_id = ? AND room_id = ? AND session_id = ?',
    );
    this.#removeOfRoom = db.prepareWrite(`
      DELETE FROM key_backup_sessions WHERE rowid IN (
        SELECT rowid FROM key_backup_sessions WHERE store_id = ? AND room_id = ? LIMIT ?)`);
    this.#removeOfStore = db.prepareWrite(`
      DELETE FROM key_backup_sessions WHERE rowid IN (
        SELECT rowid FROM key_backup_sessions WHERE store_id = ? LIMIT ?)`);
    this.#list = db.prepareRead<NamedRow>(`
      SELECT room_id, session_id, ${KEY} FROM key_backup_sessions
      WHERE store_id = ? AND (room_id, session_id) > (?, ?) ORDER BY room_id, session_id LIMIT ?`);
    this.#listRoom = db.prepareRead<NamedRow>(`
      SELECT room_id, session_id, ${KEY} FROM key_backup_sessions
      WHERE store_id = ? AND room_id = ? AND session_id > ? ORDER BY session_id LIMIT ?`);
  }

  /** The version with that number; `deleted` if it was there once. */
  findVersion(userId: UserId, version: number): BackupVersion | 'deleted' | undefined {
    const row = this.#findVersion.find(userId, version);
    if (row === undefined) return undefined;
    const { store_id: storeId } = row;
    return storeId === null ? 'deleted' : toVersion({ ...row, store_id: storeId });
  }

  /** The newest one of those that were not deleted. */
  findLatest(userId: UserId): BackupVersion | undefined {
    const row = this.#findLatest.find(userId);
    return row === undefined ? undefined : toVersion(row);
  }

  /** Begins a backup, empty, and gives its number: no other of the user's ever had it. */
  insertVersion(tx: WriteTx, userId: UserId, { algorithm, authData }: BackupConfig): number {
    const version = (this.#findHighest.find(userId)?.version ?? 0) + 1;
    const storeId = this.#insertStore.run(tx).lastId;
    this.#insertVersion.run(tx, userId, version, algorithm, JSON.stringify(authData), storeId);
    return version;
  }

  setAuthData(tx: WriteTx, userId: UserId, version: number, authData: JsonValue): void {
    this.#setAuthData.run(tx, JSON.stringify(authData), userId, version);
  }

  /** The keys of a version changed, and are more (or fewer) by so many. */
  changed(tx: WriteTx, userId: UserId, version: number, more: number): void {
    this.#changed.run(tx, more, userId, version);
  }

  /** Marks a version as deleted and lets go of its keys. */
  removeVersion(tx: WriteTx, userId: UserId, { version, storeId }: BackupVersion): void {
    this.#removeVersion.run(tx, userId, version);
    this.#discardStore.run(tx, storeId);
  }

  /** Lets go of all keys of a version. */
  empty(tx: WriteTx, userId: UserId, { version, storeId }: BackupVersion): void {
    this.#setStore.run(tx, this.#insertStore.run(tx).lastId, userId, version);
    this.#discardStore.run(tx, storeId);
  }

  /** New versions get numbers beyond the next `versions`, and what comes of changes others than the next `etags`. */
  stepOver(tx: WriteTx, versions: number, etags: number): void {
    this.#stepOver.run(tx, versions);
    this.#renumber.run(tx, etags);
  }

  /** Forgets every version of a user's, and lets go of all keys. */
  removeUser(tx: WriteTx, userId: UserId): void {
    const stores = this.#listStores.list(userId);
    this.#removeUser.run(tx, userId);
    for (const { store_id: storeId } of stores) this.#discardStore.run(tx, storeId);
  }

  /** A store that was let go of and still takes up room. */
  findDiscarded(): number | undefined {
    return this.#findDiscarded.find()?.id;
  }

  /** Removes some keys of a store that was let go of, in the end the store itself; says whether it is gone. */
  clear(tx: WriteTx, storeId: number, limit: number): boolean {
    if (this.#removeOfStore.run(tx, storeId, limit).changes === limit) return false;
    this.#removeStore.run(tx, storeId);
    return true;
  }

  find(storeId: number, { roomId, sessionId }: KeyName): BackedUpKey | undefined {
    const row = this.#find.find(storeId, roomId, sessionId);
    return row === undefined ? undefined : toKey(row);
  }

  /** Keeps the better one of the key and the one that is there. */
  put(tx: WriteTx, storeId: number, { roomId, sessionId }: KeyName, key: BackedUpKey): 'new' | 'better' | 'no better' {
    const { isVerified, firstMessageIndex, forwardedCount, sessionData } = key;
    const worth = [Number(isVerified), firstMessageIndex, forwardedCount] as const;
    const values = [...worth, sessionData, storeId, roomId, sessionId] as const;
    if (this.#insert.run(tx, ...values).changes === 1) return 'new';
    return this.#replace.run(tx, ...values, ...worth).changes === 1 ? 'better' : 'no better';
  }

  /** Whether it was there. */
  remove(tx: WriteTx, storeId: number, { roomId, sessionId }: KeyName): boolean {
    return this.#remove.run(tx, storeId, roomId, sessionId).changes === 1;
  }

  /** Removes some keys of a room, and says how many. */
  removeOfRoom(tx: WriteTx, storeId: number, roomId: string, limit: number): number {
    return this.#removeOfRoom.run(tx, storeId, roomId, limit).changes;
  }

  /** Keys in the order of their rooms, then sessions; of one room if it is named. */
  list(
    storeId: number,
    { roomId, after, limit }: { roomId: string | undefined; after: KeyName | undefined; limit: number },
  ): (KeyName & BackedUpKey)[] {
    const rows =
      roomId === undefined
        ? this.#list.list(storeId, after?.roomId ?? '', after?.sessionId ?? '', limit)
        : this.#listRoom.list(storeId, roomId, after?.sessionId ?? '', limit);
    return rows.map((row) => ({ roomId: row.room_id, sessionId: row.session_id, ...toKey(row) }));
  }
}

function toVersion(row: VersionRow): BackupVersion {
  const { version, algorithm, count, etag } = row;
  return { version, algorithm, authData: JSON.parse(row.auth_data), storeId: row.store_id, count, etag };
}

function toKey(row: KeyRow): BackedUpKey {
  return {
    isVerified: row.is_verified === 1,
    firstMessageIndex: row.first_message_index,
    forwardedCount: row.forwarded_count,
    sessionData: row.session_data,
  };
}
