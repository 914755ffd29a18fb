import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectError, expectOk, type Json } from '../kit/test-client.ts';
import { edit, idsOf, inRoom, join, roomsHouse } from './room-events-harness.ts';

test('an event is shown with what was said around it, and the tokens to go on from there', async (t) => {
  const house = await roomsHouse(t);
  const alice = house.person('alice');
  const roomId = await alice.createRoom();
  const sent: string[] = [];
  for (let n = 0; n < 9; n += 1) sent.push(await alice.send(roomId, `${n}`));
  const middle = sent[4] ?? '';
  const around = async (query: Json = {}): Promise<Json> =>
    expectOk(await alice.get(inRoom(roomId, 'context', middle), query));

  const context = await around({ limit: 5 });
  assert.equal(context.event.event_id, middle);
  assert.deepEqual(idsOf(context.events_before), [sent[3], sent[2]]);
  assert.deepEqual(idsOf(context.events_after), [sent[5], sent[6], sent[7]]);
  assert.deepEqual(context.state.map((event: Json) => event.type).sort(), [
    'm.room.create',
    'm.room.join_rules',
    'm.room.member',
    'm.room.power_levels',
  ]);
  const page = async (dir: string, from: string): Promise<string[]> =>
    idsOf(expectOk(await alice.get(inRoom(roomId, 'messages'), { dir, from, limit: 1 })).chunk);
  assert.deepEqual(await page('b', context.start), [sent[1]]);
  assert.deepEqual(await page('f', context.end), [sent[8]]);

  const bare = await around({ limit: 0 });
  assert.deepEqual([bare.events_before, bare.events_after], [[], []]);
  assert.deepEqual(await page('b', bare.start), [sent[3]]);
  assert.deepEqual(await page('f', bare.end), [sent[5]]);

  const edited = await alice.send(roomId, edit(middle, 'better'));
  assert.equal((await around()).event.unsigned['m.relations']['m.replace'].event_id, edited);
});

test('the state shown is that of the last event, and a filter narrows all but the event itself', async (t) => {
  const house = await roomsHouse(t);
  const [alice, bob, carol] = [house.person('alice'), house.person('bob'), house.person('carol')];
  const roomId = await alice.createRoom();
  const joined = await join(bob, roomId);
  await join(carol, roomId);
  await alice.setState(roomId, 'm.room.name', { name: 'Attic' });
  const before = await bob.send(roomId, 'before');
  const event = await alice.send(roomId, 'here');
  await alice.setState(roomId, 'm.room.name', { name: 'Cellar' });
  await bob.send(roomId, 'after');
  await alice.setState(roomId, 'm.room.name', { name: 'Shed' });

  const around = async (filter: Json, limit: number): Promise<Json> =>
    expectOk(await alice.get(inRoom(roomId, 'context', event), { limit, filter: JSON.stringify(filter) }));
  const nameIn = (context: Json): string => context.state.find((one: Json) => one.type === 'm.room.name').content.name;
  assert.equal(nameIn(await around({}, 0)), 'Attic');
  assert.equal(nameIn(await around({}, 2)), 'Cellar');
  const lazy = await around({ lazy_load_members: true }, 0);
  const members = lazy.state.filter((one: Json) => one.type === 'm.room.member');
  assert.deepEqual(
    members.map((one: Json) => one.state_key),
    [alice.userId],
  );
  const bobs = await around({ senders: [bob.userId] }, 10);
  assert.equal(bobs.event.event_id, event);
  assert.deepEqual(idsOf(bobs.events_before), [before, joined]);
  assert.deepEqual(
    bobs.state.map((one: Json) => `${one.type} ${one.state_key}`),
    [`m.room.member ${bob.userId}`],
  );
});

test('only what one may see has a context', async (t) => {
  const house = await roomsHouse(t);
  const [alice, bob, carol] = [house.person('alice'), house.person('bob'), house.person('carol')];
  const roomId = await alice.createRoom({
    initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'joined' } }],
  });
  const before = await alice.send(roomId, 'before');
  await join(bob, roomId);
  const after = await alice.send(roomId, 'after');
  const context = (client: typeof alice, event: string, query: Json = {}) =>
    client.get(inRoom(roomId, 'context', event), query);
  expectError(await context(carol, after), 403, 'M_FORBIDDEN');
  expectError(await context(bob, before), 404, 'M_NOT_FOUND');
  expectError(await context(bob, '$nothing'), 404, 'M_NOT_FOUND');
  expectError(await context(bob, after, { filter: '[' }), 400, 'M_NOT_JSON');
  const seen = expectOk(await context(bob, after));
  assert.ok(!idsOf(seen.events_before).includes(before));
  const other = await alice.createRoom();
  expectError(await alice.get(inRoom(other, 'context', after)), 404, 'M_NOT_FOUND');
});

test('guests see the context of events in rooms that anyone may read', async (t) => {
  const house = await roomsHouse(t);
  const alice = house.person('alice');
  const roomId = await alice.createRoom({
    initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'world_readable' } }],
  });
  const said = await alice.send(roomId, 'look');
  const guest = house.person('guest', { isGuest: true });
  assert.equal(expectOk(await guest.get(inRoom(roomId, 'context', said))).event.event_id, said);
});
