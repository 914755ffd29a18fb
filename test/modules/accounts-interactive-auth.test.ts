import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Requester } from '../../server/http/route.ts';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { House, loginBody, passwordOf, proofOf, userId } from './accounts-server.ts';

const PASSWORD = '/_matrix/client/v3/account/password';
const DEACTIVATE = '/_matrix/client/v3/account/deactivate';
const DELETE_DEVICES = '/_matrix/client/v3/delete_devices';
const WHOAMI = '/_matrix/client/v3/account/whoami';
const LOGIN = '/_matrix/client/v3/login';

async function challenge(client: TestClient, path: string, body: Json): Promise<string> {
  const answer = await client.post(path, body);
  assert.equal(answer.status, 401);
  assert.deepEqual(answer.body.flows, [{ stages: ['m.login.password'] }]);
  assert.equal(answer.body.errcode, undefined);
  return answer.body.session;
}

async function logsIn(house: House, username: string, password: string): Promise<boolean> {
  return (await house.client().post(LOGIN, loginBody(username, { password }))).status === 200;
}

test('a wrong proof may be tried again in the same session', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann');
  const session = await challenge(ann, DELETE_DEVICES, { devices: [] });
  const wrong = await ann.post(DELETE_DEVICES, { devices: [], auth: proofOf('ann', { password: 'no', session }) });
  const body = expectError(wrong, 401, 'M_FORBIDDEN');
  assert.deepEqual([body.session, body.completed, body.params], [session, [], {}]);
  assert.equal(typeof body.error, 'string');
  expectOk(await ann.post(DELETE_DEVICES, { devices: [], auth: proofOf('ann', { session }) }));
});

test('the proof must come from the user it is wanted of', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann', { device_id: 'PHONE' });
  await house.register('eve');
  const path = '/_matrix/client/v3/devices/PHONE';
  expectError(await ann.delete(path, { auth: proofOf('eve') }), 403, 'M_FORBIDDEN');
  expectOk(await ann.get(path));
});

test('a session serves for the operation and the user it was begun for', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann', { device_id: 'ONE' });
  await house.logIn('ann', { device_id: 'TWO' });
  const eve = await house.register('eve');
  const begun = await ann.delete('/_matrix/client/v3/devices/ONE');
  const { session } = begun.body;
  const other = await ann.delete('/_matrix/client/v3/devices/TWO', { auth: proofOf('ann', { session }) });
  expectError(other, 403, 'M_FORBIDDEN');
  const hers = await eve.delete('/_matrix/client/v3/devices/ONE', { auth: proofOf('eve', { session }) });
  expectError(hers, 403, 'M_FORBIDDEN');
  expectOk(await ann.get('/_matrix/client/v3/devices/TWO'));
  const unknown = await ann.delete('/_matrix/client/v3/devices/ONE', { auth: proofOf('ann', { session: 'x' }) });
  expectError(unknown, 400, 'M_UNKNOWN');
});

test('what was proved for one request does not serve another', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann', { device_id: 'ONE' });
  await house.logIn('ann', { device_id: 'TWO' });
  await house.logIn('ann', { device_id: 'THREE' });
  const session = await challenge(ann, DELETE_DEVICES, { devices: ['TWO'] });
  const done = { devices: ['TWO'], auth: proofOf('ann', { session }) };
  expectOk(await ann.post(DELETE_DEVICES, done));
  // Repeated by a client that missed the answer: the same result, without being asked again.
  expectOk(await ann.post(DELETE_DEVICES, done));
  expectOk(await ann.post(DELETE_DEVICES, { auth: { session } }));
  expectError(await ann.post(DELETE_DEVICES, { devices: ['THREE'], auth: { session } }), 403, 'M_FORBIDDEN');
  expectOk(await ann.get('/_matrix/client/v3/devices/THREE'));
  await house.clock.advance(600_001);
  expectError(await ann.post(DELETE_DEVICES, done), 400, 'M_UNKNOWN');
});

test('sessions that are not finished last a day', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann');
  const session = await challenge(ann, DELETE_DEVICES, { devices: [] });
  await house.clock.advance(23 * 3_600_000);
  await house.restart();
  expectOk(await ann.post(DELETE_DEVICES, { auth: proofOf('ann', { session }) }));
  const late = await challenge(ann, DELETE_DEVICES, { devices: [] });
  await house.clock.advance(24 * 3_600_000);
  expectError(await ann.post(DELETE_DEVICES, { auth: proofOf('ann', { session: late }) }), 400, 'M_UNKNOWN');
});

test('requests with an auth of the wrong shape are refused', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann');
  for (const auth of ['yes', [], { type: 5 }, { session: 5 }]) {
    expectError(await ann.post(DELETE_DEVICES, { devices: [], auth }), 400, 'M_BAD_JSON');
  }
  await challenge(ann, DELETE_DEVICES, { devices: [], auth: null });
  const empty = await ann.post(DELETE_DEVICES, { devices: [], auth: { type: 'm.login.password' } });
  expectError(empty, 400, 'M_MISSING_PARAM');
  const strange = await ann.post(DELETE_DEVICES, { devices: [], auth: { type: 'm.login.dummy' } });
  expectError(strange, 401, 'M_UNRECOGNIZED');
});

test('wrong proofs count like wrong passwords at login', async (t) => {
  const house = await House.open(t, { limits: { loginFailedAttempts: 2 } });
  const ann = await house.register('ann');
  const auth = proofOf('ann', { password: 'no' });
  for (let n = 0; n < 2; n += 1) {
    expectError(await ann.post(DELETE_DEVICES, { devices: [], auth }), 401, 'M_FORBIDDEN');
  }
  expectError(await ann.post(DELETE_DEVICES, { devices: [], auth }), 429, 'M_LIMIT_EXCEEDED');
});

test('where the administrator allows it, one proof serves for a while', async (t) => {
  const house = await House.open(t, { settings: { sessions: { uiAuthTimeoutMs: 15_000 } } });
  const ann = await house.register('ann');
  expectOk(await ann.post(DELETE_DEVICES, { devices: [] }));
  await house.clock.advance(15_000);
  const session = await challenge(ann, DELETE_DEVICES, { devices: [] });
  expectOk(await ann.post(DELETE_DEVICES, { auth: proofOf('ann', { session }) }));
  await house.clock.advance(14_999);
  expectOk(await ann.post(DELETE_DEVICES, { devices: [] }));
  // Not for what is dangerous.
  assert.equal((await ann.post(PASSWORD, { new_password: 'x' })).status, 401);
  assert.equal((await ann.post(DEACTIVATE, {})).status, 401);
});

test('another module guards what it likes', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann');
  const requester: Requester = {
    userId: userId(ann.userId),
    deviceId: undefined,
    tokenId: undefined,
    isGuest: false,
    isAdmin: false,
    isSuspended: false,
    appserviceId: undefined,
    rateLimited: true,
  };
  const { interactiveAuth } = house.accounts;
  const request = {
    requester,
    operation: 'replace cross-signing keys',
    ip: '192.0.2.1',
    read: (body: Json) => body.key,
  };
  const act = (key: unknown): object => ({ key });
  const asked: Json = await interactiveAuth.guard({ ...request, body: { key: 'abc' } }, act);
  assert.equal(asked.status, 401);
  const body = { auth: proofOf('ann', { session: asked.body.session }) };
  assert.deepEqual(await interactiveAuth.guard({ ...request, body }, act), { key: 'abc' });
  const service = { ...requester, appserviceId: 'bridge' };
  assert.deepEqual(await interactiveAuth.guard({ ...request, requester: service, body: { key: 'x' } }, act), {
    key: 'x',
  });
});

test('somebody without a password cannot prove anything', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann');
  await house.accounts.administration.setPassword(userId(ann.userId), undefined, { logOutDevices: false });
  expectError(await ann.post(DELETE_DEVICES, { devices: [] }), 403, 'M_FORBIDDEN');
  assert.equal(house.accounts.canChangePassword(userId(ann.userId)), false);
});

test('a new password replaces the old one and ends the other sessions', async (t) => {
  const house = await House.open(t);
  const phone = await house.register('ann');
  const laptop = await house.logIn('ann');
  const session = await challenge(phone, PASSWORD, { new_password: 'brand new' });
  expectOk(await phone.post(PASSWORD, { new_password: 'brand new', auth: proofOf('ann', { session }) }));
  expectOk(await phone.get(WHOAMI));
  expectError(await laptop.get(WHOAMI), 401, 'M_UNKNOWN_TOKEN');
  assert.equal(await logsIn(house, 'ann', passwordOf('ann')), false);
  assert.equal(await logsIn(house, 'ann', 'brand new'), true);
  assert.equal(house.fileContains('brand new'), false);
});

test('the other sessions may stay', async (t) => {
  const house = await House.open(t);
  const phone = await house.register('ann');
  const laptop = await house.logIn('ann');
  const body = { new_password: 'brand new', logout_devices: false, auth: proofOf('ann') };
  expectOk(await phone.post(PASSWORD, body));
  expectOk(await laptop.get(WHOAMI));
});

test('a session remembers the new password without keeping it, and takes no other', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann');
  const session = await challenge(ann, PASSWORD, { new_password: 'brand new' });
  await house.restart();
  expectOk(await ann.post(PASSWORD, { auth: proofOf('ann', { session }) }));
  assert.equal(await logsIn(house, 'ann', 'brand new'), true);
  const other = { new_password: 'another', auth: { session } };
  expectError(await ann.post(PASSWORD, other), 403, 'M_FORBIDDEN');
  assert.equal(await logsIn(house, 'ann', 'brand new'), true);
});

test('who knows the password needs no session to change it', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann');
  const stranger = house.client();
  await challenge(stranger, PASSWORD, { new_password: 'brand new' });
  const wrong = { new_password: 'brand new', auth: proofOf('ann', { password: 'no' }) };
  expectError(await stranger.post(PASSWORD, wrong), 401, 'M_FORBIDDEN');
  expectOk(await stranger.post(PASSWORD, { new_password: 'brand new', auth: proofOf('ann') }));
  assert.equal(await logsIn(house, 'ann', 'brand new'), true);
  expectError(await ann.get(WHOAMI), 401, 'M_UNKNOWN_TOKEN');
});

test('a new password is checked before anything else', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann');
  expectError(await ann.post(PASSWORD, {}), 400, 'M_MISSING_PARAM');
  expectError(await ann.post(PASSWORD, { new_password: 5 }), 400, 'M_BAD_JSON');
  expectError(await ann.post(PASSWORD, { new_password: '' }), 400, 'M_WEAK_PASSWORD');
  expectError(await ann.post(PASSWORD, { new_password: 'x', logout_devices: 'no' }), 400, 'M_BAD_JSON');

  const closed = await House.open(t, { settings: { passwords: { enabled: 'reauth' } } });
  await closed.accounts.administration.create({ username: 'bob', password: passwordOf('bob') });
  const bob = await closed.logIn('bob');
  expectError(await bob.post(PASSWORD, { new_password: 'x' }), 403, 'M_FORBIDDEN');
  expectOk(await bob.post(DELETE_DEVICES, { devices: [], auth: proofOf('bob') }));
  const register = { username: 'cat', password: 'x', auth: { type: 'm.login.dummy' } };
  expectError(await closed.client().post('/_matrix/client/v3/register', register), 403, 'M_FORBIDDEN');
});

test('who leaves is gone, and nobody gets the name', async (t) => {
  const told: unknown[] = [];
  const house = await House.open(t, {
    hooks: {
      onDeactivated: [(_tx, who, { erase }) => void told.push(['at once', who, erase])],
      onDeparting: [async (who, { erase }) => void told.push(['then', who, erase])],
    },
  });
  const ann = await house.register('ann');
  const other = await house.logIn('ann');
  expectError(await ann.post(DEACTIVATE, { auth: proofOf('ann', { password: 'no' }) }), 401, 'M_FORBIDDEN');
  expectOk(await ann.get(WHOAMI));
  const answer = await ann.post(DEACTIVATE, { erase: true, auth: proofOf('ann') });
  assert.deepEqual(expectOk(answer), { id_server_unbind_result: 'success' });

  for (const client of [ann, other]) expectError(await client.get(WHOAMI), 401, 'M_UNKNOWN_TOKEN');
  expectError(await house.client().post(LOGIN, loginBody('ann')), 403, 'M_USER_DEACTIVATED');
  const again = { username: 'ann', password: 'x' };
  expectError(await house.client().post('/_matrix/client/v3/register', again), 400, 'M_USER_IN_USE');
  const { lookup } = house.accounts;
  const who = userId('@ann:home.example');
  assert.deepEqual(
    [lookup.exists(who), lookup.isDeactivated(who), lookup.isErased(who), lookup.listLocalUsers()],
    [true, true, true, []],
  );
  await house.restart();
  assert.deepEqual(told, [
    ['at once', who, true],
    ['then', who, true],
  ]);
});

test('who knows the password needs no session to leave', async (t) => {
  const house = await House.open(t);
  await house.register('ann');
  expectOk(await house.client().post(DEACTIVATE, { auth: proofOf('ann') }));
  assert.equal(house.accounts.lookup.isErased(userId('@ann:home.example')), false);
  assert.equal(house.accounts.lookup.isDeactivated(userId('@ann:home.example')), true);
});

test('a departure that a stop cut short is finished after the next start', async (t) => {
  let attempts = 0;
  const house = await House.open(t, {
    hooks: {
      onDeparting: [
        async (_who, { stopping }) => {
          attempts += 1;
          if (attempts > 1) return;
          const { promise, resolve } = Promise.withResolvers<void>();
          stopping.addEventListener('abort', () => resolve());
          await promise;
        },
      ],
    },
  });
  const ann = await house.register('ann');
  expectOk(await ann.post(DEACTIVATE, { auth: proofOf('ann') }));
  await house.restart();
  await house.restart();
  assert.equal(attempts, 2);
});

test('an administrator can open a deactivated account again', async (t) => {
  const told: string[] = [];
  const house = await House.open(t, { hooks: { onStandingChanged: [(_tx, user) => void told.push(user)] } });
  const ann = await house.register('ann');
  const who = userId(ann.userId);
  house.accounts.administration.deactivate(who, { erase: false });
  await house.accounts.administration.reactivate(who, 'welcome back');
  assert.deepEqual(told, [who]);
  assert.equal(await logsIn(house, 'ann', 'welcome back'), true);
});

test('the accounts can be listed by what they are', async (t) => {
  const house = await House.open(t, { settings: { registration: { guestsAllowed: true } } });
  await house.register('ann');
  await house.register('bob');
  await house.register('cat');
  expectOk(await house.client().post('/_matrix/client/v3/register?kind=guest'));
  const { administration, lookup } = house.accounts;
  const id = (name: string) => userId(`@${name}:home.example`);
  administration.setAdmin(id('ann'), true);
  administration.setLocked(id('bob'), true);
  administration.deactivate(id('cat'), { erase: false });
  const names = (filter: Parameters<typeof lookup.list>[0]) => lookup.list(filter).map((account) => account.userId);
  assert.equal(lookup.list().length, 4);
  assert.deepEqual(names({ admin: true }), [id('ann')]);
  assert.deepEqual(names({ locked: true }), [id('bob')]);
  assert.deepEqual(names({ deactivated: true }), [id('cat')]);
  assert.deepEqual(names({ kind: 'user', after: id('ann'), limit: 1 }), [id('bob')]);
  assert.deepEqual(names({ contains: 'BO' }), [id('bob')]);
  assert.equal(names({ kind: 'guest' }).length, 1);
});

test('no stranger can have the server remember more than a request needs', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann');
  const padded = { new_password: 'another of ann', padding: 'x'.repeat(9_000) };
  expectError(await house.client().post(PASSWORD, padded), 413, 'M_TOO_LARGE');
  assert.equal((await ann.post(PASSWORD, padded)).status, 401);
});

test('a fallback page completes a stage in a browser', async (t) => {
  const house = await House.open(t, { settings: { registration: { requiresToken: true } } });
  house.accounts.registrationTokens.create({ token: 'come.in' });
  const begun = await house.client().post('/_matrix/client/v3/register', { username: 'ann', password: 'x' });
  const { session } = begun.body;
  const page = '/_matrix/client/v3/auth/m.login.registration_token/fallback/web';

  const form = await house.client().get(page, { session });
  assert.equal(form.status, 200);
  assert.match(form.headers.get('content-type') ?? '', /^text\/html/);
  const policy = form.headers.get('content-security-policy') ?? '';
  assert.match(policy, /default-src 'none'/);
  assert.match(policy, /script-src 'sha256-/);
  assert.match(form.body, /<label for="token">/);
  assert.match(form.body, /onAuthDone/);

  const client = house.client();
  expectError(await client.request('POST', page, { query: { session }, body: { token: 'no' } }), 401, 'M_UNAUTHORIZED');
  expectOk(await client.request('POST', page, { query: { session }, body: { token: 'come.in' } }));
  const used = await client.get(page, { session });
  assert.equal(used.status, 400);
  assert.doesNotMatch(used.body, /<form/);

  expectOk(await client.post('/_matrix/client/v3/register', { auth: { session } }));
  assert.equal(house.accounts.lookup.exists(userId('@ann:home.example')), true);
});

test('a fallback page only takes what its session asks for', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann');
  await house.register('eve');
  const session = await challenge(ann, DELETE_DEVICES, { devices: [ann.deviceId] });
  const client = house.client();
  const page = (stage: string) => `/_matrix/client/v3/auth/${stage}/fallback/web`;
  const post = (stage: string, body: Json) => client.request('POST', page(stage), { query: { session }, body });
  expectError(await client.get(page('m.login.sso'), { session }), 404, 'M_UNRECOGNIZED');
  expectError(await client.get(page('constructor'), { session }), 404, 'M_UNRECOGNIZED');
  assert.equal((await client.get(page('m.login.password'), { session: 'x' })).status, 400);
  expectError(await post('m.login.dummy', {}), 400, 'M_UNRECOGNIZED');
  expectError(await post('m.login.password', { user: 'eve', password: passwordOf('eve') }), 403, 'M_FORBIDDEN');
  expectOk(await post('m.login.password', { user: 'ann', password: passwordOf('ann') }));
  expectError(await ann.post(DELETE_DEVICES, { devices: [], auth: { session } }), 403, 'M_FORBIDDEN');
  expectOk(await ann.post(DELETE_DEVICES, { auth: { session } }));
  expectError(await ann.get(WHOAMI), 401, 'M_UNKNOWN_TOKEN');
});

test('the first account is made by a link that works once, from this machine', async (t) => {
  const house = await House.open(t, { settings: { registration: { enabled: false } } });
  const { setupLink } = house.accounts;
  const path = setupLink.path();
  assert.ok(path !== undefined);
  const token = new URL(path, 'http://x').searchParams.get('token');
  const client = house.client();

  const page = await client.get(path);
  assert.equal(page.status, 200);
  assert.equal(page.headers.get('referrer-policy'), 'no-referrer');
  assert.equal(page.headers.get('cache-control'), 'no-store');
  assert.match(page.body, /<h1>Set up your Hearth server<\/h1>/);
  for (const id of ['username', 'password', 'confirmation']) {
    assert.match(page.body, new RegExp(`<label for="${id}">`));
    assert.match(page.body, new RegExp(`<input id="${id}"`));
  }
  const outside = { 'x-forwarded-for': '192.0.2.1' };
  assert.equal((await client.request('GET', path, { headers: outside })).status, 403);
  assert.equal((await client.get('/_hearth/setup?token=wrong')).status, 403);

  const body = { token, username: 'Ann', password: passwordOf('ann') };
  const setup = '/_hearth/setup';
  expectError(await client.request('POST', setup, { body, headers: outside }), 403, 'M_FORBIDDEN');
  expectError(await client.post(setup, { ...body, token: 'wrong' }), 403, 'M_FORBIDDEN');
  expectError(await client.post(setup, { ...body, username: 'a n n' }), 400, 'M_INVALID_USERNAME');
  expectError(await client.post(setup, { ...body, password: 'short' }), 400, 'M_WEAK_PASSWORD');
  assert.deepEqual(expectOk(await client.post(setup, body)), {
    user_id: '@ann:home.example',
    homeserver: 'https://matrix.home.example/',
  });
  assert.equal(house.accounts.lookup.isAdmin(userId('@ann:home.example')), true);
  assert.equal(await logsIn(house, 'ann', passwordOf('ann')), true);

  assert.equal(setupLink.path(), undefined);
  expectError(await client.post(setup, { ...body, username: 'eve' }), 403, 'M_FORBIDDEN');
  assert.equal((await client.get(path)).status, 403);
  await house.restart();
  assert.equal(house.accounts.setupLink.path(), undefined);
});

test('of two who use the setup link at the same time one gets the server', async (t) => {
  const house = await House.open(t);
  const token = new URL(house.accounts.setupLink.path() ?? '', 'http://x').searchParams.get('token');
  const answers = await Promise.all(
    ['ann', 'eve'].map((username) =>
      house.client().post('/_hearth/setup', { token, username, password: passwordOf(username) }),
    ),
  );
  assert.deepEqual(
    answers.map((answer) => answer.status).sort((a, b) => a - b),
    [200, 403],
  );
  assert.equal(house.accounts.lookup.list().length, 1);
});
