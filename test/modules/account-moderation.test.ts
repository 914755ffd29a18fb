import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { PushGateway, REACHES_GATEWAYS } from '../kit/push-gateway.ts';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { listRoutes } from '../spec/routes.ts';
import { pair } from './pushers-kit.ts';

const V1 = '/_matrix/client/v1/admin';
const V3 = '/_matrix/client/v3';
const at = (...parts: readonly string[]): string => parts.map(encodeURIComponent).join('/');

const suspend = (by: TestClient, who: string, suspended: unknown = true) =>
  by.put(`${V1}/suspend/${at(who)}`, { suspended });
const lock = (by: TestClient, who: string, locked: unknown = true) => by.put(`${V1}/lock/${at(who)}`, { locked });

/** A server with an administrator, made with the secret that registers them, and the way to another one. */
async function startWithAdmin(
  config: Json = {},
): Promise<AsyncDisposable & { server: TestServer; root: TestClient; secondRoot: () => Promise<TestClient> }> {
  const server = await TestServer.start({ config });
  const register = async (username: string): Promise<TestClient> => {
    const { nonce } = expectOk(await server.anonymous().get('/_synapse/admin/v1/register'));
    const password = `password of ${username}`;
    const mac = createHmac('sha1', 'shared secret of the tests')
      .update([nonce, username, password, 'admin'].join('\0'))
      .digest('hex');
    expectOk(
      await server.anonymous().post('/_synapse/admin/v1/register', { nonce, username, password, admin: true, mac }),
    );
    return server.login(username);
  };
  return {
    server,
    root: await register('root'),
    secondRoot: () => register('second'),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

test('only administrators may moderate, nobody themselves, and no administrator another', async () => {
  await using house = await startWithAdmin();
  const { server, root } = house;
  const ann = await server.register('ann');
  const second = await house.secondRoot();
  const gone = await server.register('gone');
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'gone' },
    password: 'password of gone',
  };
  expectOk(await gone.post(`${V3}/account/deactivate`, { auth }));

  for (const [action, key] of [
    ['suspend', 'suspended'],
    ['lock', 'locked'],
  ] as const) {
    const of = (who: string): string => `${V1}/${action}/${at(who)}`;
    // Who is no administrator learns nothing of who there is.
    for (const who of [ann.userId, root.userId, '@nobody:hearth.test', '@far:away.test']) {
      expectError(await ann.get(of(who)), 403, 'M_FORBIDDEN');
      expectError(await ann.put(of(who), { [key]: true }), 403, 'M_FORBIDDEN');
    }
    for (const [who, status, errcode] of [
      ['@far:away.test', 400, 'M_INVALID_PARAM'],
      ['no user', 400, 'M_INVALID_PARAM'],
      ['@nobody:hearth.test', 404, 'M_NOT_FOUND'],
      [gone.userId, 404, 'M_NOT_FOUND'],
      [second.userId, 403, 'M_FORBIDDEN'],
    ] as const) {
      expectError(await root.get(of(who)), status, errcode);
      expectError(await root.put(of(who), { [key]: true }), status, errcode);
    }
    assert.deepEqual(expectOk(await root.get(of(root.userId))), { [key]: false });
    expectError(await root.put(of(root.userId), { [key]: true }), 403, 'M_FORBIDDEN');
    expectError(await root.put(of(ann.userId), { [key]: 'yes' }), 400, 'M_BAD_JSON');
    expectError(await root.put(of(ann.userId), {}), 400, 'M_BAD_JSON');
    assert.deepEqual(expectOk(await root.get(of(ann.userId))), { [key]: false });
    assert.deepEqual(expectOk(await root.put(of(ann.userId), { [key]: true })), { [key]: true });
    assert.deepEqual(expectOk(await root.put(of(ann.userId), { [key]: true })), { [key]: true });
    assert.deepEqual(expectOk(await root.get(of(ann.userId))), { [key]: true });
    const early = `/_matrix/client/unstable/uk.timedout.msc4323/admin/${action}/${at(ann.userId)}`;
    assert.deepEqual(expectOk(await root.get(early)), { [key]: true });
    assert.deepEqual(expectOk(await root.put(early, { [key]: false })), { [key]: false });
    assert.deepEqual(expectOk(await root.get(of(ann.userId))), { [key]: false });
  }
  const capability = async (client: TestClient): Promise<Json> =>
    expectOk(await client.get(`${V3}/capabilities`)).capabilities['m.account_moderation'];
  assert.deepEqual(await capability(root), { suspend: true, lock: true });
  assert.equal(await capability(ann), undefined);
});

test('a locked user can do nothing but log out, and goes on where they were when the lock is taken away', async () => {
  await using house = await startWithAdmin();
  const { server, root } = house;
  const ann = await server.register('ann', { refresh_token: true });
  const tablet = await server.login('ann', { device_id: 'TABLET' });
  const refreshing = expectOk(
    await server.anonymous().post(`${V3}/login`, {
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: 'ann' },
      password: 'password of ann',
      refresh_token: true,
    }),
  );
  const roomId = await ann.createRoom();
  const { next_batch: since } = await ann.sync();
  expectOk(await lock(root, ann.userId));

  const expectLocked = (answer: Awaited<ReturnType<TestClient['get']>>): void => {
    assert.equal(expectError(answer, 401, 'M_USER_LOCKED').soft_logout, true);
  };
  expectLocked(await ann.get(`${V3}/sync`, { since }));
  expectLocked(await ann.get(`${V3}/account/whoami`));
  expectLocked(await ann.get(`${V3}/capabilities`));
  expectLocked(await ann.put(`${V3}/rooms/${at(roomId)}/send/m.room.message/1`, { msgtype: 'm.text', body: 'hi' }));
  expectLocked(await ann.get('/_matrix/client/v1/media/config'));
  expectLocked(await ann.get(`${V3}/room_keys/version`));
  expectLocked(await ann.post(`${V3}/account/password`, { new_password: 'another of ann' }));
  expectLocked(await ann.post(`${V3}/account/deactivate`, {}));
  expectLocked(await server.anonymous().post(`${V3}/refresh`, { refresh_token: refreshing.refresh_token }));
  const login = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'ann' },
    password: 'password of ann',
  };
  expectLocked(await server.anonymous().post(`${V3}/login`, login));
  // Nor is there a way around without a token.
  const auth = login;
  expectLocked(await server.anonymous().post(`${V3}/account/password`, { new_password: 'another of ann', auth }));
  expectLocked(await server.anonymous().post(`${V3}/account/deactivate`, { auth }));
  // Without the right password nobody learns of it.
  expectError(await server.anonymous().post(`${V3}/login`, { ...login, password: 'guess' }), 403, 'M_FORBIDDEN');
  expectOk(await tablet.post(`${V3}/logout`));

  expectOk(await lock(root, ann.userId, false));
  expectError(await tablet.get(`${V3}/account/whoami`), 401, 'M_UNKNOWN_TOKEN');
  expectOk(await ann.get(`${V3}/sync`, { since }));
  await ann.send(roomId, 'back again');
  expectOk(await lock(root, ann.userId));
  expectOk(await ann.post(`${V3}/logout/all`));
  expectOk(await lock(root, ann.userId, false));
  expectError(await ann.get(`${V3}/account/whoami`), 401, 'M_UNKNOWN_TOKEN');
});

test('a locked user’s phone is told nothing, and not when the lock is taken away either', async () => {
  await using gateway = await PushGateway.start();
  await using house = await startWithAdmin(REACHES_GATEWAYS);
  const { server, root } = house;
  const { ann, bob, room } = await pair(server, gateway);
  expectOk(await lock(root, ann.userId));
  await bob.send(room, 'not for her');
  expectOk(await lock(root, ann.userId, false));
  await bob.send(room, 'for her');
  await gateway.until(1);
  assert.deepEqual(gateway.bodies, ['for her']);
});

test('of all that takes a user’s token, logging out alone is open to the locked', async () => {
  const open = (await listRoutes()).filter(
    ({ auth, locked }) => (auth === 'user' || auth === 'optional') && locked === true,
  );
  const paths = open.flatMap(({ path }) => (typeof path === 'string' ? [path] : [...path]));
  assert.deepEqual(paths.sort(), [`${V3}/logout`, `${V3}/logout/all`]);
});

test('a suspended user reads, leaves and tidies up, and does nothing others would notice', async () => {
  await using house = await startWithAdmin();
  const { server, root } = house;
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const shared = await bob.createRoom({ preset: 'public_chat' });
  const other = await bob.createRoom({ preset: 'public_chat' });
  const knockable = await bob.createRoom({
    initial_state: [{ type: 'm.room.join_rules', state_key: '', content: { join_rule: 'knock' } }],
  });
  const invited = await bob.createRoom();
  await bob.invite(invited, ann.userId);
  await ann.join(shared);
  await bob.setState(shared, 'm.room.power_levels', { users: { [ann.userId]: 90 } });
  const own = await ann.send(shared, 'mine');
  const theirs = await bob.send(shared, 'not mine');
  const annsRoom = await ann.createRoom({ preset: 'public_chat' });
  expectOk(await suspend(root, ann.userId));

  const room = (roomId: string): string => `${V3}/rooms/${at(roomId)}`;
  const refused: readonly [method: string, path: string, body: Json][] = [
    ['POST', `${V3}/join/${at(other)}`, {}],
    ['POST', `${room(other)}/join`, {}],
    ['POST', `${V3}/join/${at(invited)}`, {}],
    ['POST', `${V3}/knock/${at(knockable)}`, {}],
    ['POST', `${room(annsRoom)}/invite`, { user_id: bob.userId }],
    ['POST', `${V3}/createRoom`, {}],
    ['PUT', `${room(shared)}/send/m.room.message/1`, { msgtype: 'm.text', body: 'hi' }],
    ['PUT', `${room(annsRoom)}/state/m.room.name`, { name: 'hi' }],
    ['PUT', `${room(annsRoom)}/state/m.room.member/${at(ann.userId)}`, { membership: 'join', displayname: 'Eve' }],
    ['POST', `${room(annsRoom)}/upgrade`, { new_version: '12' }],
    ['PUT', `${room(shared)}/redact/${at(theirs)}/2`, {}],
    ['PUT', `${V3}/profile/${at(ann.userId)}/displayname`, { displayname: 'Eve' }],
    ['PUT', `${V3}/profile/${at(ann.userId)}/avatar_url`, { avatar_url: 'mxc://hearth.test/a' }],
    ['DELETE', `${V3}/profile/${at(ann.userId)}/displayname`, undefined],
    ['POST', `${room(annsRoom)}/kick`, { user_id: bob.userId }],
    ['POST', `${room(annsRoom)}/ban`, { user_id: bob.userId }],
    ['PUT', `${V3}/directory/room/${at('#x:hearth.test')}`, { room_id: annsRoom }],
    ['POST', '/_matrix/media/v3/upload', { some: 'file' }],
    ['POST', `${V3}/account/3pid/delete`, { medium: 'email', address: 'ann@example.org' }],
  ];
  for (const [method, path, body] of refused) {
    const answer = await ann.request(method, path, body === undefined ? {} : { body });
    assert.deepEqual([answer.status, answer.body.errcode], [403, 'M_USER_SUSPENDED'], `${method} ${path}`);
  }

  assert.ok((await ann.sync()).rooms.join[shared] !== undefined);
  expectOk(await ann.get(`${room(shared)}/messages`, { dir: 'b' }));
  expectOk(await ann.put(`${room(shared)}/redact/${at(own)}/3`, {}));
  expectOk(await ann.post(`${room(shared)}/read_markers`, { 'm.fully_read': theirs }));
  const { version } = expectOk(await ann.post(`${V3}/room_keys/version`, { algorithm: 'a', auth_data: {} }));
  expectOk(await ann.put(`${V3}/room_keys/keys`, { rooms: {} }, { version }));
  expectOk(await ann.put(`${V3}/sendToDevice/m.key.verification.start/4`, { messages: { [ann.userId]: { '*': {} } } }));
  await ann.leave(invited);
  await ann.leave(shared);
  // A further session is suspended, too.
  const tablet = await server.login('ann', { device_id: 'TABLET' });
  expectError(await tablet.post(`${V3}/join/${at(other)}`), 403, 'M_USER_SUSPENDED');
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'ann' },
    password: 'password of ann',
  };
  expectOk(await ann.delete(`${V3}/devices/TABLET`, { auth }));

  expectOk(await suspend(root, ann.userId, false));
  await ann.join(other);
  expectOk(await suspend(root, ann.userId));
  expectOk(await ann.post(`${V3}/account/deactivate`, { auth }));
});

test('whois tells users of their own sessions, administrators of everybody’s', async () => {
  await using house = await startWithAdmin();
  const { server, root } = house;
  const ann = await server.register('ann', { device_id: 'PHONE' });
  const bob = await server.register('bob');
  const tablet = await server.login('ann', { device_id: 'TABLET' });
  const before = Date.now();
  await ann.request('GET', `${V3}/account/whoami`, { headers: { 'user-agent': 'Phone/1' } });
  await ann.request('GET', `${V3}/account/whoami`, { headers: { 'user-agent': 'Phone/2' } });
  await tablet.request('GET', `${V3}/account/whoami`, { headers: { 'user-agent': 'Tablet/1' } });

  const whois = (by: TestClient, who: string) => by.get(`${V3}/admin/whois/${at(who)}`);
  const seen = expectOk(await whois(ann, ann.userId));
  assert.equal(seen.user_id, ann.userId);
  assert.deepEqual(Object.keys(seen.devices).sort(), ['PHONE', 'TABLET']);
  const agents = (device: string): string[] =>
    seen.devices[device].sessions.flatMap((session: Json) =>
      session.connections.map((place: Json) => place.user_agent),
    );
  assert.ok(agents('PHONE').includes('Phone/1') && agents('PHONE').includes('Phone/2'));
  assert.deepEqual(agents('TABLET'), ['Tablet/1']);
  const [place] = seen.devices['TABLET'].sessions[0].connections;
  assert.equal(place.ip, '127.0.0.1');
  assert.ok(place.last_seen >= before && place.last_seen <= Date.now());
  assert.deepEqual(Object.keys(expectOk(await whois(root, ann.userId)).devices).sort(), ['PHONE', 'TABLET']);
  expectError(await whois(bob, ann.userId), 403, 'M_FORBIDDEN');
  expectError(await whois(bob, '@nobody:hearth.test'), 403, 'M_FORBIDDEN');
  expectError(await whois(bob, '@far:away.test'), 403, 'M_FORBIDDEN');
  expectError(await whois(root, '@nobody:hearth.test'), 404, 'M_NOT_FOUND');
  expectError(await whois(root, '@far:away.test'), 400, 'M_INVALID_PARAM');
  expectError(await whois(root, 'ann'), 400, 'M_INVALID_PARAM');
  // Old clients know it under r0.
  expectOk(await ann.get(`/_matrix/client/r0/admin/whois/${at(ann.userId)}`));
});
