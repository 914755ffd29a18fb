import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { eventually, onNetwork } from '../kit/test-network.ts';
import { getState, listEvents, listSaid, roomPath, untilAgreed, untilMember, untilSaid } from './room-view.ts';

const TWO = ['home.test', 'away.test'] as const;

function joinPath(roomId: string): string {
  return `/_matrix/client/v3/join/${encodeURIComponent(roomId)}?via=home.test`;
}

async function meet(alice: TestClient, bob: TestClient, options: Json = {}): Promise<string> {
  const roomId = await alice.createRoom({ preset: 'public_chat', ...options });
  expectOk(await bob.post(joinPath(roomId)));
  await untilMember([alice, bob], roomId, bob.userId, 'join');
  return roomId;
}

for (const [from, to] of [
  ['6', '11'],
  ['10', '12'],
] as const) {
  test(
    `a room is replaced by one of version ${to}, and people of the other server move there from version ${from}`,
    onNetwork(TWO, async ([home, away]) => {
      const alice = await home.register('alice');
      const bob = await away.register('bob');
      const old = await meet(alice, bob, { room_version: from, name: 'Parlour', room_alias_name: 'parlour' });
      await bob.send(old, 'Cosy');
      await untilSaid([alice], old, ['Cosy']);
      const levels = expectOk(await alice.get(roomPath(old, 'state/m.room.power_levels/')));
      await alice.setState(old, 'm.room.power_levels', { ...levels, users: { ...levels.users, [bob.userId]: 50 } });
      await eventually('Bob has power', async () => {
        const { body } = await getState(bob, old, 'm.room.power_levels');
        return body.users[bob.userId] === 50;
      });

      const { replacement_room: replacement } = expectOk(
        await alice.post(roomPath(old, 'upgrade'), { new_version: to }),
      );
      const tombstone = await eventually('Bob sees that the room was replaced', async () => {
        const { status, body } = await getState(bob, old, 'm.room.tombstone');
        return status === 200 && body;
      });
      assert.equal(tombstone.replacement_room, replacement);
      const refused = await bob.put(roomPath(old, 'send/m.room.message/late'), {
        msgtype: 'm.text',
        body: 'Still here',
      });
      const isMute = expectOk(await getState(bob, old, 'm.room.power_levels')).events_default > 0;
      assert.equal(refused.status, isMute ? 200 : 403, 'moderators may still speak there');

      expectOk(await bob.post(joinPath(replacement)));
      await untilMember([alice, bob], replacement, bob.userId, 'join');
      const create = expectOk(await bob.get(roomPath(replacement, 'state'))).find(
        ({ type }: Json) => type === 'm.room.create',
      );
      assert.equal(create.content.room_version, to);
      assert.equal(create.content.predecessor.room_id, old);
      assert.equal(expectOk(await getState(bob, replacement, 'm.room.name')).name, 'Parlour');
      assert.equal(expectOk(await getState(bob, replacement, 'm.room.power_levels')).users[bob.userId], 50);
      const alias = `/_matrix/client/v3/directory/room/${encodeURIComponent('#parlour:home.test')}`;
      assert.equal(expectOk(await bob.get(alias)).room_id, replacement);
      await bob.send(replacement, 'Roomy');
      await untilSaid([alice], replacement, ['Roomy']);
      await untilAgreed([alice, bob], replacement);
      await untilAgreed([alice, bob], old);
    }),
  );
}

test(
  'whoever erased their account is not read any more by those who come later, from another server either',
  onNetwork(TWO, async ([home, away], network) => {
    // Bob's server will not be there to tell its keys.
    const third = await network.startServer('third.test', { trusted_key_servers: [{ server_name: 'home.test' }] });
    const alice = await home.register('alice');
    const dave = await home.register('dave');
    const bob = await away.register('bob');
    const carol = await third.register('carol');
    const roomId = await meet(dave, bob);
    await alice.join(roomId);
    await alice.send(roomId, 'My secrets');
    await dave.send(roomId, 'My weather');
    await untilSaid([bob], roomId, ['My secrets', 'My weather']);
    await untilMember([bob], roomId, alice.userId, 'join');

    expectOk(
      await alice.post('/_matrix/client/v3/account/deactivate', {
        auth: {
          type: 'm.login.password',
          identifier: { type: 'm.id.user', user: 'alice' },
          password: 'password of alice',
        },
        erase: true,
      }),
    );
    await untilMember([dave, bob], roomId, alice.userId, 'leave');
    assert.equal((await bob.get(`/_matrix/client/v3/profile/${encodeURIComponent(alice.userId)}`)).status, 404);
    assert.deepEqual(await listSaid(bob, roomId), ['My secrets', 'My weather'], 'who has read it has read it');

    // Without Bob's server there is only hers to ask.
    await away.end();
    expectOk(await carol.post(joinPath(roomId)));
    assert.deepEqual(await listSaid(carol, roomId), ['(redacted)', 'My weather']);
    assert.ok(!JSON.stringify(await listEvents(carol, roomId)).includes('secrets'));
    await untilAgreed([dave, carol], roomId);
  }),
);

test(
  'what only members may know of a room is not known to others, and what anybody may read is',
  onNetwork(TWO, async ([home, away]) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const roomId = await meet(alice, bob, {
      initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'invited' } }],
    });
    const carol = await away.register('carol');
    await alice.send(roomId, 'Before Carol was asked');
    await untilSaid([bob], roomId, ['Before Carol was asked']);
    await alice.invite(roomId, carol.userId);
    await untilMember([bob, alice], roomId, carol.userId, 'invite');
    await alice.send(roomId, 'After Carol was asked');
    await untilSaid([bob], roomId, ['Before Carol was asked', 'After Carol was asked']);
    await carol.join(roomId);
    await untilMember([alice], roomId, carol.userId, 'join');
    await untilSaid([carol], roomId, ['After Carol was asked']);
    await alice.setState(roomId, 'm.room.history_visibility', { history_visibility: 'joined' });
    await untilAgreed([alice, bob, carol], roomId);
    await carol.leave(roomId);
    await untilMember([alice], roomId, carol.userId, 'leave');
    await alice.send(roomId, 'Carol is gone');
    await untilSaid([bob], roomId, ['Before Carol was asked', 'After Carol was asked', 'Carol is gone']);
    assert.deepEqual(await listSaid(carol, roomId), ['After Carol was asked']);
  }),
);
