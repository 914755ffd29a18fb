import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomId, UserId } from '../../server/matrix/identifiers.ts';
import type { PersistedEvent } from '../../server/rooms/types.ts';
import { alice, bob, bodies, carol, dora, draft, type Household, household, receive, remoteEvent } from './room-kit.ts';

const SETTINGS = ['world_readable', 'shared', 'invited', 'joined'] as const;

/** Something is said at every stage of Bob's acquaintance with the room. */
async function tell(home: Household, visibility: string): Promise<{ roomId: RoomId; said: PersistedEvent[] }> {
  const roomId = await home.createRoom({ visibility, joinRule: 'public' });
  const said: PersistedEvent[] = [];
  const say = async (body: string): Promise<void> => {
    said.push(await home.send(roomId, draft.message(alice, body)));
  };
  await say('before');
  await home.send(roomId, draft.member(alice, bob, 'invite'));
  await say('invited');
  await home.send(roomId, draft.member(bob, bob, 'join'));
  await say('joined');
  await home.send(roomId, draft.member(bob, bob, 'leave'));
  await say('left');
  return { roomId, said };
}

const SEEN_WHILE_AWAY: Readonly<Record<(typeof SETTINGS)[number], readonly string[]>> = {
  world_readable: ['before', 'invited', 'joined', 'left'],
  shared: ['before', 'invited', 'joined'],
  invited: ['invited', 'joined'],
  joined: ['joined'],
};

for (const visibility of SETTINGS) {
  test(`${visibility}: whoever has left sees what was theirs to see before they left`, async (t) => {
    const home = household(t);
    const { said } = await tell(home, visibility);
    assert.deepEqual(bodies(home.rooms.visibility.filterVisible(bob, said)), SEEN_WHILE_AWAY[visibility]);
    for (const event of said) {
      const isSeen = SEEN_WHILE_AWAY[visibility].some((body) => body === event.content['body']);
      assert.equal(home.rooms.visibility.canSee(bob, event), isSeen);
    }
  });

  test(`${visibility}: whoever comes back sees what was said meanwhile only if it was shared`, async (t) => {
    const home = household(t);
    const { roomId, said } = await tell(home, visibility);
    await home.send(roomId, draft.member(bob, bob, 'join'));
    said.push(await home.send(roomId, draft.message(alice, 'back')));
    const seen = bodies(home.rooms.visibility.filterVisible(bob, said));
    const isOpen = visibility === 'shared' || visibility === 'world_readable';
    const expected = isOpen ? said.map(({ content }) => content['body']) : [...SEEN_WHILE_AWAY[visibility], 'back'];
    assert.deepEqual(seen, expected);
  });

  test(`${visibility}: strangers see only what all the world may read`, async (t) => {
    const home = household(t);
    const { said } = await tell(home, visibility);
    const seen = bodies(home.rooms.visibility.filterVisible(carol, said));
    assert.deepEqual(seen, visibility === 'world_readable' ? said.map(({ content }) => content['body']) : []);
  });

  test(`${visibility}: one's own coming and going is always visible, and that of others when it happened in sight`, async (t) => {
    const home = household(t);
    const { roomId } = await tell(home, visibility);
    const { events } = home.rooms.timeline.page({ roomId, from: undefined, direction: 'f', limit: 100 });
    const seen = home.rooms.visibility
      .filterVisible(bob, events)
      .filter((event) => event.type === 'm.room.member' && event.stateKey === bob)
      .map(({ content }) => content['membership']);
    // The invitation counts by the membership after it, which only `invited` (or more) makes a right to see.
    assert.deepEqual(seen, visibility === 'joined' ? ['join', 'leave'] : ['invite', 'join', 'leave']);
  });
}

test('nothing set, or nothing sensible, means shared', async (t) => {
  for (const visibility of [undefined, 'whatever', '']) {
    const home = household(t);
    const roomId = await home.createRoom(visibility === undefined ? {} : { visibility });
    const early = await home.send(roomId, draft.message(alice, 'early'));
    assert.ok(!home.rooms.visibility.canSee(bob, early));
    await home.send(roomId, draft.member(bob, bob, 'join'));
    assert.ok(home.rooms.visibility.canSee(bob, early));
  }
});

test('what counts is the setting when it was said, and changes of the setting are seen from either side', async (t) => {
  const home = household(t);
  const { visibility } = home.rooms;
  const roomId = await home.createRoom({ visibility: 'world_readable' });
  const set = (value: string) =>
    home.send(roomId, draft.state(alice, 'm.room.history_visibility', { history_visibility: value }));
  const open = await home.send(roomId, draft.message(alice, 'open'));
  const closing = await set('joined');
  const closed = await home.send(roomId, draft.message(alice, 'closed'));
  const stillClosed = await set('invited');
  const opening = await set('world_readable');
  const reopened = await home.send(roomId, draft.message(alice, 'reopened'));
  assert.deepEqual(
    [open, closing, closed, stillClosed, opening, reopened].map((event) => visibility.canSee(carol, event)),
    [true, true, false, false, true, true],
  );
});

test('soft-failed and rejected events are seen by nobody', async (t) => {
  const home = household(t);
  const { visibility } = home.rooms;
  const roomId = await home.createRoom({ visibility: 'world_readable' });
  const start = home.rooms.timeline.findLatest(roomId);
  assert.ok(start);
  const joined = await receive(home, remoteEvent(home, roomId, draft.member(dora, dora, 'join'), { after: [start] }));
  const ban = await home.send(roomId, draft.member(alice, dora, 'ban'));
  const late = await receive(home, remoteEvent(home, roomId, draft.message(dora, 'late'), { after: [joined] }));
  const wrong = await receive(home, remoteEvent(home, roomId, draft.message(dora, 'wrong'), { after: [ban] }));
  assert.deepEqual([late.verdict, wrong.verdict], ['soft-failed', 'rejected']);
  for (const user of [alice, carol]) assert.deepEqual(visibility.filterVisible(user, [late, wrong]), []);
});

test('how one may read a room follows from what one is in it', async (t) => {
  const home = household(t);
  const { visibility, members } = home.rooms;
  const closed = await home.createRoom({ visibility: 'shared' });
  const kind = (user: UserId, roomId: RoomId) => visibility.accessOf(user, roomId)?.kind;
  assert.equal(kind(alice, closed), 'joined');
  assert.equal(kind(bob, closed), undefined);
  await home.send(closed, draft.member(alice, bob, 'invite'));
  assert.equal(kind(bob, closed), undefined);
  // Whoever declines was never in it.
  await home.send(closed, draft.member(bob, bob, 'leave'));
  assert.equal(kind(bob, closed), undefined);
  await home.send(closed, draft.member(bob, bob, 'join'));
  assert.equal(kind(bob, closed), 'joined');
  const banned = await home.send(closed, draft.member(alice, bob, 'ban'));
  const access = visibility.accessOf(bob, closed);
  assert.ok(access?.kind === 'left');
  assert.equal(access.member.position, banned.position);
  home.db.write((tx) => members.forget(tx, closed, bob));
  assert.equal(kind(bob, closed), undefined);

  const open = await home.createRoom({ visibility: 'world_readable' });
  assert.equal(kind(carol, open), 'peek');
  await home.send(open, draft.member(carol, carol, 'join'));
  await home.send(open, draft.member(carol, carol, 'leave'));
  assert.equal(kind(carol, open), 'left');
  home.db.write((tx) => members.forget(tx, open, carol));
  assert.equal(kind(carol, open), 'peek');
});

test('what an erased user said stays whole only for those who were there', async (t) => {
  const erased = new Set<UserId>();
  const home = household(t, { isErased: (user) => erased.has(user) });
  const { visibility } = home.rooms;
  const roomId = await home.createRoom();
  await home.send(roomId, draft.member(bob, bob, 'join'));
  const said = await home.send(roomId, draft.message(bob, 'My secret'));
  await home.send(roomId, draft.member(carol, carol, 'join'));
  erased.add(bob);
  const contentFor = (user: UserId) => visibility.filterVisible(user, [said])[0]?.content;
  assert.deepEqual(contentFor(alice), said.content);
  assert.deepEqual(contentFor(bob), said.content);
  assert.deepEqual(contentFor(carol), {});
  assert.deepEqual(visibility.filterVisible(carol, [said])[0]?.pdu['content'], {});
});
