import { LRUCache } from 'lru-cache';
import { type EventId, isEventId, type RoomId } from '../matrix/identifiers.ts';
import type { Database, ReadStatement } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import { atMost } from '../util/lru.ts';

/** An event that is not held, though one that is held follows it. */
export interface Gap {
  readonly missingId: EventId;
  readonly followerId: EventId;
  /** Of the follower. */
  readonly depth: number;
}

interface GapRow {
  missing_id: string;
  event_id: string;
  depth: number;
}

/** Gaps looked at for one question; the nearest ones. */
const LOOKED_AT = 200;
const REMEMBERED = 10_000;
/** The wait after the first failure, ms; it is four times as long after each further one. */
const FIRST_WAIT_MS = 10_000;
const LONGEST_WAIT_MS = 3_600_000;

/** Where the history of rooms is not complete, and which of it nobody gave when it was asked for. */
export class HistoryGaps {
  readonly #clock: Clock;
  readonly #failures = new LRUCache<EventId, { count: number; until: number }>(atMost(REMEMBERED));
  readonly #nearest: ReadStatement<{ depth: number }>;
  readonly #list: ReadStatement<GapRow>;

  constructor({ db, clock }: { db: Database; clock: Clock }) {
    this.#clock = clock;
    const from = 'FROM backward_extremities AS gaps JOIN rooms USING (room_nid)';
    this.#nearest = db.prepareRead(`
      SELECT gaps.depth ${from} WHERE room_id = ? AND gaps.depth <= ? ORDER BY gaps.depth DESC LIMIT 1`);
    this.#list = db.prepareRead(`
      SELECT missing_id, event_id, gaps.depth ${from} JOIN events USING (event_nid)
      WHERE rooms.room_id = ? AND gaps.depth <= ? ORDER BY gaps.depth DESC LIMIT ${LOOKED_AT}`);
  }

  /** The depth of the nearest gap at or behind one. */
  findBefore(roomId: RoomId, depth: number): number | undefined {
    return this.#nearest.find(roomId, depth)?.depth;
  }

  /** The nearest gaps at or behind a depth, nearest first, without those that are left alone for a while. */
  listBefore(roomId: RoomId, depth: number): Gap[] {
    return this.listAllBefore(roomId, depth).filter(({ missingId }) => this.mayTry(missingId));
  }

  /** The same with those that are left alone. */
  listAllBefore(roomId: RoomId, depth: number): Gap[] {
    return this.#list.list(roomId, depth).map(({ missing_id: missingId, event_id: followerId, depth: at }) => {
      if (!isEventId(missingId) || !isEventId(followerId)) throw new Error('a backward extremity is damaged');
      return { missingId, followerId, depth: at };
    });
  }

  /** Whether an event may be asked for now. */
  mayTry(missingId: EventId): boolean {
    return (this.#failures.get(missingId)?.until ?? 0) <= this.#clock.monotonic();
  }

  /** Nobody gave it: it is left alone for a while, longer each time. */
  failed(missingId: EventId): void {
    const count = (this.#failures.get(missingId)?.count ?? 0) + 1;
    const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 4 ** (count - 1));
    this.#failures.set(missingId, { count, until: this.#clock.monotonic() + wait });
  }

  /** Servers may be there again that were not. */
  forgetFailures(): void {
    this.#failures.clear();
  }
}
