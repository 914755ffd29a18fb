import { LRUCache } from 'lru-cache';
import type { ServerName } from '../../matrix/identifiers.ts';
import { StorageError } from '../../storage/storage-error.ts';
import type { Database, WriteTx } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import { atMost } from '../../util/lru.ts';
import type { Random } from '../../util/random.ts';
import type { Destinations, DestinationStatus } from '../types.ts';
import { DestinationStore, type StoredDestination, type Trouble } from './store.ts';

export interface DestinationSettings {
  /** How long a server is left alone after it failed once, ms; times `factor` for each further failure, at most `maxMs`. */
  readonly minMs: number;
  readonly factor: number;
  readonly maxMs: number;
}

interface DestinationNeeds {
  readonly db: Pick<Database, 'prepareRead' | 'prepareWrite' | 'write'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly settings: DestinationSettings;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** Waits fall within this part around what they would be, so that those who failed together do not come back together. */
const JITTER = 0.2;
/** No wait is shorter, whatever is configured, ms. */
const SHORTEST_WAIT_MS = 1000;
/** A server that has failed for less than this when the machine wakes is held to be well, ms. */
const WELL_SHORTLY_BEFORE_MS = HOUR;
/** Within this time of waking, the others are tried, ms. */
const SOON_MS = 10 * MINUTE;
/** How old a success on disk may grow while more of them come in, ms. */
const SUCCESS_GRAIN_MS = 24 * HOUR;
/** Failing servers kept. Anybody can make up names that lead nowhere. */
const MAX_FAILING = 20_000;
const WELL_KEPT = 10_000;
const MAX_ERROR_LENGTH = 300;
const MAX_PAGE = 1000;

/** Keeps account of which servers can be reached. What it costs on disk follows the changes for the worse or better. */
export function createDestinations(needs: DestinationNeeds): Destinations {
  return new KeptDestinations(needs);
}

class KeptDestinations implements Destinations {
  readonly #needs: DestinationNeeds;
  readonly #store: DestinationStore;
  /** Every server that is failing. */
  readonly #failing = new Map<ServerName, StoredDestination & { readonly trouble: Trouble }>();
  /** Servers known to be well, with the time of their last success that is on disk, and the last of all. */
  readonly #well = new LRUCache<ServerName, { stored: number; last: number }>(atMost(WELL_KEPT));
  readonly #listeners = new Set<(server: ServerName) => void>();
  /** When anybody was last heard of. */
  #lastSuccessOfAny: number;

  constructor(needs: DestinationNeeds) {
    this.#needs = needs;
    this.#store = new DestinationStore(needs.db);
    this.#lastSuccessOfAny = needs.clock.now();
    for (const kept of this.#store.listFailing()) {
      if (kept.trouble !== undefined) this.#failing.set(kept.server, { ...kept, trouble: kept.trouble });
    }
  }

  find(server: ServerName): DestinationStatus | undefined {
    const kept = this.#failing.get(server) ?? this.#findStored(server);
    return kept === undefined ? undefined : this.#statusOf(kept);
  }

  readyAt(server: ServerName): number {
    const retryAt = this.#failing.get(server)?.trouble.retryAt ?? 0;
    // No wait is that long: the clock was set back.
    return retryAt > this.#needs.clock.now() + this.#needs.settings.maxMs ? 0 : retryAt;
  }

  succeeded(server: ServerName): void {
    const now = this.#needs.clock.now();
    const failing = this.#failing.get(server);
    const silentSince = this.#lastSuccessOfAny;
    this.#lastSuccessOfAny = now;
    if (failing === undefined) return this.#noteSuccess(server, now);
    this.#recover(server, now);
    this.#needs.log.info({ server, failedForMs: now - failing.trouble.failingSince }, 'a server is back');
    this.#tell([server]);
    // Nobody at all was heard of since it failed: it was this machine that was cut off, and all the others may be well too.
    if (silentSince <= failing.trouble.failingSince) {
      this.#tell(this.#shorten(({ trouble }) => trouble.failingSince >= silentSince));
    }
  }

  failed(server: ServerName, reason: string): void {
    const { clock, random, log, settings } = this.#needs;
    const now = clock.now();
    const before = this.#failing.get(server);
    // Of requests that were under way together, the first to fail counts for all.
    if (before !== undefined && now < this.readyAt(server)) return;
    const grown = before === undefined ? settings.minMs : before.trouble.interval * settings.factor;
    const interval = Math.max(SHORTEST_WAIT_MS, Math.min(settings.maxMs, grown));
    const part = random.bytes(4).readUInt32BE() / 2 ** 32;
    const wait = Math.round(Math.min(settings.maxMs, interval * (1 - JITTER + 2 * JITTER * part)));
    const failing = {
      server,
      trouble: { failingSince: before?.trouble.failingSince ?? now, interval, retryAt: now + wait },
      lastSuccess: before?.lastSuccess ?? this.#well.get(server)?.last ?? this.#findStored(server)?.lastSuccess,
      lastError: reason.slice(0, MAX_ERROR_LENGTH),
    };
    if (before === undefined) this.#makeRoom(now);
    this.#well.delete(server);
    this.#failing.set(server, failing);
    this.#save([failing]);
    log.debug({ server, reason, waitMs: wait }, 'a server is left alone for a while');
  }

  onRecovered(listener: (server: ServerName) => void): { unsubscribe(): void } {
    this.#listeners.add(listener);
    return { unsubscribe: () => void this.#listeners.delete(listener) };
  }

  wake(): void {
    const now = this.#needs.clock.now();
    const all = [...this.#failing.keys()];
    this.#shorten(({ trouble }) => now - trouble.failingSince < WELL_SHORTLY_BEFORE_MS);
    const later: StoredDestination[] = [];
    for (const [server, kept] of this.#failing) {
      const soon = now + Math.round((this.#needs.random.bytes(4).readUInt32BE() / 2 ** 32) * SOON_MS);
      if (kept.trouble.retryAt <= soon) continue;
      const sooner = { ...kept, trouble: { ...kept.trouble, retryAt: soon } };
      this.#failing.set(server, sooner);
      later.push(sooner);
    }
    this.#save(later);
    this.#tell(all);
  }

  list({
    from,
    limit,
    failingOnly = false,
  }: {
    from?: ServerName;
    limit: number;
    failingOnly?: boolean;
  }): DestinationStatus[] {
    const page = this.#store.list(from ?? '', Math.min(Math.max(0, Math.trunc(limit)), MAX_PAGE), failingOnly);
    return page.map((stored) => this.#statusOf(this.#failing.get(stored.server) ?? stored));
  }

  #statusOf({ server, trouble, lastSuccess, lastError }: StoredDestination): DestinationStatus {
    return {
      server,
      failingSince: trouble?.failingSince,
      retryAt: trouble?.retryAt,
      lastSuccess: this.#well.get(server)?.last ?? lastSuccess,
      lastError,
    };
  }

  /** One more success of a server that is well: written down when it is new, and once a day. */
  #noteSuccess(server: ServerName, now: number): void {
    const known = this.#well.get(server);
    if (known !== undefined && now - known.stored < SUCCESS_GRAIN_MS && now >= known.stored) {
      known.last = now;
      return;
    }
    const stored = this.#findStored(server);
    const isFresh = stored?.lastSuccess !== undefined && Math.abs(now - stored.lastSuccess) < SUCCESS_GRAIN_MS;
    this.#well.set(server, { stored: isFresh ? (stored.lastSuccess ?? now) : now, last: now });
    if (!isFresh) this.#save([{ server, trouble: undefined, lastSuccess: now, lastError: stored?.lastError }]);
  }

  #recover(server: ServerName, now: number): void {
    const lastError = this.#failing.get(server)?.lastError;
    this.#failing.delete(server);
    this.#well.set(server, { stored: now, last: now });
    this.#save([{ server, trouble: undefined, lastSuccess: now, lastError }]);
  }

  /** Ends the waits of those that `isMeant`, as if they had failed for the first time; returns which these are. */
  #shorten(isMeant: (kept: { readonly trouble: Trouble }) => boolean): ServerName[] {
    const now = this.#needs.clock.now();
    const changed: StoredDestination[] = [];
    for (const [server, kept] of this.#failing) {
      if (!isMeant(kept)) continue;
      // The next failure makes the first wait again.
      const interval = this.#needs.settings.minMs / this.#needs.settings.factor;
      const sooner = { ...kept, trouble: { ...kept.trouble, interval, retryAt: now } };
      this.#failing.set(server, sooner);
      changed.push(sooner);
    }
    this.#save(changed);
    return changed.map(({ server }) => server);
  }

  /** Forgets one that failed long ago in favour of one that fails now. */
  #makeRoom(now: number): void {
    if (this.#failing.size < MAX_FAILING) return;
    let gone: ServerName | undefined;
    for (const [server, { trouble, lastSuccess }] of this.#failing) {
      gone ??= server;
      if (lastSuccess === undefined && trouble.retryAt < now) {
        gone = server;
        break;
      }
    }
    if (gone === undefined) return;
    const forgotten = gone;
    this.#failing.delete(forgotten);
    this.#write((tx) => this.#store.remove(tx, forgotten));
  }

  #save(changed: readonly StoredDestination[]): void {
    if (changed.length === 0) return;
    this.#write((tx) => {
      for (const destination of changed) this.#store.put(tx, destination);
    });
  }

  #findStored(server: ServerName): StoredDestination | undefined {
    return this.#attempt(() => this.#store.find(server));
  }

  #write(change: (tx: WriteTx) => void): void {
    this.#attempt(() => this.#needs.db.write(change));
  }

  /** What is kept here only saves work: that the disk fails, or is closed already, must not fail the request it came from. */
  #attempt<Result>(action: () => Result): Result | undefined {
    try {
      return action();
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      this.#needs.log.warn({ problem: error.kind }, 'how servers are reached could not be read or written');
      return undefined;
    }
  }

  #tell(servers: readonly ServerName[]): void {
    for (const server of servers) {
      for (const listener of this.#listeners) listener(server);
    }
  }
}
