import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Verdict } from '../../server/matrix/auth-rules/auth-state.ts';
import { authStateOf, powerLevelsIn } from '../../server/matrix/auth-rules/auth-state.ts';
import { checkAuthRules } from '../../server/matrix/auth-rules/check.ts';
import { checkRedaction } from '../../server/matrix/auth-rules/redaction.ts';
import type { StateMap } from '../../server/matrix/events/event.ts';
import { isRoomId } from '../../server/matrix/identifiers.ts';
import type { JsonObject } from '../../server/matrix/json.ts';
import {
  alice,
  allVersions,
  bob,
  charlie,
  dora,
  type EventFields,
  eventId,
  member,
  powerLevels,
  TestRoom,
  topic,
  user,
  versionsBetween,
} from './event-builder.ts';

const emptyState = authStateOf([]);

function otherRoom() {
  const id = '!other:alpha.test';
  assert(isRoomId(id));
  return id;
}

/** The verdict on an event in a room where Alice has 100, Bob 50, Charlie 0, and Dora never was. */
function judge(version: string, fields: EventFields, change?: (room: TestRoom, state: StateMap) => StateMap): Verdict {
  const room = new TestRoom(version);
  const joined = room.sendAll(room.start({ users: { [bob]: 50 } }), [member(bob, 'join'), member(charlie, 'join')]);
  const state = change ? change(room, joined) : joined;
  return checkAuthRules(room.send(state, fields).event, room.authState(state));
}

function createVerdict(version: string, content: JsonObject, more: Partial<EventFields> = {}): Verdict {
  const room = new TestRoom(version);
  const creator = Number(version) <= 10 ? { creator: alice } : {};
  const event = room.event({
    type: 'm.room.create',
    stateKey: '',
    sender: alice,
    content: { ...creator, ...content },
    ...more,
  });
  return checkAuthRules(event, emptyState);
}

test('a create event needs no state', () => {
  for (const version of allVersions) assert(createVerdict(version, { room_version: version }).allowed, version);
});

test('a create event that follows others is rejected', () => {
  for (const version of allVersions) {
    assert(!createVerdict(version, {}, { prev: [eventId('$before')] }).allowed, version);
  }
});

test('up to version 11 the room ID must bear the name of the creating server', () => {
  for (const version of versionsBetween(1, 11)) {
    assert(!createVerdict(version, {}, { sender: bob }).allowed, version);
  }
});

test('from version 12 on a create event holds no room ID', () => {
  const room = new TestRoom('12');
  const event = room.event({ type: 'm.room.create', stateKey: '', sender: alice, content: {} });
  assert(checkAuthRules(event, emptyState).allowed);
  const withRoomId = { ...event, pdu: { ...event.pdu, room_id: '!create' } };
  assert(!checkAuthRules(withRoomId, emptyState).allowed);
});

test('a create event of an unknown room version is rejected, one that names none is not', () => {
  for (const version of allVersions) {
    assert(createVerdict(version, {}).allowed, version);
    for (const named of ['99', 'constructor', 12, null]) {
      assert(!createVerdict(version, { room_version: named }).allowed, version);
    }
  }
});

test('up to version 10 a create event must say who the creator is', () => {
  for (const version of allVersions) {
    const event = new TestRoom(version).event({ type: 'm.room.create', stateKey: '', sender: alice, content: {} });
    assert.equal(checkAuthRules(event, emptyState).allowed, Number(version) > 10, version);
  }
});

test('additional creators must be user IDs, and only version 12 looks at them', () => {
  const good = [[], [bob, charlie]];
  const bad = [
    bob,
    null,
    [1],
    ['bob'],
    ['@bob'],
    [bob, '@bob:not a server'],
    { 0: bob },
    [`@${'b'.repeat(300)}:beta.test`],
  ];
  for (const version of allVersions) {
    for (const list of good) assert(createVerdict(version, { additional_creators: list }).allowed, version);
    for (const list of bad) {
      const verdict = createVerdict(version, { additional_creators: list });
      assert.equal(verdict.allowed, Number(version) < 12, `${JSON.stringify(list)} in version ${version}`);
    }
  }
});

test('nothing is allowed in a room without a create event', () => {
  for (const version of allVersions) {
    const room = new TestRoom(version);
    const event = room.event(member(alice, 'join'));
    assert(!checkAuthRules(event, emptyState).allowed, version);
  }
});

test('from version 12 on the create event must be the one the room is named after', () => {
  const room = new TestRoom('12');
  const state = room.start();
  const id = '!somethingelse';
  assert(isRoomId(id));
  const stranger = room.send(state, { ...topic(alice, 'hello'), room: id }).event;
  assert(!checkAuthRules(stranger, room.authState(state)).allowed);
});

test('a room that is not federated takes events of its creator’s server only', () => {
  for (const version of allVersions) {
    const room = new TestRoom(version);
    const neighbour = user('@norah:alpha.test');
    const state = room.start({ create: { 'm.federate': false } });
    const auth = room.authState(state);
    assert(checkAuthRules(room.send(state, member(neighbour, 'join')).event, auth).allowed, version);
    assert(!checkAuthRules(room.send(state, member(bob, 'join')).event, auth).allowed, version);
  }
});

test('m.federate other than false means nothing', () => {
  const room = new TestRoom('11');
  const state = room.start({ create: { 'm.federate': 'false' } });
  assert(checkAuthRules(room.send(state, member(bob, 'join')).event, room.authState(state)).allowed);
});

test('up to version 5 a server may set its own aliases, whoever of it is in the room', () => {
  const aliases = (stateKey: string): EventFields => ({ type: 'm.room.aliases', stateKey, sender: dora });
  for (const version of allVersions) {
    const hasRule = Number(version) <= 5;
    assert.equal(judge(version, aliases('delta.test')).allowed, hasRule, version);
    assert(!judge(version, aliases('alpha.test')).allowed, version);
    assert(!judge(version, { type: 'm.room.aliases', sender: dora }).allowed, version);
  }
});

test('from version 6 on aliases are state like any other', () => {
  for (const version of versionsBetween(6, 12)) {
    assert(judge(version, { type: 'm.room.aliases', stateKey: 'elsewhere.test', sender: bob }).allowed, version);
    assert(!judge(version, { type: 'm.room.aliases', stateKey: 'gamma.test', sender: charlie }).allowed, version);
  }
});

test('only members send events', () => {
  const message = (sender: typeof alice): EventFields => ({ type: 'm.room.message', sender });
  for (const version of allVersions) {
    assert(judge(version, message(charlie)).allowed, version);
    assert(!judge(version, message(dora)).allowed, version);
    const charlieGone = (room: TestRoom, state: StateMap) => room.send(state, member(charlie, 'leave')).state;
    assert(!judge(version, message(charlie), charlieGone).allowed, version);
    const doraInvited = (room: TestRoom, state: StateMap) => room.send(state, member(dora, 'invite', alice)).state;
    assert(!judge(version, message(dora), doraInvited).allowed, version);
  }
});

test('an event needs the level of its type', () => {
  for (const version of allVersions) {
    assert(judge(version, topic(bob, 'hello')).allowed, version);
    assert(!judge(version, topic(charlie, 'hello')).allowed, version);
    const quiet = (room: TestRoom, state: StateMap) =>
      room.send(state, powerLevels(alice, { users: { [bob]: 50 }, events_default: 10, events: { 'm.room.topic': 0 } }))
        .state;
    assert(!judge(version, { type: 'm.room.message', sender: charlie }, quiet).allowed, version);
    assert(judge(version, topic(charlie, 'hello'), quiet).allowed, version);
  }
});

test('a room without power levels lets its creator set state and others talk', () => {
  for (const version of allVersions) {
    const room = new TestRoom(version);
    const creator = Number(version) <= 10 ? { creator: alice } : {};
    const state = room.sendAll(new Map(), [
      { type: 'm.room.create', stateKey: '', sender: alice, content: creator, id: 'create' },
      member(alice, 'join'),
      { type: 'm.room.join_rules', stateKey: '', sender: alice, content: { join_rule: 'public' } },
      member(bob, 'join'),
    ]);
    const allows = (fields: EventFields) =>
      checkAuthRules(room.send(state, fields).event, room.authState(state)).allowed;
    assert(allows(topic(alice, 'hello')), version);
    assert(!allows(topic(bob, 'hello')), version);
    assert(allows({ type: 'm.room.message', sender: bob }), version);
    assert(allows(member(charlie, 'invite', bob)), version);
    assert(!allows(member(alice, 'leave', bob)), version);
  }
});

test('a state key that starts with @ must be the sender', () => {
  const badge = (stateKey: string): EventFields => ({ type: 'test.badge', stateKey, sender: bob });
  for (const version of allVersions) {
    assert(judge(version, badge(bob)).allowed, version);
    assert(judge(version, badge('_@alice:alpha.test')).allowed, version);
    assert(!judge(version, badge(alice)).allowed, version);
    assert(!judge(version, badge('@nonsense')).allowed, version);
  }
});

test('third-party invites ask for the invite level and for no other', () => {
  const invite: EventFields = { type: 'm.room.third_party_invite', stateKey: 'token', sender: charlie };
  for (const version of allVersions) {
    assert(judge(version, invite).allowed, version);
    const needs20 = (room: TestRoom, state: StateMap) =>
      room.send(state, powerLevels(alice, { users: { [bob]: 20 }, invite: 20, state_default: 90 })).state;
    assert(!judge(version, invite, needs20).allowed, version);
    assert(judge(version, { ...invite, sender: bob }, needs20).allowed, version);
    assert(!judge(version, { ...invite, sender: dora }).allowed, version);
  }
});

test('in versions 1 and 2 a redaction needs the redact level or an event of the same server', () => {
  const redaction = (target: string, sender = charlie): EventFields => ({
    type: 'm.room.redaction',
    sender,
    redacts: eventId(target),
  });
  for (const version of allVersions) {
    const inRules = Number(version) <= 2;
    assert(judge(version, redaction('$hers:alpha.test', bob)).allowed, version);
    assert(judge(version, redaction('$own:gamma.test')).allowed, version);
    assert.equal(judge(version, redaction('$hers:alpha.test')).allowed, !inRules, version);
    assert.equal(judge(version, redaction('$nodomain')).allowed, !inRules, version);
    assert.equal(judge(version, { type: 'm.room.redaction', sender: charlie }).allowed, !inRules, version);
  }
});

test('from version 3 on a redaction is applied for the powerful and for users of the same server', () => {
  for (const version of allVersions) {
    const room = new TestRoom(version);
    const neighbour = user('@carla:gamma.test');
    const state = room.sendAll(room.start({ users: { [bob]: 50 } }), [member(bob, 'join'), member(charlie, 'join')]);
    const levels = powerLevelsIn(room.authState(state));
    const target = room.send(state, { type: 'm.room.message', sender: alice }).event;
    const ofNeighbour = room.send(state, { type: 'm.room.message', sender: neighbour }).event;
    const redact = (sender: typeof alice, redacts: typeof target) =>
      checkRedaction(
        room.send(state, { type: 'm.room.redaction', sender, redacts: redacts.eventId }).event,
        redacts,
        levels,
      ).allowed;
    assert(redact(bob, target), version);
    assert(redact(charlie, ofNeighbour), version);
    // Versions 1 and 2 have asked when they judged the redaction itself.
    assert.equal(redact(charlie, target), Number(version) <= 2, version);
  }
});

test('a redaction reaches neither into another room nor any event but its target', () => {
  for (const version of allVersions) {
    const room = new TestRoom(version);
    const state = room.start();
    const levels = powerLevelsIn(room.authState(state));
    const elsewhere = room.event({ type: 'm.room.message', sender: alice, room: otherRoom() });
    const here = room.send(state, { type: 'm.room.message', sender: alice }).event;
    const redaction = room.send(state, { type: 'm.room.redaction', sender: alice, redacts: elsewhere.eventId }).event;
    assert(!checkRedaction(redaction, elsewhere, levels).allowed, version);
    assert(!checkRedaction(redaction, here, levels).allowed, version);
  }
});
