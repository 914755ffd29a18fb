import Sqlite from 'better-sqlite3';
import { connect } from './connection.ts';
import { findDamage } from './damage.ts';
import { openDatabase } from './database.ts';
import { StorageError, toStorageError } from './storage-error.ts';
import type { Logger } from '../util/log.ts';
import type { Database, MigrationSet, Restoration, StreamPosition, WriteTx } from './types.ts';

/*
 * What a restoration means for those who know the server as it was after the copy was made:
 *
 * - Access tokens of the copy are good; those given out since are not. A sign-out or a changed password since is undone, which
 *   whoever restores is told. Refresh tokens exchanged since are unknown: those clients sign in again.
 * - The stream goes on beyond whatever may have been given out, so no position, and no stream ID of a device list, comes twice.
 * - A sync token of the lost time is known for what it is: the client gets all state once, from the copy on. What it had got
 *   counts as received, so messages to devices do not come twice. Connections of sliding sync begin anew.
 * - One-time and fallback keys go, clients upload new ones; those known to be claimed stay known. All device lists count as
 *   changed for clients, and for other servers as an update that follows none they have, so they ask for the whole list. Lists
 *   of other servers' users are fetched anew.
 * - Key backups keep what the copy has, under new etags; a new version gets a number beyond those of the lost time.
 * - Waiting EDUs are not sent, nor PDUs that had waited for more than a day; transaction IDs start from the time and a random
 *   number with each start. What others said in the lost time, and what they got from us, comes back as missing events.
 * - Numbers of transactions for application services go on from the time. Delayed events that waited are dropped, and declined
 *   invites that other servers had not heard of. Pushers and mails have limits of age of their own.
 */

/**
 * Positions that are skipped at least, and for each millisecond since the copy was made. No server makes a thousand changes a
 * second for long; so what was given out since, also after an earlier restoration of the same copy, stays behind.
 */
const LEAST_GAP = 1_000_000;
const GAP_PER_MS = 1;

export interface AdoptedCopy {
  readonly path: string;
  /** Whom the data have to belong to. */
  readonly owner: string;
  readonly migrations: readonly MigrationSet[];
  readonly log: Logger;
  /** When the copy was made, ms since the epoch. */
  readonly copiedAt: number;
  readonly now: number;
}

/**
 * Makes a copy of a database fit to take its place: brings its schema up to date, looks for damage (which takes seconds per
 * GB and holds up the thread it runs in), and moves its stream beyond what may have been given out since. Throws `StorageError`.
 */
export async function adoptCopy({ path, owner, migrations, log, copiedAt, now }: AdoptedCopy): Promise<void> {
  const db = openDatabase({ path, owner, migrations, log });
  let copied: StreamPosition;
  try {
    const [damage] = db.integrityCheck();
    if (damage !== undefined) throw new StorageError('corrupt', `the database is damaged: ${damage}`);
    copied = db.position();
  } finally {
    await db.close();
  }
  const resumed = copied + LEAST_GAP + GAP_PER_MS * Math.max(0, now - copiedAt);
  const connection = connect(path, {});
  const { sqlite } = connection;
  try {
    sqlite.transaction(() => {
      sqlite.prepare('UPDATE stream_position SET reserved = ?').run(resumed);
      sqlite
        .prepare('INSERT INTO restorations (copied, resumed, copied_ms, restored_ms) VALUES (?, ?, ?, ?)')
        .run(copied, resumed, copiedAt, now);
    })();
    // Nothing may be left in the log: the file is about to be moved.
    sqlite.pragma('wal_checkpoint(TRUNCATE)');
    sqlite.pragma('journal_mode = DELETE');
  } finally {
    connection.close();
  }
}

/** Throws `StorageError` where a copy of a database is damaged. Takes seconds per GB and holds up the thread it runs in. */
export function checkCopy(path: string): void {
  let sqlite: Sqlite.Database | undefined;
  let damage: string | undefined;
  try {
    sqlite = new Sqlite(path, { readonly: true, fileMustExist: true });
    sqlite.pragma('trusted_schema = OFF');
    [damage] = findDamage(sqlite);
  } catch (error) {
    throw toStorageError(error);
  } finally {
    sqlite?.close();
  }
  if (damage !== undefined) throw new StorageError('corrupt', damage);
}

interface Row {
  id: number;
  copied: number;
  resumed: number;
  copied_ms: number;
  restored_ms: number;
}

/**
 * Lets `handle` draw the conclusions of a restoration that nobody has drawn yet, in the write that remembers it; says whether
 * there was one.
 */
export function handleRestorations(db: Database, handle: (tx: WriteTx, restoration: Restoration) => void): boolean {
  const rows = db.prepareRead<Row>('SELECT * FROM restorations WHERE handled = 0 ORDER BY id').list();
  const markHandled = db.prepareWrite('UPDATE restorations SET handled = 1 WHERE id = ?');
  for (const row of rows) {
    db.write((tx) => {
      handle(tx, {
        copied: row.copied as StreamPosition,
        resumed: row.resumed as StreamPosition,
        copiedAt: row.copied_ms,
        now: row.restored_ms,
      });
      markHandled.run(tx, row.id);
    });
  }
  return rows.length > 0;
}
