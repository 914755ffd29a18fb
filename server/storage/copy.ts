import { rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { isDatabaseHeld } from './connection.ts';
import { RESERVE_BLOCK } from './schema.ts';
import { StorageError, toStorageError } from './storage-error.ts';
import type { ReadStatement, SqlValue } from './types.ts';

export interface CopyOptions {
  /** Ends the copy; what was written of it goes. */
  readonly signal?: AbortSignal;
  /** How much is done, from 0 to 1. */
  readonly progress?: (share: number) => void;
}

/** Pages in one step: 1 MiB, about a millisecond. */
const PAGES_PER_STEP = 256;
/** Steps after which what was written is put on the disk, beside the copying: the end would have to wait for all of it. */
const STEPS_PER_SYNC = 32;
/** To begin, on a database that is written to. Every other one or so goes well. */
const MOST_ATTEMPTS = 10_000;

/**
 * Copies a database, page by page, into a single file without a journal, readable by its owner only. Changes made through
 * `source` meanwhile go into the copy; those of another connection make it begin anew, unless `source` is reading. `settle` says
 * which position the copy has, of the one that it says it has. Throws `StorageError` and the reason of `signal`; no file is
 * left then.
 */
export async function copyDatabase(
  source: Sqlite.Database,
  path: string,
  { signal, progress }: CopyOptions,
  settle: (reserved: number) => number = (reserved) => reserved,
): Promise<void> {
  // Made here, so that nobody else may read it. SQLite takes an empty file for a new database.
  const file = await open(path, 'wx+', 0o600);
  try {
    let steps = 0;
    let isSynced = false;
    let syncing: Promise<void> | undefined;
    const step = ({ totalPages, remainingPages }: Sqlite.BackupMetadata): number => {
      signal?.throwIfAborted();
      if (totalPages > 0) progress?.(1 - remainingPages / totalPages);
      steps += 1;
      const isLast = totalPages > PAGES_PER_STEP && remainingPages <= PAGES_PER_STEP;
      if (isLast ? !isSynced : steps % STEPS_PER_SYNC === 0) {
        isSynced ||= isLast;
        // What fails here fails again at the end, where it counts.
        syncing ??= file
          .datasync()
          .then(undefined, () => undefined)
          .finally(() => (syncing = undefined));
      }
      // Writing waits for the disk meanwhile, above all the last step, and everybody for that.
      return syncing === undefined ? PAGES_PER_STEP : 0;
    };
    // A step that meets an open write of `source` does nothing. Where that is the first one, nothing is known to remain, and
    // the library takes that for the end.
    for (let attempt = 1; (await source.backup(path, { progress: step })).totalPages === 0; attempt += 1) {
      signal?.throwIfAborted();
      if (attempt === MOST_ATTEMPTS) throw new StorageError('locked', 'the database is written to without a pause');
      await nextTurn();
    }
    signal?.throwIfAborted();
    makeSingleFile(path, settle);
    await syncing;
    await file.sync();
    await file.close();
  } catch (error) {
    await file.close();
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
  /**
   * As `OpenDatabase.copyTo`, of the moment at which it begins. Of a server that runs on the file the exact position cannot be
   * seen: the copy then has one that lies a little before it, so that whoever was told of later ones is told anew.
   */
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
  const reading = sqlite;
  return {
    prepareRead: <Row>(sql: string): ReadStatement<Row> => {
      const statement = reading.prepare<SqlValue[], Row>(sql);
      return { find: (...values) => statement.get(...values), list: (...values) => statement.all(...values) };
    },
    copyTo: async (to, options = {}) => {
      const wasHeld = isDatabaseHeld(path);
      // As long as it reads, what others write is not seen by it.
      reading.exec('BEGIN');
      try {
        reading.pragma('schema_version');
        await copyDatabase(reading, to, options, (reserved) =>
          wasHeld || isDatabaseHeld(path) ? Math.max(0, reserved - RESERVE_BLOCK) : reserved,
        );
      } finally {
        reading.exec('COMMIT');
      }
    },
    close: () => void reading.close(),
  };
}

// The copy says of itself that it has a write-ahead log. One that is moved about must not need a second file.
function makeSingleFile(path: string, settle: (reserved: number) => number): void {
  const copy = new Sqlite(path);
  try {
    copy.pragma('journal_mode = DELETE');
    const row = copy.prepare<[], { reserved: number }>('SELECT reserved FROM stream_position').get();
    const reserved = row === undefined ? undefined : settle(row.reserved);
    if (reserved !== undefined && reserved !== row?.reserved) {
      copy.prepare('UPDATE stream_position SET reserved = ?').run(reserved);
    }
  } finally {
    copy.close();
  }
}
