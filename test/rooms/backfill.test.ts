import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FederationError } from '../../server/federation/errors.ts';
import { encodeBase64 } from '../../server/matrix/base64.ts';
import type { RoomEvent } from '../../server/matrix/events/event.ts';
import { contentHash, referenceHashBase64 } from '../../server/matrix/events/hash.ts';
import { parsePdu } from '../../server/matrix/events/parse.ts';
import { signPdu } from '../../server/matrix/events/sign.ts';
import type { JsonObject } from '../../server/matrix/json.ts';
import { roomVersions } from '../../server/matrix/room-versions.ts';
import { alice, AWAY, dora, erin, FAR, fred, house, keyOf, member, refusal, unreachable } from './remote-kit.ts';
import { EVERYWHERE, fetchAll, idsOf, newcomer, numbersOf, pdusOf, range, shown, ToldRoom } from './told-room.ts';

for (const version of roomVersions.keys()) {
  test(`version ${version}: all that was said before a server came is there in the end, in order and once`, async (t) => {
    const room = new ToldRoom(version);
    room.send(member(erin, 'join'));
    room.say(60);
    room.send({ type: 'm.room.topic', sender: dora, stateKey: '', content: { topic: 'Stars' } });
    room.say(60, erin, 61);
    room.send(member(erin, 'leave'));
    const { home, history } = await newcomer(t, room);
    assert.equal(history.hasGapBefore(room.roomId, Number.MAX_SAFE_INTEGER), true);

    assert.equal(await fetchAll(history, room.roomId), 2);
    const events = shown(home, room.roomId);
    assert.deepEqual(numbersOf(events), range(120, 1));
    assert.deepEqual(idsOf(events), idsOf([...room.events.values()].toReversed()));
    assert.equal(history.hasGapBefore(room.roomId, Number.MAX_SAFE_INTEGER), false);
    // What the room was like then is known too.
    const [, , first] = events;
    assert(first);
    assert.equal(
      home.rooms.state.stateBefore(first.eventId)?.find('m.room.member', erin),
      room.stateBefore(first).find(({ stateKey }) => stateKey === erin)?.eventId,
    );
    assert.deepEqual(home.rooms.checkConsistency(), []);
    assert.deepEqual((await home.reopen()).rooms.checkConsistency(), []);
  });
}

test('what is fetched is no news to anybody and changes nothing of what the room is now', async (t) => {
  const room = new ToldRoom('11');
  room.send({ type: 'm.room.topic', sender: dora, stateKey: '', content: { topic: 'Long ago' } });
  room.say(5);
  room.send({ type: 'm.room.topic', sender: dora, stateKey: '', content: { topic: 'Now' } });
  const { home, history } = await newcomer(t, room);
  const { state, timeline } = home.rooms;
  const before = home.db.position();
  const members = home.rooms.members.countMembers(room.roomId, 'join');

  assert.equal(await history.backfill(room.roomId, EVERYWHERE, 100), true);
  assert.equal(state.findCurrent(room.roomId, 'm.room.topic', '')?.content['topic'], 'Now');
  assert.equal(home.rooms.members.countMembers(room.roomId, 'join'), members);
  assert.deepEqual(
    timeline.since({ roomId: room.roomId, since: before, now: home.db.position(), limit: 10 }).events,
    [],
  );
  assert.deepEqual(timeline.listActiveRooms(before, home.db.position()), []);
});

test('a page that was read stays where it was when more is fetched behind it', async (t) => {
  const room = new ToldRoom('11');
  room.say(250);
  const { home, history } = await newcomer(t, room);
  const { timeline } = home.rooms;
  await history.backfill(room.roomId, EVERYWHERE, 100);
  const newest = timeline.page({ roomId: room.roomId, from: undefined, direction: 'b', limit: 41 });
  assert.deepEqual(numbersOf(newest.events), range(250, 211));
  await fetchAll(history, room.roomId);
  const next = timeline.page({ roomId: room.roomId, from: newest.end, direction: 'b', limit: 1000 });
  assert.deepEqual(numbersOf(next.events), range(210, 1));
});

test('forks in the past come whole, whatever order their events are told in', async (t) => {
  const room = new ToldRoom('11');
  const [fork] = room.say(1);
  assert(fork);
  const left = room.send({ type: 'm.room.message', sender: dora, content: { body: '2' } }, { after: [fork] });
  const right = room.send({ type: 'm.room.message', sender: dora, content: { body: '3' } }, { after: [fork] });
  room.send({ type: 'm.room.message', sender: dora, content: { body: '4' } }, { after: [left, right] });
  const { home, history } = await newcomer(t, room, (asked) => {
    if (asked.operation !== 'v1/backfill') return undefined;
    const all = [...room.events.values()].filter(({ sender }) => sender !== alice);
    // Twice, and back to front.
    return { pdus: pdusOf([...all, ...all.toReversed()]) };
  });
  await fetchAll(history, room.roomId);
  assert.deepEqual(
    numbersOf(shown(home, room.roomId)).toSorted((a, b) => a - b),
    [1, 2, 3, 4],
  );
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('a gap in the middle is closed to where the history goes on', async (t) => {
  const room = new ToldRoom('11');
  const { home, history } = await newcomer(t, room);
  await fetchAll(history, room.roomId);
  // The server sleeps through all but the last of these.
  room.send(member(fred, 'join'));
  const said = room.say(120);
  const last = said.at(-1);
  assert(last);
  const before = room.stateBefore(last);
  const { roomId, version } = room;
  await home.outliers.accept({ roomId, version }, pdusOf(before));
  const acceptance = await home.rooms.inbox.accept(last.pdu, { stateBefore: idsOf(before) });
  assert.equal(acceptance.kind, 'stored');
  assert.equal(history.findGapBefore(roomId, Number.MAX_SAFE_INTEGER), last.depth);
  assert.equal(history.hasGapBefore(roomId, last.depth - 1), false);

  await fetchAll(history, roomId);
  assert.deepEqual(numbersOf(shown(home, roomId)), range(120, 1));
  assert.equal(history.hasGapBefore(roomId, Number.MAX_SAFE_INTEGER), false);
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('who cannot be reached, refuses or answers nonsense is passed over, and who answered is asked first the next time', async (t) => {
  const room = new ToldRoom('11');
  for (const user of [erin, fred]) room.send(member(user, 'join'));
  room.say(150);
  const nonsense: Record<string, unknown>[] = [{}, { pdus: {} }, { pdus: [1, null, {}, 'x'] }, { pdus: [] }];
  let awayIs: (() => never) | undefined = () => {
    throw unreachable(AWAY);
  };
  const { home, history, forget } = await newcomer(t, room, ({ operation, server }) => {
    if (operation !== 'v1/backfill' || server !== AWAY) return undefined;
    awayIs?.();
    return (nonsense.shift() ?? { pdus: [] }) as JsonObject;
  });
  assert.equal(await history.backfill(room.roomId, EVERYWHERE, 100), true);
  assert.deepEqual(home.operations().slice(0, 2), ['away.test v1/backfill', 'far.test v1/backfill']);
  forget();
  awayIs = () => {
    throw refusal(AWAY, 403, 'M_FORBIDDEN');
  };
  await fetchAll(history, room.roomId);
  assert.equal(home.operations()[0], 'far.test v1/backfill');
  assert.deepEqual(numbersOf(shown(home, room.roomId)), range(150, 1));

  awayIs = undefined;
  const other = new ToldRoom('11');
  for (let left = nonsense.length; left > 0; left -= 1) {
    const { home: second, history: past } = await newcomer(t, other, (asked) =>
      asked.operation === 'v1/backfill' ? ((nonsense.shift() ?? {}) as JsonObject) : undefined,
    );
    assert.equal(await past.backfill(other.roomId, EVERYWHERE, 100), false);
    assert.equal(shown(second, other.roomId).length, 1);
  }
});

test('while one server keeps silent the next one is asked', async (t) => {
  const room = new ToldRoom('11');
  room.send(member(fred, 'join'));
  room.say(3);
  let aborted = false;
  const { home, history } = await newcomer(t, room, ({ operation, server, request }) => {
    if (operation !== 'v1/backfill' || server !== AWAY) return undefined;
    return new Promise((_resolve, reject) => {
      request.signal?.addEventListener('abort', () => {
        aborted = true;
        reject(new FederationError('aborted', AWAY, 'nobody wants to know'));
      });
    });
  });
  const came = history.backfill(room.roomId, EVERYWHERE, 100);
  await home.clock.advance(1_000);
  assert.deepEqual(home.operations(), ['away.test v1/backfill']);
  await home.clock.advance(1_000);
  assert.equal(await came, true);
  assert.equal(aborted, true);
  assert.deepEqual(numbersOf(shown(home, room.roomId)), [3, 2, 1]);
});

test('nobody waits for long, and what comes later is there all the same', async (t) => {
  const room = new ToldRoom('11');
  room.say(3);
  const answer = Promise.withResolvers<void>();
  const { home, history } = await newcomer(t, room, async ({ operation }) => {
    if (operation === 'v1/backfill') await answer.promise;
    return undefined;
  });
  const first = history.backfill(room.roomId, EVERYWHERE, 100);
  const gone = new AbortController();
  const second = history.backfill(room.roomId, EVERYWHERE, 100, gone.signal);
  gone.abort();
  assert.equal(await second, false);
  await home.clock.advance(6_000);
  assert.equal(await first, false);
  // It is still under way: whoever asks now shares it.
  const third = history.backfill(room.roomId, EVERYWHERE, 100);
  answer.resolve();
  assert.equal(await third, true);
  assert.deepEqual(home.operations(), ['away.test v1/backfill']);
  assert.deepEqual(numbersOf(shown(home, room.roomId)), [3, 2, 1]);
});

test('what nobody gives is left alone for a while, longer each time', async (t) => {
  const room = new ToldRoom('11');
  room.say(3);
  let isDown = true;
  const { home, history, forget } = await newcomer(t, room, ({ operation }) => {
    if (isDown && operation === 'v1/backfill') throw unreachable(AWAY);
    return undefined;
  });
  const ask = async (): Promise<number> => {
    forget();
    await history.backfill(room.roomId, EVERYWHERE, 100);
    return home.asked.length;
  };
  assert.equal(await ask(), 1);
  assert.equal(await ask(), 0);
  await home.clock.advance(11_000);
  assert.equal(await ask(), 1);
  await home.clock.advance(11_000);
  assert.equal(await ask(), 0);
  // The machine was asleep, or on another network.
  isDown = false;
  history.wake();
  assert.equal(await history.backfill(room.roomId, EVERYWHERE, 100), true);
  assert.deepEqual(numbersOf(shown(home, room.roomId)), [3, 2, 1]);
});

test('servers that are being left alone are not asked', async (t) => {
  const room = new ToldRoom('11');
  room.send(member(fred, 'join'));
  room.say(3);
  const home = house(t, room.play(), { destinations: { readyAt: (name) => (name === AWAY ? Infinity : 0) } });
  await home.remote.join({ userId: alice, roomId: room.roomId, servers: [AWAY], content: { membership: 'join' } });
  home.asked.length = 0;
  assert.equal(await home.rooms.federated?.history.backfill(room.roomId, EVERYWHERE, 100), true);
  assert.deepEqual(new Set(home.asked.map(({ server }) => server)), new Set([FAR]));
});

test('events that are forged, of another room or not what was asked for are not taken', async (t) => {
  const room = new ToldRoom('11');
  const said = room.say(4);
  const other = new ToldRoom('11');
  other.say(2, dora, 100);
  const [, , third] = said;
  assert(third);
  const forged: JsonObject = { ...third.pdu, content: { body: '66' } };
  const unsigned: JsonObject = { ...third.pdu, signatures: {} };
  // Dora's server can sign whatever it likes, but nothing leads there.
  const stray = room.build(
    { type: 'm.room.message', sender: dora, content: { body: '77' } },
    { prev: said.slice(0, 1) },
  );
  const { home, history } = await newcomer(t, room, ({ operation }) =>
    operation === 'v1/backfill'
      ? { pdus: [...pdusOf([...other.events.values()]), stray.pdu, unsigned, ...pdusOf(said.slice(3)), forged] }
      : undefined,
  );
  assert.equal(await history.backfill(room.roomId, EVERYWHERE, 100), true);
  // The last is sound. The one before it was told with another content, which leaves of it what a redaction does.
  const events = shown(home, room.roomId);
  assert.deepEqual(
    events.map(({ content }) => content['body']),
    [undefined, '4', undefined],
  );
  assert.equal(events[2]?.eventId, third.eventId);
  assert.equal(home.rooms.events.findEvent(stray.eventId), undefined);
  assert.equal(home.rooms.events.findRoom(other.roomId), undefined);
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('a state that is none is not believed, and another server is asked', async (t) => {
  const room = new ToldRoom('11');
  room.send(member(fred, 'join'));
  room.send({ type: 'm.room.name', sender: dora, stateKey: '', content: { name: 'Other' } });
  room.say(150);
  const names = [...room.events.values()].filter(({ type }) => type === 'm.room.name');
  assert.equal(names.length, 2);
  const without = (type: string) => (event: RoomEvent) => event.type !== type;
  const lies: ((state: RoomEvent[]) => JsonObject)[] = [
    // No create event; two names; no list; a name that is none.
    (state) => ({ pdu_ids: idsOf(state.filter(without('m.room.create'))), auth_chain_ids: [] }),
    (state) => ({ pdu_ids: [...new Set([...idsOf(state), ...idsOf(names)])], auth_chain_ids: [] }),
    () => ({ pdu_ids: 'all' }),
    (state) => ({ pdu_ids: [...idsOf(state), 'x'], auth_chain_ids: [] }),
  ];
  for (const lie of lies) {
    const { home, history } = await newcomer(t, room, ({ operation, server, request }) => {
      if (operation !== 'v1/state_ids' || server !== AWAY) return undefined;
      const event = room.events.get(request.query?.['event_id'] as RoomEvent['eventId']);
      assert(event);
      return lie(room.stateBefore(event));
    });
    assert.equal(await history.backfill(room.roomId, EVERYWHERE, 100), true);
    const asked = home.asked.filter(({ operation }) => operation === 'v1/state_ids').map(({ server }) => server);
    assert.deepEqual(asked, [AWAY, FAR]);
    assert.deepEqual(home.rooms.checkConsistency(), []);
    const oldest = shown(home, room.roomId).at(-1);
    assert(oldest);
    assert.equal(home.rooms.state.stateBefore(oldest.eventId)?.find('m.room.name', ''), names[1]?.eventId);
  }
});

/** So many lamps are put, each in a place of its own. */
function putLamps(room: ToldRoom, count: number, colour: string): RoomEvent[] {
  return range(1, count).map((at) =>
    room.send({ type: 'test.lamp', sender: dora, stateKey: `${at}`, content: { colour } }),
  );
}

test('the state of long ago is fetched as far as it is not held', async (t) => {
  const room = new ToldRoom('11');
  const old = putLamps(room, 12, 'red');
  room.say(150);
  // Of what the lamps were before, the newcomer has heard nothing.
  putLamps(room, 12, 'blue');
  const { home, history } = await newcomer(t, room);
  await history.backfill(room.roomId, EVERYWHERE, 100);
  const oldest = shown(home, room.roomId).at(-1);
  assert.equal(oldest?.type, 'm.room.message');
  const fetched = home.asked.filter(({ operation }) => operation === 'v1/event');
  assert.deepEqual(new Set(fetched.map(({ params }) => params[0])), new Set(idsOf(old)));
  const before = home.rooms.state.stateBefore(oldest.eventId);
  for (const lamp of old) assert.equal(before?.find(lamp.type, lamp.stateKey ?? ''), lamp.eventId);
  await fetchAll(history, room.roomId);
  assert.deepEqual(idsOf(shown(home, room.roomId)), idsOf([...room.events.values()].toReversed()));
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('where much of a state is not held the whole of it is fetched at once', async (t) => {
  const room = new ToldRoom('11');
  const old = putLamps(room, 200, 'red');
  const [wanted] = room.say(10);
  assert(wanted);
  putLamps(room, 200, 'blue');
  const { home, history } = await newcomer(t, room);
  assert.equal((await history.fetchEvent(room.roomId, wanted.eventId))?.content['body'], '1');
  assert.deepEqual(home.operations(), ['away.test v1/event', 'away.test v1/state_ids', 'away.test v1/state']);
  const before = home.rooms.state.stateBefore(wanted.eventId);
  for (const lamp of old) assert.equal(before?.find(lamp.type, lamp.stateKey ?? ''), lamp.eventId);
  await fetchAll(history, room.roomId);
  assert.deepEqual(idsOf(shown(home, room.roomId)), idsOf([...room.events.values()].toReversed()));
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('however many gaps somebody claims there are, few are asked for at a time', async (t) => {
  const room = new ToldRoom('11');
  const { home, history } = await newcomer(t, room);
  await fetchAll(history, room.roomId);
  const before = [...room.state.values()];
  const latest = room.latest;
  assert(latest);
  // Events that follow what nobody has ever seen.
  for (let at = 0; at < 30; at += 1) {
    const unseen = room.build({ type: 'm.room.message', sender: dora, content: { body: `unseen ${at}` } });
    const event = room.build(
      { type: 'm.room.message', sender: dora, content: { body: `${at}` } },
      { prev: [latest, unseen] },
    );
    const acceptance = await home.rooms.inbox.accept(event.pdu, { stateBefore: idsOf(before) });
    assert.equal(acceptance.kind, 'stored');
  }
  home.asked.length = 0;
  assert.equal(await history.backfill(room.roomId, EVERYWHERE, 100), false);
  const [asked, ...more] = home.asked;
  assert.deepEqual(more, []);
  const wanted = asked?.request.query?.['v'];
  assert(Array.isArray(wanted));
  assert.equal(wanted.length, 5);
  // Those are left alone now, so that the others have their turn.
  home.asked.length = 0;
  await history.backfill(room.roomId, EVERYWHERE, 100);
  const next = home.asked[0]?.request.query?.['v'];
  assert(Array.isArray(next));
  assert.equal(next.filter((id) => wanted.includes(id)).length, 0);
});

test('a past with more loose ends than states may be asked for is fetched piece by piece', async (t) => {
  const room = new ToldRoom('11');
  const [root] = room.say(1);
  assert(root);
  // Nineteen branches: no hundred of their events rests on few states.
  const tips = range(1, 19).map((at) => {
    let tip = root;
    for (const step of range(1, 8)) {
      tip = room.send(
        { type: 'm.room.message', sender: dora, content: { body: `${at * 100 + step}` } },
        { after: [tip] },
      );
    }
    return tip;
  });
  room.send({ type: 'm.room.message', sender: dora, content: { body: '5000' } }, { after: tips });
  const { home, history } = await newcomer(t, room);
  for (let times = 0; history.hasGapBefore(room.roomId, Number.MAX_SAFE_INTEGER); times += 1) {
    assert(times < 80, 'it comes to an end');
    home.asked.length = 0;
    assert.equal(await history.backfill(room.roomId, EVERYWHERE, 100), true);
    assert(home.asked.filter(({ operation }) => operation === 'v1/state_ids').length <= 5);
  }
  assert.deepEqual(new Set(idsOf(shown(home, room.roomId))), new Set(room.events.keys()));
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('what nobody here may see is not asked for', async (t) => {
  const room = new ToldRoom('11');
  room.send({
    type: 'm.room.history_visibility',
    sender: dora,
    stateKey: '',
    content: { history_visibility: 'joined' },
  });
  room.say(5);
  const { home, history } = await newcomer(t, room);
  assert.equal(await history.backfill(room.roomId, EVERYWHERE, 100), false);
  assert.deepEqual(home.operations(), []);

  // Who was invited before may see what was said since.
  const open = new ToldRoom('11');
  open.send({
    type: 'm.room.history_visibility',
    sender: dora,
    stateKey: '',
    content: { history_visibility: 'invited' },
  });
  open.send(member(alice, 'invite', dora));
  open.say(5);
  const invited = await newcomer(t, open);
  assert.equal(await invited.history.backfill(open.roomId, EVERYWHERE, 100), true);
  assert.deepEqual(numbersOf(shown(invited.home, open.roomId)), range(5, 1));
});

test('a room that nobody here is in any more is let be', async (t) => {
  const room = new ToldRoom('11');
  room.say(5);
  const { home, history } = await newcomer(t, room);
  await home.rooms.sender.send({
    roomId: room.roomId,
    type: 'm.room.member',
    sender: alice,
    stateKey: alice,
    content: { membership: 'leave' },
  });
  assert.equal(await history.backfill(room.roomId, EVERYWHERE, 100), false);
  assert.equal(
    await history.fetchEvent(room.roomId, idsOf([...room.events.values()])[5] ?? room.find('m.room.name').eventId),
    undefined,
  );
  assert.deepEqual(home.operations(), []);
});

/** An event of version 1 as it could be made before there were limits: it follows more than twenty. */
function followingMore(event: RoomEvent, prev: readonly RoomEvent[]): RoomEvent {
  const { version, pdu } = event;
  const unsigned: JsonObject = {
    ...pdu,
    prev_events: prev.map((one) => [one.eventId, { sha256: referenceHashBase64(one.pdu, version) }]),
    signatures: {},
  };
  const hashes = { sha256: encodeBase64(contentHash(unsigned, version)) };
  const parsed = parsePdu(signPdu({ ...unsigned, hashes }, version, AWAY, keyOf(AWAY)), version, {
    anyNumberOfReferences: true,
  });
  assert(parsed.ok);
  return parsed.event;
}

test('history with more predecessors than events may have today is taken', async (t) => {
  const room = new ToldRoom('1');
  const [root] = room.say(1);
  assert(root);
  const tips = range(2, 26).map((number) =>
    room.send({ type: 'm.room.message', sender: dora, content: { body: `${number}` } }, { after: [root] }),
  );
  const last = room.build(
    { type: 'm.room.message', sender: dora, content: { body: '27' } },
    { prev: tips.slice(0, 20) },
  );
  room.take(followingMore(last, tips));
  const { home, history } = await newcomer(t, room);
  await fetchAll(history, room.roomId);
  assert.deepEqual(
    numbersOf(shown(home, room.roomId)).toSorted((a, b) => a - b),
    range(1, 27),
  );
  const reopened = await home.reopen();
  assert.equal(numbersOf(shown(reopened, room.roomId)).length, 27);
});

test('two rooms, and two people in one room, do not wait for one another’s servers', async (t) => {
  const slow = new ToldRoom('11');
  slow.say(3);
  const quick = new ToldRoom('11');
  quick.say(3);
  const answer = Promise.withResolvers<void>();
  const home = house(t, async (asked) => {
    const isSlow = asked.params[0] === slow.roomId;
    if (isSlow && asked.operation === 'v1/backfill') await answer.promise;
    return (isSlow ? slow : quick).play()(asked);
  });
  for (const { roomId } of [slow, quick]) {
    await home.remote.join({ userId: alice, roomId, servers: [AWAY], content: { membership: 'join' } });
  }
  const history = home.rooms.federated?.history;
  assert(history);
  const late = [history.backfill(slow.roomId, EVERYWHERE, 10), history.backfill(slow.roomId, EVERYWHERE, 10)];
  assert.equal(await history.backfill(quick.roomId, EVERYWHERE, 10), true);
  answer.resolve();
  assert.deepEqual(await Promise.all(late), [true, true]);
  assert.equal(home.asked.filter(({ operation }) => operation === 'v1/backfill').length, 2);
});
