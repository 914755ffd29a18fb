import type {
  Database,
  Follower,
  MigrationSet,
  ReadStatement,
  StreamPosition,
  WriteStatement,
  WriteTx,
} from '../../server/storage/types.ts';

/** Sources with positions, and a table of copies that would show one made twice. */
export const copies: MigrationSet = {
  owner: 'copies',
  migrations: [
    {
      sql: `
        CREATE TABLE sources (position INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
        CREATE TABLE copies (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;`,
    },
  ],
};

/** Copies every source, and says how far it got. */
export class CopyFollower implements Follower {
  readonly name = 'copies';
  readonly #said: (now: StreamPosition) => void;
  readonly #insertSource: WriteStatement;
  readonly #range: ReadStatement<{ body: string }>;
  readonly #insertCopy: WriteStatement;

  constructor(db: Database, said: (now: StreamPosition) => void) {
    this.#said = said;
    this.#insertSource = db.prepareWrite('INSERT INTO sources (position, body) VALUES (?, ?)');
    this.#range = db.prepareRead('SELECT body FROM sources WHERE position > ? AND position <= ? ORDER BY position');
    this.#insertCopy = db.prepareWrite('INSERT INTO copies (body) VALUES (?)');
  }

  addSource(tx: WriteTx, position: StreamPosition, body: string): void {
    this.#insertSource.run(tx, position, body);
  }

  async follow(since: StreamPosition, now: StreamPosition): Promise<((tx: WriteTx) => void) | undefined> {
    await new Promise((resolve) => setImmediate(resolve));
    const rows = this.#range.list(since, now);
    if (rows.length === 0) return undefined;
    return (tx) => {
      for (const { body } of rows) this.#insertCopy.run(tx, body);
      tx.onCommit(() => this.#said(now));
    };
  }
}
