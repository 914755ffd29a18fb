import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { RoomEvent } from '../../server/matrix/events/event.ts';
import { AWAY, alice, dora, erin, FAR, fred, house, type House, member, type Play } from './remote-kit.ts';
import { currentState, idsOf, message, pdusOf, PeerRoom, said, state } from './peer-room.ts';

const silent: Play = () => undefined;

async function visit(t: TestContext, room: PeerRoom, play: Play = silent): Promise<House> {
  const home = house(t, play);
  await room.enter(home.rooms);
  return home;
}

/** Hands events in as one transaction and waits until all that can be done is done. */
async function deliver(
  { rooms }: House,
  events: readonly RoomEvent[],
  origin = AWAY,
): Promise<Record<string, { readonly error?: string }>> {
  const answer = await rooms.taker.receive(origin, pdusOf(events));
  await rooms.taker.idle();
  return answer;
}

test('what a transaction brings is in the room soon after', async (t) => {
  const room = new PeerRoom();
  const home = await visit(t, room);
  const events = ['one', 'two', 'three'].map((body) => room.add(message(dora, body)));
  const answer = await deliver(home, events);
  assert.deepEqual(answer, Object.fromEntries(idsOf(events).map((id) => [id, {}])));
  assert.deepEqual(said(home.rooms, room.roomId), ['one', 'two', 'three']);
  assert.deepEqual(home.asked, []);
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('events that come in the wrong order are put right without asking anybody', async (t) => {
  const room = new PeerRoom();
  const home = await visit(t, room);
  const events = Array.from({ length: 30 }, (_, turn) => room.add(message(dora, `${turn}`)));
  await deliver(home, events.toReversed());
  assert.deepEqual(
    said(home.rooms, room.roomId),
    events.map((_, turn) => `${turn}`),
  );
  assert.deepEqual(home.asked, []);
});

test('an event that is sent again, by whomever, is there once', async (t) => {
  const room = new PeerRoom();
  const home = await visit(t, room);
  const event = room.add(message(dora, 'once'));
  await Promise.all([deliver(home, [event, event]), deliver(home, [event], FAR)]);
  assert.deepEqual(await deliver(home, [event]), { [event.eventId]: {} });
  assert.deepEqual(said(home.rooms, room.roomId), ['once']);
});

test('a bad event is refused by its ID and stops none of the others', async (t) => {
  const room = new PeerRoom('11');
  const elsewhere = new PeerRoom('11');
  const home = await visit(t, room);
  const good = room.add(message(dora, 'good'));
  const stranger = elsewhere.add(message(dora, 'of a room nobody here is in'));
  const unsigned = room.add(message(dora, 'unsigned'), { after: [good] });
  const tooDeep = room.add(message(dora, 'float'), { after: [good] });
  const answer = await home.rooms.taker.receive(AWAY, [
    null,
    'text',
    {},
    stranger.pdu,
    { ...unsigned.pdu, signatures: {} },
    { ...tooDeep.pdu, depth: 1.5 },
    good.pdu,
  ]);
  await home.rooms.taker.idle();
  assert.deepEqual(answer[good.eventId], {});
  assert.match(String(answer[unsigned.eventId]?.error), /signature/);
  assert.ok(Object.values(answer).filter(({ error }) => error !== undefined).length <= 2);
  assert.deepEqual(said(home.rooms, room.roomId), ['good']);
});

test('a server that the room shuts out can bring nothing into it, not even of others', async (t) => {
  const room = new PeerRoom();
  const home = await visit(t, room);
  const acl = room.add(state(alice, 'm.room.server_acl', { allow: ['*'], deny: ['far.*'] }));
  await deliver(home, [acl]);
  const ofFar = room.add(message(fred, 'from far'), { after: [acl] });
  const ofAway = room.add(message(dora, 'from away'), { after: [acl] });
  const answer = await deliver(home, [ofFar, ofAway], FAR);
  assert.match(String(answer[ofFar.eventId]?.error), /not allowed/);
  assert.match(String(answer[ofAway.eventId]?.error), /not allowed/);
  assert.deepEqual(said(home.rooms, room.roomId), []);
  // It is about who brings it: the same event may come by another way.
  assert.deepEqual(await deliver(home, [ofFar], AWAY), { [ofFar.eventId]: {} });
  assert.deepEqual(said(home.rooms, room.roomId), ['from far']);
});

test('an event whose content was tampered with on the way counts in its redacted form', async (t) => {
  const room = new PeerRoom();
  const home = await visit(t, room);
  const event = room.add(message(dora, 'Hello'));
  await home.rooms.taker.receive(AWAY, [{ ...event.pdu, content: { msgtype: 'm.text', body: 'Send money' } }]);
  await home.rooms.taker.idle();
  const stored = home.rooms.events.findEvent(event.eventId);
  assert.equal(stored?.verdict, 'accepted');
  assert.deepEqual(stored?.content, {});
});

test('who was banned meanwhile may build on what was before, and nobody is shown it', async (t) => {
  const room = new PeerRoom();
  const home = await visit(t, room);
  const { latest: base } = room;
  assert.ok(base);
  const ban = room.add(member(fred, 'ban', alice));
  await deliver(home, [ban]);
  const evasion = room.add(message(fred, 'still here'), { after: [base] });
  await deliver(home, [evasion], FAR);
  assert.equal(home.rooms.events.findEvent(evasion.eventId)?.verdict, 'soft-failed');
  assert.deepEqual(said(home.rooms, room.roomId), []);
  const next = await home.rooms.sender.send({ roomId: room.roomId, ...message(alice, 'on'), content: { body: 'on' } });
  assert.deepEqual(next.prevEvents, [ban.eventId]);
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('what follows a rejected event is taken for what it is itself', async (t) => {
  const room = new PeerRoom();
  const home = await visit(t, room);
  const rejected = room.add(state(erin, 'm.room.topic', { topic: 'Mine' }));
  const after = room.add(message(dora, 'Not me'));
  await deliver(home, [after, rejected]);
  assert.equal(home.rooms.events.findEvent(rejected.eventId)?.verdict, 'rejected');
  assert.equal(home.rooms.state.findCurrent(room.roomId, 'm.room.topic', ''), undefined);
  assert.deepEqual(said(home.rooms, room.roomId), ['Not me']);
});

test('an invite that is taken back is gone, though this server was never in the room', async (t) => {
  const home = house(t, silent);
  const room = new PeerRoom('11', { levels: { invite: 0 } });
  const mia = alice;
  const other = new PeerRoom('11');
  await other.enter(home.rooms);
  // A room of Dora's, to which Alice is invited.
  const invite = room.add(member(mia, 'leave'));
  const shown = room.add(member(mia, 'invite', dora), { after: [invite] });
  const { rooms, db } = home;
  db.write((tx) => rooms.outside.put(tx, shown, {}));
  assert.equal(rooms.members.findMember(room.roomId, mia)?.membership, 'invite');
  const unrelated = room.add(message(dora, 'chat'));
  const foreign = room.add(member(mia, 'leave', dora), { auth: [room.holder('m.room.create')] });
  const rescinded = room.add(member(mia, 'leave', dora), { after: [shown] });
  const answer = await deliver(home, [unrelated, foreign, rescinded]);
  assert.notEqual(answer[unrelated.eventId]?.error, undefined);
  assert.notEqual(answer[foreign.eventId]?.error, undefined);
  assert.deepEqual(answer[rescinded.eventId], {});
  assert.equal(rooms.members.findMember(room.roomId, mia)?.membership, 'leave');
  assert.deepEqual(rooms.checkConsistency(), []);
});

test('what was taken when the server stopped is in the room after it starts again', async (t) => {
  const room = new PeerRoom();
  const home = await visit(t, room);
  const events = Array.from({ length: 250 }, (_, turn) => room.add(message(dora, `${turn}`)));
  for (let at = 0; at < events.length; at += 50) {
    await home.rooms.taker.receive(AWAY, pdusOf(events.slice(at, at + 50)));
  }
  await home.rooms.stop();
  const before = said(home.rooms, room.roomId).length;
  const again = await home.reopen();
  again.rooms.start();
  await again.rooms.taker.idle();
  assert.ok(before <= 250);
  assert.deepEqual(
    said(again.rooms, room.roomId),
    events.map((_, turn) => `${turn}`),
  );
  assert.deepEqual(again.rooms.checkConsistency(), []);
  await again.rooms.stop();
});

test('two branches of a room come together in the same state, whichever comes first', async (t) => {
  const states: unknown[] = [];
  const room = new PeerRoom();
  const { latest: base } = room;
  assert.ok(base);
  const one = room.add(state(dora, 'm.room.topic', { topic: 'one' }), { after: [base] });
  const other = room.add(state(fred, 'm.room.topic', { topic: 'other' }), { after: [base] });
  const joint = room.add(message(dora, 'both'), { after: [one, other] });
  for (const order of [
    [one, other, joint],
    [joint, other, one],
    [other, joint, one],
  ]) {
    const home = await visit(t, room);
    for (const event of order) await deliver(home, [event]);
    states.push(currentState(home.rooms, room.roomId));
    assert.deepEqual(home.rooms.checkConsistency(), []);
  }
  assert.deepEqual(states[1], states[0]);
  assert.deepEqual(states[2], states[0]);
});

test('an event that cannot be stored is tried again, and keeps nobody else from getting in', async (t) => {
  const room = new PeerRoom();
  let failures = 0;
  let isBroken = true;
  const home = house(t, silent, {
    projections: [
      {
        name: 'brittle',
        project: (_tx, { content }) => {
          if (!isBroken || content['body'] !== 'poison') return;
          failures += 1;
          throw new Error('this event is too much');
        },
      },
    ],
  });
  await room.enter(home.rooms);
  const { latest: base } = room;
  assert.ok(base);
  const poison = room.add(message(dora, 'poison'), { after: [base] });
  const good = room.add(message(fred, 'good'), { after: [base] });
  await deliver(home, [poison, good]);
  assert.deepEqual(said(home.rooms, room.roomId), ['good']);
  await home.clock.advance(120_000);
  assert.ok(failures > 1);
  isBroken = false;
  await home.clock.advance(3_600_000);
  assert.deepEqual(new Set(said(home.rooms, room.roomId)), new Set(['good', 'poison']));
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('when this server has left a room, what was on its way there is let go', async (t) => {
  const room = new PeerRoom();
  const home = await visit(t, room);
  const events = [room.add(message(dora, 'one')), room.add(member(alice, 'leave')), room.add(message(dora, 'two'))];
  await deliver(home, events);
  assert.deepEqual(said(home.rooms, room.roomId), ['one']);
  const late = room.add(message(dora, 'three'));
  const answer = await deliver(home, [late]);
  assert.match(String(answer[late.eventId]?.error), /not in the room/);
});
