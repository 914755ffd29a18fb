import assert from 'node:assert/strict';
import { createServer as createHttpServer } from 'node:http';
import { connect, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { ProxyChoice } from '../../server/federation/outbound/proxy.ts';
import { usualLimits } from '../../server/appliance/doctor/world.ts';
import {
  clientFile,
  FakeWorld,
  findingOf,
  matrixServer,
  type MatrixWishes,
  proxyTo,
  serverFile,
  verdictsOf,
  wordsOf,
} from './world/fake-world.ts';

const V4 = '51.15.0.7';
const V6 = '2a01:4f8:1::7';
const FILE = '/.well-known/matrix/server';

async function rivendell(world: FakeWorld, wishes: Partial<MatrixWishes> = {}): Promise<void> {
  world.hosts.set('rivendell.net', { ipv4: [V4] });
  const files = { ...clientFile('https://rivendell.net'), ...wishes.files };
  await world.serve({
    at: [`${V4}:8448`, `${V4}:443`],
    certificate: ['rivendell.net'],
    answer: matrixServer({ name: 'rivendell.net', ...wishes, files }),
  });
}

test('names that cannot be on the internet are told, and no name whatever ends the doctor', async () => {
  await using world = await FakeWorld.start();
  for (const name of ['nas.1', '999.999', '127.1', '0x7f.1:8448']) {
    assert.match(
      wordsOf(await world.examine(name), 'name'),
      /^bad: .*cannot be a name on the internet.* → Choose a domain/,
    );
  }
  assert.match(wordsOf(await world.examine('2001:db8::1'), 'name'), /^bad: .* → .*brackets: \[2001:db8::1\]/);
  const dns = { host: async () => ({ ipv4: [V4], ipv6: [V6] }), services: async () => [] };
  const label = fc.stringMatching(/^[a-zA-Z0-9.-]{1,20}$/);
  const names = fc.oneof(
    fc.string({ maxLength: 300 }),
    label,
    fc.tuple(label, fc.nat(70_000)).map(([host, port]) => `${host}:${port}`),
    fc.ipV6().map((address) => `[${address}]`),
    fc.constantFrom('xn--a', 'xn--0.xn--1', '-', '.', '..', 'a..b', '1.2.3.4:0', '[::1]:1', 'localhost', ' '),
  );
  await fc.assert(
    fc.asyncProperty(names, async (name) => {
      const report = await world.examine(name, { dns });
      assert.ok(report.findings.every(({ verdict, nextStep }) => verdict !== 'bad' || nextStep !== undefined));
    }),
    { numRuns: 150 },
  );
});

test('what a delegation file can name: addresses, SRV records, and all sorts of nonsense', async () => {
  const cases: readonly [body: string | Buffer, RegExp][] = [
    ['\ufeff{"m.server": "rivendell.net:8448"}', /^bad: .*byte order mark.* → Save it once more as UTF-8/],
    ['[]', /^bad: .*not the JSON/],
    ['{"m.server": "matrix.rivendell.net/path"}', /^bad: .*no server name/],
    ['{"m.server": "rivendell.net:0"}', /^bad: .*no server name/],
    ['{"m.server": ""}', /^bad: .*no server name/],
    ['{"m.server": {"a": 1}}', /^bad: .*lacks "m\.server"/],
    ['{"m.server": "2a01:4f8:1::7"}', /^bad: .*no server name/],
    [`{"m.server": "${V4}"}`, /^good: Other servers are sent to 51\.15\.0\.7/],
    [`{"m.server": "[${V6}]:8448"}`, /^good: Other servers are sent to \[2a01:4f8:1::7\]:8448/],
  ];
  for (const [body, expected] of cases) {
    await using world = await FakeWorld.start();
    await rivendell(world, { files: { [FILE]: { body: body.toString() } } });
    assert.match(wordsOf(await world.examine('rivendell.net'), 'well-known'), expected);
  }
  await using garbled = await FakeWorld.start();
  garbled.hosts.set('rivendell.net', { ipv4: [V4] });
  await garbled.serve({
    at: `${V4}:443`,
    certificate: ['rivendell.net'],
    answer: (_request, response) => response.end(Buffer.from('7b226d2e736572766572223a22fffe227d', 'hex')),
  });
  assert.match(wordsOf(await garbled.examine('rivendell.net'), 'well-known'), /^bad: .*not the JSON/);

  await using world = await FakeWorld.start();
  await rivendell(world, { files: serverFile('matrix.rivendell.net') });
  world.hosts.set('box.rivendell.net', { ipv4: ['51.15.0.9'] });
  world.services.set('_matrix-fed._tcp.matrix.rivendell.net', [
    { priority: 1, weight: 1, port: 9000, target: 'box.rivendell.net' },
  ]);
  world.services.set('_matrix-fed._tcp.rivendell.net', [{ priority: 1, weight: 1, port: 1, target: 'trap.net' }]);
  await world.serve({
    at: '51.15.0.9:9000',
    certificate: ['matrix.rivendell.net'],
    answer: matrixServer({ name: 'rivendell.net' }),
  });
  const report = await world.examine('rivendell.net');
  assert.match(wordsOf(report, 'srv'), /^good: Other servers are led to box\.rivendell\.net:9000/);
  assert.equal(verdictsOf(report)['keys 51.15.0.9:9000'], 'good');
});

test('what a server says commands no terminal, and fills no page', async () => {
  await using world = await FakeWorld.start();
  await rivendell(world, {
    files: {
      [FILE]: { body: `\u001b[2J\u202e${'x'.repeat(1000)}` },
      '/_matrix/federation/v1/version': {
        body: JSON.stringify({ server: { name: 'Evil\u001b]0;title\u0007', version: '1\nok   All is well' } }),
      },
    },
  });
  world.services.set(
    '_matrix-fed._tcp.rivendell.net',
    Array.from({ length: 500 }, (_, index) => ({ priority: index, weight: 1, port: 8448, target: 'rivendell.net' })),
  );
  const report = await world.examine('rivendell.net');
  assert.doesNotMatch(JSON.stringify(report).replaceAll('\\ufeff', ''), /\\u001b|\\n|\\u0007|\u202e/);
  assert.ok(report.findings.every(({ text, details = [] }) => text.length < 2_100 && details.length <= 50));
  assert.match(wordsOf(report, 'answer'), /^good: .*Evil/);
});

test('an address literal in a delegation file needs a certificate for the address', async () => {
  await using world = await FakeWorld.start();
  await rivendell(world, { files: serverFile(V4) });
  assert.match(
    wordsOf(await world.examine('rivendell.net'), 'tls'),
    /^bad: .*not for 51\.15\.0\.7 but for rivendell\.net.* → Give the server a name instead of an address/,
  );
});

test('a delegation file that drips or is endless does not hold the doctor up', async () => {
  for (const isEndless of [false, true]) {
    await using world = await FakeWorld.start();
    world.hosts.set('rivendell.net', { ipv4: [V4] });
    await world.serve({
      at: `${V4}:443`,
      certificate: ['rivendell.net'],
      answer: (_request, response) => {
        response.writeHead(200);
        const timer = setInterval(() => response.write(isEndless ? 'x'.repeat(100_000) : ' '), 20);
        response.on('close', () => clearInterval(timer));
      },
    });
    const startedAt = performance.now();
    const report = await world.examine('rivendell.net', { limits: { ...usualLimits, answerMs: 300 } });
    assert.match(wordsOf(report, 'well-known'), isEndless ? /far more than belongs/ : /does not answer in time/);
    assert.ok(performance.now() - startedAt < 5_000);
  }
});

test('where nothing answers without a delegation file, the lack of the file is the fault', async () => {
  await using world = await FakeWorld.start();
  await rivendell(world);
  world.network.set(`${V4}:8448`, 'refused');
  const report = await world.examine('rivendell.net');
  assert.match(
    wordsOf(report, 'well-known'),
    /^bad: rivendell\.net has no delegation file, and nothing answers on port 8448.* → Serve the file/,
  );
  assert.match(report.summary, /^Other servers cannot reach rivendell\.net: rivendell\.net has no delegation file/);

  world.services.set('_matrix-fed._tcp.rivendell.net', [
    { priority: 1, weight: 1, port: 444, target: 'rivendell.net' },
  ]);
  assert.equal(findingOf(await world.examine('rivendell.net'), 'well-known').verdict, 'good', 'records do without');
});

test('old TLS, a remote shell and a hang-up in place of a server are told apart', async () => {
  await using world = await FakeWorld.start();
  world.hosts.set('rivendell.net', { ipv4: [V4] });
  const issued = await world.authority.issue({ dnsNames: ['rivendell.net'] });
  const old = createTlsServer({
    ...issued,
    minVersion: 'TLSv1',
    maxVersion: 'TLSv1.1',
    ciphers: 'DEFAULT@SECLEVEL=0',
  });
  old.on('tlsClientError', () => {});
  await world.listen(old, `${V4}:8448`);
  assert.match(
    wordsOf(await world.examine('rivendell.net'), 'tls'),
    /^bad: .*versions of TLS that are out of use.* → Allow TLS 1\.2 and 1\.3/,
  );

  await using other = await FakeWorld.start();
  other.hosts.set('rivendell.net', { ipv4: [V4] });
  await other.listenRaw(`${V4}:8448`, (socket) => socket.write('SSH-2.0-OpenSSH_10.0\r\n'));
  assert.match(
    wordsOf(await other.examine('rivendell.net', { limits: { ...usualLimits, connectMs: 500 } }), 'tls'),
    /^bad: .*not with TLS/,
  );

  await using rude = await FakeWorld.start();
  rude.hosts.set('rivendell.net', { ipv4: [V4] });
  await rude.listenRaw(`${V4}:8448`, (socket) => socket.once('data', () => socket.resetAndDestroy()));
  assert.match(wordsOf(await rude.examine('rivendell.net'), 'tls'), /^bad: .*hangs up during the TLS handshake/);
});

test('apps: what proxies do to questions of browsers and to addresses is found out', async () => {
  await using world = await FakeWorld.start();
  await rivendell(world, {
    files: {
      ...clientFile('https://rivendell.net//'),
      'OPTIONS /_matrix/client/v3/account/whoami': { status: 405 },
    },
  });
  const report = await world.examine('rivendell.net');
  assert.equal(findingOf(report, 'client-api').verdict, 'good', 'slashes at the end do no harm');
  assert.match(
    wordsOf(report, 'client-browser'),
    /^warning: .*\(OPTIONS\).* → Have the proxy pass requests with the method OPTIONS/,
  );

  await using tidy = await FakeWorld.start();
  tidy.hosts.set('rivendell.net', { ipv4: [V4] });
  const inner = matrixServer({ name: 'rivendell.net', files: clientFile('https://rivendell.net') });
  await tidy.serve({
    at: [`${V4}:8448`, `${V4}:443`],
    certificate: ['rivendell.net'],
    answer: (request, response) => {
      request.url = decodeURIComponent(request.url ?? '');
      inner(request, response);
    },
  });
  const tidied = await tidy.examine('rivendell.net');
  assert.match(wordsOf(tidied, 'client-path'), /^bad: .*escaped slash.* → Switch that off\. nginx/);
  assert.match(wordsOf(tidied, 'client-api'), /^good/);

  await using marked = await FakeWorld.start();
  const { body } = clientFile('https://rivendell.net')['/.well-known/matrix/client'] ?? { body: '' };
  await rivendell(marked, { files: { '/.well-known/matrix/client': { body: `\ufeff${body}` } } });
  assert.match(wordsOf(await marked.examine('rivendell.net'), 'client-file'), /^warning: .*byte order mark/);
});

/** An HTTP proxy that leads to the played network. */
async function withProxy(
  world: FakeWorld,
  story: (proxies: () => ProxyChoice, asked: string[]) => Promise<void>,
  refusal?: number,
): Promise<void> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const server = createHttpServer();
  server.on('connection', (socket) => sockets.add(socket));
  server.on('connect', ({ url = '' }, socket: Socket) => {
    asked.push(url);
    const to = world.network.get(url.replace('rivendell.net', V4));
    socket.on('error', () => {});
    if (refusal !== undefined || typeof to !== 'object') {
      return void socket.end(`HTTP/1.1 ${refusal ?? 502} No\r\n\r\n`);
    }
    const onward = connect(to);
    sockets.add(onward);
    onward.on('error', () => socket.destroy());
    onward.once('connect', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      socket.pipe(onward).pipe(socket);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  world.network.set(`127.0.0.1:${port}`, { host: '127.0.0.1', port });
  const httpsProxy = `http://127.0.0.1:${port}`;
  const choice = new ProxyChoice({ httpProxy: undefined, httpsProxy, noProxyHosts: ['bree.net'] });
  try {
    await story(() => choice, asked);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  }
}

test('through the proxy of this computer, as the homeserver itself would go, and it is said', async () => {
  await using world = await FakeWorld.start();
  await rivendell(world);
  const view = world.view();
  const dialled: string[] = [];
  const dial: typeof view.dial = (address, port, signal) => {
    dialled.push(address);
    return view.dial(address, port, signal);
  };
  await withProxy(world, async (proxies, asked) => {
    const report = await world.examine('rivendell.net', { dial, proxies });
    assert.match(
      wordsOf(report, 'proxy'),
      /^skipped: This computer reaches other servers through the proxy 127\.0\.0\.1:\d+/,
    );
    assert.equal(verdictsOf(report)[`keys ${V4}:8448`], 'good', JSON.stringify(report.findings));
    assert.ok(asked.includes(`${V4}:8448`) && asked.includes(`${V4}:443`));
    assert.deepEqual(new Set(dialled), new Set(['127.0.0.1']));

    world.hosts.delete('rivendell.net');
    const unknown = await world.examine('rivendell.net', { dial, proxies });
    assert.match(wordsOf(unknown, 'dns'), /^skipped: .*the proxy it goes through looks it up/);
    assert.equal(verdictsOf(unknown)['keys rivendell.net:8448'], 'good', 'names that only the proxy knows');

    world.hosts.set('bree.net', { ipv4: ['51.15.0.8'] }).set('shire.net', { ipv4: ['192.168.1.9'] });
    for (const name of ['bree.net', 'shire.net']) await world.examine(name, { dial, proxies });
    assert.ok(
      dialled.includes('51.15.0.8') && dialled.includes('192.168.1.9'),
      'exceptions and the home are reached without',
    );
  });
  await rivendell(world);
  await withProxy(
    world,
    async (proxies) => {
      const report = await world.examine('rivendell.net', { proxies });
      assert.match(
        wordsOf(report, 'port'),
        /^warning: .*the proxy that this computer goes through did not get there.* → Look at the log of the proxy/,
      );
      assert.match(report.summary, /could not be seen from here/);
    },
    403,
  );
});

test('a proxy in front that takes the address apart for apps alone is caught too', async () => {
  await using world = await FakeWorld.start();
  const inner = await world.serve({
    at: '10.0.0.1:8008',
    plain: true,
    answer: matrixServer({ name: 'rivendell.net', files: clientFile('https://apps.rivendell.net') }),
  });
  world.hosts.set('rivendell.net', { ipv4: [V4] }).set('apps.rivendell.net', { ipv4: ['51.15.0.8'] });
  await world.serve({ at: [`${V4}:443`, `${V4}:8448`], certificate: ['rivendell.net'], answer: proxyTo(() => inner) });
  await world.serve({
    at: '51.15.0.8:443',
    certificate: ['apps.rivendell.net'],
    answer: proxyTo(() => inner, { rewrite: (path) => path.replaceAll('%2F', '/') }),
  });
  const report = await world.examine('rivendell.net');
  assert.equal(findingOf(report, 'path').verdict, 'good');
  assert.match(wordsOf(report, 'client-path'), /^bad: The proxy at apps\.rivendell\.net/);
  assert.match(report.summary, /^Other servers can find rivendell\.net, but people’s apps do not connect/);
});
