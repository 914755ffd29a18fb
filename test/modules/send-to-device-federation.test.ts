import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../server/matrix/json.ts';
import { expectOk, expectError, type Json, type TestClient } from '../kit/test-client.ts';
import { alice, AWAY, bob, dora, userId } from '../rooms/room-kit.ts';
import { encryptionHouse, serverNamed } from './encryption-federation-house.ts';

const DIRECT = 'm.direct_to_device';
const TYPE = 'org.example.note';
const ELSEWHERE = serverNamed('elsewhere.test');
const erin = userId('@erin:elsewhere.test');

function direct(id: string, messages: JsonObject, more: JsonObject = {}): JsonObject {
  return { sender: dora, type: TYPE, message_id: id, messages, ...more };
}

async function received(client: TestClient, since?: string): Promise<Json> {
  const answer = await client.sync(since === undefined ? {} : { since });
  return { events: answer.to_device?.events ?? [], since: answer.next_batch };
}

function put(client: TestClient, transaction: string, messages: Json): ReturnType<TestClient['put']> {
  return client.put(`/_matrix/client/v3/sendToDevice/${TYPE}/${transaction}`, { messages });
}

test('a message of another server reaches the device it is for once, however often it comes', async (t) => {
  const house = await encryptionHouse(t);
  const phone = house.device(alice);
  const laptop = house.device(alice, 'LAPTOP');
  const first = direct('m1', { [alice]: { PHONE: { n: 1 }, GONE: { n: 0 } }, '@nobody:hearth.test': { X: { n: 0 } } });
  await house.receive(AWAY, DIRECT, first);
  await house.receive(AWAY, DIRECT, first);
  await house.receive(AWAY, DIRECT, direct('m2', { [alice]: { '*': { n: 2 } } }));
  const { events, since } = await received(phone);
  assert.deepEqual(events, [
    { sender: dora, type: TYPE, content: { n: 1 } },
    { sender: dora, type: TYPE, content: { n: 2 } },
  ]);
  assert.deepEqual((await received(laptop)).events, [{ sender: dora, type: TYPE, content: { n: 2 } }]);
  const { since: later } = await received(phone, since);
  await house.restart();
  await house.receive(AWAY, DIRECT, first);
  assert.deepEqual((await received(phone, later)).events, [], 'nor after a restart');
  // The ID is that server's alone.
  await house.receive(ELSEWHERE, DIRECT, { ...first, sender: erin });
  assert.equal((await received(phone, later)).events.length, 1);
});

test('a server cannot write in the name of another’s users, nor to anybody but ours, nor what makes no sense', async (t) => {
  const house = await encryptionHouse(t);
  const phone = house.device(alice);
  const messages = { [alice]: { PHONE: { n: 1 } } };
  await assert.rejects(house.receive(ELSEWHERE, DIRECT, direct('m1', messages)), { errcode: 'M_FORBIDDEN' });
  await assert.rejects(house.receive(AWAY, DIRECT, direct('m1', messages, { sender: alice })), {
    errcode: 'M_FORBIDDEN',
  });
  for (const broken of [
    direct('', messages),
    direct('x'.repeat(300), messages),
    direct('m1', messages, { type: '' }),
    direct('m1', messages, { messages: [] }),
    direct('m1', messages, { sender: 'dora' }),
  ]) {
    await assert.rejects(house.receive(AWAY, DIRECT, broken), { errcode: 'M_BAD_JSON' });
  }
  const crowd = Object.fromEntries(Array.from({ length: 2_001 }, (_, n) => [`@u${n}:hearth.test`, {}]));
  await assert.rejects(house.receive(AWAY, DIRECT, direct('m1', crowd)), { errcode: 'M_TOO_LARGE' });
  const large = { text: 'x'.repeat(70_000) };
  const odd = { [alice]: { PHONE: large, '*': 'text' }, [bob]: 'all', [dora]: { ONE: { n: 1 } }, alice: { PHONE: {} } };
  await house.receive(AWAY, DIRECT, direct('m1', odd));
  assert.deepEqual((await received(phone)).events, []);
  assert.deepEqual(house.outside.sent, []);
});

test('messages for many devices of one server go in few EDUs, in order, each server getting its own', async (t) => {
  const house = await encryptionHouse(t);
  const phone = house.device(alice);
  house.device(bob);
  const devices = Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`D${n}`, { n, text: 'x'.repeat(1_000) }]));
  const answer = await put(phone, 't1', { [dora]: devices, [erin]: { '*': { n: 1 } }, [bob]: { PHONE: { n: 2 } } });
  assert.deepEqual(expectOk(answer), {});
  const toAway = house.outside.take(AWAY);
  assert.ok(toAway.length >= 2 && toAway.length <= 3, `${toAway.length} EDUs`);
  const arrived = toAway.flatMap(({ content }) => Object.entries<Json>((content['messages'] as Json)[dora]));
  assert.deepEqual(Object.fromEntries(arrived), devices);
  const ids = toAway.map(({ content }) => JSON.stringify(content['message_id']));
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert.ok(id.length <= 32 + 2, 'in quotes');
  for (const { type, content } of toAway) {
    assert.deepEqual([type, content['sender'], content['type']], [DIRECT, alice, TYPE]);
    assert.ok(JSON.stringify(content).length < 65_536);
  }
  const [toElsewhere] = house.outside.take(ELSEWHERE);
  assert.deepEqual(toElsewhere?.content['messages'], { [erin]: { '*': { n: 1 } } });
  assert.deepEqual((await received(house.device(bob))).events.length, 1);

  expectOk(await put(phone, 't1', { [dora]: devices }));
  assert.deepEqual(house.outside.sent, [], 'a repeated request sends nothing');
});

test('a request that is refused sends nothing to anybody', async (t) => {
  const house = await encryptionHouse(t);
  const phone = house.device(alice);
  const laptop = house.device(alice, 'LAPTOP');
  const crowd = Object.fromEntries(Array.from({ length: 1_001 }, (_, n) => [`@u:s${n}.test`, { D: {} }]));
  expectError(await put(phone, 't1', { [alice]: { LAPTOP: { n: 1 } }, ...crowd }), 413, 'M_TOO_LARGE');
  assert.deepEqual(house.outside.sent, []);
  assert.deepEqual((await received(laptop)).events, []);
});

test('what arrived is remembered for a month, in case it comes again', async (t) => {
  const house = await encryptionHouse(t);
  const phone = house.device(alice);
  const day = 24 * 3_600_000;
  const messages = { [alice]: { PHONE: { n: 1 } } };
  await house.receive(AWAY, DIRECT, direct('m1', messages));
  house.clock.setWallClock(house.clock.now() + 29 * day);
  await house.receive(AWAY, DIRECT, direct('other', {}));
  await house.receive(AWAY, DIRECT, direct('m1', messages));
  assert.equal((await received(phone)).events.length, 1);
  house.clock.setWallClock(house.clock.now() + 2 * day);
  await house.receive(AWAY, DIRECT, direct('another', {}));
  await house.receive(AWAY, DIRECT, direct('m1', messages));
  assert.equal((await received(phone)).events.length, 2);
});

test('a device that never asks does not gather messages of other servers for ever', async (t) => {
  const house = await encryptionHouse(t);
  house.device(alice, 'LOST');
  const phone = house.device(alice);
  const fill = house.db().prepareWrite(`
    INSERT INTO to_device_messages (user_id, device_id, position, sender, type, content)
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 49999)
    SELECT '${alice}', 'LOST', n + 1000000, '${dora}', '${TYPE}', '{}' FROM numbers`);
  house.db().write((tx) => fill.run(tx));
  for (const id of ['m1', 'm2', 'm3']) await house.receive(AWAY, DIRECT, direct(id, { [alice]: { '*': { id } } }));
  const count = house
    .db()
    .prepareRead<{ waiting: number }>("SELECT count(*) AS waiting FROM to_device_messages WHERE device_id = 'LOST'");
  assert.equal(count.find()?.waiting, 50_000);
  assert.equal((await received(phone)).events.length, 3);
});
