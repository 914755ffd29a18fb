import { isUserId, type UserId } from '../../matrix/identifiers.ts';
import type { Database, ReadStatement, WriteStatement, WriteTx } from '../../storage/types.ts';

export interface Validity {
  readonly userId: UserId;
  readonly expiresMs: number;
  readonly tokenUsed: boolean;
}

interface Row {
  readonly user_id: string;
  readonly expires_ms: number;
  readonly token_used_ms: number | null;
}

function toValidity(row: Row): Validity[] {
  const { user_id: userId, expires_ms: expiresMs, token_used_ms: usedMs } = row;
  return isUserId(userId) ? [{ userId, expiresMs, tokenUsed: usedMs !== null }] : [];
}

/** How long accounts are good for. */
export class ValidityStore {
  readonly #find: ReadStatement<Row>;
  readonly #byToken: ReadStatement<Row>;
  readonly #due: ReadStatement<Row>;
  readonly #insert: WriteStatement;
  readonly #set: WriteStatement;
  readonly #remind: WriteStatement;
  readonly #useToken: WriteStatement;
  readonly #remove: WriteStatement;

  constructor(db: Database) {
    const columns = 'user_id, expires_ms, token_used_ms';
    this.#find = db.prepareRead(`SELECT ${columns} FROM account_validity WHERE user_id = ?`);
    this.#byToken = db.prepareRead(`SELECT ${columns} FROM account_validity WHERE token = ?`);
    this.#due = db.prepareRead(
      `SELECT ${columns} FROM account_validity WHERE reminded = 0 AND expires_ms <= ? ORDER BY expires_ms LIMIT 100`,
    );
    this.#insert = db.prepareWrite(
      'INSERT INTO account_validity (user_id, expires_ms) VALUES (?, ?) ON CONFLICT DO NOTHING',
    );
    this.#set = db.prepareWrite(
      `INSERT INTO account_validity (user_id, expires_ms, reminded) VALUES (?, ?, ?)
       ON CONFLICT (user_id) DO UPDATE SET expires_ms = excluded.expires_ms, reminded = excluded.reminded`,
    );
    this.#remind = db.prepareWrite(
      'UPDATE account_validity SET reminded = 1, token = ?, token_used_ms = NULL WHERE user_id = ?',
    );
    this.#useToken = db.prepareWrite('UPDATE account_validity SET token_used_ms = ? WHERE user_id = ?');
    this.#remove = db.prepareWrite('DELETE FROM account_validity WHERE user_id = ?');
  }

  find(userId: UserId): Validity | undefined {
    return this.#first(this.#find.find(userId));
  }

  findByToken(token: string): Validity | undefined {
    return this.#first(this.#byToken.find(token));
  }

  /** Those who expire until then and have not been written to. */
  listUnreminded(untilMs: number): Validity[] {
    return this.#due.list(untilMs).flatMap(toValidity);
  }

  /** Nothing changes for who has a term already. */
  begin(tx: WriteTx, userId: UserId, expiresMs: number): void {
    this.#insert.run(tx, userId, expiresMs);
  }

  set(tx: WriteTx, userId: UserId, expiresMs: number, reminded: boolean): void {
    this.#set.run(tx, userId, expiresMs, reminded ? 1 : 0);
  }

  /** Marks a user as written to; `token` renews. */
  remind(tx: WriteTx, userId: UserId, token: string | null): void {
    this.#remind.run(tx, token, userId);
  }

  useToken(tx: WriteTx, userId: UserId, nowMs: number): void {
    this.#useToken.run(tx, nowMs, userId);
  }

  remove(tx: WriteTx, userId: UserId): void {
    this.#remove.run(tx, userId);
  }

  #first(row: Row | undefined): Validity | undefined {
    return row === undefined ? undefined : toValidity(row)[0];
  }
}
