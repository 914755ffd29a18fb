import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeviceId } from '../../server/matrix/identifiers.ts';
import { alice, bob, carol, openHousehold, syncOnce } from './household.ts';

test('an event is shown with what a client needs, and without what servers need', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const said = home.rooms.say(room, alice, 'hello');
  home.clock.setWallClock(home.clock.now() + 1_234);
  const viewer = { userId: alice, deviceId: 'DEVICE' as DeviceId };
  const expected = {
    type: 'm.room.message',
    sender: alice,
    content: { msgtype: 'm.text', body: 'hello' },
    event_id: said.eventId,
    origin_server_ts: said.originServerTs,
    unsigned: { age: 1_234, membership: 'join' },
  };
  const { formatter } = home.sync;
  assert.deepEqual(formatter.formatOne(said, viewer), { ...expected, room_id: room });
  assert.deepEqual(formatter.formatOne(said, viewer, { format: 'sync' }), expected);
  const forNobody = { ...expected, room_id: room, unsigned: { age: 1_234 } };
  assert.deepEqual(formatter.formatOne(said, undefined), forNobody);
  assert.deepEqual(formatter.format([], viewer), []);
});

test('a state event tells what it replaced, as far as the viewer may know', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice, { historyVisibility: 'joined' });
  const old = home.rooms.state(room, alice, 'm.room.topic', { topic: 'old' });
  home.rooms.member(room, bob, 'join');
  const recent = home.rooms.state(room, alice, 'm.room.topic', { topic: 'new' });
  const unsignedFor = (userId: typeof alice): Record<string, unknown> =>
    home.sync.formatter.formatOne(recent, { userId, deviceId: undefined })['unsigned'] as Record<string, unknown>;
  assert.deepEqual(unsignedFor(alice), {
    age: 0,
    membership: 'join',
    replaces_state: old.eventId,
    prev_content: { topic: 'old' },
    prev_sender: alice,
  });
  assert.deepEqual(unsignedFor(bob), { age: 0, membership: 'join', replaces_state: old.eventId });
});

test('a redacted event comes with the redaction, which names its target twice in every room version', async (t) => {
  const home = await openHousehold(t);
  for (const version of ['1', '10', '11', '12']) {
    const room = home.rooms.create(alice, { version });
    const said = home.rooms.say(room, alice, 'oops');
    const redaction = home.rooms.send({
      roomId: room,
      sender: alice,
      type: 'm.room.redaction',
      content: { reason: 'typo' },
      redacts: said.eventId,
    });
    const { rooms } = await syncOnce(home.client(alice), { filter: { room: { rooms: [room] } } });
    const [shown, because] = rooms.join[room].timeline.events.slice(-2);
    assert.deepEqual(shown.content, {});
    assert.equal(shown.unsigned.redacted_because.event_id, redaction.eventId);
    assert.equal(shown.unsigned.redacted_because.room_id, undefined);
    for (const event of [because, shown.unsigned.redacted_because]) {
      assert.equal(event.redacts, said.eventId);
      assert.deepEqual(event.content, { reason: 'typo', redacts: said.eventId });
    }
  }
});

test('redactions that redact each other are shown without end of it', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice, { version: '1' });
  const first = home.rooms.say(room, alice, 'start');
  const a = home.rooms.send({
    roomId: room,
    sender: alice,
    type: 'm.room.redaction',
    content: {},
    redacts: first.eventId,
  });
  const b = home.rooms.send({ roomId: room, sender: alice, type: 'm.room.redaction', content: {}, redacts: a.eventId });
  home.rooms.send({ roomId: room, sender: alice, type: 'm.room.redaction', content: {}, redacts: b.eventId });
  const { rooms } = await syncOnce(home.client(alice));
  const shown = rooms.join[room].timeline.events.find(
    (event: { event_id: string }) => event.event_id === first.eventId,
  );
  assert.equal(shown.unsigned.redacted_because.event_id, a.eventId);
  assert.equal(shown.unsigned.redacted_because.unsigned.redacted_because, undefined);
});

test('each event tells what the viewer was in the room at the time', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  home.rooms.say(room, alice, 'before');
  home.rooms.member(room, bob, 'invite', { by: alice });
  home.rooms.say(room, alice, 'invited');
  home.rooms.member(room, bob, 'join');
  home.rooms.say(room, alice, 'joined');
  home.rooms.member(room, bob, 'join', { displayname: 'Robert' });
  home.rooms.say(room, alice, 'renamed');
  home.rooms.member(room, carol, 'join');
  const { rooms } = await syncOnce(home.client(bob), { filter: { room: { timeline: { limit: 20 } } } });
  const memberships = rooms.join[room].timeline.events.map(
    (event: { unsigned: { membership: string } }) => event.unsigned.membership,
  );
  assert.deepEqual(memberships, [
    'leave',
    'leave',
    'leave',
    'leave',
    'invite',
    'invite',
    'join',
    'join',
    'join',
    'join',
    'join',
  ]);
});

test('decorations of several modules are joined in unsigned, in the timeline only', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  home.ignored.set(alice, new Set([carol]));
  const root = home.rooms.say(room, alice, 'root');
  const reply = home.rooms.say(room, alice, 'reply');
  home.decorations.push(
    {
      name: 'threading',
      decorate: (events, viewer, show) =>
        new Map(
          events
            .filter((event) => event.eventId === root.eventId)
            .map((event) => {
              assert.deepEqual(viewer, { userId: alice, ignoredUsers: new Set([carol]) });
              return [event.eventId, { 'm.relations': { 'm.thread': { latest_event: show(reply), count: 1 } } }];
            }),
        ),
    },
    {
      name: 'relations',
      decorate: () => new Map([[root.eventId, { 'm.relations': { 'm.reference': { chunk: [] } } }]]),
    },
  );
  const { rooms } = await syncOnce(home.client(alice));
  const shown = rooms.join[room].timeline.events.find((event: { event_id: string }) => event.event_id === root.eventId);
  assert.deepEqual(Object.keys(shown.unsigned['m.relations']).sort(), ['m.reference', 'm.thread']);
  assert.equal(shown.unsigned['m.relations']['m.thread'].latest_event.content.body, 'reply');
  assert.equal(shown.unsigned.membership, 'join');
  const plain = home.sync.formatter.formatOne(root, { userId: alice, deviceId: undefined });
  assert.equal((plain['unsigned'] as Record<string, unknown>)['m.relations'], undefined);
});
