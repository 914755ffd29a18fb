import type { Database, ReadStatement, WriteStatement, WriteTx } from '../../../storage/types.ts';

/** Files that may lie on disk without anything referring to them. */
export class DebrisStore {
  readonly #insert: WriteStatement;
  readonly #remove: WriteStatement;
  readonly #list: ReadStatement<{ file: Buffer }>;

  constructor(db: Database) {
    this.#insert = db.prepareWrite('INSERT INTO media_debris (file) VALUES (?) ON CONFLICT DO NOTHING');
    this.#remove = db.prepareWrite('DELETE FROM media_debris WHERE file = ?');
    this.#list = db.prepareRead('SELECT file FROM media_debris ORDER BY file LIMIT ?');
  }

  insert(tx: WriteTx, file: Buffer): void {
    this.#insert.run(tx, file);
  }

  remove(tx: WriteTx, file: Buffer): void {
    this.#remove.run(tx, file);
  }

  list(limit: number): Buffer[] {
    return this.#list.list(limit).map(({ file }) => file);
  }
}
