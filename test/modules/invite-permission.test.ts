import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestNetwork } from '../kit/test-network.ts';
import { TestServer } from '../kit/test-server.ts';

const STABLE = 'm.invite_permission_config';
const RULES = 'org.matrix.msc4155.invite_permission_config';

async function set(who: TestClient, type: string, content: Json): Promise<void> {
  expectOk(await who.put(`/_matrix/client/v3/user/${who.userId}/account_data/${type}`, content));
}

async function invite(by: TestClient, roomId: string, whom: TestClient) {
  return by.post(`/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/invite`, { user_id: whom.userId });
}

async function invitesOf(who: TestClient, since?: string): Promise<string[]> {
  return Object.keys((await who.sync(since === undefined ? {} : { since })).rooms?.invite ?? {});
}

for (const type of [STABLE, 'org.matrix.msc4380.invite_permission_config']) {
  test(`who blocks invites by ${type} gets none, until they stop that`, async () => {
    await using server = await TestServer.start();
    const [alice, bob] = [await server.register('alice'), await server.register('bob')];
    const early = await alice.createRoom();
    await alice.invite(early, bob.userId);
    assert.deepEqual(await invitesOf(bob), [early]);

    await set(bob, type, { default_action: 'block' });
    const roomId = await alice.createRoom();
    expectError(await invite(alice, roomId, bob), 403, 'M_INVITE_BLOCKED');
    const state = `/_matrix/client/v3/rooms/${roomId}/state/m.room.member/${bob.userId}`;
    expectError(await alice.put(state, { membership: 'invite' }), 403, 'M_INVITE_BLOCKED');
    const created = await alice.post('/_matrix/client/v3/createRoom', { invite: [bob.userId] });
    expectError(created, 403, 'M_INVITE_BLOCKED');
    // The invite from before is kept from their clients, but stands in the room.
    assert.deepEqual(await invitesOf(bob), []);
    const member = await alice.get(`/_matrix/client/v3/rooms/${early}/state/m.room.member/${bob.userId}`);
    assert.equal(expectOk(member).membership, 'invite');
    await bob.join(early);

    for (const content of [{}, { default_action: 'allow' }, { default_action: ['block'] }]) {
      await set(bob, type, content);
      const open = await alice.createRoom();
      expectOk(await invite(alice, open, bob));
      assert.ok((await invitesOf(bob)).includes(open));
    }
  });
}

test('rules tell invites apart by user and server, allowed before ignored before blocked', async () => {
  await using server = await TestServer.start();
  const [alice, bob, carol] = [
    await server.register('alice'),
    await server.register('bob'),
    await server.register('carol'),
  ];
  const ofAlice = await alice.createRoom();
  const isTaken = async (rules: Json): Promise<boolean> => {
    await set(bob, RULES, rules);
    const answer = await invite(alice, ofAlice, bob);
    if (answer.status !== 200) {
      expectError(answer, 403, 'M_INVITE_BLOCKED');
      return false;
    }
    expectOk(await alice.post(`/_matrix/client/v3/rooms/${ofAlice}/kick`, { user_id: bob.userId }));
    return true;
  };
  assert.equal(await isTaken({ blocked_users: [alice.userId] }), false);
  assert.equal(await isTaken({ blocked_users: ['@al*:hearth.test'] }), false);
  assert.equal(await isTaken({ blocked_users: ['@al'] }), true);
  assert.equal(await isTaken({ blocked_users: [carol.userId] }), true);
  assert.equal(await isTaken({ blocked_servers: ['hearth.t?st'] }), false);
  assert.equal(await isTaken({ blocked_servers: ['*'], allowed_users: [alice.userId] }), true);
  assert.equal(await isTaken({ blocked_users: ['*'], allowed_servers: ['*'] }), false);
  assert.equal(await isTaken({ blocked_users: ['*'], ignored_users: ['*'] }), true);
  assert.equal(await isTaken({ enabled: false, blocked_users: ['*'] }), true);
  assert.equal(await isTaken({ blocked_users: '*', blocked_servers: [7] }), true);
});

test('an invite that is ignored looks as if it were taken, and is never seen', async () => {
  await using server = await TestServer.start();
  const [alice, bob] = [await server.register('alice'), await server.register('bob')];
  await set(bob, RULES, { ignored_users: [alice.userId] });
  const { next_batch: since } = await bob.sync();
  const roomId = await alice.createRoom();
  expectOk(await invite(alice, roomId, bob));
  assert.deepEqual(await invitesOf(bob, since), []);
  assert.deepEqual(await invitesOf(bob), []);
  const { notifications } = expectOk(await bob.get('/_matrix/client/v3/notifications'));
  assert.deepEqual(notifications, []);
  await set(bob, RULES, {});
  assert.deepEqual(await invitesOf(bob), [roomId]);
});

test('invites from another server are blocked and ignored alike', async () => {
  await using house = await TestNetwork.start(['one.test', 'two.test']);
  const [one, two] = house.servers;
  const [alice, bob] = [await one.register('alice'), await two.register('bob')];
  await set(bob, RULES, { blocked_servers: ['one.test'] });
  const roomId = await alice.createRoom();
  expectError(await invite(alice, roomId, bob), 403, 'M_INVITE_BLOCKED');
  await set(bob, RULES, { ignored_servers: ['one.test'] });
  expectOk(await invite(alice, roomId, bob));
  assert.deepEqual(await invitesOf(bob), []);
  await set(bob, RULES, { allowed_servers: ['one.*'] });
  assert.deepEqual(await invitesOf(bob), [roomId]);
});
