import { createHash } from 'node:crypto';
import type Sqlite from 'better-sqlite3';
import { findStorageError, StorageError } from './storage-error.ts';
import type { Migration, MigrationSet } from './types.ts';

interface AppliedStep {
  owner: string;
  number: number;
  checksum: string;
}

/**
 * Brings the schema up to date: runs every step that is missing, owner by owner in the order given, all in one
 * transaction. Returns how many steps ran. Throws `StorageError` of kind `newer` if the database holds steps this
 * version does not know or that read differently here, of kind `corrupt` if the file is another program's database;
 * an Error naming owner and number if a step fails, and nothing is changed then.
 */
export function migrate(sqlite: Sqlite.Database, sets: readonly MigrationSet[]): number {
  refuseStrangers(sqlite);
  // A step may rebuild a table that others refer to, so references are checked once, at the end. This setting cannot
  // change inside a transaction.
  sqlite.pragma('foreign_keys = OFF');
  try {
    return sqlite
      .transaction(() => {
        sqlite.exec(`
          CREATE TABLE IF NOT EXISTS schema_migrations (
            owner TEXT NOT NULL,
            number INTEGER NOT NULL,
            checksum TEXT NOT NULL,
            PRIMARY KEY (owner, number)
          ) STRICT, WITHOUT ROWID`);
        const applied = readApplied(sqlite);
        checkApplied(applied, sets);
        return runMissing(sqlite, applied, sets);
      })
      .immediate();
  } finally {
    sqlite.pragma('foreign_keys = ON');
  }
}

function refuseStrangers(sqlite: Sqlite.Database): void {
  const tables = sqlite
    .prepare<[], { name: string }>("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    .all();
  if (tables.length > 0 && !tables.some((table) => table.name === 'schema_migrations')) {
    throw new StorageError('corrupt', "this file is another program's database, not one of Hearth");
  }
}

function readApplied(sqlite: Sqlite.Database): ReadonlyMap<string, readonly AppliedStep[]> {
  const steps = sqlite
    .prepare<[], AppliedStep>('SELECT owner, number, checksum FROM schema_migrations ORDER BY owner, number')
    .all();
  return Map.groupBy(steps, (step) => step.owner);
}

function checkApplied(applied: ReadonlyMap<string, readonly AppliedStep[]>, sets: readonly MigrationSet[]): void {
  const known = new Map<string, readonly Migration[]>();
  for (const set of sets) {
    if (known.has(set.owner)) throw new Error(`two sets of migrations belong to "${set.owner}"`);
    known.set(set.owner, set.migrations);
  }
  for (const [owner, steps] of applied) {
    const newest = steps.at(-1)?.number ?? 0;
    const migrations = known.get(owner);
    if (migrations === undefined) {
      throw newer(`it holds steps 1 to ${newest} of "${owner}", which this version does not have`);
    }
    if (newest > migrations.length) {
      throw newer(`it holds step ${newest} of "${owner}", this version knows ${migrations.length}`);
    }
    for (const step of steps) {
      const migration = migrations[step.number - 1];
      if (migration === undefined || checksum(migration) !== step.checksum) {
        throw new StorageError(
          'newer',
          `this database was not written by this version of Hearth: step ${step.number} of "${owner}" was a different one`,
        );
      }
    }
  }
}

function newer(detail: string): StorageError {
  return new StorageError('newer', `this database was written by a newer version of Hearth: ${detail}`);
}

function runMissing(
  sqlite: Sqlite.Database,
  applied: ReadonlyMap<string, readonly AppliedStep[]>,
  sets: readonly MigrationSet[],
): number {
  const record = sqlite.prepare('INSERT INTO schema_migrations (owner, number, checksum) VALUES (?, ?, ?)');
  let ran = 0;
  for (const { owner, migrations } of sets) {
    const done = applied.get(owner)?.length ?? 0;
    for (const [index, migration] of migrations.entries()) {
      if (index < done) continue;
      runStep(sqlite, owner, index + 1, migration);
      record.run(owner, index + 1, checksum(migration));
      ran += 1;
    }
  }
  if (ran > 0) checkReferences(sqlite);
  return ran;
}

function runStep(sqlite: Sqlite.Database, owner: string, number: number, migration: Migration): void {
  try {
    sqlite.exec(migration.sql);
  } catch (error) {
    const failure = findStorageError(error);
    if (failure !== undefined) throw failure;
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`step ${number} of "${owner}" failed: ${why}`, { cause: error });
  }
  if (!sqlite.inTransaction) throw new Error(`step ${number} of "${owner}" ended the transaction it ran in`);
}

function checkReferences(sqlite: Sqlite.Database): void {
  const [broken] = sqlite.prepare<[], { table: string; parent: string }>('PRAGMA foreign_key_check').all();
  if (broken !== undefined) {
    throw new Error(`the migrations left rows of "${broken.table}" that refer to missing rows of "${broken.parent}"`);
  }
}

// White space does not count, so that moving or re-indenting a step is not a change.
function checksum(migration: Migration): string {
  return createHash('sha256').update(migration.sql.replace(/\s+/g, ' ').trim()).digest('hex');
}
