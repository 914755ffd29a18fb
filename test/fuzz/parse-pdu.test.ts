import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { findEventId } from '../../server/matrix/events/event-id.ts';
import { checkContentHash } from '../../server/matrix/events/hash.ts';
import { MAX_DEPTH, parsePdu } from '../../server/matrix/events/parse.ts';
import { redactEvent } from '../../server/matrix/events/redact.ts';
import { requiredSigners, verifyPduSignature } from '../../server/matrix/events/sign.ts';
import { isEventId, isRoomId, isUserId } from '../../server/matrix/identifiers.ts';
import { isJsonObject, type JsonValue } from '../../server/matrix/json.ts';
import { roomVersions } from '../../server/matrix/room-versions.ts';
import { AWAY, keyOf } from '../rooms/remote-kit.ts';
import { HostileRoom } from '../hostile/hostile-room.ts';
import { Mutator } from './mutator.ts';

const versions = [...roomVersions.values()];
/** The seed of a run that failed makes it fail again. */
const seed = Number(process.env['FUZZ_SEED'] ?? 20_260_101);
const runs = Number(process.env['FUZZ_RUNS'] ?? 4_000);

/** Whatever is taken for an event has to be one in every respect that the rest of the server relies on. */
function checkParsed(json: unknown, at: number): boolean {
  const version = versions[at % versions.length];
  assert.ok(version !== undefined);
  const before = JSON.stringify(json);
  const parsed = parsePdu(json, version);
  assert.equal(JSON.stringify(json), before, 'what is read is not changed');
  if (!parsed.ok) {
    assert.notEqual(parsed.reason, '');
    return false;
  }
  const { event } = parsed;
  assert.ok(isEventId(event.eventId) && isRoomId(event.roomId) && isUserId(event.sender));
  assert.ok(event.depth >= 0 && event.depth <= MAX_DEPTH && Number.isInteger(event.depth));
  assert.ok(Number.isSafeInteger(event.originServerTs));
  assert.ok(event.prevEvents.length <= 20 && event.authEvents.length <= 10);
  assert.ok([...event.prevEvents, ...event.authEvents].every(isEventId));
  assert.ok(event.stateKey === undefined || Buffer.byteLength(event.stateKey) <= 255);
  assert.ok(Buffer.byteLength(event.type) <= 255 && isJsonObject(event.content));
  assert.equal('unsigned' in event.pdu, false);
  // It reads the same when it comes back from where it is kept, and it keeps its name when it is redacted.
  const again = parsePdu(JSON.parse(JSON.stringify(event.pdu)), version);
  assert.ok(again.ok && again.event.eventId === event.eventId);
  const redacted = redactEvent(event);
  assert.equal(findEventId(redacted.pdu, version), event.eventId);
  checkContentHash(event.pdu, version);
  for (const signer of requiredSigners(event)) {
    verifyPduSignature(event.pdu, version, signer, keyOf(AWAY).keyId, keyOf(AWAY).publicKey);
  }
  return true;
}

test('no JSON whatsoever makes the reader of events throw, and what it takes is an event', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), fc.nat(), (json, at) => void checkParsed(json, at)),
    { seed, numRuns: runs },
  );
});

test('JSON with the keys of an event and anything under them makes the reader of events neither throw nor err', () => {
  const keys = [
    'type',
    'state_key',
    'sender',
    'content',
    'origin_server_ts',
    'depth',
    'room_id',
    'prev_events',
    'auth_events',
    'hashes',
    'signatures',
    'event_id',
    'redacts',
    'unsigned',
    'origin',
  ];
  const plausible = fc.oneof(
    fc.constantFrom(
      'm.room.create',
      'm.room.member',
      'm.room.redaction',
      '@a:b',
      '!a:b',
      `!${'A'.repeat(43)}`,
      `$${'A'.repeat(43)}`,
      '$a:b',
      0,
      1,
      -1,
      2 ** 53,
      2 ** 63,
      0.5,
      '\0',
      '',
    ),
    fc.array(fc.constantFrom<JsonValue>(`$${'A'.repeat(43)}`, '$a:b', ['$a:b', { sha256: 'A' }], 7), { maxLength: 25 }),
    fc.constantFrom<JsonValue>(
      { sha256: 'A' },
      { b: { 'ed25519:1': 'A' } },
      { membership: 'join' },
      { room_version: '12' },
      {},
    ),
    fc.jsonValue({ maxDepth: 3 }),
  );
  const pdu = fc.record(Object.fromEntries(keys.map((key) => [key, plausible])), { requiredKeys: [] });
  fc.assert(
    fc.property(pdu, fc.nat(), (json, at) => void checkParsed(json, at)),
    { seed, numRuns: runs },
  );
});

test('true events with a few things changed are read or refused, and some of either', () => {
  const mutator = new Mutator(seed);
  const counts = { taken: 0, refused: 0 };
  const samples = versions.map((version) => [...new HostileRoom(version.id).events.values()].map(({ pdu }) => pdu));
  for (let run = 0; run < runs * 2; run += 1) {
    const at = run % versions.length;
    const sample = mutator.pick(samples[at] ?? []);
    const isTaken = checkParsed(mutator.mutate(sample), at);
    counts[isTaken ? 'taken' : 'refused'] += 1;
  }
  assert.ok(counts.taken > runs / 20 && counts.refused > runs / 20, JSON.stringify(counts));
});
