import assert from 'node:assert/strict';
import { expectError, expectOk, type TestClient } from '../kit/test-client.ts';
import { eventually } from '../kit/test-network.ts';
import type { Homeserver } from './homeserver.ts';
import { follows, hears, joinVia, makePair, now, type Pair, path, said, seesMembership, stateOf } from './pair.ts';

const story = makePair(import.meta.filename);

story('an invitation is declined', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  await alice.invite(roomId, bob.userId);
  const since = await eventually('the invitation', async () => {
    const answer = await bob.sync();
    return answer.rooms?.invite?.[roomId] === undefined ? undefined : answer.next_batch;
  });
  await bob.leave(roomId);
  await seesMembership(alice, roomId, bob.userId, 'leave');
  await follows(bob, 'the end of it', (answer) => answer.rooms?.leave?.[roomId] !== undefined, since);
  await assert.rejects(joinVia(bob, roomId, home));
});

story('an invitation is withdrawn', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const roomId = await alice.createRoom({ preset: 'private_chat', invite: [bob.userId] });
  await follows(bob, 'the invitation', (answer) => answer.rooms?.invite?.[roomId]);
  const since = await now(bob);
  expectOk(await alice.post(path`/rooms/${roomId}/kick`, { user_id: bob.userId, reason: 'a mistake' }));
  await follows(bob, 'the end of it', (answer) => answer.rooms?.leave?.[roomId] !== undefined, since);
});

story('somebody leaves, and comes back', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  await joinVia(bob, roomId, home);
  await seesMembership(alice, roomId, bob.userId, 'join');
  await bob.leave(roomId);
  await seesMembership(alice, roomId, bob.userId, 'leave');
  await alice.setState(roomId, 'm.room.topic', { topic: 'set while he was away' });
  await alice.send(roomId, 'said while he was away');
  await joinVia(bob, roomId, home);
  await seesMembership(alice, roomId, bob.userId, 'join');
  assert.deepEqual(await stateOf(bob, roomId, 'm.room.topic'), { topic: 'set while he was away' });
  await hears(bob, roomId, 'said while he was away');
  await bob.send(roomId, 'back again');
  await hears(alice, roomId, 'back again');
});

story('somebody is sent away, banned and forgiven', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const ben = await away.register(`ben-${tag}`);
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  for (const who of [bob, ben]) {
    await joinVia(who, roomId, home);
    await seesMembership(alice, roomId, who.userId, 'join');
  }
  expectOk(await alice.post(path`/rooms/${roomId}/kick`, { user_id: bob.userId, reason: 'enough' }));
  assert.equal((await seesMembership(ben, roomId, bob.userId, 'leave')).reason, 'enough');
  expectError(
    await bob.put(path`/rooms/${roomId}/send/m.room.message/late`, { msgtype: 'm.text', body: '?' }),
    403,
    'M_FORBIDDEN',
  );
  await joinVia(bob, roomId, home);
  await seesMembership(alice, roomId, bob.userId, 'join');
  expectOk(await alice.post(path`/rooms/${roomId}/ban`, { user_id: bob.userId }));
  await seesMembership(ben, roomId, bob.userId, 'ban');
  assert.equal((await bob.post(path`/join/${roomId}`)).status, 403);
  expectOk(await alice.post(path`/rooms/${roomId}/unban`, { user_id: bob.userId }));
  await seesMembership(ben, roomId, bob.userId, 'leave');
  await joinVia(bob, roomId, home);
  await seesMembership(alice, roomId, bob.userId, 'join');
});

story('a whole server is kept out, and let in again', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  await joinVia(bob, roomId, home);
  await seesMembership(alice, roomId, bob.userId, 'join');
  const keepOut = async (deny: readonly string[]): Promise<void> => {
    const rules = { allow: ['*'], deny, allow_ip_literals: true };
    await alice.setState(roomId, 'm.room.server_acl', rules);
  };
  // Names count without their ports.
  await keepOut([away.serverName.replace(/:\d+$/, '')]);
  await alice.send(roomId, 'Who is still here?');
  await hears(alice, roomId, 'Who is still here?');
  // Bob’s server may or may not have heard of it; what he says does not arrive in either case.
  await bob.put(path`/rooms/${roomId}/send/m.room.message/out`, { msgtype: 'm.text', body: 'said while kept out' });
  const eve = await away.register(`eve-${tag}`);
  const elsewhere = await alice.createRoom({ preset: 'public_chat' });
  await joinVia(eve, elsewhere, home);
  await eve.send(elsewhere, 'a later word');
  await hears(alice, elsewhere, 'a later word');
  assert.ok(!(await said(alice, roomId)).includes('said while kept out'));
  await keepOut([]);
  await bob.send(roomId, 'let in again');
  await hears(alice, roomId, 'let in again');
});

for (const joinRule of ['knock', 'knock_restricted']) {
  story(`somebody knocks at a room with the rule ${joinRule} and is let in`, async ({ home, away, tag }) => {
    const alice = await home.register(`alice-${tag}`);
    const bob = await away.register(`bob-${tag}`);
    const roomId = await alice.createRoom({
      preset: 'private_chat',
      name: 'Study',
      room_version: '11',
      initial_state: [{ type: 'm.room.join_rules', state_key: '', content: { join_rule: joinRule } }],
    });
    const knock = await bob.request('POST', path`/knock/${roomId}`, {
      body: { reason: 'May I?' },
      query: { server_name: home.serverName, via: home.serverName },
    });
    assert.equal(expectOk(knock).room_id, roomId);
    const knocked = await follows(bob, 'his own knock', (answer) => answer.rooms?.knock?.[roomId]);
    const name = knocked.knock_state.events.find((event: { type: string }) => event.type === 'm.room.name');
    assert.equal(name?.content.name, 'Study');
    assert.equal((await seesMembership(alice, roomId, bob.userId, 'knock')).reason, 'May I?');
    await alice.invite(roomId, bob.userId);
    await follows(bob, 'the invitation', (answer) => answer.rooms?.invite?.[roomId]);
    await bob.join(roomId);
    await seesMembership(alice, roomId, bob.userId, 'join');
    await bob.send(roomId, 'thank you');
    await hears(alice, roomId, 'thank you');
  });
}

/** Bob away knocks at Alice’s room at home. */
async function knock({ home, away, tag }: Pair): Promise<{ alice: TestClient; bob: TestClient; roomId: string }> {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const roomId = await alice.createRoom({
    preset: 'private_chat',
    initial_state: [{ type: 'm.room.join_rules', state_key: '', content: { join_rule: 'knock' } }],
  });
  await knockAgain(bob, roomId, home);
  await seesMembership(alice, roomId, bob.userId, 'knock');
  return { alice, bob, roomId };
}

async function knockAgain(who: TestClient, roomId: string, via: Homeserver): Promise<void> {
  const query = { server_name: via.serverName, via: via.serverName };
  expectOk(await who.request('POST', path`/knock/${roomId}`, { body: {}, query }));
}

story(
  'a knock is taken back',
  async (pair) => {
    const { alice, bob, roomId } = await knock(pair);
    await bob.leave(roomId);
    await seesMembership(alice, roomId, bob.userId, 'leave');
    assert.equal((await bob.sync()).rooms?.knock?.[roomId], undefined);
  },
  // Synapse tells nobody when one of its users takes back a knock.
  ['Synapse'],
);

story('a knock is refused, and so is the next, until the third is heard', async (pair) => {
  const { alice, bob, roomId } = await knock(pair);
  // Synapse does not tell the server of somebody whose knock is refused, nor does it listen: Bob tries again unasked.
  for (const _ of [1, 2]) {
    expectOk(await alice.post(path`/rooms/${roomId}/kick`, { user_id: bob.userId }));
    await seesMembership(alice, roomId, bob.userId, 'leave');
    await knockAgain(bob, roomId, pair.home);
    await seesMembership(alice, roomId, bob.userId, 'knock');
  }
  await alice.invite(roomId, bob.userId);
  await follows(bob, 'the invitation', (answer) => answer.rooms?.invite?.[roomId]);
  await bob.join(roomId);
  await seesMembership(alice, roomId, bob.userId, 'join');
});

for (const roomVersion of ['8', '10', '11', '12']) {
  story(`a member of a space may join its room in version ${roomVersion}, others not`, async ({ home, away, tag }) => {
    const alice = await home.register(`alice-${tag}`);
    const bob = await away.register(`bob-${tag}`);
    const eve = await away.register(`eve-${tag}`);
    const spaceId = await alice.createRoom({
      preset: 'public_chat',
      room_version: roomVersion,
      creation_content: { type: 'm.space' },
    });
    const roomId = await alice.createRoom({
      preset: 'private_chat',
      room_version: roomVersion,
      initial_state: [
        {
          type: 'm.room.join_rules',
          state_key: '',
          content: { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: spaceId }] },
        },
      ],
    });
    await joinVia(bob, spaceId, home);
    await joinVia(bob, roomId, home);
    const member = await seesMembership(alice, roomId, bob.userId, 'join');
    assert.equal(member.join_authorised_via_users_server, alice.userId);
    await bob.send(roomId, 'I am of the house');
    await hears(alice, roomId, 'I am of the house');
    const refused = await eve.request('POST', path`/join/${roomId}`, {
      body: {},
      query: { server_name: home.serverName, via: home.serverName },
    });
    assert.equal(refused.status, 403, JSON.stringify(refused.body));
    // Eve’s server has somebody in the room by now, which does not make her a member of the space.
    await joinVia(eve, spaceId, home);
    await joinVia(eve, roomId, home);
    await seesMembership(alice, roomId, eve.userId, 'join');
  });
}

story('a room is upgraded and its people follow', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const oldId = await alice.createRoom({ preset: 'public_chat', room_version: '10', name: 'Old hall' });
  await joinVia(bob, oldId, home);
  await seesMembership(alice, oldId, bob.userId, 'join');
  const { replacement_room: newId } = expectOk(await alice.post(path`/rooms/${oldId}/upgrade`, { new_version: '12' }));
  const tombstone = await eventually('the tombstone', () => stateOf(bob, oldId, 'm.room.tombstone'));
  assert.equal(tombstone.replacement_room, newId);
  await joinVia(bob, newId, home);
  assert.deepEqual(await stateOf(bob, newId, 'm.room.name'), { name: 'Old hall' });
  assert.equal((await stateOf(bob, newId, 'm.room.create')).predecessor.room_id, oldId);
});
