import assert from 'node:assert/strict';
import { test } from 'node:test';
import { authEventKeys, checkAuthEvents } from '../../server/matrix/auth-rules/auth-events.ts';
import type { RoomEvent, StateMap } from '../../server/matrix/events/event.ts';
import { type EventId, isRoomId } from '../../server/matrix/identifiers.ts';
import type { JsonObject } from '../../server/matrix/json.ts';
import {
  alice,
  allVersions,
  bob,
  charlie,
  dora,
  type EventFields,
  eventId,
  joinRules,
  key,
  member,
  powerLevels,
  roomVersion,
  TestRoom,
  topic,
} from './event-builder.ts';

function keysFor(version: string, fields: EventFields): readonly string[] {
  const { type, sender, stateKey, content = {} } = fields;
  return authEventKeys({ type, sender, stateKey, content, version: roomVersion(version) }).toSorted();
}

function expected(version: string, ...keys: readonly string[]): readonly string[] {
  const create = Number(version) < 12 ? [key('m.room.create')] : [];
  return [...create, key('m.room.power_levels'), ...keys].toSorted();
}

test('a create event selects no auth events', () => {
  for (const version of allVersions) {
    assert.deepEqual(keysFor(version, { type: 'm.room.create', stateKey: '', sender: alice }), [], version);
  }
});

test('an event selects create (up to version 11), power levels and its sender’s membership', () => {
  for (const version of allVersions) {
    const own = key('m.room.member', alice);
    assert.deepEqual(keysFor(version, topic(alice, 'hello')), expected(version, own), version);
    assert.deepEqual(keysFor(version, { type: 'm.room.message', sender: alice }), expected(version, own), version);
  }
});

test('a membership selects the target’s too, and the join rules where it lets somebody in', () => {
  const both = [key('m.room.member', alice), key('m.room.member', dora)];
  for (const version of allVersions) {
    for (const membership of ['leave', 'ban']) {
      assert.deepEqual(keysFor(version, member(dora, membership, alice)), expected(version, ...both), version);
    }
    const withRules = expected(version, ...both, key('m.room.join_rules'));
    for (const membership of ['invite', 'knock', 'join']) {
      assert.deepEqual(keysFor(version, member(dora, membership, alice)), withRules, version);
    }
    const alone = expected(version, key('m.room.member', dora), key('m.room.join_rules'));
    assert.deepEqual(keysFor(version, member(dora, 'join')), alone, version);
  }
});

test('an invite that redeems a third-party invite selects that', () => {
  const content = { third_party_invite: { signed: { token: 'token' } } };
  const base = [key('m.room.member', alice), key('m.room.member', dora)];
  for (const version of allVersions) {
    const invite = keysFor(version, member(dora, 'invite', alice, content));
    const withRules = expected(version, ...base, key('m.room.join_rules'));
    assert.deepEqual(invite, [...withRules, key('m.room.third_party_invite', 'token')].toSorted(), version);
    assert.deepEqual(keysFor(version, member(dora, 'join', alice, content)), withRules, version);
    const noToken = member(dora, 'invite', alice, { third_party_invite: { signed: { token: 1 } } });
    assert.deepEqual(keysFor(version, noToken), withRules, version);
  }
});

test('from version 8 on an authorised join selects the membership of who authorised it', () => {
  const content = { join_authorised_via_users_server: bob };
  for (const version of allVersions) {
    const plain = expected(version, key('m.room.member', dora), key('m.room.join_rules'));
    const authorised = Number(version) >= 8 ? [...plain, key('m.room.member', bob)].toSorted() : plain;
    assert.deepEqual(keysFor(version, member(dora, 'join', dora, content)), authorised, version);
    const left = keysFor(version, member(dora, 'leave', dora, content));
    assert.deepEqual(left, expected(version, key('m.room.member', dora)), version);
  }
});

interface Case {
  readonly room: TestRoom;
  readonly state: StateMap;
  readonly verdict: (event: RoomEvent, known?: readonly RoomEvent[]) => boolean;
}

function caseIn(version: string, create: JsonObject = {}): Case {
  const room = new TestRoom(version);
  const state = room.sendAll(room.start({ create }), [member(bob, 'join'), member(charlie, 'join')]);
  return {
    room,
    state,
    verdict: (event, known = [...room.events.values()]) =>
      checkAuthEvents(event, known, {
        isRejected: (id) => room.rejected.has(id),
        create: room.events.get(eventId('$create')),
      }).allowed,
  };
}

function idOf(state: StateMap, type: string, stateKey = ''): EventId {
  const id = state.get(key(type, stateKey));
  assert(id, type);
  return id;
}

test('the auth events that the selection gives are in order', () => {
  for (const version of allVersions) {
    const { room, state, verdict } = caseIn(version);
    assert(verdict(room.send(state, topic(alice, 'hello')).event), version);
    assert(verdict(room.send(state, member(dora, 'invite', bob)).event), version);
    assert(verdict(room.get(eventId(Number(version) <= 2 ? '$create:alpha.test' : '$create'))), version);
  }
});

test('fewer auth events than the selection gives are in order too, as long as the create event is named or implied', () => {
  for (const version of allVersions) {
    const { room, state, verdict } = caseIn(version);
    const create = Number(version) < 12 ? [idOf(state, 'm.room.create')] : [];
    assert(verdict(room.event({ ...topic(alice, 'hello'), auth: create })), version);
    const none = room.event({ ...topic(alice, 'hello'), auth: [] });
    assert.equal(verdict(none), Number(version) >= 12, version);
  }
});

test('from version 12 on no event may list the create event', () => {
  const { room, state, verdict } = caseIn('12');
  assert(!verdict(room.event({ ...topic(alice, 'hello'), auth: [idOf(state, 'm.room.create')] })));
});

test('two auth events of the same type and state key, or one twice, are rejected', () => {
  for (const version of allVersions) {
    const { room, state, verdict } = caseIn(version);
    const auth = room.send(state, topic(alice, 'hello')).event.authEvents;
    const later = room.send(state, powerLevels(alice, {})).event;
    assert(!verdict(room.event({ ...topic(alice, 'hello'), auth: [...auth, later.eventId] })), version);
    const twice = [...auth, idOf(state, 'm.room.power_levels')];
    assert(!verdict(room.event({ ...topic(alice, 'hello'), auth: twice })), version);
  }
});

test('an auth event the selection would not have given is rejected', () => {
  for (const version of allVersions) {
    const { room, state, verdict } = caseIn(version);
    const auth = room.send(state, topic(alice, 'hello')).event.authEvents;
    const message = room.send(state, { type: 'm.room.message', sender: alice }).event;
    for (const extra of [idOf(state, 'm.room.member', bob), idOf(state, 'm.room.join_rules'), message.eventId]) {
      assert(!verdict(room.event({ ...topic(alice, 'hello'), auth: [...auth, extra] })), `${extra} in ${version}`);
    }
  }
});

test('a rejected auth event rejects what rests on it', () => {
  for (const version of allVersions) {
    const { room, state, verdict } = caseIn(version);
    const event = room.send(state, topic(alice, 'hello')).event;
    room.rejected.add(idOf(state, 'm.room.power_levels'));
    assert(!verdict(event), version);
  }
});

test('an auth event of another room is rejected', () => {
  for (const version of allVersions) {
    const { room, state, verdict } = caseIn(version);
    const elsewhere = '!elsewhere:alpha.test';
    assert(isRoomId(elsewhere));
    const foreign = room.event({ ...powerLevels(alice, {}), room: elsewhere });
    const swapped = room
      .send(state, topic(alice, 'hello'))
      .event.authEvents.map((id) => (id === idOf(state, 'm.room.power_levels') ? foreign.eventId : id));
    assert(!verdict(room.event({ ...topic(alice, 'hello'), auth: swapped })), version);
  }
});

test('an auth event we do not have is not passed over', () => {
  for (const version of allVersions) {
    const { room, state, verdict } = caseIn(version);
    const event = room.send(state, topic(alice, 'hello')).event;
    const known = [...room.events.values()].filter(({ eventId: id }) => id !== idOf(state, 'm.room.power_levels'));
    assert(!verdict(event, known), version);
  }
});

test('from version 12 on the create event behind the room ID must be there and not rejected', () => {
  const { room, state, verdict } = caseIn('12');
  const event = room.send(state, topic(alice, 'hello')).event;
  const known = [...room.events.values()];
  const isRejected = () => false;
  assert(verdict(event));
  assert(!checkAuthEvents(event, known, { isRejected }).allowed);
  const notCreate = room.get(idOf(state, 'm.room.join_rules'));
  assert(!checkAuthEvents(event, known, { isRejected, create: notCreate }).allowed);
  const otherCreate = { ...room.get(eventId('$create')), eventId: eventId('$other') };
  assert(!checkAuthEvents(event, known, { isRejected, create: otherCreate }).allowed);
  room.rejected.add(eventId('$create'));
  assert(!verdict(event));
});

test('join rules are no business of somebody who leaves', () => {
  for (const version of allVersions) {
    const { room, state, verdict } = caseIn(version);
    const now = room.send(state, joinRules(alice, 'invite')).state;
    const leave = room.send(now, member(charlie, 'leave')).event;
    assert(verdict(leave), version);
    const withRules = [...leave.authEvents, idOf(now, 'm.room.join_rules')];
    assert(!verdict(room.event({ ...member(charlie, 'leave'), auth: withRules })), version);
  }
});
