import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEventIdOf } from '../../server/matrix/events/event-id.ts';
import { isEventId, isRoomId } from '../../server/matrix/identifiers.ts';
import { roomVersions } from '../../server/matrix/room-versions.ts';
import { alice, bob, bodies, carol, draft, household, laptop, phone, versionOf } from './room-kit.ts';

for (const version of roomVersions.keys()) {
  test(`in a room of version ${version} people join, talk and set the topic`, async (t) => {
    const home = household(t);
    const { rooms } = home;
    const roomId = await home.createRoom({ version });
    assert.equal(rooms.events.findRoom(roomId)?.version.id, version);
    const create = rooms.state.findCurrent(roomId, 'm.room.create', '');
    assert.equal(create?.content['room_version'], version);
    assert.equal(create?.content['creator'], versionOf(version).creatorIsSender ? undefined : alice);
    if (versionOf(version).roomIdIsCreateHash) assert.equal(create?.eventId, createEventIdOf(roomId));

    await home.send(roomId, draft.member(bob, bob, 'join'));
    const topic = await home.send(roomId, draft.state(alice, 'm.room.topic', { topic: 'Dinner' }));
    await home.send(roomId, draft.message(bob, 'Soup?'));

    assert.equal(rooms.state.currentState(roomId).find('m.room.topic', ''), topic.eventId);
    assert.ok(rooms.members.isJoined(roomId, bob));
    const { events } = rooms.timeline.page({ roomId, from: undefined, direction: 'f', limit: 50 });
    assert.deepEqual(
      events.map(({ type }) => type),
      [
        'm.room.create',
        'm.room.member',
        'm.room.power_levels',
        'm.room.join_rules',
        'm.room.member',
        'm.room.topic',
        'm.room.message',
      ],
    );
    assert.deepEqual(
      events.map(({ depth }) => depth),
      [1, 2, 3, 4, 5, 6, 7],
    );
    for (const [index, event] of events.entries()) {
      assert.deepEqual(event.prevEvents, index === 0 ? [] : [events[index - 1]?.eventId]);
    }
    assert.deepEqual(rooms.checkConsistency(), []);
  });

  test(`in a room of version ${version} nobody does what their power does not allow`, async (t) => {
    const home = household(t);
    const roomId = await home.createRoom({ version });
    await home.send(roomId, draft.member(bob, bob, 'join'));
    const before = home.rooms.timeline.findLatest(roomId)?.eventId;

    const refused = { errcode: 'M_FORBIDDEN' };
    await assert.rejects(home.send(roomId, draft.state(bob, 'm.room.topic', { topic: 'Mine' })), refused);
    await assert.rejects(home.send(roomId, draft.member(bob, alice, 'leave')), refused);
    await assert.rejects(home.send(roomId, draft.message(carol, 'I am not even here')), refused);
    await home.send(roomId, draft.state(alice, 'm.room.join_rules', { join_rule: 'invite' }));
    await assert.rejects(home.send(roomId, draft.member(carol, carol, 'join')), refused);

    await home.send(roomId, draft.member(alice, bob, 'ban'));
    await assert.rejects(home.send(roomId, draft.member(bob, bob, 'join')), refused);
    await assert.rejects(home.send(roomId, draft.message(bob, 'Let me in')), refused);
    const { events } = home.rooms.timeline.page({ roomId, from: undefined, direction: 'b', limit: 3 });
    assert.deepEqual(
      events.map(({ type, eventId }) => (eventId === before ? 'where we were' : type)),
      ['m.room.member', 'm.room.join_rules', 'where we were'],
    );
  });
}

test('a room of version 12 bears the name of its create event, even if two are made in one moment', async (t) => {
  const { rooms } = household(t);
  const make = () =>
    rooms.sender.createRoom({
      version: versionOf('12'),
      creator: alice,
      createContent: { 'm.federate': false },
      events: () => [draft.member(alice, alice, 'join')],
    });
  const one = await make();
  const other = await make();
  assert.notEqual(one.roomId, other.roomId);
  assert.equal(one.events[0]?.content['m.federate'], false);
  assert.equal(one.events[0]?.pdu['room_id'], undefined);
});

test('a room is made as a whole or not at all', async (t) => {
  const home = household(t);
  const { rooms } = home;
  let attempted: string | undefined;
  await assert.rejects(
    rooms.sender.createRoom({
      version: versionOf('11'),
      creator: alice,
      createContent: {},
      events: (roomId) => {
        attempted = roomId;
        return [draft.member(alice, alice, 'join'), draft.member(bob, bob, 'join')];
      },
    }),
    { errcode: 'M_FORBIDDEN' },
  );
  assert.ok(attempted !== undefined && isRoomId(attempted));
  assert.equal(rooms.events.findRoom(attempted), undefined);
  assert.equal(rooms.state.currentState(attempted).size, 0);
  assert.deepEqual(rooms.members.listRoomsOf(alice, ['join']), []);
  assert.deepEqual((await home.reopen()).rooms.checkConsistency(), []);
});

test('what comes along with a new room is undone with it', async (t) => {
  const { rooms } = household(t);
  await assert.rejects(
    rooms.sender.createRoom({
      version: versionOf('11'),
      creator: alice,
      createContent: {},
      events: () => [draft.member(alice, alice, 'join')],
      alongside: () => {
        throw new Error('the alias is taken');
      },
    }),
    /the alias is taken/,
  );
  assert.deepEqual(rooms.members.listRoomsOf(alice, ['join']), []);
});

test('nothing is sent to a room nobody knows', async (t) => {
  const home = household(t);
  const roomId = '!nowhere:hearth.test';
  assert.ok(isRoomId(roomId));
  await assert.rejects(home.send(roomId, draft.message(alice, 'Hello?')), { errcode: 'M_NOT_FOUND' });
});

test('an event that is too large, or no canonical JSON, is refused and leaves no trace', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom();
  const latest = home.rooms.timeline.findLatest(roomId)?.eventId;
  await assert.rejects(home.send(roomId, draft.message(alice, 'x'.repeat(70_000))), { errcode: 'M_TOO_LARGE' });
  await assert.rejects(home.send(roomId, draft.state(alice, 'org.example.pi', { pi: 3.14 })), {
    errcode: 'M_BAD_JSON',
  });
  await assert.rejects(home.send(roomId, draft.state(alice, 'org.example.x', {}, 'k'.repeat(256))), {
    errcode: 'M_TOO_LARGE',
  });
  assert.equal(home.rooms.timeline.findLatest(roomId)?.eventId, latest);
});

test('a device that repeats a request gets the event of the first one', async (t) => {
  const home = household(t);
  const { rooms } = home;
  const roomId = await home.createRoom();
  const transaction = { deviceId: phone, transactionId: 'm1' };
  const first = await home.send(roomId, draft.message(alice, 'Once'), { transaction });
  const again = await home.send(roomId, draft.message(alice, 'Once, but not quite'), { transaction });
  assert.equal(again.eventId, first.eventId);
  assert.equal(rooms.sender.findTransactionId(first, phone), 'm1');
  assert.equal(rooms.sender.findTransactionId(first, laptop), undefined);

  // Another device, another path, another room: all of them are other requests.
  const other = await home.createRoom();
  const sent = [
    await home.send(roomId, draft.message(alice, 'Once'), { transaction: { ...transaction, deviceId: laptop } }),
    await home.send(roomId, { ...draft.message(alice, 'Once'), type: 'org.example.poll' }, { transaction }),
    await home.send(other, draft.message(alice, 'Once'), { transaction }),
  ];
  assert.equal(new Set([first, ...sent].map(({ eventId }) => eventId)).size, 4);
});

test('a repeated request is recognised after a restart', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom();
  const transaction = { deviceId: phone, transactionId: 'm1' };
  const first = await home.send(roomId, draft.message(alice, 'Once'), { transaction });
  const later = await home.reopen();
  const again = await later.send(roomId, draft.message(alice, 'Once'), { transaction });
  assert.equal(again.eventId, first.eventId);
});

test('redactions of two events may bear the same transaction ID, for their paths differ', async (t) => {
  for (const version of ['10', '12']) {
    const home = household(t);
    const roomId = await home.createRoom({ version });
    const one = await home.send(roomId, draft.message(alice, 'one'));
    const other = await home.send(roomId, draft.message(alice, 'other'));
    const transaction = { deviceId: phone, transactionId: 'r1' };
    const first = await home.send(roomId, draft.redaction(alice, one.eventId), { transaction });
    const second = await home.send(roomId, draft.redaction(alice, other.eventId), { transaction });
    assert.notEqual(first.eventId, second.eventId);
    const again = await home.send(roomId, draft.redaction(alice, one.eventId), { transaction });
    assert.equal(again.eventId, first.eventId);
  }
});

test('after a day a transaction ID is forgotten', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom();
  const transaction = { deviceId: phone, transactionId: 'm1' };
  const first = await home.send(roomId, draft.message(alice, 'Once'), { transaction });
  home.clock.setWallClock(home.clock.now() + 25 * 60 * 60 * 1000);
  for (let turn = 0; turn < 300; turn++) {
    await home.send(roomId, draft.message(alice, 'more'), {
      transaction: { deviceId: phone, transactionId: `n${turn}` },
    });
  }
  assert.equal(home.rooms.sender.findTransactionId(first, phone), undefined);
  const again = await home.send(roomId, draft.message(alice, 'Once'), { transaction });
  assert.notEqual(again.eventId, first.eventId);
});

test('state that changes nothing is not sent again', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom({ more: [draft.member(alice, bob, 'invite')] });
  const topic = draft.state(alice, 'm.room.topic', { topic: 'Dinner', more: { a: 1, b: 2 } });
  const first = await home.send(roomId, topic);
  const same = { ...topic, content: { more: { b: 2, a: 1 }, topic: 'Dinner' } };
  assert.equal((await home.send(roomId, same)).eventId, first.eventId);
  const forced = await home.send(roomId, topic, { allowUnchanged: true });
  assert.notEqual(forced.eventId, first.eventId);
  assert.equal(forced.replacesState, first.eventId);
  const changed = await home.send(roomId, draft.state(alice, 'm.room.topic', { topic: 'Supper' }));
  assert.equal(changed.replacesState, forced.eventId);
});

test('any number of people may talk at once, and the room does not fork', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom();
  await home.send(roomId, draft.member(bob, bob, 'join'));
  const sent = await Promise.all(
    Array.from({ length: 40 }, (_, turn) => home.send(roomId, draft.message(turn % 2 === 0 ? alice : bob, `${turn}`))),
  );
  for (const [index, event] of sent.entries()) {
    if (index > 0) assert.deepEqual(event.prevEvents, [sent[index - 1]?.eventId]);
  }
  assert.equal(new Set(sent.map(({ position }) => position)).size, 40);
  const { events } = home.rooms.timeline.page({ roomId, from: undefined, direction: 'f', limit: 100 });
  assert.equal(bodies(events).length, 40);
});

test('what is sent alongside an event sees it stored, and takes it along when it fails', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom();
  let seen: unknown;
  const event = await home.send(roomId, draft.message(alice, 'Hello'), {
    alongside: (_tx, stored) => {
      seen = home.rooms.events.findEvent(stored.eventId)?.content['body'];
    },
  });
  assert.equal(seen, 'Hello');
  await assert.rejects(
    home.send(roomId, draft.message(alice, 'Lost'), {
      alongside: () => {
        throw new Error('no room for this');
      },
    }),
    /no room for this/,
  );
  const next = await home.send(roomId, draft.message(alice, 'Still here'));
  assert.deepEqual(next.prevEvents, [event.eventId]);
});

test('the event as stored tells what it is and where it stands', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom();
  home.clock.setWallClock(1_760_000_000_000);
  const event = await home.send(roomId, { ...draft.message(alice, 'Hello'), originServerTs: 5 });
  assert.equal(event.originServerTs, 5);
  assert.equal(event.receivedTs, 1_760_000_001_000);
  assert.equal(event.verdict, 'accepted');
  assert.equal(event.outlier, false);
  assert.equal(event.stateKey, undefined);
  assert.equal(event.replacesState, undefined);
  assert.ok(isEventId(event.eventId));
  const again = (await home.reopen()).rooms.events.findEvent(event.eventId);
  assert.deepEqual(again, event);
});
