import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const follow = (): Promise<TestServer> => TestServer.start({ config: { hearth: { thread_subscriptions: true } } });

const LIST = '/_matrix/client/unstable/io.element.msc4308/thread_subscriptions';

const subscription = (roomId: string, rootId: string): string =>
  `/_matrix/client/unstable/io.element.msc4306/rooms/${encodeURIComponent(roomId)}/thread/${encodeURIComponent(rootId)}/subscription`;

function reply(who: TestClient, roomId: string, rootId: string, body: string, more: Json = {}): Promise<string> {
  const relation = { rel_type: 'm.thread', event_id: rootId };
  return who.send(roomId, { msgtype: 'm.text', body, 'm.relates_to': relation, ...more });
}

/** A room with Anna and Bob and a thread in it. */
async function household(
  server: TestServer,
): Promise<{ anna: TestClient; bob: TestClient; roomId: string; rootId: string }> {
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const roomId = await anna.createRoom({ preset: 'public_chat' });
  await bob.join(roomId);
  const rootId = await anna.send(roomId, 'Who cooks?');
  return { anna, bob, roomId, rootId };
}

test('a thread is followed, and left, and followed by hand stands above followed by itself', async () => {
  await using server = await follow();
  const { anna, bob, roomId, rootId } = await household(server);
  const path = subscription(roomId, rootId);
  const cause = await reply(anna, roomId, rootId, 'Bob does');

  expectError(await bob.get(path), 404, 'M_NOT_FOUND');
  expectOk(await bob.put(path, { automatic: cause }));
  assert.deepEqual(expectOk(await bob.get(path)), { automatic: true });
  expectOk(await bob.put(path));
  assert.deepEqual(expectOk(await bob.get(path)), { automatic: false });
  expectOk(await bob.put(path, { automatic: cause }));
  assert.deepEqual(expectOk(await bob.get(path)), { automatic: false });
  expectError(await anna.get(path), 404, 'M_NOT_FOUND');
  expectOk(await bob.delete(path));
  expectOk(await bob.delete(path));
  expectError(await bob.get(path), 404, 'M_NOT_FOUND');
});

test('who has left a thread is not brought back by what they had heard before', async () => {
  await using server = await follow();
  const { anna, bob, roomId, rootId } = await household(server);
  const path = subscription(roomId, rootId);
  const early = await reply(anna, roomId, rootId, 'Bob does');
  expectOk(await bob.put(path, { automatic: early }));
  expectOk(await bob.delete(path));

  const conflict = 'IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION';
  expectError(await bob.put(path, { automatic: early }), 409, conflict);
  const late = await reply(anna, roomId, rootId, 'Bob?');
  expectOk(await bob.put(path, { automatic: late }));
  expectOk(await bob.delete(path));
  expectError(await bob.put(path, { automatic: late }), 409, conflict);
  expectOk(await bob.put(path));
});

test('only what one may read is followed, and only for what stands in the thread', async () => {
  await using server = await follow();
  const { anna, bob, roomId, rootId } = await household(server);
  const elsewhere = await anna.createRoom();
  const secret = await anna.send(elsewhere, 'A secret');
  const beside = await anna.send(roomId, 'By the way');

  expectError(await bob.put(subscription(elsewhere, secret)), 404, 'M_NOT_FOUND');
  expectError(await bob.put(subscription(roomId, secret)), 404, 'M_NOT_FOUND');
  expectError(await bob.put(subscription(roomId, '$unknown')), 404, 'M_NOT_FOUND');
  expectError(await bob.put(subscription(roomId, 'unknown')), 400, 'M_INVALID_PARAM');
  const path = subscription(roomId, rootId);
  expectError(await bob.put(path, { automatic: beside }), 400, 'IO.ELEMENT.MSC4306.M_NOT_IN_THREAD');
  expectError(await bob.put(path, { automatic: '$unknown' }), 404, 'M_NOT_FOUND');
  expectError(await bob.put(path, { automatic: true }), 400, 'M_BAD_JSON');
  expectError(await server.anonymous().put(path), 401, 'M_MISSING_TOKEN');
});

test('the list of threads is told from the latest change back, in pages', async () => {
  await using server = await follow();
  const { anna, bob, roomId } = await household(server);
  const roots: string[] = [];
  for (let thread = 0; thread < 5; thread += 1) {
    const rootId = await anna.send(roomId, `Thread ${thread}`);
    expectOk(await bob.put(subscription(roomId, rootId)));
    roots.push(rootId);
  }
  expectOk(await bob.delete(subscription(roomId, roots[1] ?? '')));

  const first = expectOk(await bob.get(LIST, { dir: 'b', limit: 2 }));
  assert.deepEqual(Object.keys(first.subscribed[roomId]), [roots[4]]);
  assert.deepEqual(Object.keys(first.unsubscribed[roomId]), [roots[1]]);
  assert.equal(first.subscribed[roomId][roots[4] ?? ''].automatic, false);
  const second = expectOk(await bob.get(LIST, { dir: 'b', limit: 2, from: first.end }));
  assert.deepEqual(Object.keys(second.subscribed[roomId]), [roots[3], roots[2]]);
  assert.equal(second.unsubscribed, undefined);
  const third = expectOk(await bob.get(LIST, { dir: 'b', from: second.end }));
  assert.deepEqual(Object.keys(third.subscribed[roomId]), [roots[0]]);
  assert.equal(third.end, undefined);
  const newer = expectOk(await bob.get(LIST, { dir: 'b', to: second.end }));
  assert.deepEqual(Object.keys(newer.subscribed[roomId]).sort(), [roots[2], roots[3], roots[4]].sort());
  assert.deepEqual(expectOk(await anna.get(LIST, { dir: 'b' })), {});
  expectError(await bob.get(LIST, { dir: 'f' }), 400, 'M_INVALID_PARAM');
  expectError(await bob.get(LIST, { dir: 'b', from: 'yesterday' }), 400, 'M_INVALID_PARAM');
});

test('of a thread one hears if one follows it, whatever one has set for its room; or if one is mentioned', async () => {
  await using server = await follow();
  const { anna, bob, roomId, rootId } = await household(server);
  const unread = async (): Promise<number> => {
    const { rooms } = await bob.sync({ filter: { room: { timeline: { unread_thread_notifications: true } } } });
    return rooms.join[roomId].unread_thread_notifications?.[rootId]?.notification_count ?? 0;
  };

  await reply(anna, roomId, rootId, 'Not for Bob');
  assert.equal(await unread(), 0);
  await reply(anna, roomId, rootId, 'Bob!', { 'm.mentions': { user_ids: [bob.userId] } });
  assert.equal(await unread(), 1);

  expectOk(await bob.put(subscription(roomId, rootId)));
  const mute = `/_matrix/client/v3/pushrules/global/room/${encodeURIComponent(roomId)}`;
  expectOk(await bob.put(mute, { actions: [] }));
  await reply(anna, roomId, rootId, 'For Bob');
  assert.equal(await unread(), 2);
  expectOk(await bob.delete(subscription(roomId, rootId)));
  await reply(anna, roomId, rootId, 'Not for Bob any more');
  assert.equal(await unread(), 2);
  // What stands in no thread is as it always was.
  expectOk(await bob.delete(mute));
  await anna.send(roomId, 'Dinner!');
  const { rooms } = await bob.sync();
  assert.equal(rooms.join[roomId].unread_notifications.notification_count, 3 + 1);
});

test('the rules about threads can be read and switched off, but none can be added', async () => {
  await using server = await follow();
  const { anna, bob, roomId, rootId } = await household(server);
  const rules = '/_matrix/client/v3/pushrules/global/postcontent';
  const unsubscribed = '.io.element.msc4306.rule.unsubscribed_thread';

  const { global } = expectOk(await bob.get('/_matrix/client/v3/pushrules/'));
  assert.deepEqual(
    global.postcontent.map((rule: Json) => [rule.rule_id, rule.conditions[0].subscribed]),
    [
      [unsubscribed, false],
      ['.io.element.msc4306.rule.subscribed_thread', true],
    ],
  );
  expectError(await bob.put(`${rules}/mine`, { actions: ['notify'] }), 400, 'M_INVALID_PARAM');
  expectError(await bob.delete(`${rules}/${unsubscribed}`), 400, 'M_INVALID_PARAM');
  expectError(await bob.put(`${rules}/mine/enabled`, { enabled: true }), 404, 'M_NOT_FOUND');
  expectOk(await bob.put(`${rules}/${unsubscribed}/enabled`, { enabled: false }));
  assert.deepEqual(expectOk(await bob.get(`${rules}/${unsubscribed}/enabled`)), { enabled: false });
  await reply(anna, roomId, rootId, 'As in old times');
  const { rooms } = await bob.sync();
  assert.equal(rooms.join[roomId].unread_notifications.notification_count, 2);
});

test('where threads are not followed one by one, nothing of it is there', async () => {
  await using server = await TestServer.start();
  const { bob, roomId, rootId } = await household(server);
  const answers: Answer[] = [await bob.put(subscription(roomId, rootId)), await bob.get(LIST, { dir: 'b' })];
  for (const answer of answers) expectError(answer, 404, 'M_UNRECOGNIZED');
  assert.equal(expectOk(await bob.get('/_matrix/client/v3/pushrules/')).global.postcontent, undefined);
  const { unstable_features: features } = expectOk(await bob.get('/_matrix/client/versions'));
  assert.equal(features['org.matrix.msc4306'], false);
});

test('sliding sync tells of threads that were followed and left, and leads to those it leaves out', async () => {
  await using server = await follow();
  const { anna, bob, roomId } = await household(server);
  const NAME = 'io.element.msc4308.thread_subscriptions';
  const slide = async (pos?: string): Promise<Json> => {
    const body = { extensions: { [NAME]: { enabled: true, limit: 2 } } };
    const path = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';
    return expectOk(await bob.post(path, body, { pos, timeout: 0 }));
  };
  const roots: string[] = [];
  for (let thread = 0; thread < 3; thread += 1) {
    const rootId = await anna.send(roomId, `Thread ${thread}`);
    expectOk(await bob.put(subscription(roomId, rootId)));
    roots.push(rootId);
  }
  const first = await slide();
  assert.deepEqual(Object.keys(first.extensions[NAME].subscribed[roomId]), [roots[2], roots[1]]);
  const rest = expectOk(await bob.get(LIST, { dir: 'b', from: first.extensions[NAME].prev_batch }));
  assert.deepEqual(Object.keys(rest.subscribed[roomId]), [roots[0]]);

  const second = await slide(first.pos);
  assert.equal(second.extensions?.[NAME], undefined);
  expectOk(await bob.delete(subscription(roomId, roots[0] ?? '')));
  const third = await slide(second.pos);
  assert.deepEqual(Object.keys(third.extensions[NAME].unsubscribed[roomId]), [roots[0]]);
  assert.equal(third.extensions[NAME].subscribed, undefined);
  const since = expectOk(await bob.get(LIST, { dir: 'b', to: first.pos }));
  assert.deepEqual(Object.keys(since.unsubscribed[roomId]), [roots[0]]);
  // Plain /sync knows nothing of it.
  assert.equal(JSON.stringify(await bob.sync()).includes('bump_stamp'), false);
});
