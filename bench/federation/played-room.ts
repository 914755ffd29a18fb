import assert from 'node:assert/strict';
import { authEventKeys } from '../../server/matrix/auth-rules/auth-events.ts';
import { createEventIdOf } from '../../server/matrix/auth-rules/auth-state.ts';
import { buildEvent } from '../../server/matrix/events/build.ts';
import { type RoomEvent, type StateKey, stateKeyOf } from '../../server/matrix/events/event.ts';
import { parsePdu } from '../../server/matrix/events/parse.ts';
import {
  buildUserId,
  type EventId,
  isServerName,
  type RoomId,
  type ServerName,
  serverNameOf,
  type UserId,
} from '../../server/matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../../server/matrix/json.ts';
import { type RoomVersion, roomVersions } from '../../server/matrix/room-versions.ts';
import { generateSigningKey } from '../../server/matrix/signing.ts';
import { systemRandom } from '../../server/util/random.ts';

/** All played servers sign with the same key; who asks each of them for it cannot know. */
export const SHARED_KEY = generateSigningKey(systemRandom.bytes(32));

const VERSION = '12';
/** Rooms that begin alike at the same time would have the same ID. */
let begun = 1_600_000_000_000;

export function serverName(name: string): ServerName {
  assert.ok(isServerName(name), name);
  return name;
}

/** The servers of a room's members. */
export const peerName = (n: number): ServerName => serverName(`peer${n}.fed.bench`);

export function userOf(localpart: string, server: ServerName): UserId {
  const id = buildUserId(localpart, server);
  assert.ok(id !== undefined, localpart);
  return id;
}

export interface Fields {
  readonly type: string;
  readonly sender: UserId;
  readonly stateKey?: string;
  readonly content: JsonObject;
}

export function message(sender: UserId, n: number): Fields {
  const body = `Message number ${n}: shall we have dinner at eight, or is that too late for you?`;
  return { type: 'm.room.message', sender, content: { msgtype: 'm.text', body } };
}

/** A room as the played servers have it. */
export class PlayedRoom {
  readonly roomId: RoomId;
  readonly creator: UserId;
  /** In the order of the graph. */
  readonly events: RoomEvent[] = [];
  readonly #version: RoomVersion;
  readonly #index = new Map<EventId, number>();
  readonly #state = new Map<StateKey, RoomEvent>();
  #latest: readonly RoomEvent[] = [];
  #ts = begun++;

  /** A public room of `members` members, as many on each of `servers` servers. */
  constructor({ members, servers }: { readonly members: number; readonly servers: number }) {
    const version = roomVersions.get(VERSION);
    assert.ok(version !== undefined);
    this.#version = version;
    this.creator = userOf('dora', peerName(0));
    const sender = this.creator;
    const create = this.#build({ type: 'm.room.create', sender, stateKey: '', content: { room_version: VERSION } }, []);
    this.roomId = create.roomId;
    this.take(create);
    this.join(sender, 'Dora');
    for (const [type, content] of Object.entries<JsonObject>({
      'm.room.power_levels': { users_default: 0, events_default: 0, state_default: 0 },
      'm.room.join_rules': { join_rule: 'public' },
      'm.room.history_visibility': { history_visibility: 'shared' },
      'm.room.name': { name: 'A room of others' },
    })) {
      this.send({ type, sender, stateKey: '', content });
    }
    for (let n = 1; n < members; n += 1) this.join(userOf(`member${n}`, peerName(n % servers)), `Member ${n}`);
  }

  join(userId: UserId, displayname: string): void {
    const content = { membership: 'join', displayname };
    this.send({ type: 'm.room.member', sender: userId, stateKey: userId, content });
  }

  /** The next event of the room. */
  send(fields: Fields): RoomEvent {
    const event = this.build(fields);
    this.take(event);
    return event;
  }

  /** An event after the latest ones, or those given; with the auth events of the present state. */
  build(fields: Fields, prev: readonly RoomEvent[] = this.#latest): RoomEvent {
    return this.#build(fields, prev);
  }

  #build({ type, sender, stateKey, content }: Fields, prev: readonly RoomEvent[]): RoomEvent {
    this.#ts += 1000;
    const keys = authEventKeys({ type, sender, stateKey, content, version: this.#version });
    return buildEvent({
      serverName: serverNameOf(sender),
      signingKey: SHARED_KEY,
      version: this.#version,
      roomId: type === 'm.room.create' ? undefined : this.roomId,
      type,
      sender,
      content,
      ...(stateKey === undefined ? {} : { stateKey }),
      originServerTs: this.#ts,
      depth: Math.max(0, ...prev.map(({ depth }) => depth)) + 1,
      prevEvents: prev.map(({ eventId }) => eventId),
      authEvents: keys.flatMap((key) => this.#state.get(key)?.eventId ?? []),
    });
  }

  /** Events become part of the room side by side. */
  take(...side: readonly RoomEvent[]): void {
    for (const event of side) {
      this.#index.set(event.eventId, this.events.length);
      this.events.push(event);
      if (event.stateKey !== undefined) this.#state.set(stateKeyOf(event.type, event.stateKey), event);
    }
    this.#latest = side;
  }

  get latest(): readonly RoomEvent[] {
    return this.#latest;
  }

  /** What make_join answers. */
  joinTemplate(userId: UserId): JsonObject {
    const content = { membership: 'join' };
    const { pdu } = this.#build({ type: 'm.room.member', sender: userId, stateKey: userId, content }, this.#latest);
    const { hashes: _hashes, signatures: _signatures, ...event } = pdu;
    return { room_version: VERSION, event };
  }

  /** The start of what send_join answers: state and auth chain, up to the join itself. */
  prepareJoinAnswer(): string {
    const state = [...this.#state.values()];
    const chain = this.#authChain(state);
    return `{"state":${JSON.stringify(state.map(({ pdu }) => pdu))},"auth_chain":${JSON.stringify(
      chain.map(({ pdu }) => pdu),
    )},"members_omitted":false,"event":`;
  }

  takeJoin(pdu: JsonValue): RoomEvent {
    const parsed = parsePdu(pdu, this.#version);
    assert.ok(parsed.ok);
    this.take(parsed.event);
    return parsed.event;
  }

  /** The newest of these events and those before them, newest first. */
  listBefore(ids: readonly string[], limit: number): RoomEvent[] {
    const newest = Math.max(...ids.map((id) => this.#index.get(id as EventId) ?? -1));
    return this.events.slice(Math.max(0, newest + 1 - limit), newest + 1).reverse();
  }

  /** The state before an event, and its auth chain. */
  stateBefore(id: string): { state: RoomEvent[]; chain: RoomEvent[] } {
    const state = new Map<StateKey, RoomEvent>();
    for (const event of this.events.slice(0, this.#index.get(id as EventId) ?? 0)) {
      if (event.stateKey !== undefined) state.set(stateKeyOf(event.type, event.stateKey), event);
    }
    return { state: [...state.values()], chain: this.#authChain([...state.values()]) };
  }

  #authChain(of: readonly RoomEvent[]): RoomEvent[] {
    const chain = new Map<EventId, RoomEvent>();
    const pending = of.flatMap(({ authEvents }) => authEvents);
    const create = createEventIdOf(this.roomId);
    if (create !== undefined) pending.push(create);
    for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
      const event = this.events[this.#index.get(id) ?? -1];
      if (event === undefined || chain.has(id)) continue;
      chain.set(id, event);
      pending.push(...event.authEvents);
    }
    return [...chain.values()];
  }
}
