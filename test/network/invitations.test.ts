import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { eventually, onNetwork } from '../kit/test-network.ts';
import { getState, membershipOf, roomPath, untilAgreed, untilInvited, untilMember, untilSaid } from './room-view.ts';

const TWO = ['home.test', 'away.test'] as const;

/** Waits until somebody's client has a room among those left. */
async function untilLeft(who: TestClient, roomId: string, since: string): Promise<Json> {
  return eventually(
    `${who.userId} hears that it is over`,
    async () => (await who.sync({ since })).rooms?.leave?.[roomId],
  );
}

test(
  'an invitation shows what it is to, and who accepts it is in the room',
  onNetwork(TWO, async ([home, away]) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const roomId = await alice.createRoom({ preset: 'private_chat', name: 'Hut', topic: 'Warm', invite: [bob.userId] });
    const shown = await untilInvited(bob, roomId);
    assert.equal(shown['m.room.name']?.content.name, 'Hut');
    assert.equal(shown['m.room.create']?.sender, alice.userId);
    assert.equal(shown['m.room.join_rules']?.content.join_rule, 'invite');
    assert.equal(shown['m.room.member']?.content.membership, 'invite');
    await untilMember([alice], roomId, bob.userId, 'invite');
    expectError(await bob.get(roomPath(roomId, 'state')), 403, 'M_FORBIDDEN');

    await bob.join(roomId);
    await untilMember([alice, bob], roomId, bob.userId, 'join');
    await bob.send(roomId, 'Lovely');
    await untilSaid([alice, bob], roomId, ['Lovely']);
    await untilAgreed([alice, bob], roomId);
    assert.equal((await bob.sync()).rooms.invite?.[roomId], undefined);
  }),
);

test(
  'an invitation to a direct chat says so, in rooms of old and new versions',
  onNetwork(TWO, async ([home, away]) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    for (const room_version of ['1', '6', '11', '12']) {
      const roomId = await alice.createRoom({
        preset: 'trusted_private_chat',
        room_version,
        is_direct: true,
        invite: [bob.userId],
      });
      const shown = await untilInvited(bob, roomId);
      assert.equal(shown['m.room.member']?.content.is_direct, true, `room version ${room_version}`);
      await bob.join(roomId);
      // Trusted means as powerful as who made the room.
      await bob.setState(roomId, 'm.room.name', { name: `Ours in ${room_version}` });
      await eventually(
        `the name in version ${room_version}`,
        async () => (await getState(alice, roomId, 'm.room.name')).body.name === `Ours in ${room_version}`,
      );
      await untilAgreed([alice, bob], roomId);
    }
  }),
);

test(
  'who rejects an invitation is seen to have done so, and need not have reached anybody to be rid of it',
  onNetwork(TWO, async ([home, away], network) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const polite = await alice.createRoom({ preset: 'private_chat', invite: [bob.userId] });
    const hopeless = await alice.createRoom({ preset: 'private_chat', invite: [bob.userId] });
    for (const roomId of [polite, hopeless]) await untilInvited(bob, roomId);

    const { next_batch: since } = await bob.sync();
    await bob.leave(polite);
    await untilMember([alice], polite, bob.userId, 'leave');
    await untilLeft(bob, polite, since);

    network.cut(home, away);
    await bob.leave(hopeless);
    await untilLeft(bob, hopeless, since);
    assert.equal((await bob.sync()).rooms?.invite?.[hopeless], undefined);
    assert.equal(await membershipOf(alice, hopeless, bob.userId), 'invite');

    // The room is as it was: a new invitation comes through.
    network.mendAll();
    await alice.invite(polite, bob.userId);
    await untilInvited(bob, polite);
    await bob.join(polite);
    await untilAgreed([alice, bob], polite);
  }),
);

test(
  'a server that was down when an invitation was rejected hears of it when it is back, though both were started anew',
  onNetwork(TWO, async ([home, away]) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const declined = await alice.createRoom({ preset: 'private_chat', invite: [bob.userId] });
    const renewed = await alice.createRoom({ preset: 'private_chat', invite: [bob.userId] });
    for (const roomId of [declined, renewed]) await untilInvited(bob, roomId);

    await home.end();
    for (const roomId of [declined, renewed]) await bob.leave(roomId);
    assert.equal((await bob.sync()).rooms?.invite, undefined);
    await away.end();
    await home.begin();
    for (const roomId of [declined, renewed]) {
      assert.equal(await membershipOf(alice, roomId, bob.userId), 'invite');
    }
    await away.begin();
    away.wake();
    for (const roomId of [declined, renewed]) await untilMember([alice], roomId, bob.userId, 'leave');

    await alice.invite(renewed, bob.userId);
    await untilInvited(bob, renewed);
    await bob.join(renewed);
    await untilAgreed([alice, bob], renewed);
    assert.equal(await membershipOf(alice, declined, bob.userId), 'leave');
  }),
);

test(
  'an invitation that is taken back vanishes, and cannot be accepted any more',
  onNetwork(TWO, async ([home, away]) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const roomId = await alice.createRoom({ preset: 'private_chat', invite: [bob.userId] });
    await untilInvited(bob, roomId);
    const { next_batch: since } = await bob.sync();
    expectOk(await alice.post(roomPath(roomId, 'kick'), { user_id: bob.userId, reason: 'A mistake' }));
    const left = await untilLeft(bob, roomId, since);
    const last = [...left.state.events, ...left.timeline.events].findLast(({ type }) => type === 'm.room.member');
    assert.equal(last?.content.membership, 'leave');
    assert.equal(last?.sender, alice.userId);
    assert.equal((await bob.sync()).rooms?.invite?.[roomId], undefined);
    expectError(
      await bob.post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}?via=home.test`),
      403,
      'M_FORBIDDEN',
    );
  }),
);

test(
  'who may not be invited is not, and who invites to a server that does not answer is told',
  onNetwork(TWO, async ([home, away], network) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const roomId = await alice.createRoom({ preset: 'private_chat' });
    const invite = (userId: string): Promise<Json> => alice.post(roomPath(roomId, 'invite'), { user_id: userId });
    expectError(await invite('@nobody:away.test'), 404, 'M_NOT_FOUND');
    network.cut(home, away);
    const unreachable = await invite(bob.userId);
    assert.ok(unreachable.status >= 400, 'nobody took the invitation');
    assert.equal(await membershipOf(alice, roomId, bob.userId), undefined);
    network.mendAll();
    expectOk(await invite(bob.userId));
    await untilInvited(bob, roomId);
    await bob.join(roomId);
    await untilAgreed([alice, bob], roomId);
  }),
);

test(
  'people knock at a room of another server: one is let in, one is turned away, one thinks better of it',
  onNetwork(TWO, async ([home, away]) => {
    const alice = await home.register('alice');
    const [bob, carol, dave] = [
      await away.register('bob'),
      await away.register('carol'),
      await away.register('dave'),
    ] as const;
    const roomId = await alice.createRoom({
      preset: 'private_chat',
      name: 'Club',
      initial_state: [{ type: 'm.room.join_rules', content: { join_rule: 'knock' } }],
    });
    const since = new Map<string, string>();
    for (const who of [bob, carol, dave]) {
      const path = `/_matrix/client/v3/knock/${encodeURIComponent(roomId)}?via=home.test`;
      assert.equal(expectOk(await who.post(path, { reason: 'Let me in' })).room_id, roomId);
      await untilMember([alice], roomId, who.userId, 'knock');
      const sync = await eventually('the knock is on the list', async () => {
        const answer = await who.sync();
        return answer.rooms?.knock?.[roomId] && answer;
      });
      const shown: Json[] = sync.rooms.knock[roomId].knock_state.events;
      assert.equal(shown.find(({ type }) => type === 'm.room.name')?.content.name, 'Club');
      since.set(who.userId, sync.next_batch);
      expectError(await who.get(roomPath(roomId, 'state')), 403, 'M_FORBIDDEN');
    }

    await alice.invite(roomId, bob.userId);
    await untilInvited(bob, roomId);
    await bob.join(roomId);
    await untilMember([alice, bob], roomId, bob.userId, 'join');

    expectOk(await alice.post(roomPath(roomId, 'kick'), { user_id: carol.userId }));
    await untilLeft(carol, roomId, since.get(carol.userId) ?? '');
    await dave.leave(roomId);
    await untilLeft(dave, roomId, since.get(dave.userId) ?? '');
    await untilMember([alice, bob], roomId, dave.userId, 'leave');
    await untilMember([alice, bob], roomId, carol.userId, 'leave');
    for (const who of [carol, dave]) {
      const path = `/_matrix/client/v3/join/${encodeURIComponent(roomId)}?via=home.test`;
      expectError(await who.post(path), 403, 'M_FORBIDDEN');
    }
    await untilAgreed([alice, bob], roomId);
  }),
);

test(
  'a room for the members of another lets these in, and nobody else',
  onNetwork(TWO, async ([home, away]) => {
    const alice = await home.register('alice');
    const [bob, carol, dave] = [
      await away.register('bob'),
      await away.register('carol'),
      await away.register('dave'),
    ] as const;
    const space = await alice.createRoom({ preset: 'private_chat', creation_content: { type: 'm.space' } });
    const room = await alice.createRoom({
      preset: 'private_chat',
      room_version: '10',
      initial_state: [
        {
          type: 'm.room.join_rules',
          content: { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: space }] },
        },
      ],
    });
    const tryIt = (who: TestClient): Promise<Json> =>
      who.post(`/_matrix/client/v3/join/${encodeURIComponent(room)}?via=home.test`);
    for (const who of [bob, dave]) {
      await alice.invite(space, who.userId);
      await untilInvited(who, space);
      await who.join(space);
    }
    await untilMember([alice], space, bob.userId, 'join');
    await untilMember([alice], space, dave.userId, 'join');

    expectError(await tryIt(carol), 403, 'M_FORBIDDEN');
    expectOk(await tryIt(bob));
    await untilMember([alice, bob], room, bob.userId, 'join');
    const { body } = await getState(alice, room, 'm.room.member', bob.userId);
    assert.equal(body.join_authorised_via_users_server, alice.userId, 'somebody vouched who may invite');

    // Their own server is in the room by now, but has nobody who may invite: the other one has to vouch again.
    expectOk(await tryIt(dave));
    await untilMember([alice, bob], room, dave.userId, 'join');
    expectError(await tryIt(carol), 403, 'M_FORBIDDEN');

    // Who is asked in personally need not be in the other room.
    await alice.invite(room, carol.userId);
    await untilInvited(carol, room);
    expectOk(await tryIt(carol));
    await untilMember([alice, bob], room, carol.userId, 'join');
    await untilAgreed([alice, bob, carol, dave], room);
  }),
);
