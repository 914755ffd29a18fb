import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { openReader } from '../../server/storage/copy.ts';
import { type OpenDatabase, openDatabase } from '../../server/storage/database.ts';
import { adoptCopy } from '../../server/storage/restoration.ts';
import type { MigrationSet } from '../../server/storage/types.ts';
import { silentLogger } from '../../server/util/log.ts';
import { temporary } from './backups-kit.ts';

const ledger: MigrationSet = {
  owner: 'ledger',
  migrations: [
    {
      sql: 'CREATE TABLE accounts (name TEXT PRIMARY KEY, coins INTEGER NOT NULL) STRICT; CREATE TABLE bulk (data TEXT) STRICT',
    },
  ],
};

function open(path: string): OpenDatabase {
  return openDatabase({ path, owner: 'home.test', migrations: [ledger], log: silentLogger });
}

/** A database with two accounts that always add up to a hundred, and some megabytes besides. */
async function openLedger(path: string): Promise<OpenDatabase> {
  const db = open(path);
  const bulk = db.prepareWrite('INSERT INTO bulk (data) VALUES (?)');
  db.write((tx) => {
    db.prepareWrite("INSERT INTO accounts VALUES ('nora', 100), ('olga', 0)").run(tx);
    for (let n = 0; n < 5_000; n += 1) bulk.run(tx, 'x'.repeat(4_000));
  });
  await db.committed();
  return db;
}

test('a copy made while others write is of one moment, and the server goes on meanwhile', async (t) => {
  const directory = temporary(t);
  const db = await openLedger(join(directory, 'a.db'));
  const move = db.prepareWrite("UPDATE accounts SET coins = coins + CASE name WHEN 'nora' THEN -1 ELSE 1 END");
  const path = join(directory, 'copy.db');
  let isDone = false;
  const copying = db.copyTo(path).finally(() => (isDone = true));
  let moves = 0;
  let stop = 0;
  for (; !isDone; moves += 1) {
    db.write((tx) => {
      move.run(tx);
      stop = tx.nextPosition();
    });
    if (moves % 3 === 0) await db.committed();
    await nextTurn();
  }
  await copying;
  assert.ok(moves > 5, `${moves} writes went on meanwhile`);
  await db.close();
  assert.deepEqual(
    readdirSync(directory).filter((name) => name.startsWith('copy')),
    ['copy.db'],
    'one file, no journal',
  );

  const reader = openReader(path);
  const coins = reader.prepareRead<{ coins: number }>('SELECT coins FROM accounts ORDER BY name').list();
  const { reserved } = reader.prepareRead<{ reserved: number }>('SELECT reserved FROM stream_position').find() ?? {};
  reader.close();
  assert.equal(
    coins.reduce((sum, row) => sum + row.coins, 0),
    100,
  );
  assert.ok(reserved !== undefined && reserved <= stop && reserved >= (coins[1]?.coins ?? 0), 'its position is exact');

  const copiedAt = 1_000_000;
  await adoptCopy({
    path,
    owner: 'home.test',
    migrations: [ledger],
    log: silentLogger,
    copiedAt,
    now: copiedAt + 5_000,
  });
  const adopted = open(path);
  assert.equal(adopted.position(), reserved + 1_000_000 + 5_000);
  await adopted.close();
  const order = { path, migrations: [ledger], log: silentLogger, copiedAt, now: copiedAt };
  await assert.rejects(adoptCopy({ ...order, owner: 'other.test' }), /belongs to home\.test/);
  await assert.rejects(adoptCopy({ ...order, owner: 'home.test', migrations: [] }), /newer version/);
});

test('a copy that is broken off leaves no file, and takes the place of none', async (t) => {
  const directory = temporary(t);
  const db = await openLedger(join(directory, 'a.db'));
  const abort = new AbortController();
  const path = join(directory, 'copy.db');
  const progress = (share: number): void => {
    if (share > 0.3) abort.abort(new Error('broken off'));
  };
  await assert.rejects(db.copyTo(path, { signal: abort.signal, progress }), /broken off/);
  assert.deepEqual(
    readdirSync(directory).filter((name) => name.startsWith('copy')),
    [],
  );
  await db.copyTo(path);
  await assert.rejects(db.copyTo(path), /EEXIST/);
  assert.equal(countAccounts(path), 2, 'the first one stays');
  await db.close();
});

test('a copy made beside a server that runs is of one moment, and its position is never after the one it was of', async (t) => {
  const directory = temporary(t);
  const file = join(directory, 'a.db');
  const db = await openLedger(file);
  const move = db.prepareWrite("UPDATE accounts SET coins = coins + CASE name WHEN 'nora' THEN -1 ELSE 1 END");
  const writeOnce = async (): Promise<void> => {
    db.write((tx) => {
      move.run(tx);
      tx.nextPosition();
    });
    await db.committed();
  };
  for (let n = 0; n < 3; n += 1) await writeOnce();
  const position = db.position();
  const reader = openReader(file);
  let isDone = false;
  const copying = reader.copyTo(join(directory, 'beside.db')).finally(() => (isDone = true));
  let turns = 0;
  // Another connection writes all the time: that neither gets into the copy nor makes it begin anew.
  for (; !isDone; turns += 1) {
    await writeOnce();
    await nextTurn();
  }
  await copying;
  assert.ok(turns > 5, `the process went on ${turns} times meanwhile`);
  assert.ok(positionOf(join(directory, 'beside.db')) <= position);
  reader.close();
  await db.close();
  const stopped = openReader(file);
  await stopped.copyTo(join(directory, 'stopped.db'));
  stopped.close();
  assert.equal(positionOf(join(directory, 'stopped.db')), db.position());
  const copy = openReader(join(directory, 'beside.db'));
  const coins = copy.prepareRead<{ coins: number }>("SELECT coins FROM accounts WHERE name = 'olga'").find();
  copy.close();
  assert.equal(coins?.coins, 3, 'what was written meanwhile is not in it');
});

function positionOf(path: string): number {
  const reader = openReader(path);
  try {
    return reader.prepareRead<{ reserved: number }>('SELECT reserved FROM stream_position').find()?.reserved ?? 0;
  } finally {
    reader.close();
  }
}

function countAccounts(path: string): number {
  const reader = openReader(path);
  try {
    return reader.prepareRead<{ n: number }>('SELECT count(*) AS n FROM accounts').find()?.n ?? 0;
  } finally {
    reader.close();
  }
}
