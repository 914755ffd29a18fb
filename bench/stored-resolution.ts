import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RoomEvent, splitStateKey, type StateMap, stateKeyOf } from '../server/matrix/events/event.ts';
import { isUserId, type UserId } from '../server/matrix/identifiers.ts';
import { ChainCover } from '../server/rooms/chain-cover.ts';
import { EventStore } from '../server/rooms/event-store.ts';
import { RoomHeads } from '../server/rooms/extremities.ts';
import { StateResolver } from '../server/rooms/resolution.ts';
import { migrations } from '../server/rooms/schema.ts';
import { EMPTY_STATE, type StateGroupId, StateGroups } from '../server/rooms/state-groups.ts';
import { type OpenDatabase, openDatabase } from '../server/storage/database.ts';
import { systemClock } from '../server/util/clock.ts';
import { silentLogger } from '../server/util/log.ts';
import { PeerRoom, state } from '../test/rooms/peer-room.ts';
import { dora, fred, member } from '../test/rooms/remote-kit.ts';

export const SMALL = 1_000;
export const LARGE = 10_000;
export const CONFLICTS = 100;
export const MANY_CONFLICTS = 2_000;
const RUNS = 15;
/** Events written in one go. */
const BATCH = 500;

interface StoredResolution {
  /** Resolving two stored states with a hundred conflicts, nothing kept in memory, ms (the least of several runs). */
  readonly smallMs: number;
  readonly largeMs: number;
  /** Resolving two with many conflicts in slices: all of it, and how long the event loop stood still at most, ms. */
  readonly slicedMs: number;
  readonly stallMs: number;
}

/** State resolution as the rooms do it, out of the database. */
export async function measureStoredResolution(): Promise<StoredResolution> {
  const small = await measure(SMALL, CONFLICTS, resolveAtOnce);
  const large = await measure(LARGE, CONFLICTS, resolveAtOnce);
  const sliced = await measure(LARGE, MANY_CONFLICTS, resolveInSlices);
  // Other programs hold things up as well, which is not to be told here.
  return {
    smallMs: Math.min(...small.map(({ ms }) => ms)),
    largeMs: Math.min(...large.map(({ ms }) => ms)),
    slicedMs: Math.min(...sliced.map(({ ms }) => ms)),
    stallMs: Math.min(...sliced.map(({ stallMs }) => stallMs)),
  };
}

interface Case {
  readonly db: OpenDatabase;
  readonly resolver: StateResolver;
  readonly room: PeerRoom;
  readonly states: readonly StateGroupId[];
}

interface Spent {
  readonly ms: number;
  readonly stallMs: number;
}

async function resolveAtOnce({ db, resolver, room, states }: Case): Promise<Spent> {
  const start = performance.now();
  db.write((tx) => void resolver.resolve(tx, room.version, states));
  const ms = performance.now() - start;
  await db.committed();
  return { ms, stallMs: ms };
}

async function resolveInSlices({ resolver, room, states }: Case): Promise<Spent> {
  let stallMs = 0;
  let isDone = false;
  let last = performance.now();
  const turn = (): void => {
    const now = performance.now();
    stallMs = Math.max(stallMs, now - last);
    last = now;
    if (!isDone) setImmediate(turn);
  };
  setImmediate(turn);
  const start = performance.now();
  await resolver.prepare(room.version, states);
  isDone = true;
  return { ms: performance.now() - start, stallMs };
}

async function measure(
  stateEvents: number,
  conflicts: number,
  resolve: (one: Case) => Promise<Spent>,
): Promise<readonly Spent[]> {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-bench-resolution-'));
  const db = openDatabase({ path: join(directory, 'homeserver.db'), migrations: [migrations], log: silentLogger });
  try {
    const room = new PeerRoom('11');
    const maps = makeStates(room, stateEvents, conflicts);
    const { states } = await store(db, room, maps);
    const spent: Spent[] = [];
    for (let run = 0; run < RUNS; run += 1) spent.push(await resolve({ db, room, states, ...open(db) }));
    return spent;
  } finally {
    await db.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The parts with nothing kept in memory. */
function open(db: OpenDatabase): {
  heads: RoomHeads;
  events: EventStore;
  groups: StateGroups;
  resolver: StateResolver;
} {
  const heads = new RoomHeads(db);
  const cover = new ChainCover({ db, log: silentLogger });
  const events = new EventStore({ db, rooms: heads, cover });
  const groups = new StateGroups({ db });
  return { heads, events, groups, resolver: new StateResolver({ db, clock: systemClock, groups, events, cover }) };
}

function userOf(n: number): UserId {
  const id = `@member${n}:away.test`;
  if (!isUserId(id)) throw new Error(`${id} is no user ID`);
  return id;
}

/** Two states of so many events that differ in some of them. */
function makeStates(room: PeerRoom, stateEvents: number, conflicts: number): StateMap[] {
  const start = room.base.at(-1);
  if (start === undefined) throw new Error('the room has no events');
  const common = new Map(room.stateAfter(start));
  const put = (map: Map<ReturnType<typeof stateKeyOf>, RoomEvent['eventId']>, event: RoomEvent): void => {
    map.set(stateKeyOf(event.type, event.stateKey ?? ''), event.eventId);
  };
  while (common.size < stateEvents - conflicts)
    put(common, room.add(member(userOf(common.size), 'join'), { after: [start] }));
  return [dora, fred].map((who) => {
    const side = new Map(common);
    for (let n = 0; n < conflicts; n += 1) {
      put(side, room.add(state(who, 'org.example.slot', { who }, `${n}`), { after: [start] }));
    }
    return side;
  });
}

async function store(
  db: OpenDatabase,
  room: PeerRoom,
  maps: readonly StateMap[],
): Promise<{ readonly states: readonly StateGroupId[] }> {
  const { heads, events, groups } = open(db);
  const all = [...room.events.values()];
  for (let at = 0; at < all.length; at += BATCH) {
    db.write((tx) => {
      const head = heads.find(room.roomId) ?? heads.insert(tx, room.roomId, room.version);
      for (const event of all.slice(at, at + BATCH)) {
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
    await db.committed();
  }
  let common = EMPTY_STATE;
  const states = maps.map((map) =>
    db.write((tx) => {
      common = groups.change(
        tx,
        common,
        [...map].map(([key, id]) => ({ ...splitStateKey(key), eventNid: events.findNid(id) })),
      );
      return common;
    }),
  );
  await db.committed();
  return { states };
}
