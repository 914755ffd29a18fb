import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import sharp, { type Metadata } from 'sharp';
import { Thumbnailer } from '../../server/modules/content-repository/thumbnailer/thumbnailer.ts';
import { silentLogger } from '../../server/util/log.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { eventually } from '../kit/test-network.ts';
import { type Bytes, expectRefusal, MediaHouse } from './content-repository-kit.ts';

type Format = 'jpeg' | 'png' | 'webp' | 'gif' | 'avif' | 'tiff';

/** A picture whose left half is red and whose right half is blue. */
function picture(width: number, height: number): ReturnType<typeof sharp> {
  const half = { create: { width: Math.ceil(width / 2), height, channels: 3 as const, background: 'red' } };
  return sharp({ create: { width, height, channels: 3, background: 'blue' } })
    .composite([{ input: half, gravity: 'west' }])
    .removeAlpha();
}

async function drawn(format: Format, width: number, height: number): Promise<Uint8Array> {
  return new Uint8Array(await picture(width, height).toFormat(format).toBuffer());
}

/** Three frames. */
async function animation(format: 'gif' | 'webp', width: number, height: number): Promise<Uint8Array> {
  const frames = await Promise.all(
    ['red', 'lime', 'blue'].map((background) =>
      sharp({ create: { width, height, channels: 3, background } })
        .png()
        .toBuffer(),
    ),
  );
  return new Uint8Array(
    await sharp(frames, { join: { animated: true } })
      .toFormat(format)
      .toBuffer(),
  );
}

async function look(answer: Bytes, animated = false): Promise<Metadata & { size: string }> {
  assert.equal(answer.status, 200, answer.bytes.toString().slice(0, 200));
  const metadata = await sharp(answer.bytes, { animated }).metadata();
  return { ...metadata, size: `${metadata.width}x${metadata.pageHeight ?? metadata.height}` } as never;
}

const upload = (house: MediaHouse, body: Uint8Array, type = 'application/octet-stream'): Promise<string> =>
  house.upload(body as Uint8Array<ArrayBuffer>, { headers: { 'content-type': type } });

test('a thumbnail keeps or cuts the shape as asked, and is never smaller than asked', async (t) => {
  const house = await MediaHouse.open(t);
  const path = await upload(house, await drawn('png', 1000, 500), 'image/png');
  const expected: [number, number, 'crop' | 'scale', string][] = [
    [320, 240, 'scale', '320x160'],
    [100, 100, 'scale', '320x160'],
    [321, 10, 'scale', '640x320'],
    [32, 32, 'crop', '32x32'],
    [33, 33, 'crop', '96x96'],
    // Nothing configured is of that shape, or large enough.
    [80, 40, 'crop', '80x40'],
    [200, 200, 'crop', '200x200'],
    [800, 800, 'scale', '800x400'],
  ];
  for (const [width, height, method, size] of expected) {
    const answer = await house.thumbnail(path, { width, height, method });
    assert.equal((await look(answer)).size, size, `${method} ${width}x${height}`);
    assert.equal(answer.headers.get('content-type'), 'image/png');
    assert.equal(answer.headers.get('content-disposition'), 'inline; filename="thumbnail.png"');
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
  }
  assert.equal(
    (await look(await house.thumbnail(path, { width: 320, height: 240 }))).size,
    '320x160',
    'scale is usual',
  );
});

test('a picture no larger than what is asked for is given as it is', async (t) => {
  const house = await MediaHouse.open(t);
  const original = await drawn('png', 60, 30);
  // Whatever the uploader calls it.
  const path = await upload(house, original, 'text/html');
  for (const query of [
    { width: 96, height: 96, method: 'crop' },
    { width: 320, height: 240, method: 'scale' },
    { width: 60, height: 30, method: 'scale' },
    { width: 5000, height: 5000, method: 'scale' },
  ]) {
    const answer = await house.thumbnail(path, query);
    assert.ok(answer.bytes.equals(original), JSON.stringify(query));
    assert.equal(answer.headers.get('content-type'), 'image/png');
    assert.match(answer.headers.get('content-disposition') ?? '', /^inline/);
  }
  assert.equal(house.files().kept.length, 1, 'no copy is kept');
  // Too low to be cut to a square of that size, it is cut to what there is.
  const low = await upload(house, await drawn('png', 500, 50));
  assert.equal((await look(await house.thumbnail(low, { width: 96, height: 96, method: 'crop' }))).size, '96x50');
});

test('every format clients send gives a thumbnail in one that all browsers show', async (t) => {
  const house = await MediaHouse.open(t);
  const expected: [Format, string][] = [
    ['jpeg', 'jpeg'],
    ['png', 'png'],
    ['webp', 'webp'],
    ['gif', 'png'],
    ['avif', 'jpeg'],
  ];
  for (const [format, made] of expected) {
    const path = await upload(house, await drawn(format, 400, 400));
    const answer = await house.thumbnail(path, { width: 96, height: 96, method: 'crop' });
    const { size, format: found } = await look(answer);
    assert.deepEqual([size, found, answer.headers.get('content-type')], ['96x96', made, `image/${made}`]);
  }
  // One that not every client can show is made anew even where it is small enough.
  const small = await house.thumbnail(await upload(house, await drawn('avif', 20, 20)), { width: 96, height: 96 });
  assert.deepEqual([(await look(small)).size, small.headers.get('content-type')], ['20x20', 'image/jpeg']);
});

test('a photograph is turned the way its camera was held', async (t) => {
  const house = await MediaHouse.open(t);
  const photo = await picture(600, 300).jpeg().withMetadata({ orientation: 6 }).toBuffer();
  const answer = await house.thumbnail(await upload(house, new Uint8Array(photo)), { width: 320, height: 240 });
  const { size, exif } = await look(answer);
  assert.equal(size, '120x240');
  assert.equal(exif, undefined, 'what else the camera noted stays here');
  const top = await sharp(answer.bytes).extract({ left: 0, top: 0, width: 120, height: 100 }).toBuffer();
  const { dominant } = await sharp(top).stats();
  assert.ok(dominant.r > dominant.b, 'the left half is on top now');
});

test('an animation moves where that is wanted, and stands still where it is not', async (t) => {
  const house = await MediaHouse.open(t, { settings: { maxImagePixels: 400 * 400 * 3 } });
  const path = await upload(house, await animation('gif', 400, 400));
  const frame = { width: 96, height: 96, method: 'crop' };
  const moving = await house.thumbnail(path, { ...frame, animated: true });
  assert.equal(moving.headers.get('content-type'), 'image/webp');
  const { pages, size } = await look(moving, true);
  assert.deepEqual([pages, size], [3, '96x96']);
  for (const query of [frame, { ...frame, animated: false }]) {
    const still = await house.thumbnail(path, query);
    assert.deepEqual([(await look(still, true)).pages ?? 1, still.headers.get('content-type')], [1, 'image/png']);
  }
  // Small enough to be given as it is, it must not move all the same.
  const small = await animation('webp', 40, 40);
  const smallPath = await upload(house, small);
  assert.ok((await house.thumbnail(smallPath, { ...frame, animated: true })).bytes.equals(small));
  assert.equal((await look(await house.thumbnail(smallPath, frame), true)).pages ?? 1, 1);
  // A picture that cannot move does not.
  const flat = await house.thumbnail(await upload(house, await drawn('jpeg', 300, 300)), { ...frame, animated: true });
  assert.equal(flat.headers.get('content-type'), 'image/jpeg');
  // One with too many pixels in all its frames stands still.
  const large = await upload(house, await animation('gif', 401, 400));
  assert.equal((await house.thumbnail(large, { ...frame, animated: true })).headers.get('content-type'), 'image/png');
});

test('what is no picture, or too large a one, is refused before it is drawn', async (t) => {
  const house = await MediaHouse.open(t, { settings: { maxImagePixels: 10_000 } });
  const frame = { width: 32, height: 32, method: 'crop' };
  const large = await upload(house, await drawn('png', 101, 100));
  for (let times = 0; times < 2; times += 1) expectRefusal(await house.thumbnail(large, frame), 413, 'M_TOO_LARGE');
  const peer = await house.askAsPeer(`thumbnail/${large.split('/')[1]}`, { query: frame });
  expectRefusal(peer, 413, 'M_TOO_LARGE');
  const svg = Buffer.from(
    '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><rect width="9" height="9"/></svg>',
  );
  const broken = (await drawn('png', 100, 100)).slice(0, 60);
  for (const content of [svg, broken, Buffer.from('text'), Buffer.alloc(0), await drawn('tiff', 40, 40)]) {
    const path = await upload(house, content as Uint8Array<ArrayBuffer>, 'image/png');
    expectRefusal(await house.thumbnail(path, frame), 400, 'M_UNKNOWN');
  }
  assert.deepEqual(house.files().incoming, []);
  const fine = await upload(house, await drawn('png', 100, 100));
  assert.equal((await house.thumbnail(fine, frame)).status, 200, 'the next one is drawn');
  expectRefusal(await house.thumbnail(fine, { width: 0, height: 32 }), 400, 'M_INVALID_PARAM');
  expectRefusal(await house.thumbnail(fine, { width: -1, height: 32 }), 400, 'M_INVALID_PARAM');
  expectRefusal(await house.thumbnail(fine, { width: 32 }), 400, 'M_MISSING_PARAM');
  expectRefusal(await house.thumbnail(fine, { ...frame, method: 'squeeze' }), 400, 'M_INVALID_PARAM');
});

test('thumbnails are kept once, for all copies of a picture, and go with the last of them', async (t) => {
  const house = await MediaHouse.open(t);
  const original = await drawn('png', 400, 400);
  const first = await upload(house, original);
  const second = await upload(house, original);
  const ask = (path: string): Promise<Bytes> => house.thumbnail(path, { width: 32, height: 32, method: 'crop' });
  const answers = await Promise.all([ask(first), ask(second), ask(first)]);
  assert.equal(new Set(answers.map((answer) => answer.headers.get('etag'))).size, 1);
  assert.equal(house.files().kept.length, 2);
  const remove = async (path: string): Promise<void> => {
    const { origin } = house.media.listOfUser('@ann:home.test' as never, { limit: 1, offset: 0 }).media[0] ?? {};
    assert.ok(origin !== undefined);
    house.media.remove({ origin, mediaId: path.split('/')[1] ?? '' });
    await house.restart();
  };
  await remove(first);
  assert.equal(house.files().kept.length, 2);
  // A thumbnail that is lost is made again.
  const made = house.files().kept;
  for (const file of made) if (!file.includes(hashOf(original))) rmSync(file);
  assert.equal((await ask(second)).status, 200);
  assert.equal(house.files().kept.length, 2);
  await remove(second);
  assert.deepEqual(house.files().kept, []);
});

function hashOf(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex').slice(2);
}

test('of one picture only so many thumbnails are kept', async (t) => {
  const house = await MediaHouse.open(t, { settings: { dynamicThumbnails: true } });
  const path = await upload(house, await drawn('jpeg', 200, 200));
  for (let width = 40; width < 60; width += 1) {
    assert.equal((await look(await house.thumbnail(path, { width, height: width }))).size, `${width}x${width}`);
  }
  await eventually('the oldest are gone', () => house.files().kept.length === 17);
  assert.equal((await house.thumbnail(path, { width: 40, height: 40 })).status, 200);
});

test('another server gets a thumbnail in two parts', async (t) => {
  const house = await MediaHouse.open(t);
  const path = await upload(house, await drawn('jpeg', 400, 400));
  const answer = await house.askAsPeer(`thumbnail/${path.split('/')[1]}`, {
    query: { width: 32, height: 32, method: 'crop' },
  });
  assert.equal(answer.status, 200);
  const head = answer.bytes.subarray(0, 400).toString('latin1');
  assert.match(head, /Content-Type: image\/jpeg\r\nContent-Disposition: inline; filename="thumbnail.jpeg"\r\n\r\n/);
});

/** Programs to stand in for the one that draws. */
async function withProgram(
  source: string,
  use: (thumbnailer: Thumbnailer, clock: ManualClock) => Promise<void>,
): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'hearth-drawing-'));
  const program = join(dir, 'program.mjs');
  writeFileSync(program, source);
  const clock = new ManualClock();
  const thumbnailer = new Thumbnailer({ clock, log: silentLogger, program });
  try {
    await use(thumbnailer, clock);
  } finally {
    await thumbnailer.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

const order = (source: string) => ({
  source,
  target: '/nowhere',
  width: 1,
  height: 1,
  method: 'crop' as const,
  animated: false,
  maxPixels: 1,
});

test('a picture that keeps the drawing process busy for ever costs nobody else anything', async () => {
  const source = `process.on('message', ({ source }) => {
    if (source === 'endless') for (;;);
    if (source === 'deadly') process.exit(3);
    process.send(source === 'liar' ? { kind: 'made', type: 'text/html' } : { kind: 'made', type: 'image/png' });
  });`;
  await withProgram(source, async (thumbnailer, clock) => {
    const endless = [thumbnailer.make(order('endless')), thumbnailer.make(order('endless'))];
    const patient = thumbnailer.make(order('fine'));
    await clock.advance(20_000);
    const failed = { kind: 'refused', reason: 'failed' };
    assert.deepEqual(await Promise.all(endless), [failed, failed]);
    assert.deepEqual(await patient, { kind: 'made', type: 'image/png' });
    assert.deepEqual(await thumbnailer.make(order('deadly')), failed);
    assert.deepEqual(await thumbnailer.make(order('liar')), failed);
    assert.deepEqual(await thumbnailer.make(order('fine')), { kind: 'made', type: 'image/png' });
  });
});

test('no more orders wait than can be drawn in good time', async () => {
  await withProgram(`process.on('message', () => { for (;;); });`, async (thumbnailer) => {
    const orders = Array.from({ length: 202 }, () => thumbnailer.make(order('endless')));
    assert.throws(() => thumbnailer.make(order('one too many')), { errcode: 'M_LIMIT_EXCEEDED' });
    await thumbnailer.stop();
    assert.equal(new Set((await Promise.all(orders)).map(({ kind }) => kind)).size, 1);
  });
});
