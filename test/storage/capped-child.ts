// Runs with a low limit on the size of files. Writes until a commit fails, frees space, writes again; prints what it saw.
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { openDatabase } from '../../server/storage/database.ts';
import { StorageError } from '../../server/storage/storage-error.ts';
import { silentLogger } from '../../server/util/log.ts';
import { notes } from './temporary.ts';

const path = join(process.argv[2] ?? '', 'homeserver.db');
const db = openDatabase({ path, migrations: [notes], log: silentLogger });
const insert = db.prepareWrite('INSERT INTO notes (body) VALUES (?)');
const count = db.prepareRead<{ n: number }>('SELECT count(*) AS n FROM notes');
let acknowledged = 0;
let rollbackRan = false;

async function add(): Promise<void> {
  db.write((tx) => {
    insert.run(tx, `${acknowledged} ${'x'.repeat(500)}`);
    tx.onRollback(() => {
      rollbackRan = true;
    });
  });
  await db.committed();
  acknowledged += 1;
}

async function addUntilFailure(): Promise<string> {
  for (let i = 0; i < 10_000; i += 1) {
    try {
      await add();
    } catch (error) {
      return error instanceof StorageError ? error.kind : String(error);
    }
  }
  return 'never failed';
}

const kind = await addUntilFailure();
const committedBefore = acknowledged > 5;
const rowsAsAcknowledged = count.find()?.n === acknowledged;
const other = new Sqlite(path);
other.pragma('wal_checkpoint(TRUNCATE)');
other.close();
await add();
const worksAgain = count.find()?.n === acknowledged && db.health() === 'ok';
const integrity = db.integrityCheck();
await db.close();
console.log(JSON.stringify({ kind, committedBefore, rowsAsAcknowledged, rollbackRan, worksAgain, integrity }));
