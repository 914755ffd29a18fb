import { LRUCache } from 'lru-cache';
import type { RoomEvent } from '../matrix/events/event.ts';
import { MatrixError } from '../matrix/errors.ts';
import type { RoomId, UserId } from '../matrix/identifiers.ts';
import { readPowerLevels } from '../matrix/power-levels.ts';
import type { Database, ReadStatement } from '../storage/types.ts';
import { Backoff } from '../util/backoff.ts';
import type { Clock, Timer } from '../util/clock.ts';
import type { Logger } from '../util/log.ts';
import { atMost } from '../util/lru.ts';
import type { RoomHead, RoomHeads } from './extremities.ts';
import type { Gatherer } from './gather.ts';
import type { EventSender, MembershipReader } from './types.ts';

/** How often is looked for rooms with loose ends, ms. */
const LOOK_EVERY_MS = 60_000;
const ROOMS_AT_ONCE = 50;
/** In one room, at a time. Each ties up as many ends as an event may follow. */
const EVENTS_AT_ONCE = 10;
/** Who is tried in a room, those with the most power first. */
const SENDERS_TRIED = 3;
/** How long a room is left alone in which nobody may do it. */
const REFUSED = { firstMs: 60 * 60_000, longestMs: 7 * 24 * 60 * 60_000 };
const REFUSALS_KEPT = 1_000;

const DUMMY = 'org.matrix.dummy_event';

/** Whether an event does nothing but follow others, by the name that all servers have for it. Clients are not shown it. */
export function isDummy({ type, stateKey }: Pick<RoomEvent, 'type' | 'stateKey'>): boolean {
  return type === DUMMY && stateKey === undefined;
}

interface CapParts {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly heads: RoomHeads;
  readonly gatherer: Pick<Gatherer, 'findIn'>;
  readonly members: Pick<MembershipReader, 'listLocalJoined'>;
  readonly sender: Pick<EventSender, 'send'>;
  /** How many loose ends a room may have (Synapse's `dummy_events_threshold`). */
  readonly threshold: number;
}

/** A room in which nobody could do it. */
interface Refusal {
  readonly backoff: Backoff;
  /** By the monotonic clock. */
  readonly until: number;
}

/**
 * Ties up the loose ends of rooms: where events of many servers miss each other, the ends of a room's graph get ever more,
 * and every change of its state has to be resolved over all of them. A local user then follows them all with an event that
 * says nothing.
 */
export class ExtremityCap {
  readonly #parts: CapParts;
  readonly #listCrowded: ReadStatement<{ room_nid: number }>;
  readonly #refusals = new LRUCache<RoomId, Refusal>(atMost(REFUSALS_KEPT));
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #stopped = true;

  constructor(parts: CapParts) {
    this.#parts = parts;
    this.#listCrowded = parts.db.prepareRead(`
      SELECT room_nid FROM forward_extremities GROUP BY room_nid HAVING count(*) > ? ORDER BY count(*) DESC`);
  }

  start(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#schedule();
  }

  /** Resolves when nothing is being sent any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#running;
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer = this.#parts.clock.after(LOOK_EVERY_MS, () => {
      this.#running = this.#run();
    });
  }

  async #run(): Promise<void> {
    const { heads, log, threshold, clock } = this.#parts;
    let left = ROOMS_AT_ONCE;
    for (const { room_nid: nid } of this.#listCrowded.list(threshold)) {
      if (this.#stopped || left === 0) break;
      const { roomId } = heads.get(nid);
      if ((this.#refusals.get(roomId)?.until ?? 0) > clock.monotonic()) continue;
      left -= 1;
      try {
        await this.#tieUp(roomId);
      } catch (error) {
        // A full disk, for instance.
        log.error({ roomId, error }, 'the loose ends of a room could not be tied up');
      }
    }
    this.#schedule();
  }

  async #tieUp(roomId: RoomId): Promise<void> {
    const { heads, log, threshold } = this.#parts;
    const before = heads.find(roomId)?.extremities.length ?? 0;
    for (let sent = 0; sent < EVENTS_AT_ONCE && !this.#stopped; sent += 1) {
      const head = heads.find(roomId);
      if (head === undefined || head.extremities.length <= threshold) break;
      if (await this.#send(head)) continue;
      this.#leaveAlone(roomId);
      return;
    }
    this.#refusals.delete(roomId);
    log.info({ roomId, before, after: heads.find(roomId)?.extremities.length }, 'loose ends of a room were tied up');
  }

  /** Whether somebody could. */
  async #send(head: RoomHead): Promise<boolean> {
    const { sender, db } = this.#parts;
    for (const userId of this.#listSenders(head)) {
      try {
        await sender.send({ roomId: head.roomId, type: DUMMY, sender: userId, content: {} });
        await db.committed();
        return true;
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
      }
    }
    return false;
  }

  /** Local users who may send it, as far as the power levels say. */
  #listSenders({ roomId, current }: RoomHead): UserId[] {
    const { members, gatherer } = this.#parts;
    const levels = readPowerLevels(
      gatherer.findIn(current, 'm.room.create', ''),
      gatherer.findIn(current, 'm.room.power_levels', ''),
    );
    const required = levels.requiredLevel(DUMMY, false);
    return members
      .listLocalJoined(roomId)
      .map((userId) => ({ userId, level: levels.powerLevelOf(userId) }))
      .filter(({ level }) => level >= required)
      .sort((a, b) => (a.level === b.level ? 0 : a.level > b.level ? -1 : 1))
      .slice(0, SENDERS_TRIED)
      .map(({ userId }) => userId);
  }

  #leaveAlone(roomId: RoomId): void {
    const { clock, log } = this.#parts;
    const backoff = this.#refusals.get(roomId)?.backoff ?? new Backoff(REFUSED);
    const waitMs = backoff.next();
    this.#refusals.set(roomId, { backoff, until: clock.monotonic() + waitMs });
    log.info({ roomId, waitMs }, 'nobody here may tie up the loose ends of a room');
  }
}
