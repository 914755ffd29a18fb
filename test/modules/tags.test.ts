import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

function tagPath(of: TestClient, roomId: string, tag?: string): string {
  const path = `/_matrix/client/v3/user/${encodeURIComponent(of.userId)}/rooms/${encodeURIComponent(roomId)}/tags`;
  return tag === undefined ? path : `${path}/${encodeURIComponent(tag)}`;
}

async function tagsOf(who: TestClient, roomId: string): Promise<Json> {
  return expectOk(await who.get(tagPath(who, roomId))).tags;
}

/** The m.tag events of a room in an answer of /sync. */
function told(answer: Json, roomId: string): Json[] {
  const events: Json[] = answer.rooms?.join?.[roomId]?.account_data?.events ?? [];
  return events.filter(({ type }) => type === 'm.tag').map(({ content }) => content);
}

test('a user puts tags on a room, changes them and takes them away', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const kitchen = await anna.createRoom();

  assert.deepEqual(await tagsOf(anna, kitchen), {});
  assert.deepEqual(expectOk(await anna.put(tagPath(anna, kitchen, 'm.favourite'), { order: 0.25 })), {});
  expectOk(await anna.put(tagPath(anna, kitchen, 'u.Zu Hause / ü'), { 'org.example.icon': '🏠' }));
  assert.deepEqual(await tagsOf(anna, kitchen), {
    'm.favourite': { order: 0.25 },
    'u.Zu Hause / ü': { 'org.example.icon': '🏠' },
  });
  expectOk(await anna.put(tagPath(anna, kitchen, 'm.favourite'), {}));
  assert.deepEqual((await tagsOf(anna, kitchen))['m.favourite'], {}, 'what is set last counts alone');
  assert.deepEqual(expectOk(await anna.delete(tagPath(anna, kitchen, 'm.favourite'))), {});
  expectOk(await anna.delete(tagPath(anna, kitchen, 'm.favourite')));
  assert.deepEqual(Object.keys(await tagsOf(anna, kitchen)), ['u.Zu Hause / ü']);
});

test('tags belong to who set them, and to their room', async () => {
  await using server = await TestServer.start({ config: { allow_guest_access: true } });
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const kitchen = await anna.createRoom({ preset: 'public_chat' });
  const attic = await anna.createRoom();
  await bob.join(kitchen);
  expectOk(await anna.put(tagPath(anna, kitchen, 'u.home'), {}));

  expectError(await bob.get(tagPath(anna, kitchen)), 403, 'M_FORBIDDEN');
  expectError(await bob.put(tagPath(anna, kitchen, 'u.mine'), {}), 403, 'M_FORBIDDEN');
  expectError(await bob.delete(tagPath(anna, kitchen, 'u.home')), 403, 'M_FORBIDDEN');
  expectError(await server.anonymous().get(tagPath(anna, kitchen)), 401, 'M_MISSING_TOKEN');
  const guest = await server.guest();
  expectError(await guest.put(tagPath(guest, kitchen, 'u.home'), {}), 403, 'M_GUEST_ACCESS_FORBIDDEN');
  assert.deepEqual(await tagsOf(bob, kitchen), {});
  assert.deepEqual(await tagsOf(anna, attic), {});
  assert.deepEqual(await tagsOf(anna, kitchen), { 'u.home': {} });
});

test('the order of a tag is a number from 0 to 1, its name has at most 255 bytes', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const kitchen = await anna.createRoom();

  for (const order of [0, 1, 0.000_001]) expectOk(await anna.put(tagPath(anna, kitchen, 'u.a'), { order }));
  for (const order of [-0.1, 1.1, '0.5', null]) {
    expectError(await anna.put(tagPath(anna, kitchen, 'u.a'), { order }), 400, 'M_BAD_JSON');
  }
  expectOk(await anna.put(tagPath(anna, kitchen, `u.${'ü'.repeat(126)}x`), {}));
  expectError(await anna.put(tagPath(anna, kitchen, `u.${'ü'.repeat(127)}`), {}), 400, 'M_INVALID_PARAM');
  expectError(await anna.put(tagPath(anna, 'kitchen', 'u.a'), {}), 400, 'M_INVALID_PARAM');
  expectError(await anna.put(tagPath(anna, kitchen, 'u.a'), []), 400, 'M_BAD_JSON');
  assert.equal((await tagsOf(anna, kitchen))['u.a'].order, 0.000_001);
});

test('nobody has more than a hundred tags on a room', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const kitchen = await anna.createRoom();
  for (let count = 0; count < 100; count += 1) expectOk(await anna.put(tagPath(anna, kitchen, `u.${count}`), {}));

  expectError(await anna.put(tagPath(anna, kitchen, 'u.100'), {}), 400, 'M_LIMIT_EXCEEDED');
  expectOk(await anna.put(tagPath(anna, kitchen, 'u.7'), { order: 0.5 }));
  expectOk(await anna.delete(tagPath(anna, kitchen, 'u.8')));
  expectOk(await anna.put(tagPath(anna, kitchen, 'u.100'), {}));
});

test('all of a room’s tags are told together: at first, when one changes, and when the last one goes', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const kitchen = await anna.createRoom();
  const attic = await anna.createRoom();
  expectOk(await anna.put(tagPath(anna, kitchen, 'u.home'), { order: 0.5 }));
  expectOk(await anna.put(tagPath(anna, attic, 'u.old'), {}));
  expectOk(await anna.delete(tagPath(anna, attic, 'u.old')));

  const first = await anna.sync();
  assert.deepEqual(told(first, kitchen), [{ tags: { 'u.home': { order: 0.5 } } }]);
  assert.deepEqual(told(first, attic), [], 'a new client need not hear that there are none');

  expectOk(await anna.put(tagPath(anna, kitchen, 'm.favourite'), {}));
  const second = await anna.sync({ since: first.next_batch });
  assert.deepEqual(told(second, kitchen), [{ tags: { 'u.home': { order: 0.5 }, 'm.favourite': {} } }]);
  assert.equal(second.rooms.join[attic], undefined);

  expectOk(await anna.delete(tagPath(anna, kitchen, 'm.favourite')));
  expectOk(await anna.delete(tagPath(anna, kitchen, 'u.home')));
  const third = await anna.sync({ since: second.next_batch });
  assert.deepEqual(told(third, kitchen), [{ tags: {} }]);
  expectOk(await anna.delete(tagPath(anna, kitchen, 'u.home')));
  assert.equal((await anna.sync({ since: third.next_batch })).rooms, undefined, 'nothing was taken away');
});

test('another device of the user hears of a tag at once', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const tablet = await server.login('anna');
  const kitchen = await anna.createRoom();
  const { next_batch: since } = await tablet.sync();

  const waiting = tablet.sync({ since, timeout: 60_000 });
  expectOk(await anna.put(tagPath(anna, kitchen, 'u.home'), {}));
  assert.deepEqual(told(await waiting, kitchen), [{ tags: { 'u.home': {} } }]);
});

test('tags may be put on a room before it is joined, and are there when it is', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const kitchen = await anna.createRoom({ preset: 'public_chat' });
  expectOk(await bob.put(tagPath(bob, kitchen, 'm.lowpriority'), {}));
  const { next_batch: since } = await bob.sync();
  await bob.join(kitchen);

  assert.deepEqual(told(await bob.sync({ since }), kitchen), [{ tags: { 'm.lowpriority': {} } }]);
  await server.restart();
  assert.deepEqual(await tagsOf(bob, kitchen), { 'm.lowpriority': {} });
});
