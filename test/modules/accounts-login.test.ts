import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hash as bcrypt } from '@node-rs/bcrypt';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { House, loginBody, passwordOf, proofOf, userId } from './accounts-server.ts';

const LOGIN = '/_matrix/client/v3/login';
const WHOAMI = '/_matrix/client/v3/account/whoami';
const REFRESH = '/_matrix/client/v3/refresh';

test('the server says how one logs in', async (t) => {
  const house = await House.open(t);
  assert.deepEqual(expectOk(await house.client().get(LOGIN)).flows, [
    { type: 'm.login.password' },
    { type: 'm.login.token', get_login_token: true },
  ]);
  const closed = await House.open(t, {
    settings: {
      passwords: { enabled: 'no' },
      sessions: { loginViaExistingSession: { enabled: false, requireUiAuth: true, tokenTimeoutMs: 1 } },
    },
  });
  expectError(await closed.client().get(LOGIN), 404, 'M_UNRECOGNIZED');
  expectError(await closed.client().post(LOGIN, loginBody('ann')), 400, 'M_UNKNOWN');
});

test('a page logs people in whose client cannot', async (t) => {
  const house = await House.open(t);
  const query = { device_id: 'A"B', refresh_token: true, password: 'secret' };
  for (const path of ['/_matrix/static/client/login', '/_matrix/static/client/login/']) {
    const page = await house.client().get(path, query);
    assert.equal(page.status, 200);
    assert.match(page.headers.get('content-security-policy') ?? '', /script-src 'sha256-/);
    const more = /data-more="([^"]*)"/
      .exec(page.body)?.[1]
      ?.replace(/&#(\d+);/g, (_all, code) => String.fromCharCode(code));
    assert.deepEqual(JSON.parse(more ?? ''), { type: 'm.login.password', device_id: 'A"B', refresh_token: true });
    assert.match(page.body, /matrixLogin\.onLogin/);
  }
});

test('Ann logs in by her name however she writes it', async (t) => {
  const house = await House.open(t, { settings: { wellKnown: { 'm.homeserver': { base_url: 'https://x' } } } });
  await house.register('ann');
  for (const name of ['ann', 'Ann', '@ann:home.example', '@ANN:home.example']) {
    const session = expectOk(await house.client().post(LOGIN, loginBody(name, { password: passwordOf('ann') })));
    assert.equal(session.user_id, '@ann:home.example');
    assert.deepEqual(session.well_known, { 'm.homeserver': { base_url: 'https://x' } });
  }
  const legacy = { type: 'm.login.password', user: 'ann', password: passwordOf('ann') };
  expectOk(await house.client().post(LOGIN, legacy));
});

test('a wrong password and an unknown name are refused alike', async (t) => {
  const house = await House.open(t);
  await house.register('ann');
  const refusals = [
    loginBody('ann', { password: 'wrong' }),
    loginBody('nobody'),
    loginBody('@ann:elsewhere.example', { password: passwordOf('ann') }),
    loginBody('ann', { password: 'x'.repeat(600) }),
  ];
  const errors = new Set<string>();
  for (const body of refusals)
    errors.add(expectError(await house.client().post(LOGIN, body), 403, 'M_FORBIDDEN').error);
  assert.equal(errors.size, 1);
});

test('a request that does not say who or how is refused', async (t) => {
  const house = await House.open(t);
  const password = 'x';
  const type = 'm.login.password';
  const refuse = async (body: Json, errcode: string) =>
    expectError(await house.client().post(LOGIN, body), 400, errcode);
  await refuse({}, 'M_BAD_JSON');
  await refuse({ type: 'm.login.magic' }, 'M_UNKNOWN');
  await refuse({ type, password }, 'M_MISSING_PARAM');
  await refuse({ type, user: 'ann' }, 'M_MISSING_PARAM');
  await refuse({ type, password, user: 5 }, 'M_BAD_JSON');
  await refuse({ type, password, identifier: 'ann' }, 'M_BAD_JSON');
  await refuse({ type, password, identifier: { type: 'm.id.aura' } }, 'M_UNKNOWN');
  await refuse({ type, password, identifier: { type: 'm.id.user' } }, 'M_MISSING_PARAM');
  await refuse({ type: 'm.login.token' }, 'M_BAD_JSON');
});

test('an address or phone number logs in whom it belongs to', async (t) => {
  const house = await House.open(t, {
    findByThreepid: (medium, address) =>
      ['email ann@x.example', 'msisdn 447700900000'].includes(`${medium} ${address}`)
        ? userId('@ann:home.example')
        : undefined,
  });
  await house.register('ann');
  const password = passwordOf('ann');
  const type = 'm.login.password';
  const email = { type: 'm.id.thirdparty', medium: 'email', address: 'Ann@X.example' };
  expectOk(await house.client().post(LOGIN, { type, password, identifier: email }));
  expectOk(await house.client().post(LOGIN, { type, password, medium: 'email', address: 'ann@x.example' }));
  const phone = { type: 'm.id.phone', country: 'GB', phone: '+44 7700 900000' };
  expectOk(await house.client().post(LOGIN, { type, password, identifier: phone }));
  const other = { type: 'm.id.thirdparty', medium: 'email', address: 'bob@x.example' };
  expectError(await house.client().post(LOGIN, { type, password, identifier: other }), 403, 'M_FORBIDDEN');
});

test('logging in again on a device ends its former session and keeps its name', async (t) => {
  const house = await House.open(t);
  const before = await house.register('ann', { device_id: 'PHONE', initial_device_display_name: 'Phone' });
  expectOk(await before.get(WHOAMI));
  const after = await house.logIn('ann', { device_id: 'PHONE', initial_device_display_name: 'Other' });
  const gone = expectError(await before.get(WHOAMI), 401, 'M_UNKNOWN_TOKEN');
  assert.equal(gone.soft_logout, undefined);
  const { devices } = expectOk(await after.get('/_matrix/client/v3/devices'));
  assert.deepEqual(
    devices.map((device: Json) => [device.device_id, device.display_name]),
    [['PHONE', 'Phone']],
  );
});

test('a device cannot be called like a cross-signing key', async (t) => {
  const house = await House.open(t, { isCrossSigningKey: (_user, key) => key === 'masterkey' });
  await house.register('ann');
  const body = loginBody('ann', { device_id: 'masterkey' });
  expectError(await house.client().post(LOGIN, body), 403, 'M_FORBIDDEN');
});

test('guesses at one account are limited, whoever makes them, and end with the right password', async (t) => {
  const house = await House.open(t, { limits: { loginFailedAttempts: 2 } });
  await house.register('ann');
  const guess = (ip: string, password: string) =>
    house.client().request('POST', LOGIN, {
      body: loginBody('ann', { password }),
      headers: { 'x-forwarded-for': ip },
    });
  expectError(await guess('192.0.2.1', 'one'), 403, 'M_FORBIDDEN');
  expectOk(await guess('192.0.2.2', passwordOf('ann')));
  expectError(await guess('192.0.2.1', 'one'), 403, 'M_FORBIDDEN');
  expectError(await guess('192.0.2.2', 'two'), 403, 'M_FORBIDDEN');
  expectError(await guess('192.0.2.3', passwordOf('ann')), 429, 'M_LIMIT_EXCEEDED');
  for (const password of ['one', 'two']) {
    expectError(await house.client().post(LOGIN, loginBody('nobody', { password })), 403, 'M_FORBIDDEN');
  }
  expectError(await house.client().post(LOGIN, loginBody('nobody')), 429, 'M_LIMIT_EXCEEDED');
});

test('logins from one address and to one account are limited', async (t) => {
  const byAddress = await House.open(t, { limits: { loginAddress: 1 } });
  await byAddress.register('ann');
  await byAddress.register('bob');
  await byAddress.logIn('ann');
  expectError(await byAddress.client().post(LOGIN, loginBody('bob')), 429, 'M_LIMIT_EXCEEDED');

  const byAccount = await House.open(t, { limits: { loginAccount: 1 } });
  await byAccount.register('ann');
  await byAccount.register('bob');
  await byAccount.logIn('ann');
  expectError(await byAccount.client().post(LOGIN, loginBody('ann')), 429, 'M_LIMIT_EXCEEDED');
  await byAccount.logIn('bob');
});

test('a password hash of bcrypt is accepted once and then made anew', async (t) => {
  const house = await House.open(t, { settings: { passwords: { pepper: 'salt and' } } });
  const user = userId('@ann:home.example');
  await house.register('ann');
  const hash = await bcrypt('from the old serversalt and', 4);
  house.importPasswordHash(user, hash);
  expectOk(await house.client().post(LOGIN, loginBody('ann', { password: 'from the old server' })));
  assert.match(house.passwordHashOf(user), /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  expectOk(await house.client().post(LOGIN, loginBody('ann', { password: 'from the old server' })));
  expectError(await house.client().post(LOGIN, loginBody('ann', { password: 'another' })), 403, 'M_FORBIDDEN');
});

test('logging out ends this session and removes the device, and no other', async (t) => {
  const house = await House.open(t);
  const phone = await house.register('ann', { device_id: 'PHONE' });
  const laptop = await house.logIn('ann', { device_id: 'LAPTOP' });
  expectOk(await phone.post('/_matrix/client/v3/logout'));
  expectError(await phone.get(WHOAMI), 401, 'M_UNKNOWN_TOKEN');
  const { devices } = expectOk(await laptop.get('/_matrix/client/v3/devices'));
  assert.deepEqual(
    devices.map((device: Json) => device.device_id),
    ['LAPTOP'],
  );
  expectError(await phone.post('/_matrix/client/v3/logout'), 401, 'M_UNKNOWN_TOKEN');
  expectError(await house.client().post('/_matrix/client/v3/logout'), 401, 'M_MISSING_TOKEN');
});

test('logging out everywhere ends every session', async (t) => {
  const house = await House.open(t);
  const phone = await house.register('ann');
  const laptop = await house.logIn('ann');
  const bob = await house.register('bob');
  expectOk(await phone.post('/_matrix/client/v3/logout/all'));
  for (const client of [phone, laptop]) expectError(await client.get(WHOAMI), 401, 'M_UNKNOWN_TOKEN');
  expectOk(await bob.get(WHOAMI));
});

async function refresh(house: House, token: string): Promise<Json> {
  return expectOk(await house.client().post(REFRESH, { refresh_token: token }));
}

async function logInRefreshably(house: House, username: string): Promise<Json> {
  return expectOk(await house.client().post(LOGIN, loginBody(username, { refresh_token: true, device_id: 'PHONE' })));
}

test('an access token expires and is refreshed', async (t) => {
  const house = await House.open(t);
  await house.register('ann');
  const first = await logInRefreshably(house, 'ann');
  assert.equal(first.expires_in_ms, 300_000);
  await house.clock.advance(299_999);
  expectOk(await house.client(first).get(WHOAMI));
  await house.clock.advance(1);
  assert.equal(expectError(await house.client(first).get(WHOAMI), 401, 'M_UNKNOWN_TOKEN').soft_logout, true);

  const second = await refresh(house, first.refresh_token);
  const me = expectOk(await house.client({ access_token: second.access_token }).get(WHOAMI));
  assert.equal(me.device_id, 'PHONE');
  assert.notEqual(second.refresh_token, first.refresh_token);
});

test('a refresh token works until what it was exchanged for is used', async (t) => {
  const house = await House.open(t);
  await house.register('ann');
  const first = await logInRefreshably(house, 'ann');
  const lost = await refresh(house, first.refresh_token);
  const second = await refresh(house, first.refresh_token);
  // Given out again, so the answer that was lost is void.
  expectError(await house.client({ access_token: lost.access_token }).get(WHOAMI), 401, 'M_UNKNOWN_TOKEN');
  expectError(await house.client().post(REFRESH, { refresh_token: lost.refresh_token }), 401, 'M_UNKNOWN_TOKEN');
  expectOk(await house.client(first).get(WHOAMI));

  expectOk(await house.client({ access_token: second.access_token }).get(WHOAMI));
  expectError(await house.client(first).get(WHOAMI), 401, 'M_UNKNOWN_TOKEN');
  const late = await house.client().post(REFRESH, { refresh_token: first.refresh_token });
  assert.equal(expectError(late, 401, 'M_UNKNOWN_TOKEN').soft_logout, true);

  const third = await refresh(house, second.refresh_token);
  await refresh(house, third.refresh_token);
  const superseded = await house.client().post(REFRESH, { refresh_token: second.refresh_token });
  expectError(superseded, 401, 'M_UNKNOWN_TOKEN');
  expectOk(await house.client({ access_token: third.access_token }).get(WHOAMI));
});

test('a refresh token that nobody knows is refused, as is one of a device that logged out', async (t) => {
  const house = await House.open(t);
  await house.register('ann');
  const nonsense = expectError(await house.client().post(REFRESH, { refresh_token: 'x' }), 401, 'M_UNKNOWN_TOKEN');
  assert.equal(nonsense.soft_logout, undefined);
  expectError(await house.client().post(REFRESH, {}), 400, 'M_BAD_JSON');
  const session = await logInRefreshably(house, 'ann');
  expectOk(await house.client(session).post('/_matrix/client/v3/logout'));
  const after = await house.client().post(REFRESH, { refresh_token: session.refresh_token });
  expectError(after, 401, 'M_UNKNOWN_TOKEN');
});

test('sessions and refresh tokens have lifetimes of their own', async (t) => {
  const house = await House.open(t, {
    settings: {
      sessions: {
        lifetimeMs: 1_000_000,
        refreshTokenLifetimeMs: 600_000,
        nonrefreshableAccessTokenLifetimeMs: 50_000,
      },
    },
  });
  const registered = await house.register('ann');
  await house.clock.advance(50_000);
  assert.equal(expectError(await registered.get(WHOAMI), 401, 'M_UNKNOWN_TOKEN').soft_logout, true);

  const idle = await logInRefreshably(house, 'ann');
  await house.clock.advance(600_000);
  const tooLate = await house.client().post(REFRESH, { refresh_token: idle.refresh_token });
  assert.equal(expectError(tooLate, 401, 'M_UNKNOWN_TOKEN').soft_logout, true);

  let busy = await logInRefreshably(house, 'ann');
  await house.clock.advance(500_000);
  busy = await refresh(house, busy.refresh_token);
  await house.clock.advance(400_000);
  busy = await refresh(house, busy.refresh_token);
  assert.equal(busy.expires_in_ms, 100_000);
  await house.clock.advance(100_000);
  const over = await house.client().post(REFRESH, { refresh_token: busy.refresh_token });
  assert.equal(expectError(over, 401, 'M_UNKNOWN_TOKEN').soft_logout, true);
});

test('tokens outlive a restart, and are not stored as they are', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann');
  await house.restart();
  expectOk(await ann.get(WHOAMI));
  assert.equal(house.fileContains(ann.token ?? 'no token'), false);
  assert.equal(house.fileContains('@ann:home.example'), true);
});

const GET_TOKEN = '/_matrix/client/v1/login/get_token';

async function getLoginToken(client: TestClient, username: string): Promise<string> {
  const begun = await client.post(GET_TOKEN);
  assert.equal(begun.status, 401);
  const answer = await client.post(GET_TOKEN, { auth: proofOf(username, { session: begun.body.session }) });
  assert.equal(expectOk(answer).expires_in_ms, 120_000);
  return answer.body.login_token;
}

test('a client that is logged in gets another one in, once', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann');
  const token = await getLoginToken(ann, 'ann');
  const session = expectOk(await house.client().post(LOGIN, { type: 'm.login.token', token }));
  assert.equal(session.user_id, '@ann:home.example');
  expectError(await house.client().post(LOGIN, { type: 'm.login.token', token }), 403, 'M_FORBIDDEN');

  const slow = await getLoginToken(ann, 'ann');
  await house.clock.advance(120_000);
  expectError(await house.client().post(LOGIN, { type: 'm.login.token', token: slow }), 403, 'M_FORBIDDEN');
});

test('every login token needs a proof of its own', async (t) => {
  const house = await House.open(t, { settings: { sessions: { uiAuthTimeoutMs: 60_000 } } });
  const ann = await house.register('ann');
  const begun = await ann.post(GET_TOKEN);
  const body = { auth: proofOf('ann', { session: begun.body.session }) };
  expectOk(await ann.post(GET_TOKEN, body));
  expectError(await ann.post(GET_TOKEN, { auth: { session: begun.body.session } }), 400, 'M_UNKNOWN');
  assert.equal((await ann.post(GET_TOKEN)).status, 401);
});

test('login tokens are limited, and may be switched off', async (t) => {
  const house = await House.open(t, { limits: { loginToken: 1 } });
  const ann = await house.register('ann');
  expectOk(await ann.post(GET_TOKEN, { auth: proofOf('ann') }));
  expectError(await ann.post(GET_TOKEN, { auth: proofOf('ann') }), 429, 'M_LIMIT_EXCEEDED');

  const off = { enabled: false, requireUiAuth: true, tokenTimeoutMs: 1 };
  const closed = await House.open(t, { settings: { sessions: { loginViaExistingSession: off } } });
  const bob = await closed.register('bob');
  expectError(await bob.post(GET_TOKEN), 404, 'M_UNRECOGNIZED');
});

test('a locked account can only log out, and goes on when it is unlocked', async (t) => {
  const house = await House.open(t);
  const user = userId('@ann:home.example');
  const phone = await house.register('ann');
  const laptop = await house.logIn('ann');
  const refreshable = await logInRefreshably(house, 'ann');
  house.accounts.administration.setLocked(user, true);
  for (const answer of [
    await phone.get(WHOAMI),
    await house.client().post(LOGIN, loginBody('ann')),
    await house.client().post(REFRESH, { refresh_token: refreshable.refresh_token }),
  ]) {
    assert.equal(expectError(answer, 401, 'M_USER_LOCKED').soft_logout, true);
  }
  expectOk(await laptop.post('/_matrix/client/v3/logout'));
  house.accounts.administration.setLocked(user, false);
  expectOk(await phone.get(WHOAMI));
  expectError(await laptop.get(WHOAMI), 401, 'M_UNKNOWN_TOKEN');
});

test('what administrators decide shows in the next request', async (t) => {
  const house = await House.open(t);
  const user = userId('@ann:home.example');
  const ann = await house.register('ann');
  const whoIs = async () => {
    const found = await house.accounts.authenticator.authenticate(ann.token ?? '', {
      ip: '192.0.2.1',
      userAgent: undefined,
      userIdOverride: undefined,
      deviceIdOverride: undefined,
    });
    assert.equal(found.kind, 'ok');
    const { isAdmin, isSuspended, rateLimited } = found.requester;
    return { isAdmin, isSuspended, rateLimited };
  };
  assert.deepEqual(await whoIs(), { isAdmin: false, isSuspended: false, rateLimited: true });
  const { administration } = house.accounts;
  administration.setAdmin(user, true);
  administration.setSuspended(user, true);
  administration.setRateLimited(user, false);
  assert.deepEqual(await whoIs(), { isAdmin: true, isSuspended: true, rateLimited: false });
  assert.throws(() => administration.setAdmin(user, false), { errcode: 'M_FORBIDDEN' });
  assert.throws(() => administration.setAdmin(userId('@bob:home.example'), true), { errcode: 'M_NOT_FOUND' });
});

test('an application service registers its users, speaks for them and logs them in', async (t) => {
  const service = {
    id: 'bridge',
    senderUserId: userId('@bridge:home.example'),
    rateLimited: false,
    tracksAddresses: false,
    covers: (user: string) => user.startsWith('@_irc_') || user === '@bridge:home.example',
  };
  const house = await House.open(t, {
    settings: { registration: { enabled: false } },
    appservices: {
      any: () => true,
      findByToken: (token) => (token === 'as_token' ? service : undefined),
      findExclusiveOwner: (user) => (user.startsWith('@_irc_') ? service : undefined),
    },
  });
  house.accounts.administration.ensureAppserviceUser(service.senderUserId, service.id);
  const bridge = house.client({ access_token: 'as_token' });
  const type = 'm.login.application_service';
  const register = (username: string, more: Json = {}) =>
    bridge.post('/_matrix/client/v3/register', { type, username, inhibit_login: true, ...more });

  assert.deepEqual(expectOk(await register('_irc_bob')).user_id, '@_irc_bob:home.example');
  expectError(await register('_irc_bob'), 400, 'M_USER_IN_USE');
  expectError(await register('ann'), 400, 'M_EXCLUSIVE');
  const stranger = await house.client().post('/_matrix/client/v3/register', { type, username: '_irc_x' });
  expectError(stranger, 401, 'M_MISSING_TOKEN');

  const as = (user: string, device?: string) => bridge.get(WHOAMI, { user_id: user, device_id: device });
  assert.equal(expectOk(await bridge.get(WHOAMI)).user_id, '@bridge:home.example');
  assert.equal(expectOk(await as('@_irc_bob:home.example')).user_id, '@_irc_bob:home.example');
  expectError(await as('@ann:home.example'), 403, 'M_FORBIDDEN');
  expectError(await as('@_irc_nobody:home.example'), 403, 'M_FORBIDDEN');
  expectError(await as('@_irc_bob:home.example', 'NONE'), 400, 'M_UNKNOWN_DEVICE');

  const query = { user_id: '@_irc_bob:home.example' };
  const device = await bridge.put('/_matrix/client/v3/devices/BOT', { display_name: 'Bot' }, query);
  assert.equal(device.status, 201);
  expectOk(await bridge.put('/_matrix/client/v3/devices/BOT', { display_name: 'Robot' }, query));
  assert.equal(expectOk(await as('@_irc_bob:home.example', 'BOT')).device_id, 'BOT');
  const removal = await bridge.request('DELETE', '/_matrix/client/v3/devices/BOT', { query });
  expectOk(removal);

  const logIn = (user: string, client = bridge) =>
    client.post(LOGIN, { type, identifier: { type: 'm.id.user', user } });
  const session = expectOk(await logIn('_irc_bob'));
  assert.equal(expectOk(await house.client(session).get(WHOAMI)).user_id, '@_irc_bob:home.example');
  expectError(await logIn('_irc_nobody'), 403, 'M_FORBIDDEN');
  expectError(await logIn('_irc_bob', house.client({ access_token: 'other' })), 401, 'M_UNKNOWN_TOKEN');
  expectError(await logIn('_irc_bob', house.client()), 401, 'M_MISSING_TOKEN');

  const own = await house.accounts.administration.create({ username: 'ann', password: 'x' });
  assert.equal(own, '@ann:home.example');
  expectError(await logIn('ann'), 400, 'M_EXCLUSIVE');
  await assert.rejects(house.accounts.administration.create({ username: '_irc_x' }), { errcode: 'M_INVALID_USERNAME' });
});
