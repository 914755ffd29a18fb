import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject, JsonValue } from '../../server/matrix/json.ts';
import { isJsonObject } from '../../server/matrix/json.ts';
import type { ScriptedAnswer, Script } from '../kit/scripted-server.ts';
import { expectOk } from '../kit/test-client.ts';
import { dora, erin, member } from '../rooms/remote-kit.ts';
import type { HostileRoom } from '../hostile/hostile-room.ts';
import { besieged } from '../hostile/siege.ts';
import { Mutator } from './mutator.ts';

/** The seed of a run that failed makes it fail again. */
const seed = Number(process.env['FUZZ_SEED'] ?? 20_260_102);
const rounds = Number(process.env['FUZZ_ROUNDS'] ?? 25);

/** True events of every kind, which are then spoilt. */
function samplesOf(room: HostileRoom): JsonObject[] {
  const right = [
    { type: 'm.room.message', sender: dora, content: { msgtype: 'm.text', body: 'sample' } },
    { type: 'm.room.topic', sender: dora, stateKey: '', content: { topic: 'sample' } },
    { type: 'm.room.power_levels', sender: dora, stateKey: '', content: { users: { [dora]: 100 }, users_default: 0 } },
    { type: 'm.room.server_acl', sender: dora, stateKey: '', content: { allow: ['*'], deny: [] } },
    { type: 'm.room.redaction', sender: dora, content: { redacts: room.find('m.room.name').eventId } },
    {
      type: 'm.room.third_party_invite',
      sender: dora,
      stateKey: 'token',
      content: { display_name: 'x', public_key: 'x' },
    },
    {
      type: 'm.reaction',
      sender: dora,
      content: { 'm.relates_to': { rel_type: 'm.annotation', event_id: '$x', key: 'x' } },
    },
    member(erin, 'join'),
    member('@alice:hearth.test' as typeof dora, 'invite', dora),
  ].map((fields) => room.secret(fields).pdu);
  return [...right, ...[...room.events.values()].map(({ pdu }) => pdu)];
}

/** Mutated, and in most cases hashed and signed again, so that it gets past the door. */
function spoil(room: HostileRoom, mutator: Mutator, sample: JsonObject): JsonValue {
  const changed = mutator.mutate(sample);
  if (!isJsonObject(changed) || mutator.next(4) === 0) return changed;
  try {
    return room.seal(changed);
  } catch {
    // It has no canonical form at all, and so nothing that could be signed.
    return changed;
  }
}

/** JSON that a transaction can be signed with; the rest would only be refused at the door. */
function isSignable(value: JsonValue): boolean {
  return JSON.stringify(value).isWellFormed() && !/[\ud800-\udfff]|\\ud[89a-f]/i.test(JSON.stringify(value));
}

/** Answers of the well-meaning, changed at random. */
function spoilAnswers(room: HostileRoom, mutator: Mutator): Script {
  const honest = room.script();
  return async (heard): Promise<ScriptedAnswer | undefined> => {
    if (heard.operation.startsWith('key/')) return undefined;
    const answer = heard.operation === 'v1/send' ? { json: { pdus: {} } } : await honest(heard);
    if (answer === undefined) return undefined;
    const { json } = answer;
    if (mutator.next(12) === 0)
      return {
        status: mutator.pick([200, 204, 302, 404, 429, 500]),
        text: JSON.stringify(json ?? '').slice(mutator.next(50)),
      };
    return { ...answer, json: mutator.mutate(JSON.parse(JSON.stringify(json ?? {}))) };
  };
}

for (const version of ['1', '6', '10', '12']) {
  test(
    `events of room version ${version} with things changed at random, signed all the same, leave the server whole (seed ${seed})`,
    besieged(async (siege) => {
      const mutator = new Mutator(seed + Number(version));
      const room = await siege.room(version);
      const samples = samplesOf(room);
      await siege.undisturbed(async () => {
        for (let round = 0; round < rounds; round += 1) {
          const pdus = Array.from({ length: 20 }, () => spoil(room, mutator, mutator.pick(samples))).filter(isSignable);
          const answer = await siege.evil.transact(siege.home, { pdus });
          assert.equal(answer.status, 200, JSON.stringify(answer.body));
          assert.ok(Object.keys(answer.body.pdus).length <= pdus.length);
        }
      });
      const { status } = await siege.alice.get(`/_matrix/client/v3/rooms/${encodeURIComponent(room.roomId)}/state`);
      assert.ok(status === 200 || status === 403, 'the room can still be looked at');
      expectOk(await siege.alice.get('/_matrix/client/v3/sync'));
    }),
  );
}

test(
  `transactions with things changed at random are answered, one way or another (seed ${seed})`,
  besieged(async (siege) => {
    const mutator = new Mutator(seed);
    const room = await siege.room();
    const edus = [
      { edu_type: 'm.typing', content: { room_id: room.roomId, user_id: dora, typing: true } },
      {
        edu_type: 'm.receipt',
        content: { [room.roomId]: { 'm.read': { [dora]: { event_ids: ['$x'], data: { ts: 1, thread_id: 'main' } } } } },
      },
      {
        edu_type: 'm.presence',
        content: {
          push: [{ user_id: dora, presence: 'online', last_active_ago: 1, status_msg: 'x', currently_active: true }],
        },
      },
      {
        edu_type: 'm.direct_to_device',
        content: { sender: dora, type: 't', message_id: 'm', messages: { '@alice:hearth.test': { '*': { a: 1 } } } },
      },
      {
        edu_type: 'm.device_list_update',
        content: {
          user_id: dora,
          device_id: 'D',
          stream_id: 5,
          prev_id: [],
          keys: { user_id: dora, device_id: 'D', algorithms: ['x'], keys: { 'ed25519:D': 'x' }, signatures: {} },
        },
      },
      {
        edu_type: 'm.signing_key_update',
        content: { user_id: dora, master_key: { user_id: dora, usage: ['master'], keys: { 'ed25519:x': 'x' } } },
      },
    ];
    const whole: JsonObject = { origin: 'away.test', origin_server_ts: 1, pdus: samplesOf(room).slice(0, 5), edus };
    await siege.undisturbed(async () => {
      for (let round = 0; round < rounds * 20; round += 1) {
        const body = mutator.mutate(whole);
        if (!isJsonObject(body) || !isSignable(body)) continue;
        const { status } = await siege.evil.ask(siege.home, 'PUT', `/_matrix/federation/v1/send/fuzz${round}`, body);
        assert.ok(
          status === 200 || status === 400 || status === 413,
          `${status}: ${JSON.stringify(body).slice(0, 300)}`,
        );
      }
    });
    await siege.through(room);
  }),
);

test(
  `answers with things changed at random, to whatever our server asks, leave it whole (seed ${seed})`,
  besieged(async (siege) => {
    const mutator = new Mutator(seed);
    const { evil, alice, home } = siege;
    const room = await siege.room('11');
    evil.script(spoilAnswers(room, mutator));
    const path = (rest: string): string => `/_matrix/client/v3/${rest}`;
    const roomId = encodeURIComponent(room.roomId);
    const asks: (() => Promise<{ status: number }>)[] = [
      () => alice.get(path(`rooms/${roomId}/messages`), { dir: 'b', limit: 20 }),
      () => alice.get(path(`profile/@u${mutator.next(1_000)}:away.test`)),
      () => alice.post(path('keys/query'), { device_keys: { [dora]: [] }, timeout: 2_000 }),
      () => alice.post(path('keys/claim'), { one_time_keys: { [dora]: { D: 'signed_curve25519' } }, timeout: 2_000 }),
      () => alice.get(path('publicRooms'), { server: 'away.test' }),
      () => alice.get(path(`directory/room/${encodeURIComponent(`#a${mutator.next(1_000)}:away.test`)}`)),
    ];
    await siege.undisturbed(async () => {
      for (let round = 0; round < rounds; round += 1) {
        const lost = room.secret({
          type: 'm.room.message',
          sender: dora,
          content: { msgtype: 'm.text', body: `lost ${round}` },
        });
        const event = room.secret(
          { type: 'm.room.message', sender: dora, content: { msgtype: 'm.text', body: 'after' } },
          { prev: [lost] },
        );
        evil.answer('v1/get_missing_events', () =>
          mutator.next(2) === 0 ? undefined : { json: mutator.mutate({ events: [lost.pdu] }) as JsonObject },
        );
        expectOk(await evil.transact(home, { pdus: [event.pdu] }));
        const { status } = await mutator.pick(asks)();
        assert.ok(status !== 500, `${status}`);
        home.wake();
      }
    });
    const other = await (async () => {
      evil.script(room.script());
      return room.speak('through');
    })();
    await siege.push(other.pdu);
    await siege.untilSaid(room, 'through');
  }),
);

test(
  `joins that are answered with things changed at random succeed or fail, and leave the server whole (seed ${seed})`,
  besieged(async (siege) => {
    const mutator = new Mutator(seed);
    const { evil, alice } = siege;
    const { HostileRoom: Room } = await import('../hostile/hostile-room.ts');
    await siege.undisturbed(async () => {
      for (let round = 0; round < rounds; round += 1) {
        const room = new Room(mutator.pick(['1', '5', '10', '11', '12']));
        evil.script(spoilAnswers(room, mutator));
        const { status, body } = await alice.post(
          `/_matrix/client/v3/join/${encodeURIComponent(room.roomId)}`,
          {},
          { via: 'away.test' },
        );
        assert.ok(status === 200 || (status >= 400 && status !== 500), `${status} ${JSON.stringify(body)}`);
        siege.home.wake();
      }
    });
    evil.script(() => undefined);
    expectOk(await alice.get('/_matrix/client/v3/sync'));
  }),
);
