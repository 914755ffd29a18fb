import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { TestContext } from 'node:test';
import { FederationError } from '../../server/federation/errors.ts';
import { federationMigrations } from '../../server/federation/schema.ts';
import {
  createFederationSender,
  type EduBuilder,
  type FederationSender,
  type FederationSenderSettings,
} from '../../server/federation/sender/sender.ts';
import type {
  Destinations,
  DestinationStatus,
  FederationClient,
  FederationRequest,
} from '../../server/federation/types.ts';
import {
  type EventId,
  isEventId,
  isRoomId,
  isServerName,
  type RoomId,
  type ServerName,
} from '../../server/matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../server/matrix/json.ts';
import { openDatabase, type OpenDatabase } from '../../server/storage/database.ts';
import { silentLogger } from '../../server/util/log.ts';
import { systemRandom } from '../../server/util/random.ts';
import { ManualClock } from '../kit/manual-clock.ts';

export const HOME = server('hearth.test');
export const AWAY = server('away.test');
export const FAR = server('far.test');
export const KITCHEN = room('!kitchen:hearth.test');
export const GARDEN = room('!garden:hearth.test');

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
/** How long a played server is left alone after a failure. */
export const LEFT_ALONE_MS = 10 * MINUTE;

export function server(name: string): ServerName {
  if (!isServerName(name)) throw new TypeError(`${name} is no server name`);
  return name;
}

function room(id: string): RoomId {
  if (!isRoomId(id)) throw new TypeError(`${id} is no room ID`);
  return id;
}

export function event(name: string): EventId {
  const id = `$${name}`;
  if (!isEventId(id)) throw new TypeError(`${id} is no event ID`);
  return id;
}

/** One transaction as a played server got it. */
export interface Received {
  readonly server: ServerName;
  readonly transactionId: string;
  readonly pdus: readonly string[];
  readonly edus: readonly JsonObject[];
}

type Answer = (transaction: Received) => Promise<JsonValue> | JsonValue;

/** Other servers, and whether they can be reached. */
export class Peers {
  readonly received: Received[] = [];
  readonly tried: Received[] = [];
  /** Answers of those that do not simply take everything. */
  readonly answers = new Map<ServerName, Answer>();
  /** The most transactions that were on their way to one server at once. */
  mostAtOnce = 0;
  readonly #clock: ManualClock;
  readonly #underWay = new Map<ServerName, number>();
  readonly #failing = new Map<ServerName, DestinationStatus>();
  readonly #listeners = new Set<(server: ServerName) => void>();

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  readonly client: Pick<FederationClient, 'request'> = { request: (request) => this.#take(request) };

  readonly destinations: Pick<Destinations, 'find' | 'readyAt' | 'onRecovered'> = {
    find: (name) => this.#failing.get(name),
    readyAt: (name) => this.#failing.get(name)?.retryAt ?? 0,
    onRecovered: (listener) => {
      this.#listeners.add(listener);
      return { unsubscribe: () => void this.#listeners.delete(listener) };
    },
  };

  /** A server cannot be reached until it is `back`. */
  unplug(name: ServerName): void {
    this.answers.set(name, () => {
      throw new FederationError('unreachable', name, 'nobody is there');
    });
  }

  /** A server never answers. */
  freeze(name: ServerName): void {
    this.answers.set(name, () => new Promise(() => {}));
  }

  /** It is there again, and is heard of. */
  back(name: ServerName): void {
    this.answers.delete(name);
    this.#failing.delete(name);
    for (const listener of this.#listeners) listener(name);
  }

  /** What a server was sent, in order. */
  eventsOf(name: ServerName): string[] {
    return this.received.filter((transaction) => transaction.server === name).flatMap(({ pdus }) => pdus);
  }

  edusOf(name: ServerName): JsonObject[] {
    return this.received.filter((transaction) => transaction.server === name).flatMap(({ edus }) => edus);
  }

  async #take(request: FederationRequest): Promise<JsonValue> {
    const { destination, signal } = request;
    const underWay = (this.#underWay.get(destination) ?? 0) + 1;
    this.#underWay.set(destination, underWay);
    this.mostAtOnce = Math.max(this.mostAtOnce, underWay);
    try {
      const transaction = readTransaction(request);
      this.tried.push(transaction);
      const aborted = Promise.withResolvers<never>();
      signal?.addEventListener('abort', () => aborted.reject(new FederationError('aborted', destination, 'ended')));
      // Whoever ends it after the answer has come ends nothing.
      aborted.promise.catch(() => undefined);
      const answer = this.answers.get(destination) ?? (() => ({ pdus: {} }));
      // As over a wire: never in the same turn.
      await nextTurn();
      const answered = await Promise.race([answer(transaction), aborted.promise]);
      this.received.push(transaction);
      this.#failing.delete(destination);
      return answered;
    } catch (error) {
      if (error instanceof FederationError && error.kind === 'unreachable') this.#fail(destination);
      throw error;
    } finally {
      this.#underWay.set(destination, underWay - 1);
    }
  }

  #fail(name: ServerName): void {
    const now = this.#clock.now();
    this.#failing.set(name, {
      server: name,
      failingSince: this.#failing.get(name)?.failingSince ?? now,
      retryAt: now + LEFT_ALONE_MS,
      lastSuccess: undefined,
      lastError: undefined,
    });
  }
}

function readTransaction({ destination, method, path, body = {} }: FederationRequest): Received {
  const [, transactionId] = /^\/_matrix\/federation\/v1\/send\/([^/]+)$/.exec(path) ?? [];
  assert.equal(method, 'PUT');
  assert.ok(transactionId !== undefined, 'the path is that of a transaction');
  assert.equal(body['origin'], HOME);
  assert.equal(typeof body['origin_server_ts'], 'number');
  const { pdus, edus = [] } = body;
  assert.ok(Array.isArray(pdus) && pdus.length <= 50, 'at most 50 PDUs');
  assert.ok(Array.isArray(edus) && edus.length <= 100, 'at most 100 EDUs');
  assert.ok(pdus.length + edus.length > 0, 'it is not empty');
  return {
    server: destination,
    transactionId,
    pdus: pdus.map(nameOf),
    edus: edus.filter(isJsonObject),
  };
}

/** What a played event is called. */
export function nameOf(pdu: JsonValue): string {
  const name = isJsonObject(pdu) ? pdu['id'] : undefined;
  assert.ok(typeof name === 'string', 'an event of these tests');
  return name;
}

export interface Outgoing {
  readonly peers: Peers;
  readonly clock: ManualClock;
  readonly db: OpenDatabase;
  readonly sender: FederationSender;
  /** Events that can be had, by ID; others are found as `{id}`. */
  readonly pdus: Map<EventId, JsonObject | undefined>;
  /** Sends events to servers, each in a write of its own. */
  readonly sendEvents: (names: readonly string[], to: readonly ServerName[], roomId?: RoomId) => void;
  /** Stops this one and starts another on the same database, with nothing kept in memory. */
  restart(options?: SenderOptions): Promise<Outgoing>;
}

export interface SenderOptions {
  readonly settings?: Partial<FederationSenderSettings>;
  readonly builders?: Readonly<Record<string, EduBuilder>>;
}

/** A sender among played servers, on a database that is gone after the test. */
export function outgoing(t: TestContext, options: SenderOptions = {}): Outgoing {
  const folder = mkdtempSync(join(tmpdir(), 'hearth-sender-'));
  const stops: (() => Promise<void>)[] = [];
  t.after(async () => {
    for (const stop of stops) await stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const clock = new ManualClock();
  const peers = new Peers(clock);
  const pdus = new Map<EventId, JsonObject | undefined>();

  const open = ({ settings, builders = {} }: SenderOptions): Outgoing => {
    const db = openDatabase({
      path: join(folder, 'homeserver.db'),
      migrations: [federationMigrations],
      log: silentLogger,
    });
    const sender = createFederationSender({
      db,
      client: peers.client,
      destinations: peers.destinations,
      clock,
      random: systemRandom,
      log: silentLogger,
      serverName: HOME,
      pdus: { find: (id) => (pdus.has(id) ? pdus.get(id) : { id: id.slice(1) }) },
      settings: { receiptTransactionsPerRoomPerSecond: 50, ...settings },
    });
    for (const [type, builder] of Object.entries(builders)) sender.provide(type, builder);
    sender.start();
    let isStopped = false;
    const stop = async (): Promise<void> => {
      if (isStopped) return;
      isStopped = true;
      const stopped = sender.stop();
      // Nobody waits for servers that never answer.
      await clock.advance(MINUTE);
      await stopped;
      await db.close();
    };
    stops.push(stop);
    return {
      peers,
      clock,
      db,
      sender,
      pdus,
      sendEvents: (names, to, roomId = KITCHEN) => {
        for (const name of names) db.write((tx) => sender.sendPdu(tx, to, { eventId: event(name), roomId }));
      },
      restart: async (again = options) => {
        await stop();
        return open(again);
      },
    };
  };
  return open(options);
}

/** Waits, for as long as anything moves at all, until something is so. */
export async function until(isSo: () => boolean, what: string): Promise<void> {
  for (let turn = 0; turn < 20_000; turn += 1) {
    if (isSo()) return;
    await nextTurn();
  }
  assert.fail(`it never came to this: ${what}`);
}

/** `a0`, `a1`, … */
export function names(count: number, prefix = 'e'): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`);
}
