import assert from 'node:assert/strict';
import { test } from 'node:test';
import { redactPdu } from '../../server/matrix/events/redact.ts';
import { type RoomId, type ServerName, serverNameOf, type UserId } from '../../server/matrix/identifiers.ts';
import type { PersistedEvent } from '../../server/rooms/types.ts';
import {
  alice,
  AWAY,
  bob,
  dora,
  draft,
  HOME,
  type Household,
  household,
  receive,
  remoteEvent,
  userId,
} from './room-kit.ts';

const emil = userId('@emil:away.test');

/** The newest event of a room, for others to follow. */
function latest({ rooms }: Household, roomId: RoomId): PersistedEvent {
  const event = rooms.timeline.findLatest(roomId);
  assert.ok(event !== undefined);
  return event;
}

/** A membership that a user of the other server sets. */
function moves(home: Household, roomId: RoomId, who: UserId, membership: string): Promise<PersistedEvent> {
  return receive(
    home,
    remoteEvent(home, roomId, draft.member(who, who, membership), { after: [latest(home, roomId)] }),
  );
}

/** Alice says something. */
function say(home: Household, roomId: RoomId, body: string): Promise<PersistedEvent> {
  return home.send(roomId, draft.message(alice, body));
}

/** Which of the events the server sees whole; that the others are redacted, and all in their order, is checked. */
function whole({ rooms }: Household, server: ServerName, events: readonly PersistedEvent[]): unknown[] {
  const shown = rooms.serverVisibility.show(server, events);
  assert.deepEqual(
    shown.map(({ eventId }) => eventId),
    events.map(({ eventId }) => eventId),
  );
  return shown.flatMap((event, index) => {
    const original = events[index];
    assert.ok(original !== undefined);
    if (event.pdu === original.pdu) return [event.content['body'] ?? event.type];
    assert.deepEqual(event.pdu, redactPdu(original.pdu, original.version));
    assert.deepEqual(event.content, event.pdu['content']);
    return [];
  });
}

/** Messages from before the other server came, from when its user was invited, joined, and after it left. */
async function stages(
  home: Household,
  visibility: string | undefined,
): Promise<{ roomId: RoomId; said: PersistedEvent[] }> {
  const roomId = await home.createRoom({ version: '10', ...(visibility === undefined ? {} : { visibility }) });
  const said = [await say(home, roomId, 'before')];
  await home.send(roomId, draft.member(alice, dora, 'invite'));
  said.push(await say(home, roomId, 'invited'));
  await moves(home, roomId, dora, 'join');
  said.push(await say(home, roomId, 'joined'));
  await moves(home, roomId, dora, 'leave');
  said.push(await say(home, roomId, 'left'));
  return { roomId, said };
}

test('a server is in a room as long as one of its users is', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom();
  const isIn = (server: ServerName): boolean => home.rooms.serverVisibility.isInRoom(server, roomId);
  assert.deepEqual([isIn(HOME), isIn(AWAY)], [true, false]);
  await home.send(roomId, draft.member(alice, emil, 'invite'));
  assert.equal(isIn(AWAY), false);
  await moves(home, roomId, dora, 'join');
  await moves(home, roomId, emil, 'join');
  assert.equal(isIn(AWAY), true);
  await moves(home, roomId, dora, 'leave');
  assert.equal(isIn(AWAY), true);
  await moves(home, roomId, emil, 'leave');
  assert.equal(isIn(AWAY), false);
  const reopened = await home.reopen();
  assert.equal(reopened.rooms.serverVisibility.isInRoom(AWAY, roomId), false);
  assert.equal(reopened.rooms.serverVisibility.isInRoom(HOME, roomId), true);
});

for (const [visibility, whileThere, whenBack] of [
  ['world_readable', ['before', 'invited', 'joined', 'left'], ['before', 'invited', 'joined', 'left']],
  ['shared', ['joined'], ['before', 'invited', 'joined', 'left']],
  [undefined, ['joined'], ['before', 'invited', 'joined', 'left']],
  ['invited', ['invited', 'joined'], ['invited', 'joined']],
  ['joined', ['joined'], ['joined']],
] as const) {
  test(`where history is ${visibility ?? 'not said to be'} visible, a server sees what its users may`, async (t) => {
    const home = household(t);
    const { roomId, said } = await stages(home, visibility);
    assert.deepEqual(whole(home, AWAY, said), whileThere, 'of a room it has left');
    // In any order, each on its own, and all over again: what was found out about one state must not colour another.
    assert.deepEqual(whole(home, AWAY, said.toReversed()).toReversed(), whileThere);
    assert.deepEqual(
      said.flatMap((event) => whole(home, AWAY, [event])),
      whileThere,
    );
    assert.deepEqual(whole(home, HOME, said), ['before', 'invited', 'joined', 'left']);
    await moves(home, roomId, emil, 'join');
    assert.deepEqual(whole(home, AWAY, said), whenBack, 'of a room it is in');
    assert.deepEqual(whole(home, AWAY, said.toReversed()).toReversed(), whenBack);
  });
}

for (const others of [0, 60]) {
  test(`one user of a server with ${others} others taking over from another leaves no gap in what it sees`, async (t) => {
    const home = household(t);
    const bans = Array.from({ length: others }, (_, index) =>
      draft.member(alice, userId(`@x${index}:away.test`), 'ban'),
    );
    const roomId = await home.createRoom({ version: '10', visibility: 'joined', more: bans });
    const said: PersistedEvent[] = [];
    const speak = async (body: string): Promise<void> => void said.push(await say(home, roomId, body));
    await speak('nobody');
    await moves(home, roomId, dora, 'join');
    await speak('dora');
    await moves(home, roomId, emil, 'join');
    await speak('both');
    await moves(home, roomId, dora, 'leave');
    await speak('emil');
    await moves(home, roomId, emil, 'leave');
    await speak('nobody again');
    await moves(home, roomId, dora, 'join');
    await speak('dora again');
    const expected = ['dora', 'both', 'emil', 'dora again'];
    assert.deepEqual(whole(home, AWAY, said), expected);
    for (let turn = 1; turn < said.length; turn += 1) {
      const rotated = [...said.slice(turn), ...said.slice(0, turn)];
      assert.deepEqual(new Set(whole(home, AWAY, rotated)), new Set(expected));
    }
  });
}

test('a change of visibility is seen by those who see what lies on either side of it', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom({ version: '10', visibility: 'world_readable' });
  const set = (visibility: string): Promise<PersistedEvent> =>
    home.send(roomId, draft.state(alice, 'm.room.history_visibility', { history_visibility: visibility }));
  const topic = (text: string): Promise<PersistedEvent> =>
    home.send(roomId, draft.state(alice, 'm.room.topic', { topic: text }));
  const closing = await set('joined');
  const hidden = await topic('hidden');
  const narrowing = await set('invited');
  const opening = await set('world_readable');
  const open = await topic('open');
  const events = [closing, hidden, narrowing, opening, open];
  const seen = ['m.room.history_visibility', 'm.room.history_visibility', 'm.room.topic'];
  assert.deepEqual(whole(home, AWAY, events), seen);
  const shown = home.rooms.serverVisibility.show(AWAY, events);
  assert.deepEqual(
    events.filter((event, index) => shown[index] === event),
    [closing, opening, open],
  );
});

test('a server sees what its own users wrote, and what was done to them', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom({ version: '10', visibility: 'joined' });
  const join = await moves(home, roomId, dora, 'join');
  const spoken = await receive(
    home,
    remoteEvent(home, roomId, draft.message(dora, 'from afar'), { after: [latest(home, roomId)] }),
  );
  const kick = await home.send(roomId, draft.member(alice, dora, 'leave', { reason: 'rude' }));
  const ban = await home.send(roomId, draft.member(alice, dora, 'ban', { reason: 'very rude' }));
  const byOthers = await home.send(roomId, draft.member(bob, bob, 'join', { displayname: 'Bob' }));
  assert.deepEqual(whole(home, AWAY, [join, spoken, kick]), ['m.room.member', 'from afar', 'm.room.member']);
  assert.deepEqual(whole(home, AWAY, [ban, byOthers]), []);
});

test('whoever is in a room gets whole what its rules rest on', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom({
    version: '10',
    visibility: 'joined',
    more: [
      draft.state(alice, 'm.room.power_levels', { users: { [alice]: 100 }, invite: 50, notifications: { room: 99 } }),
    ],
  });
  const levels = home.rooms.state.findCurrent(roomId, 'm.room.power_levels', '');
  const topic = await home.send(roomId, draft.state(alice, 'm.room.topic', { topic: 'Soup' }));
  assert.ok(levels !== undefined);
  assert.deepEqual(whole(home, AWAY, [levels, topic]), []);
  await moves(home, roomId, dora, 'join');
  assert.deepEqual(whole(home, AWAY, [levels, topic]), ['m.room.power_levels']);
});

test('what somebody said who had their account erased is whole to no other server', async (t) => {
  const erased = new Set<UserId>();
  const home = household(t, { isErased: (user) => erased.has(user) });
  const roomId = await home.createRoom({ version: '10', visibility: 'world_readable' });
  const before = await say(home, roomId, 'before');
  await moves(home, roomId, dora, 'join');
  const after = await say(home, roomId, 'after');
  assert.deepEqual(whole(home, AWAY, [before, after]), ['before', 'after']);
  erased.add(alice);
  assert.deepEqual(whole(home, AWAY, [before, after]), []);
});

test('events of several rooms are each seen by the rules of their own', async (t) => {
  const home = household(t);
  const open = await home.createRoom({ version: '10', visibility: 'world_readable' });
  const closed = await home.createRoom({ version: '10', visibility: 'joined' });
  const events: PersistedEvent[] = [];
  for (const room of [open, closed, open, closed]) events.push(await say(home, room, room));
  assert.deepEqual(whole(home, AWAY, events), [open, open]);
  await moves(home, closed, dora, 'join');
  events.push(await say(home, closed, 'now'));
  assert.deepEqual(whole(home, AWAY, events), [open, open, 'now']);
});

test('events kept to check others are shown to members of the room, as far as they are state', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom({ version: '10' });
  const after = [latest(home, roomId)];
  const asOutlier = async (event: Parameters<typeof remoteEvent>[2]): Promise<PersistedEvent> => {
    const acceptance = await home.rooms.inbox.accept(remoteEvent(home, roomId, event, { after }).pdu, {
      as: 'outlier',
    });
    assert.ok(acceptance.kind === 'stored' && acceptance.event.outlier);
    return acceptance.event;
  };
  const join = await asOutlier(draft.member(dora, dora, 'join', { displayname: 'Dora' }));
  const third = userId('@theo:third.test');
  const server = home.rooms.serverVisibility;
  const [shown] = server.show(AWAY, [join]);
  assert.equal(shown?.content['displayname'], 'Dora', 'it is their own');
  const [toOthers] = server.show(serverNameOf(third), [join]);
  assert.deepEqual(toOthers?.content, { membership: 'join' });
  const [toMembers] = server.show(HOME, [join]);
  assert.equal(toMembers?.content['displayname'], 'Dora');
});
