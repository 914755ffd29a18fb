import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const encode = encodeURIComponent;

const reportEvent = (who: TestClient, roomId: string, eventId: string, body: Json = {}): Promise<Answer> =>
  who.post(`/_matrix/client/v3/rooms/${encode(roomId)}/report/${encode(eventId)}`, body);
const reportRoom = (who: TestClient, roomId: string, body: Json): Promise<Answer> =>
  who.post(`/_matrix/client/v3/rooms/${encode(roomId)}/report`, body);
const reportUser = (who: TestClient, userId: string, body: Json): Promise<Answer> =>
  who.post(`/_matrix/client/v3/users/${encode(userId)}/report`, body);

test('a member may report what was said in the room, with or without a reason', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom({ preset: 'public_chat' });
  await bob.join(roomId);
  const eventId = await bob.send(roomId, 'buy my soup');

  assert.deepEqual(expectOk(await reportEvent(ann, roomId, eventId)), {});
  expectOk(await reportEvent(ann, roomId, eventId, { reason: 'advertising', score: -100 }));
  expectOk(await reportEvent(ann, roomId, eventId, { reason: null }));
  expectOk(await reportEvent(ann, roomId, eventId, { reason: '' }));
  expectError(await reportEvent(ann, roomId, eventId, { reason: 7 }), 400, 'M_BAD_JSON');
  expectError(await reportEvent(ann, roomId, eventId, { score: 'bad' }), 400, 'M_BAD_JSON');
  expectError(await reportEvent(ann, roomId, eventId, { reason: 'x'.repeat(10_001) }), 400, 'M_BAD_JSON');
});

test('what one cannot see, one cannot report', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const members = { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'joined' } };
  const roomId = await ann.createRoom({ preset: 'public_chat', initial_state: [members] });
  const other = await ann.createRoom();
  const early = await ann.send(roomId, 'before Bob came');

  expectError(await reportEvent(bob, roomId, early), 404, 'M_NOT_FOUND');
  await bob.join(roomId);
  expectError(await reportEvent(bob, roomId, early), 404, 'M_NOT_FOUND');
  expectError(await reportEvent(bob, roomId, '$nothing'), 404, 'M_NOT_FOUND');
  expectError(await reportEvent(ann, other, early), 404, 'M_NOT_FOUND');
  const late = await ann.send(roomId, 'after');
  expectOk(await reportEvent(bob, roomId, late));
  await bob.leave(roomId);
  expectError(await reportEvent(bob, roomId, late), 404, 'M_NOT_FOUND');
});

test('a room may be reported by those outside as well, if it is there', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom();
  expectOk(await reportRoom(bob, roomId, { reason: 'noise' }));
  expectOk(await reportRoom(bob, roomId, { reason: '' }));
  expectError(await reportRoom(bob, roomId, {}), 400, 'M_BAD_JSON');
  expectError(await reportRoom(bob, '!nowhere:hearth.test', { reason: 'noise' }), 404, 'M_NOT_FOUND');
});

test('a user may be reported, if there is one', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  expectOk(await reportUser(bob, ann.userId, { reason: 'sings at night' }));
  expectError(await reportUser(bob, ann.userId, {}), 400, 'M_BAD_JSON');
  expectError(await reportUser(bob, '@nobody:hearth.test', { reason: 'who?' }), 404, 'M_NOT_FOUND');
  // Of another server this one cannot know who is there.
  expectOk(await reportUser(bob, '@spam:elsewhere.test', { reason: 'invites everybody' }));
  expectError(await reportUser(server.anonymous(), ann.userId, { reason: 'x' }), 401, 'M_MISSING_TOKEN');
});

test('nobody can flood the administrator with reports', async () => {
  await using server = await TestServer.start({ config: { rc_reports: { per_second: 0.001, burst_count: 2 } } });
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  expectOk(await reportUser(bob, ann.userId, { reason: 'once' }));
  expectOk(await reportUser(bob, ann.userId, { reason: 'twice' }));
  expectError(await reportUser(bob, ann.userId, { reason: 'again' }), 429, 'M_LIMIT_EXCEEDED');
  expectOk(await reportUser(ann, bob.userId, { reason: 'has limits of her own' }));
});
