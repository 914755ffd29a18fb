import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FederationNetwork } from '../../server/federation/network.ts';
import { orderServices } from '../../server/federation/discovery/srv-query.ts';
import { systemRandom } from '../../server/util/random.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { answerJson, delegateTo, serverName, SmallInternet } from './client-kit.ts';

const version = (network: FederationNetwork, server: string) =>
  network.client.request({
    destination: serverName(server),
    method: 'GET',
    path: '/_matrix/federation/v1/version',
    ignoreBackoff: true,
  });

const here = answerJson({ server: { name: 'here' } });
const notFound = answerJson({}, 404);

test('an IP literal is connected to at its port or 8448, without SNI, and proves its address', async () => {
  await using internet = await SmallInternet.start();
  await internet.serve('198.51.100.7:8448', { ipAddresses: ['198.51.100.7'] }, here);
  await internet.serve('198.51.100.7:9000', { ipAddresses: ['198.51.100.7'] }, here);
  await internet.serve('[2001:db8::7]:8448', { ipAddresses: ['2001:db8::7'] }, here);
  const network = internet.network();
  for (const name of ['198.51.100.7', '198.51.100.7:9000', '[2001:db8::7]']) await version(network, name);
  assert.deepEqual(
    internet.seen.map(({ sni, host }) => [sni, host]),
    [
      [false, '198.51.100.7'],
      [false, '198.51.100.7:9000'],
      [false, '[2001:db8::7]'],
    ],
  );
  assert.deepEqual(internet.lookups, [], 'nothing is looked up');
});

test('a name with a port is connected to there, and nobody is asked for a delegation', async () => {
  await using internet = await SmallInternet.start();
  internet.hosts.set('example.com', ['198.51.100.7']);
  await internet.serve('198.51.100.7:1234', { dnsNames: ['example.com'] }, here);
  await version(internet.network(), 'example.com:1234');
  assert.deepEqual(internet.dialled, ['198.51.100.7:1234']);
  assert.deepEqual(internet.lookups, ['example.com']);
  assert.equal(internet.seen[0]?.sni, 'example.com');
  assert.equal(internet.seen[0]?.host, 'example.com:1234');
});

/** How a delegation is written, where it must lead, and which name must be shown there. */
const delegations = [
  { to: '203.0.113.9', at: '203.0.113.9:8448', cert: { ipAddresses: ['203.0.113.9'] }, sni: false },
  { to: '203.0.113.9:77', at: '203.0.113.9:77', cert: { ipAddresses: ['203.0.113.9'] }, sni: false },
  { to: '[2001:db8::9]:77', at: '[2001:db8::9]:77', cert: { ipAddresses: ['2001:db8::9'] }, sni: false },
  { to: 'matrix.example.com:77', at: '203.0.113.10:77', cert: { dnsNames: ['matrix.example.com'] } },
  { to: 'matrix.example.com', at: '203.0.113.10:8448', cert: { dnsNames: ['matrix.example.com'] } },
  { to: 'matrix.example.com', at: '203.0.113.11:555', cert: { dnsNames: ['matrix.example.com'] }, srv: '_matrix-fed' },
  { to: 'matrix.example.com', at: '203.0.113.11:555', cert: { dnsNames: ['matrix.example.com'] }, srv: '_matrix' },
] as const;

for (const { to, at, cert, srv, sni } of delegations.map((each) => ({ srv: undefined, sni: undefined, ...each }))) {
  test(`a delegation to ${to} ${srv === undefined ? '' : `with an SRV record ${srv} `}leads to ${at}`, async () => {
    await using internet = await SmallInternet.start();
    internet.hosts.set('example.com', ['198.51.100.7']);
    internet.hosts.set('matrix.example.com', ['203.0.113.10']);
    internet.hosts.set('box.example.net', ['203.0.113.11']);
    if (srv !== undefined) {
      internet.services.set(`${srv}._tcp.matrix.example.com`, [{ target: 'box.example.net', port: 555 }]);
    }
    // What the name itself has for records does not count any more.
    internet.services.set('_matrix-fed._tcp.example.com', [{ target: 'box.example.net', port: 1 }]);
    await internet.serve('198.51.100.7:443', { dnsNames: ['example.com'] }, delegateTo(to));
    await internet.serve(at, cert, here);
    await version(internet.network(), 'example.com');
    const [asked, sent] = internet.seen;
    assert.equal(asked?.url, '/.well-known/matrix/server');
    assert.deepEqual([asked?.sni, asked?.host], ['example.com', 'example.com']);
    assert.deepEqual([sent?.sni, sent?.host], [sni ?? 'matrix.example.com', to]);
    assert.equal(internet.dialled.at(-1), at);
  });
}

test('without a delegation, SRV records are followed, and the certificate is still for the name', async () => {
  for (const service of ['_matrix-fed._tcp', '_matrix._tcp']) {
    await using internet = await SmallInternet.start();
    internet.hosts.set('example.com', ['198.51.100.7']);
    internet.hosts.set('box.example.net', ['203.0.113.11']);
    internet.services.set(`${service}.example.com`, [{ target: 'box.example.net', port: 555 }]);
    await internet.serve('198.51.100.7:443', { dnsNames: ['example.com'] }, notFound);
    await internet.serve('203.0.113.11:555', { dnsNames: ['example.com'] }, here);
    await version(internet.network(), 'example.com');
    assert.deepEqual([internet.seen.at(-1)?.sni, internet.seen.at(-1)?.host], ['example.com', 'example.com']);
  }
});

test('the registered SRV name goes before the old one', async () => {
  await using internet = await SmallInternet.start();
  internet.hosts.set('new.example.net', ['203.0.113.1']);
  internet.hosts.set('old.example.net', ['203.0.113.2']);
  internet.services.set('_matrix-fed._tcp.example.com', [{ target: 'new.example.net', port: 1 }]);
  internet.services.set('_matrix._tcp.example.com', [{ target: 'old.example.net', port: 2 }]);
  await internet.serve('203.0.113.1:1', { dnsNames: ['example.com'] }, here);
  await version(internet.network(), 'example.com');
  assert.deepEqual(internet.dialled, ['203.0.113.1:1']);
});

test('without delegation and SRV records, port 8448 of the name is tried', async () => {
  await using internet = await SmallInternet.start();
  internet.hosts.set('example.com', ['198.51.100.7']);
  await internet.serve('198.51.100.7:8448', { dnsNames: ['example.com'] }, here);
  await version(internet.network(), 'example.com');
  assert.deepEqual(internet.dialled, ['198.51.100.7:443', '198.51.100.7:8448']);
  assert.equal(internet.seen[0]?.host, 'example.com');
});

test('when one place of several does not answer, the next one is tried', async () => {
  await using internet = await SmallInternet.start();
  internet.hosts.set('one.example.net', ['203.0.113.1']);
  internet.hosts.set('two.example.net', ['2001:db8::2', '203.0.113.2', '203.0.113.3']);
  internet.services.set('_matrix-fed._tcp.example.com', [
    { target: 'gone.example.net', port: 1, priority: 1 },
    { target: 'two.example.net', port: 3, priority: 3 },
    { target: 'one.example.net', port: 2, priority: 2 },
  ]);
  const wrong = { dnsNames: ['somebody.else'] };
  await internet.serve('203.0.113.1:2', wrong, here);
  await internet.serve('203.0.113.3:3', { dnsNames: ['example.com'] }, here);
  await version(internet.network(), 'example.com');
  assert.deepEqual(internet.dialled, ['203.0.113.1:2', '[2001:db8::2]:3', '203.0.113.2:3', '203.0.113.3:3']);
});

test('an address that does not answer at all holds nobody up for long', async () => {
  await using internet = await SmallInternet.start();
  internet.hosts.set('example.com', ['2001:db8::1', '203.0.113.1']);
  internet.blackHoles.add('2001:db8::1');
  await internet.serve('203.0.113.1:99', { dnsNames: ['example.com'] }, here);
  const clock = new ManualClock();
  const asking = version(internet.network({ clock }), 'example.com:99');
  while (internet.dialled.length === 0) await clock.advance(0);
  await clock.advance(250);
  await asking;
  assert.deepEqual(internet.dialled, ['[2001:db8::1]:99', '203.0.113.1:99']);
});

test('SRV records with the target "." say that there is no server', async () => {
  await using internet = await SmallInternet.start();
  internet.hosts.set('example.com', ['198.51.100.7']);
  internet.services.set('_matrix-fed._tcp.example.com', [{ target: '', port: 0 }]);
  await internet.serve('198.51.100.7:8448', { dnsNames: ['example.com'] }, here);
  await assert.rejects(version(internet.network(), 'example.com'), { kind: 'unreachable' });
  assert.deepEqual(internet.dialled, ['198.51.100.7:443']);
});

test('name servers that leave questions for SRV records unanswered do not matter', async () => {
  await using internet = await SmallInternet.start();
  internet.hosts.set('example.com', ['198.51.100.7']);
  internet.silentNames.add('_matrix-fed._tcp.example.com').add('_matrix._tcp.example.com');
  await internet.serve('198.51.100.7:8448', { dnsNames: ['example.com'] }, here);
  await version(internet.network(), 'example.com');
  assert.equal(internet.seen.length, 1);
});

test('records that cannot be renewed go on being used', async () => {
  await using internet = await SmallInternet.start();
  internet.hosts.set('box.example.net', ['203.0.113.11']);
  internet.services.set('_matrix-fed._tcp.example.com', [{ target: 'box.example.net', port: 555 }]);
  await internet.serve('203.0.113.11:555', { dnsNames: ['example.com'] }, here);
  const clock = new ManualClock();
  const network = internet.network({ clock });
  await version(network, 'example.com');
  internet.silentNames.add('_matrix-fed._tcp.example.com').add('_matrix._tcp.example.com');
  await clock.advance(3_600_000);
  await version(network, 'example.com');
  assert.equal(internet.seen.length, 2);
});

test('names with ports or addresses there are not lead nowhere', async () => {
  await using internet = await SmallInternet.start();
  const network = internet.network();
  for (const name of ['example.com:0', 'example.com:65536', '[::::]', '[1.2.3.4]:80']) {
    await assert.rejects(version(network, name), { kind: 'unreachable' });
  }
  assert.deepEqual(internet.dialled, []);
});

test('places of one priority are chosen by their weight', () => {
  const record = (target: string, weight: number, priority = 1) => ({ target, weight, priority, port: 1 });
  const first = new Map<string, number>();
  for (let i = 0; i < 2000; i += 1) {
    const [chosen, ...rest] = orderServices(
      [record('last', 1000, 2), record('light', 10), record('heavy', 90), record('none', 0)],
      systemRandom,
    );
    first.set(chosen?.target ?? '', (first.get(chosen?.target ?? '') ?? 0) + 1);
    assert.equal(rest.at(-1)?.target, 'last');
    assert.equal(rest.length, 3, 'each comes once');
  }
  const heavy = first.get('heavy') ?? 0;
  const light = first.get('light') ?? 0;
  assert.ok(heavy > 1600 && light > 100 && light < 400, `heavy ${heavy}, light ${light}`);
});
