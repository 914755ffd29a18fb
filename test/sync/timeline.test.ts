import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeviceId } from '../../server/matrix/identifiers.ts';
import { alice, bob, carol, openHousehold, syncOnce, told } from './household.ts';

test('a first sync gives the newest messages and the state before them', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice, { name: 'Kitchen' });
  for (let n = 1; n <= 12; n += 1) home.rooms.say(room, alice, `message ${n}`);

  const answer = await syncOnce(home.client(alice), { filter: { room: { timeline: { limit: 2 } } } });
  const { timeline, state } = answer.rooms.join[room];
  assert.deepEqual(told(timeline), ['message 11', 'message 12']);
  assert.equal(timeline.limited, true);
  assert.deepEqual(told(state).sort(), ['m.room.create', 'm.room.join_rules', 'm.room.member', 'm.room.name']);
  assert.deepEqual(answer.device_one_time_keys_count, {});
  assert.deepEqual(answer.device_unused_fallback_key_types, []);
});

test('ten messages are given where no filter says how many, and no more than the server allows where one does', async (t) => {
  const home = await openHousehold(t, { filterTimelineLimit: 15 });
  const room = home.rooms.create(alice);
  for (let n = 1; n <= 20; n += 1) home.rooms.say(room, alice, `message ${n}`);

  const plain = await syncOnce(home.client(alice));
  assert.equal(plain.rooms.join[room].timeline.events.length, 10);
  const greedy = await syncOnce(home.client(alice), { filter: { room: { timeline: { limit: 1_000 } } } });
  assert.equal(greedy.rooms.join[room].timeline.events.length, 15);
});

test('a room whose whole history fits is not limited, and has no state beside it', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  home.rooms.say(room, alice, 'hello');

  const { timeline, state } = (await syncOnce(home.client(alice))).rooms.join[room];
  assert.deepEqual(told(timeline), ['m.room.create', 'm.room.member', 'm.room.join_rules', 'hello']);
  assert.equal(timeline.limited, false);
  assert.deepEqual(state.events, []);
});

test('what was said since the last sync comes once, and rooms in which nothing happened are left out', async (t) => {
  const home = await openHousehold(t);
  const busy = home.rooms.create(alice);
  const quiet = home.rooms.create(alice);
  const client = home.client(alice);
  const first = await syncOnce(client);
  home.rooms.say(busy, alice, 'news');

  const second = await syncOnce(client, { since: first.next_batch });
  assert.deepEqual(Object.keys(second.rooms.join), [busy]);
  assert.deepEqual(told(second.rooms.join[busy].timeline), ['news']);
  assert.equal(second.rooms.join[busy].timeline.limited, false);
  assert.equal(second.rooms.join[quiet], undefined);

  const third = await syncOnce(client, { since: second.next_batch });
  assert.equal(third.rooms, undefined);
});

test('a gap is marked as limited, and its token leads back to what was left out', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const client = home.client(alice);
  const { next_batch: since } = await syncOnce(client);
  for (let n = 1; n <= 12; n += 1) home.rooms.say(room, alice, `message ${n}`);

  const { timeline } = (await syncOnce(client, { since })).rooms.join[room];
  assert.equal(timeline.limited, true);
  assert.equal(told(timeline)[0], 'message 3');
  const from = home.sync.tokens.parsePlace(timeline.prev_batch);
  const page = home.rooms.page({ roomId: room as never, from, direction: 'b', limit: 2 });
  assert.deepEqual(
    page.events.map((event) => event.content['body']),
    ['message 2', 'message 1'],
  );
});

test('the token of a sync leads forward from it in the timeline', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const { next_batch: token } = await syncOnce(home.client(alice));
  home.rooms.say(room, alice, 'after');
  const page = home.rooms.page({ roomId: room, from: home.sync.tokens.parsePlace(token), direction: 'f', limit: 9 });
  assert.deepEqual(
    page.events.map((event) => event.content['body']),
    ['after'],
  );
});

test('only the device that sent a message is told its transaction ID', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  home.rooms.member(room, bob, 'join');
  const transaction = { deviceId: 'PHONE' as DeviceId, transactionId: 'txn-1' };
  home.rooms.send({ roomId: room, sender: alice, type: 'm.room.message', content: { body: 'hi' }, transaction });

  const unsignedFor = async (user: typeof alice, device: string): Promise<Record<string, unknown>> =>
    (await syncOnce(home.client(user, { device }))).rooms.join[room].timeline.events.at(-1).unsigned;
  assert.equal((await unsignedFor(alice, 'PHONE'))['transaction_id'], 'txn-1');
  assert.equal((await unsignedFor(alice, 'LAPTOP'))['transaction_id'], undefined);
  assert.equal((await unsignedFor(bob, 'PHONE'))['transaction_id'], undefined);
});

test('a new member does not see what was said before they were in, where the room keeps that from them', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice, { historyVisibility: 'joined' });
  home.rooms.say(room, alice, 'secret');
  const client = home.client(bob);
  const { next_batch: since } = await syncOnce(client);
  home.rooms.member(room, bob, 'join');
  home.rooms.say(room, alice, 'welcome');

  for (const answer of [await syncOnce(client, { since }), await syncOnce(client)]) {
    const texts = told(answer.rooms.join[room].timeline);
    assert.equal(texts.at(-1), 'welcome');
    assert.ok(!texts.includes('secret'));
  }
});

test('more is loaded to make up for messages that may not be seen', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice, { historyVisibility: 'joined' });
  home.rooms.member(room, bob, 'join');
  for (let n = 1; n <= 4; n += 1) home.rooms.say(room, alice, `seen ${n}`);
  home.rooms.member(room, bob, 'leave');
  for (let n = 1; n <= 6; n += 1) home.rooms.say(room, alice, `hidden ${n}`);
  home.rooms.member(room, bob, 'join');

  const { timeline } = (await syncOnce(home.client(bob), { filter: { room: { timeline: { limit: 5 } } } })).rooms.join[
    room
  ];
  assert.deepEqual(told(timeline), ['seen 2', 'seen 3', 'seen 4', 'm.room.member', 'm.room.member']);
  assert.equal(timeline.limited, true);
});

test('state that is in force is shown even if it was set while the viewer was out', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice, { historyVisibility: 'joined' });
  home.rooms.member(room, bob, 'join');
  const client = home.client(bob);
  const { next_batch: since } = await syncOnce(client);
  home.rooms.member(room, bob, 'leave');
  home.rooms.say(room, alice, 'hidden');
  home.rooms.member(room, carol, 'join');
  home.rooms.member(room, bob, 'join');

  const { timeline } = (await syncOnce(client, { since })).rooms.join[room];
  const members = timeline.events.map((event: { state_key?: string }) => event.state_key);
  assert.ok(members.includes(carol));
  assert.ok(!told(timeline).includes('hidden'));
  assert.equal(timeline.limited, true);
});

test('a room joined since the last sync is news as a whole', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice, { name: 'Kitchen' });
  for (let n = 1; n <= 5; n += 1) home.rooms.say(room, alice, `message ${n}`);
  const client = home.client(bob);
  const { next_batch: since } = await syncOnce(client);
  home.rooms.member(room, bob, 'join');

  const filter = { room: { timeline: { limit: 3 } } };
  const joined = (await syncOnce(client, { since, filter })).rooms.join[room];
  assert.deepEqual(told(joined.timeline), ['message 4', 'message 5', 'm.room.member']);
  assert.equal(joined.timeline.limited, true);
  assert.deepEqual(told(joined.state).sort(), ['m.room.create', 'm.room.join_rules', 'm.room.member', 'm.room.name']);
});

test('messages of ignored users are left out, their state events are not', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  home.rooms.member(room, bob, 'join');
  const client = home.client(alice);
  home.rooms.say(room, bob, 'before');
  home.ignored.set(alice, new Set([bob]));
  const first = await syncOnce(client);
  assert.ok(!told(first.rooms.join[room].timeline).includes('before'));

  home.rooms.say(room, bob, 'annoying');
  const nothing = await syncOnce(client, { since: first.next_batch });
  assert.equal(nothing.rooms, undefined);

  home.rooms.state(room, bob, 'm.room.topic', { topic: 'mine' });
  const state = await syncOnce(client, { since: first.next_batch });
  assert.deepEqual(told(state.rooms.join[room].timeline), ['m.room.topic']);
});

test('a timeline limit of zero gives the state alone', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const filter = { room: { state: { types: ['m.room.member'] }, timeline: { limit: 0 } } };
  const joined = (await syncOnce(home.client(alice), { filter })).rooms.join[room];
  assert.deepEqual(joined.timeline.events, []);
  assert.deepEqual(told(joined.state), ['m.room.member']);
});

test('a filtered timeline is limited only if more would have got through', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  home.rooms.say(room, alice, 'the one');
  for (let n = 0; n < 12; n += 1) home.rooms.send({ roomId: room, sender: alice, type: 'org.filler', content: {} });
  const filter = { room: { timeline: { limit: 1, types: ['m.room.message'] } } };
  const { timeline } = (await syncOnce(home.client(alice), { filter })).rooms.join[room];
  assert.deepEqual(told(timeline), ['the one']);
  assert.equal(timeline.limited, false);
});

test('excluded rooms never appear', async (t) => {
  const home = await openHousehold(t, { excludedRooms: new Set(['!room1:hearth.test' as never]) });
  home.rooms.create(alice);
  const other = home.rooms.create(alice);
  const client = home.client(alice);
  const first = await syncOnce(client);
  assert.deepEqual(Object.keys(first.rooms.join), [other]);
  home.rooms.say('!room1:hearth.test' as never, alice, 'unheard');
  assert.equal((await syncOnce(client, { since: first.next_batch })).rooms, undefined);
});
