/**
 * What the rest of the server sees of the database: statements, writes and the one stream.
 *
 * Reads run at once on the one connection and see every write made so far, committed or not. Writes of one turn of the
 * event loop share one SQLite transaction with a savepoint each. Nothing that was read or written may leave the process
 * before `committed()` resolves: HTTP replies, messages to other servers, wake-ups.
 */

/**
 * Where a change stands in this server's one stream of changes: events, receipts, account data, to-device messages and
 * everything else count on the same counter. Positive; 0 is "before everything". Never given out twice, not even after
 * a crash.
 */
export type StreamPosition = number & { readonly __streamPosition: unique symbol };

/** Before the first change. */
export const STREAM_START = 0 as StreamPosition;

/** What SQLite stores. Booleans are written as 0 and 1, JSON as text. */
export type SqlValue = string | number | bigint | Buffer | null;

/** A prepared statement that reads. `Row` is the shape its columns have; the store that owns the table vouches for it. */
export interface ReadStatement<Row> {
  find(...values: SqlValue[]): Row | undefined;
  list(...values: SqlValue[]): Row[];
}

/** A prepared statement that changes something: it wants the proof that a write is under way. */
export interface WriteStatement {
  run(tx: WriteTx, ...values: SqlValue[]): { readonly changes: number; readonly lastId: number };
}

/** A prepared statement with RETURNING: changes something and gives rows. */
export interface ReturningStatement<Row> {
  find(tx: WriteTx, ...values: SqlValue[]): Row | undefined;
  list(tx: WriteTx, ...values: SqlValue[]): Row[];
}

/** Proof that a write is under way. Only valid until the function it was given to returns. */
export interface WriteTx {
  /** The next position of the stream, for a change made in this write. */
  nextPosition(): StreamPosition;
  /**
   * Says that what is known under `key` (`user:@a:x`, `room:!r:x`, `device:@a:x/DEV`) has changed, so that those who
   * wait for it wake after the commit. Names what moved; carries no data.
   */
  touch(key: string): void;
  /** Runs after this write's transaction is on disk. Not run if it fails. */
  onCommit(action: () => void): void;
  /** Runs if this write, or the transaction it is part of, is undone: for caches that were updated early. */
  onRollback(action: () => void): void;
}

/** The one database. */
export interface Database {
  prepareRead<Row>(sql: string): ReadStatement<Row>;
  prepareWrite(sql: string): WriteStatement;
  prepareReturning<Row>(sql: string): ReturningStatement<Row>;
  /**
   * Runs `change` in a savepoint of this turn's transaction. If it throws, its changes alone are undone and the error
   * passes through. A nested call joins the outer write's transaction with a savepoint of its own. Synchronous: a
   * function that returns a Promise is refused by its type and at run time.
   */
  write<Result>(change: (tx: WriteTx) => Result extends PromiseLike<unknown> ? never : Result): Result;
  /**
   * Resolves when everything written before this call is on disk, at once if nothing waits. Rejects with a
   * `StorageError` if that commit failed (disk full, I/O error): what was written is then undone.
   */
  committed(): Promise<void>;
  /** The newest position handed out so far, whether its write is committed or not. */
  position(): StreamPosition;
  /**
   * A position for a change that lives in memory only (typing, presence), with the keys it touches. Costs no disk
   * write of its own, and still never comes twice after a restart.
   */
  advance(keys: readonly string[]): StreamPosition;
  /** How large the database is, bytes, and how much of that holds nothing and waits to be used again. */
  space(): { readonly bytes: number; readonly freeBytes: number };
  /**
   * Cuts up to so many bytes that hold nothing off the database, in this turn's transaction; the file gets smaller once
   * that is checkpointed. Returns whether more could follow. Some milliseconds for a megabyte.
   */
  giveBack(bytes: number): boolean;
  /** Moves what is committed from the write-ahead log into the file, as far as that does not have to wait for anybody. */
  checkpoint(): void;
  /** Is told, after each commit or `advance`, how far the stream is durable and which keys were touched since. */
  subscribe(listener: (now: StreamPosition, keys: ReadonlySet<string>) => void): { unsubscribe(): void };
}

/**
 * The database is a copy made earlier that took the place of what there was. Others may hold what was given out after the
 * copy was made; positions up to `resumed` count as given out, so none of theirs comes twice.
 */
export interface Restoration {
  /** The newest position the copy knows of. */
  readonly copied: StreamPosition;
  /** Positions go on behind this one. */
  readonly resumed: StreamPosition;
  /** When the copy was made, ms since the epoch. */
  readonly copiedAt: number;
  readonly now: number;
}

/** One numbered, released step of a store's schema. Steps are an array beside the store; a new one is added at the end. */
export interface Migration {
  /** SQL text, one or more statements. */
  readonly sql: string;
}

/** The steps that one owner (a kernel folder or a module) has made so far. Each owner changes its own tables only. */
export interface MigrationSet {
  readonly owner: string;
  readonly migrations: readonly Migration[];
}

/**
 * Reacts to the stream after the commit, with a cursor of its own that survives a restart. `follow` is called with a
 * range (since, now] of committed positions, one call at a time; it may await. The cursor moves, together with whatever
 * the returned function writes, in one write: a crash neither loses work nor repeats what was written.
 */
export interface Follower {
  readonly name: string;
  follow(
    since: StreamPosition,
    now: StreamPosition,
    stopping: AbortSignal,
  ): Promise<((tx: WriteTx) => void) | undefined> | ((tx: WriteTx) => void) | undefined;
}
