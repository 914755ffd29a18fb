import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { localpartOf } from '../../server/matrix/identifiers.ts';
import { expectError, expectOk } from '../kit/test-client.ts';
import { House, loginBody, passwordOf, userId } from './accounts-server.ts';

const REGISTER = '/_matrix/client/v3/register';

test('Ann registers, and her token tells who she is', async (t) => {
  const house = await House.open(t);
  const stranger = house.client();

  const first = await stranger.post(REGISTER, { username: 'ann', password: passwordOf('ann') });
  assert.equal(first.status, 401);
  assert.deepEqual(first.body.flows, [{ stages: ['m.login.dummy'] }]);
  assert.deepEqual(first.body.params, {});
  assert.equal(first.body.errcode, undefined);

  const done = expectOk(
    await stranger.post(REGISTER, {
      username: 'ann',
      password: passwordOf('ann'),
      auth: { type: 'm.login.dummy', session: first.body.session },
    }),
  );
  assert.equal(done.user_id, '@ann:home.example');
  assert.match(done.device_id, /^[A-Z]{10}$/);
  const me = expectOk(await house.client(done).get('/_matrix/client/v3/account/whoami'));
  assert.deepEqual(me, { user_id: '@ann:home.example', device_id: done.device_id, is_guest: false });
});

test('a device that brings its name keeps it, and its display name', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann', { device_id: 'xyzzy', initial_device_display_name: 'Phone' });
  assert.equal(ann.deviceId, 'xyzzy');
  const device = expectOk(await ann.get('/_matrix/client/v3/devices/xyzzy'));
  assert.equal(device.display_name, 'Phone');
});

test('capital letters in a username become small ones', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ANN-Upper');
  assert.equal(ann.userId, '@ann-upper:home.example');
});

test('usernames keep to the grammar of user IDs', async (t) => {
  const house = await House.open(t);
  for (const character of [
    '!',
    '"',
    ':',
    '?',
    '\\',
    '@',
    '[',
    ']',
    '{',
    '|',
    '}',
    '£',
    'é',
    '\n',
    "'",
    ' ',
    '\u212a',
  ]) {
    const answer = await house.client().post(REGISTER, { username: `ann${character}`, password: 'x' });
    expectError(answer, 400, 'M_INVALID_USERNAME');
  }
  for (const name of ['', '_ann', '12345', 'a'.repeat(250)]) {
    expectError(await house.client().post(REGISTER, { username: name, password: 'x' }), 400, 'M_INVALID_USERNAME');
  }
  for (const character of ['q', '3', '.', '_', '=', '-', '/', '+']) await house.register(`ann${character}`);
});

test('a name that is taken is refused before and after authentication', async (t) => {
  const house = await House.open(t);
  const begun = await house.client().post(REGISTER, { username: 'ann', password: 'x' });
  await house.register('ann');
  expectError(await house.client().post(REGISTER, { username: 'Ann', password: 'x' }), 400, 'M_USER_IN_USE');
  const late = await house.client().post(REGISTER, {
    username: 'ann',
    password: 'x',
    auth: { type: 'm.login.dummy', session: begun.body.session },
  });
  expectError(late, 400, 'M_USER_IN_USE');
});

test('a server that hides which names are taken only tells at the end', async (t) => {
  const house = await House.open(t, { settings: { registration: { inhibitUserInUseError: true } } });
  await house.register('ann');
  expectOk(await house.client().get(`${REGISTER}/available`, { username: 'ann' }));
  assert.equal((await house.client().post(REGISTER, { username: 'ann', password: 'x' })).status, 401);
  const body = { username: 'ann', password: 'x', auth: { type: 'm.login.dummy' } };
  expectError(await house.client().post(REGISTER, body), 400, 'M_USER_IN_USE');
});

test('one can ask whether a name is free', async (t) => {
  const house = await House.open(t);
  await house.register('ann');
  const ask = (username?: string) => house.client().get(`${REGISTER}/available`, { username });
  assert.deepEqual(expectOk(await ask('bob')), { available: true });
  expectError(await ask('ann'), 400, 'M_USER_IN_USE');
  expectError(await ask('b o b'), 400, 'M_INVALID_USERNAME');
  expectError(await ask(), 400, 'M_MISSING_PARAM');
});

test('registration remembers the request when the client only sends its proof', async (t) => {
  const house = await House.open(t);
  const begun = await house.client().post(REGISTER, {
    username: 'ann',
    password: 'übers3kr1t',
    device_id: 'xyzzy',
    initial_device_display_name: 'Phone',
  });
  await house.restart();
  const done = expectOk(
    await house.client().post(REGISTER, { auth: { type: 'm.login.dummy', session: begun.body.session } }),
  );
  assert.equal(done.user_id, '@ann:home.example');
  assert.equal(done.device_id, 'xyzzy');
  const device = expectOk(await house.client(done).get('/_matrix/client/v3/devices/xyzzy'));
  assert.equal(device.display_name, 'Phone');
  expectOk(await house.client().post('/_matrix/client/v3/login', loginBody('ann', { password: 'übers3kr1t' })));
});

test('a client that missed the answer may register again in the same session', async (t) => {
  const house = await House.open(t);
  const begun = await house.client().post(REGISTER, { password: 'x' });
  const body = { password: 'x', auth: { type: 'm.login.dummy', session: begun.body.session } };
  const first = expectOk(await house.client().post(REGISTER, body));
  const again = expectOk(await house.client().post(REGISTER, body));
  assert.equal(again.user_id, first.user_id);
  expectOk(await house.client(again).get('/_matrix/client/v3/account/whoami'));

  await house.clock.advance(11 * 60_000);
  expectError(await house.client().post(REGISTER, body), 400, 'M_UNKNOWN');
});

test('inhibit_login makes the account and no session', async (t) => {
  const house = await House.open(t);
  const answer = await house.client().post(REGISTER, {
    username: 'ann',
    password: passwordOf('ann'),
    inhibit_login: true,
    auth: { type: 'm.login.dummy' },
  });
  const body = expectOk(answer);
  assert.deepEqual(Object.keys(body).sort(), ['home_server', 'user_id']);
  await house.logIn('ann');
});

test('a password is needed, and a weak one is refused before authentication', async (t) => {
  const house = await House.open(t, {
    settings: {
      passwords: {
        policy: {
          enabled: true,
          minimumLength: 8,
          requireDigit: true,
          requireSymbol: true,
          requireLowercase: true,
          requireUppercase: true,
        },
      },
    },
  });
  const dummy = { auth: { type: 'm.login.dummy' } };
  expectError(await house.client().post(REGISTER, { username: 'ann', ...dummy }), 400, 'M_MISSING_PARAM');
  for (const password of ['', 'aB3!', 'aBcdefg!', 'aBcdefg3', 'ABCDEF3!', 'abcdef3!']) {
    expectError(await house.client().post(REGISTER, { username: 'ann', password }), 400, 'M_WEAK_PASSWORD');
  }
  const long = 'aB3!'.repeat(129);
  expectError(await house.client().post(REGISTER, { username: 'ann', password: long }), 400, 'M_INVALID_PARAM');
  expectOk(await house.client().post(REGISTER, { username: 'ann', password: 'aBcdef3!', ...dummy }));
  const policy = expectOk(await house.client().get('/_matrix/client/v3/password_policy'));
  assert.equal(policy['m.minimum_length'], 8);
});

test('bodies of the wrong shape are refused', async (t) => {
  const house = await House.open(t);
  for (const body of [{ username: 5 }, { password: [] }, { device_id: '' }, { auth: 'yes' }, { inhibit_login: 'no' }]) {
    expectError(await house.client().post(REGISTER, body), 400, 'M_BAD_JSON');
  }
  expectError(await house.client().post(`${REGISTER}?kind=robot`, {}), 400, 'M_INVALID_PARAM');
  expectError(await house.client().post(REGISTER, '{'), 400, 'M_NOT_JSON');
});

test('where registration is closed nobody gets in', async (t) => {
  for (const registration of [
    { enabled: false },
    { withoutVerification: false },
    { requiredThreepids: ['email'] },
    { captcha: { required: true } },
  ]) {
    const house = await House.open(t, { settings: { registration } });
    const body = { username: 'ann', password: 'x', auth: { type: 'm.login.dummy' } };
    expectError(await house.client().post(REGISTER, body), 403, 'M_FORBIDDEN');
    expectError(await house.client().get(`${REGISTER}/available`, { username: 'ann' }), 403, 'M_FORBIDDEN');
    expectError(await house.client().post(`${REGISTER}?kind=guest`, {}), 403, 'M_FORBIDDEN');
  }
});

test('registrations from one address are limited', async (t) => {
  const house = await House.open(t, { limits: { registration: 2 } });
  await house.register('ann');
  await house.register('bob');
  const body = { username: 'cat', password: 'x', auth: { type: 'm.login.dummy' } };
  const refused = expectError(await house.client().post(REGISTER, body), 429, 'M_LIMIT_EXCEEDED');
  await house.clock.advance(refused.retry_after_ms);
  expectOk(await house.client().post(REGISTER, body));
});

test('a registration token lets in as many as it says', async (t) => {
  const house = await House.open(t, { settings: { registration: { requiresToken: true } } });
  const { registrationTokens } = house.accounts;
  registrationTokens.create({ token: 'come.in', usesAllowed: 1 });
  const validity = async (token: string) =>
    expectOk(await house.client().get(`/_matrix/client/v1/register/m.login.registration_token/validity`, { token }))
      .valid;

  const begun = await house.client().post(REGISTER, { username: 'ann', password: passwordOf('ann') });
  assert.deepEqual(begun.body.flows, [{ stages: ['m.login.registration_token'] }]);
  const { session } = begun.body;
  const tryWith = (auth: object) =>
    house.client().post(REGISTER, { username: 'ann', password: passwordOf('ann'), auth: { ...auth, session } });

  const wrong = expectError(
    await tryWith({ type: 'm.login.registration_token', token: 'nonsense' }),
    401,
    'M_UNAUTHORIZED',
  );
  assert.deepEqual(wrong.completed, []);
  assert.equal(wrong.session, session);
  expectError(await tryWith({ type: 'm.login.registration_token' }), 400, 'M_MISSING_PARAM');
  expectError(await tryWith({ type: 'm.login.dummy' }), 401, 'M_UNRECOGNIZED');

  assert.equal(await validity('come.in'), true);
  expectOk(await tryWith({ type: 'm.login.registration_token', token: 'come.in' }));
  assert.equal(await validity('come.in'), false);
  const { createdMs, ...found } = registrationTokens.find('come.in') ?? assert.fail('the token is still there');
  assert.ok(createdMs > 0);
  assert.deepEqual(found, {
    token: 'come.in',
    usesAllowed: 1,
    pending: 0,
    completed: 1,
    expiresMs: undefined,
    note: undefined,
  });

  const bob = { username: 'bob', password: 'x', auth: { type: 'm.login.registration_token', token: 'come.in' } };
  expectError(await house.client().post(REGISTER, bob), 401, 'M_UNAUTHORIZED');
});

test('a use of a registration token that comes to nothing is given back', async (t) => {
  const house = await House.open(t, { settings: { registration: { requiresToken: true } } });
  const { registrationTokens } = house.accounts;
  registrationTokens.create({ token: 'once', usesAllowed: 1 });
  const begun = await house.client().post(REGISTER, { username: 'ann' });
  const auth = { type: 'm.login.registration_token', token: 'once', session: begun.body.session };
  expectError(await house.client().post(REGISTER, { username: 'ann', auth }), 400, 'M_MISSING_PARAM');
  assert.equal(registrationTokens.find('once')?.pending, 1);

  await house.clock.advance(2 * 3_600_000);
  assert.equal(registrationTokens.find('once')?.pending, 0);
});

test('a registration token expires', async (t) => {
  const house = await House.open(t, { settings: { registration: { requiresToken: true } } });
  house.accounts.registrationTokens.create({ token: 'soon', expiresMs: house.clock.now() + 1_000 });
  await house.clock.advance(1_001);
  const answer = await house
    .client()
    .get(`/_matrix/client/v1/register/m.login.registration_token/validity`, { token: 'soon' });
  assert.deepEqual(expectOk(answer), { valid: false });
  const body = { username: 'ann', password: 'x', auth: { type: 'm.login.registration_token', token: 'soon' } };
  expectError(await house.client().post(REGISTER, body), 401, 'M_UNAUTHORIZED');
});

test('guessing registration tokens is limited', async (t) => {
  const house = await House.open(t, {
    settings: { registration: { requiresToken: true } },
    limits: { registrationTokenValidity: 2 },
  });
  const guess = () => {
    const auth = { type: 'm.login.registration_token', token: 'guess' };
    return house.client().post(REGISTER, { username: 'ann', password: 'x', auth });
  };
  await guess();
  await guess();
  expectError(await guess(), 429, 'M_LIMIT_EXCEEDED');
  const path = `/_matrix/client/v1/register/m.login.registration_token/validity`;
  expectError(await house.client().get(path, { token: 'guess' }), 429, 'M_LIMIT_EXCEEDED');
});

test('a guest gets a number for a name and becomes a user', async (t) => {
  const house = await House.open(t, { settings: { registration: { guestsAllowed: true } } });
  const given = { username: 'ignored', device_id: 'IGNORED', initial_device_display_name: 'Kiosk' };
  const session = expectOk(await house.client().post(`${REGISTER}?kind=guest`, given));
  assert.match(session.user_id, /^@[0-9]+:home\.example$/);
  assert.notEqual(session.device_id, 'IGNORED');
  const guest = house.client(session);
  assert.equal(expectOk(await guest.get('/_matrix/client/v3/account/whoami')).is_guest, true);
  assert.equal(expectOk(await guest.get('/_matrix/client/v3/devices')).devices[0].display_name, 'Kiosk');
  expectError(await guest.post('/_matrix/client/v3/delete_devices', { devices: [] }), 403, 'M_GUEST_ACCESS_FORBIDDEN');
  const change = await guest.post('/_matrix/client/v3/account/password', { new_password: 'x' });
  expectError(change, 403, 'M_GUEST_ACCESS_FORBIDDEN');

  const name = localpartOf(userId(session.user_id));
  const upgrade = { username: name, password: 'SIR_Arthur_David', guest_access_token: session.access_token };
  const begun = await house.client().post(REGISTER, upgrade);
  assert.equal(begun.status, 401);
  const auth = { type: 'm.login.dummy', session: begun.body.session };
  const user = house.client(expectOk(await house.client().post(REGISTER, { auth })));
  assert.equal(user.userId, session.user_id);
  assert.equal(expectOk(await user.get('/_matrix/client/v3/account/whoami')).is_guest, false);
  expectError(await guest.get('/_matrix/client/v3/account/whoami'), 401, 'M_UNKNOWN_TOKEN');
  expectOk(await house.client().post('/_matrix/client/v3/login', loginBody(name, { password: 'SIR_Arthur_David' })));
});

test('a guest cannot become somebody else', async (t) => {
  const house = await House.open(t, { settings: { registration: { guestsAllowed: true } } });
  const one = expectOk(await house.client().post(`${REGISTER}?kind=guest`));
  const other = expectOk(await house.client().post(`${REGISTER}?kind=guest`));
  const ann = await house.register('ann');
  const attempts = [
    { username: localpartOf(userId(one.user_id)), guest_access_token: other.access_token },
    { username: 'bob', guest_access_token: one.access_token },
    { username: 'ann', guest_access_token: ann.token },
    { username: 'bob', guest_access_token: 'nonsense' },
  ];
  for (const attempt of attempts) {
    const body = { ...attempt, password: 'x', auth: { type: 'm.login.dummy' } };
    expectError(await house.client().post(REGISTER, body), 403, 'M_FORBIDDEN');
  }
});

test('modules hear of a new account in the transaction that makes it', async (t) => {
  const heard: unknown[] = [];
  const house = await House.open(t, {
    hooks: {
      onRegistered: [
        (_tx, { userId: who, kind }) => {
          if (who === '@unlucky:home.example') throw new Error('no room for the profile');
          heard.push([who, kind]);
        },
      ],
    },
  });
  await house.register('ann');
  assert.deepEqual(heard, [['@ann:home.example', 'user']]);
  const body = { username: 'unlucky', password: 'x', auth: { type: 'm.login.dummy' } };
  assert.equal((await house.client().post(REGISTER, body)).status, 500);
  assert.equal(house.accounts.lookup.exists(userId('@unlucky:home.example')), false);
});

const SHARED = '/_synapse/admin/v1/register';

function mac(secret: string, ...parts: string[]): string {
  return createHmac('sha1', secret).update(parts.join('\0')).digest('hex');
}

test('who knows the shared secret makes accounts, administrators too', async (t) => {
  const house = await House.open(t, { settings: { registration: { enabled: false, sharedSecret: 'reg_secret' } } });
  const client = house.client();
  const nonce = async (): Promise<string> => expectOk(await client.get(SHARED)).nonce;

  const one = await nonce();
  const order = { nonce: one, username: 'Ann', password: passwordOf('ann'), admin: true };
  const ann = expectOk(
    await client.post(SHARED, { ...order, mac: mac('reg_secret', one, 'Ann', passwordOf('ann'), 'admin') }),
  );
  assert.equal(ann.user_id, '@ann:home.example');
  assert.equal(house.accounts.lookup.isAdmin(userId('@ann:home.example')), true);
  expectOk(await house.client(ann).get('/_matrix/client/v3/account/whoami'));

  const two = await nonce();
  const bot = { nonce: two, username: 'bot', password: 'x', user_type: 'bot' };
  expectOk(await client.post(SHARED, { ...bot, mac: mac('reg_secret', two, 'bot', 'x', 'notadmin', 'bot') }));
  const made = house.accounts.lookup.find(userId('@bot:home.example'));
  assert.deepEqual([made?.isAdmin, made?.userType], [false, 'bot']);
});

test('the shared secret only counts with a fresh nonce and the right MAC', async (t) => {
  const house = await House.open(t, { settings: { registration: { sharedSecret: 'reg_secret' } } });
  const client = house.client();
  const nonce = async (): Promise<string> => expectOk(await client.get(SHARED)).nonce;
  const signed = (n: string, username = 'ann', password = 'x') => ({
    nonce: n,
    username,
    password,
    mac: mac('reg_secret', n, username, password, 'notadmin'),
  });

  const one = await nonce();
  expectError(await client.post(SHARED, { ...signed(one), admin: true }), 403, 'M_FORBIDDEN');
  expectError(await client.post(SHARED, signed(one)), 400, 'M_UNKNOWN');
  expectError(await client.post(SHARED, signed('made up')), 400, 'M_UNKNOWN');
  expectError(await client.post(SHARED, { ...signed(await nonce()), mac: 'zz' }), 403, 'M_FORBIDDEN');
  expectError(await client.post(SHARED, signed(await nonce(), 'us,er')), 400, 'M_INVALID_USERNAME');
  expectError(await client.post(SHARED, signed(await nonce(), 'a\0b')), 400, 'M_BAD_JSON');
  expectError(await client.post(SHARED, { nonce: await nonce() }), 400, 'M_BAD_JSON');
  const old = await nonce();
  await house.clock.advance(61_000);
  expectError(await client.post(SHARED, signed(old)), 400, 'M_UNKNOWN');
  expectOk(await client.post(SHARED, signed(await nonce())));
  expectError(await client.post(SHARED, signed(await nonce())), 400, 'M_USER_IN_USE');
});

test('without a shared secret there is no registration by it', async (t) => {
  const house = await House.open(t);
  expectError(await house.client().get(SHARED), 400, 'M_UNKNOWN');
});
