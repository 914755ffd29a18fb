import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { buildEvent } from '../../../server/matrix/events/build.ts';
import { referenceHashBase64 } from '../../../server/matrix/events/hash.ts';
import { redactEvent, redactPdu } from '../../../server/matrix/events/redact.ts';
import type { JsonObject } from '../../../server/matrix/json.ts';
import { alice, aliceKey, allVersions, draft, eventId, version } from './fixtures.ts';

const between = (first: number, last: number): readonly string[] =>
  allVersions.map(({ id }) => id).filter((id) => Number(id) >= first && Number(id) <= last);

function redactContent(roomVersion: string, type: string, content: JsonObject): unknown {
  return redactPdu({ type, content }, version(roomVersion))['content'];
}

test('the top-level keys that survive are those of the room version', () => {
  const always = [
    'auth_events',
    'content',
    'depth',
    'event_id',
    'hashes',
    'origin_server_ts',
    'prev_events',
    'room_id',
    'sender',
    'signatures',
    'state_key',
    'type',
  ];
  const until10 = ['membership', 'origin', 'prev_state'];
  const never = ['unsigned', 'redacts', 'age_ts', 'replaces_state', 'anything'];
  const pdu = Object.fromEntries([...always, ...until10, ...never].map((key) => [key, key]));
  for (const id of between(1, 10)) {
    assert.deepEqual(Object.keys(redactPdu(pdu, version(id))).sort(), [...always, ...until10].sort(), id);
  }
  for (const id of between(11, 12)) assert.deepEqual(Object.keys(redactPdu(pdu, version(id))).sort(), always, id);
});

test('by event type and room version, content keeps what its table names and loses the rest', () => {
  const powerLevels = ['ban', 'events', 'events_default', 'kick', 'redact', 'state_default', 'users', 'users_default'];
  const everything = Object.fromEntries(
    [
      ...powerLevels,
      'invite',
      'notifications',
      'membership',
      'join_authorised_via_users_server',
      'displayname',
      'creator',
      'room_version',
      'join_rule',
      'allow',
      'history_visibility',
      'aliases',
      'redacts',
      'reason',
      'body',
    ].map((key) => [key, `value of ${key}`]),
  );
  const cases: readonly (readonly [type: string, ids: readonly string[], kept: readonly string[]])[] = [
    ['m.room.message', between(1, 12), []],
    ['m.room.topic', between(1, 12), []],
    ['m.room.member', between(1, 8), ['membership']],
    ['m.room.member', between(9, 12), ['membership', 'join_authorised_via_users_server']],
    ['m.room.create', between(1, 10), ['creator']],
    ['m.room.create', between(11, 12), Object.keys(everything)],
    ['m.room.join_rules', between(1, 7), ['join_rule']],
    ['m.room.join_rules', between(8, 12), ['join_rule', 'allow']],
    ['m.room.power_levels', between(1, 10), powerLevels],
    ['m.room.power_levels', between(11, 12), [...powerLevels, 'invite']],
    ['m.room.history_visibility', between(1, 12), ['history_visibility']],
    ['m.room.aliases', between(1, 5), ['aliases']],
    ['m.room.aliases', between(6, 12), []],
    ['m.room.redaction', between(1, 10), []],
    ['m.room.redaction', between(11, 12), ['redacts']],
  ];
  for (const [type, ids, kept] of cases) {
    const expected = Object.fromEntries(kept.map((key) => [key, `value of ${key}`]));
    for (const id of ids) assert.deepEqual(redactContent(id, type, everything), expected, `${type} in version ${id}`);
  }
});

test('an invite by third-party identifier keeps only what was signed, from version 11 on', () => {
  const content = { membership: 'invite', third_party_invite: { display_name: 'Bob', signed: { token: 'abc' } } };
  for (const id of between(1, 10))
    assert.deepEqual(redactContent(id, 'm.room.member', content), { membership: 'invite' });
  for (const id of between(11, 12)) {
    assert.deepEqual(redactContent(id, 'm.room.member', content), {
      membership: 'invite',
      third_party_invite: { signed: { token: 'abc' } },
    });
  }
  assert.deepEqual(redactContent('11', 'm.room.member', { third_party_invite: { display_name: 'Bob' } }), {
    third_party_invite: {},
  });
  assert.deepEqual(redactContent('11', 'm.room.member', { third_party_invite: 'Bob' }), {});
});

test('names that every object inherits are neither event types nor keys', () => {
  assert.deepEqual(redactContent('1', 'constructor', { a: 1 }), {});
  assert.deepEqual(redactPdu({ type: 5, content: { body: 'x' } }, version('1')), { type: 5, content: {} });
});

test('redacting twice is redacting once, and changes neither ID nor reference hash', () => {
  const types = ['m.room.member', 'm.room.create', 'm.room.power_levels', 'm.room.message', 'm.room.redaction'];
  const contents = fc.dictionary(
    fc.constantFrom('membership', 'creator', 'users', 'body', 'invite', 'third_party_invite', 'redacts', 'signed'),
    fc.oneof(fc.string(), fc.dictionary(fc.constantFrom('signed', 'x'), fc.nat(), { noNullPrototype: true })),
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(fc.constantFrom(...allVersions), fc.constantFrom(...types), contents, (roomVersion, type, content) => {
      const pdu = { type, content, sender: alice, depth: 1, unsigned: { age: 5 } };
      const once = redactPdu(pdu, roomVersion);
      assert.deepEqual(redactPdu(once, roomVersion), once);
      assert.equal(referenceHashBase64(once, roomVersion), referenceHashBase64(pdu, roomVersion));
    }),
  );
});

test('a redacted event keeps its ID and the fields that rules read, but not what Alice said', () => {
  for (const roomVersion of allVersions) {
    const event = buildEvent(draft(roomVersion));
    const redacted = redactEvent(event);
    assert.equal(redacted.eventId, event.eventId);
    assert.deepEqual(redacted.content, {});
    assert.deepEqual(redacted.pdu['content'], {});
    assert.deepEqual(redacted.prevEvents, event.prevEvents);
    assert.ok(!JSON.stringify(redacted).includes('Dinner'));
  }
});

test('a redacted redaction forgets its target until version 10 and remembers it from version 11 on', () => {
  const redacts = eventId('$target');
  for (const roomVersion of allVersions) {
    const event = buildEvent(
      draft(roomVersion, { type: 'm.room.redaction', content: {}, redacts, signingKey: aliceKey }),
    );
    assert.equal(event.redacts, redacts);
    assert.equal(redactEvent(event).redacts, Number(roomVersion.id) >= 11 ? redacts : undefined);
  }
});
