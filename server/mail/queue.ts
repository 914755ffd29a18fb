import type { Database, ReadStatement, ReturningStatement, WriteStatement, WriteTx } from '../storage/types.ts';
import type { Letter } from './transport.ts';

export const mailMigrations = {
  owner: 'mail',
  migrations: [
    {
      sql: `
        -- Mails that the mail server has not taken yet.
        CREATE TABLE mail_queue (
          id INTEGER PRIMARY KEY,
          letter TEXT NOT NULL,
          queued_ms INTEGER NOT NULL,
          attempts INTEGER NOT NULL DEFAULT 0,
          due_ms INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX mail_queue_due ON mail_queue (due_ms);
      `,
    },
  ],
} as const;

interface Row {
  readonly id: number;
  readonly letter: string;
  readonly queued_ms: number;
  readonly attempts: number;
}

export interface QueuedLetter {
  readonly id: number;
  readonly letter: Letter;
  readonly queuedMs: number;
  readonly attempts: number;
}

/** The queue on disk. */
export class MailQueue {
  readonly #insert: WriteStatement;
  readonly #findDue: ReadStatement<Row>;
  readonly #nextDue: ReadStatement<{ due_ms: number | null }>;
  readonly #count: ReadStatement<{ n: number }>;
  readonly #postpone: WriteStatement;
  readonly #hasten: WriteStatement;
  readonly #remove: ReturningStatement<{ id: number }>;

  constructor(db: Database) {
    this.#insert = db.prepareWrite('INSERT INTO mail_queue (letter, queued_ms, due_ms) VALUES (?, ?, ?)');
    this.#findDue = db.prepareRead(
      'SELECT id, letter, queued_ms, attempts FROM mail_queue WHERE due_ms <= ? ORDER BY due_ms, id LIMIT 1',
    );
    this.#nextDue = db.prepareRead('SELECT MIN(due_ms) AS due_ms FROM mail_queue');
    this.#count = db.prepareRead('SELECT COUNT(*) AS n FROM mail_queue');
    this.#postpone = db.prepareWrite('UPDATE mail_queue SET attempts = attempts + 1, due_ms = ? WHERE id = ?');
    this.#hasten = db.prepareWrite('UPDATE mail_queue SET due_ms = ? WHERE due_ms > ?');
    this.#remove = db.prepareReturning('DELETE FROM mail_queue WHERE id = ? RETURNING id');
  }

  add(tx: WriteTx, letter: Letter, nowMs: number): void {
    this.#insert.run(tx, JSON.stringify(letter), nowMs, nowMs);
  }

  findDue(nowMs: number): QueuedLetter | undefined {
    const row = this.#findDue.find(nowMs);
    if (row === undefined) return undefined;
    // Only `add` writes this column.
    const letter = JSON.parse(row.letter) as Letter;
    return { id: row.id, letter, queuedMs: row.queued_ms, attempts: row.attempts };
  }

  nextDueMs(): number | undefined {
    return this.#nextDue.find()?.due_ms ?? undefined;
  }

  size(): number {
    return this.#count.find()?.n ?? 0;
  }

  postpone(tx: WriteTx, id: number, dueMs: number): void {
    this.#postpone.run(tx, dueMs, id);
  }

  /** All that waits is due now. */
  hasten(tx: WriteTx, nowMs: number): void {
    this.#hasten.run(tx, nowMs, nowMs);
  }

  remove(tx: WriteTx, id: number): void {
    this.#remove.find(tx, id);
  }
}
