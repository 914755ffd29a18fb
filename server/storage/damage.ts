import type Sqlite from 'better-sqlite3';
import { findStorageError } from './storage-error.ts';

/** What SQLite finds wrong with a file, a sentence each; empty if it is sound. Reads the whole file: seconds per GB. */
export function findDamage(sqlite: Sqlite.Database): string[] {
  try {
    const found = sqlite
      .prepare<[], { integrity_check: string }>('PRAGMA integrity_check')
      .all()
      .map((row) => row.integrity_check)
      .filter((line) => line !== 'ok');
    const dangling = sqlite
      .prepare<[], { table: string; rowid: number | null; parent: string }>('PRAGMA foreign_key_check')
      .all()
      .map((row) => `row ${row.rowid ?? '?'} of ${row.table} refers to a missing row of ${row.parent}`);
    return [...found, ...dangling];
  } catch (error) {
    const failure = findStorageError(error);
    if (failure?.kind === 'corrupt') return [failure.message];
    throw failure ?? error;
  }
}
