import { isJsonObject, type JsonObject } from '../../../matrix/json.ts';
import type { UserId } from '../../../matrix/identifiers.ts';
import type { Database, ReadStatement, ReturningStatement, WriteStatement, WriteTx } from '../../../storage/types.ts';
import { storedUserId } from './users.ts';

/** What is remembered of the request that began a session. */
interface RememberedRequest {
  /** Its body, without `auth` and without secrets. */
  readonly body: JsonObject;
  /** What the server made of the secrets, such as the hash of a new password. */
  readonly kept: JsonObject;
  /** The ways offered to authenticate; each a list of stages. */
  readonly flows: readonly (readonly string[])[];
}

/** One run of interactive authentication. */
export interface UiAuthSession {
  readonly id: string;
  /** What is to be done, once the user has proved who they are. */
  readonly operation: string;
  /** Whose proof is wanted; undefined where anybody's will do, as there is no user yet. */
  readonly userId: UserId | undefined;
  readonly request: RememberedRequest;
  /** Tells whether the body is the same, secrets included. */
  readonly bodyDigest: Buffer;
  /** What each completed stage found out, by its name. */
  readonly completed: JsonObject;
  /** The user that the registration made, once it is done. */
  readonly outcome: UserId | undefined;
  readonly expiresMs: number;
}

interface Row {
  session_id: string;
  operation: string;
  user_id: string | null;
  request: string;
  body_digest: Buffer;
  completed: string;
  outcome: string | null;
  expires_ms: number;
}

const COLUMNS = 'session_id, operation, user_id, request, body_digest, completed, outcome, expires_ms';

function storedObject(text: string): JsonObject {
  const value: unknown = JSON.parse(text);
  if (!isJsonObject(value)) throw new TypeError('a stored object is none');
  return value;
}

function storedRequest(text: string): RememberedRequest {
  const { body, kept, flows } = storedObject(text);
  if (!isJsonObject(body) || !isJsonObject(kept) || !Array.isArray(flows))
    throw new TypeError('a stored request is none');
  return { body, kept, flows: flows.map((stages) => (Array.isArray(stages) ? stages.map(String) : [])) };
}

function toSession(row: Row): UiAuthSession {
  return {
    id: row.session_id,
    operation: row.operation,
    userId: row.user_id === null ? undefined : storedUserId(row.user_id),
    request: storedRequest(row.request),
    bodyDigest: row.body_digest,
    completed: storedObject(row.completed),
    outcome: row.outcome === null ? undefined : storedUserId(row.outcome),
    expiresMs: row.expires_ms,
  };
}

/** The sessions of interactive authentication. */
export class UiAuthSessionStore {
  readonly #find: ReadStatement<Row>;
  readonly #put: WriteStatement;
  readonly #remove: WriteStatement;
  readonly #takeExpired: ReturningStatement<Row>;
  readonly #takeOldest: ReturningStatement<Row>;
  readonly #takeOfUser: ReturningStatement<Row>;

  constructor(db: Database) {
    this.#find = db.prepareRead(`SELECT ${COLUMNS} FROM ui_auth_sessions WHERE session_id = ?`);
    this.#put = db.prepareWrite(`
      INSERT INTO ui_auth_sessions (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (session_id) DO UPDATE SET request = excluded.request, body_digest = excluded.body_digest,
        completed = excluded.completed, outcome = excluded.outcome, expires_ms = excluded.expires_ms`);
    this.#remove = db.prepareWrite('DELETE FROM ui_auth_sessions WHERE session_id = ?');
    this.#takeExpired = db.prepareReturning(`DELETE FROM ui_auth_sessions WHERE expires_ms <= ? RETURNING ${COLUMNS}`);
    this.#takeOldest = db.prepareReturning(`
      DELETE FROM ui_auth_sessions WHERE session_id IN (
        SELECT session_id FROM ui_auth_sessions ORDER BY expires_ms DESC LIMIT -1 OFFSET ?
      ) RETURNING ${COLUMNS}`);
    this.#takeOfUser = db.prepareReturning(`DELETE FROM ui_auth_sessions WHERE user_id = ? RETURNING ${COLUMNS}`);
  }

  find(id: string): UiAuthSession | undefined {
    const row = this.#find.find(id);
    return row === undefined ? undefined : toSession(row);
  }

  put(tx: WriteTx, session: UiAuthSession): void {
    this.#put.run(
      tx,
      session.id,
      session.operation,
      session.userId ?? null,
      JSON.stringify(session.request),
      session.bodyDigest,
      JSON.stringify(session.completed),
      session.outcome ?? null,
      session.expiresMs,
    );
  }

  remove(tx: WriteTx, id: string): void {
    this.#remove.run(tx, id);
  }

  /** Removes what has expired by `nowMs`, and tells what it was. */
  takeExpired(tx: WriteTx, nowMs: number): UiAuthSession[] {
    return this.#takeExpired.list(tx, nowMs).map(toSession);
  }

  /** Removes all but the newest `keep`, and tells what they were. */
  takeOldest(tx: WriteTx, keep: number): UiAuthSession[] {
    return this.#takeOldest.list(tx, keep).map(toSession);
  }

  /** Removes the sessions of a user who is gone. */
  takeOfUser(tx: WriteTx, userId: UserId): UiAuthSession[] {
    return this.#takeOfUser.list(tx, userId).map(toSession);
  }
}
