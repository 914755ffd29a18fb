import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SyncContribution } from '../../server/sync/types.ts';
import { Deadline, LONGEST_WAIT_MS, Notifier } from '../../server/sync/notifier.ts';
import type { StreamPosition } from '../../server/storage/types.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { alice, bob, carol, openHousehold, syncOnce, told } from './household.ts';

test('a waiting request is answered when something is said', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const client = home.client(alice);
  const { next_batch: since } = await syncOnce(client);
  const waiting = syncOnce(client, { since, timeout: 30_000 });
  await home.held(1);
  home.rooms.say(room, alice, 'news');
  assert.deepEqual(told((await waiting).rooms.join[room].timeline), ['news']);
  assert.equal(home.sync.notifier.waiting, 0);
  assert.equal(home.clock.pending, 0);
});

test('without news a request is answered when its time is up, with a token to go on from', async (t) => {
  const home = await openHousehold(t);
  const client = home.client(alice);
  const { next_batch: since } = await syncOnce(client);
  const waiting = syncOnce(client, { since, timeout: 30_000 });
  await home.held(1);
  await home.clock.advance(29_999);
  assert.equal(home.sync.notifier.waiting, 1);
  await home.clock.advance(1);
  const answer = await waiting;
  assert.equal(answer.rooms, undefined);
  const room = home.rooms.create(alice);
  const next = await syncOnce(client, { since: answer.next_batch });
  assert.deepEqual(Object.keys(next.rooms.join), [room]);
});

test('what is none of the waiting one’s business does not wake them, and what turns out to be nothing wakes them not for good', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  home.rooms.member(room, bob, 'join');
  const elsewhere = home.rooms.create(bob);
  home.ignored.set(alice, new Set([bob]));
  const client = home.client(alice);
  const { next_batch: since } = await syncOnce(client);
  const waiting = syncOnce(client, { since, timeout: 30_000 });
  await home.held(1);
  home.rooms.say(elsewhere, bob, 'not for Alice');
  home.rooms.say(room, bob, 'from somebody she ignores');
  await home.clock.advance(10_000);
  assert.equal(home.sync.notifier.waiting, 1);
  home.rooms.say(room, alice, 'at last');
  const answer = await waiting;
  assert.deepEqual(told(answer.rooms.join[room].timeline), ['at last']);
});

test('the time spent on wake-ups for nothing counts', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  home.rooms.member(room, bob, 'join');
  home.ignored.set(alice, new Set([bob]));
  const client = home.client(alice);
  const { next_batch: since } = await syncOnce(client);
  const waiting = syncOnce(client, { since, timeout: 30_000 });
  await home.held(1);
  await home.clock.advance(20_000);
  home.rooms.say(room, bob, 'unheard');
  await home.clock.advance(10_000);
  assert.equal((await waiting).rooms, undefined);
});

test('a room joined while waiting wakes the request, and is followed from then on', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const client = home.client(bob);
  const filter = { room: { timeline: { types: ['m.room.message'] }, not_rooms: [room] } };
  const { next_batch: since } = await syncOnce(client);
  const plain = syncOnce(client, { since, timeout: 30_000 });
  const deaf = syncOnce(client, { since, timeout: 30_000, filter });
  await home.held(2);
  home.rooms.member(room, bob, 'join');
  assert.deepEqual(Object.keys((await plain).rooms.join), [room]);
  await home.held(1);
  const { next_batch: later } = await plain;
  const next = syncOnce(client, { since: later, timeout: 30_000 });
  await home.held(2);
  home.rooms.say(room, alice, 'welcome');
  assert.deepEqual(told((await next).rooms.join[room].timeline), ['welcome']);
  await home.clock.advance(30_000);
  assert.equal((await deaf).rooms, undefined);
});

test('an invite and a removal wake a waiting request', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const client = home.client(bob);
  let { next_batch: since } = await syncOnce(client);
  for (const [membership, section] of [
    ['invite', 'invite'],
    ['leave', 'leave'],
  ] as const) {
    const waiting = syncOnce(client, { since, timeout: 30_000 });
    await home.held(1);
    home.rooms.member(room, bob, membership, { by: alice });
    const answer = await waiting;
    assert.deepEqual(Object.keys(answer.rooms[section]), [room]);
    since = answer.next_batch;
  }
});

test('a change in memory alone wakes whoever follows its key', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const client = home.client(alice);
  let typingSince = 0;
  home.contributions.push({
    name: 'typing',
    contribute: (window) =>
      typingSince > window.since
        ? { rooms: new Map([[room, { ephemeral: [{ type: 'm.typing', content: { user_ids: [bob] } }] }]]) }
        : {},
  });
  const { next_batch: since } = await syncOnce(client);
  const waiting = syncOnce(client, { since, timeout: 30_000 });
  await home.held(1);
  typingSince = home.db.advance([`room:${room}`]);
  const answer = await waiting;
  assert.deepEqual(told(answer.rooms.join[room].ephemeral), ['m.typing']);
  assert.deepEqual(answer.rooms.join[room].timeline.events, []);
  assert.equal((await syncOnce(client, { since: answer.next_batch })).rooms, undefined);
});

test('a device hears of its own keys running out while it waits', async (t) => {
  const home = await openHousehold(t);
  let left = 50;
  home.contributions.push({
    name: 'keys',
    contribute: () => ({
      oneTimeKeysCount: { signed_curve25519: left },
      unusedFallbackKeyTypes: ['signed_curve25519'],
    }),
  });
  const client = home.client(alice);
  const first = await syncOnce(client);
  assert.deepEqual(first.device_one_time_keys_count, { signed_curve25519: 50 });
  assert.deepEqual(first.device_unused_fallback_key_types, ['signed_curve25519']);
  const waiting = syncOnce(client, { since: first.next_batch, timeout: 30_000 });
  await home.held(1);
  left = 49;
  home.db.advance([`device:${alice}/DEVICE`]);
  assert.deepEqual((await waiting).device_one_time_keys_count, { signed_curve25519: 49 });
});

test('a client that has gone away is no longer held', async (t) => {
  const home = await openHousehold(t);
  const client = home.client(alice);
  const { next_batch: since } = await syncOnce(client);
  const leaving = new AbortController();
  const request = client.sync({ since, timeout: 30_000, signal: leaving.signal });
  await home.held(1);
  leaving.abort();
  await assert.rejects(request, { name: 'AbortError' });
  await home.held(0);
  assert.equal(home.clock.pending, 0);
});

test('when the server stops, held requests are answered', async (t) => {
  const home = await openHousehold(t);
  const client = home.client(alice);
  const { next_batch: since } = await syncOnce(client);
  const waiting = syncOnce(client, { since, timeout: 30_000 });
  await home.held(1);
  home.sync.stop();
  assert.ok((await waiting).next_batch);
});

test('what a device has shown to have is acknowledged once for each request, never by a first sync', async (t) => {
  const home = await openHousehold(t);
  const acknowledged: number[] = [];
  const queue: SyncContribution = {
    name: 'to-device',
    contribute: () => ({}),
    acknowledge: (window) => void acknowledged.push(window.since),
  };
  home.contributions.push(queue);
  const room = home.rooms.create(alice);
  home.rooms.member(room, carol, 'join');
  home.ignored.set(alice, new Set([carol]));
  const client = home.client(alice);
  const { next_batch: since } = await syncOnce(client);
  assert.deepEqual(acknowledged, []);
  const waiting = syncOnce(client, { since, timeout: 1_000 });
  await home.held(1);
  home.rooms.say(room, carol, 'wakes Alice for nothing');
  await home.clock.advance(1_000);
  await waiting;
  assert.deepEqual(acknowledged, [home.sync.tokens.parse(since)]);
});

test('a wait ends in time though the machine slept or its clock was set', async () => {
  const clock = new ManualClock();
  const deadline = new Deadline(clock, 30_000);
  clock.setWallClock(clock.now() + 3_600_000);
  assert.equal(deadline.remaining(), 0);

  const setBack = new Deadline(clock, 30_000);
  clock.setWallClock(clock.now() - 3_600_000);
  assert.equal(setBack.remaining(), 30_000);
  await clock.advance(30_000);
  assert.equal(setBack.remaining(), 0);
  assert.equal(new Deadline(clock, Number.MAX_SAFE_INTEGER).remaining(), LONGEST_WAIT_MS);
});

test('equal first syncs at the same time are worked out once', async (t) => {
  const home = await openHousehold(t);
  home.rooms.create(alice);
  let asked = 0;
  home.contributions.push({
    name: 'counter',
    contribute: () => {
      asked += 1;
      return {};
    },
  });
  const { routes } = home.sync;
  const sync = routes.find((route) => route.path === '/_matrix/client/v3/sync');
  assert.ok(sync);
  const request = (deviceId: string): unknown => ({
    requester: { userId: alice, deviceId },
    query: {},
    signal: new AbortController().signal,
  });
  const answers = await Promise.all([
    sync.handle(request('A') as never),
    sync.handle(request('A') as never),
    sync.handle(request('B') as never),
  ]);
  assert.equal(asked, 2);
  assert.equal(answers[0], answers[1]);
  assert.notEqual(answers[0], answers[2]);
});

test('what moved between the reading and the waiting is not slept through', async () => {
  const clock = new ManualClock();
  let listeners = 0;
  const db = {
    position: () => 7 as StreamPosition,
    subscribe: () => {
      listeners += 1;
      return { unsubscribe: () => void (listeners -= 1) };
    },
  };
  const notifier = new Notifier({ db, clock });
  const interest = { keys: [`user:${alice}`], rooms: new Set<never>() };
  const { signal } = new AbortController();
  const waitSince = (since: number): Promise<unknown> =>
    notifier.wait(interest, since as StreamPosition, new Deadline(clock, 1_000), signal);
  assert.equal(await waitSince(6), 'changed');
  const waiting = waitSince(7);
  assert.equal(notifier.waiting, 1);
  notifier.stop();
  assert.equal(await waiting, 'timeout');
  assert.equal(listeners, 0);
  assert.equal(
    await notifier.wait(interest, 7 as StreamPosition, new Deadline(clock, 1), AbortSignal.abort()),
    'aborted',
  );
});
