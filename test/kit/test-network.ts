import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { allMigrations } from '../../server/compose.ts';
import { type Dns, DnsError } from '../../server/federation/discovery/dns.ts';
import { dialTcp } from '../../server/federation/outbound/dial.ts';
import type { StartOptions } from '../../server/main.ts';
import { isServerName } from '../../server/matrix/identifiers.ts';
import { generateSigningKey } from '../../server/matrix/signing.ts';
import { createRooms } from '../../server/rooms/rooms.ts';
import { openDatabase } from '../../server/storage/database.ts';
import { type Clock, systemClock } from '../../server/util/clock.ts';
import { type Logger, silentLogger } from '../../server/util/log.ts';
import { systemRandom } from '../../server/util/random.ts';
import { makeAuthority, type TestAuthority } from './certificates.ts';
import { TestServer } from './test-server.ts';

export type NetworkOptions = NonNullable<StartOptions['network']>;

export interface TestNetworkOptions {
  /** Options of homeserver.yaml for all servers. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly clock?: Clock;
  readonly log?: (serverName: string) => Logger;
}

/** Somebody on the network who is found by name: a homeserver, or one that a test plays. */
export interface Place {
  /** Where they answer with TLS on 127.0.0.1; undefined while they are down. */
  readonly federationPort: number | undefined;
}

/**
 * Several homeservers that find one another by name, over TLS on 127.0.0.1 with certificates of one authority. Links
 * between two can be cut and mended; ports may change with each restart.
 */
export class TestNetwork implements AsyncDisposable {
  readonly authority: TestAuthority;
  readonly #dir: string;
  readonly #options: TestNetworkOptions;
  readonly #places = new Map<string, Place>();
  readonly #servers: TestServer[] = [];
  /** Pairs that cannot reach each other, by both names in their order. */
  readonly #cuts = new Set<string>();
  /** Connections under way, by who opened them and to which port. */
  readonly #sockets = new Set<{ readonly from: string; readonly port: number; readonly socket: Socket }>();

  private constructor(authority: TestAuthority, options: TestNetworkOptions) {
    this.authority = authority;
    this.#options = options;
    this.#dir = mkdtempSync(join(tmpdir(), 'hearth-network-'));
  }

  /** Starts a network with these servers in it. */
  static async start<const Names extends readonly string[]>(
    names: Names,
    options: TestNetworkOptions = {},
  ): Promise<{ network: TestNetwork; servers: { [Index in keyof Names]: TestServer } } & AsyncDisposable> {
    const network = new TestNetwork(await makeAuthority(), options);
    try {
      const servers = [];
      for (const name of names) servers.push(await network.startServer(name));
      return {
        network,
        servers: servers as { [Index in keyof Names]: TestServer },
        [Symbol.asyncDispose]: () => network[Symbol.asyncDispose](),
      };
    } catch (error) {
      await network[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** One more homeserver. */
  async startServer(serverName: string, config: Readonly<Record<string, unknown>> = {}): Promise<TestServer> {
    const server = await TestServer.start({
      serverName,
      network: this.wayFrom(serverName),
      ...(this.#options.clock === undefined ? {} : { clock: this.#options.clock }),
      ...(this.#options.log === undefined ? {} : { log: this.#options.log(serverName) }),
      config: { ...(await this.configOf(serverName)), ...this.#options.config, ...config },
    });
    this.#servers.push(server);
    this.#places.set(serverName, server);
    return server;
  }

  /** The options with which a server takes part in the network. */
  async configOf(serverName: string): Promise<Record<string, unknown>> {
    const files = await this.issueTo(serverName);
    return {
      listeners: [
        { type: 'http', port: 0, bind_addresses: ['127.0.0.1'], resources: [{ names: ['client'] }] },
        { type: 'http', port: 0, bind_addresses: ['127.0.0.1'], tls: true, resources: [{ names: ['federation'] }] },
      ],
      tls_certificate_path: files.certPath,
      tls_private_key_path: files.keyPath,
      federation_custom_ca_list: [files.caPath],
      ip_range_blacklist: [],
      trusted_key_servers: [],
      allow_public_rooms_over_federation: true,
      // Nobody should have to wait ten minutes after a server was down for a moment.
      federation: { destination_min_retry_interval: '1s', destination_max_retry_interval: '2s' },
    };
  }

  /** The files of a certificate for a server: of a name, or of an address with a port. */
  issueTo(serverName: string): ReturnType<TestAuthority['issueTo']> {
    const host = serverName.replace(/:\d+$/, '');
    return this.authority.issueTo(
      join(this.#dir, host),
      /^[\d.]+$/.test(host) ? { ipAddresses: [host] } : { dnsNames: [host] },
    );
  }

  /** Adds somebody a test plays, or takes note of another port. */
  place(serverName: string, place: Place): void {
    this.#places.set(serverName, place);
  }

  /** The two can no longer reach each other; connections between them break. */
  cut(a: TestServer | string, b: TestServer | string): void {
    const [from, to] = [nameOf(a), nameOf(b)];
    this.#cuts.add(pairOf(from, to));
    for (const each of this.#sockets) {
      const target = this.#nameAt(each.port);
      if (target !== undefined && pairOf(each.from, target) === pairOf(from, to)) each.socket.destroy();
    }
  }

  mend(a: TestServer | string, b: TestServer | string): void {
    this.#cuts.delete(pairOf(nameOf(a), nameOf(b)));
  }

  /** Nobody on the network reaches this one, nor is reached by it. */
  isolate(server: TestServer | string): void {
    for (const name of this.#places.keys()) if (name !== nameOf(server)) this.cut(server, name);
  }

  /** All links work again, and everybody knows it: nobody waits any longer for whom they left alone. */
  mendAll(): void {
    this.#cuts.clear();
    for (const server of this.#servers) server.wake();
  }

  /** The names and connections that a server has. */
  wayFrom(from: string): NetworkOptions {
    const dns: Dns = {
      addresses: async (host) => {
        if (!this.#places.has(host)) throw new DnsError(`${host} is not known here`, true);
        return { value: ['127.0.0.1'], ttlMs: 0 };
      },
      services: async (name) => {
        const host = name.replace(/^_matrix-fed\._tcp\./, '');
        const port = this.#places.get(host)?.federationPort;
        // A server that is down has a place all the same, where nobody listens.
        const records = this.#places.has(host) ? [{ priority: 0, weight: 0, target: host, port: port ?? 1 }] : [];
        return { value: records, ttlMs: 0 };
      },
    };
    return {
      dns,
      dial: async (address, port, signal) => {
        const to = this.#nameAt(port);
        if (to === undefined || this.#cuts.has(pairOf(from, to))) {
          throw Object.assign(new Error(`nobody answers on port ${port}`), { code: 'ECONNREFUSED' });
        }
        const socket = await dialTcp(address, port, signal);
        const entry = { from, port, socket };
        this.#sockets.add(entry);
        socket.once('close', () => this.#sockets.delete(entry));
        return socket;
      },
    };
  }

  /** Stops every server; all that they keep of rooms has to be whole. */
  async check(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.end()));
    for (const server of this.#servers) assert.deepEqual(await checkStoredRooms(server), [], server.serverName);
  }

  /** Stops every server and deletes their data. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#servers.map((server) => server[Symbol.asyncDispose]()));
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #nameAt(port: number): string | undefined {
    for (const [name, { federationPort }] of this.#places) if (federationPort === port) return name;
    return undefined;
  }
}

/** What is wrong with the rooms that a server which does not run has stored. */
async function checkStoredRooms({ dir, serverName }: TestServer): Promise<string[]> {
  assert.ok(isServerName(serverName));
  const db = openDatabase({ path: join(dir, 'homeserver.db'), migrations: allMigrations, log: silentLogger });
  try {
    const rooms = createRooms({
      db,
      clock: systemClock,
      log: silentLogger,
      serverName,
      signingKey: generateSigningKey(systemRandom.bytes(32)),
      projections: [],
    });
    return [...db.integrityCheck(), ...rooms.checkConsistency()];
  } finally {
    await db.close();
  }
}

/** A story that takes longer hangs: its servers are stopped, or the file would never end. */
const LONGEST_STORY_MS = 120_000;

/** The body of a test: what is told happens on a network of these servers, and leaves their rooms whole. */
export function onNetwork<const Names extends readonly string[]>(
  names: Names,
  tell: (servers: { [Index in keyof Names]: TestServer }, network: TestNetwork) => Promise<void>,
  options: TestNetworkOptions = {},
): () => Promise<void> {
  return async () => {
    await using set = await TestNetwork.start(names, options);
    const hangs = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => hangs.reject(new Error(`the story is not over after ${LONGEST_STORY_MS} ms`)),
      LONGEST_STORY_MS,
    );
    try {
      await Promise.race([tell(set.servers, set.network), hangs.promise]);
    } finally {
      clearTimeout(timer);
    }
    await set.network.check();
  };
}

function nameOf(server: TestServer | string): string {
  return typeof server === 'string' ? server : server.serverName;
}

function pairOf(a: string, b: string): string {
  return [a, b].sort().join(' ');
}

/**
 * Looks again and again until `check` finds something (anything but undefined and false), for what takes its way through
 * several servers. Fails after `withinMs`.
 */
export async function eventually<Found>(
  what: string,
  check: () => Promise<Found | undefined | false> | Found | undefined | false,
  withinMs = 20_000,
): Promise<Found> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const found = await check();
    if (found !== undefined && found !== false) return found;
    assert.ok(performance.now() < deadline, `${what}: not within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
