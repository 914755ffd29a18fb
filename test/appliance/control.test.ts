import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Announcer } from '../../server/appliance/announcer.ts';
import { eventStream } from '../../server/appliance/control/event-stream.ts';
import { Sessions } from '../../server/appliance/control/sessions.ts';
import { Keeper } from '../../server/appliance/lifecycle/keeper.ts';
import type { Homeserver } from '../../server/appliance/homeserver.ts';
import type { UserId } from '../../server/matrix/identifiers.ts';
import { silentLogger } from '../../server/util/log.ts';
import { systemRandom } from '../../server/util/random.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { eventually } from '../kit/test-network.ts';
import { TestAppliance } from './appliance-kit.ts';

test('a link opens the interface once; what it gives is good until it is given back', async () => {
  await using house = await TestAppliance.start();
  const link = house.appliance.createLink();
  const nobody = { authorization: '' };
  assert.equal((await house.ask('GET /jobs', {}, nobody)).status, 401);
  const opened = await house.ask('POST /session', { body: { link } }, nobody);
  assert.equal(opened.status, 200);
  const { token } = opened.body as { token: string };
  const own = { authorization: `Bearer ${token}` };
  assert.deepEqual((await house.ask('GET /jobs', {}, own)).body, { jobs: [] });
  assert.equal((await house.ask('POST /session', { body: { link } }, nobody)).status, 403, 'not twice');
  assert.equal((await house.ask('DELETE /session', {}, own)).status, 200);
  assert.equal((await house.ask('GET /jobs', {}, own)).status, 401);
});

test('whoever runs the server signs in with their account, and nobody else does', async () => {
  await using house = await TestAppliance.start();
  const { accounts } =
    house.appliance.keeper.state.kind === 'running' ? house.appliance.keeper.state.homeserver.ports : assert.fail();
  await accounts.createAdministrator({ username: 'nora', password: 'a quiet evening' });
  const nobody = { authorization: '' };
  const right = await house.ask('POST /session', { body: { username: 'nora', password: 'a quiet evening' } }, nobody);
  assert.equal(right.status, 200);
  for (const body of [
    { username: 'nora', password: 'a loud evening' },
    { username: 'olga', password: 'a quiet evening' },
  ]) {
    assert.equal((await house.ask('POST /session', { body }, nobody)).status, 403);
  }
});

test('pages of others are kept out, whatever they call themselves', async () => {
  await using house = await TestAppliance.start();
  const { port } = new URL(house.url);
  for (const [headers, status] of [
    [{}, 200],
    [{ origin: house.url }, 200],
    [{ host: `localhost:${port}` }, 200],
    [{ origin: 'https://example.com' }, 403],
    [{ origin: 'null' }, 403],
    [{ origin: `http://127.0.0.1:${Number(port) + 1}` }, 403],
    [{ 'sec-fetch-site': 'cross-site' }, 403],
    [{ host: `rebound.example.com:${port}` }, 421],
    [{ host: '127.0.0.1' }, 421],
  ] as const) {
    const answer = await house.ask('GET /jobs', {}, headers);
    assert.equal(answer.status, status, JSON.stringify(headers));
    assert.equal(answer.headers['access-control-allow-origin'], undefined);
  }
  assert.equal((await house.request('GET', '/', undefined, { host: `rebound.example.com:${port}` })).status, 421);
});

test('whoever loses the right to run the server, or gets another password, is out at once; others stay', async () => {
  await using house = await TestAppliance.start();
  const { state } = house.appliance.keeper;
  assert.ok(state.kind === 'running');
  const { accounts } = state.homeserver.ports;
  const people = ['nora', 'olga', 'pia', 'rosa', 'vera'];
  for (const username of people) await accounts.createAdministrator({ username, password: 'a quiet evening' });
  const nobody = { authorization: '' };
  const signIn = async (username: string): Promise<{ authorization: string }> => {
    const body = { username, password: 'a quiet evening' };
    const { token } = (await house.ask('POST /session', { body }, nobody)).body as { token: string };
    return { authorization: `Bearer ${token}` };
  };
  // As phones write it.
  const [nora, olga, pia, rosa, vera] = await Promise.all(['Nora', ...people.slice(1)].map(signIn));
  const statusOf = async (own: { authorization: string } | undefined): Promise<number> =>
    (await house.ask('GET /jobs', {}, own)).status;
  assert.equal(await statusOf(nora), 200);
  const params = (name: string) => ({ userId: `@${name}:localhost` });
  await house.call('PUT /people/{userId}/admin', { params: params('olga'), body: { admin: false } });
  await house.call('POST /people/{userId}/password', {
    params: params('pia'),
    body: { password: 'a louder evening', signOut: false },
  });
  await house.call('POST /people/{userId}/deactivate', { params: params('rosa'), body: { erase: false } });
  await house.call('PUT /people/{userId}/locked', { params: params('vera'), body: { locked: true } });
  assert.deepEqual(await Promise.all([nora, olga, pia, rosa, vera].map(statusOf)), [200, 401, 401, 401, 401]);
  await house.call('POST /server/pause');
  assert.equal(await statusOf(nora), 200, 'while nobody can be asked, it is as it was');
  assert.equal(await statusOf(olga), 401);
});

test('a stream of events ends with the session that it was opened in', async () => {
  await using house = await TestAppliance.start();
  const { state } = house.appliance.keeper;
  assert.ok(state.kind === 'running');
  await state.homeserver.ports.accounts.createAdministrator({ username: 'nora', password: 'a quiet evening' });
  await state.homeserver.ports.accounts.createAdministrator({ username: 'olga', password: 'a quiet evening' });
  const nobody = { authorization: '' };
  const follow = async (body: { link: string } | { username: string; password: string }) => {
    const { token } = (await house.ask('POST /session', { body }, nobody)).body as { token: string };
    const headers = { authorization: `Bearer ${token}` };
    const response = await fetch(`${house.url}/_hearth/control/events`, { headers });
    assert.equal(response.status, 200);
    return { headers, ended: response.text().then(undefined, () => 'broken off') };
  };
  const byLink = await follow({ link: house.appliance.createLink() });
  const byAccount = await follow({ username: 'olga', password: 'a quiet evening' });
  await house.ask('DELETE /session', {}, byLink.headers);
  await byLink.ended;
  // What is told of that change is no business of hers any more.
  await house.call('PUT /people/{userId}/admin', { params: { userId: '@olga:localhost' }, body: { admin: false } });
  assert.doesNotMatch(await byAccount.ended, /people/);
});

test('a link is good for a day, a session for a week after it was used last, whatever the clock on the wall says', async () => {
  const clock = new ManualClock();
  const accounts = { signIn: () => Promise.resolve(undefined), standingOf: () => undefined };
  const sessions = new Sessions({ clock, random: systemRandom, accounts });
  const hours = async (count: number): Promise<void> => clock.advance(count * 3_600_000);
  const [early, late] = [sessions.createLink(), sessions.createLink()];
  await hours(23);
  clock.setWallClock(clock.now() + 400 * 24 * 3_600_000);
  const token = sessions.openByLink(early);
  await hours(2);
  assert.throws(() => sessions.openByLink(late), { errcode: 'M_FORBIDDEN' });
  await hours(6 * 24);
  assert.ok(sessions.isGood(token));
  await hours(6 * 24);
  assert.ok(sessions.isGood(token));
  const end = sessions.endOf(token);
  await hours(8 * 24);
  assert.ok(!sessions.isGood(token));
  assert.ok(end?.aborted);
  const links = [1, 2, 3, 4].map(() => sessions.createLink());
  assert.throws(() => sessions.openByLink(links[0] ?? ''), { errcode: 'M_FORBIDDEN' }, 'only the newest are kept');
  assert.ok(sessions.isGood(sessions.openByLink(links[3] ?? '')));
});

test('a session that was opened while the homeserver stopped is held to what its account is then', async () => {
  let standing: string | undefined = 'unknown';
  const sessions = new Sessions({
    clock: new ManualClock(),
    random: systemRandom,
    accounts: { signIn: () => Promise.resolve('@nora:localhost' as UserId), standingOf: () => standing },
  });
  const token = await sessions.openByAccount('nora', 'a quiet evening');
  assert.ok(sessions.isGood(token));
  standing = 'one password';
  assert.ok(sessions.isGood(token));
  standing = 'another password';
  assert.ok(!sessions.isGood(token));
  standing = 'one password';
  assert.ok(!sessions.isGood(token), 'what is over is over');
});

test('what moves a thousand times is told of twice; whoever does not read is let go', async () => {
  const clock = new ManualClock();
  const announcer = new Announcer();
  const parts = { announcer, clock, signal: new AbortController().signal, isWelcome: () => true };
  const stream = eventStream(parts);
  let text = '';
  stream.on('data', (piece: Buffer) => {
    text += piece.toString();
  });
  for (let number = 0; number < 1000; number += 1) announcer.moved('problems');
  announcer.moved('rooms');
  await clock.advance(250);
  await clock.advance(250);
  assert.equal(text.match(/problems/g)?.length, 2, text);
  assert.equal(text.match(/rooms/g)?.length, 1);
  announcer.moved('rooms');
  await clock.advance(0);
  assert.equal(text.match(/rooms/g)?.length, 2, 'after a while, at once again');
  stream.destroy();

  const deaf = eventStream(parts);
  const job = {
    id: 'x',
    kind: 'backup',
    title: 'y'.repeat(10_000),
    state: 'running',
    startedAt: 0,
    canCancel: true,
  } as const;
  for (let number = 0; number < 100; number += 1) announcer.job(job);
  assert.ok(deaf.readableLength < 400_000);
  await eventually('nobody listens any more', () => !announcer.isHeard);
  await clock.advance(0);
  assert.equal(clock.pending, 0, 'and no timer is left');
});

test('after its end nothing starts the homeserver again, and one that fails to stop holds nothing up', async () => {
  let starts = 0;
  const log: string[] = [];
  const keeper = new Keeper({
    clock: new ManualClock(),
    log: { ...silentLogger, error: (_data, sentence) => void log.push(sentence) },
    announcer: { moved: () => undefined },
    begin: () => {
      starts += 1;
      return Promise.resolve({
        stop: () => Promise.reject(new Error('the disk is gone')),
      } as Partial<Homeserver> as Homeserver);
    },
  });
  await keeper.start();
  await keeper.restart();
  assert.equal(keeper.state.kind, 'running');
  assert.equal(starts, 2);
  assert.deepEqual(log, ['the homeserver did not stop properly']);
  const stopping = keeper.stop();
  const late = [keeper.start(), keeper.restart(), keeper.pause()];
  await Promise.all([stopping, ...late]);
  assert.equal(keeper.state.kind, 'stopped');
  assert.equal(starts, 2);
});

test('a start that waits for its next try is tried when the machine wakes up', async () => {
  const clock = new ManualClock();
  let isThere = false;
  const keeper = new Keeper({
    clock,
    log: silentLogger,
    announcer: { moved: () => undefined },
    begin: () => (isThere ? Promise.resolve({} as Homeserver) : Promise.reject(new Error('no such address'))),
  });
  await keeper.start();
  keeper.wake();
  await eventually('it has failed again', () => keeper.state.kind === 'failed');
  isThere = true;
  keeper.wake();
  await eventually('it runs', () => keeper.state.kind === 'running');
});

test('what pages only read leaves no trace in the log that they show', async () => {
  const lines: unknown[] = [];
  await using house = await TestAppliance.start({
    log: { ...silentLogger, info: (data) => void lines.push(data['path'] ?? data), child: () => silentLogger },
  });
  lines.length = 0;
  await house.call('GET /jobs');
  await house.call('GET /problems');
  assert.equal((await house.ask('GET /jobs', {}, { authorization: '' })).status, 401);
  await house.call('POST /server/wake');
  await eventually('what was refused or done is noted', () => lines.length >= 2);
  assert.deepEqual(lines, ['/_hearth/control/jobs', '/_hearth/control/server/wake']);
});
