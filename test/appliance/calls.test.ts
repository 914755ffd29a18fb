import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { DoctorReport, Finding } from '../../server/appliance/contract.ts';
import { checkTurn, type TurnCheck } from '../../server/appliance/calls/turn/check.ts';
import { parseTurnUri } from '../../server/appliance/calls/turn/uri.ts';
import { usualLimits } from '../../server/appliance/doctor/world.ts';
import { systemRandom } from '../../server/util/random.ts';
import { TestAppliance } from './appliance-kit.ts';
import { Coturn, isCoturnHere, PlayedTurn } from './world/turn-servers.ts';
import { FakeWorld } from './world/fake-world.ts';

const SECRET = 'the secret of both';

function check(world: FakeWorld, more: Partial<TurnCheck> = {}): TurnCheck {
  return {
    world: world.view(),
    random: systemRandom,
    credentials: credentials(SECRET),
    hasSharedSecret: true,
    signal: new AbortController().signal,
    ...more,
  };
}

function credentials(secret: string): { username: string; password: string } {
  const username = `${Math.floor(Date.now() / 1000) + 600}:nora`;
  return { username, password: createHmac('sha1', secret).update(username).digest('base64') };
}

const words = ({ verdict, text, nextStep = '' }: Finding): string => `${verdict}: ${text} → ${nextStep}`;

test('addresses of TURN servers are read as they are meant', () => {
  assert.deepEqual(parseTurnUri('turn:turn.example.com'), {
    uri: 'turn:turn.example.com',
    kind: 'turn',
    host: 'turn.example.com',
    port: 3478,
    transport: 'udp',
  });
  assert.equal(parseTurnUri('turn:a.example:5000?transport=tcp')?.transport, 'tcp');
  assert.equal(parseTurnUri('turns:a.example?transport=tcp')?.port, 5349);
  assert.equal(parseTurnUri('turns:a.example')?.transport, 'tls');
  assert.equal(parseTurnUri('turn:[2001:db8::1]:3478')?.host, '2001:db8::1');
  for (const wrong of [
    'turn.example.com',
    'https://a',
    'turn:a:0',
    'turn:a:70000',
    'turn:a?transport=sctp',
    'turn:',
    'turns:a?transport=udp',
    'turn:[x]',
  ]) {
    assert.equal(parseTurnUri(wrong), undefined, wrong);
  }
});

test('what a TURN server may answer: each has its own words', async () => {
  await using world = await FakeWorld.start();
  await using played = await PlayedTurn.start();
  const uri = `turn:127.0.0.1:${played.port}?transport=udp`;
  for (const [mode, expected] of [
    ['public', /^good: Calls can be relayed: what was sent through it came back/],
    ['stale', /^good: Calls can be relayed/],
    [
      'private',
      /^warning: It relays, but the address it gives out, 10\.0\.0\.5, is an address of a home network.* → .*external-ip=/,
    ],
    ['swallows', /^warning: It grants a relay, but nothing that was sent through it came back\. → Open the ports/],
    ['no-self', /^good: It grants relays to people of this server/],
    ['open', /^warning: It relays for everybody, without a password.* → Switch authentication on/],
    ['wrong-password', /^bad: The TURN server does not accept our name and password\. → Make the shared secret/],
    ['forged', /^bad: The TURN server answers with another password than ours/],
    ['full', /^warning: The TURN server is used to capacity/],
    ['no-udp', /^bad: The TURN server does not relay by UDP/],
    ['six-only', /^good: Calls can be relayed: what was sent through it came back/],
    ['no-relay', /^bad: The TURN server has no address to relay from\. → .*relay-ip=/],
    ['forbidden', /^bad: The TURN server forbids it/],
    ['nowhere', /^bad: It grants a relay but does not say where/],
    ['silent', /^bad: .* does not answer \(UDP\)\. → Open port/],
    ['garbage', /^bad: .* does not answer \(UDP\)/],
  ] as const) {
    played.mode = mode;
    const limits = mode === 'silent' || mode === 'garbage' ? { ...usualLimits, connectMs: 300 } : usualLimits;
    const finding = await checkTurn(uri, check(world, { world: world.view({ limits }) }));
    assert.match(words(finding), expected, mode);
    const isSix = finding.details?.some((line) => line.startsWith('It relays from IPv6 addresses only')) === true;
    assert.equal(isSix, mode === 'six-only', mode);
  }
  assert.ok(played.released > 0, 'what was granted is given back');
  played.mode = 'wrong-password';
  assert.match(words(await checkTurn(uri, check(world, { hasSharedSecret: false }))), /→ Make user name and password/);
});

test('a TURN server that is not there, or something else on its port', async () => {
  await using world = await FakeWorld.start();
  const dead = await PlayedTurn.start();
  await dead[Symbol.asyncDispose]();
  assert.match(
    words(await checkTurn(`turn:127.0.0.1:${dead.port}`, check(world))),
    /^bad: Nothing listens on 127\.0\.0\.1:\d+ \(UDP\)/,
  );
  assert.match(
    words(await checkTurn('turn:51.15.0.7?transport=tcp', check(world))),
    /^bad: Nothing listens on 51\.15\.0\.7:3478 \(TCP\)/,
  );
  assert.match(
    words(await checkTurn('turn:lost.example.net', check(world))),
    /^bad: The name lost\.example\.net has no address/,
  );
  assert.match(words(await checkTurn('http://x', check(world))), /^bad: .*no address of a TURN server/);
  await world.listenRaw('51.15.0.7:80', (socket) =>
    socket.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n'),
  );
  assert.match(words(await checkTurn('turn:51.15.0.7:80?transport=tcp', check(world))), /^bad: .*no TURN server/);
  assert.match(words(await checkTurn('turns:51.15.0.7:80', check(world))), /^bad: .*does not come to terms about TLS/);
  await world.serve({ at: '51.15.0.7:5349', certificate: ['other.net'], answer: () => {} });
  world.hosts.set('turn.net', { ipv4: ['51.15.0.7'] });
  assert.match(
    words(await checkTurn('turns:turn.net', check(world))),
    /^bad: The certificate is not for turn\.net but for other\.net/,
  );
});

test('settings of calls go into homeserver.yaml, secrets never come back, and mistakes are refused by field', async () => {
  await using house = await TestAppliance.start();
  assert.deepEqual((await house.call('GET /calls')).settings, {
    uris: [],
    lifetimeSeconds: 3600,
    allowGuests: true,
    hasSharedSecret: false,
    hasPassword: false,
  });
  assert.equal((await house.ask('POST /calls/credentials')).status, 404);
  assert.equal((await house.ask('POST /calls/test')).status, 404);
  const uris = ['turn:turn.example.com?transport=udp', 'turns:turn.example.com'];
  const settings = { uris, lifetimeSeconds: 7200, allowGuests: false };
  const lacking = await house.ask('PUT /calls', { body: settings });
  assert.equal(lacking.status, 400);
  assert.equal((lacking.body as { field: string }).field, 'sharedSecret');
  const wrong = await house.ask('PUT /calls', {
    body: { ...settings, uris: ['turn.example.com'], sharedSecret: SECRET },
  });
  assert.equal((wrong.body as { field: string }).field, 'uris');

  assert.deepEqual(await house.call('PUT /calls', { body: { ...settings, sharedSecret: SECRET } }), {
    needsRestart: true,
  });
  const text = readFileSync(join(house.dataDir, 'homeserver.yaml'), 'utf8');
  assert.match(text, /# The name at the end of every user ID/, 'comments stay');
  assert.match(text, /turn_shared_secret: the secret of both/);
  const shown = await house.call('GET /calls');
  assert.equal(JSON.stringify(shown).includes(SECRET), false);
  assert.equal(shown.settings.hasSharedSecret, true);
  assert.deepEqual(shown.settings.uris, uris);

  await house.call('PUT /calls', { body: { ...settings, lifetimeSeconds: 600 } });
  const made = await house.call('POST /calls/credentials');
  assert.equal(made.ttlSeconds, 600);
  assert.deepEqual(made.uris, uris);
  assert.equal(
    made.password,
    createHmac('sha1', SECRET).update(made.username).digest('base64'),
    'the secret has stayed',
  );
  const expires = Number(made.username.split(':')[0]) - Date.now() / 1000;
  assert.ok(expires > 590 && expires <= 600);

  await house.call('PUT /calls', { body: { uris: [], sharedSecret: '', lifetimeSeconds: 600, allowGuests: false } });
  assert.equal((await house.call('GET /calls')).settings.hasSharedSecret, false);
});

test('the test of calls goes through every address and is remembered', async () => {
  await using played = await PlayedTurn.start();
  await using world = await FakeWorld.start();
  await using house = await TestAppliance.start({ world: world.view() });
  const uris = [`turn:127.0.0.1:${played.port}`, 'turn:51.15.0.9?transport=tcp'];
  await house.call('PUT /calls', { body: { uris, sharedSecret: SECRET, lifetimeSeconds: 600, allowGuests: false } });
  const { jobId } = await house.call('POST /calls/test');
  const report = (await house.finished(jobId)).result as DoctorReport;
  assert.deepEqual(
    report.findings.map(({ verdict }) => verdict),
    ['good', 'bad'],
  );
  assert.match(report.summary, /only 1 of 2 addresses/);
  assert.deepEqual((await house.call('GET /calls')).last, report);
  assert.deepEqual(await house.call('GET /doctor'), {}, 'it is no report of the server’s reachability');
});

test('a test of calls can be called off while nobody answers', async () => {
  await using played = await PlayedTurn.start();
  played.mode = 'silent';
  await using house = await TestAppliance.start();
  const uris = [`turn:127.0.0.1:${played.port}`];
  await house.call('PUT /calls', { body: { uris, sharedSecret: SECRET, lifetimeSeconds: 600, allowGuests: false } });
  const { jobId } = await house.call('POST /calls/test');
  await house.call('POST /jobs/{jobId}/cancel', { params: { jobId } });
  assert.equal((await house.finished(jobId)).state, 'cancelled');
  assert.equal((await house.call('GET /calls')).last, undefined);
});

test('settings that cannot be read are told as such', async () => {
  await using house = await TestAppliance.start();
  const file = join(house.dataDir, 'homeserver.yaml');
  writeFileSync(file, `${readFileSync(file, 'utf8')}\nturn_uris: 5\n`);
  for (const call of ['GET /calls', 'GET /delegation', 'GET /doctor', 'POST /calls/credentials'] as const) {
    const answer = await house.ask(call);
    assert.equal(answer.status, 409, call);
    assert.match((answer.body as { error: string }).error, /turn_uris/);
  }
});

const coturnName = isCoturnHere
  ? 'a real coturn grants and relays with credentials of ours, by UDP, TCP and TLS, and refuses those of another secret'
  : 'credentials are made as coturn takes them (coturn is not installed: not run against it here)';

test(coturnName, async () => {
  const own = credentials(SECRET);
  assert.match(own.username, /^\d+:nora$/);
  assert.equal(Buffer.from(own.password, 'base64').length, 20);
  if (!isCoturnHere) return;
  await using world = await FakeWorld.start();
  await using coturn = await Coturn.start({ secret: SECRET, authority: world.authority });
  const view = world.view();
  const real = {
    ...view,
    // Its ports are on this machine in truth.
    dial: async (address: string, port: number, signal: AbortSignal) => {
      world.network.set(`${address}:${port}`, { host: address, port });
      return view.dial(address, port, signal);
    },
  };
  for (const uri of [
    `turn:127.0.0.1:${coturn.port}?transport=udp`,
    `turn:127.0.0.1:${coturn.port}?transport=tcp`,
    `turns:127.0.0.1:${coturn.tlsPort}`,
  ]) {
    const finding = await checkTurn(uri, check(world, { world: real }));
    // Its relay is on this machine as well, which is rightly remarked upon.
    assert.match(words(finding), /^warning: It relays, but the address it gives out, 127\.0\.0\.1/, uri);
    assert.ok(finding.details?.includes('What was sent through it came back'), JSON.stringify(finding.details));
    assert.ok(
      finding.details?.some((line) => line.startsWith('Program: ')),
      JSON.stringify(finding.details),
    );
    const wrong = await checkTurn(uri, check(world, { world: real, credentials: credentials('another secret') }));
    assert.match(words(wrong), /^bad: The TURN server does not accept our name and password/);
  }
  const old = `${Math.floor(Date.now() / 1000) - 60}:nora`;
  const expired = { username: old, password: createHmac('sha1', SECRET).update(old).digest('base64') };
  const late = await checkTurn(`turn:127.0.0.1:${coturn.port}`, check(world, { world: real, credentials: expired }));
  assert.equal(late.verdict, 'bad', 'credentials whose time is over');
  assert.deepEqual(
    await coturn.relayWith(own),
    { lost: 0 },
    'its own client gets through with what our users are given',
  );
});
