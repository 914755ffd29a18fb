import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import sharp from 'sharp';
import { FederationError } from '../../server/federation/errors.ts';
import { OutboundError } from '../../server/federation/outbound/outbound-error.ts';
import type { FederationRequest, FederationResponse } from '../../server/federation/types.ts';
import { Readable } from 'node:stream';
import { ManualClock } from '../kit/manual-clock.ts';
import type { TestClient } from '../kit/test-client.ts';
import { eventually, TestNetwork } from '../kit/test-network.ts';
import type { TestServer } from '../kit/test-server.ts';
import { ask, type Ask, type Bytes, expectRefusal, MediaHouse, pathOf, serverName } from './content-repository-kit.ts';

async function upload(
  server: TestServer,
  who: TestClient,
  body: Uint8Array,
  type: string,
  filename: string,
): Promise<string> {
  const answer = await ask(server.baseUrl, '/_matrix/media/v3/upload', {
    method: 'POST',
    token: who.token,
    body: body as Uint8Array<ArrayBuffer>,
    headers: { 'content-type': type },
    query: { filename },
  });
  assert.equal(answer.status, 200, answer.bytes.toString());
  return pathOf(answer.json.content_uri);
}

const download = (server: TestServer, who: TestClient, path: string, options: Ask = {}): Promise<Bytes> =>
  ask(server.baseUrl, `/_matrix/client/v1/media/download/${path}`, { token: who.token, ...options });

test('Bob sees what Ann has sent from another server, and still does when that is down', async () => {
  await using house = await TestNetwork.start(['ann.test', 'bob.test']);
  const [annServer, bobServer] = house.servers;
  const ann = await annServer.register('ann');
  const bob = await bobServer.register('bob');
  const content = randomBytes(300_000);
  const path = await upload(annServer, ann, content, 'text/plain', 'grüße.txt');
  const picture = await sharp({ create: { width: 400, height: 400, channels: 3, background: 'red' } })
    .png()
    .toBuffer();
  const picturePath = await upload(annServer, ann, picture, 'image/png', 'red.png');

  // Nobody has it fetched without a token.
  expectRefusal(await ask(bobServer.baseUrl, `/_matrix/media/v3/download/${path}`), 404, 'M_NOT_FOUND');
  const both = await Promise.all([download(bobServer, bob, path), download(bobServer, bob, path)]);
  for (const answer of both) {
    assert.equal(answer.status, 200, answer.bytes.toString().slice(0, 200));
    assert.ok(answer.bytes.equals(content));
    assert.equal(answer.headers.get('content-type'), 'text/plain; charset=utf-8');
    assert.equal(answer.headers.get('content-disposition'), "inline; filename*=utf-8''gr%C3%BC%C3%9Fe.txt");
  }
  const thumbnail = (): Promise<Bytes> =>
    ask(bobServer.baseUrl, `/_matrix/client/v1/media/thumbnail/${picturePath}`, {
      token: bob.token,
      query: { width: 32, height: 32, method: 'crop' },
    });
  assert.equal((await sharp((await thumbnail()).bytes).metadata()).width, 32);
  expectRefusal(await download(bobServer, bob, 'ann.test/unknown'), 404, 'M_NOT_FOUND');

  house.network.cut(annServer, bobServer);
  await bobServer.restart();
  assert.ok(
    (await download(bobServer, bob, path, { headers: { range: 'bytes=0-9' } })).bytes.equals(content.subarray(0, 10)),
  );
  assert.equal((await thumbnail()).status, 200);
  expectRefusal(await download(bobServer, bob, 'ann.test/neverfetched'), 502, 'M_UNKNOWN');
  // Old clients and servers that ask for nothing remote get nothing remote.
  expectRefusal(
    await ask(bobServer.baseUrl, `/_matrix/media/v3/download/${path}`, { query: { allow_remote: false } }),
    404,
    'M_NOT_FOUND',
  );
});

/** Another server as a test plays it: it does nothing but answer requests for media. */
async function playServer(network: TestNetwork, name: string, t: TestContext): Promise<Played> {
  const { cert, key } = await network.authority.issue({ dnsNames: [name] });
  const played: Played = { seen: [], answer: (_, response) => response.destroy() };
  const server = createTlsServer({ cert, key }, (request, response) => {
    played.seen.push(request.url ?? '');
    played.answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  network.place(name, { federationPort: (server.address() as AddressInfo).port });
  return played;
}

interface Played {
  readonly seen: string[];
  answer: (request: IncomingMessage, response: ServerResponse) => void;
}

const refuse =
  (status: number, errcode: string): RequestListener =>
  (_, response) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ errcode, error: 'no' }));
  };

const parts =
  (text: string, contentType = 'multipart/mixed; boundary="a b"'): RequestListener =>
  (_, response) => {
    response.writeHead(200, { 'content-type': contentType });
    response.end(text);
  };

const multipart = (headers: string, content: string): RequestListener =>
  parts(
    `preamble\r\n--a b\r\nContent-Type: application/json\r\n\r\n{}\r\n--a b\r\n${headers}\r\n${content}\r\n--a b--\r\n`,
  );

test('whatever form other servers give media in, they arrive, or it is said what is wrong', async (t) => {
  await using house = await TestNetwork.start(['home.test'], { config: { max_upload_size: 1000 } });
  const [server] = house.servers;
  const bob = await server.register('bob');
  const played = await playServer(house.network, 'played.test', t);
  let count = 0;
  const fetchIt = (answer: Played['answer'], query: Ask['query'] = {}): Promise<Bytes> => {
    played.answer = answer;
    played.seen.length = 0;
    count += 1;
    return download(server, bob, `played.test/medium${count}`, { query });
  };

  const plain = await fetchIt(
    multipart('content-disposition: attachment; filename="a \\"b\\".bin"\r\ncontent-type:image/gif\r\n', 'GIF--a b'),
  );
  assert.equal(plain.bytes.toString(), 'GIF--a b');
  assert.equal(plain.headers.get('content-type'), 'image/gif');
  assert.equal(plain.headers.get('content-disposition'), 'inline; filename="a \\"b\\".bin"');
  assert.deepEqual(played.seen, ['/_matrix/federation/v1/media/download/medium1?timeout_ms=20000']);
  const bare = await fetchIt(multipart('', 'bare'), { timeout_ms: 999_999 });
  assert.equal(bare.headers.get('content-type'), 'application/octet-stream');
  assert.equal(bare.headers.get('content-disposition'), 'attachment');
  assert.match(played.seen[0] ?? '', /timeout_ms=60000$/);
  const poisoned = await fetchIt(
    multipart("content-type: text/html\u0001\r\ncontent-disposition: inline; filename*=utf-8''a%0D%0Ab%00\r\n", 'x'),
  );
  assert.equal(poisoned.headers.get('content-type'), 'application/octet-stream');
  assert.equal(poisoned.headers.get('content-disposition'), 'attachment; filename=ab');

  // A server of old knows only the way without signatures.
  const old: Played['answer'] = (request, response) => {
    if (request.url?.startsWith('/_matrix/federation/') === true)
      refuse(404, 'M_UNRECOGNIZED')(request, response as never);
    else response.writeHead(200, { 'content-type': 'image/png' }).end('old');
  };
  assert.equal((await fetchIt(old)).bytes.toString(), 'old');
  assert.match(played.seen[1] ?? '', /^\/_matrix\/media\/v3\/download\/played\.test\/medium4\?allow_remote=false&/);

  // One that keeps its content elsewhere.
  const elsewhere = createServer((request, response) => {
    assert.equal(request.headers.authorization, undefined);
    if (request.url === '/gone') response.writeHead(410).end();
    else if (request.url === '/large') response.end(Buffer.alloc(1001));
    else response.writeHead(200, { 'content-type': 'image/webp' }).end('elsewhere');
  });
  await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
  t.after(() => elsewhere.close());
  const { port } = elsewhere.address() as AddressInfo;
  // The network dials nobody whom it does not know by name.
  house.network.place('elsewhere.test', { federationPort: port });
  const at = (path: string): RequestListener => multipart(`Location: http://127.0.0.1:${port}${path}\r\n`, '');
  const moved = await fetchIt(at('/here'));
  assert.deepEqual(
    [moved.status, moved.bytes.toString(), moved.headers.get('content-type')],
    [200, 'elsewhere', 'image/webp'],
  );
  expectRefusal(await fetchIt(at('/gone')), 502, 'M_UNKNOWN');
  expectRefusal(await fetchIt(at('/large')), 502, 'M_TOO_LARGE');
  expectRefusal(await fetchIt(multipart('Location: file:///etc/passwd\r\n', '')), 502, 'M_UNKNOWN');

  expectRefusal(await fetchIt(multipart('', 'x'.repeat(1001))), 502, 'M_TOO_LARGE');
  expectRefusal(await fetchIt(multipart('', 'x'.repeat(300_000))), 502, 'M_TOO_LARGE');
  expectRefusal(await fetchIt(refuse(502, 'M_TOO_LARGE')), 502, 'M_TOO_LARGE');
  await eventually('it is asked again after that', async () => {
    const { status } = await fetchIt(refuse(404, 'M_NOT_FOUND'));
    return status === 404;
  });
  expectRefusal(await fetchIt(refuse(403, 'M_FORBIDDEN')), 502, 'M_UNKNOWN');
  for (const broken of [
    '--a b\r\n\r\n{}\r\n--a b\r\n\r\nbroken off',
    '--a b\r\n\r\n{}\r\n--a b--\r\n',
    'nothing of the sort',
    '',
    `--a b\r\n${'x'.repeat(20_000)}`,
  ]) {
    expectRefusal(await fetchIt(parts(broken)), 502, 'M_UNKNOWN');
  }
  expectRefusal(await fetchIt(parts('{}', 'application/json')), 502, 'M_UNKNOWN');
  expectRefusal(await fetchIt(parts('{}', 'multipart/mixed')), 502, 'M_UNKNOWN');
});

/** Fetches from somebody who answers what a test tells. */
function fakeRemote(answer: (request: FederationRequest) => Promise<FederationResponse> | FederationResponse) {
  return {
    client: { open: async (request: FederationRequest) => answer(request) },
    http: {
      open: () => {
        throw new OutboundError('denied', 'nothing is fetched from elsewhere');
      },
    },
  };
}

function answerWith(content: string): FederationResponse {
  const body = `--b\r\n\r\n{}\r\n--b\r\nContent-Type: text/plain\r\n\r\n${content}\r\n--b--`;
  return {
    status: 200,
    headers: { 'content-type': 'multipart/mixed; boundary=b', 'content-length': String(body.length) },
    body: Readable.from([Buffer.from(body)]),
  };
}

test('what two want at once is fetched once, and what is blocked not at all', async (t) => {
  let count = 0;
  const { promise, resolve } = Promise.withResolvers<FederationResponse>();
  const house = await MediaHouse.open(t, {
    settings: { blockedServers: [serverName('bad.test')] },
    remote: fakeRemote(() => {
      count += 1;
      return count === 1 ? promise : answerWith('again');
    }),
  });
  expectRefusal(await house.download('bad.test/abc'), 404, 'M_NOT_FOUND');
  assert.equal(count, 0);
  const first = house.download('peer.test/abc');
  await eventually('it is asked for', () => count === 1);
  const second = house.download('peer.test/abc', { token: 'carol' });
  resolve(answerWith('once'));
  assert.deepEqual([(await first).bytes.toString(), (await second).bytes.toString()], ['once', 'once']);
  assert.equal(count, 1);
  // Lost from the disk, it is fetched anew.
  for (const file of house.files().kept) rmSync(file);
  assert.equal((await house.download('peer.test/abc')).bytes.toString(), 'again');
  assert.equal(count, 2);
});

test('a server that does not answer is not waited for without end', async (t) => {
  const house = await MediaHouse.open(t, {
    remote: fakeRemote(({ signal, destination }) => {
      const { promise, reject } = Promise.withResolvers<FederationResponse>();
      signal?.addEventListener('abort', () => reject(new FederationError('aborted', destination, 'called off')));
      return promise;
    }),
  });
  const { clock } = house;
  assert.ok(clock instanceof ManualClock);
  const timers = clock.pending;
  const answer = house.download('peer.test/abc', { query: { timeout_ms: 10_000 } });
  await eventually('it waits', () => clock.pending > timers);
  await clock.advance(40_000);
  expectRefusal(await answer, 504, 'M_UNKNOWN');
});

test('refusals of other servers are told in words a client knows', async (t) => {
  let refusal: FederationError | undefined;
  const house = await MediaHouse.open(t, {
    remote: fakeRemote(() => {
      assert.ok(refusal !== undefined);
      throw refusal;
    }),
  });
  const peer = serverName('peer.test');
  const refused = (status: number, errcode: string): FederationError =>
    new FederationError('refused', peer, 'no', { status, errcode });
  const expected: [FederationError, number, string][] = [
    [refused(504, 'M_NOT_YET_UPLOADED'), 504, 'M_NOT_YET_UPLOADED'],
    [refused(404, 'M_NOT_FOUND'), 404, 'M_NOT_FOUND'],
    [refused(413, 'M_TOO_LARGE'), 502, 'M_TOO_LARGE'],
    [refused(429, 'M_LIMIT_EXCEEDED'), 502, 'M_UNKNOWN'],
    [refused(500, 'M_UNKNOWN'), 502, 'M_UNKNOWN'],
    [refused(504, 'M_UNKNOWN'), 504, 'M_UNKNOWN'],
    [new FederationError('unreachable', peer, 'no'), 502, 'M_UNKNOWN'],
    [new FederationError('unreachable', peer, 'no', { cause: new OutboundError('timeout', 'no') }), 504, 'M_UNKNOWN'],
    [new FederationError('backing-off', peer, 'no'), 502, 'M_UNKNOWN'],
  ];
  for (const [failure, status, errcode] of expected) {
    refusal = failure;
    expectRefusal(await house.download('peer.test/abc'), status, errcode);
  }
});

test('a user has no more fetched than is their share, and others are not held up', async (t) => {
  const house = await MediaHouse.open(t, { remoteBurst: 250, remote: fakeRemote(() => answerWith('x'.repeat(100))) });
  assert.equal((await house.download('peer.test/one')).status, 200);
  expectRefusal(await house.download('peer.test/two'), 429, 'M_LIMIT_EXCEEDED');
  assert.equal((await house.download('peer.test/one')).status, 200, 'what is here costs nothing');
  assert.equal((await house.download('peer.test/two', { token: 'carol' })).status, 200);
  assert.deepEqual(house.files().incoming, []);
});

test('of other servers’ media only so much is kept, and what was not looked at for longest goes first', async (t) => {
  const house = await MediaHouse.open(t, {
    settings: { remoteCacheBytes: 250 },
    remote: fakeRemote(({ path }) => answerWith(path.slice(-3).repeat(33))),
  });
  const { clock } = house;
  assert.ok(clock instanceof ManualClock);
  const isKept = (mediaId: string): boolean =>
    house.media.find({ origin: serverName('peer.test'), mediaId }) !== undefined;
  await house.download('peer.test/one');
  await clock.advance(1000);
  await house.download('peer.test/two');
  await clock.advance(100_000);
  await house.download('peer.test/one');
  await clock.advance(100_000);
  await house.download('peer.test/six');
  await eventually('the one in the middle is gone', () => !isKept('two'));
  assert.deepEqual([isKept('one'), isKept('six')], [true, true]);
  await eventually('its file too', () => house.files().kept.length === 2);
  assert.equal(await house.media.purgeRemote(clock.now() - 50_000), 1);
  assert.deepEqual([isKept('one'), isKept('six')], [false, true]);
  assert.equal((await house.download('peer.test/one')).status, 200, 'it can be fetched again');
});
