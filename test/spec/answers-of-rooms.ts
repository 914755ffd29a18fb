import assert from 'node:assert/strict';
import { room, type Story, v1, v3 } from './answers-house.ts';

/** Rooms, who is in them, and how they are found. */
export async function rooms({ ex, alice, bob, nobody, roomId }: Story): Promise<void> {
  const nowhere = { at: { roomId: '!none:hearth.test', roomIdOrAlias: '!none:hearth.test' } };
  const bobs = { body: { user_id: bob.userId } };
  const carols = { body: { user_id: '@carol:hearth.test' } };
  const made = (await ex.ok(alice, `POST ${v3}/createRoom`, { body: { preset: 'private_chat' } }, ['room_id'])).room_id;
  await ex.no(alice, `POST ${v3}/createRoom`, { body: { room_version: 'none' } }, 400, 'M_UNSUPPORTED_ROOM_VERSION');
  const there = { at: { roomId: made, roomIdOrAlias: made } };
  await ex.no(bob, `POST ${v3}/join/:roomIdOrAlias`, there, 403, 'M_FORBIDDEN');
  await ex.no(bob, `POST ${room}/join`, there, 403, 'M_FORBIDDEN');
  await ex.no(bob, `POST ${room}/invite`, { ...there, ...carols }, 403, 'M_FORBIDDEN');
  await ex.ok(alice, `POST ${room}/invite`, { ...there, ...bobs });
  assert.equal((await ex.ok(bob, `POST ${room}/join`, there)).room_id, made);
  await ex.no(bob, `POST ${room}/kick`, { ...there, body: { user_id: alice.userId } }, 403, 'M_FORBIDDEN');
  await ex.ok(alice, `POST ${room}/kick`, { ...there, ...bobs });
  await ex.no(bob, `POST ${room}/ban`, { ...there, body: { user_id: alice.userId } }, 403, 'M_FORBIDDEN');
  await ex.ok(alice, `POST ${room}/ban`, { ...there, ...bobs });
  await ex.no(bob, `POST ${room}/unban`, { ...there, ...bobs }, 403, 'M_FORBIDDEN');
  await ex.ok(alice, `POST ${room}/unban`, { ...there, ...bobs });
  assert.equal((await ex.ok(bob, `POST ${v3}/join/:roomIdOrAlias`, {})).room_id, roomId);

  const door = await alice.createRoom({
    initial_state: [{ type: 'm.room.join_rules', state_key: '', content: { join_rule: 'knock' } }],
  });
  assert.equal((await ex.ok(bob, `POST ${v3}/knock/:roomIdOrAlias`, { at: { roomIdOrAlias: door } })).room_id, door);
  await ex.no(bob, `POST ${v3}/knock/:roomIdOrAlias`, there, 403, 'M_FORBIDDEN');
  await ex.no(alice, `POST ${room}/forget`, { at: { roomId: door } }, 400, 'M_UNKNOWN');
  await ex.no(bob, `POST ${room}/leave`, nowhere, 404, 'M_NOT_FOUND');
  await ex.ok(alice, `POST ${room}/leave`, { at: { roomId: door } });
  await ex.ok(alice, `POST ${room}/forget`, { at: { roomId: door } });
  assert.ok((await ex.ok(alice, `GET ${v3}/joined_rooms`)).joined_rooms.includes(roomId));
  await ex.no(nobody, `GET ${v3}/joined_rooms`, {}, 401, 'M_MISSING_TOKEN');
  await ex.ok(alice, `POST ${room}/upgrade`, { at: { roomId: made }, body: { new_version: '11' } }, [
    'replacement_room',
  ]);
  await ex.no(bob, `POST ${room}/upgrade`, { body: { new_version: '11' } }, 403, 'M_FORBIDDEN');

  const alias = { at: { roomAlias: '#tea:hearth.test' }, body: { room_id: roomId } };
  await ex.no(nobody, `GET ${v3}/directory/room/:roomAlias`, alias, 404, 'M_NOT_FOUND');
  await ex.ok(alice, `PUT ${v3}/directory/room/:roomAlias`, alias);
  await ex.raw(bob, `PUT ${v3}/directory/room/:roomAlias`, 409, alias);
  assert.equal((await ex.ok(nobody, `GET ${v3}/directory/room/:roomAlias`, alias, ['servers'])).room_id, roomId);
  assert.deepEqual((await ex.ok(alice, `GET ${room}/aliases`)).aliases, ['#tea:hearth.test']);
  await ex.no(bob, `GET ${room}/aliases`, there, 403, 'M_FORBIDDEN');
  await ex.no(bob, `DELETE ${v3}/directory/room/:roomAlias`, alias, 403, 'M_FORBIDDEN');
  await ex.ok(alice, `DELETE ${v3}/directory/room/:roomAlias`, alias);
  const listing = `${v3}/directory/list/room/:roomId`;
  assert.equal((await ex.ok(nobody, `GET ${listing}`)).visibility, 'private');
  await ex.no(nobody, `GET ${listing}`, nowhere, 404, 'M_NOT_FOUND');
  await ex.no(bob, `PUT ${listing}`, { body: { visibility: 'public' } }, 403, 'M_FORBIDDEN');
  await ex.ok(alice, `PUT ${listing}`, { body: { visibility: 'public' } });
  for (const method of ['GET', 'POST']) {
    const { chunk } = await ex.ok(bob, `${method} ${v3}/publicRooms`, {}, ['chunk', 'total_room_count_estimate']);
    assert.equal(chunk[0].room_id, roomId);
  }
  await ex.no(nobody, `GET ${v3}/publicRooms`, {}, 401, 'M_MISSING_TOKEN');
  await ex.no(bob, `POST ${v3}/publicRooms`, { body: { limit: 'many' } }, 400, 'M_BAD_JSON');

  const summary = await ex.ok(bob, `GET ${v1}/room_summary/:roomIdOrAlias`, {}, [
    'num_joined_members',
    'guest_can_join',
  ]);
  assert.deepEqual([summary.room_id, summary.name, summary.membership], [roomId, 'Tea', 'join']);
  await ex.no(bob, `GET ${v1}/room_summary/:roomIdOrAlias`, nowhere, 404, 'M_NOT_FOUND');
  assert.equal((await ex.ok(bob, `GET ${v1}/rooms/:roomId/hierarchy`)).rooms[0].room_id, roomId);
  await ex.no(bob, `GET ${v1}/rooms/:roomId/hierarchy`, nowhere, 403, 'M_FORBIDDEN');
  await ex.ok(alice, `GET ${v1}/mutual_rooms`, { query: { user_id: bob.userId } }, ['joined', 'count']);
  await ex.no(alice, `GET ${v1}/mutual_rooms`, { query: { user_id: alice.userId } }, 400, 'M_INVALID_PARAM');
  for (const list of ['members', 'joined_members', 'state', 'initialSync']) {
    await ex.ok(bob, `GET ${room}/${list}`);
    await ex.no(bob, `GET ${room}/${list}`, nowhere, 403, 'M_FORBIDDEN');
  }
  const found = await ex.ok(bob, `POST ${v3}/user_directory/search`, { body: { search_term: 'ali' } }, ['limited']);
  assert.equal(found.results[0].user_id, alice.userId);
  await ex.no(bob, `POST ${v3}/user_directory/search`, {}, 400, 'M_BAD_JSON');
}

/** Events, and what is said of them. */
export async function events({ ex, alice, bob, nobody, roomId }: Story): Promise<void> {
  const topic = { eventType: 'm.room.topic', stateKey: '' };
  const state = `${room}/state/:eventType/:stateKey`;
  const text = { msgtype: 'm.text', body: 'teapot' };
  const sending = { at: { eventType: 'm.room.message', txnId: 'e1' }, body: text };
  const { event_id: eventId } = await ex.ok(alice, `PUT ${room}/send/:eventType/:txnId`, sending, ['event_id']);
  const elsewhere = { ...sending, at: { ...sending.at, roomId: '!none:hearth.test' } };
  await ex.no(alice, `PUT ${room}/send/:eventType/:txnId`, elsewhere, 403, 'M_FORBIDDEN');
  ex.usually({ eventId });
  await ex.no(alice, `GET ${state}`, { at: topic }, 404, 'M_NOT_FOUND');
  await ex.no(bob, `PUT ${state}`, { at: topic, body: { topic: 'x' } }, 403, 'M_FORBIDDEN');
  await ex.ok(alice, `PUT ${state}`, { at: topic, body: { topic: 'leaves' } }, ['event_id']);
  assert.equal((await ex.ok(bob, `GET ${state}`, { at: topic })).topic, 'leaves');

  const none = { at: { eventId: '$none' } };
  for (const path of [`${room}/event/:eventId`, `${room}/context/:eventId`, `${v3}/events/:eventId`]) {
    await ex.ok(bob, `GET ${path}`);
    await ex.no(bob, `GET ${path}`, none, 404, 'M_NOT_FOUND');
  }
  const relation = { 'm.relates_to': { rel_type: 'm.thread', event_id: eventId } };
  await alice.send(roomId, { ...text, ...relation });
  const related = `${v1}/rooms/:roomId/relations/:eventId`;
  for (const path of [related, `${related}/:relType`, `${related}/:relType/:eventType`]) {
    const at = { relType: 'm.thread', eventType: 'm.room.message' };
    assert.equal((await ex.ok(bob, `GET ${path}`, { at })).chunk[0].content['m.relates_to'].rel_type, 'm.thread');
    await ex.no(bob, `GET ${path}`, { at: { ...at, ...none.at } }, 404, 'M_NOT_FOUND');
  }
  assert.equal((await ex.ok(bob, `GET ${v1}/rooms/:roomId/threads`)).chunk[0].event_id, eventId);
  await ex.no(bob, `GET ${v1}/rooms/:roomId/threads`, { query: { include: 'none' } }, 400, 'M_INVALID_PARAM');
  const nearest = `GET ${v1}/rooms/:roomId/timestamp_to_event`;
  await ex.ok(bob, nearest, { query: { ts: 0, dir: 'f' } }, ['event_id', 'origin_server_ts']);
  await ex.no(bob, nearest, { query: { ts: 0, dir: 'b' } }, 404, 'M_NOT_FOUND');
  await ex.ok(bob, `GET ${room}/messages`, { query: { dir: 'b' } }, ['chunk', 'start']);
  await ex.no(bob, `GET ${room}/messages`, { query: { dir: 'x' } }, 400, 'M_INVALID_PARAM');

  const sync = await ex.ok(bob, `GET ${v3}/sync`, {}, ['next_batch', 'rooms']);
  await ex.no(bob, `GET ${v3}/sync`, { query: { since: 'none' } }, 400, 'M_INVALID_PARAM');
  await ex.ok(bob, `GET ${v3}/initialSync`, {}, ['end', 'rooms', 'presence']);
  await ex.no(nobody, `GET ${v3}/initialSync`, {}, 401, 'M_MISSING_TOKEN');
  await ex.ok(bob, `GET ${v3}/events`, { query: { from: sync.next_batch, timeout: 0 } }, ['chunk', 'start', 'end']);
  await ex.no(bob, `GET ${v3}/events`, { query: { from: 'none', timeout: 0 } }, 400, 'M_INVALID_PARAM');

  const criteria = { search_categories: { room_events: { search_term: 'teapot' } } };
  const { search_categories: found } = await ex.ok(bob, `POST ${v3}/search`, { body: criteria }, ['search_categories']);
  assert.ok(found.room_events.count >= 1);
  await ex.no(bob, `POST ${v3}/search`, { body: { search_categories: { room_events: {} } } }, 400, 'M_BAD_JSON');
  const typing = `PUT ${room}/typing/:userId`;
  await ex.ok(alice, typing, { body: { typing: true, timeout: 1_000 } });
  await ex.no(bob, typing, { body: { typing: true, timeout: 1_000 } }, 403, 'M_FORBIDDEN');
  const receipt = `POST ${room}/receipt/:receiptType/:eventId`;
  await ex.ok(bob, receipt, { at: { receiptType: 'm.read' } });
  await ex.no(bob, receipt, { at: { receiptType: 'none' } }, 400, 'M_INVALID_PARAM');
  await ex.ok(bob, `POST ${room}/read_markers`, { body: { 'm.fully_read': eventId } });
  await ex.no(bob, `POST ${room}/read_markers`, { body: { 'm.fully_read': 7 } }, 400, 'M_BAD_JSON');

  const reason = { body: { reason: 'rude' } };
  await ex.ok(bob, `POST ${room}/report/:eventId`, { body: { ...reason.body, score: -50 } });
  await ex.no(bob, `POST ${room}/report/:eventId`, { ...none, ...reason }, 404, 'M_NOT_FOUND');
  await ex.ok(bob, `POST ${room}/report`, reason);
  await ex.no(bob, `POST ${room}/report`, { at: { roomId: '!none:hearth.test' }, ...reason }, 404, 'M_NOT_FOUND');
  await ex.ok(bob, `POST ${v3}/users/:userId/report`, reason);
  await ex.no(bob, `POST ${v3}/users/:userId/report`, { body: { reason: 7 } }, 400, 'M_BAD_JSON');
  const redaction = `PUT ${room}/redact/:eventId/:txnId`;
  await ex.no(bob, redaction, { at: { txnId: 'r1' } }, 403, 'M_FORBIDDEN');
  await ex.ok(alice, redaction, { at: { txnId: 'r1' }, body: { reason: 'cold' } }, ['event_id']);
}
