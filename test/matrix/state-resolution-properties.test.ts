import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { membershipIn } from '../../server/matrix/auth-rules/auth-state.ts';
import { checkAuthRules } from '../../server/matrix/auth-rules/check.ts';
import type { StateKey, StateMap } from '../../server/matrix/events/event.ts';
import type { EventId, UserId } from '../../server/matrix/identifiers.ts';
import { isJsonObject } from '../../server/matrix/json.ts';
import { resolveState } from '../../server/matrix/state-resolution/resolve.ts';
import {
  alice,
  allVersions,
  bob,
  charlie,
  dora,
  type EventFields,
  joinRules,
  key,
  member,
  powerLevels,
  TestRoom,
  topic,
  versionsBetween,
} from './event-builder.ts';
import { textbookResolution } from './textbook-resolution.ts';

const people = [alice, bob, charlie, dora];
const others = [bob, charlie, dora];

/** Something somebody tries to do on one of the forks; what the rules forbid there does not happen. */
interface Attempt {
  readonly fork: number;
  readonly fields: EventFields;
}

interface History {
  readonly room: TestRoom;
  readonly base: StateMap;
  readonly forks: readonly StateMap[];
}

const someone = fc.constantFrom(...people);
const level = fc.constantFrom(0, 25, 50, 100);

const action: fc.Arbitrary<EventFields> = fc.oneof(
  someone.map((who) => topic(who, 'topic')),
  fc
    .tuple(someone, someone, fc.constantFrom('join', 'leave', 'invite', 'ban'))
    .map(([by, who, membership]) => member(membership === 'join' ? by : who, membership, by)),
  fc.tuple(someone, fc.constantFrom('public', 'invite')).map(([by, rule]) => joinRules(by, rule)),
  fc
    .tuple(someone, fc.dictionary(fc.constantFrom(...others), level), level, level)
    .map(([by, users, ban, name]) => powerLevels(by, { users, ban, events: { 'm.room.topic': name } })),
);

// Few different times, so that many events share one.
const attempts: fc.Arbitrary<readonly Attempt[]> = fc.array(
  fc.record({ fork: fc.nat(2), fields: fc.tuple(action, fc.nat(12)).map(([fields, ts]) => ({ ...fields, ts })) }),
  { minLength: 4, maxLength: 40 },
);

/** A room whose power levels give Bob 50 and Charlie 25, and what became of it on three forks. */
function happen(version: string, all: readonly Attempt[]): History {
  const room = new TestRoom(version);
  const base = room.sendAll(room.start({ users: { [bob]: 50, [charlie]: 25 } }), [
    member(bob, 'join'),
    member(charlie, 'join'),
  ]);
  const forks = [base, base, base];
  const depths = [10, 10, 10];
  for (const { fork, fields } of all) {
    const state = forks[fork] ?? base;
    const depth = (depths[fork] ?? 10) + 1;
    const { event, state: after } = room.send(state, { ...withCreator(version, fields), depth });
    if (!checkAuthRules(event, room.authState(state)).allowed) continue;
    forks[fork] = after;
    depths[fork] = depth;
  }
  return { room, base, forks };
}

/** Up to version 11 Alice's power is written down; leaving her out would be her demotion. */
function withCreator(version: string, fields: EventFields): EventFields {
  const users = fields.content?.['users'];
  if (Number(version) >= 12 || !isJsonObject(users)) return fields;
  return { ...fields, content: { ...fields.content, users: { [alice]: 100, ...users } } };
}

function resolve(room: TestRoom, stateSets: readonly StateMap[]): StateMap {
  return resolveState({ version: room.version, stateSets, source: room.source() });
}

/** Some of a state's entries, as a server could have them that was given the wrong state. */
function without(state: StateMap, holes: readonly number[]): StateMap {
  const entries = [...state];
  const gone = new Set(holes.map((hole) => entries[hole % entries.length]?.[0]));
  return new Map(entries.filter(([name]) => name === key('m.room.create') || !gone.has(name)));
}

function assertEverywhere(versions: readonly string[], check: (version: string) => void): void {
  for (const version of versions) check(version);
}

test('the order of the states is of no account', () => {
  assertEverywhere(allVersions, (version) =>
    fc.assert(
      fc.property(attempts, (all) => {
        const { room, forks } = happen(version, all);
        const [a, b, c] = forks;
        assert(a && b && c);
        const expected = sorted(resolve(room, [a, b, c]));
        for (const order of [
          [a, c, b],
          [b, a, c],
          [b, c, a],
          [c, a, b],
          [c, b, a],
        ]) {
          assert.deepEqual(sorted(resolve(room, order)), expected);
        }
      }),
      { numRuns: 40 },
    ),
  );
});

test('neither is it how often a state is there, nor in which order it lists its entries', () => {
  assertEverywhere(allVersions, (version) =>
    fc.assert(
      fc.property(attempts, (all) => {
        const { room, forks } = happen(version, all);
        const reversed = forks.map((state) => new Map([...state].toReversed()));
        assert.deepEqual(sorted(resolve(room, [...forks, ...reversed])), sorted(resolve(room, forks)));
        assert.deepEqual(sorted(resolve(room, reversed)), sorted(resolve(room, forks)));
      }),
      { numRuns: 40 },
    ),
  );
});

test('what all states agree on is kept, and nothing is made up', () => {
  assertEverywhere(allVersions, (version) =>
    fc.assert(
      fc.property(attempts, (all) => {
        const { room, forks } = happen(version, all);
        const resolved = resolve(room, forks);
        for (const [name, id] of forks[0] ?? []) {
          if (forks.every((state) => state.get(name) === id)) assert.equal(resolved.get(name), id);
        }
        for (const [name, id] of resolved) {
          const { type, stateKey = '' } = room.get(id);
          assert.equal(name, key(type, stateKey));
        }
      }),
      { numRuns: 40 },
    ),
  );
});

test('resolving is done once: the outcome with itself is the outcome', () => {
  assertEverywhere(allVersions, (version) =>
    fc.assert(
      fc.property(attempts, (all) => {
        const { room, forks } = happen(version, all);
        const resolved = resolve(room, forks);
        assert.deepEqual(resolve(room, [resolved, new Map(resolved)]), resolved);
        assert.deepEqual(sorted(resolve(room, forks)), sorted(resolved));
      }),
      { numRuns: 20 },
    ),
  );
});

test('the outcome is what the definitions say, read word by word', () => {
  assertEverywhere(versionsBetween(2, 12), (version) =>
    fc.assert(
      fc.property(attempts, fc.array(fc.nat(20), { maxLength: 3 }), fc.nat(100), (all, holes, rejected) => {
        const { room, forks } = happen(version, all);
        const [a, b, c] = forks;
        assert(a && b && c);
        const events = [...room.events.keys()];
        const id = events[1 + rejected]; // any but the create event, without which there is no room
        if (id) room.rejected.add(id);
        const stateSets = [a, b, without(c, holes)];
        assert.deepEqual(
          sorted(resolve(room, stateSets)),
          sorted(textbookResolution(room.events, room.rejected, stateSets)),
        );
        // And once more, where the states themselves have been resolved before.
        const again = [resolve(room, [a, b]), stateSets[2] ?? c];
        assert.deepEqual(sorted(resolve(room, again)), sorted(textbookResolution(room.events, room.rejected, again)));
      }),
      { numRuns: 150 },
    ),
  );
});

test('where one alone has power and keeps to one fork, that fork’s bans, join rule and levels hold', () => {
  const guests = fc.constantFrom(...others);
  const byGuests = fc
    .tuple(guests, guests, fc.constantFrom('join', 'leave', 'invite'))
    .map(([by, who, membership]) => member(membership === 'invite' ? who : by, membership, by));
  const byAlice = fc.oneof(
    fc
      .tuple(guests, fc.constantFrom('ban', 'leave', 'invite'))
      .map(([who, membership]) => member(who, membership, alice)),
    fc.constantFrom('public', 'invite').map((rule) => joinRules(alice, rule)),
    fc.nat(100).map((ban) => powerLevels(alice, { ban })),
  );
  const story = fc.array(
    fc.oneof(
      fc.record({ fork: fc.constant(0), fields: byAlice }),
      fc.record({
        fork: fc.nat(2),
        fields: fc.tuple(byGuests, fc.nat(100_000)).map(([fields, ts]) => ({ ...fields, ts })),
      }),
    ),
    { minLength: 4, maxLength: 40 },
  );
  assertEverywhere(versionsBetween(2, 12), (version) =>
    fc.assert(
      fc.property(story, (all) => {
        const { room, forks } = powerless(version, all);
        const [ruled] = forks;
        assert(ruled);
        const resolved = resolve(room, forks);
        for (const name of [key('m.room.power_levels'), key('m.room.join_rules')]) {
          assert.equal(resolved.get(name), ruled.get(name));
        }
        for (const guest of others) {
          if (membership(room, ruled, guest) === 'ban') assert.equal(membership(room, resolved, guest), 'ban');
        }
        // The power events among them are thereby allowed in the very room they shaped.
        for (const name of [key('m.room.power_levels'), key('m.room.join_rules')]) {
          const id = resolved.get(name);
          assert(id && checkAuthRules(room.get(id), room.authState(resolved)).allowed);
        }
      }),
      { numRuns: 60 },
    ),
  );
});

/** The same three forks, in a room where nobody but Alice has any power. */
function powerless(version: string, all: readonly Attempt[]): History {
  const room = new TestRoom(version);
  const base = room.sendAll(room.start(), [member(bob, 'join'), member(charlie, 'join')]);
  const forks = [base, base, base];
  for (const { fork, fields } of all) {
    const state = forks[fork] ?? base;
    const own =
      fields.type === 'm.room.power_levels' ? { ...fields, content: { users: {}, ...fields.content } } : fields;
    const { event, state: after } = room.send(state, withCreator(version, own));
    if (checkAuthRules(event, room.authState(state)).allowed) forks[fork] = after;
  }
  return { room, base, forks };
}

function membership(room: TestRoom, state: StateMap, who: UserId): string {
  return membershipIn(room.authState(state), who);
}

function sorted(state: StateMap): readonly (readonly [StateKey, EventId])[] {
  return [...state].sort(([one], [other]) => (one < other ? -1 : 1));
}
