import { statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import type Sqlite from 'better-sqlite3';
import type { Logger } from '../util/log.ts';
import { toStorageError } from './storage-error.ts';

/** What `PRAGMA auto_vacuum` says of a file that gives back free pages on request. */
const INCREMENTAL = 2;
/** Files of this size, bytes, are brought to it at once: it takes less than a second. */
const SMALL = 64 * 1024 * 1024;
/** Larger ones once this share of them is free, so that it is worth the wait. */
const WORTHWHILE = 0.2;
/** The new file goes through the write-ahead log: it is on the disk twice for a moment. */
const ROOM_NEEDED = 2.2;

/** The pages of the database file. */
export class Space {
  readonly #sqlite: Sqlite.Database;
  readonly #pageSize: number;
  readonly #canShrink: boolean;

  constructor(sqlite: Sqlite.Database) {
    this.#sqlite = sqlite;
    this.#pageSize = readNumber(sqlite, 'page_size');
    this.#canShrink = readNumber(sqlite, 'auto_vacuum') === INCREMENTAL;
  }

  /** Bytes. */
  measure(): { readonly bytes: number; readonly freeBytes: number } {
    return {
      bytes: readNumber(this.#sqlite, 'page_count') * this.#pageSize,
      freeBytes: readNumber(this.#sqlite, 'freelist_count') * this.#pageSize,
    };
  }

  /** Cuts free pages off the end of the file; returns whether more could follow. */
  giveBack(bytes: number): boolean {
    if (!this.#canShrink) return false;
    this.#sqlite.pragma(`incremental_vacuum(${Math.max(1, Math.trunc(bytes / this.#pageSize))})`);
    return readNumber(this.#sqlite, 'freelist_count') > 0;
  }

  checkpoint(): void {
    this.#sqlite.pragma('wal_checkpoint(PASSIVE)');
  }
}

/**
 * A file that was made before free pages could be given back is written anew, once: at once where it is small, else when
 * much of it is free. Before anything else uses it, as nothing can be read or written meanwhile.
 */
export function makeShrinkable(sqlite: Sqlite.Database, path: string, log: Logger): void {
  if (path === ':memory:' || readNumber(sqlite, 'auto_vacuum') === INCREMENTAL) return;
  const { bytes, freeBytes } = new Space(sqlite).measure();
  if (bytes > SMALL && freeBytes < bytes * WORTHWHILE) return;
  try {
    const { bavail, bsize } = statfsSync(dirname(path));
    if (bavail * bsize < (bytes - freeBytes) * ROOM_NEEDED) {
      log.warn({ bytes, freeBytes }, 'the database cannot be made smaller: the disk lacks the room to write it anew');
      return;
    }
    if (bytes > SMALL) log.info({ bytes, freeBytes }, 'the database is written anew, as much of it is free');
    // Not in memory, unlike what sorting needs: this is the whole database.
    sqlite.pragma('temp_store = FILE');
    sqlite.exec('VACUUM');
    sqlite.pragma('wal_checkpoint(TRUNCATE)');
  } catch (error) {
    // As it was before, it works as well.
    log.warn({ error: toStorageError(error).message }, 'the database could not be made smaller');
  } finally {
    sqlite.pragma('temp_store = MEMORY');
  }
}

function readNumber(
  sqlite: Sqlite.Database,
  pragma: 'page_size' | 'page_count' | 'freelist_count' | 'auto_vacuum',
): number {
  return Number(sqlite.pragma(pragma, { simple: true }));
}
