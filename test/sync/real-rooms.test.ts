import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeviceId } from '../../server/matrix/identifiers.ts';
import type { Json } from '../kit/test-client.ts';
import { alice, bob, carol, draft } from '../rooms/room-kit.ts';
import { told } from './household.ts';
import { openRealHousehold } from './real-rooms.ts';

test('an invite is told, taken up, talked over and left again', async (t) => {
  const home = openRealHousehold(t);
  const roomId = await home.createRoom(alice, { name: 'Kitchen' });
  const send = (event: ReturnType<typeof draft.message>): Promise<unknown> =>
    home.rooms.sender.send({ ...event, roomId });
  let { next_batch: since } = await home.syncAs(bob);
  const next = async (): Promise<Json> => {
    const answer = await home.syncAs(bob, { since });
    since = answer.next_batch;
    return answer.rooms;
  };
  await send(draft.member(alice, bob, 'invite'));
  const { events } = (await next()).invite[roomId].invite_state;
  assert.ok(events.some((event: Json) => event.type === 'm.room.create'));
  assert.equal(events.filter((event: Json) => event.state_key === bob).length, 1);

  await send(draft.member(bob, bob, 'join'));
  const joined = (await next()).join[roomId];
  assert.equal(joined.timeline.limited, true);
  assert.equal(joined.summary['m.joined_member_count'], 2);

  const transaction = { deviceId: 'DEVICE' as DeviceId, transactionId: 'txn' };
  await home.rooms.sender.send({ ...draft.message(bob, 'hello'), roomId }, { transaction });
  const [said] = (await next()).join[roomId].timeline.events;
  assert.equal(said.unsigned.transaction_id, 'txn');
  assert.equal(said.unsigned.membership, 'join');

  await send(draft.redaction(bob, said.event_id));
  const [redaction] = (await next()).join[roomId].timeline.events;
  assert.equal(redaction.redacts, said.event_id);

  await send(draft.message(alice, 'bye'));
  await send(draft.member(alice, bob, 'leave'));
  await send(draft.message(alice, 'finally alone'));
  assert.deepEqual(told((await next()).leave[roomId].timeline), ['bye', 'm.room.member']);
});

test('members are loaded lazily from the stored state of a room', async (t) => {
  const home = openRealHousehold(t);
  const roomId = await home.createRoom(alice, { name: 'Kitchen' });
  const everybody = ['a', 'b', 'c', 'd', 'e'].map((name) => `@${name}:hearth.test` as typeof alice);
  for (const user of [...everybody, bob, carol])
    await home.rooms.sender.send({ ...draft.member(user, user, 'join'), roomId });
  for (let n = 0; n < 3; n += 1) await home.rooms.sender.send({ ...draft.message(carol, `carol ${n}`), roomId });
  const filter = { room: { timeline: { limit: 3 }, state: { lazy_load_members: true } } };
  const first = await home.syncAs(bob, { filter });
  const members = (room: Json): string[] =>
    room.state.events.filter((event: Json) => event.type === 'm.room.member').map((event: Json) => event.state_key);
  assert.deepEqual(members(first.rooms.join[roomId]).sort(), [bob, carol]);
  assert.ok(told(first.rooms.join[roomId].state).includes('m.room.power_levels'));
  await home.rooms.sender.send({ ...draft.message(alice, 'hello'), roomId });
  const second = await home.syncAs(bob, { filter, since: first.next_batch });
  assert.deepEqual(members(second.rooms.join[roomId]), [alice]);
});

test('what somebody said who had their account erased is shown without its content to those who come later', async (t) => {
  const home = openRealHousehold(t, { isErased: (userId) => userId === carol });
  const roomId = await home.createRoom(alice);
  const send = (event: ReturnType<typeof draft.message>): Promise<unknown> =>
    home.rooms.sender.send({ ...event, roomId });
  await send(draft.member(carol, carol, 'join'));
  await send(draft.message(carol, 'to be forgotten'));
  await send(draft.state(alice, 'm.room.history_visibility', { history_visibility: 'joined' }));
  await send(draft.message(alice, 'hidden'));
  await send(draft.member(bob, bob, 'join'));
  const { timeline } = (await home.syncAs(bob)).rooms.join[roomId];
  const messages = timeline.events.filter((event: Json) => event.type === 'm.room.message');
  assert.deepEqual(
    messages.map((event: Json) => event.content),
    [{}],
  );
});

test('a sync under way goes on with what it began with, whatever happens meanwhile', async (t) => {
  let turns = 0;
  const home = openRealHousehold(t, {
    // A clock on which every step takes so long that others get their turn after each.
    clock: { now: () => 1, monotonic: () => (turns += 1_000), after: () => ({ cancel: () => undefined }) },
  });
  const rooms = [await home.createRoom(alice, { name: 'One' }), await home.createRoom(alice, { name: 'Two' })] as const;
  const first = home.syncAs(alice);
  const second = home.syncAs(bob);
  await new Promise((resolve) => setImmediate(resolve));
  await home.rooms.sender.send({ ...draft.message(alice, 'meanwhile'), roomId: rooms[1] });
  await home.rooms.sender.send({ ...draft.state(alice, 'm.room.name', { name: 'Three' }), roomId: rooms[1] });
  await home.rooms.sender.send({ ...draft.member(bob, bob, 'join'), roomId: rooms[0] });
  const before = await first;
  const texts = told(before.rooms.join[rooms[1]].timeline);
  assert.ok(!texts.includes('meanwhile'));
  assert.equal(before.rooms.join[rooms[1]].timeline.events.at(-1).content.name, 'Two');
  const after = await home.syncAs(alice, { since: before.next_batch });
  assert.deepEqual(told(after.rooms.join[rooms[1]].timeline), ['meanwhile', 'm.room.name']);
  const { next_batch: since } = await second;
  assert.deepEqual(Object.keys((await home.syncAs(bob, { since })).rooms.join), [rooms[0]]);
});
