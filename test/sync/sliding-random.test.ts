import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RoomId } from '../../server/matrix/identifiers.ts';
import type { Json } from '../kit/test-client.ts';
import { alice, bob, openHousehold } from './household.ts';
import { slide } from './sliding-kit.ts';

const ROOMS = 4;

/** What a client that does as it is told holds of each room: its events without a gap, its topic and its membership. */
class Model {
  readonly rooms = new Map<string, { events: string[]; topic: string | undefined; membership: string }>();

  take(rooms: Json): void {
    for (const [roomId, told] of Object.entries<Json>(rooms)) {
      const held = this.rooms.get(roomId);
      const fresh = told.initial === true || held === undefined;
      const room = fresh ? { events: [], topic: undefined, membership: '' } : held;
      const events = (told.timeline ?? []).map((event: Json) => event.event_id);
      if (fresh || told.limited === true || told.expanded_timeline === true) room.events = events;
      else room.events.push(...events);
      for (const event of told.required_state ?? [])
        if (event.type === 'm.room.topic') room.topic = event.content.topic;
      room.membership = told.membership;
      this.rooms.set(roomId, room);
    }
  }
}

const room = fc.nat({ max: ROOMS - 1 });
const step = fc.oneof(
  fc.record({ kind: fc.constant('say' as const), room }),
  fc.record({ kind: fc.constant('topic' as const), room }),
  fc.record({ kind: fc.constant('leave' as const), room }),
  fc.record({ kind: fc.constant('kick' as const), room }),
  fc.record({ kind: fc.constant('join' as const), room }),
  fc.record({
    kind: fc.constant('ask' as const),
    last: fc.nat({ max: ROOMS }),
    limit: fc.integer({ min: 1, max: 5 }),
    topic: fc.boolean(),
    subscribed: fc.option(room, { nil: undefined }),
    lost: fc.boolean(),
  }),
);

test('whatever happens and whatever is asked, a client ends up with the rooms as they are', async (t) => {
  const home = await openHousehold(t);
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      run += 1;
      const rooms: RoomId[] = [];
      for (let n = 0; n < ROOMS; n += 1) {
        const roomId = home.rooms.create(bob);
        home.rooms.member(roomId, alice, 'join');
        rooms.push(roomId);
      }
      const at = (index: number): RoomId => rooms[index] ?? ('' as RoomId);
      const joined = new Set<RoomId>(rooms);
      const model = new Model();
      let pos: string | undefined;
      const client = home.client(alice);
      const ask = async (last: number, limit: number, topic: boolean, subscribed?: RoomId): Promise<Json> => {
        const config = { timeline_limit: limit, required_state: topic ? [['m.room.topic', '']] : [] };
        const body = {
          conn_id: `run${run}`,
          lists: last === 0 ? {} : { all: { ranges: [[0, last - 1]], ...config } },
          room_subscriptions: subscribed === undefined ? {} : { [subscribed]: config },
        };
        return slide(client, body, pos === undefined ? {} : { pos });
      };
      for (const [n, doing] of steps.entries()) {
        if (doing.kind === 'ask') {
          const subscribed = doing.subscribed === undefined ? undefined : at(doing.subscribed);
          const answer = await ask(doing.last, doing.limit, doing.topic, subscribed);
          if (doing.lost) continue;
          model.take(answer.rooms);
          pos = answer.pos;
          continue;
        }
        const roomId = at(doing.room);
        if (doing.kind === 'say') home.rooms.say(roomId, bob, `${run}-${n}`);
        if (doing.kind === 'topic') {
          home.rooms.state(roomId, bob, 'm.room.topic', { topic: `${run}-${n}` });
        }
        if (doing.kind === 'leave' && joined.delete(roomId)) home.rooms.member(roomId, alice, 'leave');
        if (doing.kind === 'kick' && joined.delete(roomId)) home.rooms.member(roomId, alice, 'leave', { by: bob });
        if (doing.kind === 'join' && !joined.has(roomId)) {
          joined.add(roomId);
          home.rooms.member(roomId, alice, 'join');
        }
      }
      const last = await ask(500, 5, true);
      model.take(last.rooms);
      ({ pos } = last);
      assert.deepEqual((await ask(500, 5, true)).rooms, {});
      for (const roomId of rooms) {
        const held = model.rooms.get(roomId);
        if (!joined.has(roomId)) {
          assert.ok(held === undefined || held.membership !== 'join', 'it knows that it is out');
          continue;
        }
        assert.equal(held?.membership, 'join');
        const topic = home.rooms.currentState(roomId).find('m.room.topic', '');
        assert.equal(held.topic, topic === undefined ? undefined : home.rooms.findEvent(topic)?.content['topic']);
        const all = home.rooms
          .page({ roomId, from: undefined, direction: 'b', limit: 1_000 })
          .events.map(({ eventId }) => eventId)
          .reverse();
        assert.ok(held.events.length >= Math.min(5, all.length));
        assert.deepEqual(held.events, all.slice(-held.events.length));
      }
    }),
    { numRuns: 60 },
  );
});
