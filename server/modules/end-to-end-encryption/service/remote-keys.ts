import { FederationError } from '../../../federation/errors.ts';
import { federationPath } from '../../../federation/path.ts';
import type { FederationClient } from '../../../federation/types.ts';
import type { ServerName, UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { Database } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import { Pace } from '../../../util/pace.ts';
import type { RemoteListStore } from '../store/remote-lists.ts';
import { isKeyContent } from './device-keys.ts';
import { readQueriedDevices, readRemoteKey, shownToClients } from './read-remote.ts';
import type { RemoteLists } from './remote-lists.ts';
import type { Resyncer } from './resync.ts';

/** Whose devices, and which of them: none means all. */
type QueryOf = readonly (readonly [userId: UserId, deviceIds: readonly string[]])[];
/** Whose keys: the algorithm by device. */
type ClaimOf = readonly (readonly [userId: UserId, byDevice: Readonly<Record<string, string>>])[];

/** Keys of users of other servers, with the servers that did not answer. */
export interface RemoteKeys {
  /** Waits `timeoutMs` at most. What is known from before is given even where a server fails. */
  query(
    wanted: ReadonlyMap<ServerName, QueryOf>,
    timeoutMs: number,
  ): Promise<{
    readonly deviceKeys: JsonObject;
    readonly masterKeys: JsonObject;
    readonly selfSigningKeys: JsonObject;
    readonly failures: JsonObject;
  }>;
  claim(
    wanted: ReadonlyMap<ServerName, ClaimOf>,
    timeoutMs: number,
  ): Promise<{ readonly oneTimeKeys: JsonObject; readonly failures: JsonObject }>;
}

export interface RemoteKeysNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly client: Pick<FederationClient, 'request'>;
  readonly store: RemoteListStore;
  readonly lists: RemoteLists;
  readonly resyncer: Resyncer;
}

/** However patient a client says it is, or impatient. */
const LONGEST_WAIT_MS = 60_000;
const SHORTEST_WAIT_MS = 1_000;
/** Servers asked at a time. */
const SERVERS_AT_ONCE = 100;
/** Lists of one server that are fetched one by one while a client waits; of more users it is asked in one request. */
const MAX_RESYNCS = 10;
const MAX_USERS_PER_REQUEST = 500;
/** How long one looks at what was asked for, or sets off requests, at a stretch. */
const SLICE_MS = 5;
const MAX_ANSWER_BYTES = 10 * 1024 * 1024;
const MAX_ONE_TIME_KEY_BYTES = 8 * 1024;
/** A server that refuses so may know the older request still. */
const UNSUPPORTED: ReadonlySet<number | undefined> = new Set([400, 404, 405, 501]);

/** What one request of a client has gathered so far. */
class Gathered {
  readonly deviceKeys = new Map<UserId, JsonObject>();
  readonly masterKeys = new Map<UserId, JsonObject>();
  readonly selfSigningKeys = new Map<UserId, JsonObject>();

  put(userId: UserId, devices: JsonObject, master: JsonObject | undefined, selfSigning: JsonObject | undefined): void {
    this.deviceKeys.set(userId, devices);
    if (master !== undefined) this.masterKeys.set(userId, master);
    if (selfSigning !== undefined) this.selfSigningKeys.set(userId, selfSigning);
  }
}

/** Asks other servers for keys (spec: server-server API, "End-to-End Encryption"), or lists kept up where there are some. */
export function createRemoteKeys(needs: RemoteKeysNeeds): RemoteKeys {
  const { db, clock, client, store, lists, resyncer } = needs;

  /** Asks every server, each for as long as there is time; gives the failures. */
  async function askAll<T>(
    wanted: ReadonlyMap<ServerName, T>,
    waitMs: number,
    ask: (server: ServerName, of: T) => Promise<void>,
  ): Promise<JsonObject> {
    const failures = new Map<ServerName, JsonObject>();
    const waiting = [...wanted];
    const pace = new Pace(clock, SLICE_MS);
    let isLate = false;
    const { promise: late, resolve: end } = Promise.withResolvers<'late'>();
    const timer = clock.after(waitMs, () => {
      isLate = true;
      end('late');
    });
    const line = async (): Promise<void> => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        const [server, of] = next;
        // Servers that fail at once would else be asked one after the other without a turn for anybody, nor for the timer.
        await pace.step();
        try {
          const outcome = isLate ? 'late' : await Promise.race([ask(server, of), late]);
          if (outcome === 'late') failures.set(server, { status: 504, message: 'The server did not answer in time' });
        } catch (error) {
          if (!(error instanceof FederationError)) throw error;
          failures.set(server, { status: error.status ?? 503, message: error.message });
        }
      }
    };
    try {
      await Promise.all(Array.from({ length: Math.min(SERVERS_AT_ONCE, waiting.length) }, line));
    } finally {
      timer.cancel();
    }
    return Object.fromEntries(failures);
  }

  /** What is known of a user, up to date or not. */
  function gatherKnown(found: Gathered, userId: UserId, deviceIds: readonly string[]): void {
    const list = store.find(userId);
    if (list?.trackedSince === undefined) return;
    const devices = store
      .listDevices(userId)
      .filter(({ deviceId }) => deviceIds.length === 0 || deviceIds.includes(deviceId))
      .map(({ deviceId, keys, displayName }) => [deviceId, shownToClients(keys, displayName)] as const);
    found.put(userId, Object.fromEntries(devices), list.master, list.selfSigning);
  }

  async function queryServer(server: ServerName, of: QueryOf, found: Gathered, timeoutMs: number): Promise<void> {
    const direct: (readonly [UserId, readonly string[]])[] = [];
    const lacking: (readonly [UserId, readonly string[]])[] = [];
    const pace = new Pace(clock, SLICE_MS);
    for (const [userId, deviceIds] of of) {
      await pace.step();
      if (lists.findGood(userId) !== undefined) gatherKnown(found, userId, deviceIds);
      else (lists.isShared(userId) ? lacking : direct).push([userId, deviceIds]);
    }
    let failure: FederationError | undefined;
    if (lacking.length > MAX_RESYNCS) {
      db.write((tx) => {
        for (const [userId] of lacking) resyncer.request(tx, userId);
      });
      direct.push(...lacking);
    } else {
      const outcomes = await Promise.all(lacking.map(([userId]) => resyncer.resync(userId)));
      for (const [index, [userId, deviceIds]] of lacking.entries()) {
        const error = outcomes[index];
        if (error === undefined) gatherKnown(found, userId, deviceIds);
        else if (error.kind === 'refused' && UNSUPPORTED.has(error.status)) direct.push([userId, deviceIds]);
        else failure = error;
      }
    }
    for (let at = 0; at < direct.length; at += MAX_USERS_PER_REQUEST) {
      await queryDirectly(server, direct.slice(at, at + MAX_USERS_PER_REQUEST), found, timeoutMs);
    }
    if (failure !== undefined) throw failure;
  }

  async function queryDirectly(server: ServerName, of: QueryOf, found: Gathered, timeoutMs: number): Promise<void> {
    const answer = await client.request({
      destination: server,
      method: 'POST',
      path: federationPath('/v1/user/keys/query'),
      body: { device_keys: Object.fromEntries(of) },
      timeoutMs,
      maxBytes: MAX_ANSWER_BYTES,
    });
    const all = isJsonObject(answer) ? answer['device_keys'] : undefined;
    if (!isJsonObject(answer) || !isJsonObject(all)) throw malformed(server);
    for (const [userId, deviceIds] of of) {
      const devices = find(all, userId);
      // Nothing is no answer about that user: what is known from before stands.
      if (devices === undefined) continue;
      found.put(
        userId,
        readQueriedDevices(userId, deviceIds, devices),
        readRemoteKey(userId, 'master', find(answer['master_keys'], userId)),
        readRemoteKey(userId, 'self_signing', find(answer['self_signing_keys'], userId)),
      );
    }
  }

  async function claimFrom(
    server: ServerName,
    of: ClaimOf,
    found: Map<UserId, JsonObject>,
    timeoutMs: number,
  ): Promise<void> {
    const answer = await client.request({
      destination: server,
      method: 'POST',
      path: federationPath('/v1/user/keys/claim'),
      body: { one_time_keys: Object.fromEntries(of) },
      timeoutMs,
      maxBytes: MAX_ANSWER_BYTES,
    });
    const all = isJsonObject(answer) ? answer['one_time_keys'] : undefined;
    if (!isJsonObject(all)) throw malformed(server);
    for (const [userId, byDevice] of of) {
      const given = find(all, userId);
      const devices = Object.entries(byDevice).flatMap(([deviceId, algorithm]) => {
        const key = readClaimed(find(given, deviceId), algorithm);
        return key === undefined ? [] : [[deviceId, key] as const];
      });
      if (devices.length > 0) found.set(userId, Object.fromEntries(devices));
    }
  }

  return {
    query: async (wanted, timeoutMs) => {
      const found = new Gathered();
      const waitMs = waitOf(timeoutMs);
      const failures = await askAll(wanted, waitMs, (server, of) => queryServer(server, of, found, waitMs));
      const pace = new Pace(clock, SLICE_MS);
      for (const [userId, deviceIds] of [...wanted.values()].flat()) {
        await pace.step();
        if (!found.deviceKeys.has(userId)) gatherKnown(found, userId, deviceIds);
      }
      return {
        deviceKeys: Object.fromEntries(found.deviceKeys),
        masterKeys: Object.fromEntries(found.masterKeys),
        selfSigningKeys: Object.fromEntries(found.selfSigningKeys),
        failures,
      };
    },
    claim: async (wanted, timeoutMs) => {
      const found = new Map<UserId, JsonObject>();
      const waitMs = waitOf(timeoutMs);
      const failures = await askAll(wanted, waitMs, (server, of) => claimFrom(server, of, found, waitMs));
      return { oneTimeKeys: Object.fromEntries(found), failures };
    },
  };
}

function waitOf(timeoutMs: number): number {
  return Math.min(Math.max(timeoutMs, SHORTEST_WAIT_MS), LONGEST_WAIT_MS);
}

function malformed(server: ServerName): FederationError {
  return new FederationError('malformed', server, 'The server answered something else than keys');
}

// What is looked for comes from outside and may be called like something that every object inherits.
function find(object: JsonValue | undefined, key: string): JsonValue | undefined {
  return isJsonObject(object) && Object.hasOwn(object, key) ? object[key] : undefined;
}

/** The one key of the right algorithm in an answer to a claim, under its name. */
function readClaimed(given: JsonValue | undefined, algorithm: string): JsonObject | undefined {
  if (!isJsonObject(given)) return undefined;
  const [named] = Object.entries(given).filter(([name]) => name.startsWith(`${algorithm}:`));
  if (named === undefined) return undefined;
  const [name, key] = named;
  const isKey = isKeyContent(key) && JSON.stringify(key).length + name.length <= MAX_ONE_TIME_KEY_BYTES;
  return isKey ? { [name]: key } : undefined;
}
