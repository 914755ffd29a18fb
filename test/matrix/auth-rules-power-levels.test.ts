import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkAuthRules } from '../../server/matrix/auth-rules/check.ts';
import type { JsonObject, JsonValue } from '../../server/matrix/json.ts';
import {
  alice,
  allVersions,
  bob,
  charlie,
  dora,
  key,
  member,
  powerLevels,
  TestRoom,
  versionsBetween,
} from './event-builder.ts';

const beforeVersion12 = versionsBetween(1, 11);
const loose = versionsBetween(1, 9);
const strict = versionsBetween(10, 12);

/** Whether Bob (50, and as powerful as the event needs) may turn the levels `before` into `after`. */
function bobMay(version: string, before: JsonObject, after: JsonObject): boolean {
  const room = new TestRoom(version);
  const state = room.sendAll(room.start({ levels: before }), [member(bob, 'join'), member(charlie, 'join')]);
  return checkAuthRules(room.send(state, powerLevels(bob, after)).event, room.authState(state)).allowed;
}

const users = { [bob]: 50, [charlie]: 50, [dora]: 20 };

test('an event with the levels as they are is allowed', () => {
  for (const version of allVersions) assert(bobMay(version, { users }, { users }), version);
});

test('the first power levels of a room are free to say anything', () => {
  for (const version of beforeVersion12) {
    const room = new TestRoom(version);
    const state = new Map([...room.start()].filter(([name]) => name !== key('m.room.power_levels')));
    const event = room.send(state, powerLevels(alice, { users: { [alice]: 900, [bob]: 901 }, ban: 1000 })).event;
    assert(checkAuthRules(event, room.authState(state)).allowed, version);
  }
});

test('users must be an object of users and levels, where they are given at all', () => {
  const bad: readonly JsonValue[] = [
    null,
    [],
    'all',
    { bob: 50 },
    { '@bob': 50 },
    { '@bob:': 50 },
    { '#room:beta.test': 50 },
    { [dora]: null },
    { [dora]: 'many' },
    { [dora]: true },
    { [dora]: [50] },
    { [dora]: Number.POSITIVE_INFINITY },
  ];
  for (const version of allVersions) {
    // As long as nobody had a level of their own, leaving `users` out is no change.
    assert(bobMay(version, { users: {}, users_default: 60 }, { users_default: 60 }), version);
    for (const value of bad) {
      const levels = { users_default: 60 };
      assert(!bobMay(version, levels, { ...levels, users: value }), `${JSON.stringify(value)} in version ${version}`);
    }
  }
});

test('text that is an integer is a level before version 10 and none from then on', () => {
  for (const version of allVersions) {
    const isLoose = Number(version) < 10;
    assert.equal(bobMay(version, { users }, { users: { ...users, [dora]: ' +10 ' } }), isLoose, version);
    assert.equal(bobMay(version, { users }, { users, ban: '50' }), isLoose, version);
    assert.equal(bobMay(version, { users }, { users, events: { a: '050' } }), isLoose, version);
    assert.equal(bobMay(version, { users }, { users, ban: 40.9 }), isLoose, version);
  }
});

test('a string and the number it stands for are the same level', () => {
  for (const version of loose) {
    assert(bobMay(version, { users, ban: 70, events: { a: '80' } }, { users, ban: '070', events: { a: 80 } }), version);
  }
});

test('from version 10 on every level must be an integer, and every list of them an object', () => {
  const single = ['users_default', 'events_default', 'state_default', 'ban', 'redact', 'kick', 'invite'];
  for (const version of strict) {
    for (const name of single) {
      for (const value of ['10', 1.5, null, {}, true]) {
        assert(
          !bobMay(version, { users }, { users, [name]: value }),
          `${name} ${JSON.stringify(value)} in version ${version}`,
        );
      }
    }
    for (const name of ['events', 'notifications']) {
      for (const value of [null, [], 'x', { a: '10' }, { a: null }, { a: 1.5 }]) {
        assert(!bobMay(version, { users }, { users, [name]: value }), `${name} ${JSON.stringify(value)} in ${version}`);
      }
    }
  }
});

test('before version 10 a level nobody can read is rejected, null is as good as none', () => {
  for (const version of loose) {
    assert(!bobMay(version, { users }, { users, ban: 'much' }), version);
    assert(!bobMay(version, { users }, { users, events: 'all' }), version);
    assert(!bobMay(version, { users }, { users, events: { a: 'much' } }), version);
    assert(bobMay(version, { users }, { users, ban: null, events: { a: null } }), version);
    assert(!bobMay(version, { users, ban: 60 }, { users, ban: null }), version);
    const notifications = { users, notifications: { room: 'much' } };
    assert.equal(bobMay(version, { users }, notifications), Number(version) < 6, version);
  }
});

test('single levels move only within the sender’s power', () => {
  for (const name of ['users_default', 'events_default', 'ban', 'redact', 'kick', 'invite']) {
    for (const version of allVersions) {
      const may = (from: JsonObject, to: JsonObject) => bobMay(version, { users, ...from }, { users, ...to });
      const where = `${name} in version ${version}`;
      assert(may({ [name]: 10 }, { [name]: 50 }), where);
      assert(may({ [name]: 50 }, { [name]: 0 }), where);
      assert(may({ [name]: 50 }, {}), where);
      assert(may({}, { [name]: 50 }), where);
      assert(may({ [name]: 51 }, { [name]: 51 }), where);
      assert(!may({ [name]: 51 }, { [name]: 50 }), where);
      assert(!may({ [name]: 51 }, {}), where);
      assert(!may({ [name]: 50 }, { [name]: 51 }), where);
      assert(!may({}, { [name]: 51 }), where);
    }
  }
});

test('the level for state that bounds the sender is in the event itself, not beyond it', () => {
  for (const version of allVersions) {
    assert(bobMay(version, { users, state_default: 50 }, { users, state_default: 0 }), version);
    assert(!bobMay(version, { users, state_default: 50 }, { users, state_default: 51 }), version);
    assert(!bobMay(version, { users, state_default: 51 }, { users, state_default: 51 }), version);
  }
});

test('entries for events move only within the sender’s power, those for notifications from version 6 on', () => {
  for (const name of ['events', 'notifications']) {
    for (const version of allVersions) {
      const isGuarded = name === 'events' || Number(version) >= 6;
      const may = (from: JsonObject, to: JsonObject) => bobMay(version, { users, [name]: from }, { users, [name]: to });
      const where = `${name} in version ${version}`;
      assert(may({ a: 50 }, { a: 0 }), where);
      assert(may({ a: 50 }, {}), where);
      assert(may({}, { a: 50 }), where);
      assert(may({ a: 90 }, { a: 90, b: 1 }), where);
      assert.equal(may({ a: 51 }, { a: 50 }), !isGuarded, where);
      assert.equal(may({ a: 51 }, {}), !isGuarded, where);
      assert.equal(may({ a: 50 }, { a: 51 }), !isGuarded, where);
      assert.equal(may({}, { constructor: 51 }), !isGuarded, where);
    }
  }
});

test('an entry for a name every object has is an entry like any other', () => {
  for (const version of allVersions) {
    assert(bobMay(version, { users, events: {} }, { users, events: { constructor: 10, toString: 50 } }), version);
    assert(!bobMay(version, { users, events: { constructor: 60 } }, { users, events: {} }), version);
  }
});

test('nobody changes the level of an equal or a superior', () => {
  for (const version of beforeVersion12) {
    const all = { ...users, [alice]: 100 };
    const may = (after: JsonObject) => bobMay(version, { users: all }, { users: after });
    assert(may({ ...all, [dora]: 50 }), version);
    assert(!may({ ...all, [dora]: 51 }), version);
    assert(!may({ ...all, [charlie]: 49 }), version);
    assert(!may({ ...all, [alice]: 99 }), version);
    const { [charlie]: _charlie, ...withoutCharlie } = all;
    assert(!may(withoutCharlie), version);
    const { [dora]: _dora, ...withoutDora } = all;
    assert(may(withoutDora), version);
  }
});

test('everybody may lower their own level and raise nobody above it', () => {
  for (const version of allVersions) {
    const may = (after: JsonObject) => bobMay(version, { users }, { users: after });
    assert(may({ ...users, [bob]: 49 }), version);
    const { [bob]: _bob, ...withoutBob } = users;
    assert(may(withoutBob), version);
    assert(!may({ ...users, [bob]: 51 }), version);
    assert(may({ ...users, '@erin:beta.test': 50 }), version);
    assert(!may({ ...users, '@erin:beta.test': 51 }), version);
  }
});

test('from version 12 on creators are in no list of levels, before that they may be', () => {
  for (const version of allVersions) {
    const room = new TestRoom(version);
    const state = room.start({ create: { additional_creators: [bob] } });
    const may = (content: JsonObject) =>
      checkAuthRules(room.send(state, powerLevels(alice, content)).event, room.authState(state)).allowed;
    const own = Number(version) < 12 ? { [alice]: 100 } : {};
    assert(may({ users: { ...own, [charlie]: 100 } }), version);
    assert.equal(may({ users: { [alice]: 100 } }), Number(version) < 12, version);
    assert.equal(may({ users: { ...own, [bob]: 1 } }), Number(version) < 12, version);
  }
});

test('creators of version 12 change any level there is', () => {
  const room = new TestRoom('12');
  const most = Number.MAX_SAFE_INTEGER;
  const state = room.start({ users: { [bob]: most }, levels: { ban: most, events: { 'm.room.power_levels': most } } });
  const event = room.send(state, powerLevels(alice, { users: { [bob]: 0, [charlie]: most } })).event;
  assert(checkAuthRules(event, room.authState(state)).allowed);
});
