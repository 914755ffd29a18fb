import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../kit/manual-clock.ts';
import { type Answer, expectError, expectOk, type Json, TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { directoryHouse } from './user-directory-harness.ts';

const PATH = '/_matrix/client/v3/user_directory/search';

const search = (who: TestClient, term: string, limit?: number): Promise<Answer> =>
  who.post(PATH, { search_term: term, ...(limit === undefined ? {} : { limit }) });

/** The users a search finds, in order. */
async function found(who: TestClient, term: string, limit?: number): Promise<string[]> {
  return expectOk(await search(who, term, limit)).results.map((result: Json) => result.user_id);
}

async function setProfile(who: TestClient, key: 'displayname' | 'avatar_url', value: string): Promise<void> {
  expectOk(await who.put(`/_matrix/client/v3/profile/${encodeURIComponent(who.userId)}/${key}`, { [key]: value }));
}

/** Somebody of a chosen name. */
async function register(server: TestServer, username: string, displayName?: string): Promise<TestClient> {
  const client = await server.register(username);
  if (displayName !== undefined) await setProfile(client, 'displayname', displayName);
  return client;
}

/** A public room with all of them in it. */
async function gather(host: TestClient, ...guests: TestClient[]): Promise<string> {
  const roomId = await host.createRoom({ preset: 'public_chat' });
  for (const guest of guests) await guest.join(roomId);
  return roomId;
}

test('people are found by any part of their name or user ID, and shown with name and picture', async () => {
  await using server = await TestServer.start();
  const anna = await register(server, 'anna.k', 'Änne Müller-Straße');
  await setProfile(anna, 'avatar_url', 'mxc://hearth.test/anne');
  const ben = await register(server, 'ben');
  await gather(anna, ben);

  const shown = {
    results: [{ user_id: anna.userId, display_name: 'Änne Müller-Straße', avatar_url: 'mxc://hearth.test/anne' }],
    limited: false,
  };
  for (const term of ['änne', 'ANNE', 'mull', 'strasse', 'straß', 'mü än', 'Müller-Str', 'anna.k', '@anna', anna.userId]) {
    assert.deepEqual(expectOk(await search(ben, term)), shown, term);
  }
  assert.deepEqual(await found(ben, 'anna.k:hearth'), [anna.userId]);
  for (const term of ['nne', 'anne maier', 'üller', '@', '', '  ', '" OR *', 'anna.k:elsewhere']) {
    assert.deepEqual(await found(ben, term), [], term);
  }
});

test('names of every script are found by a part of them', async () => {
  await using server = await TestServer.start();
  const people: Record<string, [name: string, ...terms: string[]]> = {
    yamada: ['山田太郎', '山', '太郎', '田太'],
    kim: ['김철수', '철수', '김'],
    somchai: ['สมชาย ใจดี', 'ชาย', 'ใจดี'],
    fatima: ['فاطمة الزهراء', 'فاطم', 'الزهر'],
    dmitri: ['Дмитрий Йолкин', 'дмит', 'ЙОЛК'],
    odysseus: ['Ὀδυσσεύς', 'οδυσσευσ', 'ΟΔΥΣ'],
    rahul: ['राहुल शर्मा', 'राहु', 'शर्मा'],
    fox: ['🦊 Foxy', '🦊'],
    dots: ['...', '...'],
    wide: ['Ｔｏｍ', 'tom'],
  };
  const seeker = await register(server, 'seeker');
  const roomId = await gather(seeker);
  for (const [username, [name]] of Object.entries(people)) {
    await (await register(server, username, name)).join(roomId);
  }

  for (const [username, [, ...terms]] of Object.entries(people)) {
    for (const term of terms) assert.deepEqual(await found(seeker, term), [`@${username}:hearth.test`], term);
  }
});

test('only those in open rooms or in a room of one’s own are found', async () => {
  await using server = await TestServer.start();
  const anna = await register(server, 'anna', 'Zora One');
  const ben = await register(server, 'ben', 'Zora Two');
  const carl = await register(server, 'carl', 'Zora Three');
  assert.deepEqual(await found(anna, 'zora'), []);

  const roomId = await anna.createRoom({ preset: 'private_chat', invite: [ben.userId] });
  assert.deepEqual(await found(anna, 'zora'), [], 'an invitation shows nobody');
  await ben.join(roomId);
  assert.deepEqual(await found(anna, 'zora'), [ben.userId]);
  assert.deepEqual(await found(ben, 'zora'), [anna.userId]);
  assert.deepEqual(await found(carl, 'zora'), [], 'a closed room shows nobody to others');

  await anna.setState(roomId, 'm.room.history_visibility', { history_visibility: 'world_readable' });
  assert.deepEqual(await found(carl, 'zora'), [anna.userId, ben.userId]);
  await anna.setState(roomId, 'm.room.join_rules', { join_rule: 'public' });
  await anna.setState(roomId, 'm.room.history_visibility', { history_visibility: 'shared' });
  assert.deepEqual(await found(carl, 'zora'), [anna.userId, ben.userId]);
  await anna.setState(roomId, 'm.room.join_rules', { join_rule: 'knock' });
  assert.deepEqual(await found(carl, 'zora'), []);

  const second = await ben.createRoom({ preset: 'private_chat', invite: [anna.userId] });
  await anna.join(second);
  await ben.leave(roomId);
  assert.deepEqual(await found(anna, 'zora'), [ben.userId], 'another room still shows them');
  await ben.leave(second);
  assert.deepEqual(await found(anna, 'zora'), []);
  assert.deepEqual(await found(ben, 'zora'), []);
});

test('users of this server go by their profile, whatever they are called in a room', async () => {
  await using server = await TestServer.start();
  const anna = await register(server, 'anna', 'Official');
  const ben = await register(server, 'ben');
  const roomId = await gather(anna, ben);
  await anna.setState(roomId, 'm.room.member', { membership: 'join', displayname: 'Nickname' }, anna.userId);
  assert.deepEqual(await found(ben, 'nickname'), []);
  assert.deepEqual(await found(ben, 'official'), [anna.userId]);

  await setProfile(anna, 'displayname', 'Renamed');
  assert.deepEqual(await found(ben, 'official'), []);
  assert.deepEqual(expectOk(await search(ben, 'renamed')).results, [
    { user_id: anna.userId, display_name: 'Renamed' },
  ]);
});

test('the best match comes first, and the limit is kept', async () => {
  await using server = await TestServer.start();
  const seeker = await register(server, 'seeker');
  const roomId = await gather(seeker);
  const names: [username: string, name: string][] = [
    ['u1', 'Big Maxwell'],
    ['u2', 'Maxine'],
    ['u3', 'Uncle Max'],
    ['u4', 'Max'],
    ['u5', 'Maxwell'],
  ];
  for (const [username, name] of names) await (await register(server, username, name)).join(roomId);
  const pictured = await server.login('u5');
  await setProfile(pictured, 'avatar_url', 'mxc://hearth.test/max');

  const ids = (...usernames: string[]): string[] => usernames.map((username) => `@${username}:hearth.test`);
  assert.deepEqual(await found(seeker, 'max'), ids('u4', 'u5', 'u2', 'u3', 'u1'));
  const firstTwo = expectOk(await search(seeker, 'max', 2));
  assert.deepEqual(firstTwo.results.map((result: Json) => result.user_id), ids('u4', 'u5'));
  assert.equal(firstTwo.limited, true);
  assert.equal(expectOk(await search(seeker, 'max', 5)).limited, false);
  assert.deepEqual(expectOk(await search(seeker, 'max', 0)), { results: [], limited: true });
  // The server's name finds everybody on it.
  const everybody = await found(seeker, 'hearth');
  assert.deepEqual(everybody.sort(), [...ids('u1', 'u2', 'u3', 'u4', 'u5'), seeker.userId].sort());
});

test('a search gives ten users unless told, and never more than fifty', async (t) => {
  const house = await directoryHouse(t);
  const anna = house.person('anna');
  const roomId = await house.createRoom(anna, { joinRule: 'public' });
  for (let n = 100; n < 160; n++) await house.remoteJoin(roomId, `@gull${n}:away.test`, { displayname: 'Gull' });

  const few = expectOk(await search(anna, 'gull'));
  assert.deepEqual([few.results.length, few.limited], [10, true]);
  const many = expectOk(await search(anna, 'gull', 1_000));
  assert.deepEqual([many.results.length, many.limited], [50, true]);
});

test('who closes their account is gone from the directory, and a locked user is hidden', async () => {
  await using server = await TestServer.start();
  const seeker = await register(server, 'seeker');
  const anna = await register(server, 'anna', 'Zora One');
  const roomId = await gather(seeker, anna);
  assert.deepEqual(await found(seeker, 'zora'), [anna.userId]);

  expectOk(
    await anna.post('/_matrix/client/v3/account/deactivate', {
      auth: {
        type: 'm.login.password',
        identifier: { type: 'm.id.user', user: 'anna' },
        password: 'password of anna',
      },
    }),
  );
  assert.deepEqual(await found(seeker, 'zora'), []);
  assert.deepEqual(await found(seeker, anna.userId), []);
  assert.notEqual(roomId, '');
});

test('everybody can be found where the server says so, but not oneself', async () => {
  await using server = await TestServer.start({ config: { user_directory: { search_all_users: true } } });
  const anna = await register(server, 'anna', 'Zora One');
  const ben = await register(server, 'ben', 'Zora Two');
  assert.deepEqual(await found(anna, 'zora'), [ben.userId]);
});

test('a server without a directory finds nobody', async () => {
  await using server = await TestServer.start({ config: { user_directory: { enabled: false } } });
  const anna = await register(server, 'anna', 'Zora One');
  await gather(anna);
  assert.deepEqual(expectOk(await search(anna, 'zora')), { results: [], limited: false });
});

test('what is no search is refused', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  expectError(await server.anonymous().post(PATH, { search_term: 'a' }), 401, 'M_MISSING_TOKEN');
  expectError(await anna.post(PATH, {}), 400, 'M_BAD_JSON');
  expectError(await anna.post(PATH, { search_term: 1 }), 400, 'M_BAD_JSON');
  expectError(await anna.post(PATH, { search_term: 'a', limit: -1 }), 400, 'M_BAD_JSON');
  expectError(await anna.post(PATH, { search_term: 'a', limit: 'ten' }), 400, 'M_BAD_JSON');
  const guest = await server.guest().catch(() => undefined);
  if (guest !== undefined) expectError(await search(guest, 'a'), 403, 'M_GUEST_ACCESS_FORBIDDEN');
});

test('nobody may search faster than the server allows', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({
    clock,
    config: { rc_user_directory: { per_second: 1, burst_count: 2 } },
  });
  const anna = await server.register('anna');
  expectOk(await search(anna, 'a'));
  expectOk(await search(anna, 'b'));
  const refusal = expectError(await search(anna, 'c'), 429, 'M_LIMIT_EXCEEDED');
  clock.advance(refusal.retry_after_ms);
  expectOk(await search(anna, 'c'));
});

test('the directory survives a restart', async () => {
  await using server = await TestServer.start();
  const anna = await register(server, 'anna', 'Zora One');
  const ben = await register(server, 'ben');
  const roomId = await gather(anna, ben);
  assert.deepEqual(await found(ben, 'zora'), [anna.userId]);
  await server.restart();
  assert.deepEqual(await found(ben, 'zora'), [anna.userId]);
  await anna.leave(roomId);
  assert.deepEqual(await found(ben, 'zora'), []);
});
