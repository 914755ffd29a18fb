import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { House, proofOf, userId } from './accounts-server.ts';

const DEVICES = '/_matrix/client/v3/devices';
const WHOAMI = '/_matrix/client/v3/account/whoami';

async function deviceIds(client: TestClient): Promise<string[]> {
  return expectOk(await client.get(DEVICES)).devices.map((device: Json) => device.device_id);
}

test('Ann sees her devices and no one else’s', async (t) => {
  const house = await House.open(t);
  const phone = await house.register('ann', { device_id: 'PHONE', initial_device_display_name: 'Phone' });
  await house.logIn('ann', { device_id: 'LAPTOP' });
  await house.register('bob', { device_id: 'BOBS' });
  assert.deepEqual((await deviceIds(phone)).sort(), ['LAPTOP', 'PHONE']);
  const laptop = expectOk(await phone.get(`${DEVICES}/LAPTOP`));
  assert.equal(laptop.display_name, undefined);
  expectError(await phone.get(`${DEVICES}/BOBS`), 404, 'M_NOT_FOUND');
  expectError(await house.client().get(DEVICES), 401, 'M_MISSING_TOKEN');
});

test('a device is renamed by its owner', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann', { device_id: 'PHONE' });
  const bob = await house.register('bob');
  expectOk(await ann.put(`${DEVICES}/PHONE`, { display_name: 'My other phone' }));
  expectOk(await ann.put(`${DEVICES}/PHONE`, {}));
  assert.equal(expectOk(await ann.get(`${DEVICES}/PHONE`)).display_name, 'My other phone');
  expectError(await ann.put(`${DEVICES}/NONE`, { display_name: 'x' }), 404, 'M_NOT_FOUND');
  expectError(await ann.put(`${DEVICES}/NONE`, {}), 404, 'M_NOT_FOUND');
  expectError(await bob.put(`${DEVICES}/PHONE`, { display_name: 'x' }), 404, 'M_NOT_FOUND');
  expectError(await ann.put(`${DEVICES}/PHONE`, { display_name: 5 }), 400, 'M_BAD_JSON');
  expectOk(await ann.put(`${DEVICES}/PHONE`, { display_name: '📱'.repeat(100) }));
  expectError(await ann.put(`${DEVICES}/PHONE`, { display_name: '📱'.repeat(101) }), 400, 'M_TOO_LARGE');
});

test('a long name given at login is cut', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann', { device_id: 'PHONE', initial_device_display_name: 'é'.repeat(150) });
  assert.equal(expectOk(await ann.get(`${DEVICES}/PHONE`)).display_name, 'é'.repeat(100));
});

test('removing a device takes a proof and ends its session', async (t) => {
  const house = await House.open(t);
  const phone = await house.register('ann');
  const laptop = await house.logIn('ann', { device_id: 'LAPTOP' });
  const begun = await phone.delete(`${DEVICES}/LAPTOP`);
  assert.equal(begun.status, 401);
  expectOk(await laptop.get(WHOAMI));
  const auth = proofOf('ann', { session: begun.body.session });
  expectOk(await phone.delete(`${DEVICES}/LAPTOP`, { auth }));
  expectError(await phone.get(`${DEVICES}/LAPTOP`), 404, 'M_NOT_FOUND');
  expectError(await laptop.get(WHOAMI), 401, 'M_UNKNOWN_TOKEN');
  // It had been removed before: fine.
  expectOk(await phone.delete(`${DEVICES}/LAPTOP`, { auth: proofOf('ann') }));
});

test('several devices are removed at once, and only one’s own', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann', { device_id: 'A' });
  for (const id of ['B', 'C', 'D']) await house.logIn('ann', { device_id: id });
  const bob = await house.register('bob', { device_id: 'BOBS' });
  const path = '/_matrix/client/v3/delete_devices';
  expectError(await ann.post(path, {}), 400, 'M_BAD_JSON');
  expectError(await ann.post(path, { devices: [5] }), 400, 'M_BAD_JSON');
  expectOk(await ann.post(path, { devices: ['B', 'C', 'BOBS', 'NONE'], auth: proofOf('ann') }));
  assert.deepEqual((await deviceIds(ann)).sort(), ['A', 'D']);
  expectOk(await bob.get(WHOAMI));
});

test('a device shows when, where and with what it was last used', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann', { device_id: 'PHONE' });
  const use = (ip: string, agent: string) =>
    ann.request('GET', `${DEVICES}/PHONE`, { headers: { 'x-forwarded-for': ip, 'user-agent': agent } });
  const first = expectOk(await use('192.0.2.1', 'Element'));
  assert.deepEqual([first.last_seen_ip, first.last_seen_ts], ['192.0.2.1', house.clock.now()]);
  await house.clock.advance(5_000);
  await use('192.0.2.2', 'Element');
  const { devices } = house.devices;
  const who = userId(ann.userId);
  assert.deepEqual(
    devices.listConnections(who).map(({ ip, userAgent, lastSeenMs }) => [ip, userAgent, lastSeenMs]),
    [
      ['192.0.2.2', 'Element', house.clock.now()],
      ['192.0.2.1', 'Element', house.clock.now() - 5_000],
    ],
  );
  await house.restart();
  const [device] = house.devices.devices.list(who);
  assert.deepEqual([device?.lastSeenIp, device?.lastSeenUserAgent], ['192.0.2.2', 'Element']);
});

test('being seen costs no write of its own', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann');
  await house.settled();
  const before = house.commits();
  for (let n = 0; n < 20; n += 1) expectOk(await ann.get(WHOAMI));
  assert.equal(house.commits(), before);
  await house.clock.advance(60_000);
  assert.equal(house.commits(), before + 1);
});

test('a device that comes back under an old name was not seen where the old one was', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann', { device_id: 'PHONE' });
  expectOk(await ann.get(WHOAMI));
  expectOk(await ann.post('/_matrix/client/v3/logout'));
  await house.logIn('ann', { device_id: 'PHONE' });
  await house.clock.advance(60_000);
  const [device] = house.devices.devices.list(userId(ann.userId));
  assert.equal(device?.lastSeenMs, undefined);
});

test('where devices were seen is forgotten in time, and so are devices nobody uses', async (t) => {
  const day = 24 * 3_600_000;
  const house = await House.open(t, {
    settings: { deleteStaleDevicesAfterMs: 10 * day, userIpsMaxAgeMs: 2 * day },
  });
  const phone = await house.register('ann', { device_id: 'PHONE' });
  const laptop = await house.logIn('ann', { device_id: 'LAPTOP' });
  const who = userId(phone.userId);
  expectOk(await phone.get(WHOAMI));
  assert.equal(house.devices.devices.listConnections(who).length, 1);
  await house.clock.advance(4 * day);
  assert.equal(house.devices.devices.listConnections(who).length, 0);
  assert.equal(house.devices.devices.list(who).length, 2);
  expectOk(await phone.get(WHOAMI));
  await house.clock.advance(8 * day);
  assert.deepEqual(await deviceIds(phone), ['PHONE']);
  expectError(await laptop.get(WHOAMI), 401, 'M_UNKNOWN_TOKEN');
});
