import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { ManualClock } from '../kit/manual-clock.ts';
import { type Answer, expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const TYPE = 'org.example.note';

function path(transaction: string, type = TYPE): string {
  return `/_matrix/client/v3/sendToDevice/${encodeURIComponent(type)}/${encodeURIComponent(transaction)}`;
}

let transactions = 0;

/** Sends `content` to one device, or `*`, of somebody. */
async function note(from: TestClient, to: TestClient, content: Json, target = to.deviceId): Promise<void> {
  transactions += 1;
  expectOk(await from.put(path(`t${transactions}`), { messages: { [to.userId]: { [target]: content } } }));
}

/** Leaves `count` numbered notes, `first` being the first number. */
async function noteMany(from: TestClient, to: TestClient, count: number, first = 1): Promise<void> {
  for (let n = first; n < first + count; n += 1) await note(from, to, { n });
}

function received(answer: Json): Json[] {
  return answer.to_device?.events ?? [];
}

function numbers(answer: Json): number[] {
  return received(answer).map(({ content }) => content.n);
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

async function people(server: TestServer): Promise<{ ann: TestClient; bob: TestClient }> {
  return {
    ann: await server.register('ann', { device_id: 'ANNS' }),
    bob: await server.register('bob', { device_id: 'PHONE' }),
  };
}

test('a message reaches one device of Bob’s, in order, and is gone once his device has come back with the token', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const laptop = await server.login('bob', { device_id: 'LAPTOP' });
  await note(ann, bob, { n: 1 });
  await note(bob, bob, { n: 2 });
  const first = await bob.sync();
  assert.deepEqual(received(first), [
    { sender: ann.userId, type: TYPE, content: { n: 1 } },
    { sender: bob.userId, type: TYPE, content: { n: 2 } },
  ]);
  assert.deepEqual(received(await laptop.sync()), []);

  await note(ann, bob, { n: 3 });
  const second = await bob.sync({ since: first.next_batch });
  assert.deepEqual(numbers(second), [3]);
  const third = await bob.sync({ since: second.next_batch });
  assert.equal(third.to_device, undefined);
  assert.deepEqual(received(await bob.sync()), [], 'a new beginning brings nothing back');
});

test('until it is acknowledged a message is given again, after a restart too', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const { next_batch: since } = await bob.sync();
  await noteMany(ann, bob, 3);
  assert.deepEqual(numbers(await bob.sync({ since })), [1, 2, 3]);
  assert.deepEqual(numbers(await bob.sync({ since })), [1, 2, 3]);
  await server.restart();
  assert.deepEqual(numbers(await bob.sync()), [1, 2, 3]);
  const again = await bob.sync({ since });
  assert.deepEqual(numbers(again), [1, 2, 3]);
  assert.deepEqual(numbers(await bob.sync({ since: again.next_batch })), []);
});

test('a long queue comes a hundred at a time, each batch as often as it is asked for, and none is lost', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const { next_batch: start } = await bob.sync();
  await noteMany(ann, bob, 250);

  const first = await bob.sync({ since: start });
  assert.deepEqual(numbers(first), range(1, 100));
  const repeated = await bob.sync({ since: start });
  assert.deepEqual(numbers(repeated), range(1, 100));

  // He says he has the first hundred, twice: the answer to the first request was lost.
  const second = await bob.sync({ since: repeated.next_batch });
  assert.deepEqual(numbers(second), range(101, 200));
  assert.notEqual(second.next_batch, repeated.next_batch);
  assert.deepEqual(numbers(await bob.sync({ since: repeated.next_batch })), range(101, 200));
  await server.restart();
  assert.deepEqual(numbers(await bob.sync({ since: repeated.next_batch })), range(101, 200));

  // A client that is set back to a token from before asks for what it had; what it never had is still there.
  assert.deepEqual(numbers(await bob.sync({ since: first.next_batch })), range(101, 200));
  assert.deepEqual(numbers(await bob.sync({ since: start })), range(101, 200));

  await noteMany(ann, bob, 2, 251);
  const third = await bob.sync({ since: second.next_batch });
  assert.deepEqual(numbers(third), range(201, 252));
  assert.deepEqual(numbers(await bob.sync({ since: second.next_batch })), range(201, 252));
  assert.deepEqual(numbers(await bob.sync({ since: third.next_batch })), []);
  assert.deepEqual(numbers(await bob.sync()), []);
});

test('a queue that fits exactly comes whole', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  await noteMany(ann, bob, 100);
  const only = await bob.sync();
  assert.deepEqual(numbers(only), range(1, 100));
  assert.deepEqual(numbers(await bob.sync({ since: only.next_batch })), []);
});

test('a first request that is repeated gives the same first batch', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  await noteMany(ann, bob, 120);
  assert.deepEqual(numbers(await bob.sync()), range(1, 100));
  const first = await bob.sync();
  assert.deepEqual(numbers(first), range(1, 100));
  const rest = await bob.sync({ since: first.next_batch });
  assert.deepEqual(numbers(rest), range(101, 120));
});

test('a message for * reaches every device of the user, and unknown devices and users are passed over', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const laptop = await server.login('bob', { device_id: 'LAPTOP' });
  await note(ann, bob, { n: 1 }, '*');
  await note(ann, bob, { n: 2 }, 'NOWHERE');
  expectOk(
    await ann.put(path('several'), {
      messages: {
        [bob.userId]: { PHONE: { n: 3 }, LAPTOP: { n: 4 }, NOWHERE: { n: 5 } },
        '@nobody:hearth.test': { '*': { n: 6 } },
      },
    }),
  );
  assert.deepEqual(numbers(await bob.sync()), [1, 3]);
  assert.deepEqual(numbers(await laptop.sync()), [1, 4]);
  assert.deepEqual(numbers(await ann.sync()), []);
});

test('a request that is repeated sends nothing again, also after a restart', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const body = (n: number): Json => ({ messages: { [bob.userId]: { PHONE: { n } } } });
  expectOk(await ann.put(path('once'), body(1)));
  expectOk(await ann.put(path('once'), body(1)));
  await server.restart();
  expectOk(await ann.put(path('once'), body(1)));
  assert.deepEqual(numbers(await bob.sync()), [1]);

  // Another path, another device, another person: other requests.
  expectOk(await ann.put(path('once', 'org.example.other'), body(2)));
  const tablet = await server.login('ann', { device_id: 'TABLET' });
  expectOk(await tablet.put(path('once'), body(3)));
  expectOk(await bob.put(path('once'), body(4)));
  assert.deepEqual(numbers(await bob.sync()), [1, 2, 3, 4]);
});

test('a transaction is remembered for a day', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock });
  const { ann, bob } = await people(server);
  const body = (n: number): Json => ({ messages: { [bob.userId]: { PHONE: { n } } } });
  expectOk(await ann.put(path('once'), body(1)));
  await clock.advance(23 * 3_600_000);
  expectOk(await ann.put(path('once'), body(1)));
  await clock.advance(2 * 3_600_000);
  // Tidying up comes with sending.
  expectOk(await ann.put(path('other'), body(2)));
  expectOk(await ann.put(path('once'), body(3)));
  assert.deepEqual(numbers(await bob.sync()), [1, 2, 3]);
});

test('a message wakes the waiting request of its device, and of no other', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock });
  const { ann, bob } = await people(server);
  const laptop = await server.login('bob', { device_id: 'LAPTOP' });
  const onPhone = await bob.sync();
  const onLaptop = await laptop.sync();
  const timers = clock.pending;
  const phoneWaits = bob.sync({ since: onPhone.next_batch, timeout: 30_000, signal: AbortSignal.timeout(20_000) });
  const laptopWaits = laptop.sync({ since: onLaptop.next_batch, timeout: 30_000, signal: AbortSignal.timeout(20_000) });
  while (clock.pending < timers + 2) await new Promise((resolve) => setImmediate(resolve));
  await note(ann, bob, { n: 1 });
  assert.deepEqual(numbers(await phoneWaits), [1]);
  await clock.advance(30_000);
  assert.equal((await laptopWaits).to_device, undefined);
});

test('what waits for a device goes with it, and so do its own transactions', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const laptop = await server.login('bob', { device_id: 'LAPTOP' });
  await noteMany(ann, laptop, 150);
  await laptop.sync();
  expectOk(await laptop.put(path('mine'), { messages: { [bob.userId]: { PHONE: { n: 1 } } } }));
  expectOk(await laptop.post('/_matrix/client/v3/logout'));
  await note(ann, laptop, { n: 151 });

  const successor = await server.login('bob', { device_id: 'LAPTOP' });
  assert.deepEqual(numbers(await successor.sync()), []);
  expectOk(await successor.put(path('mine'), { messages: { [bob.userId]: { PHONE: { n: 2 } } } }));
  await note(ann, successor, { n: 152 });
  assert.deepEqual(numbers(await successor.sync()), [152]);
  assert.deepEqual(numbers(await bob.sync()), [1, 2]);
});

test('of a device that gathered a lot nothing is left, nor given to another of its name', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const laptop = await server.login('bob', { device_id: 'LAPTOP' });
  await Promise.all(range(1, 1_000).map((n) => note(ann, laptop, { n })));
  assert.equal(numbers(await laptop.sync()).length, 100);
  expectOk(await laptop.post('/_matrix/client/v3/logout'));
  const successor = await server.login('bob', { device_id: 'LAPTOP' });
  await note(ann, successor, { n: 1_001 });
  const first = await successor.sync();
  assert.deepEqual(numbers(first), [1_001]);
  const second = await successor.sync({ since: first.next_batch });
  assert.deepEqual(numbers(second), []);
  expectOk(await successor.post('/_matrix/client/v3/logout'));
  await note(ann, bob, { n: 1 });
  // What is not removed by then is after the next start.
  await server.restart();
  const db = new Sqlite(join(server.dir, 'homeserver.db'), { readonly: true });
  const countOf = (table: string): unknown => db.prepare(`SELECT count(*) FROM ${table}`).pluck().get();
  while (countOf('to_device_leftovers') !== 0) await bob.get('/_matrix/client/versions');
  assert.equal(countOf('to_device_messages'), 1, 'Bob’s own');
  db.close();
  assert.deepEqual(numbers(await bob.sync()), [1]);
});

test('a request may not write to more devices than anybody has', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const devices = Object.fromEntries(range(1, 5_000).map((n) => [`D${n}`, { n }]));
  const messages = { [bob.userId]: { PHONE: { n: 1 } }, '@carol:hearth.test': devices };
  expectError(await ann.put(path('many'), { messages }), 413, 'M_TOO_LARGE');
  assert.deepEqual(numbers(await bob.sync()), []);
});

test('a message that is too large refuses the whole request, which may be sent again without it', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const laptop = await server.login('bob', { device_id: 'LAPTOP' });
  const send = (large: string): Promise<Answer> =>
    ann.put(path('large'), { messages: { [bob.userId]: { PHONE: { n: 1 }, LAPTOP: { n: 2, large } } } });
  expectError(await send('é'.repeat(40_000)), 413, 'M_TOO_LARGE');
  assert.deepEqual(numbers(await bob.sync()), []);
  expectOk(await send('é'.repeat(20_000)));
  assert.deepEqual(numbers(await bob.sync()), [1]);
  assert.deepEqual(numbers(await laptop.sync()), [2]);
});

test('a message with everything JSON has arrives as it was sent', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const text = '{"__proto__":{"x":1},"constructor":"c","deep":[[{"é":"\\u0000 😀"}]],"half":0.5,"nil":null}';
  const messages = `{"messages":{"${bob.userId}":{"PHONE":${text}}}}`;
  expectOk(await ann.request('PUT', path('exact'), { body: messages }));
  const [message] = received(await bob.sync());
  assert.equal(JSON.stringify(message.content), text);
});

test('requests that make no sense are refused', async () => {
  await using server = await TestServer.start();
  const { ann } = await people(server);
  expectError(await ann.put(path('t'), {}), 400, 'M_BAD_JSON');
  expectError(await ann.put(path('t'), { messages: [] }), 400, 'M_BAD_JSON');
  expectError(await ann.put(path('t'), { messages: { bob: { PHONE: {} } } }), 400, 'M_BAD_JSON');
  expectError(await ann.put(path('t'), { messages: { [ann.userId]: { ANNS: 'text' } } }), 400, 'M_BAD_JSON');
  expectError(await ann.put(path('t', 'x'.repeat(256)), { messages: {} }), 400, 'M_INVALID_PARAM');
  expectError(await ann.put(path('x'.repeat(513)), { messages: {} }), 400, 'M_INVALID_PARAM');
  expectError(await server.anonymous().put(path('t'), { messages: {} }), 401, 'M_MISSING_TOKEN');
  expectOk(await ann.put(path('t'), { messages: {} }));
});

test('guests may send to devices', async () => {
  await using server = await TestServer.start({ config: { allow_guest_access: true } });
  const { bob } = await people(server);
  const guest = await server.guest();
  await note(guest, bob, { n: 1 });
  assert.deepEqual(
    received(await bob.sync()).map(({ sender }) => sender),
    [guest.userId],
  );
});
