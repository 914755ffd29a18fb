import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HostileRoom } from '../hostile/hostile-room.ts';
import { type Answer, expectOk, type TestClient } from '../kit/test-client.ts';
import { dora, erin, fred, member } from '../rooms/remote-kit.ts';
import { amongNeighbours, ephemeral } from './played-peer.ts';

const TYPING = 'm.typing';
const SECOND = 1000;

/** Who types in a room, as somebody hears it who just came. */
async function typists(who: TestClient, roomId: string): Promise<string[]> {
  const [content] = ephemeral(await who.sync(), roomId, TYPING);
  return content?.user_ids ?? [];
}

function type(who: TestClient, roomId: string, body: { typing: boolean; timeout?: number }): Promise<Answer> {
  return who.put(
    `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/typing/${encodeURIComponent(who.userId)}`,
    body,
  );
}

const says = (roomId: string, userId: string, typing: boolean): object => ({
  room_id: roomId,
  user_id: userId,
  typing,
});

test(
  'those in the room hear who types on another server, until it says that they stopped',
  amongNeighbours(async (all) => {
    const { alice } = all;
    const { roomId } = await all.room();
    const { next_batch: since } = await alice.sync();
    const waiting = alice.sync({ since, timeout: 60_000 });
    await all.say(TYPING, says(roomId, dora, true));
    const heard = await waiting;
    assert.deepEqual(ephemeral(heard, roomId, TYPING), [{ user_ids: [dora] }]);

    await all.say(TYPING, says(roomId, dora, true));
    assert.equal((await alice.sync({ since: heard.next_batch })).rooms, undefined, 'that she goes on is no news');
    await all.say(TYPING, says(roomId, dora, false));
    const later = await alice.sync({ since: heard.next_batch });
    assert.deepEqual(ephemeral(later, roomId, TYPING), [{ user_ids: [] }]);
    await all.say(TYPING, says(roomId, dora, false));
    assert.equal((await alice.sync({ since: later.next_batch })).rooms, undefined);
  }),
);

test(
  'a server speaks for its own users only, for those in the room, and where it may take part',
  amongNeighbours(async (all) => {
    const { alice, far } = all;
    const room = await all.room();
    const { roomId } = room;
    await all.happens(room, member(fred, 'join'));
    const own = await alice.createRoom({ preset: 'public_chat' });

    await all.say(TYPING, says(roomId, dora, true), far);
    await all.say(TYPING, says(roomId, alice.userId, true));
    await all.say(TYPING, says(roomId, erin, true));
    await all.say(TYPING, says(own, dora, true));
    await all.say(TYPING, says('!nowhere:away.test', dora, true));
    for (const broken of [
      {},
      says('nowhere', dora, true),
      says(roomId, 'dora', true),
      { ...says(roomId, dora, true), typing: 'yes' },
      { ...says(roomId, dora, true), room_id: [roomId] },
    ]) {
      await all.say(TYPING, broken);
    }
    assert.deepEqual(await typists(alice, roomId), []);
    assert.deepEqual(await typists(alice, own), []);

    await all.say(TYPING, says(roomId, fred, true), far);
    assert.deepEqual(await typists(alice, roomId), [fred]);
    await all.say(TYPING, says(roomId, fred, false), far);
    const acl = { allow: ['*'], deny: ['far.test'] };
    await all.happens(room, { type: 'm.room.server_acl', sender: dora, stateKey: '', content: acl });
    await all.say(TYPING, says(roomId, fred, true), far);
    assert.deepEqual(await typists(alice, roomId), [], 'his server is shut out');
  }),
);

test(
  'whoever is not heard of for a minute has stopped',
  amongNeighbours(async (all) => {
    const { alice, clock } = all;
    const { roomId } = await all.room();
    await all.say(TYPING, says(roomId, dora, true));
    await clock.advance(40 * SECOND);
    await all.say(TYPING, says(roomId, dora, true));
    await clock.advance(59 * SECOND);
    assert.deepEqual(await typists(alice, roomId), [dora]);
    await clock.advance(SECOND);
    assert.deepEqual(await typists(alice, roomId), []);
  }),
);

test(
  'whoever leaves has stopped, and so have all in a room that nobody here is in any more',
  amongNeighbours(async (all) => {
    const { alice } = all;
    const room = await all.room();
    const { roomId } = room;
    await all.happens(room, member(erin, 'join'));
    await all.say(TYPING, says(roomId, dora, true));
    await all.say(TYPING, says(roomId, erin, true));
    assert.deepEqual((await typists(alice, roomId)).toSorted(), [dora, erin]);
    await all.happens(room, member(erin, 'leave'));
    assert.deepEqual(await typists(alice, roomId), [dora]);

    await all.happens(room, member(erin, 'join'));
    await all.say(TYPING, says(roomId, erin, true));
    await all.happens(room, member(erin, 'ban', dora));
    assert.deepEqual(await typists(alice, roomId), [dora], 'nobody types who was thrown out');

    all.letsLeave(room);
    await alice.leave(roomId);
    await all.say(TYPING, says(roomId, dora, true));
    await all.join(room);
    assert.deepEqual(await typists(alice, roomId), []);
  }),
);

test(
  'other servers hear when one of ours begins and stops, and now and then that they go on',
  amongNeighbours(async (all) => {
    const { alice, clock } = all;
    const room = await all.room();
    const { roomId } = room;
    const told = (): unknown[] => all.told(TYPING).map(({ typing }) => typing);

    expectOk(await type(alice, roomId, { typing: true, timeout: 60_000 }));
    await all.untilTold(TYPING, 1);
    assert.deepEqual(all.told(TYPING), [says(roomId, alice.userId, true)]);
    await clock.advance(10 * SECOND);
    expectOk(await type(alice, roomId, { typing: true, timeout: 60_000 }));
    await all.untilThrough(room);
    assert.deepEqual(told(), [true], 'that she goes on is no news yet');
    await clock.advance(15 * SECOND);
    await all.untilTold(TYPING, 2);
    await clock.advance(25 * SECOND);
    await all.untilTold(TYPING, 3);
    assert.deepEqual(told(), [true, true, true]);
    await clock.advance(20 * SECOND);
    await all.untilTold(TYPING, 4);
    assert.deepEqual(told(), [true, true, true, false], 'her time is up');

    expectOk(await type(alice, roomId, { typing: true }));
    await all.untilTold(TYPING, 5);
    expectOk(await type(alice, roomId, { typing: false }));
    await all.untilTold(TYPING, 6);
    assert.deepEqual(told().slice(4), [true, false]);
    await clock.advance(120 * SECOND);
    await all.untilThrough(room);
    assert.equal(told().length, 6);
  }),
);

test(
  'a room cannot be filled with people who type',
  amongNeighbours(async (all) => {
    const { alice } = all;
    const room = new HostileRoom('11');
    room.crowd(120);
    const { roomId } = await all.room(room);
    const edus = Array.from({ length: 100 }, (_, at) => ({
      edu_type: TYPING,
      content: says(roomId, `@u${at}:away.test`, true),
    }));
    expectOk(await all.away.transact(all.home, { edus }));
    for (let at = 100; at < 120; at += 1) await all.say(TYPING, says(roomId, `@u${at}:away.test`, true));
    assert.equal((await typists(alice, roomId)).length, 100);
    expectOk(await type(alice, roomId, { typing: true }));
    assert.ok((await typists(alice, roomId)).includes(alice.userId), 'ours are shown all the same');
  }),
);

test(
  'after a restart nobody types, and nobody is told of what was before',
  amongNeighbours(async (all) => {
    const { alice, home, clock } = all;
    const room = await all.room();
    const { roomId } = room;
    await all.say(TYPING, says(roomId, dora, true));
    expectOk(await type(alice, roomId, { typing: true, timeout: 100_000 }));
    await all.untilTold(TYPING, 1);
    await home.restart();
    assert.deepEqual(await typists(alice, roomId), []);
    await clock.advance(100 * SECOND);
    await all.untilThrough(room);
    assert.equal(all.told(TYPING).length, 1);
  }),
);
