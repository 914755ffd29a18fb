import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type TestContext } from 'node:test';
import { FederationError } from '../../server/federation/errors.ts';
import type { FederationClient, FederationRequest, KeyRing } from '../../server/federation/types.ts';
import { authEventKeys } from '../../server/matrix/auth-rules/auth-events.ts';
import { createEventIdOf } from '../../server/matrix/auth-rules/auth-state.ts';
import { buildEvent, type EventReference } from '../../server/matrix/events/build.ts';
import { type RoomEvent, type StateKey, stateKeyOf } from '../../server/matrix/events/event.ts';
import { referenceHashBase64 } from '../../server/matrix/events/hash.ts';
import { parsePdu } from '../../server/matrix/events/parse.ts';
import { requiredSigners, signPdu, verifyPduSignature } from '../../server/matrix/events/sign.ts';
import {
  type EventId,
  isRoomId,
  isServerName,
  isUserId,
  type RoomId,
  type ServerName,
  serverNameOf,
  type UserId,
} from '../../server/matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../../server/matrix/json.ts';
import { type RoomVersion, roomVersions } from '../../server/matrix/room-versions.ts';
import { generateSigningKey, signaturesOf, type SigningKey, verifyJson } from '../../server/matrix/signing.ts';
import {
  createRooms,
  migrations,
  type Rooms,
  type RoomsFederation,
  type RoomsOptions,
} from '../../server/rooms/rooms.ts';
import type { RemoteRooms } from '../../server/rooms/remote/remote-rooms.ts';
import type { OutlierStore } from '../../server/rooms/federation-types.ts';
import { type OpenDatabase, openDatabase } from '../../server/storage/database.ts';
import { silentLogger } from '../../server/util/log.ts';
import { systemRandom } from '../../server/util/random.ts';
import { ManualClock } from '../kit/manual-clock.ts';

export function server(name: string): ServerName {
  assert(isServerName(name), name);
  return name;
}

export function user(id: string): UserId {
  assert(isUserId(id), id);
  return id;
}

export function versionOf(id: string): RoomVersion {
  const version = roomVersions.get(id);
  assert(version, id);
  return version;
}

export const HOME = server('hearth.test');
export const AWAY = server('away.test');
export const FAR = server('far.test');
export const alice = user('@alice:hearth.test');
export const bob = user('@bob:hearth.test');
export const dora = user('@dora:away.test');
export const erin = user('@erin:away.test');
export const fred = user('@fred:far.test');

export const signingKeys: ReadonlyMap<ServerName, SigningKey> = new Map(
  [HOME, AWAY, FAR].map((name) => [name, generateSigningKey(systemRandom.bytes(32))]),
);

export function keyOf(name: ServerName): SigningKey {
  const key = signingKeys.get(name);
  assert(key, `the key of ${name}`);
  return key;
}

/** Knows the keys of all servers of the test, and no others. */
export const keyRing: KeyRing = {
  verifyJson: (name, json) =>
    Promise.resolve(
      signaturesOf(json, name).some(({ keyId }) => {
        const key = signingKeys.get(name);
        return key?.keyId === keyId && verifyJson(json, name, keyId, key.publicKey);
      }),
    ),
  checkEvent: (event) => Promise.resolve(isSigned(event)),
  checkEvents: (events) => Promise.resolve(events.map(isSigned)),
};

function isSigned(event: RoomEvent): boolean {
  return requiredSigners(event).every((name) => {
    const key = signingKeys.get(name);
    return key !== undefined && verifyPduSignature(event.pdu, event.version, name, key.keyId, key.publicKey);
  });
}

export interface Fields {
  readonly type: string;
  readonly sender: UserId;
  readonly stateKey?: string;
  readonly content?: JsonObject;
}

export function member(target: UserId, membership: string, by: UserId = target, more: JsonObject = {}): Fields {
  return { type: 'm.room.member', stateKey: target, sender: by, content: { ...more, membership } };
}

/** A room as other servers have it: Dora's, on away.test, with whoever else joins. */
export class RemoteRoom {
  readonly version: RoomVersion;
  readonly events = new Map<EventId, RoomEvent>();
  roomId: RoomId;
  state = new Map<StateKey, RoomEvent>();
  latest: RoomEvent | undefined;
  #ts = 1_600_000_000_000;

  constructor(
    version: string,
    {
      joinRule = 'public',
      create = {},
      levels = {},
    }: { joinRule?: string; create?: JsonObject; levels?: JsonObject } = {},
  ) {
    this.version = versionOf(version);
    const id = `!room${systemRandom.bytes(6).toString('hex')}:away.test`;
    assert(isRoomId(id));
    this.roomId = id;
    const creator = this.version.creatorIsSender ? {} : { creator: dora };
    this.send({
      type: 'm.room.create',
      sender: dora,
      stateKey: '',
      content: { room_version: version, ...creator, ...create },
    });
    this.send(member(dora, 'join', dora, { displayname: 'Dora' }));
    const users = this.version.privilegedCreators ? {} : { users: { [dora]: 100 } };
    this.send({ type: 'm.room.power_levels', sender: dora, stateKey: '', content: { ...users, ...levels } });
    this.send({ type: 'm.room.join_rules', sender: dora, stateKey: '', content: { join_rule: joinRule } });
    this.send({ type: 'm.room.name', sender: dora, stateKey: '', content: { name: 'Away' } });
  }

  /** Makes an event after the latest, with the auth events of the present state unless others are named. */
  build(fields: Fields, { auth, prev }: { auth?: readonly RoomEvent[]; prev?: readonly RoomEvent[] } = {}): RoomEvent {
    const { type, sender, stateKey, content = {} } = fields;
    const { version } = this;
    const isCreate = type === 'm.room.create';
    const authEvents =
      auth ?? authEventKeys({ type, sender, stateKey, content, version }).flatMap((key) => this.state.get(key) ?? []);
    const prevEvents = prev ?? (this.latest === undefined ? [] : [this.latest]);
    this.#ts += 1000;
    return buildEvent({
      serverName: serverNameOf(sender),
      signingKey: keyOf(serverNameOf(sender)),
      version,
      roomId: isCreate && version.roomIdIsCreateHash ? undefined : this.roomId,
      type,
      sender,
      content,
      ...(stateKey === undefined ? {} : { stateKey }),
      originServerTs: this.#ts,
      depth: Math.max(0, ...prevEvents.map(({ depth }) => depth)) + 1,
      prevEvents: prevEvents.map(refer),
      authEvents: authEvents.map(refer),
      ...(version.eventIds === 'given' ? { eventIdLocalpart: `e${systemRandom.bytes(8).toString('hex')}` } : {}),
    });
  }

  send(fields: Fields): RoomEvent {
    const event = this.build(fields);
    if (event.type === 'm.room.create') this.roomId = event.roomId;
    this.take(event);
    return event;
  }

  /** An event becomes part of the room. */
  take(event: RoomEvent): void {
    this.events.set(event.eventId, event);
    this.latest = event;
    if (event.stateKey !== undefined) this.state.set(stateKeyOf(event.type, event.stateKey), event);
  }

  find(type: string, stateKey = ''): RoomEvent {
    const event = this.state.get(stateKeyOf(type, stateKey));
    assert(event, `${type} ${stateKey}`);
    return event;
  }

  authChain(events: Iterable<RoomEvent>): RoomEvent[] {
    const chain = new Map<EventId, RoomEvent>();
    const pending = [...events].flatMap((event) => this.#authIds(event));
    for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
      const event = this.events.get(id);
      if (event === undefined || chain.has(id)) continue;
      chain.set(id, event);
      pending.push(...this.#authIds(event));
    }
    return [...chain.values()];
  }

  #authIds(event: RoomEvent): EventId[] {
    const create = this.version.roomIdIsCreateHash ? createEventIdOf(this.roomId) : undefined;
    return create === undefined || event.eventId === create ? [...event.authEvents] : [...event.authEvents, create];
  }

  /** What make_join and the like answer. */
  template(userId: UserId, membership: string, more: JsonObject = {}): JsonObject {
    const fields = { type: 'm.room.member', sender: userId, stateKey: userId, content: { membership, ...more } };
    const { version } = this;
    const auth = authEventKeys({ ...fields, version }).flatMap((key) => this.state.get(key) ?? []);
    assert(this.latest);
    const refer = (event: RoomEvent): JsonValue =>
      version.references === 'pairs'
        ? [event.eventId, { sha256: referenceHashBase64(event.pdu, version) }]
        : event.eventId;
    return {
      room_version: version.id,
      event: {
        type: 'm.room.member',
        room_id: this.roomId,
        sender: userId,
        state_key: userId,
        content: fields.content,
        depth: this.latest.depth + 1,
        prev_events: [refer(this.latest)],
        auth_events: auth.map(refer),
        origin: AWAY,
        origin_server_ts: this.#ts,
      },
    };
  }

  /** What send_join answers for a join that was handed in; it is part of the room then. */
  acceptJoin(pdu: JsonValue | undefined): { event: RoomEvent; state: JsonValue[]; auth_chain: JsonValue[] } {
    const parsed = parsePdu(pdu, this.version);
    assert(parsed.ok, parsed.ok ? '' : parsed.reason);
    const { event } = parsed;
    const before = [...this.state.values()];
    const chain = this.authChain([event, ...before]);
    this.take(event);
    return { event, state: before.map((other) => other.pdu), auth_chain: chain.map((other) => other.pdu) };
  }
}

function refer(event: RoomEvent): EventReference {
  const { eventId, version, pdu } = event;
  return version.references === 'pairs' ? { eventId, sha256: referenceHashBase64(pdu, version) } : eventId;
}

/** The event with a signature of one more server. */
export function signedBy(event: RoomEvent, name: ServerName): JsonObject {
  return signPdu(event.pdu, event.version, name, keyOf(name));
}

export interface Asked {
  readonly server: ServerName;
  readonly method: string;
  /** `make_join` and so on, with the version in front: `v1/make_join`. */
  readonly operation: string;
  readonly params: readonly string[];
  readonly request: FederationRequest;
}

/** An answer: JSON; or text as it goes over the wire, in pieces. */
export type Answer = JsonValue | { readonly pieces: Iterable<string | Buffer> | AsyncIterable<string | Buffer> };
export type Play = (asked: Asked) => Answer | undefined | Promise<Answer | undefined>;

/** What a server that refuses answers. */
export function refusal(
  name: ServerName,
  status: number,
  errcode: string | undefined,
  more: JsonObject = {},
): FederationError {
  return new FederationError('refused', name, `answered ${status}`, {
    status,
    ...(errcode === undefined ? {} : { errcode, body: { errcode, error: `No (${errcode})`, ...more } }),
  });
}

export function unreachable(name: ServerName): FederationError {
  return new FederationError('unreachable', name, 'no connection');
}

/** A client whose requests all go to `play`; what that leaves unanswered is an unknown operation. */
export function playedClient(play: Play, asked: Asked[]): FederationClient {
  const ask = async (request: FederationRequest): Promise<Answer> => {
    const [version = '', name = '', ...params] = request.path.replace('/_matrix/federation/', '').split('/');
    const one: Asked = {
      server: request.destination,
      method: request.method,
      operation: `${version}/${name}`,
      params: params.map(decodeURIComponent),
      request,
    };
    asked.push(one);
    const answer = await play(one);
    if (answer === undefined) throw refusal(request.destination, 404, 'M_UNRECOGNIZED');
    return answer;
  };
  return {
    request: async (request) => {
      const answer = await ask(request);
      assert(!isPieces(answer), 'this operation is not streamed');
      return JSON.parse(JSON.stringify(answer)) as JsonValue;
    },
    open: async (request) => {
      const answer = await ask(request);
      const pieces = isPieces(answer) ? answer.pieces : [JSON.stringify(answer)];
      return { status: 200, headers: {}, body: Readable.from(pieces, { objectMode: false }) };
    },
  };
}

function isPieces(answer: Answer): answer is Exclude<Answer, JsonValue> {
  return typeof answer === 'object' && answer !== null && 'pieces' in answer;
}

export interface House {
  readonly rooms: Rooms;
  readonly remote: RemoteRooms;
  readonly outliers: OutlierStore;
  readonly db: OpenDatabase;
  readonly clock: ManualClock;
  readonly asked: Asked[];
  /** The operations that were asked for, in order, each with the server that was asked. */
  operations(): string[];
  reopen(): Promise<House>;
}

/** A server of our own in a world that `play` plays; gone when the test is over. */
export function house(
  t: TestContext,
  play: Play,
  options: Partial<RoomsFederation> & Partial<Pick<RoomsOptions, 'projections' | 'isErased'>> = {},
): House {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-remote-'));
  const opened: OpenDatabase[] = [];
  t.after(async () => {
    for (const db of opened) await db.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const { projections = [], isErased = () => false, ...federation } = options;
  const clock = new ManualClock();
  const open = (): House => {
    const db = openDatabase({ path: join(directory, 'homeserver.db'), migrations: [migrations], log: silentLogger });
    opened.push(db);
    const asked: Asked[] = [];
    const rooms = createRooms({
      db,
      clock,
      log: silentLogger,
      serverName: HOME,
      signingKey: keyOf(HOME),
      projections,
      isErased,
      checkSignatures: isSigned,
      federation: { client: playedClient(play, asked), keyRing, ...federation },
    });
    assert(rooms.federated);
    return {
      rooms,
      ...rooms.federated,
      db,
      clock,
      asked,
      operations: () => asked.map((one) => `${one.server} ${one.operation}`),
      reopen: async () => {
        await db.close();
        return open();
      },
    };
  };
  return open();
}

/** Plays the resident server of a room honestly: joins, knocks and leaves. */
export function resident(room: RemoteRoom, also: Play = () => undefined): Play {
  return async (asked) => {
    const other = await also(asked);
    if (other !== undefined) return other;
    const [, userId = ''] = asked.params;
    switch (asked.operation) {
      case 'v1/make_join':
        return room.template(user(userId), 'join');
      case 'v1/make_knock':
        return room.template(user(userId), 'knock');
      case 'v1/make_leave':
        return room.template(user(userId), 'leave');
      case 'v2/send_join': {
        const { event, ...answer } = room.acceptJoin(asked.request.body);
        return { ...answer, event: event.pdu, origin: AWAY, members_omitted: false };
      }
      case 'v1/send_knock': {
        room.acceptJoin(asked.request.body);
        return { knock_room_state: ['m.room.create', 'm.room.name'].map((type) => room.find(type).pdu) };
      }
      case 'v2/send_leave':
        room.acceptJoin(asked.request.body);
        return {};
      default:
        return undefined;
    }
  };
}
