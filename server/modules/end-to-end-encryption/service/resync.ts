import { FederationError, type FederationFailure } from '../../../federation/errors.ts';
import { federationPath } from '../../../federation/path.ts';
import type { Destinations, FederationClient } from '../../../federation/types.ts';
import { type ServerName, serverNameOf, type UserId } from '../../../matrix/identifiers.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';
import type { Clock, Timer } from '../../../util/clock.ts';
import type { Logger } from '../../../util/log.ts';
import type { Random } from '../../../util/random.ts';
import type { RemoteListStore } from '../store/remote-lists.ts';
import { type DeviceUpdate, readSnapshot } from './read-remote.ts';
import type { RemoteLists } from './remote-lists.ts';

/** A list of a thousand devices has less than this. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
const ANSWER_TIMEOUT_MS = 30_000;
/** Lists fetched at a time, by all who do not wait for one, and of one server. */
const MAX_RUNNING = 20;
const MAX_RUNNING_OF_SERVER = 3;
/** Lists looked at to find some whose servers are not at work yet. */
const MAX_DUE = 500;
/** Updates kept that arrive while their list is on its way; with more than that it is fetched again. */
const MAX_HELD = 100;
/** How long until a list is fetched again, ms: first, at most, and where its server gives reason to do so at once. */
const FIRST_RETRY_MS = 60_000;
const LONGEST_RETRY_MS = 6 * 3_600_000;
const SOON_MS = 5_000;

export interface ResyncerNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly client: Pick<FederationClient, 'request'>;
  readonly destinations: Pick<Destinations, 'onRecovered'>;
  readonly store: RemoteListStore;
  readonly lists: RemoteLists;
}

/** Failures of the server, whatever it is asked. */
const NOT_THERE: ReadonlySet<FederationFailure> = new Set(['unreachable', 'backing-off', 'denied']);

interface Run {
  readonly outcome: Promise<FederationError | undefined>;
  /** Updates that came meanwhile, which the answer may hold or not. */
  readonly held: DeviceUpdate[];
  /** Something came that cannot be put into the list afterwards. */
  outdated: boolean;
}

/** Fetches device lists of other servers' users: one at a time for each user, again and again until there is one. */
export class Resyncer {
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Logger;
  readonly #client: Pick<FederationClient, 'request'>;
  readonly #destinations: Pick<Destinations, 'onRecovered'>;
  readonly #store: RemoteListStore;
  readonly #lists: RemoteLists;
  readonly #running = new Map<UserId, Run>();
  readonly #ofServer = new Map<ServerName, number>();
  readonly #stopping = new AbortController();
  #subscription: { unsubscribe(): void } | undefined;
  #timer: Timer | undefined;
  #willPump = false;

  constructor({ db, clock, random, log, client, destinations, store, lists }: ResyncerNeeds) {
    this.#db = db;
    this.#clock = clock;
    this.#random = random;
    this.#log = log;
    this.#client = client;
    this.#destinations = destinations;
    this.#store = store;
    this.#lists = lists;
  }

  /** Goes on where the last run of the server stopped, after a moment. */
  start(): void {
    this.#subscription = this.#destinations.onRecovered((server) => this.#recovered(server));
    this.#timer = this.#clock.after(SOON_MS, () => this.#pump());
  }

  /** Ends what is under way; it is begun anew after the next start. */
  async stop(): Promise<void> {
    this.#subscription?.unsubscribe();
    this.#timer?.cancel();
    this.#stopping.abort();
    await Promise.allSettled([...this.#running.values()].map(({ outcome }) => outcome));
  }

  /** Has the list fetched as soon as may be. `heard`: an update that showed it to lack something. */
  request(tx: WriteTx, userId: UserId, heard: readonly number[] = []): void {
    const failures = this.#store.find(userId)?.failures ?? 0;
    const now = this.#clock.now();
    this.#lists.markStale(tx, userId, { heard, retryAt: failures === 0 ? now : now + SOON_MS });
    tx.onCommit(() => this.#pumpSoon());
  }

  /** Keeps an update back if its list is on its way. */
  hold(update: DeviceUpdate): boolean {
    const run = this.#running.get(update.userId);
    if (run === undefined) return false;
    if (run.held.length < MAX_HELD) run.held.push(update);
    else run.outdated = true;
    return true;
  }

  /** Something has changed that is told apart from devices: a list on its way may lack it. */
  outdate(userId: UserId): boolean {
    const run = this.#running.get(userId);
    if (run !== undefined) run.outdated = true;
    return run !== undefined;
  }

  /** Fetches the list now, or waits for it if it is on its way. Gives the error if there is none to be had. */
  resync(userId: UserId): Promise<FederationError | undefined> {
    const running = this.#running.get(userId);
    if (running !== undefined) return running.outcome;
    if (this.#stopping.signal.aborted) {
      return Promise.resolve(new FederationError('aborted', serverNameOf(userId), 'this server is stopping'));
    }
    const server = serverNameOf(userId);
    this.#ofServer.set(server, this.#runningOf(server) + 1);
    const held: DeviceUpdate[] = [];
    const run: Run = {
      held,
      outdated: false,
      // Begins in a later step, when the run can be found.
      outcome: Promise.resolve().then(() => this.#run(userId, run)),
    };
    this.#running.set(userId, run);
    const finished = (): void => {
      this.#running.delete(userId);
      const left = this.#runningOf(server) - 1;
      if (left > 0) this.#ofServer.set(server, left);
      else this.#ofServer.delete(server);
      this.#pump();
    };
    void run.outcome.then(finished, finished);
    return run.outcome;
  }

  async #run(userId: UserId, run: Run): Promise<FederationError | undefined> {
    const server = serverNameOf(userId);
    // Whatever happens to this server, the list is to be fetched until it is there.
    this.#db.write((tx) => this.#lists.markStale(tx, userId, { heard: [], retryAt: this.#clock.now() }));
    const covered = this.#store.find(userId)?.streamIds ?? [];
    const trackedSince = this.#db.position();
    try {
      // So that the other server is asked only once it is certain that this one was in the room.
      await this.#db.committed();
      const answer = await this.#client.request({
        destination: server,
        method: 'GET',
        path: federationPath('/v1/user/devices', userId),
        timeoutMs: ANSWER_TIMEOUT_MS,
        maxBytes: MAX_ANSWER_BYTES,
        signal: this.#stopping.signal,
      });
      const snapshot = readSnapshot(userId, answer);
      if (snapshot === undefined) throw new FederationError('malformed', server, 'this is no list of devices');
      this.#db.write((tx) => {
        if (!this.#lists.isShared(userId)) {
          this.#lists.forget(tx, userId);
          return;
        }
        this.#lists.replace(tx, userId, snapshot, { streamIds: covered, trackedSince });
        const gaps = run.held.filter((update) => this.#lists.take(tx, update) === 'gap');
        if (gaps.length === 0 && !run.outdated) return;
        this.#lists.markStale(tx, userId, {
          heard: gaps.map(({ streamId }) => streamId),
          retryAt: this.#clock.now() + SOON_MS,
        });
      });
      return undefined;
    } catch (error) {
      const kind = error instanceof FederationError ? error.kind : undefined;
      if (kind !== 'aborted') this.#failed(userId, server, kind);
      if (error instanceof FederationError) return error;
      throw error;
    }
  }

  #failed(userId: UserId, server: ServerName, kind: FederationFailure | undefined): void {
    const now = this.#clock.now();
    const failures = this.#store.find(userId)?.failures ?? 0;
    const wait = Math.min(FIRST_RETRY_MS * 2 ** failures, LONGEST_RETRY_MS);
    const retryAt = now + Math.round(wait * (1 + this.#random.bytes(1).readUInt8() / 1024));
    this.#log.debug({ userId, kind, failures: failures + 1 }, 'device list not fetched');
    this.#db.write((tx) => {
      this.#store.postpone(tx, userId, retryAt);
      // What became of one request will become of all others; each would only wait for it.
      if (kind !== undefined && NOT_THERE.has(kind)) this.#store.postponeServer(tx, server, retryAt);
    });
  }

  #recovered(server: ServerName): void {
    if (this.#stopping.signal.aborted) return;
    const some = this.#db.write((tx) => this.#store.hasten(tx, server, this.#clock.now()));
    if (some) this.#pump();
  }

  #runningOf(server: ServerName): number {
    return this.#ofServer.get(server) ?? 0;
  }

  /** Once for all that was asked for in this turn. */
  #pumpSoon(): void {
    if (this.#willPump) return;
    this.#willPump = true;
    queueMicrotask(() => {
      this.#willPump = false;
      this.#pump();
    });
  }

  /** Begins what is due, as far as there is room, and waits for what is due next. */
  #pump(): void {
    if (this.#stopping.signal.aborted) return;
    const now = this.#clock.now();
    for (const { userId, server } of this.#store.listDue(now, MAX_DUE)) {
      if (this.#running.size >= MAX_RUNNING) break;
      if (this.#running.has(userId) || this.#runningOf(server) >= MAX_RUNNING_OF_SERVER) continue;
      this.resync(userId).catch((error: unknown) => this.#log.error({ error, userId }, 'device list not fetched'));
    }
    this.#timer?.cancel();
    const next = this.#store.nextDue(now);
    if (next !== undefined) this.#timer = this.#clock.after(next - now, () => this.#pump());
  }
}
