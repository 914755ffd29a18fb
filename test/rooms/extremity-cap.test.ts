import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../server/matrix/json.ts';
import type { RoomId } from '../../server/matrix/identifiers.ts';
import type { PersistedEvent, Projection } from '../../server/rooms/types.ts';
import { alice, bob, dora, draft, type Household, household, receive, remoteEvent } from './room-kit.ts';

const DUMMY = 'org.matrix.dummy_event';

/** A room that ends in as many places as told, each of them something that Dora says. */
async function crowdedRoom(home: Household, ends: number, levels: JsonObject = {}): Promise<RoomId> {
  const roomId = await home.createRoom({ version: '11' });
  const start = home.rooms.timeline.findLatest(roomId);
  assert.ok(start);
  const join = await receive(home, remoteEvent(home, roomId, draft.member(dora, dora, 'join'), { after: [start] }));
  const content = { users: { [alice]: 100, [dora]: 50 }, ...levels };
  const base = await home.send(roomId, draft.state(alice, 'm.room.power_levels', content));
  assert.deepEqual(base.prevEvents, [join.eventId]);
  for (let turn = 0; turn < ends; turn += 1) {
    await receive(home, remoteEvent(home, roomId, draft.message(dora, `${turn}`), { after: [base], at: turn + 1 }));
  }
  return roomId;
}

/** Lets a minute pass, and what it sets off come to its end. */
async function aMinute({ clock }: Household): Promise<void> {
  await clock.advance(60_000);
  for (let turn = 0; turn < 10; turn += 1) await clock.advance(0);
}

/** Events that say nothing, as they were made known in the write that stored them. */
function watching(): { readonly dummies: PersistedEvent[]; readonly news: PersistedEvent[]; projection: Projection } {
  const dummies: PersistedEvent[] = [];
  const news: PersistedEvent[] = [];
  const project: Projection['project'] = (_tx, event, { live }) => {
    if (event.type === DUMMY) dummies.push(event);
    if (live) news.push(event);
  };
  return { dummies, news, projection: { name: 'watching', project } };
}

test('the loose ends of a room are tied up after a while by an event that nobody is shown', async (t) => {
  const seen = watching();
  const home = household(t, { projections: [seen.projection] });
  const { rooms, db } = home;
  const roomId = await crowdedRoom(home, 25);
  const before = db.position();
  rooms.start();
  t.after(() => rooms.stop());
  await aMinute(home);

  assert.equal(seen.dummies.length, 1);
  const [dummy] = seen.dummies;
  assert.equal(dummy?.sender, alice);
  assert.equal(dummy?.prevEvents.length, 20);
  assert.deepEqual(dummy?.content, {});
  assert.equal(dummy?.verdict, 'accepted');
  const { events } = rooms.timeline.page({ roomId, from: undefined, direction: 'b', limit: 100 });
  assert.ok(events.length > 25 && events.every(({ type }) => type !== DUMMY));
  assert.deepEqual(rooms.timeline.since({ roomId, since: before, now: db.position(), limit: 10 }).events, []);
  assert.ok(
    seen.news.every(({ type }) => type !== DUMMY),
    'it counts as news to nobody',
  );
  assert.ok(dummy);
  const servers = rooms.fanOut.follower({
    sender: { sendPdu: (_tx, to, { eventId }) => void sent.push([eventId, to]) },
    acls: rooms.acls,
  });
  const sent: unknown[] = [];
  const write = await servers.follow(before, db.position(), new AbortController().signal);
  if (write !== undefined) db.write(write);
  assert.deepEqual(sent, [[dummy.eventId, ['away.test']]], 'other servers get it');

  const next = await home.send(roomId, draft.message(alice, 'on'));
  assert.equal(next.prevEvents.length, 6);
  assert.ok(next.prevEvents.includes(dummy.eventId));
  assert.deepEqual(rooms.checkConsistency(), []);
});

test('a room with few loose ends is left as it is', async (t) => {
  const seen = watching();
  const home = household(t, { projections: [seen.projection] });
  await crowdedRoom(home, 10);
  home.rooms.start();
  t.after(() => home.rooms.stop());
  await aMinute(home);
  await aMinute(home);
  assert.deepEqual(seen.dummies, []);
});

test('as many events are sent as it takes', async (t) => {
  const seen = watching();
  const home = household(t, { projections: [seen.projection], dummyEventsThreshold: 3 });
  const roomId = await crowdedRoom(home, 60);
  home.rooms.start();
  t.after(() => home.rooms.stop());
  await aMinute(home);
  // Each follows twenty and is one itself: 60, 41, 22, 3.
  assert.equal(seen.dummies.length, 3);
  const next = await home.send(roomId, draft.message(alice, 'on'));
  assert.ok(next.prevEvents.length <= 3);
});

test('where nobody may tie them up, that is found out now and then, not every time', async (t) => {
  const seen = watching();
  const home = household(t, { projections: [seen.projection] });
  const { rooms } = home;
  const levels = { users: { [alice]: 90, [dora]: 100 }, events: { [DUMMY]: 95, 'm.room.power_levels': 100 } };
  const roomId = await crowdedRoom(home, 15, levels);
  rooms.start();
  t.after(() => rooms.stop());
  await aMinute(home);
  assert.deepEqual(seen.dummies, []);

  // Dora changes her mind; but that is one more loose end as long as nobody looks.
  const [start] = rooms.timeline
    .page({ roomId, from: undefined, direction: 'b', limit: 100 })
    .events.filter(({ type }) => type === 'm.room.power_levels');
  assert.ok(start);
  const allowed = draft.state(dora, 'm.room.power_levels', { users: { [alice]: 90, [dora]: 100 } });
  await receive(home, remoteEvent(home, roomId, allowed, { after: [start], at: 1_000 }));
  for (let minute = 0; minute < 30; minute += 1) await aMinute(home);
  assert.deepEqual(seen.dummies, []);
  await home.clock.advance(60 * 60_000);
  await aMinute(home);
  assert.equal(seen.dummies.length, 1);
});

test('of those who are here, whoever has the most power does it', async (t) => {
  const seen = watching();
  const home = household(t, { projections: [seen.projection] });
  const { rooms } = home;
  const levels = { users: { [alice]: 99, [bob]: 100, [dora]: 100 }, events: { [DUMMY]: 60 } };
  const roomId = await crowdedRoom(home, 0, levels);
  const base = await home.send(roomId, draft.member(bob, bob, 'join'));
  for (let turn = 0; turn < 12; turn += 1) {
    await receive(home, remoteEvent(home, roomId, draft.message(dora, `${turn}`), { after: [base], at: turn + 1 }));
  }
  rooms.start();
  t.after(() => rooms.stop());
  await aMinute(home);
  assert.equal(seen.dummies.length, 1);
  assert.equal(seen.dummies[0]?.sender, bob);
});

test('an event of that name which is part of the state is shown like any other', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom();
  const sent = await home.send(roomId, draft.state(alice, DUMMY, { on: true }));
  assert.equal(home.rooms.timeline.findLatest(roomId)?.eventId, sent.eventId);
});

test('of many loose ends, the newest are followed and the oldest as well', async (t) => {
  const home = household(t);
  const { rooms } = home;
  const roomId = await crowdedRoom(home, 40);
  const { events } = rooms.timeline.page({ roomId, from: undefined, direction: 'b', limit: 40 });
  const ids = events.map(({ eventId }) => eventId);
  const sent = await home.send(roomId, draft.message(alice, 'on'));
  assert.deepEqual(sent.prevEvents, [...ids.slice(0, 10), ...ids.slice(-10)]);
});
