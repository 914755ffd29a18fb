import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alice, bob, carol, dave, type Household, openHousehold, syncOnce } from './household.ts';
import type { RoomId } from '../../server/matrix/identifiers.ts';

const lazy = { room: { state: { lazy_load_members: true }, timeline: { limit: 3 } } };

/** A named room of Alice, Bob, Carol and Dave in which Bob has talked. */
function livingRoom(home: Household): RoomId {
  const room = home.rooms.create(alice, { name: 'Living room' });
  for (const user of [bob, carol, dave]) home.rooms.member(room, user, 'join');
  for (let n = 1; n <= 5; n += 1) home.rooms.say(room, bob, `bob ${n}`);
  return room;
}

function membersIn(section: { events: { type: string; state_key: string }[] }): string[] {
  return section.events
    .filter((event) => event.type === 'm.room.member')
    .map((event) => event.state_key)
    .sort();
}

test('a first sync holds the members who talk, and the viewer', async (t) => {
  const home = await openHousehold(t);
  const room = livingRoom(home);
  const { state } = (await syncOnce(home.client(alice), { filter: lazy })).rooms.join[room];
  assert.deepEqual(membersIn(state), [alice, bob]);
  assert.equal(state.events.length, 5);
});

test('a member comes along when they first say something, and not again', async (t) => {
  const home = await openHousehold(t);
  const room = livingRoom(home);
  const client = home.client(alice);
  const first = await syncOnce(client, { filter: lazy });
  home.rooms.say(room, carol, 'hello');
  const second = await syncOnce(client, { filter: lazy, since: first.next_batch });
  assert.deepEqual(membersIn(second.rooms.join[room].state), [carol]);

  home.rooms.say(room, carol, 'me again');
  home.rooms.say(room, bob, 'me too');
  const third = await syncOnce(client, { filter: lazy, since: second.next_batch });
  assert.deepEqual(third.rooms.join[room].state.events, []);
});

test('redundant members are repeated where that is asked for', async (t) => {
  const home = await openHousehold(t);
  const room = livingRoom(home);
  const client = home.client(alice);
  const filter = { room: { ...lazy.room, state: { ...lazy.room.state, include_redundant_members: true } } };
  const first = await syncOnce(client, { filter });
  home.rooms.say(room, bob, 'me again');
  const second = await syncOnce(client, { filter, since: first.next_batch });
  assert.deepEqual(membersIn(second.rooms.join[room].state), [bob]);
});

test('a member in an answer that never arrived is sent again', async (t) => {
  const home = await openHousehold(t);
  const room = livingRoom(home);
  const client = home.client(alice);
  const first = await syncOnce(client, { filter: lazy });
  home.rooms.say(room, carol, 'hello');
  const lost = await syncOnce(client, { filter: lazy, since: first.next_batch });
  const again = await syncOnce(client, { filter: lazy, since: first.next_batch });
  assert.deepEqual(membersIn(again.rooms.join[room].state), [carol]);
  assert.deepEqual(membersIn(lost.rooms.join[room].state), [carol]);
});

test('each device has to be told for itself', async (t) => {
  const home = await openHousehold(t);
  const room = livingRoom(home);
  const phone = home.client(alice, { device: 'PHONE' });
  const laptop = home.client(alice, { device: 'LAPTOP' });
  const { next_batch: since } = await syncOnce(phone, { filter: lazy });
  home.rooms.say(room, carol, 'hello');
  for (const client of [phone, laptop]) {
    const answer = await syncOnce(client, { filter: lazy, since });
    assert.ok(membersIn(answer.rooms.join[room].state).includes(carol));
  }
});

test('who came and went in a gap is told, whether they talked or not', async (t) => {
  const home = await openHousehold(t);
  const room = livingRoom(home);
  const client = home.client(alice);
  const first = await syncOnce(client, { filter: lazy });
  home.rooms.member(room, dave, 'leave');
  home.rooms.member(room, '@eve:hearth.test' as never, 'join');
  for (let n = 1; n <= 5; n += 1) home.rooms.say(room, carol, `carol ${n}`);

  const { state } = (await syncOnce(client, { filter: lazy, since: first.next_batch })).rooms.join[room];
  assert.deepEqual(membersIn(state), [carol, dave, '@eve:hearth.test'].sort());
});

test('a changed name is sent once more, by the timeline or before it', async (t) => {
  const home = await openHousehold(t);
  const room = livingRoom(home);
  const client = home.client(alice);
  const first = await syncOnce(client, { filter: lazy });
  home.rooms.member(room, bob, 'join', { displayname: 'Robert' });
  home.rooms.say(room, bob, 'call me Robert');
  const second = await syncOnce(client, { filter: lazy, since: first.next_batch });
  assert.deepEqual(membersIn(second.rooms.join[room].state), []);
  assert.deepEqual(membersIn(second.rooms.join[room].timeline), [bob]);

  home.rooms.say(room, bob, 'that is better');
  const third = await syncOnce(client, { filter: lazy, since: second.next_batch });
  assert.deepEqual(membersIn(third.rooms.join[room].state), []);
});

test('the members a summary names come along', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  home.rooms.member(room, bob, 'join');
  for (let n = 1; n <= 5; n += 1) home.rooms.say(room, alice, `alice ${n}`);
  const { state, summary } = (await syncOnce(home.client(alice), { filter: lazy })).rooms.join[room];
  assert.deepEqual(summary['m.heroes'], [bob]);
  assert.deepEqual(membersIn(state), [alice, bob]);
});

test('whoever joins a room gets their own membership and those of the talkers', async (t) => {
  const home = await openHousehold(t);
  const room = livingRoom(home);
  const eve = '@eve:hearth.test' as typeof alice;
  const client = home.client(eve);
  const { next_batch: since } = await syncOnce(client, { filter: lazy });
  home.rooms.member(room, eve, 'join');
  for (let n = 1; n <= 3; n += 1) home.rooms.say(room, carol, `carol ${n}`);
  const { state } = (await syncOnce(client, { filter: lazy, since })).rooms.join[room];
  assert.deepEqual(membersIn(state), [carol, eve].sort());
});

test('the state after the timeline is loaded lazily too', async (t) => {
  const home = await openHousehold(t);
  const room = livingRoom(home);
  const client = home.client(alice);
  const first = await syncOnce(client, { filter: lazy, use_state_after: true });
  assert.deepEqual(membersIn(first.rooms.join[room].state_after), [alice, bob]);
  home.rooms.say(room, carol, 'hello');
  home.rooms.member(room, dave, 'leave');
  const second = await syncOnce(client, { filter: lazy, use_state_after: true, since: first.next_batch });
  assert.deepEqual(membersIn(second.rooms.join[room].state_after), [carol, dave].sort());
});
