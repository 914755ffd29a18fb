import assert from 'node:assert/strict';
import { test } from 'node:test';
import { federationPath } from '../../server/federation/path.ts';
import { checkAuthRules } from '../../server/matrix/auth-rules/check.ts';
import { authStateOf } from '../../server/matrix/auth-rules/auth-state.ts';
import { parsePdu } from '../../server/matrix/events/parse.ts';
import type { RoomEvent } from '../../server/matrix/events/event.ts';
import { signPdu, verifyPduSignature } from '../../server/matrix/events/sign.ts';
import type { JsonObject } from '../../server/matrix/json.ts';
import type { EventId } from '../../server/matrix/identifiers.ts';
import { roomVersions } from '../../server/matrix/room-versions.ts';
import type { Json } from '../kit/test-client.ts';
import {
  alice,
  bob,
  draft,
  expectStatus,
  HOME,
  resident,
  userId,
  versionOf,
} from './room-membership-federation-kit.ts';

function parse(pdu: Json, version: string): RoomEvent {
  const parsed = parsePdu(pdu, versionOf(version));
  assert.ok(parsed.ok, parsed.ok ? '' : parsed.reason);
  return parsed.event;
}

for (const version of roomVersions.keys()) {
  test(`a user of another server joins a room of version ${version}`, async (t) => {
    const home = await resident(t);
    const roomId = await home.createRoom({ version });
    await home.send(roomId, draft.state(alice, 'm.room.topic', { topic: 'Soup' }));
    const dora = home.away.user('dora');

    const template = expectStatus(await home.away.make('join', roomId, dora), 200);
    assert.equal(template.room_version, version);
    const { auth_events: auth, prev_events: prev, depth, ...rest } = template.event;
    assert.ok(auth.length > 0 && prev.length === 1 && depth > 4);
    delete rest.origin_server_ts;
    assert.deepEqual(rest, {
      type: 'm.room.member',
      room_id: roomId,
      sender: dora,
      state_key: dora,
      content: { membership: 'join' },
      origin: HOME,
    });

    const join = home.away.complete(template, { content: { membership: 'join', displayname: 'Dora' } });
    const answer = expectStatus(await home.away.send('join', join), 200);
    assert.equal(home.membershipOf(roomId, dora), 'join');
    assert.deepEqual(
      home.forwarded.map(({ eventId }) => eventId),
      [join.eventId],
    );
    assert.deepEqual(answer.event, join.pdu);
    assert.equal(answer.members_omitted, false);

    // The state is the one before, and the auth chain stands on its own feet.
    const state = answer.state.map((pdu: Json) => parse(pdu, version));
    assert.deepEqual(
      state.map(({ type, stateKey }: RoomEvent) => `${type} ${stateKey}`).sort(),
      [
        'm.room.create ',
        `m.room.member ${alice}`,
        'm.room.power_levels ',
        'm.room.join_rules ',
        'm.room.topic ',
      ].sort(),
    );
    const chain: RoomEvent[] = answer.auth_chain.map((pdu: Json) => parse(pdu, version));
    const known = new Map(chain.map((event) => [event.eventId, event]));
    assert.equal(known.size, chain.length, 'each is there once');
    for (const event of [...chain, ...state, join]) {
      assert.ok(
        event.authEvents.every((id: EventId) => known.has(id)),
        `${event.type} rests on what the chain has`,
      );
    }
    const places = new Map(chain.map(({ eventId }, at) => [eventId, at]));
    assert.ok(
      chain.every(({ authEvents }, at) => authEvents.every((id) => (places.get(id) ?? at) < at)),
      'each comes after what it rests on',
    );
    const create = chain.filter(({ type }) => type === 'm.room.create');
    const authState = [...create, ...join.authEvents.flatMap((id) => known.get(id) ?? [])];
    assert.equal(checkAuthRules(join, authStateOf([...new Set(authState)])).allowed, true);
  });
}

test('the first version of send_join and send_leave wraps its answers in a list', async (t) => {
  const home = await resident(t);
  const roomId = await home.createRoom({ version: '1' });
  const dora = home.away.user('dora');
  const join = home.away.complete((await home.away.make('join', roomId, dora, ['1'])).body);
  const answer = expectStatus(await home.away.send('join', join, 'v1'), 200);
  assert.equal(answer[0], 200);
  assert.ok(answer[1].state.length > 0 && answer[1].auth_chain.length > 0);

  const leave = home.away.complete((await home.away.make('leave', roomId, dora)).body);
  assert.deepEqual(expectStatus(await home.away.send('leave', leave, 'v1'), 200), [200, {}]);
  assert.equal(home.membershipOf(roomId, dora), 'leave');
});

test('a server that can do without repeats gets no event twice', async (t) => {
  const home = await resident(t);
  const roomId = await home.createRoom({ version: '10' });
  const dora = home.away.user('dora');
  const join = home.away.complete((await home.away.make('join', roomId, dora)).body);
  const path = `${federationPath('/v2/send_join', roomId, join.eventId)}?omit_members=true`;
  const answer = expectStatus(await home.away.request('PUT', path, join.pdu), 200);
  assert.equal(answer.members_omitted, false);
  assert.equal(answer.state.length, 4);
  assert.deepEqual(answer.auth_chain, [], 'all that the state rests on is part of it');
});

test('handing in a join twice gives the same answer and changes nothing, until the user has left', async (t) => {
  const home = await resident(t);
  const roomId = await home.createRoom();
  const dora = home.away.user('dora');
  const join = home.away.complete((await home.away.make('join', roomId, dora)).body);
  const first = expectStatus(await home.away.send('join', join), 200);
  await home.send(roomId, draft.message(alice, 'hello'));
  const second = expectStatus(await home.away.send('join', join), 200);
  assert.deepEqual(second, first);
  assert.equal(home.forwarded.length, 1);

  await home.send(roomId, draft.member(alice, dora, 'leave'));
  expectStatus(await home.away.send('join', join), 403, 'M_FORBIDDEN');
  assert.equal(home.membershipOf(roomId, dora), 'leave');
});

test('a server speaks for its own users only', async (t) => {
  const home = await resident(t);
  const roomId = await home.createRoom({ joinRules: { join_rule: 'knock' } });
  const third = home.peer('third.test');
  for (const what of ['join', 'knock', 'leave'] as const) {
    expectStatus(await home.away.make(what, roomId, bob), 403, 'M_FORBIDDEN');
    expectStatus(await home.away.make(what, roomId, third.user('theo')), 403, 'M_FORBIDDEN');
  }
  const open = await home.createRoom();
  const theo = third.user('theo');
  const join = third.complete((await third.make('join', open, theo)).body);
  expectStatus(await home.away.send('join', join), 403, 'M_FORBIDDEN');
  assert.equal(home.membershipOf(open, theo), undefined);
  expectStatus(await third.send('join', join), 200);
  const leave = third.complete((await third.make('leave', open, theo)).body);
  expectStatus(await home.away.send('leave', leave), 403, 'M_FORBIDDEN');
  assert.equal(home.membershipOf(open, theo), 'join');
});

test('rooms this server is not in, or not any more, are not found', async (t) => {
  const home = await resident(t);
  const dora = home.away.user('dora');
  for (const what of ['join', 'knock', 'leave'] as const) {
    expectStatus(await home.away.make(what, '!nowhere:hearth.test', dora), 404, 'M_NOT_FOUND');
  }
  const roomId = await home.createRoom();
  const join = home.away.complete(expectStatus(await home.away.make('join', roomId, dora), 200));
  await home.send(roomId, draft.member(alice, alice, 'leave'));
  expectStatus(await home.away.make('join', roomId, dora), 404, 'M_NOT_FOUND');
  expectStatus(await home.away.send('join', join), 404, 'M_NOT_FOUND');
  assert.equal(home.membershipOf(roomId, dora), undefined);
});

test('a server that does not speak the version of a room is told which it is', async (t) => {
  const home = await resident(t);
  const dora = home.away.user('dora');
  const old = await home.createRoom({ version: '1' });
  const newer = await home.createRoom({ version: '7', joinRules: { join_rule: 'knock' } });
  for (const what of ['join', 'knock'] as const) {
    const refusal = expectStatus(
      await home.away.make(what, newer, dora, ['1', 'abc', '2']),
      400,
      'M_INCOMPATIBLE_ROOM_VERSION',
    );
    assert.equal(refusal.room_version, '7');
  }
  // Whoever says nothing speaks version 1.
  const bare = (room: string): string => federationPath('/v1/make_join', room, dora);
  expectStatus(await home.away.request('GET', bare(newer)), 400, 'M_INCOMPATIBLE_ROOM_VERSION');
  expectStatus(await home.away.request('GET', bare(old)), 200);
  expectStatus(await home.away.make('join', old, dora, ['2', 'abc']), 400, 'M_INCOMPATIBLE_ROOM_VERSION');
});

test('servers that a room shuts out cannot join, knock, leave or invite', async (t) => {
  const home = await resident(t);
  const roomId = await home.createRoom({ joinRules: { join_rule: 'knock' } });
  const open = await home.createRoom();
  const dora = home.away.user('dora');
  const join = home.away.complete((await home.away.make('join', open, dora)).body);
  const knock = home.away.complete((await home.away.make('knock', roomId, dora)).body);
  for (const room of [roomId, open]) {
    await home.send(room, draft.state(alice, 'm.room.server_acl', { allow: ['*'], deny: ['away.*'] }));
  }
  for (const [what, room] of [
    ['join', open],
    ['knock', roomId],
    ['leave', open],
  ] as const) {
    expectStatus(await home.away.make(what, room, dora), 403, 'M_FORBIDDEN');
  }
  expectStatus(await home.away.send('join', join), 403, 'M_FORBIDDEN');
  expectStatus(await home.away.send('knock', knock), 403, 'M_FORBIDDEN');
  expectStatus(await home.away.invite(join), 403, 'M_FORBIDDEN');
  assert.equal(home.membershipOf(open, dora), undefined);
});

test('whom the rules of a room keep out gets neither a template nor in', async (t) => {
  const home = await resident(t);
  const dora = home.away.user('dora');
  const closed = await home.createRoom({ joinRules: { join_rule: 'invite' } });
  const local = await home.createRoom({ create: { 'm.federate': false } });
  const open = await home.createRoom();
  for (const room of [closed, local]) expectStatus(await home.away.make('join', room, dora), 403, 'M_FORBIDDEN');
  expectStatus(await home.away.make('knock', open, dora), 403, 'M_FORBIDDEN');
  expectStatus(await home.away.make('leave', open, dora), 403, 'M_FORBIDDEN');

  // Banned between the two steps.
  const join = home.away.complete((await home.away.make('join', open, dora)).body);
  await home.send(open, draft.member(alice, dora, 'ban'));
  expectStatus(await home.away.send('join', join), 403, 'M_FORBIDDEN');
  expectStatus(await home.away.send('join', join), 403, 'M_FORBIDDEN');
  expectStatus(await home.away.make('join', open, dora), 403, 'M_FORBIDDEN');
  assert.equal(home.membershipOf(open, dora), 'ban');
  assert.deepEqual(home.forwarded, []);

  await home.send(closed, draft.member(alice, dora, 'invite'));
  await home.away.join(closed, dora);
  assert.equal(home.membershipOf(closed, dora), 'join');
});

test('what is handed in must be just the event that it is said to be', async (t) => {
  const home = await resident(t);
  const roomId = await home.createRoom({ version: '6' });
  const elsewhere = await home.createRoom({ version: '6' });
  const dora = home.away.user('dora');
  const template = (await home.away.make('join', roomId, dora)).body;
  const put = (event: RoomEvent, { room = roomId as string, id = event.eventId as string, pdu = event.pdu } = {}) =>
    home.away.request('PUT', federationPath('/v2/send_join', room, id), pdu);
  const good = home.away.complete(template);

  expectStatus(await put(good, { id: '$another' }), 400, 'M_INVALID_PARAM');
  expectStatus(await put(good, { room: elsewhere }), 400, 'M_INVALID_PARAM');
  expectStatus(await put(home.away.complete(template, { type: 'm.room.topic' })), 400, 'M_INVALID_PARAM');
  expectStatus(await put(home.away.complete(template, { content: { membership: 'leave' } })), 400, 'M_INVALID_PARAM');
  expectStatus(await put(home.away.complete(template, { state_key: alice })), 400, 'M_INVALID_PARAM');
  expectStatus(await put(home.away.complete(template, { sender: alice, state_key: alice })), 403, 'M_FORBIDDEN');
  expectStatus(await put(good, { pdu: { ...good.pdu, content: { membership: 'join', bad: 1.5 } } }), 400, 'M_BAD_JSON');
  expectStatus(await put(good, { pdu: { ...good.pdu, depth: 'deep' } }), 400, 'M_BAD_JSON');
  const { signatures: _signatures, ...unsigned } = good.pdu;
  expectStatus(await put(good, { pdu: unsigned }), 400, 'M_BAD_JSON');
  expectStatus(await put(good, { pdu: { ...unsigned, signatures: {} } }), 403, 'M_FORBIDDEN');
  const forged = { [home.away.name]: { [home.away.key.keyId]: 'a'.repeat(86) } };
  expectStatus(await put(good, { pdu: { ...good.pdu, signatures: forged } }), 403, 'M_FORBIDDEN');
  const renamed = { ...good.pdu, content: { membership: 'join', displayname: 'Somebody else' } };
  expectStatus(await put(good, { pdu: renamed }), 400, 'M_INVALID_PARAM');
  const lost = home.away.complete(template, { prev_events: ['$nobodyhasthis'] });
  expectStatus(await put(lost), 400, 'M_INVALID_PARAM');
  const baseless = home.away.complete(template, { auth_events: [] });
  expectStatus(await put(baseless), 403, 'M_FORBIDDEN');

  assert.equal(home.membershipOf(roomId, dora), undefined);
  assert.deepEqual(home.forwarded, []);
  expectStatus(await put(good), 200);
});

test('a bad leave is told to be bad before its ID is looked at', async (t) => {
  const home = await resident(t);
  const roomId = await home.createRoom({ version: '6' });
  const dora = home.away.user('dora');
  await home.away.join(roomId, dora);
  const leave = home.away.complete((await home.away.make('leave', roomId, dora)).body);
  const path = federationPath('/v2/send_leave', roomId, 'xxx');
  expectStatus(await home.away.request('PUT', path, { ...leave.pdu, contents: { bad: 1.1 } }), 400, 'M_BAD_JSON');
  expectStatus(await home.away.request('PUT', path, leave.pdu), 400, 'M_INVALID_PARAM');
  assert.deepEqual(expectStatus(await home.away.send('leave', leave), 200), {});
  assert.equal(home.membershipOf(roomId, dora), 'leave');
  assert.deepEqual(expectStatus(await home.away.send('leave', leave), 200), {}, 'again is no harm');
});

test('an invite to another server is rejected by a leave, and a knock taken back', async (t) => {
  const home = await resident(t);
  const roomId = await home.createRoom({ joinRules: { join_rule: 'knock' } });
  const dora = home.away.user('dora');
  const emil = home.away.user('emil');
  await home.send(roomId, draft.member(alice, dora, 'invite'));
  const knock = home.away.complete((await home.away.make('knock', roomId, emil)).body);
  expectStatus(await home.away.send('knock', knock), 200);
  for (const user of [dora, emil]) {
    const leave = home.away.complete((await home.away.make('leave', roomId, user)).body);
    expectStatus(await home.away.send('leave', leave), 200);
    assert.equal(home.membershipOf(roomId, user), 'leave');
  }
  assert.equal(home.forwarded.length, 3);
});

test('whoever knocks is shown the face of the room, in events', async (t) => {
  const home = await resident(t);
  const roomId = await home.createRoom({
    version: '7',
    joinRules: { join_rule: 'knock' },
    more: [
      draft.state(alice, 'm.room.name', { name: 'Kitchen' }),
      draft.state(alice, 'org.example.secret', { is: 'kept' }),
    ],
  });
  const dora = home.away.user('dora');
  const knock = home.away.complete((await home.away.make('knock', roomId, dora)).body, {
    content: { membership: 'knock', reason: 'hungry' },
  });
  const { knock_room_state: shown } = expectStatus(await home.away.send('knock', knock), 200);
  assert.equal(home.membershipOf(roomId, dora), 'knock');
  const events = shown.map((pdu: Json) => parse(pdu, '7'));
  assert.deepEqual(events.map(({ type }: RoomEvent) => type).sort(), [
    'm.room.create',
    'm.room.join_rules',
    'm.room.name',
  ]);
  assert.ok(events.every((event: RoomEvent) => event.roomId === roomId && event.stateKey === ''));
  expectStatus(await home.away.make('knock', roomId, dora), 200);

  const old = await home.createRoom({ version: '6', joinRules: { join_rule: 'knock' } });
  expectStatus(await home.away.make('knock', old, dora), 403, 'M_FORBIDDEN');
  const template = { ...(await home.away.make('knock', roomId, dora)).body, room_version: '6' };
  const wrong = home.away.complete(template, { room_id: old });
  expectStatus(await home.away.send('knock', wrong), 403, 'M_FORBIDDEN');
});

test('a member of another room is let into a restricted one, on the word and with the signature of this server', async (t) => {
  const home = await resident(t);
  const house = await home.createRoom();
  const allow = [{ type: 'm.room_membership', room_id: house }];
  const kitchen = await home.createRoom({ version: '10', joinRules: { join_rule: 'restricted', allow } });
  const dora = home.away.user('dora');
  expectStatus(await home.away.make('join', kitchen, dora), 403, 'M_FORBIDDEN');

  await home.away.join(house, dora);
  const template = expectStatus(await home.away.make('join', kitchen, dora), 200);
  assert.equal(template.event.content.join_authorised_via_users_server, alice);
  const join = home.away.complete(template);
  const { event } = expectStatus(await home.away.send('join', join), 200);
  const key = home.rooms.events.findEvent(join.eventId)?.pdu['signatures'];
  assert.deepEqual(Object.keys(event.signatures).sort(), ['away.test', 'hearth.test']);
  assert.deepEqual(event.signatures, key);
  const [keyId] = Object.keys(event.signatures[HOME]);
  assert.ok(keyId !== undefined);
  assert.equal(home.membershipOf(kitchen, dora), 'join');

  // Joined already, they need nobody's word to say more of themselves.
  const again = expectStatus(await home.away.make('join', kitchen, dora), 200);
  assert.deepEqual(again.event.content, { membership: 'join' });
});

test('no word is given for those who do not meet the conditions, even if they take it', async (t) => {
  const home = await resident(t);
  const house = await home.createRoom();
  const allow = [{ type: 'm.room_membership', room_id: house }];
  const kitchen = await home.createRoom({ version: '10', joinRules: { join_rule: 'restricted', allow } });
  const dora = home.away.user('dora');
  await home.away.join(house, dora);
  const template = expectStatus(await home.away.make('join', kitchen, dora), 200);
  await home.send(house, draft.member(alice, dora, 'leave'));

  const join = home.away.complete(template);
  expectStatus(await home.away.send('join', join), 403, 'M_FORBIDDEN');
  // With a signature of ours that was never made.
  const forged: JsonObject = signPdu(join.pdu, join.version, HOME, home.away.key);
  const path = federationPath('/v2/send_join', kitchen, join.eventId);
  expectStatus(await home.away.request('PUT', path, forged), 403, 'M_FORBIDDEN');
  assert.equal(home.membershipOf(kitchen, dora), undefined);
  assert.equal(home.rooms.events.findEvent(join.eventId), undefined, 'nothing signed by us is left of it');
});

test('a server that cannot tell, or has nobody to give its word, says which of the two', async (t) => {
  const home = await resident(t);
  const dora = home.away.user('dora');
  const elsewhere = [{ type: 'm.room_membership', room_id: '!elsewhere:away.test' }];
  const unknown = await home.createRoom({ version: '9', joinRules: { join_rule: 'restricted', allow: elsewhere } });
  expectStatus(await home.away.make('join', unknown, dora), 400, 'M_UNABLE_TO_AUTHORISE_JOIN');

  const house = await home.createRoom();
  const allow = [{ type: 'm.room_membership', room_id: house }];
  const powerless = await home.createRoom({
    version: '10',
    joinRules: { join_rule: 'knock_restricted', allow },
    levels: { users: { [alice]: 100 }, invite: 100 },
  });
  await home.away.join(house, dora);
  const template = expectStatus(await home.away.make('join', powerless, dora), 200);
  await home.send(powerless, draft.state(alice, 'm.room.power_levels', { users: { [alice]: 90 }, invite: 100 }));
  expectStatus(await home.away.make('join', powerless, dora), 400, 'M_UNABLE_TO_GRANT_JOIN');
  expectStatus(await home.away.send('join', home.away.complete(template)), 400, 'M_UNABLE_TO_GRANT_JOIN');
  const none = await home.createRoom({ version: '10', joinRules: { join_rule: 'restricted' } });
  expectStatus(await home.away.make('join', none, dora), 403, 'M_FORBIDDEN');
});

test('a room takes only so many joins at a time', async (t) => {
  const home = await resident(t, { limits: { joinsPerRoom: { perSecond: 0.001, burstCount: 1 } } });
  const roomId = await home.createRoom();
  const emil = home.away.user('emil');
  const template = (await home.away.make('join', roomId, emil)).body;
  await home.away.join(roomId, home.away.user('dora'));
  expectStatus(await home.away.make('join', roomId, emil), 429, 'M_LIMIT_EXCEEDED');
  expectStatus(await home.away.send('join', home.away.complete(template)), 429, 'M_LIMIT_EXCEEDED');
  assert.equal(home.membershipOf(roomId, emil), undefined);
});

test('how complex a room is, is told of rooms that everybody can look into', async (t) => {
  const home = await resident(t);
  const topics = Array.from({ length: 121 }, (_, index) => draft.state(alice, 'org.example.shelf', {}, `${index}`));
  const open = await home.createRoom({ more: topics });
  const closed = await home.createRoom({ joinRules: { join_rule: 'invite' } });
  for (const path of [
    federationPath('/v1/rooms', open),
    '/_matrix/federation/unstable/rooms/' + encodeURIComponent(open),
  ]) {
    assert.deepEqual(expectStatus(await home.away.request('GET', `${path}/complexity`), 200), { v1: 0.25 });
  }
  const path = federationPath('/v1/rooms', closed);
  expectStatus(await home.away.request('GET', `${path}/complexity`), 404, 'M_NOT_FOUND');
});

test('the answer to a join of a room of thousands is complete', async (t) => {
  const home = await resident(t);
  const users = Array.from({ length: 3_000 }, (_, index) => userId(`@user${index}:hearth.test`));
  const roomId = await home.createRoom({
    version: '10',
    more: users.map((user) => draft.member(user, user, 'join', { displayname: `Number ${user}` })),
  });
  const dora = home.away.user('dora');
  const answer = await home.away.join(roomId, dora);
  const members = answer.body.state.filter((event: Json) => event.type === 'm.room.member');
  assert.equal(members.length, users.length + 1);
  assert.equal(new Set(answer.body.state.map((event: Json) => event.state_key + event.type)).size, users.length + 4);
  const [first] = members;
  const room = home.rooms.events.findRoom(roomId);
  assert.ok(room !== undefined && verifyPduSignature(first, room.version, HOME, keyIdOf(first), await ownKey(home)));
});

function keyIdOf(pdu: Json): string {
  const [keyId] = Object.keys(pdu.signatures[HOME]);
  assert.ok(keyId !== undefined);
  return keyId;
}
async function ownKey(home: Awaited<ReturnType<typeof resident>>): Promise<Buffer> {
  return home.peer(HOME).key.publicKey;
}
