import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const room = (roomId: string, action: string): string =>
  `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/${action}`;
const aliasPath = (alias: string): string => `/_matrix/client/v3/directory/room/${encodeURIComponent(alias)}`;
const create = (who: TestClient, order: Json): Promise<Answer> => who.post('/_matrix/client/v3/createRoom', order);

/** The events of a room in the order they were made. */
async function eventsOf(who: TestClient, roomId: string): Promise<Json[]> {
  return expectOk(await who.get(room(roomId, 'messages'), { dir: 'f', limit: 100 })).chunk;
}

async function typesOf(who: TestClient, roomId: string): Promise<string[]> {
  return (await eventsOf(who, roomId)).map((event) => event.type.replace('m.room.', ''));
}

async function stateOf(who: TestClient, roomId: string, type: string, stateKey = ''): Promise<Json> {
  return expectOk(await who.get(room(roomId, `state/${type}/${encodeURIComponent(stateKey)}`)));
}

async function joinedRooms(who: TestClient): Promise<string[]> {
  return expectOk(await who.get('/_matrix/client/v3/joined_rooms')).joined_rooms;
}

test('each preset makes the events the spec says, in its order', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const expected = {
    private_chat: { join_rule: 'invite', guests: ['m.room.guest_access'], invite: 0 },
    trusted_private_chat: { join_rule: 'invite', guests: ['m.room.guest_access'], invite: 0 },
    public_chat: { join_rule: 'public', guests: [], invite: 50 },
  };
  for (const [preset, rules] of Object.entries(expected)) {
    const roomId = await ann.createRoom({ preset, name: 'Kitchen', topic: 'Soup', room_alias_name: preset });
    const events = await eventsOf(ann, roomId);
    assert.deepEqual(
      events.map((event) => event.type),
      [
        'm.room.create',
        'm.room.member',
        'm.room.power_levels',
        'm.room.canonical_alias',
        'm.room.join_rules',
        'm.room.history_visibility',
        ...rules.guests,
        'm.room.name',
        'm.room.topic',
      ],
    );
    const [, member, levels, alias, joinRules, visibility, ...others] = events.map((event) => event.content);
    assert.equal(member.membership, 'join');
    assert.equal(levels.invite, rules.invite);
    assert.deepEqual(alias, { alias: `#${preset}:hearth.test` });
    assert.deepEqual(joinRules, { join_rule: rules.join_rule });
    assert.deepEqual(visibility, { history_visibility: 'shared' });
    assert.deepEqual(others, [
      ...rules.guests.map(() => ({ guest_access: 'can_join' })),
      { name: 'Kitchen' },
      { topic: 'Soup', 'm.topic': { 'm.text': [{ body: 'Soup' }] } },
    ]);
  }
});

test('visibility decides on the preset where none is given, and on nothing else', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const ruleOf = async (order: Json): Promise<string> =>
    (await stateOf(ann, await ann.createRoom(order), 'm.room.join_rules')).join_rule;
  assert.equal(await ruleOf({}), 'invite');
  assert.equal(await ruleOf({ visibility: 'private' }), 'invite');
  assert.equal(await ruleOf({ visibility: 'public' }), 'public');
  assert.equal(await ruleOf({ visibility: 'public', preset: 'private_chat' }), 'invite');
  assert.equal(await ruleOf({ visibility: 'private', preset: 'public_chat' }), 'public');
});

test('up to version 11 the creator is listed with level 100; from 12 on nobody is, and tombstones take 150', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const levelsOf = async (order: Json): Promise<Json> =>
    stateOf(ann, await ann.createRoom(order), 'm.room.power_levels');

  const old = await levelsOf({ room_version: '11' });
  assert.deepEqual(old.users, { [ann.userId]: 100 });
  assert.equal(old.events['m.room.tombstone'], 100);
  assert.deepEqual([old.state_default, old.events_default, old.users_default], [50, 0, 0]);

  const privileged = await levelsOf({ room_version: '12' });
  assert.deepEqual(privileged.users, {});
  assert.equal(privileged.events['m.room.tombstone'], 150);
  const raised = await levelsOf({ room_version: '12', power_level_content_override: { state_default: 200 } });
  assert.equal(raised.events['m.room.tombstone'], 201);
  const own = await levelsOf({ room_version: '12', power_level_content_override: { events: { 'm.room.name': 0 } } });
  assert.deepEqual(own.events, { 'm.room.name': 0, 'm.room.tombstone': 150 });
  const given = await levelsOf({
    room_version: '12',
    power_level_content_override: { events: { 'm.room.tombstone': 99 } },
  });
  assert.deepEqual(given.events, { 'm.room.tombstone': 99 });

  const trusted = { preset: 'trusted_private_chat', invite: [bob.userId] };
  assert.deepEqual((await levelsOf({ ...trusted, room_version: '11' })).users, {
    [ann.userId]: 100,
    [bob.userId]: 100,
  });
  assert.deepEqual((await levelsOf({ ...trusted, room_version: '12' })).users, {});
});

test('in a trusted chat of version 12 the invited are creators too, beside those who were named', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const carl = '@carl:hearth.test';
  const creatorsOf = async (order: Json): Promise<Json> =>
    (await stateOf(ann, await ann.createRoom(order), 'm.room.create')).additional_creators;
  const named = { room_version: '12', creation_content: { additional_creators: [carl, bob.userId, ann.userId] } };
  assert.deepEqual(await creatorsOf({ room_version: '12', preset: 'trusted_private_chat', invite: [bob.userId] }), [
    bob.userId,
  ]);
  assert.deepEqual(await creatorsOf({ ...named, preset: 'trusted_private_chat', invite: [bob.userId] }), [
    carl,
    bob.userId,
  ]);
  assert.deepEqual(await creatorsOf({ ...named, preset: 'private_chat', invite: [bob.userId] }), [carl, bob.userId]);
  assert.equal(await creatorsOf({ room_version: '12', preset: 'private_chat', invite: [bob.userId] }), undefined);
  const wrong = { room_version: '12', creation_content: { additional_creators: ['carl'] } };
  expectError(await create(ann, wrong), 400, 'M_BAD_JSON');
});

test('a room is of the version that was asked for, and of the configured one otherwise', async () => {
  await using server = await TestServer.start({ config: { default_room_version: '9' } });
  const ann = await server.register('ann');
  const versionOf = async (order: Json): Promise<Json> =>
    (await stateOf(ann, await ann.createRoom(order), 'm.room.create')).room_version;
  for (const version of ['1', '2', '3', '4', '5', '6', '7', '8', '10', '11', '12']) {
    assert.equal(await versionOf({ room_version: version, name: 'Kitchen' }), version);
  }
  assert.equal(await versionOf({}), '9');
  assert.equal(await versionOf({ creation_content: { room_version: '3' } }), '9');
  expectError(await create(ann, { room_version: 'constructor' }), 400, 'M_UNSUPPORTED_ROOM_VERSION');
  expectError(await create(ann, { room_version: 1 }), 400, 'M_BAD_JSON');
});

test('creation_content goes into the create event, but for what the server answers for', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const content = { 'm.federate': false, type: 'm.space', 'org.example': [1], creator: '@eve:x', room_version: '1' };
  const roomId = await ann.createRoom({ room_version: '11', creation_content: content });
  assert.deepEqual(await stateOf(ann, roomId, 'm.room.create'), {
    'm.federate': false,
    type: 'm.space',
    'org.example': [1],
    room_version: '11',
  });
  const older = await ann.createRoom({ room_version: '10', creation_content: { creator: '@eve:x' } });
  assert.equal((await stateOf(ann, older, 'm.room.create')).creator, ann.userId);
  for (const wrong of [{ 'm.federate': 'no' }, { type: 5 }, { predecessor: {} }, { predecessor: '!a:b' }]) {
    expectError(await create(ann, { creation_content: wrong }), 400, 'M_BAD_JSON');
  }
});

test('initial state takes the place of a preset’s, and gives way to name and topic', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const state = (type: string, content: Json, more: Json = {}): Json => ({ type, content, ...more });
  const roomId = await ann.createRoom({
    preset: 'private_chat',
    name: 'Kitchen',
    initial_state: [
      state('m.room.name', { name: 'Cellar' }, { state_key: '' }),
      state('org.example.b', { b: 1 }, { state_key: 'x' }),
      state('m.room.topic', { topic: 'Wine' }),
      state('m.room.join_rules', { join_rule: 'knock' }),
      state('org.example.b', { b: 2 }, { state_key: 'x' }),
    ],
  });
  assert.deepEqual(await typesOf(ann, roomId), [
    'create',
    'member',
    'power_levels',
    'history_visibility',
    'guest_access',
    'topic',
    'join_rules',
    'org.example.b',
    'name',
  ]);
  assert.deepEqual(await stateOf(ann, roomId, 'm.room.name'), { name: 'Kitchen' });
  assert.deepEqual(await stateOf(ann, roomId, 'org.example.b', 'x'), { b: 2 });
});

test('power levels in the initial state stand in the place of the default ones', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const content = { users: { [ann.userId]: 9_000 }, state_default: 9_000 };
  const roomId = await ann.createRoom({
    room_version: '11',
    name: 'Kitchen',
    initial_state: [{ type: 'm.room.power_levels', content }],
    power_level_content_override: { ban: 7 },
  });
  assert.deepEqual(await stateOf(ann, roomId, 'm.room.power_levels'), content);
  assert.equal((await typesOf(ann, roomId)).filter((type) => type === 'power_levels').length, 1);
});

test('a room whose state cannot be is not made at all', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const powerless = { power_level_content_override: { users: { '@bob:hearth.test': 100 } } };
  expectError(
    await create(ann, { room_version: '11', room_alias_name: 'kitchen', name: 'x', ...powerless }),
    400,
    'M_INVALID_ROOM_STATE',
  );
  expectError(await ann.get(aliasPath('#kitchen:hearth.test')), 404, 'M_NOT_FOUND');
  // Creators of version 12 must not be listed.
  const listed = { room_version: '12', power_level_content_override: { users: { [ann.userId]: 100 } } };
  expectError(await create(ann, listed), 400, 'M_INVALID_ROOM_STATE');
  const foreign = [{ type: 'org.example', state_key: '@bob:hearth.test', content: {} }];
  expectError(await create(ann, { initial_state: foreign }), 400, 'M_INVALID_ROOM_STATE');
  const invite = [{ type: 'm.room.member', state_key: '@bob:hearth.test', content: { membership: 'invite' } }];
  expectError(await create(ann, { initial_state: invite }), 400, 'M_BAD_JSON');
  const another = [{ type: 'm.room.create', state_key: '', content: {} }];
  expectError(await create(ann, { initial_state: another }), 400, 'M_BAD_JSON');
  assert.deepEqual(await joinedRooms(ann), []);
  assert.equal((await ann.sync()).rooms?.join, undefined);
});

test('an alias that is taken stops the room from being made', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const kitchen = await ann.createRoom({ room_alias_name: 'kitchen', preset: 'public_chat' });
  expectError(await create(bob, { room_alias_name: 'kitchen' }), 400, 'M_ROOM_IN_USE');
  assert.deepEqual(await joinedRooms(bob), []);
  assert.equal(await bob.join('#kitchen:hearth.test'), kitchen);
  for (const wrong of ['', 'with:colon', 'with space', 'tab\t', 'nul\0', 'long'.repeat(70)]) {
    expectError(await create(bob, { room_alias_name: wrong }), 400, 'M_INVALID_PARAM');
  }
  const names = { type: 'm.room.canonical_alias', content: { alias: '#kitchen:hearth.test' } };
  expectError(await create(bob, { initial_state: [names] }), 400, 'M_BAD_ALIAS');
  const own = { type: 'm.room.canonical_alias', content: { alt_aliases: ['#own:hearth.test'] } };
  const roomId = await bob.createRoom({ room_alias_name: 'own', initial_state: [own] });
  assert.deepEqual(await stateOf(bob, roomId, 'm.room.canonical_alias'), own.content);
});

test('the invited find an invite, marked as a direct chat if it is one', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const carl = await server.register('carl');
  const invite = [bob.userId, carl.userId, bob.userId];
  const direct = await ann.createRoom({ preset: 'trusted_private_chat', is_direct: true, invite });
  const common = await ann.createRoom({ invite: [bob.userId] });
  const invites = (await bob.sync()).rooms.invite;
  assert.deepEqual(Object.keys(invites).sort(), [direct, common].sort());
  const contentIn = (roomId: string): Json =>
    invites[roomId].invite_state.events.find((event: Json) => event.state_key === bob.userId).content;
  assert.deepEqual(contentIn(direct), { membership: 'invite', is_direct: true, displayname: 'bob' });
  assert.deepEqual(contentIn(common), { membership: 'invite', displayname: 'bob' });
  assert.deepEqual((await typesOf(ann, direct)).slice(-2), ['member', 'member']);
  assert.ok((await carl.sync()).rooms.invite[direct]);
});

test('invites that will be refused are refused before there is a room', async () => {
  await using server = await TestServer.start({ config: { block_non_admin_invites: true } });
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  expectError(await create(ann, { invite: [bob.userId] }), 403, 'M_FORBIDDEN');
  await server.restart({
    block_non_admin_invites: false,
    enable_3pid_lookup: false,
    rc_invites: { per_issuer: { per_second: 0.001, burst_count: 2 } },
  });
  expectError(await create(ann, { invite: [ann.userId] }), 403, 'M_FORBIDDEN');
  const closed = { creation_content: { 'm.federate': false } };
  expectError(await create(ann, { ...closed, invite: ['@eve:elsewhere.test'] }), 403, 'M_FORBIDDEN');
  expectError(await create(ann, { invite: ['bob'] }), 400, 'M_BAD_JSON');
  expectError(
    await create(ann, { invite: ['@b:hearth.test', '@c:hearth.test', '@d:hearth.test'] }),
    429,
    'M_LIMIT_EXCEEDED',
  );
  const byMail = { medium: 'email', address: 'bob@example.com', id_server: 'id.example.com', id_access_token: 'x' };
  expectError(await create(ann, { invite_3pid: [byMail] }), 403, 'M_THREEPID_DENIED');
  assert.deepEqual(await joinedRooms(ann), []);
  assert.ok(await ann.createRoom({ invite: [bob.userId] }));
});

test('the invites of a new room count as invites into it and of whoever sends them', async () => {
  const slow = { per_second: 0.001, burst_count: 2 };
  const fast = { per_second: 1_000, burst_count: 1_000 };
  await using server = await TestServer.start({
    config: { rc_invites: { per_room: slow, per_user: fast, per_issuer: fast } },
  });
  const ann = await server.register('ann');
  const invite = ['@b:hearth.test', '@c:hearth.test'];
  expectError(await create(ann, { invite: [...invite, '@d:hearth.test'] }), 429, 'M_LIMIT_EXCEEDED');
  const full = await ann.createRoom({ invite });
  const late = { user_id: '@d:hearth.test' };
  const into = (roomId: string) => ann.post(`/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/invite`, late);
  expectError(await into(full), 429, 'M_LIMIT_EXCEEDED');
  assert.equal((await into(await ann.createRoom())).status, 200);

  await server.restart({ rc_invites: { per_room: fast, per_user: fast, per_issuer: slow } });
  await ann.createRoom({ invite });
  expectError(await create(ann, { invite: ['@d:hearth.test'] }), 429, 'M_LIMIT_EXCEEDED');
  assert.ok(await ann.createRoom());
});

test('the creator comes with name and avatar', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  expectOk(await ann.put(`/_matrix/client/v3/profile/${ann.userId}/displayname`, { displayname: 'Ann of Hearth' }));
  expectOk(
    await ann.put(`/_matrix/client/v3/profile/${ann.userId}/avatar_url`, { avatar_url: 'mxc://hearth.test/ann' }),
  );
  const roomId = await ann.createRoom();
  assert.deepEqual(await stateOf(ann, roomId, 'm.room.member', ann.userId), {
    membership: 'join',
    displayname: 'Ann of Hearth',
    avatar_url: 'mxc://hearth.test/ann',
  });
});

test('the configuration can have rooms encrypted from the start', async () => {
  const encrypted = async (server: TestServer, who: TestClient, order: Json): Promise<boolean> =>
    (await typesOf(who, await who.createRoom(order))).includes('encryption') && server !== undefined;
  await using server = await TestServer.start({ config: { encryption_enabled_by_default_for_room_type: 'invite' } });
  const ann = await server.register('ann');
  assert.equal(await encrypted(server, ann, { preset: 'private_chat' }), true);
  assert.equal(await encrypted(server, ann, { preset: 'trusted_private_chat' }), true);
  assert.equal(await encrypted(server, ann, { preset: 'public_chat' }), false);
  const own = { type: 'm.room.encryption', content: { algorithm: 'm.megolm.v1.aes-sha2', rotation_period_msgs: 5 } };
  const roomId = await ann.createRoom({ initial_state: [own] });
  assert.deepEqual(await stateOf(ann, roomId, 'm.room.encryption'), own.content);
  assert.equal((await typesOf(ann, roomId)).filter((type) => type === 'encryption').length, 1);
  await server.restart({ encryption_enabled_by_default_for_room_type: 'all' });
  assert.equal(await encrypted(server, ann, { preset: 'public_chat' }), true);
});

test('the configuration can set power levels for a preset, and a request goes over it', async () => {
  const overrides = { private_chat: { events: { 'org.example': 0 }, ban: 60, kick: 60 }, public_chat: null };
  await using server = await TestServer.start({ config: { default_power_level_content_override: overrides } });
  const ann = await server.register('ann');
  const levelsOf = async (order: Json): Promise<Json> =>
    stateOf(ann, await ann.createRoom({ room_version: '11', ...order }), 'm.room.power_levels');
  const levels = await levelsOf({ power_level_content_override: { kick: 70 } });
  assert.deepEqual([levels.events, levels.ban, levels.kick, levels.redact], [{ 'org.example': 0 }, 60, 70, 50]);
  assert.equal((await levelsOf({ preset: 'public_chat' })).ban, 50);
});

test('guests make no rooms, and nobody makes too many', async () => {
  await using server = await TestServer.start({
    config: { allow_guest_access: true, rc_room_creation: { per_second: 0.001, burst_count: 2 } },
  });
  const ann = await server.register('ann');
  const guest = await server.guest();
  expectError(await create(guest, {}), 403, 'M_GUEST_ACCESS_FORBIDDEN');
  expectError(await create(server.anonymous(), {}), 401, 'M_MISSING_TOKEN');
  await ann.createRoom();
  // What was asked for wrongly does not count.
  expectError(await create(ann, { room_version: '99' }), 400, 'M_UNSUPPORTED_ROOM_VERSION');
  await ann.createRoom();
  const refused = expectError(await create(ann, {}), 429, 'M_LIMIT_EXCEEDED');
  assert.ok(refused.retry_after_ms > 0);
  assert.equal((await joinedRooms(ann)).length, 2);
});

test('a malformed order is refused as such', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const wrong: Json[] = [
    { preset: 'secret_chat' },
    { visibility: 'hidden' },
    { name: 5 },
    { topic: [] },
    { is_direct: 'yes' },
    { initial_state: [{ content: {} }] },
    { initial_state: [{ type: 'm.room.name' }] },
    { initial_state: {} },
    { creation_content: [] },
    { power_level_content_override: 5 },
    { invite_3pid: [{ medium: 'email' }] },
  ];
  for (const order of wrong) expectError(await create(ann, order), 400, 'M_BAD_JSON');
  expectError(await ann.request('POST', '/_matrix/client/v3/createRoom', { body: '{' }), 400, 'M_NOT_JSON');
  const large = { initial_state: [{ type: 'org.example', content: { text: 'x'.repeat(70_000) } }] };
  expectError(await create(ann, large), 413, 'M_TOO_LARGE');
  assert.deepEqual(await joinedRooms(ann), []);
  // What is null was not given.
  await ann.createRoom({ name: null, preset: null, invite: null, room_alias_name: null, initial_state: null });
});

test('new users find the room made for everybody', async () => {
  await using server = await TestServer.start({
    config: { auto_join_rooms: ['#home:hearth.test'], autocreate_auto_join_rooms_federated: false },
  });
  const ann = await server.register('ann');
  let since: string | undefined;
  let joined: string[] = [];
  while (joined.length === 0) {
    const answer = await ann.sync({ ...(since === undefined ? {} : { since }), timeout: 20_000 });
    since = answer.next_batch;
    joined = Object.keys(answer.rooms?.join ?? {});
  }
  const [home = ''] = joined;
  assert.equal(expectOk(await ann.get(aliasPath('#home:hearth.test'))).room_id, home);
  assert.equal((await stateOf(ann, home, 'm.room.create'))['m.federate'], false);
  assert.deepEqual(await stateOf(ann, home, 'm.room.join_rules'), { join_rule: 'public' });
});
