import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { buffer } from 'node:stream/consumers';
import type { FederationNetwork } from '../../server/federation/network.ts';
import { parseAuthorization, requestText } from '../../server/federation/request-signing.ts';
import type { FederationRequest } from '../../server/federation/types.ts';
import { generateSigningKey, verifyText } from '../../server/matrix/signing.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { answerJson, serverName, SmallInternet } from './client-kit.ts';

const peer = serverName('peer.example:8448');
const path = '/_matrix/federation/v1/version';
const get: FederationRequest = { destination: peer, method: 'GET', path };

/** An internet in which peer.example:8448 answers with `handler`. */
async function start(handler: Parameters<SmallInternet['serve']>[2]): Promise<SmallInternet> {
  const internet = await SmallInternet.start();
  internet.hosts.set('peer.example', ['198.51.100.7']);
  await internet.serve('198.51.100.7:8448', { dnsNames: ['peer.example'] }, handler);
  return internet;
}

/** Moves the clock until `promise` is settled; `stepMs` at a time while real packets travel. */
async function until<Value>(clock: ManualClock, promise: Promise<Value>, stepMs: number): Promise<Value> {
  let isOver = false;
  const over = (): void => void (isOver = true);
  promise.then(over, over);
  while (!isOver) await clock.advance(stepMs);
  return promise;
}

test('a request is signed over exactly what is sent, and its answer comes back as JSON', async () => {
  await using internet = await start(answerJson({ well: 'received' }));
  const signingKey = generateSigningKey(Buffer.alloc(32, 3));
  const network = internet.network({ signingKey });
  const answer = await network.client.request({
    destination: peer,
    method: 'PUT',
    path: '/_matrix/federation/v1/send/1%2F2',
    query: { a: 'ä b&c', list: ['1', '2'], n: 5, yes: true, left: undefined },
    body: { pdus: [{ b: 1, a: 'ü', float: 1.5 }], origin: 'hearth.test' },
  });
  assert.deepEqual(answer, { well: 'received' });
  const [sent] = internet.seen;
  assert.ok(sent !== undefined);
  assert.equal(sent.url, '/_matrix/federation/v1/send/1%2F2?a=%C3%A4%20b%26c&list=1&list=2&n=5&yes=true');
  assert.equal(sent.headers['user-agent'], 'Hearth/test');
  assert.equal(sent.headers['content-type'], 'application/json');
  const authorization = parseAuthorization(sent.headers.authorization ?? '');
  assert.equal(authorization?.origin, 'hearth.test');
  assert.equal(authorization.destination, peer);
  const text = requestText({
    method: sent.method,
    uri: sent.url,
    origin: authorization.origin,
    destination: peer,
    content: JSON.parse(sent.body),
  });
  assert.ok(verifyText(text, authorization.signature, signingKey.publicKey));
});

test('one connection serves one request after the other, and six serve many at a time', async () => {
  const waiting: ServerResponse[] = [];
  await using internet = await start((request, response) => {
    if (request.url?.includes('slow') !== true) return answerJson({})(request, response);
    waiting.push(response);
  });
  const network = internet.network();
  for (let i = 0; i < 5; i += 1) await network.client.request(get);
  assert.equal(internet.dialled.length, 1);
  const slow = Array.from({ length: 20 }, () => network.client.request({ ...get, query: { slow: true } }));
  while (waiting.length < 6) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(internet.dialled.length, 6);
  const answered = Promise.all(slow);
  let isOver = false;
  void answered.then(() => (isOver = true));
  while (!isOver) {
    for (const response of waiting.splice(0)) answerJson({})(response.req, response);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(internet.dialled.length, 6);
});

test('this server itself, and servers that the configuration does not name, are not asked', async () => {
  await using internet = await start(answerJson({}));
  const network = internet.network({ client: { allowedServers: [serverName('friend.example')] } });
  const own = { ...get, destination: serverName('hearth.test') };
  await assert.rejects(network.client.request(own), { kind: 'denied' });
  await assert.rejects(network.client.request({ ...get, ignoreBackoff: true }), { kind: 'denied' });
  assert.deepEqual(internet.dialled, []);
  assert.equal(network.destinations.readyAt(peer), 0, 'it is none of its fault');
});

test('a refusal tells status, code and body, and shows that the server is well', async () => {
  await using internet = await start(answerJson({ errcode: 'M_NOT_FOUND', error: 'no', extra: 1 }, 404));
  const network = internet.network();
  await assert.rejects(network.client.request({ ...get, retries: 'short' }), {
    name: 'FederationError',
    kind: 'refused',
    destination: peer,
    status: 404,
    errcode: 'M_NOT_FOUND',
    body: { errcode: 'M_NOT_FOUND', error: 'no', extra: 1 },
  });
  assert.equal(internet.seen.length, 1, 'it is not asked again');
  assert.equal(network.destinations.readyAt(peer), 0);
  assert.ok(network.destinations.find(peer)?.lastSuccess !== undefined);
});

test('a refusal in HTML, a huge one and one without an end are refusals all the same', async () => {
  let handler = (response: ServerResponse): void => void response.end('<h1>Forbidden</h1>');
  await using internet = await start((_, response) => {
    response.statusCode = 403;
    handler(response);
  });
  const { client } = internet.network();
  const refused = { kind: 'refused', status: 403, errcode: undefined, body: undefined };
  await assert.rejects(client.request(get), refused);
  handler = (response) => void response.end(JSON.stringify({ errcode: 'x'.repeat(70_000) }));
  await assert.rejects(client.request(get), refused);
  handler = (response) => {
    response.write('{', () => setImmediate(() => response.destroy()));
  };
  await assert.rejects(client.request(get), refused);
});

test('a redirect is a refusal: nobody is sent on with a signed request', async () => {
  await using internet = await start((_, response) => {
    response.writeHead(302, { location: 'https://198.51.100.9/' });
    response.end();
  });
  await assert.rejects(internet.network().client.request(get), { kind: 'refused', status: 302 });
  assert.equal(internet.dialled.length, 1);
});

test('after an internal error the server is left alone, until somebody insists and it is well again', async () => {
  let status = 502;
  await using internet = await start((request, response) => answerJson({}, status)(request, response));
  const clock = new ManualClock();
  const network = internet.network({ clock });
  await assert.rejects(network.client.request(get), { kind: 'refused', status: 502 });
  await assert.rejects(network.client.request(get), { kind: 'backing-off' });
  assert.equal(internet.seen.length, 1);
  status = 200;
  await network.client.request({ ...get, ignoreBackoff: true });
  await network.client.request(get);
  assert.equal(internet.seen.length, 3);
});

test('while a user waits, a server in trouble is asked four times within seconds', async () => {
  await using internet = await start(answerJson({}, 500));
  const clock = new ManualClock();
  const began = clock.now();
  await assert.rejects(until(clock, internet.network({ clock }).client.request({ ...get, retries: 'short' }), 10), {
    status: 500,
  });
  assert.equal(internet.seen.length, 4);
  // 0.5 s, 1 s and 2 s, each a fifth more or less, none longer than 2 s.
  const took = clock.now() - began;
  assert.ok(took >= 2800 && took <= 4600, `${took} ms`);
});

test('in the background a server is asked for longer, and the first good answer counts', async () => {
  let failures = 0;
  await using internet = await start((request, response) => {
    failures += 1;
    answerJson({ failures }, failures > 5 ? 200 : 503)(request, response);
  });
  const clock = new ManualClock();
  const network = internet.network({ clock });
  const answer = await until(clock, network.client.request({ ...get, retries: 'long' }), 500);
  assert.deepEqual(answer, { failures: 6 });
  assert.equal(network.destinations.readyAt(peer), 0);
});

test('a server that says when to come back is obeyed, or not asked again if that is too long', async () => {
  let after: string | undefined = '2';
  let isSilent = false;
  const times: number[] = [];
  const clock = new ManualClock();
  await using internet = await start((request, response) => {
    times.push(clock.now());
    const done = times.length === 2;
    const header = after === undefined ? {} : { 'retry-after': after };
    const body = { errcode: 'M_LIMIT_EXCEEDED', ...(isSilent ? {} : { retry_after_ms: 1_000_000 }) };
    answerJson(body, done ? 200 : 429, header)(request, response);
  });
  const network = internet.network({ clock });
  await until(clock, network.client.request({ ...get, retries: 'short' }), 10);
  assert.ok((times[1] ?? 0) - (times[0] ?? 0) >= 2000);
  for (after of ['60', undefined, new Date(clock.now() + 60_000).toUTCString()]) {
    const before = internet.seen.length;
    const asking = network.client.request({ ...get, retries: 'short', ignoreBackoff: true });
    await assert.rejects(asking, { kind: 'refused', status: 429 });
    assert.equal(internet.seen.length, before + 1);
  }
  assert.equal(network.destinations.readyAt(peer), 0, 'it is well');
  after = undefined;
  isSilent = true;
  await assert.rejects(network.client.request(get), { kind: 'refused', status: 429 });
  assert.ok(network.destinations.readyAt(peer) > clock.now(), 'who does not say until when is left alone');
});

for (const [what, cert] of [
  ['has expired', { dnsNames: ['peer.example'], notAfter: new Date(Date.now() - 3_600_000) }],
  ['is not valid yet', { dnsNames: ['peer.example'], notBefore: new Date(Date.now() + 3_600_000) }],
  ['is for another name', { dnsNames: ['other.example'] }],
  ['is for the address only', { ipAddresses: ['198.51.100.7'] }],
] as const) {
  test(`a server whose certificate ${what} is not asked, unless it is excepted`, async () => {
    await using internet = await SmallInternet.start();
    internet.hosts.set('peer.example', ['198.51.100.7']);
    await internet.serve('198.51.100.7:8448', cert, answerJson({}));
    const network = internet.network();
    await assert.rejects(network.client.request(get), { kind: 'unreachable' });
    assert.equal(internet.seen.length, 0);
    assert.ok(network.destinations.readyAt(peer) > 0);
    const tls = { verifyCertificates: true, customCaPaths: [internet.caPath], minimumVersion: 'TLSv1.2' as const };
    for (const unverifiedNames of [['*.example'], ['peer.exampl?'], ['PEER.example'], ['peer.example:8448']]) {
      await internet.network({ outbound: { tls: { ...tls, unverifiedNames } } }).client.request(get);
    }
    for (const unverifiedNames of [['*.other'], ['eer.example'], ['peer?']]) {
      const { client } = internet.network({ outbound: { tls: { ...tls, unverifiedNames } } });
      await assert.rejects(client.request(get), { kind: 'unreachable' });
    }
    await internet
      .network({ outbound: { tls: { ...tls, unverifiedNames: [], verifyCertificates: false } } })
      .client.request(get);
  });
}

test('a certificate of an authority that is not known counts for nothing', async () => {
  await using internet = await start(answerJson({}));
  const tls = { verifyCertificates: true, unverifiedNames: [], minimumVersion: 'TLSv1.2' as const };
  const network = internet.network({ outbound: { tls: { ...tls, customCaPaths: undefined } } });
  await assert.rejects(network.client.request(get), { kind: 'unreachable' });
});

test('addresses on the deny list are not connected to, whatever name leads there', async () => {
  await using internet = await SmallInternet.start();
  const clock = new ManualClock();
  const network = internet.network({ clock });
  for (const [host, address] of [
    ['inside.example', '127.0.0.1'],
    ['mapped.example', '::ffff:127.0.0.1'],
    ['hex.example', '::ffff:7f00:1'],
    ['nat64.example', '64:ff9b::10.1.2.3'],
    ['6to4.example', '2002:7f00:1::1'],
    ['compatible.example', '::127.0.0.1'],
    ['loop.example', '::1'],
  ] as const) {
    internet.hosts.set(host, [address]);
    const destination = serverName(`${host}:8448`);
    await assert.rejects(network.client.request({ ...get, destination, retries: 'short' }), { kind: 'denied' });
    assert.ok(network.destinations.readyAt(destination) > clock.now());
  }
  for (const literal of ['127.0.0.1', '10.9.8.7:443', '[::1]', '[::ffff:10.0.0.1]:8448']) {
    await assert.rejects(network.client.request({ ...get, destination: serverName(literal) }), { kind: 'denied' });
  }
  assert.deepEqual(internet.dialled, []);
});

test('a name that leads somewhere else when it is looked up again is checked again', async () => {
  await using internet = await start(answerJson({}));
  await internet.serve('10.0.0.5:8448', { dnsNames: ['peer.example'] }, answerJson({}));
  const clock = new ManualClock();
  const network = internet.network({ clock });
  await network.client.request(get);
  internet.hosts.set('peer.example', ['10.0.0.5']);
  network.wake();
  await assert.rejects(network.client.request(get), { kind: 'denied' });
  internet.hosts.set('peer.example', ['10.0.0.5', '198.51.100.7']);
  network.wake();
  await network.client.request({ ...get, ignoreBackoff: true });
  assert.deepEqual(internet.dialled, ['198.51.100.7:8448', '198.51.100.7:8448']);
});

test('exceptions from the deny list are connected to', async () => {
  await using internet = await SmallInternet.start();
  internet.hosts.set('peer.example', ['10.0.0.5']);
  await internet.serve('10.0.0.5:8448', { dnsNames: ['peer.example'] }, answerJson({}));
  await internet.network({ outbound: { allow: ['10.0.0.4/31'] } }).client.request(get);
  await assert.rejects(internet.network({ outbound: { allow: ['10.0.0.4'] } }).client.request(get), { kind: 'denied' });
});

test('an answer larger than asked for is not taken, whether it says so before or not', async () => {
  let isDeclared = true;
  await using internet = await start((_, response) => {
    const text = JSON.stringify('x'.repeat(2000));
    if (isDeclared) response.setHeader('content-length', text.length);
    response.end(text);
  });
  const network = internet.network();
  for (isDeclared of [true, false]) {
    await assert.rejects(network.client.request({ ...get, maxBytes: 2001 }), { kind: 'malformed' });
    await network.client.request({ ...get, maxBytes: 2002 });
  }
  assert.equal(network.destinations.readyAt(peer), 0, 'the server is well');
});

test('an answer that is no JSON, no HTTP or compressed is malformed', async () => {
  let handler = (response: ServerResponse): void => void response.end('<html>');
  await using internet = await start((_, response) => handler(response));
  const network = internet.network();
  const ask = () => network.client.request({ ...get, ignoreBackoff: true, retries: 'short' });
  await assert.rejects(ask(), { kind: 'malformed' });
  assert.ok(network.destinations.readyAt(peer) > 0, 'whoever answers so is no homeserver');
  handler = (response) => void response.socket?.end('SSH-2.0-hello\r\n');
  await assert.rejects(ask(), { kind: 'malformed' });
  handler = (response) => {
    response.setHeader('content-encoding', 'gzip');
    response.end('x');
  };
  await assert.rejects(ask(), { kind: 'malformed' });
  assert.equal(internet.seen.length, 3);
});

test('a server that does not answer in time is unreachable', async () => {
  let isHeadSent = false;
  await using internet = await start((_, response) => {
    if (isHeadSent) response.write('{');
  });
  const clock = new ManualClock();
  const network = internet.network({ clock });
  for (isHeadSent of [false, true]) {
    const seen = internet.seen.length;
    const asking = network.client.request({ ...get, timeoutMs: 5000, ignoreBackoff: true });
    asking.catch(() => {});
    while (internet.seen.length === seen) await clock.advance(0);
    await clock.advance(4999);
    await clock.advance(1);
    await assert.rejects(asking, { kind: 'unreachable' });
  }
});

test('a body that dribbles in is given up after half a minute, long before its time is over', async () => {
  await using internet = await start((_, response) => {
    response.write('[');
    const dribble = setInterval(() => response.write(' '), 1);
    response.on('close', () => clearInterval(dribble));
  });
  const clock = new ManualClock();
  const began = clock.now();
  const asking = internet.network({ clock }).client.request({ ...get, timeoutMs: 3_600_000 });
  await assert.rejects(until(clock, asking, 1000), { kind: 'malformed', message: /less than 1024 bytes/ });
  assert.ok(clock.now() - began < 120_000);
});

test('a reader that takes its time does not make the peer look slow', async () => {
  const size = 4 * 1024 * 1024;
  await using internet = await start((_, response) => response.end(Buffer.alloc(size)));
  const clock = new ManualClock();
  const { status, headers, body } = await internet
    .network({ clock })
    .client.open({ ...get, timeoutMs: 3_600_000, maxBytes: size });
  assert.equal(status, 200);
  assert.equal(headers['content-length'], String(size));
  await new Promise((resolve) => body.once('readable', resolve));
  for (let i = 0; i < 10; i += 1) await clock.advance(20_000);
  assert.equal((await buffer(body)).length, size);
});

test('a stream that grows too large or breaks off fails while it is read', async () => {
  let isBroken = false;
  await using internet = await start((_, response) => {
    response.write('x'.repeat(1000));
    setImmediate(() => (isBroken ? response.destroy() : response.end('x'.repeat(1000))));
  });
  const { client } = internet.network();
  const { body } = await client.open({ ...get, maxBytes: 1500 });
  await assert.rejects(buffer(body), { kind: 'too-large' });
  isBroken = true;
  const { body: second } = await client.open(get);
  await assert.rejects(buffer(second), { kind: 'unreachable' });
});

test('whoever loses interest is let go at once: before, while it is sent, between tries, and while the answer is read', async () => {
  let handler: (response: ServerResponse) => void = () => {};
  await using internet = await start((_, response) => handler(response));
  const clock = new ManualClock();
  const network = internet.network({ clock });
  await assert.rejects(network.client.request({ ...get, signal: AbortSignal.abort() }), { kind: 'aborted' });
  assert.equal(internet.dialled.length, 0);

  let abort = new AbortController();
  const sent = network.client.request({ ...get, signal: abort.signal });
  while (internet.seen.length === 0) await new Promise((resolve) => setImmediate(resolve));
  abort.abort();
  await assert.rejects(sent, { kind: 'aborted' });

  abort = new AbortController();
  handler = (response) => answerJson({}, 500)(response.req, response);
  const between = network.client.request({ ...get, retries: 'long', signal: abort.signal });
  while (internet.seen.length === 1 || clock.pending > 1) await new Promise((resolve) => setImmediate(resolve));
  abort.abort();
  await assert.rejects(between, { kind: 'aborted' });

  abort = new AbortController();
  handler = (response) => void response.write('x');
  const { body } = await network.client.open({ ...get, signal: abort.signal });
  abort.abort();
  await assert.rejects(buffer(body), { kind: 'aborted' });
  assert.equal(network.destinations.readyAt(peer), 0, 'it is none of its fault');
  assert.equal(clock.pending, 0, 'no timer is left');
});

test('a connection that the peer closed while it stood idle does not fail the next GET or PUT', async () => {
  let count = 0;
  await using internet = await start((request, response) => {
    count += 1;
    // The second request on a connection finds it gone.
    if (count === 2) return void request.socket.destroy();
    answerJson({})(request, response);
  });
  const network = internet.network();
  await network.client.request(get);
  await network.client.request({ ...get, method: 'PUT', body: {} });
  assert.equal(count, 3);
  count = 1;
  await assert.rejects(network.client.request({ ...get, method: 'POST', body: {} }), { kind: 'unreachable' });
});

test('when the server stops, what is under way is broken off', async () => {
  await using internet = await start(() => {});
  const network = internet.network();
  const asking = network.client.request(get);
  asking.catch(() => {});
  while (internet.seen.length === 0) await new Promise((resolve) => setImmediate(resolve));
  await network.close();
  await assert.rejects(asking, { kind: 'aborted' });
  await assert.rejects(network.client.request(get), { kind: 'aborted' });
});

test('on another network new connections are made, and requests under way go on', async () => {
  const waiting: ServerResponse[] = [];
  await using internet = await start((_, response) => void waiting.push(response));
  const network: FederationNetwork = internet.network();
  const first = network.client.request(get);
  while (waiting.length === 0) await new Promise((resolve) => setImmediate(resolve));
  network.wake();
  const second = network.client.request(get);
  while (waiting.length === 1) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(internet.dialled.length, 2);
  for (const response of waiting) answerJson({ fine: true })(response.req, response);
  assert.deepEqual(await Promise.all([first, second]), [{ fine: true }, { fine: true }]);
});
