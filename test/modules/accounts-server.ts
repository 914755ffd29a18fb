import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { RateLimit } from '../../server/http/rate-limit.ts';
import { createHttpServer } from '../../server/http/server.ts';
import { isServerName, isUserId, type ServerName, type UserId } from '../../server/matrix/identifiers.ts';
import {
  accounts,
  type AccountsModule,
  type AccountsNeeds,
  type AccountsSettings,
  migrations as accountMigrations,
} from '../../server/modules/accounts/index.ts';
import {
  deviceManagement,
  type DeviceManagementModule,
  migrations as deviceMigrations,
} from '../../server/modules/device-management/index.ts';
import { migrations as openIdMigrations, openid, type OpenIdModule } from '../../server/modules/openid/index.ts';
import type { Route } from '../../server/http/route.ts';
import { openDatabase } from '../../server/storage/database.ts';
import type { Database } from '../../server/storage/types.ts';
import { systemClock } from '../../server/util/clock.ts';
import { type Logger, silentLogger } from '../../server/util/log.ts';
import { systemRandom } from '../../server/util/random.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { expectOk, type Json, TestClient } from '../kit/test-client.ts';

export function serverName(name: string): ServerName {
  if (!isServerName(name)) throw new TypeError(`not a server name: ${name}`);
  return name;
}

export function userId(id: string): UserId {
  if (!isUserId(id)) throw new TypeError(`not a user ID: ${id}`);
  return id;
}

/** What a test changes of the settings; the rest lets everybody register and is otherwise as a new server has it. */
export interface SettingsChange {
  readonly registration?: Partial<AccountsSettings['registration']>;
  readonly sessions?: Partial<AccountsSettings['sessions']>;
  readonly passwords?: Partial<AccountsSettings['passwords']>;
  readonly wellKnown?: AccountsSettings['wellKnown'];
  readonly deleteStaleDevicesAfterMs?: number;
  readonly userIpsMaxAgeMs?: number;
}

export interface HouseOptions {
  readonly settings?: SettingsChange;
  /** Burst counts that differ from "as often as you like"; one more comes every ten seconds. */
  readonly limits?: Partial<Record<keyof AccountsNeeds['limits'], number>>;
  readonly hooks?: Partial<AccountsNeeds['hooks']>;
  readonly appservices?: AccountsNeeds['appservices'];
  readonly isCrossSigningKey?: AccountsNeeds['isCrossSigningKey'];
  /** Whose address that is. */
  readonly findByThreepid?: (medium: string, address: string) => UserId | undefined;
  readonly log?: Logger;
}

interface Parts {
  readonly db: Database;
  readonly accounts: AccountsModule;
  readonly devices: DeviceManagementModule;
  readonly openid: OpenIdModule;
  readonly baseUrl: string;
}

/** The parts of a server that know people and their devices, on a real database and a real port. */
export class House {
  readonly clock = new ManualClock();
  readonly #folder = mkdtempSync(join(tmpdir(), 'hearth-accounts-'));
  readonly #options: HouseOptions;
  #stop: () => Promise<void> = async () => {};
  #parts: Parts | undefined;

  private constructor(options: HouseOptions) {
    this.#options = options;
  }

  /** Opens one that is closed, and its folder deleted, when the test is over. */
  static async open(t: TestContext, options: HouseOptions = {}): Promise<House> {
    const house = new House(options);
    await house.#start();
    t.after(async () => {
      await house.#stop();
      rmSync(house.#folder, { recursive: true, force: true });
    });
    return house;
  }

  get accounts(): AccountsModule {
    return this.#running.accounts;
  }
  get devices(): DeviceManagementModule {
    return this.#running.devices;
  }
  get openid(): OpenIdModule {
    return this.#running.openid;
  }
  get baseUrl(): string {
    return this.#running.baseUrl;
  }
  get #running(): Parts {
    if (this.#parts === undefined) throw new Error('the house is closed');
    return this.#parts;
  }

  /** Closes the server and opens it again on the same folder. */
  async restart(): Promise<void> {
    await this.#stop();
    await this.#start();
  }

  client(session: Json = {}): TestClient {
    const { access_token: token, user_id: user, device_id: device } = session;
    return new TestClient(this, {
      ...(token === undefined ? {} : { token }),
      ...(user === undefined ? {} : { userId: user }),
      ...(device === undefined ? {} : { deviceId: device }),
    });
  }

  /** Registers someone and gives their client. The password is their name and ` has a password`. */
  async register(username: string, more: Json = {}): Promise<TestClient> {
    const body = { auth: { type: 'm.login.dummy' }, username, password: passwordOf(username), ...more };
    return this.client(expectOk(await this.client().post('/_matrix/client/v3/register', body)));
  }

  /** Logs someone in once more. */
  async logIn(username: string, more: Json = {}): Promise<TestClient> {
    return this.client(expectOk(await this.client().post('/_matrix/client/v3/login', loginBody(username, more))));
  }

  /** As an importer would: sets the hash of a password that another server made. */
  importPasswordHash(user: UserId, hash: string): void {
    const { db } = this.#running;
    const set = db.prepareWrite('UPDATE users SET password_hash = ? WHERE user_id = ?');
    db.write((tx) => void set.run(tx, hash, user));
  }

  passwordHashOf(user: UserId): string {
    const found = this.#running.db
      .prepareRead<{ password_hash: string }>('SELECT password_hash FROM users WHERE user_id = ?')
      .find(user);
    return found?.password_hash ?? '';
  }

  /** Whether some bytes lie anywhere in the files of the database. */
  fileContains(text: string): boolean {
    const files = ['homeserver.db', 'homeserver.db-wal'].map((name) => join(this.#folder, name));
    return files.some((file) => existsSync(file) && readFileSync(file).includes(text));
  }

  /** Resolves when what was written is on disk. */
  settled(): Promise<void> {
    return this.#running.db.committed();
  }

  /** How many transactions the write-ahead log holds: a frame that ends one names the size of the database. */
  commits(): number {
    const wal = readFileSync(join(this.#folder, 'homeserver.db-wal'));
    let commits = 0;
    for (let frame = 32; frame + 24 <= wal.length; frame += 24 + 4_096) {
      if (wal.readUInt32BE(frame + 4) !== 0) commits += 1;
    }
    return commits;
  }

  async #start(): Promise<void> {
    const { clock } = this;
    const { settings = {}, limits = {}, hooks = {}, log = silentLogger } = this.#options;
    const db = openDatabase({
      path: join(this.#folder, 'homeserver.db'),
      migrations: [accountMigrations, deviceMigrations, openIdMigrations],
      log,
    });
    const limit = (name: keyof AccountsNeeds['limits']): RateLimit =>
      new RateLimit({ perSecond: 0.1, burstCount: limits[name] ?? 1_000_000, clock });
    const home = serverName('home.example');
    const people: AccountsModule = accounts({
      db,
      clock,
      random: systemRandom,
      log,
      settings: {
        serverName: home,
        publicBaseUrl: 'https://matrix.home.example/',
        wellKnown: settings.wellKnown,
        registration: {
          enabled: true,
          withoutVerification: true,
          requiresToken: false,
          requiredThreepids: [],
          captcha: undefined,
          sharedSecret: undefined,
          guestsAllowed: false,
          inhibitUserInUseError: false,
          underscorePrefixAllowed: false,
          defaultUserType: undefined,
          extraUserTypes: [],
          ...settings.registration,
        },
        sessions: {
          lifetimeMs: undefined,
          refreshTokenLifetimeMs: undefined,
          refreshableAccessTokenLifetimeMs: 300_000,
          nonrefreshableAccessTokenLifetimeMs: undefined,
          uiAuthTimeoutMs: 0,
          loginViaExistingSession: { enabled: true, requireUiAuth: true, tokenTimeoutMs: 120_000 },
          ...settings.sessions,
        },
        passwords: {
          enabled: 'yes',
          localDatabase: true,
          pepper: '',
          policy: {
            enabled: false,
            minimumLength: 0,
            requireDigit: false,
            requireSymbol: false,
            requireLowercase: false,
            requireUppercase: false,
          },
          ...settings.passwords,
        },
      },
      limits: {
        registration: limit('registration'),
        registrationTokenValidity: limit('registrationTokenValidity'),
        loginAddress: limit('loginAddress'),
        loginAccount: limit('loginAccount'),
        loginFailedAttempts: limit('loginFailedAttempts'),
        loginToken: limit('loginToken'),
        passwordReset: limit('passwordReset'),
      },
      devices: {
        exists: (user, device) => devices.devices.exists(user, device),
        ensure: (tx, user, device, name) => void devices.devices.ensure(tx, user, device, name),
        remove: (tx, user, ids) => devices.devices.remove(tx, user, ids),
        removeAll: (tx, user, except) => devices.devices.removeAll(tx, user, except),
        seen: (user, device, ip, agent) => devices.devices.seen(user, device, ip, agent),
      },
      hooks: { onRegistered: [], onDeactivated: [], onDeparting: [], ...hooks },
      ...(this.#options.appservices === undefined ? {} : { appservices: this.#options.appservices }),
      ...(this.#options.isCrossSigningKey === undefined ? {} : { isCrossSigningKey: this.#options.isCrossSigningKey }),
      proofs: () => ({
        threepids: {
          canVerify: () => false,
          findValidated: async () => undefined,
          findOwner: (medium, address) => this.#options.findByThreepid?.(medium, address.toLowerCase()),
          add: () => assert.fail('nobody proves an address here'),
          spend: () => {},
          unbindAll: async () => true,
        },
      }),
    });
    const devices: DeviceManagementModule = deviceManagement({
      db,
      clock,
      log,
      interactiveAuth: people.interactiveAuth,
      hooks: { onDeviceChanged: [], onDeviceDeleted: [people.revokeDeviceTokens] },
      creationLimit: new RateLimit({ perSecond: 1, burstCount: 2, clock }),
      settings: {
        deleteStaleDevicesAfterMs: settings.deleteStaleDevicesAfterMs,
        userIpsMaxAgeMs: settings.userIpsMaxAgeMs,
      },
    });
    const identity = openid({
      db,
      clock,
      random: systemRandom,
      serverName: home,
      limit: new RateLimit({ perSecond: 1, burstCount: 5, clock }),
    });
    const modules = [people, devices, identity];
    const server = createHttpServer({
      routes: modules.flatMap((module): readonly Route[] => module.routes ?? []),
      listeners: [
        {
          port: 0,
          bindAddresses: ['127.0.0.1'],
          tls: undefined,
          xForwarded: true,
          resources: ['client', 'openid'],
        },
      ],
      db,
      log,
      clock: systemClock,
      authenticator: people.authenticator,
    });
    for (const module of modules) module.start?.();
    const { addresses } = await server.start();
    this.#parts = {
      db,
      accounts: people,
      devices,
      openid: identity,
      baseUrl: `http://127.0.0.1:${addresses[0]?.port ?? 0}`,
    };
    this.#stop = async () => {
      await server.stop();
      for (const module of modules.toReversed()) await module.stop?.();
      await db.close();
      this.#parts = undefined;
      this.#stop = async () => {};
    };
  }
}

export function passwordOf(username: string): string {
  return `${username} has a password`;
}

export function loginBody(username: string, more: Json = {}): Json {
  return {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: username },
    password: passwordOf(username),
    ...more,
  };
}

/** The `auth` object that proves to be someone. */
export function proofOf(username: string, more: Json = {}): Json {
  return {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: username },
    password: passwordOf(username),
    ...more,
  };
}
