import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { federationPath } from '../../server/federation/path.ts';
import { createHttpServer } from '../../server/http/server.ts';
import type { RoomEvent } from '../../server/matrix/events/event.ts';
import { parsePdu } from '../../server/matrix/events/parse.ts';
import { isServerName, type UserId } from '../../server/matrix/identifiers.ts';
import { roomVersions } from '../../server/matrix/room-versions.ts';
import { eventRetrieval } from '../../server/modules/event-retrieval/index.ts';
import { silentLogger } from '../../server/util/log.ts';
import { expectError, expectOk, type Json, TestClient } from '../kit/test-client.ts';
import { idsOf, message, PeerRoom, state } from '../rooms/peer-room.ts';
import { alice, AWAY, dora, erin, FAR, fred, HOME, type House, house, member } from '../rooms/remote-kit.ts';

interface Retrieved {
  readonly home: House;
  readonly room: PeerRoom;
  /** Asks as a server does. Who is who is taken on trust here. */
  readonly as: (server: string) => TestClient;
  readonly anonymous: () => TestClient;
}

/** Alice's server, with a room of hers that has people of two others in it. */
async function resident(
  t: TestContext,
  { version = '11', isErased = () => false }: { version?: string; isErased?: (userId: UserId) => boolean } = {},
): Promise<Retrieved> {
  const room = new PeerRoom(version);
  const home = house(t, room.play, { isErased });
  await room.enter(home.rooms);
  const { events, timeline, graph, pduTexts, acls, serverVisibility } = home.rooms;
  const module = eventRetrieval({
    serverName: HOME,
    clock: home.clock,
    events,
    timeline,
    graph,
    texts: pduTexts,
    acls,
    visibility: serverVisibility,
  });
  const http = createHttpServer({
    routes: module.routes ?? [],
    listeners: [
      { port: 0, bindAddresses: ['127.0.0.1'], tls: undefined, xForwarded: false, resources: ['federation'] },
    ],
    db: home.db,
    log: silentLogger,
    clock: home.clock,
    authenticator: { authenticate: () => ({ kind: 'unknown' }) },
    federationAuthenticator: ({ authorization: [header = ''] }) => {
      const name = header.replace('Bearer ', '');
      assert(isServerName(name), name);
      return Promise.resolve(name);
    },
  });
  const { addresses } = await http.start();
  t.after(() => http.stop());
  const baseUrl = `http://127.0.0.1:${addresses[0]?.port}`;
  return {
    home,
    room,
    as: (name) => new TestClient({ baseUrl }, { token: name }),
    anonymous: () => new TestClient({ baseUrl }),
  };
}

async function accept({ home }: Retrieved, ...events: readonly RoomEvent[]): Promise<void> {
  for (const event of events) assert.equal((await home.rooms.inbox.accept(event.pdu)).kind, 'stored');
}

/** The IDs of PDUs as they came over the wire. */
function idsIn(room: PeerRoom, pdus: readonly Json[]): string[] {
  return pdus.map((pdu) => {
    const parsed = parsePdu(pdu, room.version);
    assert(parsed.ok, parsed.ok ? '' : parsed.reason);
    return parsed.event.eventId;
  });
}

const NOBODY = '$0000000000000000000000000000000000000000000';

/** Every operation, for a room and an event. */
function operations(
  roomId: string,
  eventId: string,
): { method: 'GET' | 'POST'; path: string; query?: Json; body?: Json }[] {
  return [
    { method: 'GET', path: federationPath('/v1/event', eventId) },
    { method: 'GET', path: federationPath('/v1/state', roomId), query: { event_id: eventId } },
    { method: 'GET', path: federationPath('/v1/state_ids', roomId), query: { event_id: eventId } },
    { method: 'GET', path: federationPath('/v1/event_auth', roomId, eventId) },
    { method: 'GET', path: federationPath('/v1/backfill', roomId), query: { v: eventId, limit: 5 } },
    {
      method: 'POST',
      path: federationPath('/v1/get_missing_events', roomId),
      body: { earliest_events: [], latest_events: [eventId] },
    },
    { method: 'GET', path: federationPath('/v1/timestamp_to_event', roomId), query: { ts: 0, dir: 'f' } },
  ];
}

for (const version of roomVersions.keys()) {
  test(`version ${version}: a server of the room gets events, the state before them and all that rests upon`, async (t) => {
    const retrieved = await resident(t, { version });
    const { room, as } = retrieved;
    const { roomId } = room;
    const topic = room.add(state(alice, 'm.room.topic', { topic: 'Stars' }));
    const said = room.add(message(dora, 'Hello'));
    await accept(retrieved, topic, said);

    const one = expectOk(await as(AWAY).get(federationPath('/v1/event', said.eventId)));
    assert.deepEqual(one, { origin: HOME, origin_server_ts: retrieved.home.clock.now(), pdus: [said.pdu] });

    // The state before an event does not have what it sets.
    for (const [event, hasTopic] of [
      [topic, false],
      [said, true],
    ] as const) {
      const query = { event_id: event.eventId };
      const before = room.stateBefore(event);
      assert.equal(
        before.some(({ type }) => type === 'm.room.topic'),
        hasTopic,
      );
      const answer = await as(AWAY).get(federationPath('/v1/state', roomId), query);
      assert.equal(answer.headers.get('content-type'), 'application/json');
      const { pdus, auth_chain: chain, ...more } = expectOk(answer);
      assert.deepEqual(more, {});
      assert.deepEqual(new Set(idsIn(room, pdus)), new Set(idsOf(before)));
      assert.equal(pdus.length, before.length);
      assert.deepEqual(new Set(idsIn(room, chain)), new Set(idsOf(room.authChain(before))));
      const ids = expectOk(await as(AWAY).get(federationPath('/v1/state_ids', roomId), query));
      assert.deepEqual(new Set(ids.pdu_ids), new Set(idsOf(before)));
      assert.deepEqual(new Set(ids.auth_chain_ids), new Set(idsOf(room.authChain(before))));
    }
    const { auth_chain: chain } = expectOk(await as(FAR).get(federationPath('/v1/event_auth', roomId, said.eventId)));
    assert.deepEqual(new Set(idsIn(room, chain)), new Set(idsOf(room.authChain([said]))));

    const create = room.holder('m.room.create');
    assert.deepEqual(expectOk(await as(AWAY).get(federationPath('/v1/state', roomId), { event_id: create.eventId })), {
      pdus: [],
      auth_chain: [],
    });
    assert.deepEqual(expectOk(await as(AWAY).get(federationPath('/v1/event_auth', roomId, create.eventId))), {
      auth_chain: [],
    });
  });
}

test('history is given from the newest back, up to a hundred events at a time', async (t) => {
  const retrieved = await resident(t);
  const { room, as } = retrieved;
  const said = Array.from({ length: 110 }, (_, at) => room.add(message(dora, `${at}`)));
  await accept(retrieved, ...said);
  const backfill = async (query: string): Promise<string[]> => {
    const answer = await as(FAR).get(`${federationPath('/v1/backfill', room.roomId)}?${query}`);
    const { origin, pdus } = expectOk(answer);
    assert.equal(origin, HOME);
    return idsIn(room, pdus);
  };
  const ids: string[] = idsOf(said);
  const [last = ''] = ids.slice(-1);
  assert.deepEqual(await backfill(`v=${last}&limit=3`), ids.slice(-3).toReversed());
  assert.deepEqual(await backfill(`v=${last}&limit=100000`), ids.slice(-100).toReversed());
  assert.deepEqual(await backfill(`v=${ids[5]}&v=${ids[50]}&limit=2`), [ids[50], ids[49]]);
  assert.deepEqual(await backfill(`v=${last}&limit=0`), []);
  // What is of another room, or of none, leads nowhere.
  const other = new PeerRoom('11');
  await other.enter(retrieved.home.rooms);
  assert.deepEqual(await backfill(`v=${other.latest?.eventId}&v=${NOBODY}&limit=10`), []);
});

test('what a server missed is told between what it has and what it heard of', async (t) => {
  const retrieved = await resident(t);
  const { room, as } = retrieved;
  const said = Array.from({ length: 40 }, (_, at) => room.add(message(dora, `${at}`)));
  await accept(retrieved, ...said);
  const ids: string[] = idsOf(said);
  const missing = async (body: Json): Promise<string[]> =>
    idsIn(room, expectOk(await as(FAR).post(federationPath('/v1/get_missing_events', room.roomId), body)).events);
  const ends = { earliest_events: [ids[30]], latest_events: [ids[36]] };
  assert.deepEqual(await missing(ends), ids.slice(31, 36));
  assert.deepEqual(await missing({ ...ends, limit: 2 }), ids.slice(34, 36));
  assert.deepEqual(await missing({ ...ends, min_depth: said[33]?.depth }), ids.slice(33, 36));
  assert.deepEqual(await missing({ ...ends, earliest_events: [] }), ids.slice(26, 36));
  assert.deepEqual(await missing({ ...ends, earliest_events: [], limit: 500 }), ids.slice(16, 36));
  assert.deepEqual(await missing({ earliest_events: [], latest_events: [NOBODY] }), []);
});

test('the event nearest to a time is named', async (t) => {
  const retrieved = await resident(t);
  const { room, as } = retrieved;
  const said = [1, 2, 3].map((at) => room.add(message(dora, `${at}`)));
  await accept(retrieved, ...said);
  const [, second, third] = said;
  assert(second && third);
  const ask = (ts: number, dir: string) =>
    as(FAR).get(federationPath('/v1/timestamp_to_event', room.roomId), { ts, dir });
  const found = { event_id: second.eventId, origin_server_ts: second.originServerTs };
  assert.deepEqual(expectOk(await ask(second.originServerTs, 'f')), found);
  assert.deepEqual(expectOk(await ask(third.originServerTs - 1, 'b')), found);
  expectError(await ask(third.originServerTs + 1, 'f'), 404, 'M_NOT_FOUND');
  expectError(await ask(-1, 'b'), 404, 'M_NOT_FOUND');
  expectError(await ask(0, 'x'), 400, 'M_INVALID_PARAM');
});

test('who is not in the room, or is kept out of it, gets nothing', async (t) => {
  const retrieved = await resident(t);
  const { room, as, anonymous } = retrieved;
  const before = room.add(message(dora, 'before'));
  await accept(retrieved, before);
  for (const { method, path, ...options } of operations(room.roomId, before.eventId)) {
    expectError(await as('stranger.test').request(method, path, options), 403, 'M_FORBIDDEN');
    expectOk(await as(AWAY).request(method, path, options));
  }
  // Dora was all there was of her server.
  await accept(retrieved, room.add(member(dora, 'leave')));
  await accept(retrieved, room.add(state(alice, 'm.room.server_acl', { allow: ['*'], deny: ['far.*'] })));
  for (const { method, path, ...options } of operations(room.roomId, before.eventId)) {
    expectError(await as(AWAY).request(method, path, options), 403, 'M_FORBIDDEN');
    expectError(await as(FAR).request(method, path, options), 403, 'M_FORBIDDEN');
    expectError(await anonymous().request(method, path, options), 401, 'M_UNAUTHORIZED');
  }
});

test('what is not known is not found, and what makes no sense is refused', async (t) => {
  const retrieved = await resident(t);
  const { room, as, home } = retrieved;
  const other = new PeerRoom('11');
  const elsewhere = other.add(message(dora, 'elsewhere'));
  const said = room.add(message(dora, 'said'));
  await accept(retrieved, said);
  const { roomId } = room;
  for (const { method, path, ...options } of operations(other.roomId, elsewhere.eventId)) {
    expectError(await as(AWAY).request(method, path, options), 404, 'M_NOT_FOUND');
  }
  for (const eventId of [elsewhere.eventId, NOBODY]) {
    for (const { method, path, ...options } of operations(roomId, eventId).slice(0, 4)) {
      expectError(await as(AWAY).request(method, path, options), 404, 'M_NOT_FOUND');
    }
  }
  // Of events outside the graph the state is not known, but they are given if they are asked for.
  const stray = room.add(state(alice, 'm.room.topic', { topic: 'stray' }));
  await home.outliers.accept({ roomId, version: room.version }, [stray.pdu]);
  expectOk(await as(AWAY).get(federationPath('/v1/event', stray.eventId)));
  for (const operation of ['/v1/state', '/v1/state_ids'] as const) {
    const path = federationPath(operation, roomId);
    expectError(await as(AWAY).get(path, { event_id: stray.eventId }), 404, 'M_NOT_FOUND');
    expectError(await as(AWAY).get(path), 400, 'M_MISSING_PARAM');
    expectError(await as(AWAY).get(path, { event_id: 'x' }), 400, 'M_INVALID_PARAM');
    expectError(
      await as(AWAY).get(federationPath(operation, 'notaroom'), { event_id: said.eventId }),
      400,
      'M_INVALID_PARAM',
    );
  }
  const backfill = federationPath('/v1/backfill', roomId);
  expectError(await as(AWAY).get(backfill, { limit: 1 }), 400, 'M_MISSING_PARAM');
  expectError(await as(AWAY).get(backfill, { v: said.eventId }), 400, 'M_MISSING_PARAM');
  expectError(await as(AWAY).get(backfill, { v: said.eventId, limit: -1 }), 400, 'M_INVALID_PARAM');
  expectError(await as(AWAY).get(backfill, { v: 'x', limit: 1 }), 400, 'M_INVALID_PARAM');
  expectError(await as(AWAY).get(`${backfill}?limit=1&${`v=${said.eventId}&`.repeat(101)}`), 400, 'M_INVALID_PARAM');
  const missing = federationPath('/v1/get_missing_events', roomId);
  expectError(await as(AWAY).post(missing, { earliest_events: 1 }), 400, 'M_BAD_JSON');
  expectError(await as(AWAY).post(missing, { earliest_events: [], latest_events: ['x'] }), 400, 'M_BAD_JSON');
  expectError(await as(AWAY).post(missing, { earliest_events: {}, latest_events: [] }), 400, 'M_BAD_JSON');
  expectError(await as(AWAY).post(missing, { earliest_events: [], latest_events: [], limit: -1 }), 400, 'M_BAD_JSON');
});

test('rejected events are given to nobody, soft-failed ones to who asks for them', async (t) => {
  const retrieved = await resident(t);
  const { room, as } = retrieved;
  const first = room.add(message(fred, 'first'));
  const ban = room.add(member(fred, 'ban', alice));
  const late = room.add(message(fred, 'late'), { after: [first] });
  const wrong = room.add(message(erin, 'wrong'), { after: [ban] });
  await accept(retrieved, first, ban, late, wrong);
  for (const { method, path, ...options } of operations(room.roomId, wrong.eventId).slice(0, 4)) {
    expectError(await as(AWAY).request(method, path, options), 404, 'M_NOT_FOUND');
  }
  const { pdus } = expectOk(await as(AWAY).get(federationPath('/v1/event', late.eventId)));
  assert.deepEqual(pdus, [late.pdu]);
});

test('what a server may not see it gets redacted, but the state whole', async (t) => {
  const erased = new Set<UserId>();
  const retrieved = await resident(t, { isErased: (userId) => erased.has(userId) });
  const { room, as } = retrieved;
  const { roomId } = room;
  const leave = room.add(member(fred, 'leave'));
  const hidden = room.add(state(alice, 'm.room.history_visibility', { history_visibility: 'joined' }));
  const topic = room.add(state(alice, 'm.room.topic', { topic: 'secret' }));
  const secret = room.add(message(alice, 'secret'));
  const join = room.add(member(fred, 'join'));
  const open = room.add(message(alice, 'open'));
  await accept(retrieved, leave, hidden, topic, secret, join, open);
  const later = as(FAR);
  const contentOf = async (event: RoomEvent, client = later): Promise<Json> =>
    expectOk(await client.get(federationPath('/v1/event', event.eventId))).pdus[0].content;
  assert.deepEqual(await contentOf(secret), {});
  assert.deepEqual(await contentOf(open), open.content);
  assert.deepEqual(await contentOf(secret, as(AWAY)), secret.content);
  const { pdus } = expectOk(await later.get(federationPath('/v1/backfill', roomId), { v: open.eventId, limit: 3 }));
  assert.deepEqual(
    pdus.map(({ content }: Json) => content),
    [open.content, join.content, {}],
  );
  const { events } = expectOk(
    await later.post(federationPath('/v1/get_missing_events', roomId), {
      earliest_events: [topic.eventId],
      latest_events: [join.eventId],
    }),
  );
  assert.deepEqual(
    events.map(({ content }: Json) => content),
    [{}],
  );
  const whole = expectOk(await later.get(federationPath('/v1/state', roomId), { event_id: open.eventId }));
  assert.deepEqual(whole.pdus.find(({ type }: Json) => type === 'm.room.topic').content, topic.content);

  // What somebody said who was erased is not given again to anybody.
  erased.add(alice);
  assert.deepEqual(await contentOf(open), {});
  assert.deepEqual(await contentOf(secret, as(AWAY)), {});
});

test('a large state comes whole while others are answered', async (t) => {
  const retrieved = await resident(t);
  const { room, as } = retrieved;
  for (let at = 0; at < 600; at += 1) {
    await accept(retrieved, room.add(state(alice, 'test.lamp', { colour: 'red'.repeat(100) }, `${at}`)));
  }
  const said = room.add(message(dora, 'x'));
  await accept(retrieved, said);
  const path = federationPath('/v1/state', room.roomId);
  const [whole, one] = await Promise.all([
    as(AWAY).get(path, { event_id: said.eventId }),
    as(AWAY).get(federationPath('/v1/event', said.eventId)),
  ]);
  expectOk(one);
  const { pdus, auth_chain: chain } = expectOk(whole);
  const before = room.stateBefore(said);
  assert.deepEqual(new Set(idsIn(room, pdus)), new Set(idsOf(before)));
  assert.deepEqual(new Set(idsIn(room, chain)), new Set(idsOf(room.authChain(before))));
});
