import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { guide } from '../../server/appliance/delegation/delegation.ts';
import { type DelegationFacts, planWay } from '../../server/appliance/delegation/facts.ts';
import { usualSite, writeSnippets } from '../../server/appliance/delegation/snippets.ts';
import type { DoctorReport } from '../../server/appliance/contract.ts';
import { makeDataDir } from '../../server/config/data-dir.ts';
import { signRequest } from '../../server/federation/request-signing.ts';
import type { ServerName } from '../../server/matrix/identifiers.ts';
import { TestAppliance } from './appliance-kit.ts';
import { FakeWorld, findingOf, matrixServer, someKey } from './world/fake-world.ts';
import { Front, programs } from './world/front-programs.ts';

const NAME = 'rivendell.net';
const listener = {
  port: 8008,
  bindAddresses: ['127.0.0.1'],
  tls: false,
  forClients: true,
  forServers: true,
  trustsForwarded: true,
};

/** What an owner may have added to the file for apps, with all that means something to one of the programs. */
const NASTY = { 'net.rivendell': 'it\'s $host `x` \\ " {env.HOME} %[src] #\n}' };

function factsOf(more: Partial<DelegationFacts> = {}): DelegationFacts {
  return {
    serverName: NAME,
    reach: 'proxy',
    publicUrl: 'https://matrix.rivendell.net/',
    listeners: [listener],
    extraClientContent: {},
    maxUploadBytes: 50 * 1024 * 1024,
    publicAddresses: ['2a01:4f8:1::7'],
    homeAddress: '192.168.1.33',
    ...more,
  };
}

test('the files, records and ports of a server under another name than its own', () => {
  const { wellKnownServer, wellKnownClient, records, ports, snippets } = guide(factsOf());
  assert.deepEqual(JSON.parse(wellKnownServer), { 'm.server': 'matrix.rivendell.net:443' });
  assert.deepEqual(JSON.parse(wellKnownClient), { 'm.homeserver': { base_url: 'https://matrix.rivendell.net' } });
  const named = records.map(({ type, name, value }) => `${type} ${name} ${value}`);
  assert.ok(named.includes('AAAA matrix.rivendell.net. 2a01:4f8:1::7'));
  assert.ok(
    named.includes('A matrix.rivendell.net. (your public IPv4 address)'),
    'an address that nobody knows is not made up',
  );
  assert.ok(named.includes('SRV _matrix-fed._tcp.rivendell.net. 10 5 443 matrix.rivendell.net.'));
  assert.deepEqual(
    ports.map(({ port }) => port),
    [443],
  );
  assert.deepEqual(
    snippets.map(({ id }) => id),
    ['hearth', 'nginx', 'caddy', 'apache', 'haproxy', 'traefik', 'cloudflared', 'elsewhere'],
  );
  for (const { id, text, title, where } of snippets) {
    assert.ok(title !== '' && where !== '', id);
    assert.ok(text.includes('8008'), `${id} names the port of Hearth`);
    assert.equal(text.includes('undefined'), false, id);
    if (id !== 'hearth' && id !== 'elsewhere') assert.ok(text.includes('matrix.rivendell.net'), id);
  }
  assert.ok(snippets.find(({ id }) => id === 'elsewhere')?.text.includes('192.168.1.33'));
});

test('a server under its own name, with its own certificate, with a port in its name, and at home', () => {
  const plain = guide(factsOf({ publicUrl: undefined, reach: 'domain' }));
  assert.deepEqual(JSON.parse(plain.wellKnownServer), { 'm.server': 'rivendell.net:443' });
  assert.equal(
    plain.records.some(({ type }) => type === 'SRV'),
    false,
  );
  assert.ok(plain.snippets.find(({ id }) => id === 'nginx')?.text.includes('location = /.well-known/matrix/client'));

  const direct = guide(
    factsOf({ publicUrl: undefined, reach: 'domain', listeners: [{ ...listener, port: 8448, tls: true }] }),
  );
  assert.deepEqual(JSON.parse(direct.wellKnownServer), { 'm.server': 'rivendell.net:8448' });
  assert.deepEqual(
    direct.ports.map(({ port, to }) => [port, to]),
    [
      [443, 'this computer, port 8448'],
      [8448, 'this computer, port 8448'],
    ],
  );

  const fixed = guide(factsOf({ serverName: 'rivendell.net:9000', publicUrl: undefined }));
  assert.deepEqual(
    fixed.ports.map(({ port }) => port),
    [443, 9000],
    'no file can send others elsewhere',
  );
  assert.ok(fixed.snippets.find(({ id }) => id === 'nginx')?.text.includes('listen 9000 ssl;'));

  const home = guide(factsOf({ serverName: 'hearth.local', publicUrl: undefined, reach: 'home' }));
  assert.deepEqual([home.records, home.ports, home.snippets], [[], [], []]);
  assert.deepEqual(JSON.parse(home.wellKnownClient), { 'm.homeserver': { base_url: 'http://hearth.local:8008' } });
});

test('separate ports for people and servers are kept apart in every text', () => {
  const facts = factsOf({
    listeners: [
      { ...listener, forServers: false },
      { ...listener, port: 8448, forClients: false },
    ],
  });
  const way = planWay(facts);
  for (const { id, text } of writeSnippets(way, usualSite(way, facts))) {
    if (id !== 'elsewhere') assert.ok(text.includes('8448') && text.includes('8008'), id);
  }
});

test('what is YAML can be read as YAML, and what an owner adds to the file for apps breaks out of no text', () => {
  const facts = factsOf({ extraClientContent: NASTY });
  const { snippets, wellKnownClient } = guide(facts);
  assert.equal((JSON.parse(wellKnownClient) as Record<string, unknown>)['net.rivendell'], NASTY['net.rivendell']);
  assert.equal(/['`$]/.test(wellKnownClient), false);
  for (const { id, language, text } of snippets)
    if (language === 'yaml') assert.doesNotThrow(() => parse(text) as unknown, id);
  const traefik = parse(snippets.find(({ id }) => id === 'traefik')?.text ?? '') as { http: { services: object } };
  assert.deepEqual(Object.keys(traefik.http.services), ['hearth']);
});

test('the guidance follows the configuration', async () => {
  await using house = await TestAppliance.start({ serverName: NAME });
  const before = await house.call('GET /delegation');
  assert.equal(before.serverName, NAME);
  const file = join(house.dataDir, 'homeserver.yaml');
  const text = readFileSync(file, 'utf8').replace(
    /^#public_baseurl: .*$/m,
    'public_baseurl: https://matrix.rivendell.net/',
  );
  writeFileSync(file, `${text}\nextra_well_known_client_content: { "net.rivendell": true }\n`);
  const after = await house.call('GET /delegation');
  assert.deepEqual(JSON.parse(after.wellKnownClient), {
    'm.homeserver': { base_url: 'https://matrix.rivendell.net' },
    'net.rivendell': true,
  });
  assert.ok(after.snippets.length > 5);
});

for (const program of programs) {
  const name = program.isHere
    ? `behind ${program.title} with the text of the guidance, apps and other servers get through, and nothing is changed on the way`
    : `the text for ${program.title} names all that it has to (the program is not installed: not run here)`;
  test(name, async () => {
    if (!program.isHere) {
      const text = guide(factsOf()).snippets.find(({ id }) => id === program.id)?.text ?? '';
      for (const part of ['matrix.rivendell.net', '127.0.0.1:8008', '/_matrix', '/_synapse/client']) {
        assert.ok(text.includes(part), part);
      }
      return;
    }
    for (const publicHost of ['matrix.rivendell.net', NAME]) await tellBehind(program, publicHost);
  });
}

/** The story of a server behind a program, found by its name or delegated to another. */
async function tellBehind(program: (typeof programs)[number], publicHost: string): Promise<void> {
  await using world = await FakeWorld.start();
  const dir = mkdtempSync(join(tmpdir(), 'hearth-behind-'));
  try {
    const { configFile } = makeDataDir(dir, { serverName: NAME, clientPort: 0 });
    const ca = join(dir, 'ca.pem');
    writeFileSync(ca, world.authority.cert);
    const text = readFileSync(configFile, 'utf8').replace(
      '    tls: false\n',
      '    tls: false\n    x_forwarded: true\n',
    );
    writeFileSync(configFile, `${text}\nfederation_custom_ca_list: [ca.pem]\n`);
    const view = world.view();
    const authorities = [world.authority.cert];
    const dial: typeof view.dial = async (address, port, signal) => {
      if (address === '127.0.0.1') world.network.set(`127.0.0.1:${port}`, { host: address, port });
      return view.dial(address, port, signal);
    };
    await using house = await TestAppliance.start({
      dataDir: dir,
      world: { ...view, dial, authorities },
      network: {
        dial: view.dial,
        dns: {
          addresses: async (host) => ({ value: (await view.dns.host(host)).ipv4, ttlMs: 0 }),
          services: async () => ({ value: [], ttlMs: 0 }),
        },
      },
    });
    const { state } = house.appliance.keeper;
    assert.ok(state.kind === 'running');
    const facts = factsOf({
      extraClientContent: NASTY,
      publicUrl: `https://${publicHost}/`,
      listeners: [{ ...listener, port: state.homeserver.addresses[0]?.port ?? 0 }],
    });
    await using front = await Front.start(program, facts, world.authority);
    if (front.authority !== undefined) authorities.push(front.authority);
    world.hosts.set(NAME, { ipv4: ['51.15.0.1'] });
    world.hosts.set('matrix.rivendell.net', { ipv4: ['51.15.0.7'] });
    for (const address of ['51.15.0.1', '51.15.0.7']) {
      world.network.set(`${address}:443`, { host: '127.0.0.1', port: front.port });
    }

    const { jobId } = await house.call('POST /doctor', { body: {} });
    const report = (await house.finished(jobId)).result as DoctorReport;
    for (const id of [
      'well-known',
      'tls',
      'answer',
      'keys',
      'path',
      'local',
      'same',
      'arrival',
      'signatures',
      'forwarded',
      'client-file',
      'client-api',
      'client-browser',
      'client-path',
      'client-upload',
    ]) {
      const finding = findingOf(report, id);
      // A certificate of the program's own making may be short-lived.
      const isFine = finding.verdict === 'good' || (id === 'tls' && front.authority !== undefined);
      assert.ok(isFine, `${program.title}: ${JSON.stringify(finding)}`);
    }
    assert.match(findingOf(report, 'well-known').text, new RegExp(`sent to ${publicHost}:443`));

    const file = await ask({ port: front.port, servername: NAME, ca: authorities, path: '/.well-known/matrix/client' });
    assert.deepEqual(JSON.parse(file.body), { ...NASTY, 'm.homeserver': { base_url: `https://${publicHost}` } });

    // An invitation that is none, said by Hearth's page; and what is for the interface on this machine stays there.
    const at = { port: front.port, servername: publicHost, ca: authorities };
    const invitation = await ask({ ...at, path: '/_hearth/join?token=none' });
    assert.equal(invitation.status, 403);
    assert.match(invitation.body, /This invitation does not work/);
    assert.match((await ask({ ...at, path: '/_hearth/connect' })).body, new RegExp(`https://${publicHost}<`));
    for (const path of ['/_hearth/control/status', '/_synapse/admin/v1/server_version', '/_hearth/setup']) {
      const { status, body } = await ask({ ...at, path });
      assert.ok(status === 404 || status === 503 || body === '', `${program.title}: ${path}: ${status}`);
    }
    await state.homeserver.ports.accounts.createAdministrator({
      username: 'elrond',
      password: 'the last homely house',
    });
    const login = await ask({
      ...at,
      path: '/_matrix/client/v3/login',
      content: JSON.stringify({
        type: 'm.login.password',
        identifier: { type: 'm.id.user', user: 'elrond' },
        password: 'the last homely house',
      }),
    });
    const { access_token: token } = JSON.parse(login.body) as { access_token: string };
    const upload = await ask({
      ...at,
      path: '/_matrix/media/v3/upload',
      headers: { host: publicHost, authorization: `Bearer ${token}`, 'content-type': 'application/octet-stream' },
      content: Buffer.alloc(5 * 1024 * 1024),
    });
    assert.equal(upload.status, 200, 'large files get through');
    const refused = await ask({ ...at, path: '/_matrix/media/v3/upload', content: Buffer.alloc(5 * 1024 * 1024) });
    assert.equal(refused.status, 401, 'so does the refusal of one');

    const status = await askSigned(world, { port: front.port, publicHost, authorities });
    assert.ok(status === 403 || status === 404, `a signed request gets through: ${status}`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** What a request of another server about a room with a slash in its ID is answered with: 401 if it was changed on the way. */
async function askSigned(
  world: FakeWorld,
  to: { port: number; publicHost: string; authorities: readonly string[] },
): Promise<number> {
  const key = someKey();
  world.hosts.set('mordor.net', { ipv4: ['51.15.0.66'] });
  const answer = matrixServer({ name: 'mordor.net', key });
  await world.serve({ at: '51.15.0.66:8448', certificate: ['mordor.net'], answer });
  const uri = `/_matrix/federation/v1/state/${encodeURIComponent('!a/b+c%:rivendell.net')}?event_id=${encodeURIComponent('$x/y')}`;
  const signed = { method: 'GET', uri, origin: 'mordor.net' as ServerName, destination: NAME as ServerName };
  const headers = { host: `${to.publicHost}:443`, authorization: signRequest(signed, key) };
  return (await ask({ port: to.port, servername: to.publicHost, ca: to.authorities, path: uri, headers })).status;
}

function ask(to: {
  port: number;
  servername: string;
  ca: readonly string[];
  path: string;
  headers?: Record<string, string>;
  content?: Buffer | string;
}): Promise<{ status: number; body: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; body: string }>();
  const { ca, headers = { host: to.servername }, content, ...rest } = to;
  const method = content === undefined ? 'GET' : 'POST';
  const asked = request({ ...rest, method, host: '127.0.0.1', ca: [...ca], headers }, (response) => {
    let body = '';
    response.setEncoding('utf8');
    response.on('data', (piece: string) => (body += piece));
    response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
  });
  asked.on('error', reject);
  asked.end(content);
  return promise;
}
