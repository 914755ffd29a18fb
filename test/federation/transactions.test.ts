import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type TestContext, test } from 'node:test';
import { FederationError } from '../../server/federation/errors.ts';
import { queryRoutes } from '../../server/federation/queries.ts';
import { transactionRoutes } from '../../server/federation/transactions.ts';
import type { EduHandler, PduTaker, QueryHandler } from '../../server/federation/types.ts';
import { forbidden, MatrixError, notFound } from '../../server/matrix/errors.ts';
import { isServerName, type ServerName } from '../../server/matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../server/matrix/json.ts';
import type { Clock } from '../../server/util/clock.ts';
import { silentLogger } from '../../server/util/log.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { ask, serve } from '../http/harness.ts';
import { AWAY, event, FAR, HOME, KITCHEN, nameOf, names, outgoing, until } from './sender-kit.ts';

type Handle = EduHandler['accept'];

interface ReceiverOptions {
  readonly taker?: PduTaker['receive'];
  readonly edus?: Readonly<Record<string, Handle>>;
  readonly queries?: Readonly<Record<string, QueryHandler>>;
  readonly clock?: Clock;
  /** Rejects while the disk takes nothing. */
  readonly committed?: () => Promise<void>;
}

/** A server that takes transactions; whoever names themselves in the Authorization header is believed. */
async function receiver(t: TestContext, options: ReceiverOptions = {}) {
  const taken: { origin: ServerName; pdus: readonly JsonValue[] }[] = [];
  const alive: ServerName[] = [];
  const pdus: PduTaker = {
    receive: async (origin, list) => {
      taken.push({ origin, pdus: list });
      if (options.taker !== undefined) return options.taker(origin, list);
      return Object.fromEntries(list.map((pdu) => [`$${nameOf(pdu)}`, {}]));
    },
  };
  const routes = [
    ...transactionRoutes({
      db: { committed: options.committed ?? (async () => {}) },
      clock: options.clock ?? new ManualClock(),
      log: silentLogger,
      pdus,
      edus: new Map(Object.entries(options.edus ?? {}).map(([type, accept]) => [type, { accept }])),
      destinations: { succeeded: (server) => void alive.push(server) },
    }),
    ...queryRoutes({ queries: new Map(Object.entries(options.queries ?? {})), version: '1.2.3' }),
  ];
  const served = await serve(t, routes, {
    federationAuthenticator: async ({ authorization: [name = ''] }) => {
      if (!isServerName(name)) throw new MatrixError('M_UNAUTHORIZED', 'who is that?');
      return name;
    },
  });
  const send = (body: JsonObject, { from = AWAY, id = 'one' }: { from?: ServerName; id?: string } = {}) =>
    ask(`${served.origin}/_matrix/federation/v1/send/${id}`, {
      method: 'PUT',
      headers: { authorization: from },
      body: JSON.stringify({ origin: from, origin_server_ts: 1, ...body }),
    });
  const get = (path: string, from?: ServerName) =>
    ask(`${served.origin}/_matrix/federation/v1${path}`, {
      headers: from === undefined ? {} : { authorization: from },
    });
  return { taken, alive, send, get, served };
}

function errcodeOf(body: unknown): unknown {
  return isJsonObject(body) ? body['errcode'] : undefined;
}

test('events go to their taker, EDUs to those who know them, and the answer tells of each event', async (t) => {
  const edus: unknown[] = [];
  const { taken, alive, send } = await receiver(t, {
    taker: async () => ({ $a: {}, $b: { error: 'not in this room' } }),
    edus: { 'm.typing': (origin, content) => void edus.push([origin, content]) },
  });
  const { status, body } = await send({
    pdus: [{ id: 'a' }, { id: 'b' }],
    edus: [
      { edu_type: 'm.typing', content: { room_id: KITCHEN } },
      { edu_type: 'org.example.unknown', content: {} },
      { edu_type: 'm.typing' },
      { edu_type: 7, content: {} },
      'nonsense',
    ],
  });
  assert.equal(status, 200);
  assert.deepEqual(body, { pdus: { $a: {}, $b: { error: 'not in this room' } } });
  assert.deepEqual(taken, [{ origin: AWAY, pdus: [{ id: 'a' }, { id: 'b' }] }]);
  assert.deepEqual(edus, [[AWAY, { room_id: KITCHEN }]]);
  assert.deepEqual(alive, [AWAY]);
});

test('a repeated transaction is answered from memory, also while the first is worked on', async (t) => {
  const gate = Promise.withResolvers<void>();
  let edus = 0;
  const { taken, send } = await receiver(t, {
    taker: async () => {
      await gate.promise;
      return { $a: {} };
    },
    edus: { 'm.test': () => void (edus += 1) },
  });
  const body = { pdus: [{ id: 'a' }], edus: [{ edu_type: 'm.test', content: {} }] };
  const first = send(body);
  const second = send(body);
  await until(() => taken.length > 0, 'the first has begun');
  for (let turn = 0; turn < 100; turn += 1) await nextTurn();
  gate.resolve();
  const answers = [await first, await second, await send(body)];
  assert.deepEqual(
    answers.map(({ status, body: answer }) => [status, answer]),
    Array.from({ length: 3 }, () => [200, { pdus: { $a: {} } }]),
  );
  assert.equal(taken.length, 1);
  assert.equal(edus, 1);
  // The same ID means another transaction where another server gave it.
  await send(body, { from: FAR });
  assert.equal(taken.length, 2);
});

test('a transaction that failed here is taken when it is repeated', async (t) => {
  let tries = 0;
  const { send } = await receiver(t, {
    taker: async () => {
      tries += 1;
      if (tries === 1) throw new Error('out of luck');
      return { $a: {} };
    },
  });
  assert.equal((await send({ pdus: [{ id: 'a' }] })).status, 500);
  assert.deepEqual((await send({ pdus: [{ id: 'a' }] })).body, { pdus: { $a: {} } });
});

test('nothing is acknowledged, now or later, that did not reach the disk', async (t) => {
  let isFull = true;
  const { taken, send } = await receiver(t, {
    committed: async () => {
      if (isFull) throw new Error('the disk is full');
    },
  });
  assert.equal((await send({ pdus: [{ id: 'a' }] })).status, 500);
  isFull = false;
  assert.deepEqual((await send({ pdus: [{ id: 'a' }] })).body, { pdus: { $a: {} } });
  assert.equal(taken.length, 2);
});

test('a transaction with more than 50 PDUs or 100 EDUs is refused as a whole', async (t) => {
  const { taken, send } = await receiver(t);
  const many = (count: number): JsonObject[] => names(count).map((id) => ({ id }));
  for (const body of [{ pdus: many(51) }, { pdus: [], edus: many(101) }]) {
    const { status, body: answer } = await send(body, { id: `t${taken.length}` });
    assert.deepEqual([status, errcodeOf(answer)], [400, 'M_BAD_JSON']);
  }
  assert.deepEqual(taken, []);
  assert.equal((await send({ pdus: many(50), edus: many(100) })).status, 200);
  assert.equal(taken.length, 1);
});

test('fifty events of the largest size fit in, and lists that are none do not', async (t) => {
  const { taken, send } = await receiver(t);
  const large = names(50).map((id) => ({ id, body: 'x'.repeat(65_000) }));
  assert.equal((await send({ pdus: large })).status, 200);
  assert.equal(taken.length, 1);
  for (const body of [{ pdus: {} }, { pdus: [], edus: 'all' }]) {
    const { status, body: answer } = await send(body, { id: 'odd' });
    assert.deepEqual([status, errcodeOf(answer)], [400, 'M_BAD_JSON']);
  }
});

test('an EDU that is refused, fails or never ends stops nothing that comes after it', async (t) => {
  const clock = new ManualClock();
  const accepted: string[] = [];
  const { send } = await receiver(t, {
    clock,
    edus: {
      'm.refused': () => {
        throw forbidden('not yours');
      },
      'm.broken': async () => {
        throw new TypeError('a mistake');
      },
      'm.endless': () => {
        accepted.push('endless');
        return new Promise(() => {});
      },
      'm.good': () => void accepted.push('good'),
    },
  });
  const edus = ['m.refused', 'm.broken', 'm.endless', 'm.good'].map((type) => ({ edu_type: type, content: {} }));
  const answer = send({ pdus: [{ id: 'a' }], edus });
  await until(() => accepted.length === 1, 'the endless one has begun');
  await clock.advance(60_000);
  assert.deepEqual((await answer).body, { pdus: { $a: {} } });
  assert.deepEqual(accepted, ['endless', 'good']);
});

test('transactions of one server are taken in turn, those of others beside them, and not too many wait', async (t) => {
  const gate = Promise.withResolvers<void>();
  const { taken, send } = await receiver(t, {
    taker: async (origin) => {
      if (origin === AWAY) await gate.promise;
      return {};
    },
  });
  const waiting = [];
  for (const id of names(4)) waiting.push(send({ pdus: [{ id }] }, { id }));
  await until(() => taken.length === 1, 'the first has begun');
  assert.equal((await send({ pdus: [{ id: 'far' }] }, { from: FAR })).status, 200);
  assert.equal(taken.length, 2);
  await until(() => taken.length === 2, 'no other has begun');
  const results = [];
  // Whether the last of the four has arrived yet is up to the network; of ten more, most find no place.
  for (const id of names(10, 'x')) results.push(send({ pdus: [] }, { id }));
  await until(() => taken.length === 2, 'still none');
  const refused = await Promise.race(results);
  assert.deepEqual([refused.status, errcodeOf(refused.body)], [429, 'M_LIMIT_EXCEEDED']);
  gate.resolve();
  await Promise.all([...waiting, ...results]);
  const turns = taken.filter(({ origin }) => origin === AWAY).length;
  assert.ok(turns <= 4, `${turns} of them had a turn`);
});

test('whoever has not signed sends nothing', async (t) => {
  const { taken, served } = await receiver(t);
  const { status, body } = await ask(`${served.origin}/_matrix/federation/v1/send/1`, {
    method: 'PUT',
    body: JSON.stringify({ pdus: [] }),
  });
  assert.deepEqual([status, errcodeOf(body), taken.length], [401, 'M_UNAUTHORIZED', 0]);
});

test('a query goes to whoever answers its type', async (t) => {
  const { get } = await receiver(t, {
    queries: {
      profile: (origin, args) => ({ origin, ...args }),
      directory: () => {
        throw notFound('no such room');
      },
    },
  });
  assert.deepEqual((await get('/query/profile?user_id=%40ann%3Ahearth.test&field=a&field=b', AWAY)).body, {
    origin: AWAY,
    user_id: '@ann:hearth.test',
    field: 'a',
  });
  const refused = await get('/query/directory', AWAY);
  assert.deepEqual([refused.status, errcodeOf(refused.body)], [404, 'M_NOT_FOUND']);
  const unknown = await get('/query/constructor', AWAY);
  assert.deepEqual([unknown.status, errcodeOf(unknown.body)], [404, 'M_UNRECOGNIZED']);
  assert.equal((await get('/query/profile')).status, 401);
});

test('anybody may ask for the version', async (t) => {
  const { get } = await receiver(t);
  assert.deepEqual((await get('/version')).body, { server: { name: 'Hearth', version: '1.2.3' } });
});

test('what one house sends, the other takes, over a wire that loses answers', async (t) => {
  const { taken, served } = await receiver(t);
  const { peers, clock, db, sender, sendEvents } = outgoing(t);
  let requests = 0;
  peers.answers.set(AWAY, async ({ transactionId, pdus, edus }) => {
    requests += 1;
    const response = await fetch(`${served.origin}/_matrix/federation/v1/send/${transactionId}`, {
      method: 'PUT',
      headers: { authorization: HOME },
      body: JSON.stringify({ pdus: pdus.map((id) => ({ id })), edus }),
    });
    const answer: unknown = await response.json();
    // Each second answer is lost on its way back.
    if (requests % 2 === 0) throw new FederationError('unreachable', AWAY, 'the line is dead');
    if (!isJsonObject(answer)) throw new FederationError('malformed', AWAY, 'no object');
    return answer;
  });
  const sent = names(130);
  sendEvents(sent, [AWAY]);
  db.write((tx) => sender.sendPdu(tx, [AWAY], { eventId: event('last'), roomId: KITCHEN }));
  for (let tries = 0; tries < 200 && sender.listQueues().length > 0; tries += 1) await clock.advance(60_000);
  assert.deepEqual(sender.listQueues(), []);
  const arrived = taken.flatMap(({ pdus }) => pdus.map(nameOf));
  assert.deepEqual([...new Set(arrived)], [...sent, 'last'], 'each event came, the first time in its order');
});
