import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../kit/manual-clock.ts';
import { type Answer, expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const WITHOUT_PRESENCE = { presence: { types: [] } };
const ONLY_RECEIPTS = { ...WITHOUT_PRESENCE, room: { timeline: { limit: 0 }, ephemeral: { types: ['m.receipt'] } } };

function post(who: TestClient, roomId: string, eventId: string, body: Json = {}, type = 'm.read'): Promise<Answer> {
  const room = encodeURIComponent(roomId);
  return who.post(`/_matrix/client/v3/rooms/${room}/receipt/${type}/${encodeURIComponent(eventId)}`, body);
}

async function read(who: TestClient, roomId: string, eventId: string, body: Json = {}, type = 'm.read'): Promise<void> {
  assert.deepEqual(expectOk(await post(who, roomId, eventId, body, type)), {});
}

/** The receipts of a room in an answer: "type user event thread". */
function receiptsIn(sync: Json, roomId: string): string[] {
  const events: Json[] = sync.rooms?.join?.[roomId]?.ephemeral.events ?? [];
  const found: string[] = [];
  for (const { type, content } of events) {
    if (type !== 'm.receipt') continue;
    for (const [eventId, byType] of Object.entries<Json>(content)) {
      for (const [kind, byUser] of Object.entries<Json>(byType)) {
        for (const [user, { thread_id: thread }] of Object.entries<Json>(byUser)) {
          found.push([kind, user, eventId, ...(thread === undefined ? [] : [thread])].join(' '));
        }
      }
    }
  }
  return found.sort();
}

async function receipts(who: TestClient, roomId: string): Promise<string[]> {
  return receiptsIn(await who.sync(), roomId);
}

async function pair(server: TestServer): Promise<{ ann: TestClient; bob: TestClient; room: string }> {
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const room = await ann.createRoom({ preset: 'public_chat' });
  await bob.join(room);
  return { ann, bob, room };
}

test('others see how far one has read, and when', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock });
  const { ann, bob, room } = await pair(server);
  const eventId = await ann.send(room, 'hello');
  const { next_batch: since } = await ann.sync();
  const waiting = ann.sync({ since, timeout: 20_000, filter: WITHOUT_PRESENCE });
  await read(bob, room, eventId);
  const sync = await waiting;
  assert.deepEqual(sync.rooms.join[room].ephemeral.events, [
    { type: 'm.receipt', content: { [eventId]: { 'm.read': { [bob.userId]: { ts: clock.now() } } } } },
  ]);
  assert.equal((await ann.sync({ since: sync.next_batch })).rooms, undefined);

  // One who comes later is told as well.
  const cy = await server.register('cy');
  const { next_batch: cysSince } = await cy.sync();
  await cy.join(room);
  const expected = [`m.read ${bob.userId} ${eventId}`];
  assert.deepEqual(receiptsIn(await cy.sync({ since: cysSince }), room), expected);
  await server.restart();
  assert.deepEqual(await receipts(cy, room), expected);
});

test('receipts move forward only, one for each user', async () => {
  await using server = await TestServer.start();
  const { ann, bob, room } = await pair(server);
  const [a, b, c] = [await ann.send(room, 'a'), await ann.send(room, 'b'), await ann.send(room, 'c')];
  await read(bob, room, b);
  const { next_batch: since } = await ann.sync();
  for (const again of [a, b]) await read(bob, room, again);
  assert.deepEqual(receiptsIn(await ann.sync({ since }), room), []);
  await read(ann, room, a);
  await read(bob, room, c);
  assert.deepEqual(await receipts(ann, room), [`m.read ${ann.userId} ${a}`, `m.read ${bob.userId} ${c}`].sort());
});

test('private receipts are for oneself alone', async () => {
  await using server = await TestServer.start();
  const { ann, bob, room } = await pair(server);
  const laptop = await server.login('bob');
  const [a, b] = [await ann.send(room, 'a'), await ann.send(room, 'b')];
  const { next_batch: annsSince } = await ann.sync({ filter: ONLY_RECEIPTS });
  const { next_batch: laptopsSince } = await laptop.sync({ filter: ONLY_RECEIPTS });
  const waiting = laptop.sync({ since: laptopsSince, timeout: 20_000, filter: ONLY_RECEIPTS });
  await read(bob, room, b, {}, 'm.read.private');
  assert.deepEqual(receiptsIn(await waiting, room), [`m.read.private ${bob.userId} ${b}`]);
  const others = await ann.sync({ since: annsSince, filter: ONLY_RECEIPTS });
  assert.equal(others.rooms?.join?.[room], undefined);

  // The public one has a place of its own.
  await read(bob, room, a);
  assert.deepEqual(await receipts(ann, room), [`m.read ${bob.userId} ${a}`]);
  assert.deepEqual(await receipts(bob, room), [`m.read ${bob.userId} ${a}`, `m.read.private ${bob.userId} ${b}`]);
});

test('a thread has receipts of its own, which stand beside that for the room', async () => {
  await using server = await TestServer.start();
  const { ann, bob, room } = await pair(server);
  const root = await ann.send(room, 'lunch?');
  const reply = await ann.send(room, {
    msgtype: 'm.text',
    body: 'soup',
    'm.relates_to': { rel_type: 'm.thread', event_id: root },
  });
  const reaction = await ann.send(
    room,
    { 'm.relates_to': { rel_type: 'm.annotation', event_id: reply, key: '🍲' } },
    'm.reaction',
  );
  const last = await ann.send(room, 'or not');

  await read(bob, room, reaction, { thread_id: root });
  await read(bob, room, last, { thread_id: 'main' });
  // The same event may be read in the room as a whole, too.
  await read(bob, room, last);
  const { next_batch: since } = await bob.sync();
  assert.deepEqual(
    await receipts(ann, room),
    [
      `m.read ${bob.userId} ${last}`,
      `m.read ${bob.userId} ${last} main`,
      `m.read ${bob.userId} ${reaction} ${root}`,
    ].sort(),
  );
  // The root is in the main timeline, and yet begins its thread.
  await read(ann, room, root, { thread_id: root });
  await read(ann, room, root, { thread_id: 'main' }, 'm.read.private');
  assert.deepEqual(receiptsIn(await bob.sync({ since }), room), [`m.read ${ann.userId} ${root} ${root}`]);

  for (const [event, thread] of [
    [reply, 'main'],
    [last, root],
    [reply, last],
    [last, ''],
    [last, 7],
    [last, null],
  ] as const) {
    expectError(await post(bob, room, event, { thread_id: thread }), 400, 'M_INVALID_PARAM');
  }
  expectError(await post(bob, room, last, { thread_id: 'main' }, 'm.fully_read'), 400, 'M_INVALID_PARAM');
});

test('receipts of those one ignores are not shown', async () => {
  await using server = await TestServer.start();
  const { ann, bob, room } = await pair(server);
  const path = `/_matrix/client/v3/user/${encodeURIComponent(ann.userId)}/account_data/m.ignored_user_list`;
  expectOk(await ann.put(path, { ignored_users: { [bob.userId]: {} } }));
  await read(bob, room, await ann.send(room, 'hello'));
  assert.deepEqual(await receipts(ann, room), []);
});

test('m.fully_read may be set in the same way, and is nobody else’s business', async () => {
  await using server = await TestServer.start();
  const { ann, bob, room } = await pair(server);
  const eventId = await ann.send(room, 'hello');
  await read(bob, room, eventId, {}, 'm.fully_read');
  const { account_data: accountData, ephemeral } = (await bob.sync()).rooms.join[room];
  assert.deepEqual(accountData.events, [{ type: 'm.fully_read', content: { event_id: eventId } }]);
  assert.deepEqual(ephemeral.events, []);
  assert.deepEqual((await ann.sync()).rooms.join[room].account_data.events, []);
});

test('what cannot be read is refused', async () => {
  await using server = await TestServer.start();
  const { ann, bob, room } = await pair(server);
  const other = await ann.createRoom();
  const elsewhere = await ann.send(other, 'private');
  const eventId = await ann.send(room, 'hello');
  expectError(await post(bob, room, eventId, {}, 'm.seen'), 400, 'M_INVALID_PARAM');
  expectError(await post(bob, room, 'hello'), 400, 'M_INVALID_PARAM');
  expectError(await post(bob, room, elsewhere), 404, 'M_NOT_FOUND');
  expectError(await post(bob, room, '$unknown'), 404, 'M_NOT_FOUND');
  expectError(await post(bob, other, elsewhere), 403, 'M_FORBIDDEN');
  await bob.leave(room);
  expectError(await post(bob, room, eventId), 403, 'M_FORBIDDEN');
  assert.deepEqual(await receipts(ann, room), []);
  // A body is not needed.
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/receipt/m.read/${encodeURIComponent(eventId)}`;
  expectOk(await ann.request('POST', path));
});
