import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import type { TestContext } from 'node:test';
import Type from 'typebox';
import { RateLimit } from '../../server/http/rate-limit.ts';
import { type Requester, type Route, route } from '../../server/http/route.ts';
import { createHttpServer } from '../../server/http/server.ts';
import { MatrixError } from '../../server/matrix/errors.ts';
import {
  isDeviceId,
  isServerName,
  isUserId,
  type DeviceId,
  type ServerName,
  type UserId,
} from '../../server/matrix/identifiers.ts';
import type { JsonObject } from '../../server/matrix/json.ts';
import { roomVersions } from '../../server/matrix/room-versions.ts';
import { generateSigningKey, type SigningKey } from '../../server/matrix/signing.ts';
import type { Module } from '../../server/module.ts';
import { accountData, migrations as accountDataMigrations } from '../../server/modules/account-data/index.ts';
import { eventContext } from '../../server/modules/event-context/index.ts';
import { migrations as relationMigrations, relations } from '../../server/modules/relations/index.ts';
import {
  migrations as roomEventsMigrations,
  roomEvents,
  type RoomEventsNeeds,
} from '../../server/modules/room-events/index.ts';
import { migrations as threadMigrations, threading, type Threads } from '../../server/modules/threading/index.ts';
import {
  createRooms,
  migrations as roomMigrations,
  type Rooms,
  type RoomsFederation,
} from '../../server/rooms/rooms.ts';
import type { EventDraft, Projection } from '../../server/rooms/types.ts';
import { openDatabase } from '../../server/storage/database.ts';
import { createSync } from '../../server/sync/sync.ts';
import { syncMigrations } from '../../server/sync/token.ts';
import type { EventDecoration, SyncContribution } from '../../server/sync/types.ts';
import { silentLogger } from '../../server/util/log.ts';
import { systemRandom } from '../../server/util/random.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { type Address, type Json, TestClient } from '../kit/test-client.ts';

const SERVER = name('hearth.test');

export interface HouseOptions {
  /** Events that may be sent at once; one more comes each second. As many as one likes unless said. */
  readonly messageBurst?: number;
  readonly adminRedactionBurst?: number;
  readonly isServerNoticesRoom?: RoomEventsNeeds['isServerNoticesRoom'];
  readonly isUserOfAppservice?: RoomEventsNeeds['isUserOfAppservice'];
  /** The world around it, and the key this server is known by there. */
  readonly federation?: RoomsFederation;
  readonly signingKey?: SigningKey;
}

/** What sets somebody apart from an ordinary user. */
export type Peculiarities = Partial<
  Pick<Requester, 'isGuest' | 'isAdmin' | 'isSuspended' | 'appserviceId' | 'rateLimited'>
> & { readonly device?: string | null };

/** The rooms and what reads and writes their events, behind real HTTP. Membership obeys the rules of rooms alone. */
export class RoomsHouse implements Address {
  readonly baseUrl: string;
  readonly clock: ManualClock;
  readonly rooms: Rooms;
  readonly threads: Threads;
  readonly #requesters: Map<string, Requester>;

  constructor(parts: {
    baseUrl: string;
    clock: ManualClock;
    rooms: Rooms;
    threads: Threads;
    requesters: Map<string, Requester>;
  }) {
    this.baseUrl = parts.baseUrl;
    this.clock = parts.clock;
    this.rooms = parts.rooms;
    this.threads = parts.threads;
    this.#requesters = parts.requesters;
  }

  /** A client of somebody; of a device of theirs that is named like them, unless said. */
  person(localpart: string, { device, ...peculiarities }: Peculiarities = {}): TestClient {
    const user = userId(`@${localpart}:${SERVER}`);
    const deviceId = device === null ? undefined : deviceOf(device ?? localpart.toUpperCase());
    const token = `${localpart} ${deviceId ?? ''} ${JSON.stringify(peculiarities)}`.replaceAll(/[^\w]/g, '_');
    this.#requesters.set(token, {
      userId: user,
      deviceId,
      tokenId: 1,
      isGuest: false,
      isAdmin: false,
      isSuspended: false,
      appserviceId: undefined,
      rateLimited: true,
      ...peculiarities,
    });
    return new TestClient(this, { token, userId: user, deviceId: deviceId ?? '' });
  }
}

/** Starts one, until the test is over. */
export async function roomsHouse(t: TestContext, options: HouseOptions = {}): Promise<RoomsHouse> {
  const dir = mkdtempSync(joinPath(tmpdir(), 'hearth-rooms-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const clock = new ManualClock();
  const db = openDatabase({
    path: joinPath(dir, 'homeserver.db'),
    migrations: [
      roomMigrations,
      syncMigrations,
      accountDataMigrations,
      relationMigrations,
      threadMigrations,
      roomEventsMigrations,
    ],
    log: silentLogger,
  });
  t.after(() => db.close());

  const projections: Projection[] = [];
  const contributions: SyncContribution[] = [];
  const decorations: EventDecoration[] = [];
  const rooms = createRooms({
    db,
    clock,
    log: silentLogger,
    serverName: SERVER,
    signingKey: options.signingKey ?? generateSigningKey(systemRandom.bytes(32)),
    projections,
    ...(options.federation === undefined ? {} : { federation: options.federation }),
  });
  const data = accountData({ db });
  const ignoredUsers = (user: UserId): ReadonlySet<UserId> => data.accountData.ignoredUsers(user);
  const sync = createSync({
    db,
    clock,
    ...rooms,
    contributions: () => contributions,
    decorations: () => decorations,
    ignoredUsers,
  });
  const { formatter, tokens } = sync;
  const related = relations({ db, ...rooms, ignoredUsers, formatter, tokens });
  const threads = threading({ db, ...rooms, relations: related.relations, ignoredUsers, formatter, tokens });
  const limit = (burstCount = 1_000_000): RateLimit => new RateLimit({ perSecond: 1, burstCount, clock });
  const events = roomEvents({
    ...rooms,
    clock,
    serverName: SERVER,
    formatter,
    tokens,
    ignoredUsers,
    relations: related.relations,
    membership: {
      applyMemberState: (by, roomId, stateKey, content, { originServerTs }) =>
        rooms.sender.send({ roomId, type: 'm.room.member', stateKey, sender: by.userId, content, originServerTs }),
    },
    aliases: {
      checkCanonicalAlias: (_roomId, { alias }) => {
        if (alias === '#elsewhere:hearth.test') throw new MatrixError('M_BAD_ALIAS', 'It leads to another room');
      },
    },
    limits: {
      message: limit(options.messageBurst),
      adminRedaction: options.adminRedactionBurst === undefined ? undefined : limit(options.adminRedactionBurst),
    },
    settings: { timelineLimit: undefined },
    elsewhere: rooms.federated?.history,
    ephemeral: { db, log: silentLogger },
    ...(options.isServerNoticesRoom === undefined ? {} : { isServerNoticesRoom: options.isServerNoticesRoom }),
    ...(options.isUserOfAppservice === undefined ? {} : { isUserOfAppservice: options.isUserOfAppservice }),
  });
  const context = eventContext({ ...rooms, history: events.history, formatter });
  const modules: Module[] = [data, related, threads, events, context];
  for (const module of modules) {
    projections.push(...(module.projections ?? []));
    contributions.push(...(module.sync ?? []));
    decorations.push(...(module.decorations ?? []));
  }

  const requesters = new Map<string, Requester>();
  const http = createHttpServer({
    routes: [...sync.routes, ...modules.flatMap((module) => module.routes ?? []), createRoomRoute(rooms)],
    listeners: [{ port: 0, bindAddresses: ['127.0.0.1'], tls: undefined, xForwarded: false, resources: ['client'] }],
    db,
    log: silentLogger,
    clock,
    authenticator: {
      authenticate: (token) => {
        const requester = requesters.get(token);
        return requester === undefined ? { kind: 'unknown' } : { kind: 'ok', requester };
      },
    },
  });
  const { addresses } = await http.start();
  for (const module of modules) module.start?.();
  t.after(async () => {
    for (const module of modules) await module.stop?.();
    sync.stop();
    await http.stop();
  });
  const baseUrl = `http://127.0.0.1:${addresses[0]?.port}`;
  return new RoomsHouse({ baseUrl, clock, rooms, threads: threads.threads, requesters });
}

/** A public room of the given version whose first events are `initial_state`; its creator has 100. */
function createRoomRoute({ sender }: Rooms): Route {
  return route({
    method: 'POST',
    path: '/_matrix/client/v3/createRoom',
    auth: 'user',
    body: Type.Object({
      room_version: Type.Optional(Type.String()),
      initial_state: Type.Optional(Type.Array(Type.Any())),
    }),
    handle: async ({ requester, body }) => {
      const version = roomVersions.get(body.room_version ?? '10');
      if (version === undefined) throw new MatrixError('M_UNSUPPORTED_ROOM_VERSION', 'There is no such room version');
      const creator = requester.userId;
      const state = (type: string, content: JsonObject, stateKey = ''): Omit<EventDraft, 'roomId'> => ({
        type,
        stateKey,
        sender: creator,
        content,
      });
      const { roomId } = await sender.createRoom({
        version,
        creator,
        createContent: {},
        events: () => [
          state('m.room.member', { membership: 'join' }, creator),
          state('m.room.power_levels', { users: version.privilegedCreators ? {} : { [creator]: 100 } }),
          state('m.room.join_rules', { join_rule: 'public' }),
          ...(body.initial_state ?? []).map((one: Json) => state(one.type, one.content, one.state_key ?? '')),
        ],
      });
      return { room_id: roomId };
    },
  });
}

/** The path of something in a room. */
export function inRoom(roomId: string, ...rest: readonly string[]): string {
  return ['/_matrix/client/v3/rooms', roomId, ...rest].map(encodeAfterFirst).join('/');
}

/** The same under the first version of the API. */
export function inRoomV1(roomId: string, ...rest: readonly string[]): string {
  return ['/_matrix/client/v1/rooms', roomId, ...rest].map(encodeAfterFirst).join('/');
}

function encodeAfterFirst(part: string, index: number): string {
  return index === 0 ? part : encodeURIComponent(part);
}

/** Membership changes, as state events. */
export async function join(client: TestClient, roomId: string, displayname?: string): Promise<string> {
  const content = displayname === undefined ? {} : { displayname };
  return client.setState(roomId, 'm.room.member', { membership: 'join', ...content }, client.userId);
}
export async function leave(client: TestClient, roomId: string): Promise<string> {
  return client.setState(roomId, 'm.room.member', { membership: 'leave' }, client.userId);
}
export async function invite(client: TestClient, roomId: string, whom: TestClient): Promise<string> {
  return client.setState(roomId, 'm.room.member', { membership: 'invite' }, whom.userId);
}

/** The content of an event that relates to another one. */
export function relating(relType: string, eventId: string, rest: Json = {}): Json {
  return { 'm.relates_to': { rel_type: relType, event_id: eventId }, ...rest };
}

export function reaction(eventId: string, key: string): Json {
  return { 'm.relates_to': { rel_type: 'm.annotation', event_id: eventId, key } };
}

export function edit(eventId: string, body: string): Json {
  return relating('m.replace', eventId, {
    msgtype: 'm.text',
    body: `* ${body}`,
    'm.new_content': { msgtype: 'm.text', body },
  });
}

export function reply(rootId: string, body: string): Json {
  return relating('m.thread', rootId, { msgtype: 'm.text', body });
}

export function idsOf(events: readonly Json[]): string[] {
  return events.map((event) => event.event_id);
}

function name(text: string): ServerName {
  if (!isServerName(text)) throw new TypeError(`not a server name: ${text}`);
  return text;
}
export function userId(text: string): UserId {
  if (!isUserId(text)) throw new TypeError(`not a user ID: ${text}`);
  return text;
}
function deviceOf(text: string): DeviceId {
  if (!isDeviceId(text)) throw new TypeError(`not a device ID: ${text}`);
  return text;
}
