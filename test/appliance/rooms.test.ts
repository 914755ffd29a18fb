import assert from 'node:assert/strict';
import { copyFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { eventually } from '../kit/test-network.ts';
import type { TestAppliance } from './appliance-kit.ts';
import { findDamage, logIn, messagesIn, moveIn, roomyDataDir, startRoomy, welcome } from './household-kit.ts';

const databaseOf = (house: TestAppliance): string => join(house.dataDir, 'homeserver.db');

/** Runs `look` on the database, which nobody may be writing to meanwhile. */
function inDatabase<Result>(path: string, look: (db: Sqlite.Database) => Result): Result {
  const db = new Sqlite(path);
  try {
    return look(db);
  } finally {
    db.close();
  }
}

/** How many events of a room that is being removed are gone. */
function removedIn(path: string): number {
  return inDatabase(
    path,
    (db) => db.prepare<[], { removed: number }>('SELECT removed FROM purges').get()?.removed ?? 0,
  );
}

/** Every place in the database, its indexes apart, in which a text occurs. */
function findText(db: Sqlite.Database, text: string): string[] {
  const tables = db
    .prepare<[], { name: string }>(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'",
    )
    .all();
  return tables.flatMap(({ name }) => {
    const columns = db.prepare<[], { name: string }>(`SELECT name FROM pragma_table_info('${name}')`).all();
    return columns
      .filter((column) => {
        const like = `SELECT count(*) AS n FROM "${name}" WHERE instr(CAST("${column.name}" AS TEXT), ?) > 0`;
        return (db.prepare<[string], { n: number }>(like).get(text)?.n ?? 0) > 0;
      })
      .map((column) => `${name}.${column.name}`);
  });
}

/** A room in which everything has happened that leaves traces. */
async function busyRoom(anna: TestClient, ben: TestClient, options: Json = {}): Promise<string> {
  const roomId = await anna.createRoom({ preset: 'public_chat', name: 'The old barn', topic: 'hay', ...options });
  const at = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}`;
  await ben.join(roomId);
  const first = await anna.send(roomId, 'straw and hay');
  const reply = await ben.send(roomId, {
    msgtype: 'm.text',
    body: 'anna: a needle',
    'm.mentions': { user_ids: [anna.userId] },
    'm.relates_to': { rel_type: 'm.thread', event_id: first },
  });
  await ben.send(roomId, { 'm.relates_to': { rel_type: 'm.annotation', event_id: first, key: 'x' } }, 'm.reaction');
  const regretted = await ben.send(roomId, 'regretted');
  expectOk(await ben.put(`${at}/redact/${encodeURIComponent(regretted)}/r1`, {}));
  expectOk(await ben.post(`${at}/receipt/m.read/${encodeURIComponent(first)}`));
  expectOk(await anna.post(`${at}/read_markers`, { 'm.fully_read': first, 'm.read.private': first }));
  const own = `/_matrix/client/v3/user/${anna.userId}/rooms/${encodeURIComponent(roomId)}`;
  expectOk(await anna.put(`${own}/account_data/org.example.color`, { color: 'straw' }));
  expectOk(await anna.put(`${own}/tags/u.barn`, { order: 0.5 }));
  expectOk(await anna.post(`${at}/report/${encodeURIComponent(reply)}`, { reason: 'too sharp' }));
  const later = { msgtype: 'm.text', body: 'later' };
  expectOk(await ben.put(`${at}/send/m.room.message/later`, later, { 'org.matrix.msc4140.delay': 600_000 }));
  await anna.sync();
  await ben.sync();
  expectOk(
    await anna.post('/_matrix/client/unstable/org.matrix.simplified_msc3575/sync', {
      lists: { all: { ranges: [[0, 20]], required_state: [['*', '*']], timeline_limit: 10 } },
    }),
  );
  expectOk(
    await anna.post('/_matrix/client/v3/search', { search_categories: { room_events: { search_term: 'needle' } } }),
  );
  return roomId;
}

test('a room that is removed leaves nothing behind, and the others are as they were', async () => {
  using dataDir = roomyDataDir();
  await using house = await startRoomy(dataDir);
  const anna = await moveIn(house, 'anna');
  const ben = await welcome(house, 'ben');
  const kept = await busyRoom(anna, ben, { name: 'The kitchen', room_alias_name: 'kitchen' });
  const doomed = await busyRoom(anna, ben, { room_alias_name: 'barn' });
  // Bulk, so that there is something to give back.
  for (let round = 0; round < 30; round++) {
    await Promise.all(
      Array.from({ length: 10 }, (_, index) => anna.send(doomed, `${round} ${index} ${'lorem ipsum '.repeat(300)}`)),
    );
  }
  const before = await messagesIn(anna, kept);
  const page = await house.call('GET /rooms', { query: { order: 'size' } });
  assert.deepEqual(
    page.rooms.map(({ roomId }) => roomId),
    [doomed, kept],
    'the largest first',
  );
  assert.ok(
    (page.rooms[0]?.bytes ?? 0) > 1_000_000 && (page.rooms[0]?.bytes ?? 0) < 4_000_000,
    'its size is about right',
  );

  const { next_batch: since } = await ben.sync();
  const sizeBefore = statSync(databaseOf(house)).size;
  const { jobId } = await house.call('POST /rooms/{roomId}/purge', { params: { roomId: doomed } });
  const job = await house.finished(jobId);
  assert.equal(job.state, 'done', JSON.stringify(job));
  const { events, freedBytes } = job.result as { events: number; freedBytes: number };
  assert.ok(events > 300);
  assert.ok(freedBytes > 1_000_000, `bytes freed: ${freedBytes}`);
  const sizeAfter = statSync(databaseOf(house)).size;
  assert.ok(sizeBefore - sizeAfter > 1_000_000, `the file went from ${sizeBefore} to ${sizeAfter} bytes`);

  assert.deepEqual(
    (await house.call('GET /rooms')).rooms.map(({ roomId }) => roomId),
    [kept],
  );
  assert.equal((await house.ask('GET /rooms/{roomId}', { params: { roomId: doomed } })).status, 404);
  const again = await house.ask('POST /rooms/{roomId}/purge', { params: { roomId: doomed } });
  assert.equal(again.status, 404, 'not twice');
  for (const who of [anna, ben]) {
    const { rooms } = await who.sync();
    assert.deepEqual(Object.keys(rooms.join), [kept]);
    assert.equal(rooms.leave?.[doomed], undefined);
    expectError(
      await who.get(`/_matrix/client/v3/rooms/${encodeURIComponent(doomed)}/messages`, { dir: 'b' }),
      403,
      'M_FORBIDDEN',
    );
  }
  const { rooms: changed } = await ben.sync({ since });
  assert.deepEqual(Object.keys(changed.leave), [doomed], 'a device that was away hears of it');
  expectError(
    await anna.get(`/_matrix/client/v3/directory/room/${encodeURIComponent('#barn:localhost')}`),
    404,
    'M_NOT_FOUND',
  );
  assert.deepEqual(await messagesIn(anna, kept), before);
  const found = expectOk(
    await anna.post('/_matrix/client/v3/search', { search_categories: { room_events: { search_term: 'needle' } } }),
  ).search_categories.room_events;
  assert.deepEqual(
    found.results.map(({ result }: Json) => result.room_id),
    [kept],
  );
  await anna.send(kept, 'life goes on');

  await house.appliance.stop();
  inDatabase(databaseOf(house), (db) => {
    assert.deepEqual(
      findText(db, doomed).toSorted(),
      // What a device was told last is kept until it comes back.
      ['purges.room_id', 'reports.room_id', 'rooms.room_id', 'sliding_connections.changes'],
      'only what is for the record',
    );
    assert.deepEqual(findText(db, 'lorem ipsum'), []);
    assert.ok(findText(db, kept).length > 10, 'the other room is still everywhere');
  });
  assert.deepEqual(await findDamage(dataDir), []);
});

test('a removal goes on where it was when the program was killed, and nobody enters the room meanwhile', async () => {
  using dataDir = roomyDataDir();
  const roomId = await (async () => {
    await using house = await startRoomy(dataDir);
    const anna = await moveIn(house, 'anna');
    const room = await anna.createRoom({ preset: 'public_chat', name: 'Attic' });
    for (let round = 0; round < 40; round++) {
      await Promise.all(Array.from({ length: 10 }, (_, index) => anna.send(room, `box ${round} ${index}`)));
    }
    // Killed in the middle: what is on the disk at this moment is all there is.
    const { jobId } = await house.call('POST /rooms/{roomId}/purge', { params: { roomId: room } });
    const answer = await anna.post(`/_matrix/client/v3/join/${encodeURIComponent(room)}`);
    expectError(answer, 403, 'M_FORBIDDEN');
    while (removedIn(databaseOf(house)) === 0) await nextTurn();
    for (const suffix of ['', '-wal']) copyFileSync(databaseOf(house) + suffix, `${databaseOf(house)}.killed${suffix}`);
    await house.finished(jobId);
    return room;
  })();
  for (const suffix of ['', '-wal']) {
    rmSync(`${join(dataDir.path, 'homeserver.db')}${suffix}`, { force: true });
    renameSync(join(dataDir.path, `homeserver.db.killed${suffix}`), join(dataDir.path, `homeserver.db${suffix}`));
  }
  const left = inDatabase(join(dataDir.path, 'homeserver.db'), (db) =>
    db.prepare<[], { n: number }>('SELECT count(*) AS n FROM events').get(),
  );
  assert.ok((left?.n ?? 0) > 20, 'the copy is from the middle');

  await using house = await startRoomy(dataDir);
  const path = `/_matrix/client/v3/join/${encodeURIComponent(roomId)}`;
  const anna = await logIn(house, 'anna');
  const [job] = (await house.call('GET /jobs')).jobs;
  assert.equal(job?.kind, 'purge', 'it is shown');
  assert.equal((await house.finished(job.id)).state, 'done');
  await eventually('the removal is over', async () => (await anna.post(path)).body.errcode !== 'M_FORBIDDEN');
  assert.deepEqual((await anna.sync()).rooms?.join ?? {}, {});
  await house.appliance.stop();
  inDatabase(databaseOf(house), (db) => {
    assert.equal(db.prepare<[], { n: number }>('SELECT count(*) AS n FROM events').get()?.n, 0);
    assert.equal(db.prepare<[], { n: number }>('SELECT count(*) AS n FROM state_nodes').get()?.n, 0);
    assert.equal(db.prepare<[], { n: number }>('SELECT count(*) AS n FROM purges WHERE ended_ts > 0').get()?.n, 1);
  });
  assert.deepEqual(await findDamage(dataDir), []);
});

test('everybody of this server leaves a room, and nobody of it may enter one that is blocked', async () => {
  using dataDir = roomyDataDir();
  await using house = await startRoomy(dataDir);
  const anna = await moveIn(house, 'anna');
  const ben = await welcome(house, 'ben');
  const roomId = await anna.createRoom({ preset: 'public_chat', name: 'Garden' });
  await ben.join(roomId);
  const details = await house.call('GET /rooms/{roomId}', { params: { roomId } });
  const shown = new Map(details.membersList.map(({ userId, membership }) => [userId, membership]));
  assert.deepEqual([...shown.keys()].toSorted(), [anna.userId, ben.userId]);
  assert.deepEqual([...shown.values()], ['join', 'join']);
  assert.deepEqual(details.servers, ['localhost']);
  assert.ok(details.events >= 7 && details.stateEvents >= 7);

  await house.call('PUT /rooms/{roomId}/blocked', { params: { roomId }, body: { blocked: true } });
  const { jobId } = await house.call('POST /rooms/{roomId}/leave', { params: { roomId } });
  const job = await house.finished(jobId);
  assert.deepEqual([job.state, job.result], ['done', { left: 2 }]);
  const [left] = (await house.call('GET /rooms')).rooms;
  assert.deepEqual([left?.localMembers, left?.isBlocked], [0, true]);
  const path = `/_matrix/client/v3/join/${encodeURIComponent(roomId)}`;
  expectError(await ben.post(path), 403, 'M_FORBIDDEN');
  await house.call('PUT /rooms/{roomId}/blocked', { params: { roomId }, body: { blocked: false } });
  expectOk(await ben.post(path));
});

test('rooms are listed a page at a time, in the order and by the words that were asked for', async () => {
  using dataDir = roomyDataDir();
  await using house = await startRoomy(dataDir);
  const anna = await moveIn(house, 'anna');
  const ben = await welcome(house, 'ben');
  const names = ['cellar', 'Attic', 'barn'];
  for (const name of names) await anna.createRoom({ name, preset: 'public_chat' });
  const direct = await anna.createRoom({ is_direct: true, invite: [ben.userId] });
  await ben.join(direct);
  expectOk(await anna.put(`/_matrix/client/v3/user/${anna.userId}/account_data/m.direct`, { [ben.userId]: [direct] }));

  const first = await house.call('GET /rooms', { query: { order: 'name', limit: 3 } });
  assert.deepEqual(
    first.rooms.map(({ name }) => name),
    ['Attic', 'barn', 'cellar'],
  );
  assert.deepEqual([first.total, first.next], [4, 3]);
  const second = await house.call('GET /rooms', { query: { order: 'name', limit: 3, from: 3 } });
  assert.deepEqual(
    second.rooms.map(({ name, isDirect, members }) => [name, isDirect, members]),
    [['anna, ben', true, 2]],
  );
  assert.equal(second.next, undefined);
  assert.equal((await house.call('GET /rooms', { query: { order: 'members' } })).rooms[0]?.roomId, direct);
  assert.equal((await house.call('GET /rooms', { query: { order: 'activity' } })).rooms[0]?.roomId, direct);
  const found = await house.call('GET /rooms', { query: { search: 'ATT' } });
  assert.deepEqual(
    found.rooms.map(({ name }) => name),
    ['Attic'],
  );
  assert.equal((await house.ask('GET /rooms', { query: { limit: 1000 } })).status, 400);
});

test('a room without a name is found by who is in it, and says who was when all have left', async () => {
  using dataDir = roomyDataDir();
  await using house = await startRoomy(dataDir);
  const anna = await moveIn(house, 'anna');
  const ben = await welcome(house, 'ben');
  const named = await anna.createRoom({ name: 'Kitchen', preset: 'public_chat' });
  await ben.join(named);
  const direct = await anna.createRoom({ is_direct: true, invite: [ben.userId] });
  const space = await anna.createRoom({ name: 'House', creation_content: { type: 'm.space' } });
  const find = async (search: string): Promise<string[]> =>
    (await house.call('GET /rooms', { query: { search } })).rooms.map(({ roomId }) => roomId);
  assert.deepEqual(await find('Ben'), [], 'who is only invited is not in it');
  await ben.join(direct);
  assert.deepEqual(await find('Ben'), [direct]);
  for (const who of [anna, ben])
    expectOk(await who.post(`/_matrix/client/v3/rooms/${encodeURIComponent(direct)}/leave`));
  const [empty] = (await house.call('GET /rooms', { query: { search: 'empty' } })).rooms;
  assert.match(empty?.name ?? '', /^Empty room \(was .*anna.*, .*ben.*\)$/);
  assert.equal((await house.call('GET /rooms/{roomId}', { params: { roomId: space } })).isSpace, true);
  assert.equal((await house.call('GET /rooms/{roomId}', { params: { roomId: named } })).isSpace, undefined);
});

test('a room that was blocked and then removed stays in the list, where it can be allowed again', async () => {
  using dataDir = roomyDataDir();
  await using house = await startRoomy(dataDir);
  const anna = await moveIn(house, 'anna');
  const roomId = await anna.createRoom({ preset: 'public_chat', name: 'Spam' });
  await house.call('PUT /rooms/{roomId}/blocked', { params: { roomId }, body: { blocked: true } });
  const { jobId } = await house.call('POST /rooms/{roomId}/purge', { params: { roomId } });
  assert.equal((await house.finished(jobId)).state, 'done');
  const [listed] = (await house.call('GET /rooms')).rooms;
  assert.deepEqual(
    [listed?.roomId, listed?.name, listed?.isBlocked, listed?.bytes, listed?.version],
    [roomId, roomId, true, 0, ''],
  );
  assert.equal((await house.call('GET /rooms/{roomId}', { params: { roomId } })).isBlocked, true);
  assert.equal((await house.ask('POST /rooms/{roomId}/purge', { params: { roomId } })).status, 404);
  await house.call('PUT /rooms/{roomId}/blocked', { params: { roomId }, body: { blocked: false } });
  assert.equal((await house.call('GET /rooms')).total, 0);
});

test('removing an event looks at what belongs to it alone, however much there is', async () => {
  using dataDir = roomyDataDir();
  await using house = await startRoomy(dataDir);
  await house.appliance.stop();
  inDatabase(databaseOf(house), (db) => {
    for (const sql of [
      'DELETE FROM events WHERE event_nid IN (SELECT value FROM json_each(NULL))',
      'DELETE FROM appservice_events WHERE event_id IN (SELECT value FROM json_each(NULL))',
    ]) {
      const plan = db.prepare<[], { detail: string }>(`EXPLAIN QUERY PLAN ${sql}`).all();
      const scans = plan.map(({ detail }) => detail).filter((step) => /^SCAN (?!json_each)/.test(step));
      assert.deepEqual(scans, [], sql);
    }
  });
});
