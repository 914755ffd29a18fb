import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import Sqlite from 'better-sqlite3';
import { openDatabase } from '../../server/storage/database.ts';
import type { MigrationSet } from '../../server/storage/types.ts';
import { silentLogger } from '../../server/util/log.ts';
import { notes, openNotes, recordingLogger, temporaryFolder } from './temporary.ts';

const full = { name: 'StorageError', kind: 'full' };

test('when the disk is full the whole turn is undone, everybody waiting hears it, and space makes all well again', async (t) => {
  const log = recordingLogger();
  const notesHere = openNotes(t, { maxPages: 250, log });
  const { db, insert } = notesHere;
  notesHere.add('x'.repeat(200_000));
  await db.committed();

  const undone: string[] = [];
  const told: string[] = [];
  db.subscribe((_now, keys) => told.push(...keys));
  db.write((tx) => {
    insert.run(tx, 'small, but of the same turn');
    tx.touch('user:@anna:home');
    tx.onRollback(() => undone.push('first'));
    tx.onRollback(() => undone.push('second'));
    tx.onCommit(() => assert.fail('nothing was committed'));
  });
  db.advance(['room:!kitchen']);
  const answer = db.committed();
  assert.throws(
    () =>
      db.write((tx) => {
        tx.onRollback(() => undone.push('big'));
        insert.run(tx, 'y'.repeat(400_000));
      }),
    full,
  );
  assert.throws(() => notesHere.add('late in the same turn'), full);
  await assert.rejects(answer, full);
  await assert.rejects(db.committed(), full);
  assert.deepEqual(undone, ['big', 'second', 'first']);
  assert.equal(notesHere.bodies().length, 1);
  assert.match(JSON.stringify(db.health()), /no space left/);

  // The next turn still does what fits.
  await nextTurn();
  db.write((tx) => void notesHere.remove.run(tx, 1_000));
  await db.committed();
  notesHere.add('z'.repeat(200_000));
  await db.committed();
  assert.equal(notesHere.bodies()[0]?.length, 200_000);
  assert.equal(db.health(), 'ok');
  assert.deepEqual(
    log.sentences.filter((line) => line.startsWith('storage')),
    ['storage failed', 'storage works again'],
  );
  assert.deepEqual(told, ['room:!kitchen']);
});

test('a full disk that the write itself catches does not let its later statements through', async (t) => {
  const { db, insert, ...rest } = openNotes(t, { maxPages: 100 });
  assert.throws(
    () =>
      db.write((tx) => {
        assert.throws(() => insert.run(tx, 'y'.repeat(1_000_000)), full);
        assert.throws(() => insert.run(tx, 'alone and at once'), full);
      }),
    full,
  );
  await assert.rejects(db.committed(), full);
  await db.close();
  assert.deepEqual(openNotes(t, { path: rest.path }).bodies(), []);
});

test('a nested write that meets a full disk cannot be caught by the write around it', async (t) => {
  const notesHere = openNotes(t, { maxPages: 100 });
  const { db, insert } = notesHere;
  const undone: string[] = [];
  assert.throws(
    () =>
      db.write((tx) => {
        tx.onRollback(() => undone.push('outer'));
        insert.run(tx, 'outer');
        assert.throws(
          () =>
            db.write((inner) => {
              inner.onRollback(() => undone.push('inner'));
              insert.run(inner, 'y'.repeat(1_000_000));
            }),
          full,
        );
      }),
    full,
  );
  await assert.rejects(db.committed(), full);
  assert.deepEqual(undone, ['inner', 'outer']);
  assert.deepEqual(notesHere.bodies(), []);
});

const pairs: MigrationSet = {
  owner: 'pairs',
  migrations: [
    {
      sql: `
        CREATE TABLE halves (
          id INTEGER PRIMARY KEY,
          other INTEGER NOT NULL REFERENCES halves (id) DEFERRABLE INITIALLY DEFERRED
        ) STRICT`,
    },
  ],
};

test('a commit that fails undoes all writes of its turn, and the next turn works', async (t) => {
  const { db } = openNotes(t, { migrations: [notes, pairs] });
  const insert = db.prepareWrite('INSERT INTO halves (id, other) VALUES (?, ?)');
  const count = db.prepareRead<{ n: number }>('SELECT count(*) AS n FROM halves');
  const undone: number[] = [];
  const told: number[] = [];
  db.subscribe((now) => told.push(now));
  const add = (id: number, other: number): void =>
    db.write((tx) => {
      insert.run(tx, id, other);
      tx.nextPosition();
      tx.onRollback(() => undone.push(id));
      tx.onCommit(() => told.push(-id));
    });
  add(1, 1);
  add(2, 3);
  await assert.rejects(db.committed(), { name: 'StorageError', kind: 'io' });
  assert.deepEqual(undone, [2, 1]);
  assert.deepEqual(told, []);
  assert.equal(count.find()?.n, 0);
  add(2, 3);
  add(3, 2);
  await db.committed();
  assert.equal(count.find()?.n, 2);
  // The numbers of what was undone are not used again.
  assert.deepEqual(told, [-2, -3, 4]);
  assert.equal(db.health(), 'ok');
});

test('an I/O error at the commit itself is reported, undone and got over', {
  skip: process.platform === 'win32',
}, async (t) => {
  // The shell caps the size of any file the child writes, which fails the write to the log at the commit.
  const script = fileURLToPath(new URL('capped-child.ts', import.meta.url));
  const child = spawn(
    '/bin/sh',
    ['-c', 'ulimit -f 400 && exec "$0" "$@"', process.execPath, script, temporaryFolder(t)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const report: unknown = JSON.parse(await text(child.stdout));
  assert.deepEqual(report, {
    kind: 'io',
    committedBefore: true,
    rowsAsAcknowledged: true,
    rollbackRan: true,
    worksAgain: true,
    integrity: [],
  });
});

test('a write waits for another process that writes, and gives up with a clear error', async (t) => {
  const notesHere = openNotes(t, { busyMs: 20 });
  const { db, path } = notesHere;
  const other = new Sqlite(path);
  t.after(() => other.close());
  other.exec('BEGIN IMMEDIATE');
  assert.throws(() => notesHere.add('x'), { name: 'StorageError', kind: 'locked', message: /another process/ });
  assert.notEqual(db.health(), 'ok');
  // Reads go on meanwhile.
  assert.deepEqual(notesHere.bodies(), []);
  other.exec('ROLLBACK');
  notesHere.add('x');
  await db.committed();
  assert.equal(db.health(), 'ok');
});

test('a file that is no database is refused, with its path and what to do', (t) => {
  const path = join(temporaryFolder(t), 'homeserver.db');
  writeFileSync(path, 'This is my shopping list. '.repeat(1_000));
  assert.throws(
    () => openDatabase({ path, migrations: [notes], log: silentLogger }),
    (error: Error) => {
      assert.equal('kind' in error && error.kind, 'corrupt');
      assert.ok(error.message.startsWith(path), error.message);
      assert.match(error.message, /damaged.*restore it from a backup/);
      return true;
    },
  );
});

test("another program's database is refused and left alone", (t) => {
  const path = join(temporaryFolder(t), 'homeserver.db');
  const other = new Sqlite(path);
  other.exec('CREATE TABLE recipes (name TEXT)');
  other.close();
  assert.throws(() => openDatabase({ path, migrations: [notes], log: silentLogger }), {
    kind: 'corrupt',
    message: /another program's database/,
  });
  const again = new Sqlite(path);
  t.after(() => again.close());
  assert.deepEqual(again.prepare('SELECT name FROM sqlite_schema').pluck().all(), ['recipes']);
});

test('damage in the middle of the file shows when it is read, in the health and in the check', async (t) => {
  const first = openNotes(t);
  for (let i = 0; i < 500; i += 1) first.add(`${i} ${'x'.repeat(300)}`);
  await first.db.close();
  const { length } = readFileSync(first.path);
  const file = openSync(first.path, 'r+');
  // Past the schema and the small tables at the beginning.
  for (let page = 10; page * 4_096 < length; page += 1)
    writeSync(file, Buffer.alloc(2_048, 0xee), 0, 2_048, page * 4_096);
  closeSync(file);

  const { db, path } = openNotes(t, { path: first.path });
  assert.equal(db.health(), 'ok');
  const all = db.prepareRead('SELECT body FROM notes ORDER BY id');
  assert.throws(() => all.list(), { name: 'StorageError', kind: 'corrupt' });
  assert.match(JSON.stringify(db.health()), /damaged/);
  assert.notDeepEqual(db.integrityCheck(), []);
  // A commit elsewhere in the file does not make it sound.
  db.advance([]);
  await db.committed();
  assert.notEqual(db.health(), 'ok');
  assert.ok(path.length > 0);
});

test('a row that refers to nothing is found by the check', async (t) => {
  const { db, path } = openNotes(t, { migrations: [notes, pairs] });
  assert.deepEqual(db.integrityCheck(), []);
  await db.close();
  const other = new Sqlite(path);
  other.pragma('foreign_keys = OFF');
  other.exec('INSERT INTO halves (id, other) VALUES (1, 7)');
  other.close();
  assert.deepEqual(openNotes(t, { path, migrations: [notes, pairs] }).db.integrityCheck(), [
    'row 1 of halves refers to a missing row of halves',
  ]);
});

function nextTurn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
