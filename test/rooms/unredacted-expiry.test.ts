import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import type { EventId, RoomId } from '../../server/matrix/identifiers.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { expectOk } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { alice, draft, household, type Household } from './room-kit.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

async function sayAndTakeBack(home: Household, roomId: RoomId, body: string): Promise<EventId> {
  const { eventId } = await home.send(roomId, draft.message(alice, body));
  await home.send(roomId, draft.redaction(alice, eventId));
  return eventId;
}

function original({ rooms }: Household, eventId: EventId): unknown {
  return rooms.events.findUnredacted(eventId)?.content['body'];
}

test('what a redacted message said is forgotten when its time is up, and not before', async (t) => {
  const home = household(t, { redactionRetentionMs: 7 * DAY_MS });
  const { rooms, clock } = home;
  const roomId = await home.createRoom();
  const early = await sayAndTakeBack(home, roomId, 'Oops');
  rooms.start();
  await clock.advance(3 * DAY_MS);
  const late = await sayAndTakeBack(home, roomId, 'Oops again');

  await clock.advance(4 * DAY_MS - 10 * MINUTE_MS);
  assert.equal(original(home, early), 'Oops');
  await clock.advance(15 * MINUTE_MS);
  assert.equal(original(home, early), undefined);
  assert.equal(original(home, late), 'Oops again');
  assert.deepEqual(rooms.events.findEvent(early)?.content, {}, 'the message itself keeps its place');
  await clock.advance(3 * DAY_MS);
  assert.equal(original(home, late), undefined);

  assert.deepEqual(rooms.checkConsistency(), []);
  await rooms.stop();
  assert.equal(clock.pending, 0);
});

test('what fell due while the server was off goes soon after the start, however much it is', async (t) => {
  const home = household(t, { redactionRetentionMs: DAY_MS });
  const roomId = await home.createRoom();
  // More than one write deletes.
  const eventIds: EventId[] = [];
  for (let i = 0; i < 450; i += 1) eventIds.push(await sayAndTakeBack(home, roomId, `Oops ${i}`));
  home.clock.setWallClock(home.clock.now() + 2 * DAY_MS);
  const fresh = await sayAndTakeBack(home, roomId, 'Just now');

  const later = await home.reopen();
  assert.equal(original(later, eventIds[0] ?? fresh), 'Oops 0');
  later.rooms.start();
  await later.clock.advance(MINUTE_MS);
  assert.deepEqual(
    eventIds.filter((eventId) => original(later, eventId) !== undefined),
    [],
  );
  assert.equal(original(later, fresh), 'Just now');
  await later.rooms.stop();
});

test('a household that keeps everything for good forgets nothing', async (t) => {
  const home = household(t);
  const { rooms, clock } = home;
  const eventId = await sayAndTakeBack(home, await home.createRoom(), 'Oops');
  rooms.start();
  await clock.advance(1000 * DAY_MS);
  assert.equal(original(home, eventId), 'Oops');
  await rooms.stop();
});

test('after the stop nothing is deleted any more', async (t) => {
  const home = household(t, { redactionRetentionMs: 0 });
  const { rooms, clock } = home;
  const eventId = await sayAndTakeBack(home, await home.createRoom(), 'Oops');
  rooms.start();
  await rooms.stop();
  await clock.advance(DAY_MS);
  assert.equal(original(home, eventId), 'Oops');
  rooms.start();
  await clock.advance(0);
  assert.equal(original(home, eventId), undefined);
  await rooms.stop();
});

test('a running server does as redaction_retention_period says', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock, config: { redaction_retention_period: '2d' } });
  const anna = await server.register('anna');
  const roomId = await anna.createRoom();
  const eventId = await anna.send(roomId, 'Oops');
  const room = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}`;
  expectOk(await anna.put(`${room}/redact/${encodeURIComponent(eventId)}/r1`));

  const countOriginals = (): unknown => {
    const reader = new Sqlite(join(server.dir, 'homeserver.db'), { readonly: true });
    const count = reader.prepare('SELECT count(*) FROM unredacted_events').pluck().get();
    reader.close();
    return count;
  };
  await clock.advance(DAY_MS);
  assert.equal(countOriginals(), 1);
  await clock.advance(DAY_MS + 10 * MINUTE_MS);
  assert.equal(countOriginals(), 0);
});
