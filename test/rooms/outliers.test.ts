import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomEvent } from '../../server/matrix/events/event.ts';
import type { JsonValue } from '../../server/matrix/json.ts';
import { roomVersions } from '../../server/matrix/room-versions.ts';
import { alice, AWAY, dora, erin, fred, house, keyRing, member, RemoteRoom, resident } from './remote-kit.ts';

function shuffled<Item>(items: readonly Item[], seed: number): Item[] {
  let state = seed;
  const next = (): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state;
  };
  return items
    .map((item) => ({ item, rank: next() }))
    .toSorted((a, b) => a.rank - b.rank)
    .map(({ item }) => item);
}

for (const version of roomVersions.keys()) {
  test(`version ${version}: events are stored in whatever order they come`, async (t) => {
    const room = new RemoteRoom(version);
    for (let index = 0; index < 40; index += 1)
      room.send(member(index % 2 === 0 ? erin : fred, 'join', undefined, { index }));
    const all = [...room.events.values()];
    for (const seed of [1, 2, 3]) {
      const home = house(t, resident(room));
      const outcome = await home.outliers.accept(
        room,
        shuffled(all, seed).map(({ pdu }) => pdu),
      );
      assert.deepEqual(outcome.dropped, []);
      assert.deepEqual(new Set(outcome.stored), new Set(room.events.keys()));
      for (const { eventId } of all) {
        const event = home.rooms.events.findEvent(eventId);
        assert.deepEqual([event?.verdict, event?.outlier], ['accepted', true]);
      }
      assert.deepEqual(home.rooms.checkConsistency(), []);
    }
  });
}

test('hundreds of events come as a stream, and a second time change nothing', async (t) => {
  const room = new RemoteRoom('12');
  for (let index = 0; index < 700; index += 1) {
    room.send({ type: 'org.example', sender: dora, stateKey: `${index}`, content: { index } });
  }
  const home = house(t, resident(room));
  async function* stream(): AsyncGenerator<JsonValue, void, undefined> {
    for (const { pdu } of room.events.values()) yield pdu;
  }
  const first = await home.outliers.accept(room, stream());
  assert.equal(first.stored.size, room.events.size);
  const position = home.db.position();
  const second = await home.outliers.accept(room, stream());
  assert.deepEqual(second, first);
  assert.equal(home.db.position(), position);
});

test('an event that breaks the rules is kept as rejected, and so is what rests upon it', async (t) => {
  const room = new RemoteRoom('11', { joinRule: 'invite' });
  const intruder = room.build(member(erin, 'join'));
  const child = room.build(
    { type: 'org.example', sender: erin, stateKey: '', content: {} },
    { auth: [room.find('m.room.create'), room.find('m.room.power_levels'), intruder] },
  );
  const home = house(t, resident(room));
  const outcome = await home.outliers.accept(
    room,
    [child, intruder, ...room.events.values()].map(({ pdu }) => pdu),
  );
  assert.deepEqual(outcome.dropped, []);
  for (const { eventId } of [intruder, child]) {
    assert.equal(outcome.stored.has(eventId), true);
    assert.equal(home.rooms.events.findEvent(eventId)?.verdict, 'rejected');
  }
});

test('what rests upon something that is not there, or is of another room, is dropped with the reason', async (t) => {
  const room = new RemoteRoom('11');
  const other = new RemoteRoom('11');
  const home = house(t, resident(room));
  await home.outliers.accept(
    other,
    [...other.events.values()].map(({ pdu }) => pdu),
  );
  const all = [...room.events.values()];
  const levels = room.find('m.room.power_levels');
  const foreign = room.build(member(fred, 'join'), {
    auth: [room.find('m.room.create'), other.find('m.room.join_rules')],
  });
  const forged = room.build(member(erin, 'join'));
  const outcome = await home.outliers.accept(
    room,
    [
      ...all.filter((event) => event !== levels),
      foreign,
      other.find('m.room.name'),
      { pdu: { ...forged.pdu, signatures: { [AWAY]: { 'ed25519:1': 'Zm9yZ2Vk' } } } },
    ].map(({ pdu }) => pdu),
  );
  const reasons = new Map(outcome.dropped.map(({ eventId, reason }) => [eventId, reason]));
  assert.equal(reasons.get(other.find('m.room.name').eventId), 'it is of another room');
  assert.equal(reasons.get(foreign.eventId), 'it rests upon an event of another room');
  assert.equal(reasons.get(forged.eventId), 'a signature is missing or wrong');
  assert.equal(reasons.get(room.find('m.room.join_rules').eventId), 'what it rests upon is not there');
  assert.equal(outcome.stored.has(room.find('m.room.member', dora).eventId), true);
  // Once the missing one is there the rest is welcome.
  const again = await home.outliers.accept(
    room,
    all.map(({ pdu }) => pdu),
  );
  assert.deepEqual(again.dropped, []);
});

test('an event stored before what it rests upon is judged again when that comes', async (t) => {
  for (const isAllowed of [true, false]) {
    const room = new RemoteRoom('11');
    const levels = { invite: isAllowed ? 0 : 50 };
    room.send({
      type: 'm.room.power_levels',
      sender: dora,
      stateKey: '',
      content: { users: { [dora]: 100 }, ...levels },
    });
    room.send(member(erin, 'join'));
    const invite = room.build(member(alice, 'invite', erin));
    const home = house(t, resident(room));
    home.db.write((tx) => void home.rooms.outside.put(tx, invite, {}));
    assert.equal(home.rooms.events.findEvent(invite.eventId)?.verdict, 'accepted');
    await home.outliers.accept(
      room,
      [invite, ...room.events.values()].map(({ pdu }) => pdu),
    );
    assert.equal(home.rooms.events.findEvent(invite.eventId)?.verdict, isAllowed ? 'accepted' : 'rejected');
  }
});

test('a list is left in the middle when nobody wants it any more, or when the keys cannot be had', async (t) => {
  const room = new RemoteRoom('11');
  const home = house(t, resident(room));
  const stop = new AbortController();
  const events: RoomEvent[] = [...room.events.values()];
  function* endless(): Generator<JsonValue, void, undefined> {
    for (let count = 0; ; count += 1) {
      if (count === 1_000) stop.abort(new Error('enough'));
      yield events[count % events.length]?.pdu ?? null;
    }
  }
  await assert.rejects(home.outliers.accept(room, endless(), { signal: stop.signal }), /enough/);

  const broken = house(t, resident(room), {
    keyRing: { ...keyRing, checkEvents: () => Promise.reject(new Error('no keys')) },
  });
  await assert.rejects(
    broken.outliers.accept(
      room,
      events.map(({ pdu }) => pdu),
    ),
    /no keys/,
  );
  assert.equal(broken.rooms.events.findRoom(room.roomId), undefined);
});
