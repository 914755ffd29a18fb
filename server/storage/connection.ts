import { closeSync, existsSync, openSync } from 'node:fs';
import Sqlite from 'better-sqlite3';
import { StorageError, toStorageError } from './storage-error.ts';

/** How long a write waits for another process to let go of the database; the event loop stands still meanwhile. */
const DEFAULT_BUSY_MS = 2_000;

/** The path that stands for a database without a file. It is gone when it is closed. */
const IN_MEMORY = ':memory:';

/** SQLite's connection to the database file, and the lock that keeps a second server away from it. */
export interface Connection {
  readonly sqlite: Sqlite.Database;
  /** Closes the file and lets go of the lock. */
  close(): void;
}

/**
 * Opens or makes the database file at `path` with the settings everything relies on. Throws `StorageError`: `locked`
 * if another server has it open, `corrupt` if the file is damaged or not a database, `io` if it cannot be opened.
 */
export function connect(path: string, limits: { maxPages?: number; busyMs?: number }): Connection {
  const lock = path === IN_MEMORY ? undefined : takeLock(`${path}.lock`);
  let sqlite: Sqlite.Database | undefined;
  try {
    if (path !== IN_MEMORY) makePrivateFile(path);
    sqlite = new Sqlite(path, { timeout: limits.busyMs ?? DEFAULT_BUSY_MS });
    configure(sqlite, path, limits.maxPages);
  } catch (error) {
    sqlite?.close();
    lock?.close();
    throw toStorageError(error);
  }
  const open = sqlite;
  return {
    sqlite: open,
    close: () => {
      try {
        open.close();
      } finally {
        lock?.close();
      }
    },
  };
}

/** Keeps every server away from the database at `path` until it is released. Throws `StorageError`, `locked` if one uses it. */
export function holdDatabase(path: string): { release(): void } {
  try {
    const lock = takeLock(`${path}.lock`);
    return { release: () => void lock.close() };
  } catch (error) {
    throw toStorageError(error);
  }
}

/** Whether a server uses the database at `path` at this moment. */
export function isDatabaseHeld(path: string): boolean {
  if (!existsSync(`${path}.lock`)) return false;
  let lock: Sqlite.Database | undefined;
  try {
    lock = new Sqlite(`${path}.lock`, { readonly: true, timeout: 0 });
    lock.prepare('SELECT count(*) FROM sqlite_schema').get();
    return false;
  } catch {
    // Whoever may not even look has to expect that it is.
    return true;
  } finally {
    lock?.close();
  }
}

function configure(sqlite: Sqlite.Database, path: string, maxPages: number | undefined): void {
  // Lets free pages be given back bit by bit. Counts for a new file; `makeShrinkable` brings older ones to it.
  sqlite.pragma('auto_vacuum = INCREMENTAL');
  const mode = sqlite.pragma('journal_mode = WAL', { simple: true });
  if (mode !== 'wal' && path !== IN_MEMORY) {
    throw new StorageError('io', `the file system does not allow write-ahead logging (journal mode ${String(mode)})`);
  }
  // FULL: a commit is on the disk, not only with the operating system, before anybody hears of it.
  sqlite.pragma('synchronous = FULL');
  sqlite.pragma('foreign_keys = ON');
  sqlite.pragma('temp_store = MEMORY');
  // 16 MB of pages, in KiB. The operating system caches the rest. No memory mapping: an I/O error there would kill the
  // process, and mapped pages count as resident memory.
  sqlite.pragma('cache_size = -16384');
  sqlite.pragma('mmap_size = 0');
  // Pages in the WAL before a commit copies them back: small enough that this commit stays short.
  sqlite.pragma('wal_autocheckpoint = 1000');
  // After a burst (a large join) the WAL file shrinks again, bytes.
  sqlite.pragma('journal_size_limit = 33554432');
  sqlite.pragma('trusted_schema = OFF');
  sqlite.pragma('cell_size_check = ON');
  if (maxPages !== undefined) sqlite.pragma(`max_page_count = ${Math.trunc(maxPages)}`);
}

// Caches and the stream counter are only right while one server writes. The lock is an open transaction on an empty
// SQLite file of its own: the operating system drops it when the process dies, however it dies, and unlike an exclusive
// lock on the database it lets other processes read.
function takeLock(lockPath: string): Sqlite.Database {
  let lock: Sqlite.Database | undefined;
  try {
    makePrivateFile(lockPath);
    lock = new Sqlite(lockPath, { timeout: 0 });
    // Nothing is ever written to it, so it needs no journal file beside it.
    lock.pragma('journal_mode = MEMORY');
    lock.exec('BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock?.close();
    const failure = toStorageError(error);
    if (failure.kind === 'locked') {
      throw new StorageError('locked', 'another Hearth server is already using this database', error);
    }
    throw failure;
  }
}

// Made here and not by SQLite, so that nobody else may read it; the WAL and its index take over these rights. A file
// that exists is not even opened: closing any descriptor of a file drops all locks this process holds on it.
function makePrivateFile(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return;
    throw error;
  }
}
