import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { RateLimit } from '../../server/http/rate-limit.ts';
import type { Requester } from '../../server/http/route.ts';
import { createHttpServer } from '../../server/http/server.ts';
import { authEventKeys } from '../../server/matrix/auth-rules/auth-events.ts';
import { buildEvent } from '../../server/matrix/events/build.ts';
import { splitStateKey } from '../../server/matrix/events/event.ts';
import {
  isServerName,
  isUserId,
  type RoomId,
  serverNameOf,
  type ServerName,
  type UserId,
} from '../../server/matrix/identifiers.ts';
import type { JsonObject } from '../../server/matrix/json.ts';
import { roomVersions } from '../../server/matrix/room-versions.ts';
import { generateSigningKey } from '../../server/matrix/signing.ts';
import {
  migrations,
  type UserDirectory,
  userDirectory,
  type UserDirectorySettings,
} from '../../server/modules/user-directory/index.ts';
import { createRooms, migrations as roomMigrations, type Rooms } from '../../server/rooms/rooms.ts';
import type { PersistedEvent, Projection } from '../../server/rooms/types.ts';
import { type OpenDatabase, openDatabase } from '../../server/storage/database.ts';
import { FollowerRunner } from '../../server/storage/followers.ts';
import { silentLogger } from '../../server/util/log.ts';
import { systemRandom } from '../../server/util/random.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { type Address, TestClient } from '../kit/test-client.ts';

const HOME = 'hearth.test';

/** A user of this server, as the directory hears of them. */
interface Local {
  readonly userId: UserId;
  displayName: string;
  deactivated: boolean;
  locked: boolean;
  userType: string | undefined;
  appserviceId: string | undefined;
}

/** The rooms and the directory behind real HTTP, with users of other servers whose events a test makes up. */
export class DirectoryHouse implements Address {
  readonly baseUrl: string;
  readonly rooms: Rooms;
  readonly directory: UserDirectory;
  readonly db: OpenDatabase;
  readonly #locals: Map<UserId, Local>;
  readonly #followers: FollowerRunner;
  readonly #clock: ManualClock;

  constructor(parts: {
    baseUrl: string;
    rooms: Rooms;
    directory: UserDirectory;
    db: OpenDatabase;
    locals: Map<UserId, Local>;
    followers: FollowerRunner;
    clock: ManualClock;
  }) {
    this.baseUrl = parts.baseUrl;
    this.rooms = parts.rooms;
    this.directory = parts.directory;
    this.db = parts.db;
    this.#locals = parts.locals;
    this.#followers = parts.followers;
    this.#clock = parts.clock;
  }

  /** A user of this server; what is said of one who is there already is changed. */
  person(localpart: string, traits: Partial<Omit<Local, 'userId'>> = {}): TestClient {
    const userId = user(`@${localpart}:${HOME}`);
    const known = this.#locals.get(userId) ?? {
      userId,
      displayName: '',
      deactivated: false,
      locked: false,
      userType: undefined,
      appserviceId: undefined,
    };
    this.#locals.set(userId, { ...known, ...traits });
    this.db.write((tx) => this.directory.refresh(tx, userId));
    return new TestClient(this, { token: userId, userId });
  }

  async createRoom({ userId: creator }: TestClient, { joinRule }: { joinRule: string }): Promise<RoomId> {
    const sender = user(creator);
    const version = roomVersions.get('10');
    if (version === undefined) throw new TypeError('there is no room version 10');
    const state = (type: string, content: JsonObject, stateKey = '') => ({ type, content, stateKey, sender });
    const { roomId } = await this.rooms.sender.createRoom({
      version,
      creator: sender,
      createContent: {},
      events: () => [
        state('m.room.member', { membership: 'join' }, creator),
        state('m.room.power_levels', { users: { [creator]: 100 }, redact: 0 }),
        state('m.room.join_rules', { join_rule: joinRule }),
      ],
    });
    return roomId;
  }

  setState(
    { userId }: TestClient,
    roomId: RoomId,
    type: string,
    content: JsonObject,
    stateKey = '',
  ): Promise<PersistedEvent> {
    return this.rooms.sender.send({ roomId, type, content, stateKey, sender: user(userId) });
  }

  async redact({ userId }: TestClient, { roomId, eventId }: PersistedEvent): Promise<void> {
    const sender = user(userId);
    await this.rooms.sender.send({ roomId, type: 'm.room.redaction', sender, content: {}, redacts: eventId });
  }

  /** A user of another server joins: an open room at once, any other by an invitation of `by`. */
  async remoteJoin(roomId: RoomId, userId: string, shows: JsonObject, by?: TestClient): Promise<PersistedEvent> {
    if (by !== undefined) await this.setState(by, roomId, 'm.room.member', { membership: 'invite' }, userId);
    return this.remoteEvent(roomId, userId, 'm.room.member', { membership: 'join', ...shows }, userId);
  }

  async remoteEvent(
    roomId: RoomId,
    by: string,
    type: string,
    content: JsonObject,
    stateKey?: string,
  ): Promise<PersistedEvent> {
    const { events, state, timeline, inbox } = this.rooms;
    const [room, last] = [events.findRoom(roomId), timeline.findLatest(roomId)];
    if (room === undefined || last === undefined) throw new TypeError('there is no such room');
    const sender = user(by);
    const { version } = room;
    const authEvents = authEventKeys({ type, sender, content, stateKey, version }).flatMap((key) => {
      const { type: authType, stateKey: authKey } = splitStateKey(key);
      return state.stateAfter(last.eventId)?.find(authType, authKey) ?? [];
    });
    const { pdu } = buildEvent({
      serverName: serverNameOf(sender),
      signingKey: generateSigningKey(systemRandom.bytes(32)),
      version,
      roomId,
      type,
      sender,
      content,
      ...(stateKey === undefined ? {} : { stateKey }),
      originServerTs: this.#clock.now(),
      depth: last.depth + 1,
      prevEvents: [last.eventId],
      authEvents,
    });
    const acceptance = await inbox.accept(pdu);
    if (acceptance.kind !== 'stored' || acceptance.event.verdict !== 'accepted') {
      throw new Error(`the event was not taken: ${JSON.stringify(acceptance)}`);
    }
    return acceptance.event;
  }

  /** Resolves when the directory has heard of everything. */
  settled(): Promise<void> {
    return this.#followers.idle();
  }
}

/** Starts one, until the test is over. */
export async function directoryHouse(
  t: TestContext,
  settings: Partial<UserDirectorySettings> = {},
): Promise<DirectoryHouse> {
  const dir = mkdtempSync(join(tmpdir(), 'hearth-directory-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const clock = new ManualClock();
  const db = openDatabase({
    path: join(dir, 'homeserver.db'),
    migrations: [roomMigrations, migrations],
    log: silentLogger,
  });
  t.after(() => db.close());

  const projections: Projection[] = [];
  const serverName = server(HOME);
  const rooms = createRooms({
    db,
    clock,
    log: silentLogger,
    serverName,
    signingKey: generateSigningKey(systemRandom.bytes(32)),
    projections,
    checkSignatures: () => true,
  });
  const locals = new Map<UserId, Local>();
  const module = userDirectory({
    db,
    clock,
    serverName,
    ...rooms,
    users: { list: () => [...locals.values()], find: (userId) => locals.get(userId) },
    profiles: {
      find: (userId) => {
        const displayName = locals.get(userId)?.displayName;
        return displayName === undefined ? undefined : { displayName };
      },
    },
    limit: new RateLimit({ perSecond: 1, burstCount: 1_000_000, clock }),
    settings: {
      enabled: true,
      searchAllUsers: false,
      preferLocalUsers: false,
      excludeRemoteUsers: false,
      showLockedUsers: false,
      ...settings,
    },
  });
  projections.push(...(module.projections ?? []));
  const followers = new FollowerRunner({ db, followers: module.followers ?? [], log: silentLogger, clock });
  followers.start();
  const http = createHttpServer({
    routes: module.routes ?? [],
    listeners: [{ port: 0, bindAddresses: ['127.0.0.1'], tls: undefined, xForwarded: false, resources: ['client'] }],
    db,
    log: silentLogger,
    clock,
    authenticator: {
      authenticate: (token) => (isUserId(token) ? { kind: 'ok', requester: requesterOf(token) } : { kind: 'unknown' }),
    },
  });
  const { addresses } = await http.start();
  t.after(async () => {
    await http.stop();
    await followers.stop();
  });
  const baseUrl = `http://127.0.0.1:${addresses[0]?.port}`;
  return new DirectoryHouse({ baseUrl, rooms, directory: module.directory, db, locals, followers, clock });
}

function requesterOf(userId: UserId): Requester {
  return {
    userId,
    deviceId: undefined,
    tokenId: 1,
    isGuest: false,
    isAdmin: false,
    isSuspended: false,
    appserviceId: undefined,
    rateLimited: true,
  };
}

function user(text: string): UserId {
  if (!isUserId(text)) throw new TypeError(`${text} is no user ID`);
  return text;
}

function server(text: string): ServerName {
  if (!isServerName(text)) throw new TypeError(`${text} is no server name`);
  return text;
}
