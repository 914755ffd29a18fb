import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { eventually, TestNetwork } from '../kit/test-network.ts';
import { claim, CURVE, deviceKeysOf, Identity, oneTimeKeys, query, upload } from './encryption-kit.ts';

async function changedFor(client: TestClient, since: string): Promise<string[]> {
  return (await client.sync({ since })).device_lists?.changed ?? [];
}

test('two people on two servers find each other’s devices, hear of new ones, and write to them', async () => {
  await using set = await TestNetwork.start(['home.test', 'away.test']);
  const [home, away] = set.servers;
  const alice = await home.register('alice', { device_id: 'PHONE' });
  const bob = await away.register('bob', { device_id: 'BOBS' });
  const keys = deviceKeysOf(alice);
  await upload(alice, { device_keys: keys, one_time_keys: oneTimeKeys(alice, 1) });
  const identity = new Identity(alice.userId);
  await identity.publish(alice);
  const roomId = await alice.createRoom({ preset: 'public_chat', room_alias_name: 'garden' });
  const { next_batch: before } = await bob.sync();
  assert.equal(await bob.join('#garden:home.test'), roomId);
  assert.deepEqual(await changedFor(bob, before), [alice.userId]);

  const found = await query(bob, alice.userId);
  assert.deepEqual(found.failures, {});
  assert.deepEqual(Object.keys(found.device_keys[alice.userId]), ['PHONE']);
  assert.deepEqual(found.device_keys[alice.userId].PHONE.keys, keys['keys']);
  assert.deepEqual(found.master_keys[alice.userId].keys, identity.masterKey['keys']);
  assert.equal((await claim(bob, alice))?.name, `${CURVE}:A1`);
  assert.equal(await claim(bob, alice), undefined, 'it was the only one');

  const { next_batch: since } = await bob.sync();
  const laptop = await home.login('alice', { device_id: 'LAPTOP' });
  await upload(laptop, { device_keys: deviceKeysOf(laptop) });
  const devicesSeen = async (): Promise<string[]> =>
    Object.keys((await query(bob, alice.userId)).device_keys[alice.userId]).toSorted();
  await eventually('Bob sees the new device', async () => (await devicesSeen()).length === 2);
  assert.deepEqual(await changedFor(bob, since), [alice.userId]);
  expectOk(await laptop.post('/_matrix/client/v3/logout'));
  await eventually('Bob sees it gone', async () => (await devicesSeen()).length === 1);

  for (let n = 1; n <= 3; n += 1) {
    const messages = { [alice.userId]: { PHONE: { n } } };
    expectOk(await bob.put(`/_matrix/client/v3/sendToDevice/org.example.note/t${n}`, { messages }));
  }
  const received: Json[] = [];
  let token: string | undefined;
  await eventually('the messages are there', async () => {
    const answer = await alice.sync(token === undefined ? {} : { since: token });
    token = answer.next_batch;
    received.push(...(answer.to_device?.events ?? []));
    return received.length >= 3;
  });
  assert.deepEqual(
    received.map(({ sender, content }) => [sender, content.n]),
    [1, 2, 3].map((n) => [bob.userId, n]),
  );
});
