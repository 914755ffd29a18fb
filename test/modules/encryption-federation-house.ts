import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { FederationError, type FederationFailure } from '../../server/federation/errors.ts';
import type { Edu, EduHandler, FederationClient, FederationRequest } from '../../server/federation/types.ts';
import type { Requester } from '../../server/http/route.ts';
import { createHttpServer } from '../../server/http/server.ts';
import {
  type DeviceId,
  isDeviceId,
  isServerName,
  type RoomId,
  type ServerName,
  type UserId,
} from '../../server/matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../../server/matrix/json.ts';
import { generateSigningKey } from '../../server/matrix/signing.ts';
import { deviceManagement, migrations as deviceMigrations } from '../../server/modules/device-management/index.ts';
import {
  endToEndEncryption,
  migrations as encryptionMigrations,
} from '../../server/modules/end-to-end-encryption/index.ts';
import { migrations as toDeviceMigrations, sendToDevice } from '../../server/modules/send-to-device/index.ts';
import { createRooms, migrations as roomMigrations } from '../../server/rooms/rooms.ts';
import type { Projection } from '../../server/rooms/types.ts';
import { type OpenDatabase, openDatabase } from '../../server/storage/database.ts';
import { FollowerRunner } from '../../server/storage/followers.ts';
import { createSync } from '../../server/sync/sync.ts';
import { syncMigrations } from '../../server/sync/token.ts';
import type { SyncContribution } from '../../server/sync/types.ts';
import { type Logger, silentLogger } from '../../server/util/log.ts';
import { systemRandom } from '../../server/util/random.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { expectOk, type Json, TestClient } from '../kit/test-client.ts';
import { alice, draft, HOME, versionOf } from '../rooms/room-kit.ts';
import { RateLimit } from '../../server/http/rate-limit.ts';

export function serverNamed(name: string): ServerName {
  if (!isServerName(name)) throw new TypeError(`${name} is no server name`);
  return name;
}

export function deviceNamed(name: string): DeviceId {
  if (!isDeviceId(name)) throw new TypeError(`${name} is no device ID`);
  return name;
}

/** What was handed to the outbox, with the place it was sent to. */
export interface Sent {
  readonly to: ServerName;
  readonly edu: Edu;
  readonly key: string | undefined;
}

type Answer = (request: FederationRequest) => JsonValue | Promise<JsonValue>;

/** The other servers, as they are played. They know nothing of restarts of the house. */
export class Outside {
  readonly sent: Sent[] = [];
  /** Every request, in the order they were made. */
  readonly requests: FederationRequest[] = [];
  readonly #answers = new Map<ServerName, Answer>();
  readonly #listeners = new Set<(server: ServerName) => void>();

  /** From now on the server answers so; one that never did cannot be reached. */
  answer(server: ServerName, answer: Answer): void {
    this.#answers.set(server, answer);
  }

  recovered(server: ServerName): void {
    for (const listener of this.#listeners) listener(server);
  }

  /** What was sent to a server since the last time, by type and content. */
  take(server: ServerName): Edu[] {
    const taken = this.sent.filter(({ to }) => to === server).map(({ edu }) => edu);
    const left = this.sent.filter(({ to }) => to !== server);
    this.sent.splice(0, this.sent.length, ...left);
    return taken;
  }

  /** Paths that a server was asked for since the last time. */
  takePaths(server: ServerName): string[] {
    const taken = this.requests.filter(({ destination }) => destination === server).map(({ path }) => path);
    const left = this.requests.filter(({ destination }) => destination !== server);
    this.requests.splice(0, this.requests.length, ...left);
    return taken;
  }

  readonly client: Pick<FederationClient, 'request'> = {
    request: async (request) => {
      this.requests.push(request);
      const { destination, signal } = request;
      const answer = this.#answers.get(destination);
      if (answer === undefined) throw new FederationError('unreachable', destination, 'nobody answers');
      const { promise: aborted, reject } = Promise.withResolvers<never>();
      const abort = (): void => reject(new FederationError('aborted', destination, 'nobody waits'));
      signal?.addEventListener('abort', abort);
      try {
        return await Promise.race([answer(request), aborted]);
      } finally {
        signal?.removeEventListener('abort', abort);
      }
    },
  };

  readonly destinations = {
    onRecovered: (listener: (server: ServerName) => void) => {
      this.#listeners.add(listener);
      return { unsubscribe: () => this.#listeners.delete(listener) };
    },
  };
}

/** A refusal, as the client reports it. */
export function failing(server: ServerName, kind: FederationFailure, status?: number): never {
  throw new FederationError(kind, server, `played: ${kind}`, status === undefined ? {} : { status });
}

export interface House {
  readonly outside: Outside;
  readonly clock: ManualClock;
  readonly db: () => OpenDatabase;
  /** Somebody's device; a new one unless it is there. */
  readonly device: (userId: UserId, deviceId?: string, displayName?: string) => TestClient;
  /** Another server asks. */
  readonly asServer: (server: ServerName) => TestClient;
  /** A room of Alice's that these have joined. */
  readonly roomOf: (...members: readonly UserId[]) => Promise<RoomId>;
  readonly join: (roomId: RoomId, userId: UserId) => Promise<void>;
  readonly leave: (roomId: RoomId, userId: UserId) => Promise<void>;
  /** An EDU arrives. @throws MatrixError where it is refused */
  readonly receive: (origin: ServerName, type: string, content: JsonObject) => Promise<void>;
  /** Resolves when nothing is left to do but wait for somebody. */
  readonly settle: () => Promise<void>;
  readonly restart: () => Promise<void>;
}

interface Running {
  readonly db: OpenDatabase;
  readonly rooms: ReturnType<typeof createRooms>;
  readonly devices: ReturnType<typeof deviceManagement>['devices'];
  readonly edus: Readonly<Record<string, EduHandler>>;
  readonly followers: FollowerRunner;
  readonly baseUrl: string;
  stop(): Promise<void>;
}

const requesters = new Map<string, Requester>();

/** A household with keys and to-device messages behind real HTTP, and other servers that are played. */
export async function encryptionHouse(
  t: TestContext,
  settings: { readonly namesForServers?: boolean } = {},
): Promise<House> {
  const dir = mkdtempSync(join(tmpdir(), 'hearth-keys-'));
  const outside = new Outside();
  const clock = new ManualClock();
  const signingKey = generateSigningKey(systemRandom.bytes(32));
  // What goes wrong where nobody waits for it must not leave a test waiting.
  const { promise: failure, reject: fail } = Promise.withResolvers<never>();
  failure.catch(() => undefined);
  const log: Logger = {
    ...silentLogger,
    error: (data, sentence) => fail(new Error(sentence, { cause: data['error'] })),
    child: () => log,
  };

  async function begin(): Promise<Running> {
    const db = openDatabase({
      path: join(dir, 'homeserver.db'),
      migrations: [roomMigrations, syncMigrations, deviceMigrations, toDeviceMigrations, encryptionMigrations],
      log,
    });
    const projections: Projection[] = [];
    const contributions: SyncContribution[] = [];
    const rooms = createRooms({
      db,
      clock,
      log,
      serverName: HOME,
      signingKey,
      projections,
      checkSignatures: () => true,
    });
    const sync = createSync({
      db,
      clock,
      ...rooms,
      contributions: () => contributions,
      decorations: () => [],
      ignoredUsers: () => new Set(),
    });
    const interactiveAuth = {
      guard: async <Input>(
        { read, body }: { readonly read: (body: JsonObject) => Input; readonly body: JsonObject },
        act: (input: Input) => Promise<object> | object,
      ): Promise<object> => act(read(body)),
    };
    const devicesModule = deviceManagement({
      db,
      clock,
      log,
      interactiveAuth,
      hooks: {
        onDeviceChanged: [(tx, userId, deviceId) => encryption.onDeviceChanged(tx, userId, deviceId)],
        onDeviceDeleted: [(tx, userId, deviceId) => encryption.onDeviceDeleted(tx, userId, deviceId)],
      },
      creationLimit: new RateLimit({ perSecond: 1_000, burstCount: 1_000, clock }),
      settings: { deleteStaleDevicesAfterMs: undefined, userIpsMaxAgeMs: undefined },
    });
    const { devices } = devicesModule;
    const sender = {
      sendDurably: (
        tx: { onCommit(action: () => void): void },
        destinations: Iterable<ServerName>,
        edu: Edu,
        key?: string,
      ) => {
        for (const to of destinations) tx.onCommit(() => outside.sent.push({ to, edu, key }));
      },
    };
    const toDevice = sendToDevice({
      db,
      clock,
      log,
      random: systemRandom,
      serverName: HOME,
      devices: { listDeviceIds: (userId) => devices.list(userId).map(({ deviceId }) => deviceId) },
      sender,
    });
    const encryption = endToEndEncryption({
      db,
      clock,
      random: systemRandom,
      log,
      serverName: HOME,
      interactiveAuth,
      tokens: sync.tokens,
      windowSince: (requester, since) => sync.windowSince(requester, since),
      rooms: rooms.members,
      devices: {
        ...devices,
        findDisplayName: (userId, deviceId) => devices.find(userId, deviceId)?.displayName,
      },
      toDevice: toDevice.toDevice,
      settings: { namesForServers: settings.namesForServers ?? false },
      federation: { client: outside.client, sender, destinations: outside.destinations },
    });
    const modules = [devicesModule, encryption, toDevice];
    for (const module of modules) {
      projections.push(...(module.projections ?? []));
      contributions.push(...(module.sync ?? []));
    }
    const followers = new FollowerRunner({
      db,
      clock,
      log,
      followers: modules.flatMap((module) => module.followers ?? []),
    });
    followers.start();
    for (const module of modules) module.start?.();
    const http = createHttpServer({
      routes: [...sync.routes, ...modules.flatMap((module) => module.routes ?? [])],
      listeners: [
        {
          port: 0,
          bindAddresses: ['127.0.0.1'],
          tls: undefined,
          xForwarded: false,
          resources: ['client', 'federation'],
        },
      ],
      db,
      log,
      clock,
      authenticator: {
        authenticate: (token) => {
          const requester = requesters.get(token);
          return requester === undefined ? { kind: 'unknown' } : { kind: 'ok', requester };
        },
      },
      federationAuthenticator: async ({ authorization }) =>
        serverNamed((authorization[0] ?? '').replace('Bearer ', '')),
    });
    const { addresses } = await http.start();
    return {
      db,
      rooms,
      devices,
      edus: Object.assign({}, ...modules.map((module) => module.edus ?? {})),
      followers,
      baseUrl: `http://127.0.0.1:${addresses[0]?.port}`,
      stop: async () => {
        sync.stop();
        await http.stop();
        for (const module of modules) await module.stop?.();
        await followers.stop();
        await db.close();
      },
    };
  }

  let running = await begin();
  t.after(async () => {
    await running.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  const address = {
    get baseUrl() {
      return running.baseUrl;
    },
  };
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 3; turn += 1) {
      await clock.advance(0);
      await running.db.committed();
      await Promise.race([running.followers.idle(), failure]);
    }
  };
  const move = async (roomId: RoomId, userId: UserId, membership: string): Promise<void> => {
    clock.setWallClock(clock.now() + 1000);
    await running.rooms.sender.send({ ...draft.member(userId, userId, membership), roomId });
    await settle();
  };
  return {
    outside,
    clock,
    db: () => running.db,
    settle,
    device: (userId, deviceId = 'PHONE', displayName) => {
      const { db, devices } = running;
      db.write((tx) => devices.ensure(tx, userId, deviceNamed(deviceId), displayName));
      const token = `${userId} ${deviceId}`.replaceAll(/[^\w]/g, '-');
      requesters.set(token, {
        userId,
        deviceId: deviceNamed(deviceId),
        tokenId: 1,
        isGuest: false,
        isAdmin: false,
        isSuspended: false,
        appserviceId: undefined,
        rateLimited: true,
      });
      return new TestClient(address, { token, userId, deviceId });
    },
    asServer: (server) => new TestClient(address, { token: server }),
    roomOf: async (...members) => {
      clock.setWallClock(clock.now() + 1000);
      const { roomId } = await running.rooms.sender.createRoom({
        version: versionOf('12'),
        creator: alice,
        createContent: {},
        events: () => [
          draft.member(alice, alice, 'join'),
          draft.state(alice, 'm.room.power_levels', {}),
          draft.state(alice, 'm.room.join_rules', { join_rule: 'public' }),
          ...members.map((member) => draft.member(member, member, 'join')),
        ],
      });
      await settle();
      return roomId;
    },
    join: (roomId, userId) => move(roomId, userId, 'join'),
    leave: (roomId, userId) => move(roomId, userId, 'leave'),
    receive: async (origin, type, content) => {
      await running.edus[type]?.accept(origin, content);
      await settle();
    },
    restart: async () => {
      await running.stop();
      running = await begin();
    },
  };
}

/** Keys of another server's device, as far as this server looks at them. */
export function remoteKeys(userId: UserId, deviceId: string, key = 'first'): JsonObject {
  return {
    user_id: userId,
    device_id: deviceId,
    algorithms: ['m.megolm.v1.aes-sha2'],
    keys: { [`ed25519:${deviceId}`]: key },
    signatures: { [userId]: { [`ed25519:${deviceId}`]: 'signature' } },
  };
}

/** The answer of a server to the question for a user's devices: device → key. */
export function listOf(userId: UserId, streamId: number, devices: Readonly<Record<string, string>>): JsonObject {
  return {
    user_id: userId,
    stream_id: streamId,
    devices: Object.entries(devices).map(([deviceId, key]) => ({
      device_id: deviceId,
      keys: remoteKeys(userId, deviceId, key),
    })),
  };
}

export function devicesPath(userId: UserId): string {
  return `/_matrix/federation/v1/user/devices/${encodeURIComponent(userId)}`;
}

/** Somebody's devices as a client is told of them: device → key. */
export async function lookUp(client: TestClient, userId: UserId): Promise<Json> {
  const body = expectOk(await client.post('/_matrix/client/v3/keys/query', { device_keys: { [userId]: [] } }));
  return {
    devices: Object.fromEntries(
      Object.entries<Json>(body.device_keys[userId] ?? {}).map(([id, { keys }]) => [id, keys[`ed25519:${id}`]]),
    ),
    failures: Object.keys(body.failures),
  };
}

/** What a server would send of a change. */
export function update(
  userId: UserId,
  deviceId: string,
  ids: { readonly stream: number; readonly prev?: readonly number[]; readonly key?: string },
): JsonObject {
  return {
    user_id: userId,
    device_id: deviceId,
    stream_id: ids.stream,
    ...(ids.prev === undefined ? {} : { prev_id: ids.prev }),
    ...(ids.key === undefined ? { deleted: true } : { keys: remoteKeys(userId, deviceId, ids.key) }),
  };
}

/** Waits in turns of the event loop, without sleeping. */
export async function until(isSo: () => boolean): Promise<void> {
  for (let turn = 0; turn < 100_000; turn += 1) {
    if (isSo()) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error('it never came to be so');
}
