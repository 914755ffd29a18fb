import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { DoctorReport } from '../../server/appliance/contract.ts';
import { run } from '../../server/cli/run.ts';
import { makeDataDir } from '../../server/config/data-dir.ts';
import { TestAppliance, type TestApplianceOptions } from './appliance-kit.ts';
import { signRequest } from '../../server/federation/request-signing.ts';
import type { ServerName } from '../../server/matrix/identifiers.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { eventually } from '../kit/test-network.ts';
import { startNginx } from './world/front-programs.ts';
import { isInstalled } from './world/turn-servers.ts';
import { clientFile, FakeWorld, findingOf, matrixServer, proxyTo, someKey, wordsOf } from './world/fake-world.ts';

const V4 = '51.15.0.7';
const NAME = 'rivendell.net';

/** Our own server in a world where its name leads to a proxy in front of it. */
class House implements AsyncDisposable {
  readonly world: FakeWorld;
  readonly house: TestAppliance;
  readonly #dir: string;

  private constructor(world: FakeWorld, house: TestAppliance, dir: string) {
    this.world = world;
    this.house = house;
    this.#dir = dir;
  }

  static async start({
    believesProxy = true,
    ...more
  }: { believesProxy?: boolean } & Pick<TestApplianceOptions, 'clock' | 'watchesReach'> = {}): Promise<House> {
    const world = await FakeWorld.start();
    world.hosts.set(NAME, { ipv4: [V4] });
    const dir = mkdtempSync(join(tmpdir(), 'hearth-doctor-'));
    const { configFile } = makeDataDir(dir, { serverName: NAME, clientPort: 0 });
    writeFileSync(join(dir, 'ca.pem'), world.authority.cert);
    writeFileSync(configFile, `${readFileSync(configFile, 'utf8')}\nfederation_custom_ca_list: [ca.pem]\n`);
    if (believesProxy) {
      const text = readFileSync(configFile, 'utf8');
      writeFileSync(configFile, text.replace('    tls: false\n', '    tls: false\n    x_forwarded: true\n'));
    }
    const view = world.view();
    const house = await TestAppliance.start({
      ...more,
      dataDir: dir,
      network: {
        dial: view.dial,
        dns: {
          addresses: async (host) => ({ value: (await view.dns.host(host)).ipv4, ttlMs: 0 }),
          services: async () => ({ value: [], ttlMs: 0 }),
        },
      },
      world: {
        ...view,
        // Its own listener is on this machine in truth.
        dial: async (address, port, signal) => {
          if (address === '127.0.0.1') world.network.set(`127.0.0.1:${port}`, { host: address, port });
          return view.dial(address, port, signal);
        },
      },
    });
    return new House(world, house, dir);
  }

  get port(): number {
    const { state } = this.house.appliance.keeper;
    assert.ok(state.kind === 'running');
    return state.homeserver.addresses[0]?.port ?? 0;
  }

  async front(answer: RequestListener = proxyTo(() => this.port)): Promise<void> {
    await this.world.serve({ at: [`${V4}:8448`, `${V4}:443`], certificate: [NAME], answer });
  }

  async look(serverName?: string): Promise<DoctorReport> {
    const body = serverName === undefined ? {} : { serverName };
    const { jobId } = await this.house.call('POST /doctor', { body });
    const job = await this.house.finished(jobId);
    assert.equal(job.state, 'done', JSON.stringify(job.error));
    return job.result as DoctorReport;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.house[Symbol.asyncDispose]();
    await this.world[Symbol.asyncDispose]();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

test('our own server behind a faithful proxy: it is this one, requests arrive as sent, and the report is kept', async () => {
  await using house = await House.start();
  assert.deepEqual(await house.house.call('GET /doctor'), {});
  await house.front();
  const report = await house.look();
  assert.equal(report.serverName, NAME);
  for (const id of ['local', 'same', 'arrival', 'signatures', 'forwarded', 'keys', 'path']) {
    assert.equal(findingOf(report, id).verdict, 'good', JSON.stringify(findingOf(report, id)));
  }
  assert.match(wordsOf(report, 'forwarded'), /learns from the proxy who is asking/);
  assert.deepEqual(await house.house.call('GET /doctor'), { last: report, latest: report });
  const kept = JSON.parse(readFileSync(join(house.house.dataDir, 'reachability.json'), 'utf8')) as DoctorReport;
  assert.deepEqual(kept, report);
});

test('a Unix socket for the proxy is as good as a port', async () => {
  await using house = await House.start();
  const file = join(house.house.dataDir, 'homeserver.yaml');
  const text = readFileSync(file, 'utf8');
  writeFileSync(
    file,
    `${text.slice(0, text.indexOf('listeners:'))}listeners:\n  - path: ${join(house.house.dataDir, 'hearth.sock')}\n    resources: [{ names: [client, federation] }]\n${text.slice(text.indexOf('\n', text.lastIndexOf('names:')) + 1)}`,
  );
  await house.house.call('POST /server/restart');
  assert.match(wordsOf(await house.look(), 'local'), /^skipped: Hearth listens on a Unix socket/);
});

test('a proxy that says nothing of callers, or is not believed, is told', async () => {
  await using silent = await House.start();
  await silent.front(proxyTo(() => silent.port, { headers: {} as never }));
  assert.match(
    wordsOf(await silent.look(), 'forwarded'),
    /^warning: The proxy does not say who is asking.* → .*X-Forwarded-For/,
  );

  await using deaf = await House.start({ believesProxy: false });
  await deaf.front();
  assert.match(wordsOf(await deaf.look(), 'forwarded'), /^warning: .*not told to believe it\. → Set x_forwarded: true/);
});

test('a proxy that tidies addresses up is caught by what arrives', async () => {
  await using house = await House.start();
  await house.front(proxyTo(() => house.port, { rewrite: (path) => path.replace('%21', '!') }));
  const report = await house.look();
  assert.match(wordsOf(report, 'arrival'), /^bad: The proxy rewrites the addresses of requests/);
  assert.ok(
    findingOf(report, 'arrival').details?.some((line) => line.startsWith('Arrived: ') && line.includes('/!a%2Fb')),
  );
});

test('another server under our name is no comfort', async () => {
  await using house = await House.start();
  await house.front(matrixServer({ name: NAME, key: someKey() }));
  const report = await house.look();
  assert.match(
    wordsOf(report, 'same'),
    /^bad: At .* a server answers to the name rivendell\.net that is not this one.* → .*signing_key_path/,
  );
  assert.match(wordsOf(report, 'arrival'), /^bad: .*does not arrive at this Hearth/);
});

test('what cannot be reached from inside may still be reached from outside, and the doctor says that it does not know', async () => {
  await using house = await House.start();
  for (const answer of ['refused', 'unreachable'] as const) {
    house.world.network.set(`${V4}:8448`, answer).set(`${V4}:443`, answer);
    const report = await house.look();
    assert.match(wordsOf(report, 'port'), /^warning: From this computer .* → .*phone with Wi-Fi switched off/);
    assert.equal(report.verdict, 'warning');
    assert.match(report.summary, /^Whether other servers can reach rivendell\.net could not be seen from here/);
  }
  house.world.hosts.set(NAME, { ipv4: ['192.168.1.20'] });
  assert.match(wordsOf(await house.look(), 'port'), /^bad: Nothing listens/, 'at home there is no router in between');
});

test('the line of truth follows what the house finds of its own accord: unchecked, online, unreachable, online again', async () => {
  const clock = new ManualClock(Date.now());
  await using house = await House.start({ clock, watchesReach: true });
  const { state } = house.house.appliance.keeper;
  assert.ok(state.kind === 'running');
  await state.homeserver.ports.accounts.createAdministrator({ username: 'elrond', password: 'a quiet evening' });
  await house.front();
  const seen = async (): Promise<string> => {
    const { line, reasons } = await house.house.call('GET /status');
    return `${line}, ${reasons[0]?.kind}`;
  };
  /** Time goes on until the house has looked anew. */
  const becomes = (expected: string): Promise<true> =>
    eventually(`it is ${expected}`, async () => {
      await clock.advance(30_000);
      return (await seen()) === expected || undefined;
    });
  assert.equal(await seen(), 'needs-you, unchecked');
  await becomes('online, well');

  house.world.hosts.delete(NAME);
  assert.equal(await seen(), 'online, well', 'nobody has looked since');
  await house.house.call('POST /server/wake');
  await becomes('unreachable, unreachable');
  const { reasons } = await house.house.call('GET /status');
  assert.ok(reasons[0]?.nextStep !== undefined && reasons[0].page === 'reach', JSON.stringify(reasons));

  house.world.hosts.set(NAME, { ipv4: [V4] });
  await house.house.call('POST /server/wake');
  await becomes('online, well');
});

test('while it is paused, our own server is said not to answer', async () => {
  await using house = await House.start();
  const { port } = house;
  await house.front(proxyTo(() => port));
  const { keeper } = house.house.appliance;
  assert.ok('pause' in keeper && typeof keeper.pause === 'function');
  await keeper.pause();
  const report = await house.look();
  assert.match(wordsOf(report, 'local'), /^bad: /);
  assert.match(wordsOf(report, 'answer'), /^bad: A proxy answers .* does not get through/);
});

test('another server is asked with a request of ours, and what it says of us is told', async () => {
  await using house = await House.start();
  const mordor = '51.15.0.66';
  house.world.hosts.set('mordor.net', { ipv4: [mordor] });
  let mood = 404;
  let heard: string | undefined;
  const answer = matrixServer({ name: 'mordor.net' });
  await house.world.serve({
    at: `${mordor}:8448`,
    certificate: ['mordor.net'],
    answer: (request, response) => {
      if (!request.url?.startsWith('/_matrix/federation/v1/query/profile')) return answer(request, response);
      heard = request.headers.authorization;
      response.writeHead(mood, { 'content-type': 'application/json' });
      response.end('{"errcode": "M_UNKNOWN", "error": "no"}');
    },
  });
  assert.equal(findingOf(await house.look('mordor.net'), 'accepted').verdict, 'good');
  assert.match(heard ?? '', /^X-Matrix origin="rivendell\.net",destination="mordor\.net"/);
  mood = 401;
  assert.match(
    wordsOf(await house.look('mordor.net'), 'accepted'),
    /^bad: mordor\.net cannot check that we are rivendell\.net\. → .*run this check for rivendell\.net/,
  );
  mood = 403;
  assert.match(wordsOf(await house.look('mordor.net'), 'accepted'), /^warning: .*nothing to do with/);
  const { last, latest } = await house.house.call('GET /doctor');
  assert.equal(last, undefined, 'only the report of our own server is kept');
  assert.equal(latest?.serverName, 'mordor.net', 'what was found is there to be shown all the same');
});

test('how a request arrived is told to nobody who has no secret, and once to who has', async () => {
  await using house = await House.start();
  const { state } = house.house.appliance.keeper;
  assert.ok(state.kind === 'running');
  const ask = async (path: string): Promise<number> => (await fetch(`http://127.0.0.1:${house.port}${path}`)).status;
  assert.equal(await ask('/_matrix/federation/unstable/hearth.echo/guessed/x'), 404);
  const { path } = state.homeserver.ports.echo.prepare();
  assert.equal(await ask(path), 200);
  assert.equal(await ask(path), 404);
});

test('what is found so far is told while a look goes on; one that is called off leaves what was known before', async () => {
  await using house = await House.start();
  await house.front();
  await house.look();
  const before = await house.house.call('GET /doctor');
  house.world.hosts.set('mordor.net', { ipv4: ['51.15.0.66'] });
  house.world.network.set('51.15.0.66:8448', 'silent');
  const { jobId } = await house.house.call('POST /doctor', { body: { serverName: 'mordor.net' } });
  await eventually('something was found', async () => {
    const { latest } = await house.house.call('GET /doctor');
    return latest?.serverName === 'mordor.net' && latest.endedAt === undefined && latest.findings.length > 0;
  });
  await house.house.call('POST /jobs/{jobId}/cancel', { params: { jobId } });
  assert.equal((await house.house.finished(jobId)).state, 'cancelled');
  assert.deepEqual(await house.house.call('GET /doctor'), before);
});

test('a proxy that asks for passwords, or writes a header of its own, is caught: no signature gets through', async () => {
  for (const [authorization, expected] of [
    [undefined, /^bad: The proxy takes away the header.* → Have the proxy ask for no password/],
    ['Basic eA==', /^bad: The proxy changes the header/],
  ] as const) {
    await using house = await House.start();
    const onward = proxyTo(() => house.port);
    await house.front((request, response) => {
      if (authorization === undefined) delete request.headers.authorization;
      else request.headers.authorization = authorization;
      onward(request, response);
    });
    assert.match(wordsOf(await house.look(), 'signatures'), expected);
  }
});

test('the largest file is announced through the proxy, and that it turns it away is told', async () => {
  const files = clientFile(`https://${NAME}`);
  const withFile =
    (next: RequestListener): RequestListener =>
    (request, response) => {
      const file = files[request.url ?? ''];
      if (file === undefined) return next(request, response);
      response.writeHead(200, { 'content-type': 'application/json', ...file.headers }).end(file.body);
    };
  await using house = await House.start();
  const onward = proxyTo(() => house.port);
  let announced: string | undefined;
  await house.front(
    withFile((request, response) => {
      if (request.method !== 'POST') return onward(request, response);
      announced = request.headers['content-length'];
      response.writeHead(413).end();
    }),
  );
  const report = await house.look();
  assert.match(
    wordsOf(report, 'client-upload'),
    /^warning: Hearth takes files of 50 MB, but the proxy.* → .*client_max_body_size 50m/,
  );
  assert.equal(announced, String(50 * 1024 * 1024));
  for (const id of ['client-browser', 'client-path']) assert.equal(findingOf(report, id).verdict, 'good', id);
});

test('another server that got through says more than what cannot be seen from inside', async () => {
  await using house = await House.start();
  const key = someKey();
  house.world.hosts.set('mordor.net', { ipv4: ['51.15.0.66'] });
  await house.world.serve({
    at: '51.15.0.66:8448',
    certificate: ['mordor.net'],
    answer: matrixServer({ name: 'mordor.net', key }),
  });
  house.world.network.set(`${V4}:8448`, 'refused').set(`${V4}:443`, 'refused');
  const before = await house.look();
  assert.match(wordsOf(before, 'heard'), /^skipped: No other server has got through.* → Join a room/);
  assert.match(wordsOf(before, 'port'), /^warning: .*may be the router/);

  const uri = '/_matrix/federation/v1/query/profile?user_id=%40nobody%3Arivendell.net';
  const signed = { method: 'GET', uri, origin: 'mordor.net' as ServerName, destination: NAME as ServerName };
  const authorization = signRequest(signed, key);
  assert.equal((await fetch(`http://127.0.0.1:${house.port}${uri}`, { headers: { authorization } })).status, 404);
  const after = await house.look();
  assert.match(wordsOf(after, 'heard'), /^good: Another server, mordor\.net, got through to this one just now/);
  assert.match(wordsOf(after, 'port'), /^skipped: .*Other servers get through all the same \(mordor\.net did\)/);
  assert.match(after.summary, /^Other servers get through to rivendell\.net/);
  assert.notEqual(after.verdict, 'bad');
});

test('two looks at a time are refused, and one can be called off', async () => {
  await using house = await House.start();
  house.world.network.set(`${V4}:8448`, 'silent').set(`${V4}:443`, 'silent');
  const { jobId } = await house.house.call('POST /doctor', { body: {} });
  assert.equal((await house.house.ask('POST /doctor', { body: {} })).status, 409);
  await house.house.call('POST /jobs/{jobId}/cancel', { params: { jobId } });
  assert.equal((await house.house.finished(jobId)).state, 'cancelled');
  assert.equal((await house.house.ask('POST /doctor', { body: { serverName: '' } })).status, 400);
});

test('a server for the home alone is looked at from the home, and nothing outside is asked', async () => {
  await using world = await FakeWorld.start();
  const view = world.view();
  const asked: string[] = [];
  let port = 0;
  await using house = await TestAppliance.start({
    serverName: 'hearth.home.arpa',
    world: {
      ...view,
      localAddresses: () => ['192.168.1.20', 'fe80::1'],
      dial: (address, at, signal) => {
        asked.push(`${address}:${at}`);
        return view.dial(address, at, signal);
      },
    },
  });
  const look = async (): Promise<DoctorReport> => {
    const { jobId } = await house.call('POST /doctor', { body: {} });
    return (await house.finished(jobId)).result as DoctorReport;
  };
  const closed = await look();
  assert.match(wordsOf(closed, 'devices'), /^warning: Only this computer itself can connect.* → .*bind_addresses/);
  assert.deepEqual(asked, []);

  const file = join(house.dataDir, 'homeserver.yaml');
  writeFileSync(file, readFileSync(file, 'utf8').replaceAll("['127.0.0.1']", "['0.0.0.0']"));
  await house.call('POST /server/restart');
  const { state } = house.appliance.keeper;
  assert.ok(state.kind === 'running');
  port = state.homeserver.addresses[0]?.port ?? 0;
  world.network.set(`192.168.1.20:${port}`, { host: '127.0.0.1', port });
  const open = await look();
  assert.equal(open.summary, 'hearth.home.arpa is for this home only, and devices here can connect.');
  assert.deepEqual(asked, [`192.168.1.20:${port}`]);
  assert.deepEqual((await house.call('GET /doctor')).last, open);

  world.network.set(`192.168.1.20:${port}`, 'refused');
  assert.match(wordsOf(await look(), 'devices'), /^bad: Hearth cannot be reached at 192\.168\.1\.20.* → .*firewall/);
});

test('on the command line it prints findings and next steps, or the whole report, and tells by its exit code', async () => {
  const server = createServer((_request, response) => response.writeHead(404).end());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    const call = async (...args: string[]): Promise<{ code: number; out: string; err: string }> => {
      const out: string[] = [];
      const err: string[] = [];
      const code = await run(['doctor', ...args], {
        print: (line) => out.push(line),
        complain: (line) => err.push(line),
      });
      return { code, out: out.join('\n'), err: err.join('\n') };
    };
    const plain = await call(`127.0.0.1:${port}`);
    assert.equal(plain.code, 1);
    assert.match(plain.out, /BAD {2}Certificate at 127\.0\.0\.1:\d+: .*not with TLS/);
    assert.match(plain.out, /→ Have a reverse proxy/);
    const json = await call(`127.0.0.1:${port}`, '--json');
    assert.equal((JSON.parse(json.out) as DoctorReport).verdict, 'bad');
    assert.equal(json.err, '');

    const dir = mkdtempSync(join(tmpdir(), 'hearth-doctor-'));
    try {
      makeDataDir(dir, { serverName: `127.0.0.1:${port}`, clientPort: port });
      const own = await call('--data-dir', dir);
      assert.equal(own.code, 1);
      assert.match(own.out, /BAD {2}Hearth on this computer .*Another program answers/);
      const [key = ''] = readdirSync(dir).filter((file) => file.endsWith('.signing.key'));
      rmSync(join(dir, key));
      const files = readdirSync(dir);
      assert.equal((await call('--data-dir', dir)).code, 1);
      assert.deepEqual(readdirSync(dir), files, 'it makes no key where there is none');
      assert.equal((await call('--data-dir', dir, 'nas.1')).code, 1);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
    const former = process.env['https_proxy'];
    process.env['https_proxy'] = 'http://127.0.0.1:1';
    try {
      const unseen = await call('51.15.0.7');
      assert.equal(unseen.code, 3, 'neither well nor wrong: it could not be seen');
      assert.match(unseen.out, /through the proxy 127\.0\.0\.1:1, and so did this check/);
    } finally {
      if (former === undefined) delete process.env['https_proxy'];
      else process.env['https_proxy'] = former;
    }
    assert.equal((await call('a', 'b')).code, 2);
    assert.equal((await call('--config', 'x', '--data-dir', 'y')).code, 2);
  } finally {
    server.close();
  }
});

const isNginxHere = isInstalled('nginx');

test(isNginxHere
  ? 'nginx as people get it wrong: each mistake is found by what it does, and said how to be mended'
  : 'nginx as people get it wrong (not installed: not run here)', { skip: !isNginxHere }, async () => {
  const file = `location = /.well-known/matrix/client { default_type application/json; add_header Access-Control-Allow-Origin *; return 200 '{"m.homeserver": {"base_url": "https://${NAME}"}}'; }`;
  const forwards =
    'proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header Host $host; proxy_set_header X-Forwarded-Proto https;';
  await using house = await House.start();
  const to = `http://127.0.0.1:${house.port}`;
  const rooms = `client_max_body_size 60m; ${forwards}`;
  const cases: readonly [inside: string, expected: Readonly<Record<string, RegExp>>][] = [
    [
      `${file} ${rooms} location / { proxy_pass ${to}; }`,
      {
        path: /^good/,
        arrival: /^good/,
        signatures: /^good/,
        'client-path': /^good/,
        'client-upload': /^good/,
        'client-browser': /^good/,
      },
    ],
    [
      `${file} ${rooms} location /_matrix/ { proxy_pass ${to}/_matrix/; }`,
      {
        path: /^bad: .* → .*nginx: no path after the port/,
        arrival: /^bad: .*not arrive|^bad: .*rewrites/,
        'client-path': /^bad/,
      },
    ],
    [
      `${file} ${forwards} location / { proxy_pass ${to}; }`,
      { 'client-upload': /^warning: .* → .*client_max_body_size 50m/ },
    ],
    [
      `${file} ${rooms} location / { proxy_pass ${to}; proxy_set_header Authorization ""; ${forwards} }`,
      { signatures: /^bad: The proxy takes away the header/ },
    ],
    [
      `${file} ${rooms} location / { proxy_pass ${to}; add_header Access-Control-Allow-Origin *; }`,
      { 'client-api': /^warning: .*twice is once too often/ },
    ],
    [
      `${file} ${rooms} location / { if ($request_method = OPTIONS) { return 405; } proxy_pass ${to}; }`,
      { 'client-browser': /^warning: .*Have the proxy pass requests with the method OPTIONS/ },
    ],
    [`${file} location / { return 200 "welcome"; }`, { answer: /^bad: A web server answers/ }],
    [
      `${file} location / { proxy_pass http://127.0.0.1:1; }`,
      { answer: /^bad: A proxy answers .*does not get through/ },
    ],
    [
      `${file} location / { return 301 https://www.${NAME}$request_uri; }`,
      { answer: /^bad: .*redirects other servers/ },
    ],
    [
      `${file} ${rooms} location / { proxy_pass ${to}; proxy_set_header X-Forwarded-For ""; }`,
      { forwarded: /^warning: The proxy does not say who is asking/ },
    ],
  ];
  for (const [inside, expected] of cases) {
    await using nginx = await startNginx(NAME, inside, house.world.authority);
    for (const port of [443, 8448]) house.world.network.set(`${V4}:${port}`, { host: '127.0.0.1', port: nginx.port });
    const report = await house.look();
    for (const [id, words] of Object.entries(expected)) assert.match(wordsOf(report, id), words, inside);
  }
});
