import type { Database, ReadStatement, WriteStatement, WriteTx } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import type { Logger } from '../util/log.ts';
import { Pace } from '../util/pace.ts';

/** What a room takes in the database, about. */
export interface RoomSize {
  readonly events: number;
  readonly bytes: number;
}

/** What an event takes besides its text, in indexes and states, bytes; measured on rooms of messages. */
const BESIDES = 400;
/** Events that are counted in one write. */
const EVENTS_AT_ONCE = 500;
const SLICE_MS = 5;

/**
 * How much there is of each room. Only counted when somebody wants to know, from where it was last counted: what redactions
 * take away is not looked for.
 */
export class RoomSizes {
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #findCounted: ReadStatement<{ counted: number }>;
  readonly #findEnd: ReadStatement<{ last: number | null }>;
  readonly #count: ReadStatement<{ room_nid: number; events: number; bytes: number }>;
  readonly #add: WriteStatement;
  readonly #setCounted: WriteStatement;
  readonly #remove: WriteStatement;
  readonly #list: ReadStatement<{ room_id: string; events: number; bytes: number }>;
  readonly #find: ReadStatement<RoomSize>;
  readonly #findById: ReadStatement<RoomSize>;
  #counting: Promise<void> | undefined;
  #isStopped = false;

  constructor({ db, clock, log }: { db: Database; clock: Clock; log: Logger }) {
    this.#log = log;
    this.#db = db;
    this.#clock = clock;
    this.#findCounted = db.prepareRead('SELECT counted FROM room_sizes_progress');
    this.#findEnd = db.prepareRead(`
      SELECT max(event_nid) AS last FROM (
        SELECT event_nid FROM events WHERE event_nid > ? ORDER BY event_nid LIMIT ${EVENTS_AT_ONCE})`);
    this.#count = db.prepareRead(`
      SELECT room_nid, count(*) AS events, sum(octet_length(pdu)) AS bytes FROM events
      WHERE event_nid > ? AND event_nid <= ? GROUP BY room_nid`);
    this.#add = db.prepareWrite(`
      INSERT INTO room_sizes (room_nid, events, bytes) VALUES (?, ?, ?)
      ON CONFLICT DO UPDATE SET events = events + excluded.events, bytes = bytes + excluded.bytes`);
    this.#setCounted = db.prepareWrite('UPDATE room_sizes_progress SET counted = ?');
    this.#remove = db.prepareWrite('DELETE FROM room_sizes WHERE room_nid = ?');
    this.#find = db.prepareRead('SELECT events, bytes FROM room_sizes WHERE room_nid = ?');
    this.#findById = db.prepareRead(
      'SELECT events, bytes FROM room_sizes JOIN rooms USING (room_nid) WHERE room_id = ?',
    );
    this.#list = db.prepareRead('SELECT room_id, events, bytes FROM room_sizes JOIN rooms USING (room_nid)');
  }

  /** By room, as far as it was counted. */
  list(): ReadonlyMap<string, RoomSize> {
    return new Map(this.#list.list().map(({ room_id: roomId, events, bytes }) => [roomId, { events, bytes }]));
  }

  /** Of the room with this ID, as far as it was counted. */
  of(roomId: string): RoomSize {
    return this.#findById.find(roomId) ?? { events: 0, bytes: 0 };
  }

  /** Of one room, as far as it was counted. */
  find(roomNid: number): RoomSize {
    return this.#find.find(roomNid) ?? { events: 0, bytes: 0 };
  }

  /**
   * Counts what came since the last time, beside everything else: a second or so for each GB that never was counted.
   * Resolves when that is done, after `longestMs` at the latest. Does not fail.
   */
  async refresh(longestMs: number): Promise<void> {
    this.#counting ??= this.#refresh().finally(() => {
      this.#counting = undefined;
    });
    const late = Promise.withResolvers<void>();
    const timer = this.#clock.after(longestMs, late.resolve);
    await Promise.race([this.#counting, late.promise]);
    timer.cancel();
  }

  remove(tx: WriteTx, roomNid: number): void {
    this.#remove.run(tx, roomNid);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#counting;
  }

  async #refresh(): Promise<void> {
    const pace = new Pace(this.#clock, SLICE_MS);
    try {
      do {
        await pace.step();
      } while (!this.#isStopped && this.#db.write((tx) => this.#countSome(tx)));
    } catch (error) {
      // A full disk, for instance: what was counted before is still worth something.
      this.#log.warn({ error }, 'the sizes of rooms could not be counted');
    }
  }

  #countSome(tx: WriteTx): boolean {
    const from = this.#findCounted.find()?.counted ?? 0;
    const to = this.#findEnd.find(from)?.last ?? undefined;
    if (to === undefined) return false;
    for (const { room_nid: nid, events, bytes } of this.#count.list(from, to)) {
      this.#add.run(tx, nid, events, bytes + events * BESIDES);
    }
    this.#setCounted.run(tx, to);
    return true;
  }
}
