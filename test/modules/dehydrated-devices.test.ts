import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../kit/manual-clock.ts';
import { expectError, expectOk, type Json, TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { claim, CURVE, deviceKeysOf, Identity, oneTimeKey, oneTimeKeys, query } from './encryption-kit.ts';

const DEVICE = '/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device';
const eventsOf = (deviceId: string): string => `${DEVICE}/${encodeURIComponent(deviceId)}/events`;
const DATA = { algorithm: 'org.matrix.msc3814.v1.olm', device_pickle: 'sealed', nonce: 'n' };

/** Stands for a device of somebody's that has no client. */
function sleeper(owner: TestClient, deviceId: string): TestClient {
  return new TestClient({ baseUrl: 'http://nowhere.test' }, { userId: owner.userId, deviceId });
}

function bodyFor(owner: TestClient, deviceId: string, change: Json = {}): Json {
  const device = sleeper(owner, deviceId);
  return {
    device_id: deviceId,
    initial_device_display_name: 'Dehydrated device',
    device_data: DATA,
    device_keys: deviceKeysOf(device),
    one_time_keys: oneTimeKeys(device, 2),
    fallback_keys: { [`${CURVE}:F`]: oneTimeKey(device) },
    ...change,
  };
}

let sent = 0;
async function sendTo(client: TestClient, userId: string, deviceId: string, content: Json): Promise<void> {
  sent += 1;
  const messages = { [userId]: { [deviceId]: content } };
  expectOk(await client.put(`/_matrix/client/v3/sendToDevice/m.room.encrypted/t${sent}`, { messages }));
}

async function deviceIds(client: TestClient): Promise<string[]> {
  return expectOk(await client.get('/_matrix/client/v3/devices')).devices.map((device: Json) => device.device_id);
}

test('a dehydrated device takes keys while its owner is away, who finds them with the next device', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann', { device_id: 'PHONE' });
  const bob = await server.register('bob');
  const { unstable_features: features } = expectOk(await ann.get('/_matrix/client/versions'));
  assert.equal(features['org.matrix.msc3814'], true);
  expectError(await ann.get(DEVICE), 404, 'M_NOT_FOUND');
  expectError(await ann.delete(DEVICE), 404, 'M_NOT_FOUND');
  expectError(await ann.get(eventsOf('SLEEPER')), 403, 'M_FORBIDDEN');

  const upload = bodyFor(ann, 'SLEEPER');
  upload.device_keys.dehydrated = true;
  assert.deepEqual(expectOk(await ann.put(DEVICE, upload)), { device_id: 'SLEEPER' });
  assert.deepEqual(expectOk(await ann.get(DEVICE)), { device_id: 'SLEEPER', device_data: DATA });
  // Others see a device like any other, and by its keys which kind it is.
  const seen = (await query(bob, ann.userId)).device_keys[ann.userId]['SLEEPER'];
  assert.equal(seen.dehydrated, true);
  assert.equal(seen.unsigned.device_display_name, 'Dehydrated device');
  assert.deepEqual((await deviceIds(ann)).sort(), ['PHONE', 'SLEEPER']);
  const device = sleeper(ann, 'SLEEPER');
  assert.deepEqual(
    [await claim(bob, device), await claim(bob, device), await claim(bob, device)].map((key) => key?.name),
    [`${CURVE}:A1`, `${CURVE}:A2`, `${CURVE}:F`],
  );

  expectOk(await ann.post('/_matrix/client/v3/logout'));
  for (const n of [1, 2, 3]) await sendTo(bob, ann.userId, n === 2 ? '*' : 'SLEEPER', { n });

  const again = await server.login('ann', { device_id: 'TABLET' });
  assert.equal(expectOk(await again.get(DEVICE)).device_id, 'SLEEPER');
  const { events, ...rest } = expectOk(await again.get(eventsOf('SLEEPER')));
  assert.deepEqual(
    events,
    [1, 2, 3].map((n) => ({ sender: bob.userId, type: 'm.room.encrypted', content: { n } })),
  );
  assert.deepEqual(rest, {}, 'there are no more');
  assert.deepEqual(expectOk(await again.delete(DEVICE)), { device_id: 'SLEEPER' });
  expectError(await again.get(DEVICE), 404, 'M_NOT_FOUND');
  assert.deepEqual(await deviceIds(again), ['TABLET']);
  assert.deepEqual((await query(bob, ann.userId)).device_keys[ann.userId], {});
});

test('messages come in pages, and stay for whoever has to begin anew', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  expectOk(await ann.put(DEVICE, bodyFor(ann, 'SLEEPER')));
  for (let n = 0; n < 5; n += 1) await sendTo(ann, ann.userId, 'SLEEPER', { n });

  const readByGet = async (): Promise<number[]> => {
    const read: number[] = [];
    let from: string | undefined;
    do {
      const { events, next_batch: next } = expectOk(await ann.get(eventsOf('SLEEPER'), { from, limit: 2 }));
      read.push(...events.map((event: Json) => event.content.n));
      from = next;
    } while (from !== undefined);
    return read;
  };
  assert.deepEqual(await readByGet(), [0, 1, 2, 3, 4]);
  assert.deepEqual(await readByGet(), [0, 1, 2, 3, 4]);
  // A page that ends with the last message says that it does.
  const whole = expectOk(await ann.get(eventsOf('SLEEPER'), { limit: 5 }));
  assert.deepEqual([whole.events.length, 'next_batch' in whole], [5, false]);

  // The first clients post, and go on until nothing comes.
  const read: number[] = [];
  let body = {};
  for (;;) {
    const { events, next_batch: next } = expectOk(await ann.post(`${eventsOf('SLEEPER')}?limit=2`, body));
    assert.ok(typeof next === 'string');
    body = { next_batch: next };
    if (events.length === 0) break;
    read.push(...events.map((event: Json) => event.content.n));
  }
  assert.deepEqual(read, [0, 1, 2, 3, 4]);
  await sendTo(ann, ann.userId, 'SLEEPER', { n: 5 });
  const late = expectOk(await ann.post(eventsOf('SLEEPER'), body));
  assert.deepEqual(late.events[0].content, { n: 5 });

  for (const from of ['5', 's5', 'dx', 'd-1', '']) {
    expectError(await ann.get(eventsOf('SLEEPER'), { from }), 400, 'M_INVALID_PARAM');
    expectError(await ann.post(eventsOf('SLEEPER'), { next_batch: from }), 400, 'M_INVALID_PARAM');
  }
  expectError(await ann.get(eventsOf('SLEEPER'), { limit: 'x' }), 400, 'M_INVALID_PARAM');
});

test('a dehydrated device is its owner’s alone, and messages of other devices are not read this way', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann', { device_id: 'PHONE' });
  const bob = await server.register('bob');
  expectOk(await ann.put(DEVICE, bodyFor(ann, 'SLEEPER')));
  await sendTo(bob, ann.userId, '*', { n: 1 });
  expectError(await bob.get(DEVICE), 404, 'M_NOT_FOUND');
  expectError(await bob.get(eventsOf('SLEEPER')), 403, 'M_FORBIDDEN');
  expectOk(await bob.put(DEVICE, bodyFor(bob, 'SLEEPER')));
  assert.deepEqual(expectOk(await bob.get(eventsOf('SLEEPER'))).events, []);
  expectError(await ann.get(eventsOf('PHONE')), 403, 'M_FORBIDDEN');
  expectOk(await bob.delete(DEVICE));
  assert.equal(expectOk(await ann.get(DEVICE)).device_id, 'SLEEPER');
  expectError(await server.anonymous().get(DEVICE), 401, 'M_MISSING_TOKEN');
});

test('a new dehydrated device takes the place of the old one, with all that belonged to it', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann', { device_id: 'PHONE' });
  const bob = await server.register('bob');
  const roomId = await ann.createRoom({ preset: 'public_chat' });
  await bob.join(roomId);
  const first = bodyFor(ann, 'FIRST');
  expectOk(await ann.put(DEVICE, first));
  await sendTo(bob, ann.userId, 'FIRST', { n: 1 });
  // A client that missed the answer asks again; nothing is lost by that.
  expectOk(await ann.put(DEVICE, first));
  assert.equal(expectOk(await ann.get(eventsOf('FIRST'))).events.length, 1);
  const { next_batch: since } = await bob.sync();

  expectOk(await ann.put(DEVICE, bodyFor(ann, 'SECOND', { initial_device_display_name: undefined })));
  assert.equal(expectOk(await ann.get(DEVICE)).device_id, 'SECOND');
  expectError(await ann.get(eventsOf('FIRST')), 403, 'M_FORBIDDEN');
  assert.deepEqual(expectOk(await ann.get(eventsOf('SECOND'))).events, []);
  assert.deepEqual((await deviceIds(ann)).sort(), ['PHONE', 'SECOND']);
  assert.deepEqual(Object.keys((await query(bob, ann.userId)).device_keys[ann.userId]), ['SECOND']);
  assert.equal(await claim(bob, sleeper(ann, 'FIRST')), undefined);
  assert.deepEqual((await bob.sync({ since })).device_lists.changed, [ann.userId]);
});

test('an upload that is not right leaves the device there was', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann', { device_id: 'PHONE' });
  const identity = new Identity(ann.userId);
  await identity.publish(ann);
  expectOk(await ann.put(DEVICE, bodyFor(ann, 'SLEEPER')));
  const name = identity.master.publicKeyBase64;
  const attempts: readonly [body: Json, status: number, errcode: string][] = [
    [bodyFor(ann, 'NEW', { device_keys: undefined }), 400, 'M_BAD_JSON'],
    [bodyFor(ann, 'NEW', { device_data: undefined }), 400, 'M_BAD_JSON'],
    [bodyFor(ann, 'NEW', { device_data: {} }), 400, 'M_BAD_JSON'],
    [bodyFor(ann, 'NEW', { device_id: '' }), 400, 'M_BAD_JSON'],
    [bodyFor(ann, 'NEW', { device_id: 'OTHER' }), 400, 'M_BAD_JSON'],
    [bodyFor(ann, 'NEW', { one_time_keys: { unnamed: 'key' } }), 400, 'M_BAD_JSON'],
    [bodyFor(ann, 'NEW', { device_data: { ...DATA, more: 'x'.repeat(600_000) } }), 413, 'M_TOO_LARGE'],
    [bodyFor(ann, 'PHONE'), 400, 'M_INVALID_PARAM'],
    [bodyFor(ann, name), 403, 'M_FORBIDDEN'],
  ];
  for (const [body, status, errcode] of attempts) expectError(await ann.put(DEVICE, body), status, errcode);
  assert.equal(expectOk(await ann.get(DEVICE)).device_id, 'SLEEPER');
  assert.deepEqual((await deviceIds(ann)).sort(), ['PHONE', 'SLEEPER']);
});

test('nobody logs in with a dehydrated device, and who deletes it like any other has none', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann', { device_id: 'PHONE' });
  expectOk(await ann.put(DEVICE, bodyFor(ann, 'SLEEPER')));
  const login = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'ann' },
    password: 'password of ann',
    device_id: 'SLEEPER',
  };
  expectError(await server.anonymous().post('/_matrix/client/v3/login', login), 403, 'M_FORBIDDEN');
  assert.equal(expectOk(await ann.get(DEVICE)).device_id, 'SLEEPER');
  const auth = { type: 'm.login.password', identifier: login.identifier, password: login.password };
  expectOk(await ann.delete('/_matrix/client/v3/devices/SLEEPER', { auth }));
  expectError(await ann.get(DEVICE), 404, 'M_NOT_FOUND');
});

test('a dehydrated device stays though nobody uses it, and over a restart; other unused devices go', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock, config: { delete_stale_devices_after: '30d' } });
  const ann = await server.register('ann', { device_id: 'PHONE' });
  await server.login('ann', { device_id: 'OLD' });
  expectOk(await ann.put(DEVICE, bodyFor(ann, 'SLEEPER')));
  await sendTo(ann, ann.userId, 'SLEEPER', { n: 1 });
  for (let day = 0; day < 32; day += 1) {
    await clock.advance(24 * 3_600_000);
    expectOk(await ann.get('/_matrix/client/v3/account/whoami'));
  }
  assert.deepEqual((await deviceIds(ann)).sort(), ['PHONE', 'SLEEPER']);
  await server.restart();
  assert.equal(expectOk(await ann.get(eventsOf('SLEEPER'))).events.length, 1);
  assert.ok((await query(ann, ann.userId)).device_keys[ann.userId]['SLEEPER'] !== undefined);
});
