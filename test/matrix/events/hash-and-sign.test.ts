import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { decodeBase64, encodeBase64 } from '../../../server/matrix/base64.ts';
import { buildEvent } from '../../../server/matrix/events/build.ts';
import { createEventIdOf, findEventId, roomIdOfCreate } from '../../../server/matrix/events/event-id.ts';
import { checkContentHash, contentHash, referenceHash } from '../../../server/matrix/events/hash.ts';
import { parsePdu } from '../../../server/matrix/events/parse.ts';
import { redactPdu } from '../../../server/matrix/events/redact.ts';
import { requiredSigners, signPdu, verifyPduSignature } from '../../../server/matrix/events/sign.ts';
import type { JsonObject } from '../../../server/matrix/json.ts';
import { signingKeyFromSeed } from '../../../server/matrix/signing.ts';
import {
  alice,
  aliceKey,
  aliceServer,
  allVersions,
  bob,
  bobKey,
  bobServer,
  draft,
  serverName,
  version,
} from './fixtures.ts';

const specKey = signingKeyFromSeed(decodeBase64('YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1') ?? Buffer.alloc(0), '1');

test('the test vectors of the spec for signed events come out', () => {
  const vectors: readonly { pdu: JsonObject; hash: string; signature: string }[] = [
    {
      pdu: {
        room_id: '!x:domain',
        sender: '@a:domain',
        origin: 'domain',
        origin_server_ts: 1000000,
        signatures: {},
        hashes: {},
        type: 'X',
        content: {},
        prev_events: [],
        auth_events: [],
        depth: 3,
        unsigned: { age_ts: 1000000 },
      },
      hash: '5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos',
      signature: 'KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg',
    },
    {
      pdu: {
        content: { body: 'Here is the message content' },
        event_id: '$0:domain',
        origin: 'domain',
        origin_server_ts: 1000000,
        type: 'm.room.message',
        room_id: '!r:domain',
        sender: '@u:domain',
        signatures: {},
        unsigned: { age_ts: 1000000 },
      },
      hash: 'onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g',
      signature: 'Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA',
    },
  ];
  for (const { pdu, hash, signature } of vectors) {
    assert.equal(encodeBase64(contentHash(pdu, version('1'))), hash);
    const signed = signPdu({ ...pdu, hashes: { sha256: hash } }, version('1'), serverName('domain'), specKey);
    assert.deepEqual(signed, {
      ...pdu,
      hashes: { sha256: hash },
      signatures: { domain: { 'ed25519:1': signature } },
    });
    assert.ok(checkContentHash(signed, version('1')));
    assert.ok(verifyPduSignature(signed, version('1'), serverName('domain'), 'ed25519:1', specKey.publicKey));
  }
});

// The expected hashes were made with another program: json.dumps with sorted keys, then SHA-256.
const create = {
  auth_events: [],
  content: { room_version: '12', 'm.federate': true },
  depth: 1,
  hashes: { sha256: 'yxuBvphseAD2OLLgsoAkTALKWMZ42XgKDjN2YNIfu3k' },
  origin_server_ts: 1700000000000,
  prev_events: [],
  sender: '@alice:example.org',
  state_key: '',
  type: 'm.room.create',
  signatures: {},
};
const CREATE_HASH = 'BFtIQV3bUIEtKpdsAE4X5auERsX7I27-Evy4pePGYV8';
const message = {
  auth_events: [`$${CREATE_HASH}`],
  content: { body: '日本 \u0001 "quoted" 😀', msgtype: 'm.text' },
  depth: 2,
  hashes: { sha256: 'H8F5nQsxyAhRMdPuxWAPUqLjaOqejwd2+oxPmcJyleo' },
  origin_server_ts: 1700000000001,
  prev_events: [`$${CREATE_HASH}`],
  room_id: '!room:example.org',
  sender: '@alice:example.org',
  type: 'm.room.message',
  signatures: {},
};

test('an event ID is the hash in base64 in version 3, and in its URL-safe form from version 4 on', () => {
  assert.ok(checkContentHash(message, version('3')));
  assert.equal(findEventId(message, version('3')), '$swnjVaPlm6tt/dIf6Wu/mt1dnab5ajlOrYjlandda/0');
  for (const id of ['4', '5', '6', '7', '8', '9', '10', '11']) {
    assert.equal(findEventId(message, version(id)), '$swnjVaPlm6tt_dIf6Wu_mt1dnab5ajlOrYjlandda_0');
  }
});

test('in version 12 a room is named after its create event', () => {
  assert.ok(checkContentHash(create, version('12')));
  const parsed = parsePdu(create, version('12'));
  assert.ok(parsed.ok);
  assert.equal(parsed.event.eventId, `$${CREATE_HASH}`);
  assert.equal(parsed.event.roomId, `!${CREATE_HASH}`);
  assert.equal(roomIdOfCreate(parsed.event.eventId), parsed.event.roomId);
  assert.equal(createEventIdOf(parsed.event.roomId), parsed.event.eventId);
});

test('versions 1 and 2 take the ID that the event carries, if it has the form of one', () => {
  for (const id of ['1', '2']) {
    assert.equal(findEventId({ ...message, event_id: '$abc:example.org' }, version(id)), '$abc:example.org');
    for (const wrong of [undefined, '$abc', '$:example.org', '$abc:', 'abc:example.org', 5]) {
      const pdu = { ...message, event_id: wrong } as JsonObject;
      assert.equal(findEventId(pdu, version(id)), undefined, String(wrong));
    }
  }
});

test('an event built here passes every check, in all room versions', () => {
  for (const roomVersion of allVersions) {
    const { pdu, eventId } = buildEvent(draft(roomVersion));
    assert.ok(checkContentHash(pdu, roomVersion), roomVersion.id);
    assert.ok(verifyPduSignature(pdu, roomVersion, aliceServer, aliceKey.keyId, aliceKey.publicKey), roomVersion.id);
    assert.equal(findEventId(pdu, roomVersion), eventId);
  }
});

test('the redacted copy of an event bears the same signature and ID, but fails the content hash', () => {
  for (const roomVersion of allVersions) {
    const { pdu, eventId } = buildEvent(draft(roomVersion));
    const redacted = redactPdu(pdu, roomVersion);
    assert.ok(verifyPduSignature(redacted, roomVersion, aliceServer, aliceKey.keyId, aliceKey.publicKey));
    assert.equal(findEventId(redacted, roomVersion), eventId);
    assert.ok(!checkContentHash(redacted, roomVersion));
  }
});

test('whoever puts other words into the mouth of Alice is found out by the hash', () => {
  const { pdu } = buildEvent(draft(version('12')));
  const forged = { ...pdu, content: { msgtype: 'm.text', body: 'There is no dinner' } };
  assert.ok(!checkContentHash(forged, version('12')));
  assert.ok(!checkContentHash({ ...pdu, hashes: {} }, version('12')));
  assert.ok(!checkContentHash({ ...pdu, hashes: { sha256: 'not base64!' } }, version('12')));
});

test('whoever changes what cannot be redacted breaks the signature', () => {
  const { pdu } = buildEvent(draft(version('12')));
  const verify = (changed: JsonObject) =>
    verifyPduSignature(changed, version('12'), aliceServer, aliceKey.keyId, aliceKey.publicKey);
  assert.ok(verify(pdu));
  for (const change of [{ sender: bob }, { depth: 8 }, { hashes: { sha256: 'AAAA' } }, { state_key: '' }]) {
    assert.ok(!verify({ ...pdu, ...change }), JSON.stringify(change));
  }
  assert.ok(!verifyPduSignature(pdu, version('12'), bobServer, aliceKey.keyId, aliceKey.publicKey));
  assert.ok(!verifyPduSignature(pdu, version('12'), aliceServer, aliceKey.keyId, bobKey.publicKey));
});

test('what has no canonical form is signed by nobody, rather than an error', () => {
  const { pdu } = buildEvent(draft(version('11'), { type: 'm.room.create', stateKey: '', content: {} }));
  const deep = JSON.parse(`${'{"a":'.repeat(200)}1${'}'.repeat(200)}`) as JsonObject;
  const verify = (content: JsonObject) =>
    verifyPduSignature({ ...pdu, content }, version('11'), aliceServer, aliceKey.keyId, aliceKey.publicKey);
  assert.ok(verify({}));
  assert.ok(!verify(deep));
  assert.ok(!verify({ half: 0.5 }));
});

test('a second server vouches for an event without disturbing the first signature or the ID', () => {
  const { pdu, eventId } = buildEvent(draft(version('10')));
  const signed = signPdu(pdu, version('10'), bobServer, bobKey);
  assert.ok(verifyPduSignature(signed, version('10'), aliceServer, aliceKey.keyId, aliceKey.publicKey));
  assert.ok(verifyPduSignature(signed, version('10'), bobServer, bobKey.keyId, bobKey.publicKey));
  assert.equal(findEventId(signed, version('10')), eventId);
});

test('hashes do not depend on `unsigned` or on signatures', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...allVersions),
      fc.jsonValue(),
      fc.jsonValue(),
      (roomVersion, unsigned, signatures) => {
        const { pdu } = buildEvent(draft(roomVersion));
        const changed = { ...pdu, unsigned, signatures } as JsonObject;
        assert.deepEqual(contentHash(changed, roomVersion), contentHash(pdu, roomVersion));
        assert.deepEqual(referenceHash(changed, roomVersion), referenceHash(pdu, roomVersion));
      },
    ),
    { numRuns: 50 },
  );
});

test('an ordinary event needs the signature of its sender’s server', () => {
  for (const { id } of allVersions) assert.deepEqual(requiredSigners(buildEvent(draft(version(id)))), [aliceServer]);
});

test('in versions 1 and 2 the server that named the event must have signed it as well', () => {
  for (const roomVersion of allVersions) {
    const event = buildEvent(draft(roomVersion, { sender: bob }));
    assert.deepEqual(requiredSigners(event), Number(roomVersion.id) <= 2 ? [bobServer, aliceServer] : [bobServer]);
  }
});

test('an invite by third-party identifier may come from a server that is not the sender’s', () => {
  const content = { membership: 'invite', third_party_invite: { signed: { token: 'abc' } } };
  const invite = buildEvent(draft(version('10'), { type: 'm.room.member', stateKey: bob, content }));
  assert.deepEqual(requiredSigners(invite), []);
  // The exception is for invites alone.
  const join = { ...content, membership: 'join' };
  assert.deepEqual(
    requiredSigners(buildEvent(draft(version('10'), { type: 'm.room.member', stateKey: alice, content: join }))),
    [aliceServer],
  );
  assert.deepEqual(requiredSigners(buildEvent(draft(version('10'), { content }))), [aliceServer]);
});

test('from version 8 on, a restricted join also needs the server of the member who let it in', () => {
  const content = { membership: 'join', join_authorised_via_users_server: bob };
  for (const roomVersion of allVersions) {
    const join = buildEvent(draft(roomVersion, { type: 'm.room.member', stateKey: alice, content }));
    assert.deepEqual(requiredSigners(join), Number(roomVersion.id) >= 8 ? [aliceServer, bobServer] : [aliceServer]);
  }
});
