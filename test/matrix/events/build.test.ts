import assert from 'node:assert/strict';
import { test } from 'node:test';

import { canonicalJson } from '../../../server/matrix/canonical-json.ts';
import { MatrixError } from '../../../server/matrix/errors.ts';
import { buildEvent, completeTemplate } from '../../../server/matrix/events/build.ts';
import { checkContentHash, referenceHashBase64 } from '../../../server/matrix/events/hash.ts';
import { MAX_DEPTH, MAX_PDU_BYTES, parsePdu } from '../../../server/matrix/events/parse.ts';
import { verifyPduSignature } from '../../../server/matrix/events/sign.ts';
import type { JsonObject } from '../../../server/matrix/json.ts';
import { alice, aliceServer, allVersions, bob, bobKey, bobServer, draft, eventId, version } from './fixtures.ts';

const refusal = (errcode: string) => (error: unknown) => error instanceof MatrixError && error.errcode === errcode;

test('an event carries the keys of its room version, and no others', () => {
  const common = [
    'auth_events',
    'content',
    'depth',
    'hashes',
    'origin_server_ts',
    'prev_events',
    'room_id',
    'sender',
    'signatures',
    'type',
  ];
  for (const roomVersion of allVersions) {
    const { pdu, stateKey } = buildEvent(draft(roomVersion));
    const expected = Number(roomVersion.id) <= 2 ? [...common, 'event_id'] : common;
    assert.deepEqual(Object.keys(pdu).sort(), expected.sort());
    assert.equal(stateKey, undefined);
  }
});

test('in versions 1 and 2 an event is given its ID and refers to others with their hashes', () => {
  const first = buildEvent(draft(version('1'), { eventIdLocalpart: 'first' }));
  assert.equal(first.eventId, '$first:alice.example');
  const reference = { eventId: first.eventId, sha256: referenceHashBase64(first.pdu, version('1')) };
  const second = buildEvent(
    draft(version('1'), { eventIdLocalpart: 'second', prevEvents: [reference], authEvents: [] }),
  );
  assert.deepEqual(second.pdu['prev_events'], [['$first:alice.example', { sha256: reference.sha256 }]]);
  assert.deepEqual(second.prevEvents, ['$first:alice.example']);
});

test('in versions 1 and 2 an event cannot be built without what only its maker knows', () => {
  assert.throws(() => buildEvent(draft(version('2'), { eventIdLocalpart: '' })), TypeError);
  assert.throws(() => buildEvent(draft(version('2'), { eventIdLocalpart: 'a:b' })), TypeError);
  assert.throws(() => buildEvent(draft(version('2'), { prevEvents: [eventId('$a:alice.example')] })), TypeError);
});

test('the target of a redaction is put where the room version looks for it', () => {
  const redacts = eventId('$target');
  for (const roomVersion of allVersions) {
    const changes = { type: 'm.room.redaction', content: { reason: 'a slip' }, redacts };
    const { pdu, content } = buildEvent(draft(roomVersion, changes));
    if (Number(roomVersion.id) >= 11) {
      assert.deepEqual(content, { reason: 'a slip', redacts });
      assert.ok(!Object.hasOwn(pdu, 'redacts'));
    } else {
      assert.deepEqual(content, { reason: 'a slip' });
      assert.equal(pdu['redacts'], redacts);
    }
  }
});

test('an event over a limit on bytes is refused as too large, and one at the limit is not', () => {
  const sizeOf = (body: string) =>
    Buffer.byteLength(canonicalJson(buildEvent(draft(version('12'), { content: { body } })).pdu));
  const room = MAX_PDU_BYTES - sizeOf('');
  assert.equal(sizeOf('a'.repeat(room)), MAX_PDU_BYTES);
  assert.throws(() => sizeOf('a'.repeat(room + 1)), refusal('M_TOO_LARGE'));
  assert.throws(() => buildEvent(draft(version('12'), { stateKey: 'a'.repeat(256) })), refusal('M_TOO_LARGE'));
  assert.throws(() => buildEvent(draft(version('12'), { type: 'é'.repeat(128) })), refusal('M_TOO_LARGE'));
});

test('content without a canonical form is refused as bad JSON', () => {
  for (const content of [{ half: 0.5 }, { text: '\ud800' }, { big: 2 ** 60 }]) {
    assert.throws(() => buildEvent(draft(version('6'), { content })), refusal('M_BAD_JSON'), JSON.stringify(content));
  }
  assert.doesNotThrow(() => buildEvent(draft(version('5'), { content: { half: 0.5 } })));
  assert.throws(() => buildEvent(draft(version('6'), { originServerTs: 1.5 })), refusal('M_BAD_JSON'));
  const tooMany = Array.from({ length: 21 }, (_, i) => eventId(`$event${i}`));
  assert.throws(() => buildEvent(draft(version('6'), { prevEvents: tooMany })), refusal('M_BAD_JSON'));
});

test('at the greatest depth a room goes on at that depth', () => {
  assert.equal(buildEvent(draft(version('12'), { depth: MAX_DEPTH + 1 })).depth, MAX_DEPTH);
});

test('Bob completes the join that Alice’s server drafted for him, and what it claimed of hashes and IDs is replaced', () => {
  for (const roomVersion of allVersions) {
    const { pdu } = buildEvent(
      draft(roomVersion, { type: 'm.room.member', sender: bob, stateKey: bob, content: { membership: 'join' } }),
    );
    const template: JsonObject = {
      ...pdu,
      event_id: '$theirs:alice.example',
      origin: aliceServer,
      unsigned: { age: 1 },
    };
    const join = completeTemplate(template, roomVersion, {
      serverName: bobServer,
      signingKey: bobKey,
      eventIdLocalpart: 'mine',
    });
    assert.equal(join.stateKey, bob);
    assert.equal(join.pdu['origin'], aliceServer);
    assert.ok(!Object.hasOwn(join.pdu, 'unsigned'));
    assert.equal(join.pdu['event_id'], Number(roomVersion.id) <= 2 ? '$mine:bob.example' : undefined);
    assert.deepEqual(Object.keys(join.pdu['signatures'] ?? {}), [bobServer]);
    assert.ok(checkContentHash(join.pdu, roomVersion));
    assert.ok(verifyPduSignature(join.pdu, roomVersion, bobServer, bobKey.keyId, bobKey.publicKey));
    assert.deepEqual(parsePdu(join.pdu, roomVersion), { ok: true, event: join });
  }
});

test('a template that is no event is refused', () => {
  const signer = { serverName: bobServer, signingKey: bobKey };
  for (const template of [{}, { type: 'm.room.member', sender: alice }]) {
    assert.throws(() => completeTemplate(template, version('12'), signer), refusal('M_BAD_JSON'));
  }
});
