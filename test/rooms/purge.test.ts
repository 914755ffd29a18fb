import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomId } from '../../server/matrix/identifiers.ts';
import type { Purge } from '../../server/rooms/purge/purge-store.ts';
import { alice, bob, dora, draft, type Household, household, receive, remoteEvent } from './room-kit.ts';

/** The tables of the rooms that say something about single rooms. */
const TABLES = [
  'events',
  'unredacted_events',
  'waiting_redactions',
  'auth_edges',
  'auth_chain_places',
  'auth_chain_links',
  'forward_extremities',
  'backward_extremities',
  'state_nodes',
  'current_states',
  'room_members',
  'membership_changes',
  'room_sizes',
];

function rowsIn({ db }: Household): Record<string, number> {
  return Object.fromEntries(
    TABLES.map((table) => [table, db.prepareRead<{ n: number }>(`SELECT count(*) AS n FROM ${table}`).find()?.n ?? 0]),
  );
}

/** A room with forks, redactions, a gap, and changes of nearly everything. */
async function livelyRoom(home: Household, version: string): Promise<RoomId> {
  const roomId = await home.createRoom({ version });
  await home.send(roomId, draft.member(bob, bob, 'join'));
  const start = await home.send(roomId, draft.state(alice, 'm.room.topic', { topic: 'at first' }));
  const joined = await receive(home, remoteEvent(home, roomId, draft.member(dora, dora, 'join'), { after: [start] }));
  await home.send(roomId, draft.message(alice, 'on this side'));
  const fork = remoteEvent(home, roomId, draft.message(dora, 'on the other side'), { after: [joined] });
  await receive(home, fork);
  const said = await home.send(roomId, draft.message(bob, 'a slip'));
  await home.send(roomId, draft.redaction(bob, said.eventId));
  for (const topic of ['later', 'in the end']) await home.send(roomId, draft.state(alice, 'm.room.topic', { topic }));
  return roomId;
}

async function purge(home: Household, roomId: RoomId): Promise<Purge> {
  const over = home.rooms.purges.purge(roomId);
  // Nobody hands events over here, which is waited for.
  await home.clock.advance(60_000);
  return over;
}

for (const version of ['1', '6', '11', '12']) {
  test(`of a room of version ${version} nothing is left, and all of another`, async (t) => {
    const home = household(t);
    const kept = await livelyRoom(home, version);
    await home.rooms.sizes.refresh(1_000);
    const before = rowsIn(home);
    const doomed = await livelyRoom(home, version);
    const said = home.rooms.timeline.findLatest(doomed)?.eventId ?? assert.fail('there is a last event');
    const { removed, endedTs } = await purge(home, doomed);
    assert.equal(removed, before['events'], 'both were alike');
    assert.ok(endedTs !== undefined && endedTs <= home.clock.now());

    assert.deepEqual(rowsIn(home), before);
    assert.deepEqual(home.rooms.checkConsistency(), []);
    assert.deepEqual(home.db.integrityCheck(), []);
    assert.equal(home.rooms.events.findEvent(said), undefined);
    assert.equal(home.rooms.members.findMember(doomed, alice), undefined);
    assert.equal(home.rooms.members.findMember(doomed, dora), undefined);
    assert.deepEqual(home.rooms.members.listLocalJoined(doomed), []);
    assert.equal(home.rooms.state.currentState(doomed).size, 0);
    assert.equal(home.rooms.state.findCurrent(kept, 'm.room.topic', '')?.content['topic'], 'in the end');
    await home.send(kept, draft.message(bob, 'life goes on'));
    const again = await home.reopen();
    assert.deepEqual(again.rooms.checkConsistency(), []);
  });
}

test('nobody enters a room while it is removed, or as long as it is blocked', async (t) => {
  const home = household(t);
  const { purges } = home.rooms;
  const roomId = await livelyRoom(home, '12');
  assert.equal(purges.isClosed(roomId), false);
  const over = purges.purge(roomId);
  await home.clock.advance(100);
  assert.equal(purges.isClosed(roomId), true);
  assert.equal(purges.isBlocked(roomId), false);
  const again = purges.purge(roomId);
  await home.clock.advance(60_000);
  assert.deepEqual(await again, await over);
  assert.equal((await over).step, 'done');
  assert.equal(purges.isClosed(roomId), false);
  assert.equal(purges.list().length, 1, 'asked for twice, it was one');

  purges.setBlocked(roomId, true);
  assert.deepEqual([purges.isClosed(roomId), purges.listBlocked()], [true, [roomId]]);
  purges.setBlocked(roomId, false);
  assert.deepEqual([purges.isClosed(roomId), purges.listBlocked()], [false, []]);
});

test('what was not finished is gone on with when the server runs again', async (t) => {
  const home = household(t);
  const roomId = await livelyRoom(home, '12');
  const over = home.rooms.purges.purge(roomId);
  const interrupted = assert.rejects(over, { errcode: 'M_UNKNOWN' });
  await home.clock.advance(100);
  await home.rooms.stop();
  await interrupted;
  const again = await home.reopen();
  assert.equal(again.rooms.purges.isClosed(roomId), true);
  again.rooms.start();
  await again.clock.advance(60_000);
  assert.equal(again.rooms.purges.find(roomId)?.step, 'done');
  assert.deepEqual(again.rooms.list(), []);
  assert.deepEqual(again.rooms.checkConsistency(), []);
  await again.rooms.stop();
});

test('a step that does not work holds the removal up and is tried again', async (t) => {
  let failures = 2;
  const home = household(t, {
    purge: {
      leave: () => Promise.resolve(),
      isSending: () => false,
      hooks: () => [
        {
          beforeLeaving: (_tx, { users }) => {
            assert.deepEqual(users, [alice, bob]);
            return 0;
          },
          room: () => {
            failures -= 1;
            if (failures >= 0) throw new Error('the disk is full');
            return 0;
          },
        },
      ],
    },
  });
  const roomId = await livelyRoom(home, '12');
  const told: [string, boolean][] = [];
  const over = home.rooms.purges.purge(roomId, ({ step }, isHeldUp) => void told.push([step, isHeldUp]));
  await home.clock.advance(120_000);
  assert.equal((await over).step, 'done');
  assert.deepEqual(
    told.filter(([, isHeldUp]) => isHeldUp),
    [
      ['removing', true],
      ['removing', true],
    ],
  );
  assert.equal(home.rooms.purges.isClosed(roomId), false);
  assert.deepEqual(home.rooms.checkConsistency(), []);
});
