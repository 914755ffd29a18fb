import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectError, expectOk, type TestClient } from '../kit/test-client.ts';
import { eventually, onNetwork } from '../kit/test-network.ts';
import { listEvents, listSaid, membershipOf, roomPath, untilAgreed, untilMember, untilSaid } from './room-view.ts';

const THREE = ['home.test', 'away.test', 'third.test'] as const;

function joinPath(roomId: string): string {
  return `/_matrix/client/v3/join/${encodeURIComponent(roomId)}?via=home.test`;
}

/** Everybody joins a room and sees everybody there. */
async function gather(roomId: string, people: readonly TestClient[], others: readonly TestClient[]): Promise<void> {
  for (const who of others) expectOk(await who.post(joinPath(roomId)));
  for (const who of others) await untilMember(people, roomId, who.userId, 'join');
}

for (const version of ['6', '10', '12']) {
  test(
    `what a banned user says before they hear of it is not heard where they are banned (room version ${version})`,
    onNetwork(THREE, async ([home, away, third], network) => {
      const alice = await home.register('alice');
      const bob = await away.register('bob');
      const carol = await third.register('carol');
      const roomId = await alice.createRoom({ preset: 'public_chat', room_version: version });
      await gather(roomId, [alice, bob, carol], [bob, carol]);

      network.isolate(away);
      const banId = expectOk(await alice.post(roomPath(roomId, 'ban'), { user_id: bob.userId, reason: 'Noise' }));
      assert.deepEqual(banId, {});
      await untilMember([alice, carol], roomId, bob.userId, 'ban');
      const late = await bob.send(roomId, 'You will never hear this');
      await bob.setState(roomId, 'm.room.member', { membership: 'join', displayname: 'Loud Bob' }, bob.userId);
      await alice.send(roomId, 'Quiet now');
      await untilSaid([carol], roomId, ['Quiet now']);
      network.mendAll();

      await untilMember([bob], roomId, bob.userId, 'ban');
      await alice.send(roomId, 'At last');
      await carol.send(roomId, 'Indeed');
      await untilSaid([alice, carol], roomId, ['Quiet now', 'At last', 'Indeed']);
      await untilAgreed([alice, carol], roomId);
      assert.equal(await membershipOf(carol, roomId, bob.userId), 'ban');
      for (const who of [alice, carol]) {
        assert.ok(!(await listEvents(who, roomId)).some(({ event_id }) => event_id === late));
        expectError(await who.get(roomPath(roomId, `event/${late}`)), 404, 'M_NOT_FOUND');
      }
      expectError(await bob.post(joinPath(roomId)), 403, 'M_FORBIDDEN');

      expectOk(await alice.post(roomPath(roomId, 'unban'), { user_id: bob.userId }));
      await untilMember([alice, carol], roomId, bob.userId, 'leave');
      expectOk(await bob.post(joinPath(roomId)));
      await untilMember([alice, bob, carol], roomId, bob.userId, 'join');
      await bob.send(roomId, 'Sorry');
      await untilSaid([alice, carol], roomId, ['Quiet now', 'At last', 'Indeed', 'Sorry']);
      await untilAgreed([alice, bob, carol], roomId);
    }),
  );
}

test(
  'who is banned by one and named moderator by another during a cut ends up the same everywhere',
  onNetwork(THREE, async ([home, away, third], network) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const carol = await third.register('carol');
    const roomId = await alice.createRoom({ preset: 'public_chat', room_version: '10' });
    await gather(roomId, [alice, bob, carol], [bob, carol]);
    const levels = expectOk(await alice.get(roomPath(roomId, 'state/m.room.power_levels/')));
    await alice.setState(roomId, 'm.room.power_levels', { ...levels, users: { ...levels.users, [bob.userId]: 100 } });
    await untilAgreed([alice, bob, carol], roomId);

    network.cut(home, away);
    network.cut(home, third);
    network.cut(away, third);
    expectOk(await alice.post(roomPath(roomId, 'ban'), { user_id: carol.userId }));
    await bob.setState(roomId, 'm.room.power_levels', {
      ...levels,
      users: { ...levels.users, [bob.userId]: 100, [carol.userId]: 50 },
    });
    await carol.send(roomId, 'Still here?');
    network.mendAll();

    await untilMember([carol], roomId, carol.userId, 'ban');
    await alice.send(roomId, 'Once more');
    await bob.send(roomId, 'Together');
    await untilSaid([alice], roomId, ['Once more', 'Together']);
    const state = await untilAgreed([alice, bob], roomId);
    assert.ok(state['m.room.power_levels '] !== undefined);
    assert.equal(await membershipOf(bob, roomId, carol.userId), 'ban');
  }),
);

test(
  'a server that the room shuts out is heard no more: neither what it says nor that it types or reads',
  onNetwork(THREE, async ([home, away, third]) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const carol = await third.register('carol');
    const roomId = await alice.createRoom({ preset: 'public_chat' });
    await gather(roomId, [alice, bob, carol], [bob, carol]);
    const seen = await alice.send(roomId, 'Seen by all');
    await untilSaid([bob, carol], roomId, ['Seen by all']);
    await alice.setState(roomId, 'm.room.server_acl', { allow: ['*'], deny: ['away.*'], allow_ip_literals: true });
    await untilAgreed([alice, carol], roomId);
    const { next_batch: since } = await alice.sync();

    await bob.send(roomId, 'Can you hear me?');
    expectOk(
      await bob.put(roomPath(roomId, `typing/${encodeURIComponent(bob.userId)}`), { typing: true, timeout: 30_000 }),
    );
    expectOk(await bob.post(roomPath(roomId, `receipt/m.read/${encodeURIComponent(seen)}`), {}));
    // What else comes from that server after all this has come: it was not only late.
    const open = await alice.createRoom({ preset: 'public_chat' });
    await gather(open, [alice, bob], [bob]);
    await bob.send(open, 'Here I may speak');
    await untilSaid([alice], open, ['Here I may speak']);
    expectOk(
      await bob.post(
        roomPath(open, `receipt/m.read/${encodeURIComponent((await listEvents(bob, open)).at(-1)?.event_id)}`),
      ),
    );
    const news = await eventually('a receipt of the open room', async () => {
      const answer = await alice.sync({ since });
      return (
        answer.rooms.join[open].ephemeral.events.some(({ type }: { type: string }) => type === 'm.receipt') && answer
      );
    });
    assert.deepEqual(news.rooms.join[roomId]?.ephemeral.events ?? [], []);

    await carol.send(roomId, 'Peace');
    await untilSaid([alice, carol], roomId, ['Seen by all', 'Peace']);
    assert.ok(!(await listSaid(bob, roomId)).includes('Peace'), 'nor is anything told to it');
    const other = await alice.createRoom({
      preset: 'public_chat',
      initial_state: [{ type: 'm.room.server_acl', content: { allow: ['*.test'], deny: ['away.test'] } }],
    });
    expectError(await bob.post(joinPath(other)), 403, 'M_FORBIDDEN');
    expectOk(await carol.post(joinPath(other)));

    // Let in again it is heard, and catches up.
    await alice.setState(roomId, 'm.room.server_acl', { allow: ['*'], deny: [], allow_ip_literals: true });
    await alice.send(roomId, 'Back to normal');
    await eventually('Bob hears again', async () => (await listSaid(bob, roomId)).includes('Back to normal'));
    await bob.send(roomId, 'Thanks');
    await eventually('Alice hears Bob', async () => (await listSaid(alice, roomId)).includes('Thanks'));
    await eventually('Carol hears Bob', async () => (await listSaid(carol, roomId)).includes('Thanks'));
    await untilAgreed([alice, bob, carol], roomId);
  }),
);

test(
  'who is thrown out may come back where anyone may',
  onNetwork(['home.test', 'away.test'], async ([home, away]) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const roomId = await alice.createRoom({ preset: 'public_chat' });
    await gather(roomId, [alice, bob], [bob]);
    const { next_batch: since } = await bob.sync();
    expectOk(await alice.post(roomPath(roomId, 'kick'), { user_id: bob.userId, reason: 'Out' }));
    const left = await eventually('Bob is out', async () => (await bob.sync({ since })).rooms?.leave?.[roomId]);
    assert.equal(left.timeline.events.at(-1).content.reason, 'Out');
    expectError(
      await bob.put(roomPath(roomId, 'send/m.room.message/out'), { body: 'x', msgtype: 'm.text' }),
      403,
      'M_FORBIDDEN',
    );
    expectOk(await bob.post(joinPath(roomId)));
    await untilMember([alice, bob], roomId, bob.userId, 'join');
    await untilAgreed([alice, bob], roomId);
  }),
);
