import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeBase64Url } from '../../server/matrix/base64.ts';
import { checkAuthRules } from '../../server/matrix/auth-rules/check.ts';
import type { StateMap } from '../../server/matrix/events/event.ts';
import type { UserId } from '../../server/matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../../server/matrix/json.ts';
import { signJson, signingKeyFromSeed } from '../../server/matrix/signing.ts';
import {
  alice,
  allVersions,
  bob,
  charlie,
  dora,
  type EventFields,
  joinRules,
  member,
  TestRoom,
  versionsBetween,
} from './event-builder.ts';

const memberships = ['none', 'invite', 'join', 'leave', 'ban', 'knock'] as const;
type Membership = (typeof memberships)[number];

interface Scene {
  readonly version: string;
  readonly joinRule?: string;
  /** Dora's membership before. */
  readonly dora?: Membership;
  readonly charlie?: Membership;
  readonly levels?: JsonObject;
}

// However they came by it: only the state counts for the rules.
function placed(room: TestRoom, state: StateMap, who: UserId, membership: Membership): StateMap {
  return membership === 'none' ? state : room.send(state, member(who, membership, alice)).state;
}

/** A room of Alice (100), Bob (50) and Charlie (0); Dora is the one things happen to. */
function allows(scene: Scene, fields: EventFields): boolean {
  const room = new TestRoom(scene.version);
  const start = room.start({
    users: { [bob]: 50 },
    ...(scene.joinRule === undefined ? {} : { joinRule: scene.joinRule }),
    ...(scene.levels ? { levels: scene.levels } : {}),
  });
  const withBob = placed(room, start, bob, 'join');
  const withCharlie = placed(room, withBob, charlie, scene.charlie ?? 'join');
  const state = placed(room, withCharlie, dora, scene.dora ?? 'none');
  return checkAuthRules(room.send(state, fields).event, room.authState(state)).allowed;
}

/** Asserts for which memberships of Dora the event is allowed, in each of the versions. */
function allowedOnlyFrom(
  expected: readonly Membership[],
  versions: readonly string[],
  scene: Omit<Scene, 'version' | 'dora'>,
  fields: EventFields,
): void {
  for (const version of versions) {
    const found = memberships.filter((before) => allows({ ...scene, version, dora: before }, fields));
    assert.deepEqual(found, expected, `version ${version}`);
  }
}

test('a membership event needs a state key and a membership the version knows', () => {
  for (const version of allVersions) {
    const { stateKey: _stateKey, ...noStateKey } = member(dora, 'join');
    assert(!allows({ version }, noStateKey), version);
    assert(!allows({ version }, { ...member(dora, 'join'), content: {} }), version);
    for (const membership of ['JOIN', 'visit', 'constructor', null, 1, ['join']] satisfies JsonValue[]) {
      assert(!allows({ version }, { ...member(dora, 'join'), content: { membership } }), version);
    }
  }
});

test('the creator joins first, right after the create event', () => {
  for (const version of allVersions) {
    const room = new TestRoom(version);
    const creator = Number(version) <= 10 ? { creator: alice } : {};
    const { event: create, state } = room.send(new Map(), {
      type: 'm.room.create',
      stateKey: '',
      sender: alice,
      content: { ...creator, additional_creators: [bob] },
      id: 'create',
    });
    const allowsJoin = (who: UserId, prev = [create.eventId]) =>
      checkAuthRules(room.send(state, { ...member(who, 'join'), prev }).event, room.authState(state)).allowed;
    assert(allowsJoin(alice), version);
    assert(!allowsJoin(bob), version);
    // Without join rules the room is by invitation, even for its creator.
    const later = room.send(state, { type: 'm.room.message', sender: alice }).event;
    assert(!allowsJoin(alice, [later.eventId]), version);
    assert(!allowsJoin(alice, [create.eventId, later.eventId]), version);
    assert(!allowsJoin(alice, []), version);
  }
});

test('up to version 10 it is the creator in the content who joins first, then the sender of the create event', () => {
  for (const version of allVersions) {
    const room = new TestRoom(version);
    const { event: create, state } = room.send(new Map(), {
      type: 'm.room.create',
      stateKey: '',
      sender: alice,
      content: { creator: bob },
      id: 'create',
    });
    const allowsJoin = (who: UserId) =>
      checkAuthRules(room.send(state, { ...member(who, 'join'), prev: [create.eventId] }).event, room.authState(state))
        .allowed;
    assert.equal(allowsJoin(bob), Number(version) <= 10, version);
    assert.equal(allowsJoin(alice), Number(version) > 10, version);
  }
});

test('nobody joins for somebody else', () => {
  for (const version of allVersions) assert(!allows({ version, dora: 'invite' }, member(dora, 'join', alice)), version);
});

test('anybody but the banned joins a public room', () => {
  const all = ['none', 'invite', 'join', 'leave', 'knock'] as const;
  allowedOnlyFrom(all, allVersions, { joinRule: 'public' }, member(dora, 'join'));
});

test('a room by invitation takes the invited, and members again', () => {
  allowedOnlyFrom(['invite', 'join'], allVersions, { joinRule: 'invite' }, member(dora, 'join'));
});

test('a room without a join rule is by invitation', () => {
  for (const version of allVersions) {
    const room = new TestRoom(version);
    const started = room.start();
    const state = new Map([...started].filter(([, id]) => room.get(id).type !== 'm.room.join_rules'));
    const allowsJoin = (now: StateMap) =>
      checkAuthRules(room.send(now, member(dora, 'join')).event, room.authState(now)).allowed;
    assert(!allowsJoin(state), version);
    assert(allowsJoin(room.send(state, member(dora, 'invite', alice)).state), version);
  }
});

test('knocking rooms take the invited from version 7 on', () => {
  allowedOnlyFrom([], versionsBetween(1, 6), { joinRule: 'knock' }, member(dora, 'join'));
  allowedOnlyFrom(['invite', 'join'], versionsBetween(7, 12), { joinRule: 'knock' }, member(dora, 'join'));
});

test('an unknown join rule lets nobody in', () => {
  for (const joinRule of ['private', 'sesame', '']) {
    allowedOnlyFrom([], allVersions, { joinRule }, member(dora, 'join'));
  }
});

const restrictedRules = [
  { joinRule: 'restricted', since: 8 },
  { joinRule: 'knock_restricted', since: 10 },
];

function authorisedJoin(by: string, signedBy: readonly string[] = ['delta.test', 'beta.test']): EventFields {
  return { ...member(dora, 'join', dora, { join_authorised_via_users_server: by }), signedBy };
}

test('restricted rooms take members and the invited, and before their version nobody', () => {
  for (const { joinRule, since } of restrictedRules) {
    allowedOnlyFrom([], versionsBetween(1, since - 1), { joinRule }, member(dora, 'join'));
    allowedOnlyFrom([], versionsBetween(1, since - 1), { joinRule }, authorisedJoin(bob));
    allowedOnlyFrom(['invite', 'join'], versionsBetween(since, 12), { joinRule }, member(dora, 'join'));
  }
});

test('a restricted room takes whom a member with the power to invite has authorised', () => {
  const all = ['none', 'invite', 'join', 'leave', 'knock'] as const;
  for (const { joinRule, since } of restrictedRules) {
    const scene = { joinRule, levels: { invite: 50 } };
    allowedOnlyFrom(all, versionsBetween(since, 12), scene, authorisedJoin(bob));
    const byCharlie = authorisedJoin(charlie, ['delta.test', 'gamma.test']);
    allowedOnlyFrom(['invite', 'join'], versionsBetween(since, 12), scene, byCharlie);
  }
});

test('who authorises a join must be in the room', () => {
  const byCharlie = authorisedJoin(charlie, ['delta.test', 'gamma.test']);
  for (const { joinRule, since } of restrictedRules) {
    for (const version of versionsBetween(since, 12)) {
      assert(allows({ version, joinRule }, byCharlie), version);
      for (const gone of ['none', 'invite', 'leave', 'ban', 'knock'] as const) {
        assert(!allows({ version, joinRule, charlie: gone }, byCharlie), `${gone} in version ${version}`);
      }
    }
  }
});

test('a join that claims to be authorised must bear that server’s signature, whatever the join rule', () => {
  const claims = [
    authorisedJoin(bob, ['delta.test']),
    authorisedJoin('bob', ['delta.test', 'beta.test']),
    authorisedJoin('@constructor:constructor', ['delta.test']),
  ];
  for (const version of allVersions) {
    for (const claim of claims) {
      assert.equal(allows({ version, joinRule: 'public' }, claim), Number(version) < 8, version);
    }
    const notText = { ...member(dora, 'join', dora, { join_authorised_via_users_server: 3 }) };
    assert.equal(allows({ version, joinRule: 'public' }, notText), Number(version) < 8, version);
    assert(allows({ version, joinRule: 'public' }, authorisedJoin(bob)), version);
  }
});

test('members invite who is neither in the room nor banned', () => {
  const expected = ['none', 'invite', 'leave', 'knock'] as const;
  allowedOnlyFrom(expected, allVersions, { joinRule: 'invite' }, member(dora, 'invite', charlie));
});

test('inviting takes the invite level and being in the room', () => {
  for (const version of allVersions) {
    assert(!allows({ version, levels: { invite: 50 } }, member(dora, 'invite', charlie)), version);
    assert(allows({ version, levels: { invite: 50 } }, member(dora, 'invite', bob)), version);
    for (const gone of ['none', 'invite', 'leave', 'ban', 'knock'] as const) {
      assert(!allows({ version, charlie: gone }, member(dora, 'invite', charlie)), `${gone} in version ${version}`);
    }
  }
});

test('users take back their own join, invitation or knock', () => {
  const leaving = member(dora, 'leave');
  allowedOnlyFrom(['invite', 'join'], versionsBetween(1, 6), {}, leaving);
  allowedOnlyFrom(['invite', 'join', 'knock'], versionsBetween(7, 12), {}, leaving);
});

test('kicking and unbanning take power over the one concerned', () => {
  for (const version of allVersions) {
    assert(allows({ version, dora: 'join' }, member(dora, 'leave', bob)), version);
    assert(!allows({ version, dora: 'join' }, member(dora, 'leave', charlie)), version);
    // Bob and Dora are equals.
    const equals = { users: { [alice]: 100, [bob]: 50, [dora]: 50 } };
    const ofVersion12 = { users: { [bob]: 50, [dora]: 50 } };
    const levels = Number(version) < 12 ? equals : ofVersion12;
    assert(!allows({ version, dora: 'join', levels }, member(dora, 'leave', bob)), version);
    assert(!allows({ version }, member(alice, 'leave', bob)), version);
    // Unbanning needs the ban level and the kick level.
    const users = levels.users;
    const withoutDora = Object.fromEntries(Object.entries(users).filter(([who]) => who !== dora));
    for (const [ban, kick, expected] of [
      [50, 50, true],
      [60, 50, false],
      [50, 60, false],
    ] as const) {
      const scene = { version, dora: 'ban', levels: { users: withoutDora, ban, kick } } as const;
      assert.equal(allows(scene, member(dora, 'leave', bob)), expected, `${ban}/${kick} in version ${version}`);
    }
    // Kicking alone does not ask for the ban level.
    const strict = { version, dora: 'join', levels: { users: withoutDora, ban: 60 } } as const;
    assert(allows(strict, member(dora, 'leave', bob)), version);
  }
});

test('who is not in the room kicks and bans nobody', () => {
  for (const version of allVersions) {
    const users = Number(version) < 12 ? { [alice]: 100, [charlie]: 80 } : { [charlie]: 80 };
    for (const gone of ['none', 'invite', 'leave', 'ban', 'knock'] as const) {
      const scene: Scene = { version, charlie: gone, dora: 'join', levels: { users } };
      assert(!allows(scene, member(dora, 'leave', charlie)), `kick, ${gone} in version ${version}`);
      assert(!allows(scene, member(dora, 'ban', charlie)), `ban, ${gone} in version ${version}`);
    }
  }
});

test('banning takes power over the one concerned, whatever their membership', () => {
  allowedOnlyFrom(memberships, allVersions, {}, member(dora, 'ban', bob));
  allowedOnlyFrom([], allVersions, {}, member(dora, 'ban', charlie));
  for (const version of allVersions) {
    assert(!allows({ version, levels: { ban: 51, ...usersOf(version) } }, member(dora, 'ban', bob)), version);
    assert(!allows({ version }, member(alice, 'ban', bob)), version);
    assert(!allows({ version }, member(bob, 'ban', bob)), version);
  }
});

function usersOf(version: string): JsonObject {
  return { users: Number(version) < 12 ? { [alice]: 100, [bob]: 50 } : { [bob]: 50 } };
}

test('no creator of version 12 can be kicked or banned, not by another one either', () => {
  const room = new TestRoom('12');
  const state = room.sendAll(room.start({ create: { additional_creators: [bob] } }), [member(bob, 'join')]);
  const auth = room.authState(state);
  for (const membership of ['leave', 'ban']) {
    assert(!checkAuthRules(room.send(state, member(alice, membership, bob)).event, auth).allowed);
    assert(!checkAuthRules(room.send(state, member(bob, membership, alice)).event, auth).allowed);
  }
});

test('knocking is for strangers, on their own behalf, where the join rule has it', () => {
  const knocks = member(dora, 'knock');
  const strangers = ['none', 'leave', 'knock'] as const;
  allowedOnlyFrom([], versionsBetween(1, 6), { joinRule: 'knock' }, knocks);
  allowedOnlyFrom(strangers, versionsBetween(7, 12), { joinRule: 'knock' }, knocks);
  allowedOnlyFrom([], versionsBetween(1, 9), { joinRule: 'knock_restricted' }, knocks);
  allowedOnlyFrom(strangers, versionsBetween(10, 12), { joinRule: 'knock_restricted' }, knocks);
  for (const joinRule of ['public', 'invite', 'restricted']) allowedOnlyFrom([], allVersions, { joinRule }, knocks);
  allowedOnlyFrom([], allVersions, { joinRule: 'knock' }, member(dora, 'knock', alice));
});

// Its public half is written differently in the two alphabets of base64.
const identityKey = signingKeyFromSeed(Buffer.alloc(32, 4), '0');
const otherKey = signingKeyFromSeed(Buffer.alloc(32, 2), '0');

interface ThirdParty {
  readonly offer?: JsonObject;
  readonly offeredBy?: UserId;
  readonly stateKey?: string;
  readonly content?: JsonObject;
  readonly before?: Membership;
}

const signed = signJson({ mxid: dora, token: 'token', sender: charlie }, 'identity.test', identityKey);

/** Charlie, who may invite, redeems a third-party invite for Dora. */
function redeems(version: string, scene: ThirdParty): boolean {
  const room = new TestRoom(version);
  const start = placed(room, room.start({ joinRule: 'invite' }), charlie, 'join');
  const before = placed(room, start, dora, scene.before ?? 'none');
  const { state } = room.send(before, {
    type: 'm.room.third_party_invite',
    stateKey: scene.stateKey ?? 'token',
    sender: scene.offeredBy ?? charlie,
    content: scene.offer ?? { public_key: identityKey.publicKeyBase64 },
  });
  const content = scene.content ?? { third_party_invite: { display_name: 'd…@…', signed } };
  return checkAuthRules(room.send(state, member(dora, 'invite', charlie, content)).event, room.authState(state))
    .allowed;
}

test('an invite with a third party’s signature is allowed', () => {
  for (const version of allVersions) {
    assert(redeems(version, {}), version);
    const listed = [{ public_key: otherKey.publicKeyBase64 }, { public_key: identityKey.publicKeyBase64 }];
    assert(redeems(version, { offer: { public_keys: listed } }), version);
    const urlSafe = encodeBase64Url(identityKey.publicKey);
    assert(redeems(version, { offer: { public_key: 'nonsense', public_keys: [{ public_key: urlSafe }] } }), version);
    // The rules for ordinary invites no longer apply once this one has decided.
    assert(redeems(version, { before: 'join' }), version);
  }
});

test('a third-party invite is checked to the last detail', () => {
  const wrong: Record<string, ThirdParty> = {
    'target is banned': { before: 'ban' },
    'nothing is signed': { content: { third_party_invite: { display_name: 'd' } } },
    'the property is no object': { content: { third_party_invite: null } },
    'signed for another user': { content: { third_party_invite: { signed: resigned({ mxid: bob }) } } },
    'no mxid': { content: { third_party_invite: { signed: resigned({ mxid: null }) } } },
    'no token': { content: { third_party_invite: { signed: resigned({ token: null }) } } },
    'another token': { stateKey: 'another' },
    'offered by somebody else': { offeredBy: alice },
    'another key': { offer: { public_key: otherKey.publicKeyBase64, public_keys: [] } },
    'no key': { offer: {} },
    'keys in a strange shape': { offer: { public_key: [identityKey.publicKeyBase64], public_keys: { 0: 1 } } },
    'the text was changed': { content: { third_party_invite: { signed: { ...signed, sender: bob } } } },
    'no signatures': { content: { third_party_invite: { signed: { mxid: dora, token: 'token' } } } },
    'a signature in a strange shape': {
      content: { third_party_invite: { signed: { ...signed, signatures: { 'identity.test': 'yes' } } } },
    },
  };
  for (const version of allVersions) {
    for (const [what, scene] of Object.entries(wrong))
      assert(!redeems(version, scene), `${what} in version ${version}`);
  }
});

function resigned(change: JsonObject): JsonObject {
  return signJson({ mxid: dora, token: 'token', ...change }, 'identity.test', identityKey);
}

test('a flood of keys and signatures is not tried to the end', () => {
  const keys = Array.from({ length: 900 }, (_, index) => ({
    public_key: Buffer.alloc(32, `key ${index}`).toString('base64'),
  }));
  const offer = { public_keys: [...keys, { public_key: identityKey.publicKeyBase64 }] };
  assert(!redeems('12', { offer }));
  assert(redeems('12', { offer: { ...offer, public_key: identityKey.publicKeyBase64 } }));
});

test('a join rule changed to invite keeps out who was let in before they came', () => {
  for (const version of allVersions) {
    const room = new TestRoom(version);
    const state = room.send(room.start(), joinRules(alice, 'invite')).state;
    assert(!checkAuthRules(room.send(state, member(dora, 'join')).event, room.authState(state)).allowed, version);
  }
});
