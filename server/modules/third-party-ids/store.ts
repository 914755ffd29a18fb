import { isUserId, type UserId } from '../../matrix/identifiers.ts';
import type { Database, ReadStatement, ReturningStatement, WriteStatement, WriteTx } from '../../storage/types.ts';

export type Medium = 'email' | 'msisdn';

/** What a session may be used for: what one proved for one end must not serve another. */
export type Purpose = 'add' | 'register' | 'password';

export interface Threepid {
  readonly medium: Medium;
  readonly address: string;
  readonly validatedMs: number;
  readonly addedMs: number;
}

export interface Binding {
  readonly medium: string;
  readonly address: string;
  readonly idServer: string;
}

export interface ValidationSession {
  readonly sid: string;
  readonly purpose: Purpose;
  readonly medium: Medium;
  readonly address: string;
  readonly secretHash: Buffer;
  readonly tokenHash: Buffer;
  readonly nextLink: string | undefined;
  readonly sendAttempt: number;
  readonly validatedMs: number | undefined;
  readonly expiresMs: number;
}

interface SessionRow {
  readonly sid: string;
  readonly purpose: string;
  readonly medium: string;
  readonly address: string;
  readonly secret_hash: Buffer;
  readonly token_hash: Buffer;
  readonly next_link: string | null;
  readonly send_attempt: number;
  readonly validated_ms: number | null;
  readonly expires_ms: number;
}

const SESSION =
  'sid, purpose, medium, address, secret_hash, token_hash, next_link, send_attempt, validated_ms, expires_ms';

function toMedium(text: string): Medium {
  return text === 'msisdn' ? 'msisdn' : 'email';
}

function toPurpose(text: string): Purpose {
  return text === 'register' || text === 'password' ? text : 'add';
}

function toSession(row: SessionRow): ValidationSession {
  return {
    sid: row.sid,
    purpose: toPurpose(row.purpose),
    medium: toMedium(row.medium),
    address: row.address,
    secretHash: row.secret_hash,
    tokenHash: row.token_hash,
    nextLink: row.next_link ?? undefined,
    sendAttempt: row.send_attempt,
    validatedMs: row.validated_ms ?? undefined,
    expiresMs: row.expires_ms,
  };
}

/** Addresses of accounts, their bindings elsewhere, and the sessions in which they are proved. */
export class ThreepidStore {
  readonly #owner: ReadStatement<{ user_id: string }>;
  readonly #ofUser: ReadStatement<{ medium: string; address: string; validated_ms: number; added_ms: number }>;
  readonly #insert: WriteStatement;
  readonly #remove: WriteStatement;
  readonly #removeOfUser: ReturningStatement<{ medium: string; address: string }>;
  readonly #bind: WriteStatement;
  readonly #unbind: WriteStatement;
  readonly #bindings: ReadStatement<{ medium: string; address: string; id_server: string }>;
  readonly #session: ReadStatement<SessionRow>;
  readonly #openSession: ReadStatement<SessionRow>;
  readonly #putSession: WriteStatement;
  readonly #removeSession: WriteStatement;
  readonly #prune: WriteStatement;

  constructor(db: Database) {
    this.#owner = db.prepareRead('SELECT user_id FROM account_threepids WHERE medium = ? AND address = ?');
    this.#ofUser = db.prepareRead(
      'SELECT medium, address, validated_ms, added_ms FROM account_threepids WHERE user_id = ? ORDER BY added_ms, address',
    );
    this.#insert = db.prepareWrite(
      `INSERT INTO account_threepids (medium, address, user_id, validated_ms, added_ms) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (medium, address) DO UPDATE SET validated_ms = excluded.validated_ms WHERE user_id = excluded.user_id`,
    );
    this.#remove = db.prepareWrite('DELETE FROM account_threepids WHERE medium = ? AND address = ? AND user_id = ?');
    this.#removeOfUser = db.prepareReturning(
      'DELETE FROM account_threepids WHERE user_id = ? RETURNING medium, address',
    );
    this.#bind = db.prepareWrite(
      'INSERT INTO threepid_bindings (user_id, medium, address, id_server) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING',
    );
    this.#unbind = db.prepareWrite(
      'DELETE FROM threepid_bindings WHERE user_id = ? AND medium = ? AND address = ? AND id_server = ?',
    );
    this.#bindings = db.prepareRead('SELECT medium, address, id_server FROM threepid_bindings WHERE user_id = ?');
    this.#session = db.prepareRead(`SELECT ${SESSION} FROM threepid_sessions WHERE sid = ?`);
    this.#openSession = db.prepareRead(
      `SELECT ${SESSION} FROM threepid_sessions
       WHERE medium = ? AND address = ? AND secret_hash = ? AND purpose = ? AND validated_ms IS NULL AND expires_ms > ?`,
    );
    this.#putSession = db.prepareWrite(
      `INSERT INTO threepid_sessions (${SESSION}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (sid) DO UPDATE SET token_hash = excluded.token_hash, next_link = excluded.next_link,
         send_attempt = excluded.send_attempt, validated_ms = excluded.validated_ms, expires_ms = excluded.expires_ms`,
    );
    this.#removeSession = db.prepareWrite('DELETE FROM threepid_sessions WHERE sid = ?');
    this.#prune = db.prepareWrite('DELETE FROM threepid_sessions WHERE expires_ms <= ?');
  }

  findOwner(medium: string, address: string): UserId | undefined {
    const owner = this.#owner.find(medium, address)?.user_id;
    return owner !== undefined && isUserId(owner) ? owner : undefined;
  }

  list(userId: UserId): Threepid[] {
    return this.#ofUser.list(userId).map((row) => ({
      medium: toMedium(row.medium),
      address: row.address,
      validatedMs: row.validated_ms,
      addedMs: row.added_ms,
    }));
  }

  /** Nothing changes if it is somebody else's. */
  add(tx: WriteTx, userId: UserId, { medium, address, validatedMs, addedMs }: Threepid): void {
    this.#insert.run(tx, medium, address, userId, validatedMs, addedMs);
  }

  /** Whether it was there. */
  remove(tx: WriteTx, userId: UserId, medium: string, address: string): boolean {
    return this.#remove.run(tx, medium, address, userId).changes > 0;
  }

  removeOfUser(tx: WriteTx, userId: UserId): readonly { readonly medium: string; readonly address: string }[] {
    return this.#removeOfUser.list(tx, userId);
  }

  bind(tx: WriteTx, userId: UserId, { medium, address, idServer }: Binding): void {
    this.#bind.run(tx, userId, medium, address, idServer);
  }

  unbind(tx: WriteTx, userId: UserId, { medium, address, idServer }: Binding): void {
    this.#unbind.run(tx, userId, medium, address, idServer);
  }

  bindings(userId: UserId): Binding[] {
    return this.#bindings
      .list(userId)
      .map(({ medium, address, id_server: idServer }) => ({ medium, address, idServer }));
  }

  findSession(sid: string): ValidationSession | undefined {
    const row = this.#session.find(sid);
    return row === undefined ? undefined : toSession(row);
  }

  /** The one that was begun with that secret for that address, and has neither been validated nor expired. */
  findOpenSession(
    purpose: Purpose,
    medium: Medium,
    address: string,
    secretHash: Buffer,
    nowMs: number,
  ): ValidationSession | undefined {
    const row = this.#openSession.find(medium, address, secretHash, purpose, nowMs);
    return row === undefined ? undefined : toSession(row);
  }

  putSession(tx: WriteTx, session: ValidationSession): void {
    this.#putSession.run(
      tx,
      session.sid,
      session.purpose,
      session.medium,
      session.address,
      session.secretHash,
      session.tokenHash,
      session.nextLink ?? null,
      session.sendAttempt,
      session.validatedMs ?? null,
      session.expiresMs,
    );
  }

  removeSession(tx: WriteTx, sid: string): void {
    this.#removeSession.run(tx, sid);
  }

  pruneSessions(tx: WriteTx, nowMs: number): void {
    this.#prune.run(tx, nowMs);
  }
}
