import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { formatSigningKeyFile, generateSigningKey, parseSigningKeyFile } from '../../server/matrix/signing.ts';
import { systemRandom } from '../../server/util/random.ts';
import { expectOk } from '../kit/test-client.ts';
import { onNetwork } from '../kit/test-network.ts';
import type { TestServer } from '../kit/test-server.ts';
import { listSaid, untilAgreed, untilMember, untilSaid } from './room-view.ts';

/** Gives a server a new signing key. Gives the option that tells of the one it had until now. */
function changeKey(server: TestServer): Record<string, unknown> {
  const path = join(server.dir, 'signing.key');
  const [old] = parseSigningKeyFile(readFileSync(path, 'utf8'));
  const key = generateSigningKey(systemRandom.bytes(32));
  assert.notEqual(key.keyId, old.keyId);
  writeFileSync(path, formatSigningKeyFile(key));
  return { [old.keyId]: { key: old.publicKeyBase64, expired_ts: Date.now() } };
}

test(
  'a server changes its signing key: it is understood, and what it signed before is believed by those who come later',
  onNetwork(['home.test', 'away.test', 'third.test'], async ([home, away, third], network) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const carol = await third.register('carol');
    const roomId = await alice.createRoom({ preset: 'public_chat' });
    const path = `/_matrix/client/v3/join/${encodeURIComponent(roomId)}`;
    expectOk(await bob.post(`${path}?via=home.test`));
    await untilMember([alice], roomId, bob.userId, 'join');
    await alice.send(roomId, 'With the old key');
    await untilSaid([bob], roomId, ['With the old key']);

    await home.end();
    const old_signing_keys = changeKey(home);
    await home.begin({ old_signing_keys });
    network.mendAll();
    await alice.send(roomId, 'With the new key');
    await untilSaid([bob], roomId, ['With the old key', 'With the new key']);
    await bob.send(roomId, 'Understood');
    await untilSaid([alice], roomId, ['With the old key', 'With the new key', 'Understood']);

    expectOk(await carol.post(`${path}?via=home.test`));
    await untilMember([alice, bob], roomId, carol.userId, 'join');
    assert.deepEqual(await listSaid(carol, roomId), ['With the old key', 'With the new key', 'Understood']);
    await untilAgreed([alice, bob, carol], roomId);

    // And once more, with two old keys by now.
    await home.end();
    await home.begin({ old_signing_keys: { ...old_signing_keys, ...changeKey(home) } });
    network.mendAll();
    await alice.send(roomId, 'With the third key');
    const dave = await (await network.startServer('fourth.test')).register('dave');
    expectOk(await dave.post(`${path}?via=away.test`));
    await untilMember([alice, bob, carol], roomId, dave.userId, 'join');
    assert.equal((await listSaid(dave, roomId)).at(-1), 'With the third key');
    await untilAgreed([alice, bob, carol, dave], roomId);
  }),
);

test(
  'what was signed with a key that its server does not own up to any more is believed only where it was seen before',
  onNetwork(['home.test', 'away.test', 'third.test'], async ([home, away, third], network) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const carol = await third.register('carol');
    const roomId = await alice.createRoom({ preset: 'public_chat' });
    const path = `/_matrix/client/v3/join/${encodeURIComponent(roomId)}`;
    expectOk(await bob.post(`${path}?via=home.test`));
    await untilMember([alice], roomId, bob.userId, 'join');
    await home.end();
    changeKey(home);
    await home.begin();
    network.mendAll();

    const refused = await carol.post(`${path}?via=home.test&via=away.test`);
    assert.ok(refused.status >= 400, 'there is no telling whether the room is what they say');
    await alice.send(roomId, 'Do you know me?');
    await untilSaid([bob], roomId, ['Do you know me?']);
    await untilAgreed([alice, bob], roomId);
  }),
);
