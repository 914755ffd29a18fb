import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { connect as connectTls, type PeerCertificate } from 'node:tls';

import { route, type Route } from '../../server/http/route.ts';
import type { ListenerOptions } from '../../server/http/listener.ts';
import { createHttpServer, type HttpServer } from '../../server/http/server.ts';
import { systemClock } from '../../server/util/clock.ts';
import { silentLogger } from '../../server/util/log.ts';
import { ask, readAll, serve, tokens } from './harness.ts';

const fixtures = join(import.meta.dirname, 'fixtures');
const path = '/_matrix/client/v3/sync';

/** A long poll: waits until its signal is aborted, or until it is let go. */
function longPoll(): { routes: Route[]; waiting: Promise<void>; aborted: Promise<unknown>; letGo: () => void } {
  const waiting = Promise.withResolvers<void>();
  const aborted = Promise.withResolvers<unknown>();
  const letGo = Promise.withResolvers<void>();
  const poll = route({
    method: 'GET',
    path,
    auth: 'none',
    handle: async ({ signal }) => {
      const over = Promise.withResolvers<void>();
      signal.addEventListener('abort', () => {
        aborted.resolve(signal.reason);
        over.resolve();
      });
      waiting.resolve();
      await Promise.race([over.promise, letGo.promise]);
      return { next_batch: 's1' };
    },
  });
  return { routes: [poll], waiting: waiting.promise, aborted: aborted.promise, letGo: () => letGo.resolve() };
}

function listenOn(t: TestContext, ...listeners: Partial<ListenerOptions>[]): HttpServer {
  const server = createHttpServer({
    routes: [],
    listeners: listeners.map((options) => ({
      port: 0,
      bindAddresses: ['127.0.0.1'],
      tls: undefined,
      xForwarded: false,
      resources: ['client'],
      ...options,
    })),
    db: { committed: async () => {} },
    log: silentLogger,
    clock: systemClock,
    authenticator: tokens({}),
    stopGraceMs: 200,
  });
  t.after(() => server.stop());
  return server;
}

test('when a client goes away, the request it waited on is told', async (t) => {
  for (const leave of [(socket: Socket) => socket.destroy(), (socket: Socket) => socket.resetAndDestroy()]) {
    const { routes, waiting, aborted } = longPoll();
    const { open } = await serve(t, routes);
    const socket = await open();
    socket.write(`GET ${path} HTTP/1.1\r\nhost: h\r\n\r\n`);
    await waiting;
    leave(socket);
    const reason = await aborted;
    assert.ok(reason instanceof Error && reason.name === 'ClientGoneError');
  }
});

test('a request that was answered is not aborted afterwards', async (t) => {
  let kept: AbortSignal | undefined;
  const { origin, server } = await serve(t, [
    route({
      method: 'GET',
      path,
      auth: 'none',
      handle: ({ signal }) => {
        kept = signal;
        return {};
      },
    }),
  ]);
  await ask(origin + path);
  await server.stop();
  assert.equal(kept?.aborted, false);
});

test('a stop ends long polls at once with their reply, and takes no new connection', async (t) => {
  const { routes, waiting } = longPoll();
  const { server, origin, open } = await serve(t, routes);
  const idle = readAll(await open());
  const poll = ask(origin + path);
  await waiting;
  const stopped = server.stop();
  const { status, body, headers } = await poll;
  assert.equal(status, 200);
  assert.deepEqual(body, { next_batch: 's1' });
  assert.equal(headers.get('connection'), 'close');
  await stopped;
  assert.equal(await idle, '');
  assert.deepEqual(server.addresses, []);
  await assert.rejects(ask(origin + path));
});

test('a handler that gives up because of the stop answers 503, without an error in the log', async (t) => {
  const waiting = Promise.withResolvers<void>();
  const { server, origin, lines } = await serve(t, [
    route({
      method: 'GET',
      path,
      auth: 'none',
      handle: async ({ signal }) => {
        const { promise, reject } = Promise.withResolvers<never>();
        signal.addEventListener('abort', () => reject(signal.reason));
        waiting.resolve();
        return promise;
      },
    }),
  ]);
  const poll = ask(origin + path);
  await waiting.promise;
  await server.stop();
  const { status, body } = await poll;
  assert.equal(status, 503);
  assert.deepEqual(body, { errcode: 'M_UNKNOWN', error: 'The server is shutting down' });
  assert.deepEqual(
    lines.filter(({ level }) => level === 'error'),
    [],
  );
});

test('a stop does not wait for ever on a handler that will not end', async (t) => {
  const waiting = Promise.withResolvers<void>();
  const { server, origin } = await serve(t, [
    route({
      method: 'GET',
      path,
      auth: 'none',
      handle: () => {
        waiting.resolve();
        return new Promise<object>(() => {});
      },
    }),
  ]);
  const poll = assert.rejects(ask(origin + path));
  await waiting.promise;
  await server.stop();
  await poll;
});

test('requests sent one behind the other on one connection are answered in their order', async (t) => {
  const first = Promise.withResolvers<void>();
  const { raw } = await serve(t, [
    route({
      method: 'GET',
      path: '/_matrix/client/v3/slow',
      auth: 'none',
      handle: async () => {
        await first.promise;
        return { first: true };
      },
    }),
    route({
      method: 'GET',
      path: '/_matrix/client/v3/fast',
      auth: 'none',
      handle: () => {
        first.resolve();
        return { second: true };
      },
    }),
  ]);
  const replies = await raw(
    'GET /_matrix/client/v3/slow HTTP/1.1\r\nhost: h\r\n\r\n' +
      'GET /_matrix/client/v3/fast HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n',
  );
  assert.match(replies, /\{"first":true\}[^]*\{"second":true\}/);
});

test('what is no HTTP, or has endless headers, is answered and cut off', async (t) => {
  const { raw, origin } = await serve(t, longPoll().routes);
  assert.match(await raw('\x16\x03\x01 hello\r\n\r\n'), /^HTTP\/1\.1 400 [^]*M_UNKNOWN/);
  const endless = await raw(`GET / HTTP/1.1\r\nhost: h\r\nx: ${'y'.repeat(40_000)}\r\n\r\n`);
  assert.match(endless, /^HTTP\/1\.1 431 [^]*M_UNKNOWN/);
  assert.match(await raw('GET / HTTP/1.1\r\n\r\n'), /^HTTP\/1\.1 400 /);
  assert.equal((await ask(`${origin}/health`)).body, 'OK');
});

test('a port that is taken is named in the error, and what was already open is closed again', async (t) => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  t.after(() => other.close());
  const taken = other.address();
  assert.ok(typeof taken === 'object' && taken !== null);
  const server = listenOn(t, {}, { bindAddresses: ['127.0.0.2', '127.0.0.1'], port: taken.port });
  await assert.rejects(server.start(), {
    name: 'ListenError',
    code: 'EADDRINUSE',
    message: `cannot listen on port ${taken.port} of 127.0.0.1: another program is using it`,
  });
  assert.deepEqual(server.addresses, []);
  await assert.rejects(ask(`http://127.0.0.2:${taken.port}/health`));
});

test('an address of no interface is a clear error', async (t) => {
  await assert.rejects(listenOn(t, { bindAddresses: ['192.0.2.1'] }).start(), /this machine has no such address/);
});

test('several addresses share the port the system chose', async (t) => {
  const server = listenOn(t, { bindAddresses: ['127.0.0.1', '127.0.0.2'] });
  const { addresses } = await server.start();
  assert.deepEqual(
    addresses.map(({ address }) => address),
    ['127.0.0.1', '127.0.0.2'],
  );
  assert.equal(addresses[0]?.port, addresses[1]?.port);
  for (const { address, port } of addresses) {
    assert.equal((await ask(`http://${address}:${port}/health`)).status, 200);
  }
});

test('a server that was stopped can be started again', async (t) => {
  const server = listenOn(t, {});
  await server.start();
  await server.stop();
  const { addresses } = await server.start();
  assert.equal((await ask(`http://127.0.0.1:${addresses[0]?.port}/health`)).body, 'OK');
});

test('a Unix socket takes the place of the one a crash left, but not of a living one', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'hearth-http-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const socketPath = join(folder, 'hearth.sock');
  const server = listenOn(t, { socketPath });
  await server.start();
  assert.deepEqual(
    server.addresses.map(({ address, port }) => [address, port]),
    [[socketPath, 0]],
  );
  const reply = readAll(
    new Socket().connect(socketPath, function (this: Socket) {
      this.write('GET /health HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n');
    }),
  );
  assert.match(await reply, /200 OK/);
  await assert.rejects(listenOn(t, { socketPath }).start(), /another program is using it/);
});

/** The subject of the certificate that a TLS listener shows, and its reply to `GET /health`. */
async function overTls(port: number): Promise<{ subject: string; reply: string }> {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false });
  socket.write('GET /health HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n');
  let certificate: PeerCertificate | undefined;
  socket.once('secureConnect', () => (certificate = socket.getPeerCertificate()));
  const reply = await readAll(socket);
  return { subject: String(certificate?.subject.CN), reply };
}

test('a TLS listener shows its certificate, and a new one after a reload', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'hearth-http-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const tls = { certPath: join(folder, 'cert.pem'), keyPath: join(folder, 'key.pem') };
  const install = (name: string): void => {
    copyFileSync(join(fixtures, `${name}.cert.pem`), tls.certPath);
    copyFileSync(join(fixtures, `${name}.key.pem`), tls.keyPath);
  };
  install('first');
  const server = listenOn(t, { tls });
  const { addresses } = await server.start();
  const port = addresses[0]?.port ?? 0;
  assert.equal(addresses[0]?.tls, true);
  const first = await overTls(port);
  assert.equal(first.subject, 'hearth first test');
  assert.match(first.reply, /200 OK/);

  install('second');
  server.reloadCertificates();
  assert.equal((await overTls(port)).subject, 'hearth second test');

  writeFileSync(tls.certPath, 'nonsense');
  assert.throws(() => server.reloadCertificates());
  assert.equal((await overTls(port)).subject, 'hearth second test');
});

test('a TLS listener without its files is a clear error', async (t) => {
  const tls = { certPath: '/nowhere/cert.pem', keyPath: '/nowhere/key.pem' };
  await assert.rejects(listenOn(t, { tls }).start(), /cannot read the TLS certificate or its key: .*nowhere/);
});
