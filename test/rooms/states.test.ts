import assert from 'node:assert/strict';
import { test } from 'node:test';
import { splitStateKey, stateKeyOf } from '../../server/matrix/events/event.ts';
import type { EventId, RoomId } from '../../server/matrix/identifiers.ts';
import type { StateDelta } from '../../server/rooms/types.ts';
import { STREAM_START, type StreamPosition } from '../../server/storage/types.ts';
import { alice, bob, draft, household, phone, userId } from './room-kit.ts';

test('the state can be asked for as it was before and after any event, and at any position', async (t) => {
  const home = household(t);
  const { state } = home.rooms;
  const roomId = await home.createRoom();
  const topics: { eventId: EventId; position: StreamPosition }[] = [];
  for (const topic of ['one', 'two', 'three']) {
    topics.push(await home.send(roomId, draft.state(alice, 'm.room.topic', { topic })));
    await home.send(roomId, draft.message(alice, topic));
  }
  const [one, two, three] = topics;
  assert.ok(one && two && three);
  const topicIn = (room: { find(type: string, key: string): EventId | undefined } | undefined) =>
    room?.find('m.room.topic', '');
  assert.equal(topicIn(state.stateBefore(one.eventId)), undefined);
  assert.equal(topicIn(state.stateAfter(one.eventId)), one.eventId);
  assert.equal(topicIn(state.stateBefore(three.eventId)), two.eventId);
  assert.equal(topicIn(state.stateAt(roomId, STREAM_START)), undefined);
  assert.equal(state.stateAt(roomId, STREAM_START).size, 0);
  assert.equal(topicIn(state.stateAt(roomId, two.position)), two.eventId);
  assert.equal(topicIn(state.stateAt(roomId, (three.position - 1) as StreamPosition)), two.eventId);
  assert.equal(topicIn(state.stateAt(roomId, home.db.position())), three.eventId);
  assert.equal(topicIn((await home.reopen()).rooms.state.stateAt(roomId, two.position)), two.eventId);
});

test('a state can be listed whole or by type, and compared', async (t) => {
  const home = household(t);
  const { state } = home.rooms;
  const roomId = await home.createRoom();
  const before = state.currentState(roomId);
  const joined = await home.send(roomId, draft.member(bob, bob, 'join'));
  const topic = await home.send(roomId, draft.state(alice, 'm.room.topic', { topic: 'Dinner' }));
  const after = state.currentState(roomId);

  assert.equal(before.size, 4);
  assert.equal(after.size, 6);
  assert.equal([...after.entries()].length, 6);
  assert.deepEqual(
    after
      .listType('m.room.member')
      .map(([key]) => key)
      .sort(),
    [alice, bob].sort(),
  );
  assert.deepEqual(after.listType('m.room.nothing'), []);
  for (const [key, id] of after.entries()) {
    const { type, stateKey } = splitStateKey(key);
    assert.equal(after.find(type, stateKey), id);
  }
  assert.deepEqual(
    new Set(state.difference(before, after).map(([key, from, to]) => `${key} ${from} ${to}`)),
    new Set([
      `${stateKeyOf('m.room.member', bob)} undefined ${joined.eventId}`,
      `${stateKeyOf('m.room.topic', '')} undefined ${topic.eventId}`,
    ]),
  );
  assert.deepEqual(
    state.difference(after, before).map(([, , to]) => to),
    [undefined, undefined],
  );
  assert.deepEqual(state.difference(after, state.currentState(roomId)), []);
});

test('an unknown room has an empty state, and an unknown event none', (t) => {
  const { state } = household(t).rooms;
  const roomId = '!nowhere:hearth.test' as RoomId;
  assert.equal(state.currentState(roomId).size, 0);
  assert.equal(state.findCurrent(roomId, 'm.room.create', ''), undefined);
  assert.equal(state.stateBefore('$nothing' as EventId), undefined);
});

test('projections are told what an event changed, and only that', async (t) => {
  const told: (readonly StateDelta[])[] = [];
  const home = household(t, {
    projections: [{ name: 'watch', project: (_tx, _event, { stateDeltas }) => told.push(stateDeltas) }],
  });
  const roomId = await home.createRoom();
  told.length = 0;
  const first = await home.send(roomId, draft.state(alice, 'm.room.topic', { topic: 'one' }));
  const second = await home.send(roomId, draft.state(alice, 'm.room.topic', { topic: 'two' }));
  await home.send(roomId, draft.message(alice, 'Hello'));
  assert.deepEqual(told, [
    [{ type: 'm.room.topic', stateKey: '', before: undefined, after: first.eventId }],
    [{ type: 'm.room.topic', stateKey: '', before: first.eventId, after: second.eventId }],
    [],
  ]);
});

test('a change of state in a room of a thousand members costs a few small nodes', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom();
  for (let turn = 0; turn < 1_000; turn++) {
    const user = userId(`@user${turn}:hearth.test`);
    await home.rooms.sender.send({ ...draft.member(user, user, 'join'), roomId });
  }
  const nodes = home.db.prepareRead<{ nodes: number; bytes: number }>(
    'SELECT count(*) AS nodes, sum(length(data)) AS bytes FROM state_nodes',
  );
  const before = nodes.find();
  const changes = 100;
  for (let turn = 0; turn < changes; turn++) {
    await home.send(roomId, draft.state(alice, 'm.room.topic', { topic: `${turn}` }));
  }
  const after = nodes.find();
  assert.ok(before && after);
  const perChange = { nodes: (after.nodes - before.nodes) / changes, bytes: (after.bytes - before.bytes) / changes };
  assert.ok(perChange.nodes <= 6, `${perChange.nodes} nodes`);
  assert.ok(perChange.bytes <= 1_000, `${perChange.bytes} bytes`);

  await home.send(roomId, draft.message(alice, 'Hello'));
  assert.equal(nodes.find()?.nodes, after.nodes, 'a message writes none');
  assert.equal(home.rooms.state.currentState(roomId).listType('m.room.member').length, 1_001);
  assert.equal(home.rooms.members.countMembers(roomId, 'join'), 1_001);
});

test('an ordinary message costs little more than its own bytes', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom();
  const pages = home.db.prepareRead<{ bytes: number }>(`
    SELECT (SELECT page_count FROM pragma_page_count) * 4096 - (SELECT freelist_count FROM pragma_freelist_count) * 4096
      AS bytes`);
  const before = pages.find()?.bytes ?? 0;
  const count = 2_000;
  for (let turn = 0; turn < count; turn++) {
    await home.send(roomId, draft.message(alice, `An ordinary message of the usual length, number ${turn}`), {
      transaction: { deviceId: phone, transactionId: `m1763700000000.${turn}` },
    });
  }
  const perEvent = ((pages.find()?.bytes ?? 0) - before) / count;
  assert.ok(perEvent <= 1_100, `${perEvent} bytes for a message`);
});
