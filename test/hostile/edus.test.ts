import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../server/matrix/json.ts';
import { expectOk, type Json } from '../kit/test-client.ts';
import { eventually } from '../kit/test-network.ts';
import { dora, fred } from '../rooms/remote-kit.ts';
import type { HostileRoom } from './hostile-room.ts';
import { besieged, type Siege } from './siege.ts';

const BOB = '@bob:hearth.test';
/** A string that no answer may hold. */
const MARK = 'planted-by-another-server';

/** Every type of EDU, as said of a user; with the mark where it would be seen. */
function edusOf(userId: string, room: HostileRoom, target: string): Record<string, JsonObject> {
  const device = {
    user_id: userId,
    device_id: 'PLANTED',
    algorithms: [],
    keys: { 'ed25519:PLANTED': MARK },
    signatures: {},
  };
  const key = { user_id: userId, usage: ['master'], keys: { [`ed25519:${MARK}`]: MARK } };
  return {
    'm.typing': { room_id: room.roomId, user_id: userId, typing: true },
    'm.receipt': {
      [room.roomId]: { 'm.read': { [userId]: { event_ids: [room.find('m.room.name').eventId], data: { ts: 1 } } } },
    },
    'm.presence': {
      push: [{ user_id: userId, presence: 'online', status_msg: MARK, last_active_ago: 1, currently_active: true }],
    },
    'm.direct_to_device': {
      sender: userId,
      type: 'test.planted',
      message_id: MARK,
      messages: { [target]: { '*': { mark: MARK } } },
    },
    'm.device_list_update': { user_id: userId, device_id: 'PLANTED', stream_id: 1, keys: device },
    'm.signing_key_update': { user_id: userId, master_key: key },
    'org.matrix.signing_key_update': { user_id: userId, master_key: key },
  };
}

async function sendEdus(siege: Siege, edus: readonly { edu_type: unknown; content: unknown }[]): Promise<void> {
  for (let at = 0; at < edus.length; at += 100) {
    expectOk(await siege.evil.transact(siege.home, { edus: edus.slice(at, at + 100) }));
  }
}

for (const [whose, userId] of [
  ['a third server’s', fred],
  ['our', BOB],
] as const) {
  test(
    `no EDU, of whatever type, is believed that speaks of ${whose} user`,
    besieged(async (siege) => {
      const { alice, home, far } = siege;
      const bob = await home.register('bob');
      const room = await siege.room();
      expectOk(await bob.post(`/_matrix/client/v3/join/${encodeURIComponent(room.roomId)}`));
      room.send({ type: 'm.room.member', sender: fred, stateKey: fred, content: { membership: 'join' } });
      await siege.through(room, 'Fred is here');
      const { next_batch: since } = await alice.sync();
      const edus = Object.entries(edusOf(userId, room, alice.userId)).map(([type, content]) => ({
        edu_type: type,
        content,
      }));
      await sendEdus(siege, edus);
      await siege.through(room);
      const told = await alice.sync({ since });
      assert.equal(JSON.stringify(told).includes(MARK), false);
      assert.deepEqual(told.to_device?.events ?? [], []);
      assert.deepEqual(told.device_lists?.changed ?? [], []);
      assert.deepEqual(told.rooms.join[room.roomId].ephemeral?.events ?? [], []);
      far.answer('v1/user', () => ({ json: { user_id: fred, stream_id: 1, devices: [] } }));
      far.answer('v1/user/keys', () => ({ json: { device_keys: {} } }));
      const keys = expectOk(await alice.post('/_matrix/client/v3/keys/query', { device_keys: { [userId]: [] } }));
      assert.equal(JSON.stringify(keys).includes(MARK), false);
    }),
  );
}

test(
  'EDUs of users who share no room with anybody here, and of rooms we are not in, leave nothing behind',
  besieged(async (siege) => {
    const { alice } = siege;
    const room = await siege.room();
    const { next_batch: since } = await alice.sync();
    const stranger = '@stranger:away.test';
    const {
      'm.direct_to_device': _toDevice,
      'm.typing': _typing,
      'm.receipt': _receipt,
      ...edus
    } = edusOf(stranger, room, alice.userId);
    await sendEdus(siege, [
      ...Object.entries(edus).map(([edu_type, content]) => ({ edu_type, content })),
      { edu_type: 'm.typing', content: { room_id: siege.quiet, user_id: dora, typing: true } },
      { edu_type: 'm.typing', content: { room_id: '!unknown:away.test', user_id: dora, typing: true } },
      {
        edu_type: 'm.receipt',
        content: { [siege.quiet]: { 'm.read': { [dora]: { event_ids: ['$x'], data: { ts: 1 } } } } },
      },
      { edu_type: 'm.typing', content: { room_id: room.roomId, user_id: stranger, typing: true } },
    ]);
    await siege.through(room);
    const told = await alice.sync({ since });
    assert.equal(JSON.stringify(told).includes(MARK), false);
    assert.deepEqual(told.rooms.join[room.roomId].ephemeral?.events ?? [], []);
    assert.equal(told.rooms.join[siege.quiet], undefined);
  }),
);

const JUNK: readonly unknown[] = [
  null,
  7,
  'text',
  [],
  {},
  true,
  { a: {} },
  [[]],
  -1,
  1e300,
  '\u0000',
  'x'.repeat(100_000),
];

test(
  'EDUs whose content is junk, in every place where something is read, are dropped one by one',
  besieged(async (siege) => {
    const { alice } = siege;
    const room = await siege.room();
    const edus: { edu_type: unknown; content: unknown }[] = [];
    for (const [type, content] of Object.entries(edusOf(dora, room, alice.userId))) {
      for (const junk of JUNK.slice(0, -1)) edus.push({ edu_type: type, content: junk });
      for (const key of Object.keys(content)) {
        for (const junk of JUNK) edus.push({ edu_type: type, content: { ...content, [key]: junk } });
        const inner: unknown = content[key];
        if (typeof inner !== 'object' || inner === null) continue;
        for (const name of Object.keys(inner)) {
          for (const junk of JUNK.slice(0, -1)) {
            const spoilt = Array.isArray(inner) ? [junk] : Object.fromEntries([...Object.entries(inner), [name, junk]]);
            edus.push({ edu_type: type, content: { ...content, [key]: spoilt } });
          }
        }
      }
    }
    for (const junk of JUNK) edus.push({ edu_type: junk, content: {} }, { edu_type: 'm.unheard.of', content: junk });
    for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      edus.push(
        { edu_type: name, content: {} },
        { edu_type: 'm.receipt', content: JSON.parse(`{"${name}":{"${name}":{}}}`) },
      );
      edus.push({
        edu_type: 'm.direct_to_device',
        content: {
          ...edusOf(dora, room, alice.userId)['m.direct_to_device'],
          messages: JSON.parse(`{"${name}":{"${name}":{"a":1}}}`),
        },
      });
    }
    await siege.undisturbed(() => sendEdus(siege, edus));
    await siege.through(room);
    // The right ones among them still count.
    const good = { edu_type: 'm.typing', content: { room_id: room.roomId, user_id: dora, typing: true } };
    await sendEdus(siege, [{ edu_type: 'm.typing', content: 7 as never }, good]);
    await eventually('Dora is seen typing', async () =>
      JSON.stringify((await alice.sync()).rooms.join[room.roomId].ephemeral).includes(dora),
    );
  }),
);

test(
  'a flood of messages to a device fills neither memory nor the disk without bounds, and the device still gets its own',
  besieged(async (siege) => {
    const { alice, home } = siege;
    const room = await siege.room();
    const rss = process.memoryUsage.rss();
    const messages = (content: JsonObject): JsonObject => ({
      [alice.userId]: { '*': content },
      '@nobody:hearth.test': { '*': content },
      [dora]: { '*': content },
    });
    let sent = 0;
    const flood = (content: JsonObject): { edu_type: string; content: JsonObject } => ({
      edu_type: 'm.direct_to_device',
      content: { sender: dora, type: 'test.flood', message_id: `flood ${(sent += 1)}`, messages: messages(content) },
    });
    await siege.undisturbed(async () => {
      // Content larger than any event, to no device but many names, and very many small ones.
      await sendEdus(siege, [flood({ large: 'x'.repeat(100_000) })]);
      await sendEdus(siege, [
        {
          edu_type: 'm.direct_to_device',
          content: {
            sender: dora,
            type: 'test.flood',
            message_id: 'wide',
            messages: Object.fromEntries(
              Array.from({ length: 20_000 }, (_, at) => [`@u${at}:hearth.test`, { '*': {} }]),
            ),
          },
        },
      ]);
      await sendEdus(siege, [
        {
          edu_type: 'm.direct_to_device',
          content: {
            sender: dora,
            type: 'test.flood',
            message_id: 'deep',
            messages: {
              [alice.userId]: Object.fromEntries(Array.from({ length: 50_000 }, (_, at) => [`DEVICE${at}`, {}])),
            },
          },
        },
      ]);
      for (let times = 0; times < 100; times += 1) {
        await sendEdus(
          siege,
          Array.from({ length: 100 }, () => flood({ small: 'x'.repeat(500) })),
        );
      }
    });
    assert.ok(process.memoryUsage.rss() - rss < 300_000_000);
    const bob = await home.register('bob');
    await bob.put(`/_matrix/client/v3/sendToDevice/test.own/t1`, {
      messages: { [alice.userId]: { '*': { from: 'bob' } } },
    });
    let since: string | undefined;
    let got = 0;
    let own = 0;
    for (let rounds = 0; rounds < 2_000 && own === 0; rounds += 1) {
      const told: Json = await alice.sync(since === undefined ? {} : { since });
      const events: Json[] = told.to_device?.events ?? [];
      assert.ok(JSON.stringify(told).length < 10_000_000, 'no answer grows without bounds');
      got += events.filter(({ type }) => type === 'test.flood').length;
      own += events.filter(({ type }) => type === 'test.own').length;
      since = told.next_batch;
    }
    assert.equal(own, 1, 'what Bob sent arrives');
    assert.ok(got <= 10_000 && !got.toString().startsWith('-'));
    await siege.through(room);
  }),
);

test(
  'a flood of presence wakes nobody more than it must, and keeps nothing of those who are strangers',
  besieged(async (siege) => {
    const { alice } = siege;
    const room = await siege.room();
    const rss = process.memoryUsage.rss();
    const strangers = Array.from({ length: 10_000 }, (_, at) => ({
      user_id: `@p${at}:away.test`,
      presence: 'online',
      last_active_ago: at,
    }));
    await siege.undisturbed(async () => {
      await sendEdus(
        siege,
        Array.from({ length: 300 }, (_, at) => ({
          edu_type: 'm.presence',
          content: {
            push:
              at % 3 === 0
                ? strangers.slice(0, 1_000)
                : [
                    {
                      user_id: dora,
                      presence: at % 2 === 0 ? 'online' : 'unavailable',
                      status_msg: `${at}`,
                      last_active_ago: 1,
                    },
                  ],
          },
        })),
      );
      await sendEdus(siege, [{ edu_type: 'm.presence', content: { push: strangers } }]);
      await sendEdus(siege, [
        {
          edu_type: 'm.presence',
          content: { push: [{ user_id: dora, presence: 'online', status_msg: 'x'.repeat(1_000_000) }] },
        },
      ]);
    });
    assert.ok(process.memoryUsage.rss() - rss < 250_000_000);
    const told = await alice.sync();
    const users: Json[] = told.presence?.events ?? [];
    assert.ok(
      users.every(({ sender }) => sender === dora || sender === alice.userId),
      'only of those who share a room',
    );
    assert.ok(JSON.stringify(told).length < 100_000);
    await siege.through(room);
  }),
);

test(
  'a list of a hundred thousand devices is cut, and a flood of changes makes us ask for it only now and then',
  besieged(async (siege) => {
    const { alice, evil } = siege;
    const room = await siege.room();
    const device = (id: string): JsonObject => ({
      device_id: id,
      device_display_name: 'x'.repeat(10_000).slice(0, 200),
      keys: {
        user_id: dora,
        device_id: id,
        algorithms: ['m.megolm.v1.aes-sha2'],
        keys: { [`ed25519:${id}`]: 'key' },
        signatures: {},
      },
    });
    const list = JSON.stringify({
      user_id: dora,
      stream_id: 7,
      devices: Array.from({ length: 100_000 }, (_, at) => device(`D${at}`)),
    });
    const short = JSON.stringify({
      user_id: dora,
      stream_id: 7,
      devices: Array.from({ length: 20_000 }, (_, at) => device(`D${at}`)),
    });
    assert.ok(list.length > 10_485_760 && short.length < 10_000_000);
    let text = list;
    evil.answer('v1/user', () => ({ text }));
    const query = () => alice.post('/_matrix/client/v3/keys/query', { device_keys: { [dora]: [] }, timeout: 5_000 });
    const tooLarge = await siege.undisturbed(async () => expectOk(await query()));
    assert.equal(Object.keys(tooLarge.device_keys[dora] ?? {}).length, 0);
    text = short;
    await sendEdus(siege, [
      { edu_type: 'm.device_list_update', content: { user_id: dora, device_id: 'D1', stream_id: 7, prev_id: [6] } },
    ]);
    const cut = await siege.undisturbed(async () => expectOk(await query()));
    const count = Object.keys(cut.device_keys[dora] ?? {}).length;
    assert.ok(count <= 1_000, `${count} devices`);

    const before = evil.count('v1/user');
    await siege.undisturbed(() =>
      sendEdus(
        siege,
        Array.from({ length: 1_000 }, (_, at) => ({
          edu_type: 'm.device_list_update',
          content: { user_id: dora, device_id: `N${at}`, stream_id: 1_000 + at * 10, prev_id: [at * 10 + 995] },
        })),
      ),
    );
    await siege.untilSilent();
    assert.ok(evil.count('v1/user') - before < 40, `${evil.count('v1/user') - before} questions`);
    await siege.through(room);
  }),
);
