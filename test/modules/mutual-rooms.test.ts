import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const PATH = '/_matrix/client/v1/mutual_rooms';

async function shared(who: TestClient, userId: string, from?: string): Promise<Json> {
  return expectOk(await who.get(PATH, { user_id: userId, from }));
}

test('two people share the rooms both are in, and no others', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const kitchen = await ann.createRoom({ preset: 'public_chat' });
  const garden = await bob.createRoom({ preset: 'public_chat' });
  const study = await ann.createRoom({ invite: [bob.userId] });
  await bob.join(kitchen);
  await ann.join(garden);

  // An invite is not enough.
  assert.deepEqual(await shared(ann, bob.userId), { joined: [kitchen, garden].sort(), count: 2 });
  assert.deepEqual(await shared(bob, ann.userId), { joined: [kitchen, garden].sort(), count: 2 });
  await bob.join(study);
  await bob.leave(kitchen);
  assert.deepEqual(await shared(ann, bob.userId), { joined: [garden, study].sort(), count: 2 });

  const unstable = '/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms';
  assert.equal(expectOk(await ann.get(unstable, { user_id: bob.userId })).count, 2);
});

test('with strangers, and with users that are none, there is nothing in common', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  await ann.createRoom();
  await bob.createRoom();
  assert.deepEqual(await shared(ann, bob.userId), { joined: [], count: 0 });
  assert.deepEqual(await shared(ann, '@nobody:elsewhere.test'), { joined: [], count: 0 });
});

test('questions that make no sense are refused', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  expectError(await ann.get(PATH, { user_id: ann.userId }), 400, 'M_INVALID_PARAM');
  expectError(await ann.get(PATH, { user_id: 'bob' }), 400, 'M_INVALID_PARAM');
  expectError(await ann.get(PATH), 400, 'M_MISSING_PARAM');
  expectError(await ann.get(PATH, { user_id: '@bob:hearth.test', from: 'yesterday' }), 400, 'M_INVALID_PARAM');
  expectError(await server.anonymous().get(PATH, { user_id: ann.userId }), 401, 'M_MISSING_TOKEN');
});

test('those who share very many rooms get them page by page, each once', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const rooms: string[] = [];
  for (let each = 0; each < 103; each += 1) {
    const roomId = await ann.createRoom({ preset: 'public_chat' });
    await bob.join(roomId);
    rooms.push(roomId);
  }
  const first = await shared(ann, bob.userId);
  assert.deepEqual([first.joined.length, first.count], [100, 103]);
  const second = await shared(ann, bob.userId, first.next_batch);
  assert.deepEqual([second.joined.length, second.count, second.next_batch], [3, 103, undefined]);
  const unstable = '/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms';
  const query = { user_id: bob.userId, batch_token: first.next_batch_token };
  assert.deepEqual(expectOk(await ann.get(unstable, query)).joined, second.joined);
  assert.deepEqual([...first.joined, ...second.joined], rooms.sort());

  // A room left in between only shortens what is left.
  const [last = ''] = first.joined.slice(-1);
  await bob.leave(last);
  assert.equal((await shared(ann, bob.userId, first.next_batch)).joined.length, 3);
});
