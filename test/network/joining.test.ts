import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectError, expectOk } from '../kit/test-client.ts';
import { eventually, onNetwork } from '../kit/test-network.ts';
import { listEvents, listSaid, membershipOf, roomPath, untilAgreed, untilMember, untilSaid } from './room-view.ts';

test(
  'two people on two servers meet in a room by its alias and talk',
  onNetwork(['home.test', 'away.test'], async ([home, away]) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const roomId = await alice.createRoom({ preset: 'public_chat', room_alias_name: 'garden', name: 'Garden' });
    await alice.send(roomId, 'Is anybody there?');

    assert.equal(await bob.join('#garden:home.test'), roomId);
    await alice.send(roomId, 'Welcome!');
    await eventually('Bob is welcome', async () => (await listSaid(bob, roomId)).includes('Welcome!'));
    await bob.send(roomId, 'Nice to be here');

    const said = ['Is anybody there?', 'Welcome!', 'Nice to be here'];
    await eventually('Alice reads all', async () => (await listSaid(alice, roomId)).length === said.length);
    assert.deepEqual(await listSaid(alice, roomId), said);
    assert.deepEqual(await listSaid(bob, roomId), said);
  }),
);

test(
  'a room is joined by its ID through the servers that a link names, and by nobody who names none that knows it',
  onNetwork(['home.test', 'away.test'], async ([home, away], network) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const dave = await away.register('dave');
    const roomId = await alice.createRoom({ preset: 'public_chat', room_version: '12' });

    const byId = `/_matrix/client/v3/join/${encodeURIComponent(roomId)}`;
    expectError(await bob.post(byId), 404, 'M_NOT_FOUND');
    const nobody = await bob.post(`${byId}?via=nowhere.test`);
    assert.ok(nobody.status >= 400, 'a server that does not exist lets nobody in');
    // The first of them does not answer; that is what there are several for.
    expectOk(await bob.post(`${byId}?via=nowhere.test&via=home.test`));
    await untilMember([alice], roomId, bob.userId, 'join');

    // Once their server is in the room no other is needed.
    network.cut(home, away);
    expectOk(await dave.post(byId));
    await dave.send(roomId, 'Here I am');
    network.mendAll();
    await untilMember([alice], roomId, dave.userId, 'join');
    await untilSaid([alice, bob], roomId, ['Here I am']);
    await untilAgreed([alice, bob, dave], roomId);
  }),
);

test(
  'who comes late reads back what was said before they came, as far as that is meant for them',
  onNetwork(['home.test', 'away.test'], async ([home, away]) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const open = await alice.createRoom({ preset: 'public_chat' });
    const closed = await alice.createRoom({
      preset: 'public_chat',
      initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'joined' } }],
    });
    const said = Array.from({ length: 130 }, (_, index) => `old ${index}`);
    let middle = '';
    let middleTime = 0;
    for (const body of said) {
      const eventId = await alice.send(open, body);
      if (body === 'old 60') {
        middle = eventId;
        middleTime = expectOk(await alice.get(roomPath(open, `event/${eventId}`))).origin_server_ts;
        // Another event at the same millisecond would be as near to it.
        await eventually('time goes on', () => Date.now() > middleTime + 1);
      }
    }
    await alice.send(closed, 'Only for us');

    for (const roomId of [open, closed]) {
      expectOk(await bob.post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}?via=home.test`));
    }
    assert.deepEqual(await listSaid(bob, open), said);
    const all = await listEvents(bob, open, 37);
    assert.equal(all[0]?.type, 'm.room.create');
    assert.deepEqual(
      all.map(({ event_id }) => event_id),
      (await listEvents(alice, open)).map(({ event_id }) => event_id),
    );
    assert.deepEqual(await listSaid(bob, closed), []);
    await alice.send(closed, 'For Bob too');
    await untilSaid([bob], closed, ['For Bob too']);

    const near = expectOk(
      await bob.get(`/_matrix/client/v1/rooms/${encodeURIComponent(open)}/timestamp_to_event`, {
        ts: middleTime,
        dir: 'f',
      }),
    );
    assert.deepEqual(near, { event_id: middle, origin_server_ts: middleTime });
  }),
);

test(
  'a moment before somebody came is found by asking the servers that were there',
  onNetwork(['home.test', 'away.test'], async ([home, away]) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const roomId = await alice.createRoom({ preset: 'public_chat' });
    const first = await alice.send(roomId, 'The very first');
    for (let count = 0; count < 60; count += 1) await alice.send(roomId, `later ${count}`);
    expectOk(await bob.post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}?via=home.test`));

    const { origin_server_ts: ts } = expectOk(await alice.get(roomPath(roomId, `event/${first}`)));
    const path = `/_matrix/client/v1/rooms/${encodeURIComponent(roomId)}/timestamp_to_event`;
    const found = expectOk(await bob.get(path, { ts, dir: 'f' }));
    assert.equal(found.origin_server_ts, ts);
    const context = expectOk(await bob.get(roomPath(roomId, `context/${found.event_id}`), { limit: 10 }));
    const around = [...context.events_before, context.event, ...context.events_after];
    assert.ok(around.some(({ event_id }) => event_id === first));
    expectError(await bob.get(path, { ts: ts - 10_000_000, dir: 'b' }), 404, 'M_NOT_FOUND');
  }),
);

test(
  'somebody leaves, misses what is said, comes back, and reads what they may',
  onNetwork(['home.test', 'away.test'], async ([home, away]) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const roomId = await alice.createRoom({ preset: 'public_chat' });
    const join = async (): Promise<void> => {
      expectOk(await bob.post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}?via=home.test`));
      await untilMember([alice, bob], roomId, bob.userId, 'join');
    };
    await join();
    await bob.send(roomId, 'Hello');
    await untilSaid([alice], roomId, ['Hello']);
    const { next_batch: since } = await bob.sync();
    await bob.leave(roomId);
    await untilMember([alice], roomId, bob.userId, 'leave');
    const left = await bob.sync({ since });
    assert.ok(left.rooms.leave[roomId]);
    await alice.send(roomId, 'Is he gone?');
    await alice.setState(roomId, 'm.room.topic', { topic: 'Bob' });

    // Nothing of that reaches a server that has left; what it had is still there.
    assert.deepEqual(await listSaid(bob, roomId), ['Hello']);
    expectError(await bob.get(roomPath(roomId, 'joined_members')), 403, 'M_FORBIDDEN');

    await join();
    await alice.send(roomId, 'He is back');
    await untilSaid([alice, bob], roomId, ['Hello', 'Is he gone?', 'He is back']);
    await untilAgreed([alice, bob], roomId);
    const back = await bob.sync({ since: left.next_batch });
    const topic = back.rooms.join[roomId].state.events
      .concat(back.rooms.join[roomId].timeline.events)
      .find(({ type }: { type: string }) => type === 'm.room.topic');
    assert.equal(topic?.content.topic, 'Bob');
  }),
);

test(
  'a third server comes into a room through the second when the first is gone for good',
  onNetwork(['home.test', 'away.test'], async ([home, away], network) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    // Whoever cannot ask the first for its keys any more needs somebody to believe in what they were.
    const third = await network.startServer('third.test', { trusted_key_servers: [{ server_name: 'away.test' }] });
    const carol = await third.register('carol');
    const roomId = await alice.createRoom({ preset: 'public_chat' });
    expectOk(await bob.post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}?via=home.test`));
    await alice.send(roomId, 'I shall not be here for long');
    await untilSaid([bob], roomId, ['I shall not be here for long']);
    await home.end();

    const path = `/_matrix/client/v3/join/${encodeURIComponent(roomId)}`;
    expectOk(await carol.post(`${path}?via=home.test&via=away.test`));
    await untilMember([bob], roomId, carol.userId, 'join');
    await carol.send(roomId, 'Am I too late?');
    await untilSaid([bob], roomId, ['I shall not be here for long', 'Am I too late?']);
    await untilAgreed([bob, carol], roomId);
    assert.equal(await membershipOf(carol, roomId, alice.userId), 'join');
    assert.equal((await listEvents(carol, roomId))[0]?.type, 'm.room.create', 'all of the past can be had');
  }),
);
