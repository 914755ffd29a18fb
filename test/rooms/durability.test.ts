import assert from 'node:assert/strict';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import type { Projection } from '../../server/rooms/types.ts';
import { alice, bob, carol, draft, household, phone, userId } from './room-kit.ts';

/** Fails for whatever says so, after the event has been stored. */
const fragile: Projection = {
  name: 'fragile',
  project: (_tx, event) => {
    if (event.content['fails'] === true) throw new Error('a projection failed');
  },
};

test('an event whose projection fails leaves nothing behind, in memory or on disk', async (t) => {
  const home = household(t, { projections: [fragile] });
  const roomId = await home.createRoom();
  const topic = await home.send(roomId, draft.state(alice, 'm.room.topic', { topic: 'Before' }));
  const failure = /a projection failed/;

  await assert.rejects(home.send(roomId, draft.state(alice, 'm.room.topic', { topic: 'After', fails: true })), failure);
  await assert.rejects(home.send(roomId, draft.member(bob, bob, 'join', { fails: true })), failure);
  await assert.rejects(
    home.send(roomId, draft.state(alice, 'org.example.new', { fails: true }, 'never seen')),
    failure,
  );
  const transaction = { deviceId: phone, transactionId: 'm1' };
  await assert.rejects(
    home.send(roomId, { ...draft.message(alice, 'Hello'), content: { fails: true } }, { transaction }),
    failure,
  );

  const later = (await home.reopen()).rooms;
  assert.equal(later.state.findCurrent(roomId, 'm.room.topic', '')?.eventId, topic.eventId);
  assert.equal(later.members.findMember(roomId, bob), undefined);
  assert.deepEqual(later.checkConsistency(), []);
});

test('after a failure the same server goes on as if nothing had been', async (t) => {
  const home = household(t, { projections: [fragile] });
  const { rooms } = home;
  const roomId = await home.createRoom();
  const last = await home.send(roomId, draft.message(alice, 'Before'));
  const failure = /a projection failed/;
  const transaction = { deviceId: phone, transactionId: 'm1' };
  assert.equal(rooms.members.countMembers(roomId, 'join'), 1);
  await assert.rejects(home.send(roomId, draft.member(bob, bob, 'join', { fails: true })), failure);
  await assert.rejects(home.send(roomId, draft.state(alice, 'org.example.new', { fails: true }, 'k')), failure);
  await assert.rejects(home.send(roomId, draft.message(alice, 'x'), { transaction, alongside: throwing }), /undone/);

  assert.equal(rooms.members.isJoined(roomId, bob), false);
  assert.equal(rooms.members.countMembers(roomId, 'join'), 1);
  assert.equal(rooms.state.currentState(roomId).find('org.example.new', 'k'), undefined);
  assert.equal(rooms.timeline.findLatest(roomId)?.eventId, last.eventId);
  const next = await home.send(roomId, draft.message(alice, 'After'), { transaction });
  assert.deepEqual(next.prevEvents, [last.eventId]);
  await home.send(roomId, draft.state(alice, 'org.example.other', { good: true }, 'j'));
  await home.send(roomId, draft.state(alice, 'org.example.new', { good: true }, 'k'));
  await home.send(roomId, draft.member(carol, carol, 'join'));
  assert.equal(rooms.members.countMembers(roomId, 'join'), 2);
  assert.deepEqual(rooms.checkConsistency(), []);
  assert.deepEqual((await home.reopen()).rooms.checkConsistency(), []);
});

function throwing(): never {
  throw new Error('undone');
}

test('one failure among many events of a turn undoes that one alone', async (t) => {
  const home = household(t, { projections: [fragile] });
  const { rooms } = home;
  const roomId = await home.createRoom();
  const results = await Promise.allSettled(
    Array.from({ length: 12 }, (_, turn) =>
      rooms.sender.send({
        ...draft.state(alice, 'org.example.slot', { turn, fails: turn % 3 === 1 }, `${turn}`),
        roomId,
      }),
    ),
  );
  assert.deepEqual(
    results.map(({ status }) => status === 'fulfilled'),
    Array.from({ length: 12 }, (_, turn) => turn % 3 !== 1),
  );
  assert.equal(rooms.state.currentState(roomId).listType('org.example.slot').length, 8);
  assert.deepEqual(rooms.checkConsistency(), []);
  const again = (await home.reopen()).rooms;
  assert.equal(again.state.currentState(roomId).listType('org.example.slot').length, 8);
  assert.deepEqual(again.checkConsistency(), []);
});

test('a write that fails as a whole takes the rooms made in it along', async (t) => {
  const home = household(t);
  const { rooms, db } = home;
  const roomId = await home.createRoom();
  const before = rooms.timeline.findLatest(roomId)?.eventId;
  const name = userId('@eve:hearth.test');
  const attempts: Promise<unknown>[] = [];
  assert.throws(
    () =>
      db.write(() => {
        attempts.push(rooms.sender.send({ ...draft.member(name, name, 'join'), roomId }));
        throw new Error('the outer write failed');
      }),
    /the outer write failed/,
  );
  await Promise.allSettled(attempts);
  assert.equal(rooms.members.findMember(roomId, name), undefined);
  assert.equal(rooms.timeline.findLatest(roomId)?.eventId, before);
  const next = await home.send(roomId, draft.message(alice, 'On'));
  assert.deepEqual(next.prevEvents, [before]);
  assert.deepEqual(rooms.checkConsistency(), []);
});

const DAMAGES: readonly (readonly [what: string, sql: string, found: RegExp])[] = [
  ['a lost node', 'DELETE FROM state_nodes WHERE node_nid = (SELECT max(node_nid) FROM state_nodes)', /missing/],
  ['a cut node', "UPDATE state_nodes SET data = x'12' WHERE node_nid = 3", /state node 3 cannot be read/],
  ['a lost extremity', 'DELETE FROM forward_extremities', /no forward extremity/],
  ['a wrong current state', 'UPDATE rooms SET state_root = 2', /not what its extremities resolve to/],
  ['a wrong extremity', 'UPDATE forward_extremities SET event_nid = (SELECT min(event_nid) FROM events)', /resolve to/],
  ['a broken event', "UPDATE events SET pdu = '{}' WHERE pdu LIKE '%Hello%'", /cannot be read/],
  [
    'a lost predecessor',
    `UPDATE events SET pdu = json_set(pdu, '$.prev_events[0]', '$nothing') WHERE pdu LIKE '%Hello%'`,
    /neither held nor known to be missing/,
  ],
  ['a lost membership', 'DELETE FROM room_members', /is not the one of the current state/],
  ['a wrong membership', 'UPDATE room_members SET membership = 4', /is not the one of the current state/],
  [
    'a member too many',
    `INSERT INTO room_members SELECT room_nid, '@ghost:hearth.test', 1, event_nid, sender, position,
    NULL, NULL, NULL, 0, NULL FROM room_members LIMIT 1`,
    /counts as joined .* but is not in its state/,
  ],
  ['a shown reject', "UPDATE events SET verdict = 2 WHERE pdu LIKE '%Hello%'", /shown although/],
  ['a wrong newest event', 'UPDATE rooms SET last_position = 1', /newest event/],
  ['a lost state', 'UPDATE events SET state_before = NULL, state_after = NULL', /has no state/],
];

for (const [what, sql, found] of DAMAGES) {
  test(`the consistency check finds ${what}`, async (t) => {
    const home = household(t);
    const roomId = await home.createRoom();
    await home.send(roomId, draft.member(bob, bob, 'join'));
    await home.send(roomId, draft.message(alice, 'Hello'));
    assert.deepEqual(home.rooms.checkConsistency(), []);
    await home.db.close();
    const file = new Sqlite(home.path);
    file.pragma('foreign_keys = OFF');
    assert.ok(file.prepare(sql).run().changes > 0);
    file.close();
    const problems = (await home.reopen()).rooms.checkConsistency();
    assert.ok(
      problems.some((problem) => found.test(problem)),
      JSON.stringify(problems),
    );
  });
}
