import assert from 'node:assert/strict';
import { test } from 'node:test';

import { canonicalJson } from '../../../server/matrix/canonical-json.ts';
import { buildEvent } from '../../../server/matrix/events/build.ts';
import { MAX_DEPTH, MAX_PDU_BYTES, parsePdu } from '../../../server/matrix/events/parse.ts';
import { stripStateEvent } from '../../../server/matrix/events/strip.ts';
import type { JsonObject } from '../../../server/matrix/json.ts';
import type { RoomVersion } from '../../../server/matrix/room-versions.ts';
import { alice, allVersions, bob, draft, eventId, version } from './fixtures.ts';

function pduOf(roomVersion: RoomVersion, changes: Parameters<typeof draft>[1] = {}): JsonObject {
  return buildEvent(draft(roomVersion, changes)).pdu;
}

/** Whether Alice's message passes with these keys changed; `undefined` takes a key away. */
function passes(roomVersion: RoomVersion, changes: Record<string, unknown>): boolean {
  const changed = Object.entries({ ...pduOf(roomVersion), ...changes }).filter(([, value]) => value !== undefined);
  return parsePdu(Object.fromEntries(changed), roomVersion).ok;
}

test('what was built is read back the same, in all room versions, and `unsigned` is left out', () => {
  for (const roomVersion of allVersions) {
    const built = buildEvent(draft(roomVersion, { stateKey: 'kitchen', type: 'org.example.oven' }));
    const parsed = parsePdu({ ...JSON.parse(JSON.stringify(built.pdu)), unsigned: { age: 5 } }, roomVersion);
    assert.deepEqual(parsed, { ok: true, event: built }, roomVersion.id);
  }
});

test('keys nobody knows stay, for they were hashed', () => {
  const parsed = parsePdu({ ...pduOf(version('6')), 'org.example.extra': [1] }, version('6'));
  assert.ok(parsed.ok);
  assert.deepEqual(parsed.event.pdu['org.example.extra'], [1]);
});

test('every required key must be there and of its type', () => {
  const wrong: readonly (readonly [string, readonly unknown[]])[] = [
    ['type', [undefined, 5, null]],
    ['sender', [undefined, 5, 'alice', '@alice', '@alice:', `@${'a'.repeat(250)}:alice.example`]],
    ['room_id', [undefined, 5, 'room', '!', '!room: bad', `!${'a'.repeat(255)}:alice.example`]],
    ['content', [undefined, [], 'text', null]],
    ['state_key', [5, null, {}]],
    ['origin_server_ts', [undefined, '5', 1.5, null, 2 ** 53]],
    ['depth', [undefined, '5', 1.5, -1, null]],
    ['prev_events', [undefined, {}, null, [5], [['$a']], ['event']]],
    ['auth_events', [undefined, {}, null, [5], [[]]]],
    ['hashes', [undefined, {}, { sha256: 5 }, []]],
    ['signatures', [undefined, [], { s: 'x' }, { s: { 'ed25519:1': 5 } }]],
  ];
  for (const roomVersion of allVersions) {
    for (const [key, values] of wrong) {
      for (const value of values) {
        assert.ok(!passes(roomVersion, { [key]: value }), `${key}: ${JSON.stringify(value)} in ${roomVersion.id}`);
      }
    }
    assert.ok(passes(roomVersion, { state_key: '' }));
  }
  for (const json of [null, [], 'event', 5, undefined]) assert.ok(!parsePdu(json, version('6')).ok);
});

test('references are pairs with hashes in versions 1 and 2, and plain IDs later', () => {
  const pair = ['$a:alice.example', { sha256: 'AAAA' }];
  for (const roomVersion of allVersions) {
    const pairs = Number(roomVersion.id) <= 2;
    assert.equal(passes(roomVersion, { prev_events: [pair], auth_events: [pair] }), pairs);
    assert.equal(passes(roomVersion, { prev_events: ['$a'], auth_events: ['$a'] }), !pairs);
  }
  for (const wrong of [['$a:b'], ['$a:b', 'AAAA'], ['$a:b', { sha256: 'A' }, 1], [5, { sha256: 'A' }]]) {
    assert.ok(!passes(version('1'), { prev_events: [wrong] }), JSON.stringify(wrong));
  }
});

test('an event follows at most 20 others and rests on at most 10', () => {
  const references = (count: number) => Array.from({ length: count }, (_, i) => `$event${i}`);
  assert.ok(passes(version('6'), { prev_events: references(20), auth_events: references(10) }));
  assert.ok(!passes(version('6'), { prev_events: references(21) }));
  assert.ok(!passes(version('6'), { auth_events: references(11) }));
});

test('depth ends at 2^53 - 1 where canonical JSON is strict; older rooms count on, which is read as the limit', () => {
  for (const roomVersion of allVersions) {
    assert.ok(passes(roomVersion, { depth: 0 }));
    assert.ok(passes(roomVersion, { depth: MAX_DEPTH }));
    assert.equal(passes(roomVersion, { depth: 2 ** 53 }), Number(roomVersion.id) <= 5);
    assert.ok(!passes(roomVersion, { depth: 2 ** 64 }));
  }
  const parsed = parsePdu({ ...pduOf(version('5')), depth: 2 ** 62 }, version('5'));
  assert.ok(parsed.ok);
  assert.equal(parsed.event.depth, MAX_DEPTH);
  assert.equal(parsed.event.pdu['depth'], 2 ** 62);
});

test('floats in content spoil an event from version 6 on, but not before', () => {
  for (const roomVersion of allVersions) {
    assert.equal(passes(roomVersion, { content: { level: 50.57 } }), Number(roomVersion.id) <= 5, roomVersion.id);
    assert.ok(!passes(roomVersion, { content: { level: Number.POSITIVE_INFINITY } }));
  }
});

test('type and state key have at most 255 bytes of UTF-8', () => {
  for (const key of ['type', 'state_key']) {
    assert.ok(passes(version('11'), { [key]: 'a'.repeat(255) }));
    assert.ok(passes(version('11'), { [key]: 'é'.repeat(127) }));
    for (const long of ['a'.repeat(256), 'é'.repeat(128), '日'.repeat(86)]) {
      const parsed = parsePdu({ ...pduOf(version('11')), [key]: long }, version('11'));
      assert.ok(!parsed.ok && parsed.tooLarge, `${key} of ${Buffer.byteLength(long)} bytes`);
    }
  }
});

test('an event type may not hold NUL, which would let two keys of the state look alike; a state key may', () => {
  assert.ok(!passes(version('11'), { type: 'a\0b' }));
  assert.ok(passes(version('11'), { state_key: 'a\0b' }));
});

test('an event has at most 65536 bytes as canonical JSON with its signatures', () => {
  const pdu = pduOf(version('11'), { content: { body: '' } });
  const room = MAX_PDU_BYTES - Buffer.byteLength(canonicalJson(pdu));
  const withBody = (body: string) => parsePdu({ ...pdu, content: { body } }, version('11'));
  assert.ok(withBody('a'.repeat(room)).ok);
  const over = withBody('a'.repeat(room + 1));
  assert.ok(!over.ok && over.tooLarge);
  // Bytes count, not characters; what `unsigned` holds counts as little as it matters.
  assert.ok(!withBody('日'.repeat(Math.ceil(room / 3) + 1)).ok);
  assert.ok(parsePdu({ ...pdu, unsigned: { long: 'a'.repeat(MAX_PDU_BYTES) } }, version('11')).ok);
});

test('a create event has no room ID in version 12, and every other event has one without a domain', () => {
  const v12 = version('12');
  const create = {
    type: 'm.room.create',
    stateKey: '',
    content: { room_version: '12' },
    prevEvents: [],
    authEvents: [],
  };
  const pdu = pduOf(v12, { ...create, roomId: undefined });
  const parsed = parsePdu(pdu, v12);
  assert.ok(parsed.ok);
  assert.equal(parsed.event.roomId.slice(1), parsed.event.eventId.slice(1));
  assert.ok(!Object.hasOwn(parsed.event.pdu, 'room_id'));
  assert.ok(!parsePdu({ ...pdu, room_id: `!${'a'.repeat(43)}` }, v12).ok);
  for (const room of ['!room:alice.example', `!${'a'.repeat(42)}`, `!${'a'.repeat(44)}`, `!${'+'.repeat(43)}`]) {
    assert.ok(!passes(v12, { room_id: room }), room);
  }
  // Before, a room ID has a domain, on the create event as well.
  assert.ok(!passes(version('11'), { room_id: `!${'a'.repeat(43)}` }));
  assert.ok(!passes(version('11'), { type: 'm.room.create', state_key: '', room_id: undefined }));
});

test('an event of versions 1 and 2 without a proper ID of its own is refused', () => {
  assert.ok(!passes(version('1'), { event_id: undefined }));
  assert.ok(!passes(version('2'), { event_id: '$abc' }));
});

test('a redaction names its target at the top level until version 10 and in content from version 11 on', () => {
  const target = eventId('$target');
  for (const roomVersion of allVersions) {
    const inContent = Number(roomVersion.id) >= 11;
    const redactionOf = (changes: JsonObject) => {
      const parsed = parsePdu(
        { ...pduOf(roomVersion, { type: 'm.room.redaction', content: {} }), ...changes },
        roomVersion,
      );
      assert.ok(parsed.ok);
      return parsed.event.redacts;
    };
    assert.equal(redactionOf({ redacts: target }), inContent ? undefined : target);
    assert.equal(redactionOf({ content: { redacts: target } }), inContent ? target : undefined);
    assert.equal(redactionOf({ redacts: 'target', content: { redacts: 5 } }), undefined);
  }
  const message = parsePdu({ ...pduOf(version('6')), redacts: target }, version('6'));
  assert.ok(message.ok && message.event.redacts === undefined);
});

test('a restricted join that names nobody who could have signed it is refused', () => {
  const join = (authoriser: unknown) => ({
    type: 'm.room.member',
    state_key: alice,
    content: { membership: 'join', join_authorised_via_users_server: authoriser },
  });
  assert.ok(passes(version('8'), join(bob)));
  assert.ok(!passes(version('8'), join('bob')));
  assert.ok(!passes(version('8'), join(null)));
  assert.ok(passes(version('7'), join('bob')));
});

test('a key called __proto__ neither vanishes nor lends an event keys it does not have', () => {
  const { type, ...rest } = pduOf(version('6'));
  const text = JSON.stringify({ proto: { type }, ...rest }).replace('"proto"', '"__proto__"');
  assert.ok(!parsePdu(JSON.parse(text), version('6')).ok);
  const whole = parsePdu(JSON.parse(text.replace('{', `{"type":${JSON.stringify(type)},`)), version('6'));
  assert.ok(whole.ok);
  assert.ok(Object.hasOwn(whole.event.pdu, '__proto__'));
});

test('strangers see type, state key, sender and content of a state event, and no message at all', () => {
  const name = buildEvent(draft(version('12'), { type: 'm.room.name', stateKey: '', content: { name: 'Home' } }));
  assert.deepEqual(stripStateEvent(name), {
    type: 'm.room.name',
    state_key: '',
    sender: alice,
    content: { name: 'Home' },
  });
  assert.throws(() => stripStateEvent(buildEvent(draft(version('12')))), TypeError);
});
