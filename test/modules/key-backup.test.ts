import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { ServerProcess } from '../clients/server-process.ts';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const VERSIONS = '/_matrix/client/v3/room_keys/version';
const KEYS = '/_matrix/client/v3/room_keys/keys';
const ALGORITHM = 'm.megolm_backup.v1.curve25519-aes-sha2';
const ROOM = '!kitchen:hearth.test';

function key(change: Json = {}): Json {
  return {
    first_message_index: 5,
    forwarded_count: 2,
    is_verified: false,
    session_data: { ephemeral: 'e', ciphertext: randomBytes(12).toString('base64'), mac: 'm' },
    ...change,
  };
}

function keys(count: number, prefix = 's'): Record<string, Json> {
  return Object.fromEntries(Array.from({ length: count }, (_, n) => [`${prefix}${n}`, key()]));
}

async function createBackup(client: TestClient, name = 'first'): Promise<string> {
  const body = { algorithm: ALGORITHM, auth_data: { public_key: name } };
  return expectOk(await client.post(VERSIONS, body)).version;
}

const path = (...parts: readonly string[]): string => [KEYS, ...parts.map(encodeURIComponent)].join('/');

async function put(client: TestClient, version: string, body: Json, ...parts: readonly string[]): Promise<Json> {
  return expectOk(await client.put(path(...parts), body, { version }));
}

async function get(client: TestClient, version: string, ...parts: readonly string[]): Promise<Json> {
  return expectOk(await client.get(path(...parts), { version }));
}

async function remove(client: TestClient, version: string, ...parts: readonly string[]): Promise<Json> {
  return expectOk(await client.request('DELETE', path(...parts), { query: { version } }));
}

const describe = async (client: TestClient, version?: string): Promise<Json> =>
  expectOk(await client.get(version === undefined ? VERSIONS : `${VERSIONS}/${version}`));

test('Ann backs up her keys and finds them again, one, those of a room, and all', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  expectError(await ann.get(VERSIONS), 404, 'M_NOT_FOUND');
  const version = await createBackup(ann);
  assert.deepEqual(await get(ann, version), { rooms: {} });
  assert.deepEqual(await get(ann, version, ROOM), { sessions: {} });
  expectError(await ann.get(path(ROOM, 's'), { version }), 404, 'M_NOT_FOUND');

  const one = key();
  const odd = 'a/b+c =?&"{}';
  const first = await put(ann, version, one, ROOM, odd);
  assert.equal(first.count, 1);
  const two = keys(2);
  const second = await put(ann, version, { sessions: two }, ROOM);
  assert.equal(second.count, 3);
  const elsewhere = { '!other': { sessions: keys(1) }, '!third:x': { sessions: keys(2) } };
  const third = await put(ann, version, { rooms: elsewhere });
  assert.equal(third.count, 6);
  assert.equal(new Set([first.etag, second.etag, third.etag]).size, 3);

  assert.deepEqual(await get(ann, version, ROOM, odd), one);
  const kitchen = { sessions: { [odd]: one, ...two } };
  assert.deepEqual(await get(ann, version, ROOM), kitchen);
  assert.deepEqual(await get(ann, version), { rooms: { [ROOM]: kitchen, ...elsewhere } });
  assert.deepEqual(await describe(ann), {
    algorithm: ALGORITHM,
    auth_data: { public_key: 'first' },
    version,
    count: 6,
    etag: third.etag,
  });
  assert.deepEqual(await describe(ann, version), await describe(ann));
});

test('a client that knows the paths from before the spec alone finds the same backup there', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const old = (path: string): string => path.replace('/v3/', '/unstable/');
  const body = { algorithm: ALGORITHM, auth_data: { public_key: 'first' } };
  const { version } = expectOk(await ann.post(old(VERSIONS), body));
  assert.deepEqual(await describe(ann), expectOk(await ann.get(old(VERSIONS))));
  assert.deepEqual(await describe(ann), expectOk(await ann.get(old(`${VERSIONS}/${version}`))));
  expectOk(await ann.put(old(`${VERSIONS}/${version}`), { ...body, version }));
  const one = key();
  expectOk(await ann.put(old(path(ROOM, 's0')), one, { version }));
  expectOk(await ann.put(old(path(ROOM)), { sessions: keys(1, 'room') }, { version }));
  expectOk(await ann.put(old(KEYS), { rooms: { [ROOM]: { sessions: keys(1, 'all') } } }, { version }));
  for (const where of [[], [ROOM], [ROOM, 's0']]) {
    assert.deepEqual(expectOk(await ann.get(old(path(...where)), { version })), await get(ann, version, ...where));
  }
  assert.deepEqual(await get(ann, version, ROOM, 's0'), one);
  for (const where of [[ROOM, 's0'], [ROOM], []]) {
    expectOk(await ann.request('DELETE', old(path(...where)), { query: { version } }));
  }
  assert.deepEqual(await get(ann, version), { rooms: {} });
  expectOk(await ann.delete(old(`${VERSIONS}/${version}`)));
  expectError(await ann.get(VERSIONS), 404, 'M_NOT_FOUND');
});

test('nobody sees or touches the backup of somebody else, and guests have none', async () => {
  await using server = await TestServer.start({ config: { allow_guest_access: true } });
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const version = await createBackup(ann);
  await put(ann, version, key(), ROOM, 's');
  expectError(await bob.get(`${VERSIONS}/${version}`), 404, 'M_NOT_FOUND');
  expectError(await bob.get(KEYS, { version }), 404, 'M_NOT_FOUND');
  expectError(await bob.put(path(ROOM, 's'), key(), { version }), 404, 'M_NOT_FOUND');
  expectError(await bob.request('DELETE', KEYS, { query: { version } }), 404, 'M_NOT_FOUND');
  expectError(await bob.delete(`${VERSIONS}/${version}`), 404, 'M_NOT_FOUND');
  assert.equal((await describe(ann)).count, 1);
  // Versions of two people may have the same name.
  const ofBob = await createBackup(bob);
  assert.deepEqual(await get(bob, ofBob), { rooms: {} });
  expectError(await (await server.guest()).get(VERSIONS), 403, 'M_GUEST_ACCESS_FORBIDDEN');
  expectError(await server.anonymous().get(VERSIONS), 401, 'M_MISSING_TOKEN');
});

test('of two keys of one session the better one stays', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const version = await createBackup(ann);
  let { etag } = await put(ann, version, key(), ROOM, 's');
  const ladder: readonly [change: Json, isBetter: boolean][] = [
    [{}, false],
    [{ forwarded_count: 3 }, false],
    [{ forwarded_count: 1 }, true],
    [{ first_message_index: 6, forwarded_count: 0 }, false],
    [{ first_message_index: 4, forwarded_count: 9 }, true],
    [{ first_message_index: 9, forwarded_count: 9, is_verified: true }, true],
    [{ first_message_index: 0, forwarded_count: 0, is_verified: false }, false],
    [{ first_message_index: 8, forwarded_count: 9, is_verified: true }, true],
  ];
  let best = await get(ann, version, ROOM, 's');
  for (const [change, isBetter] of ladder) {
    const offered = key(change);
    const answer = await put(ann, version, { sessions: { s: offered } }, ROOM);
    if (isBetter) best = offered;
    assert.deepEqual(await get(ann, version, ROOM, 's'), best, JSON.stringify(change));
    assert.equal(answer.etag !== etag, isBetter, JSON.stringify(change));
    assert.equal(answer.count, 1);
    ({ etag } = answer);
  }
});

test('keys go into the newest backup only, and older ones can still be read', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const old = await createBackup(ann);
  await put(ann, old, key(), ROOM, 's');
  const current = await createBackup(ann, 'second');
  assert.notEqual(current, old);
  for (const parts of [[], [ROOM], [ROOM, 's']]) {
    const body = [{ rooms: { [ROOM]: { sessions: keys(1) } } }, { sessions: keys(1) }, key()][parts.length];
    const refusal = expectError(
      await ann.put(path(...parts), body, { version: old }),
      403,
      'M_WRONG_ROOM_KEYS_VERSION',
    );
    assert.equal(refusal.current_version, current);
    for (const unknown of ['77', 'bogus', '', '0', '01', '9'.repeat(40)]) {
      expectError(await ann.put(path(...parts), body, { version: unknown }), 404, 'M_NOT_FOUND');
      expectError(await ann.get(path(...parts), { version: unknown }), 404, 'M_NOT_FOUND');
      const deletion = await ann.request('DELETE', path(...parts), { query: { version: unknown } });
      expectError(deletion, 404, 'M_NOT_FOUND');
    }
    expectError(await ann.get(path(...parts)), 400, 'M_MISSING_PARAM');
    expectError(await ann.put(path(...parts), body), 400, 'M_MISSING_PARAM');
  }
  assert.equal(Object.keys((await get(ann, old)).rooms).length, 1);
  assert.deepEqual(await get(ann, current), { rooms: {} });
  assert.equal((await describe(ann)).version, current);
});

test('a backup’s signatures can be changed, its algorithm and version cannot', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const version = await createBackup(ann);
  const { etag } = await describe(ann);
  const changed = { algorithm: ALGORITHM, auth_data: { public_key: 'first', signatures: { a: {} } } };
  expectOk(await ann.put(`${VERSIONS}/${version}`, changed));
  expectOk(await ann.put(`${VERSIONS}/${version}`, { ...changed, version }));
  assert.deepEqual((await describe(ann)).auth_data, changed.auth_data);
  assert.equal((await describe(ann)).etag, etag);
  expectError(await ann.put(`${VERSIONS}/${version}`, { ...changed, version: '9' }), 400, 'M_INVALID_PARAM');
  expectError(await ann.put(`${VERSIONS}/${version}`, { ...changed, algorithm: 'm.other' }), 400, 'M_INVALID_PARAM');
  expectError(await ann.put(`${VERSIONS}/9`, changed), 404, 'M_NOT_FOUND');
  expectError(await ann.put(`${VERSIONS}/${version}`, { algorithm: ALGORITHM }), 400, 'M_BAD_JSON');
  expectError(await ann.post(VERSIONS, { algorithm: ALGORITHM }), 400, 'M_BAD_JSON');
  expectError(await ann.post(VERSIONS, { auth_data: {} }), 400, 'M_BAD_JSON');
  const large = { algorithm: ALGORITHM, auth_data: { public_key: 'x'.repeat(70_000) } };
  expectError(await ann.post(VERSIONS, large), 413, 'M_TOO_LARGE');
});

test('a deleted backup is gone with its keys, the one before it counts again, and no other gets its name', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const first = await createBackup(ann);
  const second = await createBackup(ann, 'second');
  await put(ann, second, key(), ROOM, 's');
  expectOk(await ann.delete(`${VERSIONS}/${second}`));
  expectOk(await ann.delete(`${VERSIONS}/${second}`));
  expectError(await ann.delete(`${VERSIONS}/99`), 404, 'M_NOT_FOUND');
  expectError(await ann.get(`${VERSIONS}/${second}`), 404, 'M_NOT_FOUND');
  expectError(await ann.get(KEYS, { version: second }), 404, 'M_NOT_FOUND');
  expectError(await ann.put(path(ROOM, 's'), key(), { version: second }), 404, 'M_NOT_FOUND');
  expectError(await ann.put(`${VERSIONS}/${second}`, { algorithm: ALGORITHM, auth_data: {} }), 404, 'M_NOT_FOUND');
  assert.equal((await describe(ann)).version, first);
  await put(ann, first, key(), ROOM, 's');
  const third = await createBackup(ann, 'third');
  assert.equal(new Set([first, second, third]).size, 3);
  assert.deepEqual(await get(ann, third), { rooms: {} });
});

test('keys are deleted one by one, by room, and all at once', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const version = await createBackup(ann);
  const rooms = { [ROOM]: { sessions: keys(3) }, '!other': { sessions: keys(450) }, '!third:x': { sessions: keys(2) } };
  let { etag } = await put(ann, version, { rooms });
  const expectChange = (answer: Json, count: number, isChanged: boolean): void => {
    assert.equal(answer.count, count);
    assert.equal(answer.etag !== etag, isChanged);
    ({ etag } = answer);
  };
  expectChange(await remove(ann, version, ROOM, 's1'), 454, true);
  expectChange(await remove(ann, version, ROOM, 's1'), 454, false);
  expectChange(await remove(ann, version, '!nowhere'), 454, false);
  assert.deepEqual(Object.keys((await get(ann, version, ROOM)).sessions), ['s0', 's2']);
  expectChange(await remove(ann, version, '!other'), 4, true);
  assert.deepEqual(Object.keys((await get(ann, version)).rooms), [ROOM, '!third:x']);
  expectChange(await remove(ann, version), 0, true);
  expectChange(await remove(ann, version), 0, false);
  assert.deepEqual(await get(ann, version), { rooms: {} });
  expectChange(await put(ann, version, key(), ROOM, 's1'), 1, true);
});

test('a request with a key that is not right stores none of its keys', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const version = await createBackup(ann);
  const { session_data: _data, ...dataless } = key();
  const wrong: readonly Json[] = [
    null,
    [],
    'key',
    {},
    dataless,
    key({ session_data: null }),
    key({ is_verified: 'yes' }),
    key({ is_verified: 1 }),
    key({ first_message_index: '1' }),
    key({ first_message_index: -1 }),
    key({ first_message_index: 1.5 }),
    key({ forwarded_count: 2 ** 53 }),
  ];
  for (const bad of wrong) {
    const what = JSON.stringify(bad);
    const sessions = { ...keys(3), bad };
    const answer = await ann.put(path(ROOM), { sessions }, { version });
    assert.deepEqual([answer.status, answer.body.errcode], [400, 'M_BAD_JSON'], what);
    expectError(await ann.put(KEYS, { rooms: { [ROOM]: { sessions } } }, { version }), 400, 'M_BAD_JSON');
    expectError(await ann.put(path(ROOM, 's'), JSON.stringify(bad), { version }), 400, 'M_BAD_JSON');
  }
  for (const body of [{}, { rooms: [] }, { rooms: { [ROOM]: {} } }, { rooms: { [ROOM]: { sessions: 5 } } }]) {
    expectError(await ann.put(KEYS, body, { version }), 400, 'M_BAD_JSON');
  }
  const longName = { sessions: { ['x'.repeat(256)]: key() } };
  expectError(await ann.put(path(ROOM), longName, { version }), 400, 'M_INVALID_PARAM');
  expectError(await ann.put(path(ROOM), '{', { version }), 400, 'M_NOT_JSON');
  assert.equal((await describe(ann)).count, 0);
});

test('names that mean something to JavaScript are names like others', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const version = await createBackup(ann);
  const text = `{"sessions":{"__proto__":${JSON.stringify(key())},"constructor":${JSON.stringify(key())}}}`;
  assert.equal((await put(ann, version, text, ROOM)).count, 2);
  assert.deepEqual(Object.keys((await get(ann, version, ROOM)).sessions).sort(), ['__proto__', 'constructor']);
});

test('thousands of keys are stored by one request and read by another, and others are served meanwhile', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const version = await createBackup(ann);
  const rooms = Object.fromEntries(
    ['!a:x', '!b:x', '!c:x'].map((roomId) => [roomId, { sessions: keys(1_500, roomId) }]),
  );
  let served = 0;
  const uploading = { isOver: false };
  const serveOthers = async (): Promise<void> => {
    while (!uploading.isOver) {
      expectOk(await bob.get('/_matrix/client/v3/account/whoami'));
      if (!uploading.isOver) served += 1;
    }
  };
  const others = serveOthers();
  const stored = await put(ann, version, { rooms }).finally(() => {
    uploading.isOver = true;
  });
  await others;
  assert.equal(stored.count, 4_500);
  assert.ok(served > 5, `${served} requests`);
  assert.deepEqual(await get(ann, version), { rooms });
  assert.deepEqual(await get(ann, version, '!b:x'), rooms['!b:x']);
  // The same once more changes nothing.
  assert.deepEqual(await put(ann, version, { rooms }), stored);
  const tooMuch = { sessions: { s: key({ session_data: 'x'.repeat(6 * 1024 * 1024) }) } };
  expectError(await ann.put(path(ROOM), tooMuch, { version }), 413, 'M_TOO_LARGE');
});

test('a new backup ends the filling of the one before', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const version = await createBackup(ann);
  const uploading = ann.put(path(ROOM), { sessions: keys(3_000) }, { version });
  let current = version;
  while (current === version) {
    const { count } = await describe(ann);
    if (count > 0) current = await createBackup(ann, 'second');
  }
  const refusal = await uploading;
  // The upload may have been over before.
  if (refusal.status !== 200) {
    assert.equal(expectError(refusal, 403, 'M_WRONG_ROOM_KEYS_VERSION').current_version, current);
    assert.ok((await describe(ann, version)).count < 3_000);
  }
  assert.deepEqual(await get(ann, current), { rooms: {} });
});

/** Rows of keys in the database of a server that is not running. */
function countRows(file: string): number {
  const db = new Sqlite(file, { readonly: true });
  const row: Json = db.prepare('SELECT count(*) AS n FROM key_backup_sessions').get();
  db.close();
  return row.n;
}

test('nothing of a deactivated account’s backups is left', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  await put(bob, await createBackup(bob), { sessions: keys(2) }, ROOM);
  await put(ann, await createBackup(ann), { sessions: keys(250) }, ROOM);
  await put(ann, await createBackup(ann), { sessions: keys(250) }, ROOM);
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'ann' },
    password: 'password of ann',
  };
  expectOk(await ann.post('/_matrix/client/v3/account/deactivate', { auth }));
  // Whatever the stop leaves is taken up by the next start; in the end only Bob's are there.
  const file = `${server.dir}/homeserver.db`;
  for (let starts = 0; starts < 20; starts += 1) {
    await server.end();
    if (countRows(file) === 2) break;
    await server.begin();
    expectOk(await bob.get(VERSIONS));
  }
  assert.equal(countRows(file), 2);
});

test('what is acknowledged of a backup survives that the server is killed, and a request cut off can be repeated', async () => {
  await using server = await ServerProcess.start();
  const ann = await server.register('ann');
  const version = await createBackup(ann);
  const kept = keys(300, 'kept');
  const { etag } = await put(ann, version, { sessions: kept }, ROOM);
  const more = keys(4_000, 'more');
  const cutOff = ann.put(path(ROOM), { sessions: more }, { version }).catch((error: unknown) => error);
  while ((await describe(ann)).etag === etag);
  await server.kill();
  await cutOff;
  await server.begin();
  const { sessions } = await get(ann, version, ROOM);
  assert.equal(Object.keys(sessions).length, (await describe(ann)).count);
  for (const [name, content] of Object.entries(kept)) assert.deepEqual(sessions[name], content);
  assert.equal((await put(ann, version, { sessions: more }, ROOM)).count, 4_300);
  assert.deepEqual(await get(ann, version, ROOM), { sessions: { ...kept, ...more } });
});
