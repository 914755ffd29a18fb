import type Sqlite from 'better-sqlite3';
import type { Logger } from '../util/log.ts';
import { type Connection, connect } from './connection.ts';
import { copyDatabase, type CopyOptions } from './copy.ts';
import { findDamage } from './damage.ts';
import { migrate } from './migrate.ts';
import { RESERVE_BLOCK, storageMigrations } from './schema.ts';
import { makeShrinkable, Space } from './space.ts';
import { Statements } from './statements.ts';
import { closedError, findStorageError, StorageError, toStorageError } from './storage-error.ts';
import { Trouble } from './trouble.ts';
import type {
  Database,
  MigrationSet,
  ReadStatement,
  ReturningStatement,
  StreamPosition,
  WriteStatement,
  WriteTx,
} from './types.ts';
import { Turn, Write } from './write-turn.ts';

/** The database with what only the one who opened it may do. */
export interface OpenDatabase extends Database {
  /** Commits what waits, stores the exact position and closes the file. Later calls do nothing. */
  close(): Promise<void>;
  /** What SQLite finds wrong with the file, a sentence each; empty if it is sound. Reads the whole file: seconds per GB. */
  integrityCheck(): string[];
  /**
   * Writes a copy of everything committed to a new file, in small steps between which the server goes on; what is written
   * meanwhile is in it, too. Throws `StorageError`, and the reason of `signal`; then there is no file.
   */
  copyTo(path: string, options?: CopyOptions): Promise<void>;
  /** `ok`, or what keeps the storage from working since the last attempt. */
  health(): 'ok' | { readonly problem: string };
}

export interface DatabaseOptions {
  /** The file, made if it does not exist (readable by its owner only). `:memory:` keeps all in memory. */
  readonly path: string;
  /** Run in this order, after the storage's own. */
  readonly migrations: readonly MigrationSet[];
  readonly log: Logger;
  /** Whom the data belong to. Written into a new database; one that names somebody else is refused. */
  readonly owner?: string;
  /** The database never grows beyond this many pages of 4,096 bytes; a write that would fails as on a full disk. */
  readonly maxPages?: number;
  /** How long (ms) a write waits, holding up everything, for another process that is writing. 2,000 unless told. */
  readonly busyMs?: number;
}

/**
 * Opens the database and brings its schema up to date. Throws `StorageError`: `locked` if another server uses it,
 * `corrupt` if the file is damaged or not a database of Hearth, `newer` if a newer version wrote it, `full` or `io` if
 * the disk refuses; an Error if a migration is wrong.
 */
export function openDatabase(options: DatabaseOptions): OpenDatabase {
  const { path, maxPages, busyMs } = options;
  let connection: Connection | undefined;
  try {
    connection = connect(path, {
      ...(maxPages === undefined ? {} : { maxPages }),
      ...(busyMs === undefined ? {} : { busyMs }),
    });
    const steps = migrate(connection.sqlite, [storageMigrations, ...options.migrations]);
    if (steps > 0) options.log.info({ steps }, 'database schema brought up to date');
    if (options.owner !== undefined) checkOwner(connection.sqlite, options.owner);
    makeShrinkable(connection.sqlite, path, options.log);
    return new SqliteDatabase(connection, options.log);
  } catch (error) {
    connection?.close();
    const failure = findStorageError(error);
    if (failure === undefined) throw error;
    throw new StorageError(failure.kind, `${path}: ${failure.message}`, failure.cause);
  }
}

function checkOwner(sqlite: Sqlite.Database, owner: string): void {
  sqlite.prepare('INSERT INTO database_owner (only_row, name) VALUES (1, ?) ON CONFLICT DO NOTHING').run(owner);
  const stored = sqlite.prepare<[], { name: string }>('SELECT name FROM database_owner').get()?.name;
  if (stored !== owner) {
    throw new StorageError('foreign', `the database belongs to ${stored}, not to ${owner}; a server cannot be renamed`);
  }
}

class SqliteDatabase implements OpenDatabase {
  readonly #connection: Connection;
  readonly #sqlite: Sqlite.Database;
  readonly #log: Logger;
  readonly #statements: Statements;
  readonly #trouble: Trouble;
  readonly #space: Space;
  readonly #listeners = new Set<(now: StreamPosition, keys: ReadonlySet<string>) => void>();

  readonly #begin: Sqlite.Statement<[]>;
  readonly #commit: Sqlite.Statement<[]>;
  readonly #rollback: Sqlite.Statement<[]>;
  readonly #savepoint: Sqlite.Statement<[]>;
  readonly #release: Sqlite.Statement<[]>;
  readonly #rollbackTo: Sqlite.Statement<[]>;
  readonly #reserve: Sqlite.Statement<[number]>;

  #turn: Turn | undefined;
  #current: Write | undefined;
  #flushing: NodeJS.Immediate | undefined;
  /** The newest position handed out. */
  #position: number;
  /** On disk: no position up to this one is handed out after a restart. */
  #reserved: number;
  /** How far the listeners were told. */
  #told: number;
  /** Keys of memory-only changes whose positions could not be reserved yet. */
  #untold = new Set<string>();
  #closed = false;

  constructor(connection: Connection, log: Logger) {
    this.#connection = connection;
    this.#sqlite = connection.sqlite;
    this.#log = log;
    this.#trouble = new Trouble(log);
    this.#statements = new Statements(connection.sqlite, this);
    this.#space = new Space(connection.sqlite);
    const sqlite = connection.sqlite;
    this.#begin = sqlite.prepare('BEGIN IMMEDIATE');
    this.#commit = sqlite.prepare('COMMIT');
    this.#rollback = sqlite.prepare('ROLLBACK');
    // The names may repeat: SQLite takes the innermost one.
    this.#savepoint = sqlite.prepare('SAVEPOINT one_write');
    this.#release = sqlite.prepare('RELEASE one_write');
    this.#rollbackTo = sqlite.prepare('ROLLBACK TO one_write');
    this.#reserve = sqlite.prepare('UPDATE stream_position SET reserved = ?');
    const stored = sqlite.prepare<[], { reserved: number }>('SELECT reserved FROM stream_position').get();
    this.#reserved = this.#position = this.#told = stored?.reserved ?? 0;
  }

  prepareRead<Row>(sql: string): ReadStatement<Row> {
    return this.#statements.read(sql);
  }

  prepareWrite(sql: string): WriteStatement {
    return this.#statements.write(sql);
  }

  prepareReturning<Row>(sql: string): ReturningStatement<Row> {
    return this.#statements.returning(sql);
  }

  write<Result>(change: (tx: WriteTx) => Result extends PromiseLike<unknown> ? never : Result): Result {
    const outer = this.#current;
    const turn = this.#beginWrite();
    const tx = new Write(this);
    this.#current = tx;
    let result: Result;
    try {
      result = change(tx);
      refusePromise(result);
      if (turn.failure !== undefined) throw turn.failure;
      this.#release.run();
    } catch (error) {
      this.#current = outer;
      throw this.#undoWrite(turn, tx, error);
    }
    this.#current = outer;
    if (outer === undefined) turn.join(tx);
    else tx.join(outer);
    return result;
  }

  committed(): Promise<void> {
    return this.#turn?.outcome() ?? Promise.resolve();
  }

  position(): StreamPosition {
    return this.#position as StreamPosition;
  }

  advance(keys: readonly string[]): StreamPosition {
    if (this.#closed) throw closedError();
    const turn = this.#openTurn();
    for (const key of keys) turn.memoryKeys.add(key);
    return this.nextPosition();
  }

  subscribe(listener: (now: StreamPosition, keys: ReadonlySet<string>) => void): { unsubscribe(): void } {
    // A function of its own, so that the same listener may be subscribed twice.
    const own: typeof listener = (now, keys) => listener(now, keys);
    this.#listeners.add(own);
    return { unsubscribe: () => void this.#listeners.delete(own) };
  }

  space(): { readonly bytes: number; readonly freeBytes: number } {
    return this.attempt(() => this.#space.measure());
  }

  giveBack(bytes: number): boolean {
    return this.write(() => this.attempt(() => this.#space.giveBack(bytes)));
  }

  checkpoint(): void {
    // A transaction that is open would be in its way; what it writes is checkpointed some time anyway.
    if (!this.#sqlite.inTransaction) this.attempt(() => this.#space.checkpoint());
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    if (this.#current !== undefined) throw new Error('the database cannot be closed inside a write');
    this.#flush();
    this.#closed = true;
    // What the end of the last turn set off may have written once more.
    this.#flush();
    try {
      this.#reserve.run(this.#position);
    } catch (error) {
      // The reservation on disk is larger, so all that is lost is the exact number.
      this.#log.warn({ error: toStorageError(error).message }, 'stream position not stored at close');
    }
    this.#connection.close();
  }

  integrityCheck(): string[] {
    return this.attempt(() => findDamage(this.#sqlite));
  }

  async copyTo(path: string, options: CopyOptions = {}): Promise<void> {
    if (this.#closed) throw closedError();
    await copyDatabase(this.#sqlite, path, options, () => this.position());
  }

  health(): 'ok' | { readonly problem: string } {
    if (this.#closed) return { problem: closedError().message };
    const { failure } = this.#trouble;
    return failure === undefined ? 'ok' : { problem: failure.message };
  }

  /** For `Write`: the next number of the stream. */
  nextPosition(): StreamPosition {
    this.#position += 1;
    return this.#position as StreamPosition;
  }

  /** For `Write` and statements: throws unless `tx` is the innermost write under way. */
  checkCurrent(tx: WriteTx): void {
    if (tx === this.#current) {
      // After SQLite itself has undone the transaction, a statement would be committed at once and alone.
      if (this.#turn?.failure !== undefined) throw this.#turn.failure;
      return;
    }
    throw new Error('a WriteTx was used outside of its write');
  }

  /** For statements: runs `work`, and notices when SQLite has undone the whole transaction. */
  attempt<Result>(work: () => Result): Result {
    try {
      return work();
    } catch (error) {
      if (this.#closed) throw closedError();
      const failure = findStorageError(error);
      if (failure === undefined) throw error;
      this.#trouble.report(failure);
      const turn = this.#turn;
      if (turn?.begun === true && !this.#sqlite.inTransaction) this.#failTurn(turn, failure);
      throw failure;
    }
  }

  #openTurn(): Turn {
    if (this.#turn === undefined) {
      this.#turn = new Turn();
      this.#flushing = setImmediate(() => this.#flush());
    }
    return this.#turn;
  }

  #beginWrite(): Turn {
    if (this.#closed) throw closedError();
    const turn = this.#openTurn();
    if (turn.failure !== undefined) throw turn.failure;
    if (!turn.begun) {
      this.attempt(() => this.#begin.run());
      turn.begun = true;
    }
    this.attempt(() => this.#savepoint.run());
    return turn;
  }

  #undoWrite(turn: Turn, tx: Write, cause: unknown): unknown {
    let error = cause;
    if (turn.failure === undefined) {
      try {
        this.#rollbackTo.run();
        this.#release.run();
      } catch (undoError) {
        // The write can no longer be undone alone.
        this.#failTurn(turn, findStorageError(cause) ?? toStorageError(undoError));
      }
    }
    if (turn.failure !== undefined) error = turn.failure;
    this.#runRollbackActions(tx.rollbackActions);
    if (turn.failure !== undefined && this.#current === undefined) this.#finishFailed(turn);
    return error;
  }

  #failTurn(turn: Turn, failure: StorageError): void {
    if (turn.failure !== undefined) return;
    turn.failure = failure;
    this.#trouble.report(failure);
    if (this.#sqlite.inTransaction) {
      try {
        this.#rollback.run();
      } catch (error) {
        this.#log.error({ error: toStorageError(error).message }, 'transaction could not be rolled back');
      }
    }
    // The writes under way first undo their own, innermost first.
    if (this.#current === undefined) this.#finishFailed(turn);
  }

  #finishFailed(turn: Turn): void {
    if (turn.undone) return;
    turn.undone = true;
    this.#runRollbackActions(turn.rollbackActions);
    turn.settle();
  }

  #flush(): void {
    const turn = this.#turn;
    if (turn === undefined) return;
    clearImmediate(this.#flushing);
    let reserving: number | undefined;
    if (turn.failure === undefined) {
      try {
        reserving = this.#reserveAhead(turn);
        if (turn.begun) this.#commit.run();
      } catch (error) {
        reserving = undefined;
        this.#failTurn(turn, toStorageError(error));
      }
    }
    if (reserving !== undefined) this.#reserved = reserving;
    // From here on a write belongs to the next turn.
    this.#turn = undefined;
    const now = this.#position;
    if (turn.failure === undefined) {
      if (turn.wrote) this.#trouble.over();
      for (const action of turn.commitActions) this.#runAction(action);
    }
    this.#tell(turn, now);
    if (turn.failure === undefined) turn.settle();
  }

  // Raises the reservation: early if the turn writes anyway, else only when positions beyond it were handed out.
  #reserveAhead(turn: Turn): number | undefined {
    const spare = this.#reserved - this.#position;
    if (spare >= (turn.begun ? RESERVE_BLOCK / 2 : 0)) return undefined;
    if (!turn.begun) {
      this.#begin.run();
      turn.begun = true;
    }
    const reserving = this.#position + RESERVE_BLOCK;
    this.#reserve.run(reserving);
    turn.wrote = true;
    return reserving;
  }

  #tell(turn: Turn, now: number): void {
    for (const key of turn.memoryKeys) this.#untold.add(key);
    // A position that a crash could bring forth again must not be shown to anybody.
    if (now > this.#reserved) return;
    const keys = turn.failure === undefined ? turn.keys : new Set<string>();
    for (const key of this.#untold) keys.add(key);
    this.#untold.clear();
    if (now === this.#told && keys.size === 0) return;
    this.#told = now;
    // A listener that subscribes another one does not have it told of what came before.
    const listeners = Array.from(this.#listeners);
    for (const listener of listeners) this.#runAction(() => listener(now as StreamPosition, keys));
  }

  #runRollbackActions(actions: readonly (() => void)[] | undefined): void {
    for (const action of actions?.toReversed() ?? []) this.#runAction(action);
  }

  // One action that throws must not keep the others from running: the commit or rollback has happened for all.
  #runAction(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.#log.error({ error }, 'an action after a commit or rollback failed');
    }
  }
}

function refusePromise(result: unknown): void {
  if (typeof result !== 'object' || result === null || !('then' in result)) return;
  if (typeof result.then !== 'function') return;
  // What the function does after its first await fails for lack of a valid WriteTx; the error thrown here says it all.
  Promise.resolve(result).catch(() => undefined);
  throw new TypeError('a write must not return a Promise: gather first, then write');
}
