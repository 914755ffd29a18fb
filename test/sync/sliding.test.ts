import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectError, expectOk, type Json } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { allRooms, said, slide, SLIDING_PATH, stateOf } from './sliding-kit.ts';

test('a list shows the most recently active rooms, grows, and then tells only what changed', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const rooms: string[] = [];
  for (let n = 0; n < 5; n += 1) rooms.push(await alice.createRoom({ name: `Room ${n}` }));
  await alice.send(rooms[0] ?? '', 'the oldest room wakes up');

  const first = await slide(alice, allRooms({ ranges: [[0, 1]], timeline_limit: 1 }));
  assert.equal(first.lists.all.count, 5);
  assert.deepEqual(new Set(Object.keys(first.rooms)), new Set([rooms[0], rooms[4]]));
  const told = first.rooms[rooms[0] ?? ''];
  assert.equal(told.initial, true);
  assert.equal(told.name, 'Room 0');
  assert.equal(told.membership, 'join');
  assert.deepEqual(told.lists, ['all']);
  assert.deepEqual(said(told), ['the oldest room wakes up']);
  assert.equal(told.limited, true);
  assert.equal(told.num_live, 0);
  assert.equal(told.joined_count, 1);
  assert.equal(told.invited_count, 0);
  assert.equal(told.notification_count, 0);

  const grown = await slide(alice, allRooms({ ranges: [[0, 9]], timeline_limit: 1 }), { pos: first.pos });
  assert.deepEqual(new Set(Object.keys(grown.rooms)), new Set([rooms[1], rooms[2], rooms[3]]));
  await alice.send(rooms[2] ?? '', 'news');
  const next = await slide(alice, allRooms({ ranges: [[0, 9]], timeline_limit: 1 }), { pos: grown.pos });
  assert.deepEqual(Object.keys(next.rooms), [rooms[2]]);
  const changed = next.rooms[rooms[2] ?? ''];
  assert.equal(changed.initial, undefined);
  assert.equal(changed.name, undefined);
  assert.deepEqual(said(changed), ['news']);
  assert.equal(changed.limited, false);
  assert.equal(changed.num_live, 1);
  assert.ok(changed.bump_stamp > told.bump_stamp);
  const quiet = await slide(alice, allRooms({ ranges: [[0, 9]], timeline_limit: 1 }), { pos: next.pos });
  assert.deepEqual(quiet.rooms, {});
});

test('an answer that was lost can be asked for again, and older positions are known no more', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const room = await alice.createRoom();
  const first = await slide(alice, allRooms());
  await alice.send(room, 'one');
  const other = await alice.createRoom();
  const lost = await slide(alice, allRooms(), { pos: first.pos });
  assert.deepEqual(new Set(Object.keys(lost.rooms)), new Set([room, other]));
  const again = await slide(alice, allRooms(), { pos: first.pos });
  assert.deepEqual(said(again.rooms[room]), ['one']);
  assert.equal(again.rooms[other].initial, true);
  const third = await alice.createRoom();
  const next = await slide(alice, allRooms(), { pos: again.pos });
  assert.deepEqual(Object.keys(next.rooms), [third]);
  const refused = await alice.request('POST', SLIDING_PATH, { query: { pos: first.pos }, body: allRooms() });
  expectError(refused, 400, 'M_UNKNOWN_POS');
});

test('positions belong to one connection of one device', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const phone = await server.login('alice');
  const bob = await server.register('bob');
  await alice.createRoom();
  const { pos } = await slide(alice, allRooms({}, { conn_id: 'main' }));
  for (const [client, conn] of [
    [alice, 'other'],
    [phone, 'main'],
    [bob, 'main'],
  ] as const) {
    const answer = await client.request('POST', SLIDING_PATH, {
      query: { pos },
      body: allRooms({}, { conn_id: conn }),
    });
    expectError(answer, 400, 'M_UNKNOWN_POS');
  }
  for (const junk of ['', 'x', 's1', 's1_00', `${pos}9`, '1/2/3']) {
    const answer = await alice.request('POST', SLIDING_PATH, {
      query: { pos: junk },
      body: allRooms({}, { conn_id: 'main' }),
    });
    expectError(answer, 400, 'M_UNKNOWN_POS');
  }
  await slide(alice, allRooms({}, { conn_id: 'main' }), { pos });
});

test('a connection goes on after the server was restarted', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const near = await alice.createRoom();
  const far = await alice.createRoom();
  await alice.send(near, 'hello');
  const first = await slide(alice, allRooms({ ranges: [[0, 0]] }));
  await server.restart();
  const second = await slide(alice, allRooms({ ranges: [[0, 1]] }), { pos: first.pos });
  assert.deepEqual(Object.keys(second.rooms), [far]);
  await alice.send(near, 'still here');
  await server.restart();
  const third = await slide(alice, allRooms({ ranges: [[0, 1]] }), { pos: second.pos });
  assert.deepEqual(Object.keys(third.rooms), [near]);
  assert.deepEqual(said(third.rooms[near]), ['still here']);
  assert.equal(third.rooms[near].initial, undefined);
});

test('a room that is out of sight for a while is told from where it was left', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const quiet = await alice.createRoom({ preset: 'public_chat' });
  await bob.join(quiet);
  const busy = await alice.createRoom();
  const wide = allRooms({ ranges: [[0, 1]] });
  const subscribed = { room_subscriptions: { [busy]: { required_state: [], timeline_limit: 10 } } };
  const first = await slide(alice, wide);
  await alice.setState(quiet, 'm.room.topic', { topic: 'unseen' });
  await alice.send(quiet, 'unseen');
  const narrow = await slide(alice, subscribed, { pos: first.pos });
  assert.deepEqual(narrow.rooms, {});
  await alice.send(busy, 'seen');
  const still = await slide(alice, subscribed, { pos: narrow.pos });
  assert.deepEqual(Object.keys(still.rooms), [busy]);
  const back = await slide(alice, wide, { pos: still.pos });
  assert.deepEqual(Object.keys(back.rooms), [quiet]);
  assert.deepEqual(said(back.rooms[quiet]), ['m.room.topic', 'unseen']);
  assert.equal(back.rooms[quiet].initial, undefined);
  // What came before the last position is not news, however new it is to the client.
  assert.equal(back.rooms[quiet].num_live, 0);
});

test('who asks for more of a room is told more of it at once', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const room = await alice.createRoom({ name: 'Kitchen', topic: 'Cakes' });
  for (const text of ['one', 'two', 'three']) await alice.send(room, text);
  const small = allRooms({ timeline_limit: 1, required_state: [['m.room.name', '']] });
  const first = await slide(alice, small);
  assert.deepEqual(said(first.rooms[room]), ['three']);
  assert.deepEqual(stateOf(first.rooms[room]), ['m.room.name/']);
  const open = {
    ...small,
    room_subscriptions: { [room]: { timeline_limit: 3, required_state: [['m.room.topic', '']] } },
  };
  const opened = await slide(alice, open, { pos: first.pos, timeout: 10_000 });
  assert.deepEqual(said(opened.rooms[room]), ['one', 'two', 'three']);
  assert.equal(opened.rooms[room].unstable_expanded_timeline, true);
  assert.equal(opened.rooms[room].expanded_timeline, true);
  assert.equal(opened.rooms[room].initial, undefined);
  assert.equal(opened.rooms[room].num_live, 0);
  assert.deepEqual(stateOf(opened.rooms[room]), ['m.room.topic/']);
  assert.deepEqual((await slide(alice, open, { pos: opened.pos })).rooms, {});
});

test('members are told as the timeline needs them, each once', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const carol = await server.register('carol');
  const room = await alice.createRoom({ preset: 'public_chat' });
  await bob.join(room);
  await carol.join(room);
  await bob.send(room, 'from Bob');
  const body = allRooms({
    timeline_limit: 1,
    required_state: [
      ['m.room.member', '$LAZY'],
      ['m.room.member', '$ME'],
    ],
  });
  const first = await slide(alice, body);
  assert.deepEqual(stateOf(first.rooms[room]), [`m.room.member/${alice.userId}`, `m.room.member/${bob.userId}`]);
  await bob.send(room, 'from Bob again');
  const second = await slide(alice, body, { pos: first.pos });
  assert.deepEqual(stateOf(second.rooms[room]), []);
  await carol.send(room, 'from Carol');
  const third = await slide(alice, body, { pos: second.pos });
  assert.deepEqual(stateOf(third.rooms[room]), [`m.room.member/${carol.userId}`]);
  await bob.leave(room);
  const fourth = await slide(alice, body, { pos: third.pos });
  assert.deepEqual(stateOf(fourth.rooms[room]), [`m.room.member/${bob.userId}`]);
  assert.equal(fourth.rooms[room].joined_count, 2);
});

test('all state but the members, in either form of asking', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const room = await alice.createRoom({ preset: 'public_chat', name: 'Garden' });
  await bob.join(room);
  await alice.send(room, 'hello');
  const old = await slide(
    alice,
    allRooms({
      timeline_limit: 1,
      required_state: [
        ['*', '*'],
        ['m.room.member', '$LAZY'],
      ],
    }),
  );
  const types = stateOf(old.rooms[room]);
  assert.ok(types.includes('m.room.create/') && types.includes('m.room.name/'));
  assert.deepEqual(
    types.filter((key) => key.startsWith('m.room.member')),
    [`m.room.member/${alice.userId}`],
  );
  const modern = await slide(alice, {
    lists: {
      all: {
        range: [0, 9],
        timeline_limit: 1,
        required_state: { include: [{}], exclude: [{ type: 'm.room.create', state_key: '' }], lazy_members: true },
      },
    },
  });
  assert.deepEqual(
    stateOf(modern.rooms[room]),
    types.filter((key) => key !== 'm.room.create/'),
  );
});

test('an invitation shows what the room lets be seen, and becomes a room when it is accepted', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const first = await slide(bob, allRooms());
  const room = await alice.createRoom({ name: 'Attic', invite: [bob.userId] });
  const invited = await slide(bob, allRooms(), { pos: first.pos });
  const invitation = invited.rooms[room];
  assert.equal(invitation.initial, true);
  assert.equal(invitation.membership, 'invite');
  assert.equal(invitation.timeline, undefined);
  const types = invitation.invite_state.map((event: { type: string }) => event.type);
  assert.ok(types.includes('m.room.create') && types.includes('m.room.name') && types.includes('m.room.member'));
  assert.deepEqual(invitation.stripped_state, invitation.invite_state);
  assert.deepEqual((await slide(bob, allRooms(), { pos: invited.pos })).rooms, {});
  await bob.join(room);
  const joined = await slide(bob, allRooms(), { pos: invited.pos });
  assert.equal(joined.rooms[room].initial, true);
  assert.equal(joined.rooms[room].membership, 'join');
  assert.equal(joined.rooms[room].name, 'Attic');
});

test('leaving is told once, a refused invitation too, and a kick stays in the list', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const left = await alice.createRoom({ preset: 'public_chat' });
  const refused = await alice.createRoom({ invite: [bob.userId] });
  const kicked = await alice.createRoom({ preset: 'public_chat' });
  const revoked = await alice.createRoom({ invite: [bob.userId] });
  await bob.join(left);
  await bob.join(kicked);
  const body = allRooms({ required_state: [] });
  const first = await slide(bob, body);
  assert.equal(first.lists.all.count, 4);
  await bob.leave(left);
  await alice.send(left, 'after Bob has gone');
  await bob.leave(refused);
  for (const room of [kicked, revoked]) {
    expectOk(await alice.post(`/_matrix/client/v3/rooms/${encodeURIComponent(room)}/kick`, { user_id: bob.userId }));
  }
  await alice.send(kicked, 'after Bob was put out');
  const second = await slide(bob, body, { pos: first.pos });
  assert.deepEqual(new Set(Object.keys(second.rooms)), new Set([left, refused, kicked, revoked]));
  assert.equal(second.lists.all.count, 1);
  for (const room of Object.values<{ membership: string; timeline: { content: object }[] }>(second.rooms)) {
    assert.equal(room.membership, 'leave');
    assert.deepEqual(room.timeline.at(-1)?.content, { membership: 'leave' });
  }
  assert.deepEqual((await slide(bob, body, { pos: second.pos })).rooms, {});

  const fresh = await slide(bob, { ...body, conn_id: 'fresh' });
  assert.deepEqual(Object.keys(fresh.rooms), [kicked]);
  assert.equal(fresh.rooms[kicked].initial, true);
  assert.deepEqual(said(fresh.rooms[kicked]).at(-1), 'm.room.member');
  expectOk(await bob.post(`/_matrix/client/v3/rooms/${encodeURIComponent(kicked)}/forget`));
  const forgotten = await slide(bob, { ...body, conn_id: 'third' });
  assert.deepEqual([forgotten.rooms, forgotten.lists.all.count], [{}, 0]);

  await bob.join(left);
  const back = await slide(bob, body, { pos: second.pos });
  assert.equal(back.rooms[left].initial, true);
});

test('who subscribed to an invitation alone is told once that it is gone', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const room = await alice.createRoom({ invite: [bob.userId] });
  const body = { room_subscriptions: { [room]: { required_state: [], timeline_limit: 1 } } };
  const first = await slide(bob, body);
  assert.equal(first.rooms[room].membership, 'invite');
  await bob.leave(room);
  const second = await slide(bob, body, { pos: first.pos });
  assert.equal(second.rooms[room].membership, 'leave');
  assert.deepEqual((await slide(bob, body, { pos: second.pos })).rooms, {});
});

test('a subscription shows no room that the user never had a place in', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const open = await alice.createRoom({
    preset: 'public_chat',
    initial_state: [
      { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'world_readable' } },
    ],
  });
  const body = {
    room_subscriptions: {
      [open]: { required_state: [['*', '*']], timeline_limit: 10 },
      '!nowhere:hearth.test': { required_state: [], timeline_limit: 1 },
    },
  };
  assert.deepEqual((await slide(bob, body)).rooms, {});
});

test('a room without a name has heroes, and loses its name by a null', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  expectOk(await bob.put(`/_matrix/client/v3/profile/${bob.userId}/displayname`, { displayname: 'Bobby' }));
  const room = await alice.createRoom({ preset: 'public_chat', name: 'Named' });
  await bob.join(room);
  const first = await slide(alice, allRooms());
  assert.equal(first.rooms[room].heroes, undefined);
  await alice.setState(room, 'm.room.name', { name: '' });
  await alice.setState(room, 'm.room.avatar', { url: 'mxc://hearth.test/face' });
  const second = await slide(alice, allRooms(), { pos: first.pos });
  assert.equal(second.rooms[room].name, null);
  assert.equal(second.rooms[room].avatar, 'mxc://hearth.test/face');
  assert.deepEqual(second.rooms[room].heroes, [{ user_id: bob.userId, displayname: 'Bobby' }]);
  await alice.send(room, 'hello');
  const third = await slide(alice, allRooms(), { pos: second.pos });
  assert.deepEqual(
    [third.rooms[room].name, third.rooms[room].avatar, third.rooms[room].heroes],
    [undefined, undefined, undefined],
  );
});

test('direct messages are told apart, also when they become so later', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const direct = await alice.createRoom();
  const plain = await alice.createRoom();
  const setDirect = async (rooms: string[]): Promise<void> => {
    const path = `/_matrix/client/v3/user/${alice.userId}/account_data/m.direct`;
    expectOk(await alice.put(path, { '@bob:hearth.test': rooms, nonsense: 7 }));
  };
  await setDirect([direct]);
  const first = await slide(alice, allRooms());
  assert.equal(first.rooms[direct].is_dm, true);
  assert.equal(first.rooms[plain].is_dm, undefined);
  await setDirect([plain]);
  const second = await slide(alice, allRooms(), { pos: first.pos });
  assert.equal(second.rooms[direct].is_dm, false);
  assert.equal(second.rooms[plain].is_dm, true);
});

test('a request that is too much, or of a wrong form, is refused', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const list = { ranges: [[0, 1]], required_state: [], timeline_limit: 1 };
  const many = Object.fromEntries(Array.from({ length: 101 }, (_, n) => [`list${n}`, list]));
  const rooms = Object.fromEntries(Array.from({ length: 101 }, (_, n) => [`!${n}:hearth.test`, list]));
  expectError(await alice.post(SLIDING_PATH, { lists: many }), 400, 'M_INVALID_PARAM');
  expectError(await alice.post(SLIDING_PATH, { room_subscriptions: rooms }), 400, 'M_INVALID_PARAM');
  expectError(await alice.post(SLIDING_PATH, { lists: { a: { ...list, ranges: [[5, 1]] } } }), 400, 'M_INVALID_PARAM');
  expectError(await alice.post(SLIDING_PATH, { lists: { a: { ...list, timeline_limit: -1 } } }), 400, 'M_BAD_JSON');
  expectError(
    await alice.post(SLIDING_PATH, { lists: { a: { ...list, required_state: [['x']] } } }),
    400,
    'M_BAD_JSON',
  );
  // Each alone is not too long, but all together they are; the same one any number of times is not.
  const wish = (name: string): Json => Array.from({ length: 900 }, (_, n) => [`${name}${n}`.padEnd(200, 'x'), '']);
  const listsOf = (names: readonly string[]): Json =>
    Object.fromEntries(names.map((name, n) => [`list${n}`, { ...list, required_state: wish(name) }]));
  expectError(await alice.post(SLIDING_PATH, { lists: listsOf(['a', 'b']) }), 400, 'M_INVALID_PARAM');
  expectOk(await alice.post(SLIDING_PATH, { lists: listsOf(['a', 'a', 'a']) }));
  expectError(await alice.post(SLIDING_PATH, {}, { set_presence: 'asleep' }), 400, 'M_INVALID_PARAM');
  expectError(await alice.post(SLIDING_PATH, { set_presence: 'asleep' }), 400, 'M_INVALID_PARAM');
  expectError(await server.anonymous().post(SLIDING_PATH, {}), 401, 'M_MISSING_TOKEN');
});

test('being put out of a room that is out of sight is told with what was said before it', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const room = await alice.createRoom({ preset: 'public_chat' });
  const near = await alice.createRoom({ preset: 'public_chat' });
  await bob.join(room);
  await bob.join(near);
  const list = allRooms();
  const only = { room_subscriptions: { [near]: { required_state: [], timeline_limit: 1 } } };
  const first = await slide(bob, list);
  await alice.send(room, 'before');
  expectOk(await alice.post(`/_matrix/client/v3/rooms/${encodeURIComponent(room)}/kick`, { user_id: bob.userId }));
  await alice.setState(room, 'm.room.name', { name: 'Not for Bob' });
  const second = await slide(bob, only, { pos: first.pos });
  assert.deepEqual(second.rooms, {});
  await alice.send(near, 'here');
  const third = await slide(bob, only, { pos: second.pos });
  const fourth = await slide(bob, list, { pos: third.pos });
  const told = fourth.rooms[room];
  assert.deepEqual([told.membership, told.initial, told.name], ['leave', undefined, undefined]);
  assert.deepEqual(said(told), ['before', 'm.room.member']);
  assert.deepEqual(stateOf(told), [`m.room.member/${bob.userId}`]);
});

test('who leaves while only other rooms are asked about is told of it when the list is', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const room = await alice.createRoom();
  const other = await alice.createRoom();
  const only = { room_subscriptions: { [other]: { required_state: [], timeline_limit: 10 } } };
  const first = await slide(alice, allRooms());
  await alice.leave(room);
  const second = await slide(alice, only, { pos: first.pos });
  assert.deepEqual(second.rooms, {});
  await alice.send(other, 'here');
  const third = await slide(alice, only, { pos: second.pos });
  const fourth = await slide(alice, allRooms(), { pos: third.pos });
  assert.deepEqual(Object.keys(fourth.rooms), [room]);
  assert.equal(fourth.rooms[room].membership, 'leave');
});

test('a room that was left and joined again meanwhile is told anew', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const room = await alice.createRoom({ preset: 'public_chat' });
  await bob.join(room);
  const first = await slide(bob, allRooms());
  await bob.leave(room);
  await bob.join(room);
  const second = await slide(bob, allRooms(), { pos: first.pos });
  assert.equal(second.rooms[room].initial, true);
  assert.equal(second.rooms[room].membership, 'join');
});
