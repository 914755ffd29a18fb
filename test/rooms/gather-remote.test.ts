import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { RoomEvent } from '../../server/matrix/events/event.ts';
import type { EventId, ServerName } from '../../server/matrix/identifiers.ts';
import type { JsonValue } from '../../server/matrix/json.ts';
import {
  alice,
  type Asked,
  AWAY,
  dora,
  erin,
  FAR,
  fred,
  house,
  type House,
  member,
  type Play,
  refusal,
  unreachable,
} from './remote-kit.ts';
import { bodyOf, currentState, idsOf, message, pdusOf, PeerRoom, said, state } from './peer-room.ts';

const silent: Play = () => undefined;

async function visit(t: TestContext, room: PeerRoom, play: Play = room.play): Promise<House> {
  const home = house(t, play);
  await room.enter(home.rooms);
  return home;
}

async function deliver({ rooms }: House, events: readonly RoomEvent[], origin: ServerName = AWAY): Promise<void> {
  await rooms.taker.receive(origin, pdusOf(events));
  await rooms.taker.idle();
}

function chat(room: PeerRoom, count: number, from = 0): RoomEvent[] {
  return Array.from({ length: count }, (_, turn) => room.add(message(dora, `${from + turn}`)));
}

function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, turn) => `${turn}`);
}

function latestOf(room: PeerRoom): RoomEvent {
  assert.ok(room.latest);
  return room.latest;
}

function isStored({ rooms }: House, { eventId }: RoomEvent): boolean {
  return rooms.events.findEvent(eventId) !== undefined;
}

test('events that were missed are fetched from whoever sent the next one, and come before it', async (t) => {
  const room = new PeerRoom();
  const home = await visit(t, room);
  const base = latestOf(room);
  const events = chat(room, 6);
  await deliver(home, events.slice(-1));
  assert.deepEqual(said(home.rooms, room.roomId), numbers(6));
  assert.deepEqual(home.operations(), [`${AWAY} v1/get_missing_events`]);
  const { limit, ...body } = bodyOf(home.asked[0] ?? assert.fail());
  assert.deepEqual(body, { earliest_events: [base.eventId], latest_events: idsOf(events.slice(-1)), min_depth: 0 });
  assert.ok(Number(limit) >= 10);
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('a longer gap is closed in several steps', async (t) => {
  const room = new PeerRoom();
  const home = await visit(t, room);
  const events = chat(room, 70);
  await deliver(home, events.slice(-1));
  assert.deepEqual(said(home.rooms, room.roomId), numbers(70));
  assert.ok(home.operations().every((operation) => operation === `${AWAY} v1/get_missing_events`));
  assert.ok(home.asked.length <= 5);
});

for (const version of ['1', '2', '6', '11', '12']) {
  test(`version ${version}: where a gap stays open, the state behind it is told and resolved with ours`, async (t) => {
    const room = new PeerRoom(version);
    const home = await visit(t, room);
    const base = latestOf(room);
    const ours = await home.rooms.sender.send({
      roomId: room.roomId,
      type: 'm.room.name',
      sender: alice,
      stateKey: '',
      content: { name: 'Ours' },
    });
    room.add(state(dora, 'm.room.topic', { topic: 'Theirs' }), { after: [base] });
    const arrival = room.add(member(erin, 'join'));
    chat(room, 300);
    const last = room.add(message(erin, 'at last'));
    await deliver(home, [last]);

    assert.ok(isStored(home, last));
    const operations = home.operations();
    assert.ok(operations.includes(`${AWAY} v1/state_ids`), operations.join(', '));
    assert.ok(operations.length < 30);
    const { rooms } = home;
    assert.equal(rooms.state.findCurrent(room.roomId, 'm.room.topic', '')?.content['topic'], 'Theirs');
    assert.equal(rooms.state.findCurrent(room.roomId, 'm.room.name', '')?.eventId, ours.eventId);
    assert.equal(rooms.members.findMember(room.roomId, erin)?.eventId, arrival.eventId);
    const spoken = said(rooms, room.roomId);
    assert.equal(spoken.at(-1), 'at last');
    assert.ok(spoken.length > 20 && spoken.length < 300);
    // Both ends are followed by what comes next.
    const next = await rooms.sender.send({ roomId: room.roomId, type: 'm.room.message', sender: alice, content: {} });
    assert.deepEqual(new Set(next.prevEvents), new Set([ours.eventId, last.eventId]));
    assert.deepEqual(rooms.checkConsistency(), []);
    assert.deepEqual((await home.reopen()).rooms.checkConsistency(), []);
  });
}

test('a large state that is missing is fetched as a whole', async (t) => {
  const room = new PeerRoom('11');
  const home = await visit(t, room);
  for (let turn = 0; turn < 120; turn++) room.add(state(dora, 'org.example.slot', { turn }, `${turn}`));
  chat(room, 300);
  const last = latestOf(room);
  await deliver(home, [last]);
  assert.ok(isStored(home, last));
  assert.ok(home.operations().includes(`${AWAY} v1/state`));
  assert.ok(home.operations().filter((operation) => operation.endsWith('v1/event')).length < 3);
  assert.equal(home.rooms.state.currentState(room.roomId).listType('org.example.slot').length, 120);
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('an event that became known beside the graph gets its place when it comes along', async (t) => {
  const room = new PeerRoom('11');
  const home = await visit(t, room);
  const arrival = room.add(member(erin, 'join'));
  chat(room, 300);
  const last = room.add(message(erin, 'here'));
  await deliver(home, [last]);
  assert.equal(home.rooms.events.findEvent(arrival.eventId)?.outlier, true);
  await deliver(home, [arrival]);
  const stored = home.rooms.events.findEvent(arrival.eventId);
  assert.equal(stored?.outlier, false);
  assert.equal(stored?.verdict, 'accepted');
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('whoever does not give what comes before an event has not sent it, and the state is not asked for', async (t) => {
  const room = new PeerRoom();
  let isWilling = false;
  const home = await visit(t, room, (asked) => {
    if (asked.operation === 'v1/get_missing_events' && !isWilling) return { events: [] };
    return room.play(asked);
  });
  const base = latestOf(room);
  const [, sent] = chat(room, 2);
  assert.ok(sent);
  await deliver(home, [sent]);
  assert.ok(!isStored(home, sent));
  assert.ok(!home.operations().some((operation) => operation.includes('state')));
  // What follows it is tried anew, from where we stand.
  const next = room.add(message(dora, '2'));
  await deliver(home, [next]);
  const bodies = home.asked.filter(({ server }) => server === AWAY).map(bodyOf);
  assert.deepEqual(
    bodies.map(({ latest_events: latest }) => latest),
    [[sent.eventId], [next.eventId]],
  );
  assert.ok(bodies.every(({ earliest_events: earliest }) => Array.isArray(earliest) && earliest[0] === base.eventId));
  // And once it is told, all is there.
  isWilling = true;
  const last = room.add(message(dora, '3'));
  await deliver(home, [last]);
  assert.deepEqual(said(home.rooms, room.roomId), numbers(4));
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('if the server that sent an event has gone, others of the room are asked', async (t) => {
  const room = new PeerRoom();
  const home = await visit(t, room, (asked) => {
    if (asked.server === AWAY) throw unreachable(AWAY);
    return room.play(asked);
  });
  await deliver(home, chat(room, 5).slice(-1));
  assert.deepEqual(said(home.rooms, room.roomId), numbers(5));
  assert.deepEqual(home.operations(), [`${AWAY} v1/get_missing_events`, `${FAR} v1/get_missing_events`]);
});

test('nobody is sent to other servers again and again by events that lead nowhere', async (t) => {
  const room = new PeerRoom();
  const home = await visit(t, room, silent);
  for (let turn = 0; turn < 40; turn++) {
    const base = latestOf(room);
    chat(room, 1);
    await deliver(home, [room.add(message(dora, 'lost'))]);
    room.latest = base;
  }
  const own = home.asked.filter(({ server }) => server === AWAY).length;
  const others = home.asked.filter(({ server }) => server === FAR).length;
  assert.equal(own, 40);
  assert.ok(others <= 10, `${others}`);
});

test('what cannot be had is tried a few times, further and further apart, then given up', async (t) => {
  const room = new PeerRoom();
  const home = await visit(t, room, silent);
  const events = chat(room, 5);
  // The later ones only wait for the first of them.
  await deliver(home, events.slice(1));
  const tries: number[] = [];
  for (let minute = 0; minute <= 120; minute++) {
    const before = home.asked.length;
    await home.clock.advance(60_000);
    await home.rooms.taker.idle();
    if (home.asked.length > before) tries.push(minute);
  }
  assert.ok(tries.length >= 3 && tries.length <= 6, tries.join(' '));
  const asked = home.asked.length;
  await home.clock.advance(24 * 3_600_000);
  assert.equal(home.asked.length, asked);
  const again = await home.reopen();
  again.rooms.start();
  await again.rooms.taker.idle();
  assert.deepEqual(again.asked, [], 'nothing is staged any more');
  await again.rooms.stop();
});

test('the last of those behind a stuck event asks for itself at once, as it would had it come later', async (t) => {
  const room = new PeerRoom();
  const home = await visit(t, room, silent);
  const [, stuck, between, last] = chat(room, 4);
  assert.ok(stuck && between && last);
  await deliver(home, [stuck, between, last]);
  const latest = home.asked
    .filter(({ operation }) => operation === 'v1/get_missing_events')
    .map((asked) => bodyOf(asked)['latest_events']);
  assert.deepEqual(latest[0], [stuck.eventId]);
  assert.ok(latest.some((ids) => Array.isArray(ids) && ids.includes(last.eventId)));
  assert.ok(!latest.some((ids) => Array.isArray(ids) && ids.includes(between.eventId)));
});

test('an attempt that failed succeeds later, when the server is back', async (t) => {
  const room = new PeerRoom();
  let isUp = false;
  const home = await visit(t, room, (asked) => {
    if (!isUp) throw unreachable(asked.server);
    return room.play(asked);
  });
  await deliver(home, chat(room, 3).slice(-1));
  assert.deepEqual(said(home.rooms, room.roomId), []);
  isUp = true;
  await home.clock.advance(15_000);
  await home.rooms.taker.idle();
  assert.deepEqual(said(home.rooms, room.roomId), numbers(3));
});

test('a server that never answers holds up neither other rooms nor the rest of the room', async (t) => {
  const room = new PeerRoom();
  const other = new PeerRoom();
  const home = await visit(t, room, ({ request, operation }) => {
    if (operation !== 'v1/get_missing_events') return undefined;
    return new Promise((_resolve, reject) => {
      request.signal?.addEventListener('abort', () => reject(unreachable(AWAY)));
    });
  });
  await other.enter(home.rooms);
  const base = latestOf(room);
  const stuck = chat(room, 3).slice(-1);
  await home.rooms.taker.receive(AWAY, pdusOf(stuck));
  const free = room.add(message(fred, 'meanwhile'), { after: [base] });
  await home.rooms.taker.receive(FAR, [free.pdu]);
  await home.rooms.taker.receive(AWAY, pdusOf(chat(other, 3)));
  await home.clock.advance(1_000);
  assert.deepEqual(said(home.rooms, room.roomId), ['meanwhile']);
  assert.deepEqual(said(home.rooms, other.roomId), numbers(3));
  // Stopping does not wait for it either, and it is there for the next start.
  await home.rooms.stop();
  const again = await home.reopen();
  again.rooms.start();
  await again.clock.advance(1_000);
  assert.equal(again.asked.length, 1);
  await again.rooms.stop();
});

test('auth events that are missing are fetched as a chain, or else one by one', async (t) => {
  for (const isChainGiven of [true, false]) {
    const room = new PeerRoom('11');
    const home = await visit(t, room, (asked) => {
      if (asked.operation === 'v1/get_missing_events') return { events: [] };
      if (asked.operation === 'v1/event_auth' && !isChainGiven) throw refusal(asked.server, 404, 'M_NOT_FOUND');
      return room.play(asked);
    });
    const base = latestOf(room);
    // Erin comes and goes on a branch that is not told of.
    const arrival = room.add(member(erin, 'join'), { after: [base] });
    const word = room.add(message(erin, 'on the authority of a join you do not know'), { after: [arrival] });
    const odd = room.add(message(erin, 'the same, further up'), {
      after: [base],
      auth: [room.holder('m.room.create', '', word), room.holder('m.room.power_levels', '', word), arrival],
    });
    await deliver(home, [odd]);
    const operations = home.operations();
    assert.ok(operations.includes(`${AWAY} v1/event_auth`));
    assert.equal(operations.includes(`${AWAY} v1/event`), !isChainGiven);
    assert.equal(home.rooms.events.findEvent(arrival.eventId)?.outlier, true);
    // By the state before it, she is not in the room.
    assert.equal(home.rooms.events.findEvent(odd.eventId)?.verdict, 'rejected');
    assert.deepEqual(said(home.rooms, room.roomId), []);
  }
});

test('what rests upon an event of another room is rejected, and what follows it is not lost', async (t) => {
  const room = new PeerRoom('11');
  const other = new PeerRoom('11');
  const arrival = other.add(member(erin, 'join'));
  const [create, levels] = [room.holder('m.room.create'), room.holder('m.room.power_levels')];
  const entry = room.add(member(erin, 'join'), { auth: [create, levels, arrival] });
  const word = room.add(message(erin, 'I am in'), { auth: [create, levels, entry] });
  const last = room.add(message(dora, 'Who said that?'));
  const home = await visit(t, room, (asked) => {
    if (asked.operation === 'v1/get_missing_events') return { events: [word.pdu] };
    return room.play(asked);
  });
  await other.enter(home.rooms);
  await deliver(home, [arrival]);
  await deliver(home, [last]);
  assert.ok(home.operations().includes(`${AWAY} v1/state_ids`));
  assert.equal(home.rooms.events.findEvent(word.eventId)?.verdict, 'rejected');
  assert.equal(home.rooms.events.findEvent(last.eventId)?.verdict, 'accepted');
  assert.equal(home.rooms.members.findMember(room.roomId, erin), undefined);
  assert.deepEqual(said(home.rooms, room.roomId), ['Who said that?']);
});

test('of what is offered, only properly signed events of the room that lie behind the one sent are taken', async (t) => {
  const room = new PeerRoom();
  const other = new PeerRoom();
  const base = latestOf(room);
  const aside = room.add(message(dora, 'aside'), { after: [base] });
  const first = room.add(message(dora, 'first'), { after: [base] });
  const second = room.add(message(dora, 'second'));
  const sent = room.add(message(dora, 'third'));
  const foreign = other.add(message(dora, 'foreign'));
  const home = await visit(t, room, ({ operation }) =>
    operation === 'v1/get_missing_events'
      ? {
          events: [
            aside.pdu,
            foreign.pdu,
            'text',
            null,
            { ...first.pdu, signatures: {} },
            { ...second.pdu, depth: 0.5 },
            first.pdu,
            second.pdu,
          ],
        }
      : undefined,
  );
  await other.enter(home.rooms);
  await deliver(home, [sent]);
  assert.deepEqual(said(home.rooms, room.roomId), ['first', 'second', 'third']);
  assert.ok(!isStored(home, aside) && !isStored(home, foreign));
});

test('a chain without end is followed only so far', async (t) => {
  const room = new PeerRoom('11');
  // Each answer leads one step further back; none ever arrives anywhere we know.
  const chain: RoomEvent[] = [];
  const base = latestOf(room);
  const ghost = '$ghost' as EventId;
  let event = room.add(message(dora, '0'), {
    after: [base],
    auth: room.stateBefore(base).slice(0, 3),
    alsoAfter: [ghost],
  });
  for (let turn = 1; turn < 1_000; turn++) {
    event = room.add(message(dora, `${turn}`), { after: [event] });
    chain.push(event);
  }
  const home = await visit(t, room, (asked) => {
    if (asked.operation !== 'v1/get_missing_events') return undefined;
    return room.play(asked);
  });
  await deliver(home, [event]);
  assert.ok(home.asked.length < 100, `${home.asked.length}`);
  assert.ok(!isStored(home, event));
  assert.deepEqual(said(home.rooms, room.roomId), []);
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('events that go round in a circle are not followed for ever', async (t) => {
  const room = new PeerRoom('1');
  const base = latestOf(room);
  const two = '$two:away.test' as EventId;
  const one = room.add(message(dora, 'one'), { after: [base], alsoAfter: [two], localpart: 'one' });
  const second = room.add(message(dora, 'two'), { after: [one], localpart: 'two' });
  const sent = room.add(message(dora, 'sent'), { after: [second] });
  assert.equal(second.eventId, two);
  const home = await visit(t, room, (asked) => {
    if (asked.operation === 'v1/get_missing_events') return { events: pdusOf([one, second]) };
    return asked.operation.startsWith('v1/state') ? undefined : room.play(asked);
  });
  await deliver(home, [sent]);
  assert.ok(home.asked.length < 40, `${home.asked.length}`);
  assert.deepEqual(home.rooms.checkConsistency(), []);
  // As a transaction, they wait for each other until they are given up.
  const again = await visit(t, room, silent);
  await deliver(again, [one, second]);
  await again.clock.advance(24 * 3_600_000);
  await again.rooms.taker.idle();
  assert.ok(!isStored(again, one) && !isStored(again, second));
  assert.ok(again.asked.length < 60, `${again.asked.length}`);
});

/** A gap that only a state can close; what `lie` makes of the honest answers is what is told. */
async function toldState(
  t: TestContext,
  lie: (asked: Asked, room: PeerRoom) => JsonValue | undefined,
): Promise<{ home: House; room: PeerRoom; last: RoomEvent }> {
  const room = new PeerRoom('11');
  const home = await visit(t, room, (asked) => lie(asked, room) ?? room.play(asked));
  room.add(state(dora, 'm.room.topic', { topic: 'Behind the gap' }));
  chat(room, 250);
  const last = latestOf(room);
  await deliver(home, [last]);
  return { home, room, last };
}

const ids = (room: PeerRoom, change: (state: EventId[]) => unknown): JsonValue => {
  const before = idsOf(room.stateBefore(latestOf(room)));
  change(before);
  return { pdu_ids: before, auth_chain_ids: idsOf(room.authChain(room.stateBefore(latestOf(room)))) };
};

for (const [what, lie] of Object.entries<(asked: Asked, room: PeerRoom) => JsonValue | undefined>({
  'is no state': ({ operation }) => (operation === 'v1/state_ids' ? { pdu_ids: 'all', auth_chain_ids: [] } : undefined),
  'holds what are no event IDs': ({ operation }) =>
    operation === 'v1/state_ids' ? { pdu_ids: ['one', 2], auth_chain_ids: [] } : undefined,
  'is larger than any room': ({ operation }) =>
    operation === 'v1/state_ids'
      ? { pdu_ids: Array.from({ length: 300_000 }, (_, n) => `$${n}`), auth_chain_ids: [] }
      : undefined,
  'lacks the create event': ({ operation }, room) =>
    operation === 'v1/state_ids'
      ? ids(room, (before) => before.splice(before.indexOf(room.holder('m.room.create').eventId), 1))
      : undefined,
  'consists of what nobody has': ({ operation }, room) =>
    operation === 'v1/state_ids'
      ? ids(room, (before) => before.push(...Array.from({ length: 30 }, (_, n) => `$none${n}` as EventId)))
      : undefined,
  'gives one place to two': ({ operation }, room) =>
    operation === 'v1/state_ids'
      ? ids(room, (before) =>
          before.push(
            room.add(state(dora, 'm.room.topic', { topic: 'Twice' }), { after: [room.holder('m.room.topic')] }).eventId,
          ),
        )
      : undefined,
})) {
  test(`a state that ${what} is not believed, and another server is asked`, async (t) => {
    const { home, last } = await toldState(t, (asked, room) => (asked.server === AWAY ? lie(asked, room) : undefined));
    assert.ok(home.operations().includes(`${FAR} v1/state_ids`), home.operations().join(', '));
    assert.ok(isStored(home, last));
    assert.equal(home.rooms.state.findCurrent(last.roomId, 'm.room.topic', '')?.content['topic'], 'Behind the gap');
    assert.deepEqual(home.rooms.checkConsistency(), []);
  });

  test(`if all servers tell a state that ${what}, nothing comes of it`, async (t) => {
    const { home, room, last } = await toldState(t, lie);
    assert.ok(!isStored(home, last));
    assert.equal(home.rooms.state.findCurrent(room.roomId, 'm.room.topic', ''), undefined);
    assert.ok(home.asked.length < 300);
    assert.deepEqual(home.rooms.checkConsistency(), []);
  });
}

test('a state of which some old events can be had from nobody is taken without them', async (t) => {
  const room = new PeerRoom('11');
  const lost = room.add(state(dora, 'org.example.lost', {}));
  const kept = room.add(state(dora, 'org.example.kept', {}));
  const home = await visit(t, room, (asked) => {
    if (asked.operation === 'v1/event' && asked.params[0] === lost.eventId)
      throw refusal(asked.server, 404, 'M_NOT_FOUND');
    return room.play(asked);
  });
  chat(room, 250);
  await deliver(home, [latestOf(room)]);
  assert.equal(home.rooms.state.findCurrent(room.roomId, 'org.example.kept', '')?.eventId, kept.eventId);
  assert.equal(home.rooms.state.findCurrent(room.roomId, 'org.example.lost', ''), undefined);
});

test('a state that hides a ban does not undo it', async (t) => {
  const room = new PeerRoom('11');
  const before = latestOf(room);
  const ban = room.add(member(fred, 'ban', alice), { after: [before] });
  const behind = room.add(message(dora, 'behind'), { after: [before] });
  const [first] = chat(room, 30);
  assert.ok(first);
  const home = await visit(t, room, (asked) => {
    if (asked.operation === 'v1/get_missing_events') return { events: pdusOf([...room.events.values()].slice(-10)) };
    return room.play(asked);
  });
  await deliver(home, [ban]);
  await deliver(home, [room.add(message(dora, 'last'))]);
  assert.ok(isStored(home, latestOf(room)));
  assert.ok(!isStored(home, behind) || home.rooms.events.findEvent(behind.eventId)?.outlier === true);
  assert.equal(home.rooms.members.findMember(room.roomId, fred)?.membership, 'ban');
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('the same room looks the same, however its events came', async (t) => {
  const room = new PeerRoom('11');
  const events = [room.add(state(dora, 'm.room.topic', { topic: 'A' })), ...chat(room, 12)];
  const last = room.add(state(fred, 'm.room.topic', { topic: 'B' }));
  const straight = await visit(t, room);
  await deliver(straight, [...events, last]);
  const gappy = await visit(t, room);
  await deliver(gappy, [last]);
  assert.deepEqual(currentState(gappy.rooms, room.roomId), currentState(straight.rooms, room.roomId));
  assert.deepEqual(said(gappy.rooms, room.roomId), said(straight.rooms, room.roomId));
});
