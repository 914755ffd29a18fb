import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer as createTlsServer } from 'node:https';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { DnsError } from '../../server/federation/discovery/dns.ts';
import { dialTcp } from '../../server/federation/outbound/dial.ts';
import { makeAuthority } from '../kit/certificates.ts';
import { TestAppliance } from './appliance-kit.ts';

const NORA = { username: 'nora', password: 'a quiet evening' };

async function login(
  clientUrl: string,
  user: string,
  password: string,
): Promise<{ status: number; body: { user_id?: string } }> {
  const response = await fetch(`${clientUrl}/_matrix/client/v3/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ type: 'm.login.password', identifier: { type: 'm.id.user', user }, password }),
  });
  return { status: response.status, body: (await response.json()) as { user_id?: string } };
}

test('a fresh folder becomes a server of the chosen name, and its first person logs in', async () => {
  await using house = await TestAppliance.start();
  const before = await house.call('GET /setup');
  assert.equal(before.isDone, false);
  assert.equal(before.nameIsFinal, false);
  assert.equal(before.suggestions.homeName, 'hearth.home.arpa');
  assert.equal((await house.call('GET /status')).line, 'setup');

  await house.call('PUT /setup', { body: { reach: 'home', serverName: 'hearth.home.arpa' } });
  assert.equal((await house.call('GET /setup')).draft.serverName, 'hearth.home.arpa');
  const secret = readConfig(house.dataDir)['registration_shared_secret'];
  const done = await house.call('POST /setup/finish', { body: { ...NORA, displayName: 'Nora' } });
  assert.equal(done.userId, '@nora:hearth.home.arpa');
  const connect = await house.call('GET /connect');
  assert.equal(connect.clientUrl, done.clientUrl);
  assert.equal(connect.userId, done.userId, 'while nobody else is here, the steps are for them');
  assert.deepEqual(
    connect.clients.map(({ name }) => name),
    ['Element X', 'Element Web', 'Nheko', 'FluffyChat'],
  );

  const port = new URL(done.clientUrl).port;
  const answer = await login(`http://127.0.0.1:${port}`, 'nora', NORA.password);
  assert.equal(answer.status, 200);
  assert.equal(answer.body.user_id, '@nora:hearth.home.arpa');

  const config = readConfig(house.dataDir);
  assert.equal(config['server_name'], 'hearth.home.arpa');
  assert.deepEqual(config['federation_domain_whitelist'], []);
  assert.equal(config['registration_shared_secret'], secret, 'what setting up does not decide stays');
  assert.ok(existsSync(join(house.dataDir, 'hearth.home.arpa.signing.key')));
  assert.ok(existsSync(join(house.dataDir, 'homeserver.db.unused')), 'the nameless database was set aside');

  const status = await house.call('GET /status');
  assert.equal(status.line, 'network-only');
  assert.equal(status.serverName, 'hearth.home.arpa');
  assert.deepEqual(status.counts, { people: 1, devices: 1, rooms: 0, messagesToday: 0 });
  const after = await house.call('GET /setup');
  assert.equal(after.isDone, true);
  assert.equal(after.nameIsFinal, true);
  assert.equal((await house.ask('PUT /setup', { body: { reach: 'home', serverName: 'other.home.arpa' } })).status, 403);
  assert.equal((await house.ask('POST /setup/finish', { body: { ...NORA, username: 'olga' } })).status, 403);
});

test('behind a proxy and with a domain, listeners and addresses follow the answers', async () => {
  await using proxied = await TestAppliance.start();
  await proxied.call('PUT /setup', { body: { reach: 'proxy', serverName: 'fern.example.com', publicUrl: '' } });
  const done = await proxied.call('POST /setup/finish', { body: NORA });
  assert.equal(done.clientUrl, 'https://fern.example.com');
  const config = readConfig(proxied.dataDir);
  assert.equal(config['serve_server_wellknown'], true);
  const [listener] = config['listeners'] as { x_forwarded: boolean; bind_addresses: string[]; port: number }[];
  assert.equal(listener?.x_forwarded, true);
  assert.ok(listener?.bind_addresses.includes('127.0.0.1'));
  assert.notEqual((await proxied.call('GET /status')).line, 'network-only');

  await using other = await TestAppliance.start();
  const body = { reach: 'proxy', serverName: 'fern.example.com', publicUrl: 'https://chat.fern.example.com' } as const;
  await other.call('PUT /setup', { body });
  assert.equal((await other.call('POST /setup/finish', { body: NORA })).clientUrl, 'https://chat.fern.example.com');
  assert.equal(readConfig(other.dataDir)['serve_server_wellknown'], undefined);
});

test('answers that lead nowhere are refused by their field, and nothing has changed', async () => {
  await using house = await TestAppliance.start();
  const file = join(house.dataDir, 'homeserver.yaml');
  const before = readFileSync(file, 'utf8');
  const refused = async (draft: object, account: object = NORA): Promise<unknown> => {
    await house.call('PUT /setup', { body: { reach: 'home', serverName: 'hearth.home.arpa', ...draft } });
    const answer = await house.ask('POST /setup/finish', { body: account as typeof NORA });
    assert.equal(answer.status, 400, JSON.stringify(answer.body));
    assert.equal(readFileSync(file, 'utf8'), before);
    return (answer.body as { field: unknown }).field;
  };
  assert.equal(await refused({ serverName: 'https://x' }), 'serverName');
  assert.equal(await refused({}, { ...NORA, password: 'short' }), 'password');
  assert.equal(await refused({}, { ...NORA, username: 'Nora N' }), 'username');
  assert.equal(await refused({ publicUrl: 'chat.example.com' }), 'publicUrl');
  const nowhere = { certificatePath: '/nowhere/chain.pem', privateKeyPath: '/nowhere/key.pem' };
  const domain = { reach: 'domain', serverName: 'fern.example.com' };
  assert.equal(await refused({ ...domain, ...nowhere }), 'certificatePath');
  assert.equal(await refused({ ...domain, certificatePath: '/nowhere/chain.pem' }), 'privateKeyPath');
  assert.deepEqual(
    readdirSync(house.dataDir).filter(
      (name) => name.includes('unused') || name.includes('.new') || name.endsWith('.setup'),
    ),
    [],
  );
  assert.equal((await house.call('GET /setup')).isDone, false);
});

test('while typing, each mistake in a name gets a sentence of its own', async () => {
  await using house = await TestAppliance.start({ network: worldOf({}) });
  for (const [reach, serverName, verdict, text] of [
    ['home', '', 'refused', /Type one/],
    ['home', 'https://fern.example.com/', 'refused', /fern\.example\.com$/],
    ['home', 'my house', 'refused', /spaces/],
    ['home', 'nora@fern.example.com', 'refused', /@/],
    ['home', 'fern.example.com/x', 'refused', /slashes/],
    ['home', '192.168.1.4', 'refused', /numbers/],
    ['home', '[2001:db8::1]', 'refused', /numbers/],
    ['home', 'fern.example.com:8448', 'refused', /port/],
    ['home', 'Fern.example.com', 'refused', /Write fern\.example\.com/],
    ['home', 'my_house.home.arpa', 'refused', /my-house\.home\.arpa/],
    ['home', 'häuschen.home.arpa', 'refused', /xn--/],
    ['home', '-x.home.arpa', 'refused', /letters, digits/],
    ['home', `${'a'.repeat(64)}.home.arpa`, 'refused', /letters, digits/],
    ['home', 'localhost', 'refused', /every device/i],
    ['home', 'hearth.local', 'warning', /devices of a network/],
    ['home', 'hearth', 'warning', /without a dot/],
    ['home', 'fern.example.com', 'warning', /If this domain is yours/],
    ['home', 'hearth.home.arpa', 'good', /good name/],
    ['domain', 'hearth.home.arpa', 'refused', /nobody outside/],
    ['proxy', 'hearth.local', 'refused', /nobody outside/],
    ['domain', 'hearth', 'refused', /without a dot/],
  ] as const) {
    const check = await house.call('POST /setup/check-name', { body: { reach, serverName } });
    assert.equal(check.verdict, verdict, `${serverName}: ${JSON.stringify(check.findings)}`);
    const [finding] = check.findings;
    assert.match(`${finding?.text} ${finding?.nextStep ?? ''}`.trim(), text, serverName);
    assert.equal(finding?.verdict === 'good', finding?.nextStep === undefined, 'what is not well has a next step');
  }
});

test('a name is looked up: nowhere yet, at home, or somewhere; and nobody waits for a silent world', async () => {
  await using house = await TestAppliance.start({
    network: worldOf({
      'home.example.com': ['192.168.1.4'],
      'away.example.com': ['198.51.100.7'],
      'silent.example.com': 'silence',
    }),
  });
  const check = async (serverName: string): Promise<Record<string, string>> => {
    const { findings } = await house.call('POST /setup/check-name', { body: { reach: 'domain', serverName } });
    return Object.fromEntries(findings.map(({ id, verdict }) => [id, verdict]));
  };
  assert.deepEqual(await check('nowhere.example.com'), { address: 'warning', 'other-server': 'good' });
  assert.deepEqual(await check('home.example.com'), { address: 'warning', 'other-server': 'good' });
  assert.deepEqual(await check('away.example.com'), { address: 'good', 'other-server': 'good' });
  assert.deepEqual(await check('silent.example.com'), { address: 'skipped', 'other-server': 'skipped' });
});

test('a configuration that cannot be used is explained with its line, and the interface is there', async () => {
  await using first = await TestAppliance.start();
  const file = join(first.dataDir, 'homeserver.yaml');
  writeFileSync(file, `${readFileSync(file, 'utf8')}\nallow_guest_access: maybe\n`);
  const status = await first.call('POST /server/restart');
  assert.equal(status.line, 'failed');
  const [reason] = status.reasons;
  assert.equal(reason?.kind, 'configuration');
  assert.match(reason?.text ?? '', /homeserver\.yaml:\d+:\d+: allow_guest_access: expected true or false/);
  assert.equal((await first.ask('GET /history', { query: { hours: 2 } })).status, 503);
  const settings = await first.call('GET /settings');
  assert.equal(
    settings.settings.find(({ path }) => path === 'allow_guest_access')?.problem?.includes('expected'),
    true,
  );
  assert.equal(settings.problems.length, 1);
  // The setting at fault can be put right in the interface.
  await first.call('PUT /settings', { body: { values: { allow_guest_access: false } } });
  assert.equal((await first.call('POST /server/restart')).line, 'setup');
});

test('a server that does not start as it was to be set up is as it was before', async (t) => {
  await using house = await TestAppliance.start();
  // Somebody else has the port for other servers; should it be taken by another program already, all the better.
  const other = createServer();
  other.on('error', () => undefined);
  other.listen(8448, '::');
  t.after(() => other.close());
  const authority = await makeAuthority();
  const { cert, key } = await authority.issue({ dnsNames: ['fern.example.com'] });
  const paths = { certificatePath: join(house.dataDir, 'chain.pem'), privateKeyPath: join(house.dataDir, 'key.pem') };
  writeFileSync(paths.certificatePath, cert);
  writeFileSync(paths.privateKeyPath, key);
  const file = join(house.dataDir, 'homeserver.yaml');
  const before = readFileSync(file, 'utf8');
  await house.call('PUT /setup', { body: { reach: 'domain', serverName: 'fern.example.com', ...paths } });
  const answer = await house.ask('POST /setup/finish', { body: NORA });
  assert.equal(answer.status, 500);
  assert.match((answer.body as { error: string }).error, /as it was before: .*8448/);
  assert.equal(readFileSync(file, 'utf8'), before);
  assert.equal(existsSync(join(house.dataDir, 'homeserver.db.unused')), false);
  const status = await house.call('GET /status');
  assert.deepEqual([status.line, status.serverName], ['setup', 'localhost']);
  // Another answer, and it goes on.
  await house.call('PUT /setup', { body: { reach: 'home', serverName: 'hearth.home.arpa' } });
  assert.equal((await house.call('POST /setup/finish', { body: NORA })).userId, '@nora:hearth.home.arpa');
});

test('a server for the home is opened to the world later, under the name it has, and its comments stay', async () => {
  await using house = await TestAppliance.start();
  const early = await house.ask('PUT /reach', { body: { reach: 'home' } });
  assert.equal(early.status, 403, 'not before it is set up');
  await house.call('PUT /setup', { body: { reach: 'home', serverName: 'fern.example.com' } });
  await house.call('POST /setup/finish', { body: NORA });
  const file = join(house.dataDir, 'homeserver.yaml');
  writeFileSync(file, `${readFileSync(file, 'utf8')}\n# Nora likes it large.\nmax_upload_size: 70M\n`);
  assert.deepEqual(await house.call('PUT /reach', { body: { reach: 'proxy' } }), { needsRestart: true });
  const config = readConfig(house.dataDir);
  assert.equal(config['server_name'], 'fern.example.com');
  assert.equal(config['public_baseurl'], 'https://fern.example.com/');
  assert.equal('federation_domain_whitelist' in config, false);
  assert.match(readFileSync(file, 'utf8'), /# Nora likes it large\.\nmax_upload_size: 70M/);
  const status = await house.call('POST /server/restart');
  assert.notEqual(status.line, 'network-only');
  assert.equal(status.clientUrl, 'https://fern.example.com');
  assert.equal((await house.call('GET /setup')).draft.reach, 'proxy');
  assert.deepEqual(await house.call('PUT /reach', { body: { reach: 'proxy' } }), { needsRestart: false });
  const wrong = await house.ask('PUT /reach', { body: { reach: 'proxy', publicUrl: 'fern' } });
  assert.equal((wrong.body as { field: string }).field, 'publicUrl');
});

test('of two who finish at once, one is told to wait', async () => {
  await using house = await TestAppliance.start();
  await house.call('PUT /setup', { body: { reach: 'home', serverName: 'hearth.home.arpa' } });
  const answers = await Promise.all([
    house.ask('POST /setup/finish', { body: NORA }),
    house.ask('POST /setup/finish', { body: { ...NORA, username: 'olga' } }),
  ]);
  const statuses = answers.map(({ status }) => status);
  assert.deepEqual(new Set(statuses), new Set([200, 409]));
});

test('that another Matrix server answers under a name is found out', async (t) => {
  const authority = await makeAuthority();
  const server = createTlsServer(await authority.issue({ dnsNames: ['fern.example.com'] }), (request, response) => {
    response.setHeader('content-type', 'application/json');
    const isKeys = request.url === '/_matrix/key/v2/server' && request.headers.host?.startsWith('fern.') === true;
    const isFile = request.url === '/.well-known/matrix/server' && request.headers.host === 'moss.example.com';
    if (isKeys) response.end(JSON.stringify({ server_name: 'fern.example.com' }));
    else if (isFile) response.end(JSON.stringify({ 'm.server': 'matrix.moss.example.com:443' }));
    else response.writeHead(404).end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const known = {
    'fern.example.com': ['198.51.100.7'],
    'moss.example.com': ['198.51.100.7'],
    'matrix.moss.example.com': ['198.51.100.7'],
  };
  await using house = await TestAppliance.start({
    network: { ...worldOf(known), dial: (_address, _port, signal) => dialTcp('127.0.0.1', port, signal) },
  });
  const check = async (serverName: string): Promise<string> => {
    const { findings, verdict } = await house.call('POST /setup/check-name', { body: { reach: 'domain', serverName } });
    assert.equal(verdict, 'warning');
    return findings.find(({ id }) => id === 'other-server')?.text ?? '';
  };
  assert.match(await check('fern.example.com'), /answers as fern\.example\.com already/);
  assert.match(await check('moss.example.com'), /its Matrix server is matrix\.moss\.example\.com:443/);
});

function readConfig(dataDir: string): Record<string, unknown> {
  return parse(readFileSync(join(dataDir, 'homeserver.yaml'), 'utf8')) as Record<string, unknown>;
}

/** A world where only these hosts have addresses, and nobody answers at any of them. */
function worldOf(
  hosts: Readonly<Record<string, readonly string[] | 'silence'>>,
): NonNullable<NonNullable<Parameters<typeof TestAppliance.start>[0]>['network']> {
  const never = (): Promise<never> => new Promise(() => undefined);
  return {
    dns: {
      addresses: async (host) => {
        const found = hosts[host];
        if (found === 'silence') return never();
        if (found === undefined) throw new DnsError(`${host} is not known`, true);
        return { value: found, ttlMs: 60_000 };
      },
      services: async () => ({ value: [], ttlMs: 60_000 }),
    },
    dial: async () => {
      throw Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
    },
  };
}
