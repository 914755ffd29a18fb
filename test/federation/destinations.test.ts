import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createDestinations } from '../../server/federation/destinations/destinations.ts';
import { federationMigrations } from '../../server/federation/schema.ts';
import type { Destinations } from '../../server/federation/types.ts';
import { openDatabase, type OpenDatabase } from '../../server/storage/database.ts';
import { silentLogger } from '../../server/util/log.ts';
import { type Random, systemRandom } from '../../server/util/random.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { serverName } from './client-kit.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const settings = { minMs: 10 * MINUTE, factor: 2, maxMs: 7 * DAY };
const a = serverName('a.example');
const b = serverName('b.example');
const c = serverName('c.example');
/** Chance that is always in the middle. */
const even: Random = { bytes: (length) => Buffer.alloc(length, 0).fill(0x80, 0, 1) };

interface Options {
  clock?: ManualClock;
  random?: Random;
  path?: string;
  settings?: typeof settings;
}

function open(
  options: Options = {},
): { destinations: Destinations; db: OpenDatabase; clock: ManualClock; recovered: string[] } & Disposable {
  const { clock = new ManualClock(), random = even, path = ':memory:' } = options;
  const db = openDatabase({ path, migrations: [federationMigrations], log: silentLogger });
  const destinations = createDestinations({
    db,
    clock,
    random,
    log: silentLogger,
    settings: options.settings ?? settings,
  });
  const recovered: string[] = [];
  destinations.onRecovered((server) => recovered.push(server));
  return { destinations, db, clock, recovered, [Symbol.dispose]: () => void db.close() };
}

/** How long a server is left alone from now on, ms. */
const wait = (destinations: Destinations, clock: ManualClock, server = a): number =>
  Math.max(0, destinations.readyAt(server) - clock.now());

test('a server that fails is left alone for ten minutes, then twice as long each time, for a week at most', async () => {
  using opened = open();
  const { destinations, clock } = opened;
  const waits: number[] = [];
  for (let i = 0; i < 13; i += 1) {
    destinations.failed(a, 'no answer');
    waits.push(wait(destinations, clock) / MINUTE);
    await clock.advance(wait(destinations, clock));
  }
  assert.deepEqual(waits, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_080, 10_080, 10_080]);
  assert.equal(destinations.find(a)?.failingSince, clock.now() - waits.reduce((sum, each) => sum + each, 0) * MINUTE);
});

test('requests that fail together count once', () => {
  using opened = open();
  const { destinations, clock } = opened;
  for (let i = 0; i < 50; i += 1) destinations.failed(a, 'no answer');
  assert.equal(wait(destinations, clock), 10 * MINUTE);
});

test('waits vary by a fifth', async () => {
  const seen: number[] = [];
  for (let i = 0; i < 200; i += 1) {
    using opened = open({ random: systemRandom });
    opened.destinations.failed(a, 'no answer');
    seen.push(wait(opened.destinations, opened.clock) / MINUTE);
  }
  assert.ok(Math.min(...seen) >= 8 && Math.min(...seen) < 8.5, `${Math.min(...seen)}`);
  assert.ok(Math.max(...seen) <= 12 && Math.max(...seen) > 11.5, `${Math.max(...seen)}`);
});

test('a success ends the wait, tells those who listen once, and the next failure starts from the beginning', async () => {
  using opened = open();
  const { destinations, clock, recovered } = opened;
  destinations.succeeded(b);
  destinations.failed(a, 'no answer');
  await clock.advance(10 * MINUTE);
  destinations.succeeded(b);
  destinations.failed(a, 'no answer again');
  destinations.succeeded(a);
  destinations.succeeded(a);
  assert.equal(destinations.readyAt(a), 0);
  assert.deepEqual(recovered, [a]);
  assert.deepEqual(destinations.find(a), {
    server: a,
    failingSince: undefined,
    retryAt: undefined,
    lastSuccess: clock.now(),
    lastError: 'no answer again',
  });
  destinations.failed(a, 'gone');
  assert.equal(wait(destinations, clock), 10 * MINUTE);
  assert.equal(destinations.find(a)?.lastSuccess, clock.now());
});

test('one who has unsubscribed is not told', () => {
  using opened = open();
  const told: string[] = [];
  opened.destinations.onRecovered((server) => told.push(server)).unsubscribe();
  opened.destinations.failed(a, 'no answer');
  opened.destinations.succeeded(a);
  assert.deepEqual(told, []);
  assert.deepEqual(opened.recovered, [a]);
});

test('what is known outlives a restart', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'hearth-destinations-'));
  const path = join(dir, 'hearth.db');
  try {
    const clock = new ManualClock();
    const first = open({ clock, path });
    first.destinations.succeeded(b);
    first.destinations.failed(a, 'no answer');
    await clock.advance(10 * MINUTE);
    first.destinations.failed(a, 'still no answer');
    const before = first.destinations.find(a);
    await first.db.close();

    const second = open({ clock, path });
    assert.deepEqual(second.destinations.find(a), before);
    assert.equal(wait(second.destinations, clock), 20 * MINUTE);
    assert.equal(second.destinations.find(b)?.lastSuccess, clock.now() - 10 * MINUTE);
    assert.equal(second.destinations.readyAt(b), 0);
    await clock.advance(20 * MINUTE);
    second.destinations.failed(a, 'no answer');
    assert.equal(wait(second.destinations, clock), 40 * MINUTE);
    await second.db.close();
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('only changes are written, and of many successes one a day', async () => {
  using opened = open();
  const { clock, db } = opened;
  let writes = 0;
  const counting: Pick<OpenDatabase, 'prepareRead' | 'prepareWrite' | 'write'> = {
    prepareRead: (sql) => db.prepareRead(sql),
    prepareWrite: (sql) => db.prepareWrite(sql),
    write: (change) => {
      writes += 1;
      return db.write(change);
    },
  };
  const destinations = createDestinations({ db: counting, clock, random: even, log: silentLogger, settings });
  for (let i = 0; i < 1000; i += 1) destinations.succeeded(a);
  assert.equal(writes, 1);
  for (let i = 0; i < 1000; i += 1) destinations.failed(a, 'no answer');
  assert.equal(writes, 2);
  for (let i = 0; i < 1000; i += 1) destinations.succeeded(a);
  assert.equal(writes, 3);
  await clock.advance(DAY);
  for (let i = 0; i < 1000; i += 1) destinations.succeeded(a);
  assert.equal(writes, 4);
});

test('when the machine wakes, servers that were well shortly before are tried at once, the others soon', async () => {
  using opened = open();
  const { destinations, clock, recovered } = opened;
  destinations.failed(a, 'gone');
  for (let i = 0; i < 6; i += 1) {
    await clock.advance(wait(destinations, clock));
    destinations.failed(a, 'gone');
  }
  destinations.failed(b, 'the network went away');
  destinations.succeeded(c);
  destinations.wake();
  assert.deepEqual(recovered, [a, b]);
  assert.equal(wait(destinations, clock, b), 0);
  assert.ok(wait(destinations, clock, a) > 0 && wait(destinations, clock, a) <= 10 * MINUTE);
  destinations.failed(b, 'still away');
  assert.equal(wait(destinations, clock, b), 10 * MINUTE, 'its first failure again');
  await clock.advance(wait(destinations, clock, a));
  destinations.failed(a, 'gone');
  assert.equal(wait(destinations, clock, a), 1280 * MINUTE, 'it is as dead as before');
});

test('when nobody could be reached and one comes back, all that failed meanwhile are tried again', async () => {
  using opened = open();
  const { destinations, clock, recovered } = opened;
  const dead = serverName('dead.example');
  destinations.failed(dead, 'gone');
  await clock.advance(MINUTE);
  destinations.succeeded(c);
  await clock.advance(MINUTE);
  for (const server of [a, b, c]) destinations.failed(server, 'the cable was pulled');
  await clock.advance(5 * MINUTE);
  destinations.succeeded(b);
  assert.deepEqual(recovered, [b, a, c]);
  assert.equal(wait(destinations, clock, a), 0);
  assert.ok(wait(destinations, clock, dead) > 0);
});

test('a clock that is set back keeps nobody waiting for ever', () => {
  using opened = open();
  const { destinations, clock } = opened;
  destinations.failed(a, 'no answer');
  clock.setWallClock(clock.now() - 365 * DAY);
  assert.equal(destinations.readyAt(a), 0);
  destinations.failed(a, 'no answer');
  assert.ok(wait(destinations, clock) > 0);
});

test('they are listed by name, a page at a time, failing ones alone if asked', () => {
  using opened = open();
  const { destinations } = opened;
  destinations.succeeded(c);
  destinations.failed(b, 'x'.repeat(1000));
  destinations.succeeded(a);
  const names = (options: Parameters<Destinations['list']>[0]) =>
    destinations.list(options).map(({ server }) => server);
  assert.deepEqual(names({ limit: 2 }), [a, b]);
  assert.deepEqual(names({ limit: 2, from: b }), [c]);
  assert.deepEqual(names({ limit: 10, failingOnly: true }), [b]);
  assert.deepEqual(names({ limit: -1 }), []);
  assert.equal(destinations.list({ limit: 1, failingOnly: true })[0]?.lastError?.length, 300);
  assert.equal(destinations.find(serverName('unknown.example')), undefined);
});

test('names that lead nowhere do not fill the memory', () => {
  using opened = open();
  const { destinations, db } = opened;
  destinations.succeeded(a);
  destinations.failed(a, 'gone');
  db.write(() => {
    for (let i = 0; i < 20_050; i += 1) destinations.failed(serverName(`made-up-${i}.example`), 'no such name');
  });
  const failing = db.prepareRead<{ n: number }>('SELECT count(*) AS n FROM federation_destinations').find()?.n;
  assert.equal(failing, 20_000);
});

test('a disk that is full fails no request', async () => {
  using opened = open();
  const { destinations, db, clock } = opened;
  await db.close();
  destinations.failed(b, 'no answer');
  assert.equal(wait(destinations, clock, b), 10 * MINUTE);
});
