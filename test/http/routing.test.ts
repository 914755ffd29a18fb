import assert from 'node:assert/strict';
import { test } from 'node:test';
import Type from 'typebox';

import { htmlReply, Reply, route, type Method } from '../../server/http/route.ts';
import { eventType, roomId, stateKey } from '../../server/http/schemas.ts';
import { createHttpServer } from '../../server/http/server.ts';
import type { RoomId } from '../../server/matrix/identifiers.ts';
import { systemClock } from '../../server/util/clock.ts';
import { silentLogger } from '../../server/util/log.ts';
import { ask, refusal, serve, tokens } from './harness.ts';

const ok = (path: string, method: Method = 'GET') =>
  route({ method, path, auth: 'none', handle: () => ({ path, method }) });

test('a path nobody serves is 404 M_UNRECOGNIZED, one with another method 405 and names the right ones', async (t) => {
  const path = '/_matrix/client/v3/thing';
  const { origin } = await serve(t, [ok(path), ok(path, 'PUT')]);
  assert.deepEqual(await refusal(`${origin}/_matrix/client/v3/nothing`), [404, 'M_UNRECOGNIZED']);
  assert.deepEqual(await refusal(`${origin}/_matrix/client/v3/Thing`), [404, 'M_UNRECOGNIZED']);
  const wrong = await ask(origin + path, { method: 'DELETE' });
  assert.equal(wrong.status, 405);
  assert.deepEqual(wrong.body, { errcode: 'M_UNRECOGNIZED', error: 'This path does not know that method' });
  assert.equal(wrong.headers.get('allow'), 'GET, PUT, OPTIONS');
  assert.deepEqual(await refusal(origin + path, { method: 'PATCH' }), [405, 'M_UNRECOGNIZED']);
});

test('client paths answer under r0 too, media paths under r0 and v1, unless a route of its own is there', async (t) => {
  const { origin } = await serve(t, [
    ok('/_matrix/client/v3/a'),
    ok('/_matrix/client/v3/b'),
    ok('/_matrix/client/r0/b'),
    ok('/_matrix/client/v1/c'),
    ok('/_matrix/media/v3/config'),
  ]);
  const pathOf = async (path: string): Promise<unknown> => (await ask(origin + path)).body;
  assert.deepEqual(await pathOf('/_matrix/client/r0/a'), { path: '/_matrix/client/v3/a', method: 'GET' });
  assert.deepEqual(await pathOf('/_matrix/client/r0/b'), { path: '/_matrix/client/r0/b', method: 'GET' });
  for (const version of ['v3', 'r0', 'v1']) {
    assert.equal((await ask(`${origin}/_matrix/media/${version}/config`)).status, 200);
  }
  assert.deepEqual(await refusal(`${origin}/_matrix/client/r0/c`), [404, 'M_UNRECOGNIZED']);
});

test('path parameters are decoded once, may hold slashes, be empty or be long', async (t) => {
  const { origin } = await serve(t, [
    route({
      method: 'GET',
      path: '/_matrix/client/v3/rooms/:roomId/state/:eventType/:stateKey',
      auth: 'none',
      params: Type.Object({ roomId, eventType, stateKey }),
      handle: ({ params }) => {
        // What a schema has checked needs no second check: the compiler vouches for the types.
        const checked: { roomId: RoomId; eventType: string; stateKey: string } = params;
        return checked;
      },
    }),
    route({
      method: 'GET',
      path: '/_matrix/client/v3/filter/:name',
      auth: 'none',
      params: Type.Object({ name: Type.String() }),
      handle: ({ params }) => ({ length: params.name.length }),
    }),
  ]);
  const state = `${origin}/_matrix/client/v3/rooms/!r%3Ahome/state/m.x`;
  assert.deepEqual((await ask(`${state}/a%2Fb%2525%C3%A9`)).body, {
    roomId: '!r:home',
    eventType: 'm.x',
    stateKey: 'a/b%25é',
  });
  assert.deepEqual((await ask(`${state}/`)).body, { roomId: '!r:home', eventType: 'm.x', stateKey: '' });
  const long = 'x'.repeat(2048);
  assert.deepEqual((await ask(`${origin}/_matrix/client/v3/filter/${long}`)).body, { length: 2048 });
});

test('broken percent-encoding is the client’s mistake, never ours', async (t) => {
  const { raw } = await serve(t, [
    route({
      method: 'GET',
      path: '/_matrix/client/v3/rooms/:roomId/x',
      auth: 'none',
      params: Type.Object({ roomId }),
      handle: () => ({}),
    }),
  ]);
  for (const target of ['!a%zz:b/x', '!a%ff:b/x', '%/x', '!a:b/x?%zz=%', '!a%00:b/x', '..%2f..%2fetc/x']) {
    const reply = await raw(`GET /_matrix/client/v3/rooms/${target} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n`);
    assert.match(reply, /^HTTP\/1\.1 (?:404|400|200) /, target);
    assert.doesNotMatch(reply, /^HTTP\/1\.1 200 [^]*zz:b/, target);
  }
  for (const target of ['*', 'http://elsewhere/_matrix/client/v3/rooms/x', '//', '/?']) {
    const reply = await raw(`GET ${target} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n`);
    assert.match(reply, /^HTTP\/1\.1 404 /, target);
  }
});

test('a listener answers only for its own resources, and always for /health', async (t) => {
  const routes = [
    ok('/_matrix/client/v3/sync'),
    ok('/_matrix/client/v1/media/config'),
    ok('/_matrix/federation/v1/version'),
    ok('/_matrix/key/v2/server'),
    ok('/.well-known/matrix/server'),
    route({ method: 'GET', path: '/own', auth: 'none', resource: 'control', handle: () => ({}) }),
  ];
  const listener = (...resources: ('client' | 'federation' | 'media' | 'control')[]) => ({
    port: 0,
    bindAddresses: ['127.0.0.1'],
    tls: undefined,
    xForwarded: false,
    resources,
  });
  const { server } = await serve(t, routes, {
    listeners: [listener('client'), listener('federation'), listener('media'), listener('control')],
  });
  const statuses = [];
  for (const { port } of server.addresses) {
    const paths = [...routes.map((each) => String(each.path)), '/health'];
    const replies = paths.map(async (path) => (await ask(`http://127.0.0.1:${port}${path}`)).status);
    statuses.push(await Promise.all(replies));
  }
  assert.deepEqual(statuses, [
    [200, 200, 404, 404, 200, 404, 200],
    [404, 404, 200, 200, 200, 404, 200],
    [404, 200, 404, 404, 404, 404, 200],
    [404, 404, 404, 404, 404, 200, 200],
  ]);
});

test('a browser may call from any page: every reply says so, and a preflight runs nothing', async (t) => {
  let calls = 0;
  const { origin } = await serve(t, [
    route({ method: 'PUT', path: '/_matrix/client/v3/x', auth: 'user', handle: () => ({ calls: (calls += 1) }) }),
    route({ method: 'GET', path: '/own', auth: 'none', resource: 'client', handle: () => ({}) }),
  ]);
  for (const path of ['/_matrix/client/v3/x', '/anything/at/all']) {
    const preflight = await ask(origin + path, { method: 'OPTIONS' });
    assert.equal(preflight.status, 204);
    assert.equal(preflight.headers.get('access-control-allow-origin'), '*');
    assert.equal(preflight.headers.get('access-control-allow-methods'), 'GET, POST, PUT, DELETE, OPTIONS');
    assert.equal(
      preflight.headers.get('access-control-allow-headers'),
      'X-Requested-With, Content-Type, Authorization, If-Match, If-None-Match',
    );
  }
  assert.equal(calls, 0);
  for (const [path, method] of [
    ['/_matrix/client/v3/x', 'PUT'],
    ['/_matrix/client/v3/x', 'GET'],
    ['/nothing', 'GET'],
    ['/own', 'GET'],
  ] as const) {
    const { headers } = await ask(origin + path, { method });
    assert.equal(headers.get('access-control-allow-origin'), '*', `${method} ${path}`);
  }
});

test('the desktop program’s own API is closed to web pages', async (t) => {
  const { server } = await serve(
    t,
    [route({ method: 'POST', path: '/own', auth: 'none', resource: 'control', handle: () => ({}) })],
    {
      listeners: [
        { port: 0, bindAddresses: ['127.0.0.1'], tls: undefined, xForwarded: false, resources: ['control', 'client'] },
      ],
    },
  );
  const origin = `http://127.0.0.1:${server.addresses[0]?.port}`;
  for (const method of ['OPTIONS', 'POST']) {
    const { headers } = await ask(`${origin}/own`, { method });
    assert.equal(headers.get('access-control-allow-origin'), null, method);
  }
});

test('HEAD answers what GET would, without the body', async (t) => {
  const { origin, raw } = await serve(t, [
    ok('/_matrix/client/versions'),
    route({ method: 'GET', path: '/page', auth: 'none', handle: () => htmlReply('<p>hello</p>') }),
  ]);
  const head = await ask(`${origin}/_matrix/client/versions`, { method: 'HEAD' });
  const get = await ask(`${origin}/_matrix/client/versions`);
  assert.equal(head.status, 200);
  assert.equal(head.body, '');
  assert.equal(head.headers.get('content-length'), get.headers.get('content-length'));
  const page = await raw('HEAD /page HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n');
  assert.match(page, /content-length: 12\r\n/i);
  assert.doesNotMatch(page, /hello/);
});

test('routes that contradict each other stop the start', () => {
  const build = (...routes: ReturnType<typeof route>[]) =>
    createHttpServer({
      routes,
      listeners: [],
      db: { committed: async () => {} },
      log: silentLogger,
      clock: systemClock,
      authenticator: tokens({}),
    });
  assert.throws(() => build(ok('/a/:b/c'), ok('/a/:other/c')), /two routes claim GET \/a\/:other\/c/);
  const handle = (): Reply => new Reply({ body: '' });
  assert.throws(
    () => build(route({ method: 'GET', path: '/a', auth: 'none', body: Type.Object({}), handle })),
    /has no body/,
  );
  assert.throws(
    () => build(route({ method: 'POST', path: '/a', auth: 'server', rawBody: true, handle })),
    /neither checked nor signed/,
  );
});
