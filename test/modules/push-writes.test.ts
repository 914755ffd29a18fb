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
