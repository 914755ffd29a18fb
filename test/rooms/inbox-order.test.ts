import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RoomEvent } from '../../server/matrix/events/event.ts';
import { AWAY, alice, dora, erin, FAR, type Fields, fred, house, member, type Play } from './remote-kit.ts';
import { currentState, message, pdusOf, PeerRoom, state } from './peer-room.ts';

const people = [dora, fred, erin];

const deed = fc.record({
  who: fc.constantFrom(...people),
  whom: fc.constantFrom(...people),
  what: fc.constantFrom('topic', 'slot', 'ban', 'kick', 'invite', 'join', 'leave', 'levels', 'rules', 'message'),
  number: fc.nat(60),
  /** How far back it branches off, and whether it follows two events. */
  back: fc.nat(5),
  joint: fc.boolean(),
});
type Deed = typeof deed extends fc.Arbitrary<infer Value> ? Value : never;

function fieldsOf({ who, whom, what, number }: Deed, room: PeerRoom): Fields {
  switch (what) {
    case 'topic':
      return state(who, 'm.room.topic', { topic: `${number}` });
    case 'slot':
      return state(who, 'org.example.slot', { number }, `${number % 3}`);
    case 'ban':
      return member(whom, 'ban', who);
    case 'kick':
      return member(whom, 'leave', who);
    case 'invite':
      return member(whom, 'invite', who);
    case 'join':
      return member(who, 'join', who, { displayname: `${number}` });
    case 'leave':
      return member(who, 'leave');
    case 'levels':
      return state(who, 'm.room.power_levels', {
        users: { ...(room.version.privilegedCreators ? {} : { [alice]: 100 }), [dora]: 60, [whom]: number },
      });
    case 'rules':
      return state(who, 'm.room.join_rules', { join_rule: number % 2 === 0 ? 'public' : 'invite' });
    default:
      return message(who, `${number}`);
  }
}

/** A room in which these things were done, and what everybody is missing of it, in order. */
function play(version: string, deeds: readonly Deed[]): { room: PeerRoom; events: readonly RoomEvent[] } {
  const room = new PeerRoom(version);
  const graph = [...room.base];
  for (const done of deeds) {
    const one = graph.at(-1 - Math.min(done.back, graph.length - room.base.length));
    const other = graph.at(-1);
    assert.ok(one && other);
    graph.push(room.add(fieldsOf(done, room), { after: done.joint && one !== other ? [one, other] : [one] }));
  }
  const ends = graph.filter(({ eventId }) => !graph.some(({ prevEvents }) => prevEvents.includes(eventId)));
  // Alice draws all ends together, so that nothing hangs on what came last.
  graph.push(room.add(message(alice, 'so be it'), { after: ends.slice(-20) }));
  return { room, events: graph.slice(room.base.length) };
}

for (const version of ['1', '2', '10', '12']) {
  test(`version ${version}: in whatever order and portions a room arrives, it ends in the same state`, async (t) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(deed, { minLength: 4, maxLength: 14 }),
        fc.infiniteStream(fc.record({ weight: fc.nat(1_000), cut: fc.boolean(), far: fc.boolean() })),
        async (deeds, chances) => {
          const { room, events } = play(version, deeds);
          const straight = await visitAnd(
            t,
            room,
            () => undefined,
            events.map((event) => [event]),
          );
          const shuffled = events.map((event) => ({ event, ...next(chances) })).sort((a, b) => a.weight - b.weight);
          const portions: RoomEvent[][] = [[]];
          for (const { event, cut } of shuffled) {
            if (cut) portions.push([]);
            portions.at(-1)?.push(event);
          }
          const other = await visitAnd(t, room, room.play, portions);
          assert.deepEqual(other.state, straight.state);
          assert.deepEqual(other.extremities, straight.extremities);
          assert.deepEqual(other.stored, events.length);
        },
      ),
      { numRuns: 12 },
    );
  });
}

function next<Value>(stream: Iterator<Value>): Value {
  const { value } = stream.next() as IteratorYieldResult<Value>;
  return value;
}

async function visitAnd(
  t: Parameters<typeof house>[0],
  room: PeerRoom,
  playing: Play,
  portions: readonly (readonly RoomEvent[])[],
): Promise<{ state: unknown; extremities: unknown; stored: number }> {
  const home = house(t, playing);
  await room.enter(home.rooms);
  for (const [turn, portion] of portions.entries()) {
    await home.rooms.taker.receive(turn % 2 === 0 ? AWAY : FAR, pdusOf(portion));
    if (turn % 3 === 0) await home.rooms.taker.idle();
  }
  await home.rooms.taker.idle();
  assert.deepEqual(home.rooms.checkConsistency(), []);
  const last = await home.rooms.sender.send({ roomId: room.roomId, ...message(alice, 'end'), content: {} });
  const stored = [...room.events.keys()].filter((id) => home.rooms.events.findEvent(id)?.outlier === false).length;
  return {
    state: currentState(home.rooms, room.roomId),
    extremities: last.prevEvents.toSorted(),
    stored: stored - room.base.length,
  };
}
