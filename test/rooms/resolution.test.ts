import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { StateMap } from '../../server/matrix/events/event.ts';
import { authChainDifferenceByWalking } from '../../server/matrix/state-resolution/event-source.ts';
import { resolveState } from '../../server/matrix/state-resolution/resolve.ts';
import type { PersistedEvent, RoomState } from '../../server/rooms/types.ts';
import { alice, dora, draft, type Household, household, receive, remoteEvent, userId, versionOf } from './room-kit.ts';

const frank = userId('@frank:away.test');
const erin = userId('@erin:away.test');
const people = [dora, frank, erin];

/** Something one of the others does, somewhere in the graph. */
const deed = fc.record({
  who: fc.constantFrom(...people),
  whom: fc.constantFrom(...people),
  what: fc.constantFrom('topic', 'slot', 'ban', 'kick', 'invite', 'join', 'leave', 'levels', 'rules', 'message'),
  number: fc.nat(60),
  /** How far back it branches off, and whether it follows two events. */
  back: fc.nat(6),
  joint: fc.boolean(),
});
type Deed = typeof deed extends fc.Arbitrary<infer Value> ? Value : never;

function draftOf({ who, whom, what, number }: Deed, hasCreatorLevels: boolean) {
  switch (what) {
    case 'topic':
      return draft.state(who, 'm.room.topic', { topic: `${number}` });
    case 'slot':
      return draft.state(who, 'org.example.slot', { number }, `${number % 3}`);
    case 'ban':
      return draft.member(who, whom, 'ban');
    case 'kick':
      return draft.member(who, whom, 'leave');
    case 'invite':
      return draft.member(who, whom, 'invite');
    case 'join':
      return draft.member(who, who, 'join', { displayname: `${number}` });
    case 'leave':
      return draft.member(who, who, 'leave');
    case 'levels':
      return draft.state(who, 'm.room.power_levels', {
        users: { ...(hasCreatorLevels ? { [alice]: 100 } : {}), [dora]: 60, [whom]: number },
      });
    case 'rules':
      return draft.state(who, 'm.room.join_rules', { join_rule: number % 2 === 0 ? 'public' : 'invite' });
    default:
      return draft.message(who, `${number}`);
  }
}

/** What the whole states resolve to, with nothing left out. */
function resolveWhole({ rooms }: Household, version: string, events: readonly PersistedEvent[]): StateMap {
  const get = (id: PersistedEvent['eventId']): PersistedEvent | undefined => rooms.events.findEvent(id);
  return resolveState({
    version: versionOf(version),
    stateSets: events.map(({ eventId }) => toMap(rooms.state.stateAfter(eventId))),
    source: {
      get,
      authChainDifference: authChainDifferenceByWalking(get),
      isRejected: (id) => get(id)?.verdict === 'rejected',
    },
  });
}

function toMap(state: RoomState | undefined): StateMap {
  return new Map(state?.entries() ?? []);
}

for (const version of ['1', '2', '10', '12']) {
  test(`version ${version}: looking only at what differs gives the same state as looking at everything`, async (t) => {
    let forks = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(deed, { minLength: 6, maxLength: 20 }), async (deeds) => {
        const home = household(t);
        const { rooms } = home;
        const hasCreatorLevels = !versionOf(version).privilegedCreators;
        const roomId = await home.createRoom({ version });
        const start = rooms.timeline.findLatest(roomId);
        assert.ok(start);
        const graph: PersistedEvent[] = [start];
        for (const user of people) {
          const after = graph.at(-1);
          assert.ok(after);
          graph.push(
            await receive(home, remoteEvent(home, roomId, draft.member(user, user, 'join'), { after: [after] })),
          );
        }
        const users = { ...(hasCreatorLevels ? { [alice]: 100 } : {}), [dora]: 60, [frank]: 50 };
        graph.push(await home.send(roomId, draft.state(alice, 'm.room.power_levels', { users })));
        for (const done of deeds) {
          const one = graph.at(-1 - Math.min(done.back, graph.length - 5));
          const other = graph.at(-1);
          assert.ok(one && other);
          const after = done.joint && one !== other ? [one, other] : [one];
          home.clock.setWallClock(home.clock.now() + 10);
          const acceptance = await rooms.inbox.accept(
            remoteEvent(home, roomId, draftOf(done, hasCreatorLevels), { after }).pdu,
          );
          if (acceptance.kind === 'stored') graph.push(acceptance.event);
        }
        const last = await home.send(roomId, draft.message(alice, 'so be it'));
        const ends = rooms.events.listEvents(last.prevEvents);
        if (ends.length > 1) forks += 1;
        assert.deepEqual(toMap(rooms.state.stateBefore(last.eventId)), resolveWhole(home, version, ends));
        assert.deepEqual(rooms.checkConsistency(), []);
      }),
      { numRuns: 25 },
    );
    assert.ok(forks > 5, 'the stories do fork');
  });
}
