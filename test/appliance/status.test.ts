import assert from 'node:assert/strict';
import { once } from 'node:events';
import { utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { judge, type Evidence } from '../../server/appliance/status/judge.ts';
import { readCertificate } from '../../server/appliance/status/disk.ts';
import type { DoctorReport, StatusLine } from '../../server/appliance/contract.ts';
import type { Homeserver } from '../../server/appliance/homeserver.ts';
import { tempDir } from '../config/files.ts';
import { makeAuthority } from '../kit/certificates.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { eventually } from '../kit/test-network.ts';
import { TestAppliance } from './appliance-kit.ts';

const NORA = { username: 'nora', password: 'a quiet evening' };

async function setUp(
  house: TestAppliance,
): Promise<{ api: (method: string, path: string, body?: object) => Promise<Record<string, unknown>> }> {
  await house.call('PUT /setup', { body: { reach: 'home', serverName: 'hearth.home.arpa' } });
  const { clientUrl } = await house.call('POST /setup/finish', { body: NORA });
  const base = `http://127.0.0.1:${new URL(clientUrl).port}/_matrix/client/v3`;
  let token = '';
  const api = async (method: string, path: string, body?: object): Promise<Record<string, unknown>> => {
    const response = await fetch(`${base}${path}`, {
      method,
      headers: { 'content-type': 'application/json', ...(token === '' ? {} : { authorization: `Bearer ${token}` }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer = (await response.json()) as Record<string, unknown>;
    assert.equal(response.status, 200, JSON.stringify(answer));
    return answer;
  };
  const identifier = { type: 'm.id.user', user: 'nora' };
  const login = await api('POST', '/login', { type: 'm.login.password', identifier, password: NORA.password });
  token = String(login['access_token']);
  return { api };
}

test('rooms, devices and the messages of today are counted, and the hours are remembered over a restart', async () => {
  await using house = await TestAppliance.start();
  const { api } = await setUp(house);
  const { room_id: roomId } = await api('POST', '/createRoom', { name: 'Kitchen' });
  for (const number of [1, 2, 3]) {
    await api('PUT', `/rooms/${encodeURIComponent(String(roomId))}/send/m.room.message/${number}`, {
      msgtype: 'm.text',
      body: `message ${number}`,
    });
  }
  const status = await house.call('GET /status');
  assert.deepEqual(status.counts, { people: 1, devices: 1, rooms: 1, messagesToday: 3 });
  assert.ok(
    status.disk.databaseBytes > 100_000 && status.disk.freeBytes > 0 && status.memory.residentBytes > 10_000_000,
  );
  assert.equal(status.line, 'network-only');
  assert.equal(status.reasons[0]?.kind, 'home');

  const history = await house.call('GET /history', { query: { hours: 24 } });
  assert.equal(history.messages.length, 24);
  assert.equal(
    history.messages.reduce((sum, each) => sum + each, 0),
    3,
  );
  assert.equal(history.activePeople.at(-1), 1);
  assert.ok((history.residentBytes.at(-1) ?? 0) > 10_000_000);
  await house.call('POST /server/restart');
  const again = await house.call('GET /history', { query: { hours: 24 } });
  assert.equal(
    again.messages.reduce((sum, each) => sum + each, 0),
    3,
  );
  for (const hours of [0, 745]) assert.equal((await house.ask('GET /history', { query: { hours } })).status, 400);
});

test('paused, nobody is served; resumed, all is as before; and those who look on are told', async () => {
  await using house = await TestAppliance.start();
  await setUp(house);
  const clientUrl = (await house.call('GET /status')).clientUrl ?? '';
  const versions = `http://127.0.0.1:${new URL(clientUrl).port}/_matrix/client/versions`;
  assert.equal((await fetch(versions)).status, 200);

  const ending = new AbortController();
  const topics: string[] = [];
  const heard = (async () => {
    for await (const event of house.events(ending.signal)) {
      topics.push(event.topic);
      if (event.topic === 'status') return;
    }
  })();
  assert.equal((await house.call('POST /server/pause')).line, 'paused');
  await assert.rejects(fetch(versions));
  assert.equal((await house.ask('GET /history', { query: { hours: 1 } })).status, 503);
  assert.equal((await house.call('GET /setup')).isDone, true, 'that it is set up is known all the same');
  assert.equal((await house.call('GET /about')).dataDirectory, house.dataDir);

  const resumed = await house.call('POST /server/resume');
  assert.equal(resumed.line, 'network-only');
  await heard;
  ending.abort();
  assert.ok(topics.includes('status'));
  assert.equal((await house.call('POST /server/wake')).line, 'network-only');
});

test('whoever looks on is told when something has moved, and not while nothing has', async () => {
  const clock = new ManualClock();
  await using house = await TestAppliance.start({ clock });
  const state = house.appliance.keeper.state;
  assert.ok(state.kind === 'running');
  const ending = new AbortController();
  let news = 0;
  const listening = (async () => {
    for await (const { topic } of house.events(ending.signal)) if (topic === 'status') news += 1;
  })().catch((error: unknown) => assert.ok(ending.signal.aborted, String(error)));
  const lookAFewTimes = async (): Promise<void> => {
    for (let look = 0; look < 5; look += 1) {
      await clock.advance(10_000);
      // Files are looked at meanwhile, which no clock of ours makes quicker.
      await house.call('GET /status');
    }
  };
  await lookAFewTimes();
  assert.equal(news, 0);
  await state.homeserver.ports.accounts.createAdministrator(NORA);
  await eventually('the news is heard', async () => {
    await clock.advance(10_000);
    return news > 0;
  });
  ending.abort();
  await listening;
});

const NOW = Date.UTC(2030, 0, 10);
const DAY = 86_400_000;
const well: Evidence = {
  now: NOW,
  keeper: { kind: 'running', homeserver: {} as Homeserver, since: NOW - DAY },
  isSetUp: true,
  facts: { serverName: 'fern.example.com', federates: true, certificateFile: undefined, databaseFile: '/x' },
  certificate: undefined,
  freeBytes: 10 ** 11,
  storageProblem: undefined,
  catchingUpRooms: 0,
  servers: [],
  doctor: undefined,
};
const report = (verdict: DoctorReport['verdict']): DoctorReport => ({
  serverName: 'fern.example.com',
  startedAt: NOW - DAY,
  endedAt: NOW - DAY,
  verdict,
  summary: 'In sum.',
  findings:
    verdict === 'bad'
      ? [{ id: 'port', title: 'Port', verdict, text: 'Port 8448 is closed.', nextStep: 'Open it in the router.' }]
      : [],
});
const server = (name: string, state: 'well' | 'failing' | 'waiting', queued = 0) => ({ name, state, queued });

test('the one line says what is true, and what it rests on comes with a next step', () => {
  const cases: readonly (readonly [Partial<Evidence>, StatusLine, RegExp])[] = [
    [{}, 'online', /not been checked yet/],
    [{ doctor: report('good') }, 'online', /found from outside/],
    [{ doctor: { ...report('bad'), serverName: 'other.example.com' } }, 'online', /not been checked yet/],
    [{ doctor: report('bad') }, 'unreachable', /Port 8448 is closed\. → Open it/],
    [
      {
        facts: { serverName: 'x.home.arpa', federates: false, certificateFile: undefined, databaseFile: '/x' },
        doctor: report('bad'),
      },
      'network-only',
      /home network/,
    ],
    [
      { certificate: { subject: 'fern.example.com', expiresAt: NOW + 13 * DAY + 1 } },
      'needs-you',
      /expires in 13 days\. → Renew/,
    ],
    [{ certificate: { subject: 'fern.example.com', expiresAt: NOW + 1.5 * DAY } }, 'needs-you', /expires tomorrow/],
    [{ certificate: { subject: 'fern.example.com', expiresAt: NOW + 14 * DAY } }, 'online', /./],
    [{ certificate: { subject: 'fern.example.com', expiresAt: NOW - 1 } }, 'unreachable', /has expired/],
    [{ certificate: { problem: 'The certificate x cannot be read (ENOENT).' } }, 'needs-you', /cannot be read/],
    [{ freeBytes: 400_000_000 }, 'needs-you', /nearly full: 400 MB are left/],
    [{ freeBytes: 1_000_000_000 }, 'online', /filling up/],
    [{ freeBytes: undefined }, 'online', /./],
    [{ storageProblem: 'disk I/O error' }, 'needs-you', /cannot be read: disk I\/O error/],
    [{ catchingUpRooms: 2 }, 'catching-up', /2 rooms are catching up/],
    [{ catchingUpRooms: 2, freeBytes: 1 }, 'needs-you', /nearly full/],
    [
      { servers: [server('a.example', 'failing', 3), server('b.example', 'well')] },
      'online',
      /a\.example does not answer.* → Nothing to do/,
    ],
    [{ servers: ['a', 'b', 'c'].map((name) => server(name, 'failing')) }, 'unreachable', /No other server/],
    [{ isSetUp: false, freeBytes: 1 }, 'setup', /Nobody has an account/],
    [{ keeper: { kind: 'starting' } }, 'starting', /starting/],
    [{ keeper: { kind: 'paused' } }, 'paused', /paused.* → Resume/],
    [{ keeper: { kind: 'held', by: 'a backup is restored' } }, 'paused', /waits: a backup is restored/],
    [
      { keeper: failed(Object.assign(new Error('port 8008 is taken'), { code: 'EADDRINUSE' }), NOW + 5000) },
      'failed',
      /taken.* → Close the other program.*tries again/,
    ],
    [
      { keeper: failed(Object.assign(new Error('the file is damaged'), { kind: 'corrupt' })) },
      'failed',
      /damaged.* → .*Restore the newest backup/,
    ],
    [
      { keeper: failed(Object.assign(new Error('x.yaml:3:1: a: b'), { name: 'ConfigError' })) },
      'failed',
      /x\.yaml:3:1/,
    ],
    [{ keeper: failed(new Error('out of luck')) }, 'failed', /out of luck.* → The log/],
  ];
  for (const [change, line, words] of cases) {
    const verdict = judge({ ...well, ...change });
    const text = verdict.reasons
      .map((reason) => `${reason.text} → ${reason.nextStep ?? ''}`)
      .join(' ¶ ')
      .replaceAll('\n', ' ');
    assert.equal(verdict.line, line, text);
    assert.match(text, words);
    assert.ok(verdict.reasons.length > 0);
  }
  const [first] = judge({ ...well, freeBytes: 1_000_000_000, doctor: report('bad') }).reasons;
  assert.equal(first?.kind, 'unreachable', 'what decides comes first');
});

function failed(error: Error, retryAt?: number): Evidence['keeper'] {
  return { kind: 'failed', message: error.message, error, retryAt };
}

test('a certificate is read as it lies there; what is none is said to be none', async (t) => {
  const file = join(tempDir(t), 'chain.pem');
  assert.match(JSON.stringify(await readCertificate(file)), /cannot be read \(ENOENT\)/);
  writeFileSync(file, 'no certificate');
  assert.match(JSON.stringify(await readCertificate(file)), /holds no certificate/);
  const authority = await makeAuthority();
  const { cert } = await authority.issue({ dnsNames: ['fern.example.com'] });
  writeFileSync(file, cert);
  const found = await readCertificate(file);
  assert.ok('expiresAt' in found && found.expiresAt > Date.now());
  assert.equal(found.subject, 'fern.example.com');
});

test('a renewed certificate is taken into use, and one that runs out is told of', async (t) => {
  const clock = new ManualClock(Date.now());
  const dataDir = tempDir(t);
  const authority = await makeAuthority();
  const paths = [join(dataDir, 'chain.pem'), join(dataDir, 'key.pem')] as const;
  const put = async (days: number): Promise<void> => {
    const dnsNames = ['fern.example.com'];
    const { cert, key } = await authority.issue({ dnsNames, notAfter: new Date(Date.now() + days * DAY + 60_000) });
    writeFileSync(paths[0], cert);
    writeFileSync(paths[1], key);
    // Written a while ago, as far as anybody can tell.
    for (const path of paths) utimesSync(path, new Date(Date.now() - days * DAY), new Date(Date.now() - days * DAY));
  };
  await put(5);
  const listener = 'port: 0, tls: true, bind_addresses: [127.0.0.1], resources: [{names: [client, federation]}]';
  writeFileSync(
    join(dataDir, 'homeserver.yaml'),
    `server_name: fern.example.com\npublic_baseurl: https://fern.example.com/\nlisteners: [{${listener}}]\ntls_certificate_path: chain.pem\ntls_private_key_path: key.pem\n`,
  );
  await using house = await TestAppliance.start({ dataDir, clock });
  const { state } = house.appliance.keeper;
  assert.ok(state.kind === 'running');
  await state.homeserver.ports.accounts.createAdministrator(NORA);
  const status = await house.call('GET /status');
  assert.equal(status.line, 'needs-you');
  assert.match(status.reasons[0]?.text ?? '', /certificate for fern\.example\.com expires in 5 days/);
  const port = state.homeserver.addresses[0]?.port ?? 0;
  const shown = async (): Promise<number> => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, servername: 'fern.example.com' });
    await once(socket, 'secureConnect');
    const { valid_to: validTo } = socket.getPeerCertificate();
    socket.destroy();
    return Math.floor((Date.parse(validTo) - Date.now()) / DAY);
  };
  assert.equal(await shown(), 5);
  await put(60);
  await clock.advance(600_000);
  assert.equal(await shown(), 60);
  assert.equal((await house.call('GET /status')).line, 'online');
});

test('who was there and what was said is kept by the hour, for a month', async () => {
  const clock = new ManualClock();
  await using house = await TestAppliance.start({ clock });
  const { api } = await setUp(house);
  const { room_id: roomId } = await api('POST', '/createRoom', { name: 'Kitchen' });
  let number = 0;
  const say = (): Promise<unknown> =>
    api('PUT', `/rooms/${encodeURIComponent(String(roomId))}/send/m.room.message/${(number += 1)}`, {
      msgtype: 'm.text',
      body: 'hello',
    });
  await say();
  await say();
  clock.setWallClock(clock.now() + 2 * 3_600_000);
  await say();
  const { messages, startsAt } = await house.call('GET /history', { query: { hours: 3 } });
  assert.deepEqual(messages, [2, 0, 1]);
  assert.equal(startsAt, Math.floor(clock.now() / 3_600_000) * 3_600_000 - 2 * 3_600_000);

  clock.setWallClock(clock.now() + 32 * 24 * 3_600_000);
  await say();
  await house.call('POST /server/restart');
  const state = house.appliance.keeper.state;
  assert.ok(state.kind === 'running');
  assert.equal(state.homeserver.ports.status.activity.messagesSince(0), 1, 'what is older is forgotten');
  assert.equal((await house.call('GET /history', { query: { hours: 744 } })).messages.length, 744);
});
