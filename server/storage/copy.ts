import { closeSync, fsyncSync, openSync, rmSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { StorageError, toStorageError } from './storage-error.ts';
import type { ReadStatement, SqlValue, StreamPosition } from './types.ts';

export interface CopyOptions {
  /** Ends the copy; what was written of it goes. */
  readonly signal?: AbortSignal;
  /** How much is done, from 0 to 1. */
  readonly progress?: (share: number) => void;
}

/** Pages in one step: 1 MiB, about a millisecond. */
const PAGES_PER_STEP = 256;
/** To begin, on a database that is written to. Every other one or so goes well. */
const MOST_ATTEMPTS = 10_000;
const ALL_PAGES = 0x7fffffff;

/**
 * Copies a database, page by page, into a single file without a journal, readable by its owner only. Changes made through
 * `source` meanwhile go into the copy; those of another connection make it begin anew. Throws `StorageError` and the reason of
 * `signal`; no file is left then.
 */
export async function copyDatabase(
  source: Sqlite.Database,
  path: string,
  { signal, progress }: CopyOptions,
  { pagesPerStep = PAGES_PER_STEP, position }: { pagesPerStep?: number; position?: () => StreamPosition } = {},
): Promise<void> {
  // Made here, so that nobody else may read it. SQLite takes an empty file for a new database.
  closeSync(openSync(path, 'wx', 0o600));
  try {
    const step = ({ totalPages, remainingPages }: Sqlite.BackupMetadata): number => {
      signal?.throwIfAborted();
      if (totalPages > 0) progress?.(1 - remainingPages / totalPages);
      return pagesPerStep;
    };
    // A step that meets an open write of `source` does nothing. Where that is the first one, nothing is known to remain, and
    // the library takes that for the end.
    for (let attempt = 1; (await source.backup(path, { progress: step })).totalPages === 0; attempt += 1) {
      signal?.throwIfAborted();
      if (attempt === MOST_ATTEMPTS) throw new StorageError('locked', 'the database is written to without a pause');
      await nextTurn();
    }
    signal?.throwIfAborted();
    makeSingleFile(path, position?.());
  } catch (error) {
    removeDatabase(path);
    if (signal?.aborted === true) throw signal.reason;
    throw toStorageError(error);
  }
}

/** Removes a database file and what SQLite keeps beside it. */
export function removeDatabase(path: string): void {
  for (const suffix of DATABASE_SUFFIXES) rmSync(`${path}${suffix}`, { force: true });
}

/** What a database consists of: the file itself, its log and the log's index, a journal, and the lock of the server. */
export const DATABASE_SUFFIXES = ['', '-wal', '-shm', '-journal', '.lock'] as const;

/** A database that is only read, whatever version of the server wrote it. */
export interface DatabaseReader {
  prepareRead<Row>(sql: string): ReadStatement<Row>;
  /** As `OpenDatabase.copyTo`, in one step that holds up this process, but no server that runs on the file. */
  copyTo(path: string, options?: CopyOptions): Promise<void>;
  close(): void;
}

/** Opens a database file beside whoever may be using it, in another process. Throws `StorageError`. */
export function openReader(path: string): DatabaseReader {
  let sqlite: Sqlite.Database | undefined;
  try {
    sqlite = new Sqlite(path, { readonly: true, fileMustExist: true, timeout: 5_000 });
    sqlite.pragma('trusted_schema = OFF');
    // A file that is no database shows now.
    sqlite.pragma('schema_version');
  } catch (error) {
    sqlite?.close();
    const { kind, message } = toStorageError(error);
    throw new StorageError(kind, `${path}: ${message}`, error);
  }
  const open = sqlite;
  return {
    prepareRead: <Row>(sql: string): ReadStatement<Row> => {
      const statement = open.prepare<SqlValue[], Row>(sql);
      return { find: (...values) => statement.get(...values), list: (...values) => statement.all(...values) };
    },
    copyTo: (to, options = {}) => copyDatabase(open, to, options, { pagesPerStep: ALL_PAGES }),
    close: () => void open.close(),
  };
}

// The copy says of itself that it has a write-ahead log. One that is moved about must not need a second file.
// Where the position is known, it takes the place of the reservation, which lies beyond it.
function makeSingleFile(path: string, position: StreamPosition | undefined): void {
  const copy = new Sqlite(path);
  try {
    copy.pragma('journal_mode = DELETE');
    if (position !== undefined) copy.prepare('UPDATE stream_position SET reserved = ?').run(position);
  } finally {
    copy.close();
  }
  const file = openSync(path, 'r+');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
