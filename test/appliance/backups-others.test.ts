import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { isTransaction, ScriptedAppService } from '../kit/scripted-app-service.ts';
import { eventually, TestNetwork } from '../kit/test-network.ts';
import { TestServer } from '../kit/test-server.ts';
import { deviceKeysOf, oneTimeKeys, query, upload } from '../modules/encryption-kit.ts';
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

test('a bridge takes nothing new for old after a restoration, and hears that its keys are gone', async (t) => {
  await using bridge = await ScriptedAppService.start({
    'org.matrix.msc3202': true,
    'de.sorunome.msc2409.push_ephemeral': true,
  });
  await using server = await TestServer.start({ config: { app_service_config_files: [bridge.file] } });
  const alice = await server.register('alice');
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  await bridge.as(server).join(roomId);
  const login = { type: 'm.login.application_service', identifier: { type: 'm.id.user', user: 'bridgebot' } };
  expectOk(await bridge.as(server).post('/_matrix/client/v3/login', { ...login, device_id: 'BOT' }));
  const bot = bridge.as(server, '@bridgebot:hearth.test', 'BOT');
  await upload(bot, { device_keys: deviceKeysOf(bot), one_time_keys: oneTimeKeys(bot, 5) });
  const said = (text: string): Promise<unknown> => bridge.untilEvent(({ content }) => content.body === text);
  const send = async (text: string): Promise<void> => {
    await alice.send(roomId, text);
    await said(text);
  };
  await send('before the backup');
  await server.end();
  const file = join(temporary(t), 'x.hearthbackup');
  await backUp(server.dir, file);

  await server.begin();
  await send('one that is lost');
  await send('another one');
  const before = new Set(bridge.transactions.map(({ path }) => path));
  const heard = bridge.transactions.length;
  await server.end();
  await restore(file, server.dir);
  await server.begin();
  await alice.put(path(roomId, 'send/m.room.message/new'), { msgtype: 'm.text', body: 'after the restoration' });
  await said('after the restoration');
  const since = bridge.transactions.slice(heard);
  const holding = since.filter(({ body }) =>
    body.events.some((event: Json) => event.content.body === 'after the restoration'),
  );
  assert.ok(holding.length > 0 && holding.every((transaction) => !before.has(transaction.path)), 'its number is new');
  assert.ok(
    since.some(
      (transaction) =>
        isTransaction(transaction) &&
        transaction.body['org.matrix.msc3202.device_one_time_keys_count']?.[bot.userId]?.BOT?.signed_curve25519 === 0,
    ),
    'it is told to upload keys',
  );
});
