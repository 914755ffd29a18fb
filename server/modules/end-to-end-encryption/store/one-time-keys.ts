import type { DeviceId, UserId } from '../../../matrix/identifiers.ts';
import type { JsonValue } from '../../../matrix/json.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';

/** A key by its whole name, `<algorithm>:<id>`, in two parts. */
export interface NamedKey {
  readonly algorithm: string;
  readonly keyId: string;
  readonly key: JsonValue;
}

interface KeyRow {
  key_id: string;
  key: string;
}

/** One-time and fallback keys of devices. */
export class OneTimeKeyStore {
  readonly #find;
  readonly #insert;
  readonly #count;
  readonly #claim;
  readonly #expireClaimed;
  readonly #removeAll;
  readonly #putFallback;
  readonly #findFallback;
  readonly #useFallback;
  readonly #listUnusedFallback;
  readonly #removeFallback;

  constructor(db: Database) {
    this.#find = db.prepareRead<{ key: string | null; claimed_ms: number | null }>(`
      SELECT key, claimed_ms FROM one_time_keys
      WHERE user_id = ? AND device_id = ? AND algorithm = ? AND key_id = ?`);
    this.#insert = db.prepareWrite(
      'INSERT INTO one_time_keys (user_id, device_id, algorithm, key_id, key) VALUES (?, ?, ?, ?, ?)',
    );
    this.#count = db.prepareRead<{ algorithm: string; count: number }>(`
      SELECT algorithm, count(*) AS count FROM one_time_keys
      WHERE user_id = ? AND device_id = ? AND claimed_ms IS NULL GROUP BY algorithm`);
    this.#claim = db.prepareReturning<KeyRow>(`
      UPDATE one_time_keys SET claimed_ms = ?
      WHERE id = (
        SELECT id FROM one_time_keys
        WHERE user_id = ? AND device_id = ? AND algorithm = ? AND claimed_ms IS NULL ORDER BY id LIMIT 1)
      RETURNING key_id, key`);
    this.#expireClaimed = db.prepareWrite('DELETE FROM one_time_keys WHERE claimed_ms < ?');
    this.#removeAll = db.prepareWrite('DELETE FROM one_time_keys WHERE user_id = ? AND device_id = ?');
    this.#putFallback = db.prepareWrite(`
      INSERT INTO fallback_keys (user_id, device_id, algorithm, key_id, key, used) VALUES (?, ?, ?, ?, ?, 0)
      ON CONFLICT DO UPDATE SET key_id = excluded.key_id, key = excluded.key, used = 0
      WHERE key_id != excluded.key_id OR key != excluded.key`);
    this.#findFallback = db.prepareRead<KeyRow & { used: number }>(
      'SELECT key_id, key, used FROM fallback_keys WHERE user_id = ? AND device_id = ? AND algorithm = ?',
    );
    this.#useFallback = db.prepareWrite(
      'UPDATE fallback_keys SET used = 1 WHERE user_id = ? AND device_id = ? AND algorithm = ?',
    );
    this.#listUnusedFallback = db.prepareRead<{ algorithm: string }>(
      'SELECT algorithm FROM fallback_keys WHERE user_id = ? AND device_id = ? AND used = 0 ORDER BY algorithm',
    );
    this.#removeFallback = db.prepareWrite('DELETE FROM fallback_keys WHERE user_id = ? AND device_id = ?');
  }

  /** What is known of a key so called: its content, or that it was claimed. */
  find(
    userId: UserId,
    deviceId: DeviceId,
    algorithm: string,
    keyId: string,
  ): { readonly key: JsonValue; readonly claimed: false } | { readonly claimed: true } | undefined {
    const row = this.#find.find(userId, deviceId, algorithm, keyId);
    if (row === undefined) return undefined;
    if (row.claimed_ms !== null || row.key === null) return { claimed: true };
    return { key: JSON.parse(row.key), claimed: false };
  }

  insert(tx: WriteTx, userId: UserId, deviceId: DeviceId, { algorithm, keyId, key }: NamedKey): void {
    this.#insert.run(tx, userId, deviceId, algorithm, keyId, JSON.stringify(key));
  }

  /** Algorithm → how many are left. */
  count(userId: UserId, deviceId: DeviceId): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#count.list(userId, deviceId).map((row) => [row.algorithm, row.count]));
  }

  /** Takes the key that was uploaded first, for good. `now`: ms since the epoch. */
  claim(tx: WriteTx, userId: UserId, deviceId: DeviceId, algorithm: string, now: number): NamedKey | undefined {
    const row = this.#claim.find(tx, now, userId, deviceId, algorithm);
    return row === undefined ? undefined : { algorithm, keyId: row.key_id, key: JSON.parse(row.key) };
  }

  /** Forgets keys claimed before `time` (ms since the epoch). */
  removeClaimedBefore(tx: WriteTx, time: number): void {
    this.#expireClaimed.run(tx, time);
  }

  /** Puts a fallback key in the place of the algorithm's last one. The same one again stays used if it was. */
  putFallback(tx: WriteTx, userId: UserId, deviceId: DeviceId, { algorithm, keyId, key }: NamedKey): void {
    this.#putFallback.run(tx, userId, deviceId, algorithm, keyId, JSON.stringify(key));
  }

  findFallback(userId: UserId, deviceId: DeviceId, algorithm: string): (NamedKey & { used: boolean }) | undefined {
    const row = this.#findFallback.find(userId, deviceId, algorithm);
    if (row === undefined) return undefined;
    return { algorithm, keyId: row.key_id, key: JSON.parse(row.key), used: row.used === 1 };
  }

  markFallbackUsed(tx: WriteTx, userId: UserId, deviceId: DeviceId, algorithm: string): void {
    this.#useFallback.run(tx, userId, deviceId, algorithm);
  }

  listUnusedFallback(userId: UserId, deviceId: DeviceId): string[] {
    return this.#listUnusedFallback.list(userId, deviceId).map((row) => row.algorithm);
  }

  removeDevice(tx: WriteTx, userId: UserId, deviceId: DeviceId): void {
    this.#removeAll.run(tx, userId, deviceId);
    this.#removeFallback.run(tx, userId, deviceId);
  }
}
