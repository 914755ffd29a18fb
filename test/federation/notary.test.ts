import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { isJsonObject, type JsonObject } from '../../server/matrix/json.ts';
import { type SigningKey, signJson, verifyJson } from '../../server/matrix/signing.ts';
import { ask, refusal, serve } from '../http/harness.ts';
import { DAY, HOME, type House, type HouseOptions, newKey, openHouse } from './key-ring-kit.ts';

/** A house whose key API can be called. */
async function openNotary(
  t: TestContext,
  options: HouseOptions = {},
): Promise<House & { get(path: string): Promise<JsonObject>; post(serverKeys: JsonObject): Promise<JsonObject[]> }> {
  const house = openHouse(t, options);
  const { origin } = await serve(t, house.keys.routes, { clock: house.clock });
  const read = async (path: string, init: RequestInit = {}): Promise<JsonObject> => {
    const { status, body } = await ask(`${origin}/_matrix/key/v2${path}`, init);
    assert.equal(status, 200);
    assert.ok(isJsonObject(body));
    return body;
  };
  return {
    ...house,
    get: (path) => read(path),
    post: async (serverKeys) =>
      listOf(await read('/query', { method: 'POST', body: JSON.stringify({ server_keys: serverKeys }) })),
  };
}

function listOf({ server_keys: list }: JsonObject): JsonObject[] {
  assert.ok(Array.isArray(list));
  return list.filter(isJsonObject);
}

function keyIdsOf(answer: JsonObject | undefined): string[] {
  const keys = answer?.['verify_keys'];
  assert.ok(isJsonObject(keys));
  return Object.keys(keys);
}

function assertSigned(answer: JsonObject | undefined, by: string, key: SigningKey): void {
  assert.ok(answer !== undefined);
  assert.ok(verifyJson(answer, by, key.keyId, key.publicKey), `${by} has signed it with ${key.keyId}`);
}

test('a server tells its keys, the old ones too, and signs with each it has', async (t) => {
  const second = newKey('second');
  const old = newKey('before');
  const house = await openNotary(t, {
    otherKeys: [second],
    oldKeys: { [old.keyId]: { key: old.publicKeyBase64, expiredAtMs: 123_456 } },
  });
  const answer = await house.get('/server');
  const { signatures: _signatures, ...rest } = answer;
  assert.deepEqual(rest, {
    server_name: HOME,
    verify_keys: {
      [house.key.keyId]: { key: house.key.publicKeyBase64 },
      [second.keyId]: { key: second.publicKeyBase64 },
    },
    old_verify_keys: { [old.keyId]: { key: old.publicKeyBase64, expired_ts: 123_456 } },
    valid_until_ts: house.clock.now() + DAY,
  });
  assertSigned(answer, HOME, house.key);
  assertSigned(answer, HOME, second);
  for (const path of ['/server/', `/server/${encodeURIComponent(house.key.keyId)}`, '/server/ed25519:other']) {
    assert.deepEqual(await house.get(path), answer, path);
  }
});

test('the answer about its own keys is made anew before half of its time is over', async (t) => {
  const house = await openNotary(t);
  const first = await house.get('/server');
  await house.clock.advance(DAY / 2);
  assert.deepEqual(await house.get('/server'), first);
  await house.clock.advance(1);
  const second = await house.get('/server');
  assert.equal(second['valid_until_ts'], house.clock.now() + DAY);
  assertSigned(second, HOME, house.key);

  house.clock.setWallClock(house.clock.now() - 100 * DAY);
  assert.equal((await house.get('/server'))['valid_until_ts'], house.clock.now() + DAY, 'the clock was set back');
});

test('asked about another server, it hands on that server’s own answer with one more signature', async (t) => {
  const house = await openNotary(t);
  const away = await house.peer('away.test');
  const keyId = encodeURIComponent(away.key.keyId);
  const answers = [
    ...listOf(await house.get('/query/away.test')),
    ...listOf(await house.get(`/query/away.test/${keyId}`)),
    ...(await house.post({ 'away.test': { [away.key.keyId]: { minimum_valid_until_ts: 0 } } })),
    ...(await house.post({ 'away.test': {} })),
  ];
  assert.equal(answers.length, 4);
  for (const answer of answers) {
    assert.deepEqual(
      answer,
      signJson(away.answer(), HOME, house.key),
      'nothing of it is lost, and each has signed the same',
    );
    assertSigned(answer, away.name, away.key);
  }
  assert.deepEqual(away.requests, ['GET /_matrix/key/v2/server']);
});

test('what a server adds to its answer stays, as its signature covers it, and strange signatures do not', async (t) => {
  const house = await openNotary(t);
  const away = await house.peer('away.test');
  const answer = away.answer({
    'org.example.more': ['things', { and: 'so on' }],
    verify_keys: { 'ed448:x': { key: 'AAAA' } },
  });
  const full = signJson(
    signJson(away.answer({ 'org.example.more': ['things'] }), 'stranger.test', newKey('x')),
    'third.test',
    newKey('y'),
  );
  away.respond = () => ({ body: full });
  const [told] = listOf(await house.get('/query/away.test'));
  assert.deepEqual(told?.['org.example.more'], ['things']);
  assertSigned(told, away.name, away.key);
  assert.ok(isJsonObject(told?.['signatures']));
  assert.deepEqual(Object.keys(told['signatures']).sort(), [away.name, HOME].sort());
  assert.ok(isJsonObject(answer));
});

test('it signs with the keys it was given for that, and answers about itself like about others', async (t) => {
  const notaryKey = newKey('notary');
  const house = await openNotary(t, { notaryKeys: [notaryKey] });
  const away = await house.peer('away.test');
  const [own, other] = await house.post({ [HOME]: {}, [away.name]: {} });
  assertSigned(own, HOME, notaryKey);
  assertSigned(own, HOME, house.key);
  assertSigned(other, HOME, notaryKey);
  assert.ok(isJsonObject(other?.['signatures']));
  assert.deepEqual(Object.keys(other['signatures'][HOME] ?? {}), [notaryKey.keyId]);
});

test('keys that ran out are handed on while there are no better ones', async (t) => {
  const house = await openNotary(t);
  const away = await house.peer('away.test');
  away.validUntil = house.clock.now() - DAY;
  const { keyId } = away.key;
  const wanted = (validUntil: number): JsonObject => ({
    'away.test': { [keyId]: { minimum_valid_until_ts: validUntil } },
  });

  const [first] = await house.post(wanted(0));
  assert.equal(first?.['valid_until_ts'], away.validUntil);
  const [second] = await house.post(wanted(away.validUntil + 1_000));
  assert.equal(second?.['valid_until_ts'], away.validUntil);
  assert.equal(away.requests.length, 2, 'it tried for a better one');
  away.respond = () => ({ status: 400, body: {} });
  const [third] = await house.post(wanted(away.validUntil + 1_000));
  assert.equal(third?.['valid_until_ts'], away.validUntil);
  assert.equal(away.requests.length, 3);
  assert.equal((await house.post(wanted(away.validUntil))).length, 1);
  assert.equal(away.requests.length, 3, 'what was held was good enough');
});

test('a server that forgets one of its keys cannot make the notary forget it', async (t) => {
  const house = await openNotary(t);
  const away = await house.peer('away.test');
  const [first] = [away.key];
  const end = away.validUntil;
  await house.post({ 'away.test': { [first.keyId]: {} } });
  away.keys = [newKey('two')];
  away.validUntil = end + 1_000;
  await house.post({ 'away.test': { [first.keyId]: { minimum_valid_until_ts: end + 500 } } });
  assert.equal(away.requests.length, 2);

  const [kept] = await house.post({ 'away.test': { [first.keyId]: { minimum_valid_until_ts: end } } });
  assert.deepEqual(keyIdsOf(kept), [first.keyId]);
  const [newest] = await house.post({ 'away.test': { 'ed25519:two': { minimum_valid_until_ts: end } } });
  assert.deepEqual(keyIdsOf(newest), ['ed25519:two']);
  const all = await house.post({ 'away.test': {} });
  assert.deepEqual(all.map(keyIdsOf), [['ed25519:two'], [first.keyId]]);
});

test('an answer is kept for half of its life, and for longer if its server cannot be reached', async (t) => {
  const house = await openNotary(t);
  const away = await house.peer('away.test');
  await house.get('/query/away.test');
  await house.clock.advance(DAY / 2 - 1);
  await house.get('/query/away.test');
  assert.equal(away.requests.length, 1);
  await house.clock.advance(1);
  await house.get('/query/away.test');
  assert.equal(away.requests.length, 2);
  const soon = house.clock.now() + 2 * DAY;
  await house.get(`/query/away.test?minimum_valid_until_ts=${soon}`);
  assert.equal(away.requests.length, 3);

  house.lose(away);
  await house.clock.advance(10 * DAY);
  assert.equal(listOf(await house.get('/query/away.test')).length, 1);
  assert.equal(listOf(await house.get('/query/unknown.test')).length, 0);
  assert.deepEqual(await house.post({ 'unknown.test': {}, 'not a server name': {} }), []);
  assert.deepEqual(await house.post({}), []);
});

test('keys that were fetched to check events are told to others without another question', async (t) => {
  const house = await openNotary(t);
  const away = await house.peer('away.test');
  assert.equal(await house.keys.keyRing.checkEvent(away.event()), true);
  assert.equal(listOf(await house.get('/query/away.test')).length, 1);
  assert.equal(away.requests.length, 1);
});

test('nobody can send the notary out to any number of servers', async (t) => {
  const house = await openNotary(t);
  const away = await house.peer('away.test');
  const names = Array.from({ length: 400 }, (_, count) => `s${count}.test`);
  const tried: string[] = [];
  const question = Object.fromEntries(names.map((name) => [name, {}]));
  away.respond = (request) => {
    tried.push(request);
    return undefined;
  };
  assert.deepEqual(
    await house.post({ ...question, 'away.test': {} }),
    [],
    'the first fifty used up what one question may',
  );
  assert.deepEqual(tried, []);
  assert.equal((await house.post({ 'away.test': {} })).length, 1);
  await house.post(question);
  const late = await house.peer('late.test');
  assert.deepEqual(await house.post({ 'late.test': {} }), [], 'this address has had its share');
  assert.equal((await house.post({ 'away.test': {} })).length, 1, 'what is held is still told');
  await house.clock.advance(10_000);
  assert.equal((await house.post({ 'late.test': {} })).length, 1);
  assert.equal(late.requests.length, 1);
});

test('a slow server does not keep a question waiting for ever', async (t) => {
  const house = await openNotary(t);
  const slow = await house.peer('slow.test');
  const away = await house.peer('away.test');
  const gate = Promise.withResolvers<void>();
  slow.hold = gate.promise;
  const arrived = Promise.all([slow.nextRequest(), away.nextRequest()]);
  const asked = house.post({ 'slow.test': {}, 'away.test': {} });
  await arrived;
  while (!house.keys.keyRing.holdsKeysOf(away.name)) await new Promise((resolve) => setImmediate(resolve));
  await house.clock.advance(10_000);
  assert.deepEqual(
    (await asked).map((answer) => answer['server_name']),
    ['away.test'],
  );
  gate.resolve();
});

test('a question in the wrong form is refused', async (t) => {
  const house = openHouse(t);
  const { origin } = await serve(t, house.keys.routes, { clock: house.clock });
  const post = (body: unknown): Promise<unknown> =>
    refusal(`${origin}/_matrix/key/v2/query`, { method: 'POST', body: JSON.stringify(body) });
  for (const body of [
    {},
    { server_keys: [] },
    { server_keys: { 'a.test': 1 } },
    { server_keys: { 'a.test': { k: 1 } } },
  ]) {
    assert.deepEqual(await post(body), [400, 'M_BAD_JSON'], JSON.stringify(body));
  }
  assert.deepEqual(await post({ server_keys: { 'a.test': { k: { minimum_valid_until_ts: 'x' } } } }), [
    400,
    'M_BAD_JSON',
  ]);
  assert.deepEqual(await refusal(`${origin}/_matrix/key/v2/query/no%20server`), [400, 'M_INVALID_PARAM']);
  assert.deepEqual(await refusal(`${origin}/_matrix/key/v2/query/a.test?minimum_valid_until_ts=x`), [
    400,
    'M_INVALID_PARAM',
  ]);
});
