import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { idsOf, inRoom, inRoomV1, invite, join, leave, roomsHouse } from './room-events-harness.ts';

const worldReadable = {
  initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'world_readable' } }],
};

async function sendMany(client: TestClient, roomId: string, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 1; n <= count; n += 1) ids.push(await client.send(roomId, `${n}`));
  return ids;
}

async function messages(client: TestClient, roomId: string, query: Json = {}): Promise<Json> {
  return expectOk(await client.get(inRoom(roomId, 'messages'), { dir: 'b', ...query }));
}

/** Every page from one end to the other. */
async function readAll(client: TestClient, roomId: string, query: Json = {}): Promise<Json[]> {
  const all: Json[] = [];
  let from: string | undefined;
  do {
    const page: Json = await messages(client, roomId, { ...query, ...(from === undefined ? {} : { from }) });
    all.push(...page.chunk);
    from = page.end;
  } while (from !== undefined);
  return all;
}

test('history is read page by page, from either end, and nothing comes twice or is left out', async (t) => {
  const house = await roomsHouse(t);
  const alice = house.person('alice');
  const roomId = await alice.createRoom();
  const sent = await sendMany(alice, roomId, 23);
  const back = await readAll(alice, roomId, { limit: 5 });
  assert.deepEqual(idsOf(back.slice(0, 23)), sent.toReversed());
  assert.equal(back.at(-1).type, 'm.room.create');
  const forward = await readAll(alice, roomId, { limit: 7, dir: 'f' });
  assert.deepEqual(idsOf(forward), idsOf(back).toReversed());

  const { chunk, start } = await messages(alice, roomId);
  assert.equal(chunk.length, 10, 'ten, unless asked for more');
  // What came first is where one can turn round.
  await alice.send(roomId, 'news');
  const news = await messages(alice, roomId, { dir: 'f', from: start });
  assert.deepEqual(
    news.chunk.map((event: Json) => event.content.body),
    ['news'],
  );
});

test('a client goes on where its sync began, and stops where it says', async (t) => {
  const house = await roomsHouse(t);
  const alice = house.person('alice');
  const roomId = await alice.createRoom();
  const sent = await sendMany(alice, roomId, 8);
  const synced = await alice.sync({ filter: { room: { timeline: { limit: 3 } } } });
  const { prev_batch: from, events } = synced.rooms.join[roomId].timeline;
  assert.deepEqual(idsOf(events), sent.slice(5));
  const page = await messages(alice, roomId, { from, limit: 2 });
  assert.equal(page.start, from);
  assert.deepEqual(idsOf(page.chunk), [sent[4], sent[3]]);
  const rest = await messages(alice, roomId, { from, to: page.end, limit: 50 });
  assert.deepEqual(idsOf(rest.chunk), [sent[4], sent[3]]);
  const all = await messages(alice, roomId, { from: synced.next_batch, limit: 50 });
  assert.deepEqual(idsOf(all.chunk.slice(0, 8)), sent.toReversed());
  assert.ok(all.end !== undefined, 'a page with events says where the next one begins');
  const none = await messages(alice, roomId, { from: all.end });
  assert.deepEqual([none.chunk, none.end], [[], undefined], 'and an empty one that there is none');
});

test('requests for history that make no sense are refused', async (t) => {
  const house = await roomsHouse(t);
  const [alice, carol] = [house.person('alice'), house.person('carol')];
  const roomId = await alice.createRoom();
  const ask = (query: Json, who = alice) => who.get(inRoom(roomId, 'messages'), query);
  expectError(await ask({}), 400, 'M_MISSING_PARAM');
  expectError(await ask({ dir: 'x' }), 400, 'M_INVALID_PARAM');
  expectError(await ask({ dir: 'b', from: 'nonsense' }), 400, 'M_INVALID_PARAM');
  expectError(await ask({ dir: 'b', limit: -1 }), 400, 'M_INVALID_PARAM');
  expectError(await ask({ dir: 'b', limit: 'all' }), 400, 'M_INVALID_PARAM');
  expectError(await ask({ dir: 'b', filter: '{' }), 400, 'M_NOT_JSON');
  expectError(await ask({ dir: 'b', filter: '{"types":"m.room.message"}' }), 400, 'M_BAD_JSON');
  expectError(await ask({ dir: 'b' }, carol), 403, 'M_FORBIDDEN');
  expectError(await carol.get(inRoom('!nowhere:hearth.test', 'messages'), { dir: 'b' }), 403, 'M_FORBIDDEN');
  assert.deepEqual((await messages(alice, roomId, { limit: 0 })).chunk, []);
});

test('a filter narrows the history, and pages are filled up all the same', async (t) => {
  const house = await roomsHouse(t);
  const [alice, bob] = [house.person('alice'), house.person('bob')];
  const roomId = await alice.createRoom();
  await join(bob, roomId, 'Bob');
  const his: string[] = [];
  for (let n = 0; n < 4; n += 1) {
    await sendMany(alice, roomId, 6);
    his.push(await bob.send(roomId, `his ${n}`));
  }
  const filter = (definition: Json) => ({ filter: JSON.stringify(definition) });
  const ofBob = { senders: [bob.userId], types: ['m.room.mess*'] };
  assert.deepEqual(idsOf((await messages(alice, roomId, { limit: 3, ...filter(ofBob) })).chunk), [
    his[3],
    his[2],
    his[1],
  ]);
  assert.deepEqual((await messages(alice, roomId, filter({ not_rooms: [roomId] }))).chunk, []);
  assert.deepEqual((await messages(alice, roomId, filter({ types: [] }))).chunk, []);
  const picture = await bob.send(roomId, { msgtype: 'm.image', body: 'x', url: 'mxc://hearth.test/x' });
  assert.deepEqual(idsOf((await messages(alice, roomId, filter({ contains_url: true }))).chunk), [picture]);

  const lazy = await messages(alice, roomId, { limit: 3, ...filter({ lazy_load_members: true, ...ofBob }) });
  assert.deepEqual(
    lazy.state.map((event: Json) => [event.type, event.state_key, event.content.displayname]),
    [['m.room.member', bob.userId, 'Bob']],
  );
  assert.equal((await messages(alice, roomId)).state, undefined);
});

test('what somebody ignores is not in the history they read', async (t) => {
  const house = await roomsHouse(t);
  const [alice, bob] = [house.person('alice'), house.person('bob')];
  const roomId = await alice.createRoom();
  await join(bob, roomId);
  const noise = await bob.send(roomId, 'noise');
  expectOk(
    await alice.put(`/_matrix/client/v3/user/${alice.userId}/account_data/m.ignored_user_list`, {
      ignored_users: { [bob.userId]: {} },
    }),
  );
  const seen = await readAll(alice, roomId);
  assert.ok(!idsOf(seen).includes(noise));
  assert.ok(
    seen.some((event) => event.type === 'm.room.member' && event.sender === bob.userId),
    'but state is',
  );
  expectError(await alice.get(inRoom(roomId, 'event', noise)), 404, 'M_NOT_FOUND');
});

test('what is read keeps to the visibility of the room’s history', async (t) => {
  const house = await roomsHouse(t);
  const [alice, bob] = [house.person('alice'), house.person('bob')];
  for (const [visibility, sees] of [
    ['joined', ['after']],
    ['invited', ['between', 'after']],
    ['shared', ['before', 'between', 'after']],
  ] as const) {
    const roomId = await alice.createRoom({
      initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: visibility } }],
    });
    const before = await alice.send(roomId, 'before');
    await invite(alice, roomId, bob);
    await alice.send(roomId, 'between');
    expectError(await bob.get(inRoom(roomId, 'messages'), { dir: 'b' }), 403, 'M_FORBIDDEN');
    expectError(await bob.get(inRoom(roomId, 'event', before)), 404, 'M_NOT_FOUND');
    await join(bob, roomId);
    const after = await alice.send(roomId, 'after');
    const bodies = (await readAll(bob, roomId, { dir: 'f', limit: 2 })).map((event) => event.content.body);
    assert.deepEqual(
      bodies.filter((body) => body !== undefined),
      sees,
      visibility,
    );
    const answer = await bob.get(inRoom(roomId, 'event', before));
    if (visibility === 'shared') assert.equal(expectOk(answer).content.body, 'before');
    else expectError(answer, 404, 'M_NOT_FOUND');
    assert.equal(expectOk(await bob.get(inRoom(roomId, 'event', after))).room_id, roomId);
  }
});

test('an event is only found in its own room', async (t) => {
  const house = await roomsHouse(t);
  const alice = house.person('alice');
  const [roomId, other] = [await alice.createRoom(), await alice.createRoom()];
  const said = await alice.send(roomId, 'here');
  expectOk(await alice.get(inRoom(roomId, 'event', said)));
  expectError(await alice.get(inRoom(other, 'event', said)), 404, 'M_NOT_FOUND');
  expectError(await alice.get(inRoom(roomId, 'event', '$nothing')), 404, 'M_NOT_FOUND');
});

test('who has left sees the room as it was when they did', async (t) => {
  const house = await roomsHouse(t);
  const [alice, bob, carol] = [house.person('alice'), house.person('bob'), house.person('carol')];
  const roomId = await alice.createRoom();
  await alice.setState(roomId, 'm.room.name', { name: 'Attic' });
  await join(bob, roomId);
  const before = await alice.send(roomId, 'before');
  const left = await leave(bob, roomId);
  await alice.setState(roomId, 'm.room.name', { name: 'Cellar' });
  await join(carol, roomId);
  await sendMany(alice, roomId, 30);
  const now = (await alice.sync()).next_batch;

  for (const query of [{}, { from: now }]) {
    const { chunk } = await messages(bob, roomId, { limit: 2, ...query });
    assert.deepEqual(idsOf(chunk), [left, before]);
  }
  assert.equal((await readAll(bob, roomId, { dir: 'f', limit: 4 })).at(-1).event_id, left);
  assert.deepEqual(expectOk(await bob.get(inRoom(roomId, 'state', 'm.room.name'))), { name: 'Attic' });
  const state: Json[] = expectOk(await bob.get(inRoom(roomId, 'state')));
  assert.equal(state.find((event) => event.state_key === bob.userId)?.content.membership, 'leave');
  assert.ok(!state.some((event) => event.state_key === carol.userId));
  const members: Json[] = expectOk(await bob.get(inRoom(roomId, 'members'))).chunk;
  assert.deepEqual(new Set(members.map((event) => event.state_key)), new Set([alice.userId, bob.userId]));
  assert.equal(expectOk(await bob.get(inRoom(roomId, 'members'), { at: now })).chunk.length, 2);
  expectError(await bob.get(inRoom(roomId, 'joined_members')), 403, 'M_FORBIDDEN');

  // Being banned later on shows nothing more.
  await alice.setState(roomId, 'm.room.member', { membership: 'ban' }, bob.userId);
  assert.deepEqual(expectOk(await bob.get(inRoom(roomId, 'state', 'm.room.name'))), { name: 'Attic' });
});

test('anyone may look into a world readable room', async (t) => {
  const house = await roomsHouse(t);
  const alice = house.person('alice');
  const roomId = await alice.createRoom(worldReadable);
  const said = await alice.send(roomId, 'look');
  for (const stranger of [house.person('carol'), house.person('guest', { isGuest: true })]) {
    assert.equal(idsOf((await messages(stranger, roomId)).chunk)[0], said);
    expectOk(await stranger.get(inRoom(roomId, 'state')));
    expectOk(await stranger.get(inRoom(roomId, 'state', 'm.room.member', alice.userId)));
    expectOk(await stranger.get(inRoom(roomId, 'members')));
    expectOk(await stranger.get(inRoom(roomId, 'event', said)));
    assert.notEqual((await stranger.get(inRoom(roomId, 'joined_members'))).status, 200);
  }
});

test('members are listed by how they stand, and as they stood', async (t) => {
  const house = await roomsHouse(t, { isUserOfAppservice: (_id, user) => user === '@bob:hearth.test' });
  const [alice, bob, carol] = [house.person('alice'), house.person('bob'), house.person('carol')];
  const roomId = await alice.createRoom();
  const alone = (await alice.sync()).next_batch;
  await join(bob, roomId, 'Bob');
  await join(carol, roomId);
  const together = (await messages(alice, roomId, { limit: 1 })).end;
  await leave(carol, roomId);
  await invite(alice, roomId, house.person('dave'));

  const list = async (query: Json = {}): Promise<string[]> => {
    const { chunk } = expectOk(await alice.get(inRoom(roomId, 'members'), query));
    return chunk.map((event: Json) => `${event.state_key.slice(1, 2)} ${event.content.membership}`).sort();
  };
  assert.deepEqual(await list(), ['a join', 'b join', 'c leave', 'd invite']);
  assert.deepEqual(await list({ membership: 'join' }), ['a join', 'b join']);
  assert.deepEqual(await list({ not_membership: 'leave' }), ['a join', 'b join', 'd invite']);
  assert.deepEqual(await list({ membership: 'leave', not_membership: 'join' }), ['c leave', 'd invite']);
  assert.deepEqual(await list({ at: alone }), ['a join']);
  assert.deepEqual(await list({ at: together }), ['a join', 'b join']);
  assert.deepEqual(await list({ at: together, membership: 'leave' }), []);
  expectError(await alice.get(inRoom(roomId, 'members'), { membership: 'friend' }), 400, 'M_INVALID_PARAM');
  expectError(await alice.get(inRoom(roomId, 'members'), { at: 'then' }), 400, 'M_INVALID_PARAM');
  expectError(await house.person('eve').get(inRoom(roomId, 'members')), 403, 'M_FORBIDDEN');

  const joined = {
    [alice.userId]: { display_name: null, avatar_url: null },
    [bob.userId]: { display_name: 'Bob', avatar_url: null },
  };
  assert.deepEqual(expectOk(await bob.get(inRoom(roomId, 'joined_members'))), { joined });
  expectError(await carol.get(inRoom(roomId, 'joined_members')), 403, 'M_FORBIDDEN');
  const bridge = house.person('bridge', { appserviceId: 'irc' });
  assert.deepEqual(expectOk(await bridge.get(inRoom(roomId, 'joined_members'))), { joined });
});

test('members of a time one was not there to see are not told', async (t) => {
  const house = await roomsHouse(t);
  const [alice, bob] = [house.person('alice'), house.person('bob')];
  const roomId = await alice.createRoom({
    initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'joined' } }],
  });
  await alice.send(roomId, 'alone');
  const before = (await alice.sync()).next_batch;
  await join(bob, roomId);
  expectError(await bob.get(inRoom(roomId, 'members'), { at: before }), 403, 'M_FORBIDDEN');
  expectOk(await alice.get(inRoom(roomId, 'members'), { at: before }));
});

test('the event nearest to a time is found, of those one may see', async (t) => {
  const house = await roomsHouse(t);
  const [alice, bob] = [house.person('alice'), house.person('bob')];
  const roomId = await alice.createRoom({
    initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'joined' } }],
  });
  const start = house.clock.now();
  const sent: string[] = [];
  for (let hour = 1; hour <= 3; hour += 1) {
    house.clock.setWallClock(start + hour * 1_000);
    sent.push(await alice.send(roomId, `${hour}`));
  }
  house.clock.setWallClock(start + 10_000);
  const joined = await join(bob, roomId);

  const nearest = (client: TestClient, ts: number, dir: string) =>
    client.get(inRoomV1(roomId, 'timestamp_to_event'), { ts: start + ts, dir });
  assert.deepEqual(expectOk(await nearest(alice, 1_500, 'f')), { event_id: sent[1], origin_server_ts: start + 2_000 });
  assert.equal(expectOk(await nearest(alice, 1_500, 'b')).event_id, sent[0]);
  assert.equal(expectOk(await nearest(alice, 2_000, 'b')).event_id, sent[1]);
  assert.equal(expectOk(await nearest(bob, 1_500, 'f')).event_id, joined, 'Bob has not seen what came before');
  // What closed the curtain is the last he sees of what was before it.
  const curtain = expectOk(await bob.get(inRoom(roomId, 'state', 'm.room.history_visibility'), { format: 'event' }));
  assert.equal(expectOk(await nearest(bob, 1_500, 'b')).event_id, curtain.event_id);
  expectError(await nearest(alice, 11_000, 'f'), 404, 'M_NOT_FOUND');
  expectError(await nearest(alice, -1, 'b'), 404, 'M_NOT_FOUND');
  expectError(await nearest(house.person('eve'), 0, 'f'), 403, 'M_FORBIDDEN');
  expectError(await alice.get(inRoomV1(roomId, 'timestamp_to_event'), { ts: 1 }), 400, 'M_MISSING_PARAM');
  expectOk(
    await alice.get(`/_matrix/client/unstable/org.matrix.msc3030/rooms/${roomId}/timestamp_to_event`, {
      ts: start,
      dir: 'f',
    }),
  );
});
