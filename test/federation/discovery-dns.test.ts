import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { test } from 'node:test';
import { type DecodedPacket, decode, encode, type Packet, TRUNCATED_RESPONSE } from 'dns-packet';
import { createSystemDns, type Dns, DnsCache, DnsError } from '../../server/federation/discovery/dns.ts';
import { querySrv } from '../../server/federation/discovery/srv-query.ts';
import { systemClock } from '../../server/util/clock.ts';
import { systemRandom } from '../../server/util/random.ts';
import { ManualClock } from '../kit/manual-clock.ts';

const NAME = '_matrix-fed._tcp.example.com';

/** A name server on this machine that answers with what `respond` makes of a question; undefined: not at all. */
async function nameServer(
  respond: (asked: DecodedPacket) => Packet | Buffer | undefined,
): Promise<{ address: string; asked: () => number } & AsyncDisposable> {
  const socket = createSocket('udp4');
  let asked = 0;
  socket.on('message', (bytes, from) => {
    asked += 1;
    const answer = respond(decode(bytes));
    if (answer !== undefined) socket.send(Buffer.isBuffer(answer) ? answer : encode(answer), from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${socket.address().port}`,
    asked: () => asked,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => socket.close(() => resolve())),
  };
}

const reply = ({ id, questions }: DecodedPacket, more: Partial<Packet>): Packet => ({
  type: 'response',
  id: id ?? 0,
  questions: questions ?? [],
  ...more,
});
const never = { resolveSrv: () => Promise.reject(new Error('nobody asked for this')) };
const ask = (
  servers: readonly string[],
  clock = systemClock,
  resolver: Parameters<typeof querySrv>[1]['resolver'] = never,
) => querySrv(NAME, { random: systemRandom, clock, servers, resolver });

test('SRV records come with the time they hold, also behind an alias', async () => {
  await using server = await nameServer((asked) =>
    reply(asked, {
      answers: [
        { type: 'CNAME', name: NAME, ttl: 700, data: 'Alias.example.net' },
        {
          type: 'SRV',
          name: 'alias.example.net',
          ttl: 600,
          data: { priority: 1, weight: 2, port: 3, target: 'a.example' },
        },
        {
          type: 'SRV',
          name: 'alias.example.net',
          ttl: 500,
          data: { priority: 4, weight: 5, port: 6, target: 'b.example' },
        },
        { type: 'SRV', name: 'other.example', ttl: 1, data: { port: 6, target: 'evil.example' } },
        { type: 'A', name: NAME, ttl: 2, data: '198.51.100.1' },
      ],
    }),
  );
  assert.deepEqual(await ask([server.address]), {
    value: [
      { priority: 1, weight: 2, port: 3, target: 'a.example' },
      { priority: 4, weight: 5, port: 6, target: 'b.example' },
    ],
    ttlMs: 500_000,
  });
});

test('that there are none holds for as long as the zone says', async () => {
  await using server = await nameServer((asked) =>
    reply(asked, {
      flags: 3,
      authorities: [{ type: 'SOA', name: 'example.com', ttl: 900, data: { mname: 'a', rname: 'b', minimum: 120 } }],
    }),
  );
  assert.deepEqual(await ask([server.address]), { value: [], ttlMs: 120_000 });
});

test('a target of "." is told apart from no record', async () => {
  await using server = await nameServer((asked) =>
    reply(asked, { answers: [{ type: 'SRV', name: NAME, ttl: 60, data: { port: 0, target: '.' } }] }),
  );
  assert.deepEqual((await ask([server.address])).value, [{ priority: 0, weight: 0, port: 0, target: '' }]);
});

test('answers to other questions and rubbish are passed over', async () => {
  await using server = await nameServer((asked) => {
    return reply(asked, { id: ((asked.id ?? 0) + 1) % 65_536 });
  });
  await using rubbish = await nameServer(() => Buffer.from('rubbish'));
  await using other = await nameServer((asked) =>
    reply(asked, { questions: [{ type: 'SRV', name: '_matrix-fed._tcp.evil.example' }] }),
  );
  const clock = new ManualClock();
  for (const { address, asked } of [server, rubbish, other]) {
    let isOver = false;
    const asking = ask([address], clock).finally(() => (isOver = true));
    asking.catch(() => {});
    while (asked() === 0) await clock.advance(0);
    while (!isOver) await clock.advance(2000);
    await assert.rejects(asking, { code: 'ETIMEOUT' });
    assert.equal(asked(), 2, 'it is asked twice');
  }
});

test('a name server that is out of order is passed over for the next one', async () => {
  await using broken = await nameServer((asked) => reply(asked, { flags: 2 }));
  await using good = await nameServer((asked) =>
    reply(asked, { answers: [{ type: 'SRV', name: NAME, ttl: 60, data: { port: 1, target: 'a.example' } }] }),
  );
  assert.equal((await ask([broken.address, good.address])).value.length, 1);
});

test('where the answer is cut off, it is asked for in another way', async () => {
  await using server = await nameServer((asked) => reply(asked, { flags: TRUNCATED_RESPONSE }));
  const resolveSrv = async () => [{ name: 'a.example.', port: 1, priority: 2, weight: 3 }];
  assert.deepEqual(await ask([server.address], systemClock, { resolveSrv }), {
    value: [{ target: 'a.example', port: 1, priority: 2, weight: 3 }],
    ttlMs: 60_000,
  });
  const none = () => Promise.reject(Object.assign(new Error('none'), { code: 'ENODATA' }));
  assert.deepEqual((await ask([server.address], systemClock, { resolveSrv: none })).value, []);
  await assert.rejects(ask([server.address]));
});

test('the names of this machine are found', async () => {
  const { value } = await createSystemDns({ random: systemRandom, clock: systemClock }).addresses('localhost');
  assert.ok(value.includes('127.0.0.1') || value.includes('::1'), value.join(' '));
});

test('answers are kept for as long as they say, within bounds, and failures that are definite for a minute', async () => {
  const clock = new ManualClock();
  let ttlMs = 1;
  let lookups = 0;
  let failure: DnsError | undefined;
  const dns: Dns = {
    addresses: async () => {
      lookups += 1;
      if (failure !== undefined) throw failure;
      return { value: ['198.51.100.1'], ttlMs };
    },
    services: async () => ({ value: [], ttlMs }),
  };
  const cache = new DnsCache({ dns, clock });
  const isKeptFor = async (ms: number): Promise<void> => {
    cache.forget('example.com');
    const before = lookups;
    const look = () => cache.addresses('Example.com.').catch((error: unknown) => assert.equal(error, failure));
    await Promise.all([look(), cache.addresses('example.com').catch(() => {})]);
    await clock.advance(ms - 1);
    await look();
    assert.equal(lookups, before + 1);
    await clock.advance(1);
    await look();
    assert.equal(lookups, before + 2);
  };
  await isKeptFor(30_000);
  ttlMs = 120_000;
  await isKeptFor(120_000);
  ttlMs = 99_999_999;
  await isKeptFor(3_600_000);
  failure = new DnsError('no such name', true);
  await isKeptFor(60_000);
  failure = new DnsError('out of order', false);
  cache.clear();
  const before = lookups;
  await assert.rejects(cache.addresses('example.com'), { isDefinite: false });
  await assert.rejects(cache.addresses('example.com'), { isDefinite: false });
  assert.equal(lookups, before + 2);
});
