import type { ServerName } from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../matrix/json.ts';
import type { KeyId } from '../../matrix/signing.ts';
import type { Database } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import { Gate } from '../../util/gate.ts';
import type { Logger } from '../../util/log.ts';
import { Pace } from '../../util/pace.ts';
import type { Random } from '../../util/random.ts';
import { FederationError } from '../errors.ts';
import type { FederationClient } from '../types.ts';
import { FetchGate } from './fetch-gate.ts';
import type { KeyStore } from './key-store.ts';
import { isSignedWith, MAX_ANSWER_BYTES, readServerKeys, type ServerKeysAnswer } from './server-keys.ts';

/** A server whose word about the keys of others is taken. */
export interface TrustedNotary {
  readonly serverName: ServerName;
  /** Its answers must bear a signature with one of these, by key ID; if there are none, its TLS certificate vouches for them. */
  readonly verifyKeys: ReadonlyMap<string, { readonly publicKey: Uint8Array }>;
}

export interface KeyFetcherNeeds {
  readonly client: Pick<FederationClient, 'request'>;
  readonly store: KeyStore;
  readonly db: Pick<Database, 'write'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Asked first, all of them at once; the servers themselves for what they do not know. */
  readonly notaries: readonly TrustedNotary[];
}

/** Which keys of a server are wanted, and until when each has to be valid (ms) to be of use. */
export type WantedKeys = ReadonlyMap<KeyId, number>;

/** A fetch under way. */
export interface KeyFetch {
  /** Resolves when no more will come of it. Never rejects: whoever waits looks into the store. */
  readonly done: Promise<void>;
  /** Whether it asks for all that was wanted; if not, it was under way for something else already. */
  readonly complete: boolean;
}

interface Flight {
  readonly server: ServerName;
  readonly wanted: Map<KeyId, number>;
  readonly done: PromiseWithResolvers<void>;
  /** Nothing has been sent yet: more may be wanted. */
  boarding: boolean;
}

/** Time for one server's own answer, ms. */
const DIRECT_TIMEOUT_MS = 10_000;
/** Time for a notary, which may have to ask the servers first, ms. */
const NOTARY_TIMEOUT_MS = 20_000;
/** Where somebody waits for a few servers' keys, the servers themselves are asked after this long without an answer, ms. */
const HEDGE_MS = 1_500;
const HEDGE_SERVERS = 8;
/** Servers in one question to a notary. */
const SERVERS_PER_QUESTION = 100;
/** Answers about one server that are read of a notary's reply. It may send one for each key. */
const ANSWERS_PER_SERVER = 10;
const NOTARY_REPLY_BYTES = 4 * 1024 * 1024;
/** Servers asked at once. Most of what is slow is waiting for those that are gone. */
const SERVERS_AT_ONCE = 64;
/** Servers that wait to be asked, or are being asked. Beyond it, one is given up as if it had not answered. */
const LONGEST_LINE = 5_000;
/** How long requests are begun at a stretch, ms: each sets up a connection. */
const SLICE_MS = 5;

/** Fetches keys of other servers into the store: each server once at a time, through notaries and from itself. */
export class KeyFetcher {
  readonly #needs: KeyFetcherNeeds;
  readonly #gate: FetchGate;
  readonly #flights = new Map<ServerName, Flight>();
  readonly #direct = new Map<ServerName, Promise<void>>();
  readonly #directPlaces = new Gate(SERVERS_AT_ONCE);
  readonly #pace: Pace;
  readonly #stopping = new AbortController();
  #boarding: Flight[] = [];

  constructor(needs: KeyFetcherNeeds) {
    this.#needs = needs;
    this.#gate = new FetchGate(needs);
    this.#pace = new Pace(needs.clock, SLICE_MS);
  }

  /** Fetches keys of a server, together with what others want of it now. Undefined where it may not be asked again yet. */
  fetch(server: ServerName, wanted: WantedKeys): KeyFetch | undefined {
    const known = this.#flights.get(server);
    if (known !== undefined) {
      if (known.boarding) addWishes(known.wanted, wanted);
      return { done: known.done.promise, complete: known.boarding };
    }
    if (this.#stopping.signal.aborted || !this.#gate.enter(server)) return undefined;
    const flight: Flight = { server, wanted: new Map(wanted), done: Promise.withResolvers(), boarding: true };
    this.#flights.set(server, flight);
    this.#boarding.push(flight);
    // Those who ask in the same turn share one question.
    if (this.#boarding.length === 1) setImmediate(() => void this.#depart());
    return { done: flight.done.promise, complete: true };
  }

  /**
   * Fetches a server's keys from itself because another server wants to know them. Resolves when no more will come of it;
   * never rejects.
   */
  async fetchForOthers(server: ServerName): Promise<void> {
    const flight = this.#flights.get(server);
    if (flight !== undefined) await flight.done.promise;
    else if (!this.#stopping.signal.aborted && this.#gate.enter(server)) await this.#askDirectly(server, true);
  }

  /** Servers (or one) may be asked at once again, whatever failed before. */
  reopen(server?: ServerName): void {
    this.#gate.reopen(server);
  }

  /** Ends what is under way and begins nothing more. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all([...[...this.#flights.values()].map(({ done }) => done.promise), ...this.#direct.values()]);
  }

  async #depart(): Promise<void> {
    const flights = this.#boarding;
    this.#boarding = [];
    for (const flight of flights) flight.boarding = false;
    const chunks: Flight[][] = [];
    for (let at = 0; at < flights.length; at += SERVERS_PER_QUESTION) {
      chunks.push(flights.slice(at, at + SERVERS_PER_QUESTION));
    }
    await Promise.all(
      chunks.map(async (chunk) => {
        try {
          await this.#fly(chunk);
        } catch (error) {
          this.#needs.log.error({ error: String(error) }, 'keys could not be fetched');
        } finally {
          for (const flight of chunk) this.#settle(flight);
        }
      }),
    );
  }

  async #fly(flights: readonly Flight[]): Promise<void> {
    const notaries = this.#needs.notaries.filter(({ serverName }) => this.#gate.isOpen(serverName));
    const asked = Promise.all(notaries.map((notary) => this.#askNotary(notary, flights)));
    if (flights.length > HEDGE_SERVERS || notaries.length === 0) {
      await asked;
    } else {
      const { promise: late, resolve } = Promise.withResolvers<void>();
      const timer = this.#needs.clock.after(HEDGE_MS, resolve);
      await Promise.race([asked, late]);
      timer.cancel();
    }
    await Promise.all(
      flights.map(async (flight) => {
        if (!this.#isSettled(flight)) {
          await this.#askDirectly(flight.server, false);
          if (!this.#isSettled(flight)) await asked;
        }
        this.#settle(flight);
      }),
    );
  }

  /** Ends the flight if all it was for is there. */
  #isSettled(flight: Flight): boolean {
    const keys = this.#needs.store.find(flight.server);
    for (const [keyId, validUntil] of flight.wanted) {
      const key = keys.get(keyId);
      if (key === undefined || key.validUntil < validUntil) return false;
    }
    this.#settle(flight);
    return true;
  }

  #settle(flight: Flight): void {
    if (this.#flights.get(flight.server) === flight) this.#flights.delete(flight.server);
    flight.done.resolve();
  }

  async #askNotary(notary: TrustedNotary, flights: readonly Flight[]): Promise<void> {
    const { client } = this.#needs;
    // Nobody can vouch for oneself: a notary's own keys are asked for directly.
    const about = flights.filter(({ server }) => server !== notary.serverName);
    if (about.length === 0) return;
    try {
      const reply = await client.request({
        destination: notary.serverName,
        method: 'POST',
        path: '/_matrix/key/v2/query',
        body: { server_keys: Object.fromEntries(about.map(({ server, wanted }) => [server, criteria(wanted)])) },
        timeoutMs: NOTARY_TIMEOUT_MS,
        maxBytes: NOTARY_REPLY_BYTES,
        ignoreBackoff: true,
        signal: this.#stopping.signal,
      });
      this.#gate.succeeded(notary.serverName);
      await this.#takeNotaryReply(reply, notary, new Map(about.map(({ server }) => [server, server])));
      for (const flight of about) this.#isSettled(flight);
    } catch (error) {
      // A key server that refuses is of no more use than one that does not answer.
      if (this.#tell(notary.serverName, error, 'a key server could not be asked')) this.#gate.failed(notary.serverName);
    }
  }

  /** Stores what a notary knows. One answer at a time, so that a long reply leaves the event loop free in between. */
  async #takeNotaryReply(
    reply: JsonValue,
    notary: TrustedNotary,
    about: ReadonlyMap<string, ServerName>,
  ): Promise<void> {
    const { clock, log } = this.#needs;
    const list = isJsonObject(reply) ? reply['server_keys'] : undefined;
    if (!Array.isArray(list)) {
      log.warn({ notary: notary.serverName }, 'a key server gave no list of keys');
      return;
    }
    for (const entry of (list as readonly JsonValue[]).slice(0, about.size * ANSWERS_PER_SERVER)) {
      const name = isJsonObject(entry) ? entry['server_name'] : undefined;
      const server = typeof name === 'string' ? about.get(name) : undefined;
      const answer =
        server === undefined || !isJsonObject(entry)
          ? 'the answer speaks of a server that was not asked for'
          : await readVouchedFor(entry, server, notary, clock.now());
      if (typeof answer !== 'string') this.#put(answer, notary.serverName, false);
      else log.warn({ notary: notary.serverName, server: name, reason: answer }, 'a key server’s answer is of no use');
    }
  }

  #askDirectly(server: ServerName, forOthers: boolean): Promise<void> {
    const known = this.#direct.get(server);
    if (known !== undefined) return known;
    if (this.#direct.size >= LONGEST_LINE) {
      this.#needs.log.warn({ server }, 'too many servers wait to be asked for their keys');
      return Promise.resolve();
    }
    const asking = this.#directPlaces.run(() => this.#fetchDirectly(server, forOthers));
    this.#direct.set(server, asking);
    return asking.finally(() => this.#direct.delete(server));
  }

  async #fetchDirectly(server: ServerName, forOthers: boolean): Promise<void> {
    const { client, clock, log } = this.#needs;
    await this.#pace.step();
    try {
      const reply = await client.request({
        destination: server,
        method: 'GET',
        path: '/_matrix/key/v2/server',
        timeoutMs: DIRECT_TIMEOUT_MS,
        // Signatures of others, which are thrown away, may come on top.
        maxBytes: 2 * MAX_ANSWER_BYTES,
        // Whether it answers this is what decides here, and the gate remembers it.
        ignoreBackoff: true,
        signal: this.#stopping.signal,
      });
      this.#gate.succeeded(server);
      const answer = await readServerKeys(reply, server, clock.now());
      if (typeof answer === 'string') log.warn({ server, reason: answer }, 'a server’s keys are of no use');
      else this.#put(answer, server, forOthers);
    } catch (error) {
      this.#directFailed(server, error);
    }
  }

  #put(answer: ServerKeysAnswer, from: ServerName, forOthers: boolean): void {
    const { db, store, clock } = this.#needs;
    db.write((tx) => store.put(tx, answer, { from, fetchedAt: clock.now(), forOthers }));
  }

  #directFailed(server: ServerName, error: unknown): void {
    if (!this.#tell(server, error, 'a server could not be asked for its keys')) return;
    // A refusal is an answer: the server is there, and how often it may be asked is limited all the same.
    const isAlive = error instanceof FederationError && error.kind === 'refused' && (error.status ?? 0) < 500;
    if (isAlive) this.#gate.succeeded(server);
    else this.#gate.failed(server);
  }

  /** Logs a failure; false for one that is only our own stopping. */
  #tell(server: ServerName, error: unknown, sentence: string): boolean {
    const { log } = this.#needs;
    if (this.#stopping.signal.aborted) return false;
    if (error instanceof FederationError) log.info({ server, kind: error.kind, reason: error.message }, sentence);
    else log.error({ server, error: String(error) }, 'keys could not be fetched');
    return true;
  }
}

/** Adds wishes to others. Of the same key, the one that wants it valid for longer counts. */
export function addWishes(to: Map<KeyId, number>, wanted: WantedKeys): void {
  for (const [keyId, validUntil] of wanted) to.set(keyId, Math.max(validUntil, to.get(keyId) ?? 0));
}

function criteria(wanted: WantedKeys): JsonObject {
  return Object.fromEntries([...wanted].map(([keyId, validUntil]) => [keyId, { minimum_valid_until_ts: validUntil }]));
}

async function readVouchedFor(
  entry: JsonObject,
  server: ServerName,
  notary: TrustedNotary,
  now: number,
): Promise<ServerKeysAnswer | string> {
  const answer = await readServerKeys(entry, server, now);
  if (typeof answer === 'string' || notary.verifyKeys.size === 0) return answer;
  const isVouchedFor = await isSignedWith(entry, notary.serverName, notary.verifyKeys);
  return isVouchedFor ? answer : 'the answer is not signed with a key of verify_keys';
}
