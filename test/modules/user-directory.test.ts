import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../kit/manual-clock.ts';
import { type Answer, expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
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
  for (const term of [
    'änne',
    'ANNE',
    'mull',
    'strasse',
    'straß',
    'mü än',
    'Müller-Str',
    'anna.k',
    '@anna',
    anna.userId,
  ]) {
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
  assert.deepEqual(expectOk(await search(ben, 'renamed')).results, [{ user_id: anna.userId, display_name: 'Renamed' }]);
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
  assert.deepEqual(
    firstTwo.results.map((result: Json) => result.user_id),
    ids('u4', 'u5'),
  );
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

test('who closes their account is gone from the directory', async () => {
  await using server = await TestServer.start();
  const seeker = await register(server, 'seeker');
  const anna = await register(server, 'anna', 'Zora One');
  await gather(seeker, anna);
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
  await using server = await TestServer.start({ config: { allow_guest_access: true } });
  const anna = await server.register('anna');
  expectError(await server.anonymous().post(PATH, { search_term: 'a' }), 401, 'M_MISSING_TOKEN');
  expectError(await anna.post(PATH, {}), 400, 'M_BAD_JSON');
  expectError(await anna.post(PATH, { search_term: 1 }), 400, 'M_BAD_JSON');
  expectError(await anna.post(PATH, { search_term: 'a', limit: -1 }), 400, 'M_BAD_JSON');
  expectError(await anna.post(PATH, { search_term: 'a', limit: 'ten' }), 400, 'M_BAD_JSON');
  expectError(await search(await server.guest(), 'a'), 403, 'M_GUEST_ACCESS_FORBIDDEN');
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
  await clock.advance(refusal.retry_after_ms);
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

test('locked users, helpers and the users of programs are not shown', async (t) => {
  const house = await directoryHouse(t);
  const anna = house.person('anna');
  const roomId = await house.createRoom(anna, { joinRule: 'public' });
  const others: [localpart: string, traits: Parameters<typeof house.person>[1]][] = [
    ['ben', { displayName: 'Zora' }],
    ['bridged', { displayName: 'Zora', appserviceId: 'bridge' }],
    ['helper', { displayName: 'Zora', userType: 'support' }],
  ];
  for (const [localpart, traits] of others) {
    const client = house.person(localpart, traits);
    await house.setState(client, roomId, 'm.room.member', { membership: 'join' }, client.userId);
  }
  assert.deepEqual(await found(anna, 'zora'), ['@ben:hearth.test']);
  // They see others all the same.
  const bridged = house.person('bridged');
  assert.deepEqual(await found(bridged, 'zora'), ['@ben:hearth.test']);

  house.person('ben', { locked: true });
  assert.deepEqual(await found(anna, 'zora'), []);
  house.person('ben', { locked: false, deactivated: true });
  assert.deepEqual(await found(anna, '@ben'), []);
  house.person('ben', { deactivated: false });
  assert.deepEqual(await found(anna, 'zora'), ['@ben:hearth.test']);
});

test('locked users are shown where the server says so', async (t) => {
  const house = await directoryHouse(t, { showLockedUsers: true });
  const anna = house.person('anna', { displayName: 'Zora', locked: true });
  await house.createRoom(anna, { joinRule: 'public' });
  assert.deepEqual(await found(anna, 'zora'), [anna.userId]);
});

test('what a user of another server is called in a closed room is known only to those in it', async (t) => {
  const house = await directoryHouse(t);
  const [anna, ben] = [house.person('anna'), house.person('ben')];
  const open = await house.createRoom(anna, { joinRule: 'public' });
  const closed = await house.createRoom(anna, { joinRule: 'invite' });
  await house.remoteJoin(open, '@dora:away.test', { displayname: 'Dora', avatar_url: 'mxc://away.test/dora' });
  await house.remoteJoin(closed, '@dora:away.test', { displayname: 'Honey', avatar_url: 'http://away.test' }, anna);

  const named = (display_name: string, more: Json = {}): Json => ({
    results: [{ user_id: '@dora:away.test', display_name, ...more }],
    limited: false,
  });
  const picture = { avatar_url: 'mxc://away.test/dora' };
  assert.deepEqual(expectOk(await search(ben, 'dora')), named('Dora', picture));
  assert.deepEqual(expectOk(await search(ben, 'honey')), { results: [], limited: false });
  assert.deepEqual(expectOk(await search(anna, 'honey')), named('Honey'));
  assert.deepEqual(expectOk(await search(anna, 'dora')), named('Dora', picture), 'each user comes once');

  await house.remoteEvent(open, '@dora:away.test', 'm.room.member', { membership: 'leave' }, '@dora:away.test');
  assert.deepEqual(await found(ben, 'away'), []);
  assert.deepEqual(expectOk(await search(anna, 'dora')), named('Honey'));
});

test('where everybody can be found, closed rooms still keep what users of other servers show there', async (t) => {
  const house = await directoryHouse(t, { searchAllUsers: true });
  const [anna, ben] = [house.person('anna', { displayName: 'Honey Bee' }), house.person('ben')];
  const closed = await house.createRoom(anna, { joinRule: 'invite' });
  await house.remoteJoin(closed, '@dora:away.test', { displayname: 'Honey', avatar_url: 'mxc://away.test/x' }, anna);

  assert.deepEqual(await found(ben, 'honey'), [anna.userId]);
  assert.deepEqual(expectOk(await search(ben, 'dora')).results, [{ user_id: '@dora:away.test' }]);
  assert.deepEqual(await found(anna, 'honey'), ['@dora:away.test']);
});

test('a redaction takes the name it showed out of the directory', async (t) => {
  const house = await directoryHouse(t);
  const anna = house.person('anna');
  const roomId = await house.createRoom(anna, { joinRule: 'public' });
  const joined = await house.remoteJoin(roomId, '@dora:away.test', { displayname: 'Rude Words' });
  assert.deepEqual(await found(anna, 'rude'), ['@dora:away.test']);
  await house.redact(anna, joined);
  assert.deepEqual(await found(anna, 'rude'), []);
  assert.deepEqual(expectOk(await search(anna, 'dora')).results, [{ user_id: '@dora:away.test' }]);
});

test('local users come first where the server prefers them, and others are left out where it wants none', async (t) => {
  const [fair, partial, closed] = await Promise.all([
    directoryHouse(t),
    directoryHouse(t, { preferLocalUsers: true }),
    directoryHouse(t, { excludeRemoteUsers: true }),
  ]);
  const results = await Promise.all(
    [fair, partial, closed].map(async (house) => {
      const anna = house.person('anna', { displayName: 'Great Zora' });
      const roomId = await house.createRoom(anna, { joinRule: 'public' });
      await house.remoteJoin(roomId, '@dora:away.test', { displayname: 'Zora the Great' });
      return found(anna, 'zor');
    }),
  );
  assert.deepEqual(results, [
    ['@dora:away.test', '@anna:hearth.test'],
    ['@anna:hearth.test', '@dora:away.test'],
    ['@anna:hearth.test'],
  ]);
});

test('when the last of the household leaves a room, those in it are forgotten, and known again on return', async (t) => {
  const house = await directoryHouse(t, { searchAllUsers: true });
  const anna = house.person('anna');
  const roomId = await house.createRoom(anna, { joinRule: 'public' });
  await house.remoteJoin(roomId, '@dora:away.test', { displayname: 'Dora' });
  assert.deepEqual(await found(anna, 'dora'), ['@dora:away.test']);
  await house.setState(anna, roomId, 'm.room.member', { membership: 'leave' }, anna.userId);
  assert.deepEqual(await found(anna, 'dora'), []);
  await house.setState(anna, roomId, 'm.room.member', { membership: 'join' }, anna.userId);
  assert.deepEqual(await found(anna, 'dora'), ['@dora:away.test']);
});

test('the directory can be made anew out of the rooms, large ones too', async (t) => {
  const house = await directoryHouse(t);
  const [anna, ben] = [house.person('anna', { displayName: 'Zora' }), house.person('ben')];
  const open = await house.createRoom(anna, { joinRule: 'public' });
  const closed = await house.createRoom(ben, { joinRule: 'invite' });
  for (let n = 0; n < 450; n++) await house.remoteJoin(open, `@gull${n}:away.test`, { displayname: `Gull ${n}` });
  await house.remoteJoin(closed, '@dora:away.test', { displayname: 'Dora' }, ben);

  const check = async (): Promise<void> => {
    await house.settled();
    assert.deepEqual(await found(anna, 'gull 449'), ['@gull449:away.test']);
    assert.equal((await found(ben, 'gull', 50)).length, 50);
    assert.deepEqual(await found(ben, 'zora'), [anna.userId]);
    assert.deepEqual(await found(ben, 'dora'), ['@dora:away.test']);
    assert.deepEqual(await found(anna, 'dora'), []);
  };
  await check();
  house.directory.rebuild();
  await check();
  await house.remoteEvent(open, '@gull449:away.test', 'm.room.member', { membership: 'leave' }, '@gull449:away.test');
  assert.deepEqual(await found(anna, 'gull 449'), []);
});
