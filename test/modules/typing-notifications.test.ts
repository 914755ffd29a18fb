import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../kit/manual-clock.ts';
import { type Answer, expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const SECOND = 1000;

const typingPath = (roomId: string, userId: string): string =>
  `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/typing/${encodeURIComponent(userId)}`;

const type = (who: TestClient, roomId: string, timeout?: number): Promise<Answer> =>
  who.put(typingPath(roomId, who.userId), { typing: true, ...(timeout === undefined ? {} : { timeout }) });

const stop = (who: TestClient, roomId: string): Promise<Answer> =>
  who.put(typingPath(roomId, who.userId), { typing: false });

/** Who types in the room by an answer of /sync; undefined if it does not say. */
function typists(answer: Json, roomId: string): string[] | undefined {
  const events: Json[] = answer.rooms?.join?.[roomId]?.ephemeral?.events ?? [];
  const typing = events.filter((event) => event.type === 'm.typing');
  assert.ok(typing.length < 2);
  return typing[0]?.content.user_ids;
}

interface Chat {
  readonly server: TestServer;
  readonly clock: ManualClock;
  readonly anna: TestClient;
  readonly bob: TestClient;
  readonly kitchen: string;
}

async function chat(): Promise<Chat & AsyncDisposable> {
  const clock = new ManualClock();
  const server = await TestServer.start({ clock, config: { allow_guest_access: true } });
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const kitchen = await anna.createRoom({ preset: 'public_chat' });
  await bob.join(kitchen);
  return { server, clock, anna, bob, kitchen, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

test('those in the room hear who types, and that they have stopped, each once', async () => {
  await using house = await chat();
  const { anna, bob, kitchen } = house;
  const { next_batch: start } = await anna.sync();

  assert.deepEqual(expectOk(await type(bob, kitchen)), {});
  const first = await anna.sync({ since: start });
  assert.deepEqual(first.rooms.join[kitchen].ephemeral.events, [
    { type: 'm.typing', content: { user_ids: [bob.userId] } },
  ]);
  expectOk(await type(bob, kitchen));
  assert.equal((await anna.sync({ since: first.next_batch })).rooms, undefined, 'he goes on, which is no news');

  expectOk(await type(anna, kitchen));
  const second = await anna.sync({ since: first.next_batch });
  assert.deepEqual(typists(second, kitchen)?.toSorted(), [anna.userId, bob.userId]);
  expectOk(await stop(bob, kitchen));
  const third = await anna.sync({ since: second.next_batch });
  assert.deepEqual(typists(third, kitchen), [anna.userId]);
  expectOk(await stop(bob, kitchen));
  assert.equal((await anna.sync({ since: third.next_batch })).rooms, undefined);
});

test('whoever waits hears at once that somebody begins to type', async () => {
  await using house = await chat();
  const { anna, bob, kitchen } = house;
  const { next_batch: since } = await anna.sync();

  const waiting = anna.sync({ since, timeout: 60_000 });
  expectOk(await type(bob, kitchen, 5000));
  assert.deepEqual(typists(await waiting, kitchen), [bob.userId]);
});

test('somebody who says no more has stopped when their time is up, and no later than after two minutes', async () => {
  await using house = await chat();
  const { clock, anna, bob, kitchen } = house;
  const stillTyping = async (): Promise<boolean> => typists(await anna.sync(), kitchen)?.length === 1;

  expectOk(await type(bob, kitchen, 5000));
  await clock.advance(4999);
  assert.equal(await stillTyping(), true);
  const { next_batch: since } = await anna.sync();
  await clock.advance(1);
  assert.deepEqual(typists(await anna.sync({ since }), kitchen), []);
  assert.deepEqual(typists(await anna.sync(), kitchen), [], 'those who begin anew hear that he stopped, too');

  expectOk(await type(bob, kitchen, 5000));
  await clock.advance(4 * SECOND);
  expectOk(await type(bob, kitchen, 5000));
  await clock.advance(4 * SECOND);
  assert.equal(await stillTyping(), true, 'the later request counts');
  await clock.advance(SECOND);
  assert.equal(await stillTyping(), false);

  expectOk(await type(bob, kitchen));
  await clock.advance(29 * SECOND);
  assert.equal(await stillTyping(), true);
  await clock.advance(SECOND);
  assert.equal(await stillTyping(), false, 'without a time, thirty seconds');

  expectOk(await type(bob, kitchen, 3_600_000));
  await clock.advance(119 * SECOND);
  assert.equal(await stillTyping(), true);
  await clock.advance(SECOND);
  assert.equal(await stillTyping(), false);
});

test('one can only type for oneself, in rooms one is in', async () => {
  await using house = await chat();
  const { server, anna, bob, kitchen } = house;
  const carol = await server.register('carol');
  const guest = await server.guest();
  const { next_batch: since } = await anna.sync();

  expectError(await bob.put(typingPath(kitchen, anna.userId), { typing: true }), 403, 'M_FORBIDDEN');
  expectError(await type(carol, kitchen), 403, 'M_FORBIDDEN');
  expectError(await stop(carol, kitchen), 403, 'M_FORBIDDEN');
  expectError(await type(bob, '!nowhere:hearth.test'), 403, 'M_FORBIDDEN');
  expectError(await type(guest, kitchen), 403, 'M_GUEST_ACCESS_FORBIDDEN');
  expectError(await bob.put(typingPath(kitchen, bob.userId), {}), 400, 'M_BAD_JSON');
  expectError(await bob.put(typingPath(kitchen, bob.userId), { typing: 'yes' }), 400, 'M_BAD_JSON');
  expectError(await type(bob, kitchen, -1), 400, 'M_BAD_JSON');
  expectError(await type(bob, 'kitchen'), 400, 'M_INVALID_PARAM');
  assert.equal((await anna.sync({ since })).rooms, undefined);
});

test('whoever leaves or is thrown out has stopped typing', async () => {
  await using house = await chat();
  const { clock, anna, bob, kitchen } = house;
  for (const go of [
    () => bob.leave(kitchen),
    async () => {
      const path = `/_matrix/client/v3/rooms/${encodeURIComponent(kitchen)}/kick`;
      expectOk(await anna.post(path, { user_id: bob.userId }));
    },
  ]) {
    expectOk(await type(bob, kitchen));
    const { next_batch: since } = await anna.sync();
    await go();
    assert.deepEqual(typists(await anna.sync({ since }), kitchen), []);
    await bob.join(kitchen);
  }
  const { next_batch: since } = await anna.sync();
  await clock.advance(60 * SECOND);
  assert.equal(typists(await anna.sync({ since }), kitchen), undefined, 'and does not stop once more');
});

test('a change of name does not end typing', async () => {
  await using house = await chat();
  const { anna, bob, kitchen } = house;
  expectOk(await type(bob, kitchen));
  await bob.setState(kitchen, 'm.room.member', { membership: 'join', displayname: 'Bobby' }, bob.userId);

  assert.deepEqual(typists(await anna.sync(), kitchen), [bob.userId]);
});

test('a first sync and one after joining show who is typing right now, but not those one ignores', async () => {
  await using house = await chat();
  const { server, anna, bob, kitchen } = house;
  const carol = await server.register('carol');
  const { next_batch: since } = await carol.sync();
  expectOk(await type(anna, kitchen));
  expectOk(await type(bob, kitchen));
  expectOk(
    await carol.put(`/_matrix/client/v3/user/${carol.userId}/account_data/m.ignored_user_list`, {
      ignored_users: { [bob.userId]: {} },
    }),
  );
  await carol.join(kitchen);

  assert.deepEqual(typists(await carol.sync({ since }), kitchen), [anna.userId]);
  assert.deepEqual(typists(await carol.sync(), kitchen), [anna.userId]);
  const filter = { room: { ephemeral: { not_types: ['m.typing'] } } };
  assert.equal(typists(await carol.sync({ filter }), kitchen), undefined);
});

test('typing in one room is no news in another', async () => {
  await using house = await chat();
  const { anna, bob, kitchen } = house;
  const attic = await bob.createRoom({ preset: 'public_chat' });
  const { next_batch: since } = await anna.sync();
  expectOk(await type(bob, attic));
  assert.equal((await anna.sync({ since })).rooms, undefined);

  await anna.join(attic);
  expectOk(await type(bob, kitchen));
  const answer = await anna.sync({ since });
  assert.deepEqual(typists(answer, kitchen), [bob.userId]);
  assert.deepEqual(typists(answer, attic), [bob.userId]);
});
