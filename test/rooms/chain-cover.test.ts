import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import type { RoomEvent } from '../../server/matrix/events/event.ts';
import { type EventId, isEventId } from '../../server/matrix/identifiers.ts';
import {
  runToEnd,
  walkAuthChainDifference,
  walkConflictedSubgraph,
} from '../../server/matrix/state-resolution/event-source.ts';
import { AuthWalk } from '../../server/rooms/auth-walk.ts';
import { ChainCover } from '../../server/rooms/chain-cover.ts';
import { migrations } from '../../server/rooms/schema.ts';
import { type OpenDatabase, openDatabase } from '../../server/storage/database.ts';
import { silentLogger } from '../../server/util/log.ts';

/** A state event: what it holds, and by their numbers the events it rests upon. */
interface Node {
  readonly key: string;
  readonly auth: readonly number[];
}

/** Nodes with numbers from 1 on. */
type Graph = readonly Node[];

const LIMIT = 30;

/** Events that rest upon earlier ones; few keys, so that some replace others. */
const graph: fc.Arbitrary<Graph> = fc
  .array(
    fc.record({ key: fc.constantFrom('levels', 'rules', 'dora', 'erin', 'frank'), back: fc.array(fc.nat(LIMIT)) }),
    {
      minLength: 2,
      maxLength: LIMIT,
    },
  )
  .map((nodes) =>
    nodes.map(({ key, back }, index) => ({
      key,
      auth: [...new Set(back.slice(0, 4).map((step) => index - step))].filter((nid) => nid > 0),
    })),
  );
const picks = fc.array(fc.array(fc.nat(LIMIT - 1), { maxLength: 6 }), { minLength: 2, maxLength: 4 });

function openedFor(t: TestContext): OpenDatabase {
  const db = openDatabase({ path: ':memory:', migrations: [migrations], log: silentLogger });
  t.after(() => db.close());
  db.write(
    (tx) => void db.prepareWrite("INSERT INTO rooms (room_nid, room_id, version) VALUES (1, '!a:b', '1')").run(tx),
  );
  return db;
}

/** Writes events as they come in, and has them filed unless it is too early. */
class Writer {
  readonly #db: OpenDatabase;
  readonly #insert;
  readonly #link;

  constructor(db: OpenDatabase) {
    this.#db = db;
    this.#insert = db.prepareWrite(`
      INSERT INTO events (event_nid, event_id, room_nid, position, depth, origin_server_ts, received_ts, timeline, verdict,
        outlier, pdu)
      VALUES (?, ?, 1, ?, 1, 1, 1, 0, 0, 1, ?)`);
    this.#link = db.prepareWrite('INSERT OR IGNORE INTO auth_edges (event_nid, auth_nid) VALUES (?, ?)');
  }

  event(nid: number, key: string): void {
    const pdu = JSON.stringify({ type: 'org.example', state_key: key });
    this.#db.write((tx) => this.#insert.run(tx, nid, idOf(nid), nid, pdu));
  }

  edges(cover: ChainCover, nid: number, auth: readonly number[]): void {
    this.#db.write((tx) => {
      for (const authNid of auth) this.#link.run(tx, nid, authNid);
      cover.add(tx, nid, auth);
    });
  }

  all(cover: ChainCover, nodes: Graph): void {
    for (const [index, { key, auth }] of nodes.entries()) {
      this.event(index + 1, key);
      this.edges(cover, index + 1, auth);
    }
  }
}

function idOf(nid: number): EventId {
  const id = `$${nid}:b`;
  assert(isEventId(id));
  return id;
}

/** What the plain walks of the algorithm need of the events. */
function getterOf(nodes: Graph): (id: EventId) => RoomEvent | undefined {
  const events = new Map(
    nodes.map(({ auth }, index) => [idOf(index + 1), { authEvents: auth.map(idOf) } as unknown as RoomEvent]),
  );
  return (id) => events.get(id);
}

function assertSame(
  cover: Pick<ChainCover, 'difference' | 'subgraph'>,
  nodes: Graph,
  picked: readonly (readonly number[])[],
): void {
  const sets = picked.map((indices) => new Set(indices.map((index) => (index % nodes.length) + 1)));
  const get = getterOf(nodes);
  const byWalking = runToEnd(
    walkAuthChainDifference(
      get,
      sets.map((set) => [...set].map(idOf)),
    ),
  );
  assert.deepEqual(new Set([...runToEnd(cover.difference(sets))].map(idOf)), byWalking);
  const all = new Set(sets.flatMap((set) => [...set]));
  const between = runToEnd(walkConflictedSubgraph(get, new Set([...all].map(idOf))));
  assert.deepEqual(new Set([...runToEnd(cover.subgraph(all))].map(idOf)), between);
}

test('the cover tells the same of auth chains as walking them', (t) => {
  fc.assert(
    fc.property(graph, picks, (nodes, picked) => {
      const db = openedFor(t);
      const cover = new ChainCover({ db, log: silentLogger });
      new Writer(db).all(cover, nodes);
      assertSame(cover, nodes, picked);
      // What is kept in memory is what is stored.
      assertSame(new ChainCover({ db, log: silentLogger }), nodes, picked);
      // As long as it is not complete, this stands in for it.
      assertSame(new AuthWalk(db), nodes, picked);
    }),
    { numRuns: 150 },
  );
});

test('so it does where auth events come after those that rest upon them, and where they rest upon each other', (t) => {
  // As any events may in room versions 1 and 2.
  const tangled = fc
    .array(
      fc.record({ key: fc.constantFrom('levels', 'dora', 'erin'), auth: fc.array(fc.integer({ min: 1, max: LIMIT })) }),
      { minLength: 2, maxLength: LIMIT },
    )
    .map((nodes) =>
      nodes.map(({ key, auth }) => ({
        key,
        auth: [...new Set(auth.slice(0, 3))].filter((nid) => nid <= nodes.length),
      })),
    );
  fc.assert(
    fc.property(tangled, picks, (nodes, picked) => {
      const db = openedFor(t);
      const cover = new ChainCover({ db, log: silentLogger });
      const writer = new Writer(db);
      for (const [index, { key, auth }] of nodes.entries()) {
        writer.event(index + 1, key);
        const there = auth.filter((nid) => nid <= index + 1);
        writer.edges(cover, index + 1, there);
      }
      for (const [index, { auth }] of nodes.entries()) writer.edges(cover, index + 1, auth);
      assertSame(cover, nodes, picked);
    }),
    { numRuns: 150 },
  );
});

test('events that were there before the cover are filed bit by bit, and a stop in between loses nothing', async (t) => {
  const nodes: Node[] = [{ key: 'create', auth: [] }];
  for (let nid = 2; nid <= 400; nid += 1) {
    const auth = [1, Math.max(1, nid - 7), Math.floor(nid / 2)];
    nodes.push({ key: `${nid % 20}`, auth: [...new Set(auth)] });
  }
  const db = openedFor(t);
  db.write((tx) => void db.prepareWrite('UPDATE auth_chain_progress SET filed = 0, complete = 0').run(tx));
  const early = new ChainCover({ db, log: silentLogger });
  assert.equal(early.isComplete, false);
  new Writer(db).all(early, nodes);
  early.start();
  await early.stop();
  assert.equal(early.isComplete, false);
  const filed = db.prepareRead<{ filed: number }>('SELECT filed FROM auth_chain_progress').find()?.filed ?? 0;
  assert.ok(filed > 1 && filed < 400, 'it was stopped in between');

  const cover = new ChainCover({ db, log: silentLogger });
  cover.start();
  // What comes meanwhile is filed as well.
  new Writer(db).event(401, 'late');
  new Writer(db).edges(cover, 401, [390, 400]);
  const grown = [...nodes, { key: 'late', auth: [390, 400] }];
  await cover.filled();
  assert.equal(cover.isComplete, true);
  assertSame(cover, grown, [
    [400, 3, 50],
    [399, 3, 60],
    [398, 51],
  ]);
  assert.equal(new ChainCover({ db, log: silentLogger }).isComplete, true);
  await cover.stop();
});

test('what a write that fails has filed is gone with it', (t) => {
  const db = openedFor(t);
  const cover = new ChainCover({ db, log: silentLogger });
  const writer = new Writer(db);
  const nodes: Node[] = [
    { key: 'create', auth: [] },
    { key: 'levels', auth: [1] },
    { key: 'levels', auth: [1, 2] },
    { key: 'dora', auth: [1, 3] },
  ];
  for (const [index, { key }] of nodes.entries()) writer.event(index + 1, key);
  const fail = (): void =>
    db.write(() => {
      for (const [index, { auth }] of nodes.entries()) writer.edges(cover, index + 1, auth.toReversed());
      assertSame(cover, nodes, [[3], [2]]);
      throw new Error('the disk is full');
    });
  assert.throws(fail, /disk is full/);
  assert.equal(db.prepareRead<{ n: number }>('SELECT count(*) AS n FROM auth_chain_places').find()?.n, 0);
  for (const [index, { auth }] of nodes.entries()) writer.edges(cover, index + 1, auth);
  assertSame(cover, nodes, [[3], [2]]);
});

test('members who did nothing but join take no room in the cover', (t) => {
  const db = openedFor(t);
  const cover = new ChainCover({ db, log: silentLogger });
  const nodes: Node[] = [
    { key: 'create', auth: [] },
    { key: 'levels', auth: [1] },
    { key: 'rules', auth: [1, 2] },
  ];
  for (let nid = 4; nid <= 300; nid += 1) nodes.push({ key: `member ${nid}`, auth: [1, 2, 3] });
  new Writer(db).all(cover, nodes);
  const count = (table: string): number | undefined =>
    db.prepareRead<{ n: number }>(`SELECT count(*) AS n FROM ${table}`).find()?.n;
  assert.equal(count('auth_chain_places'), 3);
  assert.ok((count('auth_chain_links') ?? 0) <= 3);
  assertSame(cover, nodes, [
    [3, 4, 299],
    [3, 5],
  ]);
});

test('the answer to a long history takes as many steps as there are chains', (t) => {
  const db = openedFor(t);
  const cover = new ChainCover({ db, log: silentLogger });
  const nodes: Node[] = [{ key: 'create', auth: [] }];
  for (let nid = 2; nid <= 3_000; nid += 1) nodes.push({ key: 'levels', auth: [1, nid - 1] });
  new Writer(db).all(cover, nodes);
  const sets = [new Set([2_999, 1_000]), new Set([2_995])];
  const count = (steps: Generator<void, ReadonlySet<number>, void>): { found: ReadonlySet<number>; steps: number } => {
    for (let taken = 0; ; taken += 1) {
      const step = steps.next();
      if (step.done === true) return { found: step.value, steps: taken };
    }
  };
  const byCover = count(cover.difference(sets));
  const byWalking = count(new AuthWalk(db).difference(sets));
  assert.deepEqual(byCover.found, new Set([2_996, 2_997, 2_998, 2_999]));
  assert.deepEqual(byWalking.found, byCover.found);
  assert.ok(byCover.steps * 10 < byWalking.steps, `${byCover.steps} steps, and ${byWalking.steps} by walking`);
});

test('what all states rest upon by something they share is left out, and no more of a chain is looked at', (t) => {
  const db = openedFor(t);
  const cover = new ChainCover({ db, log: silentLogger });
  const nodes: Node[] = [{ key: 'create', auth: [] }];
  for (let nid = 2; nid <= 50; nid += 1) nodes.push({ key: 'levels', auth: [1, nid - 1] });
  new Writer(db).all(cover, nodes);
  const asked: number[] = [];
  // Something shared rests upon the event with the number 47.
  const found = runToEnd(
    cover.difference([new Set([50]), new Set()], function* (nid) {
      asked.push(nid);
      yield;
      return nid <= 47;
    }),
  );
  // Nothing rests upon the last one, so there is nothing to ask.
  assert.deepEqual(found, new Set([48, 49, 50]));
  assert.deepEqual(
    asked.filter((nid) => nid > 1),
    [49, 48, 47],
  );
});
