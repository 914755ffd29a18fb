import { isDeviceId, type DeviceId, type UserId } from '../../../matrix/identifiers.ts';
import type { Database, ReadStatement, ReturningStatement, WriteStatement, WriteTx } from '../../../storage/types.ts';
import { storedUserId } from './users.ts';

/** An access token, as far as it is stored. */
export interface AccessToken {
  readonly id: number;
  readonly userId: UserId;
  readonly deviceId: DeviceId;
  /** Undefined: does not expire. */
  readonly expiresMs: number | undefined;
  readonly validatedMs: number;
  readonly refreshId: number | undefined;
}

/** A refresh token, as far as it is stored. */
export interface RefreshToken {
  readonly id: number;
  readonly userId: UserId;
  readonly deviceId: DeviceId;
  readonly expiresMs: number | undefined;
  /** When the whole session ends, however often it is refreshed. */
  readonly sessionExpiresMs: number | undefined;
  readonly previousId: number | undefined;
  readonly used: boolean;
}

interface AccessRow {
  id: number;
  user_id: string;
  device_id: string;
  expires_ms: number | null;
  validated_ms: number;
  refresh_id: number | null;
}

interface RefreshRow {
  id: number;
  user_id: string;
  device_id: string;
  expires_ms: number | null;
  session_expires_ms: number | null;
  previous_id: number | null;
  used: number;
}

function storedDeviceId(text: string): DeviceId {
  if (!isDeviceId(text)) throw new TypeError('a stored device ID is none');
  return text;
}

function toAccessToken(row: AccessRow): AccessToken {
  return {
    id: row.id,
    userId: storedUserId(row.user_id),
    deviceId: storedDeviceId(row.device_id),
    expiresMs: row.expires_ms ?? undefined,
    validatedMs: row.validated_ms,
    refreshId: row.refresh_id ?? undefined,
  };
}

function toRefreshToken(row: RefreshRow): RefreshToken {
  return {
    id: row.id,
    userId: storedUserId(row.user_id),
    deviceId: storedDeviceId(row.device_id),
    expiresMs: row.expires_ms ?? undefined,
    sessionExpiresMs: row.session_expires_ms ?? undefined,
    previousId: row.previous_id ?? undefined,
    used: row.used === 1,
  };
}

const ACCESS = 'id, user_id, device_id, expires_ms, validated_ms, refresh_id';
const REFRESH = 'id, user_id, device_id, expires_ms, session_expires_ms, previous_id, used';

/** Access, refresh and login tokens. Only their SHA-256 is kept. */
export class TokenStore {
  readonly #findAccess: ReadStatement<AccessRow>;
  readonly #getAccess: ReadStatement<AccessRow>;
  readonly #insertAccess: WriteStatement;
  readonly #validated: WriteStatement;
  readonly #removeAccessOfRefresh: WriteStatement;
  readonly #removeAccessOfDevice: WriteStatement;
  readonly #removeRefreshOfDevice: WriteStatement;
  readonly #findRefresh: ReadStatement<RefreshRow>;
  readonly #getRefresh: ReadStatement<RefreshRow>;
  readonly #findSuccessor: ReadStatement<RefreshRow>;
  readonly #insertRefresh: WriteStatement;
  readonly #markRefreshUsed: WriteStatement;
  readonly #removeRefresh: WriteStatement;
  readonly #insertLogin: WriteStatement;
  readonly #takeLogin: ReturningStatement<{ user_id: string; expires_ms: number }>;
  readonly #removeLoginOfUser: WriteStatement;
  readonly #removeExpiredLogin: WriteStatement;

  constructor(db: Database) {
    this.#findAccess = db.prepareRead(`SELECT ${ACCESS} FROM access_tokens WHERE token_hash = ?`);
    this.#getAccess = db.prepareRead(`SELECT ${ACCESS} FROM access_tokens WHERE id = ?`);
    this.#insertAccess = db.prepareWrite(`
      INSERT INTO access_tokens (token_hash, user_id, device_id, expires_ms, validated_ms, refresh_id)
      VALUES (?, ?, ?, ?, ?, ?)`);
    this.#validated = db.prepareWrite('UPDATE access_tokens SET validated_ms = ? WHERE id = ?');
    this.#removeAccessOfRefresh = db.prepareWrite('DELETE FROM access_tokens WHERE refresh_id = ?');
    this.#removeAccessOfDevice = db.prepareWrite('DELETE FROM access_tokens WHERE user_id = ? AND device_id = ?');
    this.#removeRefreshOfDevice = db.prepareWrite('DELETE FROM refresh_tokens WHERE user_id = ? AND device_id = ?');
    this.#findRefresh = db.prepareRead(`SELECT ${REFRESH} FROM refresh_tokens WHERE token_hash = ?`);
    this.#getRefresh = db.prepareRead(`SELECT ${REFRESH} FROM refresh_tokens WHERE id = ?`);
    this.#findSuccessor = db.prepareRead(`SELECT ${REFRESH} FROM refresh_tokens WHERE previous_id = ?`);
    this.#insertRefresh = db.prepareWrite(`
      INSERT INTO refresh_tokens (token_hash, user_id, device_id, expires_ms, session_expires_ms, previous_id)
      VALUES (?, ?, ?, ?, ?, ?)`);
    this.#markRefreshUsed = db.prepareWrite('UPDATE refresh_tokens SET used = 1 WHERE id = ?');
    this.#removeRefresh = db.prepareWrite('DELETE FROM refresh_tokens WHERE id = ?');
    this.#insertLogin = db.prepareWrite('INSERT INTO login_tokens (token_hash, user_id, expires_ms) VALUES (?, ?, ?)');
    this.#takeLogin = db.prepareReturning(
      'DELETE FROM login_tokens WHERE token_hash = ? RETURNING user_id, expires_ms',
    );
    this.#removeLoginOfUser = db.prepareWrite('DELETE FROM login_tokens WHERE user_id = ?');
    this.#removeExpiredLogin = db.prepareWrite('DELETE FROM login_tokens WHERE expires_ms <= ?');
  }

  findAccess(hash: Buffer): AccessToken | undefined {
    const row = this.#findAccess.find(hash);
    return row === undefined ? undefined : toAccessToken(row);
  }

  findAccessById(id: number): AccessToken | undefined {
    const row = this.#getAccess.find(id);
    return row === undefined ? undefined : toAccessToken(row);
  }

  insertAccess(tx: WriteTx, hash: Buffer, token: Omit<AccessToken, 'id'>): number {
    return this.#insertAccess.run(
      tx,
      hash,
      token.userId,
      token.deviceId,
      token.expiresMs ?? null,
      token.validatedMs,
      token.refreshId ?? null,
    ).lastId;
  }

  /** Whoever holds the token has just proved to be the user. */
  validated(tx: WriteTx, id: number, nowMs: number): void {
    this.#validated.run(tx, nowMs, id);
  }

  /** Every access and refresh token of a device. Says whether there were any. */
  removeOfDevice(tx: WriteTx, userId: UserId, deviceId: DeviceId): boolean {
    const access = this.#removeAccessOfDevice.run(tx, userId, deviceId).changes;
    return this.#removeRefreshOfDevice.run(tx, userId, deviceId).changes + access > 0;
  }

  findRefresh(hash: Buffer): RefreshToken | undefined {
    const row = this.#findRefresh.find(hash);
    return row === undefined ? undefined : toRefreshToken(row);
  }

  findRefreshById(id: number): RefreshToken | undefined {
    const row = this.#getRefresh.find(id);
    return row === undefined ? undefined : toRefreshToken(row);
  }

  /** The token that `id` was exchanged for. */
  findSuccessor(id: number): RefreshToken | undefined {
    const row = this.#findSuccessor.find(id);
    return row === undefined ? undefined : toRefreshToken(row);
  }

  insertRefresh(tx: WriteTx, hash: Buffer, token: Omit<RefreshToken, 'id' | 'used'>): number {
    return this.#insertRefresh.run(
      tx,
      hash,
      token.userId,
      token.deviceId,
      token.expiresMs ?? null,
      token.sessionExpiresMs ?? null,
      token.previousId ?? null,
    ).lastId;
  }

  markRefreshUsed(tx: WriteTx, id: number): void {
    this.#markRefreshUsed.run(tx, id);
  }

  /** The access tokens given out with a refresh token; the refresh token itself stays, to be recognised. */
  removeAccessOfRefresh(tx: WriteTx, refreshId: number): void {
    this.#removeAccessOfRefresh.run(tx, refreshId);
  }

  /** A refresh token and the access tokens given out with it. */
  removeRefresh(tx: WriteTx, id: number): void {
    this.#removeRefresh.run(tx, id);
  }

  insertLogin(tx: WriteTx, hash: Buffer, userId: UserId, expiresMs: number): void {
    this.#insertLogin.run(tx, hash, userId, expiresMs);
  }

  /** Finds a login token and makes it void. */
  takeLogin(tx: WriteTx, hash: Buffer): { userId: UserId; expiresMs: number } | undefined {
    const row = this.#takeLogin.find(tx, hash);
    return row === undefined ? undefined : { userId: storedUserId(row.user_id), expiresMs: row.expires_ms };
  }

  removeLoginOfUser(tx: WriteTx, userId: UserId): void {
    this.#removeLoginOfUser.run(tx, userId);
  }

  removeExpiredLogin(tx: WriteTx, nowMs: number): void {
    this.#removeExpiredLogin.run(tx, nowMs);
  }
}
