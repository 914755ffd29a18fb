import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { eventually, TestNetwork } from '../kit/test-network.ts';
import { deviceKeysOf, query, upload } from '../modules/encryption-kit.ts';
import { backUp, restore, temporary } from './backups-kit.ts';

const path = (roomId: string, rest: string): string => `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/${rest}`;

async function devicesSeen(by: TestClient, of: TestClient): Promise<string[]> {
  return Object.keys((await query(by, of.userId)).device_keys[of.userId] ?? {}).toSorted();
}

async function textsIn(client: TestClient, roomId: string): Promise<string[]> {
  const { chunk } = expectOk(await client.get(path(roomId, 'messages'), { dir: 'b', limit: 50 }));
  return chunk.map((event: Json) => event.content.body).filter(Boolean);
}

test('other servers find out what changed by a restoration, and give back what was lost of the rooms', async (t) => {
  await using set = await TestNetwork.start(['home.test', 'away.test'], {
    config: { max_event_delay_duration: '30d' },
  });
  const [home, away] = set.servers;
  const alice = await home.register('alice', { device_id: 'PHONE' });
  const bob = await away.register('bob', { device_id: 'BOBS' });
  await upload(alice, { device_keys: deviceKeysOf(alice) });
  await upload(bob, { device_keys: deviceKeysOf(bob) });
  const roomId = await alice.createRoom({ preset: 'public_chat', room_alias_name: 'garden' });
  await bob.join('#garden:home.test');
  await alice.send(roomId, 'before the backup');
  assert.deepEqual(await devicesSeen(bob, alice), ['PHONE']);
  assert.deepEqual(await devicesSeen(alice, bob), ['BOBS']);
  await eventually('Bob has the message', async () => (await textsIn(bob, roomId)).includes('before the backup'));
  // Called off after the backup: a restoration must not have it said all the same.
  const later = { msgtype: 'm.text', body: 'this was called off' };
  const delayed = expectOk(
    await alice.put(path(roomId, 'send/m.room.message/later'), later, { 'org.matrix.msc4140.delay': 3_600_000 }),
  );
  await home.end();
  const file = join(temporary(t), 'x.hearthbackup');
  await backUp(home.dir, file);

  await home.begin();
  expectOk(
    await alice.post(`/_matrix/client/unstable/org.matrix.msc4140/delayed_events/${delayed.delay_id}`, {
      action: 'cancel',
    }),
  );
  const lost = await home.login('alice', { device_id: 'LOST' });
  await upload(lost, { device_keys: deviceKeysOf(lost) });
  await alice.send(roomId, 'after the backup');
  const tablet = await away.login('bob', { device_id: 'TABLET' });
  await upload(tablet, { device_keys: deviceKeysOf(tablet) });
  await eventually('both know of the new devices', async () => {
    return (await devicesSeen(bob, alice)).length === 2 && (await devicesSeen(alice, bob)).length === 2;
  });
  await eventually('Bob has that message, too', async () => (await textsIn(bob, roomId)).includes('after the backup'));
  await home.end();

  await restore(file, home.dir);
  await home.begin();
  await eventually('Bob does not see the device any more that is lost', async () => {
    return (await devicesSeen(bob, alice)).join() === 'PHONE';
  });
  await eventually('Alice sees the device that she had forgotten', async () => {
    return (await devicesSeen(alice, bob)).join() === 'BOBS,TABLET';
  });
  assert.equal((await lost.get('/_matrix/client/v3/account/whoami')).status, 401);
  const waiting = expectOk(await alice.get('/_matrix/client/unstable/org.matrix.msc4140/delayed_events'));
  assert.deepEqual(waiting.scheduled, []);

  await bob.send(roomId, 'are you there?');
  await eventually('the room is whole again', async () => {
    const texts = await textsIn(alice, roomId);
    return texts.includes('are you there?') && texts.includes('after the backup');
  });
  expectOk(await alice.put(path(roomId, 'send/m.room.message/new'), { msgtype: 'm.text', body: 'here I am' }));
  await eventually('Bob hears of it', async () => (await textsIn(bob, roomId)).includes('here I am'));
});
