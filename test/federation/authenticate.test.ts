import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createFederationAuthenticator, type AuthenticatorNeeds } from '../../server/federation/authenticate.ts';
import { InboundLimit, type InboundLimitSettings } from '../../server/federation/inbound-limit.ts';
import { bodyText, requestText, signRequest } from '../../server/federation/request-signing.ts';
import type { Route } from '../../server/http/route.ts';
import { route } from '../../server/http/route.ts';
import { canonicalJson } from '../../server/matrix/canonical-json.ts';
import type { ServerName } from '../../server/matrix/identifiers.ts';
import type { JsonValue } from '../../server/matrix/json.ts';
import { signText } from '../../server/matrix/signing.ts';
import { silentLogger } from '../../server/util/log.ts';
import { ClientGoneError } from '../../server/http/body.ts';
import { ask, refusal, serve } from '../http/harness.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { DAY, HOME, type House, newKey, openHouse, type Peer, serverName } from './key-ring-kit.ts';

const PATH = '/_matrix/federation/v1/test/a%2Fb?x=1&y=%C3%A4';

const echo: readonly Route[] = ['GET' as const, 'PUT' as const].map((method) =>
  route({ method, path: '/_matrix/federation/v1/test/:what', auth: 'server', handle: ({ origin }) => ({ origin }) }),
);

/** A house with one route that tells whom it takes a request to be from. */
async function open(
  t: TestContext,
  options: Partial<AuthenticatorNeeds> & { routes?: readonly Route[] } = {},
): Promise<House & { origin: string; heard: ServerName[] }> {
  const house = openHouse(t);
  const heard: ServerName[] = [];
  const { routes = echo, ...needs } = options;
  const { origin } = await serve(t, routes, {
    federationAuthenticator: createFederationAuthenticator({
      serverName: HOME,
      keyRing: house.keys.keyRing,
      clock: house.clock,
      log: silentLogger,
      settings: { allowedServers: undefined },
      destinations: { succeeded: (server) => void heard.push(server) },
      ...needs,
    }),
  });
  return { ...house, origin, heard };
}

interface Signing {
  readonly method?: string;
  readonly uri?: string;
  readonly destination?: ServerName;
  readonly content?: JsonValue;
}

function signatureOf(peer: Peer, { method = 'GET', uri = PATH, destination = HOME, content }: Signing = {}): string {
  return signText(requestText({ method, uri, origin: peer.name, destination, content }), peer.key);
}

function headerOf(peer: Peer, { method = 'GET', uri = PATH, destination = HOME, content }: Signing = {}): string {
  const contentText = content === undefined ? undefined : bodyText(content);
  return signRequest({ method, uri, origin: peer.name, destination, contentText }, peer.key);
}

test('a request is known by the signature of the server that made it', async (t) => {
  const house = await open(t);
  const away = await house.peer('away.test');
  const authorization = headerOf(away);
  assert.deepEqual((await ask(`${house.origin}${PATH}`, { headers: { authorization } })).body, { origin: 'away.test' });

  const content = { b: [1, 'ü', null], a: { z: true } };
  const sent = await ask(`${house.origin}${PATH}`, {
    method: 'PUT',
    body: JSON.stringify(content, undefined, 2),
    headers: { authorization: headerOf(away, { method: 'PUT', content }) },
  });
  assert.deepEqual(sent.body, { origin: 'away.test' });
  assert.deepEqual(house.heard, ['away.test', 'away.test'], 'it was noted that the server is alive');
  assert.equal(away.requests.length, 1);
});

test('every way of writing the header is understood', async (t) => {
  const house = await open(t);
  const away = await house.peer('away.test:8448');
  const sig = signatureOf(away);
  const { keyId } = away.key;
  const forms = [
    `X-Matrix origin="away.test:8448",destination="hearth.test",key="${keyId}",sig="${sig}"`,
    `X-Matrix origin=away.test:8448,destination=hearth.test,key=${keyId},sig="${sig}"`,
    `x-matrix  sig="${sig}" ,\t key="${keyId}", ORIGIN="away.test:8448" , Destination="hearth.test"`,
    `X-Matrix origin="\\away.test:8448",destination="hearth\\.test",key="${keyId}",sig="${sig}"`,
    `X-Matrix origin=away.test:8448,key="${keyId}",sig="${sig}"`,
    `X-Matrix origin="away.test:8448",destination="hearth.test",key="${keyId}",sig="${sig}",extra="a,b=c"`,
  ];
  for (const authorization of forms) {
    const { status, body } = await ask(`${house.origin}${PATH}`, { headers: { authorization } });
    assert.deepEqual([status, body], [200, { origin: 'away.test:8448' }], authorization);
  }
});

test('a request without a good signature is refused, for whatever reason', async (t) => {
  const house = await open(t);
  const away = await house.peer('away.test');
  const gone = await house.peer('gone.test');
  house.lose(gone);
  const good = headerOf(away);
  const sig = signatureOf(away);
  const impostor = Object.assign(Object.create(Object.getPrototypeOf(away)) as Peer, away, { keys: [newKey('one')] });
  const refused: Record<
    string,
    [header: string | undefined, status: number, method?: string, path?: string, body?: string]
  > = {
    'no header': [undefined, 401],
    'another scheme': ['Bearer something', 401],
    'nothing but the scheme': ['X-Matrix', 400],
    'no origin': [`X-Matrix key="ed25519:one",sig="${sig}"`, 400],
    'no key': [`X-Matrix origin="away.test",sig="${sig}"`, 400],
    'no signature': ['X-Matrix origin="away.test",key="ed25519:one"', 400],
    'an origin that is none': [`X-Matrix origin="away test",key="ed25519:one",sig="${sig}"`, 400],
    'an open quotation': [`X-Matrix origin="away.test,key="ed25519:one",sig="${sig}"`, 400],
    'a key of another algorithm': [`X-Matrix origin="away.test",key="rsa:one",sig="${sig}"`, 400],
    'another server’s key': [headerOf(impostor), 401],
    'a key that is not known': [good.replace('ed25519:one', 'ed25519:two'), 401],
    'a signature that is none': [good.replace(sig, 'none!'), 401],
    'a server that cannot be reached': [headerOf(gone), 401],
    'another destination': [headerOf(away, { destination: serverName('other.test') }), 401],
    'another destination, left out of the header': [
      headerOf(away, { destination: serverName('other.test') }).replace('destination="other.test",', ''),
      401,
    ],
    'another destination in the header only': [good.replace('hearth.test', 'other.test'), 401],
    'another method': [good, 401, 'PUT'],
    'another path': [good, 401, 'GET', '/_matrix/federation/v1/test/ab?x=1&y=%C3%A4'],
    'the same path in other letters': [good, 401, 'GET', '/_matrix/federation/v1/test/a%2fb?x=1&y=%C3%A4'],
    'another query': [good, 401, 'GET', '/_matrix/federation/v1/test/a%2Fb?x=2&y=%C3%A4'],
    'a body where there was none': [headerOf(away, { method: 'PUT' }), 401, 'PUT', PATH, '{}'],
    'no body where there was one': [headerOf(away, { method: 'PUT', content: {} }), 401, 'PUT'],
    'another body': [headerOf(away, { method: 'PUT', content: { a: 1 } }), 401, 'PUT', PATH, '{"a":2}'],
    'our own name': [good.replace('away.test', HOME), 401],
    'our own key': [signRequest({ method: 'GET', uri: PATH, origin: HOME, destination: HOME }, house.key), 401],
    'an endless header': [`X-Matrix origin="${'a'.repeat(6_000)}"`, 400],
  };
  for (const [why, [header, status, method = 'GET', path = PATH, body]] of Object.entries(refused)) {
    const answer = await refusal(`${house.origin}${path}`, {
      method,
      ...(header === undefined ? {} : { headers: { authorization: header } }),
      ...(body === undefined ? {} : { body }),
    });
    assert.deepEqual(answer, [status, 'M_UNAUTHORIZED'], why);
  }
  assert.deepEqual(house.heard, []);
});

test('several headers must speak for one server, and all that were made with known keys be right', async (t) => {
  const house = await open(t);
  const away = await house.peer('away.test');
  const other = await house.peer('other.test');
  const [first] = [away.key];
  const second = newKey('two');
  away.keys = [first, second];
  const bySecond = signRequest({ method: 'GET', uri: PATH, origin: away.name, destination: HOME }, second);
  const unknown = signRequest({ method: 'GET', uri: PATH, origin: away.name, destination: HOME }, newKey('three'));
  const send = (...headers: string[]): Promise<unknown> =>
    rawStatus(
      t,
      house.origin,
      headers.map((header) => `Authorization: ${header}`),
    );

  assert.equal(await send(headerOf(away), bySecond), 200);
  assert.equal(await send('Basic abcd', headerOf(away)), 200, 'what a proxy adds is not ours');
  assert.equal(await send(unknown, headerOf(away)), 200);
  assert.equal(await send(headerOf(away), headerOf(other)), 401);
  assert.equal(await send(headerOf(away), bySecond.replace(/sig="./, 'sig="_')), 401);
  assert.equal(await send(...Array.from({ length: 11 }, () => headerOf(away))), 400);
});

test('a key the server has laid down makes no requests any more', async (t) => {
  const house = await open(t);
  const away = await house.peer('away.test');
  const old = away.key;
  const authorization = headerOf(away);
  away.keys = [newKey('two')];
  away.oldKeys = [{ key: old, expiredAt: house.clock.now() - 1 }];
  assert.deepEqual(await refusal(`${house.origin}${PATH}`, { headers: { authorization } }), [401, 'M_UNAUTHORIZED']);
  assert.equal((await ask(`${house.origin}${PATH}`, { headers: { authorization: headerOf(away) } })).status, 200);

  away.oldKeys = [];
  await house.clock.advance(2 * DAY);
  assert.deepEqual(
    await refusal(`${house.origin}${PATH}`, { headers: { authorization: headerOf(away) } }),
    [401, 'M_UNAUTHORIZED'],
    'what it says of its keys has run out, and it says the same still',
  );
  away.validUntil = house.clock.now() + DAY;
  house.keys.reopen();
  assert.equal((await ask(`${house.origin}${PATH}`, { headers: { authorization: headerOf(away) } })).status, 200);
});

test('where only some servers are dealt with, the others are told so', async (t) => {
  const house = await open(t, { settings: { allowedServers: [serverName('friend.test')] } });
  const friend = await house.peer('friend.test');
  const away = await house.peer('away.test');
  const get = (peer: Peer): Promise<unknown> =>
    refusal(`${house.origin}${PATH}`, { headers: { authorization: headerOf(peer) } });
  assert.deepEqual(await get(friend), [200, undefined]);
  assert.deepEqual(await get(away), [403, 'M_FORBIDDEN']);
  assert.deepEqual(away.requests, [], 'its keys were of no interest');
});

test('a body with numbers that no event may have is still known by its signature', async (t) => {
  const house = await open(t);
  const away = await house.peer('away.test');
  const put = async (body: string, signed: string): Promise<number> => {
    const head = { method: 'PUT', uri: PATH, origin: away.name, destination: HOME };
    const text = canonicalJson({ ...head, content: 'CONTENT' }).replace('"CONTENT"', signed);
    const authorization = `X-Matrix origin="away.test",destination="hearth.test",key="${away.key.keyId}",sig="${signText(text, away.key)}"`;
    return (await ask(`${house.origin}${PATH}`, { method: 'PUT', body, headers: { authorization } })).status;
  };
  assert.equal(await put('{"a": 0.5}', '{"a":0.5}'), 200);
  assert.equal(await put('{"b": 1.0, "a": [1e-07, -0.0]}', '{"a":[1e-07,-0.0],"b":1.0}'), 200);
  assert.equal(await put('{"a": 12345678901234567890}', '{"a":12345678901234567890}'), 200);
  assert.equal(await put('{"s": "1.0 \\"2.0\\" \\\\", "a": 1.0}', '{"a":1.0,"s":"1.0 \\"2.0\\" \\\\"}'), 200);
  assert.equal(await put('{"a": 1.5}', '{"a":1.0}'), 401);
  const deep = `${'['.repeat(500)}${']'.repeat(500)}`;
  assert.equal(await put(`{"a":${deep}}`, `{"a":${deep}}`), 200, 'one absurd event must fail alone');
});

test('anybody may claim to be anybody, but not send us out for keys without end', async (t) => {
  const house = await open(t);
  const away = await house.peer('away.test');
  const known = { headers: { authorization: headerOf(away) } };
  assert.equal((await ask(`${house.origin}${PATH}`, known)).status, 200);
  const statuses = new Set<number>();
  for (let count = 0; count < 210; count += 1) {
    const authorization = headerOf(away).replace('away.test', `s${count}.test`);
    statuses.add((await ask(`${house.origin}${PATH}`, { headers: { authorization } })).status);
  }
  assert.deepEqual(statuses, new Set([401, 429]));
  assert.equal((await ask(`${house.origin}${PATH}`, known)).status, 200, 'those that are known are not concerned');
});

const SETTINGS: InboundLimitSettings = {
  windowMs: 1_000,
  sleepLimit: 100,
  sleepDelayMs: 500,
  rejectLimit: 3,
  concurrent: 2,
};

/** A house whose requests take until the test lets them go. */
async function openSlow(
  t: TestContext,
  settings: Partial<InboundLimitSettings>,
): Promise<{
  away: Peer;
  house: House;
  working: () => number;
  letGo: () => void;
  send: (peer: Peer, options?: { signal?: AbortSignal; path?: string; method?: 'GET' | 'PUT' }) => Promise<number>;
}> {
  const held: PromiseWithResolvers<void>[] = [];
  const slow = ['/_matrix/federation/v1/slow', '/_matrix/federation/v1/send/:txn'].map((path, index) =>
    route({
      method: index === 0 ? 'GET' : 'PUT',
      path,
      auth: 'server',
      handle: async () => {
        const gate = Promise.withResolvers<void>();
        held.push(gate);
        await gate.promise;
        return {};
      },
    }),
  );
  const base = openHouse(t);
  const inboundLimit = new InboundLimit({ clock: base.clock, settings: { ...SETTINGS, ...settings } });
  const { origin } = await serve(t, slow, {
    federationAuthenticator: createFederationAuthenticator({
      serverName: HOME,
      keyRing: base.keys.keyRing,
      clock: base.clock,
      log: silentLogger,
      settings: { allowedServers: undefined },
      inboundLimit,
    }),
  });
  const away = await base.peer('away.test');
  await base.keys.keyRing.checkEvent(away.event());
  return {
    away,
    house: base,
    working: () => held.length,
    letGo: () => held.shift()?.resolve(),
    send: async (peer, { signal, path = '/_matrix/federation/v1/slow', method = 'GET' } = {}) => {
      const authorization = headerOf(peer, { uri: path, method });
      const response = await fetch(`${origin}${path}`, {
        method,
        headers: { authorization },
        ...(signal === undefined ? {} : { signal }),
      });
      await response.arrayBuffer();
      return response.status;
    },
  };
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

test('of one server only so many requests are worked on at once, and beyond those that wait all are refused', async (t) => {
  const { away, house, working, letGo, send } = await openSlow(t, {});
  const sent = [send(away), send(away), send(away), send(away), send(away)];
  await until(() => working() === 2);
  const sixth = send(away);
  assert.equal(await Promise.race([sixth, ...sent]), 429);
  assert.equal(working(), 2);

  const other = await house.peer('other.test');
  const elsewhere = send(other);
  await until(() => working() === 3);
  for (let count = 0; count < 6; count += 1) {
    await until(() => working() > 0);
    letGo();
  }
  assert.deepEqual((await Promise.all([...sent, sixth, elsewhere])).sort(), [200, 200, 200, 200, 200, 200, 429]);
});

test('a transaction is never kept waiting by other requests', async (t) => {
  const { away, working, letGo, send } = await openSlow(t, { concurrent: 1 });
  const first = send(away);
  await until(() => working() === 1);
  const transaction = send(away, { path: '/_matrix/federation/v1/send/1', method: 'PUT' });
  await until(() => working() === 2);
  letGo();
  letGo();
  assert.deepEqual(await Promise.all([first, transaction]), [200, 200]);
});

test('a server that asks too often is slowed down', async (t) => {
  const { away, house, working, letGo, send } = await openSlow(t, { sleepLimit: 2, concurrent: 10, rejectLimit: 50 });
  const sent = [send(away), send(away), send(away)];
  await until(() => working() === 2);
  while (house.clock.pending === 0) await new Promise((resolve) => setImmediate(resolve));
  await house.clock.advance(499);
  assert.equal(working(), 2);
  await house.clock.advance(1);
  await until(() => working() === 3);
  for (let count = 0; count < 3; count += 1) letGo();
  assert.deepEqual(await Promise.all(sent), [200, 200, 200]);

  await house.clock.advance(1_000);
  const later = send(away);
  await until(() => working() === 1);
  letGo();
  assert.equal(await later, 200, 'a new window has begun');
});

test('a request that is given up while it waits makes room for the next, and one given up at work does too', async () => {
  const limit = new InboundLimit({
    clock: new ManualClock(),
    settings: { ...SETTINGS, concurrent: 1, rejectLimit: 1, sleepLimit: 2 },
  });
  const away = serverName('away.test');
  const begin = (): { admitted: Promise<void>; finish: () => void } => {
    let finish = (): void => {};
    const onFinished = (callback: () => void): void => void (finish = callback);
    const admitted = limit.admit(away, { method: 'GET', uri: '/', onFinished });
    return { admitted, finish: () => finish() };
  };
  const working = begin();
  await working.admitted;
  const waiting = begin();
  await assert.rejects(begin().admitted, { errcode: 'M_LIMIT_EXCEEDED' });
  waiting.finish();
  await assert.rejects(waiting.admitted, ClientGoneError);

  const sleeping = begin();
  await assert.rejects(begin().admitted, { errcode: 'M_LIMIT_EXCEEDED' });
  sleeping.finish();
  await assert.rejects(sleeping.admitted, ClientGoneError);

  await limit.admit(serverName('other.test'), { method: 'GET', uri: '/', onFinished: () => {} });
  const left = limit.admit(away, { method: 'GET', uri: '/', onFinished: (callback) => callback() });
  await assert.rejects(left, ClientGoneError);
});

/** The status of a GET request with these header lines, which fetch would join into one. */
async function rawStatus(t: TestContext, origin: string, lines: readonly string[]): Promise<number> {
  const { connect } = await import('node:net');
  const { port } = new URL(origin);
  const socket = connect(Number(port), '127.0.0.1');
  t.after(() => socket.destroy());
  socket.write(`GET ${PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${lines.join('\r\n')}\r\n\r\n`);
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  return Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]);
}
