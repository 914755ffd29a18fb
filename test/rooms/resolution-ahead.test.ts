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
import { AWAY, dora, fred, house, signingKeys } from './remote-kit.ts';

/** A resolver with what it stands on. */
interface Workshop {
  readonly db: Database;
  readonly resolver: StateResolver;
  /** Stores a state. */
  put(map: StateMap): StateGroupId;
  read(group: StateGroupId): StateMap;
  countNodes(): number;
  /** The same database with nothing kept in memory. */
  again(): Workshop;
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
  const small = [large[0], withEvents(room, [])] as const;
  const { resolver, put, read, db } = workshop(t, room, { msPerLook: 1 });
  const [left, right] = large.map(put);
  assert(left !== undefined && right !== undefined);
  const few = put(new Map([...large[0]].slice(0, 8)));
  const fewer = put(new Map([...large[0]].slice(0, 7)));
  assert.equal(resolver.attempt(room.version, [few, fewer]), true);
  assert.equal(resolver.isHeavy(room.version, [few, fewer]), false);

  assert.equal(resolver.attempt(room.version, [left, right]), false);
  assert.equal(resolver.find(room.version, [left, right]), undefined);
  assert.equal(resolver.isHeavy(room.version, [left, right]), true);
  const turns = await countTurns(resolver.prepare(room.version, [left, right]));
  assert.ok(turns > 10, `others had ${turns} turns meanwhile`);
  const found = resolver.find(room.version, [right, left]);
  assert(found !== undefined);
  assert.equal(resolver.attempt(room.version, [left, right]), true);
  assert.equal(resolver.isHeavy(room.version, [left, right]), true, 'it is remembered what that took');
  assert.deepEqual(read(found), wholly(room, large));
  assert.equal(db.write((tx) => resolver.resolve(tx, room.version, [left, right])), found);
  assert.notDeepEqual(read(found), wholly(room, small));
});

test('several who want the same wait for one, and whoever goes away does not stop it', async (t) => {
  const room = new PeerRoom('11');
  const { resolver, put, countNodes } = workshop(t, room, { msPerLook: 1 });
  const fresh = workshop(t, room, { msPerLook: 1 });
  const states = forked(room, 300);
  const ready = workshop(t, room, { msPerLook: 1 });
  void resolver;
  void put;
  void countNodes;
  void fresh;
  const groups = states.map(ready.put);
  const before = ready.countNodes();
  const away = new AbortController();
  const first = ready.resolver.prepare(room.version, groups, { signal: away.signal });
  const second = ready.resolver.prepare(room.version, groups);
  away.abort(new Error('gone'));
  await assert.rejects(first, /gone/);
  await second;
  const once = ready.countNodes() - before;
  assert.ok(ready.resolver.find(room.version, groups) !== undefined);
  const alone = ready.again();
  await alone.resolver.prepare(room.version, groups);
  assert.equal(alone.countNodes() - before, 2 * once, 'only what is not known is stored again');
});
