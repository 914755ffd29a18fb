import type { RoomId } from '../matrix/identifiers.ts';
import type { Database, ReadStatement, StreamPosition } from '../storage/types.ts';
import { EVENT_COLUMNS, type EventStore, type StoredEvent, type StoredEventRow } from './event-store.ts';
import type { RoomHeads } from './extremities.ts';
import type { PersistedEvent, Timeline, TimelinePage, TimelineToken } from './types.ts';

/** Between two events of the graph's order: behind the event at this depth and position, before the next. */
interface Place {
  readonly depth: number;
  readonly position: number;
}

/** How many events are read at once, and how many looked at for one page that a filter keeps thinning. */
const CHUNK = 100;
const MAX_SCANNED = 1_000;

const START: Place = { depth: -1, position: 0 };
const END: Place = { depth: Number.MAX_SAFE_INTEGER, position: Number.MAX_SAFE_INTEGER };

type Accept = (event: PersistedEvent) => boolean;

/** The events of a room in order: of the stream for /sync, of the graph for paging. */
export class RoomTimeline implements Timeline {
  readonly #heads: RoomHeads;
  readonly #events: EventStore;
  readonly #before: ReadStatement<StoredEventRow>;
  readonly #after: ReadStatement<StoredEventRow>;
  readonly #newest: ReadStatement<StoredEventRow>;
  readonly #highest: ReadStatement<Place>;
  readonly #lowest: ReadStatement<Place>;
  readonly #atOrAfter: ReadStatement<StoredEventRow>;
  readonly #atOrBefore: ReadStatement<StoredEventRow>;

  constructor({ db, heads, events }: { db: Database; heads: RoomHeads; events: EventStore }) {
    this.#heads = heads;
    this.#events = events;
    const select = `SELECT ${EVENT_COLUMNS} FROM events`;
    this.#before = db.prepareRead(`
      ${select} INDEXED BY events_by_place
      WHERE room_nid = ? AND timeline > 0 AND (depth, position) <= (?, ?) AND (depth, position) > (?, ?)
      ORDER BY depth DESC, position DESC LIMIT ?`);
    this.#after = db.prepareRead(`
      ${select} INDEXED BY events_by_place
      WHERE room_nid = ? AND timeline > 0 AND (depth, position) > (?, ?) AND (depth, position) <= (?, ?)
      ORDER BY depth, position LIMIT ?`);
    this.#newest = db.prepareRead(`
      ${select} INDEXED BY events_by_position
      WHERE room_nid = ? AND timeline = 1 AND position > ? AND position <= ? ORDER BY position DESC LIMIT ?`);
    // Of what the stream holds up to a position, the last in the graph's order. As a rule that is nearly the first one
    // met going back; and of what it holds behind a position, the first in the graph's order.
    this.#highest = db.prepareRead(`
      SELECT depth, position FROM events INDEXED BY events_by_place
      WHERE room_nid = ? AND timeline > 0 AND timeline = 1 AND position <= ? ORDER BY depth DESC, position DESC LIMIT 1`);
    this.#lowest = db.prepareRead(`
      SELECT depth, position FROM events INDEXED BY events_by_position
      WHERE room_nid = ? AND timeline = 1 AND position > ? ORDER BY depth, position LIMIT 1`);
    this.#atOrAfter = db.prepareRead(`
      ${select} INDEXED BY events_by_time
      WHERE room_nid = ? AND timeline > 0 AND origin_server_ts >= ? ORDER BY origin_server_ts, depth LIMIT 1`);
    this.#atOrBefore = db.prepareRead(`
      ${select} INDEXED BY events_by_time
      WHERE room_nid = ? AND timeline > 0 AND origin_server_ts <= ?
      ORDER BY origin_server_ts DESC, depth DESC LIMIT 1`);
  }

  page({ roomId, from, to, direction, limit, accept = () => true }: Parameters<Timeline['page']>[0]): TimelinePage {
    const head = this.#heads.find(roomId);
    if (head === undefined) return { events: [], end: undefined };
    const isBack = direction === 'b';
    const open = isBack ? END : START;
    const bound = isBack ? START : END;
    let place = from === undefined ? open : this.#place(head.nid, from, isBack ? 'upper' : 'lower');
    const stop = to === undefined ? bound : this.#place(head.nid, to, isBack ? 'lower' : 'upper');
    const events: StoredEvent[] = [];
    let scanned = 0;
    while (events.length < limit && scanned < MAX_SCANNED) {
      const count = Math.min(CHUNK, Math.max(limit - events.length, 1));
      const statement = isBack ? this.#before : this.#after;
      const chunk = this.#events.list(
        statement,
        head.nid,
        place.depth,
        place.position,
        stop.depth,
        stop.position,
        count,
      );
      for (const event of chunk) {
        scanned += 1;
        place = placeOf(event, isBack ? 'before' : 'after');
        if (accept(event)) events.push(event);
      }
      if (chunk.length < count) return { events, end: undefined };
    }
    const statement = isBack ? this.#before : this.#after;
    const [next] = this.#events.list(statement, head.nid, place.depth, place.position, stop.depth, stop.position, 1);
    return { events, end: next === undefined ? undefined : tokenOf(place) };
  }

  since({ roomId, since, now, limit, accept = () => true }: Parameters<Timeline['since']>[0]): {
    events: PersistedEvent[];
    limited: boolean;
    prevBatch: TimelineToken;
  } {
    const head = this.#heads.find(roomId);
    if (head === undefined) return { events: [], limited: false, prevBatch: { order: 'stream', position: since } };
    const { newestFirst, isMore } = this.#collectNewest(head.nid, since, now, limit, accept);
    const events = newestFirst.toReversed();
    // Everything left out stands at or below this position; what of it is highest in the graph is where paging begins.
    const left = (events[0]?.position ?? now + 1) - 1;
    return { events, limited: isMore, prevBatch: tokenOf(this.#place(head.nid, streamToken(left), 'upper')) };
  }

  listActiveRooms(since: StreamPosition, now: StreamPosition): RoomId[] {
    return this.#heads.listActive(since, now);
  }

  tokenAt(event: PersistedEvent, side: 'before' | 'after'): TimelineToken {
    return tokenOf(placeOf(event, side));
  }

  findNearest(roomId: RoomId, ts: number, direction: 'f' | 'b'): PersistedEvent | undefined {
    const head = this.#heads.find(roomId);
    if (head === undefined) return undefined;
    return this.#events.list(direction === 'f' ? this.#atOrAfter : this.#atOrBefore, head.nid, ts)[0];
  }

  findLatest(roomId: RoomId, upTo?: StreamPosition): PersistedEvent | undefined {
    const head = this.#heads.find(roomId);
    if (head === undefined) return undefined;
    return this.#events.list(this.#newest, head.nid, 0, upTo ?? Number.MAX_SAFE_INTEGER, 1)[0];
  }

  #collectNewest(
    roomNid: number,
    since: number,
    now: number,
    limit: number,
    accept: Accept,
  ): { newestFirst: StoredEvent[]; isMore: boolean } {
    const newestFirst: StoredEvent[] = [];
    let upTo = now;
    for (let scanned = 0; scanned < MAX_SCANNED; ) {
      // One more than wanted tells whether something is left out.
      const count = Math.min(CHUNK, limit - newestFirst.length + 1);
      const chunk = this.#events.list(this.#newest, roomNid, since, upTo, count);
      for (const event of chunk) {
        scanned += 1;
        upTo = event.position - 1;
        if (!accept(event)) continue;
        if (newestFirst.length === limit) return { newestFirst, isMore: true };
        newestFirst.push(event);
      }
      if (chunk.length < count) return { newestFirst, isMore: false };
    }
    // What was not looked at may hold more.
    return { newestFirst, isMore: true };
  }

  /**
   * Where a token stands in the order of the graph. A position of the stream stands in many places of a forked graph;
   * `upper` is the one with everything up to it below, `lower` the one with everything after it above.
   */
  #place(roomNid: number, token: TimelineToken, bound: 'upper' | 'lower'): Place {
    if (token.order === 'topological') return token;
    const { position } = token;
    const next = (): Place | undefined => {
      const lowest = this.#lowest.find(roomNid, position);
      return lowest === undefined ? undefined : { depth: lowest.depth, position: lowest.position - 1 };
    };
    if (bound === 'lower') return next() ?? END;
    // History fetched later lies before all that came as news, whatever its positions.
    return this.#highest.find(roomNid, position) ?? next() ?? END;
  }
}

function streamToken(position: number): TimelineToken {
  return { order: 'stream', position: position as StreamPosition };
}

function placeOf({ depth, position }: PersistedEvent, side: 'before' | 'after'): Place {
  return { depth, position: side === 'after' ? position : position - 1 };
}

function tokenOf({ depth, position }: Place): TimelineToken {
  return { order: 'topological', depth: Math.max(0, depth), position: position as StreamPosition };
}
