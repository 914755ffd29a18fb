import type { DeviceId, UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';

/** A key as it was uploaded: the public key alone, or an object with it under `key`. */
export type KeyContent = string | (JsonObject & { readonly key: string });

/** A key by its whole name, `<algorithm>:<id>`, in two parts. */
export interface NamedKey {
  readonly algorithm: string;
  readonly keyId: string;
  readonly key: KeyContent;
}

interface KeyRow {
  key_id: string;
  key: string;
}

/** The public key itself: what makes two keys the same, however they are named and signed. */
export function publicKeyOf(key: KeyContent): string {
  return typeof key === 'string' ? key : key.key;
}

/** One-time and fallback keys of devices. */
export class OneTimeKeyStore {
  readonly #find;
  readonly #insert;
  readonly #count;
  readonly #take;
  readonly #insertClaimed;
  readonly #findClaimed;
  readonly #removeUnclaimed;
  readonly #removeClaimed;
  readonly #putFallback;
  readonly #findFallback;
  readonly #useFallback;
  readonly #listFallback;
  readonly #removeFallback;
  readonly #removeAllUnclaimed;
  readonly #removeAllFallback;

  constructor(db: Database) {
    this.#find = db.prepareRead<{ key: string }>(
      'SELECT key FROM one_time_keys WHERE user_id = ? AND device_id = ? AND algorithm = ? AND key_id = ?',
    );
    this.#insert = db.prepareWrite(
      'INSERT INTO one_time_keys (user_id, device_id, algorithm, key_id, key) VALUES (?, ?, ?, ?, ?)',
    );
    this.#count = db.prepareRead<{ algorithm: string; count: number }>(`
      SELECT algorithm, count(*) AS count FROM one_time_keys WHERE user_id = ? AND device_id = ? GROUP BY algorithm`);
    this.#take = db.prepareReturning<KeyRow>(`
      DELETE FROM one_time_keys
      WHERE id = (
        SELECT id FROM one_time_keys WHERE user_id = ? AND device_id = ? AND algorithm = ? ORDER BY id LIMIT 1)
      RETURNING key_id, key`);
    this.#insertClaimed = db.prepareWrite(`
      INSERT INTO claimed_keys (user_id, device_id, algorithm, public_key) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`);
    this.#findClaimed = db.prepareRead<{ found: 1 }>(`
      SELECT 1 AS found FROM claimed_keys WHERE user_id = ? AND device_id = ? AND algorithm = ? AND public_key = ?`);
    this.#removeUnclaimed = db.prepareWrite('DELETE FROM one_time_keys WHERE user_id = ? AND device_id = ?');
    this.#removeClaimed = db.prepareWrite('DELETE FROM claimed_keys WHERE user_id = ? AND device_id = ?');
    this.#putFallback = db.prepareWrite(`
      INSERT INTO fallback_keys (user_id, device_id, algorithm, key_id, key, used) VALUES (?, ?, ?, ?, ?, 0)
      ON CONFLICT DO UPDATE SET key_id = excluded.key_id, key = excluded.key, used = 0`);
    this.#findFallback = db.prepareRead<KeyRow & { used: number }>(
      'SELECT key_id, key, used FROM fallback_keys WHERE user_id = ? AND device_id = ? AND algorithm = ?',
    );
    this.#useFallback = db.prepareWrite(
      'UPDATE fallback_keys SET used = 1 WHERE user_id = ? AND device_id = ? AND algorithm = ?',
    );
    this.#listFallback = db.prepareRead<{ algorithm: string; used: number }>(
      'SELECT algorithm, used FROM fallback_keys WHERE user_id = ? AND device_id = ? ORDER BY algorithm',
    );
    this.#removeAllUnclaimed = db.prepareWrite('DELETE FROM one_time_keys');
    this.#removeAllFallback = db.prepareWrite('DELETE FROM fallback_keys');
    this.#removeFallback = db.prepareWrite('DELETE FROM fallback_keys WHERE user_id = ? AND device_id = ?');
  }

  /** The unclaimed key so called. */
  find(userId: UserId, deviceId: DeviceId, algorithm: string, keyId: string): KeyContent | undefined {
    const row = this.#find.find(userId, deviceId, algorithm, keyId);
    return row === undefined ? undefined : JSON.parse(row.key);
  }

  /** Whether the key was given out, under whatever name. */
  wasClaimed(userId: UserId, deviceId: DeviceId, { algorithm, key }: NamedKey): boolean {
    return this.#findClaimed.find(userId, deviceId, algorithm, publicKeyOf(key)) !== undefined;
  }

  insert(tx: WriteTx, userId: UserId, deviceId: DeviceId, { algorithm, keyId, key }: NamedKey): void {
    this.#insert.run(tx, userId, deviceId, algorithm, keyId, JSON.stringify(key));
  }

  /** Algorithm → how many are left. */
  count(userId: UserId, deviceId: DeviceId): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#count.list(userId, deviceId).map((row) => [row.algorithm, row.count]));
  }

  /** Takes the key that was uploaded first, for good. */
  claim(tx: WriteTx, userId: UserId, deviceId: DeviceId, algorithm: string): NamedKey | undefined {
    for (;;) {
      const row = this.#take.find(tx, userId, deviceId, algorithm);
      if (row === undefined) return undefined;
      const key: KeyContent = JSON.parse(row.key);
      const isNew = this.#insertClaimed.run(tx, userId, deviceId, algorithm, publicKeyOf(key)).changes === 1;
      // Else it had been uploaded under two names.
      if (isNew) return { algorithm, keyId: row.key_id, key };
    }
  }

  /** Puts a fallback key, not used yet, in the place of the algorithm's last one. */
  putFallback(tx: WriteTx, userId: UserId, deviceId: DeviceId, { algorithm, keyId, key }: NamedKey): void {
    this.#putFallback.run(tx, userId, deviceId, algorithm, keyId, JSON.stringify(key));
  }

  findFallback(
    userId: UserId,
    deviceId: DeviceId,
    algorithm: string,
  ): (NamedKey & { readonly used: boolean }) | undefined {
    const row = this.#findFallback.find(userId, deviceId, algorithm);
    if (row === undefined) return undefined;
    return { algorithm, keyId: row.key_id, key: JSON.parse(row.key), used: row.used === 1 };
  }

  markFallbackUsed(tx: WriteTx, userId: UserId, deviceId: DeviceId, algorithm: string): void {
    this.#useFallback.run(tx, userId, deviceId, algorithm);
  }

  /** The algorithms a device has a fallback key of. */
  listFallback(userId: UserId, deviceId: DeviceId): { readonly algorithm: string; readonly used: boolean }[] {
    return this.#listFallback.list(userId, deviceId).map(({ algorithm, used }) => ({ algorithm, used: used === 1 }));
  }

  /** Removes the keys nobody has claimed, and the fallback keys. */
  removeKeys(tx: WriteTx, userId: UserId, deviceId: DeviceId): void {
    this.#removeUnclaimed.run(tx, userId, deviceId);
    this.#removeFallback.run(tx, userId, deviceId);
  }

  /** Removes the keys of all devices that nobody is known to have claimed, and the fallback keys. */
  removeAllKeys(tx: WriteTx): void {
    this.#removeAllUnclaimed.run(tx);
    this.#removeAllFallback.run(tx);
  }

  /** As `removeKeys`, and forgets which ones were claimed. */
  removeDevice(tx: WriteTx, userId: UserId, deviceId: DeviceId): void {
    this.removeKeys(tx, userId, deviceId);
    this.#removeClaimed.run(tx, userId, deviceId);
  }
}
