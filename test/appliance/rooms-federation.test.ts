import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectOk } from '../kit/test-client.ts';
import { eventually, TestNetwork } from '../kit/test-network.ts';
import { findDamage, messagesIn, moveIn, placeOf, roomyDataDir, startRoomy, welcome } from './household-kit.ts';

test('other servers see everybody leave a room that is removed here, which may be joined again later', async () => {
  await using world = await TestNetwork.start(['away.test']);
  const { network, servers } = world;
  const [away] = servers;
  using dataDir = roomyDataDir({ serverName: 'home.test', config: await network.configOf('home.test') });
  {
    await using house = await startRoomy(dataDir, { network: network.wayFrom('home.test') });
    network.place('home.test', placeOf(house));
    const anna = await moveIn(house, 'anna');
    const dora = await away.register('dora');
    const roomId = await anna.createRoom({ preset: 'public_chat', name: 'Bridge' });
    const kept = await anna.createRoom({ preset: 'private_chat', name: 'Own', invite: [dora.userId] });
    expectOk(await dora.post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}`, {}, { via: 'home.test' }));
    await dora.join(kept);
    await anna.send(roomId, 'before');
    const membersFor = async (): Promise<string[]> =>
      Object.keys(
        expectOk(await dora.get(`/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/joined_members`)).joined,
      );
    await eventually('Dora has read it', async () => (await messagesIn(dora, roomId)).includes('before'));

    const { jobId } = await house.call('POST /rooms/{roomId}/purge', { params: { roomId } });
    const job = await house.finished(jobId);
    assert.equal(job.state, 'done', JSON.stringify(job));
    await eventually('Dora is alone', async () => (await membersFor()).join() === dora.userId);
    assert.deepEqual(
      (await house.call('GET /rooms')).rooms.map((each) => each.roomId),
      [kept],
    );
    await dora.send(roomId, 'is nobody here?');

    expectOk(await anna.post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}`, {}, { via: 'away.test' }));
    await dora.send(roomId, 'welcome back');
    await eventually('they talk again', async () => (await messagesIn(anna, roomId)).includes('welcome back'));
    assert.ok((await messagesIn(anna, roomId)).includes('before'), 'history comes from those who have it');
    await anna.send(kept, 'still here');
    await eventually('the other room goes on', async () => (await messagesIn(dora, kept)).includes('still here'));
  }
  assert.deepEqual(await findDamage(dataDir, 'home.test'), []);
});

test('a server that is away while a room is removed hears afterwards that everybody has left', async () => {
  await using world = await TestNetwork.start(['away.test']);
  const { network, servers } = world;
  const [away] = servers;
  using dataDir = roomyDataDir({ serverName: 'home.test', config: await network.configOf('home.test') });
  await using house = await startRoomy(dataDir, { network: network.wayFrom('home.test') });
  network.place('home.test', placeOf(house));
  const anna = await moveIn(house, 'anna');
  const ben = await welcome(house, 'ben');
  const dora = await away.register('dora');
  const roomId = await anna.createRoom({ preset: 'public_chat', name: 'Bridge' });
  await ben.join(roomId);
  expectOk(await dora.post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}`, {}, { via: 'home.test' }));
  const membersFor = async (): Promise<string[]> =>
    Object.keys(
      expectOk(await dora.get(`/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/joined_members`)).joined,
    );
  await eventually('all are in it', async () => (await membersFor()).length === 3);

  network.cut('home.test', away);
  await anna.send(roomId, 'unheard');
  const { jobId } = await house.call('POST /rooms/{roomId}/purge', { params: { roomId } });
  const job = await house.finished(jobId);
  assert.equal(job.state, 'done', JSON.stringify(job));
  assert.equal((await house.call('GET /rooms')).total, 0);
  network.mend('home.test', away);
  await dora.send(roomId, 'is nobody here?');
  await eventually('Dora is alone', async () => (await membersFor()).join() === dora.userId);
  assert.ok((await messagesIn(dora, roomId)).includes('unheard'), 'what was on its way arrives as well');
});

test('an invite from somebody of another server is shown and declined', async () => {
  await using world = await TestNetwork.start(['away.test']);
  const { network, servers } = world;
  const [away] = servers;
  using dataDir = roomyDataDir({ serverName: 'home.test', config: await network.configOf('home.test') });
  await using house = await startRoomy(dataDir, { network: network.wayFrom('home.test') });
  network.place('home.test', placeOf(house));
  const anna = await moveIn(house, 'anna');
  const dora = await away.register('dora');
  const roomId = await dora.createRoom({ name: 'Bargains', invite: [anna.userId] });
  await eventually('the invite is here', async () => (await house.call('GET /stranger-invites')).invites.length === 1);
  const [invite] = (await house.call('GET /stranger-invites')).invites;
  assert.deepEqual(
    { ...invite, at: 0 },
    { userId: anna.userId, roomId, roomName: 'Bargains', sender: dora.userId, senderName: 'dora', at: 0 },
  );
  const body = { userId: anna.userId, roomId };
  await house.call('POST /stranger-invites/decline', { body });
  assert.deepEqual((await house.call('GET /stranger-invites')).invites, []);
  assert.equal((await house.ask('POST /stranger-invites/decline', { body })).status, 404);
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/state/m.room.member/${encodeURIComponent(anna.userId)}`;
  await eventually('Dora knows', async () => (await dora.get(path)).body.membership === 'leave');
});
