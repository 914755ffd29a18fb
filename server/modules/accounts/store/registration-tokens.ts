import type { Database, ReadStatement, WriteStatement, WriteTx } from '../../../storage/types.ts';

/** A token that lets people register (spec: "Token-authenticated registration"). */
export interface RegistrationToken {
  readonly token: string;
  /** Undefined: any number. */
  readonly usesAllowed: number | undefined;
  /** Uses by people who have shown it and not finished yet. */
  readonly pending: number;
  readonly completed: number;
  /** Undefined: does not expire. */
  readonly expiresMs: number | undefined;
  /** Whom it is meant for, in the words of whoever made it. */
  readonly note: string | undefined;
  /** 0 where that was not noted. */
  readonly createdMs: number;
}

interface Row {
  token: string;
  uses_allowed: number | null;
  pending: number;
  completed: number;
  expires_ms: number | null;
  note: string | null;
  created_ms: number;
}

const COLUMNS = 'token, uses_allowed, pending, completed, expires_ms, note, created_ms';

function toToken(row: Row): RegistrationToken {
  return {
    token: row.token,
    usesAllowed: row.uses_allowed ?? undefined,
    pending: row.pending,
    completed: row.completed,
    expiresMs: row.expires_ms ?? undefined,
    note: row.note ?? undefined,
    createdMs: row.created_ms,
  };
}

/** The table of registration tokens. They are no secrets of a user's, and administrators read them: kept in clear. */
export class RegistrationTokenStore {
  readonly #find: ReadStatement<Row>;
  readonly #list: ReadStatement<Row>;
  readonly #insert: WriteStatement;
  readonly #update: WriteStatement;
  readonly #remove: WriteStatement;
  readonly #reserve: WriteStatement;
  readonly #release: WriteStatement;
  readonly #complete: WriteStatement;
  readonly #removeEnded: WriteStatement;

  constructor(db: Database) {
    this.#find = db.prepareRead(`SELECT ${COLUMNS} FROM registration_tokens WHERE token = ?`);
    this.#list = db.prepareRead(`SELECT ${COLUMNS} FROM registration_tokens ORDER BY token`);
    this.#insert = db.prepareWrite(`
      INSERT INTO registration_tokens (token, uses_allowed, expires_ms, note, created_ms) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT DO NOTHING`);
    this.#update = db.prepareWrite('UPDATE registration_tokens SET uses_allowed = ?, expires_ms = ? WHERE token = ?');
    this.#remove = db.prepareWrite('DELETE FROM registration_tokens WHERE token = ?');
    this.#reserve = db.prepareWrite(`
      UPDATE registration_tokens SET pending = pending + 1
      WHERE token = ? AND (expires_ms IS NULL OR expires_ms > ?)
        AND (uses_allowed IS NULL OR pending + completed < uses_allowed)`);
    this.#release = db.prepareWrite('UPDATE registration_tokens SET pending = max(0, pending - 1) WHERE token = ?');
    this.#complete = db.prepareWrite(`
      UPDATE registration_tokens SET pending = max(0, pending - 1), completed = completed + 1, last_used_ms = ?
      WHERE token = ?`);
    // One that never was good for anybody is somebody's decision, and stays.
    this.#removeEnded = db.prepareWrite(`
      DELETE FROM registration_tokens
      WHERE expires_ms < ? OR (completed > 0 AND completed >= uses_allowed AND last_used_ms < ?)`);
  }

  find(token: string): RegistrationToken | undefined {
    const row = this.#find.find(token);
    return row === undefined ? undefined : toToken(row);
  }

  list(): RegistrationToken[] {
    return this.#list.list().map(toToken);
  }

  /** Says whether the name was free. */
  insert(tx: WriteTx, token: Omit<RegistrationToken, 'pending' | 'completed'>): boolean {
    const { usesAllowed = null, expiresMs = null, note = null } = token;
    return this.#insert.run(tx, token.token, usesAllowed, expiresMs, note, token.createdMs).changes === 1;
  }

  update(tx: WriteTx, token: Pick<RegistrationToken, 'token' | 'usesAllowed' | 'expiresMs'>): boolean {
    return this.#update.run(tx, token.usesAllowed ?? null, token.expiresMs ?? null, token.token).changes === 1;
  }

  remove(tx: WriteTx, token: string): boolean {
    return this.#remove.run(tx, token).changes === 1;
  }

  /** Sets a use aside, if the token is good and has one left. */
  reserve(tx: WriteTx, token: string, nowMs: number): boolean {
    return this.#reserve.run(tx, token, nowMs).changes === 1;
  }

  /** Gives a use back that was set aside. */
  release(tx: WriteTx, token: string): void {
    this.#release.run(tx, token);
  }

  /** The use that was set aside has made an account. */
  complete(tx: WriteTx, token: string, nowMs: number): void {
    this.#complete.run(tx, nowMs, token);
  }

  /** Forgets those that expired, or whose last use was, before a time. */
  removeEnded(tx: WriteTx, beforeMs: number): void {
    this.#removeEnded.run(tx, beforeMs, beforeMs);
  }
}
