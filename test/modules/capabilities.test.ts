import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { capabilities, type CapabilitiesNeeds } from '../../server/modules/capabilities/index.ts';
import { expectError, expectOk, TestClient } from '../kit/test-client.ts';
import { requester, serve, tokens } from '../http/harness.ts';

type Change = {
  facts?: Partial<CapabilitiesNeeds['facts']>;
  settings?: Partial<CapabilitiesNeeds['settings']>;
};

async function open(t: TestContext, { facts, settings }: Change = {}): Promise<(token?: string) => TestClient> {
  const module = capabilities({
    facts: {
      roomVersions: { default: '12', available: { 11: 'stable', 12: 'stable' } },
      forgetsRoomsOnLeave: false,
      givesLoginTokens: true,
      canChangePassword: () => true,
      canChangeThreepids: () => true,
      canChangeDisplayName: () => true,
      canChangeAvatar: () => true,
      canModerateAccounts: (who) => who.isAdmin,
      ...facts,
    },
    settings: { wellKnownClient: undefined, federationAddress: undefined, adminContact: undefined, ...settings },
    unstableFeatures: { 'org.matrix.example': true },
  });
  const { origin } = await serve(t, module.routes ?? [], {
    authenticator: tokens({
      ann: { kind: 'ok', requester: requester('@ann:home') },
      root: { kind: 'ok', requester: requester('@root:home', { isAdmin: true }) },
      guest: { kind: 'ok', requester: requester('@1:home', { isGuest: true }) },
    }),
  });
  return (token) => new TestClient({ baseUrl: origin }, token === undefined ? {} : { token });
}

test('the server names the versions it speaks, also to whoever has an old token', async (t) => {
  const client = await open(t);
  for (const token of [undefined, 'ann', 'long gone']) {
    const { versions, unstable_features: unstable } = expectOk(await client(token).get('/_matrix/client/versions'));
    assert.ok(versions.includes('r0.6.1') && versions.includes('v1.1') && versions.includes('v1.19'));
    assert.equal(versions.at(-1), 'v1.19');
    assert.deepEqual(unstable, { 'org.matrix.example': true });
  }
});

test('capabilities say what a user may do', async (t) => {
  const client = await open(t, {
    facts: {
      canChangePassword: (who) => who.userId === '@root:home',
      canChangeDisplayName: (who) => who.isAdmin,
      canChangeThreepids: () => false,
    },
  });
  const of = async (token: string) => expectOk(await client(token).get('/_matrix/client/v3/capabilities')).capabilities;
  assert.deepEqual(await of('ann'), {
    'm.room_versions': { default: '12', available: { 11: 'stable', 12: 'stable' } },
    'm.change_password': { enabled: false },
    'm.set_displayname': { enabled: false },
    'm.set_avatar_url': { enabled: true },
    'm.profile_fields': { enabled: true, disallowed: ['displayname'] },
    'm.3pid_changes': { enabled: false },
    'm.get_login_token': { enabled: true },
    'm.forget_forced_upon_leave': { enabled: false },
  });
  const root = await of('root');
  assert.deepEqual(root['m.change_password'], { enabled: true });
  assert.deepEqual(root['m.profile_fields'], { enabled: true });
  assert.deepEqual(root['m.account_moderation'], { suspend: true, lock: true });
  assert.deepEqual((await of('guest'))['m.get_login_token'], { enabled: false });
  expectError(await client().get('/_matrix/client/v3/capabilities'), 401, 'M_MISSING_TOKEN');
});

test('the well-known files are served where there is something to say', async (t) => {
  const silent = await open(t);
  for (const file of ['client', 'server', 'support']) {
    expectError(await silent().get(`/.well-known/matrix/${file}`), 404, 'M_NOT_FOUND');
  }
  const client = await open(t, {
    settings: {
      wellKnownClient: { 'm.homeserver': { base_url: 'https://matrix.home/' }, 'org.example': 1 },
      federationAddress: 'matrix.home:443',
      adminContact: 'mailto:admin@home.example',
    },
  });
  const get = (file: string) => client().get(`/.well-known/matrix/${file}`);
  const found = await get('client');
  assert.deepEqual(expectOk(found), { 'm.homeserver': { base_url: 'https://matrix.home/' }, 'org.example': 1 });
  assert.equal(found.headers.get('access-control-allow-origin'), '*');
  assert.deepEqual(expectOk(await get('server')), { 'm.server': 'matrix.home:443' });
  assert.deepEqual(expectOk(await get('support')), {
    contacts: [{ email_address: 'admin@home.example', role: 'm.role.admin' }],
  });
});

test('whoever runs the server may be reached in other ways than mail', async (t) => {
  const support = async (adminContact: string) =>
    (await open(t, { settings: { adminContact } }))().get('/.well-known/matrix/support');
  assert.deepEqual(expectOk(await support('@root:home.example')), {
    contacts: [{ matrix_id: '@root:home.example', role: 'm.role.admin' }],
  });
  assert.deepEqual(expectOk(await support('https://home.example/help')), { support_page: 'https://home.example/help' });
  expectError(await support('ask at the bakery'), 404, 'M_NOT_FOUND');
});

test('whoever asks for ways in that this server does not know is told so', async (t) => {
  const client = (await open(t))();
  for (const path of [
    '/_matrix/client/v1/auth_metadata',
    '/_matrix/client/unstable/org.matrix.msc2965/auth_metadata',
    '/_matrix/client/v3/login/sso/redirect?redirectUrl=https%3A%2F%2Fclient.test',
    '/_matrix/client/v3/login/sso/redirect/github',
  ]) {
    expectError(await client.get(path), 404, 'M_UNRECOGNIZED');
  }
  expectError(await client.get('/.well-known/matrix/policy_server'), 404, 'M_NOT_FOUND');
});
