import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';

import { htmlReply, Reply, route, type Route } from '../../server/http/route.ts';
import { MatrixError } from '../../server/matrix/errors.ts';
import { ask, readAll, refusal, serve } from './harness.ts';

const path = '/_matrix/client/v3/x';
const replying = (handle: () => Promise<object> | object): Route[] => [
  route({ method: 'GET', path, auth: 'none', handle }),
];

test('no reply leaves before what it rests on is committed, be it a write, a read or a refusal', async (t) => {
  const asked: string[] = [];
  let commit = Promise.withResolvers<void>();
  const { origin } = await serve(
    t,
    [
      ...replying(() => ({})),
      route({
        method: 'PUT',
        path,
        auth: 'none',
        handle: () => Promise.reject(new MatrixError('M_FORBIDDEN', 'no')),
      }),
    ],
    {
      db: {
        committed: () => {
          asked.push('committed');
          return commit.promise;
        },
      },
    },
  );
  for (const init of [{}, { method: 'PUT' }, { method: 'DELETE' }]) {
    commit = Promise.withResolvers();
    const before = asked.length;
    let replied = false;
    const reply = ask(origin + path, init).then(() => (replied = true));
    while (asked.length === before) await new Promise(setImmediate);
    for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
    assert.equal(replied, false);
    commit.resolve();
    await reply;
    assert.equal(replied, true);
  }
});

test('a commit that fails turns the reply into 500 M_UNKNOWN, whose reason only the log knows', async (t) => {
  const stream = Readable.from(['never sent']);
  const { origin, lines } = await serve(
    t,
    [
      ...replying(() => ({ event_id: '$lost' })),
      route({ method: 'PUT', path, auth: 'none', handle: () => new Reply({ body: stream }) }),
    ],
    { db: { committed: () => Promise.reject(new Error('disk full at /secret/path')) } },
  );
  const { status, body, headers } = await ask(origin + path);
  assert.equal(status, 500);
  assert.deepEqual(body, { errcode: 'M_UNKNOWN', error: 'Internal server error' });
  const failure = lines.find(({ level }) => level === 'error');
  assert.match(JSON.stringify(failure?.data), /disk full/);
  assert.equal(headers.get('x-request-id'), failure?.data['requestId']);
  assert.deepEqual(await refusal(origin + path, { method: 'PUT' }), [500, 'M_UNKNOWN']);
  assert.ok(stream.destroyed);
});

test('errors: refusals in their own words, everything else without a word', async (t) => {
  const failures: Record<string, () => object> = {
    limited: () => {
      throw new MatrixError('M_RESOURCE_LIMIT_EXCEEDED', 'full', { fields: { admin_contact: 'mailto:a@b' } });
    },
    overridden: () => {
      throw new MatrixError('M_UNKNOWN', 'gone elsewhere', { status: 502, fields: { errcode: 'X', error: 'y' } });
    },
    bug: () => {
      throw new TypeError('cannot read properties of undefined');
    },
    odd: () => {
      throw 'a string';
    },
    cyclic: () => {
      const body: { self?: object } = {};
      body.self = body;
      return body;
    },
    header: () => new Reply({ headers: { 'x-a': 'line\r\nbreak' }, body: 'secret' }),
  };
  const routes = Object.entries(failures).map(([name, handle]) =>
    route({ method: 'GET', path: `/_matrix/client/v3/${name}`, auth: 'none', handle }),
  );
  const { origin } = await serve(t, routes);
  const of = async (name: string): Promise<[number, unknown]> => {
    const { status, body } = await ask(`${origin}/_matrix/client/v3/${name}`);
    return [status, body];
  };
  assert.deepEqual(await of('limited'), [
    403,
    { admin_contact: 'mailto:a@b', errcode: 'M_RESOURCE_LIMIT_EXCEEDED', error: 'full' },
  ]);
  assert.deepEqual(await of('overridden'), [502, { errcode: 'M_UNKNOWN', error: 'gone elsewhere' }]);
  for (const name of ['bug', 'odd', 'cyclic', 'header']) {
    assert.deepEqual(await of(name), [500, { errcode: 'M_UNKNOWN', error: 'Internal server error' }], name);
  }
});

test('JSON says what it is, and is kept by no cache and taken for no page', async (t) => {
  const { origin } = await serve(t, [
    ...replying(() => ({ ünï: '✓' })),
    route({
      method: 'GET',
      path: '/.well-known/matrix/client',
      auth: 'none',
      handle: () => new Reply({ headers: { 'Cache-Control': 'max-age=3600' }, body: {} }),
    }),
    route({ method: 'GET', path: '/page', auth: 'none', handle: () => htmlReply('<p>', 418) }),
  ]);
  const { headers, body } = await ask(origin + path);
  assert.deepEqual(body, { ünï: '✓' });
  assert.equal(headers.get('content-type'), 'application/json');
  assert.equal(headers.get('cache-control'), 'no-store');
  assert.equal(headers.get('x-content-type-options'), 'nosniff');
  assert.match(headers.get('content-security-policy') ?? '', /default-src 'none'/);
  assert.equal(headers.get('x-powered-by'), null);
  const wellKnown = await ask(`${origin}/.well-known/matrix/client`);
  assert.equal(wellKnown.headers.get('cache-control'), 'max-age=3600');
  const page = await ask(`${origin}/page`);
  assert.equal(page.status, 418);
  assert.equal(page.headers.get('content-type'), 'text/html; charset=utf-8');
  assert.match(page.headers.get('content-security-policy') ?? '', /style-src/);
});

test('a redirect, an empty reply and bytes are sent as they are', async (t) => {
  const bytes = Buffer.from([0, 255, 1]);
  const { origin } = await serve(t, [
    ...replying(() => new Reply({ status: 302, headers: { location: 'https://elsewhere/' }, body: '' })),
    route({ method: 'PUT', path, auth: 'none', handle: () => new Reply({ status: 204, body: '' }) }),
    route({ method: 'POST', path, auth: 'none', handle: () => new Reply({ body: bytes }) }),
  ]);
  const redirect = await ask(origin + path, { redirect: 'manual' });
  assert.deepEqual([redirect.status, redirect.headers.get('location')], [302, 'https://elsewhere/']);
  assert.deepEqual((await ask(origin + path, { method: 'PUT' })).status, 204);
  const sent = await fetch(origin + path, { method: 'POST' });
  assert.equal(sent.headers.get('content-type'), 'application/octet-stream');
  assert.deepEqual(Buffer.from(await sent.arrayBuffer()), bytes);
});

test('large JSON is compressed as the client likes it, small JSON is not', async (t) => {
  const large = { text: 'hello '.repeat(1000) };
  const { raw, origin } = await serve(t, [
    ...replying(() => large),
    route({ method: 'PUT', path, auth: 'none', handle: () => ({ small: true }) }),
  ]);
  const encodingFor = async (method: string, accepted: string): Promise<string | undefined> => {
    const head = `${method} ${path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 0\r\n`;
    const reply = await raw(`${head}accept-encoding: ${accepted}\r\n\r\n`);
    assert.match(reply, /^HTTP\/1\.1 200 /);
    return /^content-encoding: (\S+)/im.exec(reply)?.[1];
  };
  assert.equal(await encodingFor('GET', 'gzip, deflate, br, zstd'), 'br');
  assert.equal(await encodingFor('GET', 'gzip'), 'gzip');
  assert.equal(await encodingFor('GET', 'identity'), undefined);
  assert.equal(await encodingFor('GET', 'gzip;q=0'), undefined);
  assert.equal(await encodingFor('PUT', 'gzip, br'), undefined);
  const { body, headers } = await ask(origin + path);
  assert.deepEqual(body, large);
  assert.match(headers.get('vary') ?? '', /Accept-Encoding/i);
});

test('a stream is sent as it comes, uncompressed, and with its own headers', async (t) => {
  const chunk = 'media '.repeat(20_000);
  const { origin } = await serve(
    t,
    replying(() => new Reply({ headers: { 'content-type': 'text/plain' }, body: Readable.from([chunk, chunk]) })),
  );
  const response = await fetch(origin + path);
  assert.equal(response.headers.get('content-encoding'), null);
  assert.equal(response.headers.get('content-type'), 'text/plain');
  assert.equal(await response.text(), chunk + chunk);
});

const closeOf = (stream: Readable): Promise<void> => new Promise((resolve) => stream.once('close', resolve));

test('a stream nobody will read is destroyed: the client left, asked for HEAD only, or it failed midway', async (t) => {
  let current = new Readable({ read() {} });
  const started = Promise.withResolvers<void>();
  const { open, origin, raw, lines } = await serve(
    t,
    replying(() => {
      started.resolve();
      return new Reply({ body: current });
    }),
  );
  const leaving = await open();
  leaving.write(`GET ${path} HTTP/1.1\r\nhost: h\r\n\r\n`);
  await started.promise;
  const closed = closeOf(current);
  leaving.destroy();
  await closed;

  current = new Readable({ read() {} });
  const closedByHead = closeOf(current);
  await ask(origin + path, { method: 'HEAD' });
  await closedByHead;

  current = Readable.from(
    (async function* () {
      yield 'half';
      throw new Error('the disk broke');
    })(),
  );
  const broken = await raw(`GET ${path} HTTP/1.1\r\nhost: h\r\n\r\n`);
  assert.match(broken, /half/);
  assert.doesNotMatch(broken, /\r\n0\r\n\r\n$/, 'a reply cut short must not look complete');
  assert.doesNotMatch(broken, /disk broke/);
  const errors = lines.filter(({ level }) => level === 'error');
  assert.equal(errors.length, 1);
  assert.match(JSON.stringify(errors), /the disk broke/);
});

test('a stream that fails before its first byte is an error like any other, also if nobody was looking', async (t) => {
  const commit = Promise.withResolvers<void>();
  let committed = Promise.resolve();
  const failing = new Readable({ read() {} });
  const { origin } = await serve(
    t,
    [
      ...replying(
        () =>
          new Reply({
            headers: { 'content-type': 'image/png', 'content-length': '1000' },
            body: new Readable({
              read() {
                this.destroy(new Error('no such file'));
              },
            }),
          }),
      ),
      route({
        method: 'PUT',
        path,
        auth: 'none',
        handle: () => {
          committed = commit.promise;
          setImmediate(() => failing.destroy(new Error('gone before it began')));
          failing.once('close', () => commit.resolve());
          return new Reply({ body: failing });
        },
      }),
    ],
    { db: { committed: () => committed } },
  );
  const { status, body, headers } = await ask(origin + path);
  assert.equal(status, 500);
  assert.deepEqual(body, { errcode: 'M_UNKNOWN', error: 'Internal server error' });
  assert.equal(headers.get('access-control-allow-origin'), '*');
  assert.deepEqual(await refusal(origin + path, { method: 'PUT' }), [500, 'M_UNKNOWN']);
});

test('metrics hear of every request once, with the declared path', async (t) => {
  const heard: unknown[] = [];
  const { origin, open } = await serve(
    t,
    replying(() => ({})),
    {
      metrics: { requestFinished: ({ method, template, status }) => heard.push([method, template, status]) },
    },
  );
  await ask(`${origin + path}?x=1`);
  await ask(`${origin}/nothing`);
  const socket = await open();
  socket.write('GET /health HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n');
  await readAll(socket);
  assert.deepEqual(heard, [
    ['GET', path, 200],
    ['GET', undefined, 404],
    ['GET', '/health', 200],
  ]);
});
