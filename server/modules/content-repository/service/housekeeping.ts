import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Database } from '../../../storage/types.ts';
import type { Clock, Timer } from '../../../util/clock.ts';
import type { Logger } from '../../../util/log.ts';
import type { KeptMedium, MediaStore } from '../store/media.ts';
import type { Accesses } from './accesses.ts';
import type { MediaFiles } from './media-files.ts';
import type { ContentSettings } from './needs.ts';

export interface HousekeepingNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly settings: ContentSettings;
  readonly media: MediaStore;
  readonly files: MediaFiles;
  readonly accesses: Accesses;
}

const FIRST_MS = 60_000;
const INTERVAL_MS = 60 * 60_000;
/** Media removed in one write. */
const BATCH = 50;
/** The cache is looked at early once so much of its size has come in. */
const EARLY_SHARE = 1 / 20;

/** Removes what nobody needs any more: expired announcements, media nobody looks at, files nothing refers to. */
export class Housekeeping {
  readonly #needs: HousekeepingNeeds;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #isStopped = false;
  #fetchedBytes = 0;

  constructor(needs: HousekeepingNeeds) {
    this.#needs = needs;
  }

  start(): void {
    this.#plan(FIRST_MS);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    await this.#running;
  }

  /** So much has come in from other servers. */
  fetched(bytes: number): void {
    const { remoteCacheBytes } = this.#needs.settings;
    this.#fetchedBytes += bytes;
    if (remoteCacheBytes !== undefined && this.#fetchedBytes > remoteCacheBytes * EARLY_SHARE) void this.run();
  }

  /** Does all of it, in small steps; does not fail. */
  run(): Promise<void> {
    this.#running ??= this.#runOnce().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Removes media nobody has looked at since `beforeMs`; says how many. */
  async removeIdle(which: 'local' | 'remote', beforeMs: number): Promise<number> {
    this.#needs.accesses.flush();
    return this.#removeAll(() => this.#needs.media.listIdle(which, beforeMs, BATCH));
  }

  async #removeAll(listSome: () => readonly KeptMedium[]): Promise<number> {
    let removed = 0;
    for (;;) {
      const some = listSome();
      if (some.length === 0 || this.#isStopped) return removed;
      this.#remove(some);
      removed += some.length;
      await nextTurn();
    }
  }

  #plan(ms: number): void {
    if (this.#isStopped) return;
    this.#timer = this.#needs.clock.after(ms, () => {
      void this.run();
      this.#plan(INTERVAL_MS);
    });
  }

  async #runOnce(): Promise<void> {
    const { db, clock, log, settings, media, files } = this.#needs;
    this.#fetchedBytes = 0;
    try {
      const now = clock.now();
      db.write((tx) => media.removeExpired(tx, now));
      const { localLifetimeMs, remoteLifetimeMs } = settings;
      const local = localLifetimeMs === undefined ? 0 : await this.removeIdle('local', now - localLifetimeMs);
      const remote = remoteLifetimeMs === undefined ? 0 : await this.removeIdle('remote', now - remoteLifetimeMs);
      const passed = await this.#removeAll(() => media.listPassed(now, BATCH));
      const evicted = await this.#shrinkCache();
      if (!this.#isStopped) await files.clearDebris();
      if (local + remote + evicted > 0) log.info({ local, remote, evicted }, 'media nobody looks at were removed');
      if (passed > 0) log.debug({ passed }, 'media kept for a while were removed');
    } catch (error) {
      log.error({ error: String(error) }, 'media could not be tidied up');
    }
  }

  /** Removes what was not looked at for longest until the rest has room. */
  async #shrinkCache(): Promise<number> {
    const { settings, media, accesses } = this.#needs;
    const { remoteCacheBytes } = settings;
    if (remoteCacheBytes === undefined) return 0;
    accesses.flush();
    let excess = media.countByOrigin().remote.bytes - remoteCacheBytes;
    let removed = 0;
    while (excess > 0 && !this.#isStopped) {
      const candidates: KeptMedium[] = [];
      for (const each of media.listIdle('remote', Number.MAX_SAFE_INTEGER, BATCH)) {
        if (excess <= 0) break;
        candidates.push(each);
        excess -= each.bytes;
      }
      if (candidates.length === 0) break;
      this.#remove(candidates);
      removed += candidates.length;
      await nextTurn();
    }
    return removed;
  }

  #remove(idle: readonly KeptMedium[]): void {
    const { db, media, files } = this.#needs;
    db.write((tx) => {
      for (const medium of idle) {
        media.remove(tx, medium);
        files.release(tx, medium.file);
      }
    });
  }
}
