import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { ManualClock } from '../kit/manual-clock.ts';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { eventually } from '../kit/test-network.ts';
import { TestServer } from '../kit/test-server.ts';
import { drawPicture, PlayedWeb, preview, PREVIEW_PATH, serverOn } from './url-previews-kit.ts';

const HOUR_MS = 3_600_000;

/** Ann, whose server makes previews. */
async function house(
  config: Json = {},
  clock?: ManualClock,
): Promise<{ web: PlayedWeb; server: TestServer; ann: TestClient } & AsyncDisposable> {
  const web = await PlayedWeb.start();
  const server = await serverOn(web, { config, ...(clock === undefined ? {} : { clock }) });
  const ann = await server.register('ann');
  return {
    web,
    server,
    ann,
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      await web[Symbol.asyncDispose]();
    },
  };
}

async function previewOf(client: TestClient, url: string, ts?: number): Promise<Json> {
  return expectOk(await preview(client, url, ts));
}

async function refusalOf(client: TestClient, url: string): Promise<string> {
  const { status, body } = await preview(client, url);
  return `${status} ${body.errcode}`;
}

function keptFiles({ dir }: TestServer): number {
  return readdirSync(join(dir, 'media', 'content'), { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  ).length;
}

test('Ann sees what is behind a link, with a picture that is on her own server', async () => {
  await using set = await house();
  const { web, ann, server } = set;
  const picture = await drawPicture(279, 129);
  web.html(
    'films.example/rock/page.html?id=7',
    `<html prefix="og: http://ogp.me/ns#"><head><title>The Rock (1996)</title>
     <meta property="og:title" content="The Rock &amp; more" /><meta property="og:type" content="video.movie" />
     <meta property="og:url" content="http://films.example/rock" /><meta property="og:image" content="../test.png" />
     <meta property="og:image:width" content="4000"/><meta property="og:image:alt" content="An island"/></head></html>`,
  );
  web.picture('films.example/test.png', picture);

  const og = await previewOf(ann, 'http://films.example/rock/page.html?id=7#reviews');
  assert.match(og['og:image'], /^mxc:\/\/hearth\.test\/\d{4}-\d{2}-\d{2}_[A-Za-z0-9]{16}$/);
  assert.deepEqual(og, {
    'og:title': 'The Rock & more',
    'og:type': 'video.movie',
    'og:url': 'http://films.example/rock',
    'og:image': og['og:image'],
    'og:image:alt': 'An island',
    'og:image:type': 'image/png',
    'og:image:width': 279,
    'og:image:height': 129,
    'matrix:image:size': picture.length,
  });
  const path = og['og:image'].slice('mxc://'.length);
  const bytes = await fetch(`${server.baseUrl}/_matrix/client/v1/media/download/${path}`, {
    headers: { authorization: `Bearer ${ann.token}` },
  });
  assert.deepEqual(Buffer.from(await bytes.arrayBuffer()), picture);
  assert.equal(bytes.headers.get('content-type'), 'image/png');
  const withoutToken = await fetch(`${server.baseUrl}/_matrix/media/v3/download/${path}`);
  assert.equal(withoutToken.status, 404);

  const asked = web.requests[0]?.headers;
  assert.equal(asked?.['accept-language'], 'en');
  assert.match(asked?.['user-agent'] ?? '', /\bbot\b/);
  for (const old of ['v3', 'r0', 'v1']) {
    const answer = await ann.get(`/_matrix/media/${old}/preview_url`, {
      url: 'http://films.example/rock/page.html?id=7',
    });
    assert.deepEqual(expectOk(answer), og);
  }
  assert.equal(web.requests.length, 2, 'it was fetched once');
});

test('a page that says nothing of itself is described by its text and its largest picture', async () => {
  await using set = await house();
  const { web, ann } = set;
  web.html(
    'plain.example/',
    `<!doctype html><title> A  day
      out </title><style>p { color: red }</style><body><nav>Home | About</nav><h1>Ignored, there is a title</h1>
      <p>We went to the <b>sea</b>&nbsp;side.<script>track()</script></p><footer>All rights reserved</footer>
      <img src="data:image/gif;base64,R0lGODlhAQABAAAAACw="><img src="dot.png" width=1 height=1>
      <img src="small.png" width="20" height="20"><img src="/large.png" width="200px" height="100"><p>It rained.</p>`,
  );
  web.picture('plain.example/large.png', await drawPicture(200, 100));
  const og = await previewOf(ann, 'http://plain.example');
  assert.equal(og['og:title'], 'A day out');
  assert.equal(og['og:description'], 'Ignored, there is a title\n\nWe went to the sea side.\n\nIt rained.');
  assert.equal(og['og:image:width'], 200);

  web.html(
    'plain.example/card',
    '<meta name="twitter:title" content="Card"><meta name="twitter:site" content="@us"><meta name="twitter:card" content="summary"><title>Other</title><meta NAME=Description content="Short">',
  );
  assert.deepEqual(await previewOf(ann, 'http://plain.example/card'), {
    'og:title': 'Card',
    'og:site_name': '@us',
    'og:description': 'Short',
  });

  const words = 'lorem ipsum dolor '.repeat(60);
  web.html(
    'plain.example/long',
    `<h2>Heading</h2><p>${words}</p><p>Never shown</p><meta property="og:x" content="${words}"><link rel="shortcut icon" href="/icon.png">`,
  );
  web.picture('plain.example/icon.png', await drawPicture(16, 16));
  const long = await previewOf(ann, 'http://plain.example/long');
  assert.equal(long['og:title'], 'Heading');
  assert.match(long['og:description'], /^Heading\n\nlorem .* (?:lorem|ipsum|dolor)…$/s);
  assert.ok(long['og:description'].length <= 501);
  assert.equal(long['og:x'], undefined, 'what is too long is left out');
  assert.equal(long['og:image:height'], 16);

  web.html('plain.example/empty', '');
  assert.deepEqual(await previewOf(ann, 'http://plain.example/empty'), {});
});

test('pages are read in whatever encoding they are written', async () => {
  await using set = await house();
  const { web, ann } = set;
  const pages: [string, string, Buffer, string][] = [
    ['header', 'text/html; charset="koi8-r"', Buffer.from([...Buffer.from('<title>'), 0xf4, 0xc5, 0xd3, 0xd4]), 'Тест'],
    [
      'meta',
      'text/html',
      Buffer.from([...Buffer.from('<meta charset=shift_jis><title>'), 0x93, 0xfa, 0x96, 0x7b]),
      '日本',
    ],
    ['bom', 'text/html; charset=latin1', Buffer.from('\ufeff<title>Grüße', 'utf16le'), 'Grüße'],
    ['utf8', 'text/html', Buffer.from('<title>Grüße</title>'), 'Grüße'],
    ['latin1', 'text/html', Buffer.from('<title>Grüße</title>', 'latin1'), 'Grüße'],
    ['unknown', 'text/html; charset=klingon', Buffer.from('<title>Grüße</title>'), 'Grüße'],
    ['late', 'text/html', Buffer.from(`<!--${'x'.repeat(20_000)}--><title>Grüße</title>`), 'Grüße'],
    [
      'xhtml',
      'application/xhtml+xml',
      Buffer.from('<?xml version="1.0" encoding="iso-8859-1"?><html><title>Grüße</title></html>', 'latin1'),
      'Grüße',
    ],
  ];
  for (const [name, type, body, title] of pages) {
    web.page(`text.example/${name}`, { headers: { 'content-type': type }, body });
    assert.equal((await previewOf(ann, `http://text.example/${name}`))['og:title'], title, name);
  }
  const html = '<title>Packed</title>';
  for (const [encoding, body] of [
    ['gzip', gzipSync(html)],
    ['br', brotliCompressSync(html)],
    ['identity', Buffer.from(html)],
  ] as const) {
    web.page(`text.example/${encoding}`, {
      headers: { 'content-type': 'text/html', 'content-encoding': encoding },
      body,
    });
    assert.deepEqual(await previewOf(ann, `http://text.example/${encoding}`), { 'og:title': 'Packed' });
  }
});

test('a link to a picture shows it, and what is neither page nor picture shows nothing', async () => {
  await using set = await house();
  const { web, ann, server } = set;
  const picture = await drawPicture(40, 30);
  web.page('files.example/a', {
    headers: { 'content-type': 'image/png', 'content-disposition': 'inline; filename="cat.png"' },
    body: picture,
  });
  const og = await previewOf(ann, 'http://files.example/a');
  assert.deepEqual(
    { ...og, 'og:image': undefined },
    {
      'og:description': 'cat.png',
      'og:image': undefined,
      'og:image:type': 'image/png',
      'og:image:width': 40,
      'og:image:height': 30,
      'matrix:image:size': picture.length,
    },
  );
  web.page('files.example/zip', { headers: { 'content-type': 'application/zip' }, body: 'PK' });
  web.page('files.example/none', { headers: { 'content-type': '' }, body: '<title>x</title>' });
  web.page('files.example/lie', {
    headers: { 'content-type': 'image/png' },
    body: '<svg xmlns="http://www.w3.org/2000/svg"/>',
  });
  web.page('files.example/json', { headers: { 'content-type': 'application/json' }, body: '{"og:title":"x"}' });
  for (const name of ['zip', 'none', 'lie', 'json', 'missing']) {
    assert.equal(await refusalOf(ann, `http://files.example/${name}`), '502 M_UNKNOWN', name);
  }
  assert.equal(keptFiles(server), 1);
  // A page whose picture is none is a page all the same.
  web.html(
    'files.example/page',
    '<title>T</title><meta property="og:image" content="lie"><meta property="og:image:width" content="3">',
  );
  assert.deepEqual(await previewOf(ann, 'http://files.example/page'), { 'og:title': 'T' });
  const data = `data:image/png;base64,${picture.toString('base64')}`;
  web.html('files.example/data', `<meta property="og:image" content="${data}">`);
  assert.equal((await previewOf(ann, 'http://files.example/data'))['og:image:width'], 40);
  assert.equal(keptFiles(server), 1, 'the same picture is kept once');
});

test('relative addresses start from where the page is in the end, or where it says', async () => {
  await using set = await house({ url_preview_accept_language: ['de', 'fr;q=0.8'] });
  const { web, ann } = set;
  web.redirect('short.example/x', '//moved.example/deep/page');
  web.redirect('moved.example/deep/page', 'final');
  web.html('moved.example/deep/final', '<title>Here</title><meta property="og:image" content="p.png">');
  web.picture('moved.example/deep/p.png', await drawPicture(11, 12));
  const og = await previewOf(ann, 'http://short.example/x');
  assert.equal(og['og:image:height'], 12);
  assert.equal(web.requests[0]?.headers['accept-language'], 'de,fr;q=0.8');
  web.html('moved.example/based', '<base href="http://cdn.example/p/"><meta property="og:image" content="q.png">');
  web.picture('cdn.example/p/q.png', await drawPicture(13, 14));
  assert.equal((await previewOf(ann, 'http://moved.example/based'))['og:image:height'], 14);
  web.redirect('loop.example/', '/');
  assert.equal(await refusalOf(ann, 'http://loop.example/'), '502 M_UNKNOWN');
  assert.ok(web.count('loop.example/') < 12);
});

test('sites that describe their pages in the oEmbed format are asked for it', async () => {
  await using set = await house();
  const { web, ann, server } = set;
  web.html(
    'photos.example/1',
    '<title>Ours</title><meta name=description content="From the page"><link rel="alternate" type="application/json+oembed" href="/oembed?1">',
  );
  const json = (address: string, body: Json): void =>
    web.page(address, { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  json('photos.example/oembed?1', {
    version: '1.0',
    type: 'photo',
    title: 'Theirs',
    provider_name: 'Photos',
    url: '/1.png',
  });
  web.picture('photos.example/1.png', await drawPicture(21, 22));
  const og = await previewOf(ann, 'http://photos.example/1');
  assert.deepEqual(
    { ...og, 'og:image': '', 'matrix:image:size': 0 },
    {
      'og:title': 'Theirs',
      'og:description': 'From the page',
      'og:url': 'http://photos.example/1',
      'og:site_name': 'Photos',
      'og:image': '',
      'og:image:type': 'image/png',
      'og:image:width': 21,
      'og:image:height': 22,
      'matrix:image:size': 0,
    },
  );
  // What is no answer leaves the page to speak for itself.
  for (const [name, body] of [
    ['bad', '{'],
    ['version', '{"version":"2.0","type":"link"}'],
    ['list', '[]'],
    ['type', '{"type":"x"}'],
  ] as const) {
    web.html(
      `photos.example/${name}`,
      `<title>Page</title><link rel=alternate type="application/json+oembed" href="/o-${name}">`,
    );
    web.page(`photos.example/o-${name}`, { headers: { 'content-type': 'application/json' }, body });
    assert.deepEqual(await previewOf(ann, `http://photos.example/${name}`), { 'og:title': 'Page' }, name);
  }

  const list = join(server.dir, 'providers.json');
  writeFileSync(
    list,
    JSON.stringify([
      {
        provider_name: 'Tube',
        endpoints: [{ url: 'http://api.tube.example/oembed.{format}', schemes: ['http://*.tube.example/watch/*'] }],
      },
      { endpoints: [{ url: 'http://xml.example/oembed', formats: ['xml'], schemes: ['http://xml.example/*'] }] },
    ]),
  );
  await server.restart({ oembed: { additional_providers: [list] } });
  const page = 'http://www.tube.example/watch/42';
  json(`api.tube.example/oembed.json?url=${encodeURIComponent(page)}&format=json`, {
    version: 1,
    type: 'video',
    author_name: 'Bea',
    html: '<iframe src="https://tube.example/embed/42"></iframe><p>Cats at play</p>',
  });
  assert.deepEqual(await previewOf(ann, page), {
    'og:title': 'Bea',
    'og:type': 'video.other',
    'og:video': 'https://tube.example/embed/42',
    'og:description': 'Cats at play',
    'og:url': page,
  });
  assert.equal(web.count('www.tube.example/watch/42'), 0, 'the page itself was not asked for');
  // Where the site does not answer, the page is.
  web.html('www.tube.example/watch/43', '<title>Forty-three</title>');
  assert.deepEqual(await previewOf(ann, 'http://www.tube.example/watch/43'), { 'og:title': 'Forty-three' });
  web.html('xml.example/a', '<title>No XML</title>');
  assert.deepEqual(await previewOf(ann, 'http://xml.example/a'), { 'og:title': 'No XML' });
});

test('what twenty clients want at once is fetched once, and again when it is out of date', async () => {
  const clock = new ManualClock();
  await using set = await house({}, clock);
  const { web, ann, server } = set;
  web.html('news.example/', '<title>First</title>');
  const all = await Promise.all(Array.from({ length: 20 }, () => previewOf(ann, 'http://news.example/')));
  assert.equal(web.requests.length, 1);
  assert.ok(all.every((og) => og['og:title'] === 'First'));
  const first = clock.now();

  web.html('news.example/', '<title>Second</title>', { 'cache-control': 'public, max-age=300' });
  await clock.advance(HOUR_MS - 60_000);
  assert.deepEqual(await previewOf(ann, 'http://news.example/'), { 'og:title': 'First' });
  await server.restart();
  assert.deepEqual(await previewOf(ann, 'http://news.example/'), { 'og:title': 'First' }, 'it outlives the server');
  await clock.advance(2 * 60_000);
  assert.deepEqual(await previewOf(ann, 'http://news.example/'), { 'og:title': 'Second' });
  web.html('news.example/', '<title>Third</title>', { 'cache-control': 'max-age=99999999' });
  assert.deepEqual(await previewOf(ann, 'http://news.example/', first), { 'og:title': 'First' }, 'as it was');
  assert.deepEqual(await previewOf(ann, 'http://news.example/', 1_000), { 'og:title': 'First' }, 'the oldest there is');
  await clock.advance(5 * 60_000);
  assert.deepEqual(await previewOf(ann, 'http://news.example/'), { 'og:title': 'Third' });
  await clock.advance(HOUR_MS + 1);
  web.html('news.example/', '<title>Fourth</title>');
  assert.deepEqual(await previewOf(ann, 'http://news.example/'), { 'og:title': 'Fourth' }, 'an hour at most');
  await clock.advance(26 * HOUR_MS);
  assert.deepEqual(await previewOf(ann, 'http://news.example/', first), { 'og:title': 'Fourth' }, 'old ones go');
});

test('pictures of previews go after two days, whoever looks at them', async () => {
  const clock = new ManualClock();
  await using set = await house({}, clock);
  const { web, ann, server } = set;
  web.picture('pic.example/', await drawPicture(640, 480));
  const { 'og:image': uri } = await previewOf(ann, 'http://pic.example/');
  const thumbnail = `/_matrix/client/v1/media/thumbnail/${uri.slice('mxc://'.length)}`;
  expectOk(await ann.get(thumbnail, { width: 10, height: 10 }));
  assert.equal(keptFiles(server), 2);
  await clock.advance(47 * HOUR_MS);
  expectOk(await ann.get(thumbnail, { width: 10, height: 10 }));
  await clock.advance(3 * HOUR_MS);
  assert.equal((await ann.get(thumbnail, { width: 10, height: 10 })).status, 404);
  await eventually('its files go', () => keptFiles(server) === 0);
});

test('a page that cannot be had is not asked again at once', async () => {
  const clock = new ManualClock();
  await using set = await house({}, clock);
  const { web, ann } = set;
  for (let n = 0; n < 3; n += 1) assert.equal(await refusalOf(ann, 'http://gone.example/'), '502 M_UNKNOWN');
  assert.equal(await refusalOf(ann, 'http://name.nowhere/'), '502 M_UNKNOWN');
  assert.equal(web.requests.length, 1);
  web.html('gone.example/', '<title>Back</title>');
  await clock.advance(61_000);
  assert.deepEqual(await previewOf(ann, 'http://gone.example/'), { 'og:title': 'Back' });
});

test('addresses that whoever runs the server has ruled out are not asked, nor led to', async () => {
  await using set = await house({
    url_preview_url_blacklist: [
      { username: '*' },
      { netloc: 'bad.example' },
      { netloc: '*.bad.example' },
      { netloc: 'half.example', path: '/priv*' },
      { netloc: '^[0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+$' },
      { scheme: 'https', query: 'a=[!0-9]' },
      { port: '81' },
    ],
  });
  const { web, ann } = set;
  for (const url of [
    'http://me@fine.example/',
    'http://bad.example/',
    'http://very.BAD.example/x',
    'http://half.example/private',
    'http://8.8.8.8/',
    'http://0x08080808/',
    'https://fine.example/?a=b',
    'http://fine.example:81/',
  ]) {
    assert.equal(await refusalOf(ann, url), '403 M_UNKNOWN', url);
  }
  web.redirect('fine.example/there', 'http://bad.example/');
  assert.equal(await refusalOf(ann, 'http://fine.example/there'), '403 M_UNKNOWN');
  web.html('half.example/public', '<title>Public</title><meta property="og:image" content="/private.png">');
  assert.deepEqual(await previewOf(ann, 'http://half.example/public'), { 'og:title': 'Public' });
  assert.deepEqual(
    web.requests.map(({ url }) => url),
    ['fine.example/there', 'half.example/public'],
  );
});

test('what is no web address, or asked for by nobody in particular, has no preview', async () => {
  await using set = await house();
  const { web, ann, server } = set;
  for (const url of [
    'nonsense',
    'ftp://files.example/',
    'file:///etc/passwd',
    'data:text/html,<title>x',
    'javascript:1',
    'http://',
  ]) {
    assert.equal(await refusalOf(ann, url), '400 M_UNKNOWN', url);
  }
  for (const url of ['http://a:b@page.example/', 'http://page.example:25/', 'http://page.example:6667/']) {
    assert.equal(await refusalOf(ann, url), '403 M_UNKNOWN', url);
  }
  assert.equal((await ann.get(PREVIEW_PATH)).body.errcode, 'M_MISSING_PARAM');
  assert.equal((await ann.get(PREVIEW_PATH, { url: 'http://a.example', ts: 'soon' })).body.errcode, 'M_INVALID_PARAM');
  assert.equal(
    (await server.anonymous().get(PREVIEW_PATH, { url: 'http://a.example' })).body.errcode,
    'M_MISSING_TOKEN',
  );
  assert.equal(web.requests.length, 0);
});

test('nobody has more pages fetched than they could read', async () => {
  const clock = new ManualClock();
  await using set = await house({}, clock);
  const { web, ann } = set;
  for (let n = 0; n < 101; n += 1) web.html(`many.example/${n}`, `<title>${n}</title>`);
  const answers = [];
  for (let n = 0; n < 101; n += 1) answers.push(await preview(ann, `http://many.example/${n}`));
  const last = answers.pop();
  assert.ok(answers.every(({ status }) => status === 200));
  assert.equal(last?.body.errcode, 'M_LIMIT_EXCEEDED');
  assert.equal((await preview(ann, 'http://many.example/3')).status, 200, 'what is known is given all the same');
  await clock.advance(last?.body.retry_after_ms);
  assert.equal((await preview(ann, 'http://many.example/100')).status, 200);
});

test('a server that makes no previews says so', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const answer = await preview(ann, 'http://a.example/');
  assert.deepEqual([answer.status, answer.body.errcode], [404, 'M_UNRECOGNIZED']);
});
