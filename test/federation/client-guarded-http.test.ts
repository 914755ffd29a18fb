import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import fc from 'fast-check';
import { AddressGuard } from '../../server/federation/outbound/address-guard.ts';
import { createGuardedHttp, type GuardedHttp } from '../../server/federation/outbound/guarded-http.ts';
import { Outbound } from '../../server/federation/outbound/outbound.ts';
import { systemClock } from '../../server/util/clock.ts';
import { answerJson, SmallInternet } from './client-kit.ts';

/** Two web servers, and HTTP that trusts them. */
async function start(
  handler: RequestListener,
): Promise<{ internet: SmallInternet; http: GuardedHttp } & AsyncDisposable> {
  const internet = await SmallInternet.start();
  internet.hosts.set('one.example', ['198.51.100.1']);
  internet.hosts.set('two.example', ['198.51.100.2']);
  internet.hosts.set('router.example', ['192.168.0.1']);
  await internet.serve('198.51.100.1:443', { dnsNames: ['one.example'] }, handler);
  await internet.servePlainly('198.51.100.1:80', handler);
  await internet.serve('198.51.100.2:8443', { dnsNames: ['two.example'] }, handler);
  const outbound = new Outbound({
    clock: systemClock,
    lookup: async (host) => (await internet.dns.addresses(host)).value,
    dial: internet.dial,
    settings: {
      deny: ['192.168.0.0/16'],
      allow: [],
      httpProxy: undefined,
      httpsProxy: undefined,
      noProxyHosts: undefined,
      userAgent: 'Hearth',
      tls: {
        verifyCertificates: true,
        unverifiedNames: [],
        customCaPaths: [internet.caPath],
        minimumVersion: 'TLSv1.2',
      },
    },
  });
  return {
    internet,
    http: createGuardedHttp({ outbound, clock: systemClock }),
    [Symbol.asyncDispose]: async () => {
      await outbound.close();
      await internet[Symbol.asyncDispose]();
    },
  };
}

/** Redirects `/status/to`, answers everything else with what it was sent. */
const echo: RequestListener = (request, response) => {
  const [, status, to] = /^\/(30\d)\/(.*)$/.exec(request.url ?? '') ?? [];
  if (status === undefined || to === undefined) {
    return answerJson({ url: request.url, host: request.headers.host, method: request.method })(request, response);
  }
  response.writeHead(Number(status), { location: decodeURIComponent(to) });
  response.end('moved');
};
const moved = (status: number, to: string): string => `https://one.example/${status}/${encodeURIComponent(to)}`;

test('pages are fetched over HTTPS and HTTP, and it is told where they came from in the end', async () => {
  await using web = await start(echo);
  for (const url of ['https://one.example/a?b=c', 'http://one.example/a?b=c', 'https://two.example:8443/a?b=c#d']) {
    const answer = await web.http.get(url);
    assert.equal(answer.status, 200);
    assert.equal(answer.url.href, url);
    assert.deepEqual(JSON.parse(answer.body.toString()), { url: '/a?b=c', host: new URL(url).host, method: 'GET' });
  }
  const answer = await web.http.get(moved(302, moved(301, 'https://two.example:8443/end')));
  assert.equal(answer.url.href, 'https://two.example:8443/end');
  const { body, url } = await web.http.open(moved(307, '/here'));
  assert.equal(url.href, 'https://one.example/here');
  assert.match((await buffer(body)).toString(), /"\/here"/);
});

test('redirects end: after five, where they lead to an address that is denied, or to something that is no web page', async () => {
  await using web = await start(echo);
  let long = 'https://one.example/end';
  for (let i = 0; i < 5; i += 1) long = moved(302, long);
  assert.equal((await web.http.get(long)).status, 200);
  await assert.rejects(web.http.get(moved(302, long)), { kind: 'malformed' });
  const { status, headers } = await web.http.get(moved(302, '/x'), { maxRedirects: 0 });
  assert.deepEqual([status, headers['location']], [302, '/x']);
  for (const inside of [
    'http://router.example/',
    'http://192.168.0.1/',
    'http://3232235521/',
    'http://[::ffff:c0a8:1]/',
  ]) {
    await assert.rejects(web.http.get(moved(302, inside)), { kind: 'denied' }, inside);
    await assert.rejects(web.http.get(inside), { kind: 'denied' }, inside);
  }
  for (const strange of [
    'file:///etc/passwd',
    'ftp://one.example/',
    'https://me:secret@one.example/',
    'http://',
    'x'.repeat(9000),
  ]) {
    await assert.rejects(web.http.get(moved(302, strange)), { kind: 'malformed' }, strange);
  }
  await assert.rejects(web.http.get(moved(302, 'http://one.example/'), { secureOnly: true }), { kind: 'malformed' });
});

test('a token is not told to whomever a redirect names', async () => {
  await using web = await start(echo);
  const headers = { Authorization: 'Bearer secret', 'X-Other': 'kept' };
  await web.http.get(moved(302, '/same'), { headers });
  await web.http.get(moved(302, 'https://two.example:8443/other'), { headers });
  assert.deepEqual(
    web.internet.seen.map((seen) => [seen.headers.authorization, seen.headers['x-other']]),
    [
      ['Bearer secret', 'kept'],
      ['Bearer secret', 'kept'],
      ['Bearer secret', 'kept'],
      [undefined, 'kept'],
    ],
  );
});

test('what is posted goes along with a redirect only where the redirect says so', async () => {
  await using web = await start(echo);
  const answer = await web.http.post(moved(307, 'https://two.example:8443/x'), { a: 1 });
  assert.equal(answer.status, 200);
  assert.deepEqual(
    web.internet.seen.map(({ method, body, headers }) => [method, body, headers['content-type']]),
    [
      ['POST', '{"a":1}', 'application/json'],
      ['POST', '{"a":1}', 'application/json'],
    ],
  );
  assert.equal((await web.http.post(moved(302, '/x'), { a: 1 })).status, 302);
  await web.http.post('https://one.example/raw', Buffer.from('a=b'), { headers: { 'Content-Type': 'text/x' } });
  assert.deepEqual(
    [web.internet.seen.at(-1)?.body, web.internet.seen.at(-1)?.headers['content-type']],
    ['a=b', 'text/x'],
  );
});

test('size and time are bounded', async () => {
  await using web = await start((request, response) => {
    if (request.url === '/slow') return;
    response.end('x'.repeat(5000));
  });
  await assert.rejects(web.http.get('https://one.example/', { maxBytes: 4999 }), { kind: 'too-large' });
  assert.equal((await web.http.get('https://one.example/', { maxBytes: 5000 })).body.length, 5000);
  await assert.rejects(web.http.get('https://one.example/slow', { timeoutMs: 20 }), { kind: 'timeout' });
});

test('an address is allowed exactly if no range holds it, in whichever way it is written', () => {
  const guard = new AddressGuard({ deny: ['10.0.0.0/8', 'fc00::/7', '192.0.2.1'], allow: ['10.1.0.0/16', 'fd00::1'] });
  fc.assert(
    fc.property(fc.ipV4(), (address) => {
      const expected = !/^10\.(?!1\.)/.test(address) && address !== '192.0.2.1';
      for (const form of [address, `::ffff:${address}`, `64:ff9b::${address}`]) {
        assert.equal(guard.isAllowed(form), expected, form);
      }
    }),
  );
  for (const address of [
    '10.2.3.4',
    'fd00::2',
    '::ffff:10.2.3.4',
    '2002:a02:304::1',
    'fc00::1%eth0',
    'example.com',
    '',
  ]) {
    assert.equal(guard.isAllowed(address), false, address);
  }
  for (const address of ['10.1.3.4', 'fd00::1', '::ffff:10.1.3.4', '2001:db8::1']) {
    assert.equal(guard.isAllowed(address), true, address);
  }
  assert.throws(() => new AddressGuard({ deny: ['10.0.0.0/33'], allow: [] }), RangeError);
  assert.throws(() => new AddressGuard({ deny: ['localhost'], allow: [] }), RangeError);
});
