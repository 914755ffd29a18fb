import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { splitStateKey, type RoomEvent, type StateMap, stateKeyOf } from '../../server/matrix/events/event.ts';
import { authChainDifferenceByWalking } from '../../server/matrix/state-resolution/event-source.ts';
import { resolveState } from '../../server/matrix/state-resolution/resolve.ts';
import { ChainCover } from '../../server/rooms/chain-cover.ts';
import { EventStore } from '../../server/rooms/event-store.ts';
import { RoomHeads } from '../../server/rooms/extremities.ts';
import { StateResolver } from '../../server/rooms/resolution.ts';
import { migrations } from '../../server/rooms/schema.ts';
import { EMPTY_STATE, type StateGroupId, StateGroups } from '../../server/rooms/state-groups.ts';
import { openDatabase } from '../../server/storage/database.ts';
import type { Database } from '../../server/storage/types.ts';
import { silentLogger } from '../../server/util/log.ts';
import { currentState, message, PeerRoom, pdusOf, state } from './peer-room.ts';
import { AWAY, dora, fred, house } from './remote-kit.ts';

/** A resolver with what it stands on. */
interface Workshop {
  readonly db: Database;
  readonly resolver: StateResolver;
  /** Stores a state. */
  readonly put: (map: StateMap) => StateGroupId;
  readonly read: (group: StateGroupId) => StateMap;
  readonly countNodes: () => number;
  /** The same database with nothing kept in memory. */
  readonly again: () => Workshop;
}

/** `msPerLook`: how much time passes each time somebody looks at the clock. */
function workshop(t: TestContext, room: PeerRoom, { msPerLook = 0 }: { msPerLook?: number } = {}): Workshop {
  const db = openDatabase({ path: ':memory:', migrations: [migrations], log: silentLogger });
  t.after(() => db.close());
  let now = 0;
  const clock = { monotonic: () => (now += msPerLook) };
  const open = (): Workshop => {
    const heads = new RoomHeads(db);
    const cover = new ChainCover({ db, log: silentLogger });
    const events = new EventStore({ db, rooms: heads, cover });
    const groups = new StateGroups({ db });
    db.write((tx) => {
      const head = heads.find(room.roomId) ?? heads.insert(tx, room.roomId, room.version);
      for (const event of room.events.values()) {
        if (events.findNid(event.eventId) !== undefined) continue;
        events.insert(tx, head.nid, event, {
          position: tx.nextPosition(),
          receivedTs: 0,
          verdict: 'accepted',
          outlier: true,
          timeline: 'none',
          stateBefore: undefined,
          stateAfter: undefined,
          replaces: undefined,
        });
      }
    });
    const nodes = db.prepareRead<{ n: number }>('SELECT count(*) AS n FROM state_nodes');
    return {
      db,
      resolver: new StateResolver({ db, clock, groups, events, cover }),
      put: (map) =>
        db.write((tx) =>
          groups.change(
            tx,
            EMPTY_STATE,
            [...map].map(([key, id]) => ({ ...splitStateKey(key), eventNid: events.findNid(id) })),
          ),
        ),
      read: (group) =>
        new Map(groups.list(group).map(([type, key, nid]) => [stateKeyOf(type, key), events.eventIdOf(nid)])),
      countNodes: () => nodes.find()?.n ?? 0,
      again: open,
    };
  };
  return open();
}

function start(room: PeerRoom): RoomEvent {
  const last = room.base.at(-1);
  assert(last);
  return last;
}

/** The state after the beginning of the room with these events put over it. */
function withEvents(room: PeerRoom, events: readonly RoomEvent[]): StateMap {
  const map = new Map(room.stateAfter(start(room)));
  for (const event of events) map.set(stateKeyOf(event.type, event.stateKey ?? ''), event.eventId);
  return map;
}

/** Two states that differ in `contested` keys. */
function forked(room: PeerRoom, contested: number): [StateMap, StateMap] {
  const side = (who: typeof dora): StateMap =>
    withEvents(
      room,
      Array.from({ length: contested }, (_, n) =>
        room.add(state(who, 'org.example.slot', { who, n }, `${n}`), { after: [start(room)] }),
      ),
    );
  return [side(dora), side(fred)];
}

function wholly(room: PeerRoom, stateSets: readonly StateMap[]): StateMap {
  const get = (id: RoomEvent['eventId']): RoomEvent | undefined => room.events.get(id);
  const source = { get, authChainDifference: authChainDifferenceByWalking(get), isRejected: () => false };
  return resolveState({ version: room.version, stateSets, source });
}

/** How many turns the event loop makes until `work` is done. */
async function countTurns(work: Promise<unknown>): Promise<number> {
  let turns = 0;
  let isDone = false;
  const turn = (): void => {
    turns += 1;
    if (!isDone) setImmediate(turn);
  };
  setImmediate(turn);
  await work;
  isDone = true;
  return turns;
}

test('a small difference is resolved at once, a large one not before it was prepared', async (t) => {
  const room = new PeerRoom('11');
  const large = forked(room, 400);
  const { resolver, put, read, db } = workshop(t, room, { msPerLook: 1 });
  const few = put(new Map([...large[0]].slice(0, 8)));
  const fewer = put(new Map([...large[0]].slice(0, 7)));
  assert.equal(resolver.attempt(room.version, [few, fewer]), true);
  assert.equal(resolver.isHeavy(room.version, [few, fewer]), false);

  const states = large.map(put);
  assert.equal(resolver.attempt(room.version, states), false);
  assert.equal(resolver.find(room.version, states), undefined);
  assert.equal(resolver.isHeavy(room.version, states), true);
  const turns = await countTurns(resolver.prepare(room.version, states));
  assert.ok(turns > 10, `others had ${turns} turns meanwhile`);
  const found = resolver.find(room.version, states.toReversed());
  assert(found !== undefined);
  assert.equal(resolver.attempt(room.version, states), true);
  assert.equal(resolver.isHeavy(room.version, states), true, 'it is remembered what that took');
  assert.deepEqual(read(found), wholly(room, large));
  assert.equal(
    db.write((tx) => resolver.resolve(tx, room.version, states)),
    found,
  );
});

test('where nobody prepared it, a large difference is resolved all the same', (t) => {
  for (const version of ['1', '11', '12']) {
    const room = new PeerRoom(version);
    const large = forked(room, 200);
    const { resolver, put, read, db } = workshop(t, room);
    const states = large.map(put);
    const found = db.write((tx) => resolver.resolve(tx, room.version, states));
    assert.deepEqual(read(found), wholly(room, large), `version ${version}`);
    assert.equal(resolver.isResolution(room.version, states, found), true);
    assert.equal(resolver.isResolution(room.version, states, states[0] ?? found), false);
  }
});

test('several who want the same wait for one, and whoever goes away does not stop it', async (t) => {
  const room = new PeerRoom('11');
  const states = forked(room, 300);
  const { resolver, put, countNodes, again } = workshop(t, room, { msPerLook: 1 });
  const groups = states.map(put);
  const before = countNodes();
  const away = new AbortController();
  const first = resolver.prepare(room.version, groups, { signal: away.signal });
  const second = resolver.prepare(room.version, groups);
  away.abort(new Error('gone'));
  await assert.rejects(first, /gone/);
  await second;
  assert.ok(resolver.find(room.version, groups) !== undefined);
  const once = countNodes() - before;
  await again().resolver.prepare(room.version, groups);
  assert.equal(countNodes() - before, 2 * once);
});

test('a server that stops does not finish what is being prepared', async (t) => {
  const room = new PeerRoom('11');
  const states = forked(room, 300);
  const { resolver, put } = workshop(t, room, { msPerLook: 1 });
  const groups = states.map(put);
  const preparing = resolver.prepare(room.version, groups);
  resolver.stop();
  await assert.rejects(preparing, /stops/);
  await assert.rejects(resolver.prepare(room.version, groups), /stops/);
});

test('what comes to a state that is there already takes no room', (t) => {
  const room = new PeerRoom('11');
  const [left, right] = forked(room, 30);
  const { put, countNodes, again, db } = workshop(t, room);
  const beginning = put(withEvents(room, []));
  const leftGroup = put(left);
  const rightGroup = put(right);
  const resolve = (states: readonly StateGroupId[], near?: StateGroupId): StateGroupId => {
    // A resolver that remembers nothing.
    const { resolver } = again();
    return db.write((tx) => resolver.resolve(tx, room.version, states, near));
  };
  const nodes = countNodes();
  // The one state has all of the other and something more.
  assert.equal(resolve([beginning, leftGroup]), leftGroup);
  assert.equal(resolve([rightGroup, beginning]), rightGroup);
  assert.equal(countNodes(), nodes);

  const half = new Map(withEvents(room, []));
  for (const [index, [key, id]] of [...left].entries()) half.set(key, index % 2 === 0 ? id : (right.get(key) ?? id));
  const mixed = put(half);
  const resolved = resolve([leftGroup, rightGroup]);
  const after = countNodes();
  assert.equal(resolve([leftGroup, rightGroup], resolved), resolved);
  assert.equal(resolve([leftGroup, rightGroup, mixed], resolved), resolved);
  assert.equal(countNodes(), after);
});

test('sixty branches come together, and one more costs little more than itself', (t) => {
  const room = new PeerRoom('11');
  const { read, again, db } = workshop(t, room);
  const tips = Array.from({ length: 61 }, (_, n) =>
    room.add(state(n % 2 === 0 ? dora : fred, 'org.example.slot', { n }, `${n}`), { after: [start(room)] }),
  );
  const shop = again();
  const states = tips.map((tip) => shop.put(withEvents(room, [tip])));
  const resolve = ({ resolver }: Workshop, some: readonly StateGroupId[]): StateGroupId =>
    db.write((tx) => resolver.resolve(tx, room.version, some));
  const empty = shop.countNodes();
  const sixty = resolve(shop, states.slice(0, 60));
  const first = shop.countNodes() - empty;
  assert.deepEqual(shop.read(sixty), withEvents(room, tips.slice(0, 60)));

  const all = resolve(shop, states);
  const more = shop.countNodes() - empty - first;
  assert.ok(more * 2 < first, `${first} nodes, and then ${more}`);
  assert.deepEqual(shop.read(all), withEvents(room, tips));
  // Whoever resolves them all anew, and in whichever order they are told, comes to the same.
  assert.deepEqual(read(resolve(again(), states.toReversed())), withEvents(room, tips));
});

test('a resolution that was undone is not remembered', (t) => {
  const room = new PeerRoom('11');
  const states = forked(room, 10);
  const { resolver, put, read, db } = workshop(t, room);
  const groups = states.map(put);
  assert.throws(
    () =>
      db.write((tx) => {
        resolver.resolve(tx, room.version, groups);
        throw new Error('no');
      }),
    /no/,
  );
  assert.equal(resolver.find(room.version, groups), undefined);
  const found = db.write((tx) => resolver.resolve(tx, room.version, groups));
  assert.deepEqual(read(found), wholly(room, states));
});

test('events of a room whose branches differ in much are placed one by one, and right', async (t) => {
  for (const version of ['11', '12']) {
    const room = new PeerRoom(version);
    const { rooms } = house(t, () => undefined);
    await room.enter(rooms);
    const branch = (who: typeof dora, count: number): RoomEvent[] => {
      const events: RoomEvent[] = [];
      for (let n = 0; n < count; n += 1) {
        const after = [events.at(-1) ?? start(room)];
        events.push(room.add(state(who, 'org.example.slot', { who, n }, `${n}`), { after }));
      }
      return events;
    };
    const left = branch(dora, 130);
    const right = branch(fred, 130);
    const [leftEnd, rightEnd] = [left.at(-1), right.at(-1)];
    assert(leftEnd && rightEnd);
    const said = room.add(message(dora, 'on the left'), { after: [leftEnd] });
    const late = room.add(state(fred, 'm.room.topic', { topic: 'on the right' }), { after: [rightEnd] });
    const joint = room.add(message(dora, 'together'), { after: [said, late] });
    for (const some of [left, right, [said, late, joint]]) {
      for (let at = 0; at < some.length; at += 50) await rooms.taker.receive(AWAY, pdusOf(some.slice(at, at + 50)));
      await rooms.taker.idle();
    }
    assert.deepEqual(new Map(Object.entries(currentState(rooms, room.roomId))), room.stateAfter(joint));
    assert.equal(rooms.state.findCurrent(room.roomId, 'm.room.topic', '')?.eventId, late.eventId);
    const events = rooms.events.listEvents([...left, ...right].map(({ eventId }) => eventId));
    assert.equal(events.filter(({ verdict, outlier }) => verdict === 'accepted' && !outlier).length, 260);
    assert.deepEqual(rooms.checkConsistency(), []);
  }
});
