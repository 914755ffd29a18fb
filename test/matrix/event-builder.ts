import assert from 'node:assert/strict';
import { authEventKeys } from '../../server/matrix/auth-rules/auth-events.ts';
import { type AuthState, authStateOf } from '../../server/matrix/auth-rules/auth-state.ts';
import { type RoomEvent, type StateKey, type StateMap, stateKeyOf } from '../../server/matrix/events/event.ts';
import {
  type EventId,
  isEventId,
  isRoomId,
  isUserId,
  type RoomId,
  type UserId,
} from '../../server/matrix/identifiers.ts';
import type { JsonObject } from '../../server/matrix/json.ts';
import { type RoomVersion, roomVersions } from '../../server/matrix/room-versions.ts';
import { authChainDifferenceByWalking, type EventSource } from '../../server/matrix/state-resolution/event-source.ts';

export const allVersions: readonly string[] = [...roomVersions.keys()];

/** The room versions from `first` to `last`, both included. */
export function versionsBetween(first: number, last: number): readonly string[] {
  return allVersions.filter((id) => Number(id) >= first && Number(id) <= last);
}

export function user(id: string): UserId {
  assert(isUserId(id), id);
  return id;
}

export const alice = user('@alice:alpha.test');
export const bob = user('@bob:beta.test');
export const charlie = user('@charlie:gamma.test');
export const dora = user('@dora:delta.test');

export function eventId(id: string): EventId {
  assert(isEventId(id), id);
  return id;
}

function roomId(id: string): RoomId {
  assert(isRoomId(id), id);
  return id;
}

export function roomVersion(id: string): RoomVersion {
  const version = roomVersions.get(id);
  assert(version, `room version ${id}`);
  return version;
}

export interface EventFields {
  readonly type: string;
  readonly sender: UserId;
  readonly stateKey?: string;
  readonly content?: JsonObject;
  /** Without the sigil; unique within the room. */
  readonly id?: string;
  readonly prev?: readonly EventId[];
  readonly auth?: readonly EventId[];
  readonly ts?: number;
  readonly depth?: number;
  readonly redacts?: EventId;
  readonly room?: RoomId;
  readonly signedBy?: readonly string[];
}

export interface Sent {
  readonly event: RoomEvent;
  readonly state: StateMap;
}

/**
 * A room of unsigned events with made-up IDs, for rules that neither look at hashes nor at signatures. Every event comes
 * a second after the one before, unless it says otherwise.
 */
export class TestRoom {
  readonly version: RoomVersion;
  readonly events = new Map<EventId, RoomEvent>();
  readonly rejected = new Set<EventId>();
  readonly roomId: RoomId;
  #count = 0;

  constructor(version: string) {
    this.version = roomVersion(version);
    this.roomId = roomId(this.version.roomIdIsCreateHash ? '!create' : '!room:alpha.test');
  }

  /** An event exactly as described: nothing is looked up for it. */
  event(fields: EventFields): RoomEvent {
    const { type, sender, stateKey, content = {}, prev = [], auth = [], redacts, room = this.roomId } = fields;
    this.#count += 1;
    const name = fields.id ?? `event${this.#count}`;
    const hasDomain = this.version.eventIds === 'given' && !name.includes(':');
    const pdu: Record<string, JsonObject[string]> = { type, sender, content, depth: fields.depth ?? this.#count };
    if (!(this.version.roomIdIsCreateHash && type === 'm.room.create')) pdu['room_id'] = room;
    if (stateKey !== undefined) pdu['state_key'] = stateKey;
    pdu['signatures'] = Object.fromEntries(
      (fields.signedBy ?? [sender.slice(sender.indexOf(':') + 1)]).map((server) => [server, { 'ed25519:1': 'c2ln' }]),
    );
    const event: RoomEvent = {
      eventId: eventId(hasDomain ? `$${name}:${sender.slice(sender.indexOf(':') + 1)}` : `$${name}`),
      roomId: room,
      type,
      sender,
      stateKey,
      content,
      originServerTs: fields.ts ?? this.#count * 1000,
      depth: fields.depth ?? this.#count,
      prevEvents: prev,
      authEvents: auth,
      redacts,
      pdu,
      version: this.version,
    };
    assert(!this.events.has(event.eventId), `two events are called ${event.eventId}`);
    this.events.set(event.eventId, event);
    return event;
  }

  get(id: EventId): RoomEvent {
    const event = this.events.get(id);
    assert(event, id);
    return event;
  }

  /** What the rules see of a state, the implied create event of version 12 included. */
  authState(state: StateMap): AuthState {
    return authStateOf([...state.values()].map((id) => this.get(id)));
  }

  /** An event that cites what the selection of auth events takes from `state`, and the state after it. */
  send(state: StateMap, fields: EventFields): Sent {
    const auth = authEventKeys({
      type: fields.type,
      sender: fields.sender,
      stateKey: fields.stateKey,
      content: fields.content ?? {},
      version: this.version,
    }).flatMap((key) => state.get(key) ?? []);
    const event = this.event({ auth, prev: [...state.values()].slice(-1), ...fields });
    if (event.stateKey === undefined) return { event, state };
    return { event, state: new Map([...state, [stateKeyOf(event.type, event.stateKey), event.eventId]]) };
  }

  /** Sends several in a row. */
  sendAll(state: StateMap, all: readonly EventFields[]): StateMap {
    return all.reduce((now, fields) => this.send(now, fields).state, state);
  }

  /** The first events of a room that Alice made: create, her join, power levels, join rule. */
  start({
    joinRule = 'public',
    users = {},
    levels = {},
    create = {},
  }: {
    joinRule?: string;
    users?: JsonObject;
    levels?: JsonObject;
    create?: JsonObject;
  } = {}): StateMap {
    const creator = this.version.creatorIsSender ? {} : { creator: alice };
    const own = this.version.privilegedCreators ? {} : { [alice]: 100 };
    return this.sendAll(new Map(), [
      {
        id: 'create',
        type: 'm.room.create',
        stateKey: '',
        sender: alice,
        content: { room_version: this.version.id, ...creator, ...create },
      },
      { id: 'alice-joins', ...member(alice, 'join') },
      { id: 'first-levels', ...powerLevels(alice, { users: { ...own, ...users }, ...levels }) },
      { id: 'first-join-rule', ...joinRules(alice, joinRule) },
    ]);
  }

  source(): EventSource {
    const get = (id: EventId) => this.events.get(id);
    return {
      get,
      authChainDifference: authChainDifferenceByWalking(get),
      isRejected: (id) => this.rejected.has(id),
    };
  }
}

/** `membership` of `target`, set by themselves unless another sender is named. */
export function member(target: UserId, membership: string, by: UserId = target, content: JsonObject = {}): EventFields {
  return { type: 'm.room.member', stateKey: target, sender: by, content: { membership, ...content } };
}

export function powerLevels(sender: UserId, content: JsonObject): EventFields {
  return { type: 'm.room.power_levels', stateKey: '', sender, content };
}

export function joinRules(sender: UserId, rule: string): EventFields {
  return { type: 'm.room.join_rules', stateKey: '', sender, content: { join_rule: rule } };
}

export function topic(sender: UserId, text: string): EventFields {
  return { type: 'm.room.topic', stateKey: '', sender, content: { topic: text } };
}

export function key(type: string, stateKey = ''): StateKey {
  return stateKeyOf(type, stateKey);
}
