import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { RoomEvent } from '../../server/matrix/events/event.ts';
import type { EventId } from '../../server/matrix/identifiers.ts';
import { roomVersions } from '../../server/matrix/room-versions.ts';
import { idsOf, message, PeerRoom, state } from './peer-room.ts';
import { alice, dora, erin, fred, type House, house, member } from './remote-kit.ts';

async function present(t: TestContext, room: PeerRoom): Promise<House> {
  const home = house(t, room.play);
  await room.enter(home.rooms);
  return home;
}

async function accept(home: House, ...events: readonly RoomEvent[]): Promise<void> {
  for (const event of events) assert.equal((await home.rooms.inbox.accept(event.pdu)).kind, 'stored');
}

function bodiesOf(events: readonly RoomEvent[]): unknown[] {
  return events.map(({ content }) => content['body']);
}

for (const version of roomVersions.keys()) {
  test(`version ${version}: the auth chain of an event is all that it rests upon, each once and without itself`, async (t) => {
    const room = new PeerRoom(version);
    const home = await present(t, room);
    const { graph } = home.rooms;
    await accept(home, room.add(member(erin, 'join')), room.add(state(alice, 'm.room.topic', { topic: 'Stars' })));
    const said = room.add(message(erin, 'Hello'));
    await accept(home, said);

    const expected = new Set(idsOf(room.authChain([said])));
    const chain = graph.listAuthChain([said.eventId]);
    assert.deepEqual(new Set(idsOf(chain)), expected);
    assert.equal(chain.length, expected.size);
    assert.equal(
      chain.some(({ type }) => type === 'm.room.create'),
      true,
    );
    assert.deepEqual(new Set(graph.listAuthChainIds([said.eventId])), expected);
    assert.equal(graph.listAuthChain([said.eventId], { limit: 2 }).length, 2);

    // Of several: those of them that others rest upon are there.
    const whole = room.stateBefore(said);
    assert.deepEqual(new Set(graph.listAuthChainIds(idsOf(whole))), new Set(idsOf(room.authChain(whole))));
    const create = room.holder('m.room.create');
    assert.deepEqual(graph.listAuthChainIds([create.eventId]), []);
    assert.deepEqual(graph.listAuthChainIds([]), []);
    assert.deepEqual(graph.listAuthChainIds(['$unknown' as EventId]), []);
  });
}

test('an auth chain is followed to its end, however deep it is', async (t) => {
  const room = new PeerRoom('11');
  const home = await present(t, room);
  for (let turn = 0; turn < 12; turn += 1) {
    const users = { [alice]: 100, [dora]: 60 + turn };
    await accept(home, room.add(state(alice, 'm.room.power_levels', { users })));
  }
  const said = room.add(message(dora, 'x'));
  await accept(home, said);
  const expected = room.authChain([said]);
  assert.ok(expected.length > 12);
  assert.deepEqual(new Set(home.rooms.graph.listAuthChainIds([said.eventId])), new Set(idsOf(expected)));
  assert.equal(home.rooms.graph.listAuthChain([said.eventId]).length, expected.length);
});

test('the chain of a large state is walked in small steps and comes out the same', async (t) => {
  const room = new PeerRoom('11');
  const home = await present(t, room);
  for (let round = 0; round < 3; round += 1) {
    for (let at = 0; at < 200; at += 1) {
      const person = `@guest${at}:away.test` as typeof dora;
      await accept(home, room.add(member(person, 'join', person, { displayname: `${round}` })));
    }
  }
  const ids = idsOf(room.stateBefore(room.add(message(dora, 'x'))));
  const steps = [...home.rooms.graph.walkAuthChain(ids)];
  assert(steps.length > 1);
  const all = steps.flat();
  assert.equal(new Set(all).size, all.length);
  const expected = room.authChain(ids.map((id) => room.get(id)));
  assert.deepEqual(new Set(all), new Set(idsOf(expected)));
});

test('going back gives the newest first, each once, over forks and up to the limit', async (t) => {
  const room = new PeerRoom('11');
  const home = await present(t, room);
  const { graph } = home.rooms;
  const root = room.add(message(dora, 'root'));
  const left = room.add(message(dora, 'left'), { after: [root] });
  const right = room.add(message(fred, 'right'), { after: [root] });
  const further = room.add(message(fred, 'further'), { after: [right] });
  const joint = room.add(message(dora, 'joint'), { after: [left, further] });
  await accept(home, root, left, right, further, joint);
  const { roomId } = room;

  assert.deepEqual(bodiesOf(graph.listBackwards(roomId, [joint.eventId], 5)), [
    'joint',
    'further',
    'right',
    'left',
    'root',
  ]);
  assert.deepEqual(bodiesOf(graph.listBackwards(roomId, [left.eventId, right.eventId], 3)), ['right', 'left', 'root']);
  assert.equal(graph.listBackwards(roomId, [joint.eventId], 100).length, 5 + room.base.length);
  assert.deepEqual(graph.listBackwards(roomId, [joint.eventId], 0), []);
  assert.deepEqual(graph.listBackwards(roomId, ['$unknown' as EventId], 10), []);
  assert.deepEqual(graph.listBackwards(new PeerRoom('11').roomId, [joint.eventId], 10), []);
});

test('what is missing between two points is told earliest first, without the points, the nearest if it is too much', async (t) => {
  const room = new PeerRoom('11');
  const home = await present(t, room);
  const { graph } = home.rooms;
  const said = ['a', 'b', 'c', 'd', 'e', 'f'].map((body) => room.add(message(dora, body)));
  await accept(home, ...said);
  const [a, b, c, , , f] = said;
  assert(a && b && c && f);
  const { roomId } = room;
  const missing = (options: Partial<Parameters<typeof graph.listMissing>[1]>) =>
    bodiesOf(
      graph.listMissing(roomId, { earliest: [a.eventId], latest: [f.eventId], limit: 10, minDepth: 0, ...options }),
    );

  assert.deepEqual(missing({}), ['b', 'c', 'd', 'e']);
  assert.deepEqual(missing({ limit: 2 }), ['d', 'e']);
  assert.deepEqual(missing({ limit: 0 }), []);
  assert.deepEqual(missing({ minDepth: c.depth }), ['c', 'd', 'e']);
  assert.deepEqual(missing({ latest: [b.eventId] }), []);
  assert.deepEqual(missing({ latest: [] }), []);
  assert.deepEqual(missing({ latest: ['$unknown' as EventId] }), []);
  assert.deepEqual(missing({ earliest: [], latest: [b.eventId], limit: 1 }), ['a']);
  assert.deepEqual(
    graph.listMissing(new PeerRoom('11').roomId, { earliest: [], latest: [f.eventId], limit: 10, minDepth: 0 }),
    [],
  );
});

test('rejected events and those outside the graph are never given, soft-failed ones where others follow them', async (t) => {
  const room = new PeerRoom('11');
  const home = await present(t, room);
  const { graph, events } = home.rooms;
  const first = room.add(message(fred, 'first'));
  await accept(home, first);
  const ban = room.add(member(fred, 'ban', alice));
  await accept(home, ban);
  // Fred speaks as if he had not heard of it.
  const late = room.add(message(fred, 'late'), { after: [first] });
  // And Erin, who was never in the room, has no right to.
  const wrong = room.add(message(erin, 'wrong'), { after: [ban] });
  await accept(home, late, wrong);
  assert.equal(events.findEvent(late.eventId)?.verdict, 'soft-failed');
  assert.equal(events.findEvent(wrong.eventId)?.verdict, 'rejected');
  const joint = room.add(message(dora, 'joint'), { after: [ban, wrong, late] });
  await accept(home, joint);
  const stray = room.add(state(alice, 'm.room.topic', { topic: 'stray' }), { after: [joint] });
  await home.outliers.accept({ roomId: room.roomId, version: room.version }, [stray.pdu]);
  assert.equal(events.findEvent(stray.eventId)?.outlier, true);

  const { roomId } = room;
  assert.deepEqual(bodiesOf(graph.listBackwards(roomId, [joint.eventId], 4)), ['joint', 'late', undefined, 'first']);
  assert.deepEqual(bodiesOf(graph.listBackwards(roomId, [wrong.eventId], 2)), [undefined, 'first']);
  assert.deepEqual(graph.listBackwards(roomId, [stray.eventId], 10), []);
  assert.deepEqual(bodiesOf(graph.listBackwards(roomId, [ban.eventId], 2)), [undefined, 'first']);
  const between = graph.listMissing(roomId, {
    earliest: [first.eventId],
    latest: [joint.eventId],
    limit: 10,
    minDepth: 0,
  });
  assert.deepEqual(new Set(idsOf(between)), new Set([ban.eventId, late.eventId]));
});
