import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Edu } from '../../server/federation/types.ts';
import { expectOk, type Json } from '../kit/test-client.ts';
import { alice, AWAY, bob, carol, dora, userId } from '../rooms/room-kit.ts';
import { deviceNamed, devicesPath, encryptionHouse, serverNamed } from './encryption-federation-house.ts';
import { deviceKeysOf, Identity, KEYS, signed, upload } from './encryption-kit.ts';

const ELSEWHERE = serverNamed('elsewhere.test');
const erin = userId('@erin:elsewhere.test');

/** Updates as [device, whether they follow the one before, what they say]; the first follows `first`. */
function chain(edus: readonly Edu[], first: number | undefined): { told: Json[]; last: number | undefined } {
  let last = first;
  const told = edus.map(({ type, content }) => {
    if (type === 'm.signing_key_update') return ['keys'];
    const { device_id: device, prev_id: prev, stream_id: stream, deleted } = content as Json;
    assert.deepEqual(prev, last === undefined ? [] : [last], `${device} follows what was told before it`);
    assert.ok(last === undefined || stream > last);
    last = stream;
    return [device, deleted === true ? 'gone' : 'there'];
  });
  return { told, last };
}

test('each change of a device goes to every server that shares a room, in one sequence, and to no other', async (t) => {
  const house = await encryptionHouse(t);
  const phone = house.device(alice, 'PHONE', 'Alice’s phone');
  await house.roomOf(dora, erin);
  house.device(bob);
  await house.settle();
  house.outside.take(ELSEWHERE);
  let { last } = chain(house.outside.take(AWAY), undefined);

  const keys = deviceKeysOf(phone);
  await upload(phone, { device_keys: keys });
  await house.settle();
  const [first] = house.outside.sent;
  assert.deepEqual(first?.edu.content['keys'], keys);
  assert.equal(first?.edu.content['device_display_name'], undefined, 'names stay at home');
  const expected = house.outside.take(ELSEWHERE);
  const uploaded = house.outside.take(AWAY);
  assert.deepEqual(uploaded, expected);
  assert.deepEqual(chain(uploaded, last).told, [['PHONE', 'there']]);
  ({ last } = chain(uploaded, last));

  house.device(alice, 'LAPTOP');
  await house.settle();
  const added = chain(house.outside.take(AWAY), last);
  assert.deepEqual(added.told, [['LAPTOP', 'there']]);

  await house.restart();
  const path = '/_matrix/client/v3/devices/LAPTOP';
  expectOk(await phone.request('DELETE', path, { body: {} }));
  await house.settle();
  assert.deepEqual(chain(house.outside.take(AWAY), added.last).told, [['LAPTOP', 'gone']]);
  assert.deepEqual(
    house.outside.sent.map(({ to }) => to),
    [ELSEWHERE, ELSEWHERE],
  );
});

test('what other servers ask for stands in the same sequence', async (t) => {
  const house = await encryptionHouse(t);
  const phone = house.device(alice);
  await upload(phone, { device_keys: deviceKeysOf(phone) });
  await house.roomOf(erin);
  await house.settle();
  const roomId = await house.roomOf();
  await house.join(roomId, dora);
  assert.deepEqual(house.outside.take(AWAY), [], 'it asks when it wants to know');
  const { stream_id: asked } = expectOk(await house.asServer(AWAY).get(devicesPath(alice)));
  house.device(alice, 'LAPTOP');
  await house.settle();
  assert.deepEqual(chain(house.outside.take(AWAY), asked).told, [['LAPTOP', 'there']]);
});

test('cross-signing keys and what they sign are told', async (t) => {
  const house = await encryptionHouse(t);
  const phone = house.device(alice);
  const keys = deviceKeysOf(phone);
  await upload(phone, { device_keys: keys });
  await house.roomOf(dora);
  await house.settle();
  const { last } = chain(house.outside.take(AWAY), undefined);
  const identity = new Identity(alice);
  await identity.publish(phone);
  await house.settle();
  assert.deepEqual(house.outside.take(AWAY), [
    {
      type: 'm.signing_key_update',
      content: { user_id: alice, master_key: identity.masterKey, self_signing_key: identity.selfSigningKey },
    },
  ]);
  const bySelf = signed(keys, alice, identity.selfSigning.publicKeyBase64, identity.selfSigning);
  expectOk(await phone.post(`${KEYS}/signatures/upload`, { [alice]: { PHONE: bySelf } }));
  await house.settle();
  const edus = house.outside.take(AWAY);
  assert.deepEqual(chain(edus, last).told, [['PHONE', 'there']]);
  assert.deepEqual(edus[0]?.content['keys'], bySelf);
});

test('who joins a room tells the servers in it of their devices, and a server that was away what it missed', async (t) => {
  const house = await encryptionHouse(t);
  const laptop = house.device(bob, 'LAPTOP');
  house.device(bob, 'KEYLESS');
  await upload(laptop, { device_keys: deviceKeysOf(laptop) });
  await house.settle();
  assert.deepEqual(house.outside.sent, [], 'there is nobody to tell');
  const roomId = await house.roomOf(dora);
  await house.join(roomId, bob);
  const joined = chain(house.outside.take(AWAY), undefined);
  assert.deepEqual(joined.told, [
    ['KEYLESS', 'there'],
    ['LAPTOP', 'there'],
  ]);
  // Who has no keys has nothing to say.
  house.device(carol);
  await house.settle();
  await house.join(roomId, carol);
  assert.deepEqual(house.outside.take(AWAY), []);

  await house.leave(roomId, dora);
  house.db().write((tx) => tx.nextPosition());
  house.device(bob, 'TABLET');
  await house.settle();
  assert.deepEqual(house.outside.take(AWAY), [], 'it shares no room');
  await house.join(roomId, dora);
  const caughtUp = chain(house.outside.take(AWAY), joined.last);
  assert.deepEqual(caughtUp.told, [['TABLET', 'there']]);

  await house.leave(roomId, bob);
  house.device(bob, 'WATCH');
  await house.settle();
  await house.join(roomId, bob);
  assert.deepEqual(chain(house.outside.take(AWAY), caughtUp.last).told, [['WATCH', 'there']]);
});

test('an update that waits gives way to a newer one of the same device alone', async (t) => {
  const house = await encryptionHouse(t);
  const phone = house.device(alice);
  await house.roomOf(dora);
  house.device(alice, 'LAPTOP');
  await upload(phone, { device_keys: deviceKeysOf(phone) });
  await house.settle();
  const keys = new Map(house.outside.sent.map(({ edu, key }) => [edu.content['device_id'], key]));
  assert.equal(keys.get(deviceNamed('PHONE')), `${alice}/PHONE`);
  assert.equal(keys.get('LAPTOP'), `${alice}/LAPTOP`);
});
