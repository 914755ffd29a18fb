import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import {
  type AddressInfo,
  connect,
  createServer as createTcpServer,
  type Server as TcpServer,
  type Socket,
} from 'node:net';
import { test } from 'node:test';
import { parseProxy, ProxyChoice } from '../../server/federation/outbound/proxy.ts';
import { answerJson, serverName, SmallInternet } from './client-kit.ts';

const peer = serverName('peer.example:8448');
const get = { destination: peer, method: 'GET', path: '/_matrix/federation/v1/version' } as const;

/** Where the proxies of these tests lead names and addresses to. */
const places: Readonly<Record<string, string>> = {
  'peer.example:8448': '198.51.100.7:8448',
  '198.51.100.7:8448': '198.51.100.7:8448',
  '10.0.0.7:8448': '10.0.0.7:8448',
};

async function start(): Promise<SmallInternet> {
  const internet = await SmallInternet.start();
  internet.hosts.set('proxy.example', ['10.0.0.1']);
  await internet.serve(
    '198.51.100.7:8448',
    { dnsNames: ['peer.example'], ipAddresses: ['198.51.100.7'] },
    answerJson({}),
  );
  return internet;
}

async function listen<S extends Server | TcpServer>(
  internet: SmallInternet,
  at: string,
  server: S,
): Promise<S & AsyncDisposable> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  internet.place(at, (server.address() as AddressInfo).port);
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.on('error', () => socket.destroy());
  });
  return Object.assign(server, {
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

function join(from: Socket, internet: SmallInternet, to: string): void {
  const onward = connect(internet.localPort(places[to] ?? ''), '127.0.0.1');
  onward.on('error', () => from.destroy());
  from.pipe(onward).pipe(from);
}

/** An HTTP proxy that lets in whoever shows `authorization`, and keeps account of what it was asked for. */
async function httpProxy(internet: SmallInternet, authorization?: string) {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers['proxy-authorization'] ?? ''}`.trim());
    answerJson({ by: 'the proxy', host: request.headers.host })(request, response);
  });
  server.on('connect', (request, socket: Socket, head) => {
    asked.push(`CONNECT ${request.url} ${request.headers['proxy-authorization'] ?? ''}`.trim());
    if (request.headers['proxy-authorization'] !== authorization) return socket.end('HTTP/1.1 407 No\r\n\r\n');
    socket.write('HTTP/1.1 200 Fine\r\n\r\n');
    socket.unshift(head);
    join(socket, internet, request.url ?? '');
  });
  return { asked, server: await listen(internet, '10.0.0.1:3128', server) };
}

test('through an HTTP proxy the server still proves its name, and only the proxy is looked up', async () => {
  await using internet = await start();
  const authorization = `Basic ${Buffer.from('us@er:pä:ss').toString('base64')}`;
  const { asked, server } = await httpProxy(internet, authorization);
  await using _ = server;
  const httpsProxy = 'http://us%40er:p%C3%A4:ss@proxy.example:3128';
  const { client } = internet.network({ outbound: { httpsProxy } });
  await client.request(get);
  await client.request(get);
  assert.deepEqual(asked, [`CONNECT peer.example:8448 ${authorization}`]);
  assert.deepEqual(internet.lookups, ['proxy.example']);
  assert.deepEqual(
    internet.seen.map(({ sni, host }) => [sni, host]),
    [
      ['peer.example', 'peer.example:8448'],
      ['peer.example', 'peer.example:8448'],
    ],
  );
});

test('a proxy that refuses, or is not there, makes a server unreachable', async () => {
  await using internet = await start();
  const { server } = await httpProxy(internet, 'Basic something else');
  await using _ = server;
  for (const [httpsProxy, message] of [
    ['http://proxy.example:3128', /HTTP 407/],
    ['proxy.example:3129', /the proxy cannot be reached/],
    ['gone.example', /the proxy cannot be reached/],
    // Its certificate would have to be one that everybody trusts.
    ['https://proxy.example:3128', /the proxy cannot be reached/],
  ] as const) {
    const { client } = internet.network({ outbound: { httpsProxy } });
    await assert.rejects(client.request(get), { kind: 'unreachable', message });
  }
  assert.equal(internet.seen.length, 0);
});

test('what the configuration excepts does not go through the proxy', async () => {
  await using internet = await start();
  internet.hosts.set('peer.example', ['198.51.100.7']);
  const { asked, server } = await httpProxy(internet);
  await using _ = server;
  const outbound = { httpsProxy: 'proxy.example:3128', noProxyHosts: ['example', '198.51.100.0/24'] };
  const { client } = internet.network({ outbound });
  await client.request(get);
  await client.request({ ...get, destination: serverName('198.51.100.7') });
  assert.deepEqual(asked, []);
  assert.equal(internet.seen.length, 2);
});

test('an address on the deny list is not asked of a proxy either', async () => {
  await using internet = await start();
  const { asked, server } = await httpProxy(internet);
  await using _ = server;
  const { client } = internet.network({ outbound: { httpsProxy: 'proxy.example:3128' } });
  for (const name of ['10.0.0.7', '127.1:8448', '2130706433:8448', '0x7f.1:8448', '[::ffff:10.0.0.7]']) {
    await assert.rejects(client.request({ ...get, destination: serverName(name) }), { kind: 'denied' }, name);
  }
  assert.deepEqual(asked, []);
});

test('plain HTTP is asked of the proxy with the whole address', async () => {
  await using internet = await start();
  const { asked, server } = await httpProxy(internet);
  await using _ = server;
  const { http } = internet.network({ outbound: { httpProxy: 'http://me:secret@proxy.example:3128' } });
  const answer = await http.get('http://www.example.com:8080/page?q=1');
  assert.deepEqual(JSON.parse(answer.body.toString()), { by: 'the proxy', host: 'www.example.com:8080' });
  assert.deepEqual(asked, [
    `GET http://www.example.com:8080/page?q=1 Basic ${Buffer.from('me:secret').toString('base64')}`,
  ]);
});

/** A SOCKS 5 proxy that wants a password, if there is one. */
async function socksProxy(internet: SmallInternet, password?: string) {
  const asked: string[] = [];
  const server = createTcpServer((socket) => {
    const read = async (length: number): Promise<Buffer> => {
      for (;;) {
        const bytes: Buffer | null = socket.read(length);
        if (bytes !== null) return bytes;
        await new Promise((resolve) => socket.once('readable', resolve));
      }
    };
    const talk = async (): Promise<void> => {
      const [, methods = 0] = await read(2);
      await read(methods);
      socket.write(Buffer.from([5, password === undefined ? 0 : 2]));
      if (password !== undefined) {
        const [, userLength = 0] = await read(2);
        await read(userLength);
        const [length = 0] = await read(1);
        const isRight = (await read(length)).toString() === password;
        socket.write(Buffer.from([1, isRight ? 0 : 1]));
        if (!isRight) return void socket.end();
      }
      const [, , , kind] = await read(4);
      const host = kind === 1 ? (await read(4)).join('.') : (await read((await read(1))[0] ?? 0)).toString();
      const to = `${host}:${(await read(2)).readUInt16BE()}`;
      asked.push(to);
      socket.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
      join(socket, internet, to);
    };
    void talk();
  });
  return { asked, server: await listen(internet, '10.0.0.1:1080', server) };
}

test('through a SOCKS proxy, addresses are looked up here and checked, or by the proxy if asked to', async () => {
  await using internet = await start();
  internet.hosts.set('peer.example', ['10.0.0.9', '198.51.100.7']);
  internet.hosts.set('inside.example', ['10.0.0.9']);
  const { asked, server } = await socksProxy(internet, 'pass');
  await using _ = server;
  await internet.network({ outbound: { httpsProxy: 'socks5://me:pass@proxy.example' } }).client.request(get);
  const { client } = internet.network({ outbound: { httpsProxy: 'socks5h://me:pass@proxy.example:1080' } });
  await client.request(get);
  assert.deepEqual(asked, ['198.51.100.7:8448', 'peer.example:8448']);
  const local = internet.network({ outbound: { httpsProxy: 'socks5://me:pass@proxy.example' } });
  const inside = { ...get, destination: serverName('inside.example:8448') };
  await assert.rejects(local.client.request(inside), { kind: 'denied' });
  const wrong = internet.network({ outbound: { httpsProxy: 'socks5://me:wrong@proxy.example' } });
  await assert.rejects(wrong.client.request(get), { kind: 'unreachable' });
});

test('a proxy is written with or without scheme, port and password', () => {
  const base = { user: undefined, password: undefined };
  assert.deepEqual(parseProxy('proxy.example'), {
    ...base,
    kind: 'http',
    host: 'proxy.example',
    port: 1080,
    looksUpNames: true,
  });
  assert.deepEqual(parseProxy('http://proxy.example:80/').port, 80);
  assert.deepEqual(parseProxy('https://proxy.example:443').port, 443);
  assert.deepEqual(parseProxy('https://proxy.example').port, 1080);
  assert.deepEqual(parseProxy('socks5://[::1]:9050'), {
    ...base,
    kind: 'socks5',
    host: '::1',
    port: 9050,
    looksUpNames: false,
  });
  for (const bad of ['', 'ftp://proxy.example', 'http://', 'http://us:secret@pro xy']) {
    assert.throws(
      () => parseProxy(bad),
      (error: Error) => error instanceof RangeError && !error.message.includes('secret'),
    );
  }
});

test('exceptions are names with all below them, addresses and ranges, each for one port if it says so', () => {
  const isDirect = (entry: string, host: string, port = 443): boolean =>
    new ProxyChoice({ httpProxy: undefined, httpsProxy: 'p', noProxyHosts: [entry] }).find(true, host, port) ===
    undefined;
  for (const [entry, host, port] of [
    ['example.com', 'example.com'],
    ['example.com', 'www.EXAMPLE.com.'],
    ['.example.com', 'example.com'],
    ['*.example.com', 'www.example.com'],
    ['example.com:8448', 'example.com', 8448],
    ['10.0.0.0/8', '10.1.2.3'],
    ['10.1.2.3', '10.1.2.3'],
    ['10.1.2.3:99', '10.1.2.3', 99],
    ['2001:db8::/32', '2001:db8::1'],
    ['2001:db8::1', '2001:db8:0::1'],
    ['[2001:db8::1]:99', '2001:db8::1', 99],
    ['*', 'anything.example'],
  ] as const) {
    assert.ok(isDirect(entry, host, port), `${entry} excepts ${host}`);
  }
  for (const [entry, host, port] of [
    ['example.com', 'badexample.com'],
    ['example.com:8448', 'example.com', 443],
    ['10.0.0.0/8', '11.0.0.1'],
    ['10.0.0.0/8', 'ten.example'],
    ['10.1.2.3:99', '10.1.2.3', 98],
    ['10.0.0.0/99', '10.0.0.1'],
    ['', 'example.com'],
    ['.', 'example.com'],
  ] as const) {
    assert.ok(!isDirect(entry, host, port), `${entry} does not except ${host}`);
  }
});
