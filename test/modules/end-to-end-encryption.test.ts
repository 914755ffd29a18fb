import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServerProcess } from '../clients/server-process.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import {
  claim,
  CURVE,
  deviceKeysOf,
  KEYS,
  newKey,
  oneTimeKey,
  oneTimeKeys,
  query,
  signed,
  upload,
} from './encryption-kit.ts';

async function people(server: TestServer): Promise<{ ann: TestClient; bob: TestClient }> {
  return {
    ann: await server.register('ann', { device_id: 'ANNS', initial_device_display_name: 'Ann’s phone' }),
    bob: await server.register('bob', { device_id: 'BOBS' }),
  };
}

test('Bob looks up the devices of Ann and gets what they uploaded', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const laptop = await server.login('ann', { device_id: 'LAPTOP' });
  const phoneKeys = deviceKeysOf(ann);
  const laptopKeys = deviceKeysOf(laptop);
  await upload(ann, { device_keys: { ...phoneKeys, unsigned: { lies: true } } });
  await upload(laptop, { device_keys: laptopKeys });
  const both = {
    ANNS: { ...phoneKeys, unsigned: { device_display_name: 'Ann’s phone' } },
    LAPTOP: { ...laptopKeys, unsigned: {} },
  };
  assert.deepEqual(await query(bob, ann.userId), {
    device_keys: { [ann.userId]: both },
    failures: {},
    master_keys: {},
    self_signing_keys: {},
    user_signing_keys: {},
  });
  const ask = async (devices: string[]): Promise<string[]> => {
    const answer = expectOk(
      await bob.post(`${KEYS}/query`, { device_keys: { [ann.userId]: devices }, timeout: 5_000 }),
    );
    return Object.keys(answer.device_keys[ann.userId]);
  };
  assert.deepEqual(await ask(['LAPTOP', 'NONE']), ['LAPTOP']);
  assert.deepEqual(await ask(['NONE']), []);
  assert.deepEqual((await query(ann, bob.userId)).device_keys, { [bob.userId]: {} });
});

test('servers that cannot be asked are named', async () => {
  await using server = await TestServer.start();
  const { ann } = await people(server);
  const elsewhere = '@carol:elsewhere.test';
  const queried = await query(ann, elsewhere, ann.userId);
  assert.deepEqual(Object.keys(queried.failures), ['elsewhere.test']);
  assert.deepEqual(Object.keys(queried.device_keys), [ann.userId]);
  const claimed = expectOk(
    await ann.post(`${KEYS}/claim`, { one_time_keys: { [elsewhere]: { PHONE: CURVE }, [ann.userId]: { X: CURVE } } }),
  );
  assert.deepEqual(Object.keys(claimed.failures), ['elsewhere.test']);
  assert.deepEqual(claimed.one_time_keys, {});
});

test('keys that are not right are refused, and nothing of that request is kept', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const good = deviceKeysOf(ann);
  const otk = oneTimeKeys(ann, 1);
  const refuse = async (body: Json): Promise<void> => {
    expectError(await ann.post(`${KEYS}/upload`, body), 400, 'M_BAD_JSON');
  };
  for (const field of ['user_id', 'device_id', 'algorithms', 'keys', 'signatures']) {
    await refuse({ device_keys: { ...good, [field]: undefined }, one_time_keys: otk });
  }
  await refuse({ device_keys: { ...good, user_id: bob.userId } });
  await refuse({ device_keys: { ...good, device_id: 'BOBS' } });
  await refuse({ device_keys: { ...good, weight: 0.5 } });
  await refuse({ device_keys: { ...good, keys: { 'ed25519:ANNS': 5 } } });
  await refuse({ device_keys: null });
  await refuse({ device_keys: good, one_time_keys: { nocolon: 'key' } });
  await refuse({ device_keys: good, one_time_keys: { ':id': 'key' } });
  await refuse({ device_keys: good, one_time_keys: { 'algorithm:': 'key' } });
  await refuse({ device_keys: good, one_time_keys: { [`${CURVE}:${'x'.repeat(255)}`]: 'key' } });
  await refuse({ device_keys: good, one_time_keys: { [`${CURVE}:A`]: 5 } });
  await refuse({ device_keys: good, one_time_keys: { [`${CURVE}:A`]: { signatures: {} } } });
  await refuse({ device_keys: good, fallback_keys: { [`${CURVE}:A`]: { key: 'k' } } });
  const twoFallbacks = { [`${CURVE}:A`]: oneTimeKey(ann), [`${CURVE}:B`]: oneTimeKey(ann) };
  expectError(
    await ann.post(`${KEYS}/upload`, { device_keys: good, one_time_keys: otk, fallback_keys: twoFallbacks }),
    400,
    'M_INVALID_PARAM',
  );
  assert.deepEqual((await query(bob, ann.userId)).device_keys, { [ann.userId]: {} });
  assert.equal(await claim(bob, ann), undefined);
  expectError(await ann.post(`${KEYS}/query`, {}), 400, 'M_BAD_JSON');
  expectError(await ann.post(`${KEYS}/query`, { device_keys: { ann: [] } }), 400, 'M_BAD_JSON');
  expectError(await ann.post(`${KEYS}/claim`, { one_time_keys: { [ann.userId]: CURVE } }), 400, 'M_BAD_JSON');
  for (const path of ['upload', 'query', 'claim']) {
    expectError(await server.anonymous().post(`${KEYS}/${path}`, {}), 401, 'M_MISSING_TOKEN');
  }
});

test('one-time keys are given out in the order they came, each once, and counted', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  assert.deepEqual((await upload(ann, {})).one_time_key_counts, { [CURVE]: 0 });
  const keys = oneTimeKeys(ann, 1);
  const later = oneTimeKeys(ann, 1, 'B');
  await upload(ann, { one_time_keys: keys });
  assert.deepEqual((await upload(ann, { one_time_keys: later })).one_time_key_counts, { [CURVE]: 2 });
  const counts = await upload(ann, { one_time_keys: { 'curve25519:A1': 'bare key' } });
  assert.deepEqual(counts.one_time_key_counts, { [CURVE]: 2, curve25519: 1 });
  assert.deepEqual((await ann.sync()).device_one_time_keys_count, { [CURVE]: 2, curve25519: 1 });

  assert.deepEqual(await claim(bob, ann), { name: `${CURVE}:A1`, key: keys[`${CURVE}:A1`] });
  assert.deepEqual(await claim(ann, ann), { name: `${CURVE}:B1`, key: later[`${CURVE}:B1`] });
  assert.equal(await claim(bob, ann), undefined);
  assert.deepEqual(await claim(bob, ann, 'curve25519'), { name: 'curve25519:A1', key: 'bare key' });
  assert.equal(await claim(bob, ann, 'unheard of'), undefined);
  assert.deepEqual((await ann.sync()).device_one_time_keys_count, { [CURVE]: 0 });
});

test('one-time keys of several devices are claimed at once', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const laptop = await server.login('ann', { device_id: 'LAPTOP' });
  for (const client of [ann, laptop, bob]) await upload(client, { one_time_keys: oneTimeKeys(client, 1) });
  const wanted = {
    [ann.userId]: { ANNS: CURVE, LAPTOP: CURVE, NONE: CURVE },
    [bob.userId]: { BOBS: CURVE },
    '@nobody:hearth.test': { X: CURVE },
  };
  const { one_time_keys: claimed } = expectOk(await bob.post(`${KEYS}/claim`, { one_time_keys: wanted }));
  assert.deepEqual(Object.keys(claimed).sort(), [ann.userId, bob.userId]);
  assert.deepEqual(Object.keys(claimed[ann.userId]), ['ANNS', 'LAPTOP']);
});

test('many who claim at the same time get different keys', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  await upload(ann, { one_time_keys: oneTimeKeys(ann, 10) });
  const claimed = await Promise.all(Array.from({ length: 20 }, () => claim(bob, ann)));
  const got = claimed.flatMap((key) => (key === undefined ? [] : [key.key.key]));
  assert.equal(got.length, 10);
  assert.equal(new Set(got).size, 10);
});

test('a key that was given out is not given out again, however it is uploaded once more', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const keys = oneTimeKeys(ann, 3);
  await upload(ann, { one_time_keys: keys });
  const first = await claim(bob, ann);
  assert.ok(first !== undefined);
  assert.deepEqual((await upload(ann, { one_time_keys: keys })).one_time_key_counts, { [CURVE]: 2 });
  await server.restart();
  assert.deepEqual((await upload(ann, { one_time_keys: keys })).one_time_key_counts, { [CURVE]: 2 });
  const resigned = signed({ key: first.key.key }, ann.userId, 'ANNS', newKey());
  const disguised = await upload(ann, { one_time_keys: { [first.name]: resigned, [`${CURVE}:Z`]: resigned } });
  assert.deepEqual(disguised.one_time_key_counts, { [CURVE]: 2 });
  // The same key under two names, before anybody claimed it.
  const twin = oneTimeKey(ann);
  await upload(ann, { one_time_keys: { [`${CURVE}:X`]: twin, [`${CURVE}:Y`]: twin } });
  const rest: string[] = [];
  for (let key = await claim(bob, ann); key !== undefined; key = await claim(bob, ann)) rest.push(key.key.key);
  assert.deepEqual(rest, [keys[`${CURVE}:A2`]?.['key'], keys[`${CURVE}:A3`]?.['key'], twin['key']]);
});

test('a key that was given out is not given out again after the server was killed', async () => {
  await using server = await ServerProcess.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const keys = oneTimeKeys(ann, 60);
  await upload(ann, { one_time_keys: keys });
  const got: string[] = [];
  const claimOn = async (): Promise<void> => {
    for (let key = await claim(bob, ann); key !== undefined; key = await claim(bob, ann)) got.push(key.key.key);
  };
  for (let round = 1; round <= 2; round += 1) {
    const claims = Promise.allSettled([claimOn(), claimOn(), claimOn(), claimOn()]);
    while (got.length < round * 15) await new Promise((resolve) => setImmediate(resolve));
    await server.kill();
    // Each of them was cut off.
    for (const { status } of await claims) assert.equal(status, 'rejected');
    await server.begin();
    await upload(ann, { one_time_keys: keys });
  }
  await claimOn();
  assert.ok(got.length > 30 && got.length <= 60);
  assert.equal(new Set(got).size, got.length);
});

test('a name of a key that waits cannot be given to another key', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const keys = oneTimeKeys(ann, 1);
  await upload(ann, { one_time_keys: keys });
  const clash = { one_time_keys: { [`${CURVE}:B1`]: oneTimeKey(ann), [`${CURVE}:A1`]: oneTimeKey(ann) } };
  const refusal = expectError(await ann.post(`${KEYS}/upload`, clash), 400, 'M_UNKNOWN');
  assert.match(refusal.error, /^One time key signed_curve25519:A1 already exists/);
  assert.deepEqual((await upload(ann, { one_time_keys: keys })).one_time_key_counts, { [CURVE]: 1 });
  assert.equal((await claim(bob, ann))?.name, `${CURVE}:A1`);
  // Once it is claimed, its name is free again.
  assert.deepEqual((await upload(ann, clash)).one_time_key_counts, { [CURVE]: 2 });
});

test('a device has a bounded number of keys', async () => {
  await using server = await TestServer.start();
  const { ann } = await people(server);
  const many = (count: number, prefix: string): Json =>
    Object.fromEntries(Array.from({ length: count }, (_, n) => [`${prefix}:${n}`, `${prefix} ${n}`]));
  expectOk(await ann.post(`${KEYS}/upload`, { one_time_keys: many(3_000, 'a') }));
  expectOk(await ann.post(`${KEYS}/upload`, { one_time_keys: many(2_000, 'b') }));
  expectError(await ann.post(`${KEYS}/upload`, { one_time_keys: many(1, 'c') }), 400, 'M_INVALID_PARAM');
  const fallbacks = Object.fromEntries(Array.from({ length: 21 }, (_, n) => [`algorithm${n}:id`, 'key']));
  expectError(await ann.post(`${KEYS}/upload`, { fallback_keys: fallbacks }), 400, 'M_INVALID_PARAM');
  assert.deepEqual((await ann.sync()).device_unused_fallback_key_types, []);
});

test('the fallback key is given out when there is no other, and its device hears of it', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock });
  const { ann, bob } = await people(server);
  const fallback = { ...oneTimeKey(ann), fallback: true };
  await upload(ann, { one_time_keys: oneTimeKeys(ann, 1), fallback_keys: { [`${CURVE}:F1`]: fallback } });
  assert.equal((await claim(bob, ann))?.name, `${CURVE}:A1`);
  const before = await ann.sync();
  assert.deepEqual(before.device_unused_fallback_key_types, [CURVE]);

  const timers = clock.pending;
  const waiting = ann.sync({ since: before.next_batch, timeout: 30_000, signal: AbortSignal.timeout(20_000) });
  while (clock.pending === timers) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(await claim(bob, ann), { name: `${CURVE}:F1`, key: fallback });
  assert.deepEqual((await waiting).device_unused_fallback_key_types, []);
  assert.deepEqual(await claim(bob, ann), { name: `${CURVE}:F1`, key: fallback });

  // A repeated upload does not make it unused; a new key is.
  await upload(ann, { fallback_keys: { [`${CURVE}:F1`]: Object.fromEntries(Object.entries(fallback).reverse()) } });
  assert.deepEqual((await ann.sync()).device_unused_fallback_key_types, []);
  await upload(ann, { fallback_keys: { [`${CURVE}:F2`]: oneTimeKey(ann) } });
  assert.deepEqual((await ann.sync()).device_unused_fallback_key_types, [CURVE]);
  await upload(ann, { one_time_keys: oneTimeKeys(ann, 1, 'B') });
  assert.equal((await claim(bob, ann))?.name, `${CURVE}:B1`);
  assert.equal((await claim(bob, ann))?.name, `${CURVE}:F2`);
});

test('a claim wakes the device whose key was claimed', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock });
  const { ann, bob } = await people(server);
  await upload(ann, { one_time_keys: oneTimeKeys(ann, 2) });
  const { next_batch: since } = await ann.sync();
  const timers = clock.pending;
  const waiting = ann.sync({ since, timeout: 30_000, signal: AbortSignal.timeout(20_000) });
  while (clock.pending === timers) await new Promise((resolve) => setImmediate(resolve));
  await claim(bob, ann);
  assert.deepEqual((await waiting).device_one_time_keys_count, { [CURVE]: 1 });
});

test('a device that begins anew under its old name has none of its old one-time keys', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const old = deviceKeysOf(ann);
  const keys = oneTimeKeys(ann, 2);
  await upload(ann, { device_keys: old, one_time_keys: keys, fallback_keys: { [`${CURVE}:F`]: oneTimeKey(ann) } });
  await upload(ann, { device_keys: old });
  assert.deepEqual((await ann.sync()).device_one_time_keys_count, { [CURVE]: 2 });
  await claim(bob, ann);

  const anew = deviceKeysOf(ann);
  await upload(ann, { device_keys: anew });
  const synced = await ann.sync();
  assert.deepEqual(synced.device_one_time_keys_count, { [CURVE]: 0 });
  assert.deepEqual(synced.device_unused_fallback_key_types, []);
  assert.equal(await claim(bob, ann), undefined);
  const { device_keys: found } = await query(bob, ann.userId);
  assert.deepEqual(found[ann.userId].ANNS.keys, anew['keys']);
});

test('a device’s keys go with it', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const laptop = await server.login('ann', { device_id: 'LAPTOP' });
  await upload(ann, { device_keys: deviceKeysOf(ann) });
  await upload(laptop, {
    device_keys: deviceKeysOf(laptop),
    one_time_keys: oneTimeKeys(laptop, 2),
    fallback_keys: { [`${CURVE}:F`]: oneTimeKey(laptop) },
  });
  await claim(bob, laptop);
  expectOk(await laptop.post('/_matrix/client/v3/logout'));
  assert.deepEqual(Object.keys((await query(bob, ann.userId)).device_keys[ann.userId]), ['ANNS']);
  assert.equal(await claim(bob, laptop), undefined);

  const successor = await server.login('ann', { device_id: 'LAPTOP' });
  const synced = await successor.sync();
  assert.deepEqual(synced.device_one_time_keys_count, { [CURVE]: 0 });
  assert.deepEqual(synced.device_unused_fallback_key_types, []);
});

test('who asks for the keys of thousands holds nobody else up', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  await upload(ann, { device_keys: deviceKeysOf(ann), one_time_keys: oneTimeKeys(ann, 1) });
  const forAll = <T>(count: number, of: T, server: (n: number) => string): Record<string, T> =>
    Object.fromEntries(Array.from({ length: count }, (_, n) => [`@user${n}:${server(n)}`, of]));
  const here = (): string => 'hearth.test';
  const asked: readonly (readonly [path: string, body: Json])[] = [
    ['query', { device_keys: { ...forAll(6_000, [], here), [ann.userId]: [] } }],
    ['claim', { one_time_keys: { ...forAll(6_000, { D: CURVE }, here), [ann.userId]: { ANNS: CURVE } } }],
    ['query', { device_keys: { ...forAll(6_000, [], () => 'elsewhere.test'), [ann.userId]: [] } }],
    ['query', { device_keys: { ...forAll(2_000, [], (n) => `s${n}.test`), [ann.userId]: [] } }],
    ['signatures/upload', forAll(2_000, { D: deviceKeysOf(ann) }, here)],
  ];
  for (const [path, body] of asked) {
    const order: string[] = [];
    const answer = bob.post(`${KEYS}/${path}`, body).finally(() => order.push('the lot'));
    // The body takes a turn or two to arrive; whoever asks while it is worked on is answered meanwhile.
    for (let n = 0; n < 3; n += 1) await ann.get('/_matrix/client/versions').finally(() => order.push('ann'));
    const given = expectOk(await answer);
    assert.deepEqual(order.slice(0, 2), ['ann', 'ann'], path);
    if (path === 'query') assert.deepEqual(Object.keys(given.device_keys[ann.userId]), ['ANNS']);
    if (path === 'claim') assert.deepEqual(Object.keys(given.one_time_keys), [ann.userId]);
    if (path === 'signatures/upload') assert.equal(Object.keys(given.failures).length, 2_000);
  }
});

test('guests have keys too, and old clients name their device in the path', async () => {
  await using server = await TestServer.start({ config: { allow_guest_access: true } });
  const { ann } = await people(server);
  const guest = await server.guest();
  await upload(guest, { device_keys: deviceKeysOf(guest), one_time_keys: oneTimeKeys(guest, 1) });
  assert.deepEqual(Object.keys((await query(ann, guest.userId)).device_keys[guest.userId]), [guest.deviceId]);
  assert.notEqual(await claim(guest, guest), undefined);
  const body = { device_keys: deviceKeysOf(ann) };
  expectOk(await ann.post(`/_matrix/client/r0/keys/upload/${ann.deviceId}`, body));
  assert.deepEqual(Object.keys((await query(guest, ann.userId)).device_keys[ann.userId]), ['ANNS']);
});
