import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../server/matrix/json.ts';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { alice, AWAY, bob, dora, userId } from '../rooms/room-kit.ts';
import {
  devicesPath,
  encryptionHouse,
  failing,
  type House,
  listOf,
  lookUp,
  remoteKeys,
  serverNamed,
  until,
  update,
} from './encryption-federation-house.ts';
import { CURVE, deviceKeysOf, Identity, KEYS, newKey, oneTimeKeys, signed, upload } from './encryption-kit.ts';

const ELSEWHERE = serverNamed('elsewhere.test');
const erin = userId('@erin:elsewhere.test');
const UPDATE = 'm.device_list_update';

/** Those whose devices a client is told to look at anew, each time since the time before. */
async function watch(client: TestClient): Promise<() => Promise<string[]>> {
  let { next_batch: since } = await client.sync();
  return async () => {
    const answer = await client.sync({ since });
    since = answer.next_batch;
    return (answer.device_lists?.changed ?? []).toSorted();
  };
}

/** A house that shares a room with Dora and knows her one device, which her server gave as number 1. */
async function houseOfDora(house: House): Promise<{ phone: TestClient; roomId: Awaited<ReturnType<House['roomOf']>> }> {
  const phone = house.device(alice);
  const roomId = await house.roomOf(dora);
  house.outside.answer(AWAY, () => listOf(dora, 1, { ONE: 'first' }));
  assert.deepEqual(await lookUp(phone, dora), { devices: { ONE: 'first' }, failures: [] });
  assert.deepEqual(house.outside.takePaths(AWAY), [devicesPath(dora)]);
  return { phone, roomId };
}

test('the devices of somebody in a shared room are fetched once, and kept up by what their server tells', async (t) => {
  const house = await encryptionHouse(t);
  const { phone } = await houseOfDora(house);
  const changed = await watch(phone);
  await house.receive(AWAY, UPDATE, update(dora, 'TWO', { stream: 2, prev: [1], key: 'second' }));
  assert.deepEqual(await changed(), [dora]);
  assert.deepEqual((await lookUp(phone, dora)).devices, { ONE: 'first', TWO: 'second' });
  await house.receive(AWAY, UPDATE, update(dora, 'ONE', { stream: 5, prev: [2] }));
  assert.deepEqual(await changed(), [dora]);
  assert.deepEqual((await lookUp(phone, dora)).devices, { TWO: 'second' });
  // What is repeated changes nothing.
  await house.receive(AWAY, UPDATE, update(dora, 'ONE', { stream: 5, prev: [2] }));
  assert.deepEqual(await changed(), []);
  await house.restart();
  // Nor does an old one that comes again bring back what is gone since.
  await house.receive(AWAY, UPDATE, update(dora, 'TWO', { stream: 6, prev: [5] }));
  await house.receive(AWAY, UPDATE, update(dora, 'TWO', { stream: 2, prev: [1], key: 'second' }));
  assert.deepEqual((await lookUp(phone, dora)).devices, {});
  assert.deepEqual(house.outside.takePaths(AWAY), [], 'nothing was asked again');
});

test('after an update that follows an unknown one the whole list is fetched', async (t) => {
  const house = await encryptionHouse(t);
  const { phone } = await houseOfDora(house);
  const changed = await watch(phone);
  house.outside.answer(AWAY, () => listOf(dora, 3, { ONE: 'another', THREE: 'third' }));
  await house.receive(AWAY, UPDATE, update(dora, 'THREE', { stream: 3, prev: [2], key: 'third' }));
  assert.deepEqual(house.outside.takePaths(AWAY), [devicesPath(dora)]);
  assert.deepEqual(await changed(), [dora]);
  assert.deepEqual((await lookUp(phone, dora)).devices, { ONE: 'another', THREE: 'third' });
  // The sequence goes on from there.
  await house.receive(AWAY, UPDATE, update(dora, 'ONE', { stream: 4, prev: [3] }));
  assert.deepEqual((await lookUp(phone, dora)).devices, { THREE: 'third' });
  // One that is late, and whose news the list holds, is no gap; neither is one with a place in no sequence.
  await house.receive(AWAY, UPDATE, update(dora, 'ONE', { stream: 2, prev: [0] }));
  assert.deepEqual(house.outside.takePaths(AWAY), []);
  await house.receive(AWAY, UPDATE, update(dora, 'dummy', { stream: 1, key: 'dummy' }));
  assert.deepEqual(house.outside.takePaths(AWAY), [devicesPath(dora)], 'it says that something changed, no more');
});

test('updates that arrive while a list is on its way are put into it afterwards, and the server is asked once', async (t) => {
  const house = await encryptionHouse(t);
  const { phone } = await houseOfDora(house);
  const { promise, resolve } = Promise.withResolvers<JsonObject>();
  house.outside.answer(AWAY, () => promise);
  await house.receive(AWAY, UPDATE, update(dora, 'FIVE', { stream: 5, prev: [4], key: 'fifth' }));
  await house.receive(AWAY, UPDATE, update(dora, 'SIX', { stream: 6, prev: [5], key: 'sixth' }));
  const first = lookUp(phone, dora);
  const second = lookUp(phone, dora);
  await house.receive(AWAY, UPDATE, update(dora, 'FIVE', { stream: 7, prev: [6] }));
  resolve(listOf(dora, 5, { ONE: 'first', FIVE: 'fifth' }));
  for (const answer of [await first, await second]) assert.deepEqual(answer.devices, { ONE: 'first', SIX: 'sixth' });
  assert.deepEqual(house.outside.takePaths(AWAY), [devicesPath(dora)]);
});

test('a server speaks for its own users, and only of those who share a room', async (t) => {
  const house = await encryptionHouse(t);
  const { phone } = await houseOfDora(house);
  const changed = await watch(phone);
  const forged = update(dora, 'ONE', { stream: 2, prev: [1] });
  await assert.rejects(house.receive(ELSEWHERE, UPDATE, forged), { errcode: 'M_FORBIDDEN' });
  await assert.rejects(house.receive(AWAY, UPDATE, update(alice, 'PHONE', { stream: 2 })), { errcode: 'M_FORBIDDEN' });
  await assert.rejects(house.receive(ELSEWHERE, 'm.signing_key_update', { user_id: dora }), { errcode: 'M_FORBIDDEN' });
  for (const broken of [
    { stream_id: 2 },
    { ...forged, stream_id: 'later' },
    { ...forged, device_id: '' },
    { ...forged, prev_id: Array.from({ length: 100 }, (_, id) => id) },
    { ...forged, deleted: false, keys: { ...remoteKeys(dora, 'ONE'), device_id: 'OTHER' } },
    { ...forged, deleted: false, keys: { ...remoteKeys(dora, 'ONE'), user_id: alice } },
    { ...forged, deleted: false, keys: { ...remoteKeys(dora, 'ONE'), padding: 'x'.repeat(100_000) } },
  ]) {
    await assert.rejects(house.receive(AWAY, UPDATE, broken), { errcode: 'M_BAD_JSON' });
  }
  await house.receive(ELSEWHERE, UPDATE, update(erin, 'ERINS', { stream: 2, key: 'unknown' }));
  assert.deepEqual(house.outside.requests, []);
  assert.deepEqual(await changed(), []);
  assert.deepEqual((await lookUp(phone, dora)).devices, { ONE: 'first' });
});

test('a server that does not answer is named in time, and the others are not held up', async (t) => {
  const house = await encryptionHouse(t);
  const phone = house.device(alice);
  await house.roomOf(dora, erin);
  house.outside.answer(AWAY, () => new Promise(() => undefined));
  house.outside.answer(ELSEWHERE, () => listOf(erin, 1, { ERINS: 'hers' }));
  const stranger = '@a:nowhere.test';
  const asked = phone.post(`${KEYS}/query`, {
    device_keys: { [dora]: [], [erin]: [], [stranger]: [] },
    timeout: 5_000,
  });
  await until(() => house.outside.requests.length === 3);
  await house.settle();
  await house.clock.advance(5_000);
  const { device_keys: found, failures } = expectOk(await asked);
  assert.deepEqual(Object.keys(found), [erin]);
  assert.equal(failures[AWAY].status, 504);
  assert.equal(failures['nowhere.test'].status, 503);
  assert.deepEqual(Object.keys(failures).toSorted(), [AWAY, 'nowhere.test']);
});

test('a list that cannot be fetched is given as it was, and fetched when the server is back', async (t) => {
  const house = await encryptionHouse(t);
  const { phone } = await houseOfDora(house);
  const changed = await watch(phone);
  house.outside.answer(AWAY, () => failing(AWAY, 'unreachable'));
  await house.receive(AWAY, UPDATE, update(dora, 'NINE', { stream: 9, prev: [8], key: 'ninth' }));
  assert.deepEqual(await lookUp(phone, dora), { devices: { ONE: 'first' }, failures: [AWAY] });
  house.outside.takePaths(AWAY);
  await house.clock.advance(10_000);
  assert.deepEqual(house.outside.takePaths(AWAY), [], 'it is left alone for a while');
  house.outside.answer(AWAY, () => listOf(dora, 9, { ONE: 'first', NINE: 'ninth' }));
  house.outside.recovered(AWAY);
  await house.settle();
  assert.deepEqual(house.outside.takePaths(AWAY), [devicesPath(dora)]);
  assert.deepEqual(await changed(), [dora]);
  assert.deepEqual(await lookUp(phone, dora), { devices: { ONE: 'first', NINE: 'ninth' }, failures: [] });
});

test('what is still to be fetched is fetched after a restart, and again after growing waits', async (t) => {
  const house = await encryptionHouse(t);
  const { phone } = await houseOfDora(house);
  house.outside.answer(AWAY, () => failing(AWAY, 'refused', 500));
  await house.receive(AWAY, UPDATE, update(dora, 'NINE', { stream: 9, prev: [8], key: 'ninth' }));
  assert.deepEqual(house.outside.takePaths(AWAY), [devicesPath(dora)]);
  await house.restart();
  await house.clock.advance(90_000);
  assert.equal(house.outside.takePaths(AWAY).length, 1);
  await house.clock.advance(60_000);
  assert.equal(house.outside.takePaths(AWAY).length, 0, 'the second wait is longer');
  house.outside.answer(AWAY, () => listOf(dora, 9, { NINE: 'ninth' }));
  await house.clock.advance(200_000);
  assert.deepEqual((await lookUp(phone, dora)).devices, { NINE: 'ninth' });
  assert.equal(house.outside.takePaths(AWAY).length, 1);
});

test('a list is worth nothing after a time without a shared room, whoever left it', async (t) => {
  const house = await encryptionHouse(t);
  const { phone, roomId } = await houseOfDora(house);
  let asked = 1;
  for (const who of [dora, alice]) {
    asked += 1;
    await house.leave(roomId, who);
    await house.join(roomId, who);
    house.outside.answer(AWAY, () => listOf(dora, asked, { [`DEVICE${asked}`]: 'new' }));
    assert.deepEqual((await lookUp(phone, dora)).devices, { [`DEVICE${asked}`]: 'new' }, `after ${who} was away`);
    assert.deepEqual(house.outside.takePaths(AWAY), [devicesPath(dora)]);
  }
  // Where there is another room that was shared all the time, an absence from one matters no more.
  await house.roomOf(dora);
  await house.leave(roomId, alice);
  assert.deepEqual((await lookUp(phone, dora)).devices, { DEVICE3: 'new' });
  assert.deepEqual(house.outside.takePaths(AWAY), [devicesPath(dora)], 'the list is older than that room');
  await house.join(roomId, alice);
  await house.leave(roomId, dora);
  assert.deepEqual((await lookUp(phone, dora)).devices, { DEVICE3: 'new' });
  assert.deepEqual(house.outside.takePaths(AWAY), []);
});

test('of somebody who shares no room nothing is kept', async (t) => {
  const house = await encryptionHouse(t);
  const phone = house.device(alice);
  house.outside.answer(AWAY, ({ body }) => ({
    device_keys: {
      [dora]: {
        ONE: { ...remoteKeys(dora, 'ONE'), unsigned: { device_display_name: 'Dora’s', admin: true } },
        TWO: { ...remoteKeys(dora, 'TWO'), user_id: alice },
      },
      [alice]: { PHONE: remoteKeys(alice, 'PHONE', 'forged') },
      [erin]: {},
    },
    asked: body?.['device_keys'] ?? null,
  }));
  for (let time = 0; time < 2; time += 1) {
    const { device_keys: found } = expectOk(await phone.post(`${KEYS}/query`, { device_keys: { [dora]: [] } }));
    assert.deepEqual(found, {
      [dora]: { ONE: { ...remoteKeys(dora, 'ONE'), unsigned: { device_display_name: 'Dora’s' } } },
    });
  }
  assert.deepEqual(house.outside.takePaths(AWAY), Array(2).fill('/_matrix/federation/v1/user/keys/query'));
});

test('many users of one server are asked for at once, and their lists are fetched without haste', async (t) => {
  const house = await encryptionHouse(t);
  const phone = house.device(alice);
  const crowd = Array.from({ length: 12 }, (_, n) => userId(`@u${n}:away.test`));
  await house.roomOf(...crowd);
  house.outside.answer(AWAY, ({ path }) => {
    if (path.endsWith('/query')) {
      return { device_keys: Object.fromEntries(crowd.map((user) => [user, { ONE: remoteKeys(user, 'ONE') }])) };
    }
    const user = crowd.find((each) => path === devicesPath(each)) ?? dora;
    return listOf(user, 1, { ONE: 'first' });
  });
  const wanted = { device_keys: Object.fromEntries(crowd.map((user) => [user, []])) };
  const { device_keys: found } = expectOk(await phone.post(`${KEYS}/query`, wanted));
  assert.equal(Object.keys(found).length, 12);
  await house.settle();
  const paths = house.outside.takePaths(AWAY);
  assert.equal(paths.filter((path) => path.endsWith('/query')).length, 1);
  assert.deepEqual(paths.filter((path) => !path.endsWith('/query')).toSorted(), crowd.map(devicesPath).toSorted());
  const again = expectOk(await phone.post(`${KEYS}/query`, wanted));
  assert.equal(Object.keys(again.device_keys).length, 12);
  assert.deepEqual(house.outside.takePaths(AWAY), []);
});

test('a list has bounds, and what is wrong with one device does not spoil the others', async (t) => {
  const house = await encryptionHouse(t);
  const phone = house.device(alice);
  await house.roomOf(dora, erin);
  const many = Object.fromEntries(Array.from({ length: 1_500 }, (_, n) => [`D${n}`, 'key']));
  house.outside.answer(AWAY, () => listOf(dora, 1, many));
  assert.equal(Object.keys((await lookUp(phone, dora)).devices).length, 1_000);
  await house.receive(AWAY, UPDATE, update(dora, 'MORE', { stream: 2, prev: [1], key: 'more' }));
  assert.equal(Object.keys((await lookUp(phone, dora)).devices).length, 1_000);

  house.outside.answer(ELSEWHERE, () => ({
    user_id: erin,
    stream_id: 1,
    devices: [
      null,
      { device_id: 7, keys: {} },
      { device_id: 'NOKEYS' },
      { device_id: 'OTHERS', keys: remoteKeys(dora, 'OTHERS') },
      { device_id: 'ODD', keys: { ...remoteKeys(erin, 'ODD'), keys: { 'ed25519:ODD': 5 } } },
      { device_id: 'GOOD', keys: remoteKeys(erin, 'GOOD', 'good'), device_display_name: ['no', 'name'] },
    ],
    master_key: { user_id: dora },
  }));
  assert.deepEqual((await lookUp(phone, erin)).devices, { GOOD: 'good' });
});

test('an answer that is no list is a failure of its server', async (t) => {
  const house = await encryptionHouse(t);
  const phone = house.device(alice);
  await house.roomOf(dora);
  for (const answer of [[], { user_id: dora, devices: [] }, { ...listOf(dora, 1, {}), user_id: erin }]) {
    house.outside.answer(AWAY, () => answer);
    assert.deepEqual(await lookUp(phone, dora), { devices: {}, failures: [AWAY] });
  }
  // One that does not know the question is asked in the older way.
  house.outside.answer(AWAY, ({ path }) =>
    path.endsWith('/query')
      ? { device_keys: { [dora]: { ONE: remoteKeys(dora, 'ONE') } } }
      : failing(AWAY, 'refused', 404),
  );
  assert.deepEqual(await lookUp(phone, dora), { devices: { ONE: 'first' }, failures: [] });
});

test('cross-signing keys come with the list and by update, and what one signs of them is shown to oneself', async (t) => {
  const house = await encryptionHouse(t);
  const phone = house.device(alice);
  const laptop = house.device(bob);
  const roomId = await house.roomOf(dora);
  await house.join(roomId, bob);
  const doras = new Identity(dora);
  const anns = new Identity(alice);
  await anns.publish(phone);
  const forged = { ...doras.masterKey, signatures: { [bob]: { 'ed25519:x': 'not his' } } };
  house.outside.answer(AWAY, () => ({
    ...listOf(dora, 1, { ONE: 'first' }),
    master_key: forged,
    self_signing_key: doras.selfSigningKey,
  }));
  const seen = async (client: TestClient): Promise<Json> => {
    const body = expectOk(await client.post(`${KEYS}/query`, { device_keys: { [dora]: [] } }));
    return { master: body.master_keys[dora], selfSigning: body.self_signing_keys[dora] };
  };
  const expected = { master: { ...doras.masterKey, signatures: {} }, selfSigning: doras.selfSigningKey };
  assert.deepEqual(await seen(phone), expected);

  const { publicKeyBase64: name } = anns.userSigning;
  const byAlice = signed(doras.masterKey, alice, name, anns.userSigning);
  const target = doras.master.publicKeyBase64;
  const body = { [dora]: { [target]: byAlice } };
  assert.deepEqual(expectOk(await phone.post(`${KEYS}/signatures/upload`, body)), { failures: {} });
  assert.deepEqual((await seen(phone)).master.signatures, byAlice['signatures']);
  assert.deepEqual((await seen(laptop)).master.signatures, {}, 'it is nobody else’s business');

  const changed = await watch(laptop);
  const next = new Identity(dora);
  await house.receive(AWAY, 'm.signing_key_update', {
    user_id: dora,
    master_key: next.masterKey,
    self_signing_key: next.selfSigningKey,
  });
  assert.deepEqual(await changed(), [dora]);
  assert.deepEqual(await seen(phone), { master: next.masterKey, selfSigning: next.selfSigningKey });
  const refused = expectOk(await phone.post(`${KEYS}/signatures/upload`, body));
  assert.equal(refused.failures[dora][target].errcode, 'M_NOT_FOUND');
  // A key that comes back was away all the same: nobody vouches for it any more.
  await house.receive(AWAY, 'm.signing_key_update', { user_id: dora, master_key: doras.masterKey });
  assert.equal((await seen(phone)).master.signatures, undefined);
  const broken = { user_id: dora, master_key: new Identity(alice).masterKey };
  await assert.rejects(house.receive(AWAY, 'm.signing_key_update', broken), { errcode: 'M_BAD_JSON' });
});

test('one-time keys of others are claimed from their servers, and only what was asked for is taken', async (t) => {
  const house = await encryptionHouse(t);
  const phone = house.device(alice);
  const key = { key: 'public', signatures: { [dora]: {} } };
  house.outside.answer(AWAY, () => ({
    one_time_keys: {
      [dora]: {
        ONE: { [`${CURVE}:AAA`]: key, [`${CURVE}:BBB`]: key },
        TWO: { 'curve25519:AAA': 'of another algorithm' },
        THREE: { [`${CURVE}:CCC`]: { key: 5 } },
        FOUR: { [`${CURVE}:DDD`]: key },
      },
      [alice]: { PHONE: { [`${CURVE}:EEE`]: key } },
    },
  }));
  const wanted = { [dora]: { ONE: CURVE, TWO: CURVE, THREE: CURVE }, [erin]: { ERINS: CURVE } };
  const answer = expectOk(await phone.post(`${KEYS}/claim`, { one_time_keys: wanted }));
  assert.deepEqual(answer.one_time_keys, { [dora]: { ONE: { [`${CURVE}:AAA`]: key } } });
  assert.deepEqual(Object.keys(answer.failures), [ELSEWHERE]);
  assert.deepEqual(house.outside.requests[0]?.body, { one_time_keys: { [dora]: wanted[dora] } });
});

test('other servers get the devices of our users as those uploaded them, without what others signed', async (t) => {
  const house = await encryptionHouse(t);
  const phone = house.device(alice, 'PHONE', 'Alice’s phone');
  house.device(alice, 'NOKEYS');
  const keys = deviceKeysOf(phone);
  const other = newKey();
  await upload(phone, { device_keys: signed(keys, bob, 'x', other) });
  const identity = new Identity(alice);
  await identity.publish(phone);
  const { publicKeyBase64: name } = identity.selfSigning;
  const bySelf = signed(keys, alice, name, identity.selfSigning);
  assert.deepEqual(
    expectOk(await phone.post(`${KEYS}/signatures/upload`, { [alice]: { PHONE: bySelf } })).failures,
    {},
  );
  const away = house.asServer(AWAY);
  const list = expectOk(await away.get(devicesPath(alice)));
  assert.ok(Number.isSafeInteger(list.stream_id) && list.stream_id > 0);
  assert.deepEqual(list, {
    user_id: alice,
    stream_id: list.stream_id,
    devices: [{ device_id: 'PHONE', keys: bySelf }],
    master_key: identity.masterKey,
    self_signing_key: identity.selfSigningKey,
  });
  const wanted = { device_keys: { [alice]: [], [bob]: ['NONE'], [dora]: [], nobody: [] } };
  assert.deepEqual(expectOk(await away.post('/_matrix/federation/v1/user/keys/query', wanted)), {
    device_keys: { [alice]: { PHONE: { ...bySelf, unsigned: {} } }, [bob]: {} },
    master_keys: { [alice]: identity.masterKey },
    self_signing_keys: { [alice]: identity.selfSigningKey },
  });
  expectError(await away.get(devicesPath(dora)), 400, 'M_INVALID_PARAM');
  expectError(await house.device(bob).get('/_matrix/federation/v1/user/devices/bob'), 400, 'M_INVALID_PARAM');
  expectError(await away.post('/_matrix/federation/v1/user/keys/query', {}), 400, 'M_BAD_JSON');
  const crowd = Object.fromEntries(Array.from({ length: 1_001 }, (_, n) => [`@u${n}:hearth.test`, []]));
  expectError(await away.post('/_matrix/federation/v1/user/keys/query', { device_keys: crowd }), 413, 'M_TOO_LARGE');
});

test('other servers are told the names of devices where that is wanted', async (t) => {
  const house = await encryptionHouse(t, { namesForServers: true });
  const phone = house.device(alice, 'PHONE', 'Alice’s phone');
  await upload(phone, { device_keys: deviceKeysOf(phone) });
  const away = house.asServer(AWAY);
  assert.equal(expectOk(await away.get(devicesPath(alice))).devices[0].device_display_name, 'Alice’s phone');
  const wanted = { device_keys: { [alice]: ['PHONE'] } };
  const found = expectOk(await away.post('/_matrix/federation/v1/user/keys/query', wanted));
  assert.deepEqual(found.device_keys[alice].PHONE.unsigned, { device_display_name: 'Alice’s phone' });
});

test('other servers claim each one-time key once, and the fallback key when there is none left', async (t) => {
  const house = await encryptionHouse(t);
  const phone = house.device(alice);
  const [fallback] = Object.values(oneTimeKeys(phone, 1));
  await upload(phone, { one_time_keys: oneTimeKeys(phone, 2), fallback_keys: { [`${CURVE}:F`]: fallback } });
  const away = house.asServer(AWAY);
  const claimOne = async (): Promise<string[]> => {
    const body = { one_time_keys: { [alice]: { PHONE: CURVE, GONE: CURVE }, [dora]: { ONE: CURVE } } };
    const { one_time_keys: claimed } = expectOk(await away.post('/_matrix/federation/v1/user/keys/claim', body));
    assert.deepEqual(Object.keys(claimed), [alice]);
    assert.deepEqual(Object.keys(claimed[alice]), ['PHONE']);
    return Object.keys(claimed[alice].PHONE);
  };
  const claimed = await Promise.all([claimOne(), claimOne()]);
  assert.deepEqual(new Set(claimed.flat()), new Set([`${CURVE}:A1`, `${CURVE}:A2`]));
  assert.deepEqual([await claimOne(), await claimOne()].flat(), [`${CURVE}:F`, `${CURVE}:F`]);
  assert.equal((await phone.sync()).device_one_time_keys_count[CURVE], 0);
});
