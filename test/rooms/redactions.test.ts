import assert from 'node:assert/strict';
import { test } from 'node:test';
import { roomVersions } from '../../server/matrix/room-versions.ts';
import type { EventReader, PersistedEvent, Projection } from '../../server/rooms/types.ts';
import { alice, bob, carol, dora, draft, household, receive, remoteEvent, userId } from './room-kit.ts';

for (const version of roomVersions.keys()) {
  test(`version ${version}: a redacted message keeps its place and loses its content, for good`, async (t) => {
    const home = household(t);
    const { rooms } = home;
    const roomId = await home.createRoom({ version });
    await home.send(roomId, draft.member(bob, bob, 'join'));
    const message = await home.send(roomId, draft.message(bob, 'Oops'));
    const redaction = await home.send(roomId, draft.redaction(bob, message.eventId));
    assert.equal(redaction.redacts, message.eventId);

    const check = (events: EventReader): void => {
      const pruned = events.findEvent(message.eventId);
      assert.deepEqual(pruned?.content, {});
      assert.deepEqual(pruned?.pdu['content'], {});
      assert.equal(pruned?.redactedBy, redaction.eventId);
      assert.equal(pruned?.position, message.position);
      assert.equal(events.findUnredacted(message.eventId)?.content['body'], 'Oops');
      assert.equal(events.findUnredacted(redaction.eventId), undefined);
    };
    check(rooms.events);
    check((await home.reopen()).rooms.events);
  });

  test(`version ${version}: others redact only with the power to`, async (t) => {
    const home = household(t);
    const roomId = await home.createRoom({ version });
    await home.send(roomId, draft.member(bob, bob, 'join'));
    await home.send(roomId, draft.member(carol, carol, 'join'));
    const message = await home.send(roomId, draft.message(bob, 'Mine'));
    await assert.rejects(home.send(roomId, draft.redaction(carol, message.eventId)), { errcode: 'M_FORBIDDEN' });
    assert.equal(home.rooms.events.findEvent(message.eventId)?.content['body'], 'Mine');
    await home.send(roomId, draft.redaction(alice, message.eventId));
    assert.deepEqual(home.rooms.events.findEvent(message.eventId)?.content, {});
  });
}

test('a redaction names an event of its room', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom();
  const elsewhere = await home.createRoom();
  const message = await home.send(elsewhere, draft.message(alice, 'There'));
  await assert.rejects(home.send(roomId, draft.redaction(alice, message.eventId)), { errcode: 'M_NOT_FOUND' });
  await assert.rejects(home.send(roomId, { type: 'm.room.redaction', sender: alice, content: {} }), {
    errcode: 'M_BAD_JSON',
  });
});

test('redacted state stays in force without its content; a redacted member stays but has no name', async (t) => {
  const home = household(t);
  const { rooms } = home;
  const roomId = await home.createRoom();
  const topic = await home.send(roomId, draft.state(alice, 'm.room.topic', { topic: 'Rude' }));
  const member = await home.send(
    roomId,
    draft.member(bob, bob, 'join', { displayname: 'Rude', avatar_url: 'mxc://hearth.test/rude' }),
  );
  await home.send(roomId, draft.redaction(alice, topic.eventId));
  await home.send(roomId, draft.redaction(alice, member.eventId));
  assert.deepEqual(rooms.state.findCurrent(roomId, 'm.room.topic', '')?.content, {});
  const bobNow = rooms.members.findMember(roomId, bob);
  assert.equal(bobNow?.membership, 'join');
  assert.equal(bobNow?.displayName, undefined);
  assert.equal(bobNow?.avatarUrl, undefined);
  await home.send(roomId, draft.message(bob, 'Still here'));
  assert.deepEqual(rooms.checkConsistency(), []);
});

test('the redaction of an older name leaves the newer one', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom();
  const old = await home.send(roomId, draft.member(bob, bob, 'join', { displayname: 'Rude' }));
  await home.send(roomId, draft.member(bob, bob, 'join', { displayname: 'Bob' }));
  await home.send(roomId, draft.redaction(alice, old.eventId));
  assert.equal(home.rooms.members.findMember(roomId, bob)?.displayName, 'Bob');
});

test('the first redaction counts, and a redacted redaction stays in effect', async (t) => {
  const home = household(t);
  const { events } = home.rooms;
  const roomId = await home.createRoom();
  const message = await home.send(roomId, draft.message(alice, 'Oops'));
  const first = await home.send(roomId, draft.redaction(alice, message.eventId));
  await home.send(roomId, draft.redaction(alice, message.eventId));
  const third = await home.send(roomId, draft.redaction(alice, first.eventId));
  assert.equal(events.findEvent(message.eventId)?.redactedBy, first.eventId);
  assert.equal(events.findEvent(first.eventId)?.redactedBy, third.eventId);
  assert.equal(events.findUnredacted(message.eventId)?.content['body'], 'Oops');
});

test('a redaction that comes before its target waits for it and is shown with it', async (t) => {
  for (const version of ['2', '3', '12']) {
    const seen: [string, string | undefined][] = [];
    const projection: Projection = {
      name: 'watch',
      project: (_tx, event, { redacted }) => seen.push([event.type, redacted?.eventId]),
    };
    const home = household(t, { projections: [projection] });
    const { rooms } = home;
    const roomId = await home.createRoom({ version });
    const start = rooms.timeline.findLatest(roomId);
    assert.ok(start);
    const joined = await receive(home, remoteEvent(home, roomId, draft.member(dora, dora, 'join'), { after: [start] }));
    const message = remoteEvent(home, roomId, draft.message(dora, 'Oops'), { after: [joined] });
    const redaction = remoteEvent(home, roomId, draft.redaction(dora, message.eventId), { after: [joined] });
    seen.length = 0;
    assert.equal((await receive(home, redaction)).verdict, 'accepted');
    const shown = (): (string | undefined)[] =>
      rooms.timeline
        .page({ roomId, from: undefined, direction: 'b', limit: 2 })
        .events.map(({ eventId }) =>
          eventId === redaction.eventId ? 'redaction' : eventId === message.eventId ? 'message' : 'other',
        );
    const isJudgedByAuthRules = version === '2';
    assert.equal(shown().includes('redaction'), isJudgedByAuthRules);

    const before = home.db.position();
    const stored: PersistedEvent = await receive(home, message);
    assert.deepEqual(stored.content, {}, 'nobody ever sees what it said');
    assert.equal(stored.redactedBy, redaction.eventId);
    assert.equal(rooms.events.findUnredacted(message.eventId)?.content['body'], 'Oops');
    assert.deepEqual(new Set(shown()), new Set(['redaction', 'message']));
    const news = rooms.timeline.since({ roomId, since: before, now: home.db.position(), limit: 10 });
    assert.deepEqual(
      news.events.map(({ type }) => type),
      isJudgedByAuthRules ? ['m.room.message'] : ['m.room.message', 'm.room.redaction'],
    );
    assert.deepEqual(
      seen,
      isJudgedByAuthRules
        ? [
            ['m.room.redaction', undefined],
            ['m.room.message', undefined],
          ]
        : [
            ['m.room.redaction', undefined],
            ['m.room.message', undefined],
            ['m.room.redaction', message.eventId],
          ],
    );
    assert.deepEqual(rooms.checkConsistency(), []);
  }
});

test('from version 3 on a redaction without the power to it is stored and never shown', async (t) => {
  const home = household(t);
  const { rooms } = home;
  const roomId = await home.createRoom();
  const message = await home.send(roomId, draft.message(alice, 'Mine'));
  const joined = await receive(home, remoteEvent(home, roomId, draft.member(dora, dora, 'join'), { after: [message] }));
  const redaction = await receive(
    home,
    remoteEvent(home, roomId, draft.redaction(dora, message.eventId), { after: [joined] }),
  );
  assert.equal(redaction.verdict, 'accepted');
  assert.equal(rooms.events.findEvent(message.eventId)?.content['body'], 'Mine');
  assert.equal(rooms.timeline.findLatest(roomId)?.eventId, joined.eventId);
  // It is part of the graph all the same.
  assert.deepEqual((await home.send(roomId, draft.message(alice, 'On'))).prevEvents, [redaction.eventId]);
});

test('users of one server may redact each other over federation, as the rules have it', async (t) => {
  const home = household(t);
  const erin = userId('@erin:away.test');
  const roomId = await home.createRoom();
  let after = home.rooms.timeline.findLatest(roomId);
  for (const user of [dora, erin]) {
    assert.ok(after);
    after = await receive(home, remoteEvent(home, roomId, draft.member(user, user, 'join'), { after: [after] }));
  }
  assert.ok(after);
  const message = await receive(home, remoteEvent(home, roomId, draft.message(dora, 'Oops'), { after: [after] }));
  const redaction = await receive(
    home,
    remoteEvent(home, roomId, draft.redaction(erin, message.eventId), { after: [message] }),
  );
  assert.equal(home.rooms.events.findEvent(message.eventId)?.redactedBy, redaction.eventId);
});

test('a projection is told what was redacted, as it was', async (t) => {
  const seen: unknown[] = [];
  const home = household(t, {
    projections: [{ name: 'watch', project: (_tx, _event, { redacted }) => redacted && seen.push(redacted.content) }],
  });
  const roomId = await home.createRoom();
  const message = await home.send(roomId, draft.message(alice, 'Oops'));
  await home.send(roomId, draft.redaction(alice, message.eventId));
  assert.deepEqual(seen, [{ msgtype: 'm.text', body: 'Oops' }]);
});
