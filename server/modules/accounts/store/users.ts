import { isUserId, type UserId } from '../../../matrix/identifiers.ts';
import type { Database, ReadStatement, WriteStatement, WriteTx } from '../../../storage/types.ts';

/** A user of this server. */
export interface Account {
  readonly userId: UserId;
  readonly kind: 'user' | 'guest';
  readonly createdMs: number;
  readonly hasPassword: boolean;
  /** `bot`, `support` or another word of the administrator's; undefined for people. */
  readonly userType: string | undefined;
  /** The application service that made it. */
  readonly appserviceId: string | undefined;
  readonly isAdmin: boolean;
  readonly locked: boolean;
  readonly suspended: boolean;
  /** False where an administrator spares the user rate limits. */
  readonly rateLimited: boolean;
  readonly deactivated: boolean;
  readonly erased: boolean;
}

/** Which accounts to list. What is undefined does not matter. */
export interface AccountFilter {
  readonly kind?: 'user' | 'guest' | undefined;
  readonly deactivated?: boolean | undefined;
  readonly admin?: boolean | undefined;
  readonly locked?: boolean | undefined;
  /** Whether an application service made it. */
  readonly ofService?: boolean | undefined;
  /** Part of the user ID, in any case. */
  readonly contains?: string | undefined;
  /** Only accounts whose user ID sorts behind this one. */
  readonly after?: UserId | undefined;
  readonly limit?: number | undefined;
  readonly offset?: number | undefined;
}

/** What an account is made with. */
export interface NewAccount {
  readonly userId: UserId;
  readonly kind: 'user' | 'guest';
  readonly createdMs: number;
  readonly passwordHash: string | undefined;
  readonly userType: string | undefined;
  readonly appserviceId: string | undefined;
  readonly isAdmin: boolean;
}

/** The marks an administrator sets and takes away. */
export type AccountFlag = 'admin' | 'locked' | 'suspended' | 'rate_limited';

interface Row {
  user_id: string;
  kind: 'user' | 'guest';
  created_ms: number;
  has_password: number;
  user_type: string | null;
  appservice_id: string | null;
  admin: number;
  locked: number;
  suspended: number;
  rate_limited: number;
  deactivated: number;
  erased: number;
}

const COLUMNS = `user_id, kind, created_ms, password_hash IS NOT NULL AS has_password, user_type, appservice_id, admin,
  locked, suspended, rate_limited, deactivated, erased`;

/** Reads what this server wrote as a user ID. */
export function storedUserId(text: string): UserId {
  if (!isUserId(text)) throw new TypeError('a stored user ID is none');
  return text;
}

function toAccount(row: Row): Account {
  return {
    userId: storedUserId(row.user_id),
    kind: row.kind,
    createdMs: row.created_ms,
    hasPassword: row.has_password === 1,
    userType: row.user_type ?? undefined,
    appserviceId: row.appservice_id ?? undefined,
    isAdmin: row.admin === 1,
    locked: row.locked === 1,
    suspended: row.suspended === 1,
    rateLimited: row.rate_limited === 1,
    deactivated: row.deactivated === 1,
    erased: row.erased === 1,
  };
}

function conditions(filter: AccountFilter): (string | number | null)[] {
  const flag = (value: boolean | undefined): number | null => (value === undefined ? null : Number(value));
  return [
    filter.after ?? '',
    filter.kind ?? null,
    flag(filter.deactivated),
    flag(filter.admin),
    flag(filter.locked),
    flag(filter.ofService),
    filter.contains ?? null,
  ];
}

/** The table of users. */
export class UserStore {
  readonly #find: ReadStatement<Row>;
  readonly #findPasswordHash: ReadStatement<{ password_hash: string | null }>;
  readonly #list: ReadStatement<Row>;
  readonly #count: ReadStatement<{ n: number }>;
  readonly #any: ReadStatement<{ found: number }>;
  readonly #countAdmins: ReadStatement<{ n: number }>;
  readonly #listDeparting: ReadStatement<{ user_id: string; erased: number }>;
  readonly #insert: WriteStatement;
  readonly #setFlag: Readonly<Record<AccountFlag, WriteStatement>>;
  readonly #setPasswordHash: WriteStatement;
  readonly #replacePasswordHash: WriteStatement;
  readonly #setUserType: WriteStatement;
  readonly #promoteGuest: WriteStatement;
  readonly #deactivate: WriteStatement;
  readonly #reactivate: WriteStatement;
  readonly #departed: WriteStatement;

  constructor(db: Database) {
    this.#find = db.prepareRead(`SELECT ${COLUMNS} FROM users WHERE user_id = ?`);
    this.#findPasswordHash = db.prepareRead('SELECT password_hash FROM users WHERE user_id = ?');
    const filtered = `FROM users
      WHERE user_id > ? AND kind = ifnull(?, kind) AND deactivated = ifnull(?, deactivated)
        AND admin = ifnull(?, admin) AND locked = ifnull(?, locked)
        AND (appservice_id IS NOT NULL) = ifnull(?, appservice_id IS NOT NULL)
        AND instr(lower(user_id), lower(ifnull(?, '@'))) > 0`;
    this.#list = db.prepareRead(`SELECT ${COLUMNS} ${filtered} ORDER BY user_id LIMIT ? OFFSET ?`);
    this.#count = db.prepareRead(`SELECT count(*) AS n ${filtered}`);
    this.#any = db.prepareRead(`SELECT 1 AS found FROM users WHERE kind = 'user' AND appservice_id IS NULL LIMIT 1`);
    this.#countAdmins = db.prepareRead('SELECT count(*) AS n FROM users WHERE admin = 1 AND deactivated = 0');
    this.#listDeparting = db.prepareRead('SELECT user_id, erased FROM users WHERE departing = 1');
    this.#insert = db.prepareWrite(`
      INSERT INTO users (user_id, kind, created_ms, password_hash, user_type, appservice_id, admin)
      VALUES (?, ?, ?, ?, ?, ?, ?)`);
    this.#setFlag = {
      admin: db.prepareWrite('UPDATE users SET admin = ? WHERE user_id = ?'),
      locked: db.prepareWrite('UPDATE users SET locked = ? WHERE user_id = ?'),
      suspended: db.prepareWrite('UPDATE users SET suspended = ? WHERE user_id = ?'),
      rate_limited: db.prepareWrite('UPDATE users SET rate_limited = ? WHERE user_id = ?'),
    };
    this.#setPasswordHash = db.prepareWrite('UPDATE users SET password_hash = ? WHERE user_id = ?');
    this.#replacePasswordHash = db.prepareWrite(
      'UPDATE users SET password_hash = ? WHERE user_id = ? AND password_hash = ?',
    );
    this.#setUserType = db.prepareWrite('UPDATE users SET user_type = ? WHERE user_id = ?');
    this.#promoteGuest = db.prepareWrite(
      "UPDATE users SET kind = 'user', password_hash = ? WHERE user_id = ? AND kind = 'guest'",
    );
    this.#deactivate = db.prepareWrite(`
      UPDATE users SET deactivated = 1, departing = 1, password_hash = NULL, admin = 0, erased = max(erased, ?)
      WHERE user_id = ?`);
    this.#reactivate = db.prepareWrite(
      'UPDATE users SET deactivated = 0, departing = 0, erased = 0, password_hash = ? WHERE user_id = ?',
    );
    this.#departed = db.prepareWrite('UPDATE users SET departing = 0 WHERE user_id = ?');
  }

  find(userId: UserId): Account | undefined {
    const row = this.#find.find(userId);
    return row === undefined ? undefined : toAccount(row);
  }

  findPasswordHash(userId: UserId): string | undefined {
    return this.#findPasswordHash.find(userId)?.password_hash ?? undefined;
  }

  /** In the order of their user IDs. */
  list(filter: AccountFilter): Account[] {
    return this.#list.list(...conditions(filter), filter.limit ?? -1, filter.offset ?? 0).map(toAccount);
  }

  /** How many `list` would give without its limit. */
  count(filter: AccountFilter): number {
    return this.#count.find(...conditions(filter))?.n ?? 0;
  }

  /** Whether anybody has an account, guests and users of application services apart. */
  hasPeople(): boolean {
    return this.#any.find() !== undefined;
  }

  countAdmins(): number {
    return this.#countAdmins.find()?.n ?? 0;
  }

  /** Those deactivated whose leaving was begun and not finished. */
  listDeparting(): { userId: UserId; erase: boolean }[] {
    return this.#listDeparting.list().map((row) => ({ userId: storedUserId(row.user_id), erase: row.erased === 1 }));
  }

  insert(tx: WriteTx, account: NewAccount): void {
    this.#insert.run(
      tx,
      account.userId,
      account.kind,
      account.createdMs,
      account.passwordHash ?? null,
      account.userType ?? null,
      account.appserviceId ?? null,
      Number(account.isAdmin),
    );
  }

  setFlag(tx: WriteTx, userId: UserId, flag: AccountFlag, value: boolean): void {
    this.#setFlag[flag].run(tx, Number(value), userId);
  }

  setPasswordHash(tx: WriteTx, userId: UserId, hash: string | undefined): void {
    this.#setPasswordHash.run(tx, hash ?? null, userId);
  }

  /** Only if the hash is still `old`: a better hash of a password must not overwrite a new password. */
  replacePasswordHash(tx: WriteTx, userId: UserId, old: string, hash: string): void {
    this.#replacePasswordHash.run(tx, hash, userId, old);
  }

  setUserType(tx: WriteTx, userId: UserId, userType: string | undefined): void {
    this.#setUserType.run(tx, userType ?? null, userId);
  }

  /** Makes a guest a user. Says whether there was such a guest. */
  promoteGuest(tx: WriteTx, userId: UserId, passwordHash: string): boolean {
    return this.#promoteGuest.run(tx, passwordHash, userId).changes === 1;
  }

  /** Takes the password and every power away. `departed` tells when the rest is done. */
  deactivate(tx: WriteTx, userId: UserId, erase: boolean): void {
    this.#deactivate.run(tx, Number(erase), userId);
  }

  reactivate(tx: WriteTx, userId: UserId, passwordHash: string | undefined): void {
    this.#reactivate.run(tx, passwordHash ?? null, userId);
  }

  departed(tx: WriteTx, userId: UserId): void {
    this.#departed.run(tx, userId);
  }
}
