import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { crc32, deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { systemClock } from '../../server/util/clock.ts';
import { eventually } from '../kit/test-network.ts';
import { type Bytes, MediaHouse, userId } from '../modules/content-repository-kit.ts';

const MEBI = 1024 ** 2;
/** What nobody should have to wait for an answer, a busy machine included, ms. */
const PATIENCE_MS = 3_000;
const SHOWABLE = new Set(['image/jpeg', 'image/png', 'image/apng', 'image/webp', 'image/gif']);

interface Bad {
  readonly name: string;
  readonly type: string;
  readonly bytes: Buffer;
  /** What becomes of it; undefined where a reader may well make something of it. */
  readonly status?: number;
}

/** A chunk of a PNG. */
function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}

function png(width: number, height: number, ...chunks: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  // One bit a pixel, grey.
  header[8] = 1;
  return Buffer.concat([
    Buffer.from('89504e470d0a1a0a', 'hex'),
    chunk('IHDR', header),
    ...chunks,
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** All of a picture of nothing, packed: a kilobyte for each megabyte. */
function blank(width: number, height: number): Buffer {
  return chunk('IDAT', deflateSync(Buffer.alloc((Math.ceil(width / 8) + 1) * height)));
}

/** An animation of so many frames, each as large as it says. */
function gif(width: number, height: number, frames: number): Buffer {
  const screen = Buffer.from('4749463839610000000080000000000000ffffff', 'hex').subarray(0, 19);
  screen.writeUInt16LE(width, 6);
  screen.writeUInt16LE(height, 8);
  const frame = Buffer.from('21f90400010000002c00000000000000000002024401' + '00', 'hex');
  frame.writeUInt16LE(width, 13);
  frame.writeUInt16LE(height, 15);
  return Buffer.concat([screen, ...Array.from({ length: frames }, () => frame), Buffer.from(';')]);
}

/** `bytes` with those that begin at the first `mark`, and so many after it, replaced. */
function patched(bytes: Buffer, mark: Buffer, offset: number, by: Buffer): Buffer {
  const at = bytes.indexOf(mark);
  assert.ok(at >= 0, 'the mark is there');
  const copy = Buffer.from(bytes);
  by.copy(copy, at + offset);
  return copy;
}

function sides(width: number, height: number, bytes: 2 | 4): Buffer {
  const both = Buffer.alloc(2 * bytes);
  both.writeUIntBE(width, 0, bytes);
  both.writeUIntBE(height, bytes, bytes);
  return both;
}

/** Always the same, and looks like chance. */
function* noise(seed: number): Generator<number, never, undefined> {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state / 2 ** 32;
  }
}

async function makeBad(): Promise<Bad[]> {
  const picture = sharp({
    create: {
      width: 200,
      height: 150,
      channels: 3,
      background: '#336699',
      noise: { type: 'gaussian', mean: 120, sigma: 40 },
    },
  });
  const good: Readonly<Record<string, Buffer>> = {
    'image/png': await picture.clone().png().toBuffer(),
    'image/jpeg': await picture.clone().jpeg().toBuffer(),
    'image/webp': await picture.clone().webp().toBuffer(),
    'image/gif': await picture.clone().gif().toBuffer(),
    'image/avif': await picture.clone().avif({ effort: 0 }).toBuffer(),
    'image/tiff': await picture.clone().tiff().toBuffer(),
  };
  const bad: Bad[] = [];
  const random = noise(7);
  for (const [type, bytes] of Object.entries(good)) {
    for (const share of [0.01, 0.1, 0.5, 0.9, 0.999]) {
      bad.push({ name: `${type} cut at ${share}`, type, bytes: bytes.subarray(0, Math.floor(bytes.length * share)) });
    }
    for (let n = 0; n < 6; n += 1) {
      const copy = Buffer.from(bytes);
      // Where formats keep their lengths and sizes.
      const reach = n < 3 ? Math.min(copy.length, 160) : copy.length;
      for (let flips = 0; flips < 12; flips += 1)
        copy[Math.floor(random.next().value * reach)] = Math.floor(random.next().value * 256);
      bad.push({ name: `${type} spoilt ${n}`, type, bytes: copy });
    }
    for (const [other, head] of Object.entries(good)) {
      if (other === type) continue;
      bad.push({
        name: `${type} under the head of ${other}`,
        type,
        bytes: Buffer.concat([head.subarray(0, 24), bytes]),
      });
    }
  }
  const {
    'image/jpeg': jpeg = Buffer.alloc(0),
    'image/avif': avif = Buffer.alloc(0),
    'image/webp': webp = Buffer.alloc(0),
  } = good;
  const laughs = Array.from({ length: 12 }, (_, n) => `<!ENTITY l${n + 1} "${`&l${n};`.repeat(10)}">`).join('');
  const svg = (inside: string, prologue = ''): Buffer =>
    Buffer.from(
      `<?xml version="1.0"?>${prologue}<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="100" height="100">${inside}</svg>`,
    );
  const deep = Buffer.from('<g>'.repeat(100_000));
  const tiff = Buffer.from(good['image/tiff'] ?? '');
  bad.push(
    {
      name: 'a PNG of 30000 by 30000 with all its pixels',
      type: 'image/png',
      bytes: png(30_000, 30_000, blank(30_000, 30_000)),
      status: 413,
    },
    { name: 'a PNG of 30000 by 30000 with none', type: 'image/png', bytes: png(30_000, 30_000), status: 400 },
    { name: 'a PNG of the largest size there is', type: 'image/png', bytes: png(2 ** 31 - 1, 2 ** 31 - 1) },
    { name: 'a PNG of no size', type: 'image/png', bytes: png(0, 0), status: 400 },
    { name: 'a PNG with too few pixels', type: 'image/png', bytes: png(1_500, 1_500, blank(1_500, 3)) },
    { name: 'a PNG with far too many pixels', type: 'image/png', bytes: png(20, 20, blank(8_000, 8_000)) },
    {
      name: 'a PNG with a text that unpacks to much',
      type: 'image/png',
      bytes: png(
        20,
        20,
        chunk('zTXt', Buffer.concat([Buffer.from('Comment\0\0'), deflateSync(Buffer.alloc(100 * MEBI))])),
        blank(20, 20),
      ),
    },
    {
      name: 'a PNG with a profile that unpacks to much',
      type: 'image/png',
      bytes: png(
        20,
        20,
        chunk('iCCP', Buffer.concat([Buffer.from('p\0\0'), deflateSync(Buffer.alloc(100 * MEBI))])),
        blank(20, 20),
      ),
    },
    {
      name: 'a PNG with a million chunks',
      type: 'image/png',
      bytes: png(20, 20, ...Array.from({ length: 40_000 }, () => chunk('tEXt', Buffer.from('a\0b'))), blank(20, 20)),
    },
    {
      name: 'a PNG of four million pixels less than may be',
      type: 'image/png',
      bytes: png(1_990, 2_000, blank(1_990, 2_000)),
      status: 200,
    },
    { name: 'a GIF of 65535 by 65535', type: 'image/gif', bytes: gif(65_535, 65_535, 1), status: 413 },
    { name: 'a GIF of ten thousand frames', type: 'image/gif', bytes: gif(1_900, 1_900, 10_000) },
    { name: 'a GIF of no frames', type: 'image/gif', bytes: gif(10, 10, 0), status: 400 },
    {
      name: 'a GIF within a GIF',
      type: 'image/gif',
      bytes: Buffer.concat([gif(10, 10, 1).subarray(0, -1), gif(10, 10, 1), gif(5_000, 5_000, 3)]),
    },
    {
      name: 'a JPEG of 65000 by 65000',
      type: 'image/jpeg',
      bytes: patched(jpeg, Buffer.from([0xff, 0xc0]), 5, sides(65_000, 65_000, 2)),
      status: 413,
    },
    {
      name: 'an AVIF of 30000 by 30000',
      type: 'image/avif',
      bytes: patched(avif, Buffer.from('ispe'), 8, sides(30_000, 30_000, 4)),
    },
    {
      name: 'an AVIF of 1999 by 1999 that is none',
      type: 'image/avif',
      bytes: patched(avif, Buffer.from('ispe'), 8, sides(1_999, 1_999, 4)),
    },
    {
      name: 'an AVIF with a box of endless length',
      type: 'image/avif',
      bytes: patched(avif, Buffer.from('meta'), -4, Buffer.from('ffffffff', 'hex')),
      status: 400,
    },
    {
      name: 'a WebP of another length than it says',
      type: 'image/webp',
      bytes: patched(webp, Buffer.from('RIFF'), 4, Buffer.from('ffffffff', 'hex')),
    },
    {
      name: 'a TIFF whose directory follows itself',
      type: 'image/tiff',
      bytes: Buffer.concat([Buffer.from('49492a0008000000', 'hex'), Buffer.from('000008000000', 'hex'), tiff]),
      status: 400,
    },
    {
      name: 'an SVG that laughs a billion times',
      type: 'image/svg+xml',
      bytes: svg('<text>&l12;</text>', `<!DOCTYPE s [<!ENTITY l0 "ha">${laughs}]>`),
      status: 400,
    },
    {
      name: 'an SVG that reads a file',
      type: 'image/svg+xml',
      bytes: svg('<text>&f;</text>', '<!DOCTYPE s [<!ENTITY f SYSTEM "file:///etc/passwd">]>'),
      status: 400,
    },
    {
      name: 'an SVG with pictures of others',
      type: 'image/svg+xml',
      bytes: svg('<image xlink:href="http://127.0.0.1:1/"/><image xlink:href="file:///etc/passwd"/>'),
      status: 400,
    },
    { name: 'an SVG with a script', type: 'image/png', bytes: svg('<script>while (true);</script>'), status: 400 },
    { name: 'a deep SVG', type: 'image/svg+xml', bytes: Buffer.concat([svg('').subarray(0, -6), deep]), status: 400 },
    { name: 'a PDF', type: 'image/png', bytes: Buffer.from('%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj'), status: 400 },
    {
      name: 'a BMP',
      type: 'image/png',
      bytes: Buffer.concat([
        Buffer.from('424d46000000000000003600000028000000ffffff7fffffff7f01001800', 'hex'),
        Buffer.alloc(30),
      ]),
      status: 400,
    },
    {
      name: 'an icon',
      type: 'image/x-icon',
      bytes: Buffer.from('0000010001001010000001002000684400001600000089504e47', 'hex'),
      status: 400,
    },
    {
      name: 'PostScript',
      type: 'image/png',
      bytes: Buffer.from('%!PS-Adobe-3.0\n(/etc/passwd) (r) file'),
      status: 400,
    },
    {
      name: 'MVG',
      type: 'image/png',
      bytes: Buffer.from('push graphic-context\nfill \'url(https://127.0.0.1/x.jpg"|ls "-la)\''),
      status: 400,
    },
    { name: 'text', type: 'image/png', bytes: Buffer.from('not a picture'), status: 400 },
    { name: 'a zip', type: 'image/png', bytes: Buffer.from('504b0304140000000800', 'hex'), status: 400 },
    {
      name: 'noise',
      type: 'image/png',
      bytes: Buffer.from(Array.from({ length: 5_000 }, () => Math.floor(random.next().value * 256))),
      status: 400,
    },
    { name: 'zeros', type: 'image/gif', bytes: Buffer.alloc(100_000), status: 400 },
  );
  return bad;
}

/** While `work` goes on, Bob is answered whenever he asks for something. */
async function meanwhile(house: MediaHouse, path: string, work: Promise<unknown>): Promise<void> {
  let isOver = false;
  const end = work.finally(() => {
    isOver = true;
  });
  end.catch(() => undefined);
  let longest = 0;
  while (!isOver) {
    const start = performance.now();
    assert.equal((await house.download(path)).status, 200);
    longest = Math.max(longest, performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.ok(longest < PATIENCE_MS, `Bob had to wait ${Math.round(longest)} ms`);
  await end;
}

const leftovers = (): string[] => readdirSync(tmpdir()).filter((name) => /^(?:vips|magick|sharp)/i.test(name));

test('pictures that are spoilt, disguised or meant to fill the memory cost nobody anything', async (t) => {
  const house = await MediaHouse.open(t, { clock: systemClock, settings: { maxUploadBytes: 5 * MEBI } });
  const bad = await makeBad();
  assert.ok(bad.length >= 100, `${bad.length} of them`);
  const harmless = await house.upload('nothing to do with it');
  const temporary = leftovers();
  const base = process.memoryUsage.rss();

  const surprises: string[] = [];
  const look = async ({ name, type, bytes, status }: Bad): Promise<void> => {
    const path = await house.upload(new Uint8Array(bytes), { headers: { 'content-type': type } });
    const answers: Bytes[] = [
      await house.thumbnail(path, { width: 96, height: 96, method: 'crop' }),
      await house.thumbnail(path, { width: 150, height: 150, method: 'scale', animated: true }),
    ];
    for (const answer of answers) {
      if (status !== undefined && answer.status !== status) surprises.push(`${name}: ${answer.status}`);
      assert.ok(
        [200, 400, 413].includes(answer.status),
        `${name}: ${answer.status} ${answer.bytes.toString().slice(0, 200)}`,
      );
      if (answer.status === 200) assert.ok(SHOWABLE.has(answer.headers.get('content-type') ?? ''), name);
      else assert.ok(['M_UNKNOWN', 'M_TOO_LARGE'].includes(answer.json.errcode), name);
    }
    // It was sent to be kept, and is given back as it came, but shown by no browser unless that is safe.
    const back = await house.download(path);
    assert.ok(back.bytes.equals(bytes), name);
    assert.equal(back.headers.get('x-content-type-options'), 'nosniff');
    assert.match(back.headers.get('content-security-policy') ?? '', /^sandbox; default-src 'none'; script-src 'none';/);
    if (type === 'image/svg+xml') assert.match(back.headers.get('content-disposition') ?? '', /^attachment/);
  };
  const lines = Array.from({ length: 3 }, async (_, line) => {
    for (let n = line; n < bad.length; n += 3) {
      const each = bad[n];
      if (each !== undefined) await look(each);
    }
  });
  await meanwhile(house, harmless, Promise.all(lines));
  assert.deepEqual(surprises, []);
  const grown = process.memoryUsage.rss() - base;
  assert.ok(grown < 300 * MEBI, `memory grew by ${Math.round(grown / MEBI)} MiB`);

  // Whoever comes after gets what they ask for.
  const fine = await house.upload(
    await sharp({ create: { width: 500, height: 400, channels: 3, background: '#123456' } })
      .png()
      .toBuffer(),
  );
  assert.equal((await house.thumbnail(fine, { width: 96, height: 96 })).status, 200);
  await house.media.removeOfUser(userId('@ann:home.test'));
  await eventually('nothing is left of them', () => house.files().kept.length === 0);
  assert.deepEqual(house.files().incoming, []);
  assert.deepEqual(leftovers(), temporary);
});

test('uploads that stall, lie about their length or never end leave nothing, and hold nobody up', async (t) => {
  const house = await MediaHouse.open(t, { clock: systemClock, settings: { maxUploadBytes: MEBI } });
  const harmless = await house.upload('nothing to do with it');
  const before = house.files();
  const { hostname, port } = new URL(house.baseUrl);
  const raw = async (headers: string, body: string | Buffer): Promise<{ answer: string; end: () => void }> => {
    const socket = connect(Number(port), hostname);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    let answer = '';
    socket.on('data', (data) => {
      answer += data.toString('latin1');
    });
    socket.write(
      `POST /_matrix/media/v3/upload HTTP/1.1\r\nhost: home.test\r\nauthorization: Bearer ann\r\n${headers}\r\n\r\n`,
    );
    socket.write(body);
    return {
      get answer() {
        return answer;
      },
      end: () => void socket.destroy(),
    };
  };
  const stalled = await Promise.all(Array.from({ length: 30 }, () => raw('content-length: 500000', 'a few bytes')));
  await meanwhile(
    house,
    harmless,
    (async () => {
      const tooLong = await raw('content-length: 99999999999', 'x');
      await eventually('it is refused by what it says', () => tooLong.answer.startsWith('HTTP/1.1 413'));
      tooLong.end();
      const chunk = Buffer.alloc(65_536, 'x');
      const endless = await raw(
        'transfer-encoding: chunked',
        Buffer.concat(
          Array.from({ length: 20 }, () => Buffer.concat([Buffer.from('10000\r\n'), chunk, Buffer.from('\r\n')])),
        ),
      );
      await eventually('it is refused by what comes', () => endless.answer.includes('413'));
      endless.end();
      for (const headers of [
        'content-length: 5\r\ncontent-length: 6',
        'content-length: -5',
        'content-length: 5\r\ntransfer-encoding: chunked',
      ]) {
        const smuggled = await raw(headers, 'abcdefgh');
        await eventually('it is refused by its form', () => /^HTTP\/1\.1 4\d\d/.test(smuggled.answer));
        smuggled.end();
      }
    })(),
  );
  for (const each of stalled) each.end();
  await eventually('nothing is left of them', () => house.files().incoming.length === 0);
  assert.deepEqual(house.files().kept, before.kept);
});
