import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SyncContribution } from '../../server/sync/types.ts';
import { expectError } from '../kit/test-client.ts';
import { alice, bob, carol, openHousehold } from './household.ts';
import { allRooms, said, slide, SLIDING_PATH } from './sliding-kit.ts';

test('a waiting request is answered when something is said in a room it is about', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const client = home.client(alice);
  const { pos } = await slide(client, allRooms(), { timeout: 30_000 });
  const waiting = slide(client, allRooms(), { pos, timeout: 30_000 });
  await home.held(1);
  home.rooms.say(room, alice, 'news');
  assert.deepEqual(said((await waiting).rooms[room]), ['news']);
  assert.equal(home.sync.notifier.waiting, 0);
});

test('without news it is answered when its time is up, and goes on from there', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const client = home.client(alice);
  const first = await slide(client, allRooms());
  const waiting = slide(client, allRooms(), { pos: first.pos, timeout: 30_000 });
  await home.held(1);
  await home.clock.advance(29_999);
  assert.equal(home.sync.notifier.waiting, 1);
  await home.clock.advance(1);
  const quiet = await waiting;
  assert.deepEqual(quiet.rooms, {});
  home.rooms.say(room, alice, 'later');
  const next = await slide(client, allRooms(), { pos: quiet.pos, timeout: 30_000 });
  assert.deepEqual(said(next.rooms[room]), ['later']);
});

test('what a connection does not ask about does not answer it', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  home.rooms.member(room, bob, 'join');
  const other = home.rooms.create(alice);
  home.ignored.set(alice, new Set([bob]));
  const client = home.client(alice);
  const encryption = { conn_id: 'encryption', extensions: { to_device: { enabled: true } } };
  const subscribed = { conn_id: 'one', room_subscriptions: { [other]: { timeline_limit: 1, required_state: [] } } };
  const list = allRooms();
  const positions = await Promise.all([encryption, subscribed, list].map(async (body) => slide(client, body)));
  const waiting = [encryption, subscribed, list].map((body, n) =>
    slide(client, body, { pos: positions[n].pos, timeout: 30_000 }),
  );
  await home.held(3);
  home.rooms.say(room, bob, 'from somebody she ignores');
  home.rooms.say(home.rooms.create(carol), carol, 'elsewhere');
  await home.clock.advance(10_000);
  assert.equal(home.sync.notifier.waiting, 3);
  home.rooms.say(room, alice, 'for the list');
  assert.deepEqual(said((await waiting[2]).rooms[room]), ['for the list']);
  assert.equal(home.sync.notifier.waiting, 2);
  home.rooms.say(other, alice, 'for the subscription');
  assert.deepEqual(said((await waiting[1]).rooms[other]), ['for the subscription']);
  await home.clock.advance(20_000);
  assert.deepEqual((await waiting[0]).rooms, {});
});

test('a room below the window wakes a request by coming to its top', async (t) => {
  const home = await openHousehold(t);
  const low = home.rooms.create(alice);
  home.rooms.create(alice);
  const client = home.client(alice);
  const body = allRooms({ ranges: [[0, 0]] });
  const { pos } = await slide(client, body);
  const waiting = slide(client, body, { pos, timeout: 30_000 });
  await home.held(1);
  home.rooms.say(low, alice, 'up');
  const { rooms } = await waiting;
  assert.equal(rooms[low].initial, true);
  assert.equal(rooms[low].num_live, 1);
});

test('an invitation wakes a request that knows no room yet', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const client = home.client(bob);
  const { pos } = await slide(client, allRooms());
  const waiting = slide(client, allRooms(), { pos, timeout: 30_000 });
  await home.held(1);
  home.rooms.member(room, bob, 'invite', { by: alice });
  assert.equal((await waiting).rooms[room].membership, 'invite');
});

test('keys of the device that run out wake a request, though they are told in each', async (t) => {
  const home = await openHousehold(t);
  let left = 50;
  const keys: SyncContribution = {
    name: 'keys',
    sliding: 'e2ee',
    contribute: () => ({ oneTimeKeysCount: { signed_curve25519: left }, unusedFallbackKeyTypes: [] }),
  };
  home.contributions.push(keys);
  const client = home.client(alice, { device: 'PHONE' });
  const body = { extensions: { e2ee: { enabled: true } } };
  const { pos } = await slide(client, body);
  const waiting = slide(client, body, { pos, timeout: 30_000 });
  await home.held(1);
  left = 49;
  home.db.advance([`device:${alice}/PHONE`]);
  assert.equal((await waiting).extensions.e2ee.device_one_time_keys_count.signed_curve25519, 49);
});

test('a request given up does not undo what a later one was told', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const client = home.client(alice);
  const { pos } = await slide(client, allRooms());
  const gone = new AbortController();
  const first = slide(client, allRooms(), { pos, timeout: 30_000, signal: gone.signal });
  await home.held(1);
  const second = slide(client, allRooms(), { pos, timeout: 30_000 });
  await home.held(2);
  gone.abort();
  await assert.rejects(first);
  await home.held(1);
  const other = home.rooms.create(alice);
  home.rooms.say(room, alice, 'news');
  const told = await second;
  const next = await slide(client, allRooms(), { pos: told.pos });
  assert.deepEqual(new Set([...Object.keys(told.rooms), ...Object.keys(next.rooms)]), new Set([room, other]));
});

test('of two requests with one position the later has the connection', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const client = home.client(alice);
  const { pos } = await slide(client, allRooms());
  const older = client.request('POST', SLIDING_PATH, { query: { pos, timeout: 30_000 }, body: allRooms() });
  await home.held(1);
  const newer = client.request('POST', SLIDING_PATH, { query: { pos, timeout: 30_000 }, body: allRooms() });
  await home.held(2);
  home.rooms.say(room, alice, 'news');
  expectError(await older, 400, 'M_UNKNOWN_POS');
  assert.deepEqual(said((await newer).body.rooms[room]), ['news']);
});

test('a device keeps only the connections it used last', async (t) => {
  const home = await openHousehold(t);
  home.rooms.create(alice);
  const client = home.client(alice);
  const positions: string[] = [];
  for (let n = 0; n < 17; n += 1) {
    await home.clock.advance(1_000);
    positions.push((await slide(client, allRooms({}, { conn_id: `c${n}` }))).pos);
  }
  const first = await client.request('POST', SLIDING_PATH, {
    query: { pos: positions[0] },
    body: allRooms({}, { conn_id: 'c0' }),
  });
  expectError(first, 400, 'M_UNKNOWN_POS');
  await slide(client, allRooms({}, { conn_id: 'c1' }), { pos: positions[1] ?? '' });
});

test('a connection that wishes for ever other state is given up, and not kept growing', async (t) => {
  const home = await openHousehold(t);
  home.rooms.create(alice);
  const client = home.client(alice);
  let { pos } = await slide(client, allRooms());
  for (let n = 0; n < 20; n += 1) {
    const wish = Array.from({ length: 500 }, (_, k) => [`${n}-${k}`.padEnd(220, 'x'), '']);
    const answer = await client.request('POST', SLIDING_PATH, {
      query: { pos },
      body: allRooms({ required_state: wish }),
    });
    if (answer.status !== 200) {
      expectError(answer, 400, 'M_UNKNOWN_POS');
      return;
    }
    ({ pos } = answer.body);
  }
  assert.fail('it grew by two megabytes');
});

test('a connection nobody used for a month is given up', async (t) => {
  const home = await openHousehold(t);
  home.rooms.create(alice);
  const client = home.client(alice);
  const old = await slide(client, allRooms({}, { conn_id: 'old' }));
  await home.clock.advance(31 * 24 * 3_600_000);
  await slide(home.client(bob), allRooms());
  await slide(client, allRooms({}, { conn_id: 'new' }));
  const answer = await client.request('POST', SLIDING_PATH, {
    query: { pos: old.pos },
    body: allRooms({}, { conn_id: 'old' }),
  });
  expectError(answer, 400, 'M_UNKNOWN_POS');
});
