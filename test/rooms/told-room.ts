import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { RoomEvent, StateKey } from '../../server/matrix/events/event.ts';
import { type EventId, isEventId, type RoomId, type UserId } from '../../server/matrix/identifiers.ts';
import type { JsonObject } from '../../server/matrix/json.ts';
import type { History } from '../../server/rooms/backfill.ts';
import type { PersistedEvent } from '../../server/rooms/types.ts';
import {
  alice,
  type Answer,
  type Asked,
  AWAY,
  dora,
  type Fields,
  type House,
  house,
  type Play,
  refusal,
  RemoteRoom,
  resident,
} from './remote-kit.ts';

type State = ReadonlyMap<StateKey, RoomEvent>;

/** The state after each event. Beside the rooms, since a room's first events are made before it has fields of its own. */
const statesAfter = new WeakMap<RemoteRoom, Map<EventId, State>>();

function statesOf(room: RemoteRoom): Map<EventId, State> {
  const known = statesAfter.get(room) ?? new Map<EventId, State>();
  statesAfter.set(room, known);
  return known;
}

/** A room as other servers have it, which they tell the past of. */
export class ToldRoom extends RemoteRoom {
  /** Sends after the newest event, or after others: the state is then that of the first of them. */
  override send(fields: Fields, placing: { readonly after?: readonly RoomEvent[] } = {}): RoomEvent {
    const [first] = placing.after ?? [];
    if (first !== undefined) this.state = new Map(statesOf(this).get(first.eventId));
    const event = this.build(fields, placing.after === undefined ? {} : { prev: placing.after });
    if (event.type === 'm.room.create') this.roomId = event.roomId;
    this.take(event);
    return event;
  }

  override take(event: RoomEvent): void {
    super.take(event);
    statesOf(this).set(event.eventId, new Map(this.state));
  }

  /** Messages of one user, numbered. */
  say(count: number, sender: UserId = dora, from = 1): RoomEvent[] {
    return Array.from({ length: count }, (_, at) =>
      this.send({ type: 'm.room.message', sender, content: { msgtype: 'm.text', body: `${from + at}` } }),
    );
  }

  stateBefore(event: RoomEvent): RoomEvent[] {
    const [first] = event.prevEvents;
    return first === undefined ? [] : [...(statesOf(this).get(first)?.values() ?? [])];
  }

  /** What lies behind some events, newest first, those included. */
  backwards(from: readonly unknown[], limit: number): RoomEvent[] {
    const found = new Set<RoomEvent>();
    const pending = from.flatMap((id) => this.#find(id) ?? []);
    while (pending.length > 0 && found.size < limit) {
      pending.sort((a, b) => a.depth - b.depth);
      const next = pending.pop();
      if (next === undefined || found.has(next)) continue;
      found.add(next);
      pending.push(...next.prevEvents.flatMap((id) => this.#find(id) ?? []));
    }
    return [...found];
  }

  /** Answers as a server does that has all of it. */
  readonly tell: Play = ({ operation, params, request, server }) => {
    const { query = {} } = request;
    const at = (id: unknown): RoomEvent => {
      const event = this.#find(id);
      if (event === undefined) throw refusal(server, 404, 'M_NOT_FOUND');
      return event;
    };
    switch (operation) {
      case 'v1/backfill': {
        const { v, limit } = query;
        assert(Array.isArray(v) && typeof limit === 'number');
        return { origin: server, origin_server_ts: 1, pdus: pdusOf(this.backwards(v, limit)) };
      }
      case 'v1/state_ids': {
        const before = this.stateBefore(at(query['event_id']));
        return { pdu_ids: idsOf(before), auth_chain_ids: idsOf(this.authChain(before)) };
      }
      case 'v1/state': {
        const before = this.stateBefore(at(query['event_id']));
        return { pdus: pdusOf(before), auth_chain: pdusOf(this.authChain(before)) };
      }
      case 'v1/event':
        return { origin: server, origin_server_ts: 1, pdus: [at(params[0]).pdu] };
      case 'v1/event_auth':
        return { auth_chain: pdusOf(this.authChain([at(params[1])])) };
      case 'v1/timestamp_to_event': {
        const { ts, dir } = query;
        const event = this.nearest(Number(ts), dir === 'f' ? 'f' : 'b');
        if (event === undefined) throw refusal(server, 404, 'M_NOT_FOUND');
        return { event_id: event.eventId, origin_server_ts: event.originServerTs };
      }
      default:
        return undefined;
    }
  };

  nearest(ts: number, direction: 'f' | 'b'): RoomEvent | undefined {
    const all = [...this.events.values()].toSorted((a, b) => a.originServerTs - b.originServerTs);
    return direction === 'f'
      ? all.find(({ originServerTs }) => originServerTs >= ts)
      : all.findLast(({ originServerTs }) => originServerTs <= ts);
  }

  /** Joins, and the past; `also` comes first. */
  play(also: Play = () => undefined): Play {
    return resident(this, async (asked: Asked): Promise<Answer | undefined> => (await also(asked)) ?? this.tell(asked));
  }

  #find(id: unknown): RoomEvent | undefined {
    return typeof id === 'string' && isEventId(id) ? this.events.get(id) : undefined;
  }
}

export function idsOf(events: readonly RoomEvent[]): EventId[] {
  return events.map(({ eventId }) => eventId);
}

export function pdusOf(events: readonly RoomEvent[]): JsonObject[] {
  return events.map(({ pdu }) => pdu);
}

/** The numbers that were said, of events in any form. */
export function numbersOf(events: readonly { readonly type: string; readonly content: JsonObject }[]): number[] {
  return events.flatMap(({ type, content }) => (type === 'm.room.message' ? [Number(content['body'])] : []));
}

/** The numbers from one to another, both included, going up or down. */
export function range(from: number, to: number): number[] {
  const step = from <= to ? 1 : -1;
  return Array.from({ length: Math.abs(to - from) + 1 }, (_, at) => from + at * step);
}

/** Wherever something is lacking. */
export const EVERYWHERE = { depth: Number.MAX_SAFE_INTEGER };

export interface Newcomer {
  readonly home: House;
  readonly history: History;
  /** What happens from now on is all that counts. */
  readonly forget: () => void;
}

/** Alice's server has joined the room just now. */
export async function newcomer(t: TestContext, room: ToldRoom, also?: Play): Promise<Newcomer> {
  const home = house(t, room.play(also));
  await home.remote.join({ userId: alice, roomId: room.roomId, servers: [AWAY], content: { membership: 'join' } });
  const history = home.rooms.federated?.history;
  assert(history);
  home.asked.length = 0;
  return { home, history, forget: () => void (home.asked.length = 0) };
}

/** All that is shown of the room, newest first. */
export function shown({ rooms }: House, roomId: RoomId): PersistedEvent[] {
  return rooms.timeline.page({ roomId, from: undefined, direction: 'b', limit: 10_000 }).events;
}

/** Asks for more until nothing comes any more; gives how often something did. */
export async function fetchAll(history: History, roomId: RoomId): Promise<number> {
  for (let times = 0; ; times += 1) {
    assert(times < 20, 'it comes to an end');
    if (!(await history.backfill(roomId, EVERYWHERE, 100))) return times;
  }
}
