import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RoomEvent } from '../../server/matrix/events/event.ts';
import { parsePdu } from '../../server/matrix/events/parse.ts';
import { signPdu } from '../../server/matrix/events/sign.ts';
import { isJsonObject, type JsonObject } from '../../server/matrix/json.ts';
import { addSignature, signJson } from '../../server/matrix/signing.ts';
import { DAY, HOME, newKey, openHouse, type Peer, peerOn, serverName, versionOf } from './key-ring-kit.ts';
import type { Logger } from '../../server/util/log.ts';
import { ManualClock } from '../kit/manual-clock.ts';

const withPdu = (event: RoomEvent, pdu: JsonObject): RoomEvent => ({ ...event, pdu });

test('a key is fetched from its server once, and kept over a restart when the server is long gone', async (t) => {
  const house = openHouse(t);
  const away = await house.peer('away.test');
  const event = away.event();

  assert.equal(await house.keys.keyRing.checkEvent(event), true);
  assert.equal(await house.keys.keyRing.checkEvent(away.event()), true);
  assert.deepEqual(away.requests, ['GET /_matrix/key/v2/server']);

  house.lose(away);
  const later = await house.restart();
  assert.equal(await later.keys.keyRing.checkEvent(event), true);
  assert.equal(await later.keys.keyRing.verifyJson(away.name, signJson({ a: 1 }, away.name, away.key)), true);
  assert.equal(away.requests.length, 1);
});

test('what somebody else signed, or nobody, is not taken for a server’s word', async (t) => {
  const house = openHouse(t);
  const away = await house.peer('away.test');
  const { keyRing } = house.keys;
  const impostor = newKey('one');
  const event = away.event({ signWith: impostor });

  assert.equal(await keyRing.checkEvent(event), false);
  assert.equal(await keyRing.checkEvent(withPdu(event, { ...event.pdu, signatures: {} })), false);
  assert.equal(await keyRing.verifyJson(away.name, signJson({ a: 1 }, away.name, impostor)), false);
  assert.equal(await keyRing.verifyJson(away.name, { a: 1 }), false);
  assert.equal(await keyRing.verifyJson(serverName('other.test'), signJson({ a: 1 }, away.name, away.key)), false);
});

test('an old key is good for the events of its time, and for no request', async (t) => {
  const house = openHouse(t);
  const away = await house.peer('away.test');
  const { keyRing } = house.keys;
  const now = house.clock.now();
  const old = newKey('old');
  away.oldKeys = [{ key: old, expiredAt: now - 10 * DAY }];

  const inTime = { signWith: old, originServerTs: now - 10 * DAY };
  const tooLate = { signWith: old, originServerTs: now - 10 * DAY + 1 };
  assert.equal(await keyRing.checkEvent(away.event(inTime)), true);
  assert.equal(await keyRing.checkEvent(away.event(tooLate)), false);
  for (const [version, valid] of [
    ['4', true],
    ['5', false],
  ] as const) {
    const event = away.event({ ...tooLate, version: versionOf(version) });
    assert.equal(await keyRing.checkEvent(event), valid, `room version ${version}`);
  }
  const signed = signJson({ a: 1 }, away.name, old);
  assert.equal(await keyRing.verifyJson(away.name, signed), false);
  assert.equal(await keyRing.verifyJson(away.name, signed, { validAt: now - 10 * DAY }), true);
});

test('a key that has run out is asked for again before what was signed later counts', async (t) => {
  const house = openHouse(t);
  const away = await house.peer('away.test');
  const { keyRing } = house.keys;
  const firstEnd = away.validUntil;
  assert.equal(await keyRing.checkEvent(away.event({ originServerTs: firstEnd })), true);

  assert.equal(await keyRing.checkEvent(away.event({ originServerTs: firstEnd + 1 })), false);
  assert.equal(away.requests.length, 2, 'it was asked whether the key is good for longer');

  away.validUntil = firstEnd + DAY;
  assert.equal(await keyRing.checkEvent(away.event({ originServerTs: firstEnd + 1 })), true);
  assert.equal(away.requests.length, 3);
});

test('however long a server says its key is good, it is believed for seven days', async (t) => {
  const house = openHouse(t);
  const away = await house.peer('away.test');
  const { keyRing } = house.keys;
  const start = house.clock.now();
  away.validUntil = start + 1_000 * DAY;
  const signed = signJson({ a: 1 }, away.name, away.key);
  assert.equal(await keyRing.verifyJson(away.name, signed), true);

  assert.equal(await keyRing.checkEvent(away.event({ originServerTs: start + 7 * DAY })), true);
  assert.equal(await keyRing.checkEvent(away.event({ originServerTs: start + 7 * DAY + 1 })), false);
  assert.equal(away.requests.length, 1, 'no answer could make it valid for so long');

  await house.clock.advance(7 * DAY + 1);
  assert.equal(await keyRing.verifyJson(away.name, signed), true);
  assert.equal(away.requests.length, 2);
  away.keys = [newKey('two')];
  await house.clock.advance(7 * DAY + 1);
  assert.equal(await keyRing.verifyJson(away.name, signed), false, 'it was withdrawn, and has run out');
});

test('a new key is fetched when it is first seen, and made-up ones cost few questions', async (t) => {
  const house = openHouse(t);
  const away = await house.peer('away.test');
  const { keyRing } = house.keys;
  assert.equal(await keyRing.checkEvent(away.event()), true);

  away.keys = [newKey('two')];
  assert.equal(await keyRing.checkEvent(away.event()), true);
  assert.equal(away.requests.length, 2);

  for (let count = 0; count < 40; count += 1) {
    assert.equal(await keyRing.checkEvent(away.event({ signWith: newKey(`made_up_${count}`) })), false);
  }
  assert.ok(away.requests.length <= 10, `${away.requests.length} requests`);
  assert.equal(await keyRing.checkEvent(away.event()), true, 'what is known needs no question');

  await house.clock.advance(60_000);
  away.keys = [newKey('three')];
  assert.equal(await keyRing.checkEvent(away.event()), true, 'after a while it may be asked again');
});

test('many who want the keys of one server at the same time ask once', async (t) => {
  const house = openHouse(t);
  const away = await house.peer('away.test');
  const { keyRing } = house.keys;
  const gate = Promise.withResolvers<void>();
  away.hold = gate.promise;
  const asked = [
    ...Array.from({ length: 30 }, () => keyRing.checkEvent(away.event())),
    keyRing.verifyJson(away.name, signJson({ a: 1 }, away.name, away.key)),
    keyRing.checkEvents(Array.from({ length: 30 }, () => away.event())).then((all) => all.every(Boolean)),
  ];
  gate.resolve();
  assert.deepEqual(new Set(await Promise.all(asked)), new Set([true]));
  assert.equal(away.requests.length, 1);
});

test('a fetch that was under way for another key is followed by one for the key that is wanted', async (t) => {
  const house = openHouse(t);
  const away = await house.peer('away.test');
  const { keyRing } = house.keys;
  const early = away.answer();
  const gate = Promise.withResolvers<void>();
  away.hold = gate.promise;
  away.respond = () => {
    away.respond = undefined;
    return { body: early };
  };
  const arrived = away.nextRequest();
  const first = keyRing.checkEvent(away.event());
  await arrived;
  away.keys = [...away.keys, newKey('two')];
  const second = keyRing.checkEvent(away.event({ signWith: away.keys[1] ?? away.key }));
  gate.resolve();
  assert.deepEqual(await Promise.all([first, second]), [true, true]);
  assert.equal(away.requests.length, 2);
});

test('a server that is gone is tried once, left alone, and found when it is back', async (t) => {
  const house = openHouse(t);
  const away = await house.peer('away.test');
  const { keyRing } = house.keys;
  away.respond = () => ({ status: 502, body: {} });
  const flood = Array.from({ length: 500 }, () => away.event());
  assert.ok(!(await keyRing.checkEvents(flood)).includes(true));
  for (const event of flood.slice(0, 50)) assert.equal(await keyRing.checkEvent(event), false);
  assert.equal(away.requests.length, 1);

  away.respond = undefined;
  await house.clock.advance(5_000);
  assert.equal(await keyRing.checkEvent(away.event()), true);
  assert.equal(away.requests.length, 2);
});

test('a server that failed is asked at once when the network has changed', async (t) => {
  const house = openHouse(t);
  const away = await house.peer('away.test');
  const { keyRing } = house.keys;
  house.lose(away);
  assert.equal(await keyRing.checkEvent(away.event()), false);
  house.find(away);
  assert.equal(await keyRing.checkEvent(away.event()), false, 'it is still being left alone');
  house.keys.reopen();
  assert.equal(await keyRing.checkEvent(away.event()), true);
});

test('an answer that does not prove itself is not believed', async (t) => {
  const stranger = newKey('stranger');
  const bad: Record<string, (away: Peer) => JsonObject> = {
    'speaks of another server': (away) => away.answer({ server_name: 'other.test' }),
    'is not signed': (away) => ({ ...away.answer(), signatures: {} }),
    'is signed with a key it does not name': (away) => {
      const { signatures: _signatures, ...rest } = away.answer();
      return signJson(rest, away.name, stranger);
    },
    'is signed with an old key only': (away) => {
      const { signatures: _signatures, ...rest } = away.answer({
        old_verify_keys: { [stranger.keyId]: { key: stranger.publicKeyBase64, expired_ts: 1 } },
      });
      return signJson(rest, away.name, stranger);
    },
    'was changed after it was signed': (away) => ({ ...away.answer(), valid_until_ts: away.validUntil + 1 }),
    'is too large': (away) => away.answer({ padding: 'x'.repeat(40_000) }),
    'is far too large': (away) => away.answer({ padding: 'x'.repeat(400_000) }),
    'has a time that is none': (away) => away.answer({ valid_until_ts: 'tomorrow' }),
    'has a time before all time': (away) => away.answer({ valid_until_ts: -1 }),
    'has keys that are no object': (away) => away.answer({ verify_keys: [] }),
    'has no key': (away) => away.answer({ verify_keys: {} }),
    'has a key of a wrong length': (away) => away.answer({ verify_keys: { [away.key.keyId]: { key: 'AAAA' } } }),
    'has old keys that are no object': (away) => away.answer({ old_verify_keys: 'none' }),
    'has no canonical form': (away) => ({ ...away.answer(), extra: 0.5 }),
    'is empty': () => ({}),
  };
  for (const [what, make] of Object.entries(bad)) {
    const house = openHouse(t);
    const away = await house.peer('away.test');
    const answer = make(away);
    away.respond = () => ({ body: answer });
    assert.equal(await house.keys.keyRing.checkEvent(away.event()), false, `the answer ${what}`);
    away.respond = undefined;
    house.keys.reopen();
    assert.equal(await house.keys.keyRing.checkEvent(away.event()), true, `the answer no longer ${what}`);
  }
});

test('keys of unknown algorithms and broken entries do not spoil the good ones beside them', async (t) => {
  const house = openHouse(t);
  const away = await house.peer('away.test');
  const answer = away.answer({
    verify_keys: {
      [away.key.keyId]: { key: away.key.publicKeyBase64 },
      'ed448:new': { key: 'AAAA' },
      'ed25519:broken': 'no object',
    },
    old_verify_keys: { 'ed25519:older': { key: away.key.publicKeyBase64 } },
  });
  away.respond = () => ({ body: answer });
  assert.equal(await house.keys.keyRing.checkEvent(away.event()), true);
});

test('a trusted key server is asked first, and its word needs the signature it was configured with', async (t) => {
  const clock = new ManualClock();
  const network = new Map<string, Peer>();
  const notary = await peerOn(t, network, clock, 'notary.test');
  const away = await peerOn(t, network, clock, 'away.test');
  const trusted = [{ serverName: notary.name, verifyKeys: { [notary.key.keyId]: notary.key.publicKeyBase64 } }];

  notary.vouchFor(away);
  const house = openHouse(t, { clock, network, trusted });
  const event = away.event();
  assert.equal(await house.keys.keyRing.checkEvent(event), true);
  assert.deepEqual(away.requests, []);
  assert.deepEqual(notary.bodies, [
    { server_keys: { 'away.test': { [away.key.keyId]: { minimum_valid_until_ts: event.originServerTs } } } },
  ]);

  notary.keys = [newKey('other')];
  notary.vouchFor(away);
  const second = openHouse(t, { clock, network, trusted });
  assert.equal(await second.keys.keyRing.checkEvent(event), true);
  assert.deepEqual(
    away.requests,
    ['GET /_matrix/key/v2/server'],
    'the key server proved nothing, so the server itself was asked',
  );
});

test('without configured keys, a key server’s certificate is what vouches for it', async (t) => {
  const clock = new ManualClock();
  const network = new Map<string, Peer>();
  const notary = await peerOn(t, network, clock, 'notary.test');
  const away = await peerOn(t, network, clock, 'away.test');
  notary.respond = () => ({ body: { server_keys: [away.answer()] } });
  const house = openHouse(t, { clock, network, trusted: [{ serverName: notary.name, verifyKeys: {} }] });
  assert.equal(await house.keys.keyRing.checkEvent(away.event()), true);
  assert.deepEqual(away.requests, []);
});

test('one question to a key server names all servers whose keys are lacking', async (t) => {
  const clock = new ManualClock();
  const network = new Map<string, Peer>();
  const notary = await peerOn(t, network, clock, 'notary.test');
  const peers: Peer[] = [];
  for (let count = 0; count < 20; count += 1) peers.push(await peerOn(t, network, clock, `s${count}.test`));
  notary.vouchFor(...peers);
  const house = openHouse(t, { clock, network, trusted: [{ serverName: notary.name, verifyKeys: {} }] });
  const events = peers.flatMap((peer) => [peer.event(), peer.event()]);
  assert.deepEqual(
    await house.keys.keyRing.checkEvents(events),
    events.map(() => true),
  );
  assert.equal(notary.requests.length, 1);
  assert.deepEqual(
    peers.flatMap(({ requests }) => requests),
    [],
  );
});

test('a key server that talks nonsense, of others, or not at all, does no harm', async (t) => {
  const clock = new ManualClock();
  const network = new Map<string, Peer>();
  const notary = await peerOn(t, network, clock, 'notary.test');
  const away = await peerOn(t, network, clock, 'away.test');
  const other = await peerOn(t, network, clock, 'other.test');
  const impostor = newKey('one');
  const forgedAnswer = signJson(
    {
      server_name: away.name,
      verify_keys: { [impostor.keyId]: { key: impostor.publicKeyBase64 } },
      valid_until_ts: away.validUntil,
    },
    other.name,
    impostor,
  );
  const replies: (() => { status?: number; body: JsonObject })[] = [
    () => ({ body: {} }),
    () => ({ body: { server_keys: 'none' } }),
    () => ({ body: { server_keys: [null, 1, 'x', {}, { server_name: 'away.test' }] } }),
    () => ({ body: { server_keys: [other.answer()] } }),
    () => ({ body: { server_keys: [forgedAnswer] } }),
    () => ({ status: 404, body: { errcode: 'M_UNRECOGNIZED' } }),
    () => ({ status: 500, body: {} }),
  ];
  for (const [index, reply] of replies.entries()) {
    notary.respond = reply;
    const house = openHouse(t, { clock, network, trusted: [{ serverName: notary.name, verifyKeys: {} }] });
    assert.equal(await house.keys.keyRing.checkEvent(away.event()), true, `reply ${index}`);
    assert.equal(away.requests.length, index + 1, `after reply ${index} the server itself was asked`);
    assert.equal(house.keys.keyRing.holdsKeysOf(other.name), false, 'nobody asked for those');
  }
});

test('a key server that keeps silent holds nobody up for long, and is then left alone', async (t) => {
  const clock = new ManualClock();
  const network = new Map<string, Peer>();
  const notary = await peerOn(t, network, clock, 'notary.test');
  const away = await peerOn(t, network, clock, 'away.test');
  const other = await peerOn(t, network, clock, 'other.test');
  const failed = Promise.withResolvers<void>();
  const note = (_data: unknown, sentence: string): void => {
    if (sentence === 'a key server could not be asked') failed.resolve();
  };
  const log: Logger = { debug: note, info: note, warn: note, error: note, child: () => log };
  const house = openHouse(t, { clock, network, log, trusted: [{ serverName: notary.name, verifyKeys: {} }] });
  const gate = Promise.withResolvers<void>();
  notary.hold = gate.promise;
  notary.respond = () => ({ status: 500, body: {} });

  const arrived = notary.nextRequest();
  const checked = house.keys.keyRing.checkEvent(away.event());
  await arrived;
  assert.deepEqual(away.requests, []);
  await clock.advance(1_500);
  assert.equal(await checked, true);

  gate.resolve();
  await failed.promise;
  assert.equal(await house.keys.keyRing.checkEvent(other.event()), true);
  assert.equal(notary.requests.length, 1);
});

test('a key server cannot put another key in the place of one the server itself has told', async (t) => {
  const clock = new ManualClock();
  const network = new Map<string, Peer>();
  const notary = await peerOn(t, network, clock, 'notary.test');
  const away = await peerOn(t, network, clock, 'away.test');
  notary.respond = () => ({ body: { server_keys: [] } });
  const house = openHouse(t, { clock, network, trusted: [{ serverName: notary.name, verifyKeys: {} }] });
  const { keyRing } = house.keys;
  const honest = away.event();
  assert.equal(await keyRing.checkEvent(honest), true);

  const impostor = newKey('one');
  const forged = signJson(
    {
      server_name: away.name,
      verify_keys: { [impostor.keyId]: { key: impostor.publicKeyBase64 } },
      old_verify_keys: {},
      valid_until_ts: clock.now() + 6 * DAY,
    },
    away.name,
    impostor,
  );
  notary.respond = () => ({ body: { server_keys: [forged] } });
  const later = { originServerTs: away.validUntil + 1 };
  assert.equal(await keyRing.checkEvent(away.event({ ...later, signWith: impostor })), false);
  assert.equal(await keyRing.checkEvent(honest), true);
});

test('this server’s own events need no network, those signed with its old keys too', async (t) => {
  const old = newKey('before');
  const second = newKey('second');
  const start = new ManualClock().now();
  const house = openHouse(t, {
    oldKeys: { [old.keyId]: { key: old.publicKeyBase64, expiredAtMs: start } },
    otherKeys: [second],
  });
  const own = await house.peer(HOME);
  const { keyRing } = house.keys;
  assert.equal(await keyRing.checkEvent(own.event({ signWith: house.key })), true);
  assert.equal(await keyRing.checkEvent(own.event({ signWith: second, originServerTs: start + 100 * DAY })), true);
  assert.equal(await keyRing.checkEvent(own.event({ signWith: old, originServerTs: start })), true);
  assert.equal(await keyRing.checkEvent(own.event({ signWith: old, originServerTs: start + 1 })), false);
  assert.equal(await keyRing.checkEvent(own.event({ signWith: newKey('unknown') })), false);
  assert.equal(await keyRing.verifyJson(HOME, signJson({ a: 1 }, HOME, house.key)), true);
  assert.deepEqual(own.requests, []);
});

test('an event needs the signature of each server that answers for it', async (t) => {
  const house = openHouse(t);
  const away = await house.peer('away.test');
  const resident = await house.peer('resident.test');
  const { keyRing } = house.keys;
  const join = away.event({
    type: 'm.room.member',
    stateKey: '@dora:away.test',
    content: { membership: 'join', join_authorised_via_users_server: '@rob:resident.test' },
  });
  assert.equal(await keyRing.checkEvent(join), false, 'nobody has vouched for it');
  const vouched = signPdu(join.pdu, join.version, resident.name, resident.key);
  assert.equal(await keyRing.checkEvent(withPdu(join, vouched)), true);
  const forged = signPdu(join.pdu, join.version, resident.name, newKey('one'));
  assert.equal(await keyRing.checkEvent(withPdu(join, forged)), false);

  const invite = away.event({
    type: 'm.room.member',
    stateKey: '@rob:resident.test',
    content: { membership: 'invite', third_party_invite: { signed: {} } },
    signWith: newKey('whoever'),
  });
  assert.equal(await keyRing.checkEvent(invite), true, 'a third-party invite is vouched for by its content');
});

test('signatures with unknown keys are skipped, those with known ones must all be right', async (t) => {
  const house = openHouse(t);
  const away = await house.peer('away.test');
  away.keys = [newKey('one'), newKey('two')];
  const { keyRing } = house.keys;
  const event = away.event();
  const also = (keyId: string, signature: string): RoomEvent =>
    withPdu(event, {
      ...event.pdu,
      signatures: addSignature(event.pdu['signatures'], away.name, keyId, signature),
    });
  const wrong = Buffer.alloc(64).toString('base64');

  assert.equal(await keyRing.checkEvent(also('ed25519:policy_server', wrong)), true);
  assert.equal(await keyRing.checkEvent(also('ed25519:unheard_of', wrong)), true);
  assert.equal(await keyRing.checkEvent(also('ed448:strange', wrong)), true);
  assert.equal(away.requests.length, 1, 'a known key was there, so none was looked for');
  assert.equal(await keyRing.checkEvent(also('ed25519:two', wrong)), false);
  const both = signPdu(event.pdu, event.version, away.name, away.keys[1] ?? away.key);
  assert.equal(await keyRing.checkEvent(withPdu(event, both)), true);
});

test('two thousand events of several servers are told apart, each in its place', async (t) => {
  const house = openHouse(t);
  const peers = [await house.peer('a.test'), await house.peer('b.test'), await house.peer('c.test')];
  const gone = await house.peer('gone.test');
  house.lose(gone);
  const expected: boolean[] = [];
  const events = Array.from({ length: 2_000 }, (_, index): RoomEvent => {
    const peer = peers[index % 3] ?? gone;
    const event = (index % 17 === 0 ? gone : peer).event({
      content: { body: `message ${index}` },
      version: versionOf(String(1 + (index % 11))),
    });
    if (index % 17 === 0) return expected.push(false), event;
    if (index % 5 !== 0) return expected.push(true), event;
    expected.push(false);
    return withPdu(event, { ...event.pdu, depth: 6 });
  });
  assert.deepEqual(await house.keys.keyRing.checkEvents(events), expected);
  assert.deepEqual(
    peers.map(({ requests }) => requests.length),
    [1, 1, 1],
  );
});

test('a signed event of which any byte was changed is not taken', async (t) => {
  const house = openHouse(t);
  const away = await house.peer('away.test');
  // Every key of this event is protected, so there is no byte whose change would not matter.
  const event = away.event({
    type: 'm.room.member',
    stateKey: '@dora:away.test',
    content: { membership: 'leave' },
    prevEvents: [],
  });
  const { signatures, ...covered } = event.pdu;
  assert.ok(isJsonObject(signatures));
  const text = Buffer.from(JSON.stringify(covered));
  const signature = JSON.stringify(signatures);
  assert.equal(await house.keys.keyRing.checkEvent(event), true);

  await fc.assert(
    fc.asyncProperty(fc.nat(text.length - 2), fc.integer({ min: 0, max: 7 }), async (index, bit) => {
      const changed = Buffer.from(text);
      changed[index] = (changed[index] ?? 0) ^ (1 << bit);
      const parsed = parseIfEvent(`${changed.toString('utf8').slice(0, -1)},"signatures":${signature}}`);
      if (parsed !== undefined) assert.equal(await house.keys.keyRing.checkEvent(parsed), false);
    }),
    { numRuns: 500 },
  );
});

function parseIfEvent(text: string): RoomEvent | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    assert.ok(error instanceof SyntaxError);
    return undefined;
  }
  const parsed = parsePdu(json, versionOf('10'));
  return parsed.ok ? parsed.event : undefined;
}
