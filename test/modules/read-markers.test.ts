import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

function post(who: TestClient, roomId: string, body: Json): Promise<Answer> {
  return who.post(`/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/read_markers`, body);
}

async function mark(who: TestClient, roomId: string, body: Json): Promise<void> {
  assert.deepEqual(expectOk(await post(who, roomId, body)), {});
}

/** The events the marker of a room is on in an answer; none or one. */
function markersIn(sync: Json, roomId: string): string[] {
  const events: Json[] = sync.rooms?.join?.[roomId]?.account_data.events ?? [];
  return events.filter(({ type }) => type === 'm.fully_read').map(({ content }) => content.event_id);
}

async function pair(server: TestServer): Promise<{ ann: TestClient; bob: TestClient; room: string }> {
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const room = await ann.createRoom({ preset: 'public_chat' });
  await bob.join(room);
  return { ann, bob, room };
}

test('the marker reaches all of one’s devices, and moves forward only', async () => {
  await using server = await TestServer.start();
  const { ann, bob, room } = await pair(server);
  const laptop = await server.login('bob');
  const [a, b, c] = [await ann.send(room, 'a'), await ann.send(room, 'b'), await ann.send(room, 'c')];
  const { next_batch: since } = await laptop.sync();
  const waiting = laptop.sync({ since, timeout: 20_000, filter: { presence: { types: [] } } });
  await mark(bob, room, { 'm.fully_read': b });
  const news = await waiting;
  assert.deepEqual(markersIn(news, room), [b]);

  await mark(bob, room, { 'm.fully_read': a });
  assert.deepEqual(markersIn(await laptop.sync({ since: news.next_batch }), room), []);
  await mark(bob, room, { 'm.fully_read': c });
  await server.restart();
  assert.deepEqual(markersIn(await laptop.sync(), room), [c]);
  assert.deepEqual(markersIn(await ann.sync(), room), []);
});

test('receipts may come along in the same request', async () => {
  await using server = await TestServer.start();
  const { ann, bob, room } = await pair(server);
  const [a, b, c] = [await ann.send(room, 'a'), await ann.send(room, 'b'), await ann.send(room, 'c')];
  await mark(bob, room, { 'm.fully_read': a, 'm.read': b, 'm.read.private': c });
  const { ephemeral, account_data: accountData, unread_notifications: unread } = (await bob.sync()).rooms.join[room];
  const [receipt] = ephemeral.events;
  assert.deepEqual(Object.keys(receipt.content[b]['m.read']), [bob.userId]);
  assert.deepEqual(Object.keys(receipt.content[c]['m.read.private']), [bob.userId]);
  assert.equal(accountData.events[0].content.event_id, a);
  assert.equal(unread.notification_count, 0);
  // Either may be left out, and so may all.
  await mark(ann, room, { 'm.read': c });
  await mark(ann, room, {});
  assert.deepEqual(markersIn(await ann.sync(), room), []);
});

test('somebody who comes back finds their marker where it was', async () => {
  await using server = await TestServer.start();
  const { ann, bob, room } = await pair(server);
  const eventId = await ann.send(room, 'a');
  await mark(bob, room, { 'm.fully_read': eventId });
  await bob.leave(room);
  const { next_batch: since } = await bob.sync();
  await bob.join(room);
  assert.deepEqual(markersIn(await bob.sync({ since }), room), [eventId]);
});

test('the marker is not set as account data, but can be read as such', async () => {
  await using server = await TestServer.start();
  const { ann, room } = await pair(server);
  const eventId = await ann.send(room, 'a');
  const path = `/_matrix/client/v3/user/${encodeURIComponent(ann.userId)}/rooms/${encodeURIComponent(room)}/account_data/m.fully_read`;
  expectError(await ann.put(path, { event_id: eventId }), 405, 'M_BAD_JSON');
  expectError(await ann.get(path), 404, 'M_NOT_FOUND');
  await mark(ann, room, { 'm.fully_read': eventId });
  assert.deepEqual(expectOk(await ann.get(path)), { event_id: eventId });
});

test('markers on what is not there are refused, and nothing of the request is done', async () => {
  await using server = await TestServer.start();
  const { ann, bob, room } = await pair(server);
  const eventId = await ann.send(room, 'a');
  const other = await ann.createRoom();
  const elsewhere = await ann.send(other, 'private');
  expectError(await post(bob, room, { 'm.fully_read': 'a' }), 400, 'M_BAD_JSON');
  expectError(await post(bob, room, { 'm.fully_read': elsewhere }), 404, 'M_NOT_FOUND');
  expectError(await post(bob, other, { 'm.fully_read': elsewhere }), 403, 'M_FORBIDDEN');
  expectError(await post(bob, room, { 'm.fully_read': eventId, 'm.read': '$unknown' }), 404, 'M_NOT_FOUND');
  const { account_data: accountData, ephemeral } = (await bob.sync()).rooms.join[room];
  assert.deepEqual([accountData.events, ephemeral.events], [[], []]);
});
