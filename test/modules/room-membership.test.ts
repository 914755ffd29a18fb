import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { signingKeyFromSeed, signJson } from '../../server/matrix/signing.ts';
import { type Answer, expectError, expectOk, type Json, TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const room = (roomId: string, action: string): string =>
  `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/${action}`;

function act(
  who: TestClient,
  roomId: string,
  action: string,
  target: TestClient | string,
  reason?: string,
): Promise<Answer> {
  const userId = typeof target === 'string' ? target : target.userId;
  return who.post(room(roomId, action), { user_id: userId, ...(reason === undefined ? {} : { reason }) });
}

const tryJoin = (who: TestClient, roomIdOrAlias: string, body: Json = {}): Promise<Answer> =>
  who.post(`/_matrix/client/v3/join/${encodeURIComponent(roomIdOrAlias)}`, body);
const tryKnock = (who: TestClient, roomIdOrAlias: string, body: Json = {}): Promise<Answer> =>
  who.post(`/_matrix/client/v3/knock/${encodeURIComponent(roomIdOrAlias)}`, body);

/** The membership event's content of `of`, as somebody in the room sees it. */
async function memberSeenBy(who: TestClient, roomId: string, of: TestClient | string): Promise<Json> {
  const userId = typeof of === 'string' ? of : of.userId;
  return expectOk(await who.get(room(roomId, `state/m.room.member/${encodeURIComponent(userId)}`)));
}

async function joinedRooms(who: TestClient): Promise<string[]> {
  return expectOk(await who.get('/_matrix/client/v3/joined_rooms')).joined_rooms;
}

/** Follows somebody's sync until an answer fits; for what happens in its own time. */
async function syncUntil(who: TestClient, fits: (answer: Json) => boolean): Promise<void> {
  let since: string | undefined;
  for (;;) {
    const answer = await who.sync({ ...(since === undefined ? {} : { since }), timeout: 20_000 });
    if (fits(answer)) return;
    since = answer.next_batch;
  }
}

const hasJoined =
  (count: number) =>
  (answer: Json): boolean =>
    Object.keys(answer.rooms?.join ?? {}).length >= count;

const levels = (users: Json, others: Json = {}): Json => ({ users, ...others });

function restrictedTo(roomIds: readonly string[], rule = 'restricted'): Json {
  const allow = roomIds.map((roomId) => ({ type: 'm.room_membership', room_id: roomId }));
  return { type: 'm.room.join_rules', state_key: '', content: { join_rule: rule, allow } };
}

async function registerAdmin(server: TestServer, username: string): Promise<TestClient> {
  const path = '/_synapse/admin/v1/register';
  const { nonce } = expectOk(await server.anonymous().get(path));
  const password = 'correct horse';
  const mac = createHmac('sha1', 'shared secret of the tests')
    .update([nonce, username, password, 'admin'].join('\0'))
    .digest('hex');
  const body = expectOk(await server.anonymous().post(path, { nonce, username, password, admin: true, mac }));
  return new TestClient(server, { token: body.access_token, userId: body.user_id, deviceId: body.device_id });
}

test('anybody may walk into a public room, by its ID or its alias, and walking in again changes nothing', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const cleo = await server.register('cleo');
  const roomId = await ann.createRoom({ preset: 'public_chat', room_alias_name: 'kitchen' });

  assert.deepEqual(expectOk(await bob.post(room(roomId, 'join'), { reason: 'hungry' })), { room_id: roomId });
  assert.deepEqual(expectOk(await tryJoin(cleo, '#kitchen:hearth.test')), { room_id: roomId });
  assert.equal((await memberSeenBy(ann, roomId, bob)).reason, 'hungry');

  const { next_batch: since } = await ann.sync();
  assert.deepEqual(expectOk(await bob.post(room(roomId, 'join'))), { room_id: roomId });
  const after = await ann.sync({ since });
  assert.equal(after.rooms?.join?.[roomId], undefined, 'nothing was said in the room');
  assert.deepEqual((await joinedRooms(cleo)).sort(), [roomId]);
});

test('a join may bring content of its own, but none that only the server may write', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom({ preset: 'public_chat' });

  expectOk(
    await tryJoin(bob, roomId, {
      foo: 'bar',
      displayname: 'Bob the Cook',
      membership: 'ban',
      join_authorised_via_users_server: ann.userId,
    }),
  );
  const { avatar_url: _avatar, ...member } = await memberSeenBy(ann, roomId, bob);
  assert.deepEqual(member, { membership: 'join', foo: 'bar', displayname: 'Bob the Cook' });

  const cleo = await server.register('cleo');
  expectError(await tryJoin(cleo, roomId, { displayname: 'x'.repeat(257) }), 400, 'M_BAD_JSON');
  expectError(await tryJoin(cleo, roomId, { reason: 7 }), 400, 'M_BAD_JSON');
  expectError(await cleo.post(room(roomId, 'join'), { reason: 7 }), 400, 'M_BAD_JSON');
});

test('rooms and aliases that nobody here knows cannot be joined, left or knocked on', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');

  expectError(await tryJoin(ann, '!nowhere:elsewhere.test'), 404, 'M_NOT_FOUND');
  expectError(await tryJoin(ann, '#nowhere:hearth.test'), 404, 'M_NOT_FOUND');
  expectError(await ann.post(room('!nowhere:hearth.test', 'join')), 404, 'M_NOT_FOUND');
  expectError(await tryKnock(ann, '!nowhere:elsewhere.test'), 404, 'M_NOT_FOUND');
  expectError(await ann.post(room('!nowhere:hearth.test', 'leave')), 404, 'M_NOT_FOUND');
  expectError(await tryJoin(ann, 'neither'), 400, 'M_INVALID_PARAM');
  expectError(await act(ann, '!nowhere:hearth.test', 'kick', '@bob:hearth.test'), 403, 'M_FORBIDDEN');
  expectError(await act(ann, '!nowhere:hearth.test', 'invite', '@bob:hearth.test'), 403, 'M_FORBIDDEN');
});

test('a private room takes an invite, which may be declined, given anew and accepted', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const cleo = await server.register('cleo');
  const roomId = await ann.createRoom({ preset: 'private_chat' });

  expectError(await tryJoin(bob, roomId), 403, 'M_FORBIDDEN');
  expectOk(await act(ann, roomId, 'invite', bob, 'come in'));
  assert.equal((await memberSeenBy(ann, roomId, bob)).reason, 'come in');
  assert.ok((await bob.sync()).rooms.invite[roomId]);
  assert.deepEqual(await joinedRooms(bob), []);

  expectOk(await bob.post(room(roomId, 'leave'), { reason: 'not now' }));
  assert.deepEqual(await memberSeenBy(ann, roomId, bob), { membership: 'leave', reason: 'not now' });
  expectError(await tryJoin(bob, roomId), 403, 'M_FORBIDDEN');
  await ann.invite(roomId, bob.userId);
  await bob.join(roomId);

  // Inviting takes being in the room, and is of no use for those who are.
  expectError(await act(cleo, roomId, 'invite', cleo), 403, 'M_FORBIDDEN');
  expectError(await act(ann, roomId, 'invite', bob), 403, 'M_FORBIDDEN');
  expectError(await act(ann, roomId, 'invite', ann), 403, 'M_FORBIDDEN');
  expectError(await ann.post(room(roomId, 'invite'), {}), 400, 'M_BAD_JSON');
  expectError(await ann.post(room(roomId, 'invite'), { user_id: 'bob' }), 400, 'M_BAD_JSON');
});

test('inviting the same user twice is one invite', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom();
  await ann.invite(roomId, bob.userId);
  const { next_batch: since } = await bob.sync();
  await ann.invite(roomId, bob.userId);
  assert.equal((await bob.sync({ since })).rooms?.invite?.[roomId], undefined);
});

test('an invite can still be declined after everybody has left the room', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom();
  await ann.invite(roomId, bob.userId);
  await ann.leave(roomId);
  await bob.leave(roomId);
  assert.equal((await bob.sync()).rooms?.invite?.[roomId], undefined);
});

test('a public room that everybody has left can be entered again', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom({ preset: 'public_chat' });
  await ann.leave(roomId);
  await bob.join(roomId);
  assert.deepEqual(await joinedRooms(bob), [roomId]);
});

test('leaving is for those who are in the room, and doing it twice is no mistake', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom({ preset: 'public_chat' });

  expectError(await bob.post(room(roomId, 'leave')), 403, 'M_FORBIDDEN');
  await bob.join(roomId);
  expectOk(await bob.post(room(roomId, 'leave'), { reason: 'dinner' }));
  const { next_batch: since } = await ann.sync();
  expectOk(await bob.post(room(roomId, 'leave'), { reason: 'really' }));
  assert.equal((await ann.sync({ since })).rooms?.join?.[roomId], undefined);
  assert.equal((await memberSeenBy(ann, roomId, bob)).reason, 'dinner');

  await bob.join(roomId);
  expectOk(await act(ann, roomId, 'kick', bob));
  expectError(await bob.post(room(roomId, 'leave')), 403, 'M_FORBIDDEN');
});

test('who is banned stays out, uninvited and unkickable, until the ban is lifted', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom({ preset: 'public_chat' });
  await bob.join(roomId);

  expectError(await act(ann, roomId, 'unban', bob), 403, 'M_BAD_STATE');
  expectOk(await act(ann, roomId, 'ban', bob, 'burnt the soup'));
  assert.deepEqual(await memberSeenBy(ann, roomId, bob), { membership: 'ban', reason: 'burnt the soup' });
  assert.deepEqual(await joinedRooms(bob), []);

  expectError(await tryJoin(bob, roomId), 403, 'M_FORBIDDEN');
  expectError(await tryKnock(bob, roomId), 403, 'M_FORBIDDEN');
  expectError(await bob.post(room(roomId, 'leave')), 403, 'M_FORBIDDEN');
  expectError(await act(ann, roomId, 'invite', bob), 403, 'M_FORBIDDEN');
  expectError(await act(ann, roomId, 'kick', bob), 403, 'M_FORBIDDEN');

  expectOk(await act(ann, roomId, 'unban', bob, 'soup was fine'));
  assert.deepEqual(await memberSeenBy(ann, roomId, bob), { membership: 'leave', reason: 'soup was fine' });
  await bob.join(roomId);
});

test('only members with the power to do so kick, and only those who are there', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const cleo = await server.register('cleo');
  const roomId = await ann.createRoom({ preset: 'public_chat' });
  await bob.join(roomId);

  expectError(await act(cleo, roomId, 'kick', bob), 403, 'M_FORBIDDEN');
  expectError(await act(bob, roomId, 'kick', ann), 403, 'M_FORBIDDEN');
  expectError(await act(bob, roomId, 'ban', ann), 403, 'M_FORBIDDEN');
  expectError(await act(ann, roomId, 'kick', '@bob:example.com'), 403, 'M_FORBIDDEN');
  expectOk(await act(ann, roomId, 'kick', bob, 'out'));
  assert.deepEqual(await memberSeenBy(ann, roomId, bob), { membership: 'leave', reason: 'out' });
  expectError(await act(ann, roomId, 'kick', bob), 403, 'M_FORBIDDEN');

  // An invite can be taken back by a kick, too.
  await ann.invite(roomId, cleo.userId);
  expectOk(await act(ann, roomId, 'kick', cleo));
  assert.equal((await cleo.sync()).rooms?.invite?.[roomId], undefined);
});

test('a room is forgotten only by those who left it', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom({ preset: 'public_chat' });
  const includeLeave = { room: { include_leave: true } };

  expectError(await ann.post(room(roomId, 'forget')), 400, 'M_UNKNOWN');
  await ann.invite(roomId, bob.userId);
  expectError(await bob.post(room(roomId, 'forget')), 400, 'M_UNKNOWN');
  await bob.join(roomId);
  await bob.leave(roomId);
  assert.ok((await bob.sync({ filter: includeLeave })).rooms.leave[roomId]);

  expectOk(await bob.post(room(roomId, 'forget')));
  expectOk(await bob.post(room(roomId, 'forget')));
  assert.equal((await bob.sync({ filter: includeLeave })).rooms?.leave?.[roomId], undefined);

  await bob.join(roomId);
  assert.ok((await bob.sync()).rooms.join[roomId], 'joining again brings it back');
});

test('where leaving means forgetting, the kicked have forgotten, too', async () => {
  await using server = await TestServer.start({ config: { forget_rooms_on_leave: true } });
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const cleo = await server.register('cleo');
  const roomId = await ann.createRoom({ preset: 'public_chat' });
  await bob.join(roomId);
  await cleo.join(roomId);
  const { next_batch: since } = await bob.sync();

  await bob.leave(roomId);
  expectOk(await act(ann, roomId, 'kick', cleo));
  assert.ok((await bob.sync({ since })).rooms.leave[roomId], 'their other clients hear of it once');
  for (const who of [bob, cleo]) {
    const synced = await who.sync({ filter: { room: { include_leave: true } } });
    assert.equal(synced.rooms?.leave?.[roomId], undefined);
  }
});

test('a knock asks for an invite and can be taken back or turned down', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const rules = { type: 'm.room.join_rules', state_key: '', content: { join_rule: 'knock' } };
  const roomId = await ann.createRoom({ initial_state: [rules], room_alias_name: 'door' });
  const closed = await ann.createRoom({ preset: 'private_chat' });

  expectError(await tryKnock(bob, closed), 403, 'M_FORBIDDEN');
  expectError(await tryKnock(ann, roomId), 403, 'M_FORBIDDEN');
  assert.deepEqual(expectOk(await tryKnock(bob, '#door:hearth.test', { reason: 'may I?' })), { room_id: roomId });
  const knock = await memberSeenBy(ann, roomId, bob);
  assert.deepEqual([knock.membership, knock.reason], ['knock', 'may I?']);
  assert.ok((await bob.sync()).rooms.knock[roomId]);
  expectError(await tryJoin(bob, roomId), 403, 'M_FORBIDDEN');

  await bob.leave(roomId);
  assert.equal((await memberSeenBy(ann, roomId, bob)).membership, 'leave');

  expectOk(await tryKnock(bob, roomId));
  expectOk(await act(ann, roomId, 'kick', bob, 'no'));
  expectOk(await tryKnock(bob, roomId));
  await ann.invite(roomId, bob.userId);
  expectError(await tryKnock(bob, roomId), 403, 'M_FORBIDDEN');
  await bob.join(roomId);
});

test('rooms of versions without knocking refuse it', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const rules = { type: 'm.room.join_rules', state_key: '', content: { join_rule: 'knock' } };
  const roomId = await ann.createRoom({ initial_state: [rules], room_version: '6' });
  expectError(await tryKnock(bob, roomId), 403, 'M_FORBIDDEN');
});

test('members of the family room may enter the rooms that are open to it', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const cleo = await server.register('cleo');
  const family = await ann.createRoom({ preset: 'public_chat' });
  const garden = await ann.createRoom({ initial_state: [restrictedTo([family])] });

  expectError(await tryJoin(bob, garden), 403, 'M_FORBIDDEN');
  await bob.join(family);
  await bob.join(garden);
  assert.equal((await memberSeenBy(ann, garden, bob)).join_authorised_via_users_server, ann.userId);

  // Invited, nobody has to vouch for Cleo.
  await ann.invite(garden, cleo.userId);
  await cleo.join(garden);
  assert.equal((await memberSeenBy(ann, garden, cleo)).join_authorised_via_users_server, undefined);

  // The condition counts when joining, not afterwards.
  await bob.leave(family);
  assert.ok((await joinedRooms(bob)).includes(garden));
  await bob.leave(garden);
  expectError(await tryJoin(bob, garden), 403, 'M_FORBIDDEN');
});

test('nobody is let into a restricted room when no member there may invite', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const family = await ann.createRoom({ preset: 'public_chat' });
  const garden = await ann.createRoom({
    room_version: '11',
    initial_state: [restrictedTo([family])],
    power_level_content_override: { invite: 101 },
  });
  await bob.join(family);
  expectError(await tryJoin(bob, garden), 400, 'M_UNABLE_TO_GRANT_JOIN');
});

test('a room may be open to another and to knocks at once, in versions that know of it', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const cleo = await server.register('cleo');
  const family = await ann.createRoom({ preset: 'public_chat' });
  await bob.join(family);
  const garden = await ann.createRoom({ initial_state: [restrictedTo([family], 'knock_restricted')] });
  await bob.join(garden);
  expectOk(await tryKnock(cleo, garden));

  const old = await ann.createRoom({ room_version: '9', initial_state: [restrictedTo([family], 'knock_restricted')] });
  expectError(await tryJoin(bob, old), 403, 'M_FORBIDDEN');
});

test('conditions that make no sense let nobody in', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const allow = [7, null, { type: 'm.room_membership' }, { type: 'other', room_id: '!a:b' }, { room_id: '!a:b' }];
  const rules = { type: 'm.room.join_rules', state_key: '', content: { join_rule: 'restricted', allow } };
  const roomId = await ann.createRoom({ initial_state: [rules] });
  expectError(await tryJoin(bob, roomId), 403, 'M_FORBIDDEN');
});

test('memberships written as state follow the same rules', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom({ preset: 'private_chat' });
  const set = (who: TestClient, of: TestClient | string, content: Json): Promise<Answer> =>
    who.put(
      room(roomId, `state/m.room.member/${encodeURIComponent(typeof of === 'string' ? of : of.userId)}`),
      content,
    );

  expectError(await set(bob, bob, { membership: 'join' }), 403, 'M_FORBIDDEN');
  expectOk(await set(ann, bob, { membership: 'invite', reason: 'please' }));
  expectError(await set(ann, bob, { membership: 'join' }), 403, 'M_FORBIDDEN');
  expectOk(await set(bob, bob, { membership: 'join', displayname: 'Bobby' }));
  assert.equal((await memberSeenBy(ann, roomId, bob)).displayname, 'Bobby');
  expectOk(await set(bob, bob, { membership: 'join', displayname: 'Robert' }));
  assert.equal((await memberSeenBy(ann, roomId, bob)).displayname, 'Robert');

  expectOk(await set(ann, bob, { membership: 'ban' }));
  expectError(await set(ann, bob, { membership: 'invite' }), 403, 'M_FORBIDDEN');
  expectOk(await set(ann, bob, { membership: 'leave' }));
  expectError(await set(ann, bob, { membership: 'leave' }), 403, 'M_FORBIDDEN');
  expectError(await set(ann, bob, { membership: 'host' }), 400, 'M_BAD_JSON');
  expectError(await set(ann, 'bob', { membership: 'invite' }), 400, 'M_BAD_JSON');
});

test('invites by address are refused where nobody may be looked up', async () => {
  await using server = await TestServer.start({ config: { enable_3pid_lookup: false } });
  const ann = await server.register('ann');
  const roomId = await ann.createRoom();
  const invite = { medium: 'email', address: 'bob@example.com' };
  expectError(await ann.post(room(roomId, 'invite'), invite), 400, 'M_MISSING_PARAM');
  expectError(
    await ann.post(room(roomId, 'invite'), { ...invite, id_server: 'id.example.com', id_access_token: 'x' }),
    403,
    'M_THREEPID_DENIED',
  );
});

test('where only administrators invite, nobody else does', async () => {
  await using server = await TestServer.start({ config: { block_non_admin_invites: true } });
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom();
  expectError(await act(ann, roomId, 'invite', bob), 403, 'M_FORBIDDEN');

  const chief = await registerAdmin(server, 'chief');
  const office = await chief.createRoom();
  expectOk(await act(chief, office, 'invite', bob));
});

test('joins and invites have their limits, and joining again costs nothing', async () => {
  const slow = { per_second: 0.001, burst_count: 2 };
  const fast = { per_second: 1_000, burst_count: 1_000 };
  await using server = await TestServer.start({
    config: {
      rc_joins: { local: slow, remote: fast },
      rc_invites: { per_room: fast, per_user: slow, per_issuer: fast },
    },
  });
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const rooms = [];
  for (let each = 0; each < 3; each += 1) rooms.push(await ann.createRoom({ preset: 'public_chat' }));
  const [first = '', second = '', third = ''] = rooms;

  await bob.join(first);
  await bob.join(second);
  expectError(await tryJoin(bob, third), 429, 'M_LIMIT_EXCEEDED');
  await bob.join(first);

  const cleo = '@cleo:hearth.test';
  expectOk(await act(ann, first, 'invite', cleo));
  expectOk(await act(ann, second, 'invite', cleo));
  const refused = expectError(await act(ann, third, 'invite', cleo), 429, 'M_LIMIT_EXCEEDED');
  assert.ok(refused.retry_after_ms > 0);
});

test('a room that is joined too often has a limit of its own', async () => {
  await using server = await TestServer.start({ config: { rc_joins_per_room: { per_second: 0.001, burst_count: 1 } } });
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const cleo = await server.register('cleo');
  const roomId = await ann.createRoom({ preset: 'public_chat' });
  await bob.join(roomId);
  expectError(await tryJoin(cleo, roomId), 429, 'M_LIMIT_EXCEEDED');
});

test('a room closed to other servers takes no invites for their users', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const roomId = await ann.createRoom({ creation_content: { 'm.federate': false } });
  expectError(await act(ann, roomId, 'invite', '@zoe:elsewhere.test'), 403, 'M_FORBIDDEN');
});

test('new users find themselves in the rooms meant for everybody, which the first of them makes', async () => {
  await using server = await TestServer.start({
    config: { auto_join_rooms: ['#hall:hearth.test', '#kitchen:hearth.test'] },
  });
  const ann = await server.register('ann');
  await syncUntil(ann, hasJoined(2));
  const bob = await server.register('bob');
  await syncUntil(bob, hasJoined(2));
  assert.deepEqual((await joinedRooms(bob)).sort(), (await joinedRooms(ann)).sort());
  for (const roomId of await joinedRooms(ann)) assert.equal((await memberSeenBy(ann, roomId, bob)).membership, 'join');
});

test('rooms meant for everybody may be private, if somebody is named who invites', async () => {
  await using server = await TestServer.start({
    config: {
      auto_join_rooms: ['#hall:hearth.test'],
      auto_join_mxid_localpart: 'butler',
      autocreate_auto_join_room_preset: 'private_chat',
    },
  });
  const butler = await server.register('butler');
  await syncUntil(butler, hasJoined(1));
  const bob = await server.register('bob');
  await syncUntil(bob, hasJoined(1));
  const [roomId = ''] = await joinedRooms(bob);
  const rules = expectOk(await butler.get(room(roomId, 'state/m.room.join_rules')));
  assert.equal(rules.join_rule, 'invite');
});

test('a room meant for everybody that is not there and not to be made is passed over', async () => {
  await using server = await TestServer.start({
    config: { auto_join_rooms: ['#missing:hearth.test', '#hall:hearth.test'], autocreate_auto_join_rooms: false },
  });
  const ann = await server.register('ann');
  const hall = await ann.createRoom({ preset: 'public_chat', room_alias_name: 'hall' });
  const bob = await server.register('bob');
  await syncUntil(bob, (answer) => answer.rooms?.join?.[hall] !== undefined);
});

test('who closes their account leaves every room and takes back what was open', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const joined = await ann.createRoom({ preset: 'public_chat' });
  const invited = await ann.createRoom();
  const knock = { type: 'm.room.join_rules', state_key: '', content: { join_rule: 'knock' } };
  const knocked = await ann.createRoom({ initial_state: [knock] });
  await bob.join(joined);
  await ann.invite(invited, bob.userId);
  expectOk(await tryKnock(bob, knocked));

  const left = new Set<string>();
  const watch = syncUntil(ann, (answer) => {
    for (const roomId of [joined, invited, knocked]) {
      const news = answer.rooms?.join?.[roomId];
      for (const event of [...(news?.state?.events ?? []), ...(news?.timeline?.events ?? [])]) {
        if (event.state_key === bob.userId && event.content.membership === 'leave') left.add(roomId);
      }
    }
    return left.size === 3;
  });
  expectOk(
    await bob.post('/_matrix/client/v3/account/deactivate', {
      auth: {
        type: 'm.login.password',
        identifier: { type: 'm.id.user', user: 'bob' },
        password: 'password of bob',
      },
    }),
  );
  await watch;
});

test('power levels decide who invites', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom({ preset: 'public_chat', power_level_content_override: { invite: 50 } });
  await bob.join(roomId);
  expectError(await act(bob, roomId, 'invite', '@cleo:hearth.test'), 403, 'M_FORBIDDEN');
  await ann.setState(roomId, 'm.room.power_levels', levels({ [bob.userId]: 50 }, { invite: 50 }));
  expectOk(await act(bob, roomId, 'invite', '@cleo:hearth.test'));
});

test('somebody invited by address joins with the proof that the invite was meant for them', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const key = signingKeyFromSeed(Buffer.alloc(32, 7), '0');
  const stranger = signingKeyFromSeed(Buffer.alloc(32, 8), '0');
  const offer = { display_name: 'b…@example.com', public_key: key.publicKeyBase64 };
  const roomId = await ann.createRoom({ preset: 'private_chat' });
  await ann.setState(roomId, 'm.room.third_party_invite', offer, 'token');
  const checked = { ...offer, key_validity_url: 'https://id.example.com/valid' };
  await ann.setState(roomId, 'm.room.third_party_invite', checked, 'checked');

  const proof = (parts: Json = {}, by = key): Json =>
    signJson({ sender: ann.userId, mxid: bob.userId, token: 'token', ...parts }, 'id.example.com', by);
  const joinWith = (signed: Json): Promise<Answer> => bob.post(room(roomId, 'join'), { third_party_signed: signed });

  expectError(await joinWith(proof({}, stranger)), 403, 'M_FORBIDDEN');
  expectError(await joinWith(proof({ mxid: ann.userId })), 403, 'M_FORBIDDEN');
  expectError(await joinWith(proof({ sender: bob.userId })), 403, 'M_FORBIDDEN');
  expectError(await joinWith(proof({ token: 'other' })), 403, 'M_FORBIDDEN');
  // Nobody can be asked whether the key still counts.
  expectError(await joinWith(proof({ token: 'checked' })), 403, 'M_FORBIDDEN');
  expectError(await joinWith({ token: 'token' }), 400, 'M_BAD_JSON');
  assert.deepEqual(expectOk(await joinWith(proof())), { room_id: roomId });
  assert.equal((await memberSeenBy(ann, roomId, bob)).membership, 'join');
});

test('a reason that is null is no reason', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom({ preset: 'public_chat' });
  expectOk(await bob.post(room(roomId, 'join'), { reason: null }));
  expectOk(await ann.post(room(roomId, 'kick'), { user_id: bob.userId, reason: null }));
  assert.deepEqual(await memberSeenBy(ann, roomId, bob), { membership: 'leave' });
});

test('who joins, knocks or is invited appears with the name of their profile', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const profile = `/_matrix/client/v3/profile/${encodeURIComponent(bob.userId)}`;
  expectOk(await bob.put(`${profile}/displayname`, { displayname: 'Bob' }));
  expectOk(await bob.put(`${profile}/avatar_url`, { avatar_url: 'mxc://hearth.test/bob' }));
  const rules = { type: 'm.room.join_rules', state_key: '', content: { join_rule: 'knock' } };
  const roomId = await ann.createRoom({ initial_state: [rules] });
  const shown = { displayname: 'Bob', avatar_url: 'mxc://hearth.test/bob' };

  expectOk(await tryKnock(bob, roomId));
  assert.deepEqual(await memberSeenBy(ann, roomId, bob), { ...shown, membership: 'knock' });
  await ann.invite(roomId, bob.userId);
  assert.deepEqual(await memberSeenBy(ann, roomId, bob), { ...shown, membership: 'invite' });
  await bob.join(roomId);
  assert.deepEqual(await memberSeenBy(ann, roomId, bob), { ...shown, membership: 'join' });
  await bob.leave(roomId);
  assert.deepEqual(await memberSeenBy(ann, roomId, bob), { membership: 'leave' });
});

test('automatic joins are made up for after a restart', async () => {
  const rooms = ['hall', 'kitchen', 'garden', 'attic', 'cellar'].map((name) => `#${name}:hearth.test`);
  await using server = await TestServer.start({ config: { auto_join_rooms: rooms } });
  const ann = await server.register('ann');
  await syncUntil(ann, hasJoined(5));
  const bob = await server.register('bob');
  // They may be under way, or not yet begun.
  await server.restart();
  await syncUntil(bob, hasJoined(5));
});
