import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

/*
 * What the clients built on matrix-rust-sdk ask, key for key: the room list with its growing range, the rooms that are
 * open, the encryption loop beside it, and the look behind one notification.
 */

const PATH = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';

const ROOM_LIST_STATE = [
  ['m.room.name', ''],
  ['m.room.encryption', ''],
  ['m.room.member', '$LAZY'],
  ['m.room.member', '$ME'],
  ['m.room.topic', ''],
  ['m.room.avatar', ''],
  ['m.room.canonical_alias', ''],
  ['m.room.power_levels', ''],
  ['org.matrix.msc3401.call.member', '*'],
  ['m.room.join_rules', ''],
  ['m.room.tombstone', ''],
  ['m.room.create', ''],
  ['m.room.history_visibility', ''],
  ['io.element.functional_members', ''],
  ['m.space.parent', '*'],
  ['m.space.child', '*'],
  ['org.matrix.msc3672.beacon_info', '*'],
];

/** The loop of the room list. */
class RoomList {
  readonly #client: TestClient;
  pos: string | undefined;
  #subscriptions: Json = undefined;

  constructor(client: TestClient) {
    this.#client = client;
  }

  open(roomId: string): void {
    this.#subscriptions = {
      [roomId]: { required_state: [...ROOM_LIST_STATE, ['m.room.pinned_events', '']], timeline_limit: 20 },
    };
  }

  close(): void {
    this.#subscriptions = undefined;
  }

  async ask(range: [number, number], timeout: number | undefined): Promise<Json> {
    const answer = expectOk(
      await this.#client.request('POST', PATH, {
        query: { pos: this.pos, timeout },
        body: {
          conn_id: 'room-list',
          lists: {
            all_rooms: {
              ranges: [range],
              required_state: ROOM_LIST_STATE,
              timeline_limit: 1,
              filters: {},
            },
          },
          ...(this.#subscriptions === undefined ? {} : { room_subscriptions: this.#subscriptions }),
          extensions: {
            account_data: { enabled: true },
            receipts: { enabled: true, rooms: ['*'] },
            typing: { enabled: true },
            'io.element.msc4308.thread_subscriptions': { enabled: true, limit: 10 },
          },
        },
      }),
    );
    this.pos = answer.pos;
    checkForm(answer);
    return answer;
  }
}

/** Types that the client's reader insists on: what is of another one makes it drop the whole answer. */
function checkForm(answer: Json): void {
  assert.equal(typeof answer.pos, 'string');
  for (const { count } of Object.values<Json>(answer.lists ?? {})) assert.ok(Number.isSafeInteger(count));
  for (const room of Object.values<Json>(answer.rooms ?? {})) {
    for (const key of [
      'joined_count',
      'invited_count',
      'num_live',
      'bump_stamp',
      'notification_count',
      'highlight_count',
    ]) {
      assert.ok(room[key] === undefined || (Number.isSafeInteger(room[key]) && room[key] >= 0), key);
    }
    for (const key of ['timeline', 'required_state', 'invite_state', 'heroes']) {
      assert.ok(room[key] === undefined || Array.isArray(room[key]), key);
    }
    for (const key of ['name', 'avatar', 'prev_batch']) {
      assert.ok(room[key] === undefined || room[key] === null || typeof room[key] === 'string', key);
    }
    for (const key of ['initial', 'is_dm', 'limited'])
      assert.ok(['undefined', 'boolean'].includes(typeof room[key]), key);
    for (const event of [...(room.timeline ?? []), ...(room.required_state ?? [])]) {
      assert.ok(event.event_id && event.sender && event.type && event.content && event.origin_server_ts);
    }
  }
  const { to_device: toDevice, e2ee, account_data: accountData } = answer.extensions ?? {};
  if (toDevice !== undefined) assert.equal(typeof toDevice.next_batch, 'string');
  if (e2ee !== undefined) assert.ok(Array.isArray(e2ee.device_unused_fallback_key_types));
  if (accountData !== undefined) assert.ok(Array.isArray(accountData.global) && typeof accountData.rooms === 'object');
}

test('the room list of a client grows until it is whole, then follows, opens a room and comes back later', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const versions = expectOk(await alice.get('/_matrix/client/versions'));
  assert.equal(versions.unstable_features['org.matrix.simplified_msc3575'], true);
  const rooms: string[] = [];
  for (let n = 0; n < 24; n += 1) rooms.push(await alice.createRoom({ name: `Room ${n}`, preset: 'public_chat' }));
  const [oldest = ''] = rooms;
  await bob.join(oldest);
  await alice.invite(rooms[1] ?? '', bob.userId);
  for (let n = 0; n < 25; n += 1) await bob.send(oldest, `message ${n}`);

  const list = new RoomList(alice);
  const settingUp = await list.ask([0, 19], undefined);
  assert.equal(settingUp.lists.all_rooms.count, 24);
  assert.equal(Object.keys(settingUp.rooms).length, 20);
  const told = settingUp.rooms[oldest];
  assert.equal(told.initial, true);
  assert.equal(told.timeline.length, 1);
  const members = told.required_state.filter(({ type }: Json) => type === 'm.room.member');
  assert.deepEqual(members.map((event: Json) => event.state_key).sort(), [alice.userId, bob.userId].sort());
  assert.ok(settingUp.extensions.account_data.global.length > 0);

  const growing = await list.ask([0, 23], 0);
  assert.equal(Object.keys(growing.rooms).length, 4);
  for (const roomId of Object.keys(growing.rooms)) assert.equal(settingUp.rooms[roomId], undefined);
  const running = list.ask([0, 23], 30_000);
  await bob.send(oldest, 'while the client waits');
  const woken = await running;
  assert.deepEqual(Object.keys(woken.rooms), [oldest]);
  assert.equal(woken.rooms[oldest].timeline.at(-1).content.body, 'while the client waits');
  assert.equal(woken.rooms[oldest].limited, false);

  list.open(oldest);
  const opened = await list.ask([0, 23], 30_000);
  assert.equal(opened.rooms[oldest].timeline.length, 20);
  assert.equal(opened.rooms[oldest].unstable_expanded_timeline, true);
  assert.equal(opened.rooms[oldest].limited, true);
  assert.ok(opened.rooms[oldest].prev_batch);
  list.close();

  // Away for a while, it begins with the small range again and its old position.
  await server.restart();
  for (const roomId of rooms.slice(0, 3)) await alice.send(roomId, 'meanwhile');
  const recovering = await list.ask([0, 19], 0);
  assert.deepEqual(new Set(Object.keys(recovering.rooms)), new Set(rooms.slice(0, 3)));
  for (const room of Object.values<Json>(recovering.rooms)) assert.equal(room.initial, undefined);
  assert.deepEqual((await list.ask([0, 23], 0)).rooms, {});
});

test('a client whose position is gone is told so and starts its list anew', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  await alice.createRoom();
  const list = new RoomList(alice);
  await list.ask([0, 19], undefined);
  const elsewhere = new RoomList(alice);
  await elsewhere.ask([0, 19], undefined);
  const stale = await alice.request('POST', PATH, { query: { pos: list.pos }, body: { conn_id: 'room-list' } });
  expectError(stale, 400, 'M_UNKNOWN_POS');
  list.pos = undefined;
  const again = await list.ask([0, 19], undefined);
  assert.equal(Object.values<Json>(again.rooms)[0].initial, true);
});

test('the encryption loop beside it gets messages and device changes, and no rooms', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const room = await alice.createRoom({ preset: 'public_chat' });
  let pos: string | undefined;
  let since: string | undefined;
  const ask = async (timeout: number): Promise<Json> => {
    const answer = expectOk(
      await alice.request('POST', PATH, {
        query: { pos, timeout },
        body: {
          conn_id: 'encryption',
          extensions: { to_device: { enabled: true, since }, e2ee: { enabled: true } },
        },
      }),
    );
    ({ pos } = answer);
    since = answer.extensions.to_device.next_batch;
    checkForm(answer);
    assert.deepEqual(answer.rooms, {});
    assert.equal(answer.lists, undefined);
    return answer;
  };
  await ask(30_000);
  const waiting = ask(30_000);
  await bob.put('/_matrix/client/v3/sendToDevice/m.room.encrypted/one', {
    messages: { [alice.userId]: { '*': { algorithm: 'test' } } },
  });
  const woken = await waiting;
  assert.deepEqual(woken.extensions.to_device.events, [
    { sender: bob.userId, type: 'm.room.encrypted', content: { algorithm: 'test' } },
  ]);
  await bob.join(room);
  const joined = await ask(30_000);
  assert.deepEqual(joined.extensions.to_device.events, []);
  assert.deepEqual(joined.extensions.e2ee.device_lists.changed, [bob.userId]);
  // The messages that were taken are not given to another way of syncing either.
  assert.equal((await alice.sync()).to_device, undefined);
});

test('the look behind a notification finds the room, or the invitation, at once', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const room = await alice.createRoom({ preset: 'public_chat', name: 'News' });
  await bob.join(room);
  const invited = await bob.createRoom({ name: 'Party', invite: [alice.userId] });
  const event = await bob.send(room, 'rings');
  const state = [
    ['m.room.encryption', ''],
    ['m.room.member', '$LAZY'],
    ['m.room.member', '$ME'],
    ['m.room.name', ''],
    ['m.room.power_levels', ''],
    ['m.room.create', ''],
  ];
  const answer = expectOk(
    await alice.request('POST', PATH, {
      query: { timeout: 1_000 },
      body: {
        conn_id: 'notifications',
        lists: {
          invites: { ranges: [[0, 3]], required_state: state, timeline_limit: 8, filters: { is_invite: true } },
        },
        room_subscriptions: { [room]: { required_state: state, timeline_limit: 16 } },
        extensions: { account_data: { enabled: true } },
      },
    }),
  );
  checkForm(answer);
  assert.equal(answer.rooms[room].timeline.at(-1).event_id, event);
  assert.equal(answer.rooms[room].name, 'News');
  assert.deepEqual(answer.rooms[room].lists, undefined);
  assert.equal(answer.lists.invites.count, 1);
  assert.ok(answer.rooms[invited].invite_state.some(({ type }: Json) => type === 'm.room.member'));
});
