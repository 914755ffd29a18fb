import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { expectError, expectOk, TestClient } from '../kit/test-client.ts';
import type { QueryOf } from '../../server/appliance/contract.ts';
import { homeserverOf, logIn, moveIn, PASSWORD, roomyDataDir, startRoomy, visitor, welcome } from './household-kit.ts';

const isSignedIn = async (client: TestClient): Promise<boolean> =>
  (await client.get('/_matrix/client/v3/account/whoami')).status === 200;

test('people are listed with what tells them apart, and found by parts of their names', async () => {
  using dataDir = roomyDataDir();
  await using house = await startRoomy(dataDir);
  const anna = await moveIn(house, 'anna');
  const ben = await welcome(house, 'ben');
  expectOk(await ben.put(`/_matrix/client/v3/profile/${ben.userId}/displayname`, { displayname: 'Benjamin B.' }));
  await logIn(house, 'ben');
  const room = await anna.createRoom({ preset: 'public_chat' });
  await ben.join(room);
  expectOk(await ben.request('POST', '/_matrix/media/v3/upload', { body: 'x'.repeat(1000) }));

  const { people } = await house.call('GET /people');
  assert.deepEqual(
    people.map(({ userId, isAdmin, devices, displayName }) => [userId, isAdmin, devices, displayName]),
    [
      ['@anna:localhost', true, 1, 'anna'],
      ['@ben:localhost', false, 2, 'Benjamin B.'],
    ],
  );
  for (const search of ['JAMIN', '@ben']) {
    const found = await house.call('GET /people', { query: { search } });
    assert.deepEqual(
      found.people.map(({ userId }) => userId),
      [ben.userId],
      search,
    );
  }
  const details = await house.call('GET /people/{userId}', { params: { userId: ben.userId } });
  assert.deepEqual([details.rooms, details.mediaBytes, details.devicesList.length], [1, 1000, 2]);
  assert.ok(details.lastSeenAt !== undefined && details.lastSeenAt >= details.createdAt);
  for (const userId of ['@carl:localhost', '@ben:example.com', 'ben']) {
    assert.equal((await house.ask('GET /people/{userId}', { params: { userId } })).status, 404, userId);
  }
});

test('a device is signed out, and the others of its user are not', async () => {
  using dataDir = roomyDataDir();
  await using house = await startRoomy(dataDir);
  await moveIn(house, 'anna');
  const phone = await welcome(house, 'ben');
  const laptop = await logIn(house, 'ben');
  const device = { userId: phone.userId, deviceId: phone.deviceId };
  await house.call('DELETE /people/{userId}/devices/{deviceId}', { params: device });
  assert.deepEqual([await isSignedIn(phone), await isSignedIn(laptop)], [false, true]);
  assert.equal((await house.ask('DELETE /people/{userId}/devices/{deviceId}', { params: device })).status, 404);
});

test('a new password signs everybody out who used the old one, if that is wanted', async () => {
  using dataDir = roomyDataDir();
  await using house = await startRoomy(dataDir);
  await moveIn(house, 'anna');
  const ben = await welcome(house, 'ben');
  const params = { userId: ben.userId };
  const weak = await house.ask('POST /people/{userId}/password', { params, body: { password: '', signOut: true } });
  assert.equal(weak.status, 400);
  await house.call('POST /people/{userId}/password', { params, body: { password: 'a new morning', signOut: false } });
  assert.ok(await isSignedIn(ben));
  await house.call('POST /people/{userId}/password', { params, body: { password: 'a newer morning', signOut: true } });
  assert.ok(!(await isSignedIn(ben)));
  await logIn(house, 'ben', 'a newer morning');
  const old = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'ben' }, password: PASSWORD };
  expectError(await visitor(house).post('/_matrix/client/v3/login', old), 403, 'M_FORBIDDEN');
});

test('who is locked waits, who is deactivated is gone, and somebody always runs the server', async () => {
  using dataDir = roomyDataDir();
  await using house = await startRoomy(dataDir);
  const anna = await moveIn(house, 'anna');
  const ben = await welcome(house, 'ben');
  const own = { userId: anna.userId };
  const other = { userId: ben.userId };
  for (const refused of [
    await house.ask('PUT /people/{userId}/admin', { params: own, body: { admin: false } }),
    await house.ask('PUT /people/{userId}/locked', { params: own, body: { locked: true } }),
    await house.ask('POST /people/{userId}/deactivate', { params: own, body: { erase: false } }),
  ]) {
    assert.equal(refused.status, 403);
    assert.match((refused.body as { error: string }).error, /only administrator/);
  }

  await house.call('PUT /people/{userId}/locked', { params: other, body: { locked: true } });
  expectError(await ben.get('/_matrix/client/v3/account/whoami'), 401, 'M_USER_LOCKED');
  const unfit = await house.ask('PUT /people/{userId}/admin', { params: other, body: { admin: true } });
  assert.equal(unfit.status, 403, 'who is locked can put nothing right');
  await house.call('PUT /people/{userId}/locked', { params: other, body: { locked: false } });
  assert.ok(await isSignedIn(ben));

  await house.call('PUT /people/{userId}/admin', { params: other, body: { admin: true } });
  await house.call('PUT /people/{userId}/admin', { params: own, body: { admin: false } });
  assert.equal((await house.call('GET /people/{userId}', { params: other })).isAdmin, true);
  await house.call('POST /people/{userId}/deactivate', { params: own, body: { erase: true } });
  assert.ok(!(await isSignedIn(anna)));
  const gone = await house.call('GET /people', { query: { deactivated: true } });
  assert.deepEqual(
    gone.people.map(({ userId }) => userId),
    [anna.userId],
  );
  const password = { password: 'a new morning', signOut: true };
  assert.equal((await house.ask('POST /people/{userId}/password', { params: own, body: password })).status, 403);
});

test('the last administrator cannot close their account with an app either, and somebody else can', async () => {
  using dataDir = roomyDataDir();
  await using house = await startRoomy(dataDir);
  const anna = await moveIn(house, 'anna');
  const ben = await welcome(house, 'ben');
  const close = (client: TestClient, user: string) =>
    client.post('/_matrix/client/v3/account/deactivate', {
      auth: { type: 'm.login.password', identifier: { type: 'm.id.user', user }, password: PASSWORD },
    });
  expectError(await close(anna, 'anna'), 403, 'M_FORBIDDEN');
  // Without a token, the password says who it is.
  expectError(await close(visitor(house), 'anna'), 403, 'M_FORBIDDEN');
  assert.ok(await isSignedIn(anna));
  await house.call('PUT /people/{userId}/admin', { params: { userId: ben.userId }, body: { admin: true } });
  const both = await Promise.all([
    house.ask('PUT /people/{userId}/admin', { params: { userId: anna.userId }, body: { admin: false } }),
    house.ask('PUT /people/{userId}/admin', { params: { userId: ben.userId }, body: { admin: false } }),
  ]);
  assert.deepEqual(
    both.map(({ status }) => status).toSorted((a, b) => a - b),
    [200, 403],
    'two pages at once leave one',
  );
});

test('a house of many is shown in pages, with guests and those of bridges apart', async () => {
  const token = 'as-token-of-the-bridge';
  using dataDir = roomyDataDir({ config: { allow_guest_access: true, app_service_config_files: ['bridge.yaml'] } });
  writeFileSync(
    join(dataDir.path, 'bridge.yaml'),
    `id: post\nurl: null\nas_token: ${token}\nhs_token: other\nsender_localpart: postbot\nnamespaces:\n  users: [{exclusive: true, regex: '@post_.*'}]\n`,
  );
  await using house = await startRoomy(dataDir);
  await moveIn(house, 'anna');
  const guest = expectOk(await visitor(house).post('/_matrix/client/v3/register', {}, { kind: 'guest' }));
  for (const username of ['post_ben', 'post_Elise', 'post_carl']) {
    const bridge = new TestClient({ baseUrl: homeserverOf(house).clientUrl }, { token });
    const body = { type: 'm.login.application_service', username };
    expectOk(await bridge.post('/_matrix/client/v3/register', body));
  }
  const list = (query: QueryOf<'GET /people'>) => house.call('GET /people', { query });
  const people = await list({});
  assert.deepEqual(
    people.people.map(({ userId }) => userId),
    ['@anna:localhost'],
  );
  assert.deepEqual(people.counts, { person: 1, guest: 1, bridged: 4 });
  const guests = await list({ kind: 'guest' });
  assert.deepEqual(
    guests.people.map(({ userId }) => userId),
    [guest.user_id],
  );
  const first = await list({ kind: 'bridged', limit: 3 });
  assert.deepEqual([first.people.length, first.total, first.next], [3, 4, 3]);
  assert.equal(first.people[0]?.appservice, 'post');
  const rest = await list({ kind: 'bridged', limit: 3, from: 3 });
  assert.deepEqual([rest.people.length, rest.next], [1, undefined]);
  const found = await list({ kind: 'bridged', search: 'POST_', limit: 2, from: 1 });
  assert.deepEqual([found.people.length, found.total], [2, 3]);
});
