import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { test } from 'node:test';
import { readFreshness } from '../../server/federation/discovery/well-known.ts';
import type { FederationNetwork } from '../../server/federation/network.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { eventually } from '../kit/test-network.ts';
import { answerJson, delegateTo, serverName, SmallInternet } from './client-kit.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** Where example.com turns out to be. */
async function find(network: FederationNetwork): Promise<string> {
  const { target, hostHeader } = await network.discovery.find(serverName('example.com'));
  const [place] = target.endpoints;
  return `${hostHeader} at ${place?.host}:${place?.port}`;
}

const NOT_DELEGATED = 'example.com at example.com:8448';

async function start(handler: RequestListener): Promise<SmallInternet> {
  const internet = await SmallInternet.start();
  internet.hosts.set('example.com', ['198.51.100.7']);
  internet.hosts.set('www.example.com', ['198.51.100.8']);
  await internet.serve('198.51.100.7:443', { dnsNames: ['example.com'] }, handler);
  return internet;
}

const asked = ({ seen }: SmallInternet): number => seen.length;

test('an answer is kept for a day where it does not say for how long, and renewed before it is over', async () => {
  await using internet = await start(delegateTo('a.example:1'));
  const clock = new ManualClock();
  const network = internet.network({ clock });
  assert.equal(await find(network), 'a.example:1 at a.example:1');
  await clock.advance(16 * HOUR);
  await find(network);
  assert.equal(asked(internet), 1);
  await clock.advance(5 * HOUR);
  // Beside what it is asked for; where it cannot be had at first, it is asked for again within minutes.
  await eventually('it was renewed', async () => {
    assert.equal(await find(network), 'a.example:1 at a.example:1');
    await clock.advance(MINUTE);
    return asked(internet) >= 2;
  });
  assert.equal(asked(internet), 2);
});

for (const [header, minutes] of [
  ['max-age=3600', 60],
  ['public, MAX-AGE="3600", must-revalidate', 60],
  ['max-age=1', 5],
  ['no-store', 5],
  ['max-age=99999999', 48 * 60],
] as const) {
  test(`with "Cache-Control: ${header}" an answer is kept for ${minutes} minutes`, async () => {
    await using internet = await start(delegateTo('a.example:1', { 'cache-control': header }));
    const clock = new ManualClock();
    const network = internet.network({ clock });
    await find(network);
    await clock.advance(minutes * MINUTE * 0.79);
    await find(network);
    assert.equal(asked(internet), 1);
    await clock.advance(minutes * MINUTE * 0.22);
    await find(network);
    assert.equal(asked(internet), 2);
  });
}

test('freshness is read from Cache-Control and Age, else from Expires', () => {
  const now = Date.parse('Sat, 21 Nov 2026 10:00:00 GMT');
  assert.equal(readFreshness({ 'cache-control': 'max-age=100', age: '40', expires: '0' }, now), 60_000);
  assert.equal(readFreshness({ expires: 'Sat, 21 Nov 2026 10:01:00 GMT' }, now), 60_000);
  assert.equal(readFreshness({ expires: '0' }, now), 0);
  assert.equal(readFreshness({ 'cache-control': 'public' }, now), undefined);
});

for (const [what, handler] of [
  ['status 404', answerJson({ 'm.server': 'a.example' }, 404)],
  ['no JSON', (_: unknown, response: { end(text: string): void }) => response.end('<html>')],
  ['no object', answerJson(['a.example'])],
  ['no m.server', answerJson({ server: 'a.example' })],
  ['a number', answerJson({ 'm.server': 5 })],
  ['a URL', answerJson({ 'm.server': 'https://a.example' })],
  ['an impossible port', answerJson({ 'm.server': 'a.example:99999' })],
  ['too much', answerJson({ 'm.server': 'a.example', more: 'x'.repeat(60_000) })],
] as const) {
  test(`an answer with ${what} is no delegation`, async () => {
    await using internet = await start(handler as RequestListener);
    assert.equal(await find(internet.network()), NOT_DELEGATED);
    assert.equal(asked(internet), 1);
  });
}

test('a file of the wrong content type counts', async () => {
  await using internet = await start((_, response) => {
    response.writeHead(200, { 'content-type': 'text/plain' });
    response.end('{"m.server": "a.example:1"}');
  });
  assert.equal(await find(internet.network()), 'a.example:1 at a.example:1');
});

test('a failure is remembered for two minutes, then four, for an hour at most', async () => {
  await using internet = await start(answerJson({}, 404));
  const clock = new ManualClock();
  const network = internet.network({ clock });
  for (const minutes of [2, 4, 8, 16, 32, 60, 60]) {
    const before = asked(internet);
    await find(network);
    assert.equal(asked(internet), before + 1, 'it is asked again');
    await clock.advance(minutes * MINUTE - 1);
    await find(network);
    assert.equal(asked(internet), before + 1, `it is left alone for ${minutes} minutes`);
    await clock.advance(1);
  }
});

test('those who ask at one time share one look-up', async () => {
  await using internet = await start(delegateTo('a.example:1'));
  const network = internet.network();
  await Promise.all(Array.from({ length: 20 }, () => find(network)));
  assert.equal(asked(internet), 1);
});

test('while a host is out of order, what it said before counts for a day; when it says no, that counts at once', async () => {
  let status = 200;
  await using internet = await start((request, response) =>
    answerJson({ 'm.server': 'a.example:1' }, status, { 'cache-control': 'max-age=3600' })(request, response),
  );
  const clock = new ManualClock();
  const network = internet.network({ clock });
  await find(network);
  status = 503;
  await clock.advance(2 * HOUR);
  assert.equal(await find(network), 'a.example:1 at a.example:1');
  await clock.advance(22 * HOUR);
  assert.equal(await find(network), 'a.example:1 at a.example:1');
  await clock.advance(2 * HOUR);
  assert.equal(await find(network), NOT_DELEGATED);
  status = 200;
  await clock.advance(HOUR);
  assert.equal(await find(network), 'a.example:1 at a.example:1');
  status = 404;
  await clock.advance(HOUR);
  assert.equal(await find(network), NOT_DELEGATED);
});

test('redirects are followed, to other hosts too, but not for ever and not to plain HTTP', async () => {
  const redirect =
    (to: string): RequestListener =>
    (_, response) => {
      response.writeHead(302, { location: to });
      response.end();
    };
  {
    await using internet = await start(redirect('https://www.example.com/file'));
    await internet.serve('198.51.100.8:443', { dnsNames: ['www.example.com'] }, delegateTo('a.example:1'));
    assert.equal(await find(internet.network()), 'a.example:1 at a.example:1');
    assert.deepEqual(
      internet.seen.map(({ host, url }) => [host, url]),
      [
        ['example.com', '/.well-known/matrix/server'],
        ['www.example.com', '/file'],
      ],
    );
  }
  {
    await using internet = await start((request, response) => redirect(`${request.url}x`)(request, response));
    assert.equal(await find(internet.network()), NOT_DELEGATED);
    assert.equal(asked(internet), 6);
  }
  {
    await using internet = await start(redirect('http://www.example.com/'));
    await internet.servePlainly('198.51.100.8:80', delegateTo('a.example:1'));
    assert.equal(await find(internet.network()), NOT_DELEGATED);
    assert.equal(asked(internet), 1);
  }
});

test('a redirect does not lead to an address that is denied', async () => {
  await using internet = await start((_, response) => {
    response.writeHead(302, { location: 'https://10.0.0.5/.well-known/matrix/server' });
    response.end();
  });
  await internet.serve('10.0.0.5:443', { ipAddresses: ['10.0.0.5'] }, delegateTo('a.example:1'));
  assert.equal(await find(internet.network()), NOT_DELEGATED);
  assert.deepEqual(internet.dialled, ['198.51.100.7:443']);
});

test('what somebody else shows a certificate for is not believed', async () => {
  await using internet = await SmallInternet.start();
  internet.hosts.set('example.com', ['198.51.100.7']);
  await internet.serve('198.51.100.7:443', { dnsNames: ['evil.example'] }, delegateTo('a.example:1'));
  assert.equal(await find(internet.network()), NOT_DELEGATED);
  assert.equal(asked(internet), 0);
});

test('a delegation whose target cannot be reached is looked up again', async () => {
  let to = 'old.example:1';
  await using internet = await start((request, response) => delegateTo(to)(request, response));
  internet.hosts.set('new.example', ['203.0.113.5']);
  await internet.serve('203.0.113.5:1', { dnsNames: ['new.example'] }, answerJson({}));
  const clock = new ManualClock();
  const network = internet.network({ clock });
  const ask = () =>
    network.client.request({
      destination: serverName('example.com'),
      method: 'GET',
      path: '/_matrix/federation/v1/version',
      ignoreBackoff: true,
    });
  await assert.rejects(ask(), { kind: 'unreachable' });
  to = 'new.example:1';
  await assert.rejects(ask(), { kind: 'unreachable' }, 'so young an answer is believed');
  await clock.advance(10 * MINUTE);
  await assert.rejects(ask(), { kind: 'unreachable' });
  assert.deepEqual(await ask(), {});
});

test('on another network, failures are forgotten and names looked up anew', async () => {
  await using internet = await start(delegateTo('a.example:1'));
  const network = internet.network({ clock: new ManualClock() });
  internet.silentNames.add('example.com');
  assert.equal(await find(network), NOT_DELEGATED);
  internet.silentNames.clear();
  assert.equal(await find(network), NOT_DELEGATED);
  network.wake();
  assert.equal(await find(network), 'a.example:1 at a.example:1');
});
