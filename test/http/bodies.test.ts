import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { test } from 'node:test';
import Type from 'typebox';

import { route } from '../../server/http/route.ts';
import { jsonObject, limit, mapByUser, roomId, text, userId } from '../../server/http/schemas.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { ask, readAll, refusal, serve } from './harness.ts';

const path = '/_matrix/client/v3/x';
const post = (body: string | Uint8Array<ArrayBuffer>): RequestInit => ({ method: 'POST', body });

test('what is not JSON is M_NOT_JSON: garbage, nothing at all, broken UTF-8, numbers JSON does not know', async (t) => {
  const { origin } = await serve(t, [
    route({ method: 'POST', path, auth: 'none', body: Type.Object({}), handle: ({ body }) => body }),
  ]);
  for (const body of ['garbage', '', '{', '{"a":1}x', '{"a":NaN}', '{"a":Infinity}', '{a:1}']) {
    assert.deepEqual(await refusal(origin + path, post(body)), [400, 'M_NOT_JSON'], body);
  }
  const notUtf8 = Buffer.from('{"username":"a\x81"}', 'latin1');
  assert.deepEqual(await refusal(origin + path, post(notUtf8)), [400, 'M_NOT_JSON']);
});

test('JSON that is not an object, cannot be written again or nests without end is M_BAD_JSON', async (t) => {
  const { origin } = await serve(t, [
    route({ method: 'POST', path, auth: 'none', body: jsonObject, handle: ({ body }) => body }),
  ]);
  const deep = `{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}`;
  for (const body of ['[]', '"x"', '1', 'null', '{"a":"\\ud800"}', deep]) {
    assert.deepEqual(await refusal(origin + path, post(body)), [400, 'M_BAD_JSON'], body.slice(0, 20));
  }
});

test('a body need not say it is JSON, keeps the keys nobody knows, and may be empty only where that is allowed', async (t) => {
  const handle = ({ body }: { body: object }): object => body;
  const { origin } = await serve(t, [
    route({ method: 'POST', path, auth: 'none', body: Type.Object({ a: Type.Optional(Type.Integer()) }), handle }),
    route({ method: 'PUT', path, auth: 'none', body: Type.Object({}), emptyBodyAllowed: true, handle }),
  ]);
  const body = '{"a":1,"org.example.b":[2]}';
  const reply = await ask(origin + path, { ...post(body), headers: { 'content-type': 'text/plain' } });
  assert.deepEqual(reply.body, { a: 1, 'org.example.b': [2] });
  assert.deepEqual((await ask(origin + path, { method: 'PUT' })).body, {});
  assert.deepEqual(await refusal(origin + path, { method: 'PUT', body: 'x' }), [400, 'M_NOT_JSON']);
});

test('a body that does not match is M_BAD_JSON, and the message names the key', async (t) => {
  const { origin } = await serve(t, [
    route({
      method: 'POST',
      path,
      auth: 'none',
      body: Type.Object({
        name: text(5),
        invite: Type.Optional(Type.Array(userId)),
        preset: Type.Optional(Type.Union([Type.Literal('private_chat'), Type.Literal('public_chat')])),
        nested: Type.Optional(Type.Object({ 'a/b': Type.Object({ count: Type.Integer() }) })),
        keys: Type.Optional(mapByUser(Type.Array(Type.String()))),
        either: Type.Optional(Type.Union([Type.String(), Type.Integer()])),
      }),
      handle: ({ body }) => body,
    }),
  ]);
  const messageOf = async (body: object): Promise<unknown> => {
    const reply = await ask(origin + path, post(JSON.stringify(body)));
    assert.equal(reply.status, 400);
    const { errcode, error } = reply.body as { errcode: string; error: string };
    assert.equal(errcode, 'M_BAD_JSON');
    return error;
  };
  assert.match(String(await messageOf({})), /key name is missing/);
  assert.match(String(await messageOf({ name: 1 })), /key name of the body must be string/);
  assert.match(String(await messageOf({ name: 'äöü' })), /name of the body must not be longer than 5 bytes/);
  assert.match(
    String(await messageOf({ name: '', invite: ['@a:b', 'bob'] })),
    /invite\.1 of the body must be a user ID/,
  );
  assert.match(String(await messageOf({ name: '', preset: 'x' })), /preset .* one of private_chat, public_chat/);
  assert.match(String(await messageOf({ name: '', nested: { 'a/b': {} } })), /nested\.a\/b\.count is missing/);
  assert.match(String(await messageOf({ name: '', keys: { bob: [] } })), /keys of the body must have only user IDs/);
  assert.match(String(await messageOf({ name: '', keys: { '@bob:b': [1] } })), /keys\.@bob:b\.0 .* string/);
  assert.match(String(await messageOf({ name: '', either: true })), /either of the body has none of the forms/);
});

test('a body over the limit is 413 M_TOO_LARGE, announced or not, and the client gets to read it', async (t) => {
  const { origin, raw } = await serve(t, [
    route({ method: 'POST', path, auth: 'none', body: Type.Object({}), bodyLimit: 1000, handle: () => ({}) }),
    route({ method: 'PUT', path, auth: 'none', body: Type.Object({}), handle: () => ({}) }),
  ]);
  const big = JSON.stringify({ a: 'x'.repeat(2000) });
  assert.deepEqual(await refusal(origin + path, post(big)), [413, 'M_TOO_LARGE']);
  const head = `POST ${path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n`;
  const chunked = await raw(`${head}${big.length.toString(16)}\r\n${big}\r\n0\r\n\r\n`);
  assert.match(chunked, /^HTTP\/1\.1 413 [^]*M_TOO_LARGE/);
  const huge = Buffer.alloc(8 * 1024 * 1024, ' ');
  assert.deepEqual(await refusal(origin + path, { method: 'PUT', body: huge }), [413, 'M_TOO_LARGE']);
  assert.deepEqual(await refusal(origin + path, post('{}')), [200, undefined]);
});

test('a compressed request body is refused rather than mistaken for JSON', async (t) => {
  const { origin } = await serve(t, [
    route({ method: 'POST', path, auth: 'none', body: Type.Object({}), handle: () => ({}) }),
  ]);
  const reply = await refusal(origin + path, { ...post('{}'), headers: { 'content-encoding': 'gzip' } });
  assert.deepEqual(reply, [415, 'M_UNKNOWN']);
});

test('a body that drips in for a minute is given up with 408, and its connection soon after', async (t) => {
  const clock = new ManualClock();
  let authenticated = (): void => {};
  const asked = new Promise<void>((resolve) => (authenticated = resolve));
  const { open } = await serve(
    t,
    [route({ method: 'POST', path, auth: 'none', body: Type.Object({}), handle: () => ({}) })],
    { clock, rateLimiter: () => authenticated() },
  );
  const socket = await open();
  const reply = readAll(socket);
  socket.write(`POST ${path} HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\n{"a":`);
  await asked;
  await clock.advance(60_000);
  // The rest of the body is read on for a while, so that a client that writes first and reads later sees the reply.
  while (clock.pending === 0) await new Promise(setImmediate);
  await clock.advance(10_000);
  assert.match(await reply, /^HTTP\/1\.1 408 [^]*took too long/);
});

test('query text becomes numbers, booleans and lists as the schema wants them', async (t) => {
  const { origin } = await serve(t, [
    route({
      method: 'GET',
      path,
      auth: 'none',
      query: Type.Object({
        limit: Type.Optional(limit),
        since: Type.Optional(Type.String()),
        full: Type.Optional(Type.Boolean()),
        via: Type.Optional(Type.Array(Type.String())),
        counts: Type.Optional(Type.Array(Type.Integer())),
        room: Type.Optional(roomId),
        dir: Type.Optional(Type.Union([Type.Literal('b'), Type.Literal('f')])),
      }),
      handle: ({ query }) => ({ ...query }),
    }),
  ]);
  const queryOf = async (query: string): Promise<unknown> => (await ask(`${origin}${path}?${query}`)).body;
  assert.deepEqual(await queryOf('limit=10&since=7&full=true&extra=1'), {
    limit: 10,
    since: '7',
    full: true,
    extra: '1',
  });
  assert.deepEqual(await queryOf('via=a'), { via: ['a'] });
  assert.deepEqual(await queryOf('via=a&via=b%20c+d&counts=1&counts=2'), { via: ['a', 'b c d'], counts: [1, 2] });
  assert.deepEqual(await queryOf('limit=1&limit=2&dir=b'), { limit: 1, dir: 'b' });
  assert.deepEqual(await queryOf('__proto__=x&constructor=y'), JSON.parse('{"__proto__":"x","constructor":"y"}'));
  assert.deepEqual(await queryOf(''), {});
  for (const wrong of [
    'limit=x',
    'limit=',
    'limit=1.5',
    'limit=-1',
    'limit=1e3',
    'full=yes',
    'dir=x',
    'room=%21',
    'counts=1&counts=x',
  ]) {
    const reply = await ask(`${origin}${path}?${wrong}`);
    const { errcode, error } = reply.body as { errcode: string; error: string };
    assert.deepEqual([reply.status, errcode], [400, 'M_INVALID_PARAM'], wrong);
    assert.match(error, new RegExp(`parameter ${wrong.slice(0, wrong.indexOf('='))}`), wrong);
  }
});

test('a query parameter that is lacking is M_MISSING_PARAM, a path that does not fit M_INVALID_PARAM', async (t) => {
  const { origin } = await serve(t, [
    route({
      method: 'GET',
      path: '/_matrix/client/v3/rooms/:roomId/x',
      auth: 'none',
      params: Type.Object({ roomId }),
      query: Type.Object({ dir: Type.String() }),
      handle: ({ params }) => params,
    }),
  ]);
  const rooms = `${origin}/_matrix/client/v3/rooms`;
  assert.deepEqual(await refusal(`${rooms}/!a:b/x`), [400, 'M_MISSING_PARAM']);
  assert.deepEqual(await refusal(`${rooms}/nonsense/x?dir=b`), [400, 'M_INVALID_PARAM']);
  assert.deepEqual(await refusal(`${rooms}/!a:b/x?dir=b`), [200, undefined]);
});

test('a raw body arrives as a stream, up to its limit, with or without a length', async (t) => {
  const { origin, raw } = await serve(t, [
    route({
      method: 'POST',
      path,
      auth: 'none',
      rawBody: true,
      bodyLimit: 3_000_000,
      handle: async ({ bodyStream }) => {
        const hash = createHash('sha256');
        for await (const chunk of bodyStream) hash.update(chunk);
        return { sha256: hash.digest('hex') };
      },
    }),
  ]);
  const bytes = Buffer.alloc(2_500_000, 'media');
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  assert.deepEqual((await ask(origin + path, post(bytes))).body, { sha256 });
  assert.deepEqual((await ask(origin + path, { method: 'POST' })).body, {
    sha256: createHash('sha256').digest('hex'),
  });
  const tooBig = Buffer.alloc(3_500_000);
  assert.deepEqual(await refusal(origin + path, post(tooBig)), [413, 'M_TOO_LARGE']);
  const head = `POST ${path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n`;
  const chunk = `${tooBig.length.toString(16)}\r\n${tooBig.toString('latin1')}\r\n0\r\n\r\n`;
  assert.match(await raw(head + chunk), /^HTTP\/1\.1 413 /);
});

test('a raw body that nobody reads does not spoil the connection', async (t) => {
  const { open } = await serve(t, [
    route({ method: 'POST', path, auth: 'none', rawBody: true, handle: () => ({ read: false }) }),
    route({ method: 'GET', path, auth: 'none', handle: () => ({ second: true }) }),
  ]);
  const socket = await open();
  const reply = readAll(socket);
  socket.write(`POST ${path} HTTP/1.1\r\nhost: h\r\ncontent-length: 500000\r\n\r\n${'x'.repeat(500_000)}`);
  socket.write(`GET ${path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n`);
  assert.match(await reply, /\{"read":false\}[^]*\{"second":true\}/);
});

test('a raw body ends with an error when the client leaves, and when it stalls for a minute', async (t) => {
  const clock = new ManualClock();
  const ends: string[] = [];
  let reading = Promise.withResolvers<void>();
  let ended = Promise.withResolvers<void>();
  const { open } = await serve(
    t,
    [
      route({
        method: 'POST',
        path,
        auth: 'none',
        rawBody: true,
        handle: async ({ bodyStream }) => {
          try {
            for await (const _ of bodyStream) reading.resolve();
          } catch (error) {
            ends.push(error instanceof Error ? error.message : 'no error');
            ended.resolve();
            throw error;
          }
          return {};
        },
      }),
    ],
    { clock },
  );
  const start = `POST ${path} HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\nabc`;
  const leaving = await open();
  leaving.write(start);
  await reading.promise;
  leaving.destroy();
  await ended.promise;

  reading = Promise.withResolvers();
  ended = Promise.withResolvers();
  const stalling = await open();
  const answer = once(stalling, 'data');
  stalling.write(start);
  await reading.promise;
  await clock.advance(60_000);
  await ended.promise;
  assert.match(String((await answer)[0]), /^HTTP\/1\.1 408 /);
  assert.deepEqual(ends, ['the client went away', 'The body took too long to arrive']);
});

test('a client that leaves while nobody reads its raw body hurts nobody', async (t) => {
  const asked = Promise.withResolvers<void>();
  const left = Promise.withResolvers<void>();
  const { open, origin } = await serve(t, [
    route({
      method: 'POST',
      path,
      auth: 'none',
      rawBody: true,
      handle: async ({ signal }) => {
        signal.addEventListener('abort', () => left.resolve());
        asked.resolve();
        await left.promise;
        return {};
      },
    }),
  ]);
  const socket = await open();
  socket.write(`POST ${path} HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\nabc`);
  await asked.promise;
  socket.destroy();
  await left.promise;
  assert.equal((await ask(`${origin}/health`)).body, 'OK');
});
