import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { eventually, onNetwork } from '../kit/test-network.ts';
import { deviceKeysOf, KEYS, newKey, oneTimeKeys, query, signed, upload } from '../modules/encryption-kit.ts';
import { untilMember } from './room-view.ts';

const TWO = ['home.test', 'away.test'] as const;

async function meet(alice: TestClient, bob: TestClient): Promise<string> {
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  expectOk(await bob.post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}?via=home.test`));
  await untilMember([alice, bob], roomId, bob.userId, 'join');
  return roomId;
}

/** Reads messages to a device until there are so many. */
async function untilTold(who: TestClient, count: number): Promise<Json[]> {
  const told: Json[] = [];
  let since: string | undefined;
  await eventually(`${who.userId} gets ${count} messages`, async () => {
    const answer = await who.sync(since === undefined ? {} : { since });
    since = answer.next_batch;
    told.push(...(answer.to_device?.events ?? []));
    return told.length >= count;
  });
  return told;
}

test(
  'messages to devices of another server come once and in order, over a cut and a restart',
  onNetwork(TWO, async ([home, away], network) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const tablet = await away.login('bob');
    let count = 0;
    const tell = async (deviceId: string): Promise<void> => {
      count += 1;
      const path = `/_matrix/client/v3/sendToDevice/test.note/n${count}`;
      expectOk(await alice.put(path, { messages: { [bob.userId]: { [deviceId]: { number: count } } } }));
    };
    await tell(bob.deviceId);
    await tell('*');
    network.cut(home, away);
    for (let more = 0; more < 150; more += 1) await tell(bob.deviceId);
    await home.restart();
    await tell('*');
    network.mendAll();
    const told = await untilTold(bob, count);
    assert.deepEqual(
      told.map(({ type, sender, content }) => [type, sender, content.number]),
      Array.from({ length: count }, (_, index) => ['test.note', alice.userId, index + 1]),
    );
    assert.deepEqual(
      (await untilTold(tablet, 2)).map(({ content }) => content.number),
      [2, count],
    );
  }),
);

test(
  'new devices, their keys and what they sign are known on the other server, after it was off too',
  onNetwork(TWO, async ([home, away], network) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const keys = deviceKeysOf(alice);
    await upload(alice, { device_keys: keys, one_time_keys: oneTimeKeys(alice, 2) });
    await meet(alice, bob);
    let { next_batch: since } = await bob.sync();
    // As a client does: it asks for keys when it is told of a change, and at no other time.
    const untilChangedTo = async (isIt: (answer: Json) => boolean): Promise<Json> =>
      eventually('Bob’s client has the keys of now', async () => {
        const answer = await bob.sync({ since });
        since = answer.next_batch;
        if (answer.device_lists?.changed?.includes(alice.userId) !== true) return undefined;
        const keysOfNow = await query(bob, alice.userId);
        return isIt(keysOfNow) && keysOfNow;
      });
    const devicesIn = (answer: Json): string => Object.keys(answer.device_keys[alice.userId]).sort().join();
    const known = (await query(bob, alice.userId)).device_keys[alice.userId];
    assert.deepEqual(known[alice.deviceId].keys, keys['keys']);

    const laptop = await home.login('alice');
    await upload(laptop, { device_keys: deviceKeysOf(laptop) });
    await untilChangedTo((answer) => devicesIn(answer) === [alice.deviceId, laptop.deviceId].sort().join());

    // Each one-time key is given out once.
    const claim = async (): Promise<string | undefined> => {
      const wanted = { [alice.userId]: { [alice.deviceId]: 'signed_curve25519' } };
      const { one_time_keys } = expectOk(await bob.post(`${KEYS}/claim`, { one_time_keys: wanted }));
      return Object.keys(one_time_keys[alice.userId]?.[alice.deviceId] ?? {})[0];
    };
    const claimed = [await claim(), await claim(), await claim()];
    assert.deepEqual(new Set(claimed.slice(0, 2)), new Set(['signed_curve25519:A1', 'signed_curve25519:A2']));
    assert.equal(claimed[2], undefined);

    // While Bob's server is off one device comes, another goes, and Alice begins to sign her own.
    await away.end();
    const phone = await home.login('alice');
    await upload(phone, { device_keys: deviceKeysOf(phone) });
    expectOk(await laptop.post('/_matrix/client/v3/logout'));
    const master = newKey();
    const masterKey = {
      user_id: alice.userId,
      usage: ['master'],
      keys: { [`ed25519:${master.publicKeyBase64}`]: master.publicKeyBase64 },
    };
    const selfSigning = newKey();
    const selfSigningKey = signed(
      {
        user_id: alice.userId,
        usage: ['self_signing'],
        keys: { [`ed25519:${selfSigning.publicKeyBase64}`]: selfSigning.publicKeyBase64 },
      },
      alice.userId,
      master.publicKeyBase64,
      master,
    );
    expectOk(
      await alice.post(`${KEYS}/device_signing/upload`, {
        master_key: masterKey,
        self_signing_key: selfSigningKey,
        auth: {
          type: 'm.login.password',
          identifier: { type: 'm.id.user', user: 'alice' },
          password: 'password of alice',
        },
      }),
    );
    await away.begin();
    network.mendAll();
    const now = await untilChangedTo(
      (answer) =>
        devicesIn(answer) === [alice.deviceId, phone.deviceId].sort().join() &&
        answer.master_keys?.[alice.userId] !== undefined,
    );
    assert.equal(now.master_keys[alice.userId].keys[`ed25519:${master.publicKeyBase64}`], master.publicKeyBase64);
    assert.ok(now.self_signing_keys?.[alice.userId] !== undefined);
    assert.equal(now.user_signing_keys?.[alice.userId], undefined, 'that is hers alone');

    const unknown = await query(bob, '@nobody:home.test');
    assert.deepEqual(unknown.device_keys['@nobody:home.test'] ?? {}, {});
  }),
);
