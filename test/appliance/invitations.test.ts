import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../server/util/clock.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { expectError, expectOk } from '../kit/test-client.ts';
import type { TestAppliance } from './appliance-kit.ts';
import { homeserverOf, logIn, moveIn, PASSWORD, roomyDataDir, startRoomy, visitor } from './household-kit.ts';

test('somebody comes by an invitation though registration is closed, once', async () => {
  using dataDir = roomyDataDir();
  await using house = await startRoomy(dataDir);
  await moveIn(house, 'anna');
  expectError(await visitor(house).post('/_matrix/client/v3/register', { username: 'ben' }), 403, 'M_FORBIDDEN');
  const made = await house.call('POST /invitations', { body: { note: ' Ben, from next door ' } });
  assert.equal(made.note, 'Ben, from next door');
  assert.deepEqual([made.usesLeft, made.used, made.expiresAt], [1, 0, undefined]);
  assert.equal(made.link, `${homeserverOf(house).clientUrl}/_hearth/join?token=${made.token}`);

  const page = await visitor(house).get(new URL(made.link).pathname, { token: made.token });
  assert.equal(page.status, 200);
  assert.match(page.headers.get('content-type') ?? '', /^text\/html/);
  const policy = page.headers.get('content-security-policy') ?? '';
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe-inline/);
  for (const label of ['Username', 'Password', 'Password, once more'])
    assert.match(page.body, new RegExp(`>${label}</label>`));

  const order = { token: made.token, username: 'ben', password: PASSWORD };
  const join = (body: object) => visitor(house).post('/_hearth/join', body);
  expectError(await join({ ...order, username: 'Not A Name!' }), 400, 'M_INVALID_USERNAME');
  expectError(await join({ ...order, username: 'anna' }), 400, 'M_USER_IN_USE');
  expectError(await join({ ...order, password: 'short' }), 400, 'M_WEAK_PASSWORD');
  expectError(await join({ ...order, token: 'another' }), 403, 'M_FORBIDDEN');
  // Two at once: the second is late.
  const both = await Promise.all([join(order), join({ ...order, username: 'bert' })]);
  assert.deepEqual(
    both.map(({ status }) => status).toSorted((a, b) => a - b),
    [200, 403],
  );
  const won = both.find(({ status }) => status === 200)?.body.user_id;
  await logIn(house, won.slice(1, won.indexOf(':')));

  const [used] = (await house.call('GET /invitations')).invitations;
  assert.deepEqual([used?.usesLeft, used?.used], [0, 1]);
  const late = await visitor(house).get('/_hearth/join', { token: made.token });
  assert.equal(late.status, 403);
  assert.match(late.body, /used already/);
});

test('an invitation can be withdrawn, runs out, and may be for several', async () => {
  using dataDir = roomyDataDir();
  await using house = await startRoomy(dataDir);
  const join = (token: string, username: string) =>
    visitor(house).post('/_hearth/join', { token, username, password: PASSWORD });
  const several = await house.call('POST /invitations', { body: { uses: 2 } });
  expectOk(await join(several.token, 'ben'));
  expectOk(await join(several.token, 'carla'));
  expectError(await join(several.token, 'dora'), 403, 'M_FORBIDDEN');

  const withdrawn = await house.call('POST /invitations', { body: {} });
  await house.call('DELETE /invitations/{token}', { params: { token: withdrawn.token } });
  expectError(await join(withdrawn.token, 'dora'), 403, 'M_FORBIDDEN');
  assert.equal((await house.ask('DELETE /invitations/{token}', { params: { token: withdrawn.token } })).status, 404);
  assert.equal((await visitor(house).get('/_hearth/join', { token: withdrawn.token })).status, 403);

  const past = await house.ask('POST /invitations', { body: { expiresAt: systemClock.now() - 1 } });
  assert.equal(past.status, 400);
  const brief = await house.call('POST /invitations', { body: { expiresAt: systemClock.now() + 86_400_000 } });
  assert.ok((brief.expiresAt ?? 0) > systemClock.now());
  assert.deepEqual(
    (await house.call('GET /invitations')).invitations.map(({ token }) => token).toSorted(),
    [several.token, brief.token].toSorted(),
  );
});

test('who tries tokens is held up, and who has a good one is not', async () => {
  using dataDir = roomyDataDir({ limited: true });
  await using house = await startRoomy(dataDir);
  const { token } = await house.call('POST /invitations', { body: {} });
  for (let visit = 0; visit < 12; visit++) {
    assert.equal((await visitor(house).get('/_hearth/join', { token })).status, 200);
  }
  const statuses: number[] = [];
  for (let attempt = 0; attempt < 12; attempt++) {
    statuses.push((await visitor(house).get('/_hearth/join', { token: `guess${attempt}` })).status);
  }
  const held = await visitor(house).get('/_hearth/join', { token });
  assert.match(String(held.body), /Please wait a moment/, 'in words, and not as an API');
  assert.equal(statuses[0], 403);
  assert.equal(statuses.at(-1), 429);
});

test('an invitation that is used up or expired leaves the list 30 days later, and no other does', async () => {
  const DAY = 86_400_000;
  using dataDir = roomyDataDir();
  const begin = new ManualClock().now();
  const on = (day: number): Promise<TestAppliance> =>
    startRoomy(dataDir, { clock: new ManualClock(begin + day * DAY) });
  const invite = async (house: TestAppliance, note: string, limits: object = {}): Promise<string> =>
    (await house.call('POST /invitations', { body: { note, ...limits } })).token;
  const join = async (house: TestAppliance, token: string, username: string): Promise<void> =>
    void expectOk(await visitor(house).post('/_hearth/join', { token, username, password: PASSWORD }));
  let used = '';
  {
    await using house = await on(0);
    await invite(house, 'unused');
    await join(house, await invite(house, 'half', { uses: 2 }), 'ben');
    await join(house, await invite(house, 'expires', { uses: 2, expiresAt: begin + 2 * DAY }), 'carla');
    used = await invite(house, 'used');
  }
  {
    await using house = await on(1);
    await join(house, used, 'dora');
  }
  for (const [day, left] of [
    [30.9, ['expires', 'half', 'unused', 'used']],
    [31.1, ['expires', 'half', 'unused']],
    [32.1, ['half', 'unused']],
  ] as const) {
    await using house = await on(day);
    const { invitations } = await house.call('GET /invitations');
    assert.deepEqual(invitations.map(({ note }) => String(note)).toSorted(), left, `on day ${day}`);
  }
});

test('the list of invitations is cleared while the server runs, too', async () => {
  const clock = new ManualClock();
  using dataDir = roomyDataDir();
  await using house = await startRoomy(dataDir, { clock });
  await house.call('POST /invitations', { body: { expiresAt: clock.now() + 1_000 } });
  assert.equal((await house.call('GET /invitations')).invitations.length, 1);
  clock.setWallClock(clock.now() + 31 * 86_400_000);
  await clock.advance(3_600_000);
  assert.deepEqual((await house.call('GET /invitations')).invitations, []);
});
