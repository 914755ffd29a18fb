import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { RunningServer } from '../../server/cli/running-server.ts';
import { loadConfig } from '../../server/config/config.ts';
import { DnsError } from '../../server/federation/discovery/dns.ts';
import { startServer, type StartOptions } from '../../server/main.ts';
import { type Clock, systemClock } from '../../server/util/clock.ts';
import { type Logger, silentLogger } from '../../server/util/log.ts';
import { ManualClock } from './manual-clock.ts';
import { type Address, expectOk, type Json, TestClient } from './test-client.ts';

export interface TestServerOptions {
  /** Options of homeserver.yaml, over those below. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** The machine's own clock unless a test wants to move one. */
  readonly clock?: Clock;
  readonly log?: Logger;
  readonly serverName?: string;
  /** The way to other servers; names lead nowhere unless a test makes them. */
  readonly network?: StartOptions['network'];
}

/** Names that lead nowhere: no test may ask the world outside. */
export const nowhere: NonNullable<StartOptions['network']> = {
  dns: {
    addresses: async (host) => {
      throw new DnsError(`${host} is not known here`, true);
    },
    services: async () => ({ value: [], ttlMs: 0 }),
  },
};

const UNLIMITED = { per_second: 1_000_000, burst_count: 1_000_000 };

/** Limits would make stories depend on how fast they are told; a story about limits sets its own. */
const NO_LIMITS = {
  rc_message: UNLIMITED,
  rc_registration: UNLIMITED,
  rc_registration_token_validity: UNLIMITED,
  rc_login: { address: UNLIMITED, account: UNLIMITED, failed_attempts: UNLIMITED },
  rc_admin_redaction: UNLIMITED,
  rc_joins: { local: UNLIMITED, remote: UNLIMITED },
  rc_joins_per_room: UNLIMITED,
  rc_3pid_validation: UNLIMITED,
  rc_invites: { per_room: UNLIMITED, per_user: UNLIMITED, per_issuer: UNLIMITED },
  rc_third_party_invite: UNLIMITED,
  rc_media_create: UNLIMITED,
  rc_presence: { per_user: UNLIMITED },
  rc_delayed_event_mgmt: UNLIMITED,
  rc_reports: UNLIMITED,
  rc_room_creation: UNLIMITED,
  rc_user_directory: UNLIMITED,
};

/** A whole server on a port of its own, in a temporary folder that goes with it. */
export class TestServer implements Address, AsyncDisposable {
  readonly dir: string;
  readonly serverName: string;
  readonly clock: Clock;
  readonly #options: TestServerOptions;
  #running: RunningServer | undefined;

  private constructor(dir: string, options: TestServerOptions) {
    this.dir = dir;
    this.serverName = options.serverName ?? 'hearth.test';
    this.clock = options.clock ?? systemClock;
    this.#options = options;
  }

  static async start(options: TestServerOptions = {}): Promise<TestServer> {
    const server = new TestServer(mkdtempSync(join(tmpdir(), 'hearth-test-')), options);
    await server.begin();
    return server;
  }

  /** Where it answers; another port after each start. */
  get baseUrl(): string {
    const [address] = this.#running?.addresses ?? [];
    assert.ok(address !== undefined, 'the server runs');
    return `http://127.0.0.1:${address.port}`;
  }

  /** Where other servers reach it with TLS, if they can at all. */
  get federationPort(): number | undefined {
    return this.#running?.addresses.find(({ tls, resources }) => tls && resources.includes('federation'))?.port;
  }

  /** As when the machine it is on wakes up, or changes its network. */
  wake(): void {
    this.#running?.wake();
  }

  get setupLink(): string | undefined {
    return this.#running?.setupLink;
  }

  /** Starts it on the data it has. Options given here hold from now on. */
  async begin(config: Readonly<Record<string, unknown>> = {}): Promise<void> {
    assert.equal(this.#running, undefined, 'it does not run yet');
    const file = join(this.dir, 'homeserver.yaml');
    writeFileSync(
      file,
      stringify({
        server_name: this.serverName,
        listeners: [
          { type: 'http', port: 0, bind_addresses: ['127.0.0.1'], resources: [{ names: ['client', 'federation'] }] },
        ],
        database: { name: 'sqlite3', args: { database: join(this.dir, 'homeserver.db') } },
        media_store_path: join(this.dir, 'media'),
        signing_key_path: join(this.dir, 'signing.key'),
        enable_registration: true,
        enable_registration_without_verification: true,
        registration_shared_secret: 'shared secret of the tests',
        ...NO_LIMITS,
        ...this.#options.config,
        ...config,
      }),
    );
    const { config: loaded } = loadConfig({ configPath: file });
    this.#running = await startServer(loaded, this.#options.log ?? silentLogger, {
      clock: this.clock,
      setupLink: true,
      network: this.#options.network ?? nowhere,
    });
  }

  /** Stops it and keeps its data. */
  async end(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    const stopped = running?.stop();
    // On a clock that stands still, a request that is tried again in a second would hold the stop for ever.
    await (this.clock instanceof ManualClock && stopped !== undefined ? this.clock.passUntil(stopped) : stopped);
  }

  async restart(config: Readonly<Record<string, unknown>> = {}): Promise<void> {
    await this.end();
    await this.begin(config);
  }

  /** Stops it and deletes its data. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** A client that nobody has logged in to. */
  anonymous(): TestClient {
    return new TestClient(this);
  }

  /** Registers somebody and gives them a client. */
  async register(username: string, options: Json = {}): Promise<TestClient> {
    const body = expectOk(
      await this.anonymous().post('/_matrix/client/v3/register', {
        username,
        password: `password of ${username}`,
        auth: { type: 'm.login.dummy' },
        ...options,
      }),
    );
    return this.#client(body);
  }

  /** Another device of somebody who is registered. */
  async login(username: string, options: Json = {}): Promise<TestClient> {
    const body = expectOk(
      await this.anonymous().post('/_matrix/client/v3/login', {
        type: 'm.login.password',
        identifier: { type: 'm.id.user', user: username },
        password: `password of ${username}`,
        ...options,
      }),
    );
    return this.#client(body);
  }

  async guest(): Promise<TestClient> {
    return this.#client(expectOk(await this.anonymous().post('/_matrix/client/v3/register', {}, { kind: 'guest' })));
  }

  /** A client for a token, as an answer to a login gives it. */
  #client(body: Json): TestClient {
    return new TestClient(this, { token: body.access_token, userId: body.user_id, deviceId: body.device_id });
  }
}
