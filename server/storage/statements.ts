import type Sqlite from 'better-sqlite3';
import type { ReadStatement, ReturningStatement, SqlValue, WriteStatement, WriteTx } from './types.ts';

/** What statements ask of the database they belong to. */
interface Owner {
  /** Throws unless `tx` is the innermost write under way. */
  checkCurrent(tx: WriteTx): void;
  /** Runs `work`; turns what SQLite throws into what the database throws. */
  attempt<Result>(work: () => Result): Result;
}

/** Prepares statements, each SQL text once. Throws TypeError for a statement of the wrong sort, SQLite's error for wrong SQL. */
export class Statements {
  readonly #sqlite: Sqlite.Database;
  readonly #owner: Owner;
  readonly #prepared = new Map<string, Sqlite.Statement<SqlValue[]>>();

  constructor(sqlite: Sqlite.Database, owner: Owner) {
    this.#sqlite = sqlite;
    this.#owner = owner;
  }

  read<Row>(sql: string): ReadStatement<Row> {
    const owner = this.#owner;
    const statement = this.#prepare(sql);
    if (!statement.reader || !statement.readonly) throw new TypeError(`not a statement that only reads: ${sql}`);
    return {
      find: (...values) => owner.attempt(() => statement.get(...values) as Row | undefined),
      list: (...values) => owner.attempt(() => statement.all(...values) as Row[]),
    };
  }

  write(sql: string): WriteStatement {
    const owner = this.#owner;
    const statement = this.#prepare(sql);
    // BEGIN, COMMIT and their like count as read-only for SQLite, so they are refused too.
    if (statement.reader || statement.readonly) throw new TypeError(`not a change without rows: ${sql}`);
    return {
      run: (tx, ...values) => {
        owner.checkCurrent(tx);
        const { changes, lastInsertRowid } = owner.attempt(() => statement.run(...values));
        return { changes, lastId: Number(lastInsertRowid) };
      },
    };
  }

  returning<Row>(sql: string): ReturningStatement<Row> {
    const owner = this.#owner;
    const statement = this.#prepare(sql);
    if (!statement.reader || statement.readonly) throw new TypeError(`not a change that gives rows: ${sql}`);
    const list = (tx: WriteTx, values: SqlValue[]): Row[] => {
      owner.checkCurrent(tx);
      return owner.attempt(() => statement.all(...values) as Row[]);
    };
    return { find: (tx, ...values) => list(tx, values)[0], list: (tx, ...values) => list(tx, values) };
  }

  #prepare(sql: string): Sqlite.Statement<SqlValue[]> {
    let statement = this.#prepared.get(sql);
    if (statement === undefined) {
      // better-sqlite3 takes such ones by name only, and would refuse the values when the statement is first run.
      if (/\?[0-9]/.test(sql)) throw new TypeError(`numbered placeholders are not for values in order: ${sql}`);
      statement = this.#owner.attempt(() => this.#sqlite.prepare<SqlValue[]>(sql));
      this.#prepared.set(sql, statement);
    }
    return statement;
  }
}
