import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../kit/manual-clock.ts';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const PATH = '/_matrix/client/v3/notifications';
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

async function list(who: TestClient, query: Record<string, string | number> = {}): Promise<Json> {
  return expectOk(await who.get(PATH, query));
}

async function bodies(who: TestClient, query: Record<string, string | number> = {}): Promise<string[]> {
  return (await list(who, query)).notifications.map((notification: Json) => notification.event.content.body);
}

async function unread(who: TestClient, roomId: string): Promise<number> {
  return (await who.sync()).rooms.join[roomId].unread_notifications.notification_count;
}

async function read(who: TestClient, roomId: string, eventId: string): Promise<void> {
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/receipt/m.read/${encodeURIComponent(eventId)}`;
  expectOk(await who.post(path));
}

function mention(who: TestClient, body: string): Json {
  return { msgtype: 'm.text', body, 'm.mentions': { user_ids: [who.userId] } };
}

async function pair(server: TestServer): Promise<{ ann: TestClient; bob: TestClient; room: string }> {
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const room = await ann.createRoom({ preset: 'public_chat' });
  await bob.join(room);
  // Three are a crowd: with two, messages would come with a sound.
  await (await server.register('cy')).join(room);
  return { ann, bob, room };
}

test('notifications are listed newest first, page by page, with what is read', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock });
  const { ann, bob, room } = await pair(server);
  const sent: string[] = [];
  for (const body of ['a', 'b', 'c', 'd', 'e']) sent.push(await bob.send(room, body));
  await read(ann, room, sent[1] ?? '');

  const first = await list(ann, { limit: 2 });
  assert.deepEqual(first.notifications[0], {
    room_id: room,
    actions: ['notify'],
    profile_tag: '',
    read: false,
    ts: clock.now(),
    event: first.notifications[0].event,
  });
  assert.equal(first.notifications[0].event.event_id, sent[4]);
  assert.equal('room_id' in first.notifications[0].event, false);
  const second = await list(ann, { limit: 2, from: first.next_token });
  const third = await list(ann, { limit: 2, from: second.next_token });
  assert.equal(third.next_token, undefined);
  const all = [...first.notifications, ...second.notifications, ...third.notifications];
  assert.deepEqual(
    all.map((notification) => [notification.event.content.body, notification.read]),
    [
      ['e', false],
      ['d', false],
      ['c', false],
      ['b', true],
      ['a', true],
    ],
  );
  assert.deepEqual(await bodies(bob), []);

  expectError(await ann.get(PATH, { from: 'yesterday' }), 400, 'M_INVALID_PARAM');
  expectError(await ann.get(PATH, { limit: 0 }), 400, 'M_INVALID_PARAM');
  expectError(await server.anonymous().get(PATH), 401, 'M_MISSING_TOKEN');
});

test('highlights can be listed alone, with the actions that made them so', async () => {
  await using server = await TestServer.start();
  const { ann, bob, room } = await pair(server);
  await bob.send(room, 'a');
  await bob.send(room, mention(ann, 'b'));
  await bob.send(room, 'c');
  await bob.send(room, mention(ann, 'd'));
  assert.deepEqual(await bodies(ann, { only: 'highlight' }), ['d', 'b']);
  const page = await list(ann, { only: 'highlight', limit: 1 });
  assert.deepEqual(page.notifications[0].actions, [
    'notify',
    { set_tweak: 'sound', value: 'default' },
    { set_tweak: 'highlight' },
  ]);
  assert.deepEqual(await bodies(ann, { only: 'highlight', from: page.next_token }), ['b']);
});

test('what is redacted, and who is ignored, is not listed', async () => {
  await using server = await TestServer.start();
  const { ann, bob, room } = await pair(server);
  const gone = await bob.send(room, 'a');
  await bob.send(room, 'b');
  expectOk(await bob.put(`/_matrix/client/v3/rooms/${encodeURIComponent(room)}/redact/${encodeURIComponent(gone)}/x`));
  assert.deepEqual(await bodies(ann), ['b']);
  const ignored = `/_matrix/client/v3/user/${encodeURIComponent(ann.userId)}/account_data/m.ignored_user_list`;
  expectOk(await ann.put(ignored, { ignored_users: { [bob.userId]: {} } }));
  assert.deepEqual(await bodies(ann), []);
});

test('what was read is cleared away after a day, mentions and what was not read after a month', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock });
  const { ann, bob, room } = await pair(server);
  await bob.send(room, 'read');
  const last = await bob.send(room, mention(ann, 'mentioned'));
  await read(ann, room, last);
  await bob.send(room, 'unread');

  await clock.advance(DAY - HOUR);
  assert.deepEqual(await bodies(ann), ['unread', 'mentioned', 'read']);
  await clock.advance(2 * HOUR);
  assert.deepEqual(await bodies(ann), ['unread', 'mentioned']);
  assert.equal(await unread(ann, room), 1);
  await clock.advance(30 * DAY);
  assert.deepEqual(await bodies(ann), []);
  // It is still unread, though nobody knows any more which one it was.
  assert.equal(await unread(ann, room), 1);
  await read(ann, room, await bob.send(room, 'new'));
  assert.equal(await unread(ann, room), 0);
});

test('a room nobody reads keeps its count, but not every single message', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock });
  const { ann, bob, room } = await pair(server);
  await bob.send(room, mention(ann, 'first'));
  for (let sent = 0; sent < 1_110; sent += 10) {
    await Promise.all(Array.from({ length: 10 }, (_, i) => bob.send(room, `message ${sent + i}`)));
  }
  await clock.advance(2 * HOUR);
  assert.equal(await unread(ann, room), 1_111);
  let kept = 0;
  for (let from: string | undefined, page: Json; ; from = page.next_token) {
    page = await list(ann, { limit: 500, ...(from === undefined ? {} : { from }) });
    kept += page.notifications.length;
    if (page.next_token === undefined) break;
  }
  // The newest thousand, and the mention.
  assert.equal(kept, 1_001);
  assert.deepEqual(await bodies(ann, { only: 'highlight' }), ['first']);

  const recent = (await list(ann, { limit: 100 })).notifications;
  await read(ann, room, recent[10].event.event_id);
  assert.equal(await unread(ann, room), 10);
});
