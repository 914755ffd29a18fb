import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { expectOk, type TestClient } from '../kit/test-client.ts';
import { eventually } from '../kit/test-network.ts';
import type { TestServer } from '../kit/test-server.ts';
import { drawPicture, LOCAL_RANGES, PlayedWeb, preview, serverOn } from '../modules/url-previews-kit.ts';
import { ManualClock } from '../kit/manual-clock.ts';

const MEBI = 1024 ** 2;
/** What nobody should have to wait for an answer, a busy machine included, ms. */
const PATIENCE_MS = 3_000;

/** Everything that lies in the folder of media. */
function filesOf({ dir }: TestServer): string[] {
  return readdirSync(join(dir, 'media'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** While an attack goes on, Ann is answered whenever she asks for something else; gives the longest stall, ms. */
async function meanwhile<Result>(ann: TestClient, attack: Promise<Result>): Promise<Result> {
  let isOver = false;
  const end = attack.finally(() => {
    isOver = true;
  });
  end.catch(() => undefined);
  let longest = 0;
  while (!isOver) {
    const start = performance.now();
    expectOk(await ann.get('/_matrix/client/v3/account/whoami'));
    longest = Math.max(longest, performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.ok(longest < PATIENCE_MS, `Ann had to wait ${Math.round(longest)} ms`);
  return end;
}

/** The body of a test: after it, nothing lies on disk that did not before, and no connection is left open. */
async function besieged(
  tell: (parts: { web: PlayedWeb; server: TestServer; ann: TestClient }) => Promise<void>,
  { clock, config = {} }: { clock?: ManualClock; config?: Readonly<Record<string, unknown>> } = {},
): Promise<void> {
  await using web = await PlayedWeb.start();
  await using server = await serverOn(web, { config, ...(clock === undefined ? {} : { clock }) });
  const ann = await server.register('ann');
  const before = filesOf(server);
  await tell({ web, server, ann });
  expectOk(await ann.get('/_matrix/client/v3/account/whoami'));
  assert.deepEqual(filesOf(server), before, 'nothing is left on disk');
}

async function codeOf(ann: TestClient, url: string): Promise<string> {
  const { status, body } = await preview(ann, url);
  return `${status} ${body.errcode}`;
}

const LOCAL_LITERALS = [
  '127.0.0.1',
  '127.1',
  '2130706433',
  '0x7f000001',
  '0177.0.0.1',
  '127.0.0.1.',
  '0.0.0.0',
  '0',
  '[::]',
  '[::1]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[::ffff:0.0.0.0]',
  '[::127.0.0.1]',
  '[64:ff9b::7f00:1]',
  '[2002:7f00:1::]',
  '[fe80::1]',
  '[fd00::1]',
  '169.254.169.254',
  '10.0.0.1',
  '192.168.1.1',
  '172.16.0.1',
  '100.64.0.1',
  '⑯⑨。②⑤④.169.254',
  '%31%32%37.0.0.1',
];

test('no way of writing it leads a preview to an address of this machine or its network', () =>
  besieged(async ({ web, server, ann }) => {
    // Each person has only so many previews at a time.
    const people = [ann, await server.register('ben')] as const;
    for (const [n, host] of LOCAL_LITERALS.entries()) {
      const who = people[n % 2 === 0 ? 0 : 1];
      assert.equal(await codeOf(who, `http://${host}/`), '403 M_UNKNOWN', host);
      assert.equal(await codeOf(who, `https://${host}:8448/`), '403 M_UNKNOWN', host);
      // A header holds no more than bytes.
      web.redirect(`outside.example/${n}`, `http://${host.replaceAll(/[^\x20-\x7e]/g, encodeURIComponent)}/`);
      assert.equal(await codeOf(who, `http://outside.example/${n}`), '403 M_UNKNOWN', `redirect to ${host}`);
      web.html(`page.example/${n}`, `<title>T</title><meta property="og:image" content="http://${host}/x.png">`);
      assert.deepEqual(expectOk(await preview(who, `http://page.example/${n}`)), { 'og:title': 'T' });
      web.html(
        `oembed.example/${n}`,
        `<title>T</title><link rel="alternate" type="application/json+oembed" href="http://${host}/o">`,
      );
      assert.deepEqual(expectOk(await preview(who, `http://oembed.example/${n}`)), { 'og:title': 'T' });
    }
    assert.deepEqual(new Set(web.dialled), new Set(['93.184.215.14']), 'nothing else was connected to');
  }));

test('a name that leads home is not followed, nor one that does so the second time it is looked up', () => {
  const clock = new ManualClock();
  const rebound: string[] = [];
  return besieged(
    async ({ web, ann }) => {
      for (const [n, address] of [
        '127.0.0.1',
        '::1',
        '::ffff:127.0.0.1',
        '0.0.0.0',
        '::',
        '10.1.2.3',
        '169.254.169.254',
      ].entries()) {
        web.names.set(`local${n}.example`, [[address]]);
        assert.equal(await codeOf(ann, `http://local${n}.example/`), '502 M_UNKNOWN', address);
        // Only the address that may be asked is.
        web.names.set(`mixed${n}.example`, [[address, '93.184.215.14']]);
        web.html(`mixed${n}.example/`, '<title>Mixed</title>');
        assert.equal(expectOk(await preview(ann, `http://mixed${n}.example/`))['og:title'], 'Mixed');
        web.names.set(`rebound${n}.example`, [['93.184.215.14'], [address]]);
        web.redirect(`rebound${n}.example/`, '/secret');
        web.html(`rebound${n}.example/secret`, '<title>Public</title>');
        // Both come from where the name led when it was looked up.
        assert.equal(expectOk(await preview(ann, `http://rebound${n}.example/`))['og:title'], 'Public');
        rebound.push(`http://rebound${n}.example/later`);
      }
      await clock.advance(24 * 60 * 60_000);
      for (const url of rebound) assert.equal(await codeOf(ann, url), '502 M_UNKNOWN', url);
      web.names.set('localhost', [['127.0.0.1']]);
      assert.equal(await codeOf(ann, 'http://localhost:8008/'), '502 M_UNKNOWN');
      assert.ok(web.dialled.every((address) => address === '93.184.215.14'));
    },
    { clock },
  );
});

test('an exception from the deny list is one for its range alone', () =>
  besieged(
    async ({ web, ann }) => {
      web.html('192.168.1.1/', '<title>Printer</title>');
      assert.deepEqual(expectOk(await preview(ann, 'http://192.168.1.1/')), { 'og:title': 'Printer' });
      assert.equal(await codeOf(ann, 'http://192.168.1.2/'), '403 M_UNKNOWN');
    },
    { config: { url_preview_ip_range_blacklist: LOCAL_RANGES, url_preview_ip_range_whitelist: ['192.168.1.1'] } },
  ));

test('an empty deny list still keeps the addresses out that are none', () =>
  besieged(
    async ({ ann }) => {
      for (const host of ['0.0.0.0', '[::]', '[::ffff:0:0]'])
        assert.equal(await codeOf(ann, `http://${host}/`), '403 M_UNKNOWN');
    },
    { config: { url_preview_ip_range_blacklist: [] } },
  ));

/** Ten million bytes each, made to be as much work as can be. */
const HEAVY_PAGES: readonly (readonly [string, string, number])[] = [
  ['nested elements', '<div>', 0],
  ['nested elements of many names', '<a><b><i><table><p>', 0],
  ['unclosed paragraphs', '<p>', 0],
  ['end tags of nothing', '</div></p>', 0],
  ['attributes', ' a1=b a2', 3],
  ['a comment without an end', 'x', 4],
  ['an attribute without an end', 'x', 5],
  ['a script without an end', '<!--<script>', 6],
  ['entities', '&amp;&#x41;&notit;', 0],
  ['lone ampersands', '&', 0],
  ['less-than signs', '<', 0],
  ['meta tags', '<meta property="og:x" content="y">', 0],
  ['different meta tags', '', 7],
  ['pictures', '<img src=a.png width=20 height=20>', 0],
  ['text', 'lorem ipsum ', 0],
  ['spaces', ' \n\t', 8],
  ['options', '<select><option>', 0],
  ['titles', '<title>x', 0],
  ['processing instructions', '<?x ', 0],
  ['a doctype without an end', '[', 9],
];
const STARTS = ['', '', '', '<a', '<!--', '<a b="', '<script>', '', '<p>a', '<!doctype '];

test('a page of ten million bytes is read within limits, or refused, and nobody waits meanwhile', () =>
  besieged(async ({ web, ann }) => {
    const base = process.memoryUsage.rss();
    let highest = 0;
    for (const [n, [what, piece, start]] of HEAVY_PAGES.entries()) {
      const filler =
        piece === ''
          ? Array.from({ length: 250_000 }, (_, i) => `<meta property="og:${i}" content="${i}">`).join('')
          : piece.repeat(Math.floor((10 * MEBI - 100) / piece.length));
      web.html(`heavy.example/${n}`, `<title>Heavy</title>${STARTS[start]}${filler}`.slice(0, 10 * MEBI));
      const { status, body } = await meanwhile(ann, preview(ann, `http://heavy.example/${n}`));
      assert.equal(status, 200, what);
      assert.match(body['og:title'], /^Heavy/, what);
      highest = Math.max(highest, process.memoryUsage.rss() - base);
      web.html(`heavy.example/${n}`, '');
    }
    // The pages themselves are in this process too.
    assert.ok(highest < 500 * MEBI, `memory grew by ${Math.round(highest / MEBI)} MiB`);
  }));

test('what is larger than it may be is broken off, whatever its server says of it', () =>
  besieged(
    async ({ web, ann, server }) => {
      const endless =
        (type: string, headers: Readonly<Record<string, string>> = {}) =>
        (_: unknown, response: ServerResponse): void => {
          response.writeHead(200, { 'content-type': type, ...headers });
          const chunk = Buffer.alloc(65_536, '<p>endless');
          const more = (): void => {
            while (!response.destroyed && response.write(chunk));
          };
          response.on('drain', more);
          more();
        };
      web.page('endless.example/page', endless('text/html'));
      web.page('endless.example/picture', endless('image/png'));
      web.page('endless.example/declared', endless('text/html', { 'content-length': '99999999999' }));
      for (const name of ['page', 'picture', 'declared']) {
        assert.equal(await codeOf(ann, `http://endless.example/${name}`), '502 M_TOO_LARGE', name);
      }
      // Less than was said comes, and then nothing.
      web.page('endless.example/short', (_, response) => {
        response.writeHead(200, { 'content-type': 'text/html', 'content-length': '5000' });
        response.end('<title>Short</title>');
        response.socket?.end();
      });
      assert.equal(await codeOf(ann, 'http://endless.example/short'), '502 M_UNKNOWN');
      web.page('endless.example/chunks', (_, response) => {
        response.socket?.end(
          'HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n<p>',
        );
      });
      assert.equal(await codeOf(ann, 'http://endless.example/chunks'), '502 M_UNKNOWN');
      web.page('endless.example/nonsense', (_, response) => void response.socket?.end('SSH-2.0-OpenSSH_9.2\r\n'));
      assert.equal(await codeOf(ann, 'http://endless.example/nonsense'), '502 M_UNKNOWN');
      web.page('endless.example/headers', (_, response) => {
        response.socket?.end(`HTTP/1.1 200 OK\r\n${'x-header: long\r\n'.repeat(100_000)}\r\n`);
      });
      assert.equal(await codeOf(ann, 'http://endless.example/headers'), '502 M_UNKNOWN');
      await eventually('they are let go', () => filesOf(server).length === 0);
    },
    { config: { max_spider_size: '1M' } },
  ));

test('what is packed may not become larger than what is not', () =>
  besieged(
    async ({ web, ann }) => {
      const base = process.memoryUsage.rss();
      const zeros = Buffer.alloc(200 * MEBI, '<p>');
      const bombs = {
        gzip: gzipSync(zeros),
        br: brotliCompressSync(zeros, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
      };
      for (const [encoding, body] of Object.entries(bombs)) {
        assert.ok(body.length < 2 * MEBI);
        for (const type of ['text/html', 'image/png']) {
          const headers = { 'content-type': type, 'content-encoding': encoding };
          web.page(`bomb.example/${encoding}-${type}`, { headers, body });
          assert.equal(await meanwhile(ann, codeOf(ann, `http://bomb.example/${encoding}-${type}`)), '502 M_TOO_LARGE');
        }
        web.page(`bomb.example/o-${encoding}`, {
          headers: { 'content-type': 'application/json', 'content-encoding': encoding },
          body,
        });
        web.html(
          `bomb.example/p-${encoding}`,
          `<title>T</title><link rel=alternate type=application/json+oembed href=o-${encoding}><meta property=og:image content=${encoding}-image/png>`,
        );
        assert.deepEqual(expectOk(await preview(ann, `http://bomb.example/p-${encoding}`)), { 'og:title': 'T' });
      }
      const twice = gzipSync(bombs.gzip);
      for (const [name, encoding, body] of [
        ['twice', 'gzip, gzip', twice],
        ['unknown', 'zstd', twice],
        ['broken', 'gzip', Buffer.concat([gzipSync('<p>').subarray(0, 12), Buffer.alloc(50, 7)])],
        ['cut', 'gzip', bombs.gzip.subarray(0, 1_000)],
        ['plain', 'br', Buffer.from('<title>not packed at all</title>')],
      ] as const) {
        web.page(`bomb.example/${name}`, {
          headers: { 'content-type': 'text/html', 'content-encoding': encoding },
          body,
        });
        assert.equal(await codeOf(ann, `http://bomb.example/${name}`), '502 M_UNKNOWN', name);
      }
      const grown = process.memoryUsage.rss() - base;
      assert.ok(grown < 400 * MEBI, `memory grew by ${Math.round(grown / MEBI)} MiB`);
    },
    { config: { max_spider_size: '2M' } },
  ));

test('a server that answers a byte at a time is given up, and holds nobody else up', async () => {
  const clock = new ManualClock();
  await besieged(
    async ({ web, ann }) => {
      const slow = (type: string, start: string) => (_: unknown, response: ServerResponse) => {
        response.writeHead(200, { 'content-type': type });
        const timer = setInterval(() => response.write(' '), 20);
        response.once('close', () => clearInterval(timer));
        response.write(start);
      };
      // One never even answers.
      web.page('slow.example/silent', () => undefined);
      for (let n = 0; n < 12; n += 1) web.page(`slow${n % 6}.example/${n}`, slow('text/html', '<title>Slow</title>'));
      web.html('fast.example/', '<title>Fast</title><meta property="og:image" content="http://slow9.example/p">');
      web.page('slow9.example/p', slow('image/png', '\x89PNG'));
      const attack = [
        codeOf(ann, 'http://slow.example/silent'),
        ...Array.from({ length: 12 }, (_, n) => codeOf(ann, `http://slow${n % 6}.example/${n}`)),
      ];
      await eventually('they are all at it', () => web.connections >= 8);
      assert.ok(web.connections <= 8, 'and no more than may be at a time');
      const page = preview(ann, 'http://fast.example/');
      const all = clock.passUntil(Promise.all(attack));
      assert.deepEqual(new Set(await meanwhile(ann, all)), new Set(['504 M_UNKNOWN']));
      assert.deepEqual(expectOk(await clock.passUntil(page)), { 'og:title': 'Fast' });
      await eventually('no connection is kept', async () => {
        await clock.advance(1_000);
        return web.connections <= 1;
      });
    },
    { clock },
  );
});

test('a server that stops does not wait for pages', async () => {
  await using web = await PlayedWeb.start();
  await using server = await serverOn(web);
  const ann = await server.register('ann');
  web.page('silent.example/', () => undefined);
  const asked = preview(ann, 'http://silent.example/').catch(() => undefined);
  await eventually('it is asked', () => web.requests.length === 1);
  const start = performance.now();
  await server.end();
  assert.ok(performance.now() - start < 10_000);
  await asked;
});

test('a picture of a page that is a bomb leaves the page without one', () =>
  besieged(async ({ web, ann }) => {
    const huge = pngHeader(30_000, 30_000);
    const bad: readonly (readonly [string, Buffer, string])[] = [
      ['huge', huge, 'image/png'],
      ['empty', Buffer.alloc(0), 'image/png'],
      ['html', Buffer.from('<html><script>alert(1)</script>'), 'image/png'],
      [
        'svg',
        Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1/"/></svg>'),
        'image/svg+xml',
      ],
      ['cut', (await drawPicture(20, 20)).subarray(0, 20), 'image/png'],
    ];
    for (const [name, body, type] of bad) {
      web.picture(`art.example/${name}.png`, body, type);
      web.html(`art.example/${name}`, `<title>Art</title><meta property="og:image" content="${name}.png">`);
      assert.deepEqual(expectOk(await preview(ann, `http://art.example/${name}`)), { 'og:title': 'Art' }, name);
      assert.equal(await codeOf(ann, `http://art.example/${name}.png`), '502 M_UNKNOWN', name);
    }
  }));

/** The beginning of a PNG of this size, with next to nothing in it. */
function pngHeader(width: number, height: number): Buffer {
  const header = Buffer.from(
    '89504e470d0a1a0a0000000d49484452000000000000000008020000000000000000000049454e44ae426082',
    'hex',
  );
  header.writeUInt32BE(width, 16);
  header.writeUInt32BE(height, 20);
  return header;
}
