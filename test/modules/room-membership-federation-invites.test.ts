import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FederationError } from '../../server/federation/errors.ts';
import { federationPath } from '../../server/federation/path.ts';
import { stripStateEvent } from '../../server/matrix/events/strip.ts';
import type { RoomEvent } from '../../server/matrix/events/event.ts';
import { verifyPduSignature } from '../../server/matrix/events/sign.ts';
import type { JsonObject } from '../../server/matrix/json.ts';
import { roomVersions } from '../../server/matrix/room-versions.ts';
import { generateSigningKey, signJson } from '../../server/matrix/signing.ts';
import { systemRandom } from '../../server/util/random.ts';
import type { Answer, Json } from '../kit/test-client.ts';
import {
  alice,
  bob,
  draft,
  expectStatus,
  HOME,
  type Peer,
  PeerRoom,
  resident,
  type Resident,
  serverName,
  userId,
} from './room-membership-federation-kit.ts';

const pdusOf = (events: readonly RoomEvent[]): JsonObject[] => events.map(({ pdu }) => pdu);

/** Dora's invite of Alice, on its way. */
function inviteOf(home: Resident, room: PeerRoom, invitee = alice, more: JsonObject = {}): RoomEvent {
  return room.send(draft.member(home.away.user('dora'), invitee, 'invite', more));
}

function isSignedByHome(home: Resident, event: RoomEvent, pdu: Json): boolean {
  const { key } = home.peer(HOME);
  return verifyPduSignature(pdu, event.version, HOME, key.keyId, key.publicKey);
}

for (const version of roomVersions.keys()) {
  test(`a user of this server is invited to a room of version ${version} elsewhere`, async (t) => {
    const home = await resident(t);
    const room = new PeerRoom(home.away, { version });
    const event = inviteOf(home, room);
    const answer = expectStatus(await home.away.invite(event, { invite_room_state: pdusOf(room.shown) }), 200);
    const { signatures, ...rest } = answer.event;
    const { signatures: own, ...sent } = event.pdu as Json;
    assert.deepEqual(rest, sent, 'nothing else was touched');
    assert.deepEqual(signatures['away.test'], own['away.test']);
    assert.ok(isSignedByHome(home, event, answer.event));

    assert.equal(home.membershipOf(room.roomId, alice), 'invite');
    assert.deepEqual(
      home.rooms.members.listStrippedState(room.roomId, alice),
      [...room.shown, event].map(stripStateEvent),
    );
  });
}

test('the first version of the operation takes invites to rooms of versions 1 and 2, and wraps its answer', async (t) => {
  const home = await resident(t);
  for (const version of ['1', '2']) {
    const room = new PeerRoom(home.away, { version });
    const event = inviteOf(home, room);
    const path = federationPath('/v1/invite', room.roomId, event.eventId);
    const unsigned = { invite_room_state: pdusOf(room.shown) };
    const answer = expectStatus(await home.away.request('PUT', path, { ...event.pdu, unsigned }), 200);
    assert.equal(answer[0], 200);
    assert.ok(isSignedByHome(home, event, answer[1].event));
    assert.equal(home.membershipOf(room.roomId, alice), 'invite');
    assert.equal(home.rooms.events.findRoom(room.roomId)?.version.id, version);
  }
  const newer = new PeerRoom(home.away, { version: '10' });
  const event = inviteOf(home, newer);
  const path = federationPath('/v1/invite', newer.roomId, event.eventId);
  expectStatus(await home.away.request('PUT', path, event.pdu), 400, 'M_BAD_JSON');
});

test('sending an invite again does no harm, not even after it was rejected', async (t) => {
  const home = await resident(t);
  const room = new PeerRoom(home.away, { version: '10' });
  const event = inviteOf(home, room);
  const first = expectStatus(await home.away.invite(event), 200);
  assert.deepEqual(expectStatus(await home.away.invite(event), 200), first);
  home.withdraw(room.roomId, alice);
  assert.equal(home.membershipOf(room.roomId, alice), 'leave');
  assert.deepEqual(expectStatus(await home.away.invite(event), 200), first);
  assert.equal(home.membershipOf(room.roomId, alice), 'leave');

  const again = inviteOf(home, room, alice, { reason: 'please' });
  expectStatus(await home.away.invite(again), 200);
  assert.equal(home.rooms.members.findMember(room.roomId, alice)?.eventId, again.eventId);
  const other = room.send(draft.member(home.away.user('dora'), alice, 'invite', { reason: 'really' }));
  expectStatus(await home.away.invite(other), 200);
  assert.equal(home.rooms.members.findMember(room.roomId, alice)?.eventId, other.eventId, 'the newer one counts');
});

test('what is no invite of a local user by the server that sends it is not signed', async (t) => {
  const home = await resident(t);
  const room = new PeerRoom(home.away, { version: '6' });
  const dora = home.away.user('dora');
  const good = inviteOf(home, room);
  const put = (event: RoomEvent, { id = event.eventId as string, room: at = room.roomId as string, body = {} } = {}) =>
    home.away.request('PUT', federationPath('/v2/invite', at, id), { room_version: '6', event: event.pdu, ...body });

  expectStatus(await put(good, { id: '$another' }), 400, 'M_INVALID_PARAM');
  expectStatus(await put(good, { room: '!another:away.test' }), 400, 'M_INVALID_PARAM');
  expectStatus(await put(good, { body: { room_version: 'unheard-of' } }), 400, 'M_INCOMPATIBLE_ROOM_VERSION');
  expectStatus(await put(good, { body: { room_version: 6 } }), 400, 'M_BAD_JSON');
  expectStatus(await put(good, { body: { event: [] } }), 400, 'M_BAD_JSON');
  expectStatus(await put(good, { body: { event: { ...good.pdu, odd: 1.5 } } }), 400, 'M_BAD_JSON');
  expectStatus(await put(good, { body: { invite_room_state: {} } }), 400, 'M_INVALID_PARAM');
  expectStatus(await put(good, { body: { event: { ...good.pdu, signatures: {} } } }), 403, 'M_FORBIDDEN');
  const renamed = { ...good.pdu, content: { membership: 'invite', reason: 'changed on the way' } };
  expectStatus(await put(good, { body: { event: renamed } }), 400, 'M_INVALID_PARAM');
  expectStatus(await put(room.send(draft.member(dora, alice, 'leave'))), 400, 'M_INVALID_PARAM');
  expectStatus(await put(room.send(draft.member(dora, alice, 'join'))), 400, 'M_INVALID_PARAM');
  expectStatus(await put(room.send(draft.state(dora, 'm.room.topic', { topic: '' }))), 400, 'M_INVALID_PARAM');
  expectStatus(await put(inviteOf(home, room, home.away.user('emil'))), 400, 'M_INVALID_PARAM');
  const third = home.peer('third.test');
  const byThird = room.send(draft.member(third.user('theo'), alice, 'invite'));
  expectStatus(await put(byThird), 400, 'M_INVALID_PARAM');
  // An invite by third-party identifier does not need its sender's signature in a room; but here it does.
  const redeemed = inviteOf(home, room, alice, {
    third_party_invite: { display_name: 'Al', signed: { mxid: alice, token: 'token', signatures: {} } },
  });
  expectStatus(await put(redeemed, { body: { event: { ...redeemed.pdu, signatures: {} } } }), 403, 'M_FORBIDDEN');

  assert.equal(home.rooms.events.findRoom(room.roomId), undefined, 'nothing is kept');
  expectStatus(await put(good), 200);
});

test('nobody is invited who is not there, is gone, or does not want it', async (t) => {
  const voice = userId('@notices:hearth.test');
  const home = await resident(t, {
    needs: {
      mayInvite: (inviter, invitee) => !(invitee === bob && inviter.startsWith('@dora')),
      isBlocked: (roomId) => roomId === shut.roomId,
      serverNotices: { userId: voice, isNoticeRoom: () => false },
    },
  });
  const room = new PeerRoom(home.away);
  const shut = new PeerRoom(home.away);
  const send = (to: PeerRoom, invitee: typeof alice): Promise<Answer> => home.away.invite(inviteOf(home, to, invitee));
  expectStatus(await send(room, userId('@nobody:hearth.test')), 404, 'M_NOT_FOUND');
  expectStatus(await send(room, userId('@gone:hearth.test')), 403, 'M_FORBIDDEN');
  expectStatus(await send(room, bob), 403, 'M_INVITE_BLOCKED');
  expectStatus(await send(room, voice), 404, 'M_NOT_FOUND');
  expectStatus(await send(shut, alice), 403, 'M_FORBIDDEN');
  assert.equal(home.rooms.events.findRoom(room.roomId), undefined);
  expectStatus(await send(room, alice), 200);
});

test('a server whose administrators alone may invite takes no invites from others', async (t) => {
  const home = await resident(t, { settings: { blockNonAdminInvites: true } });
  const room = new PeerRoom(home.away);
  expectStatus(await home.away.invite(inviteOf(home, room)), 403, 'M_FORBIDDEN');
});

test('one inviter is not let in without end', async (t) => {
  const home = await resident(t, { limits: { invitesPerIssuer: { perSecond: 0.001, burstCount: 2 } } });
  const invite = (): Promise<Answer> => home.away.invite(inviteOf(home, new PeerRoom(home.away, { version: '10' })));
  expectStatus(await invite(), 200);
  expectStatus(await invite(), 200);
  expectStatus(await invite(), 429, 'M_LIMIT_EXCEEDED');
  const room = new PeerRoom(home.away, { version: '10' });
  const emil = home.away.user('emil');
  room.send(draft.member(emil, emil, 'join'));
  expectStatus(await home.away.invite(room.send(draft.member(emil, alice, 'invite'))), 200);
});

test('in a room this server is in, an invite is judged like any event', async (t) => {
  const home = await resident(t);
  const dora = home.away.user('dora');
  const roomId = await home.createRoom({ version: '10' });
  await home.away.join(roomId, dora);
  const template = async (target: string, content: JsonObject): Promise<RoomEvent> => {
    const leave = expectStatus(await home.away.make('leave', roomId, dora), 200);
    // As her server would make it: by the authority of the create event, the levels, both members and the join rule.
    const find = (type: string, key: string): string[] => {
      const event = home.rooms.state.findCurrent(roomId, type, key);
      return event === undefined ? [] : [event.eventId];
    };
    return home.away.complete(leave, {
      state_key: target,
      content,
      auth_events: [
        ...find('m.room.create', ''),
        ...find('m.room.power_levels', ''),
        ...find('m.room.join_rules', ''),
        ...find('m.room.member', dora),
        ...find('m.room.member', target),
      ],
    });
  };
  const invite = await template(bob, { membership: 'invite' });
  const { event } = expectStatus(await home.away.invite(invite), 200);
  assert.ok(isSignedByHome(home, invite, event));
  assert.equal(home.membershipOf(roomId, bob), 'invite');
  assert.deepEqual(home.rooms.state.findCurrent(roomId, 'm.room.member', bob)?.pdu, event);
  assert.equal(home.forwarded.length, 1, 'only the join is sent on: her server sends what is hers');

  // It matters to the members even if there is no such user.
  expectStatus(await home.away.invite(await template('@nobody:hearth.test', { membership: 'invite' })), 200);
  // Rules of the room.
  expectStatus(await home.away.invite(await template(alice, { membership: 'invite' })), 403, 'M_FORBIDDEN');
  await home.send(roomId, draft.member(alice, bob, 'ban'));
  expectStatus(await home.away.invite(await template(bob, { membership: 'invite' })), 403, 'M_FORBIDDEN');
  // Another version than the room has.
  const path = federationPath('/v2/invite', roomId, invite.eventId);
  expectStatus(await home.away.request('PUT', path, { room_version: '9', event: invite.pdu }), 400, 'M_INVALID_PARAM');
  // What we cannot judge yet is signed all the same: it comes once more in a transaction.
  const ahead = await template('@later:hearth.test', { membership: 'invite' });
  const lagging = home.away.complete({ room_version: '10', event: { ...ahead.pdu, prev_events: ['$notyethere'] } });
  expectStatus(await home.away.invite(lagging), 200);
  assert.equal(home.rooms.events.findEvent(lagging.eventId), undefined);
});

test('old rooms may tell of themselves in any form; only what is plainly of another room is left out', async (t) => {
  const home = await resident(t);
  const room = new PeerRoom(home.away, { version: '10' });
  const other = new PeerRoom(home.away, { version: '10' });
  const event = inviteOf(home, room);
  const [create, name] = room.shown;
  assert.ok(create !== undefined && name !== undefined);
  const tampered = { ...name.pdu, content: { name: 'Casino' } };
  const topic = { type: 'm.room.topic', state_key: '', sender: name.sender, content: { topic: 'Stars' }, extra: 1 };
  const invite_room_state = [
    stripStateEvent(create),
    tampered,
    ...pdusOf(other.shown),
    topic,
    7,
    { type: 'm.room.avatar', state_key: 3, sender: name.sender, content: {} },
    { type: 'm.room.avatar', state_key: '', sender: 'nobody', content: {} },
    { type: 'm.room.avatar', state_key: '', sender: name.sender, content: { url: 'x'.repeat(70_000) } },
  ];
  expectStatus(await home.away.invite(event, { invite_room_state }), 200);
  const { extra: _extra, ...kept } = topic;
  assert.deepEqual(home.rooms.members.listStrippedState(room.roomId, alice), [
    stripStateEvent(create),
    { ...stripStateEvent(name), content: {} },
    kept,
    stripStateEvent(event),
  ]);
});

test('from room version 12 on, a lie about the room makes an invite void', async (t) => {
  const home = await resident(t);
  const room = new PeerRoom(home.away);
  const other = new PeerRoom(home.away);
  const event = inviteOf(home, room);
  const [create, name] = room.shown;
  assert.ok(create !== undefined && name !== undefined);
  const refuse = async (invite_room_state: unknown[]): Promise<void> => {
    expectStatus(await home.away.invite(event, { invite_room_state }), 400, 'M_INVALID_PARAM');
  };
  await refuse(pdusOf(other.shown));
  await refuse([create.pdu, { ...name.pdu, signatures: {} }]);
  await refuse([create.pdu, { ...name.pdu, room_id: other.roomId }]);
  await refuse([create.pdu, { ...name.pdu, depth: 'deep' }]);
  await refuse([create.pdu, room.send(draft.message(name.sender, 'hello')).pdu]);
  await refuse([create.pdu, 'words']);
  await refuse(Array.from({ length: 101 }, () => create.pdu));
  assert.equal(home.rooms.events.findRoom(room.roomId), undefined);
  expectStatus(await home.away.invite(event, { invite_room_state: pdusOf(room.shown) }), 200);
});

test('where the spec is taken at its word, a room of version 12 must prove what it shows', async (t) => {
  const lenient = await resident(t);
  const strict = await resident(t, { strictInviteState: true });
  for (const home of [lenient, strict]) {
    const room = new PeerRoom(home.away);
    const event = inviteOf(home, room);
    const send = (state: readonly JsonObject[]): Promise<Answer> =>
      home.away.invite(event, { invite_room_state: state });
    const outcome = home === strict ? 400 : 200;
    expectStatus(await send(room.shown.map(stripStateEvent)), outcome);
    expectStatus(await send(pdusOf(room.shown).slice(1)), outcome);
    expectStatus(await home.away.invite(event), outcome);
    expectStatus(await send(pdusOf(room.shown)), 200);
    const old = new PeerRoom(home.away, { version: '11' });
    expectStatus(await home.away.invite(inviteOf(home, old)), 200);
  }
});

/** An identity server that holds an address, and vouches for whoever has it. */
function identityServer(): { publicKey: string; sign(mxid: string, token: string, more?: JsonObject): JsonObject } {
  const key = generateSigningKey(systemRandom.bytes(32));
  return {
    publicKey: key.publicKeyBase64,
    sign: (mxid, token, more = {}) => signJson({ mxid, token, ...more }, 'id.test', key),
  };
}

function exchange(peer: Peer, roomId: string, sender: string, target: string, signed: JsonObject, more: Json = {}) {
  return peer.request('PUT', federationPath('/v1/exchange_third_party_invite', roomId), {
    type: 'm.room.member',
    room_id: roomId,
    sender,
    state_key: target,
    content: { membership: 'invite', third_party_invite: { display_name: 'anything', signed } },
    ...more,
  });
}

const offer = (publicKey: string, more: JsonObject = {}): JsonObject => ({
  display_name: 'd…@example.org',
  key_validity_url: 'https://id.test/isvalid',
  public_key: publicKey,
  ...more,
});

test('an invite by address is issued for the user whom the identity server vouches for', async (t) => {
  const identity = identityServer();
  const revoked = new Set<string>();
  const home = await resident(t, {
    needs: {
      thirdPartyInvites: {
        invite: async () => assert.fail('nobody is invited by address here'),
        isKeyValid: async (key, url) => !revoked.has(key) && url === 'https://id.test/isvalid',
      },
    },
  });
  const roomId = await home.createRoom({ joinRules: { join_rule: 'invite' } });
  await home.send(roomId, draft.state(alice, 'm.room.third_party_invite', offer(identity.publicKey), 'token'));
  const dora = home.away.user('dora');
  const signed = identity.sign(dora, 'token');

  const refused = async (answer: Promise<Answer>, status: number, errcode: string): Promise<void> => {
    expectStatus(await answer, status, errcode);
    assert.deepEqual(home.invited, []);
  };
  await refused(exchange(home.away, '!nowhere:hearth.test', alice, dora, signed), 404, 'M_NOT_FOUND');
  await refused(exchange(home.away, roomId, alice, dora, signed, { type: 'm.room.topic' }), 400, 'M_INVALID_PARAM');
  await refused(exchange(home.away, roomId, alice, dora, signed, { room_id: '!other:x' }), 400, 'M_INVALID_PARAM');
  await refused(exchange(home.away, roomId, alice, dora, signed, { content: {} }), 400, 'M_INVALID_PARAM');
  await refused(exchange(home.away, roomId, alice, dora, { mxid: dora, token: 'token' }), 400, 'M_INVALID_PARAM');
  await refused(exchange(home.away, roomId, alice, 'dora', signed), 400, 'M_INVALID_PARAM');
  await refused(exchange(home.peer('third.test'), roomId, alice, dora, signed), 403, 'M_FORBIDDEN');
  await refused(exchange(home.away, roomId, home.away.user('emil'), dora, signed), 403, 'M_FORBIDDEN');
  await refused(exchange(home.away, roomId, bob, dora, signed), 403, 'M_FORBIDDEN');
  await refused(exchange(home.away, roomId, alice, home.away.user('emil'), signed), 403, 'M_FORBIDDEN');
  await refused(exchange(home.away, roomId, alice, dora, identity.sign(dora, 'other')), 403, 'M_FORBIDDEN');
  await refused(exchange(home.away, roomId, alice, dora, identityServer().sign(dora, 'token')), 403, 'M_FORBIDDEN');
  await refused(exchange(home.away, roomId, alice, dora, { ...signed, altered: true }), 403, 'M_FORBIDDEN');
  revoked.add(identity.publicKey);
  await refused(exchange(home.away, roomId, alice, dora, signed), 403, 'M_FORBIDDEN');
  revoked.clear();

  assert.deepEqual(expectStatus(await exchange(home.away, roomId, alice, dora, signed), 200), {});
  assert.deepEqual(home.invited, [
    {
      userId: dora,
      roomId,
      sender: alice,
      content: { membership: 'invite', third_party_invite: { display_name: 'd…@example.org', signed } },
    },
  ]);
  await home.send(roomId, draft.member(alice, dora, 'invite'));
  expectStatus(await exchange(home.away, roomId, alice, dora, signed), 200);
  assert.equal(home.invited.length, 1, 'whoever has the invite needs no other');
  await home.send(roomId, draft.member(alice, dora, 'ban'));
  expectStatus(await exchange(home.away, roomId, alice, dora, signed), 403, 'M_FORBIDDEN');
});

test("when an address turns out to be a local user's, their invites are asked for where they were made", async (t) => {
  const identity = identityServer();
  const home = await resident(t, {
    needs: {
      thirdPartyInvites: { invite: async () => assert.fail('not asked for'), isKeyValid: async () => true },
    },
    answer: ({ destination }) => {
      if (destination !== 'third.test') return {};
      throw new FederationError('unreachable', serverName('third.test'), 'nobody answers');
    },
  });
  const bind = (invites: readonly unknown[], mxid: string = bob): Promise<Answer> =>
    fetch(`${home.baseUrl}/_matrix/federation/v1/3pid/onbind`, {
      method: 'PUT',
      body: JSON.stringify({ medium: 'email', address: 'bob@example.org', mxid, invites }),
    }).then(async (response) => ({ status: response.status, headers: response.headers, body: await response.json() }));
  const invite = (roomId: string, sender: string, more: JsonObject = {}): JsonObject => ({
    medium: 'email',
    address: 'bob@example.org',
    mxid: bob,
    room_id: roomId,
    sender,
    signed: identity.sign(bob, 'token', { sender }),
    ...more,
  });

  // A room of our own: the invite is there at once.
  const here = await home.createRoom({ joinRules: { join_rule: 'invite' } });
  await home.send(here, draft.state(alice, 'm.room.third_party_invite', offer(identity.publicKey), 'token'));
  expectStatus(await bind([invite(here, alice)]), 200);
  assert.equal(home.membershipOf(here, bob), 'invite');

  // A room elsewhere: the server of whoever made the offer is asked.
  const dora = home.away.user('dora');
  const there = invite('!there:elsewhere.test', dora);
  expectStatus(await bind([there]), 200);
  const [request, ...others] = home.asked;
  assert.deepEqual(others, []);
  assert.equal(request?.destination, 'away.test');
  assert.equal(request?.path, federationPath('/v1/exchange_third_party_invite', '!there:elsewhere.test'));
  assert.deepEqual(request?.body?.['content'], {
    membership: 'invite',
    third_party_invite: { display_name: '', signed: there['signed'] },
  });

  // A room of several servers: if the one that made the offer is out of reach, this one acts on it.
  const shared = await home.createRoom({ version: '10' });
  const third = home.peer('third.test');
  const theo = third.user('theo');
  await third.join(shared, theo);
  await home.send(shared, draft.state(alice, 'm.room.power_levels', { users: { [alice]: 100, [theo]: 50 } }));
  const leave = expectStatus(await third.make('leave', shared, theo), 200);
  const token = third.complete(leave, {
    type: 'm.room.third_party_invite',
    state_key: 'token',
    content: offer(identity.publicKey),
  });
  assert.equal((await home.rooms.inbox.accept(token.pdu)).kind, 'stored');
  expectStatus(await bind([invite(shared, theo)]), 200);
  assert.equal(home.membershipOf(shared, bob), 'invite');
  const issued = home.rooms.state.findCurrent(shared, 'm.room.member', bob);
  assert.equal(issued?.sender, theo);
  assert.equal(home.forwarded.at(-1)?.eventId, issued?.eventId);
  assert.ok(issued !== undefined && isSignedByHome(home, issued, issued.pdu));
  home.asked.splice(1);

  // A server that cannot be reached is no reason to forget the next invite.
  expectStatus(await bind([invite('!x:third.test', '@theo:third.test'), there]), 502, 'M_UNKNOWN');
  assert.deepEqual(home.asked.map(({ destination }) => destination).slice(1), ['third.test', 'away.test']);

  const asked = home.asked.length;
  expectStatus(await bind([there], '@nobody:hearth.test'), 404, 'M_NOT_FOUND');
  expectStatus(await bind([there], '@gone:hearth.test'), 404, 'M_NOT_FOUND');
  expectStatus(await bind([there], dora), 404, 'M_NOT_FOUND');
  expectStatus(
    await bind([{ ...there, signed: { mxid: bob, token: 'token', signatures: {} } }]),
    400,
    'M_INVALID_PARAM',
  );
  expectStatus(await bind([{ ...there, mxid: alice }]), 400, 'M_INVALID_PARAM');
  expectStatus(await bind([{ ...there, room_id: 'nowhere' }]), 400, 'M_INVALID_PARAM');
  expectStatus(await bind([{ ...there, sender: 'somebody' }]), 400, 'M_INVALID_PARAM');
  expectStatus(await bind(Array.from({ length: 51 }, () => there)), 400, 'M_INVALID_PARAM');
  assert.equal(home.asked.length, asked);
});

test('reports of bound addresses are limited by where they come from', async (t) => {
  const home = await resident(t, { limits: { bind: { perSecond: 0.001, burstCount: 1 } } });
  const report = (): Promise<Response> =>
    fetch(`${home.baseUrl}/_matrix/federation/v1/3pid/onbind`, {
      method: 'PUT',
      body: JSON.stringify({ medium: 'email', address: 'bob@example.org', mxid: bob, invites: [] }),
    });
  const statuses = [await report(), await report()].map(({ status }) => status);
  assert.deepEqual(statuses, [200, 429]);
});
