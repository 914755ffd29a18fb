import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ScriptedAnswer } from '../kit/scripted-server.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import type { Answer, TestClient } from '../kit/test-client.ts';
import { expectOk } from '../kit/test-client.ts';
import { AWAY, dora } from '../rooms/remote-kit.ts';
import { nothing } from './hostile-room.ts';
import { besieged, type Siege } from './siege.ts';

interface Question {
  /** What the other server is asked. */
  readonly operation: string;
  /** The most that may be read of the answer, bytes. */
  readonly most: number;
  /** What Alice does that makes her server ask. */
  readonly ask: (alice: TestClient) => Promise<Answer>;
}

const client = (path: string): string => `/_matrix/client/v3/${path}`;

/** Whatever a client can make its server ask of another, with a single answer. */
const QUESTIONS: Record<string, Question> = {
  'a profile': { operation: 'v1/query', most: 66_000, ask: (alice) => alice.get(client(`profile/${dora}`)) },
  'a display name': {
    operation: 'v1/query',
    most: 66_000,
    ask: (alice) => alice.get(client(`profile/${dora}/displayname`)),
  },
  'an alias': {
    operation: 'v1/query',
    most: 256_000,
    ask: (alice) => alice.get(client(`directory/room/${encodeURIComponent('#a:away.test')}`)),
  },
  'the public rooms': {
    operation: 'v1/publicRooms',
    most: 4_000_000,
    ask: (alice) => alice.get(client('publicRooms'), { server: AWAY }),
  },
  'somebody’s devices': {
    operation: 'v1/user',
    most: 10_485_760,
    ask: (alice) => alice.post(client('keys/query'), { device_keys: { [dora]: [] }, timeout: 20_000 }),
  },
  'one-time keys': {
    operation: 'v1/user',
    most: 10_485_760,
    ask: (alice) =>
      alice.post(client('keys/claim'), { one_time_keys: { [dora]: { D: 'signed_curve25519' } }, timeout: 20_000 }),
  },
  'a template for a join': {
    operation: 'v1/make_join',
    most: 10_485_760,
    ask: (alice) => alice.post(client(`join/${encodeURIComponent('!x:away.test')}`), {}, { via: AWAY }),
  },
  'a template for a knock': {
    operation: 'v1/make_knock',
    most: 10_485_760,
    ask: (alice) => alice.post(client(`knock/${encodeURIComponent('!x:away.test')}`), {}, { via: AWAY }),
  },
};

/** What the buffers of two ends of a connection may hold besides. */
const ON_THE_WAY = 6_000_000;

function* forever(start: string, piece: string): Generator<string> {
  yield start;
  for (;;) yield piece;
}

const ENDLESS: Record<string, () => ScriptedAnswer> = {
  'an endless text': () => ({ pieces: forever('{"displayname":"', 'x'.repeat(65_536)) }),
  'an endless list': () => ({ pieces: forever('{"chunk":[', '{"room_id":"!a:b"},'.repeat(3_000)) }),
  'endless white space': () => ({ pieces: forever('', ' '.repeat(65_536)) }),
  'an endless refusal': () => ({ status: 500, pieces: forever('{"errcode":"', 'x'.repeat(65_536)) }),
};

for (const [what, { most, operation, ask }] of Object.entries(QUESTIONS)) {
  test(
    `whoever asks for ${what} and gets an answer without end reads little of it, and is told so`,
    besieged(async (siege) => {
      const { evil, alice } = siege;
      // Devices are asked for only where a room is shared.
      if (operation === 'v1/user') await siege.room();
      const rss = process.memoryUsage.rss();
      for (const [how, answer] of Object.entries(ENDLESS)) {
        evil.answer(operation, answer);
        const before = evil.written;
        const asked = evil.count(operation);
        const { status, body } = await siege.undisturbed(() => ask(alice));
        assert.ok(status < 500 || status === 502 || status === 504, `${how}: ${status} ${JSON.stringify(body)}`);
        assert.ok(JSON.stringify(body).length < 10_000, 'nothing of it is handed on');
        const times = evil.count(operation) - asked;
        assert.ok(times <= 8 && evil.count(operation) > 0, `${times} times`);
        const read = evil.written - before;
        assert.ok(read <= times * (most + ON_THE_WAY), `${how}: ${read} bytes read in ${times} tries`);
        siege.home.wake();
      }
      assert.ok(process.memoryUsage.rss() - rss < 250_000_000);
    }),
  );
}

test(
  'a profile with a display name of five megabytes, or that is no profile, is not handed on',
  besieged(async ({ evil, alice, home }) => {
    const profiles: readonly unknown[] = [
      { displayname: 'x'.repeat(5_000_000) },
      [],
      7,
      null,
      'text',
      { displayname: { a: 1 }, avatar_url: ['x'] },
    ];
    for (const [at, json] of profiles.entries()) {
      evil.answer('v1/query', () => ({ json }));
      const { status, body } = await alice.get(client(`profile/@user${at}:away.test`));
      assert.ok(status === 200 || status === 404 || status === 502, `${status}`);
      assert.equal(typeof (body.displayname ?? ''), 'string');
      assert.equal(typeof (body.avatar_url ?? ''), 'string');
      assert.ok(JSON.stringify(body).length < 1_000);
      home.wake();
    }
  }),
);

test(
  'a list of public rooms is taken for what it is, entry by entry',
  besieged(async ({ evil, alice }) => {
    const good = {
      room_id: '!good:away.test',
      num_joined_members: 3,
      name: 'Good',
      world_readable: true,
      guest_can_join: false,
    };
    const chunk: unknown[] = [null, 7, [], {}, 'x', { room_id: 7 }, { room_id: 'no room', num_joined_members: 1 }];
    chunk.push({ ...good, name: { a: 1 }, topic: 7, avatar_url: [], world_readable: 'yes', __proto__x: 1 }, good);
    for (let at = 0; at < 5_000; at += 1) chunk.push({ ...good, room_id: `!r${at}:away.test`, name: 'x'.repeat(300) });
    evil.answer('v1/publicRooms', () => ({
      json: { chunk, next_batch: { a: 1 }, prev_batch: 7, total_room_count_estimate: 'many' },
    }));
    const body = expectOk(await alice.get(client('publicRooms'), { server: AWAY }));
    assert.ok(body.chunk.length <= 1_000);
    for (const room of body.chunk) {
      assert.equal(typeof room.room_id, 'string');
      assert.equal(typeof room.num_joined_members, 'number');
      assert.equal(typeof (room.name ?? ''), 'string');
      assert.equal(typeof room.world_readable, 'boolean');
    }
    assert.equal(typeof (body.next_batch ?? ''), 'string');
    for (const json of [{ chunk: 7 }, {}, [], null, { chunk: { 0: good } }]) {
      evil.answer('v1/publicRooms', () => ({ json }));
      const { status } = await alice.get(client('publicRooms'), { server: AWAY });
      assert.ok(status === 404 || status === 502, `${status}`);
    }
  }),
);

for (const [how, rate] of [
  ['not at all', 0],
  ['a byte at a time', 1],
] as const) {
  const clock = new ManualClock(Date.now());
  test(
    `a server that answers ${how} is given up after a while, and holds nobody up meanwhile`,
    besieged(
      async (siege) => {
        const { evil, alice } = siege;
        const stop = new AbortController();
        async function* drip(): AsyncGenerator<string> {
          while (!stop.signal.aborted) {
            if (rate > 0) yield ' ';
            await new Promise((resolve) => setTimeout(resolve, 5));
          }
        }
        for (const [what, { operation, ask }] of Object.entries(QUESTIONS)) {
          if (operation === 'v1/user') continue;
          evil.answer(operation, () => ({ pieces: drip() }));
          const asked = evil.count(operation);
          let isOver = false;
          const asking = ask(alice).finally(() => {
            isOver = true;
          });
          asking.catch(() => undefined);
          let waited = 0;
          await siege.undisturbed(async () => {
            while (evil.count(operation) === asked && !isOver) await new Promise((resolve) => setTimeout(resolve, 5));
            while (!isOver && waited < 400_000) {
              await clock.advance(1_000);
              waited += 1_000;
              await new Promise((resolve) => setTimeout(resolve, 5));
            }
          });
          assert.ok(isOver, `${what}: nobody waits ${waited} ms`);
          const { status } = await asking;
          assert.ok(status >= 400 && status !== 500, `${what}: ${status}`);
          siege.home.wake();
        }
        stop.abort();
      },
      { clock },
    ),
  );
}

test(
  'a server that dribbles at every connection holds up only what is meant for it',
  besieged(async (siege) => {
    const { evil, alice, far } = siege;
    const stop = new AbortController();
    async function* drip(): AsyncGenerator<string> {
      while (!stop.signal.aborted) {
        yield ' ';
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    evil.script(() => ({ pieces: drip() }));
    far.answer('v1/query', () => ({ json: { displayname: 'Fred' } }));
    const waiting = Array.from({ length: 300 }, (_, at) => alice.get(client(`profile/@slow${at}:away.test`)));
    for (const one of waiting) one.catch(() => undefined);
    await siege.undisturbed(async () => {
      for (let at = 0; at < 20; at += 1) {
        assert.equal(expectOk(await alice.get(client(`profile/@fred${at}:far.test`))).displayname, 'Fred');
      }
    });
    stop.abort();
    const statuses = (await Promise.all(waiting)).map(({ status }) => status);
    assert.ok(
      statuses.every((status) => status >= 400 && status !== 500),
      [...new Set(statuses)].join(' '),
    );
    assert.ok(evil.connections <= 350);
  }),
);

test(
  'a server that sends us to addresses of our own network is not followed there',
  besieged(
    async ({ evil, alice }) => {
      // The deny list counts for what a name leads to and for addresses as they stand, whoever names them.
      for (const location of [
        'https://10.0.0.7/secret',
        'https://127.0.0.1:1/',
        'http://169.254.169.254/latest/meta-data',
        'https://[::1]/',
        '//10.0.0.7/',
      ]) {
        for (const status of [301, 302, 303, 307, 308]) {
          evil.answer('v1/query', () => ({ status, headers: { location }, text: '{}' }));
          const answer = await alice.get(client(`profile/@r${status}${location.length}:away.test`));
          assert.ok(answer.status >= 400, `${status} to ${location}`);
        }
      }
      for (const name of [
        '10.0.0.7',
        '10.0.0.7:8448',
        '169.254.169.254',
        '[::1]:8448',
        '192.168.1.1:443',
        'localhost',
      ]) {
        const answer = await alice.get(client(`profile/${encodeURIComponent(`@somebody:${name}`)}`));
        assert.ok(answer.status >= 400, name);
      }
      assert.equal(evil.heard.filter(({ path }) => path.includes('secret') || path.includes('meta-data')).length, 0);
    },
    { config: { ip_range_blacklist: ['10.0.0.0/8', '169.254.0.0/16', '192.168.0.0/16', '::1/128'] } },
  ),
);

test(
  'answers of the wrong kind to what the server asks by itself do it no harm',
  besieged(async (siege: Siege) => {
    const { evil, alice } = siege;
    const room = await siege.room();
    const answers: ScriptedAnswer[] = [
      { json: [] },
      { json: null },
      { json: 7 },
      { json: { pdus: 7, events: {}, auth_chain: null, pdu_ids: [7], devices: 'x', stream_id: -1 } },
      { text: '' },
      { text: '{"pdus":{"$a":' },
      { text: '\u0000\u0001' },
      { status: 204, text: '' },
      { status: 500, text: '<html>' },
      { status: 418, json: { errcode: 7, error: {} } },
      {
        status: 429,
        headers: { 'retry-after': '99999999999' },
        json: { errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: -5 },
      },
      { headers: { 'content-encoding': 'gzip' }, text: 'not gzip' },
      { headers: { 'x-long': 'x'.repeat(15_000) }, json: {} },
    ];
    for (const [at, answer] of answers.entries()) {
      evil.script(({ operation }) => (operation.startsWith('key/') ? undefined : answer));
      const event = room.forge({ prev_events: [nothing(at)], content: { msgtype: 'm.text', body: 'lost' } });
      const edu = {
        edu_type: 'm.device_list_update',
        content: { user_id: dora, device_id: 'D', stream_id: at * 100 + 50, prev_id: [at * 100 + 49] },
      };
      expectOk(await evil.transact(siege.home, { pdus: [event], edus: [edu] }));
      await alice.send(room.roomId, `message ${at}`);
      await siege.untilSilent();
      siege.home.wake();
    }
    evil.script(room.script());
    evil.answer('v1/send', () => ({ json: { pdus: {} } }));
    evil.answer('v1/user', () => ({ json: { user_id: dora, stream_id: 5_000, devices: [] } }));
    siege.home.wake();
    const last = room.speak('through');
    expectOk(await evil.transact(siege.home, { pdus: [last.pdu] }));
    await siege.untilSaid(room, 'through');
    assert.ok(!(await siege.said(room.roomId)).includes('lost'));
  }),
);
