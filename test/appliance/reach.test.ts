import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { clientUrls } from '../../server/appliance-ports/client-url.ts';
import { connectGuide } from '../../server/appliance/setup/connect.ts';
import { listOwnAddresses } from '../../server/appliance/setup/own-addresses.ts';
import { findClientPort } from '../../server/cli/free-port.ts';
import { makeDataDir } from '../../server/config/data-dir.ts';
import { makeAuthority } from '../kit/certificates.ts';
import { TestAppliance } from './appliance-kit.ts';

const NORA = { username: 'nora', password: 'a quiet evening' };
const NAME = 'fern.example.com';

/** A server for the home that nora runs, under a name that it can keep in the world. */
async function settle(house: TestAppliance): Promise<string> {
  await house.call('PUT /setup', { body: { reach: 'home', serverName: NAME } });
  await house.call('POST /setup/finish', { body: NORA });
  return join(house.dataDir, 'homeserver.yaml');
}

interface Listener {
  readonly port: number;
  readonly tls: boolean;
  readonly x_forwarded?: boolean;
  readonly bind_addresses: readonly string[];
}
function listenersOf(file: string): Listener[] {
  return (parse(readFileSync(file, 'utf8')) as { listeners: Listener[] }).listeners;
}

test('after a change of the way, what stands in the configuration is true again, its remarks too', async () => {
  await using house = await TestAppliance.start();
  const file = await settle(house);
  const first = readFileSync(file, 'utf8');
  await house.call('PUT /reach', { body: { reach: 'proxy' } });
  const text = readFileSync(file, 'utf8');
  assert.match(text, /listeners:\n {2}# For clients and other servers: the reverse proxy/);
  assert.doesNotMatch(text, /all of the home network|none at all/);
  assert.match(text, /^# The address clients reach.*\npublic_baseurl: "https:\/\/fern\.example\.com\/"$/m);
  await house.call('PUT /reach', { body: { reach: 'home' } });
  const back = readFileSync(file, 'utf8');
  assert.match(back, /# For clients, from all of the home network\.\n {2}- port/);
  assert.match(
    back,
    /none at all\. Without this line, it is every server there is\.\nfederation_domain_whitelist: \[\]/,
  );
  assert.deepEqual(parse(back), parse(first));
  assert.deepEqual(await house.call('PUT /reach', { body: { reach: 'home' } }), { needsRestart: false });
});

test('listeners that somebody adjusted stay as long as they do for the way, and others are nobody’s business', async () => {
  await using house = await TestAppliance.start();
  const file = await settle(house);
  await house.call('PUT /reach', { body: { reach: 'proxy' } });
  const adjusted = readFileSync(file, 'utf8').replace(
    /bind_addresses: .*/,
    "# Nora's proxy is in the cellar.\n    bind_addresses: ['127.0.0.1', '192.168.1.5']",
  );
  const socket = '\n  - path: extra.sock\n    type: http\n    resources:\n      - names: [client]\n\ndatabase:';
  writeFileSync(file, adjusted.replace(/\n\n# Where everything[^\n]*\ndatabase:/, socket));
  await house.call('PUT /reach', { body: { reach: 'proxy', publicUrl: 'https://chat.fern.example.com' } });
  assert.match(readFileSync(file, 'utf8'), /# Nora's proxy is in the cellar\./);
  assert.deepEqual(listenersOf(file)[0]?.bind_addresses, ['127.0.0.1', '192.168.1.5']);
  assert.equal((await house.call('GET /setup')).draft.publicUrl, 'https://chat.fern.example.com');

  await house.call('PUT /reach', { body: { reach: 'home' } });
  const [home, other, ...none] = listenersOf(file) as (Listener & { path?: string })[];
  assert.equal(home?.x_forwarded, undefined, 'what stood in front is not believed any more');
  assert.equal(other?.path, 'extra.sock');
  assert.deepEqual(none, []);
  assert.match(readFileSync(file, 'utf8'), /# Nora's proxy is in the cellar\./);
});

test('a certificate has to be of the name, with its key, and of use; what has it in front of Hearth needs none', async () => {
  await using house = await TestAppliance.start();
  const file = await settle(house);
  const before = readFileSync(file, 'utf8');
  const authority = await makeAuthority();
  const write = (name: string, content: string): string => {
    writeFileSync(join(house.dataDir, name), content);
    return name;
  };
  const good = await authority.issue({ dnsNames: [NAME] });
  const other = await authority.issue({ dnsNames: ['moss.example.com'] });
  const old = await authority.issue({
    dnsNames: [NAME],
    notBefore: new Date(Date.now() - 90 * 86_400_000),
    notAfter: new Date(Date.now() - 86_400_000),
  });
  const tried = async (cert: string, key: string): Promise<string> => {
    const answer = await house.ask('PUT /reach', {
      body: { reach: 'domain', certificatePath: write('c.pem', cert), privateKeyPath: write('k.pem', key) },
    });
    assert.equal(readFileSync(file, 'utf8') === before, answer.status !== 200);
    const { field, error } = answer.body as { field?: string; error?: string };
    return `${answer.status} ${field ?? ''} ${error ?? ''}`.trim();
  };
  assert.match(
    await tried(other.cert, other.key),
    /^400 certificatePath .* is for moss\.example\.com, and not for fern/,
  );
  assert.match(await tried(good.cert, other.key), /^400 privateKeyPath .* not the key/);
  assert.match(await tried(old.cert, old.key), /^400 certificatePath .* expired/);
  assert.match(await tried('nothing', good.key), /^400 certificatePath .* no certificate/);
  assert.match(await tried(good.cert, 'nothing'), /^400 privateKeyPath .* no private key/);
  assert.equal(await tried(good.cert, good.key), '200');
  assert.deepEqual(
    listenersOf(file).map(({ tls }) => tls),
    [true, false],
  );

  await house.call('PUT /reach', { body: { reach: 'domain' } });
  const [behind, ...none] = listenersOf(file);
  assert.deepEqual([behind?.tls, behind?.x_forwarded, none], [false, true, []], 'what stands in front is believed');
  assert.doesNotMatch(readFileSync(file, 'utf8'), /^tls_/m);
});

test('from where a server is reached is told from its configuration, whoever wrote that or brought it back', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'hearth-reach-'));
  try {
    const { configFile } = makeDataDir(dir, { serverName: NAME, clientPort: 0 });
    const text = readFileSync(configFile, 'utf8');
    writeFileSync(
      configFile,
      text
        .replace('    tls: false\n', '    tls: false\n    x_forwarded: true\n')
        .replace(/^#public_baseurl.*$/m, 'public_baseurl: https://chat.fern.example.com/'),
    );
    // Somebody began to answer the questions before the backup of another server came.
    const stale = { draft: { reach: 'home', serverName: 'hearth.home.arpa' }, isDone: false };
    writeFileSync(join(dir, 'setup.json'), JSON.stringify(stale));
    await using house = await TestAppliance.start({ dataDir: dir });
    const { state } = house.appliance.keeper;
    assert.ok(state.kind === 'running');
    await state.homeserver.ports.accounts.createAdministrator(NORA);
    const { draft } = await house.call('GET /setup');
    assert.deepEqual(draft, { reach: 'proxy', serverName: NAME, publicUrl: 'https://chat.fern.example.com' });
    const { serverName, snippets, filesFrom } = await house.call('GET /delegation');
    assert.deepEqual([serverName, filesFrom], [NAME, 'elsewhere']);
    assert.ok(snippets.length > 5);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('how a device is connected can be asked for ever after, and is for everybody once there are several', async () => {
  await using house = await TestAppliance.start();
  assert.equal((await house.ask('GET /connect')).status, 403, 'not before there is a server');
  await settle(house);
  const connect = await house.call('GET /connect');
  assert.equal(connect.userId, `@nora:${NAME}`);
  const port = new URL(connect.clientUrl).port;
  const page = await fetch(`http://127.0.0.1:${port}${new URL(connect.qr.value).pathname}`);
  assert.equal(page.status, 200);
  assert.match(page.headers.get('content-type') ?? '', /^text\/html/);
  assert.match(await page.text(), new RegExp(`gets to ${NAME}[^]*http://127\\.0\\.0\\.1:${port}<`));

  const { state } = house.appliance.keeper;
  assert.ok(state.kind === 'running');
  await state.homeserver.ports.accounts.createAdministrator({ ...NORA, username: 'olga' });
  const later = await house.call('GET /connect');
  assert.equal(later.userId, undefined);
  for (const { steps } of later.clients) assert.doesNotMatch(steps.join(' '), /nora/);
});

test('what is said of apps holds for the address there is', () => {
  const facts = { serverName: 'hearth.home.arpa', userId: undefined, isOpen: false, platform: 'linux' } as const;
  const home = connectGuide({
    ...facts,
    reach: 'home',
    clientUrls: ['http://192.168.1.4:8008', 'http://10.0.0.9:8008', 'http://[fd00::2]:8008'],
  });
  const told = (name: string): string => JSON.stringify(home.clients.find((client) => client.name === name));
  assert.match(told('Element X'), /refuses addresses of numbers on Android/);
  assert.match(told('Element Web'), /browsers keep such a page/);
  for (const name of ['Element X', 'Element Web']) assert.doesNotMatch(told(name), /"link"/, name);
  assert.doesNotMatch(told('FluffyChat'), /Browser/);
  assert.match(told('Nheko'), /http:\/\/192\.168\.1\.4:8008/);
  assert.deepEqual(
    home.notes.map(({ kind }) => kind),
    ['network', 'address', 'several'],
  );
  assert.match(home.notes[0]?.nextStep ?? '', /8008\/tcp/);
  assert.doesNotMatch(home.notes[2]?.text ?? '', /fd00/);
  const alone = connectGuide({ ...facts, reach: 'home', clientUrls: ['http://localhost:8008'] });
  assert.deepEqual(
    alone.notes.map(({ kind }) => kind),
    ['alone'],
  );

  const world = { ...facts, serverName: NAME, reach: 'proxy', clientUrls: [`https://${NAME}`] } as const;
  const closed = connectGuide(world);
  assert.deepEqual(
    closed.notes.map(({ kind, page }) => [kind, page]),
    [['way', 'reach']],
  );
  assert.deepEqual(connectGuide({ ...world, isOpen: true }).notes, []);
  const elementX = closed.clients.find(({ name }) => name === 'Element X');
  assert.match(elementX?.steps.join(' ') ?? '', /Type fern\.example\.com and/);
  assert.match(elementX?.link ?? '', /account_provider=fern\.example\.com$/);
});

test('phones are given an address of the home network, not one of containers, VPNs or of this machine alone', () => {
  const at = (address: string, internal = false): { address: string; internal: boolean } => ({ address, internal });
  const own = listOwnAddresses({
    lo: [at('127.0.0.1', true)],
    docker0: [at('172.17.0.1')],
    'br-4f1c': [at('172.18.0.1')],
    tailscale0: [at('100.101.1.2')],
    'vEthernet (WSL)': [at('172.29.0.1')],
    eth0: [at('203.0.113.9'), at('2001:db8::7'), at('fe80::1')],
    wlan0: [at('192.168.1.4')],
  });
  assert.deepEqual(own, ['192.168.1.4', '203.0.113.9', '2001:db8::7']);
  assert.deepEqual(listOwnAddresses({ lo: [at('127.0.0.1', true)], wg0: [at('10.8.0.2')] }), ['10.8.0.2']);

  const unknown = { publicBaseUrl: 'https://x.home.arpa/', publicBaseUrlGiven: false };
  const listener = (address: string): Parameters<typeof clientUrls>[1][number] => ({
    address,
    port: 8008,
    tls: false,
    resources: ['client'],
  });
  assert.deepEqual(clientUrls(unknown, [listener('::')], own), [
    'http://192.168.1.4:8008',
    'http://203.0.113.9:8008',
    'http://[2001:db8::7]:8008',
  ]);
  assert.deepEqual(clientUrls(unknown, [listener('127.0.0.1'), listener('192.168.1.4')], own), [
    'http://192.168.1.4:8008',
  ]);
  assert.deepEqual(clientUrls(unknown, [listener('127.0.0.1')], own), ['http://localhost:8008']);
  assert.deepEqual(clientUrls(unknown, [listener('::')], []), ['http://localhost:8008']);
  assert.deepEqual(clientUrls({ ...unknown, publicBaseUrlGiven: true }, [listener('::')], own), [
    'https://x.home.arpa',
  ]);
});

test('a password that is guessed at once is none for whoever runs the server', async () => {
  await using house = await TestAppliance.start();
  const refused = async (password: string): Promise<boolean> => {
    const { problems } = await house.call('POST /setup/check-account', { body: { username: 'nora', password } });
    return problems.some(({ field }) => field === 'password');
  };
  for (const password of ['aaaaaaaa', '        ', 'Password1!', 'nora2024', '12345678', '01.02.1990', 'QWERTZUI'])
    assert.equal(await refused(password), true, password);
  for (const password of ['a quiet evening', '8#2!9&4$7^', 'тихий вечер', 'nora sleeps'])
    assert.equal(await refused(password), false, password);
});

test('while one window makes the server, another does not change what it is to be', async () => {
  await using house = await TestAppliance.start();
  await house.call('PUT /setup', { body: { reach: 'home', serverName: 'hearth.home.arpa' } });
  const finishing = house.ask('POST /setup/finish', { body: NORA });
  const statuses = new Set<number>();
  for (let done = false; !done; ) {
    const put = house.ask('PUT /setup', { body: { reach: 'home', serverName: 'hearth.home.arpa' } });
    done = await Promise.race([finishing.then(() => true), put.then(() => false)]);
    statuses.add((await put).status);
  }
  assert.equal((await finishing).status, 200);
  assert.ok(statuses.has(409) || statuses.has(403), [...statuses].join());
  assert.equal((await house.call('GET /setup')).draft.serverName, 'hearth.home.arpa');
});

test('a new server takes the next port where another program has the usual one', async (t) => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.after(() => other.close());
  const address = other.address();
  assert.ok(typeof address === 'object' && address !== null);
  const found = await findClientPort(address.port);
  assert.ok(found > address.port && found < address.port + 20);
});
