import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { HostileRoom } from '../hostile/hostile-room.ts';
import { dora, erin, fred, member } from '../rooms/remote-kit.ts';
import { amongNeighbours, ephemeral } from './played-peer.ts';

const RECEIPT = 'm.receipt';

/** What a server says of one user's receipt. */
function readBy(userId: string, eventId: string, data: Json = { ts: 1_000 }): Json {
  return { [userId]: { event_ids: [eventId], data } };
}

const inRoom = (roomId: string, users: Json, kind = 'm.read'): Json => ({ [roomId]: { [kind]: users } });

/** The receipts of a room as somebody sees them who just came: "kind user event time thread". */
async function receipts(who: TestClient, roomId: string): Promise<string[]> {
  const found: string[] = [];
  for (const content of ephemeral(await who.sync(), roomId, RECEIPT)) {
    for (const [eventId, kinds] of Object.entries<Json>(content)) {
      for (const [kind, users] of Object.entries<Json>(kinds)) {
        for (const [userId, { ts, thread_id: thread }] of Object.entries<Json>(users)) {
          found.push([kind, userId, eventId, ts, ...(thread === undefined ? [] : [thread])].join(' '));
        }
      }
    }
  }
  return found.toSorted();
}

function read(who: TestClient, roomId: string, eventId: string, body: Json = {}, kind = 'm.read'): Promise<Json> {
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/receipt/${kind}/${encodeURIComponent(eventId)}`;
  return who.post(path, body).then(expectOk);
}

const text = (body: string, more: Json = {}): Json => ({
  type: 'm.room.message',
  sender: dora,
  content: { msgtype: 'm.text', body, ...more },
});

test(
  'those in the room see how far people on another server have read, and it never goes back',
  amongNeighbours(async (all) => {
    const { alice, home } = all;
    const room = await all.room();
    const { roomId } = room;
    const first = await all.happens(room, text('one'));
    const second = await all.happens(room, text('two'));
    const { next_batch: since } = await alice.sync();
    const waiting = alice.sync({ since, timeout: 60_000 });
    await all.say(RECEIPT, inRoom(roomId, readBy(dora, second, { ts: 5_000 })));
    assert.deepEqual(ephemeral(await waiting, roomId, RECEIPT), [
      { [second]: { 'm.read': { [dora]: { ts: 5_000 } } } },
    ]);

    await all.say(RECEIPT, inRoom(roomId, readBy(dora, first, { ts: 6_000 })));
    assert.deepEqual(await receipts(alice, roomId), [`m.read ${dora} ${second} 5000`]);
    const third = await all.happens(room, text('three'));
    await all.say(RECEIPT, inRoom(roomId, readBy(dora, third, { ts: 7_000 })));
    await home.restart();
    assert.deepEqual(await receipts(alice, roomId), [`m.read ${dora} ${third} 7000`]);
  }),
);

test(
  'threads have receipts of their own, as far as there are such threads',
  amongNeighbours(async (all) => {
    const { alice } = all;
    const room = await all.room();
    const { roomId } = room;
    const root = await all.happens(room, text('root'));
    const answer = await all.happens(
      room,
      text('answer', { 'm.relates_to': { rel_type: 'm.thread', event_id: root } }),
    );
    await all.say(RECEIPT, inRoom(roomId, readBy(dora, root, { ts: 1, thread_id: 'main' })));
    await all.say(RECEIPT, inRoom(roomId, readBy(dora, answer, { ts: 2, thread_id: root })));
    await all.say(RECEIPT, inRoom(roomId, readBy(dora, answer, { ts: 3 })));
    const expected = [
      `m.read ${dora} ${answer} 2 ${root}`,
      `m.read ${dora} ${answer} 3`,
      `m.read ${dora} ${root} 1 main`,
    ].toSorted();
    assert.deepEqual(await receipts(alice, roomId), expected);
    for (const thread of ['', 'elsewhere', '$never-heard-of', `$${'x'.repeat(300)}`, 5, null]) {
      await all.say(RECEIPT, inRoom(roomId, readBy(dora, answer, { ts: 4, thread_id: thread })));
    }
    assert.deepEqual(await receipts(alice, roomId), expected);
  }),
);

test(
  'a server speaks for its own users only, for those in the room, where it may take part, and of public receipts',
  amongNeighbours(async (all) => {
    const { alice, far } = all;
    const room = await all.room();
    const { roomId } = room;
    await all.happens(room, member(fred, 'join'));
    const eventId = await all.happens(room, text('one'));
    const own = await alice.createRoom({ preset: 'public_chat' });
    const ownEvent = await alice.send(own, 'mine');

    await all.say(RECEIPT, inRoom(roomId, readBy(dora, eventId)), far);
    await all.say(RECEIPT, inRoom(roomId, readBy(alice.userId, eventId)));
    await all.say(RECEIPT, inRoom(roomId, readBy(erin, eventId)));
    await all.say(RECEIPT, inRoom(own, readBy(dora, ownEvent)));
    await all.say(RECEIPT, inRoom(roomId, readBy(dora, ownEvent)));
    await all.say(RECEIPT, inRoom(roomId, readBy(dora, eventId), 'm.read.private'));
    await all.say(RECEIPT, inRoom(roomId, readBy(dora, eventId), 'm.fully_read'));
    await all.say(RECEIPT, inRoom('!nowhere:away.test', readBy(dora, eventId)));
    assert.deepEqual(await receipts(alice, roomId), []);
    assert.deepEqual(await receipts(alice, own), []);

    const acl = { allow: ['*'], deny: ['far.test'] };
    await all.happens(room, { type: 'm.room.server_acl', sender: dora, stateKey: '', content: acl });
    await all.say(RECEIPT, inRoom(roomId, readBy(fred, eventId)), far);
    assert.deepEqual(await receipts(alice, roomId), [], 'his server is shut out');
  }),
);

test(
  'what makes no sense among receipts is passed over, and nothing was read in the future',
  amongNeighbours(async (all) => {
    const { alice, clock } = all;
    const room = await all.room();
    const { roomId } = room;
    await all.happens(room, member(erin, 'join'));
    const eventId = await all.happens(room, text('one'));
    for (const broken of [
      'text',
      [],
      {},
      { event_ids: [] },
      { event_ids: eventId },
      { event_ids: [5], data: { ts: 1 } },
      { event_ids: ['one'], data: { ts: 1 } },
    ]) {
      await all.say(RECEIPT, {
        nowhere: { 'm.read': readBy(dora, eventId) },
        [roomId]: { 'm.read': { [dora]: broken, dora: { event_ids: [eventId], data: { ts: 1 } } } },
      });
    }
    assert.deepEqual(await receipts(alice, roomId), []);
    const late = clock.now() + 1_000_000;
    await all.say(RECEIPT, {
      nowhere: { 'm.read': readBy(dora, eventId) },
      [roomId]: { 'm.read': { ...readBy(dora, eventId, { ts: late }), [erin]: { event_ids: [eventId] } } },
    });
    const now = clock.now();
    assert.deepEqual(await receipts(alice, roomId), [
      `m.read ${dora} ${eventId} ${now}`,
      `m.read ${erin} ${eventId} ${now}`,
    ]);
  }),
);

test(
  'a receipt waits for the event it is about, and for the join of whoever read it',
  amongNeighbours(async (all) => {
    const { alice } = all;
    const room = await all.room();
    const { roomId } = room;
    const message = room.send(text('late'));
    await all.say(RECEIPT, inRoom(roomId, readBy(dora, message.eventId)));
    assert.deepEqual(await receipts(alice, roomId), []);
    await all.push(room, message.eventId, message.pdu);
    assert.deepEqual(await receipts(alice, roomId), [`m.read ${dora} ${message.eventId} 1000`]);

    await all.say(RECEIPT, inRoom(roomId, readBy(erin, message.eventId)));
    assert.equal((await receipts(alice, roomId)).length, 1);
    await all.happens(room, member(erin, 'join'));
    assert.deepEqual(await receipts(alice, roomId), [
      `m.read ${dora} ${message.eventId} 1000`,
      `m.read ${erin} ${message.eventId} 1000`,
    ]);
  }),
);

test(
  'of one message with too many receipts in it, no more than a thousand are taken',
  amongNeighbours(async (all) => {
    const { alice } = all;
    const room = new HostileRoom('11');
    const crowd = room.crowd(1_100);
    const { roomId } = await all.room(room);
    const eventId = await all.happens(room, text('all read this'));
    const users = Object.assign({}, ...crowd.map(({ sender }) => readBy(sender, eventId)));
    await all.say(RECEIPT, inRoom(roomId, users));
    assert.equal((await receipts(alice, roomId)).length, 1_000);
  }),
);

test(
  'other servers are told how far one of ours has read, but not what is private',
  amongNeighbours(async (all) => {
    const { alice, clock } = all;
    const room = await all.room();
    const { roomId } = room;
    const root = await all.happens(room, text('root'));
    const answer = await all.happens(
      room,
      text('answer', { 'm.relates_to': { rel_type: 'm.thread', event_id: root } }),
    );
    await read(alice, roomId, root, {}, 'm.read.private');
    await read(alice, roomId, root, {}, 'm.fully_read');
    await read(alice, roomId, root);
    const ts = clock.now();
    assert.deepEqual(await all.untilTold(RECEIPT, 1), [inRoom(roomId, readBy(alice.userId, root, { ts }))]);
    await read(alice, roomId, root);
    await all.untilThrough(room);
    assert.equal(all.told(RECEIPT).length, 1, 'what was said is not said again');

    await clock.advance(60_000);
    await read(alice, roomId, answer, { thread_id: root });
    const [, inThread] = await all.untilTold(RECEIPT, 2);
    assert.deepEqual(inThread, inRoom(roomId, readBy(alice.userId, answer, { ts: clock.now(), thread_id: root })));
  }),
);
