import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { test } from 'node:test';
import { type Answer, decode, encode } from 'dns-packet';
import { examine } from '../../server/appliance/doctor/examine.ts';
import { createPublicDns, type DoctorDns, NameError } from '../../server/appliance/doctor/world.ts';
import { usualLimits } from '../../server/appliance/doctor/world.ts';
import { FakeWorld, matrixServer, wordsOf } from './world/fake-world.ts';

const CODES = { NOERROR: 0, SERVFAIL: 2, NXDOMAIN: 3, REFUSED: 5 } as const;
type Reply = keyof typeof CODES | readonly Answer[] | undefined;

/** A name server; what it answers to `TYPE name`, or to the name alone. Undefined: nothing at all. */
async function withNameServer(
  replies: Readonly<Record<string, Reply>>,
  story: (dns: DoctorDns) => Promise<void>,
): Promise<void> {
  const socket = createSocket('udp4');
  socket.on('message', (bytes, from) => {
    const { id, questions = [] } = decode(bytes);
    const [question] = questions;
    const key = `${question?.type} ${question?.name}`;
    const reply = key in replies ? replies[key] : replies[question?.name ?? ''];
    if (reply === undefined) return;
    const code = typeof reply === 'string' ? CODES[reply] : 0;
    const answers = typeof reply === 'string' ? [] : [...reply];
    socket.send(
      encode({ type: 'response', id: id ?? 0, flags: 0x8180 | code, questions, answers }),
      from.port,
      from.address,
    );
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const resolver = new Resolver({ timeout: 100, tries: 1 });
  resolver.setServers([`127.0.0.1:${socket.address().port}`]);
  try {
    const local = { ipv4: ['127.0.0.1'], ipv6: [] };
    await story(createPublicDns(resolver, async (name) => (name === 'localhost' ? local : undefined)));
  } finally {
    resolver.cancel();
    socket.close();
  }
}

const a = (name: string, data: string): Answer => ({ type: 'A', name, data, ttl: 60 });

test('name servers that err, refuse, are silent or know no such name are told apart, each with its next step', async () => {
  const name = 'lost.rivendell.invalid';
  const alias: Answer = { type: 'CNAME', name, data: 'gone.provider.invalid', ttl: 60 };
  const cases: readonly [Readonly<Record<string, Reply>>, NameError['why'], boolean, RegExp][] = [
    [{ [name]: 'NXDOMAIN' }, 'no-name', true, /^bad: The name .* has no address\. → Add an A record/],
    [{ [name]: 'NOERROR' }, 'no-name', true, /^bad: The name .* has no address/],
    [{ [name]: [alias] }, 'dangling', true, /^bad: .*alias \(CNAME\) of gone\.provider\.invalid.* → Correct the CNAME/],
    [{ [name]: 'SERVFAIL' }, 'server-error', false, /^warning: .*SERVFAIL.*DNSSEC.* → See where the domain is managed/],
    [{ [name]: 'REFUSED' }, 'refused', false, /^warning: .*refuses to tell.* → Have this computer or the router ask/],
    [{}, 'no-answer', false, /^warning: No name server tells where.* → Try again in a moment/],
    [
      { [`A ${name}`]: 'NOERROR', [`CNAME ${name}`]: 'NOERROR', [`AAAA ${name}`]: 'SERVFAIL' },
      'server-error',
      false,
      /SERVFAIL/,
    ],
  ];
  for (const [replies, why, isDefinite, expected] of cases) {
    await withNameServer(replies, async (dns) => {
      await assert.rejects(
        dns.host(name),
        (error) => error instanceof NameError && error.why === why && error.isDefinite === isDefinite,
        why,
      );
      await using world = await FakeWorld.start();
      world.hosts.set(name, 'no-answer');
      const report = await world.examine(name, { dns });
      // What ends in .invalid is found fault with for its name as well.
      assert.match(wordsOf(report, `dns ${name}`), expected);
    });
  }
});

test('aliases are followed, and a name server that fails for one kind of record is told', async () => {
  const name = 'rivendell.invalid';
  const box = 'box.provider.invalid';
  const chain: Answer[] = [
    { type: 'CNAME', name, data: 'middle.provider.invalid', ttl: 60 },
    { type: 'CNAME', name: 'middle.provider.invalid', data: box, ttl: 60 },
    a(box, '51.15.0.7'),
  ];
  await withNameServer(
    { [`A ${name}`]: chain, [`CNAME ${name}`]: chain.slice(0, 1), [`AAAA ${name}`]: 'NOERROR' },
    async (dns) => {
      const { ipv4, ipv6, alias } = await dns.host(name);
      assert.deepEqual([ipv4, ipv6, alias], [['51.15.0.7'], [], 'middle.provider.invalid']);
    },
  );
  await withNameServer(
    { [`A ${name}`]: [a(name, '51.15.0.7')], [`CNAME ${name}`]: 'NOERROR', [`AAAA ${name}`]: 'SERVFAIL' },
    async (dns) => {
      await using world = await FakeWorld.start();
      const report = await world.examine(name, { dns });
      assert.match(
        wordsOf(report, `dns ${name}`),
        /^warning: .*fail where they are asked for AAAA records.* → Tell whoever/,
      );
    },
  );
});

test('what only this machine knows is not said to be unknown outside where nobody outside could be asked', async () => {
  await withNameServer({ localhost: 'NXDOMAIN' }, async (dns) => {
    assert.equal((await dns.host('localhost')).isLocalOnly, true);
  });
  await withNameServer({}, async (dns) => {
    const { ipv4, ipv6, isLocalOnly } = await dns.host('localhost');
    assert.ok(ipv4.length + ipv6.length > 0);
    assert.equal(isLocalOnly, false);
  });
});

test('name servers that never answer hold neither the time limit nor calling off up, and are asked once', async () => {
  await using world = await FakeWorld.start();
  let asked = 0;
  const dns: DoctorDns = {
    host: () => {
      asked += 1;
      return new Promise(() => {});
    },
    services: () => new Promise(() => {}),
  };
  const startedAt = performance.now();
  const report = await world.examine('rivendell.net', { dns, limits: { ...usualLimits, totalMs: 200 } });
  assert.match(wordsOf(report, 'time'), /^warning: The check was broken off/);
  assert.equal(asked, 1);
  const abort = new AbortController();
  const looking = examine('rivendell.net', { world: world.view({ dns }), signal: abort.signal });
  abort.abort(new Error('enough'));
  await assert.rejects(looking, /enough/);
  assert.ok(performance.now() - startedAt < 5_000);
});

test('a host is asked for once, however many things are looked at there', async () => {
  await using world = await FakeWorld.start();
  world.hosts.set('rivendell.net', { ipv4: ['51.15.0.7'] });
  await world.serve({
    at: '51.15.0.7:8448',
    certificate: ['rivendell.net'],
    answer: matrixServer({ name: 'rivendell.net' }),
  });
  const { dns } = world.view();
  const asked: string[] = [];
  await world.examine('rivendell.net', {
    dns: {
      host: (name) => {
        asked.push(name);
        return dns.host(name);
      },
      services: (name) => {
        asked.push(name);
        return dns.services(name);
      },
    },
  });
  assert.deepEqual(asked.toSorted(), ['_matrix-fed._tcp.rivendell.net', '_matrix._tcp.rivendell.net', 'rivendell.net']);
});
