import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../server/matrix/json.ts';
import { AWAY, dora, FAR, fred, member } from './remote-kit.ts';
import { fetchAll, newcomer, numbersOf, range, shown, ToldRoom } from './told-room.ts';

test('one event of long ago can be had by itself, and the past goes on from there', async (t) => {
  const room = new ToldRoom('11');
  const said = room.say(250);
  const [, , wanted] = said;
  assert(wanted);
  const { home, history, forget } = await newcomer(t, room);
  const { roomId } = room;
  assert.equal((await history.fetchEvent(roomId, wanted.eventId))?.content['body'], '3');
  forget();
  assert.equal((await history.fetchEvent(roomId, wanted.eventId))?.content['body'], '3');
  assert.deepEqual(home.operations(), []);
  assert.equal(history.findGapBefore(roomId, wanted.depth), wanted.depth);
  await history.backfill(roomId, { depth: wanted.depth }, 100);
  assert.equal(history.hasGapBefore(roomId, wanted.depth), false);
  await fetchAll(history, roomId);
  assert.deepEqual(numbersOf(shown(home, roomId)), range(250, 1));

  const nowhere = new ToldRoom('11').find('m.room.name').eventId;
  forget();
  assert.equal(await history.fetchEvent(roomId, nowhere), undefined);
  assert.equal(home.asked.length, 1);
  assert.equal(await history.fetchEvent(roomId, nowhere), undefined);
  assert.equal(home.asked.length, 1);
});

test('the event nearest to a time is fetched if it is what the server says it is', async (t) => {
  const room = new ToldRoom('11');
  const said = room.say(150);
  room.send(member(fred, 'join'));
  room.say(100, dora, 151);
  const wanted = said[40];
  assert(wanted);
  const lies: (JsonObject | undefined)[] = [
    // Something later under a better time; something not wanted; nonsense; then the truth.
    { event_id: said[120]?.eventId ?? '', origin_server_ts: wanted.originServerTs },
    { event_id: wanted.eventId, origin_server_ts: 5 },
    { event_id: 'x', origin_server_ts: 'y' },
    undefined,
  ];
  for (const lie of lies) {
    const { home, history } = await newcomer(t, room, ({ operation, server }) =>
      operation === 'v1/timestamp_to_event' && server === AWAY ? lie : undefined,
    );
    const found = await history.fetchNearest(
      room.roomId,
      wanted.originServerTs,
      'f',
      (ts) => ts < wanted.originServerTs + 5,
    );
    assert.equal(found?.eventId, wanted.eventId);
    const asked = home.asked
      .filter(({ operation }) => operation === 'v1/timestamp_to_event')
      .map(({ server }) => server);
    assert.deepEqual(asked, lie === undefined ? [AWAY] : [AWAY, FAR]);
    assert.equal(await history.fetchNearest(room.roomId, wanted.originServerTs, 'f', () => false), undefined);
    assert.deepEqual(home.rooms.checkConsistency(), []);
  }
});
