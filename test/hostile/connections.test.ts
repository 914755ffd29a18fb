import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { ManualClock } from '../kit/manual-clock.ts';
import { besieged } from './siege.ts';

/** What came back on a connection, and whether it was closed. */
function listen(socket: TLSSocket): { text: string; isClosed: boolean } {
  const heard = { text: '', isClosed: false };
  socket.on('data', (chunk: Buffer) => void (heard.text += chunk.toString('latin1')));
  socket.on('close', () => void (heard.isClosed = true));
  return heard;
}

const HEAD =
  'PUT /_matrix/federation/v1/send/slow HTTP/1.1\r\nHost: hearth.test\r\nContent-Type: application/json\r\n' +
  'Authorization: X-Matrix origin="away.test",destination="hearth.test",key="ed25519:1",sig="AAAA"\r\n';

test(
  'hundreds of connections that say hardly anything keep nobody from being heard, nor the server from stopping',
  besieged(async (siege) => {
    const { evil, home } = siege;
    const room = await siege.room();
    const sockets: TLSSocket[] = [];
    for (let batch = 0; batch < 15; batch += 1) {
      sockets.push(...(await Promise.all(Array.from({ length: 20 }, () => evil.connect(home)))));
    }
    const beginnings = [
      '',
      'P',
      'PUT /_matrix/federation/v1/send/x HTTP/1.1\r\nHost: he',
      HEAD,
      `${HEAD}Content-Length: 1000\r\n\r\n{"pdus":`,
      `${HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\n{"p`,
    ];
    for (const [at, socket] of sockets.entries()) socket.write(beginnings[at % beginnings.length] ?? '');
    await siege.undisturbed(async () => {
      for (let times = 0; times < 20; times += 1) {
        for (const socket of sockets) if (!socket.destroyed) socket.write(' ');
        await siege.through(room, `through ${times}`);
      }
    });
    // With all of them still open.
    const start = performance.now();
    await home.restart();
    assert.ok(performance.now() - start < 20_000);
  }),
);

const clock = new ManualClock(Date.now());
test(
  'a body that arrives byte by byte is not waited for longer than a minute',
  besieged(
    async ({ evil, home }) => {
      const socket = await evil.connect(home);
      const heard = listen(socket);
      socket.write(`${HEAD}Content-Length: 100000\r\n\r\n{`);
      for (let seconds = 0; seconds < 200 && heard.text === '' && !heard.isClosed; seconds += 1) {
        socket.write(' ');
        await clock.advance(1_000);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      assert.match(heard.text, /^HTTP\/1\.1 (408|401) /);
      assert.match(heard.text, /"errcode"/);
      socket.destroy();
    },
    { clock },
  ),
);

test(
  'what is no HTTP, or not quite, is refused on its own connection',
  besieged(async ({ evil, home }) => {
    const odd: Record<string, string> = {
      'two lengths': `${HEAD}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!`,
      'a length and chunks': `${HEAD}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n`,
      'a length that is none': `${HEAD}Content-Length: -5\r\n\r\n`,
      'a chunk that is none': `${HEAD}Transfer-Encoding: chunked\r\n\r\nZZ\r\nhello\r\n`,
      'headers without end': `${HEAD}${Array.from({ length: 3_000 }, (_, at) => `X-Header-${at}: ${'x'.repeat(20)}\r\n`).join('')}\r\n`,
      'a path that is too long': `GET /_matrix/federation/v1/event/${'x'.repeat(40_000)} HTTP/1.1\r\nHost: hearth.test\r\n\r\n`,
      'a path that is broken':
        'GET /_matrix/federation/v1/event/%E0%A4%A HTTP/1.1\r\nHost: hearth.test\r\nConnection: close\r\n\r\n',
      'a path that climbs':
        'GET /_matrix/federation/../../etc/passwd HTTP/1.1\r\nHost: hearth.test\r\nConnection: close\r\n\r\n',
      'a method nobody knows': 'FROB /_matrix/federation/v1/version HTTP/1.1\r\nHost: hearth.test\r\n\r\n',
      'no HTTP': '\u0000\u0001\u0002\u0003\r\n\r\n',
      'another protocol': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    };
    for (const [what, text] of Object.entries(odd)) {
      const socket = await evil.connect(home);
      const heard = listen(socket);
      socket.write(text);
      const end = performance.now() + 15_000;
      while (!/^HTTP\/1\.1 \d/.test(heard.text) && !heard.isClosed && performance.now() < end) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      assert.ok(heard.isClosed || /^HTTP\/1\.1 4\d\d /.test(heard.text), `${what}: ${heard.text.slice(0, 80)}`);
      assert.equal(heard.text.includes('root:'), false);
      socket.destroy();
    }
  }),
);
