import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import sharp from 'sharp';
import type { TestClient } from '../kit/test-client.ts';
import { onNetwork } from '../kit/test-network.ts';
import type { TestServer } from '../kit/test-server.ts';

async function ask(server: TestServer, who: TestClient, path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set('authorization', `Bearer ${who.token}`);
  return fetch(new URL(path, server.baseUrl), { ...init, headers });
}

async function upload(server: TestServer, who: TestClient, type: string, bytes: Buffer, name: string): Promise<string> {
  const response = await ask(server, who, `/_matrix/media/v3/upload?filename=${encodeURIComponent(name)}`, {
    method: 'POST',
    headers: { 'content-type': type },
    body: new Uint8Array(bytes),
  });
  assert.equal(response.status, 200);
  const { content_uri } = JSON.parse(await response.text());
  assert.match(content_uri, /^mxc:\/\//);
  return content_uri.slice('mxc://'.length);
}

test(
  'what is uploaded on one server is downloaded from the other, whole or as a thumbnail, and stays when the first is gone',
  onNetwork(['home.test', 'away.test'], async ([home, away], network) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const picture = await sharp({
      create: { width: 400, height: 300, channels: 3, background: { r: 200, g: 30, b: 60 } },
    })
      .png()
      .toBuffer();
    const film = randomBytes(3_000_000);
    const pictureId = await upload(home, alice, 'image/png', picture, 'sunset.png');
    const filmId = await upload(home, alice, 'video/mp4', film, 'holidays.mp4');
    const unseenId = await upload(home, alice, 'text/plain', Buffer.from('Nobody asked'), 'unseen.txt');
    const download = (id: string, rest = ''): Promise<Response> =>
      ask(away, bob, `/_matrix/client/v1/media/download/${id}${rest}`);
    const bytesOf = async (response: Response): Promise<Buffer> => {
      assert.equal(response.status, 200);
      return Buffer.from(await response.arrayBuffer());
    };

    const first = await download(pictureId);
    assert.equal(first.headers.get('content-type'), 'image/png');
    assert.match(first.headers.get('content-disposition') ?? '', /^inline; filename="?sunset\.png"?$/);
    assert.deepEqual(await bytesOf(first), picture);
    const [one, two] = await Promise.all([download(filmId), download(filmId, '/other.mp4')]);
    assert.deepEqual(await bytesOf(one), film);
    assert.match(two.headers.get('content-disposition') ?? '', /other\.mp4/);
    assert.deepEqual(await bytesOf(two), film);

    const thumbnail = (query: string): Promise<Response> =>
      ask(away, bob, `/_matrix/client/v1/media/thumbnail/${pictureId}?${query}`);
    const small = await sharp(await bytesOf(await thumbnail('width=32&height=32&method=crop'))).metadata();
    assert.deepEqual([small.width, small.height], [32, 32]);
    const fit = await sharp(await bytesOf(await thumbnail('width=320&height=240&method=scale'))).metadata();
    assert.ok(fit.width !== undefined && fit.width <= 400 && fit.width >= 320);

    assert.equal((await download('home.test/doesnotexist')).status, 404);
    const anonymous = await fetch(new URL(`/_matrix/client/v1/media/download/${pictureId}`, away.baseUrl));
    assert.equal(anonymous.status, 401);
    await anonymous.arrayBuffer();

    network.cut(home, away);
    assert.deepEqual(await bytesOf(await download(pictureId)), picture);
    assert.deepEqual(await bytesOf(await download(filmId)), film);
    const unseen = await download(unseenId);
    assert.ok(unseen.status >= 400 && unseen.status !== 500, `status ${unseen.status}`);
    await unseen.arrayBuffer();
    network.mendAll();
    assert.equal((await bytesOf(await download(unseenId))).toString(), 'Nobody asked');
  }),
);
