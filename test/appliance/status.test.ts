import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { judge, type Evidence } from '../../server/appliance/status/judge.ts';
import { MachineWatch } from '../../server/appliance/lifecycle/machine-watch.ts';
import { readCertificate } from '../../server/appliance/status/disk.ts';
import { ReachWatch } from '../../server/appliance/status/reach-watch.ts';
import { silentLogger } from '../../server/util/log.ts';
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
  backups: undefined,
  config: undefined,
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
const seen: Evidence = { ...well, doctor: report('good') };
const home = { serverName: 'fern.example.com', federates: false, certificateFile: undefined, databaseFile: '/x' };
const server = (name: string, state: 'well' | 'failing' | 'waiting', queued = 0) => ({ name, state, queued });

test('the one line says what is true, and what it rests on comes with a next step', () => {
  const cases: readonly (readonly [Partial<Evidence>, StatusLine, RegExp])[] = [
    [{}, 'online', /^It runs, and other servers found their way here at the last check\. → $/],
    [{ doctor: undefined }, 'needs-you', /not been checked yet.* → Run the check/],
    [{ doctor: report('skipped') }, 'needs-you', /not been checked yet/],
    [{ doctor: { ...report('bad'), serverName: 'other.example.com' } }, 'needs-you', /not been checked yet/],
    [{ doctor: { ...report('good'), endedAt: NOW - 4 * DAY } }, 'needs-you', /or not for days/],
    [
      {
        doctor: { ...report('good'), endedAt: NOW - 4 * DAY },
        keeper: { kind: 'running', homeserver: {} as Homeserver, since: NOW - 60_000 },
      },
      'online',
      /at the last check/,
    ],
    [{ doctor: report('warning') }, 'online', /nothing was in the way.*In sum\./],
    [{ doctor: report('bad') }, 'unreachable', /Port 8448 is closed\. → Open it/],
    [{ facts: home, doctor: undefined }, 'network-only', /home network/],
    [{ facts: home, doctor: { ...report('bad'), serverName: 'other.example.com' } }, 'network-only', /home network/],
    [{ facts: home, doctor: report('bad') }, 'needs-you', /Port 8448 is closed\. → Open it/],
    [{ backups: { failure: undefined, dueAt: NOW + 1 } }, 'online', /./],
    [{ backups: { failure: undefined, dueAt: NOW - DAY + 1 } }, 'online', /./],
    [{ backups: { failure: undefined, dueAt: NOW - 2.5 * DAY } }, 'needs-you', /overdue by 2 days\. → Make one now/],
    [
      { backups: { failure: { at: NOW - 1, error: 'the folder is gone' }, dueAt: NOW - 5 * DAY } },
      'needs-you',
      /could not be made: the folder is gone\. → Look at what/,
    ],
    [{ config: { restartDue: true, problem: undefined } }, 'online', /only after a restart\. → Restart/],
    [{ config: { restartDue: false, problem: 'x.yaml:3:1: a: b' } }, 'needs-you', /mistake\. x\.yaml:3:1.* → Correct/],
    [
      { certificate: { subject: 'fern.example.com', expiresAt: NOW + 13 * DAY + 1 } },
      'needs-you',
      /expires in 13 days\. → Renew/,
    ],
    [{ certificate: { subject: 'fern.example.com', expiresAt: NOW + 1.5 * DAY } }, 'needs-you', /expires tomorrow/],
    [{ certificate: { subject: 'fern.example.com', expiresAt: NOW + 14 * DAY } }, 'online', /./],
    [
      { certificate: { subject: 'fern.example.com', issuedAt: NOW - 2 * DAY, expiresAt: NOW + 4 * DAY } },
      'online',
      /./,
    ],
    [
      { certificate: { subject: 'fern.example.com', issuedAt: NOW - 5 * DAY, expiresAt: NOW + 1.2 * DAY } },
      'needs-you',
      /expires tomorrow/,
    ],
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
    [
      { keeper: failed(Object.assign(new Error('mkdir: no space'), { code: 'ENOSPC' }), NOW + 5000) },
      'failed',
      /no space.* → The disk is full\. Free some space\. Hearth tries again/,
    ],
    [
      { keeper: failed(Object.assign(new Error('schema 60'), { kind: 'newer' })) },
      'failed',
      /schema 60.* → .*Install that version/,
    ],
    [{ keeper: failed(new Error('out of luck')) }, 'failed', /out of luck.* → The log/],
  ];
  for (const [change, line, words] of cases) {
    const verdict = judge({ ...seen, ...change });
    const text = verdict.reasons
      .map((reason) => `${reason.text} → ${reason.nextStep ?? ''}`)
      .join(' ¶ ')
      .replaceAll('\n', ' ');
    assert.equal(verdict.line, line, text);
    assert.match(text, words);
    assert.ok(verdict.reasons.length > 0);
  }
  const [first] = judge({ ...seen, freeBytes: 1_000_000_000, doctor: report('bad') }).reasons;
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
    const { cert, key } = await authority.issue({
      dnsNames,
      notBefore: new Date(Date.now() - 80 * DAY),
      notAfter: new Date(Date.now() + days * DAY + 60_000),
    });
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
  const { certificate } = await house.call('GET /status');
  assert.equal(certificate?.subject, 'fern.example.com');
  assert.ok(certificate.expiresAt > Date.now() + 59 * DAY);

  // Somebody copies the certificate, and the key only the next day.
  const { cert, key } = await authority.issue({
    dnsNames: ['fern.example.com'],
    notAfter: new Date(Date.now() + 90 * DAY + 60_000),
  });
  const old = new Date(Date.now() - DAY / 2);
  writeFileSync(paths[0], cert);
  utimesSync(paths[0], old, old);
  await clock.advance(600_000);
  assert.equal(await shown(), 60, 'half of a pair is not taken');
  writeFileSync(paths[1], key);
  utimesSync(paths[1], old, old);
  await clock.advance(600_000);
  assert.equal(await shown(), 90);
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

test('the messages of today are those since midnight of this machine’s calendar, also where hours begin at other times', async () => {
  // Kathmandu is 5 h 45 min ahead.
  const midnight = Date.UTC(2030, 0, 9, 18, 15);
  const clock = new ManualClock(midnight - 60_000);
  await using house = await TestAppliance.start({ clock });
  const { api } = await setUp(house);
  const { room_id: roomId } = await api('POST', '/createRoom', { name: 'Kitchen' });
  const say = (number: number): Promise<unknown> =>
    api('PUT', `/rooms/${encodeURIComponent(String(roomId))}/send/m.room.message/${number}`, {
      msgtype: 'm.text',
      body: 'hello',
    });
  await say(1);
  clock.setWallClock(midnight + 60_000);
  await say(2);
  await say(3);
  const { state } = house.appliance.keeper;
  assert.ok(state.kind === 'running');
  const { activity } = state.homeserver.ports.status;
  assert.equal(activity.messagesSince(midnight), 2);
  assert.equal(activity.messagesSince(midnight - 900_000), 3);
  // A clock that was wrong for a while leaves nothing behind in what is shown.
  clock.setWallClock(midnight + 400 * DAY);
  await say(4);
  clock.setWallClock(midnight + 120_000);
  assert.equal(activity.messagesSince(midnight), 2);
});

test('what was changed in the configuration is said until the restart, and so is a mistake in it', async () => {
  await using house = await TestAppliance.start();
  await setUp(house);
  const file = (await house.call('GET /about')).configFile;
  const good = readFileSync(file, 'utf8');
  const before = await house.call('GET /status');
  assert.equal(before.restartDue, false);
  writeFileSync(file, `${good}\nmax_upload_size: 7M\n`);
  const changed = await house.call('GET /status');
  assert.equal(changed.restartDue, true);
  assert.equal(changed.line, 'network-only');
  assert.match(JSON.stringify(changed.reasons), /only after a restart/);
  writeFileSync(file, `${good}\nmax_upload_size: much\n`);
  const wrong = await house.call('GET /status');
  assert.equal(wrong.line, 'needs-you');
  assert.match(wrong.reasons[0]?.text ?? '', /could not be started again.*\n.*homeserver\.yaml:\d+:\d+/);
  writeFileSync(file, `${good}\nmax_upload_size: 7M\n`);
  const restarted = await house.call('POST /server/restart');
  assert.equal(restarted.restartDue, false);
  assert.equal(restarted.line, 'network-only');
});

test('the way here is looked at by itself: at first, after a wake, once an hour while it is bad, once a day while it is good', async () => {
  const clock = new ManualClock();
  let verdict: DoctorReport['verdict'] = 'bad';
  let last: DoctorReport | undefined;
  let looks = 0;
  let isWanted = false;
  const watch = new ReachWatch({
    clock,
    log: silentLogger,
    isWanted: () => isWanted,
    last: () => last,
    look: () => {
      looks += 1;
      last = { ...report(verdict), startedAt: clock.now(), endedAt: clock.now() };
      return Promise.resolve();
    },
  });
  const passing = async (ms: number): Promise<number> => {
    const before = looks;
    const until = clock.monotonic() + ms;
    while (clock.monotonic() < until) await clock.advance(30_000);
    return looks - before;
  };
  watch.start();
  assert.equal(await passing(60_000), 0, 'nobody is meant to find it yet');
  isWanted = true;
  assert.equal(await passing(60_000), 1);
  assert.equal(await passing(2.5 * 3_600_000), 2);
  verdict = 'good';
  assert.equal(await passing(3_600_000), 1);
  assert.equal(await passing(23 * 3_600_000), 0);
  watch.wake();
  watch.wake();
  assert.equal(await passing(60_000), 1);
  watch.wake();
  assert.equal(await passing(60_000), 0, 'one from a moment ago is good enough');
  assert.equal(await passing(600_000), 1);
  await watch.stop();
  assert.equal(await passing(48 * 3_600_000), 0);
});

test('sleep and another network are noticed where nobody tells of them', async () => {
  const clock = new ManualClock();
  let addresses = ['192.168.1.5', '2001:db8::5'];
  let wakes = 0;
  const watch = new MachineWatch({
    clock,
    log: silentLogger,
    addresses: () => addresses,
    onWake: () => {
      wakes += 1;
    },
  });
  watch.start();
  const pass = async (): Promise<number> => {
    const before = wakes;
    await clock.advance(30_000);
    return wakes - before;
  };
  assert.equal(await pass(), 0);
  addresses = [...addresses].reverse();
  assert.equal(await pass(), 0, 'the same in another order');
  addresses = ['10.0.0.7'];
  assert.equal(await pass(), 1);
  assert.equal(await pass(), 0);
  clock.setWallClock(clock.now() + 3_600_000);
  assert.equal(await pass(), 1, 'an hour is missing');
  clock.setWallClock(clock.now() - 3_600_000);
  assert.equal(await pass(), 0, 'a clock that is put back is no sleep');
  watch.stop();
  addresses = [];
  assert.equal(await pass(), 0);
});

test('whoever looks on is told of sign-ins', async () => {
  const clock = new ManualClock();
  await using house = await TestAppliance.start({ clock });
  const { api } = await setUp(house);
  const ending = new AbortController();
  const topics: string[] = [];
  const listening = (async () => {
    for await (const { topic } of house.events(ending.signal)) topics.push(topic);
  })().catch((error: unknown) => assert.ok(ending.signal.aborted, String(error)));
  const look = async (): Promise<void> => {
    await clock.advance(10_000);
    await house.call('GET /status');
  };
  await look();
  await look();
  assert.ok(!topics.includes('people'));
  const identifier = { type: 'm.id.user', user: 'nora' };
  await api('POST', '/login', { type: 'm.login.password', identifier, password: NORA.password });
  await eventually('the sign-in is told of', async () => {
    await look();
    return topics.includes('people');
  });
  ending.abort();
  await listening;
});

test('what backups take is counted where they are kept, and nothing else that lies there', async (t) => {
  await using house = await TestAppliance.start();
  await setUp(house);
  const directory = join(tempDir(t), 'elsewhere');
  mkdirSync(directory);
  writeFileSync(join(directory, 'a.hearthbackup'), 'x'.repeat(1000));
  writeFileSync(join(directory, 'holidays.jpg'), 'x'.repeat(5000));
  await house.call('PUT /backups/schedule', {
    body: { every: 'day', atHour: 3, keep: 2, media: true, directory, passphrase: 'correct horse battery staple' },
  });
  assert.equal((await house.call('GET /status')).disk.backupBytes, 1000);
});
