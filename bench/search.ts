import { rmSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import Database from 'better-sqlite3';
import { stringify } from 'yaml';
import { loadConfig } from '../server/config/config.ts';
import { loadSigningKeys } from '../server/config/signing-key.ts';
import { allMigrations, compose } from '../server/compose.ts';
import type { Requester, Route } from '../server/http/route.ts';
import { prepareChecks } from '../server/http/validate.ts';
import { buildUserId } from '../server/matrix/identifiers.ts';
import { roomVersions } from '../server/matrix/room-versions.ts';
import { openDatabase } from '../server/storage/database.ts';
import { FollowerRunner } from '../server/storage/followers.ts';
import { systemClock } from '../server/util/clock.ts';
import { silentLogger } from '../server/util/log.ts';
import { systemRandom } from '../server/util/random.ts';
import { median } from './figures.ts';

export const MESSAGES = 100_000;
const ROOMS = 20;
const VOCABULARY = 20_000;
const WORDS = 12;

/** What a search in `MESSAGES` messages takes. */
export interface SearchFigures {
  /** Messages indexed per second, from a database that had no index, and into a bare FTS5 table. */
  readonly perSecond: number;
  readonly barePerSecond: number;
  /** A search for a word of few messages, and of nearly all, ms; and a bare look into the index for the first. */
  readonly rareMs: number;
  readonly commonMs: number;
  readonly bareMs: number;
  /** The longest the event loop was held by indexing and by searching, ms. */
  readonly indexingStallMs: number;
  readonly searchingStallMs: number;
}

/** Few words are in nearly every message, most in hardly any. */
function text(n: number): string {
  let seed = n + 1;
  const words = Array.from({ length: WORDS }, () => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return `w${Math.floor(VOCABULARY ** (seed / 2_147_483_648))}x`;
  });
  return words.join(' ');
}

/** Writes the messages, indexes them and searches in them, without HTTP. */
export async function measureSearch(): Promise<SearchFigures> {
  const dir = mkdtempSync(join(tmpdir(), 'hearth-bench-search-'));
  // The server's own timers keep no process alive.
  const alive = setInterval(() => undefined, 1_000);
  try {
    const file = join(dir, 'homeserver.yaml');
    writeFileSync(file, stringify({ server_name: 'bench.test', signing_key_path: join(dir, 'key') }));
    const { config } = loadConfig({ configPath: file });
    const db = openDatabase({ path: join(dir, 'homeserver.db'), migrations: allMigrations, log: silentLogger });
    const { rooms, routes, followers } = compose({
      config,
      db,
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
      signingKeys: loadSigningKeys(config.signing, systemRandom),
      notaryKeys: undefined,
      version: '0',
    });
    const userId = buildUserId('alice', config.serverName);
    const version = roomVersions.get(config.rooms.defaultVersion);
    if (userId === undefined || version === undefined) throw new Error('nobody can write here');
    for (let r = 0; r < ROOMS; r += 1) {
      const { roomId } = await rooms.sender.createRoom({
        version,
        creator: userId,
        createContent: {},
        events: () => [{ type: 'm.room.member', sender: userId, stateKey: userId, content: { membership: 'join' } }],
      });
      for (let n = 0; n < MESSAGES / ROOMS; n += 100) {
        db.write((tx) => {
          for (let m = n; m < n + 100; m += 1) {
            const content = { msgtype: 'm.text', body: text(r * 7_919 + m) };
            rooms.sender.sendWithin(tx, { roomId, type: 'm.room.message', sender: userId, content });
          }
        });
        await db.committed();
      }
    }

    const follower = followers.find(({ name }) => name === 'search');
    if (follower === undefined) throw new Error('nobody indexes');
    const runner = new FollowerRunner({ db, followers: [follower], log: silentLogger, clock: systemClock });
    const loop = monitorEventLoopDelay({ resolution: 1 });
    loop.enable();
    const start = performance.now();
    runner.start();
    await runner.idle();
    const seconds = (performance.now() - start) / 1_000;
    const indexingStallMs = loop.max / 1e6;

    await prepareChecks();
    const search = searcher(routes, userId);
    await search('w7x');
    loop.reset();
    const rareMs = await timesOf(() => search('w15007x w2x'));
    const commonMs = await timesOf(() => search('w1x'));
    const searchingStallMs = loop.max / 1e6;
    loop.disable();
    await runner.stop();
    await db.close();
    const bare = measureBare(join(dir, 'bare.db'));
    const perSecond = MESSAGES / seconds;
    return { perSecond, rareMs, commonMs, indexingStallMs, searchingStallMs, ...bare };
  } finally {
    clearInterval(alive);
    rmSync(dir, { recursive: true, force: true });
  }
}

function searcher(routes: readonly Route[], userId: Requester['userId']): (term: string) => Promise<void> {
  const route = routes.find(({ path }) => path === '/_matrix/client/v3/search');
  if (route === undefined) throw new Error('nothing searches');
  const requester: Requester = {
    userId,
    deviceId: undefined,
    tokenId: undefined,
    isGuest: false,
    isAdmin: false,
    isSuspended: false,
    appserviceId: undefined,
    rateLimited: false,
  };
  return async (term) => {
    const answer = await route.handle({
      params: {},
      query: {},
      body: { search_categories: { room_events: { search_term: term } } },
      bodyStream: undefined,
      requester,
      origin: undefined,
      ip: '127.0.0.1',
      userAgent: undefined,
      url: '/_matrix/client/v3/search',
      headers: {},
      signal: new AbortController().signal,
    } as unknown as Parameters<Route['handle']>[0]);
    const found = JSON.stringify(answer);
    if (!found.includes('"rank"')) throw new Error(`${term} was not found: ${found.slice(0, 200)}`);
  };
}

async function timesOf(act: () => Promise<void>): Promise<number> {
  const spent: number[] = [];
  for (let n = 0; n < 5; n += 1) {
    const start = performance.now();
    await act();
    spent.push(performance.now() - start);
  }
  return median(spent);
}

/** The same texts in a bare FTS5 table, and the same word looked up in it. */
function measureBare(path: string): { barePerSecond: number; bareMs: number } {
  const db = new Database(path);
  db.pragma('journal_mode = WAL');
  db.exec("CREATE VIRTUAL TABLE words USING fts5 (body, content = '', contentless_delete = 1, tokenize = 'ascii')");
  const insert = db.prepare('INSERT INTO words (rowid, body) VALUES (?, ?)');
  const start = performance.now();
  for (let n = 0; n < MESSAGES; n += 100) {
    db.transaction(() => {
      for (let m = n; m < n + 100; m += 1) insert.run(m + 1, text(m));
    })();
  }
  const barePerSecond = (1_000 * MESSAGES) / (performance.now() - start);
  const find = db.prepare('SELECT rowid FROM words WHERE words MATCH \'"w15007x"\' ORDER BY rowid DESC LIMIT 10');
  const spent: number[] = [];
  for (let n = 0; n < 20; n += 1) {
    const from = performance.now();
    find.all();
    spent.push(performance.now() - from);
  }
  db.close();
  return { barePerSecond, bareMs: median(spent) };
}
