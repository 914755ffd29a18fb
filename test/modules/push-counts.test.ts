import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { ScriptedAppService } from '../kit/scripted-app-service.ts';
import { TestServer } from '../kit/test-server.ts';

/** Lets through nothing that could wake somebody before what the test is about. */
const COUNTS_AND_EVENTS = { presence: { types: [] }, room: { ephemeral: { types: [] } } };
const THREADED = { room: { timeline: { unread_thread_notifications: true } } };

/** What a full answer says is unread in a room, as [notifications, highlights]. */
async function unread(who: TestClient, roomId: string): Promise<[number, number]> {
  return counts((await who.sync()).rooms.join[roomId].unread_notifications);
}

function counts(json: Json): [number, number] {
  return [json.notification_count, json.highlight_count];
}

/** The same by thread; those with nothing unread are left out, but the main timeline. */
async function unreadByThread(who: TestClient, roomId: string): Promise<Record<string, [number, number]>> {
  return byThread((await who.sync({ filter: THREADED })).rooms.join[roomId]);
}

function byThread(room: Json): Record<string, [number, number]> {
  const threads = Object.entries<Json>(room.unread_thread_notifications ?? {});
  return {
    main: counts(room.unread_notifications),
    ...Object.fromEntries(threads.map(([root, json]) => [root, counts(json)])),
  };
}

async function read(who: TestClient, roomId: string, eventId: string, options: Json = {}): Promise<void> {
  const { type = 'm.read', ...body } = options;
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/receipt/${type}/${encodeURIComponent(eventId)}`;
  expectOk(await who.post(path, body));
}

function reply(root: string, body: string): Json {
  return { msgtype: 'm.text', body, 'm.relates_to': { rel_type: 'm.thread', event_id: root } };
}

function mention(who: TestClient, body = 'hey'): Json {
  return { msgtype: 'm.text', body, 'm.mentions': { user_ids: [who.userId] } };
}

async function setRule(who: TestClient, kind: string, id: string, rule: Json): Promise<void> {
  expectOk(await who.put(`/_matrix/client/v3/pushrules/global/${kind}/${encodeURIComponent(id)}`, rule));
}

/** A room Ann made and Bob and Cy are in. */
async function kitchen(
  server: TestServer,
): Promise<{ ann: TestClient; bob: TestClient; cy: TestClient; room: string }> {
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const cy = await server.register('cy');
  const room = await ann.createRoom({ preset: 'public_chat' });
  await bob.join(room);
  await cy.join(room);
  return { ann, bob, cy, room };
}

test('messages count for everybody but their sender, mentions as highlights, until they are read', async () => {
  await using server = await TestServer.start();
  const { ann, bob, cy, room } = await kitchen(server);
  assert.deepEqual(await unread(ann, room), [0, 0]);

  await bob.send(room, 'good morning');
  const second = await bob.send(room, mention(ann));
  await bob.send(room, { msgtype: 'm.notice', body: 'the kettle is on' });
  await bob.send(room, { ciphertext: '…' }, 'm.room.encrypted');
  await bob.send(room, { 'm.relates_to': { rel_type: 'm.annotation', event_id: second, key: '☕' } }, 'm.reaction');
  await bob.setState(room, 'm.room.topic', { topic: 'Breakfast' }).catch(() => undefined);
  assert.deepEqual(await unread(ann, room), [3, 1]);
  assert.deepEqual(await unread(cy, room), [3, 0]);
  assert.deepEqual(await unread(bob, room), [0, 0]);

  await read(ann, room, second);
  assert.deepEqual(await unread(ann, room), [1, 0]);
  assert.deepEqual(await unread(cy, room), [3, 0]);
  await server.restart();
  assert.deepEqual(await unread(ann, room), [1, 0]);
});

test('a count comes with the event that changes it, and with what reads it', async () => {
  await using server = await TestServer.start();
  const { ann, bob, room } = await kitchen(server);
  const laptop = await server.login('ann');
  let since = (await ann.sync()).next_batch;
  const wake = async (act: () => Promise<unknown>): Promise<Json> => {
    const waiting = ann.sync({ since, timeout: 20_000, filter: COUNTS_AND_EVENTS });
    await act();
    const sync = await waiting;
    since = sync.next_batch;
    return sync.rooms.join[room];
  };

  let message = '';
  const news = await wake(async () => {
    message = await bob.send(room, 'good morning');
  });
  assert.equal(news.timeline.events.at(-1).event_id, message);
  assert.deepEqual(counts(news.unread_notifications), [1, 0]);

  // Receipts are filtered away here, so it is the count alone that wakes; on a device other than the reading one.
  const after = await wake(() => read(laptop, room, message, { type: 'm.read.private' }));
  assert.deepEqual(counts(after.unread_notifications), [0, 0]);
  assert.deepEqual(after.timeline.events, []);

  // Reading the same again is no news.
  await read(laptop, room, message);
  const nothing = await ann.sync({ since, filter: COUNTS_AND_EVENTS });
  assert.equal(nothing.rooms?.join?.[room], undefined);
});

test('a room that is only now joined has its counts, also where nothing counts', async () => {
  await using server = await TestServer.start();
  const { bob, room } = await kitchen(server);
  const dot = await server.register('dot');
  const { next_batch: since } = await dot.sync();
  await bob.send(room, 'before Dot came');
  await dot.join(room);
  const joined = await dot.sync({ since });
  assert.deepEqual(counts(joined.rooms.join[room].unread_notifications), [0, 0]);
  await bob.send(room, 'welcome');
  const full = await dot.sync({ since: joined.next_batch, fullState: true });
  assert.deepEqual(counts(full.rooms.join[room].unread_notifications), [1, 0]);
});

test('the later of the public and the private receipt counts', async () => {
  await using server = await TestServer.start();
  const { ann, bob, room } = await kitchen(server);
  const [a, b, c] = [await bob.send(room, 'a'), await bob.send(room, 'b'), await bob.send(room, 'c')];
  await read(ann, room, b, { type: 'm.read.private' });
  assert.deepEqual(await unread(ann, room), [1, 0]);
  await read(ann, room, a, { type: 'm.read' });
  assert.deepEqual(await unread(ann, room), [1, 0]);
  await read(ann, room, c, { type: 'm.read' });
  assert.deepEqual(await unread(ann, room), [0, 0]);
});

test('threads are counted apart for those who ask, and together for the others', async () => {
  await using server = await TestServer.start();
  const { ann, bob, room } = await kitchen(server);
  const root = await bob.send(room, 'what about lunch?');
  const other = await bob.send(room, 'and dinner?');
  const first = await bob.send(room, reply(root, 'soup'));
  await bob.send(room, { ...reply(root, 'with bread'), ...mention(ann), ...reply(root, 'with bread') });
  await bob.send(room, reply(other, 'pie'));
  // What relates to a reply is in its thread as well; here something that is no reaction, which would not count.
  await bob.send(room, {
    msgtype: 'm.text',
    body: 'as I said',
    'm.relates_to': { rel_type: 'x.ref', event_id: first },
  });

  assert.deepEqual(await unread(ann, room), [6, 1]);
  assert.deepEqual(await unreadByThread(ann, room), { main: [2, 0], [root]: [3, 1], [other]: [1, 0] });

  await read(ann, room, first, { thread_id: root });
  assert.deepEqual(await unreadByThread(ann, room), { main: [2, 0], [root]: [2, 1], [other]: [1, 0] });
  await read(ann, room, other, { thread_id: 'main' });
  assert.deepEqual(await unreadByThread(ann, room), { main: [0, 0], [root]: [2, 1], [other]: [1, 0] });
  assert.deepEqual(await unread(ann, room), [3, 1]);

  // Without a thread it is for all of them, up to the event.
  const last = await bob.send(room, 'well?');
  await bob.send(room, reply(other, 'and cake'));
  await read(ann, room, last);
  assert.deepEqual(await unreadByThread(ann, room), { main: [0, 0], [other]: [1, 0] });
});

test('threads that stay unread are named with other news of the room', async () => {
  await using server = await TestServer.start();
  const { ann, bob, room } = await kitchen(server);
  const root = await bob.send(room, 'what about lunch?');
  await bob.send(room, reply(root, 'soup'));
  const { next_batch: since } = await ann.sync({ filter: THREADED });
  await bob.send(room, { msgtype: 'm.notice', body: 'the kettle is on' });
  const sync = await ann.sync({ since, filter: THREADED });
  assert.deepEqual(byThread(sync.rooms.join[room]), { main: [1, 0], [root]: [1, 0] });
});

test('whoever says something has read what was said there before', async () => {
  await using server = await TestServer.start();
  const { ann, bob, room } = await kitchen(server);
  const root = await bob.send(room, 'what about lunch?');
  await bob.send(room, reply(root, 'soup'));
  const { next_batch: since } = await ann.sync({ filter: THREADED });

  await ann.send(room, 'later');
  assert.deepEqual(await unreadByThread(ann, room), { main: [0, 0], [root]: [1, 0] });
  const sync = await ann.sync({ since, filter: THREADED });
  assert.deepEqual(byThread(sync.rooms.join[room]), { main: [0, 0], [root]: [1, 0] });
  // A receipt for something older does not bring it back.
  await read(ann, room, root, { thread_id: 'main' });
  assert.deepEqual(await unreadByThread(ann, room), { main: [0, 0], [root]: [1, 0] });

  await ann.send(room, reply(root, 'soup it is'));
  assert.deepEqual(await unreadByThread(ann, room), { main: [0, 0] });

  // Setting state and taking words back may be done without looking.
  await bob.send(room, 'hello?');
  await ann.setState(room, 'm.room.topic', { topic: 'Lunch' });
  const mine = await ann.send(room, reply(root, 'with bread'));
  expectOk(await ann.put(`/_matrix/client/v3/rooms/${encodeURIComponent(room)}/redact/${encodeURIComponent(mine)}/x`));
  assert.deepEqual(await unread(ann, room), [1, 0]);
});

test('what is redacted does not count any more', async () => {
  await using server = await TestServer.start();
  const { ann, bob, room } = await kitchen(server);
  const redact = async (eventId: string): Promise<void> => {
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/redact/${encodeURIComponent(eventId)}/`;
    expectOk(await bob.put(`${path}${encodeURIComponent(eventId)}`));
  };
  const first = await bob.send(room, 'a');
  const root = await bob.send(room, mention(ann));
  const inThread = await bob.send(room, { ...mention(ann), 'm.relates_to': reply(root, '')['m.relates_to'] });
  assert.deepEqual(await unreadByThread(ann, room), { main: [2, 1], [root]: [1, 1] });
  const { next_batch: since } = await ann.sync();
  await redact(inThread);
  assert.deepEqual(await unreadByThread(ann, room), { main: [2, 1] });
  assert.deepEqual(counts((await ann.sync({ since })).rooms.join[room].unread_notifications), [2, 1]);
  await redact(root);
  assert.deepEqual(await unread(ann, room), [1, 0]);
  await read(ann, room, first);
  await bob.send(room, 'b');
  // This one was read already, and so takes nothing off.
  await redact(first);
  assert.deepEqual(await unread(ann, room), [1, 0]);
});

test('nothing counts of a room one has left', async () => {
  await using server = await TestServer.start();
  const { ann, bob, cy, room } = await kitchen(server);
  await ann.send(room, 'a');
  await bob.leave(room);
  const kick = { user_id: cy.userId };
  expectOk(await ann.post(`/_matrix/client/v3/rooms/${encodeURIComponent(room)}/kick`, kick));
  await ann.send(room, 'b');
  for (const gone of [bob, cy]) {
    await gone.join(room);
    assert.deepEqual(await unread(gone, room), [0, 0]);
    assert.deepEqual(expectOk(await gone.get('/_matrix/client/v3/notifications')).notifications, []);
  }
  await ann.send(room, 'c');
  assert.deepEqual(await unread(bob, room), [1, 0]);
});

test('an invite counts for the invited alone, and is read by joining', async () => {
  await using server = await TestServer.start();
  const { ann, bob, room } = await kitchen(server);
  const dot = await server.register('dot');
  await ann.invite(room, dot.userId);
  assert.deepEqual(await unread(bob, room), [0, 0]);
  const [notification] = expectOk(await dot.get('/_matrix/client/v3/notifications')).notifications;
  assert.equal(notification.event.content.membership, 'invite');
  assert.equal(notification.read, false);
  await dot.join(room);
  assert.deepEqual(await unread(dot, room), [0, 0]);
  assert.equal(expectOk(await dot.get('/_matrix/client/v3/notifications')).notifications[0].read, true);
});

test('those one ignores do not notify, not even by an invite', async () => {
  await using server = await TestServer.start();
  const { ann, bob, cy, room } = await kitchen(server);
  const path = `/_matrix/client/v3/user/${encodeURIComponent(ann.userId)}/account_data/m.ignored_user_list`;
  expectOk(await ann.put(path, { ignored_users: { [bob.userId]: {} } }));
  await bob.send(room, mention(ann));
  assert.deepEqual(await unread(ann, room), [0, 0]);
  assert.deepEqual(await unread(cy, room), [1, 0]);
  const study = await bob.createRoom();
  await bob.invite(study, ann.userId);
  assert.deepEqual(expectOk(await ann.get('/_matrix/client/v3/notifications')).notifications, []);
});

test('a user’s rules decide what counts, from the moment they are set', async () => {
  await using server = await TestServer.start();
  const { ann, bob, cy, room } = await kitchen(server);
  await bob.send(room, 'a');
  await setRule(ann, 'room', room, { actions: [] });
  await bob.send(room, 'b');
  assert.deepEqual(await unread(ann, room), [1, 0]);
  assert.deepEqual(await unread(cy, room), [2, 0]);

  await setRule(ann, 'content', 'cake', { pattern: 'c?ke', actions: ['notify', { set_tweak: 'highlight' }] });
  await bob.send(room, 'there is CAKE!');
  assert.deepEqual(await unread(ann, room), [2, 1]);
  // A highlight alone notifies nobody.
  await setRule(ann, 'content', 'cake', { pattern: 'cake', actions: [{ set_tweak: 'highlight' }] });
  await bob.send(room, 'more cake');
  assert.deepEqual(await unread(ann, room), [2, 1]);

  expectOk(await ann.delete(`/_matrix/client/v3/pushrules/global/room/${encodeURIComponent(room)}`));
  await bob.send(room, 'c');
  assert.deepEqual(await unread(ann, room), [3, 1]);
  await setRule(ann, 'override', 'calm', {
    actions: [],
    conditions: [{ kind: 'room_member_count', is: '>=3' }],
  });
  await bob.send(room, 'd');
  assert.deepEqual(await unread(ann, room), [3, 1]);
  await cy.leave(room);
  await bob.send(room, 'e');
  assert.deepEqual(await unread(ann, room), [4, 1]);
});

test('only who may mention the whole room does', async () => {
  await using server = await TestServer.start();
  const { ann, bob, cy, room } = await kitchen(server);
  const toAll = { msgtype: 'm.text', body: 'dinner!', 'm.mentions': { room: true } };
  await bob.send(room, toAll);
  assert.deepEqual(await unread(cy, room), [1, 0]);
  await ann.send(room, toAll);
  assert.deepEqual(await unread(cy, room), [2, 1]);
  const state = `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/state/m.room.power_levels/`;
  const levels = expectOk(await ann.get(state));
  await ann.setState(room, 'm.room.power_levels', { ...levels, notifications: { room: 0 } });
  await bob.send(room, toAll);
  assert.deepEqual(await unread(cy, room), [3, 2]);
});

test('the users of a bridge have nothing unread: nobody would ever read it', async () => {
  await using bridge = await ScriptedAppService.start();
  await using server = await TestServer.start({ config: { app_service_config_files: [bridge.file] } });
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const ghost = '@_bridge_cy:hearth.test';
  expectOk(
    await bridge
      .as(server)
      .post('/_matrix/client/v3/register', { type: 'm.login.application_service', username: '_bridge_cy' }),
  );
  const room = await ann.createRoom({ preset: 'public_chat', invite: [ghost] });
  await bridge.as(server, ghost).join(room);
  await bob.join(room);
  await ann.send(room, { msgtype: 'm.text', body: 'hey', 'm.mentions': { user_ids: [ghost] } });
  assert.deepEqual(await unread(bob, room), [1, 0]);
  assert.deepEqual(await unread(bridge.as(server, ghost), room), [0, 0]);
  const listed = await bridge.as(server, ghost).get('/_matrix/client/v3/notifications');
  assert.deepEqual(expectOk(listed), { notifications: [] });
});

test('with counting switched off, rules are kept but nothing is counted', async () => {
  await using server = await TestServer.start({ config: { push: { enabled: false } } });
  const { ann, bob, room } = await kitchen(server);
  await bob.send(room, mention(ann));
  await setRule(ann, 'room', room, { actions: [] });
  assert.deepEqual(await unread(ann, room), [0, 0]);
});
