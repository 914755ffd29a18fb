import { setImmediate as nextTurn } from 'node:timers/promises';
import type { RoomId, ServerName } from '../../matrix/identifiers.ts';
import type { Database } from '../../storage/types.ts';
import type { Clock, Timer } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import type { Outbox, SweepLimits } from './outbox.ts';

/** How long after a change the outbox is looked through, ms. */
const SWEEP_DELAY_MS = 1_000;
/** Events that are looked at in one turn. */
const EVENTS_AT_ONCE = 1_000;
/** Durable EDUs that are kept for one server. */
const EDUS_KEPT = 10_000;
/** Audiences made before those no longer used are looked for, and how many are removed in one turn. */
const AUDIENCES_MADE = 100;
const AUDIENCES_AT_ONCE = 10;

/** Removes from the outbox what nobody needs any more, and what has waited in vain for too long. */
export class Sweeper {
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #outbox: Outbox;
  readonly #limits: SweepLimits;
  readonly #rooms = new Set<RoomId>();
  readonly #servers = new Set<ServerName>();
  #sinceAudiences = 0;
  #timer: Timer | undefined;
  #sweeping: Promise<void> | undefined;
  #isStopped = false;

  constructor(needs: { db: Database; clock: Clock; log: Logger; outbox: Outbox; limits: SweepLimits }) {
    this.#db = needs.db;
    this.#clock = needs.clock;
    this.#log = needs.log;
    this.#outbox = needs.outbox;
    this.#limits = needs.limits;
  }

  /** Events of these rooms came or went. */
  markRooms(rooms: Iterable<RoomId>): void {
    for (const room of rooms) this.#rooms.add(room);
    this.#arm();
  }

  /** Durable EDUs came for a server. */
  markServer(server: ServerName): void {
    this.#servers.add(server);
    this.#arm();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    await this.#sweeping;
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#sweeping !== undefined || this.#isStopped) return;
    if (this.#rooms.size + this.#servers.size === 0) return;
    this.#timer = this.#clock.after(SWEEP_DELAY_MS, () => {
      this.#timer = undefined;
      this.#sweeping = this.#sweep().finally(() => {
        this.#sweeping = undefined;
        this.#arm();
      });
    });
  }

  async #sweep(): Promise<void> {
    // What is marked meanwhile is for the next time.
    const rooms = [...this.#rooms];
    const servers = [...this.#servers];
    this.#rooms.clear();
    this.#servers.clear();
    try {
      for (const room of rooms) {
        if (this.#isStopped) return;
        await this.#sweepRoom(room);
        await nextTurn();
      }
      for (const server of servers) {
        if (this.#isStopped) return;
        this.#sweepServer(server);
        await nextTurn();
      }
      await this.#sweepAudiences(rooms.length);
    } catch (error) {
      // Nothing is lost: what is left over goes the next time something comes.
      this.#log.warn({ error }, 'the outbox could not be swept');
    }
  }

  async #sweepRoom(roomId: RoomId): Promise<void> {
    const sweep = this.#outbox.planSweep(roomId, this.#limits);
    while (this.#db.write((tx) => this.#outbox.sweep(tx, sweep, EVENTS_AT_ONCE)) && !this.#isStopped) await nextTurn();
    if (sweep.lost > 0) {
      this.#log.debug({ roomId, pdus: sweep.lost }, 'older events are not sent to servers that lag behind');
    }
  }

  #sweepServer(server: ServerName): void {
    const lost = this.#db.write((tx) => this.#outbox.trimEdus(tx, server, EDUS_KEPT));
    if (lost > 0)
      this.#log.warn({ server, edus: lost }, 'a server lags so far behind that messages to it were dropped');
  }

  async #sweepAudiences(made: number): Promise<void> {
    this.#sinceAudiences += made;
    if (this.#sinceAudiences < AUDIENCES_MADE) return;
    this.#sinceAudiences = 0;
    while (!this.#isStopped && this.#db.write((tx) => this.#outbox.removeUnusedAudiences(tx, AUDIENCES_AT_ONCE))) {
      await nextTurn();
    }
  }
}
