import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomEvent } from '../../server/matrix/events/event.ts';
import type { RoomId } from '../../server/matrix/identifiers.ts';
import type { JsonObject } from '../../server/matrix/json.ts';
import { STREAM_START } from '../../server/storage/types.ts';
import { alice, AWAY, bob, dora, erin, type House, house, member, RemoteRoom, resident } from './remote-kit.ts';

function put(home: House, event: RoomEvent, strippedState: readonly JsonObject[] = []): boolean {
  return home.db.write((tx) => home.rooms.outside.put(tx, event, { strippedState }) !== undefined);
}

function membershipOf(home: House, roomId: RoomId, userId = alice): string | undefined {
  return home.rooms.members.findMember(roomId, userId)?.membership;
}

function history(home: House): string[] {
  const { members } = home.rooms;
  return members.listMembershipChanges(alice, STREAM_START, home.db.position()).map(({ after }) => after.membership);
}

const name = { type: 'm.room.name', state_key: '', sender: dora, content: { name: 'Away' } };

test('users invited to a room nobody of theirs is in are told so, each with what the room shows', async (t) => {
  const room = new RemoteRoom('12');
  const home = house(t, resident(room));
  const { roomId } = room;
  assert.equal(put(home, room.send(member(alice, 'invite', dora)), [name]), true);
  assert.equal(put(home, room.send(member(bob, 'invite', dora)), []), true);
  const { members } = home.rooms;
  assert.deepEqual(
    members.listRoomsOf(alice, ['invite']).map((one) => one.roomId),
    [roomId],
  );
  assert.deepEqual(members.listStrippedState(roomId, alice), [name]);
  assert.deepEqual(members.listStrippedState(roomId, bob), []);
  assert.equal(membershipOf(home, roomId, bob), 'invite');
  assert.equal(home.rooms.state.currentState(roomId).size, 0);
  assert.deepEqual(members.listServers(roomId), []);
  assert.deepEqual(home.rooms.checkConsistency(), []);
  const again = await home.reopen();
  assert.deepEqual(again.rooms.members.listStrippedState(roomId, alice), [name]);
});

test('an invite is taken back by whoever gave it, and a new one counts again', (t) => {
  const room = new RemoteRoom('11');
  const home = house(t, resident(room));
  const { roomId } = room;
  const first = room.send(member(alice, 'invite', dora));
  const rescinded = room.send(member(alice, 'leave', dora));
  const second = room.send(member(alice, 'invite', dora));
  assert.equal(put(home, first), true);
  assert.equal(put(home, rescinded), true);
  assert.equal(membershipOf(home, roomId), 'leave');
  // The first one again, late or sent again by somebody who means no good.
  assert.equal(put(home, first), false);
  assert.equal(membershipOf(home, roomId), 'leave');
  assert.equal(put(home, second), true);
  // The end of the first invite is not the end of the second.
  assert.equal(put(home, rescinded), false);
  assert.equal(membershipOf(home, roomId), 'invite');
  assert.deepEqual(history(home), ['invite', 'leave', 'invite']);
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('the end of what never began, and what only a handshake can do, is passed over', (t) => {
  const room = new RemoteRoom('11');
  const home = house(t, resident(room));
  assert.equal(put(home, room.build(member(alice, 'leave', dora))), false);
  assert.equal(put(home, room.build(member(alice, 'ban', dora))), false);
  assert.equal(put(home, room.build(member(alice, 'join'))), false);
  assert.equal(home.rooms.events.findRoom(room.roomId), undefined);
  assert.throws(() => put(home, room.build(member(erin, 'invite', dora))), TypeError);
  assert.throws(() => put(home, room.find('m.room.name')), TypeError);
});

test('a ban ends an invite', (t) => {
  const room = new RemoteRoom('11');
  const home = house(t, resident(room));
  put(home, room.send(member(alice, 'invite', dora)));
  assert.equal(put(home, room.send(member(alice, 'ban', dora))), true);
  assert.equal(membershipOf(home, room.roomId), 'ban');
});

test('a room this server is in takes no memberships from outside', async (t) => {
  const room = new RemoteRoom('11');
  const home = house(t, resident(room));
  await home.remote.join({ userId: bob, roomId: room.roomId, servers: [AWAY], content: {} });
  assert.equal(put(home, room.build(member(alice, 'invite', dora))), false);
  home.db.write((tx) => home.rooms.outside.withdraw(tx, room.roomId, bob, {}));
  assert.equal(membershipOf(home, room.roomId), undefined);
  assert.equal(membershipOf(home, room.roomId, bob), 'join');
});

test('an invite is absorbed by the join that follows it', async (t) => {
  const room = new RemoteRoom('11', { joinRule: 'invite' });
  const home = house(t, resident(room));
  const { roomId } = room;
  const invite = room.send(member(alice, 'invite', dora));
  put(home, invite, [name]);
  await home.remote.join({ userId: alice, roomId, servers: [AWAY], content: {} });
  assert.deepEqual(history(home), ['invite', 'join']);
  const join = home.rooms.state.findCurrent(roomId, 'm.room.member', alice);
  assert.equal(join?.replacesState, invite.eventId);
  assert.deepEqual(home.rooms.members.listStrippedState(roomId, alice), []);
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('when somebody joins, invites of others that the room no longer knows of are gone, and those it knows stay', async (t) => {
  const room = new RemoteRoom('11');
  const home = house(t, resident(room));
  const { roomId } = room;
  // An invite on a branch the room did not keep.
  put(home, room.build(member(alice, 'invite', dora)));
  await home.remote.join({ userId: bob, roomId, servers: [AWAY], content: {} });
  assert.equal(membershipOf(home, roomId), 'leave');
  assert.deepEqual(home.rooms.checkConsistency(), []);

  const second = new RemoteRoom('11');
  const other = house(t, resident(second));
  put(other, second.send(member(alice, 'invite', dora)), [name]);
  await other.remote.join({ userId: bob, roomId: second.roomId, servers: [AWAY], content: {} });
  assert.equal(membershipOf(other, second.roomId), 'invite');
  assert.deepEqual(other.rooms.members.listStrippedState(second.roomId, alice), [name]);
  assert.deepEqual(other.rooms.checkConsistency(), []);
});

test('somebody who left a room with everybody else is invited to it again from outside', async (t) => {
  const room = new RemoteRoom('11');
  const home = house(t, resident(room));
  const { roomId } = room;
  await home.remote.join({ userId: alice, roomId, servers: [AWAY], content: {} });
  const left = await home.rooms.sender.send({
    roomId,
    type: 'm.room.member',
    sender: alice,
    stateKey: alice,
    content: { membership: 'leave' },
  });
  room.take(left);
  const invite = room.send(member(alice, 'invite', dora));
  assert.equal(put(home, invite, [name]), true);
  assert.equal(membershipOf(home, roomId), 'invite');
  // What was known of the room when it was left does not change.
  assert.equal(home.rooms.state.findCurrent(roomId, 'm.room.member', alice)?.eventId, left.eventId);
  assert.deepEqual(home.rooms.checkConsistency(), []);
  await home.remote.join({ userId: alice, roomId, servers: [AWAY], content: {} });
  assert.deepEqual(history(home), ['join', 'leave', 'invite', 'join']);
  assert.equal(home.rooms.state.findCurrent(roomId, 'm.room.member', alice)?.replacesState, invite.eventId);
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('the version an invite gives its room holds while somebody is invited', (t) => {
  const room = new RemoteRoom('10');
  const home = house(t, resident(room));
  const { roomId } = room;
  const first = room.send(member(alice, 'invite', dora));
  assert.equal(put(home, first), true);
  const twin = new RemoteRoom('9');
  const other = twin.build(member(bob, 'invite', dora));
  const renamed: RoomEvent = { ...other, roomId, pdu: { ...other.pdu, room_id: roomId } };
  assert.equal(put(home, renamed), false);
  home.db.write((tx) => home.rooms.outside.withdraw(tx, roomId, alice, {}));
  assert.equal(put(home, renamed), true);
  assert.equal(home.rooms.events.findRoom(roomId)?.version.id, '9');
  assert.equal(home.rooms.events.findEvent(first.eventId), undefined);
});
