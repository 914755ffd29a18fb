import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeBase64 } from '../../server/matrix/base64.ts';
import { isServerName, type ServerName } from '../../server/matrix/identifiers.ts';
import type { JsonObject } from '../../server/matrix/json.ts';
import { generateSigningKey, signJson, type SigningKey } from '../../server/matrix/signing.ts';
import { systemRandom } from '../../server/util/random.ts';
import { refusal, ScriptedServer } from '../kit/scripted-server.ts';
import { expectError, expectOk } from '../kit/test-client.ts';
import { AWAY, FAR, keyOf } from '../rooms/remote-kit.ts';
import { HostileRoom } from './hostile-room.ts';
import { besieged } from './siege.ts';

const newKey = generateSigningKey(systemRandom.bytes(32));
const falseKey = generateSigningKey(systemRandom.bytes(32));
const DAY = 86_400_000;
/** The rooms of these stories play in September 2020. */
const IN_2021 = Date.UTC(2021, 0, 1);
const VERSION = '/_matrix/federation/v1/query/profile?user_id=%40alice%3Ahearth.test';

function named(name: string): ServerName {
  assert.ok(isServerName(name));
  return name;
}

const THIRD = named('third.test');

for (const [version, isStrict] of [
  ['11', true],
  ['4', false],
] as const) {
  test(
    `a key that is out of use signs no requests, and in rooms of version ${version} ${isStrict ? 'no' : 'still'} later events`,
    besieged(async (siege) => {
      const { evil, home } = siege;
      const old = { key: encodeBase64(keyOf(AWAY).publicKey), expired_ts: IN_2021 };
      const answer = evil.keysAnswer(
        {
          verify_keys: { [newKey.keyId]: { key: encodeBase64(newKey.publicKey) } },
          old_verify_keys: { [keyOf(AWAY).keyId]: old },
        },
        newKey,
      );
      evil.answer('key/v2/server', () => ({ json: answer }));
      const room = new HostileRoom(version);
      evil.script(room.script());
      await siege.join(room);

      expectError(await evil.ask(home, 'GET', VERSION), 401, 'M_UNAUTHORIZED');
      const early = room.forge({ origin_server_ts: IN_2021 - 1, content: { msgtype: 'm.text', body: 'in its time' } });
      const late = room.forge({ origin_server_ts: IN_2021 + 1, content: { msgtype: 'm.text', body: 'too late' } });
      const sent = await evil.transact(home, { pdus: [early, late] }, { key: newKey });
      assert.equal(
        Object.values(expectOk(sent).pdus as Record<string, JsonObject>).filter(({ error }) => error).length,
        isStrict ? 1 : 0,
      );
      const last = room.speak('through');
      expectOk(await evil.transact(home, { pdus: [last.pdu] }, { key: newKey }));
      await siege.untilSaid(room, 'through');
      assert.deepEqual(await siege.said(room.roomId), ['in its time', 'through', ...(isStrict ? [] : ['too late'])]);
    }),
  );
}

test(
  'a server whose keys ran out yesterday is not believed, nor asked for them with every request',
  besieged(async ({ evil, home }) => {
    const runOut = evil.keysAnswer({ valid_until_ts: Date.now() - DAY });
    evil.answer('key/v2/server', () => ({ json: runOut }));
    for (let times = 0; times < 20; times += 1) {
      expectError(await evil.ask(home, 'GET', VERSION), 401, 'M_UNAUTHORIZED');
    }
    // Who answers, but never with what is wanted, is soon asked only now and then.
    assert.ok(evil.count('key/v2/server') <= 12, `it was asked ${evil.count('key/v2/server')} times`);
  }),
);

test(
  'keys that a server gives for another server’s, unsigned, of the wrong form or without end, open no door',
  besieged(async ({ evil, home, network }) => {
    const lies: JsonObject[] = [
      evil.keysAnswer({ server_name: 'hearth.test' }),
      evil.keysAnswer({ server_name: THIRD }),
      signJson({ server_name: THIRD, valid_until_ts: Date.now() + DAY, verify_keys: {} }, THIRD, falseKey),
      {
        server_name: THIRD,
        valid_until_ts: Date.now() + DAY,
        verify_keys: { [falseKey.keyId]: { key: encodeBase64(falseKey.publicKey) } },
      },
      keysOf(THIRD, falseKey, { signer: falseKey, as: FAR }),
      { ...keysOf(THIRD, falseKey, { signer: falseKey }), valid_until_ts: Date.now() + 2 * DAY },
      keysOf(THIRD, falseKey, { signer: newKey }),
    ];
    const endless = async function* (): AsyncGenerator<string> {
      yield '{"server_name":"third.test","verify_keys":{';
      for (let at = 0; ; at += 1) yield `"ed25519:${at}":{"key":"${'A'.repeat(43)}"},`;
    };
    // What third.test answers is what its address on the network says: a certificate of another server is not enough.
    network.place(THIRD, { federationPort: evil.federationPort });
    evil.answer('key/v2/server', () => ({ json: keysOf(THIRD, falseKey, { signer: falseKey }) }));
    expectError(
      await evil.ask(home, 'GET', VERSION, undefined, { origin: THIRD, key: falseKey }),
      401,
      'M_UNAUTHORIZED',
    );

    for (const [at, json] of lies.entries()) {
      const name = named(`liar${at}.test`);
      await using liar = await ScriptedServer.start(network, { name, key: falseKey });
      liar.answer('key/v2/server', () => ({ json }));
      for (const origin of [name, THIRD]) {
        const answer = await liar.ask(home, 'GET', VERSION, undefined, { origin, key: falseKey });
        expectError(answer, 401, 'M_UNAUTHORIZED');
      }
    }
    const name = named('endless.test');
    await using liar = await ScriptedServer.start(network, { name, key: falseKey });
    liar.answer('key/v2/server', () => ({ pieces: endless() }));
    expectError(await liar.ask(home, 'GET', VERSION), 401, 'M_UNAUTHORIZED');
    assert.ok(liar.written < 8_000_000, `${liar.written} bytes were read of an answer that may have 32 KiB`);
  }),
);

/** What a server that is trusted to tell keys says to a question for those of third.test. */
const notaryLies: Record<string, () => readonly JsonObject[]> = {
  'keys that their server did not sign': () => [
    signJson(keysOf(THIRD, falseKey, { signer: falseKey, as: FAR }), FAR, keyOf(FAR)),
  ],
  'what it did not sign itself': () => [keysOf(THIRD, falseKey, { signer: falseKey })],
  'what it signed with a key that is not its own': () => [
    signJson(keysOf(THIRD, falseKey, { signer: falseKey }), FAR, falseKey),
  ],
  'the keys of another server': () => [signJson(keysOf(FAR, keyOf(FAR), { signer: keyOf(FAR) }), FAR, keyOf(FAR))],
  'a thousand times nothing': () => Array.from({ length: 1_000 }, () => ({ server_name: THIRD })),
  'something that is no keys': () => [{ server_name: THIRD, verify_keys: 7 }, { keys: [] }],
};

for (const [lie, answers] of Object.entries(notaryLies)) {
  test(
    `a key server that is trusted opens no door by telling ${lie}`,
    besieged(
      async ({ evil, far, home }) => {
        far.answer('key/v2/query', () => ({ json: { server_keys: [...answers(), null, 7, 'x'] } }));
        const answer = await evil.ask(home, 'GET', VERSION, undefined, { origin: THIRD, key: falseKey });
        expectError(answer, 401, 'M_UNAUTHORIZED');
        assert.equal(far.count('key/v2/query'), 1);
      },
      { config: trusting() },
    ),
  );
}

test(
  'a key server is believed only about the servers it was asked about',
  besieged(
    async ({ evil, far, home }) => {
      const unasked = signJson(keysOf(THIRD, falseKey, { signer: falseKey }), FAR, keyOf(FAR));
      far.answer('key/v2/query', () => ({ json: { server_keys: [unasked] } }));
      // Its own keys were asked for; what came beside them is not kept.
      assert.equal((await evil.ask(home, 'GET', VERSION)).status, 200);
      far.answer('key/v2/query', () => refusal(404, 'M_NOT_FOUND'));
      const answer = await evil.ask(home, 'GET', VERSION, undefined, { origin: THIRD, key: falseKey });
      expectError(answer, 401, 'M_UNAUTHORIZED');
    },
    { config: trusting() },
  ),
);

test(
  'whoever asks us for the keys of thousands of servers sends us out to few, and nobody else waits for it',
  besieged(async (siege) => {
    const { evil, far, home, network } = siege;
    const names = Array.from({ length: 3_000 }, (_, at) => `s${at}.test`);
    for (const name of names) network.place(name, { federationPort: far.federationPort });
    const body = { server_keys: Object.fromEntries(names.map((name) => [name, {}])) };
    await siege.undisturbed(async () => {
      for (let times = 0; times < 10; times += 1) {
        const { server_keys: told } = expectOk(await evil.ask(home, 'POST', '/_matrix/key/v2/query', body));
        assert.deepEqual(told, []);
      }
    });
    assert.ok(far.connections <= 250, `${far.connections} connections were made`);

    // Nor does one server get asked again and again because somebody says the answer should last for longer.
    for (let times = 0; times < 50; times += 1) {
      const question = {
        'away.test': { [keyOf(AWAY).keyId]: { minimum_valid_until_ts: Date.now() + 1_000 * DAY + times } },
      };
      expectOk(await evil.ask(home, 'POST', '/_matrix/key/v2/query', { server_keys: question }));
    }
    assert.ok(evil.count('key/v2/server') <= 10, `away.test was asked ${evil.count('key/v2/server')} times`);
  }),
);

function trusting(): Readonly<Record<string, unknown>> {
  const { keyId, publicKey } = keyOf(FAR);
  return { trusted_key_servers: [{ server_name: FAR, verify_keys: { [keyId]: encodeBase64(publicKey) } }] };
}

/** A well-formed answer of a server for its keys, signed by whoever. */
function keysOf(
  server: ServerName,
  key: SigningKey,
  { signer, as = server }: { readonly signer: SigningKey; readonly as?: ServerName },
): JsonObject {
  const answer = {
    server_name: server,
    valid_until_ts: Date.now() + DAY,
    verify_keys: { [key.keyId]: { key: encodeBase64(key.publicKey) } },
    old_verify_keys: {},
  };
  return signJson(answer, as, signer);
}
