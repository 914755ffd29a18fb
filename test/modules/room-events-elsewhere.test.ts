import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import {
  alice,
  type Asked,
  AWAY,
  dora,
  fred,
  HOME,
  keyOf,
  keyRing,
  member,
  type Play,
  playedClient,
  unreachable,
} from '../rooms/remote-kit.ts';
import { numbersOf, range, ToldRoom } from '../rooms/told-room.ts';
import { inRoom, inRoomV1, join, leave, roomsHouse, type RoomsHouse } from './room-events-harness.ts';

interface Joined {
  readonly house: RoomsHouse;
  readonly client: TestClient;
  /** What other servers were asked for. */
  readonly asked: Asked[];
}

/** Alice has joined a room of other servers just now. */
async function joined(t: TestContext, room: ToldRoom, also?: Play): Promise<Joined> {
  const asked: Asked[] = [];
  const house = await roomsHouse(t, {
    federation: { client: playedClient(room.play(also), asked), keyRing },
    signingKey: keyOf(HOME),
  });
  const { roomId } = room;
  const content = { membership: 'join' };
  await house.rooms.federated?.remote.join({ userId: alice, roomId, servers: [AWAY], content });
  asked.length = 0;
  return { house, client: house.person('alice'), asked };
}

function messages(client: TestClient, room: ToldRoom, query: Json): Promise<Json> {
  return client.get(inRoom(room.roomId, 'messages'), { dir: 'b', limit: 10, ...query }).then(expectOk);
}

/** Reads page by page until there is nothing more. */
async function readAll(client: TestClient, room: ToldRoom, limit: number): Promise<Json[]> {
  const events: Json[] = [];
  let from: string | undefined;
  for (let pages = 0; ; pages += 1) {
    assert(pages < 100, 'it comes to an end');
    const page = await messages(client, room, { limit, from });
    events.push(...page.chunk);
    if (page.end === undefined || page.end === from) return events;
    from = page.end;
  }
}

test('scrolling back goes on into the time before the server came, page by page to the beginning', async (t) => {
  const room = new ToldRoom('11');
  room.say(100);
  room.send({ type: 'm.room.topic', sender: dora, stateKey: '', content: { topic: 'Stars' } });
  room.say(100, dora, 101);
  const { client, asked } = await joined(t, room);
  const events = await readAll(client, room, 30);
  assert.deepEqual(
    events.map(({ event_id: id }) => id),
    [...room.events.keys()].toReversed(),
  );
  assert.deepEqual(numbersOf(events), range(200, 1));
  // Not a page each: what was fetched is there for the next ones.
  assert.deepEqual(
    asked.map(({ operation }) => operation).filter((one) => one === 'v1/backfill'),
    ['v1/backfill', 'v1/backfill', 'v1/backfill'],
  );
  assert.deepEqual(numbersOf(await readAll(client, room, 100)), range(200, 1));
  // From the beginning as well.
  const first = await messages(client, room, { dir: 'f', limit: 250 });
  assert.deepEqual(numbersOf(first.chunk), range(1, 200));
});

test('one page may take more than one answer, but not more than two', async (t) => {
  const room = new ToldRoom('11');
  room.say(400);
  const { client, asked } = await joined(t, room);
  const page = await messages(client, room, { limit: 250 });
  assert.deepEqual(numbersOf(page.chunk), range(400, 201));
  assert.equal(asked.filter(({ operation }) => operation === 'v1/backfill').length, 2);
  const next = await messages(client, room, { limit: 250, from: page.end });
  assert.deepEqual(numbersOf(next.chunk), range(200, 1));
});

test('where nobody answers the page has what there is, and a client may try again', async (t) => {
  const room = new ToldRoom('11');
  room.say(20);
  let isDown = true;
  const { house, client } = await joined(t, room, ({ operation }) => {
    if (isDown && operation === 'v1/backfill') throw unreachable(AWAY);
    return undefined;
  });
  const page = await messages(client, room, {});
  assert.deepEqual(
    page.chunk.map(({ sender }: Json) => sender),
    [alice],
  );
  const empty = await messages(client, room, { from: page.end });
  assert.deepEqual(empty.chunk, []);
  assert.notEqual(empty.end, page.end);
  // The same again says that this is the end for now.
  const again = await messages(client, room, { from: empty.end });
  assert.deepEqual(again.chunk, []);
  assert.equal(again.end, empty.end);
  isDown = false;
  await house.clock.advance(11_000);
  const there = await messages(client, room, { from: empty.end, limit: 100 });
  assert.deepEqual(numbersOf(there.chunk), range(20, 1));
});

test('a page that would skip what is lacking in its middle gets it first', async (t) => {
  const room = new ToldRoom('11');
  room.say(5);
  const { house, client } = await joined(t, room);
  await readAll(client, room, 100);
  const lost = room.say(20, dora, 6);
  const last = room.say(1, dora, 26)[0];
  assert(last && lost.length === 20);
  const stateBefore = room.stateBefore(last).map(({ eventId }) => eventId);
  const acceptance = await house.rooms.inbox.accept(last.pdu, { stateBefore });
  assert.equal(acceptance.kind, 'stored');
  const page = await messages(client, room, { limit: 8 });
  assert.deepEqual(numbersOf(page.chunk), range(26, 19));
  assert.deepEqual(numbersOf(await readAll(client, room, 8)), range(26, 1));
});

test('pages read forwards are complete too', async (t) => {
  const room = new ToldRoom('11');
  room.say(5);
  const { house, client } = await joined(t, room);
  await readAll(client, room, 100);
  const latest = expectOk(await client.get(inRoom(room.roomId, 'messages'), { dir: 'b', limit: 1 }));
  room.say(20, dora, 6);
  const last = room.say(1, dora, 26)[0];
  assert(last);
  await house.rooms.inbox.accept(last.pdu, { stateBefore: room.stateBefore(last).map(({ eventId }) => eventId) });
  const page = await messages(client, room, { dir: 'f', limit: 50, from: latest.end });
  assert.deepEqual(numbersOf(page.chunk), range(6, 26));
});

test('a filter that lets nothing through sends nobody for history', async (t) => {
  const room = new ToldRoom('11');
  room.say(5);
  const { client, asked } = await joined(t, room);
  await messages(client, room, { filter: JSON.stringify({ types: [] }) });
  await messages(client, room, { limit: 0 });
  assert.deepEqual(asked, []);
  const page = await messages(client, room, { filter: JSON.stringify({ types: ['m.room.message'] }) });
  assert.deepEqual(numbersOf(page.chunk), range(5, 1));
});

test('who has left reads on up to then, and nobody is asked for a room that all have left', async (t) => {
  const room = new ToldRoom('11');
  room.say(5);
  const { house, client, asked } = await joined(t, room);
  const bob = house.person('bob');
  await join(bob, room.roomId);
  await leave(bob, room.roomId);
  assert.deepEqual(numbersOf(await readAll(bob, room, 3)), range(5, 1));
  assert.notEqual(asked.length, 0);
  expectError(await house.person('carol').get(inRoom(room.roomId, 'messages'), { dir: 'b' }), 403, 'M_FORBIDDEN');

  const other = new ToldRoom('11');
  other.say(5);
  const second = await joined(t, other);
  await leave(second.client, other.roomId);
  assert.deepEqual(numbersOf(await readAll(second.client, other, 3)), []);
  assert.deepEqual(second.asked, []);
  assert.equal(client.userId, alice);
});

test('what was said around an event of long ago is shown once it is fetched', async (t) => {
  const room = new ToldRoom('11');
  const said = room.say(300);
  const wanted = said[149];
  assert(wanted);
  const { client } = await joined(t, room);
  const path = inRoom(room.roomId, 'context', wanted.eventId);
  const context = expectOk(await client.get(path, { limit: 20 }));
  assert.equal(context.event.event_id, wanted.eventId);
  assert.deepEqual(numbersOf(context.events_before), range(149, 140));
  // After it, as far as the history that is held reaches back by now.
  const before = await messages(client, room, { from: context.start, limit: 5 });
  assert.deepEqual(numbersOf(before.chunk), range(139, 135));
  const again = expectOk(await client.get(path, { limit: 20 }));
  assert.deepEqual(numbersOf(again.events_after), range(151, 160));
  assert.deepEqual(numbersOf(await readAll(client, room, 100)), range(300, 1));
});

test('an event that a link leads to is fetched, for members only, and only if it is of the room', async (t) => {
  const room = new ToldRoom('11');
  const [wanted] = room.say(50);
  assert(wanted);
  const { house, client, asked } = await joined(t, room);
  const path = inRoom(room.roomId, 'event', wanted.eventId);
  expectError(await house.person('bob').get(path), 404, 'M_NOT_FOUND');
  assert.deepEqual(asked, []);
  assert.equal(expectOk(await client.get(path)).content.body, '1');
  const other = new ToldRoom('11');
  const [elsewhere] = other.say(1);
  assert(elsewhere);
  expectError(await client.get(inRoom(room.roomId, 'event', elsewhere.eventId)), 404, 'M_NOT_FOUND');
});

test('the event nearest to a time is one of long ago, if others have a nearer one', async (t) => {
  const room = new ToldRoom('11');
  room.send(member(fred, 'join'));
  const said = room.say(250);
  const wanted = said[100];
  assert(wanted);
  const { client, asked } = await joined(t, room);
  const ask = (ts: number, dir: string) => client.get(inRoomV1(room.roomId, 'timestamp_to_event'), { ts, dir });
  const found = { event_id: wanted.eventId, origin_server_ts: wanted.originServerTs };
  assert.deepEqual(expectOk(await ask(wanted.originServerTs - 1, 'f')), found);
  asked.length = 0;
  assert.deepEqual(expectOk(await ask(wanted.originServerTs, 'f')), found);
  assert.deepEqual(asked, []);
  const [, second] = said;
  assert(second);
  assert.deepEqual(expectOk(await ask(second.originServerTs + 1, 'b')), {
    event_id: second.eventId,
    origin_server_ts: second.originServerTs,
  });
  expectError(await ask(1, 'b'), 404, 'M_NOT_FOUND');
  await readAll(client, room, 100);
  asked.length = 0;
  // All is held: nobody is asked.
  assert.deepEqual(expectOk(await ask(wanted.originServerTs - 1, 'f')), found);
  expectError(await ask(1, 'b'), 404, 'M_NOT_FOUND');
  assert.deepEqual(asked, []);
});
