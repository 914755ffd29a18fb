import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import type { TestContext } from 'node:test';
import { federationPath } from '../../server/federation/path.ts';
import { bodyText, parseAuthorization, requestJson, signRequest } from '../../server/federation/request-signing.ts';
import type { FederationRequest, KeyRing } from '../../server/federation/types.ts';
import { RateLimit, type RateLimitOptions } from '../../server/http/rate-limit.ts';
import { createHttpServer } from '../../server/http/server.ts';
import { authEventKeys } from '../../server/matrix/auth-rules/auth-events.ts';
import { canonicalJson } from '../../server/matrix/canonical-json.ts';
import { MatrixError } from '../../server/matrix/errors.ts';
import { buildEvent, completeTemplate } from '../../server/matrix/events/build.ts';
import { type RoomEvent, stateKeyOf } from '../../server/matrix/events/event.ts';
import { referenceHashBase64 } from '../../server/matrix/events/hash.ts';
import { requiredSigners, verifyPduSignature } from '../../server/matrix/events/sign.ts';
import {
  type EventId,
  isRoomId,
  isServerName,
  isUserId,
  type RoomId,
  type ServerName,
  type UserId,
} from '../../server/matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../../server/matrix/json.ts';
import { type RoomVersion, roomVersions } from '../../server/matrix/room-versions.ts';
import { generateSigningKey, type SigningKey, verifyJson, verifyText } from '../../server/matrix/signing.ts';
import { migrations, roomMembership } from '../../server/modules/room-membership/index.ts';
import type { MembershipNeeds } from '../../server/modules/room-membership/service/needs.ts';
import { createRooms, migrations as roomMigrations, type Rooms } from '../../server/rooms/rooms.ts';
import type { EventDraft, PersistedEvent } from '../../server/rooms/types.ts';
import { openDatabase } from '../../server/storage/database.ts';
import type { Database } from '../../server/storage/types.ts';
import { silentLogger } from '../../server/util/log.ts';
import { systemRandom } from '../../server/util/random.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import type { Answer, Json } from '../kit/test-client.ts';

export function serverName(text: string): ServerName {
  assert.ok(isServerName(text), text);
  return text;
}

export function userId(text: string): UserId {
  assert.ok(isUserId(text), text);
  return text;
}

export function roomIdOf(text: string): RoomId {
  assert.ok(isRoomId(text), text);
  return text;
}

export function versionOf(id: string): RoomVersion {
  const version = roomVersions.get(id);
  assert.ok(version !== undefined, `room version ${id}`);
  return version;
}

export const HOME = serverName('hearth.test');
export const alice = userId('@alice:hearth.test');
export const bob = userId('@bob:hearth.test');

const keys = new Map<ServerName, SigningKey>();

function keyOf(server: ServerName): SigningKey {
  const key = keys.get(server) ?? generateSigningKey(systemRandom.bytes(32));
  keys.set(server, key);
  return key;
}

function isSignedBy(server: ServerName, event: RoomEvent): boolean {
  const key = keyOf(server);
  return verifyPduSignature(event.pdu, event.version, server, key.keyId, key.publicKey);
}

const isSigned = (event: RoomEvent): boolean => requiredSigners(event).every((server) => isSignedBy(server, event));

const keyRing: KeyRing = {
  verifyJson: async (server, json) => verifyJson(json, server, keyOf(server).keyId, keyOf(server).publicKey),
  checkEvent: async (event) => isSigned(event),
  checkEvents: async (events) => events.map(isSigned),
};

/** Another homeserver as far as its signature goes. Its requests are real ones. */
export class Peer {
  readonly name: ServerName;
  readonly #baseUrl: string;

  constructor(name: string, baseUrl: string) {
    this.name = serverName(name);
    this.#baseUrl = baseUrl;
  }

  get key(): SigningKey {
    return keyOf(this.name);
  }

  user(localpart: string): UserId {
    return userId(`@${localpart}:${this.name}`);
  }

  async request(method: 'GET' | 'PUT', path: string, body?: Json): Promise<Answer> {
    const text = body === undefined ? undefined : bodyText(body);
    const request = { method, uri: path, origin: this.name, destination: HOME, contentText: text };
    const authorization = signRequest(request, this.key);
    const response = await fetch(`${this.#baseUrl}${path}`, {
      method,
      headers: { authorization, ...(text === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(text === undefined ? {} : { body: text }),
    });
    return { status: response.status, headers: response.headers, body: JSON.parse(await response.text()) };
  }

  /** Asks for a template; with the versions it speaks, all unless told. */
  make(
    what: 'join' | 'knock' | 'leave',
    roomId: string,
    user: string,
    versions: readonly string[] | undefined = [...roomVersions.keys()],
  ): Promise<Answer> {
    const query = what === 'leave' ? '' : `?${versions.map((version) => `ver=${version}`).join('&')}`;
    return this.request('GET', federationPath(`/v1/make_${what}`, roomId, user) + query);
  }

  /** Completes a template as it stands in an answer, with what the peer wants changed. */
  complete(template: Json, changes: Json = {}): RoomEvent {
    const { room_version: version, event } = template;
    return completeTemplate({ ...event, origin_server_ts: Date.now(), ...changes }, versionOf(version), {
      serverName: this.name,
      signingKey: this.key,
      eventIdLocalpart: systemRandom.bytes(8).toString('hex'),
    });
  }

  send(what: 'join' | 'knock' | 'leave', event: RoomEvent, api: 'v1' | 'v2' = what === 'knock' ? 'v1' : 'v2') {
    return this.request('PUT', federationPath(`/${api}/send_${what}`, event.roomId, event.eventId), event.pdu);
  }

  /** The whole handshake. @throws AssertionError if any step is refused */
  async join(roomId: string, user: string): Promise<Answer> {
    const template = await this.make('join', roomId, user);
    assert.equal(template.status, 200, JSON.stringify(template.body));
    const answer = await this.send('join', this.complete(template.body));
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    return answer;
  }

  invite(event: RoomEvent, more: Json = {}): Promise<Answer> {
    return this.request('PUT', federationPath('/v2/invite', event.roomId, event.eventId), {
      room_version: event.version.id,
      event: event.pdu,
      ...more,
    });
  }
}

/** In room version 12, the same create event would be the same room. */
let moment = Date.now();

/** A room that lives on another server. */
export class PeerRoom {
  readonly version: RoomVersion;
  readonly roomId: RoomId;
  readonly #peer: Peer;
  readonly #state = new Map<string, RoomEvent>();
  #last: RoomEvent | undefined;
  #count = 0;

  constructor(peer: Peer, { version = '12', joinRule = 'invite', create = {} as JsonObject } = {}) {
    this.version = versionOf(version);
    this.#peer = peer;
    const creator = peer.user('dora');
    const given = this.version.roomIdIsCreateHash
      ? undefined
      : roomIdOf(`!${systemRandom.bytes(6).toString('hex')}:${peer.name}`);
    const content = { room_version: version, ...(this.version.creatorIsSender ? {} : { creator }), ...create };
    const first = this.build({ type: 'm.room.create', sender: creator, stateKey: '', content }, given);
    this.roomId = first.roomId;
    this.send(draft.member(creator, creator, 'join'));
    const users = this.version.privilegedCreators ? {} : { [creator]: 100 };
    this.send(draft.state(creator, 'm.room.power_levels', { users }));
    this.send(draft.state(creator, 'm.room.join_rules', { join_rule: joinRule }));
    this.send(draft.state(creator, 'm.room.name', { name: 'Observatory' }));
  }

  /** What the room shows of itself. */
  get shown(): RoomEvent[] {
    return ['m.room.create', 'm.room.name', 'm.room.join_rules'].flatMap(
      (type) => this.#state.get(stateKeyOf(type, '')) ?? [],
    );
  }

  get last(): RoomEvent {
    assert.ok(this.#last !== undefined);
    return this.#last;
  }

  send(event: Omit<EventDraft, 'roomId'>): RoomEvent {
    return this.build(event, this.roomId);
  }

  build(event: Omit<EventDraft, 'roomId'>, roomId: RoomId | undefined): RoomEvent {
    const { type, sender, content, stateKey } = event;
    const { version } = this;
    const refer = (to: RoomEvent): EventId | { eventId: EventId; sha256: string } =>
      version.references === 'pairs'
        ? { eventId: to.eventId, sha256: referenceHashBase64(to.pdu, version) }
        : to.eventId;
    this.#count += 1;
    const built = buildEvent({
      serverName: this.#peer.name,
      signingKey: this.#peer.key,
      version,
      roomId,
      type,
      sender,
      content,
      ...(stateKey === undefined ? {} : { stateKey }),
      originServerTs: (moment += 1),
      depth: this.#count,
      prevEvents: this.#last === undefined ? [] : [refer(this.#last)],
      authEvents: authEventKeys({ type, sender, content, stateKey, version }).flatMap((key) => {
        const found = this.#state.get(key);
        return found === undefined ? [] : [refer(found)];
      }),
      eventIdLocalpart: systemRandom.bytes(8).toString('hex'),
    });
    if (stateKey !== undefined) this.#state.set(stateKeyOf(type, stateKey), built);
    this.#last = built;
    return built;
  }
}

type Draft = Omit<EventDraft, 'roomId'>;
export const draft = {
  message: (sender: UserId, body: string): Draft => ({
    type: 'm.room.message',
    sender,
    content: { msgtype: 'm.text', body },
  }),
  state: (sender: UserId, type: string, content: JsonObject, stateKey = ''): Draft => ({
    type,
    sender,
    content,
    stateKey,
  }),
  member: (sender: UserId, target: UserId, membership: string, more: JsonObject = {}): Draft => ({
    type: 'm.room.member',
    sender,
    stateKey: target,
    content: { membership, ...more },
  }),
};

export interface ResidentOptions {
  readonly settings?: Partial<MembershipNeeds['settings']>;
  readonly needs?: Partial<Pick<MembershipNeeds, 'mayInvite' | 'isBlocked' | 'serverNotices' | 'thirdPartyInvites'>>;
  readonly strictInviteState?: boolean;
  /** As many as one likes, unless said. */
  readonly limits?: Partial<Record<keyof MembershipNeeds['limits'] | 'bind', Omit<RateLimitOptions, 'clock'>>>;
  /** Answers of other servers to this one's requests. */
  readonly answer?: (request: FederationRequest) => JsonValue;
}

type RemoteInvite = Parameters<NonNullable<MembershipNeeds['remote']>['invite']>[0];

/** This server, its rooms real, and what it told others. */
export class Resident {
  readonly rooms: Rooms;
  readonly clock: ManualClock;
  readonly baseUrl: string;
  /** What was sent on to the other servers of its room. */
  readonly forwarded: PersistedEvent[];
  /** Requests to other servers. */
  readonly asked: FederationRequest[];
  /** Invites of users of other servers. */
  readonly invited: RemoteInvite[];
  readonly away: Peer;
  readonly #db: Database;

  constructor(
    parts: Pick<Resident, 'rooms' | 'clock' | 'baseUrl' | 'forwarded' | 'asked' | 'invited'> & {
      readonly db: Database;
    },
  ) {
    this.#db = parts.db;
    this.rooms = parts.rooms;
    this.clock = parts.clock;
    this.baseUrl = parts.baseUrl;
    this.forwarded = parts.forwarded;
    this.asked = parts.asked;
    this.invited = parts.invited;
    this.away = this.peer('away.test');
  }

  peer(name: string): Peer {
    return new Peer(name, this.baseUrl);
  }

  send(roomId: RoomId, event: Draft): Promise<PersistedEvent> {
    this.clock.setWallClock(this.clock.now() + 1000);
    return this.rooms.sender.send({ ...event, roomId });
  }

  /** A room of Alice's. */
  async createRoom({
    version = '12',
    joinRules = { join_rule: 'public' } as JsonObject,
    create = {} as JsonObject,
    more = [] as Draft[],
    levels = {} as JsonObject,
  } = {}): Promise<RoomId> {
    const roomVersion = versionOf(version);
    const users = roomVersion.privilegedCreators ? {} : { [alice]: 100 };
    const { roomId } = await this.rooms.sender.createRoom({
      version: roomVersion,
      creator: alice,
      createContent: create,
      events: () => [
        draft.member(alice, alice, 'join', { displayname: 'Alice' }),
        draft.state(alice, 'm.room.power_levels', { users, ...levels }),
        draft.state(alice, 'm.room.join_rules', joinRules),
        ...more,
      ],
    });
    return roomId;
  }

  /** The user turns an invite down, and nobody else hears of it. */
  withdraw(roomId: RoomId, user: UserId): void {
    this.#db.write((tx) => this.rooms.outside.withdraw(tx, roomId, user, {}));
  }

  membershipOf(roomId: RoomId, user: UserId): string | undefined {
    return this.rooms.members.findMember(roomId, user)?.membership;
  }
}

/** Starts a server that other servers can speak to, until the test is over. */
export async function resident(t: TestContext, options: ResidentOptions = {}): Promise<Resident> {
  const dir = mkdtempSync(joinPath(tmpdir(), 'hearth-resident-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const clock = new ManualClock();
  const db = openDatabase({
    path: joinPath(dir, 'homeserver.db'),
    migrations: [roomMigrations, migrations],
    log: silentLogger,
  });
  t.after(() => db.close());
  const signingKey = keyOf(HOME);
  const rooms = createRooms({
    db,
    clock,
    log: silentLogger,
    serverName: HOME,
    signingKey,
    projections: [],
    checkSignatures: isSigned,
  });

  const forwarded: PersistedEvent[] = [];
  const asked: FederationRequest[] = [];
  const invited: RemoteInvite[] = [];
  const limit = (name: keyof NonNullable<ResidentOptions['limits']>): RateLimit =>
    new RateLimit({ ...(options.limits?.[name] ?? { perSecond: 1_000_000, burstCount: 1_000_000 }), clock });
  const unexpected = async (): Promise<never> => assert.fail('nobody asked for this');
  const module = roomMembership(
    {
      db,
      log: silentLogger,
      settings: {
        serverName: HOME,
        blockNonAdminInvites: false,
        allowPerRoomProfiles: true,
        profilesInInvites: true,
        forgetOnLeave: false,
        autoJoin: {
          rooms: [],
          create: false,
          federated: true,
          preset: 'public_chat',
          inviter: undefined,
          guests: false,
        },
        ...options.settings,
      },
      limits: {
        message: limit('message'),
        joinsLocal: limit('joinsLocal'),
        joinsRemote: limit('joinsRemote'),
        joinsPerRoom: limit('joinsPerRoom'),
        invitesPerRoom: limit('invitesPerRoom'),
        invitesPerUser: limit('invitesPerUser'),
        invitesPerIssuer: limit('invitesPerIssuer'),
      },
      events: rooms.events,
      state: rooms.state,
      members: rooms.members,
      sender: rooms.sender,
      aliases: { find: () => undefined },
      profiles: { find: () => undefined },
      users: { isGuest: () => false },
      remote: {
        join: unexpected,
        knock: unexpected,
        leave: unexpected,
        invite: async (change) => void invited.push(change),
      },
      ...options.needs,
    },
    {
      signingKey,
      client: {
        request: async (request) => {
          asked.push(request);
          return options.answer?.(request) ?? {};
        },
      },
      keyRing,
      acls: rooms.acls,
      inbox: rooms.inbox,
      graph: rooms.graph,
      forwarder: { forward: (_tx, event) => void forwarded.push(event) },
      outside: rooms.outside,
      templates: rooms.templates,
      pduTexts: rooms.pduTexts,
      state: rooms.state,
      members: rooms.members,
      users: {
        exists: (user) => user === alice || user === bob || user.startsWith('@gone'),
        isDeactivated: (user) => user.startsWith('@gone'),
      },
      bindLimit: limit('bind'),
      strictInviteState: options.strictInviteState,
    },
  );

  const http = createHttpServer({
    routes: module.routes ?? [],
    listeners: [
      { port: 0, bindAddresses: ['127.0.0.1'], tls: undefined, xForwarded: false, resources: ['client', 'federation'] },
    ],
    db,
    log: silentLogger,
    clock,
    authenticator: { authenticate: () => ({ kind: 'unknown' }) },
    federationAuthenticator: async ({ method, uri, authorization, content }) => {
      const claim = parseAuthorization(authorization[0] ?? '');
      assert.ok(claim !== undefined);
      const { origin, signature } = claim;
      const text = canonicalJson(requestJson({ method, uri, origin, destination: HOME, content }), { strict: false });
      if (verifyText(text, signature, keyOf(origin).publicKey)) return origin;
      throw new MatrixError('M_UNAUTHORIZED', 'The request is not signed');
    },
  });
  const { addresses } = await http.start();
  t.after(() => http.stop());
  const baseUrl = `http://127.0.0.1:${addresses[0]?.port}`;
  return new Resident({ db, rooms, clock, baseUrl, forwarded, asked, invited });
}

export function expectStatus(answer: Answer, status: number, errcode?: string): Json {
  assert.equal(answer.status, status, JSON.stringify(answer.body));
  if (errcode !== undefined) assert.equal(answer.body.errcode, errcode, JSON.stringify(answer.body));
  return answer.body;
}
