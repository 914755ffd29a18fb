import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { alice, bob, carol, dora, draft, receive, remoteEvent } from '../rooms/room-kit.ts';
import { pushHouse } from './push-harness.ts';

async function listed(who: TestClient): Promise<Json[]> {
  const { notifications } = expectOk(await who.get('/_matrix/client/v3/notifications'));
  return notifications.map((notification: Json) => notification.event);
}

async function notifyOfEverything(who: TestClient): Promise<void> {
  const rule = { actions: ['notify'], conditions: [] };
  expectOk(await who.put('/_matrix/client/v3/pushrules/global/override/everything', rule));
}

test('what comes from other servers counts, unless it was soft-failed', async (t) => {
  const { home, roomOf, unread } = await pushHouse(t);
  const roomId = await roomOf([bob]);
  const joined = await receive(
    home,
    remoteEvent(home, roomId, draft.member(dora, dora, 'join'), {
      after: [await home.send(roomId, draft.message(bob, 'Come in'))],
    }),
  );
  assert.equal(await unread(alice, roomId), 1);
  await receive(home, remoteEvent(home, roomId, draft.message(dora, 'Hello'), { after: [joined] }));
  assert.equal(await unread(alice, roomId), 2);
  assert.equal(await unread(bob, roomId), 1);

  await home.send(roomId, draft.member(alice, dora, 'ban'));
  const late = remoteEvent(home, roomId, draft.message(dora, 'I was never banned'), { after: [joined] });
  assert.equal((await receive(home, late)).verdict, 'soft-failed');
  assert.equal(await unread(alice, roomId), 2);
});

test('what arrives late counts as well, and can be read', async (t) => {
  const { home, roomOf, unread, read } = await pushHouse(t);
  const roomId = await roomOf([bob, dora]);
  const before = await home.send(roomId, draft.message(bob, 'Before'));
  let latest = before;
  for (const body of ['a', 'b', 'c']) latest = await home.send(roomId, draft.message(bob, body));
  await read(alice, roomId, latest.eventId);
  assert.equal(await unread(alice, roomId), 0);

  // Said long ago by the graph, but nobody here has seen it.
  const late = await receive(home, remoteEvent(home, roomId, draft.message(dora, 'Delayed'), { after: [before] }));
  assert.ok(late.depth < latest.depth);
  assert.equal(await unread(alice, roomId), 1);
  await read(alice, roomId, late.eventId);
  assert.equal(await unread(alice, roomId), 0);
});

test('a message from before somebody joined, which they may not see, does not count for them', async (t) => {
  const { home, roomOf, unread } = await pushHouse(t);
  const roomId = await roomOf([bob, dora], 'joined');
  const before = await home.send(roomId, draft.message(bob, 'Just us'));
  await home.send(roomId, draft.member(carol, carol, 'join'));
  await receive(home, remoteEvent(home, roomId, draft.message(dora, 'Yes, just us'), { after: [before] }));
  assert.equal(await unread(alice, roomId), 2);
  assert.equal(await unread(carol, roomId), 0);
});

test('history that is fetched later is no news, and reading it reads nothing else', async (t) => {
  const { home, roomOf, unread, read } = await pushHouse(t);
  const roomId = await roomOf([bob, dora]);
  const first = await home.send(roomId, draft.message(bob, 'a'));
  await home.send(roomId, draft.message(bob, 'b'));
  const old = remoteEvent(home, roomId, draft.message(dora, 'Long ago'), { after: [first] });
  const acceptance = await home.rooms.inbox.accept(old.pdu, { as: 'history' });
  assert.equal(acceptance.kind, 'stored');
  assert.equal(await unread(alice, roomId), 2);
  await read(alice, roomId, old.eventId);
  assert.equal(await unread(alice, roomId), 2);
  await read(alice, roomId, first.eventId);
  assert.equal(await unread(alice, roomId), 1);
});

test('a redaction that comes before its target keeps it from counting, and is itself told of once', async (t) => {
  const { home, roomOf, unread, client } = await pushHouse(t);
  const roomId = await roomOf([bob, dora]);
  await notifyOfEverything(client(alice));
  const start = await home.send(roomId, draft.state(alice, 'm.room.topic', { topic: 'Slips' }));
  const message = remoteEvent(home, roomId, draft.message(dora, 'Oops'), { after: [start] });
  const redaction = remoteEvent(home, roomId, draft.redaction(dora, message.eventId), { after: [start] });
  await receive(home, redaction);
  assert.equal(await unread(alice, roomId), 0);
  await receive(home, message);
  assert.deepEqual(
    (await listed(client(alice))).map(({ event_id: eventId }) => eventId),
    [redaction.eventId],
  );
  assert.equal(await unread(alice, roomId), 1);
  assert.equal(await unread(bob, roomId), 0);
});

test('somebody of another server may invite, which only the invited hears of', async (t) => {
  const { home, roomOf, unread, client } = await pushHouse(t);
  const roomId = await roomOf([bob, dora]);
  const after = [await home.send(roomId, draft.message(bob, 'Who else?'))];
  await receive(home, remoteEvent(home, roomId, draft.member(dora, carol, 'invite'), { after }));
  assert.equal(await unread(alice, roomId), 1);
  const [invite] = await listed(client(carol));
  assert.deepEqual([invite.sender, invite.content.membership], [dora, 'invite']);
  // Taken back, it is as if there had been none.
  await home.send(roomId, draft.member(alice, carol, 'leave'));
  assert.deepEqual(await listed(client(carol)), []);
});
