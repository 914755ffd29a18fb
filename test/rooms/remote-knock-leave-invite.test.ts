import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MatrixError } from '../../server/matrix/errors.ts';
import { parsePdu } from '../../server/matrix/events/parse.ts';
import type { RoomId } from '../../server/matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../server/matrix/json.ts';
import { roomVersions } from '../../server/matrix/room-versions.ts';
import {
  alice,
  AWAY,
  dora,
  erin,
  FAR,
  fred,
  HOME,
  type House,
  house,
  member,
  type Play,
  refusal,
  RemoteRoom,
  resident,
  signedBy,
  unreachable,
  versionOf,
} from './remote-kit.ts';

async function refused(promise: Promise<void>): Promise<MatrixError> {
  try {
    await promise;
  } catch (error) {
    assert(error instanceof MatrixError, String(error));
    return error;
  }
  assert.fail('it went well');
}

function typesShown(home: House, roomId: RoomId): unknown[] {
  return home.rooms.members.listStrippedState(roomId, alice).map(({ type }) => type);
}

/** An invite of Alice to Dora's room, as it comes by the federation API. */
function invited(home: House, room: RemoteRoom): void {
  const invite = room.send(member(alice, 'invite', dora));
  const strippedState = [{ type: 'm.room.name', state_key: '', sender: dora, content: { name: 'Away' } }];
  home.db.write((tx) => {
    assert(home.rooms.outside.put(tx, invite, { strippedState }));
  });
}

for (const version of [...roomVersions.values()].filter(({ knocking }) => knocking)) {
  test(`version ${version.id}: a knock is handed in and remembered with what the room shows of itself`, async (t) => {
    const room = new RemoteRoom(version.id, { joinRule: 'knock' });
    const home = house(t, resident(room));
    const { roomId } = room;
    await home.remote.knock({ userId: alice, roomId, servers: [AWAY], content: { reason: 'Please' } });
    const { members } = home.rooms;
    assert.equal(members.findMember(roomId, alice)?.membership, 'knock');
    assert.deepEqual(typesShown(home, roomId), ['m.room.create', 'm.room.name']);
    assert.deepEqual(room.find('m.room.member', alice).content, { membership: 'knock', reason: 'Please' });
    assert.deepEqual(home.rooms.checkConsistency(), []);

    // Taken back again.
    await home.remote.leave({ userId: alice, roomId, content: {} });
    assert.deepEqual(home.operations().slice(2), ['away.test v1/make_leave', 'away.test v2/send_leave']);
    assert.equal(members.findMember(roomId, alice)?.membership, 'leave');
    assert.equal(room.find('m.room.member', alice).content['membership'], 'leave');
    assert.deepEqual(members.listStrippedState(roomId, alice), []);
    assert.deepEqual(home.rooms.checkConsistency(), []);
  });
}

test('what is shown for a knock is left out where it is forged, of another room or no state', async (t) => {
  const room = new RemoteRoom('11', { joinRule: 'knock' });
  const other = new RemoteRoom('11');
  const forged = room.build({ type: 'm.room.topic', sender: dora, stateKey: '', content: { topic: 'x' } });
  const home = house(
    t,
    resident(room, ({ operation }) => {
      if (operation !== 'v1/send_knock') return undefined;
      return {
        knock_room_state: [
          room.find('m.room.create').pdu,
          { ...forged.pdu, signatures: {} },
          other.find('m.room.name').pdu,
          room.build({ type: 'm.room.message', sender: dora, content: { body: 'x' } }).pdu,
          // As servers sent it before they sent whole events.
          { type: 'm.room.avatar', state_key: '', sender: dora, content: { url: 'mxc://away.test/a' } },
          { type: 'm.room.avatar', state_key: '', sender: 'nobody', content: {} },
          7,
          ...Array.from({ length: 200 }, () => ({
            type: 'x',
            state_key: '',
            sender: dora,
            content: { x: 'x'.repeat(9_000) },
          })),
        ],
      };
    }),
  );
  await home.remote.knock({ userId: alice, roomId: room.roomId, servers: [AWAY], content: {} });
  const types = typesShown(home, room.roomId);
  assert.deepEqual(types.slice(0, 2), ['m.room.create', 'm.room.avatar']);
  assert.ok(types.length < 62, 'not all of a flood is kept');
});

test('a knock that is refused leaves nothing behind', async (t) => {
  const room = new RemoteRoom('11', { joinRule: 'knock' });
  const home = house(
    t,
    resident(room, ({ operation, server }) => {
      if (operation === 'v1/send_knock') throw refusal(server, 403, 'M_FORBIDDEN');
      return undefined;
    }),
  );
  const error = await refused(home.remote.knock({ userId: alice, roomId: room.roomId, servers: [AWAY], content: {} }));
  assert.equal(error.errcode, 'M_FORBIDDEN');
  assert.equal(home.rooms.members.findMember(room.roomId, alice), undefined);
});

for (const version of roomVersions.keys()) {
  test(`version ${version}: an invite is rejected where it came from`, async (t) => {
    const room = new RemoteRoom(version);
    const home = house(t, resident(room));
    const { roomId } = room;
    invited(home, room);
    await home.remote.leave({ userId: alice, roomId, content: { reason: 'No' } });
    assert.deepEqual(home.operations(), ['away.test v1/make_leave', 'away.test v2/send_leave']);
    const { members } = home.rooms;
    assert.equal(members.findMember(roomId, alice)?.eventId, room.find('m.room.member', alice).eventId);
    assert.deepEqual(room.find('m.room.member', alice).content, { reason: 'No', membership: 'leave' });
    assert.deepEqual(home.rooms.checkConsistency(), []);
  });

  test(`version ${version}: an invite is gone here even if its server is`, async (t) => {
    const room = new RemoteRoom(version);
    const home = house(t, ({ server }) => {
      throw unreachable(server);
    });
    const { roomId } = room;
    invited(home, room);
    const change = { userId: alice, roomId, content: { reason: 'No' } };
    await home.remote.leave(change);
    const { members } = home.rooms;
    const left = members.findMember(roomId, alice);
    assert.equal(left?.membership, 'leave');
    assert.equal(left.sender, alice);
    const event = home.rooms.events.findEvent(left.eventId);
    assert.deepEqual([event?.outlier, event?.content], [true, { reason: 'No', membership: 'leave' }]);
    assert.deepEqual(home.rooms.checkConsistency(), []);
    // There is nothing left to leave.
    await home.remote.leave(change);
    assert.equal(home.asked.length, 1);
    assert.deepEqual((await home.reopen()).rooms.checkConsistency(), []);
  });
}

test('servers that know only the first version of leaving get that', async (t) => {
  const room = new RemoteRoom('6');
  const home = house(
    t,
    resident(room, ({ operation, server, request }) => {
      if (operation === 'v2/send_leave') throw refusal(server, 404, undefined);
      if (operation === 'v1/send_leave') {
        room.acceptJoin(request.body);
        return [200, {}];
      }
      return undefined;
    }),
  );
  invited(home, room);
  await home.remote.leave({ userId: alice, roomId: room.roomId, content: {} });
  assert.equal(room.find('m.room.member', alice).content['membership'], 'leave');
});

test('an invite from a server that is gone is rejected through another one of the room', async (t) => {
  const room = new RemoteRoom('11');
  const honest = resident(room);
  const home = house(t, (asked) => {
    if (asked.server === AWAY) throw unreachable(AWAY);
    return honest(asked);
  });
  const invite = room.send(member(alice, 'invite', dora));
  const strippedState = [{ type: 'm.room.member', state_key: fred, sender: fred, content: { membership: 'join' } }];
  home.db.write((tx) => void home.rooms.outside.put(tx, invite, { strippedState }));
  await home.remote.leave({ userId: alice, roomId: room.roomId, content: {} });
  assert.deepEqual(home.operations(), ['away.test v1/make_leave', 'far.test v1/make_leave', 'far.test v2/send_leave']);
});

/** A room of Alice's here. */
async function ownRoom(home: House, version: string): Promise<RoomId> {
  const roomVersion = versionOf(version);
  const { roomId } = await home.rooms.sender.createRoom({
    version: roomVersion,
    creator: alice,
    createContent: {},
    events: () => [
      { type: 'm.room.member', sender: alice, stateKey: alice, content: { membership: 'join' } },
      {
        type: 'm.room.power_levels',
        sender: alice,
        stateKey: '',
        content: roomVersion.privilegedCreators ? {} : { users: { [alice]: 100 } },
      },
      { type: 'm.room.name', sender: alice, stateKey: '', content: { name: 'Ours' } },
    ],
  });
  return roomId;
}

/** The invited user's server, which signs what it is sent. */
function signing(version: string): Play {
  return ({ operation, request }) => {
    if (operation !== 'v2/invite') return undefined;
    const event = request.body?.['event'];
    const parsed = parsePdu(event, versionOf(version));
    assert(parsed.ok);
    return { event: signedBy(parsed.event, AWAY) };
  };
}

for (const version of roomVersions.keys()) {
  test(`version ${version}: an invite is part of the room once the invited user's server has signed it`, async (t) => {
    const home = house(t, signing(version));
    const roomId = await ownRoom(home, version);
    await home.remote.invite({ userId: dora, roomId, sender: alice, content: { membership: 'invite' } });
    const event = home.rooms.state.findCurrent(roomId, 'm.room.member', dora);
    const signatures = event?.pdu['signatures'];
    assert(isJsonObject(signatures));
    assert.deepEqual(Object.keys(signatures).toSorted(), [AWAY, HOME]);
    const body = home.asked[0]?.request.body;
    assert.equal(body?.['room_version'], version);
    const shown = body['invite_room_state'];
    assert(Array.isArray(shown));
    // Whole events, so that they can be checked.
    for (const pdu of shown) assert(parsePdu(pdu, versionOf(version)).ok);
    const types = shown.map((pdu: JsonObject) => pdu['type']);
    assert.deepEqual(types, ['m.room.create', 'm.room.name', 'm.room.member']);
    assert.deepEqual(home.asked[0]?.params, [roomId, event?.eventId]);
    assert.deepEqual(home.rooms.checkConsistency(), []);
  });
}

test('servers that know only the first version of inviting get that, in rooms they may know', async (t) => {
  for (const version of ['2', '6']) {
    const home = house(t, ({ operation, request, server }) => {
      if (operation === 'v2/invite') throw refusal(server, 404, undefined);
      assert.equal(operation, 'v1/invite');
      const { unsigned, ...pdu } = request.body ?? {};
      assert(isJsonObject(unsigned) && Array.isArray(unsigned['invite_room_state']));
      const parsed = parsePdu(pdu, versionOf(version));
      assert(parsed.ok);
      return [200, { event: signedBy(parsed.event, AWAY) }];
    });
    const roomId = await ownRoom(home, version);
    const inviting = home.remote.invite({ userId: dora, roomId, sender: alice, content: { membership: 'invite' } });
    if (version === '2') await inviting;
    else assert.equal((await refused(inviting)).status, 502);
    assert.equal(home.rooms.members.findMember(roomId, dora)?.membership, version === '2' ? 'invite' : undefined);
  }
});

const wrongInvites: Record<string, (event: JsonObject) => JsonObject> = {
  'comes back unsigned': (event) => ({ event }),
  'does not come back': () => ({}),
  'comes back signed by another server': (event) => {
    const parsed = parsePdu(event, versionOf('11'));
    assert(parsed.ok);
    return { event: signedBy(parsed.event, FAR) };
  },
  'comes back with a forged signature': (event) => ({
    event: { ...event, signatures: { [AWAY]: { 'ed25519:auto': 'c2lnbmF0dXJl' } } },
  }),
};
for (const [what, answer] of Object.entries(wrongInvites)) {
  test(`an invite that ${what} does not become part of the room`, async (t) => {
    const home = house(t, ({ request }) => {
      const event = request.body?.['event'];
      assert(isJsonObject(event));
      return answer(event);
    });
    const roomId = await ownRoom(home, '11');
    const error = await refused(
      home.remote.invite({ userId: dora, roomId, sender: alice, content: { membership: 'invite' } }),
    );
    assert.equal(error.status, 502);
    assert.equal(home.rooms.members.findMember(roomId, dora), undefined);
  });
}

test("the invited user's server may refuse, in its own words", async (t) => {
  const home = house(t, ({ server }) => {
    throw refusal(server, 403, 'M_INVITE_BLOCKED');
  });
  const roomId = await ownRoom(home, '11');
  const error = await refused(
    home.remote.invite({ userId: dora, roomId, sender: alice, content: { membership: 'invite' } }),
  );
  assert.deepEqual([error.errcode, error.status], ['M_INVITE_BLOCKED', 403]);
});

test('who may not invite is told so before any other server hears of it', async (t) => {
  const home = house(t, signing('11'));
  const roomId = await ownRoom(home, '11');
  const error = await refused(
    home.remote.invite({ userId: erin, roomId, sender: dora, content: { membership: 'invite' } }),
  );
  assert.equal(error.errcode, 'M_FORBIDDEN');
  assert.deepEqual(home.operations(), []);
});

test('an invite keeps its place when the room moves on while the other server thinks, and fails if it may not be any more', async (t) => {
  for (const isAllowed of [true, false]) {
    const sign = signing('11');
    const home = house(t, async (asked) => {
      const { sender } = home.rooms;
      await sender.send({ roomId, type: 'm.room.message', sender: alice, content: { body: 'Meanwhile' } });
      if (!isAllowed) {
        const draft = { roomId, type: 'm.room.power_levels', sender: alice, stateKey: '' };
        await sender.send({ ...draft, content: { users: { [alice]: 100 }, invite: 101 } });
      }
      return sign(asked);
    });
    const roomId = await ownRoom(home, '11');
    const before = home.rooms.timeline.findLatest(roomId);
    const inviting = home.remote.invite({ userId: dora, roomId, sender: alice, content: { membership: 'invite' } });
    if (isAllowed) {
      await inviting;
      assert.deepEqual(home.rooms.state.findCurrent(roomId, 'm.room.member', dora)?.prevEvents, [before?.eventId]);
    } else {
      assert.equal((await refused(inviting)).errcode, 'M_FORBIDDEN');
      assert.equal(home.rooms.members.findMember(roomId, dora), undefined);
    }
    assert.deepEqual(home.rooms.checkConsistency(), []);
  }
});

test('an invite that came back by another way meanwhile is not stored twice', async (t) => {
  const sign = signing('11');
  const home = house(t, async (asked) => {
    const answer = await sign(asked);
    assert(isJsonObject(answer));
    const acceptance = await home.rooms.inbox.accept(answer['event']);
    assert.equal(acceptance.kind, 'stored');
    return answer;
  });
  const roomId = await ownRoom(home, '11');
  await home.remote.invite({ userId: dora, roomId, sender: alice, content: { membership: 'invite' } });
  assert.equal(home.rooms.members.findMember(roomId, dora)?.membership, 'invite');
  assert.deepEqual(home.rooms.checkConsistency(), []);
});
