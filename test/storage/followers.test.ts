import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { FollowerRunner } from '../../server/storage/followers.ts';
import type { Database, Follower, StreamPosition, WriteTx } from '../../server/storage/types.ts';
import type { Timer } from '../../server/util/clock.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { openNotes, recordingLogger } from './temporary.ts';

type Range = [since: number, now: number];

function run(t: TestContext, db: Database, followers: Follower[], clock = new ManualClock()) {
  const log = recordingLogger();
  const runner = new FollowerRunner({ db, followers, log, clock });
  runner.start();
  t.after(() => runner.stop());
  return { runner, clock, log };
}

function move(db: Database): StreamPosition {
  return db.write((tx) => tx.nextPosition());
}

/** Notes the ranges it sees and does what it is told in each. */
function watcher(name: string, act: (range: Range) => ((tx: WriteTx) => void) | undefined = () => undefined) {
  const ranges: Range[] = [];
  const follower: Follower = {
    name,
    follow: (since, now) => {
      ranges.push([since, now]);
      return act([since, now]);
    },
  };
  return { ranges, follower };
}

test('a follower sees each stretch of the stream once, what came before it was born included', async (t) => {
  const { db } = openNotes(t);
  move(db);
  move(db);
  const { ranges, follower } = watcher('search');
  const { runner } = run(t, db, [follower]);
  await runner.idle();
  move(db);
  db.advance([]);
  await runner.idle();
  assert.deepEqual(ranges, [
    [0, 2],
    [2, 4],
  ]);
});

test('what a follower writes and its cursor are there together after a restart', async (t) => {
  const notes = openNotes(t);
  const write =
    ([since, now]: Range) =>
    (tx: WriteTx) =>
      void notes.insert.run(tx, `${since}-${now}`);
  const first = watcher('fan-out', write);
  const before = run(t, notes.db, [first.follower]);
  move(notes.db);
  await before.runner.idle();
  await before.runner.stop();
  move(notes.db);
  const second = watcher('fan-out', write);
  const after = run(t, notes.db, [second.follower]);
  await after.runner.idle();
  assert.deepEqual(second.ranges, [[1, 2]]);
  assert.deepEqual(notes.bodies(), ['0-1', '1-2']);
});

test('a follower that writes does not wake itself', async (t) => {
  const notes = openNotes(t);
  const { ranges, follower } = watcher('fan-out', ([since, now]) => (tx) => {
    notes.insert.run(tx, `${since}-${now}`);
    tx.touch('outbox');
  });
  const { runner, clock } = run(t, notes.db, [follower]);
  move(notes.db);
  await runner.idle();
  await clock.advance(10_000);
  await runner.idle();
  assert.deepEqual(ranges, [[0, 1]]);
});

test('followers with nothing to do cost one write a second at most, for all of them', async (t) => {
  const notes = openNotes(t);
  const { db } = notes;
  const idlers = ['search', 'push', 'statistics'].map((name) => watcher(name));
  const { runner, clock } = run(
    t,
    db,
    idlers.map((idler) => idler.follower),
  );
  const start = notes.commits();
  for (let i = 0; i < 50; i += 1) {
    db.write((tx) => {
      notes.insert.run(tx, `note ${tx.nextPosition()}`);
    });
    await runner.idle();
  }
  assert.equal(notes.commits() - start, 50);
  await clock.advance(1_000);
  assert.equal(notes.commits() - start, 50 + 1);
  const stored = db.prepareRead<{ name: string; position: number }>('SELECT * FROM follower_cursors ORDER BY name');
  assert.deepEqual(
    stored.list().map((row) => row.position),
    [50, 50, 50],
  );
  await clock.advance(60_000);
  assert.equal(notes.commits() - start, 50 + 1);
  assert.equal(clock.pending, 0);
});

test('cursors that wait to be stored go along with what another follower writes', async (t) => {
  const notes = openNotes(t);
  const idler = watcher('search');
  const writer = watcher('push', ([, now]) => (now < 3 ? undefined : (tx) => void notes.insert.run(tx, `at ${now}`)));
  const { runner } = run(t, notes.db, [idler.follower, writer.follower]);
  for (let i = 0; i < 3; i += 1) {
    move(notes.db);
    await runner.idle();
  }
  const stored = notes.db.prepareRead<{ position: number }>('SELECT position FROM follower_cursors ORDER BY name');
  assert.deepEqual(stored.list(), [{ position: 3 }, { position: 3 }]);
});

test('a late store of a cursor does not bring back what was written since', async (t) => {
  const notes = openNotes(t);
  const { db } = notes;
  const timers: (() => void)[] = [];
  class EagerClock extends ManualClock {
    override after(delayMs: number, callback: () => void): Timer {
      timers.push(callback);
      return super.after(delayMs, callback);
    }
  }
  const { follower } = watcher('fan-out', ([, now]) => {
    if (now < 2) return undefined;
    return (tx) => {
      notes.insert.run(tx, `at ${now}`);
      // The timer falls due between this write and its commit.
      queueMicrotask(() => timers[0]?.());
    };
  });
  const { runner } = run(t, db, [follower], new EagerClock());
  move(db);
  await runner.idle();
  assert.equal(timers.length, 1);
  move(db);
  await runner.idle();
  const stored = db.prepareRead<{ position: number }>('SELECT position FROM follower_cursors');
  assert.deepEqual(stored.list(), [{ position: 2 }]);
});

test('a follower is never called twice at once, and what comes meanwhile is one call afterwards', async (t) => {
  const { db } = openNotes(t);
  const gate = Promise.withResolvers<void>();
  let atOnce = 0;
  const ranges: Range[] = [];
  const slow: Follower = {
    name: 'slow',
    follow: async (since, now) => {
      ranges.push([since, now]);
      atOnce += 1;
      assert.equal(atOnce, 1);
      await gate.promise;
      atOnce -= 1;
      return undefined;
    },
  };
  const quick = watcher('quick');
  const { runner } = run(t, db, [slow, quick.follower]);
  for (let i = 0; i < 5; i += 1) {
    move(db);
    await db.committed();
    await nextTurn();
  }
  // The slow one holds up nobody else.
  assert.deepEqual(quick.ranges.at(-1), [4, 5]);
  gate.resolve();
  await runner.idle();
  assert.deepEqual(ranges, [
    [0, 1],
    [1, 5],
  ]);
});

test('a follower that fails is called again after growing waits, and the others go on', async (t) => {
  const { db } = openNotes(t);
  const clock = new ManualClock();
  const calls: number[] = [];
  const failing: Follower = {
    name: 'push',
    follow: (since) => {
      calls.push(clock.monotonic());
      assert.equal(since, 0);
      if (calls.length < 5) throw new Error('the push gateway is away');
      return undefined;
    },
  };
  const other = watcher('search');
  const { runner, log } = run(t, db, [failing, other.follower], clock);
  move(db);
  await db.committed();
  await clock.advance(500);
  assert.deepEqual(other.ranges, [[0, 1]]);
  await clock.advance(60_000);
  assert.deepEqual(calls, [0, 1_000, 3_000, 7_000, 15_000]);
  assert.equal(log.sentences.filter((line) => line === 'follower failed').length, 4);
  await runner.idle();
});

test('waits after failures end early when there is reason to try again', async (t) => {
  const { db } = openNotes(t);
  let online = false;
  const { ranges, follower } = watcher('push', () => {
    if (!online) throw new Error('the network is away');
    return undefined;
  });
  const { runner, clock } = run(t, db, [follower]);
  move(db);
  await db.committed();
  await clock.advance(3_600_000);
  const failed = ranges.length;
  online = true;
  runner.retryNow();
  await runner.idle();
  assert.equal(ranges.length, failed + 1);
});

test('a follower whose write fails is called again with the same range', async (t) => {
  const notes = openNotes(t);
  let attempts = 0;
  const { ranges, follower } = watcher('fan-out', () => (tx) => {
    attempts += 1;
    notes.insert.run(tx, 'to anna');
    if (attempts === 1) throw new Error('constraint of some kind');
  });
  const { runner, clock } = run(t, notes.db, [follower]);
  move(notes.db);
  await notes.db.committed();
  await clock.advance(2_000);
  await runner.idle();
  assert.deepEqual(ranges, [
    [0, 1],
    [0, 1],
  ]);
  assert.deepEqual(notes.bodies(), ['to anna']);
});

test('stopping tells the followers, waits for them, and does not count what they left half-way', async (t) => {
  const { db } = openNotes(t);
  const started = Promise.withResolvers<void>();
  let ended = false;
  const patient: Follower = {
    name: 'patient',
    follow: async (_since, _now, stopping) => {
      started.resolve();
      await new Promise((resolve) => {
        stopping.addEventListener('abort', resolve);
      });
      await nextTurn();
      ended = true;
      return undefined;
    },
  };
  const { runner } = run(t, db, [patient]);
  move(db);
  await started.promise;
  const waiting = assert.rejects(runner.idle(), /stopped before/);
  await runner.stop();
  assert.ok(ended);
  await waiting;
  const again = watcher('patient');
  await run(t, db, [again.follower]).runner.idle();
  assert.deepEqual(again.ranges, [[0, 1]]);
});

test('stopping does not wait out a backoff, and stores the cursors', async (t) => {
  const { db } = openNotes(t);
  const failing = watcher('push', () => {
    throw new Error('away');
  });
  const idler = watcher('search');
  const { runner, clock } = run(t, db, [failing.follower, idler.follower]);
  move(db);
  await db.committed();
  await clock.advance(0);
  await runner.stop();
  assert.equal(clock.pending, 0);
  const stored = db.prepareRead('SELECT name, position FROM follower_cursors');
  assert.deepEqual(stored.list(), [{ name: 'search', position: 1 }]);
  move(db);
  await db.committed();
  assert.equal(failing.ranges.length, 1);
});

test('two followers of one name are a mistake of the program', (t) => {
  const { db } = openNotes(t);
  const followers = [watcher('push').follower, watcher('push').follower];
  const options = { db, followers, log: recordingLogger(), clock: new ManualClock() };
  assert.throws(() => new FollowerRunner(options), /same name/);
});

function nextTurn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
