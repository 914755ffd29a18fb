import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../kit/manual-clock.ts';
import { type Answer, expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer, type TestServerOptions } from '../kit/test-server.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;

const statusPath = (of: TestClient | string): string =>
  `/_matrix/client/v3/presence/${encodeURIComponent(typeof of === 'string' ? of : of.userId)}/status`;

const say = (who: TestClient, presence: string, statusMsg?: string | null): Promise<Answer> =>
  who.put(statusPath(who), { presence, ...(statusMsg === undefined ? {} : { status_msg: statusMsg }) });

/** What a viewer (the user themselves, unless said) is told of somebody who is asked after. */
async function status(of: TestClient, seenBy: TestClient = of): Promise<Json> {
  return expectOk(await seenBy.get(statusPath(of)));
}

/** One /sync without waiting; `presence` is what the client wants to count as. */
async function sync(who: TestClient, presence?: string, since?: string): Promise<Json> {
  return expectOk(await who.get('/_matrix/client/v3/sync', { set_presence: presence, since, timeout: 0 }));
}

/** Looks without being seen, and gives what was news, by user: their last presence. */
async function news(
  who: TestClient,
  since?: string,
): Promise<{ next: string; of: Record<string, Json>; count: number }> {
  const answer = await sync(who, 'offline', since);
  const events: Json[] = answer.presence?.events ?? [];
  for (const event of events) assert.equal(event.type, 'm.presence');
  return {
    next: answer.next_batch,
    of: Object.fromEntries(events.map((event) => [event.sender, event.content])),
    count: events.length,
  };
}

interface Household {
  readonly server: TestServer;
  readonly clock: ManualClock;
  readonly anna: TestClient;
  readonly bob: TestClient;
  readonly kitchen: string;
}

/** Waits until the server holds one request more than when it had set `timers`: each has one for its end. */
async function untilHeld({ clock }: Household, timers: number): Promise<void> {
  while (clock.pending <= timers) await new Promise((resolve) => setImmediate(resolve));
}

/** Two people with a room together, on a clock that the test moves. */
async function household(options: TestServerOptions = {}): Promise<Household & AsyncDisposable> {
  const clock = new ManualClock();
  const server = await TestServer.start({ ...options, clock });
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const kitchen = await anna.createRoom({ preset: 'public_chat' });
  await bob.join(kitchen);
  return { server, clock, anna, bob, kitchen, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

test('those in a room together see how the others say they are, strangers do not', async () => {
  await using house = await household();
  const { server, anna, bob } = house;
  const carol = await server.register('carol');

  assert.deepEqual(await status(anna), { presence: 'offline', last_active_ago: 0 }, 'all she did was to register');
  assert.deepEqual(expectOk(await say(anna, 'online', 'baking')), {});
  assert.deepEqual(await status(anna, bob), {
    presence: 'online',
    last_active_ago: 0,
    status_msg: 'baking',
    currently_active: true,
  });
  expectOk(await say(anna, 'unavailable'));
  assert.deepEqual(await status(anna, bob), { presence: 'unavailable', last_active_ago: 0 }, 'the message is gone');
  expectOk(await say(anna, 'offline', null));
  assert.equal((await status(anna, bob)).presence, 'offline');

  expectError(await carol.get(statusPath(anna)), 403, 'M_FORBIDDEN');
  expectError(await carol.get(statusPath('@nobody:hearth.test')), 403, 'M_FORBIDDEN');
  expectError(await carol.put(statusPath(anna), { presence: 'online' }), 403, 'M_FORBIDDEN');
  expectError(await server.anonymous().get(statusPath(anna)), 401, 'M_MISSING_TOKEN');
});

test('a presence the spec does not know, or a message that is none, is refused', async () => {
  await using server = await TestServer.start({ config: { allow_guest_access: true } });
  const anna = await server.register('anna');
  const guest = await server.guest();

  expectError(await say(anna, 'busy'), 400, 'M_BAD_JSON');
  expectError(await anna.put(statusPath(anna), {}), 400, 'M_BAD_JSON');
  expectError(await anna.put(statusPath(anna), { presence: 'online', status_msg: 7 }), 400, 'M_BAD_JSON');
  expectError(await say(anna, 'online', 'x'.repeat(4097)), 400, 'M_BAD_JSON');
  expectError(await say(anna, 'online', 'ä'.repeat(2049)), 400, 'M_BAD_JSON');
  expectError(await anna.get('/_matrix/client/v3/sync', { set_presence: 'busy' }), 400, 'M_INVALID_PARAM');
  expectError(await say(guest, 'online'), 403, 'M_GUEST_ACCESS_FORBIDDEN');
  assert.equal((await status(anna)).presence, 'offline');
});

test('a client that syncs is online, or as it wants to be, and one that wants no notice gets none', async () => {
  await using house = await household();
  const { anna, bob } = house;

  await sync(anna, 'offline');
  assert.equal((await status(anna, bob)).presence, 'offline');
  const first = await sync(anna);
  assert.deepEqual(
    first.presence.events.map((event: Json) => [event.sender, event.content.presence]),
    [[anna.userId, 'online']],
    'the first sync shows that one is there oneself',
  );
  assert.equal((await status(anna, bob)).presence, 'online');
  await sync(anna, 'unavailable');
  assert.equal((await status(anna, bob)).presence, 'unavailable');
  await sync(anna, 'offline');
  assert.equal((await status(anna, bob)).presence, 'unavailable', 'it has no effect at all');
  await sync(anna);
  assert.equal((await status(anna, bob)).presence, 'online');
});

test('whoever waits for news hears at once when somebody in their rooms comes', async () => {
  await using house = await household();
  const { anna, bob } = house;
  const { next } = await news(bob);

  const waiting = bob.get('/_matrix/client/v3/sync', { since: next, timeout: 60_000, set_presence: 'offline' });
  expectOk(await say(anna, 'online', 'back'));
  const events = expectOk(await waiting).presence.events;

  assert.deepEqual(events, [
    {
      type: 'm.presence',
      sender: anna.userId,
      content: {
        presence: 'online',
        last_active_ago: 0,
        currently_active: true,
        status_msg: 'back',
        displayname: 'anna',
      },
    },
  ]);
});

test('each change is told once, and what nobody would notice is not told', async () => {
  await using house = await household();
  const { clock, anna, bob } = house;
  const start = await news(bob);
  expectOk(await say(anna, 'online'));
  const came = await news(bob, start.next);
  assert.equal(came.of[anna.userId].presence, 'online');

  await clock.advance(20 * SECOND);
  expectOk(await say(anna, 'online'));
  await sync(anna, 'online');
  assert.equal((await news(bob, came.next)).count, 0);
  await clock.advance(20 * SECOND);
  assert.equal((await status(anna, bob)).last_active_ago, 20 * SECOND, 'but who asks is told exactly');
});

test('somebody online who does nothing is no longer active after a minute, idle after five, and away with their client', async () => {
  await using house = await household();
  const { clock, anna, bob } = house;
  const { next_batch: since } = await sync(anna);
  const start = await news(bob);
  // News of herself would end her wait.
  const filter = JSON.stringify({ presence: { types: [] } });
  const timers = clock.pending;
  const waiting = anna.get('/_matrix/client/v3/sync', { since, filter, timeout: 5 * MINUTE });
  await untilHeld(house, timers);

  await clock.advance(MINUTE - 1);
  const active = await news(bob, start.next);
  assert.deepEqual(active.of, {});
  await clock.advance(1);
  const inactive = await news(bob, active.next);
  assert.deepEqual(inactive.of[anna.userId], {
    presence: 'online',
    last_active_ago: MINUTE,
    currently_active: false,
    displayname: 'anna',
  });
  await clock.advance(4 * MINUTE);
  const idle = await news(bob, inactive.next);
  assert.deepEqual(idle.of[anna.userId], { presence: 'unavailable', last_active_ago: 5 * MINUTE, displayname: 'anna' });

  expectOk(await waiting);
  await clock.advance(29 * SECOND);
  assert.deepEqual((await news(bob, idle.next)).of, {});
  await clock.advance(SECOND);
  const away = await news(bob, idle.next);
  assert.equal(away.of[anna.userId].presence, 'offline');
  assert.equal((await status(anna, bob)).last_active_ago, 5 * MINUTE + 30 * SECOND);
});

test('a device that is waiting for news is there for as long as it waits', async () => {
  await using house = await household();
  const { clock, anna, bob } = house;
  const since = (await sync(anna, 'unavailable')).next_batch;
  const timers = clock.pending;
  const waiting = anna.get('/_matrix/client/v3/sync', { since, timeout: 10 * MINUTE, set_presence: 'unavailable' });
  await untilHeld(house, timers);

  await clock.advance(9 * MINUTE);
  assert.equal((await status(anna, bob)).presence, 'unavailable');
  await clock.advance(MINUTE);
  expectOk(await waiting);
  await clock.advance(29 * SECOND);
  assert.equal((await status(anna, bob)).presence, 'unavailable');
  await clock.advance(2 * SECOND);
  assert.equal((await status(anna, bob)).presence, 'offline');
});

test('the times come from the configuration', async () => {
  await using house = await household({
    config: { presence: { last_active_granularity: '2s', idle_timeout: '4s', sync_online_timeout: '6s' } },
  });
  const { clock, anna, bob } = house;
  await sync(anna);

  await clock.advance(2 * SECOND);
  assert.deepEqual(await status(anna, bob), { presence: 'online', last_active_ago: 2000, currently_active: false });
  await clock.advance(2 * SECOND);
  assert.equal((await status(anna, bob)).presence, 'unavailable');
  await clock.advance(2 * SECOND);
  assert.equal((await status(anna, bob)).presence, 'offline');
});

test('whoever speaks, types or reads is back, even if their client called them idle', async () => {
  await using house = await household();
  const { clock, anna, bob, kitchen } = house;
  const room = `/_matrix/client/v3/rooms/${encodeURIComponent(kitchen)}`;
  const message = await bob.send(kitchen, 'is anybody there?');

  for (const act of [
    () => anna.send(kitchen, 'me'),
    async () => expectOk(await anna.put(`${room}/typing/${anna.userId}`, { typing: true, timeout: 1000 })),
    async () => expectOk(await anna.post(`${room}/receipt/m.read/${encodeURIComponent(message)}`)),
  ]) {
    await sync(anna, 'unavailable');
    await clock.advance(10 * SECOND);
    assert.equal((await status(anna, bob)).presence, 'unavailable');
    await act();
    assert.deepEqual(await status(anna, bob), { presence: 'online', last_active_ago: 0, currently_active: true });
  }
});

test('speaking does not give away somebody who does not want to be seen', async () => {
  await using house = await household();
  const { anna, bob, kitchen } = house;
  const start = await news(bob);
  await sync(anna, 'offline');
  await anna.send(kitchen, 'I am not here');

  assert.deepEqual((await news(bob, start.next)).of, {});
  assert.equal((await status(anna, bob)).presence, 'offline');
});

test('of several devices the one that is most there counts', async () => {
  await using house = await household();
  const { server, clock, anna, bob } = house;
  const phone = await server.login('anna');

  await sync(phone, 'unavailable');
  assert.equal((await status(anna, bob)).presence, 'unavailable');
  await sync(anna, 'online');
  assert.equal((await status(anna, bob)).presence, 'online');
  await sync(phone, 'unavailable');
  assert.equal((await status(anna, bob)).presence, 'online', 'the phone does not speak for the laptop');
  expectOk(await say(anna, 'offline'));
  assert.equal((await status(anna, bob)).presence, 'unavailable', 'the phone is still there');
  await clock.advance(20 * SECOND);
  await sync(anna, 'online');
  await clock.advance(20 * SECOND);
  assert.equal((await status(anna, bob)).presence, 'online', 'the phone went, the laptop stays');
});

test('a first sync shows who is there; only if the server is told to, who is away as well', async () => {
  await using house = await household();
  const { server, clock, anna, bob, kitchen } = house;
  const carol = await server.register('carol');
  await carol.join(kitchen);
  await sync(anna);
  await sync(carol);
  await clock.advance(31 * SECOND);
  await sync(anna);

  const { of: present } = await news(bob);
  assert.deepEqual(Object.keys(present).toSorted(), [anna.userId, bob.userId], 'the others, and oneself');
  assert.equal(present[bob.userId].presence, 'offline');
  await server.restart({ presence: { include_offline_users_on_sync: true } });
  const { of } = await news(bob);
  assert.deepEqual(Object.fromEntries(Object.entries(of).map(([userId, { presence }]) => [userId, presence])), {
    [anna.userId]: 'online',
    [bob.userId]: 'offline',
    [carol.userId]: 'offline',
  });
});

test('whoever comes to share a room is shown as they are, even away, and only once', async () => {
  await using house = await household();
  const { server, anna, bob, kitchen } = house;
  const carol = await server.register('carol');
  await sync(bob, 'unavailable');
  const before = await news(carol);
  const annaBefore = await news(anna);
  await carol.join(kitchen);

  const joined = await news(carol, before.next);
  assert.deepEqual(joined.of, {
    [anna.userId]: { presence: 'offline', last_active_ago: 0, displayname: 'anna' },
    [bob.userId]: { presence: 'unavailable', last_active_ago: 0, displayname: 'bob' },
  });
  const seen = await news(anna, annaBefore.next);
  assert.deepEqual(seen.of, {
    [carol.userId]: { presence: 'offline', last_active_ago: 0, displayname: 'carol' },
  });
  assert.equal((await news(carol, joined.next)).count, 0);
  assert.equal((await news(anna, seen.next)).count, 0);

  const attic = await carol.createRoom({ preset: 'public_chat' });
  await anna.join(attic);
  assert.equal((await news(carol, joined.next)).of[anna.userId], undefined, 'they knew each other already');
});

test('whoever no longer shares a room hears no more', async () => {
  await using house = await household();
  const { anna, bob, kitchen } = house;
  await bob.leave(kitchen);
  const start = await news(bob);
  expectOk(await say(anna, 'online', 'alone at last'));

  assert.deepEqual((await news(bob, start.next)).of, {});
  expectError(await bob.get(statusPath(anna)), 403, 'M_FORBIDDEN');
});

test('a new name or picture comes with a presence, too', async () => {
  await using house = await household();
  const { anna, bob } = house;
  expectOk(await say(anna, 'online', 'baking'));
  const start = await news(bob);
  const path = `/_matrix/client/v3/profile/${anna.userId}`;
  expectOk(await anna.put(`${path}/displayname`, { displayname: 'Anna the Baker' }));
  expectOk(await anna.put(`${path}/avatar_url`, { avatar_url: 'mxc://hearth.test/bread' }));

  assert.deepEqual((await news(bob, start.next)).of[anna.userId], {
    presence: 'online',
    last_active_ago: 0,
    currently_active: true,
    status_msg: 'baking',
    displayname: 'Anna the Baker',
    avatar_url: 'mxc://hearth.test/bread',
  });
});

test('one is not told of those one ignores, and a filter can leave presence out', async () => {
  await using house = await household();
  const { anna, bob } = house;
  const start = await news(bob);
  expectOk(await say(anna, 'online'));
  const filter = JSON.stringify({ presence: { types: [] } });
  const query = { since: start.next, filter, set_presence: 'offline', timeout: 0 };
  assert.equal(expectOk(await bob.get('/_matrix/client/v3/sync', query)).presence, undefined);
  assert.equal((await news(bob, start.next)).count, 1);

  expectOk(
    await bob.put(`/_matrix/client/v3/user/${bob.userId}/account_data/m.ignored_user_list`, {
      ignored_users: { [anna.userId]: {} },
    }),
  );
  assert.deepEqual((await news(bob, start.next)).of, {});
  assert.equal((await news(bob)).of[anna.userId], undefined);
});

test('being together in a room that is left out of presence shows nobody anything', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock });
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const hall = await anna.createRoom({ preset: 'public_chat' });
  await bob.join(hall);
  await server.restart({ exclude_rooms_from_presence: [hall] });
  const start = await news(bob);
  expectOk(await say(anna, 'online'));

  expectError(await bob.get(statusPath(anna)), 403, 'M_FORBIDDEN');
  assert.deepEqual((await news(bob, start.next)).of, {});
  assert.equal((await news(bob)).of[anna.userId], undefined);
  const kitchen = await anna.createRoom({ preset: 'public_chat' });
  await bob.join(kitchen);
  assert.equal((await news(bob, start.next)).of[anna.userId].presence, 'online');
  assert.equal((await status(anna, bob)).presence, 'online');
});

test('after a restart a message is still there, and whoever does not come back is told to have gone', async () => {
  await using house = await household();
  const { server, clock, anna, bob } = house;
  expectOk(await say(anna, 'online', 'baking'));
  const seen = await news(bob);
  assert.equal(seen.of[anna.userId].presence, 'online');
  await clock.advance(10 * SECOND);
  await server.restart();

  assert.deepEqual((await news(bob, seen.next)).of, {}, 'nothing has changed yet');
  assert.equal((await status(anna, bob)).presence, 'online');
  await clock.advance(30 * SECOND);
  const gone = await news(bob, seen.next);
  assert.deepEqual(gone.of[anna.userId], {
    presence: 'offline',
    last_active_ago: 40 * SECOND,
    status_msg: 'baking',
    displayname: 'anna',
  });
  await sync(anna, 'offline', seen.next);
  await server.restart();
  assert.equal((await status(anna, bob)).status_msg, 'baking');
});

test('a change made right before a restart reaches those who had not heard of it', async () => {
  await using house = await household();
  const { server, anna, bob } = house;
  expectOk(await say(anna, 'online'));
  const start = await news(bob);
  await sync(anna, 'unavailable');
  await server.restart();

  assert.equal((await news(bob, start.next)).of[anna.userId].presence, 'unavailable');
});

test('where presence is off nobody is there, and nothing is told', async () => {
  await using house = await household({ config: { presence: { enabled: false } } });
  const { anna, bob } = house;
  const start = await news(bob);
  expectOk(await say(anna, 'online', 'baking'));
  await sync(anna);

  assert.deepEqual(await status(anna, bob), { presence: 'offline' });
  assert.deepEqual((await news(bob, start.next)).of, {});
  assert.deepEqual((await news(bob)).of, {});
});

test('where presence is not tracked, what clients do and say changes nothing', async () => {
  await using house = await household();
  const { server, clock, anna, bob } = house;
  expectOk(await say(anna, 'unavailable', 'gone fishing'));
  await server.restart({ presence: { enabled: 'untracked' } });
  const start = await news(bob);
  assert.equal(start.of[anna.userId].status_msg, 'gone fishing');
  expectOk(await say(anna, 'online', 'baking'));
  await sync(anna);
  await clock.advance(10 * MINUTE);

  assert.deepEqual((await news(bob, start.next)).of, {});
  assert.equal((await status(anna, bob)).status_msg, 'gone fishing');
});

test('somebody who changes too often is refused, or just not listened to while they sync', async () => {
  await using house = await household({ config: { rc_presence: { per_user: { per_second: 0.1, burst_count: 1 } } } });
  const { clock, anna, bob } = house;
  expectOk(await say(anna, 'online'));
  const { retry_after_ms: wait } = expectError(await say(anna, 'unavailable'), 429, 'M_LIMIT_EXCEEDED');
  assert.equal(wait, 10 * SECOND);
  await sync(anna, 'unavailable');
  assert.equal((await status(anna, bob)).presence, 'online');

  await clock.advance(10 * SECOND);
  await sync(anna, 'online');
  await sync(anna, 'unavailable');
  assert.equal((await status(anna, bob)).presence, 'unavailable', 'staying the same costs nothing');
  await sync(anna, 'online');
  assert.equal((await status(anna, bob)).presence, 'unavailable');
  await clock.advance(10 * SECOND);
  await sync(anna, 'online');
  assert.equal((await status(anna, bob)).presence, 'online');
});

test('a closed account is away, and its message is gone', async () => {
  await using house = await household();
  const { clock, anna, bob } = house;
  expectOk(await say(anna, 'online', 'packing'));
  const start = await news(bob);
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'anna' },
    password: 'password of anna',
  };
  expectOk(await anna.post('/_matrix/client/v3/account/deactivate', { auth }));

  await clock.advance(10 * MINUTE);
  const last = (await news(bob, start.next)).of[anna.userId];
  assert.notEqual(last?.presence, 'online');
  assert.equal(last?.status_msg, undefined);
  assert.equal((await news(bob)).of[anna.userId], undefined);
});
