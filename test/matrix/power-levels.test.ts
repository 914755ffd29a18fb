import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject, JsonValue } from '../../server/matrix/json.ts';
import { creatorsOf, readLevel, readPowerLevels } from '../../server/matrix/power-levels.ts';
import { alice, allVersions, bob, charlie, dora, roomVersion, TestRoom, versionsBetween } from './event-builder.ts';

function createIn(version: string, content: JsonObject = {}) {
  return new TestRoom(version).event({ type: 'm.room.create', stateKey: '', sender: alice, content });
}

function levelsIn(version: string, content: JsonObject, create: JsonObject = { creator: alice }) {
  const room = new TestRoom(version);
  return readPowerLevels(
    room.event({ type: 'm.room.create', stateKey: '', sender: alice, content: create }),
    room.event({ type: 'm.room.power_levels', stateKey: '', sender: alice, content }),
  );
}

test('without m.room.power_levels the creator has 100, everybody else 0, and the defaults hold', () => {
  for (const version of versionsBetween(1, 11)) {
    const levels = readPowerLevels(createIn(version, { creator: alice }), undefined);
    assert.equal(levels.powerLevelOf(alice), 100, version);
    assert.equal(levels.powerLevelOf(bob), 0, version);
    assert.equal(levels.requiredLevel('m.room.name', true), 50, version);
    assert.equal(levels.requiredLevel('m.room.message', false), 0, version);
    assert.equal(levels.requiredFor('invite'), 0, version);
    for (const action of ['ban', 'kick', 'redact'] as const) assert.equal(levels.requiredFor(action), 50, version);
    assert.equal(levels.requiredToNotify('room'), 50, version);
  }
});

test('up to version 10 the creator is who the content says, from 11 on it is the sender', () => {
  for (const version of allVersions) {
    const expected = Number(version) <= 10 ? [bob] : [alice];
    assert.deepEqual(creatorsOf(createIn(version, { creator: bob })), expected, version);
  }
  assert.deepEqual(creatorsOf(createIn('6', {})), []);
  assert.deepEqual(creatorsOf(createIn('6', { creator: ['@bob:beta.test'] })), []);
});

test('additional creators count from version 12 on', () => {
  const content = { additional_creators: [bob, charlie, alice, bob] };
  assert.deepEqual(creatorsOf(createIn('11', content)), [alice]);
  assert.deepEqual(creatorsOf(createIn('12', content)), [alice, bob, charlie]);
  assert.deepEqual(creatorsOf(createIn('12', { additional_creators: ['bob', 3, bob] })), [alice, bob]);
});

test('creators of version 12 outrank every number, with and without m.room.power_levels', () => {
  const create = { additional_creators: [bob] };
  const levels = levelsIn('12', { users: { [charlie]: Number.MAX_SAFE_INTEGER } }, create);
  for (const creator of [alice, bob]) assert.equal(levels.powerLevelOf(creator), Number.POSITIVE_INFINITY);
  assert.equal(levels.powerLevelOf(charlie), Number.MAX_SAFE_INTEGER);
  const lone = readPowerLevels(createIn('12', create), undefined);
  assert.equal(lone.powerLevelOf(bob), Number.POSITIVE_INFINITY);
  assert.equal(lone.powerLevelOf(charlie), 0);
});

test('once there are power levels the creator of an older room has what they say', () => {
  assert.equal(levelsIn('11', {}).powerLevelOf(alice), 0);
  assert.equal(levelsIn('11', { users: { [alice]: 20 }, users_default: 5 }).powerLevelOf(alice), 20);
  assert.equal(levelsIn('11', { users: { [alice]: 20 }, users_default: 5 }).powerLevelOf(bob), 5);
});

test('levels of events come from their entry, else from the default of their kind', () => {
  const levels = levelsIn('9', { events: { 'm.room.name': 7 }, state_default: 30, events_default: 3, ban: 11 });
  assert.equal(levels.requiredLevel('m.room.name', true), 7);
  assert.equal(levels.requiredLevel('m.room.name', false), 7);
  assert.equal(levels.requiredLevel('m.room.topic', true), 30);
  assert.equal(levels.requiredLevel('m.room.message', false), 3);
  assert.equal(levels.requiredFor('ban'), 11);
});

test('an event type or user that is called like something every object has gets the default', () => {
  const levels = levelsIn('12', { events: {}, users: {}, notifications: {} });
  for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
    assert.equal(levels.requiredLevel(name, true), 50, name);
    assert.equal(levels.powerLevelOf(name), 0, name);
    assert.equal(levels.requiredToNotify(name), 50, name);
  }
});

test('before version 10 a level may be a string or a float, from then on only an integer', () => {
  const cases: readonly (readonly [JsonValue, number | undefined, number | undefined])[] = [
    [50, 50, 50],
    [-3, -3, -3],
    [50.99, 50, undefined],
    [-50.99, -50, undefined],
    ['100', 100, undefined],
    ['000100', 100, undefined],
    [' +100 ', 100, undefined],
    ['\t-100\n', -100, undefined],
    ['50.5', undefined, undefined],
    ['5e1', undefined, undefined],
    ['0x10', undefined, undefined],
    ['+ 100', undefined, undefined],
    ['--1', undefined, undefined],
    ['', undefined, undefined],
    [' ', undefined, undefined],
    ['9'.repeat(400), undefined, undefined],
    [Number.POSITIVE_INFINITY, undefined, undefined],
    [Number.NaN, undefined, undefined],
    [null, undefined, undefined],
    [true, undefined, undefined],
    [[50], undefined, undefined],
    [{ level: 50 }, undefined, undefined],
  ];
  for (const [value, loose, strict] of cases) {
    for (const version of allVersions) {
      const expected = Number(version) < 10 ? loose : strict;
      assert.equal(readLevel(value, roomVersion(version)), expected, `${JSON.stringify(value)} in version ${version}`);
    }
  }
});

test('content that is no level is as good as absent', () => {
  const levels = levelsIn('12', { users: 'all', events: [1], users_default: '80', ban: null, notifications: 3 });
  assert.equal(levels.powerLevelOf(dora), 0);
  assert.equal(levels.requiredLevel('m.room.name', true), 50);
  assert.equal(levels.requiredFor('ban'), 50);
  assert.equal(levels.requiredToNotify('room'), 50);
});
