import { isUserId, type UserId } from '../../matrix/identifiers.ts';
import type { Database, ReadStatement, WriteStatement, WriteTx } from '../../storage/types.ts';

/** OpenID tokens; only their SHA-256 is kept. */
export class OpenIdTokenStore {
  readonly #find: ReadStatement<{ user_id: string }>;
  readonly #insert: WriteStatement;
  readonly #removeExpired: WriteStatement;
  readonly #removeOfUser: WriteStatement;

  constructor(db: Database) {
    this.#find = db.prepareRead('SELECT user_id FROM openid_tokens WHERE token_hash = ? AND expires_ms > ?');
    this.#insert = db.prepareWrite('INSERT INTO openid_tokens (token_hash, user_id, expires_ms) VALUES (?, ?, ?)');
    this.#removeExpired = db.prepareWrite('DELETE FROM openid_tokens WHERE expires_ms <= ?');
    this.#removeOfUser = db.prepareWrite('DELETE FROM openid_tokens WHERE user_id = ?');
  }

  /** Whose token that is, if it is good at `nowMs`. */
  find(hash: Buffer, nowMs: number): UserId | undefined {
    const userId = this.#find.find(hash, nowMs)?.user_id;
    if (userId === undefined) return undefined;
    if (!isUserId(userId)) throw new TypeError('a stored user ID is none');
    return userId;
  }

  insert(tx: WriteTx, hash: Buffer, userId: UserId, expiresMs: number): void {
    this.#insert.run(tx, hash, userId, expiresMs);
  }

  removeExpired(tx: WriteTx, nowMs: number): void {
    this.#removeExpired.run(tx, nowMs);
  }

  removeOfUser(tx: WriteTx, userId: UserId): void {
    this.#removeOfUser.run(tx, userId);
  }
}
