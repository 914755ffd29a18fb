import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomId } from '../../server/matrix/identifiers.ts';
import type { SyncContribution } from '../../server/sync/types.ts';
import { alice, bob, carol, keysOf, openHousehold, syncOnce, told } from './household.ts';

const withLeft = { room: { include_leave: true } };

test('an invite comes with stripped state, in a first sync and in the next one', async (t) => {
  const home = await openHousehold(t);
  const client = home.client(bob);
  const { next_batch: since } = await syncOnce(client);
  const room = home.rooms.create(alice, { name: 'Kitchen' });
  home.rooms.member(room, bob, 'invite', { by: alice });

  for (const answer of [await syncOnce(client), await syncOnce(client, { since })]) {
    const { events } = answer.rooms.invite[room].invite_state;
    for (const event of events) {
      assert.deepEqual(Object.keys(event).sort(), ['content', 'sender', 'state_key', 'type']);
    }
    const own = events.find((event: { state_key: string }) => event.state_key === bob);
    assert.equal(own.content.membership, 'invite');
    assert.equal(own.sender, alice);
    assert.ok(events.some((event: { type: string }) => event.type === 'm.room.create'));
    assert.equal(answer.rooms.join, undefined);
  }
  const { next_batch: later } = await syncOnce(client);
  assert.equal((await syncOnce(client, { since: later })).rooms, undefined);
});

test('invites by ignored users are not told', async (t) => {
  const home = await openHousehold(t);
  const client = home.client(bob);
  home.ignored.set(bob, new Set([alice]));
  const { next_batch: since } = await syncOnce(client);
  const room = home.rooms.create(alice);
  home.rooms.member(room, bob, 'invite', { by: alice });
  assert.equal((await syncOnce(client)).rooms, undefined);
  assert.equal((await syncOnce(client, { since })).rooms, undefined);
});

test('a rejected invite is told as having left, and nothing of the room with it', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice, { historyVisibility: 'joined', name: 'Secret' });
  const client = home.client(bob);
  home.rooms.member(room, bob, 'invite', { by: alice });
  const { next_batch: since } = await syncOnce(client);
  home.rooms.say(room, alice, 'psst');
  home.rooms.member(room, bob, 'leave');

  const { rooms } = await syncOnce(client, { since });
  assert.equal(rooms.invite, undefined);
  assert.deepEqual(told(rooms.leave[room].timeline), ['m.room.member']);
  assert.deepEqual(rooms.leave[room].state.events, []);
});

test('a knock is told until it is answered', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const client = home.client(bob);
  const { next_batch: since } = await syncOnce(client);
  home.rooms.member(room, bob, 'knock');
  const knocked = await syncOnce(client, { since });
  const own = knocked.rooms.knock[room].knock_state.events.at(-1);
  assert.deepEqual([own.state_key, own.content.membership], [bob, 'knock']);
  assert.deepEqual(Object.keys((await syncOnce(client)).rooms.knock), [room]);

  home.rooms.member(room, bob, 'invite', { by: alice });
  const answered = await syncOnce(client, { since: knocked.next_batch });
  assert.deepEqual(Object.keys(answered.rooms), ['invite']);
  home.rooms.member(room, bob, 'leave', { by: alice });
  const denied = await syncOnce(client, { since: answered.next_batch });
  assert.deepEqual(Object.keys(denied.rooms), ['leave']);
});

test('a room that was left holds what happened up to then, and nothing later', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  home.rooms.member(room, bob, 'join');
  const client = home.client(bob);
  const { next_batch: since } = await syncOnce(client);
  home.rooms.say(room, alice, 'before');
  home.rooms.state(room, alice, 'org.example', { when: 'before' });
  home.rooms.member(room, bob, 'leave');
  home.rooms.say(room, alice, 'after');
  home.rooms.state(room, alice, 'org.example', { when: 'after' });

  const next = (await syncOnce(client, { since })).rooms.leave[room];
  assert.deepEqual(told(next.timeline), ['before', 'org.example', 'm.room.member']);
  assert.equal(next.timeline.events[1].content.when, 'before');
  assert.deepEqual(next.state.events, []);

  const anew = (await syncOnce(client, { filter: withLeft })).rooms.leave[room];
  assert.deepEqual(told(anew.timeline).slice(-3), ['before', 'org.example', 'm.room.member']);
  assert.equal((await syncOnce(client)).rooms, undefined);
});

test('rooms left before the last sync are not told again, unless the full state is wanted', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  home.rooms.member(room, bob, 'join');
  const client = home.client(bob);
  home.rooms.member(room, bob, 'leave');
  const { next_batch: since } = await syncOnce(client, { filter: withLeft });
  home.rooms.say(room, alice, 'alone');
  assert.equal((await syncOnce(client, { since, filter: withLeft })).rooms, undefined);
  const full = await syncOnce(client, { since, filter: withLeft, full_state: true });
  assert.deepEqual(Object.keys(full.rooms.leave), [room]);
});

test('whoever is kicked and then banned sees what was said before the kick, and the ban', async (t) => {
  const home = await openHousehold(t, {});
  const room = home.rooms.create(alice, { historyVisibility: 'world_readable' });
  home.rooms.member(room, bob, 'join');
  const client = home.client(bob);
  const { next_batch: since } = await syncOnce(client);
  home.rooms.say(room, alice, 'last words');
  home.rooms.member(room, bob, 'leave', { by: alice });
  home.rooms.state(room, alice, 'm.room.topic', { topic: 'without Bob' });
  home.rooms.member(room, bob, 'ban', { by: alice });
  home.rooms.say(room, alice, 'good riddance');

  for (const answer of [await syncOnce(client, { since }), await syncOnce(client, { filter: withLeft })]) {
    const { timeline, state } = answer.rooms.leave[room];
    assert.deepEqual(told(timeline).slice(-3), ['last words', 'm.room.member', 'm.room.member']);
    assert.equal(timeline.events.at(-1).content.membership, 'ban');
    assert.ok(!keysOf(state).includes('m.room.topic/'));
  }
});

test('a room joined and left between two syncs comes with its whole state', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  home.rooms.state(room, alice, 'org.example', { a: 1 });
  const client = home.client(bob);
  const { next_batch: since } = await syncOnce(client);
  home.rooms.member(room, bob, 'join');
  home.rooms.member(room, bob, 'leave');
  home.rooms.state(room, alice, 'org.example', { a: 2 });

  const filter = { room: { timeline: { types: [] }, state: { types: ['org.example'] } } };
  const left = (await syncOnce(client, { since, filter })).rooms.leave[room];
  assert.deepEqual(
    left.state.events.map((event: { content: object }) => event.content),
    [{ a: 1 }],
  );
});

test('a room left and joined again between two syncs is still joined, with a gap', async (t) => {
  const home = await openHousehold(t, {});
  const room = home.rooms.create(alice);
  home.rooms.member(room, bob, 'join');
  const client = home.client(bob);
  const { next_batch: since } = await syncOnce(client);
  home.rooms.member(room, bob, 'leave');
  home.rooms.state(room, alice, 'm.room.topic', { topic: 'meanwhile' });
  home.rooms.member(room, bob, 'join');

  const { rooms } = await syncOnce(client, { since });
  assert.deepEqual(Object.keys(rooms), ['join']);
  assert.equal(rooms.join[room].timeline.limited, true);
  assert.deepEqual(told(rooms.join[room].timeline), ['m.room.member', 'm.room.topic', 'm.room.member']);
});

test('a forgotten room is told as left, and no more of it', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  home.rooms.member(room, bob, 'join');
  const client = home.client(bob);
  const { next_batch: since } = await syncOnce(client);
  home.rooms.say(room, alice, 'hello');
  home.rooms.member(room, bob, 'leave');
  home.rooms.forget(room, bob);
  const { rooms } = await syncOnce(client, { since });
  assert.deepEqual(told(rooms.leave[room].timeline), ['m.room.member']);
  assert.equal((await syncOnce(client, { filter: withLeft })).rooms, undefined);
});

test('filters on rooms hold for joined, invited and left rooms alike', async (t) => {
  const home = await openHousehold(t);
  const rooms = ['joined', 'left', 'invited'].map(() => [home.rooms.create(alice), home.rooms.create(alice)] as const);
  const [joined, left, invited] = rooms;
  assert.ok(joined && left && invited);
  const client = home.client(bob);
  const { next_batch: since } = await syncOnce(client);
  for (const room of [...joined, ...left]) home.rooms.member(room, bob, 'join');
  for (const room of left) home.rooms.member(room, bob, 'leave');
  for (const room of invited) home.rooms.member(room, bob, 'invite', { by: alice });

  const wanted: RoomId[] = [joined[0], left[0], invited[0]];
  const unwanted: RoomId[] = [joined[1], left[1], invited[1]];
  for (const room of [
    { rooms: wanted },
    { not_rooms: unwanted },
    { rooms: [...wanted, ...unwanted], not_rooms: unwanted },
  ]) {
    for (const query of [{ since }, {}]) {
      const answer = await syncOnce(client, { ...query, filter: { room: { ...room, include_leave: true } } });
      assert.deepEqual(Object.keys(answer.rooms.join), [joined[0]]);
      assert.deepEqual(Object.keys(answer.rooms.leave), [left[0]]);
      assert.deepEqual(Object.keys(answer.rooms.invite), [invited[0]]);
    }
  }
});

test('users who come to share a room, and who no longer do, are known to the modules exactly', async (t) => {
  const home = await openHousehold(t);
  const windows: { newly: string[]; gone: string[] }[] = [];
  const watcher: SyncContribution = {
    name: 'watcher',
    contribute: (window) => {
      windows.push({ newly: [...window.newlySharing()].sort(), gone: [...window.noLongerSharing()].sort() });
      return {};
    },
  };
  const kitchen = home.rooms.create(alice);
  const garden = home.rooms.create(alice);
  home.rooms.member(kitchen, bob, 'join');
  const client = home.client(alice);
  const { next_batch: since } = await syncOnce(client);
  home.contributions.push(watcher);

  await syncOnce(client);
  assert.deepEqual(windows.pop(), { newly: [alice, bob], gone: [] });
  // Bob is shared already; Carol is new; Dave comes and goes.
  const dave = '@dave:hearth.test' as typeof alice;
  home.rooms.member(garden, bob, 'join');
  home.rooms.member(garden, carol, 'join');
  home.rooms.member(garden, dave, 'join');
  home.rooms.member(garden, dave, 'leave');
  const second = await syncOnce(client, { since });
  assert.deepEqual(windows.pop(), { newly: [carol], gone: [] });
  // Bob leaves one of two rooms, Carol her only one.
  home.rooms.member(garden, bob, 'leave');
  home.rooms.member(garden, carol, 'leave');
  const third = await syncOnce(client, { since: second.next_batch });
  assert.deepEqual(windows.pop(), { newly: [], gone: [carol] });
  // Alice leaves the room she shares with Bob, and finds Carol in another.
  const attic = home.rooms.create(carol);
  home.rooms.member(kitchen, alice, 'leave');
  home.rooms.member(attic, alice, 'join');
  await syncOnce(client, { since: third.next_batch, filter: { room: { rooms: [] } } });
  assert.deepEqual(windows.pop(), { newly: [carol], gone: [bob] });
  // Seen from the second sync on, Carol was shared at both ends.
  await syncOnce(client, { since: second.next_batch });
  assert.deepEqual(windows.pop(), { newly: [], gone: [bob] });
});
