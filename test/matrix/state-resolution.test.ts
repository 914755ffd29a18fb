import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StateMap } from '../../server/matrix/events/event.ts';
import type { EventId, UserId } from '../../server/matrix/identifiers.ts';
import { type EventSource, walkAuthChainDifference } from '../../server/matrix/state-resolution/event-source.ts';
import { resolveState, resolveStateSteps } from '../../server/matrix/state-resolution/resolve.ts';
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
  TestRoom,
  topic,
  versionsBetween,
} from './event-builder.ts';

const sinceVersion2 = versionsBetween(2, 12);

function resolve(room: TestRoom, ...stateSets: readonly StateMap[]): StateMap {
  return resolveState({ version: room.version, stateSets, source: room.source() });
}

/** The name of the event that holds a key, without sigil and domain. */
function holder(state: StateMap, type: string, stateKey = ''): string | undefined {
  return state.get(key(type, stateKey))?.slice(1).split(':')[0];
}

function levelsOf(room: TestRoom, users: Record<UserId, number>): Record<UserId, number> {
  return room.version.privilegedCreators ? users : { [alice]: 100, ...users };
}

/** Alice's room, with Bob (50) and Charlie (0) in it. */
function party(version: string, joinRule = 'public'): { room: TestRoom; base: StateMap } {
  const room = new TestRoom(version);
  const base = room.sendAll(room.start({ users: { [bob]: 50 } }), [
    { id: 'bob-joins', ...member(bob, 'join') },
    { id: 'charlie-joins', ...member(charlie, 'join') },
  ]);
  if (joinRule === 'public') return { room, base };
  return { room, base: room.send(base, { id: 'closed', ...joinRules(alice, joinRule) }).state };
}

function firstLevels(state: StateMap): EventId {
  const id = state.get(key('m.room.power_levels'));
  assert(id);
  return id;
}

const noSource: EventSource = {
  get: () => assert.fail('nothing needs to be looked up'),
  authChainDifference: () => assert.fail('there is no conflict'),
  isRejected: () => false,
};

test('a single state, or several equal ones, need no look at any event', () => {
  for (const version of allVersions) {
    const { room, base } = party(version);
    const resolveBlindly = (...stateSets: readonly StateMap[]) =>
      resolveState({ version: room.version, stateSets, source: noSource });
    assert.equal(resolveBlindly(base), base);
    assert.equal(resolveBlindly(base, base, new Map([...base].toReversed())), base);
    assert.deepEqual(resolveBlindly(), new Map());
  }
});

test('of two topics by the same rules the later one stays', () => {
  for (const version of sinceVersion2) {
    const { room, base } = party(version);
    const late = room.send(base, { id: 'late', ...topic(bob, 'late'), ts: 9_000_000 }).state;
    const early = room.send(base, { id: 'early', ...topic(alice, 'early'), ts: 8_000_000 }).state;
    assert.equal(holder(resolve(room, late, early), 'm.room.topic'), 'late', version);
  }
});

test('of two topics of the same moment the greater event ID stays', () => {
  for (const version of sinceVersion2) {
    const { room, base } = party(version);
    const b = room.send(base, { id: 'bbb', ...topic(alice, 'b'), ts: 9_000_000 }).state;
    const a = room.send(base, { id: 'aaa', ...topic(bob, 'a'), ts: 9_000_000 }).state;
    assert.equal(holder(resolve(room, a, b), 'm.room.topic'), 'bbb', version);
  }
});

test('a topic set under newer power levels stays, however early it claims to be', () => {
  for (const version of sinceVersion2) {
    const { room, base } = party(version);
    const newer = room.sendAll(base, [
      { id: 'levels', ...powerLevels(alice, { users: levelsOf(room, { [bob]: 60 }) }) },
      { id: 'by-newer-levels', ...topic(bob, 'new'), ts: 1 },
    ]);
    const older = room.send(base, { id: 'by-older-levels', ...topic(bob, 'old'), ts: 9_000_000 }).state;
    const resolved = resolve(room, older, newer);
    assert.equal(holder(resolved, 'm.room.topic'), 'by-newer-levels', version);
    assert.equal(holder(resolved, 'm.room.power_levels'), 'levels', version);
  }
});

test('what a banned moderator does on a fork of their own is void', () => {
  for (const version of allVersions) {
    const { room, base } = party(version);
    const banned = room.send(base, { id: 'ban', ...member(bob, 'ban', alice), ts: 9_000_000 }).state;
    const fork = room.sendAll(base, [
      { id: 'coup', ...powerLevels(bob, { users: levelsOf(room, { [bob]: 50, [charlie]: 50 }) }), ts: 1 },
      { id: 'last-words', ...topic(bob, 'bye'), ts: 2 },
      { id: 'new-name', ...member(bob, 'join', bob, { displayname: 'B.' }), ts: 3 },
    ]);
    const resolved = resolve(room, fork, banned);
    assert.equal(holder(resolved, 'm.room.member', bob), 'ban', version);
    assert.equal(holder(resolved, 'm.room.power_levels'), 'first-levels', version);
    // In version 1 a key that only one state has is taken as it is.
    assert.equal(holder(resolved, 'm.room.topic'), version === '1' ? 'last-words' : undefined, version);
  }
});

test('of a demotion and the demoted one’s counter-demotion the one with more power behind it holds', () => {
  for (const version of sinceVersion2) {
    const { room, base } = party(version);
    const demoted = room.send(base, {
      id: 'demotion',
      ...powerLevels(alice, { users: levelsOf(room, { [bob]: 0 }) }),
      ts: 9_000_000,
    }).state;
    const raised = room.sendAll(base, [
      { id: 'raise', ...powerLevels(bob, { users: levelsOf(room, { [bob]: 50, [charlie]: 50 }) }), ts: 1 },
      { id: 'kick', ...member(dora, 'ban', charlie), ts: 2 },
    ]);
    const resolved = resolve(room, demoted, raised);
    assert.equal(holder(resolved, 'm.room.power_levels'), 'demotion', version);
    assert.equal(holder(resolved, 'm.room.member', dora), undefined, version);
  }
});

test('who joined on a fork after the room was closed elsewhere is not in', () => {
  for (const version of sinceVersion2) {
    const { room, base } = party(version);
    const closed = room.send(base, { id: 'close', ...joinRules(alice, 'invite'), ts: 9_000_000 }).state;
    const sneaked = room.send(base, { id: 'sneak', ...member(dora, 'join'), ts: 1 }).state;
    const resolved = resolve(room, closed, sneaked);
    assert.equal(holder(resolved, 'm.room.join_rules'), 'close', version);
    assert.equal(holder(resolved, 'm.room.member', dora), undefined, version);
  }
});

test('a member whose server was away while they were kicked does not come back by a change of name', () => {
  for (const version of sinceVersion2) {
    const { room, base } = party(version, 'invite');
    const kicked = room.send(base, { id: 'kick', ...member(charlie, 'leave', bob) }).state;
    const away = room.sendAll(base, [
      { id: 'renamed', ...member(charlie, 'join', charlie, { displayname: 'C.' }) },
      { id: 'renamed-again', ...member(charlie, 'join', charlie, { displayname: 'Ch.' }) },
    ]);
    assert.equal(holder(resolve(room, kicked, away), 'm.room.member', charlie), 'kick', version);
  }
});

test('where anybody may join, a change of name after a kick is a way back in', () => {
  for (const version of sinceVersion2) {
    const { room, base } = party(version);
    const kicked = room.send(base, { id: 'kick', ...member(charlie, 'leave', bob) }).state;
    const away = room.send(base, { id: 'renamed', ...member(charlie, 'join', charlie, { displayname: 'C.' }) }).state;
    assert.equal(holder(resolve(room, kicked, away), 'm.room.member', charlie), 'renamed', version);
  }
});

test('members who joined on different forks are all in', () => {
  for (const version of allVersions) {
    const { room, base } = party(version);
    const one = room.send(base, { id: 'dora-joins', ...member(dora, 'join') }).state;
    const other = room.send(base, { id: 'charlie-leaves', ...member(charlie, 'leave') }).state;
    const resolved = resolve(room, one, other, base);
    assert.equal(holder(resolved, 'm.room.member', dora), 'dora-joins', version);
    assert.equal(holder(resolved, 'm.room.member', charlie), 'charlie-leaves', version);
  }
});

test('three forks resolve as well as two', () => {
  for (const version of sinceVersion2) {
    const { room, base } = party(version);
    const states = ['one', 'two', 'three'].map((id) => room.send(base, { id, ...topic(bob, id) }).state);
    assert.equal(holder(resolve(room, ...states), 'm.room.topic'), 'three', version);
    assert.equal(holder(resolve(room, ...states.toReversed()), 'm.room.topic'), 'three', version);
  }
});

test('an event in conflict that we do not have is passed over', () => {
  for (const version of allVersions) {
    const { room, base } = party(version);
    const known = room.send(base, { id: 'known', ...topic(bob, 'known') }).state;
    const unknown = new Map([...base, [key('m.room.topic'), eventId('$unknown')]]);
    assert.equal(holder(resolve(room, known, unknown), 'm.room.topic'), 'known', version);
    const other = new Map([...base, [key('m.room.topic'), eventId('$unknown2')]]);
    assert.equal(holder(resolve(room, other, unknown), 'm.room.topic'), undefined, version);
  }
});

test('a rejected auth event authorises nothing', () => {
  for (const version of sinceVersion2) {
    const { room, base } = party(version);
    // Dora's invitation is known to her own join only; neither state has it any more.
    const { event: invite, state: invited } = room.send(base, member(dora, 'invite', alice));
    const closed = room.send(invited, joinRules(alice, 'invite')).state;
    const joined = room.send(closed, { id: 'joins', ...member(dora, 'join') }).state;
    const forked = room.send(closed, { id: 'renames', ...member(dora, 'join', dora, { displayname: 'D.' }) }).state;
    const difference = new Set<EventId>();
    const source = { ...room.source(), authChainDifference: () => difference };
    const resolved = () => resolveState({ version: room.version, stateSets: [joined, forked], source });
    assert.equal(holder(resolved(), 'm.room.member', dora), 'renames', version);
    room.rejected.add(invite.eventId);
    assert.equal(holder(resolved(), 'm.room.member', dora), undefined, version);
  }
});

// --- what room version 12 mends -------------------------------------------------------------------------------------

test('a member missing from one state is lost under newer join rules up to version 11, and kept from 12 on', () => {
  for (const version of sinceVersion2) {
    const { room, base } = party(version, 'invite');
    const reset = new Map([...base].filter(([name]) => name !== key('m.room.member', charlie)));
    const resolved = resolve(room, base, reset);
    const expected = Number(version) < 12 ? undefined : 'charlie-joins';
    assert.equal(holder(resolved, 'm.room.member', charlie), expected, version);
  }
});

test('power levels that fell back to an old event stay there up to version 11, and recover from 12 on', () => {
  for (const version of sinceVersion2) {
    const { room, base } = party(version);
    // Alice raises Bob; Bob, by that, raises Charlie.
    const second = room.send(base, {
      id: 'second-levels',
      ...powerLevels(alice, { users: levelsOf(room, { [bob]: 90 }) }),
    }).state;
    // Everybody's state holds something that rests on the second event.
    const anchored = room.send(second, { id: 'anchor', ...member(dora, 'join') }).state;
    const third = room.send(anchored, {
      id: 'third-levels',
      ...powerLevels(bob, { users: levelsOf(room, { [bob]: 90, [charlie]: 70 }) }),
    }).state;
    const fallenBack = new Map([...third, [key('m.room.power_levels'), firstLevels(base)]]);
    const resolved = resolve(room, third, fallenBack);
    // Bob's event rests on one that nothing but version 12 replays: it lies between the two in conflict.
    const expected = Number(version) < 12 ? 'first-levels' : 'third-levels';
    assert.equal(holder(resolved, 'm.room.power_levels'), expected, version);
  }
});

test('in version 12 the create event counts, though neither the first pass starts with it nor any event cites it', () => {
  const room = new TestRoom('12');
  const start = room.start({ create: { additional_creators: [bob] } });
  const base = room.sendAll(start, [member(bob, 'join'), member(charlie, 'join')]);
  // Only creators reach this level.
  const locked = room.send(base, powerLevels(alice, { events: { 'm.room.topic': Number.MAX_SAFE_INTEGER } })).state;
  const one = room.sendAll(locked, [
    { id: 'by-bob', ...topic(bob, 'one') },
    { id: 'ban', ...member(charlie, 'ban', bob) },
  ]);
  const other = room.send(locked, { id: 'by-charlie', ...topic(charlie, 'other') }).state;
  const resolved = resolve(room, one, other);
  assert.equal(holder(resolved, 'm.room.create'), 'create');
  assert.equal(holder(resolved, 'm.room.topic'), 'by-bob');
  assert.equal(holder(resolved, 'm.room.member', charlie), 'ban');
});

test('among creators, none outranks the other: the older of their power events goes first', () => {
  const room = new TestRoom('12');
  const start = room.start({ create: { additional_creators: [bob] } });
  const base = room.sendAll(start, [member(bob, 'join')]);
  const one = room.send(base, {
    id: 'alices',
    ...powerLevels(alice, { users: { [charlie]: 10 } }),
    ts: 9_000_000,
  }).state;
  const other = room.send(base, { id: 'bobs', ...powerLevels(bob, { users: { [charlie]: 20 } }), ts: 8_000_000 }).state;
  assert.equal(holder(resolve(room, one, other), 'm.room.power_levels'), 'alices');
});

test('a source that knows the conflicted subgraph is asked for it', () => {
  const { room, base } = party('12');
  const asked: (readonly EventId[])[] = [];
  const source: EventSource = {
    ...room.source(),
    conflictedSubgraph(conflicted) {
      asked.push([...conflicted].toSorted());
      return conflicted;
    },
  };
  const one = room.send(base, { id: 'one', ...topic(bob, 'one') }).state;
  const two = room.send(base, { id: 'two', ...topic(bob, 'two') }).state;
  resolveState({ version: room.version, stateSets: [one, two], source });
  assert.deepEqual(asked, [[eventId('$one'), eventId('$two')]]);
  const older = party('11');
  const left = older.room.send(older.base, topic(bob, 'one')).state;
  resolveState({
    version: older.room.version,
    stateSets: [left, older.base],
    source: { ...older.room.source(), ...noSubgraph },
  });
});

const noSubgraph = { conflictedSubgraph: () => assert.fail('only version 12 has a subgraph') };

// --- room version 1 -------------------------------------------------------------------------------------------------

test('version 1 takes the deepest event that is allowed', () => {
  const { room, base } = party('1');
  const shallow = room.send(base, { id: 'shallow', ...topic(bob, 'x'), depth: 20, ts: 9_000_000 }).state;
  const deep = room.send(base, { id: 'deep', ...topic(alice, 'y'), depth: 21 }).state;
  const forbidden = room.send(base, { id: 'forbidden', ...topic(charlie, 'z'), depth: 22 }).state;
  assert.equal(holder(resolve(room, deep, shallow, forbidden), 'm.room.topic'), 'deep');
});

test('version 1 takes the least SHA-1 of the event IDs among the deepest', () => {
  const { room, base } = party('1');
  // The digests of $one:beta.test and $two:beta.test begin with e6 and b2.
  const states = ['one', 'two'].map((id) => room.send(base, { id, ...topic(bob, id), depth: 20 }).state);
  assert.equal(holder(resolve(room, ...states), 'm.room.topic'), 'two');
  assert.equal(holder(resolve(room, ...states.toReversed()), 'm.room.topic'), 'two');
});

test('version 1 keeps the oldest where none is allowed', () => {
  const { room, base } = party('1');
  const states = [31, 30, 32].map(
    (depth) => room.send(base, { id: `depth-${depth}`, ...topic(charlie, 'x'), depth }).state,
  );
  assert.equal(holder(resolve(room, ...states), 'm.room.topic'), 'depth-30');
});

test('version 1 replaces power levels one by one until one is not allowed', () => {
  const { room, base } = party('1');
  const users = { [alice]: 100, [bob]: 50 };
  const states = [
    room.send(base, { id: 'first', ...powerLevels(alice, { users }), depth: 20 }).state,
    room.send(base, { id: 'second', ...powerLevels(alice, { users, ban: 70 }), depth: 21 }).state,
    room.send(base, { id: 'coup', ...powerLevels(bob, { users: { [bob]: 50 } }), depth: 22 }).state,
    room.send(base, { id: 'late', ...powerLevels(alice, { users, ban: 80 }), depth: 23 }).state,
  ];
  assert.equal(holder(resolve(room, ...states), 'm.room.power_levels'), 'second');
});

test('version 1 takes the newest of join rules that all are allowed', () => {
  const { room, base } = party('1');
  const states = ['invite', 'knock', 'public'].map(
    (rule) => room.send(base, { id: `to-${rule}`, ...joinRules(alice, rule) }).state,
  );
  assert.equal(holder(resolve(room, ...states), 'm.room.join_rules'), 'to-public');
});

test('version 1 settles join rules by the settled levels, members by both, and then the rest', () => {
  const { room, base } = party('1');
  const levels = { users: { [alice]: 100, [bob]: 0 } };
  const one = room.sendAll(base, [
    { id: 'demotion', ...powerLevels(alice, levels), depth: 40 },
    { id: 'closed', ...joinRules(alice, 'invite'), depth: 41 },
  ]);
  const other = room.sendAll(base, [
    { id: 'knocking', ...joinRules(bob, 'knock'), depth: 50 },
    { id: 'renamed', ...member(charlie, 'join', charlie, { displayname: 'C.' }), depth: 51 },
    { id: 'topic', ...topic(bob, 'x'), depth: 52 },
  ]);
  const named = room.send(one, { id: 'alices-topic', ...topic(alice, 'y'), depth: 42 }).state;
  const resolved = resolve(room, named, other);
  assert.equal(holder(resolved, 'm.room.power_levels'), 'demotion');
  assert.equal(holder(resolved, 'm.room.join_rules'), 'closed');
  assert.equal(holder(resolved, 'm.room.member', charlie), 'renamed');
  assert.equal(holder(resolved, 'm.room.topic'), 'alices-topic');
});

// --- size -----------------------------------------------------------------------------------------------------------

test('auth chains of tens of thousands of events do not exhaust the stack', () => {
  for (const version of ['2', '12']) {
    const { room, base } = party(version);
    const names = Array.from({ length: 20_000 }, (_, index) => `levels-${index}`);
    const one = room.sendAll(
      base,
      names.map((id, ban) => ({ id, ...powerLevels(alice, { users: levelsOf(room, { [bob]: 50 }), ban: ban % 100 }) })),
    );
    const other = room.send(base, { id: 'topic', ...topic(bob, 'x') }).state;
    const resolved = resolve(room, one, other);
    assert.equal(holder(resolved, 'm.room.power_levels'), 'levels-19999', version);
    assert.equal(holder(resolved, 'm.room.topic'), 'topic', version);
  }
});

test('a large resolution yields before it has looked up many events, and comes to the same result', () => {
  for (const version of allVersions) {
    const { room, base } = party(version);
    const fork = (name: string) =>
      room.sendAll(
        base,
        Array.from({ length: 1000 }, (_, index) => ({
          id: `${name}-${index}`,
          ...(index % 2 ? { type: 'test.item', stateKey: `${index}`, sender: bob } : powerLevelsOfItem(room, index)),
        })),
      );
    const stateSets = [fork('one'), fork('other')];
    const plain = room.source();
    let looks = 0;
    const get = (id: EventId) => {
      looks += 1;
      return plain.get(id);
    };
    const source: EventSource = {
      ...plain,
      get,
      authChainDifferenceSteps: (sets) => walkAuthChainDifference(get, sets),
    };
    const steps = resolveStateSteps({ version: room.version, stateSets, source });
    for (;;) {
      looks = 0;
      const step = steps.next();
      assert(looks <= 250, `${looks} in version ${version}`);
      if (!step.done) continue;
      assert.deepEqual(step.value, resolveState({ version: room.version, stateSets, source: plain }));
      break;
    }
  }
});

function powerLevelsOfItem(room: TestRoom, ban: number): EventFields {
  return powerLevels(alice, { users: levelsOf(room, { [bob]: 50 }), ban: ban % 100 });
}
