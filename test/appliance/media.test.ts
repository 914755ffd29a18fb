import assert from 'node:assert/strict';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { expectError, expectOk, type TestClient } from '../kit/test-client.ts';
import { eventually, TestNetwork } from '../kit/test-network.ts';
import { moveIn, placeOf, roomyDataDir, startRoomy, welcome } from './household-kit.ts';

/** Uploads so many bytes that begin with a text; gives the media ID. */
async function upload(client: TestClient, text: string, bytes: number, name: string): Promise<string> {
  const answer = await client.request('POST', '/_matrix/media/v3/upload', {
    body: text.padEnd(bytes, '.'),
    headers: { 'content-type': 'text/plain' },
    query: { filename: name },
  });
  const uri: string = expectOk(answer).content_uri;
  return uri.slice(uri.lastIndexOf('/') + 1);
}

function bytesIn(folder: string): number {
  if (!existsSync(folder)) return 0;
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}

test('media are listed by what is asked for, and the disk is free of those that are removed', async () => {
  using dataDir = roomyDataDir();
  await using house = await startRoomy(dataDir);
  const anna = await moveIn(house, 'anna');
  const ben = await welcome(house, 'ben');
  const small = await upload(anna, 'small', 1_000, 'small.txt');
  const large = await upload(ben, 'large', 50_000, 'large.txt');
  const twin = await upload(anna, 'large', 50_000, 'twin.txt');
  const middle = await upload(anna, 'middle', 9_000, 'middle.txt');

  const bySize = await house.call('GET /media', { query: { order: 'size' } });
  assert.deepEqual(
    bySize.media.map(({ bytes }) => bytes),
    [50_000, 50_000, 9_000, 1_000],
  );
  assert.equal(bySize.total, 4);
  const page = await house.call('GET /media', { query: { order: 'age', limit: 1 } });
  assert.deepEqual([page.media[0]?.mediaId, page.media[0]?.name, page.next], [middle, 'middle.txt', 1]);
  const rest = await house.call('GET /media', { query: { order: 'age', from: 1, limit: 10 } });
  assert.deepEqual(
    rest.media.map(({ mediaId }) => mediaId),
    [twin, large, small],
  );
  assert.equal(rest.next, undefined);
  assert.deepEqual((await house.call('GET /media', { query: { origin: 'remote' } })).media, []);
  const summary = await house.call('GET /media/summary');
  assert.deepEqual(summary.local, { files: 4, bytes: 110_000 });
  assert.ok(summary.freeBytes > 0);

  const folder = join(house.dataDir, 'media');
  const remove = (...ids: string[]) =>
    house.call('POST /media/remove', {
      body: { media: ids.map((mediaId) => ({ origin: 'localhost', mediaId })) },
    });
  const before = bytesIn(folder);
  assert.deepEqual(await remove(large, 'unknown'), { removed: 1, bytes: 0 }, 'another has the same content');
  expectError(await anna.get(`/_matrix/client/v1/media/download/localhost/${large}`), 404, 'M_NOT_FOUND');
  assert.equal((await anna.get(`/_matrix/client/v1/media/download/localhost/${twin}`)).status, 200);
  assert.deepEqual(await remove(twin, small), { removed: 2, bytes: 51_000 });
  await eventually('the files are gone', () => before - bytesIn(folder) === 51_000);
  assert.deepEqual((await house.call('GET /media/summary')).local, { files: 1, bytes: 9_000 });
});

test('what nobody looks at of other servers is removed, and fetched again when somebody does', async () => {
  await using world = await TestNetwork.start(['away.test']);
  const { network, servers } = world;
  const [away] = servers;
  using dataDir = roomyDataDir({ serverName: 'home.test', config: await network.configOf('home.test') });
  await using house = await startRoomy(dataDir, { network: network.wayFrom('home.test') });
  network.place('home.test', placeOf(house));
  const anna = await moveIn(house, 'anna');
  const dora = await away.register('dora');
  const picture = await upload(dora, 'far away', 4_000, 'far.txt');
  const path = `/_matrix/client/v1/media/download/away.test/${picture}`;
  assert.equal((await anna.get(path)).status, 200);
  const { files, bytes } = (await house.call('GET /media/summary')).remote;
  assert.deepEqual({ files, bytes }, { files: 1, bytes: 4_000 });

  const purge = async (unusedForDays: number) => {
    const { jobId } = await house.call('POST /media/purge-remote', { body: { unusedForDays } });
    return (await house.finished(jobId)).result;
  };
  assert.deepEqual(await purge(1), { removed: 0, bytes: 0 });
  await eventually('it is removed', async () => {
    const gone = (await purge(0)) as { removed: number; bytes: number };
    return gone.removed === 1 && gone.bytes === 4_000;
  });
  assert.deepEqual((await house.call('GET /media/summary')).remote.files, 0);
  assert.equal((await anna.get(path)).status, 200);
});

test('pictures of people and rooms are told as such, and the totals are what is there', async () => {
  using dataDir = roomyDataDir();
  await using house = await startRoomy(dataDir);
  const anna = await moveIn(house, 'anna');
  const face = await upload(anna, 'face', 100, 'face.png');
  const sign = await upload(anna, 'sign', 200, 'sign.png');
  const plain = await upload(anna, 'plain', 300, 'plain.txt');
  expectOk(
    await anna.put(`/_matrix/client/v3/profile/${anna.userId}/avatar_url`, { avatar_url: `mxc://localhost/${face}` }),
  );
  const avatar = { type: 'm.room.avatar', state_key: '', content: { url: `mxc://localhost/${sign}` } };
  await anna.createRoom({ name: 'Kitchen', initial_state: [avatar] });
  const { media } = await house.call('GET /media', { query: { order: 'age' } });
  assert.deepEqual(
    media.map(({ mediaId, pictureOf }) => [mediaId, pictureOf]),
    [
      [plain, undefined],
      [sign, 'Kitchen'],
      [face, 'anna'],
    ],
  );
  // Announced and filled later, and one that nothing comes of.
  const announced = async (): Promise<string> =>
    expectOk(await anna.post('/_matrix/media/v1/create')).content_uri.replace('mxc://localhost/', '');
  await announced();
  const later = await announced();
  expectOk(
    await anna.request('PUT', `/_matrix/media/v3/upload/localhost/${later}`, {
      body: 'later',
      headers: { 'content-type': 'text/plain' },
    }),
  );
  assert.deepEqual((await house.call('GET /media/summary')).local, { files: 4, bytes: 605 });
  await house.call('POST /media/remove', { body: { media: [{ origin: 'localhost', mediaId: later }] } });
  assert.deepEqual((await house.call('GET /media/summary')).local, { files: 3, bytes: 600 });
});
