import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestIdentityServer } from '../kit/identity-server.ts';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { ADD } from './mail-house.ts';

const start = (identity: TestIdentityServer, config: Json = {}): Promise<TestServer> =>
  TestServer.start({
    network: identity.network,
    config: { ip_range_blacklist: [], trusted_key_servers: [], ...config },
  });

const bindRequest = (identity: TestIdentityServer, sid: string): Json => ({
  sid,
  client_secret: 'secret',
  id_server: identity.name,
  id_access_token: identity.token,
});

const inviteRequest = (identity: TestIdentityServer, address: string): Json => ({
  medium: 'email',
  address,
  id_server: identity.name,
  id_access_token: identity.token,
});

async function membership(who: TestClient, room: string, userId: string): Promise<string | undefined> {
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/state/m.room.member/${encodeURIComponent(userId)}`;
  return (await who.get(path)).body.membership;
}

test('Ann binds her address and unbinds it, with and without naming the identity server', async () => {
  await using identity = await TestIdentityServer.start();
  await using server = await start(identity);
  const ann = await server.register('ann');
  identity.validated.set('s1', { medium: 'email', address: 'ann@example.org' });

  expectOk(await ann.post(`${ADD}/bind`, bindRequest(identity, 's1')));
  assert.equal(identity.bindings.get('email ann@example.org'), ann.userId);
  // Bound is not added: the homeserver's own list is another one.
  assert.deepEqual(expectOk(await ann.get(ADD)).threepids, []);
  const one = { medium: 'email', address: 'ann@example.org' };
  assert.deepEqual(expectOk(await ann.post(`${ADD}/unbind`, one)), { id_server_unbind_result: 'success' });
  assert.equal(identity.bindings.size, 0);
  assert.deepEqual(expectOk(await ann.post(`${ADD}/unbind`, one)), { id_server_unbind_result: 'no-support' });

  identity.bindings.set('email ann@example.org', ann.userId);
  const named = { ...one, id_server: identity.name };
  assert.deepEqual(expectOk(await ann.post(`${ADD}/delete`, named)), { id_server_unbind_result: 'success' });
  assert.equal(identity.bindings.size, 0);
});

test('a refusal of the identity server is passed on, and never looks as if the own token were void', async () => {
  await using identity = await TestIdentityServer.start();
  await using server = await start(identity);
  const ann = await server.register('ann');
  expectError(await ann.post(`${ADD}/bind`, bindRequest(identity, 'none')), 404, 'M_NO_VALID_SESSION');
  const strange = { ...bindRequest(identity, 's1'), id_access_token: 'wrong' };
  expectError(await ann.post(`${ADD}/bind`, strange), 403, 'M_FORBIDDEN');
  identity.failure = { status: 500, body: 'broken' };
  expectError(await ann.post(`${ADD}/bind`, bindRequest(identity, 's1')), 502, 'M_UNKNOWN');
});

test('no request goes to what is no identity server, or to an address that must not be reached', async () => {
  await using identity = await TestIdentityServer.start();
  await using server = await start(identity);
  const ann = await server.register('ann');
  const before = identity.heard.length;
  for (const idServer of [
    '',
    'https://id.example',
    `${identity.name}/../admin`,
    `${identity.name}?x=`,
    `${identity.name}#`,
    `user@${identity.name}`,
    'id.example:99999999',
    'a b',
  ]) {
    const request = { ...bindRequest(identity, 's1'), id_server: idServer };
    expectError(await ann.post(`${ADD}/bind`, request), 400, 'M_INVALID_PARAM');
  }
  const torn = { ...bindRequest(identity, 's1'), id_access_token: 'a\r\nX-Admin: yes' };
  expectError(await ann.post(`${ADD}/bind`, torn), 400, 'M_INVALID_PARAM');
  await server.restart({ ip_range_blacklist: ['127.0.0.0/8'] });
  expectError(await ann.post(`${ADD}/bind`, bindRequest(identity, 's1')), 502, 'M_UNKNOWN');
  assert.equal(identity.heard.length, before);
});

test('who closes their account is unbound everywhere', async () => {
  await using identity = await TestIdentityServer.start();
  await using server = await start(identity);
  const ann = await server.register('ann');
  identity.validated.set('s1', { medium: 'email', address: 'ann@example.org' });
  expectOk(await ann.post(`${ADD}/bind`, bindRequest(identity, 's1')));
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'ann' },
    password: 'password of ann',
  };
  const closed = expectOk(await ann.post('/_matrix/client/v3/account/deactivate', { auth }));
  assert.equal(closed.id_server_unbind_result, 'success');
  assert.equal(identity.bindings.size, 0);
});

test('somebody whose address is known is invited as anybody is', async () => {
  await using identity = await TestIdentityServer.start();
  await using server = await start(identity);
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  identity.bindings.set('email bob@example.org', bob.userId);
  const room = await ann.createRoom({ preset: 'private_chat' });
  expectOk(await ann.post(`/_matrix/client/v3/rooms/${room}/invite`, inviteRequest(identity, 'Bob@Example.org')));
  assert.equal(await membership(ann, room, bob.userId), 'invite');

  const made = await ann.createRoom({
    preset: 'private_chat',
    invite_3pid: [inviteRequest(identity, 'bob@example.org')],
  });
  assert.equal(await membership(ann, made, bob.userId), 'invite');
});

test('nobody invites by address faster than the server allows', async () => {
  await using identity = await TestIdentityServer.start();
  await using server = await start(identity, { rc_third_party_invite: { per_second: 0.001, burst_count: 1 } });
  const ann = await server.register('ann');
  const room = await ann.createRoom({ preset: 'private_chat' });
  const invite = (address: string) =>
    ann.post(`/_matrix/client/v3/rooms/${room}/invite`, inviteRequest(identity, address));
  expectOk(await invite('bob@example.org'));
  expectError(await invite('cy@example.org'), 429, 'M_LIMIT_EXCEEDED');
  assert.equal(identity.invites.length, 1);
});

test('somebody unknown is invited by address, and gets the invite once the address is theirs', async () => {
  await using identity = await TestIdentityServer.start();
  await using server = await start(identity);
  const ann = await server.register('ann', {});
  const bob = await server.register('bob');
  const room = await ann.createRoom({ preset: 'private_chat', name: 'Kitchen' });
  expectOk(await ann.post(`/_matrix/client/v3/rooms/${room}/invite`, inviteRequest(identity, 'bob@example.org')));
  const [stored] = identity.invites;
  assert.equal(stored.room_id, room);
  assert.equal(stored.sender, ann.userId);
  assert.equal(stored.room_name, 'Kitchen');
  assert.equal(stored.sender_display_name, 'ann');
  const offer = expectOk(
    await ann.get(`/_matrix/client/v3/rooms/${encodeURIComponent(room)}/state/m.room.third_party_invite/token0`),
  );
  assert.equal(offer.display_name, 'Bob');
  assert.equal(offer.public_keys.length, 1);
  assert.equal(offer.public_key, offer.public_keys[0].public_key);

  const told = await server
    .anonymous()
    .post('/_matrix/federation/v1/3pid/onbind', identity.onBind('email', 'bob@example.org', bob.userId));
  expectOk(told);
  assert.equal(await membership(ann, room, bob.userId), 'invite');
  await bob.join(room);
  assert.equal(await membership(ann, room, bob.userId), 'join');
});

test('an invite whose key counts no longer lets nobody in', async () => {
  await using identity = await TestIdentityServer.start();
  await using server = await start(identity);
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const room = await ann.createRoom({ preset: 'private_chat' });
  expectOk(await ann.post(`/_matrix/client/v3/rooms/${room}/invite`, inviteRequest(identity, 'bob@example.org')));
  identity.keysAreValid = false;
  const binding = identity.onBind('email', 'bob@example.org', bob.userId);
  await server.anonymous().post('/_matrix/federation/v1/3pid/onbind', binding);
  assert.equal(await membership(ann, room, bob.userId), undefined);
});

test('who may not invite sends no mail by an identity server either', async () => {
  await using identity = await TestIdentityServer.start();
  await using server = await start(identity);
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const room = await ann.createRoom({
    preset: 'private_chat',
    invite: [bob.userId],
    power_level_content_override: { invite: 50 },
  });
  await bob.join(room);
  const request = inviteRequest(identity, 'carol@example.org');
  expectError(await bob.post(`/_matrix/client/v3/rooms/${room}/invite`, request), 403, 'M_FORBIDDEN');
  assert.equal(identity.invites.length, 0);

  await server.restart({ enable_3pid_lookup: false });
  expectError(await ann.post(`/_matrix/client/v3/rooms/${room}/invite`, request), 403, 'M_THREEPID_DENIED');
  assert.equal(identity.invites.length, 0);
});
