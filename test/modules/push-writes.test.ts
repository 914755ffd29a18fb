import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectOk } from '../kit/test-client.ts';
import { alice, bob, draft } from '../rooms/room-kit.ts';
import { pushHouse } from './push-harness.ts';

test('rules that were changed in a write that failed are as they were', async (t) => {
  const { home, push, roomOf, unread, client } = await pushHouse(t);
  const [from, to] = [await roomOf([bob]), await roomOf([bob])];
  const path = (roomId: string): string => `/_matrix/client/v3/pushrules/global/room/${encodeURIComponent(roomId)}`;
  const who = client(alice);
  expectOk(await who.put(path(from), { actions: [] }));
  const list = push.routes?.find((route) => route.method === 'GET' && route.path === '/_matrix/client/v3/pushrules/');
  assert.throws(
    () =>
      home.db.write(() => {
        home.db.write((tx) => push.copyRoomRules(tx, alice, from, to));
        // Somebody looks at them while they are not yet certain: in the same turn, as only the handler itself can be.
        assert.match(JSON.stringify(list?.handle({ requester: { userId: alice } } as never)), new RegExp(to.slice(1)));
        throw new Error('the upgrade failed');
      }),
    /the upgrade failed/,
  );
  assert.equal((await who.get(path(to))).status, 404);
  await home.send(to, draft.message(bob, 'Hello'));
  await home.send(from, draft.message(bob, 'Hello'));
  assert.deepEqual([await unread(alice, to), await unread(alice, from)], [1, 0]);
});

test('rules and counts go with the account', async (t) => {
  const { home, push, roomOf, unread, client } = await pushHouse(t);
  const roomId = await roomOf([bob]);
  const rule = `/_matrix/client/v3/pushrules/global/room/${encodeURIComponent(roomId)}`;
  const master = '/_matrix/client/v3/pushrules/global/override/.m.rule.master/enabled';
  await home.send(roomId, draft.message(bob, 'Hello'));
  for (const user of [alice, bob]) {
    expectOk(await client(user).put(rule, { actions: [] }));
    expectOk(await client(user).put(master, { enabled: true }));
  }
  home.db.write((tx) => push.removeOfUser(tx, alice));
  assert.equal(await unread(alice, roomId), 0);
  assert.deepEqual(expectOk(await client(alice).get('/_matrix/client/v3/notifications')), { notifications: [] });
  assert.equal((await client(alice).get(rule)).status, 404);
  assert.deepEqual(expectOk(await client(alice).get(master)), { enabled: false });
  assert.equal((await client(bob).get(rule)).status, 200);
  // Whoever is given the account back starts anew.
  await home.send(roomId, draft.message(bob, 'Hello again'));
  assert.equal(await unread(alice, roomId), 1);
});

test('whoever leaves a room with very much unread is rid of it at once, and it is cleared away bit by bit', async (t) => {
  const { home, push, roomOf, unread, client } = await pushHouse(t);
  const [left, kept] = [await roomOf([bob]), await roomOf([bob])];
  for (const roomId of [left, kept]) await home.send(roomId, draft.message(alice, 'Hello'));
  const { db } = home;
  const rows = (): { notifications: number; waiting: number; counts: number } | undefined =>
    db
      .prepareRead<{ notifications: number; waiting: number; counts: number }>(`
        SELECT (SELECT count(*) FROM push_notifications) AS notifications, (SELECT count(*) FROM push_outbox) AS waiting,
          (SELECT count(*) FROM push_unread) AS counts`)
      .find();
  const before = rows();
  // As if the same had been said again and again, and a pusher had not got through.
  const more = db.prepareWrite(`
    INSERT INTO push_notifications
    SELECT unread_nid, highlight, -each.value, event_id, actions, ts FROM push_notifications
    JOIN push_unread USING (unread_nid) JOIN json_each(?) AS each WHERE room_id = ? AND user_id = ?`);
  const waiting = db.prepareWrite(`
    INSERT INTO push_outbox
    SELECT user_id, each.value * 2 + (room_id = ?), 'e', unread_nid, '[]', 0 FROM push_unread
    JOIN json_each(?) AS each WHERE user_id = ?`);
  const numbers = (n: number): string => JSON.stringify(Array.from({ length: n }, (_, i) => i + 1));
  db.write((tx) => {
    more.run(tx, numbers(1_800), left, bob);
    waiting.run(tx, left, numbers(700), bob);
  });
  assert.equal(rows()?.waiting, 1_400);

  await home.send(left, draft.member(bob, bob, 'leave'));
  assert.ok((rows()?.notifications ?? 0) > 1_000, 'not in one go');
  assert.deepEqual((await client(bob).get('/_matrix/client/v3/notifications')).body.notifications.length, 1);
  await home.send(left, draft.member(bob, bob, 'join'));
  await home.send(left, draft.message(alice, 'Hello again'));
  assert.deepEqual([await unread(bob, left), await unread(bob, kept)], [1, 1]);
  let turns = 0;
  while ((rows()?.counts ?? 0) > (before?.counts ?? 0)) {
    turns += 1;
    assert.ok(turns < 1_000, 'it is never cleared away');
    await new Promise(setImmediate);
  }
  assert.deepEqual(rows(), { notifications: before?.notifications, waiting: 700, counts: before?.counts });
  assert.deepEqual([await unread(bob, left), await unread(bob, kept)], [1, 1]);
  await push.stop?.();
});

test('what was left over of a room one has left when the server was stopped is cleared away when it runs again', async (t) => {
  const { home, push, roomOf } = await pushHouse(t);
  const roomId = await roomOf([bob]);
  await home.send(roomId, draft.message(alice, 'Hello'));
  const { db } = home;
  const giveUp = db.prepareWrite(`
    UPDATE push_unread SET user_id = '', room_id = user_id, thread_id = unread_nid, notifications = 0 WHERE user_id = ?`);
  db.write((tx) => giveUp.run(tx, bob));
  const count = db.prepareRead<{ n: number }>("SELECT count(*) AS n FROM push_unread WHERE user_id IN ('', ?)");
  assert.equal(count.find(bob)?.n, 1);
  push.start?.();
  for (let turns = 0; count.find(bob)?.n !== 0; turns += 1) {
    assert.ok(turns < 1_000, 'it is never cleared away');
    await new Promise(setImmediate);
  }
  await push.stop?.();
});
