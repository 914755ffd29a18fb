import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isEventId } from '../../server/matrix/identifiers.ts';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { edit, idsOf, inRoom, inRoomV1, join, leave, reaction, reply, roomsHouse } from './room-events-harness.ts';

async function threads(client: TestClient, roomId: string, query: Json = {}): Promise<Json> {
  return expectOk(await client.get(inRoomV1(roomId, 'threads'), query));
}

test('threads are listed by their latest replies', async (t) => {
  const house = await roomsHouse(t);
  const [alice, bob] = [house.person('alice'), house.person('bob')];
  const roomId = await alice.createRoom();
  await join(bob, roomId);
  const [a, b, c] = [await alice.send(roomId, 'a'), await alice.send(roomId, 'b'), await alice.send(roomId, 'c')];
  await alice.send(roomId, 'no thread');
  await bob.send(roomId, reply(c, 'c1'));
  await bob.send(roomId, reply(b, 'b1'));
  const first = await bob.send(roomId, reply(a, 'a1'));
  const last = await alice.send(roomId, reply(c, 'c2'));
  const page = await threads(bob, roomId);
  assert.deepEqual([idsOf(page.chunk), page.next_batch], [[c, a, b], undefined]);
  const summary = page.chunk[0].unsigned['m.relations']['m.thread'];
  assert.deepEqual([summary.count, summary.latest_event.event_id], [2, last]);

  const half = await threads(bob, roomId, { limit: 2 });
  assert.deepEqual(idsOf(half.chunk), [c, a]);
  const rest = await threads(bob, roomId, { limit: 2, from: half.next_batch });
  assert.deepEqual([idsOf(rest.chunk), rest.next_batch], [[b], undefined]);

  // A thread that loses its latest reply goes back to where the one before put it, and without any is none.
  for (const gone of [last, first]) expectOk(await alice.put(inRoom(roomId, 'redact', gone, gone), {}));
  assert.deepEqual(idsOf((await threads(bob, roomId)).chunk), [b, c]);
});

test('one may ask for the threads one has a part in', async (t) => {
  const house = await roomsHouse(t);
  const [alice, bob, carol] = [house.person('alice'), house.person('bob'), house.person('carol')];
  const roomId = await alice.createRoom();
  await join(bob, roomId);
  await join(carol, roomId);
  const [hers, his] = [await alice.send(roomId, 'hers'), await bob.send(roomId, 'his')];
  await carol.send(roomId, reply(hers, 'carol to alice'));
  await alice.send(roomId, reply(his, 'alice to bob'));
  const participated = async (client: TestClient): Promise<string[]> =>
    idsOf((await threads(client, roomId, { include: 'participated' })).chunk);
  assert.deepEqual(await participated(alice), [his, hers]);
  assert.deepEqual(await participated(bob), [his]);
  assert.deepEqual(await participated(carol), [hers]);
  assert.deepEqual(idsOf((await threads(carol, roomId, { include: 'all' })).chunk), [his, hers]);
});

test('a root by somebody who is ignored is shown without what they said', async (t) => {
  const house = await roomsHouse(t);
  const [alice, bob] = [house.person('alice'), house.person('bob')];
  const roomId = await alice.createRoom();
  await join(bob, roomId);
  const root = await bob.send(roomId, 'noise');
  await alice.send(roomId, reply(root, 'hush'));
  expectOk(
    await alice.put(`/_matrix/client/v3/user/${alice.userId}/account_data/m.ignored_user_list`, {
      ignored_users: { [bob.userId]: {} },
    }),
  );
  const [shown] = (await threads(alice, roomId)).chunk;
  assert.deepEqual([shown.event_id, shown.content], [root, {}]);
  assert.equal(shown.unsigned['m.relations']['m.thread'].count, 1);
});

test('only who may look into a room sees its threads, and only those they may see', async (t) => {
  const house = await roomsHouse(t);
  const [alice, bob, carol] = [house.person('alice'), house.person('bob'), house.person('carol')];
  const roomId = await alice.createRoom({
    initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'joined' } }],
  });
  const before = await alice.send(roomId, 'before');
  await join(bob, roomId);
  const after = await alice.send(roomId, 'after');
  await alice.send(roomId, reply(before, '…'));
  await alice.send(roomId, reply(after, '…'));
  assert.deepEqual(idsOf((await threads(bob, roomId)).chunk), [after]);
  assert.deepEqual(idsOf((await threads(bob, roomId, { limit: 1 })).chunk), [after]);
  const ask = (client: TestClient, query: Json = {}) => client.get(inRoomV1(roomId, 'threads'), query);
  expectError(await ask(carol), 403, 'M_FORBIDDEN');
  expectError(await ask(alice, { limit: 0 }), 400, 'M_INVALID_PARAM');
  expectError(await ask(alice, { from: 'x' }), 400, 'M_INVALID_PARAM');
  expectError(await ask(alice, { from: (await alice.sync()).next_batch }), 400, 'M_INVALID_PARAM');
  expectError(await ask(alice, { include: 'some' }), 400, 'M_INVALID_PARAM');
  expectOk(await alice.get(`/_matrix/client/unstable/org.matrix.msc3856/rooms/${roomId}/threads`));
  await leave(bob, roomId);
  assert.deepEqual(idsOf((await threads(bob, roomId)).chunk), [after]);
});

test('an event is in the thread it replies in, or that what it relates to is in', async (t) => {
  const house = await roomsHouse(t);
  const alice = house.person('alice');
  const roomId = await alice.createRoom();
  const root = await alice.send(roomId, 'root');
  const replied = await alice.send(roomId, reply(root, 'reply'));
  const edited = await alice.send(roomId, edit(replied, 'edited'));
  const liked = await alice.send(roomId, reaction(edited, '👍'), 'm.reaction');
  const tooFar = await alice.send(roomId, reaction(liked, '👍'), 'm.reaction');
  const rootLiked = await alice.send(roomId, reaction(root, '👍'), 'm.reaction');
  const threadOf = (eventId: string): string => {
    assert.ok(isEventId(eventId));
    return house.threads.threadOf(eventId);
  };
  assert.deepEqual([replied, edited, liked].map(threadOf), [root, root, root]);
  assert.deepEqual([root, rootLiked, tooFar, '$nothing'].map(threadOf), ['main', 'main', 'main', 'main']);
  expectOk(await alice.put(inRoom(roomId, 'redact', replied, '1'), {}));
  assert.equal(threadOf(replied), 'main');
});
