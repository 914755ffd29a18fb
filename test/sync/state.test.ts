import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alice, bob, carol, keysOf, openHousehold, syncOnce, told } from './household.ts';

const recent = (limit: number): object => ({ room: { timeline: { limit } } });

test('what changed in a gap comes as state, what changed after it in the timeline', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice, { name: 'Old name' });
  const client = home.client(alice);
  const { next_batch: since } = await syncOnce(client);
  home.rooms.state(room, alice, 'm.room.topic', { topic: 'in the gap' });
  home.rooms.state(room, alice, 'm.room.name', { name: 'In the gap' });
  home.rooms.say(room, alice, 'one');
  home.rooms.state(room, alice, 'm.room.name', { name: 'In the timeline' });

  const { state, timeline } = (await syncOnce(client, { since, filter: recent(2) })).rooms.join[room];
  assert.deepEqual(told(timeline), ['one', 'm.room.name']);
  const names = state.events.filter((event: { type: string }) => event.type === 'm.room.name');
  assert.deepEqual(
    names.map((event: { content: { name: string } }) => event.content.name),
    ['In the gap'],
  );
  assert.deepEqual(keysOf(state), ['m.room.name/', 'm.room.topic/']);
});

test('state that the timeline filter keeps out still comes as state', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const client = home.client(alice);
  const { next_batch: since } = await syncOnce(client);
  home.rooms.say(room, alice, 'one');
  home.rooms.state(room, alice, 'm.room.topic', { topic: 'in between' });
  home.rooms.say(room, alice, 'two');

  const filter = { room: { timeline: { types: ['m.room.message'] } } };
  const { state, timeline } = (await syncOnce(client, { since, filter })).rooms.join[room];
  assert.deepEqual(told(timeline), ['one', 'two']);
  assert.deepEqual(keysOf(state), ['m.room.topic/']);
});

test('full_state repeats all state, in every room, and only the new part of the timeline', async (t) => {
  const home = await openHousehold(t);
  const busy = home.rooms.create(alice, { name: 'Busy' });
  const quiet = home.rooms.create(alice, { name: 'Quiet' });
  const client = home.client(alice);
  const { next_batch: since } = await syncOnce(client);
  home.rooms.say(busy, alice, 'news');

  const answer = await syncOnce(client, { since, full_state: true, timeout: 60_000 });
  const all = ['m.room.create/', `m.room.join_rules/`, `m.room.member/${alice}`, 'm.room.name/'];
  assert.deepEqual(keysOf(answer.rooms.join[busy].state), all);
  assert.deepEqual(told(answer.rooms.join[busy].timeline), ['news']);
  assert.deepEqual(keysOf(answer.rooms.join[quiet].state), all);
  assert.deepEqual(answer.rooms.join[quiet].timeline.events, []);
});

for (const [parameter, section] of [
  ['use_state_after', 'state_after'],
  ['org.matrix.msc4222.use_state_after', 'org.matrix.msc4222.state_after'],
]) {
  test(`with ${parameter} the state is that after the timeline`, async (t) => {
    const home = await openHousehold(t);
    const room = home.rooms.create(alice, { name: 'Old name' });
    const gone = home.rooms.create(alice);
    home.rooms.member(gone, bob, 'join');
    const client = home.client(alice);
    const query = { [String(parameter)]: true };
    const first = await syncOnce(client, query);
    const joined = first.rooms.join[room];
    assert.equal(joined.state, undefined);
    assert.deepEqual(keysOf(joined[String(section)]).length, 4);

    home.rooms.state(room, alice, 'm.room.topic', { topic: 'new' });
    home.rooms.say(room, alice, 'hello');
    home.rooms.member(gone, alice, 'leave');
    const { rooms } = await syncOnce(client, { ...query, since: first.next_batch });
    assert.deepEqual(told(rooms.join[room].timeline), ['m.room.topic', 'hello']);
    assert.deepEqual(keysOf(rooms.join[room][String(section)]), ['m.room.topic/']);
    assert.equal(rooms.join[room].state, undefined);
    assert.deepEqual(keysOf(rooms.leave[gone][String(section)]), [`m.room.member/${alice}`]);

    home.rooms.say(room, alice, 'again');
    const third = await syncOnce(client, { ...query, since: first.next_batch });
    assert.ok(Array.isArray(third.rooms.join[room][String(section)].events));
  });
}

test('a change of state that is filtered out is no news', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const client = home.client(alice);
  const filter = { room: { timeline: { types: [] }, state: { types: ['org.example'] } } };
  const { next_batch: since } = await syncOnce(client, { filter });
  home.rooms.member(room, alice, 'join', { displayname: 'Allie' });
  assert.equal((await syncOnce(client, { since, filter })).rooms, undefined);
});

test('the summary counts members and names heroes where the room has no name', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  home.rooms.member(room, carol, 'join');
  home.rooms.member(room, bob, 'join');
  home.rooms.member(room, '@eve:hearth.test' as never, 'invite', { by: alice });
  const client = home.client(alice);
  const first = await syncOnce(client);
  assert.deepEqual(first.rooms.join[room].summary, {
    'm.joined_member_count': 3,
    'm.invited_member_count': 1,
    'm.heroes': [carol, bob, '@eve:hearth.test'],
  });

  home.rooms.say(room, alice, 'nobody moved');
  const second = await syncOnce(client, { since: first.next_batch });
  assert.equal(second.rooms.join[room].summary, undefined);

  home.rooms.member(room, bob, 'leave');
  const third = await syncOnce(client, { since: second.next_batch });
  assert.deepEqual(third.rooms.join[room].summary, {
    'm.joined_member_count': 2,
    'm.invited_member_count': 1,
    'm.heroes': [carol, '@eve:hearth.test'],
  });

  home.rooms.state(room, alice, 'm.room.name', { name: 'Kitchen' });
  const fourth = await syncOnce(client, { since: third.next_batch });
  assert.deepEqual(fourth.rooms.join[room].summary, { 'm.joined_member_count': 2, 'm.invited_member_count': 1 });
});

test('no more than five heroes are named, and whoever is alone has those who left', async (t) => {
  const home = await openHousehold(t);
  const crowd = home.rooms.create(alice);
  const lonely = home.rooms.create(alice);
  const others = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => `@${name}:hearth.test` as typeof alice);
  for (const user of others) home.rooms.member(crowd, user, 'join');
  home.rooms.member(lonely, bob, 'join');
  home.rooms.member(lonely, bob, 'leave');

  const { rooms } = await syncOnce(home.client(alice));
  assert.deepEqual(rooms.join[crowd].summary['m.heroes'], others.slice(0, 5));
  assert.deepEqual(rooms.join[lonely].summary['m.heroes'], [bob]);
  // The one who would be among the first sees the next one in their place.
  const first = others[0];
  assert.ok(first !== undefined);
  const theirs = await syncOnce(home.client(first));
  assert.deepEqual(theirs.rooms.join[crowd].summary['m.heroes'], [alice, ...others.slice(1, 5)]);
});
