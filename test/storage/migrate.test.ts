import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { openDatabase } from '../../server/storage/database.ts';
import type { Migration, MigrationSet } from '../../server/storage/types.ts';
import { silentLogger } from '../../server/util/log.ts';
import { recordingLogger, temporaryFolder } from './temporary.ts';

const rooms: Migration = { sql: 'CREATE TABLE rooms (id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID' };
const topics: Migration = { sql: "ALTER TABLE rooms ADD COLUMN topic TEXT NOT NULL DEFAULT ''" };

async function open(path: string, ...migrations: MigrationSet[]): Promise<string[]> {
  const log = recordingLogger();
  const db = openDatabase({ path, migrations, log });
  await db.close();
  return log.sentences;
}

function columns(path: string, table: string, migrations: MigrationSet[]): string[] {
  const db = openDatabase({ path, migrations, log: silentLogger });
  const names = db.prepareRead<{ name: string }>('SELECT name FROM pragma_table_info(?)').list(table);
  void db.close();
  return names.map((row) => row.name);
}

test('each step runs once, and new ones are added later', async (t) => {
  const path = join(temporaryFolder(t), 'homeserver.db');
  assert.deepEqual(await open(path, { owner: 'rooms', migrations: [rooms] }), ['database schema brought up to date']);
  assert.deepEqual(await open(path, { owner: 'rooms', migrations: [rooms] }), []);
  const newest = { owner: 'rooms', migrations: [rooms, topics] };
  assert.deepEqual(await open(path, newest), ['database schema brought up to date']);
  assert.deepEqual(columns(path, 'rooms', [newest]), ['id', 'topic']);
});

test('owners are served in the order given, so one may build on another', async (t) => {
  const path = join(temporaryFolder(t), 'homeserver.db');
  const members = { sql: 'CREATE TABLE members AS SELECT id AS room FROM rooms' };
  const sets = [
    { owner: 'rooms', migrations: [rooms] },
    { owner: 'members', migrations: [members] },
  ];
  await open(path, ...sets);
  assert.deepEqual(columns(path, 'members', sets), ['room']);
});

test('a step that fails leaves nothing of any step behind', async (t) => {
  const path = join(temporaryFolder(t), 'homeserver.db');
  const broken = { sql: 'CREATE TABLE half (id TEXT) STRICT; ALTER TABLE missing ADD COLUMN x TEXT' };
  await assert.rejects(
    open(path, { owner: 'rooms', migrations: [rooms] }, { owner: 'receipts', migrations: [broken] }),
    /step 1 of "receipts" failed: no such table/,
  );
  assert.deepEqual(columns(path, 'rooms', []), []);
  assert.deepEqual(columns(path, 'half', []), []);
});

test('a step may not end the transaction it runs in', async (t) => {
  const path = join(temporaryFolder(t), 'homeserver.db');
  const cheating = { sql: 'COMMIT; CREATE TABLE half (id TEXT) STRICT' };
  await assert.rejects(
    open(path, { owner: 'rooms', migrations: [cheating] }),
    /step 1 of "rooms" ended the transaction/,
  );
});

test('a database of a newer version is refused with its owner and numbers, and not changed', async (t) => {
  const path = join(temporaryFolder(t), 'homeserver.db');
  await open(path, { owner: 'rooms', migrations: [rooms, topics] });
  await assert.rejects(open(path, { owner: 'rooms', migrations: [rooms] }), {
    name: 'StorageError',
    kind: 'newer',
    message: `${path}: this database was written by a newer version of Hearth: it holds step 2 of "rooms", this version knows 1`,
  });
  await assert.rejects(open(path, { owner: 'other', migrations: [rooms] }), {
    kind: 'newer',
    message: /it holds steps 1 to 2 of "rooms", which this version does not have/,
  });
  await open(path, { owner: 'rooms', migrations: [rooms, topics] });
});

test('a released step that reads differently is refused, but moved text is the same step', async (t) => {
  const path = join(temporaryFolder(t), 'homeserver.db');
  await open(path, { owner: 'rooms', migrations: [rooms] });
  const indented = { sql: `\r\n    ${rooms.sql.replaceAll(' ', '\r\n  ')}\n` };
  await open(path, { owner: 'rooms', migrations: [indented] });
  const changed = { sql: rooms.sql.replace('id TEXT', 'id BLOB') };
  await assert.rejects(open(path, { owner: 'rooms', migrations: [changed] }), {
    kind: 'newer',
    message: /step 1 of "rooms" was a different one/,
  });
});

test('a table that others refer to can be rebuilt, but no reference may be left dangling', async (t) => {
  const path = join(temporaryFolder(t), 'homeserver.db');
  const first: Migration = {
    sql: `
      CREATE TABLE rooms (id TEXT PRIMARY KEY) STRICT;
      CREATE TABLE members (room TEXT NOT NULL REFERENCES rooms (id) ON DELETE CASCADE) STRICT;
      INSERT INTO rooms VALUES ('!kitchen');
      INSERT INTO members VALUES ('!kitchen');`,
  };
  const rebuild: Migration = {
    sql: `
      CREATE TABLE rooms_new (id TEXT PRIMARY KEY, topic TEXT) STRICT;
      INSERT INTO rooms_new (id) SELECT id FROM rooms;
      DROP TABLE rooms;
      ALTER TABLE rooms_new RENAME TO rooms;`,
  };
  const dangling: Migration = { sql: 'DELETE FROM rooms' };
  await open(path, { owner: 'rooms', migrations: [first] });
  await open(path, { owner: 'rooms', migrations: [first, rebuild] });
  await assert.rejects(
    open(path, { owner: 'rooms', migrations: [first, rebuild, dangling] }),
    /rows of "members" that refer to missing rows of "rooms"/,
  );
  const db = openDatabase({ path, migrations: [{ owner: 'rooms', migrations: [first, rebuild] }], log: silentLogger });
  t.after(() => db.close());
  const members = db.prepareRead<{ n: number }>('SELECT count(*) AS n FROM members');
  assert.equal(members.find()?.n, 1);
  // And references count again once the schema is done.
  const insert = db.prepareWrite('INSERT INTO members VALUES (?)');
  assert.throws(() => db.write((tx) => insert.run(tx, '!nowhere')), { code: 'SQLITE_CONSTRAINT_FOREIGNKEY' });
});

test('two sets of one owner are a mistake of the program', async (t) => {
  const path = join(temporaryFolder(t), 'homeserver.db');
  const set = { owner: 'rooms', migrations: [rooms] };
  await assert.rejects(open(path, set, set), /two sets of migrations belong to "rooms"/);
});
