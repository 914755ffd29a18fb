import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { expectError, expectOk, type Json, TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const profile = (of: TestClient | string, key?: string): string => {
  const userId = typeof of === 'string' ? of : of.userId;
  return `/_matrix/client/v3/profile/${encodeURIComponent(userId)}${key === undefined ? '' : `/${encodeURIComponent(key)}`}`;
};

const setField = (who: TestClient, key: string, value: Json): ReturnType<TestClient['put']> =>
  who.put(profile(who, key), { [key]: value });

async function memberContent(who: TestClient, roomId: string, of: TestClient): Promise<Json> {
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/state/m.room.member/${encodeURIComponent(of.userId)}`;
  return expectOk(await who.get(path));
}

/** Follows somebody's sync until a room has an event that fits. */
async function untilEvent(
  who: TestClient,
  roomId: string,
  since: string,
  fits: (event: Json) => boolean,
): Promise<void> {
  let next = since;
  for (;;) {
    const answer = await who.sync({ since: next, timeout: 20_000 });
    const room = answer.rooms?.join?.[roomId];
    if ([...(room?.timeline?.events ?? []), ...(room?.state?.events ?? [])].some(fits)) return;
    next = answer.next_batch;
  }
}

const isMemberOf =
  (user: TestClient, displayName: string | undefined) =>
  (event: Json): boolean =>
    event.type === 'm.room.member' && event.state_key === user.userId && event.content.displayname === displayName;

async function registerAdmin(server: TestServer, username: string): Promise<TestClient> {
  const path = '/_synapse/admin/v1/register';
  const { nonce } = expectOk(await server.anonymous().get(path));
  const password = 'correct horse';
  const mac = createHmac('sha1', 'shared secret of the tests')
    .update([nonce, username, password, 'admin'].join('\0'))
    .digest('hex');
  const body = expectOk(await server.anonymous().post(path, { nonce, username, password, admin: true, mac }));
  return new TestClient(server, { token: body.access_token, userId: body.user_id, deviceId: body.device_id });
}

test('a new user is called by their localpart until they choose a name, and anybody may look it up', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const stranger = server.anonymous();

  assert.deepEqual(expectOk(await stranger.get(profile(anna))), { displayname: 'anna' });
  assert.deepEqual(expectOk(await setField(anna, 'displayname', 'Anna the Bold')), {});
  assert.deepEqual(expectOk(await setField(anna, 'avatar_url', 'mxc://hearth.test/face')), {});
  assert.deepEqual(expectOk(await stranger.get(profile(anna))), {
    displayname: 'Anna the Bold',
    avatar_url: 'mxc://hearth.test/face',
  });
  assert.deepEqual(expectOk(await stranger.get(profile(anna, 'displayname'))), { displayname: 'Anna the Bold' });

  expectOk(await setField(anna, 'displayname', ''));
  expectOk(await anna.delete(profile(anna, 'avatar_url')));
  assert.deepEqual(expectOk(await stranger.get(profile(anna))), {}, 'an empty name is none');
  assert.deepEqual(expectOk(await stranger.get(profile(anna, 'avatar_url'))), {});
});

test('there is no profile of users that do not exist, and none can be had of a server that cannot be asked', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');

  expectError(await anna.get(profile('@nobody:hearth.test')), 404, 'M_NOT_FOUND');
  expectError(await anna.get(profile('@nobody:hearth.test', 'displayname')), 404, 'M_NOT_FOUND');
  expectError(await anna.get(profile('@bob:elsewhere.test')), 502, 'M_UNKNOWN');
  expectError(await anna.get(profile('anna')), 400, 'M_INVALID_PARAM');
});

test('a profile holds fields of any kind, under their stable and their older path', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const older = `/_matrix/client/unstable/uk.tcpip.msc4133/profile/${anna.userId}`;

  expectOk(await setField(anna, 'm.tz', 'Europe/London'));
  const pets = { cats: ['Tom', null], dogs: 0 };
  expectOk(await anna.put(`${older}/org.example.pets`, { 'org.example.pets': pets }));
  expectOk(await setField(anna, 'org.example.nothing', null));
  const everything = {
    displayname: 'anna',
    'm.tz': 'Europe/London',
    'org.example.pets': pets,
    'org.example.nothing': null,
  };
  assert.deepEqual(expectOk(await anna.get(profile(anna))), everything);
  assert.deepEqual(expectOk(await anna.get(older)), everything);
  assert.deepEqual(expectOk(await anna.get(profile(anna, 'org.example.pets'))), { 'org.example.pets': pets });

  assert.deepEqual(expectOk(await anna.delete(profile(anna, 'org.example.pets'))), {});
  expectOk(await anna.delete(profile(anna, 'org.example.pets')));
  expectError(await anna.get(profile(anna, 'org.example.pets')), 404, 'M_NOT_FOUND');
  expectError(await anna.get(profile(anna, 'org.example.never')), 404, 'M_NOT_FOUND');
  assert.equal('org.example.pets' in expectOk(await anna.get(profile(anna))), false);
});

test('fields that break the rules are refused, each with its own error', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const longest = `a${'b'.repeat(254)}`;

  expectOk(await setField(anna, longest, 1));
  expectError(await setField(anna, `${longest}c`, 1), 400, 'M_KEY_TOO_LARGE');
  expectError(await anna.get(profile(anna, `${longest}c`)), 400, 'M_KEY_TOO_LARGE');
  for (const key of ['Upper', '1st', 'two words', 'ü', '_x']) {
    expectError(await setField(anna, key, 'x'), 400, 'M_INVALID_PARAM');
    expectError(await anna.delete(profile(anna, key)), 400, 'M_INVALID_PARAM');
  }
  expectError(await anna.put(profile(anna, 'displayname'), { name: 'Anna' }), 400, 'M_MISSING_PARAM');
  expectError(await anna.put(profile(anna, 'displayname'), ['Anna']), 400, 'M_BAD_JSON');
  expectError(await anna.put(profile(anna, 'displayname'), 'Anna'), 400, 'M_NOT_JSON');
  for (const key of ['displayname', 'avatar_url', 'm.tz']) {
    expectError(await setField(anna, key, 7), 400, 'M_INVALID_PARAM');
    expectError(await setField(anna, key, null), 400, 'M_INVALID_PARAM');
  }
  expectOk(await setField(anna, 'displayname', 'ä'.repeat(256)));
  expectError(await setField(anna, 'displayname', 'ä'.repeat(257)), 400, 'M_INVALID_PARAM');
  expectError(await setField(anna, 'avatar_url', `mxc://${'a'.repeat(1000)}`), 400, 'M_INVALID_PARAM');
});

test('a whole profile is no larger than 64 KiB, whichever field would go beyond', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const rest = JSON.stringify({ displayname: 'anna', big: '' }).length;

  expectOk(await setField(anna, 'big', 'x'.repeat(65_536 - rest)));
  expectError(await setField(anna, 'displayname', 'annas'), 400, 'M_PROFILE_TOO_LARGE');
  expectError(await setField(anna, 'm.tz', 'UTC'), 400, 'M_PROFILE_TOO_LARGE');
  expectOk(await setField(anna, 'displayname', 'an'));
  assert.equal(expectOk(await anna.get(profile(anna))).displayname, 'an');
});

test('nobody changes the profile of another, not even an administrator', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const ruler = await registerAdmin(server, 'ruler');

  for (const who of [await server.register('bob'), ruler]) {
    expectError(await who.put(profile(anna, 'displayname'), { displayname: 'Fool' }), 403, 'M_FORBIDDEN');
    expectError(await who.delete(profile(anna, 'displayname')), 403, 'M_FORBIDDEN');
  }
  expectError(await server.anonymous().put(profile(anna, 'displayname'), { displayname: 'x' }), 401, 'M_MISSING_TOKEN');
  assert.deepEqual(expectOk(await anna.get(profile(anna))), { displayname: 'anna' });
});

test('guests have a name and nothing else', async () => {
  await using server = await TestServer.start({ config: { allow_guest_access: true } });
  const guest = await server.guest();

  expectOk(await setField(guest, 'displayname', 'Passer-by'));
  assert.deepEqual(expectOk(await guest.get(profile(guest))), { displayname: 'Passer-by' });
  expectError(await setField(guest, 'avatar_url', 'mxc://hearth.test/face'), 403, 'M_GUEST_ACCESS_FORBIDDEN');
  expectError(await guest.delete(profile(guest, 'm.tz')), 403, 'M_GUEST_ACCESS_FORBIDDEN');
  expectOk(await guest.delete(profile(guest, 'displayname')));
});

test('where names and pictures are fixed, they can be set once, and changed by administrators', async () => {
  await using server = await TestServer.start({
    config: { enable_set_displayname: false, enable_set_avatar_url: false },
  });
  const anna = await server.register('anna');
  const ruler = await registerAdmin(server, 'ruler');

  expectError(await setField(anna, 'displayname', 'Anna'), 403, 'M_FORBIDDEN');
  expectError(await anna.delete(profile(anna, 'displayname')), 403, 'M_FORBIDDEN');
  expectOk(await setField(anna, 'avatar_url', 'mxc://hearth.test/one'));
  expectError(await setField(anna, 'avatar_url', 'mxc://hearth.test/two'), 403, 'M_FORBIDDEN');
  expectOk(await setField(anna, 'm.tz', 'UTC'));
  expectOk(await setField(ruler, 'displayname', 'The Ruler'));
});

test('pictures are refused while their size or kind is limited and cannot be told', async () => {
  await using server = await TestServer.start({ config: { max_avatar_size: '1M' } });
  const anna = await server.register('anna');

  expectError(await setField(anna, 'avatar_url', 'mxc://hearth.test/unknown'), 403, 'M_FORBIDDEN');
  expectOk(await setField(anna, 'avatar_url', ''));
});

test('profiles may be shown only to those who are logged in', async () => {
  await using server = await TestServer.start({ config: { require_auth_for_profile_requests: true } });
  const anna = await server.register('anna');
  const bob = await server.register('bob');

  expectError(await server.anonymous().get(profile(anna)), 401, 'M_MISSING_TOKEN');
  expectError(await server.anonymous().get(profile(anna, 'displayname')), 401, 'M_MISSING_TOKEN');
  assert.deepEqual(expectOk(await bob.get(profile(anna))), { displayname: 'anna' });
});

test('profiles may be shown only to those in a room together, and of those in rooms open to all', async () => {
  await using server = await TestServer.start({ config: { limit_profile_requests_to_users_who_share_rooms: true } });
  const anna = await server.register('anna');
  const bob = await server.register('bob');

  expectError(await bob.get(profile(anna)), 403, 'M_FORBIDDEN');
  expectError(await bob.get(profile('@nobody:hearth.test')), 403, 'M_FORBIDDEN');
  expectOk(await anna.get(profile(anna)));

  const cellar = await anna.createRoom({ preset: 'private_chat' });
  expectError(await bob.get(profile(anna)), 403, 'M_FORBIDDEN');
  await anna.invite(cellar, bob.userId);
  await bob.join(cellar);
  assert.deepEqual(expectOk(await bob.get(profile(anna))), { displayname: 'anna' });
  await bob.leave(cellar);
  expectError(await bob.get(profile(anna)), 403, 'M_FORBIDDEN');

  const square = await anna.createRoom({ preset: 'public_chat' });
  expectOk(await bob.get(profile(anna)));
  await anna.leave(square);
  expectError(await bob.get(profile(anna)), 403, 'M_FORBIDDEN');
  await anna.createRoom({
    initial_state: [
      { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'world_readable' } },
    ],
  });
  expectOk(await bob.get(profile(anna)));
});

test('a new name and picture are told to every room the user is in, and to no other', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const kitchen = await anna.createRoom({ preset: 'public_chat' });
  const attic = await anna.createRoom({ preset: 'public_chat' });
  const cellar = await anna.createRoom({ preset: 'public_chat' });
  for (const room of [kitchen, attic, cellar]) await bob.join(room);
  await bob.leave(cellar);
  const { next_batch: since } = await anna.sync();

  expectOk(await setField(bob, 'displayname', 'Sir Robert'));
  await untilEvent(anna, kitchen, since, isMemberOf(bob, 'Sir Robert'));
  await untilEvent(anna, attic, since, isMemberOf(bob, 'Sir Robert'));
  expectOk(await setField(bob, 'avatar_url', 'mxc://hearth.test/helmet'));
  await untilEvent(anna, kitchen, since, (event) => event.content.avatar_url === 'mxc://hearth.test/helmet');
  await untilEvent(anna, attic, since, (event) => event.content.avatar_url === 'mxc://hearth.test/helmet');

  assert.deepEqual(await memberContent(anna, attic, bob), {
    membership: 'join',
    displayname: 'Sir Robert',
    avatar_url: 'mxc://hearth.test/helmet',
  });
  assert.equal((await memberContent(anna, cellar, bob)).membership, 'leave');

  expectOk(await bob.delete(profile(bob, 'displayname')));
  await untilEvent(anna, kitchen, since, isMemberOf(bob, undefined));
  expectOk(await setField(bob, 'm.tz', 'UTC'));
  await bob.createRoom({ preset: 'public_chat' });
  assert.deepEqual(await memberContent(anna, kitchen, bob), {
    membership: 'join',
    avatar_url: 'mxc://hearth.test/helmet',
  });
});

test('a name is told once more only if it is another, and without how the user came to be in the room', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const kitchen = await anna.createRoom({ preset: 'public_chat' });
  expectOk(
    await bob.post(`/_matrix/client/v3/rooms/${encodeURIComponent(kitchen)}/join`, { reason: 'I smelled the soup' }),
  );
  await bob.setState(
    kitchen,
    'm.room.member',
    { membership: 'join', reason: 'still the soup', 'org.example.spoon': 'silver' },
    bob.userId,
  );
  const { next_batch: since } = await anna.sync();

  expectOk(await setField(bob, 'displayname', 'Bob the Hungry'));
  await untilEvent(anna, kitchen, since, isMemberOf(bob, 'Bob the Hungry'));
  assert.deepEqual(await memberContent(anna, kitchen, bob), {
    membership: 'join',
    displayname: 'Bob the Hungry',
    'org.example.spoon': 'silver',
  });

  const { next_batch: told } = await anna.sync();
  const inTheKitchen = { membership: 'join', displayname: 'Chef' };
  await bob.setState(kitchen, 'm.room.member', inTheKitchen, bob.userId);
  expectOk(await setField(bob, 'displayname', 'Bob the Hungry'));
  expectOk(await setField(bob, 'org.example.mood', 'full'));
  expectOk(await bob.delete(profile(bob, 'org.example.mood')));
  expectOk(await setField(bob, 'avatar_url', 'mxc://hearth.test/spoon'));
  await untilEvent(anna, kitchen, told, (event) => event.content.avatar_url === 'mxc://hearth.test/spoon');
  const events = (await anna.sync({ since: told })).rooms.join[kitchen].timeline.events;
  assert.deepEqual(
    events.map((event: Json) => event.content),
    [inTheKitchen, { membership: 'join', displayname: 'Bob the Hungry', avatar_url: 'mxc://hearth.test/spoon' }],
    'what he is called in the kitchen alone ends with the next new name or picture, not before',
  );
});

test('rooms hear of a new name although the server stopped right after it was given', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const rooms: string[] = [];
  for (let count = 0; count < 5; count += 1) {
    const roomId = await anna.createRoom({ preset: 'public_chat' });
    await bob.join(roomId);
    rooms.push(roomId);
  }
  const { next_batch: since } = await anna.sync();

  expectOk(await setField(bob, 'displayname', 'Robert'));
  await server.restart();

  for (const roomId of rooms) await untilEvent(anna, roomId, since, isMemberOf(bob, 'Robert'));
});

test('a room that refuses a new name does not keep the others from hearing it', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const crammed = await anna.createRoom({ preset: 'public_chat' });
  const kitchen = await anna.createRoom({ preset: 'public_chat' });
  await bob.join(crammed);
  await bob.join(kitchen);
  // With a long name and address, this membership would be larger than an event may be.
  const content = { membership: 'join', displayname: 'bob', 'org.example.poem': 'la'.repeat(32_000) };
  await bob.setState(crammed, 'm.room.member', content, bob.userId);
  const { next_batch: since } = await anna.sync();
  const name = 'Bob'.repeat(80);
  expectOk(await setField(bob, 'avatar_url', `mxc://hearth.test/${'a'.repeat(900)}`));
  expectOk(await setField(bob, 'displayname', name));

  await untilEvent(anna, kitchen, since, isMemberOf(bob, name));
  assert.equal((await memberContent(anna, crammed, bob)).displayname, 'bob');
});

test('an erased user leaves no profile behind, one who only closed their account does', async () => {
  await using server = await TestServer.start();
  const deactivate = async (who: TestClient, username: string, erase: boolean): Promise<void> => {
    const auth = {
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: username },
      password: `password of ${username}`,
    };
    expectOk(await who.post('/_matrix/client/v3/account/deactivate', { auth, erase }));
  };
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  await deactivate(anna, 'anna', false);
  await deactivate(bob, 'bob', true);

  assert.deepEqual(expectOk(await server.anonymous().get(profile(anna))), { displayname: 'anna' });
  expectError(await server.anonymous().get(profile(bob)), 404, 'M_NOT_FOUND');
});

test('changing a profile again and again is limited', async () => {
  await using server = await TestServer.start({ config: { rc_message: { per_second: 0.001, burst_count: 2 } } });
  const anna = await server.register('anna');

  expectOk(await setField(anna, 'displayname', 'one'));
  expectOk(await setField(anna, 'displayname', 'two'));
  expectError(await setField(anna, 'displayname', 'three'), 429, 'M_LIMIT_EXCEEDED');
  assert.deepEqual(expectOk(await anna.get(profile(anna))), { displayname: 'two' });
});
