import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type DatabaseOptions, type OpenDatabase, openDatabase } from '../../server/storage/database.ts';
import type { MigrationSet } from '../../server/storage/types.ts';
import { type LogData, type Logger, silentLogger } from '../../server/util/log.ts';

/** A folder that is gone when the test is over. */
export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'hearth-storage-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** One table to write to; `body` may be of any size. */
export const notes: MigrationSet = {
  owner: 'notes',
  migrations: [{ sql: 'CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT NOT NULL UNIQUE) STRICT' }],
};

/** A database with the table of notes, closed when the test is over. */
export function openNotes(t: TestContext, options: Partial<DatabaseOptions> = {}): Notes {
  const path = options.path ?? join(temporaryFolder(t), 'homeserver.db');
  const db = openDatabase({ path, migrations: [notes], log: silentLogger, ...options });
  t.after(() => db.close());
  return new Notes(db, path);
}

export class Notes {
  readonly db: OpenDatabase;
  readonly path: string;
  readonly insert;
  readonly remove;
  readonly #bodies;

  constructor(db: OpenDatabase, path: string) {
    this.db = db;
    this.path = path;
    this.insert = db.prepareWrite('INSERT INTO notes (body) VALUES (?)');
    this.remove = db.prepareWrite('DELETE FROM notes WHERE length(body) > ?');
    this.#bodies = db.prepareRead<{ body: string }>('SELECT body FROM notes ORDER BY id');
  }

  add(body: string): void {
    this.db.write((tx) => void this.insert.run(tx, body));
  }

  bodies(): string[] {
    return this.#bodies.list().map((row) => row.body);
  }

  /** How many transactions the write-ahead log holds: a frame that ends one names the size of the database. */
  commits(): number {
    const wal = readFileSync(`${this.path}-wal`);
    let commits = 0;
    for (let frame = 32; frame + 24 <= wal.length; frame += 24 + 4_096) {
      if (wal.readUInt32BE(frame + 4) !== 0) commits += 1;
    }
    return commits;
  }
}

/** A logger that keeps its sentences. */
export function recordingLogger(): Logger & { readonly sentences: string[] } {
  const sentences: string[] = [];
  const keep = (_data: LogData, sentence: string): void => void sentences.push(sentence);
  const logger = { sentences, debug: keep, info: keep, warn: keep, error: keep, child: () => logger };
  return logger;
}
