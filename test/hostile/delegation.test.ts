import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DnsError } from '../../server/federation/discovery/dns.ts';
import { dialTcp } from '../../server/federation/outbound/dial.ts';
import { generateSigningKey } from '../../server/matrix/signing.ts';
import { systemRandom } from '../../server/util/random.ts';
import { type ScriptedAnswer, ScriptedServer } from '../kit/scripted-server.ts';
import { TestNetwork } from '../kit/test-network.ts';
import { TestServer } from '../kit/test-server.ts';

const redirect = (location: string, status = 302): ScriptedAnswer => ({ status, headers: { location }, text: '' });
const delegate = (to: unknown): ScriptedAnswer => ({ json: { 'm.server': to } });

function* forever(piece: string): Generator<string> {
  for (;;) yield piece;
}

/** What stands at /.well-known/matrix/server. `inside.test` leads to an address of the local network. */
const DELEGATIONS: Record<string, () => ScriptedAnswer> = {
  'a redirect to an address of our network': () => redirect('https://10.0.0.7/.well-known/matrix/server'),
  'a redirect to a name that leads there': () => redirect('https://inside.test/.well-known/matrix/server', 301),
  'a redirect without encryption': () => redirect('http://inside.test:80/', 307),
  'a redirect to a file': () => redirect('file:///etc/passwd'),
  'a redirect to itself': () => redirect('/.well-known/matrix/server', 308),
  'a redirect to nowhere': () => redirect('https://'),
  'an address of our network': () => delegate('10.0.0.7'),
  'an address of our network with a port': () => delegate('10.0.0.7:8080'),
  'a name that leads to our network': () => delegate('inside.test'),
  'such a name with a port': () => delegate('inside.test:22'),
  'an address of the newer kind': () => delegate('[::ffff:10.0.0.7]:8448'),
  'what is no name': () => delegate('a b/../..?x#y@z'),
  'a name with a line break': () => delegate('away.test\r\nHost: hearth.test'),
  'what is no text': () => delegate({ a: 1 }),
  'a very long name': () => delegate('x'.repeat(100_000)),
  'no JSON': () => ({ text: '<html>' }),
  'something without end': () => ({ pieces: forever(' '.repeat(65_536)) }),
};

test('wherever a server’s own file says it is, it is not looked for within our network, and not without end', async () => {
  await using set = await TestNetwork.start([]);
  const { network } = set;
  const key = generateSigningKey(systemRandom.bytes(32));
  const dialled: { readonly address: string; readonly port: number }[] = [];
  const played = new Map<string, ScriptedServer>();
  await using home = await TestServer.start({
    serverName: 'hearth.test',
    config: { ...(await network.configOf('hearth.test')), ip_range_blacklist: ['10.0.0.0/8', '::ffff:10.0.0.0/104'] },
    network: {
      dns: {
        addresses: async (host) => {
          if (host === 'inside.test') return { value: ['10.0.0.7'], ttlMs: 0 };
          if (!played.has(host)) throw new DnsError(`${host} is not known here`, true);
          return { value: ['127.0.0.1'], ttlMs: 0 };
        },
        services: async () => ({ value: [], ttlMs: 0 }),
      },
      dial: async (address, port, signal) => {
        dialled.push({ address, port });
        const [current] = [...played.values()].slice(-1);
        if (port !== 443 || current?.federationPort === undefined) {
          throw Object.assign(new Error('nobody answers'), { code: 'ECONNREFUSED' });
        }
        return dialTcp(address, current.federationPort, signal);
      },
    },
  });
  const alice = await home.register('alice');
  for (const [at, [what, answer]] of Object.entries(DELEGATIONS).entries()) {
    const name = `well${at}.test`;
    await using server = await ScriptedServer.start(network, { name, key });
    played.set(name, server);
    server.script(({ path }) => (path === '/.well-known/matrix/server' ? answer() : undefined));
    const before = dialled.length;
    const { status } = await alice.post(
      `/_matrix/client/v3/join/${encodeURIComponent(`!room:${name}`)}`,
      {},
      { via: name },
    );
    assert.ok(status >= 400 && status !== 500, `${what}: ${status}`);
    assert.ok(server.heard.length > 0, `${what}: the file was looked at`);
    assert.ok(server.heard.length <= 12, `${what}: ${server.heard.length} requests`);
    assert.ok(server.written < 8_000_000, `${what}: ${server.written} bytes`);
    assert.ok(dialled.length - before <= 30, `${what}: ${dialled.length - before} connections`);
  }
  const inside = dialled.filter(({ address }) => address !== '127.0.0.1');
  assert.deepEqual(inside, []);
  assert.deepEqual(new Set(dialled.map(({ port }) => port)).has(22), false);
});
