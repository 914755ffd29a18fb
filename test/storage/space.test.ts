import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { type OpenDatabase, openDatabase } from '../../server/storage/database.ts';
import type { MigrationSet } from '../../server/storage/types.ts';
import { silentLogger } from '../../server/util/log.ts';

const letters: MigrationSet = {
  owner: 'letters',
  migrations: [{ sql: 'CREATE TABLE letters (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT' }],
};
const LETTER_BYTES = 10_000;

function folder(): { readonly file: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'hearth-space-'));
  return { file: join(path, 'test.db'), [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

const open = (path: string): OpenDatabase => openDatabase({ path, migrations: [letters], log: silentLogger });

function write(db: OpenDatabase, count: number): void {
  const insert = db.prepareWrite('INSERT INTO letters (body) VALUES (?)');
  db.write((tx) => {
    for (let at = 0; at < count; at++) insert.run(tx, 'x'.repeat(LETTER_BYTES));
  });
}

test('what is removed is free at first, and given back bit by bit when that is asked for', async () => {
  using place = folder();
  const db = open(place.file);
  write(db, 200);
  await db.committed();
  const full = db.space();
  assert.ok(full.bytes >= 200 * LETTER_BYTES);
  const remove = db.prepareWrite('DELETE FROM letters WHERE id > 10');
  db.write((tx) => remove.run(tx));
  await db.committed();
  assert.equal(db.space().bytes, full.bytes, 'the file is as large as before');
  assert.ok(db.space().freeBytes > 180 * LETTER_BYTES);

  assert.equal(db.giveBack(100_000), true, 'there is more');
  await db.committed();
  const cut = full.bytes - db.space().bytes;
  assert.ok(cut > 50_000 && cut <= 100_000, `${cut} bytes at once`);
  while (db.giveBack(100_000)) await db.committed();
  await db.committed();
  db.checkpoint();
  assert.ok(statSync(place.file).size < 40 * LETTER_BYTES, 'the file is small');
  assert.equal(db.space().freeBytes, 0);
  assert.deepEqual(db.integrityCheck(), []);
  await db.close();
});

test('a file from before pages could be given back is brought to it when it is opened, and keeps what it holds', async () => {
  using place = folder();
  await open(place.file).close();
  const old = new Sqlite(place.file);
  old.pragma('journal_mode = DELETE');
  old.pragma('auto_vacuum = NONE');
  old.exec('VACUUM');
  assert.equal(old.pragma('auto_vacuum', { simple: true }), 0);
  old.prepare('INSERT INTO letters (body) VALUES (?)').run('from before');
  old.close();

  const db = open(place.file);
  assert.deepEqual(db.prepareRead('SELECT body FROM letters').list(), [{ body: 'from before' }]);
  write(db, 100);
  const remove = db.prepareWrite('DELETE FROM letters WHERE id > 1');
  db.write((tx) => remove.run(tx));
  await db.committed();
  const { bytes } = db.space();
  while (db.giveBack(1_000_000)) await db.committed();
  assert.ok(db.space().bytes < bytes - 90 * LETTER_BYTES);
  await db.close();
});

test('what could not be committed is not given back either', async () => {
  using place = folder();
  const db = open(place.file);
  write(db, 50);
  await db.committed();
  const remove = db.prepareWrite('DELETE FROM letters');
  const { bytes } = db.space();
  assert.throws(() =>
    db.write((tx) => {
      remove.run(tx);
      db.giveBack(1_000_000);
      throw new Error('on second thought');
    }),
  );
  await db.committed();
  assert.equal(db.space().bytes, bytes);
  assert.deepEqual(db.prepareRead('SELECT count(*) AS n FROM letters').list(), [{ n: 50 }]);
  assert.deepEqual(db.integrityCheck(), []);
  await db.close();
});
