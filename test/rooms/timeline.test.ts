import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomId } from '../../server/matrix/identifiers.ts';
import { formatTimelineToken, parseTimelineToken } from '../../server/rooms/timeline-token.ts';
import type { PersistedEvent, TimelineToken } from '../../server/rooms/types.ts';
import { STREAM_START, type StreamPosition } from '../../server/storage/types.ts';
import { alice, bodies, dora, draft, type Household, household, receive, remoteEvent } from './room-kit.ts';

async function roomWith(home: Household, count: number): Promise<{ roomId: RoomId; said: PersistedEvent[] }> {
  const roomId = await home.createRoom();
  const said: PersistedEvent[] = [];
  for (let turn = 0; turn < count; turn++) said.push(await home.send(roomId, draft.message(alice, `${turn}`)));
  return { roomId, said };
}

const isMessage = (event: PersistedEvent): boolean => event.type === 'm.room.message';

function numbers(from: number, to: number): string[] {
  const step = from <= to ? 1 : -1;
  return Array.from({ length: Math.abs(to - from) + 1 }, (_, index) => `${from + index * step}`);
}

test('paging gives every event once, back and forth', async (t) => {
  const home = household(t);
  const { timeline } = home.rooms;
  const { roomId } = await roomWith(home, 25);
  for (const direction of ['b', 'f'] as const) {
    const seen: PersistedEvent[] = [];
    let from: TimelineToken | undefined;
    do {
      const page = timeline.page({ roomId, from, direction, limit: 7 });
      assert.ok(page.events.length <= 7);
      seen.push(...page.events);
      from = page.end;
    } while (from !== undefined);
    assert.equal(seen.length, 29);
    assert.deepEqual(bodies(seen), direction === 'b' ? numbers(24, 0) : numbers(0, 24));
  }
});

test('a page ends where there is nothing more, and not before', async (t) => {
  const home = household(t);
  const { timeline } = home.rooms;
  const { roomId } = await roomWith(home, 6);
  assert.equal(timeline.page({ roomId, from: undefined, direction: 'b', limit: 10 }).end, undefined);
  const almost = timeline.page({ roomId, from: undefined, direction: 'b', limit: 9 });
  assert.ok(almost.end !== undefined);
  const rest = timeline.page({ roomId, from: almost.end, direction: 'b', limit: 9 });
  assert.deepEqual(
    rest.events.map(({ type }) => type),
    ['m.room.create'],
  );
  assert.equal(rest.end, undefined);
});

test('a page begins at an event and stops at another', async (t) => {
  const home = household(t);
  const { timeline } = home.rooms;
  const { roomId, said } = await roomWith(home, 10);
  const [two, seven] = [said[2], said[7]];
  assert.ok(two && seven);
  const page = (options: { from: TimelineToken; to: TimelineToken; direction: 'b' | 'f' }) =>
    bodies(timeline.page({ roomId, limit: 100, ...options }).events);
  const at = (event: PersistedEvent, side: 'before' | 'after'): TimelineToken => timeline.tokenAt(event, side);
  assert.deepEqual(page({ from: at(seven, 'before'), to: at(two, 'after'), direction: 'b' }), numbers(6, 3));
  assert.deepEqual(page({ from: at(seven, 'after'), to: at(two, 'before'), direction: 'b' }), numbers(7, 2));
  assert.deepEqual(page({ from: at(two, 'after'), to: at(seven, 'before'), direction: 'f' }), numbers(3, 6));
  assert.deepEqual(page({ from: at(two, 'before'), to: at(seven, 'after'), direction: 'f' }), numbers(2, 7));
});

test('a position of the stream is a place to page from as well', async (t) => {
  const home = household(t);
  const { timeline } = home.rooms;
  const { roomId, said } = await roomWith(home, 10);
  const five = said[5];
  assert.ok(five);
  const from: TimelineToken = { order: 'stream', position: five.position };
  assert.deepEqual(bodies(timeline.page({ roomId, from, direction: 'b', limit: 100 }).events), numbers(5, 0));
  assert.deepEqual(bodies(timeline.page({ roomId, from, direction: 'f', limit: 100 }).events), numbers(6, 9));
  assert.deepEqual(
    bodies(timeline.page({ roomId, from: undefined, to: from, direction: 'b', limit: 100 }).events),
    numbers(9, 6),
  );
  const start: TimelineToken = { order: 'stream', position: STREAM_START };
  assert.equal(timeline.page({ roomId, from: start, direction: 'f', limit: 100 }).events.length, 14);
});

test('a filter thins a page without ending it', async (t) => {
  const home = household(t);
  const { timeline } = home.rooms;
  const { roomId } = await roomWith(home, 30);
  const accept = (event: PersistedEvent): boolean => Number(event.content['body']) % 10 === 3;
  const page = timeline.page({ roomId, from: undefined, direction: 'b', limit: 2, accept });
  assert.deepEqual(bodies(page.events), ['23', '13']);
  const rest = timeline.page({ roomId, from: page.end, direction: 'b', limit: 2, accept });
  assert.deepEqual(bodies(rest.events), ['3']);
  assert.equal(rest.end, undefined);
});

test('a filter that lets nothing through does not go through the whole room at once', async (t) => {
  const home = household(t);
  const { timeline } = home.rooms;
  const { roomId } = await roomWith(home, 1_200);
  let looked = 0;
  const accept = (): boolean => {
    looked += 1;
    return false;
  };
  const page = timeline.page({ roomId, from: undefined, direction: 'b', limit: 5, accept });
  assert.deepEqual(page.events, []);
  assert.ok(page.end !== undefined);
  assert.ok(looked <= 1_100, `${looked} looked at`);
  assert.equal(timeline.page({ roomId, from: page.end, direction: 'b', limit: 5, accept }).end, undefined);
  assert.equal(looked, 1_204);
  looked = 0;
  const news = timeline.since({ roomId, since: STREAM_START, now: home.db.position(), limit: 5, accept });
  assert.deepEqual(news.events, []);
  assert.ok(news.limited);
  assert.ok(looked <= 1_100, `${looked} looked at`);
});

test('news since a position come oldest first, and what is left out can be paged back to', async (t) => {
  const home = household(t);
  const { timeline } = home.rooms;
  const { roomId, said } = await roomWith(home, 12);
  const since = said[3]?.position ?? STREAM_START;
  const now = home.db.position();
  const all = timeline.since({ roomId, since, now, limit: 8 });
  assert.deepEqual(bodies(all.events), numbers(4, 11));
  assert.equal(all.limited, false);
  const some = timeline.since({ roomId, since, now, limit: 3 });
  assert.deepEqual(bodies(some.events), numbers(9, 11));
  assert.equal(some.limited, true);
  assert.deepEqual(
    bodies(timeline.page({ roomId, from: some.prevBatch, direction: 'b', limit: 4 }).events),
    numbers(8, 5),
  );
  const none = timeline.since({ roomId, since: now, now, limit: 3 });
  assert.deepEqual([none.events, none.limited], [[], false]);
  const early = timeline.since({ roomId, since, now: said[5]?.position ?? now, limit: 10, accept: isMessage });
  assert.deepEqual(bodies(early.events), numbers(4, 5));
  const zero = timeline.since({ roomId, since, now, limit: 0 });
  assert.deepEqual([zero.events, zero.limited], [[], true]);
});

test('nothing between the news and the page behind them is lost where the graph forks', async (t) => {
  const home = household(t);
  const { timeline } = home.rooms;
  const roomId = await home.createRoom();
  const start = timeline.findLatest(roomId);
  assert.ok(start);
  const joined = await receive(home, remoteEvent(home, roomId, draft.member(dora, dora, 'join'), { after: [start] }));
  for (const turn of numbers(0, 5)) await home.send(roomId, draft.message(alice, turn));
  // Late and low in the graph: behind what we said in the stream, beside its beginning in the graph.
  await receive(home, remoteEvent(home, roomId, draft.message(dora, 'late'), { after: [joined] }));
  await home.send(roomId, draft.message(alice, '6'));
  for (const limit of [1, 2, 3, 5]) {
    const news = timeline.since({ roomId, since: STREAM_START, now: home.db.position(), limit });
    const { events } = timeline.page({ roomId, from: news.prevBatch, direction: 'b', limit: 100 });
    const seen = new Set([...bodies(news.events), ...bodies(events)]);
    assert.deepEqual(seen, new Set([...numbers(0, 6), 'late']), `limit ${limit}`);
  }
});

test('only rooms in which something was said in a stretch of the stream were active in it', async (t) => {
  const home = household(t);
  const { timeline } = home.rooms;
  const kitchen = await home.createRoom();
  const garden = await home.createRoom();
  const positions: StreamPosition[] = [home.db.position()];
  for (const roomId of [kitchen, garden, kitchen]) {
    await home.send(roomId, draft.message(alice, 'Hello'));
    positions.push(home.db.position());
  }
  const active = (from: number, to: number) => {
    const [since, now] = [positions[from], positions[to]];
    assert.ok(since !== undefined && now !== undefined);
    return new Set(timeline.listActiveRooms(since, now));
  };
  assert.deepEqual(active(0, 1), new Set([kitchen]));
  assert.deepEqual(active(1, 2), new Set([garden]));
  assert.deepEqual(active(0, 3), new Set([kitchen, garden]));
  assert.deepEqual(active(3, 3), new Set());
});

test('the event nearest to a moment is found on either side of it', async (t) => {
  const home = household(t);
  const { timeline } = home.rooms;
  const roomId = await home.createRoom();
  const say = (at: number) => home.send(roomId, { ...draft.message(alice, `${at}`), originServerTs: at });
  for (const at of [2_000_000_000_100, 2_000_000_000_200, 2_000_000_000_300]) await say(at);
  const near = (ts: number, direction: 'f' | 'b') => timeline.findNearest(roomId, ts, direction)?.content['body'];
  assert.equal(near(2_000_000_000_150, 'f'), '2000000000200');
  assert.equal(near(2_000_000_000_150, 'b'), '2000000000100');
  assert.equal(near(2_000_000_000_200, 'f'), '2000000000200');
  assert.equal(near(2_000_000_000_200, 'b'), '2000000000200');
  assert.equal(timeline.findNearest(roomId, 2_000_000_000_301, 'f'), undefined);
  assert.equal(timeline.findNearest(roomId, 5, 'b'), undefined);
});

test('the latest event, or the latest up to a position, is found', async (t) => {
  const home = household(t);
  const { timeline } = home.rooms;
  const { roomId, said } = await roomWith(home, 4);
  assert.equal(timeline.findLatest(roomId)?.eventId, said[3]?.eventId);
  assert.equal(timeline.findLatest(roomId, said[1]?.position)?.eventId, said[1]?.eventId);
  assert.equal(timeline.findLatest(roomId, STREAM_START), undefined);
});

test('a room nobody knows has no events', (t) => {
  const { timeline } = household(t).rooms;
  const roomId = '!nowhere:hearth.test' as RoomId;
  assert.deepEqual(timeline.page({ roomId, from: undefined, direction: 'b', limit: 5 }), {
    events: [],
    end: undefined,
  });
  assert.equal(timeline.findLatest(roomId), undefined);
  assert.equal(timeline.findNearest(roomId, 0, 'f'), undefined);
});

test('a token reads as it was written, and nothing else reads as one', () => {
  const tokens: TimelineToken[] = [
    { order: 'stream', position: STREAM_START },
    { order: 'stream', position: Number.MAX_SAFE_INTEGER as StreamPosition },
    { order: 'topological', depth: 0, position: 1 as StreamPosition },
    { order: 'topological', depth: Number.MAX_SAFE_INTEGER, position: 12 as StreamPosition },
  ];
  for (const token of tokens) assert.deepEqual(parseTimelineToken(formatTimelineToken(token)), token);
  const garbage = [
    '',
    's',
    's-1',
    's01',
    's1.5',
    's1 ',
    't1',
    't1-',
    't-1-1',
    't1-2-3',
    'S1',
    's9007199254740992',
    'x1',
  ];
  for (const text of garbage) assert.equal(parseTimelineToken(text), undefined, text);
});
