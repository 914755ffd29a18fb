import assert from 'node:assert/strict';
import { checkAuthRules } from '../../server/matrix/auth-rules/check.ts';
import { authEventKeys } from '../../server/matrix/auth-rules/auth-events.ts';
import { authStateOf, createEventIdOf } from '../../server/matrix/auth-rules/auth-state.ts';
import { buildEvent, type EventReference } from '../../server/matrix/events/build.ts';
import { type RoomEvent, type StateKey, type StateMap, stateKeyOf } from '../../server/matrix/events/event.ts';
import { referenceHashBase64 } from '../../server/matrix/events/hash.ts';
import {
  type EventId,
  isEventId,
  isRoomId,
  type RoomId,
  serverNameOf,
  type UserId,
} from '../../server/matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../server/matrix/json.ts';
import type { RoomVersion } from '../../server/matrix/room-versions.ts';
import { authChainDifferenceByWalking } from '../../server/matrix/state-resolution/event-source.ts';
import { resolveState } from '../../server/matrix/state-resolution/resolve.ts';
import type { Rooms } from '../../server/rooms/rooms.ts';
import { systemRandom } from '../../server/util/random.ts';
import {
  alice,
  type Asked,
  dora,
  type Fields,
  fred,
  keyOf,
  member,
  type Play,
  refusal,
  versionOf,
} from './remote-kit.ts';

export interface Placing {
  /** What it follows; the newest event unless told. */
  readonly after?: readonly RoomEvent[];
  readonly auth?: readonly RoomEvent[];
  readonly depth?: number;
  /** Room versions 1 and 2: what the ID begins with. */
  readonly localpart?: string;
  /** IDs it says it follows besides, in room versions that name events by their IDs alone. */
  readonly alsoAfter?: readonly EventId[];
}

export function message(sender: UserId, body: string): Fields {
  return { type: 'm.room.message', sender, content: { msgtype: 'm.text', body } };
}

export function state(sender: UserId, type: string, content: JsonObject, stateKey = ''): Fields {
  return { type, sender, stateKey, content };
}

let rooms = 0;

/** A room as a perfect server has it: Alice's, with Dora and Fred of other servers in it. Any event may follow any. */
export class PeerRoom {
  readonly version: RoomVersion;
  readonly events = new Map<EventId, RoomEvent>();
  /** What everybody has from the beginning. */
  readonly base: readonly RoomEvent[];
  roomId: RoomId;
  latest: RoomEvent | undefined;
  readonly #before = new Map<EventId, StateMap>();
  readonly #after = new Map<EventId, StateMap>();
  readonly #rejected = new Set<EventId>();
  #ts: number;

  constructor(version = '12', { levels = {} }: { levels?: JsonObject } = {}) {
    this.version = versionOf(version);
    // In room version 12 the same create event would be the same room.
    rooms += 1;
    this.#ts = 1_690_000_000_000 + rooms;
    const id = `!room${systemRandom.bytes(6).toString('hex')}:hearth.test`;
    assert(isRoomId(id));
    this.roomId = id;
    const { creatorIsSender, privilegedCreators } = this.version;
    const creator = creatorIsSender ? {} : { creator: alice };
    this.add(state(alice, 'm.room.create', { room_version: version, ...creator }));
    this.add(member(alice, 'join'));
    const users: JsonObject = { ...(privilegedCreators ? {} : { [alice]: 100 }), [dora]: 60, [fred]: 50 };
    this.add(state(alice, 'm.room.power_levels', { users, ...levels }));
    this.add(state(alice, 'm.room.join_rules', { join_rule: 'public' }));
    this.add(member(dora, 'join'));
    this.add(member(fred, 'join'));
    this.base = [...this.events.values()];
  }

  /** Makes an event that is right by the state before it, unless others are named as its auth events. */
  add(fields: Fields, placing: Placing = {}): RoomEvent {
    const { type, sender, stateKey, content = {} } = fields;
    const { version } = this;
    const after = placing.after ?? (this.latest === undefined ? [] : [this.latest]);
    const before = this.#resolve(after);
    const auth =
      placing.auth ??
      authEventKeys({ type, sender, stateKey, content, version }).flatMap((key) => {
        const id = before.get(key);
        return id === undefined ? [] : [this.get(id)];
      });
    this.#ts += 1000;
    const isCreate = type === 'm.room.create';
    const event = buildEvent({
      serverName: serverNameOf(sender),
      signingKey: keyOf(serverNameOf(sender)),
      version,
      roomId: isCreate && version.roomIdIsCreateHash ? undefined : this.roomId,
      type,
      sender,
      content,
      ...(stateKey === undefined ? {} : { stateKey }),
      originServerTs: this.#ts,
      depth: placing.depth ?? Math.max(0, ...after.map(({ depth }) => depth)) + 1,
      prevEvents: [...after.map(refer), ...(placing.alsoAfter ?? []).map((id) => referById(id, version))],
      authEvents: auth.map(refer),
      ...(version.eventIds === 'given'
        ? { eventIdLocalpart: placing.localpart ?? `e${systemRandom.bytes(8).toString('hex')}` }
        : {}),
    });
    if (isCreate) this.roomId = event.roomId;
    this.take(event, before);
    return event;
  }

  /** An event made elsewhere becomes part of the room. */
  take(event: RoomEvent, before: StateMap = this.#resolve(event.prevEvents.map((id) => this.get(id)))): void {
    this.events.set(event.eventId, event);
    this.latest = event;
    this.#before.set(event.eventId, before);
    const isAllowed = checkAuthRules(event, authStateOf([...before.values()].map((id) => this.get(id)))).allowed;
    if (!isAllowed) this.#rejected.add(event.eventId);
    const changes = isAllowed && event.stateKey !== undefined;
    this.#after.set(
      event.eventId,
      changes ? new Map([...before, [stateKeyOf(event.type, event.stateKey ?? ''), event.eventId]]) : before,
    );
  }

  get(id: EventId): RoomEvent {
    const event = this.events.get(id);
    assert(event, id);
    return event;
  }

  /** Who holds a key after an event; the newest unless told. */
  holder(type: string, stateKey = '', at: RoomEvent | undefined = this.latest): RoomEvent {
    assert(at);
    const id = this.#after.get(at.eventId)?.get(stateKeyOf(type, stateKey));
    assert(id, `${type} ${stateKey}`);
    return this.get(id);
  }

  stateBefore(event: RoomEvent): RoomEvent[] {
    const before = this.#before.get(event.eventId);
    assert(before);
    return [...before.values()].map((id) => this.get(id));
  }

  stateAfter(event: RoomEvent): StateMap {
    const after = this.#after.get(event.eventId);
    assert(after);
    return after;
  }

  authChain(events: Iterable<RoomEvent>): RoomEvent[] {
    const chain = new Map<EventId, RoomEvent>();
    const create = this.version.roomIdIsCreateHash ? createEventIdOf(this.roomId) : undefined;
    const authIds = (event: RoomEvent): readonly EventId[] =>
      create === undefined || event.eventId === create ? event.authEvents : [...event.authEvents, create];
    const pending = [...events].flatMap(authIds);
    for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
      const event = this.events.get(id);
      if (event === undefined || chain.has(id)) continue;
      chain.set(id, event);
      pending.push(...authIds(event));
    }
    return [...chain.values()];
  }

  /** Brings the base of the room to a server, in order. */
  async enter({ inbox }: Rooms): Promise<void> {
    for (const event of this.base) {
      const acceptance = await inbox.accept(event.pdu, { newRoom: this.version });
      assert.equal(acceptance.kind, 'stored');
      assert.equal(acceptance.kind === 'stored' ? acceptance.event.verdict : '', 'accepted', event.type);
    }
  }

  /** Answers as a server does that has all there is. */
  readonly play: Play = ({ operation, params, request, server }) => {
    const find = (id: unknown): RoomEvent => {
      const event = typeof id === 'string' && isEventId(id) ? this.events.get(id) : undefined;
      if (event === undefined) throw refusal(server, 404, 'M_NOT_FOUND');
      return event;
    };
    const at = (): RoomEvent => find(request.query?.['event_id']);
    switch (operation) {
      case 'v1/get_missing_events':
        return { events: this.#missing(request.body ?? {}).map(({ pdu }) => pdu) };
      case 'v1/state_ids': {
        const before = this.stateBefore(at());
        return { pdu_ids: idsOf(before), auth_chain_ids: idsOf(this.authChain(before)) };
      }
      case 'v1/state': {
        const before = this.stateBefore(at());
        return { pdus: pdusOf(before), auth_chain: pdusOf(this.authChain(before)) };
      }
      case 'v1/event':
        return { origin: server, origin_server_ts: 1, pdus: [find(params[0]).pdu] };
      case 'v1/event_auth':
        return { auth_chain: pdusOf(this.authChain([find(params[1])])) };
      default:
        return undefined;
    }
  };

  #missing(body: JsonObject): RoomEvent[] {
    const { latest_events: latest, earliest_events: earliest, limit } = body;
    assert(Array.isArray(latest) && Array.isArray(earliest) && typeof limit === 'number');
    const found = new Set<RoomEvent>();
    const pending: JsonValue[] = [...latest];
    for (let id = pending.shift(); id !== undefined && found.size < limit; id = pending.shift()) {
      assert(typeof id === 'string' && isEventId(id));
      for (const prev of this.events.get(id)?.prevEvents ?? []) {
        const event = this.events.get(prev);
        if (event === undefined || earliest.includes(prev) || found.has(event) || found.size >= limit) continue;
        found.add(event);
        pending.push(prev);
      }
    }
    return [...found].reverse();
  }

  #resolve(after: readonly RoomEvent[]): StateMap {
    const [first] = after;
    if (first === undefined) return new Map();
    if (after.length === 1) return this.stateAfter(first);
    const get = (id: EventId): RoomEvent | undefined => this.events.get(id);
    return resolveState({
      version: this.version,
      stateSets: after.map((event) => this.stateAfter(event)),
      source: {
        get,
        authChainDifference: authChainDifferenceByWalking(get),
        isRejected: (id) => this.#rejected.has(id),
      },
    });
  }
}

export function idsOf(events: readonly RoomEvent[]): EventId[] {
  return events.map(({ eventId }) => eventId);
}

export function pdusOf(events: readonly RoomEvent[]): JsonObject[] {
  return events.map(({ pdu }) => pdu);
}

function refer(event: RoomEvent): EventReference {
  const { eventId, version, pdu } = event;
  return version.references === 'pairs' ? { eventId, sha256: referenceHashBase64(pdu, version) } : eventId;
}

function referById(eventId: EventId, version: RoomVersion): EventReference {
  return version.references === 'pairs' ? { eventId, sha256: 'AAAA' } : eventId;
}

/** The current state of a room on a server, as far as it is told apart: who holds which key. */
export function currentState({ state: states }: Rooms, roomId: RoomId): Record<string, EventId> {
  const entries: [StateKey, EventId][] = [...states.currentState(roomId).entries()].map(([key, id]) => [key, id]);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What was said in a room on a server, oldest first. */
export function said({ timeline }: Rooms, roomId: RoomId): JsonValue[] {
  const { events } = timeline.page({ roomId, from: undefined, direction: 'f', limit: 1000 });
  return events.flatMap(({ type, content }) => (type === 'm.room.message' ? [content['body'] ?? null] : []));
}

/** What a request to POST an operation carried. */
export function bodyOf({ request }: Asked): JsonObject {
  assert(isJsonObject(request.body));
  return request.body;
}
