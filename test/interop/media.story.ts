import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import sharp from 'sharp';
import { expectOk, type TestClient } from '../kit/test-client.ts';
import type { Homeserver } from './homeserver.ts';
import { makePair } from './pair.ts';

const story = makePair(import.meta.filename);

async function upload(who: TestClient, server: Homeserver, bytes: Uint8Array, type: string): Promise<string> {
  const answer = await fetch(
    `${server.baseUrl}/_matrix/media/v3/upload?filename=${encodeURIComponent('a picture.png')}`,
    {
      method: 'POST',
      headers: { authorization: `Bearer ${who.token}`, 'content-type': type },
      body: Buffer.from(bytes),
    },
  );
  const body: unknown = await answer.json();
  assert.ok(typeof body === 'object' && body !== null && 'content_uri' in body, JSON.stringify(body));
  return String(body.content_uri).replace('mxc://', '');
}

async function load(
  who: TestClient,
  server: Homeserver,
  what: string,
): Promise<{ status: number; headers: Headers; bytes: Buffer }> {
  const answer = await fetch(`${server.baseUrl}/_matrix/client/v1/media/${what}`, {
    headers: { authorization: `Bearer ${who.token}` },
  });
  return { status: answer.status, headers: answer.headers, bytes: Buffer.from(await answer.arrayBuffer()) };
}

function hash(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

story('a picture uploaded here is seen there, whole and small', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const noise = Buffer.alloc(
    640 * 480 * 3,
    Uint8Array.from({ length: 251 }, (_, index) => index),
  );
  const picture = await sharp(noise, { raw: { width: 640, height: 480, channels: 3 } })
    .png()
    .toBuffer();
  const mxc = await upload(alice, home, picture, 'image/png');
  const whole = await load(bob, away, `download/${mxc}`);
  assert.equal(whole.status, 200, whole.bytes.toString('utf8', 0, 300));
  assert.equal(whole.headers.get('content-type'), 'image/png');
  assert.match(whole.headers.get('content-disposition') ?? '', /inline.*a(%20| )picture\.png/);
  assert.equal(hash(whole.bytes), hash(picture));
  const small = await load(bob, away, `thumbnail/${mxc}?width=96&height=96&method=crop`);
  assert.equal(small.status, 200, small.bytes.toString('utf8', 0, 300));
  const { width, height } = await sharp(small.bytes).metadata();
  assert.deepEqual({ width, height }, { width: 96, height: 96 });
});

story('a file of ten megabytes goes over unharmed, and what is not there is not found', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const file = Buffer.alloc(10 * 1024 * 1024);
  for (let at = 0; at < file.length; at += 4) file.writeUInt32LE((at * 2_654_435_761) >>> 0, at);
  const mxc = await upload(alice, home, file, 'application/octet-stream');
  const there = await load(bob, away, `download/${mxc}`);
  assert.equal(there.status, 200);
  assert.equal(hash(there.bytes), hash(file));
  assert.match(there.headers.get('content-disposition') ?? '', /^attachment/);
  const nothing = await load(bob, away, `download/${home.serverName}/nothingOfThisName`);
  assert.equal(nothing.status, 404);
  assert.equal(JSON.parse(nothing.bytes.toString()).errcode, 'M_NOT_FOUND');
});

story('a face in a profile is seen on the other server', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const face = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#804020' } })
    .jpeg()
    .toBuffer();
  const mxc = await upload(alice, home, face, 'image/jpeg');
  const profile = `/_matrix/client/v3/profile/${encodeURIComponent(alice.userId)}`;
  expectOk(await alice.put(`${profile}/avatar_url`, { avatar_url: `mxc://${mxc}` }));
  const { avatar_url: url } = expectOk(await bob.get(profile));
  assert.equal(url, `mxc://${mxc}`);
  assert.equal(hash((await load(bob, away, `download/${mxc}`)).bytes), hash(face));
});
