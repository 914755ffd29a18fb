import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FederationError } from '../../server/federation/errors.ts';
import { MatrixError } from '../../server/matrix/errors.ts';
import { stateKeyOf } from '../../server/matrix/events/event.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../server/matrix/json.ts';
import { roomVersions } from '../../server/matrix/room-versions.ts';
import type { StreamPosition } from '../../server/storage/types.ts';
import {
  alice,
  AWAY,
  bob,
  dora,
  erin,
  FAR,
  fred,
  type House,
  house,
  member,
  type Play,
  refusal,
  RemoteRoom,
  resident,
  signedBy,
  unreachable,
} from './remote-kit.ts';

const content: JsonObject = { membership: 'join', displayname: 'Alice' };

function joinAs(home: House, room: RemoteRoom, userId = alice, servers = [AWAY]): Promise<void> {
  return home.remote.join({ userId, roomId: room.roomId, servers, content });
}

async function refused(promise: Promise<void>): Promise<MatrixError> {
  try {
    await promise;
  } catch (error) {
    assert(error instanceof MatrixError, String(error));
    return error;
  }
  assert.fail('it went well');
}

/** Nothing of a join that failed is seen by anybody. */
function assertOutside(home: House, room: RemoteRoom): void {
  assert.equal(home.rooms.members.isJoined(room.roomId, alice), false);
  assert.deepEqual(home.rooms.members.listRoomsOf(alice, ['join']), []);
  assert.equal(home.rooms.state.findCurrent(room.roomId, 'm.room.create', ''), undefined);
  assert.equal(home.rooms.timeline.findLatest(room.roomId), undefined);
  assert.deepEqual(home.rooms.checkConsistency(), []);
}

for (const version of roomVersions.keys()) {
  test(`version ${version}: a room of another server is joined and stands here as it stands there`, async (t) => {
    const room = new RemoteRoom(version);
    room.send(member(erin, 'join'));
    room.send(member(fred, 'join'));
    const home = house(t, resident(room));
    await joinAs(home, room);
    assert.deepEqual(home.operations(), ['away.test v1/make_join', 'away.test v2/send_join']);
    const { roomId } = room;
    const { state, members, timeline } = home.rooms;
    assert.equal(home.rooms.events.findRoom(roomId)?.version, room.version);
    for (const [, event] of room.state) {
      assert.equal(state.findCurrent(roomId, event.type, event.stateKey ?? '')?.eventId, event.eventId);
    }
    assert.equal(state.currentState(roomId).size, room.state.size);
    assert.equal(members.countMembers(roomId, 'join'), 4);
    assert.deepEqual(new Set(members.listServers(roomId)), new Set(['hearth.test', 'away.test', 'far.test']));
    assert.equal(members.findMember(roomId, alice)?.displayName, 'Alice');
    assert.equal(members.findMember(roomId, dora)?.displayName, 'Dora');
    const latest = timeline.findLatest(roomId);
    assert.equal(latest?.sender, alice);
    assert.deepEqual(
      members
        .listMembershipChanges(alice, 0 as StreamPosition, home.db.position())
        .map(({ after }) => after.membership),
      ['join'],
    );
    assert.deepEqual(home.rooms.checkConsistency(), []);

    // The next event follows the join.
    const said = await home.rooms.sender.send({
      roomId,
      type: 'm.room.message',
      sender: alice,
      content: { body: 'Hi' },
    });
    assert.deepEqual(said.prevEvents, [latest.eventId]);
    // And one of theirs that follows the join is taken.
    const reply = room.build({ type: 'm.room.message', sender: dora, content: { body: 'Welcome' } });
    const acceptance = await home.rooms.inbox.accept(reply.pdu);
    assert.equal(acceptance.kind === 'stored' ? acceptance.event.verdict : acceptance.kind, 'accepted');
    assert.deepEqual(home.rooms.checkConsistency(), []);
    assert.deepEqual((await home.reopen()).rooms.checkConsistency(), []);
  });
}

test('servers that know only the first version of the operation are joined through it', async (t) => {
  const room = new RemoteRoom('6');
  const home = house(
    t,
    resident(room, ({ operation, request, server }) => {
      if (operation === 'v2/send_join') throw refusal(server, 404, undefined);
      if (operation !== 'v1/send_join') return undefined;
      const { event: _event, ...answer } = room.acceptJoin(request.body);
      return [200, answer];
    }),
  );
  await joinAs(home, room);
  assert.equal(home.rooms.members.isJoined(room.roomId, alice), true);
});

test('a template without a room version is one of version 1', async (t) => {
  const room = new RemoteRoom('1');
  const home = house(
    t,
    resident(room, ({ operation }) => {
      if (operation !== 'v1/make_join') return undefined;
      const { room_version: _version, ...template } = room.template(alice, 'join');
      return template;
    }),
  );
  await joinAs(home, room);
  assert.equal(home.rooms.events.findRoom(room.roomId)?.version.id, '1');
});

test('the next server is asked where one cannot be reached or does not know the room', async (t) => {
  const room = new RemoteRoom('11');
  const honest = resident(room);
  const home = house(t, (asked) => {
    if (asked.server === FAR) throw unreachable(FAR);
    return honest(asked);
  });
  await joinAs(home, room, alice, [FAR, AWAY]);
  assert.deepEqual(home.operations(), ['far.test v1/make_join', 'away.test v1/make_join', 'away.test v2/send_join']);
});

test('the answer that says most is what the client is told, in the words of the server that gave it', async (t) => {
  const room = new RemoteRoom('11');
  const answers: Record<string, Error> = {
    [FAR]: refusal(FAR, 404, 'M_NOT_FOUND'),
    [AWAY]: refusal(AWAY, 403, 'M_FORBIDDEN'),
  };
  const home = house(t, ({ server }) => {
    throw answers[server] ?? unreachable(server);
  });
  const error = await refused(joinAs(home, room, alice, [FAR, AWAY]));
  assert.equal(error.errcode, 'M_FORBIDDEN');
  assert.equal(error.message, 'No (M_FORBIDDEN)');
  assertOutside(home, room);
});

for (const [errcode, status] of [
  ['M_INCOMPATIBLE_ROOM_VERSION', 400],
  ['M_UNABLE_TO_AUTHORISE_JOIN', 400],
  ['M_UNABLE_TO_GRANT_JOIN', 400],
  ['M_SOMETHING_OF_THEIR_OWN', 400],
  ['M_NOT_FOUND', 404],
] as const) {
  test(`${errcode} of the other server reaches the client`, async (t) => {
    const room = new RemoteRoom('11');
    const home = house(t, ({ server }) => {
      throw refusal(server, status, errcode, { room_version: 'x' });
    });
    const error = await refused(joinAs(home, room));
    assert.deepEqual([error.errcode, error.status], [errcode, status]);
    assert.equal(error.fields['room_version'], errcode === 'M_INCOMPATIBLE_ROOM_VERSION' ? 'x' : undefined);
  });
}

for (const errcode of ['M_UNKNOWN_TOKEN', 'M_USER_DEACTIVATED', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED']) {
  test(`${errcode} of the other server is not taken for an error of the client`, async (t) => {
    const room = new RemoteRoom('11');
    const home = house(t, ({ server }) => {
      throw refusal(server, 403, errcode);
    });
    const error = await refused(joinAs(home, room));
    assert.deepEqual([error.errcode, error.status], ['M_UNKNOWN', 502]);
  });
}

test('without a server to ask there is no way into a room', async (t) => {
  const room = new RemoteRoom('11');
  const home = house(t, resident(room));
  const error = await refused(joinAs(home, room, alice, []));
  assert.equal(error.errcode, 'M_NOT_FOUND');
  assert.deepEqual(home.operations(), []);
});

const liars: Record<string, (template: JsonObject) => JsonValue> = {
  'of another room': (event) => ({ ...event, room_id: '!other:away.test' }),
  'for another user': (event) => ({ ...event, state_key: bob }),
  'by another user': (event) => ({ ...event, sender: bob }),
  'of another type': (event) => ({ ...event, type: 'm.room.name' }),
  'with another membership': (event) => ({ ...event, content: { membership: 'leave' } }),
  'without predecessors': ({ prev_events: _prev, ...event }) => event,
  'with a depth that is none': (event) => ({ ...event, depth: 'deep' }),
  'with too many auth events': (event) => ({ ...event, auth_events: Array.from({ length: 11 }, (_, i) => `$${i}`) }),
  'that is none': () => 'event',
};
for (const [what, lie] of Object.entries(liars)) {
  test(`a template ${what} is not signed`, async (t) => {
    const room = new RemoteRoom('11');
    const home = house(t, () => {
      const { event, ...rest } = room.template(alice, 'join');
      assert(isJsonObject(event));
      return { ...rest, event: lie(event) };
    });
    const error = await refused(joinAs(home, room));
    assert.equal(error.status, 502);
    assert.deepEqual(home.operations(), ['away.test v1/make_join']);
  });
}

test('what a template says beside its place in the graph is not signed', async (t) => {
  const room = new RemoteRoom('11');
  const home = house(
    t,
    resident(room, ({ operation }) => {
      if (operation !== 'v1/make_join') return undefined;
      const template = room.template(alice, 'join', { displayname: 'Mallory', 'org.evil': true });
      const event = template['event'];
      assert(isJsonObject(event));
      return { ...template, event: { ...event, redacts: '$x', extra: 1 } };
    }),
  );
  await joinAs(home, room);
  const sent = home.asked.at(-1)?.request.body;
  assert.deepEqual(sent?.['content'], content);
  assert.equal(sent['extra'], undefined);
  assert.equal(sent['redacts'], undefined);
});

/** A resident whose answer to send_join is changed. */
function lying(
  room: RemoteRoom,
  change: (answer: { state: JsonValue[]; auth_chain: JsonValue[] }) => JsonValue | { pieces: Iterable<string> },
): Play {
  return resident(room, ({ operation, request }) => {
    if (operation !== 'v2/send_join') return undefined;
    const { event: _event, ...answer } = room.acceptJoin(request.body);
    return change(answer);
  });
}

function without(pdus: readonly JsonValue[], type: string, stateKey = ''): JsonValue[] {
  return pdus.filter((pdu) => !(isJsonObject(pdu) && pdu['type'] === type && pdu['state_key'] === stateKey));
}

test('a room without its create event is refused, and the next server asked', async (t) => {
  const room = new RemoteRoom('10');
  const lie = lying(room, (answer) => ({ ...answer, state: without(answer.state, 'm.room.create') }));
  const honest = resident(room);
  const home = house(t, (asked) => (asked.server === FAR ? lie(asked) : honest(asked)));
  const error = await refused(joinAs(home, room, alice, [FAR]));
  assert.equal(error.status, 502);
  assertOutside(home, room);
  await joinAs(home, room, alice, [FAR, AWAY]);
  assert.equal(home.rooms.members.isJoined(room.roomId, alice), true);
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

const wrongAnswers: Record<string, (room: RemoteRoom) => Play> = {
  'whose create event is not in the auth chain either': (room) =>
    lying(room, ({ state, auth_chain: chain }) => ({
      state: without(state, 'm.room.create'),
      auth_chain: without(chain, 'm.room.create'),
    })),
  'whose auth chain lacks the power levels': (room) =>
    lying(room, ({ state, auth_chain: chain }) => ({
      state: without(state, 'm.room.power_levels'),
      auth_chain: without(chain, 'm.room.power_levels'),
    })),
  'with a key of the state twice': (room) =>
    lying(room, ({ state, auth_chain: chain }) => {
      const other = room.build({ type: 'm.room.name', sender: dora, stateKey: '', content: { name: 'Two' } });
      return { state: [...state, other.pdu], auth_chain: chain };
    }),
  'with a create event of another version': (room) =>
    resident(room, ({ operation }) =>
      operation === 'v1/make_join' ? { ...room.template(alice, 'join'), room_version: '9' } : undefined,
    ),
  'of a version nobody offered': (room) =>
    resident(room, ({ operation }) =>
      operation === 'v1/make_join' ? { ...room.template(alice, 'join'), room_version: 'org.new' } : undefined,
    ),
  'that ends in the middle': (room) => lying(room, (answer) => ({ pieces: [JSON.stringify(answer).slice(0, -200)] })),
  'that is no JSON': (room) => lying(room, () => ({ pieces: ['<html>'] })),
  'that is a list': (room) => lying(room, (answer) => [200, answer]),
  'without lists': (room) => lying(room, () => ({ state: {}, auth_chain: 7 })),
  'with a join that is not ours': (room) =>
    lying(room, (answer) => ({ ...answer, event: room.find('m.room.member', dora).pdu })),
  'in which the join is not allowed': (room) =>
    lying(room, ({ state, auth_chain: chain }) => {
      const rules = room.build({
        type: 'm.room.join_rules',
        sender: dora,
        stateKey: '',
        content: { join_rule: 'invite' },
      });
      return { state: [...without(state, 'm.room.join_rules'), rules.pdu], auth_chain: chain };
    }),
};
for (const [what, play] of Object.entries(wrongAnswers)) {
  test(`a room is not joined by an answer ${what}`, async (t) => {
    const room = new RemoteRoom('10');
    const home = house(t, play(room));
    const error = await refused(joinAs(home, room));
    assert.equal(error.status, 502, error.message);
    assertOutside(home, room);
  });
}

test('events that are forged, of other rooms or in a circle are left out, and the room is joined without them', async (t) => {
  const room = new RemoteRoom('10');
  const other = new RemoteRoom('10');
  const forged = room.build({ type: 'm.room.topic', sender: dora, stateKey: '', content: { topic: 'Forged' } });
  const rootless = room.build(
    { type: 'm.room.avatar', sender: dora, stateKey: '', content: { url: 'mxc://away.test/a' } },
    { auth: [room.find('m.room.create'), other.find('m.room.member', dora)] },
  );
  const unallowed = room.build(member(fred, 'join'), { auth: [room.find('m.room.create')] });
  const changed = room.send({
    type: 'm.room.guest_access',
    sender: dora,
    stateKey: '',
    content: { guest_access: 'x' },
  });
  const home = house(
    t,
    lying(room, ({ state, auth_chain: chain }) => ({
      state: [
        { ...forged.pdu, signatures: { [AWAY]: { 'ed25519:x': 'bm8' } } },
        rootless.pdu,
        unallowed.pdu,
        other.find('m.room.name').pdu,
        'nonsense',
        null,
        ...without(state, 'm.room.guest_access'),
        { ...changed.pdu, content: { guest_access: 'changed on the way' } },
        { pad: 'x'.repeat(200_000) },
      ],
      auth_chain: chain,
    })),
  );
  await joinAs(home, room);
  const { state, members } = home.rooms;
  assert.equal(state.findCurrent(room.roomId, 'm.room.topic', ''), undefined);
  assert.equal(state.findCurrent(room.roomId, 'm.room.avatar', ''), undefined);
  assert.equal(state.findCurrent(room.roomId, 'm.room.name', '')?.content['name'], 'Away');
  assert.equal(members.findMember(room.roomId, fred), undefined);
  // What was tampered with counts in its redacted form.
  assert.deepEqual(state.findCurrent(room.roomId, 'm.room.guest_access', '')?.content, {});
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('an auth chain in a circle is dropped without an end', async (t) => {
  const room = new RemoteRoom('1');
  const first = room.build({ type: 'm.room.topic', sender: dora, stateKey: 'a' });
  const second = room.build(
    { type: 'm.room.topic', sender: dora, stateKey: 'b' },
    { auth: [room.find('m.room.create'), first] },
  );
  // In this version the ID is given, so a circle can be closed.
  const closed = room.build({ type: 'm.room.topic', sender: dora, stateKey: 'a' }, { auth: [second] });
  const renamed = signedBy({ ...closed, pdu: { ...closed.pdu, event_id: first.eventId } }, AWAY);
  const home = house(
    t,
    lying(room, ({ state, auth_chain: chain }) => ({ state: [...state, second.pdu], auth_chain: [renamed, ...chain] })),
  );
  await joinAs(home, room);
  assert.equal(home.rooms.state.findCurrent(room.roomId, 'm.room.topic', 'b'), undefined);
  assert.equal(home.rooms.events.findEvent(first.eventId), undefined);
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('a restricted join stands with the signature of the server that vouches for it, and only then', async (t) => {
  for (const isSigned of [true, false]) {
    const room = new RemoteRoom('10', { joinRule: 'restricted' });
    const home = house(
      t,
      resident(room, ({ operation, request }) => {
        if (operation === 'v1/make_join') {
          return room.template(alice, 'join', { join_authorised_via_users_server: dora });
        }
        if (operation !== 'v2/send_join') return undefined;
        const { event, ...answer } = room.acceptJoin(request.body);
        return { ...answer, event: isSigned ? signedBy(event, AWAY) : event.pdu };
      }),
    );
    if (!isSigned) {
      assert.equal((await refused(joinAs(home, room))).status, 502);
      assertOutside(home, room);
      continue;
    }
    await joinAs(home, room);
    const join = home.rooms.state.findCurrent(room.roomId, 'm.room.member', alice);
    assert.equal(join?.content['join_authorised_via_users_server'], dora);
    const { signatures } = join.pdu;
    assert.deepEqual(isJsonObject(signatures) && Object.keys(signatures).toSorted(), ['away.test', 'hearth.test']);
  }
});

test('members that a server left out are fetched before the room counts as joined', async (t) => {
  const room = new RemoteRoom('11');
  for (const other of [erin, fred]) room.send(member(other, 'join'));
  let full: JsonObject = {};
  const home = house(
    t,
    resident(room, ({ operation, request, params }) => {
      if (operation === 'v1/state') {
        assert.deepEqual(params, [room.roomId]);
        assert.equal(request.query?.['event_id'], room.latest?.eventId);
        return full;
      }
      if (operation !== 'v2/send_join') return undefined;
      const { event, state, auth_chain: chain } = room.acceptJoin(request.body);
      full = { pdus: state, auth_chain: chain };
      const partial = state.filter((pdu) => isJsonObject(pdu) && pdu['type'] !== 'm.room.member');
      return {
        event: event.pdu,
        state: partial,
        auth_chain: chain,
        members_omitted: true,
        servers_in_room: [AWAY, FAR],
      };
    }),
  );
  await joinAs(home, room);
  assert.equal(home.rooms.members.countMembers(room.roomId, 'join'), 4);
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('two users of one server who join at once need one handshake', async (t) => {
  const room = new RemoteRoom('12');
  const home = house(t, resident(room));
  await Promise.all([joinAs(home, room, alice), joinAs(home, room, bob)]);
  assert.deepEqual(home.operations(), ['away.test v1/make_join', 'away.test v2/send_join']);
  assert.deepEqual(new Set(home.rooms.members.listLocalJoined(room.roomId)), new Set([alice, bob]));
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('a room that was left is joined again as it is now, and what was said before is kept', async (t) => {
  const room = new RemoteRoom('11');
  const home = house(t, resident(room));
  const { roomId } = room;
  const { sender, state, members, timeline } = home.rooms;
  await joinAs(home, room);
  const said = await sender.send({ roomId, type: 'm.room.message', sender: alice, content: { body: 'Bye' } });
  const left = await sender.send({
    roomId,
    type: 'm.room.member',
    sender: alice,
    stateKey: alice,
    content: { membership: 'leave' },
  });
  room.take(said);
  room.take(left);
  // Meanwhile, unseen:
  room.send({ type: 'm.room.name', sender: dora, stateKey: '', content: { name: 'Renamed' } });
  room.send(member(erin, 'join'));
  room.send(member(erin, 'leave'));
  room.send(member(fred, 'join'));
  assert.deepEqual(members.listLocalJoined(roomId), []);

  await joinAs(home, room);
  assert.equal(state.findCurrent(roomId, 'm.room.name', '')?.content['name'], 'Renamed');
  assert.equal(members.isJoined(roomId, fred), true);
  assert.equal(members.findMember(roomId, erin)?.membership, 'leave');
  assert.deepEqual(
    members.listMembershipChanges(alice, 0 as StreamPosition, home.db.position()).map(({ after }) => after.membership),
    ['join', 'leave', 'join'],
  );
  const { events } = timeline.page({ roomId, from: undefined, direction: 'b', limit: 10 });
  assert.ok(events.some(({ eventId }) => eventId === said.eventId));
  const next = await sender.send({ roomId, type: 'm.room.message', sender: alice, content: { body: 'Back' } });
  assert.deepEqual(next.prevEvents, [state.findCurrent(roomId, 'm.room.member', alice)?.eventId]);
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('a room that is rejoined right after it was left needs nobody to tell its state', async (t) => {
  const room = new RemoteRoom('11');
  const home = house(
    t,
    lying(room, (answer) => answer),
  );
  const { roomId } = room;
  await joinAs(home, room);
  const left = await home.rooms.sender.send({
    roomId,
    type: 'm.room.member',
    sender: alice,
    stateKey: alice,
    content: { membership: 'leave' },
  });
  room.take(left);
  await joinAs(home, room);
  const join = home.rooms.state.findCurrent(roomId, 'm.room.member', alice);
  assert.deepEqual(join?.prevEvents, [left.eventId]);
  assert.equal(home.rooms.state.stateBefore(join.eventId)?.find('m.room.member', alice), left.eventId);
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('a member of ours whom nobody here can vouch for is joined through another server while we are in the room', async (t) => {
  const room = new RemoteRoom('10', { joinRule: 'restricted' });
  room.send(member(alice, 'invite', dora));
  const home = house(
    t,
    resident(room, ({ operation, request, params }) => {
      if (operation === 'v1/make_join' && params[1] === bob) {
        return room.template(bob, 'join', { join_authorised_via_users_server: dora });
      }
      if (operation !== 'v2/send_join') return undefined;
      const { event, ...answer } = room.acceptJoin(request.body);
      return { ...answer, event: signedBy(event, AWAY) };
    }),
  );
  await joinAs(home, room);
  const before = home.rooms.timeline.findLatest(room.roomId);
  await joinAs(home, room, bob);
  assert.equal(home.rooms.members.isJoined(room.roomId, bob), true);
  const join = home.rooms.state.findCurrent(room.roomId, 'm.room.member', bob);
  assert.deepEqual(join?.prevEvents, [before?.eventId]);
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('a room larger than the configuration allows is not joined, be it said before or found out after', async (t) => {
  for (const isSaid of [true, false]) {
    const room = new RemoteRoom('11');
    for (let index = 0; index < 20; index += 1) {
      room.send({ type: 'org.example.state', sender: dora, stateKey: `${index}`, content: {} });
    }
    const limit = { complexity: 0.02, error: 'Too large for us', adminsCanJoin: true };
    const home = house(
      t,
      resident(room, ({ operation, params }) =>
        isSaid && operation === 'unstable/rooms' ? (assert.equal(params[1], 'complexity'), { v1: 5.5 }) : undefined,
      ),
      { limit, isAdmin: (userId) => userId === bob },
    );
    const error = await refused(joinAs(home, room));
    assert.deepEqual(
      [error.errcode, error.message, error.status],
      ['M_RESOURCE_LIMIT_EXCEEDED', 'Too large for us', 400],
    );
    assert.deepEqual(home.rooms.members.listLocalJoined(room.roomId), []);
    assert.equal(home.operations().includes('away.test v2/send_join'), !isSaid);
    if (!isSaid) continue;
    await joinAs(home, room, bob);
    assert.equal(home.rooms.members.isJoined(room.roomId, bob), true);
  }
});

test('an invite that lied about the version of its room does not keep the user out of it', async (t) => {
  const room = new RemoteRoom('10');
  const invite = room.send(member(alice, 'invite', dora));
  const home = house(t, resident(room));
  // As the same event would be in another version.
  const wrong = new RemoteRoom('9');
  const lie = wrong.build({ ...member(alice, 'invite', dora), content: { membership: 'invite' } });
  home.db.write((tx) => {
    home.rooms.outside.put(tx, { ...lie, roomId: room.roomId, pdu: { ...lie.pdu, room_id: room.roomId } }, {});
  });
  assert.equal(home.rooms.events.findRoom(room.roomId)?.version.id, '9');
  await joinAs(home, room);
  assert.equal(home.rooms.events.findRoom(room.roomId)?.version.id, '10');
  assert.equal(home.rooms.members.isJoined(room.roomId, alice), true);
  assert.equal(
    home.rooms.state
      .stateBefore(home.rooms.timeline.findLatest(room.roomId)?.eventId ?? invite.eventId)
      ?.find('m.room.member', alice),
    invite.eventId,
  );
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('an answer that breaks off, or grows beyond all bounds, brings nobody into the room', async (t) => {
  const failures = [new Error('socket hang up'), new FederationError('malformed', AWAY, 'too large')];
  for (const failure of failures) {
    const room = new RemoteRoom('11');
    const home = house(
      t,
      resident(room, ({ operation, request }) => {
        if (operation !== 'v2/send_join') return undefined;
        const text = JSON.stringify(room.acceptJoin(request.body));
        async function* pieces(): AsyncGenerator<string, void, undefined> {
          yield text.slice(0, text.length / 2);
          throw failure;
        }
        return { pieces: pieces() };
      }),
    );
    assert.equal((await refused(joinAs(home, room))).status, 502);
    assertOutside(home, room);
  }
});

test('a join whose last step fails leaves the user outside, and works the next time', async (t) => {
  const room = new RemoteRoom('11');
  room.send(member(fred, 'join'));
  let isBroken = true;
  const home = house(t, resident(room), {
    projections: [
      {
        name: 'fails once',
        project: () => {
          if (isBroken) throw new Error('no room on the disk');
        },
      },
    ],
  });
  await assert.rejects(joinAs(home, room), /no room on the disk/);
  assertOutside(home, room);
  isBroken = false;
  // Meanwhile somebody left whose place was written already.
  room.send(member(fred, 'leave'));
  room.send(member(erin, 'join'));
  const again = await home.reopen();
  await joinAs(again, room);
  assert.equal(again.rooms.members.isJoined(room.roomId, alice), true);
  assert.equal(again.rooms.members.findMember(room.roomId, fred)?.membership, 'leave');
  assert.deepEqual(again.rooms.checkConsistency(), []);
});

test('a server that is being left alone is asked all the same when there is no other', async (t) => {
  const room = new RemoteRoom('11');
  const honest = resident(room);
  const home = house(t, (asked) => {
    if (asked.request.ignoreBackoff !== true) throw new FederationError('backing-off', asked.server, 'left alone');
    return honest(asked);
  });
  await joinAs(home, room);
  assert.equal(home.rooms.members.isJoined(room.roomId, alice), true);
});

test('projections see the whole state come with the join, once, but for the members of other servers', async (t) => {
  const room = new RemoteRoom('11');
  room.send(member(erin, 'join'));
  const seen: { type: string; keys: string[] }[] = [];
  const home = house(t, resident(room), {
    projections: [
      {
        name: 'spy',
        project: (_tx, event, { stateDeltas }) => {
          seen.push({ type: event.type, keys: stateDeltas.map(({ type, stateKey }) => stateKeyOf(type, stateKey)) });
          const { members } = home.rooms;
          assert.equal(members.countMembers(room.roomId, 'join'), 3);
        },
      },
    ],
  });
  await joinAs(home, room);
  const others = new Set([dora, erin].map((userId) => stateKeyOf('m.room.member', userId)));
  assert.equal(seen.length, 1);
  assert.equal(seen[0]?.type, 'm.room.member');
  assert.deepEqual(seen[0]?.keys.sort(), [...room.state.keys()].filter((key) => !others.has(key)).sort());
  assert.equal(room.state.has(stateKeyOf('m.room.member', alice)), true);
});
