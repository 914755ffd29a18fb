import Sqlite from 'better-sqlite3';

/**
 * What is wrong with the storage: `full` no space is left; `locked` another process holds the database; `corrupt` the
 * file is damaged or not a database of Hearth; `io` the disk or the operating system refused, or anything else SQLite
 * cannot go on after; `closed` the database was closed before; `newer` the schema is not one this version can use; `foreign` the data belong to
 * another server.
 */
export type StorageErrorKind = 'full' | 'locked' | 'corrupt' | 'io' | 'closed' | 'newer' | 'foreign';

/** The storage cannot do its work. Not thrown for what a statement itself does wrong, such as a broken constraint. */
export class StorageError extends Error {
  readonly kind: StorageErrorKind;

  constructor(kind: StorageErrorKind, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'StorageError';
    this.kind = kind;
  }
}

/**
 * The `StorageError` that an error of SQLite amounts to, or undefined where the fault lies with the statement (a
 * constraint, wrong SQL, an error that is not SQLite's).
 */
export function findStorageError(error: unknown): StorageError | undefined {
  if (error instanceof StorageError) return error;
  if (!(error instanceof Sqlite.SqliteError)) return undefined;
  const kind = kindOf(error.code);
  return kind === undefined ? undefined : new StorageError(kind, sentence(kind, error), error);
}

/** As `findStorageError`, but what is not recognised becomes an error of kind `io`. */
export function toStorageError(error: unknown): StorageError {
  const known = findStorageError(error);
  if (known !== undefined) return known;
  return new StorageError('io', sentence('io', error), error);
}

/** The refusal of everything after `close`. */
export function closedError(): StorageError {
  return new StorageError('closed', 'the database is closed');
}

function kindOf(code: string): StorageErrorKind | undefined {
  // Extended codes carry their family first: SQLITE_IOERR_WRITE, SQLITE_BUSY_SNAPSHOT.
  const family = code.split('_', 2).join('_');
  switch (family) {
    case 'SQLITE_FULL':
      return 'full';
    case 'SQLITE_BUSY':
    case 'SQLITE_LOCKED':
      return 'locked';
    case 'SQLITE_CORRUPT':
    case 'SQLITE_NOTADB':
      return 'corrupt';
    case 'SQLITE_IOERR':
    case 'SQLITE_CANTOPEN':
    case 'SQLITE_READONLY':
    case 'SQLITE_PERM':
    case 'SQLITE_NOMEM':
    case 'SQLITE_PROTOCOL':
    case 'SQLITE_NOLFS':
      return 'io';
    default:
      return undefined;
  }
}

function sentence(kind: StorageErrorKind, error: unknown): string {
  const detail = describe(error);
  switch (kind) {
    case 'full':
      return `there is no space left for the database (${detail})`;
    case 'locked':
      return `another process holds the database (${detail})`;
    case 'corrupt':
      return `the database file is damaged (${detail}); restore it from a backup`;
    case 'io':
    case 'closed':
    case 'newer':
    case 'foreign':
      return `the database cannot be read or written (${detail})`;
  }
}

function describe(error: unknown): string {
  if (error instanceof Sqlite.SqliteError) return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}
