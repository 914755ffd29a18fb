import type { EventId, RoomId, ServerName } from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../matrix/json.ts';
import type { Database, Restoration, WriteTx } from '../../storage/types.ts';
import { Backoff } from '../../util/backoff.ts';
import type { Clock } from '../../util/clock.ts';
import type { LogData, Logger } from '../../util/log.ts';
import { type Random, randomString } from '../../util/random.ts';
import { FederationError } from '../errors.ts';
import { federationPath } from '../path.ts';
import type { Destinations, Edu, EduSender, FederationClient, OutgoingPdu, PduSender } from '../types.ts';
import { type Batch, Batcher, type Destination, type EduBuilder, MAX_PDUS } from './batch.ts';
import { outcomeOf } from './outcome.ts';
import { Outbox, type QueueStatus } from './outbox.ts';
import { ReceiptPace } from './receipt-pace.ts';
import { RetryTimer } from './retry-timer.ts';
import { type Lane, Slots } from './slots.ts';
import { Sweeper } from './sweeper.ts';

export type { EduBuilder } from './batch.ts';
export type { QueueStatus } from './outbox.ts';

export interface FederationSenderSettings {
  /** How many transactions a second the read receipts of one room may cause, all servers together. */
  readonly receiptTransactionsPerRoomPerSecond: number;
  /** The only servers to deal with; undefined: all. */
  readonly allowedServers?: readonly ServerName[] | undefined;
}

export interface FederationSenderNeeds {
  readonly db: Database;
  readonly client: Pick<FederationClient, 'request'>;
  readonly destinations: Pick<Destinations, 'find' | 'readyAt' | 'onRecovered'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly serverName: ServerName;
  /** Events as they are sent, by ID; undefined for what is not to be had any more. */
  readonly pdus: { find(eventId: EventId): JsonObject | undefined };
  readonly settings: FederationSenderSettings;
}

/** Events that waited for no longer than this when the data were restored are sent all the same, ms. */
const RESENT_AFTER_RESTORE_MS = 24 * 3_600_000;
/** For a whole transaction to be taken, ms. */
const TRANSACTION_TIMEOUT_MS = 60_000;
/** Waits after failures that nobody else keeps count of, such as refusals. */
const OWN_BACKOFF = { firstMs: 5_000, longestMs: 60 * 60_000 };
/** Before a divided transaction is tried again, ms. */
const DIVIDED_WAIT_MS = 1_000;
/** For each server that is started with, up to a limit: not all are to be called in the first second. */
const STAGGER_MS = 50;
const LONGEST_STAGGER_MS = 30_000;
/** After the machine woke, live servers have to hear of it within seconds. */
const WAKE_SPREAD_MS = 3_000;
/** How long a stop waits for transactions that are on their way, ms. */
const STOP_GRACE_MS = 3_000;
const RECEIPT = 'm.receipt';
/** EDUs kept in memory for one server. */
const FLEETING_KEPT = 200;
/**
 * Events of one room that are kept for a server: while it answers, in the first hour that it does not, and after that.
 * With the newest it can ask for those before it.
 */
const EVENTS_KEPT = { live: 10_000, failing: 50, lost: 1 };
const LOST_AFTER_MS = 60 * 60_000;

/** A server that refuses what is sent to it, though it may well be reachable. */
interface Trouble {
  readonly since: number;
  readonly backoff: Backoff;
}

interface Run extends Destination {
  /** Something came since it was last looked. */
  again: boolean;
  /** Ends the request that is on its way. */
  abort: AbortController;
  done: Promise<void>;
}

/**
 * Sends events and EDUs to other servers (server-server API, "Transactions"): one transaction at a time to each, in order.
 * A server that cannot be reached costs nothing but what waits for it on disk, which does not grow for ever.
 */
export class FederationSender implements EduSender, PduSender {
  readonly #needs: FederationSenderNeeds;
  readonly #outbox: Outbox;
  readonly #batcher: Batcher;
  readonly #slots: Slots;
  readonly #pace: ReceiptPace;
  readonly #sweeper: Sweeper;
  readonly #allowed: ReadonlySet<ServerName> | undefined;
  readonly #builders = new Map<string, EduBuilder>();
  /** Servers that are being sent to. */
  readonly #runs = new Map<ServerName, Run>();
  /** Servers that are left alone for a while; whatever comes for them waits on disk. */
  readonly #waiting: RetryTimer;
  readonly #troubles = new Map<ServerName, Trouble>();
  /** How many events at once a server is sent that refuses something, until it is found what. */
  readonly #limits = new Map<ServerName, number>();
  readonly #fleeting = new Map<ServerName, Map<string, Edu>>();
  /** Servers that receipts alone are worth a transaction to. */
  readonly #receiptsDue = new Set<ServerName>();
  /** Lists of destinations as they came, without those that nothing may be sent to. */
  readonly #admitted = new WeakMap<readonly ServerName[], readonly ServerName[]>();
  readonly #transactionPrefix: string;
  /** The last write that events were stored in, and for whom. */
  #poking: { readonly tx: WriteTx; readonly servers: readonly ServerName[] } | undefined;
  #transactions = 0;
  #unnamed = 0;
  #state: 'new' | 'started' | 'stopping' = 'new';
  #subscription: { unsubscribe(): void } | undefined;

  constructor(needs: FederationSenderNeeds) {
    const { db, clock, random, log, settings } = needs;
    this.#needs = needs;
    this.#outbox = new Outbox({ db, clock });
    this.#batcher = new Batcher({
      outbox: this.#outbox,
      log,
      findPdu: (eventId) => needs.pdus.find(eventId),
      builders: this.#builders,
    });
    this.#slots = new Slots({ clock });
    this.#waiting = new RetryTimer({ clock, due: (server) => this.#poke(server) });
    this.#pace = new ReceiptPace({
      clock,
      perSecond: settings.receiptTransactionsPerRoomPerSecond,
      flush: (servers) => {
        for (const server of servers) this.#receiptsDue.add(server);
        this.#pokeAll(servers);
      },
    });
    this.#sweeper = new Sweeper({
      db,
      clock,
      log,
      outbox: this.#outbox,
      limits: {
        live: EVENTS_KEPT.live,
        failing: EVENTS_KEPT.failing,
        keepFor: (server) => this.#eventsKeptFor(server),
      },
    });
    this.#allowed = settings.allowedServers === undefined ? undefined : new Set(settings.allowedServers);
    // Never the same again, whatever becomes of this process and its clock.
    this.#transactionPrefix = `${clock.now().toString(36)}-${randomString(random, 10)}`;
  }

  /**
   * Before the start, after a backup took the place of the data: what waited then was mostly sent since. EDUs are of the moment
   * or are made anew; events of the last day go out again, which harms nobody who has them; what is older the other
   * servers find by the events that follow.
   */
  afterRestore(tx: WriteTx, { now }: Restoration): void {
    this.#outbox.forgetBefore(tx, now - RESENT_AFTER_RESTORE_MS);
  }

  /** Says who makes the EDUs that were announced with `sendLater`. Before the start, once for each type. */
  provide(type: string, builder: EduBuilder): void {
    if (this.#builders.has(type)) throw new Error(`EDUs of type ${type} are made by two`);
    this.#builders.set(type, builder);
  }

  /** Goes on with what was left when the server last stopped; from now on everything is sent as it comes. */
  start(): void {
    if (this.#state !== 'new') throw new Error('the sender can be started once');
    this.#state = 'started';
    this.#subscription = this.#needs.destinations.onRecovered((server) => this.#recovered(server));
    const [servers, shutOut] = partition(this.#outbox.listServers(), (server) => this.#allowed?.has(server) !== false);
    if (shutOut.length > 0) {
      this.#needs.db.write((tx) => {
        for (const server of shutOut) this.#outbox.abandon(tx, server);
      });
    }
    const spread = Math.min(LONGEST_STAGGER_MS, servers.length * STAGGER_MS);
    for (const server of servers) this.#retryWithin(server, spread);
    this.#sweeper.markRooms(this.#outbox.listRooms());
  }

  /** Waits a moment for what is on its way, then ends it. What was not acknowledged is sent after the next start. */
  async stop(): Promise<void> {
    this.#state = 'stopping';
    this.#subscription?.unsubscribe();
    this.#waiting.clear();
    this.#pace.stop();
    this.#slots.close();
    const grace = this.#needs.clock.after(STOP_GRACE_MS, () => {
      for (const run of this.#runs.values()) run.abort.abort();
    });
    await Promise.all([...this.#runs.values()].map((run) => run.done));
    grace.cancel();
    await this.#sweeper.stop();
  }

  /** The machine slept or changed its network: what was on its way is sent anew, and whoever may be asked is asked soon. */
  wake(): void {
    if (this.#state !== 'started') return;
    for (const run of this.#runs.values()) run.abort.abort();
    for (const { backoff } of this.#troubles.values()) backoff.reset();
    for (const server of this.#waiting.list()) this.#retryWithin(server, WAKE_SPREAD_MS);
  }

  /** What waits, for each server that anything waits for. Counts rows: for people to look at, not for every request. */
  listQueues(): QueueStatus[] {
    return this.#outbox.listQueues();
  }

  /** Whether events of a room are on their way to a server that can be reached, as far as is known. */
  isSending(roomId: RoomId): boolean {
    return this.#outbox.listLacking(roomId).some((server) => this.#isLive(server));
  }

  /**
   * A room is about to be removed from this server: the last that was said from here, that everybody left above all, reaches
   * the servers that are away now as well, whenever they come back.
   */
  keepApart(tx: WriteTx, roomId: RoomId): void {
    this.#outbox.keepApart(tx, roomId, EVENTS_KEPT.failing, (eventId) => {
      const pdu = this.#needs.pdus.find(eventId);
      return pdu === undefined ? undefined : JSON.stringify(pdu);
    });
  }

  /** Gives up at most `limit` events of a room that is gone, but for those kept apart; says how many. */
  abandonRoom(tx: WriteTx, roomId: RoomId, limit: number): number {
    return this.#outbox.abandonRoom(tx, roomId, limit);
  }

  send(destinations: Iterable<ServerName>, edu: Edu, key?: string): void {
    if (this.#state !== 'started') return;
    const live = this.#admit(destinations).filter((server) => this.#isLive(server));
    const name = `${edu.type}\0${key ?? `\0${(this.#unnamed += 1)}`}`;
    for (const server of live) {
      const waiting = this.#fleetingOf(server);
      // The newer one goes to the end.
      waiting.delete(name);
      waiting.set(name, edu);
      const [oldest] = waiting.keys();
      if (waiting.size > FLEETING_KEPT && oldest !== undefined) waiting.delete(oldest);
    }
    this.#announce(live, edu.type, key, edu.content);
  }

  sendDurably(tx: WriteTx, destinations: Iterable<ServerName>, edu: Edu, key?: string): void {
    const content = JSON.stringify(edu.content);
    this.#store(tx, this.#admit(destinations), { type: edu.type, key, content }, edu.content);
  }

  sendLater(tx: WriteTx, destinations: Iterable<ServerName>, type: string, key: string): void {
    this.#store(tx, this.#admit(destinations), { type, key, content: undefined }, undefined);
  }

  sendPdu(tx: WriteTx, destinations: Iterable<ServerName>, pdu: OutgoingPdu): void {
    const servers = this.#admit(destinations);
    if (servers.length === 0) return;
    this.#outbox.putPdu(tx, this.#outbox.makeAudience(tx, servers), pdu);
    tx.onCommit(() => this.#state === 'started' && this.#sweeper.markRooms([pdu.roomId]));
    // Of a thousand events in one write, one tells all.
    if (this.#poking?.tx === tx && this.#poking.servers === servers) return;
    this.#poking = { tx, servers };
    tx.onCommit(() => {
      this.#poking = undefined;
      this.#pokeAll(servers);
    });
  }

  #store(
    tx: WriteTx,
    servers: readonly ServerName[],
    edu: { readonly type: string; readonly key: string | undefined; readonly content: string | undefined },
    content: JsonObject | undefined,
  ): void {
    if (servers.length === 0) return;
    for (const server of servers) this.#outbox.putEdu(tx, server, edu);
    tx.onCommit(() => {
      for (const server of servers) this.#sweeper.markServer(server);
      this.#announce(servers, edu.type, edu.key, content);
    });
  }

  /** Without this server itself, repeats, and those that nothing may be sent to. Quick for a frozen list that came before. */
  #admit(destinations: Iterable<ServerName>): readonly ServerName[] {
    const list: readonly ServerName[] | undefined =
      Array.isArray(destinations) && Object.isFrozen(destinations) ? destinations : undefined;
    const known = list === undefined ? undefined : this.#admitted.get(list);
    if (known !== undefined) return known;
    const admitted = [...new Set(destinations)].filter(
      (server) => server !== this.#needs.serverName && this.#allowed?.has(server) !== false,
    );
    if (list !== undefined) this.#admitted.set(list, admitted);
    return admitted;
  }

  #announce(servers: readonly ServerName[], type: string, key: string | undefined, content?: JsonObject): void {
    if (this.#state !== 'started' || servers.length === 0) return;
    if (type === RECEIPT) this.#pace.add(roomOfReceipt(key, content), servers);
    else this.#pokeAll(servers);
  }

  #fleetingOf(server: ServerName): Map<string, Edu> {
    const kept = this.#fleeting.get(server);
    if (kept !== undefined) return kept;
    const made = new Map<string, Edu>();
    this.#fleeting.set(server, made);
    return made;
  }

  #isLive(server: ServerName): boolean {
    return !this.#waiting.has(server) && this.#needs.destinations.readyAt(server) <= this.#needs.clock.now();
  }

  #eventsKeptFor(server: ServerName): number {
    const since = this.#needs.destinations.find(server)?.failingSince ?? this.#troubles.get(server)?.since;
    if (since === undefined) return EVENTS_KEPT.live;
    return this.#needs.clock.now() - since < LOST_AFTER_MS ? EVENTS_KEPT.failing : EVENTS_KEPT.lost;
  }

  #laneOf(server: ServerName): Lane {
    const isFailing = this.#troubles.has(server) || this.#needs.destinations.find(server)?.failingSince !== undefined;
    return isFailing ? 'doubtful' : 'live';
  }

  #pokeAll(servers: Iterable<ServerName>): void {
    for (const server of servers) this.#poke(server);
  }

  /** Something may be waiting for the server. Whoever is being sent to finds it anyway; whoever is left alone, later. */
  #poke(server: ServerName): void {
    if (this.#state !== 'started' || this.#waiting.has(server)) return;
    const run = this.#runs.get(server);
    if (run !== undefined) {
      run.again = true;
      return;
    }
    const readyAt = this.#needs.destinations.readyAt(server);
    if (readyAt > this.#needs.clock.now()) {
      this.#fleeting.delete(server);
      this.#waiting.set(server, readyAt);
    } else this.#begin(server);
  }

  #recovered(server: ServerName): void {
    this.#troubles.get(server)?.backoff.reset();
    if (this.#waiting.remove(server)) this.#poke(server);
  }

  #retryWithin(server: ServerName, spreadMs: number): void {
    const part = this.#needs.random.bytes(4).readUInt32BE() / 2 ** 32;
    const soon = this.#needs.clock.now() + part * spreadMs;
    this.#waiting.set(server, Math.max(soon, this.#needs.destinations.readyAt(server)));
  }

  #begin(server: ServerName): void {
    const run: Run = {
      server,
      fleeting: this.#fleetingOf(server),
      limit: this.#limits.get(server) ?? MAX_PDUS,
      remainder: undefined,
      again: false,
      abort: new AbortController(),
      done: Promise.resolve(),
    };
    this.#runs.set(server, run);
    run.done = this.#run(run);
  }

  /** Sends all that waits for a server, one transaction after the other. */
  async #run(run: Run): Promise<void> {
    const { server } = run;
    let isGoing = true;
    while (isGoing) {
      const slot = await this.#slots.take(this.#laneOf(server));
      try {
        isGoing = this.#state === 'started' && (await this.#sendNext(run));
      } catch (error) {
        if (this.#state === 'started') {
          this.#needs.log.error({ server, error }, 'sending to a server failed');
          this.#leaveAlone(server, undefined, { server });
        }
        isGoing = false;
      } finally {
        slot.release();
      }
    }
    this.#runs.delete(server);
    const isLeftAlone = this.#waiting.has(server);
    // Held back receipts stay; what is late for a server that is away is of no use to anybody.
    if (isLeftAlone || run.fleeting.size === 0) this.#fleeting.delete(server);
    // It came while the last look was being reported.
    if (run.again && !isLeftAlone) this.#poke(server);
  }

  /** Sends one transaction. Returns whether there may be more to send now. */
  async #sendNext(run: Run): Promise<boolean> {
    const { db, client, log, clock, serverName } = this.#needs;
    const { server } = run;
    run.again = false;
    const batch = this.#batcher.build(run);
    if (batch === undefined) {
      // Its cursor stays behind when the events it stood before were removed.
      if (this.#outbox.isBehind(server)) db.write((tx) => this.#outbox.settle(tx, server, undefined, []));
      return false;
    }
    if (this.#hasToWait(server, batch)) return false;
    this.#receiptsDue.delete(server);
    // What is told to others must not be undone any more.
    await db.committed();
    if (batch.pdus.length + batch.edus.length === 0) {
      this.#settle(run, batch);
      return true;
    }
    if (this.#state !== 'started') return false;
    run.abort = new AbortController();
    const startedAt = clock.monotonic();
    try {
      this.#transactions += 1;
      const answer = await client.request({
        destination: server,
        method: 'PUT',
        path: federationPath('/v1/send', `${this.#transactionPrefix}-${this.#transactions}`),
        body: {
          origin: serverName,
          origin_server_ts: clock.now(),
          pdus: batch.pdus,
          ...(batch.edus.length > 0 ? { edus: batch.edus } : {}),
        },
        timeoutMs: TRANSACTION_TIMEOUT_MS,
        retries: 'short',
        signal: run.abort.signal,
      });
      this.#settle(run, batch);
      this.#troubles.delete(server);
      this.#limit(run, run.limit * 2);
      const sent = { server, pdus: batch.pdus.length, edus: batch.edus.length };
      log.debug({ ...sent, tookMs: Math.round(clock.monotonic() - startedAt) }, 'transaction sent');
      this.#logErrors(server, answer);
      return true;
    } catch (error) {
      if (!(error instanceof FederationError)) throw error;
      return this.#failed(run, batch, error);
    }
  }

  /** Receipts that are held back may come along, but are not sent on their own. */
  #hasToWait(server: ServerName, { pduSeq, edus }: Batch): boolean {
    if (pduSeq !== undefined || edus.some(({ edu_type: type }) => type !== RECEIPT)) return false;
    return edus.length > 0 && !this.#receiptsDue.has(server) && this.#pace.holds(server);
  }

  #settle(run: Run, { pduSeq, eduSeqs, fleeting, remainder, rooms }: Batch): void {
    this.#needs.db.write((tx) => {
      this.#outbox.settle(tx, run.server, pduSeq, eduSeqs);
      // Without this the rows, once they are back, would wait for the next event.
      tx.onRollback(() => this.#poke(run.server));
    });
    for (const [name, edu] of fleeting) if (run.fleeting.get(name) === edu) run.fleeting.delete(name);
    run.remainder = remainder;
    this.#sweeper.markRooms(rooms);
  }

  #failed(run: Run, batch: Batch, error: FederationError): boolean {
    const { log, clock } = this.#needs;
    const { server } = run;
    const outcome = outcomeOf(error);
    const about = { server, reason: error.kind, status: error.status, errcode: error.errcode };
    if (outcome.kind === 'repeat' && run.abort.signal.aborted) return this.#state === 'started';
    run.remainder = undefined;
    if (outcome.kind === 'divide') {
      const items = batch.pdus.length + batch.edus.length;
      if (items === 1) {
        log.warn(
          { ...about, pdus: batch.pdus.length, edus: batch.edus.length },
          'a server refuses this; it is dropped',
        );
        this.#settle(run, batch);
      }
      this.#limit(run, Math.max(1, Math.floor(items / 2)));
      this.#waiting.set(server, clock.now() + DIVIDED_WAIT_MS);
      return false;
    }
    this.#leaveAlone(server, outcome.kind === 'later' ? outcome.waitMs : undefined, about);
    return false;
  }

  #leaveAlone(server: ServerName, askedMs: number | undefined, about: LogData): void {
    const { clock, destinations, random, log } = this.#needs;
    this.#receiptsDue.delete(server);
    let trouble = this.#troubles.get(server);
    if (trouble === undefined) {
      trouble = { since: clock.now(), backoff: new Backoff(OWN_BACKOFF, random) };
      this.#troubles.set(server, trouble);
      log.info(about, 'a transaction did not go through');
    }
    const waitMs = askedMs ?? trouble.backoff.next();
    this.#waiting.set(server, Math.max(destinations.readyAt(server), clock.now() + waitMs));
  }

  #limit(run: Run, limit: number): void {
    run.limit = Math.min(MAX_PDUS, limit);
    if (run.limit < MAX_PDUS) this.#limits.set(run.server, run.limit);
    else this.#limits.delete(run.server);
  }

  /** What the other server says of single events (server-server API, "PDU Processing Results"). */
  #logErrors(server: ServerName, answer: JsonValue): void {
    const results = isJsonObject(answer) && isJsonObject(answer['pdus']) ? answer['pdus'] : {};
    const refused = Object.entries(results).filter(([, result]) => isJsonObject(result) && 'error' in result);
    if (refused.length === 0) return;
    const [[eventId, result] = []] = refused;
    const said = isJsonObject(result) ? result['error'] : undefined;
    const reason = typeof said === 'string' ? said.slice(0, 200) : undefined;
    this.#needs.log.info({ server, pdus: refused.length, eventId, reason }, 'a server did not accept events');
  }
}

function partition<Item>(items: readonly Item[], isFirst: (item: Item) => boolean): [Item[], Item[]] {
  return [items.filter(isFirst), items.filter((item) => !isFirst(item))];
}

/** The room whose receipts these are, as far as can be told. */
function roomOfReceipt(key: string | undefined, content: JsonObject | undefined): string {
  const [room] = Object.keys(content ?? {});
  return room ?? key?.split(/[\0 ]/, 1)[0] ?? '';
}

/** Makes the sender. The tables of `federationMigrations` must be there. */
export function createFederationSender(needs: FederationSenderNeeds): FederationSender {
  return new FederationSender(needs);
}
