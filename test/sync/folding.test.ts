import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { EventId, RoomId, UserId } from '../../server/matrix/identifiers.ts';
import { MatrixError } from '../../server/matrix/errors.ts';
import type { StreamPosition } from '../../server/storage/types.ts';
import { alice, bob, carol, dora, draft, remoteEvent } from '../rooms/room-kit.ts';
import { ModelClient, openRealHousehold, type RealHousehold } from './real-rooms.ts';

const people = [alice, bob, carol] as const;
type Step =
  | {
      readonly kind: 'say' | 'topic' | 'name' | 'join' | 'leave' | 'rename';
      readonly room: number;
      readonly who: UserId;
    }
  | { readonly kind: 'invite' | 'kick' | 'ban'; readonly room: number; readonly who: UserId; readonly whom: UserId }
  | { readonly kind: 'visibility'; readonly room: number; readonly value: string }
  | { readonly kind: 'fork'; readonly room: number; readonly back: number; readonly state: boolean }
  | { readonly kind: 'sync'; readonly limit: number };

const room = fc.nat({ max: 1 });
const who = fc.constantFrom<UserId>(...people);
const linear = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constantFrom('say', 'topic', 'name', 'rename'), room, who }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom('join', 'leave'), room, who }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('invite', 'kick', 'ban'), room, who, whom: who }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('visibility'),
      room,
      value: fc.constantFrom('shared', 'joined', 'invited', 'world_readable'),
    }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('sync'), limit: fc.integer({ min: 1, max: 6 }) }) },
) as fc.Arbitrary<Step>;
const fork = fc.record({
  kind: fc.constant('fork'),
  room,
  back: fc.nat({ max: 6 }),
  state: fc.boolean(),
}) as fc.Arbitrary<Step>;

async function play(
  home: RealHousehold,
  rooms: readonly RoomId[],
  step: Exclude<Step, { kind: 'sync' }>,
): Promise<void> {
  const roomId = rooms[step.room];
  assert.ok(roomId !== undefined);
  home.clock.setWallClock(home.clock.now() + 1_000);
  if (step.kind === 'fork') return playFork(home, roomId, step);
  const event = draftOf(step, home.clock.now());
  try {
    await home.rooms.sender.send({ ...event, roomId });
  } catch (error) {
    // Whoever is out may not speak, and so on: a refusal is part of life.
    if (!(error instanceof MatrixError && error.errcode === 'M_FORBIDDEN')) throw error;
  }
}

function draftOf(step: Exclude<Step, { kind: 'sync' | 'fork' }>, now: number): ReturnType<typeof draft.message> {
  switch (step.kind) {
    case 'say':
      return draft.message(step.who, `at ${now}`);
    case 'topic':
      return draft.state(step.who, 'm.room.topic', { topic: `at ${now}` });
    case 'name':
      return draft.state(step.who, 'm.room.name', { name: `at ${now}` });
    case 'join':
      return draft.member(step.who, step.who, 'join');
    case 'rename':
      return draft.member(step.who, step.who, 'join', { displayname: `at ${now}` });
    case 'leave':
      return draft.member(step.who, step.who, 'leave');
    case 'invite':
      return draft.member(step.who, step.whom, 'invite');
    case 'kick':
      return draft.member(step.who, step.whom, 'leave');
    case 'ban':
      return draft.member(step.who, step.whom, 'ban');
    case 'visibility':
      return draft.state(alice, 'm.room.history_visibility', { history_visibility: step.value });
  }
}

/** Dora's server had not heard of the last few events when it sent this. */
async function playFork(home: RealHousehold, roomId: RoomId, { back, state }: Step & { kind: 'fork' }): Promise<void> {
  const { events } = home.rooms.timeline.page({ roomId, from: undefined, direction: 'b', limit: back + 1 });
  const after = events.at(-1);
  if (after === undefined) return;
  const now = home.clock.now();
  const event = state
    ? draft.state(dora, 'm.room.topic', { topic: `of Dora at ${now}` })
    : draft.message(dora, `of Dora at ${now}`);
  await home.rooms.inbox.accept(remoteEvent(home.kit, roomId, event, { after: [after] }).pdu);
}

/** Bob follows what happens, syncing now and then; whatever he has made of it has to be what a new client is told. */
async function follow(steps: readonly Step[], stateAfter: boolean): Promise<void> {
  const home = openRealHousehold();
  try {
    const rooms = [
      await home.createRoom(alice, { name: 'One' }),
      await home.createRoom(alice, { visibility: 'joined' }),
    ];
    for (const roomId of rooms) await home.rooms.sender.send({ ...draft.member(bob, bob, 'join'), roomId });
    for (const roomId of rooms) {
      const [latest] = home.rooms.timeline.page({ roomId, from: undefined, direction: 'b', limit: 1 }).events;
      assert.ok(latest !== undefined);
      await home.rooms.inbox.accept(
        remoteEvent(home.kit, roomId, draft.member(dora, dora, 'join'), { after: [latest] }).pdu,
      );
    }
    const query = stateAfter ? { use_state_after: true } : {};
    const client = new ModelClient();
    const sync = async (limit: number): Promise<void> => {
      const filter = { room: { timeline: { limit } } };
      const since = client.since === undefined ? {} : { since: client.since };
      const heard = client.accept(await home.syncAs(bob, { ...query, ...since, filter }));
      checkHeard(home, client, heard as EventId[]);
    };
    await sync(3);
    for (const step of steps) {
      if (step.kind === 'sync') await sync(step.limit);
      else await play(home, rooms, step);
    }
    await sync(4);

    const anew = new ModelClient();
    anew.accept(await home.syncAs(bob, query));
    for (const roomId of rooms) {
      const place = client.places.get(roomId);
      assert.equal(place === 'leave' ? undefined : place, anew.places.get(roomId), 'the place of the room');
      if (place !== 'join') continue;
      const current = new Map(
        [...home.rooms.state.currentState(roomId).entries()].map(([key, eventId]) => [key.replace('\0', '/'), eventId]),
      );
      assert.deepEqual(sorted(anew.states.get(roomId)), sorted(current), 'what a new client is told');
      assert.deepEqual(sorted(client.states.get(roomId)), sorted(current), 'what the old client makes of it');
    }
    checkComplete(home, client, rooms);
  } finally {
    await home.db.close();
  }
}

/** Nothing comes twice, and nothing is shown that may neither be seen nor is part of the state. */
function checkHeard(home: RealHousehold, client: ModelClient, heard: readonly EventId[]): void {
  for (const timeline of client.timelines.values()) {
    assert.equal(new Set(timeline).size, timeline.length, 'an event came twice');
  }
  for (const event of home.rooms.events.listEvents(heard)) {
    const { roomId, type, stateKey, eventId } = event;
    const isOwn = type === 'm.room.member' && stateKey === bob;
    const isKnown = stateKey !== undefined && home.rooms.state.findCurrent(roomId, type, stateKey)?.eventId === eventId;
    const wasKnown = stateKey !== undefined && client.places.get(roomId) === 'leave';
    if (isOwn || isKnown || wasKnown) continue;
    assert.ok(home.rooms.visibility.canSee(bob, event), 'an event was not for them');
  }
}

/** Where there was no gap, everything that may be seen was told. */
function checkComplete(home: RealHousehold, client: ModelClient, rooms: readonly RoomId[]): void {
  for (const roomId of rooms) {
    const timeline = client.timelines.get(roomId) ?? [];
    const first = home.rooms.events.findEvent(timeline[0] as EventId);
    if (first === undefined || client.places.get(roomId) !== 'join') continue;
    const since = (first.position - 1) as StreamPosition;
    const now = home.db.position();
    const { events } = home.rooms.timeline.since({ roomId, since, now, limit: 500 });
    for (const event of events) {
      if (home.rooms.visibility.canSee(bob, event))
        assert.ok(timeline.includes(event.eventId), 'an event was never told');
    }
  }
}

function sorted(map: ReadonlyMap<string, string> | undefined): [string, string][] {
  return [...(map ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
}

test('whoever follows by increments, however they are cut, knows what a new client is told', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(linear, { maxLength: 40 }), (steps) => follow(steps, false)),
    { numRuns: 80 },
  );
});

test('the same holds with state after the timeline, and where other servers fork the room', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof({ weight: 4, arbitrary: linear }, { weight: 1, arbitrary: fork }), { maxLength: 40 }),
      (steps) => follow(steps, true),
    ),
    { numRuns: 80 },
  );
});
