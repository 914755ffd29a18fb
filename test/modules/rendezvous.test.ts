import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../kit/manual-clock.ts';
import { type Answer, expectError } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const RENDEZVOUS = '/_matrix/client/unstable/org.matrix.msc4108/rendezvous';
const TEXT = { 'content-type': 'text/plain' };

/** Opens a session; gives its path and first tag. */
async function open(server: TestServer, data: string): Promise<{ path: string; etag: string; answer: Answer }> {
  const answer = await server.anonymous().request('POST', RENDEZVOUS, { body: data, headers: TEXT });
  assert.equal(answer.status, 201);
  return { path: new URL(answer.body.url).pathname, etag: answer.headers.get('etag') ?? '', answer };
}

test('two devices without an account in common pass messages to and fro', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock, config: { public_baseurl: 'https://chat.example.org/' } });
  const laptop = server.anonymous();
  const phone = server.anonymous();

  const { path, etag, answer } = await open(server, 'hello from the laptop');
  assert.match(answer.body.url, /^https:\/\/chat\.example\.org\//);
  assert.match(answer.headers.get('access-control-expose-headers') ?? '', /ETag/);
  assert.match(answer.headers.get('cache-control') ?? '', /no-store/);
  assert.equal(Date.parse(answer.headers.get('expires') ?? ''), clock.now() + 300_000);

  const read = await phone.get(path);
  assert.deepEqual([read.status, read.body, read.headers.get('etag')], [200, 'hello from the laptop', etag]);
  assert.equal(read.headers.get('content-type'), 'text/plain');
  const written = await phone.request('PUT', path, {
    body: 'hello from the phone',
    headers: { ...TEXT, 'if-match': etag },
  });
  assert.equal(written.status, 202);
  const second = written.headers.get('etag') ?? '';
  assert.notEqual(second, etag);

  // The laptop looks whether anything is new.
  const unread = await laptop.request('GET', path, { headers: { 'if-none-match': etag } });
  assert.deepEqual([unread.status, unread.body], [200, 'hello from the phone']);
  const nothing = await laptop.request('GET', path, { headers: { 'if-none-match': second } });
  assert.deepEqual([nothing.status, nothing.headers.get('etag')], [304, second]);

  assert.equal((await laptop.delete(path)).status, 204);
  expectError(await phone.get(path), 404, 'M_NOT_FOUND');
  expectError(await phone.delete(path), 404, 'M_NOT_FOUND');
});

test('whoever has not read the last message cannot write over it', async () => {
  await using server = await TestServer.start();
  const { path, etag } = await open(server, 'one');
  const put = (body: string, headers: Record<string, string>): Promise<Answer> =>
    server.anonymous().request('PUT', path, { body, headers });

  assert.equal((await put('two', { ...TEXT, 'if-match': etag })).status, 202);
  const late = await put('three', { ...TEXT, 'if-match': etag });
  const told = expectError(late, 412, 'M_UNKNOWN');
  assert.equal(told['org.matrix.msc4108.errcode'], 'M_CONCURRENT_WRITE');
  assert.notEqual(late.headers.get('etag'), etag);
  expectError(await put('three', TEXT), 400, 'M_MISSING_PARAM');
  expectError(await put('three', { 'content-type': 'application/json', 'if-match': '*' }), 400, 'M_INVALID_PARAM');
  assert.equal((await server.anonymous().get(path)).body, 'two');
});

test('sessions are small, and end by themselves', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock });
  const post = (body: string): Promise<Answer> =>
    server.anonymous().request('POST', RENDEZVOUS, { body, headers: TEXT });
  expectError(await post('x'.repeat(4_097)), 413, 'M_TOO_LARGE');
  const { path } = await open(server, 'x'.repeat(4_096));
  await clock.advance(299_999);
  assert.equal((await server.anonymous().get(path)).status, 200);
  await clock.advance(1);
  expectError(await server.anonymous().get(path), 404, 'M_NOT_FOUND');
});

test('one address opens few at once, and all together no more than there is room for', async () => {
  const listener = {
    type: 'http',
    port: 0,
    bind_addresses: ['127.0.0.1'],
    x_forwarded: true,
    resources: [{ names: ['client'] }],
  };
  await using server = await TestServer.start({ clock: new ManualClock(), config: { listeners: [listener] } });
  const post = (address: string): Promise<Answer> => {
    const headers = { ...TEXT, 'x-forwarded-for': address };
    return server.anonymous().request('POST', RENDEZVOUS, { body: `from ${address}`, headers });
  };
  const paths: string[] = [];
  for (let opened = 0; opened < 10; opened += 1) paths.push(new URL((await post('192.0.2.1')).body.url).pathname);
  expectError(await post('192.0.2.1'), 429, 'M_LIMIT_EXCEEDED');
  for (let opened = 0; opened < 91; opened += 1) {
    const answer = await post(`198.51.100.${Math.floor(opened / 10)}`);
    assert.equal(answer.status, 201);
  }
  // The oldest one made room.
  expectError(await server.anonymous().get(paths[0] ?? ''), 404, 'M_NOT_FOUND');
  assert.equal((await server.anonymous().get(paths[1] ?? '')).status, 200);
});

test('a page in a browser may use it', async () => {
  await using server = await TestServer.start();
  const preflight = await server.anonymous().request('OPTIONS', `${RENDEZVOUS}/some-session`);
  assert.match(preflight.headers.get('access-control-allow-headers') ?? '', /If-Match, If-None-Match/);
  assert.equal(preflight.headers.get('access-control-allow-origin'), '*');
});
