import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ScriptedAppService } from '../kit/scripted-app-service.ts';
import { type Answer, expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const v3 = '/_matrix/client/v3';
const segment = encodeURIComponent;

/** A server with one application service. */
async function withBridge(registration: Json = {}, config: Json = {}) {
  const stack = new AsyncDisposableStack();
  const bridge = stack.use(await ScriptedAppService.start(registration));
  const server = stack.use(await TestServer.start({ config: { app_service_config_files: [bridge.file], ...config } }));
  return { bridge, server, [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose]() };
}

function registerGhost(client: TestClient, username: string, more: Json = {}): Promise<Answer> {
  return client.post(`${v3}/register`, { type: 'm.login.application_service', username, ...more });
}

test('a bridge makes a user, who joins a room and speaks, and is told of all of it', async () => {
  await using house = await withBridge();
  const { bridge, server } = house;
  const alice = await server.register('alice');
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  await alice.send(roomId, 'before anybody listens');
  const ghost = '@_bridge_bob:hearth.test';
  expectOk(await registerGhost(bridge.as(server), '_bridge_bob', { inhibit_login: true }));
  await bridge.as(server, ghost).join(roomId);
  const said = await bridge.as(server, ghost).send(roomId, 'hello');
  const answer = await alice.send(roomId, 'good evening');

  const joined = await bridge.untilEvent(({ type, state_key: key }) => type === 'm.room.member' && key === ghost);
  assert.equal(joined.content.membership, 'join');
  assert.equal(joined.room_id, roomId);
  const spoken = await bridge.untilEvent(({ event_id: id }) => id === said);
  assert.deepEqual([spoken.sender, spoken.content.body], [ghost, 'hello']);
  await bridge.untilEvent(({ event_id: id }) => id === answer);
  assert.ok(!bridge.events.some(({ content }) => content.body === 'before anybody listens'));
  assert.deepEqual(
    bridge.events.map(({ event_id: id }) => id),
    [...new Set(bridge.events.map(({ event_id: id }) => id))],
  );
  const [first] = bridge.transactions;
  assert.equal(first?.authorization, 'Bearer hs-token-of-bridge');
  assert.match(first?.path ?? '', /^\/_matrix\/app\/v1\/transactions\/\d+$/);
  assert.equal(first?.query.get('access_token'), null);
});

test('the user a bridge speaks as is there from the start', async () => {
  await using house = await withBridge();
  const { bridge, server } = house;
  const bot = bridge.as(server);
  assert.equal(expectOk(await bot.get(`${v3}/account/whoami`)).user_id, '@bridgebot:hearth.test');
  const profile = expectOk(await server.anonymous().get(`${v3}/profile/@bridgebot:hearth.test`));
  assert.equal(profile.displayname, 'bridgebot');
  const alice = await server.register('alice');
  const roomId = await alice.createRoom();
  await alice.invite(roomId, '@bridgebot:hearth.test');
  await bot.join(roomId);
  const invite = await bridge.untilEvent(({ content }) => content.membership === 'invite');
  assert.ok(invite.unsigned.invite_room_state.some(({ type }: Json) => type === 'm.room.create'));
});

test('names of a bridge are for nobody else, and a bridge has no others', async () => {
  await using other = await ScriptedAppService.start({ id: 'other' });
  await using house = await withBridge({}, {});
  await house.server.restart({ app_service_config_files: [house.bridge.file, other.file] });
  const { bridge, server } = house;
  const taken = await server.anonymous().post(`${v3}/register`, {
    username: '_bridge_carol',
    password: 'correct horse battery',
    auth: { type: 'm.login.dummy' },
  });
  assert.equal(taken.body.errcode, 'M_INVALID_USERNAME');
  expectError(await server.anonymous().get(`${v3}/register/available`, { username: 'bridgebot' }), 400, 'M_EXCLUSIVE');
  expectError(await registerGhost(bridge.as(server), 'carol'), 400, 'M_EXCLUSIVE');
  expectError(await registerGhost(bridge.as(server), '_other_carol'), 400, 'M_EXCLUSIVE');
  expectError(await registerGhost(server.anonymous(), '_bridge_carol'), 401, 'M_MISSING_TOKEN');
  const alice = await server.register('alice');
  expectError(await registerGhost(alice, '_bridge_carol'), 401, 'M_UNKNOWN_TOKEN');

  const roomId = await alice.createRoom({ preset: 'public_chat' });
  const path = (alias: string): string => `${v3}/directory/room/${segment(alias)}`;
  const body = { room_id: roomId };
  expectError(await alice.put(path('#_bridge_tea:hearth.test'), body), 400, 'M_EXCLUSIVE');
  expectError(await alice.post(`${v3}/createRoom`, { room_alias_name: '_bridge_tea' }), 400, 'M_EXCLUSIVE');
  expectError(await other.as(server).put(path('#_bridge_tea:hearth.test'), body), 400, 'M_EXCLUSIVE');
  expectError(await bridge.as(server).put(path('#tea:hearth.test'), body), 400, 'M_EXCLUSIVE');
  expectOk(await bridge.as(server).put(path('#_bridge_tea:hearth.test'), body));
  expectError(await alice.delete(path('#_bridge_tea:hearth.test')), 400, 'M_EXCLUSIVE');
  // From now on the room is of interest, though no user of the bridge is in it.
  const said = await alice.send(roomId, 'is anybody there?');
  await bridge.untilEvent(({ event_id: id }) => id === said);
  expectOk(await bridge.as(server).delete(path('#_bridge_tea:hearth.test')));
});

test('names of a bridge that starts with a letter are refused as reserved', async () => {
  await using house = await withBridge({
    namespaces: { users: [{ regex: '@irc-.*:hearth\\.test', exclusive: true }] },
  });
  const { bridge, server } = house;
  const wanted = { username: 'irc-dave', password: 'correct horse battery', auth: { type: 'm.login.dummy' } };
  expectError(await server.anonymous().post(`${v3}/register`, wanted), 400, 'M_EXCLUSIVE');
  expectOk(await registerGhost(bridge.as(server), 'irc-dave'));
  expectError(await registerGhost(bridge.as(server), 'irc-dave'), 400, 'M_USER_IN_USE');
});

test('names of another network keep their capitals, and what else user IDs once could have', async () => {
  await using house = await withBridge();
  const { bridge, server } = house;
  for (const name of ['_bridge_T024BE7LD_U2147483697', "_bridge_O'Hara[away]"]) {
    const userId = `@${name}:hearth.test`;
    assert.equal(expectOk(await registerGhost(bridge.as(server), name)).user_id, userId);
    const ghost = bridge.as(server, userId);
    assert.equal(expectOk(await ghost.get(`${v3}/account/whoami`)).user_id, userId);
    const roomId = await ghost.createRoom({ preset: 'public_chat' });
    const { sender } = await bridge.untilEvent(({ type, room_id: id }) => type === 'm.room.create' && id === roomId);
    assert.equal(sender, userId);
  }
  for (const name of ['_bridge_a:b', '_bridge_a b', '_bridge_\u212A', `_bridge_${'a'.repeat(250)}`]) {
    expectError(await registerGhost(bridge.as(server), name), 400, 'M_INVALID_USERNAME');
  }
});

test('a bridge acts as its own users only, and only if they are there', async () => {
  await using house = await withBridge();
  const { bridge, server } = house;
  const alice = await server.register('alice');
  const whoami = (client: TestClient): Promise<Answer> => client.get(`${v3}/account/whoami`);
  expectError(await whoami(bridge.as(server, alice.userId)), 403, 'M_FORBIDDEN');
  expectError(await whoami(bridge.as(server, '@_bridge_nobody:hearth.test')), 403, 'M_FORBIDDEN');
  expectError(await whoami(bridge.as(server, '@_bridge_bob:elsewhere.test')), 403, 'M_FORBIDDEN');
  expectError(await whoami(bridge.as(server, 'no user ID')), 403, 'M_FORBIDDEN');
  expectOk(await registerGhost(bridge.as(server), '_bridge_bob'));
  assert.equal(expectOk(await whoami(bridge.as(server, '@_bridge_bob:hearth.test'))).device_id, undefined);
  expectError(await whoami(bridge.as(server, '@_bridge_bob:hearth.test', 'NOSUCH')), 400, 'M_UNKNOWN_DEVICE');
  // With a token of their own nobody acts as somebody else.
  const same = expectOk(await alice.get(`${v3}/account/whoami`, { user_id: '@_bridge_bob:hearth.test' }));
  assert.equal(same.user_id, alice.userId);
});

test('a bridge logs its users in, and nobody else', async () => {
  await using house = await withBridge();
  const { bridge, server } = house;
  await server.register('alice');
  const flows = expectOk(await server.anonymous().get(`${v3}/login`)).flows;
  assert.ok(flows.some(({ type }: Json) => type === 'm.login.application_service'));
  expectOk(await registerGhost(bridge.as(server), '_bridge_bob', { inhibit_login: true }));
  const logIn = (client: TestClient, user: string): Promise<Answer> =>
    client.post(`${v3}/login`, { type: 'm.login.application_service', identifier: { type: 'm.id.user', user } });
  const session = expectOk(await logIn(bridge.as(server), '_bridge_bob'));
  assert.equal(session.user_id, '@_bridge_bob:hearth.test');
  assert.equal(typeof session.access_token, 'string');
  expectError(await logIn(bridge.as(server), 'alice'), 400, 'M_EXCLUSIVE');
  expectError(await logIn(server.anonymous(), '_bridge_bob'), 401, 'M_MISSING_TOKEN');
  const alice = await server.login('alice');
  expectError(await logIn(alice, '_bridge_bob'), 401, 'M_UNKNOWN_TOKEN');
});

test('a bridge makes and removes devices, and replaces signing keys, without anybody to ask', async () => {
  await using house = await withBridge();
  const { bridge, server } = house;
  const ghost = '@_bridge_bob:hearth.test';
  expectOk(await registerGhost(bridge.as(server), '_bridge_bob', { inhibit_login: true }));
  const bob = bridge.as(server, ghost);
  const made = await bob.put(`${v3}/devices/BRIDGE`, { display_name: 'the bridge' });
  assert.equal(made.status, 201);
  assert.equal((await bob.put(`${v3}/devices/BRIDGE`, { display_name: 'a bridge' })).status, 200);
  const device = bridge.as(server, ghost, 'BRIDGE');
  assert.equal(expectOk(await device.get(`${v3}/account/whoami`)).device_id, 'BRIDGE');
  const shown = expectOk(await bob.get(`${v3}/devices/BRIDGE`));
  assert.deepEqual([shown.display_name, shown.last_seen_ip], ['a bridge', undefined]);
  const unstable = await bob.request('GET', `${v3}/account/whoami`, {
    query: { 'org.matrix.msc3202.device_id': 'BRIDGE' },
  });
  assert.equal(expectOk(unstable).device_id, 'BRIDGE');
  for (const key of ['first', 'second']) {
    const name = Buffer.from(key.padEnd(32, '.')).toString('base64').replace(/=+$/, '');
    const keys = { user_id: ghost, usage: ['master'], keys: { [`ed25519:${name}`]: name } };
    expectOk(await device.post(`${v3}/keys/device_signing/upload`, { master_key: keys }));
  }
  expectOk(await bob.delete(`${v3}/devices/BRIDGE`));
  assert.equal((await bob.get(`${v3}/devices/BRIDGE`)).status, 404);
});

test('a bridge says when something happened; others cannot', async () => {
  await using house = await withBridge();
  const { bridge, server } = house;
  const alice = await server.register('alice');
  const bot = bridge.as(server);
  const roomId = await alice.createRoom({ preset: 'public_chat', power_level_content_override: { users_default: 50 } });
  await bot.join(roomId);
  const room = `${v3}/rooms/${segment(roomId)}`;
  const then = 1_500_000_000_000;
  const tsOf = async (answer: Answer): Promise<number> =>
    expectOk(await alice.get(`${room}/event/${segment(expectOk(answer).event_id)}`)).origin_server_ts;
  const sent = await bot.put(`${room}/send/m.room.message/1`, { msgtype: 'm.text', body: 'long ago' }, { ts: then });
  assert.equal(await tsOf(sent), then);
  assert.equal(
    await tsOf(await bot.put(`${room}/state/m.room.topic`, { topic: 'history' }, { ts: then + 1 })),
    then + 1,
  );
  const member = `${room}/state/m.room.member/${segment('@bridgebot:hearth.test')}`;
  const renamed = await bot.put(member, { membership: 'join', displayname: 'Bridge' }, { ts: then + 2 });
  assert.equal(await tsOf(renamed), then + 2);
  const gone = await bot.put(`${room}/redact/${segment(sent.body.event_id)}/2`, {}, { ts: then + 3 });
  assert.equal(await tsOf(gone), then + 3);
  expectError(await bot.put(`${room}/send/m.room.message/3`, { body: '' }, { ts: -1 }), 400, 'M_INVALID_PARAM');
  const now = await alice.put(`${room}/send/m.room.message/1`, { msgtype: 'm.text', body: 'now' }, { ts: then });
  assert.ok((await tsOf(now)) > then + 1_000_000);
});

test('limits hold for the users of a bridge where its registration says so, never for the bot', async () => {
  const limits = { rc_message: { per_second: 0.001, burst_count: 2 } };
  for (const limited of [true, false]) {
    await using house = await withBridge({ rate_limited: limited }, limits);
    const { bridge, server } = house;
    const bot = bridge.as(server);
    expectOk(await registerGhost(bot, '_bridge_bob', { inhibit_login: true }));
    const roomId = await bot.createRoom({ preset: 'public_chat' });
    const ghost = bridge.as(server, '@_bridge_bob:hearth.test');
    await ghost.join(roomId);
    for (let count = 0; count < 5; count += 1) await bot.send(roomId, `${count}`);
    const send = (count: number): Promise<Answer> =>
      ghost.put(`${v3}/rooms/${segment(roomId)}/send/m.room.message/${count}`, { msgtype: 'm.text', body: 'x' });
    const statuses = [];
    for (let count = 0; count < 4; count += 1) statuses.push((await send(count)).status);
    assert.equal(statuses.includes(429), limited);
  }
});

test('a bridge may deactivate its users, and see who is in the rooms of them', async () => {
  await using house = await withBridge();
  const { bridge, server } = house;
  const alice = await server.register('alice');
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  expectOk(await registerGhost(bridge.as(server), '_bridge_bob', { inhibit_login: true }));
  const bob = bridge.as(server, '@_bridge_bob:hearth.test');
  const members = `${v3}/rooms/${segment(roomId)}/joined_members`;
  expectError(await bridge.as(server).get(members), 403, 'M_FORBIDDEN');
  await bob.join(roomId);
  assert.deepEqual(Object.keys(expectOk(await bridge.as(server).get(members)).joined).sort(), [
    '@_bridge_bob:hearth.test',
    '@alice:hearth.test',
  ]);
  expectOk(await bob.post(`${v3}/account/deactivate`, {}));
  expectError(await bob.get(`${v3}/account/whoami`), 403, 'M_USER_DEACTIVATED');
});

test('somebody asked for who is not there yet is made by their bridge meanwhile', async () => {
  await using house = await withBridge();
  const { bridge, server } = house;
  bridge.on(async ({ path }) => {
    const [, localpart] = /^\/_matrix\/app\/v1\/users\/@(_bridge_made\w*):hearth\.test$/.exec(path) ?? [];
    if (localpart === undefined) return undefined;
    await registerGhost(bridge.as(server), localpart, { inhibit_login: true });
    return { json: {} };
  });
  const alice = await server.register('alice');
  const roomId = await alice.createRoom();
  await alice.invite(roomId, '@_bridge_made:hearth.test');
  const invite = await bridge.untilEvent(({ state_key: key }) => key === '@_bridge_made:hearth.test');
  assert.equal(invite.content.membership, 'invite');
  expectOk(await alice.get(`${v3}/profile/@_bridge_made2:hearth.test`));
  expectError(await alice.get(`${v3}/profile/@_bridge_unmade:hearth.test`), 404, 'M_NOT_FOUND');
  expectError(await alice.get(`${v3}/profile/@mallory:hearth.test`), 404, 'M_NOT_FOUND');
  const asked = bridge.heard.filter(({ path }) => path.startsWith('/_matrix/app/v1/users/')).map(({ path }) => path);
  assert.deepEqual(
    asked.map((path) => path.split('/').at(-1)),
    ['@_bridge_made:hearth.test', '@_bridge_made2:hearth.test', '@_bridge_unmade:hearth.test'],
  );
});

test('a room alias asked for that is not there yet is made by its bridge meanwhile', async () => {
  await using house = await withBridge();
  const { bridge, server } = house;
  const alice = await server.register('alice');
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  bridge.on(async ({ path }) => {
    if (path !== '/_matrix/app/v1/rooms/#_bridge_tea:hearth.test') return undefined;
    const alias = `${v3}/directory/room/${segment('#_bridge_tea:hearth.test')}`;
    expectOk(await bridge.as(server).put(alias, { room_id: roomId }));
    return { json: {} };
  });
  const bob = await server.register('bob');
  assert.equal(await bob.join('#_bridge_tea:hearth.test'), roomId);
  const unknown = `${v3}/directory/room/${segment('#_bridge_coffee:hearth.test')}`;
  expectError(await bob.get(unknown), 404, 'M_NOT_FOUND');
  await bridge.hangUp();
  const silent = await bob.get(`${v3}/directory/room/${segment('#_bridge_water:hearth.test')}`);
  expectError(silent, 408, 'M_UNKNOWN');
});

test('rooms of another network have a directory of their own', async () => {
  await using house = await withBridge();
  const { bridge, server } = house;
  const alice = await server.register('alice');
  const roomId = await alice.createRoom({ preset: 'public_chat', name: 'Elsewhere' });
  const path = `${v3}/directory/list/appservice/net/${segment(roomId)}`;
  expectError(await alice.put(path, { visibility: 'public' }), 403, 'M_FORBIDDEN');
  expectOk(await bridge.as(server).put(path, { visibility: 'public' }));
  const listed = async (body: Json): Promise<number> =>
    expectOk(await alice.post(`${v3}/publicRooms`, body)).chunk.filter((room: Json) => room.room_id === roomId).length;
  assert.equal(await listed({}), 0);
  assert.equal(await listed({ third_party_instance_id: 'bridge|net' }), 1);
  assert.equal(await listed({ include_all_networks: true }), 1);
  expectOk(await bridge.as(server).delete(path));
  assert.equal(await listed({ third_party_instance_id: 'bridge|net' }), 0);
});
