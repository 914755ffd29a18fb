import type { RoomEvent } from '../../matrix/events/event.ts';
import type { EventId, RoomId, ServerName } from '../../matrix/identifiers.ts';
import type { Database, WriteTx } from '../../storage/types.ts';
import type { Clock, Timer } from '../../util/clock.ts';
import { Gate } from '../../util/gate.ts';
import type { Logger } from '../../util/log.ts';
import { turns } from '../../util/turns.ts';
import { SerialQueue } from '../../util/serial-queue.ts';
import type { RoomHeads } from '../extremities.ts';
import type { MembershipReader, PersistedEvent } from '../types.ts';
import type { Acceptance, Admitter } from './admission.ts';
import { inGraphOrder } from './order.ts';
import type { StagedEvent, Staging } from './staging.ts';

/** How long (ms) events are placed without letting anything else happen. */
const SLICE_MS = 10;
/** How many events of a room are put in order together. */
const PAGE = 100;
/** How long (ms) until what an event lacks is looked for again, after the first attempt, the second, … */
const RETRY_MS: readonly number[] = [10_000, 60_000, 300_000, 1_800_000];
/** How long (ms) one attempt may take. */
const ATTEMPT_MS = 120_000;
/** Of a room: events that wait for something. What comes on top of that is given up at once if it lacks anything. */
const MAX_HELD = 5_000;
/** Gaps that are being filled at a time. */
const FILLED_AT_ONCE = 16;
/** How long (ms) until a room goes on whose events could not be stored. */
const RECOVERY_MS = 5_000;

/** Brings what an event lacks from other servers, and the event into its room. */
export interface GapFilling {
  /**
   * Resolves to what became of it; `missing` if what it lacks could not be had.
   * @throws the signal's reason
   */
  fill(event: RoomEvent, origin: ServerName, signal: AbortSignal): Promise<Acceptance>;
}

/** An event that cannot have its turn now. */
interface Held {
  readonly row: StagedEvent;
  /**
   * `busy`: something is being asked or fetched for it. `following`: what it lacks is staged itself and comes first.
   * `stalled`: what it lacks could not be had, or not by the event it follows.
   */
  why: 'busy' | 'following' | 'stalled';
  /** It has made no attempt of its own: it shares the fate of those it waits for. */
  readonly isFollower: boolean;
  readonly waitsFor: readonly EventId[];
  timer: Timer | undefined;
}

/** What waits to get into one room. */
interface Line {
  readonly roomId: RoomId;
  /** How far the staged events have been read. */
  read: number;
  /** Whose turn is next. */
  turns: StagedEvent[];
  readonly held: Map<EventId, Held>;
  /** A state is being resolved for an event of this room: any other event could make that useless. */
  isPaused: boolean;
  /** Who waits for an event, by the event that is lacked. */
  readonly waiters: Map<EventId, Set<EventId>>;
}

interface LineParts {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly heads: RoomHeads;
  readonly members: Pick<MembershipReader, 'listLocalJoined'>;
  readonly staging: Staging;
  readonly admitter: Pick<Admitter, 'admit'>;
  /** The same, waiting for whatever has to be waited for. */
  readonly admit: (event: RoomEvent) => Promise<Acceptance>;
  readonly gaps?: GapFilling | undefined;
  /** Begins to find out what will be asked about an event when its turn comes. */
  readonly foresee?: ((event: RoomEvent) => void) | undefined;
}

/**
 * Takes staged events into their rooms: of each room in the order of its graph, then of arrival; rooms take turns. An
 * event that lacks something steps aside while that is fetched, and holds up only those that follow it.
 */
export class RoomLines {
  readonly #parts: LineParts;
  readonly #lines = new Map<RoomId, Line>();
  /** Rooms in which something can be done. */
  readonly #due = new Set<RoomId>();
  readonly #fills = new SerialQueue();
  readonly #gate = new Gate(FILLED_AT_ONCE);
  readonly #stopping = new AbortController();
  readonly #recoveries = new Map<RoomId, Timer>();
  #isRunning = false;
  #busy = 0;
  #idle: PromiseWithResolvers<void> | undefined;

  constructor(parts: LineParts) {
    this.#parts = parts;
  }

  /** Goes on with what was staged when the server stopped. */
  start(): void {
    for (const roomId of this.#parts.staging.listRooms()) this.kick(roomId);
  }

  /** Something was staged for a room. */
  kick(roomId: RoomId): void {
    if (this.#stopping.signal.aborted) return;
    this.#due.add(roomId);
    if (this.#isRunning) return;
    this.#isRunning = true;
    void this.#run();
  }

  /** Resolves when nothing can be done without waiting for time to pass. */
  idle(): Promise<void> {
    if (!this.#isRunning && this.#busy === 0) return Promise.resolve();
    this.#idle ??= Promise.withResolvers();
    return this.#idle.promise;
  }

  /** Ends all that is under way; what is not done stays staged. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const timer of this.#recoveries.values()) timer.cancel();
    for (const { held } of this.#lines.values()) for (const { timer } of held.values()) timer?.cancel();
    await this.idle();
  }

  /** An event has its place in the graph, whoever brought it; in the write that gave it to it. */
  placed(tx: WriteTx, { eventId, roomId }: PersistedEvent): void {
    this.#parts.staging.remove(tx, eventId);
    tx.onRollback(() => this.#recover(roomId));
    const line = this.#lines.get(roomId);
    if (line === undefined) return;
    const held = line.held.get(eventId);
    if (held !== undefined && held.why !== 'busy') this.#letGo(line, held);
    this.#release(line, eventId);
  }

  async #run(): Promise<void> {
    // Not in the turn of the event loop that has a reply to write.
    await turns.wait();
    const { signal } = this.#stopping;
    for (let [roomId] = this.#due; roomId !== undefined && !signal.aborted; [roomId] = this.#due) {
      this.#due.delete(roomId);
      if (this.#takeSlice(roomId)) this.#due.add(roomId);
      await turns.wait();
    }
    this.#isRunning = false;
    this.#checkIdle();
  }

  /** Whether there is more to be done in the room. */
  #takeSlice(roomId: RoomId): boolean {
    const { clock } = this.#parts;
    const line = this.#lineOf(roomId);
    const end = clock.monotonic() + SLICE_MS;
    let turns = 0;
    do {
      if (line.isPaused) return false;
      const row = this.#next(line);
      if (row === undefined) {
        if (line.held.size === 0) this.#lines.delete(roomId);
        return false;
      }
      this.#attempt(line, row);
      turns += 1;
    } while (turns < PAGE && clock.monotonic() < end);
    return true;
  }

  #lineOf(roomId: RoomId): Line {
    let line = this.#lines.get(roomId);
    if (line === undefined) {
      line = { roomId, read: 0, turns: [], held: new Map(), isPaused: false, waiters: new Map() };
      this.#lines.set(roomId, line);
    }
    return line;
  }

  #next(line: Line): StagedEvent | undefined {
    const next = line.turns.shift();
    if (next !== undefined) return next;
    const { staging, heads } = this.#parts;
    for (;;) {
      const rows = staging.list(line.roomId, line.read, PAGE);
      line.read = rows.at(-1)?.seq ?? line.read;
      const free = rows.filter(({ eventId }) => !line.held.has(eventId));
      const version = heads.find(line.roomId)?.version;
      const linked = free.map((row) => {
        const event = version === undefined ? undefined : staging.read(row.eventId, version);
        return { row, eventId: row.eventId, prevEvents: event?.prevEvents ?? [] };
      });
      line.turns = inGraphOrder(linked).map(({ row }) => row);
      if (line.turns.length > 0 || rows.length < PAGE) return line.turns.shift();
    }
  }

  #attempt(line: Line, row: StagedEvent): void {
    try {
      this.#place(line, row);
    } catch (error) {
      const { eventId } = row;
      this.#parts.log.error({ roomId: line.roomId, eventId, error }, 'an event of another server could not be stored');
      this.#stall(line, row, []);
    }
  }

  #place(line: Line, row: StagedEvent): void {
    const { heads, staging, members, admitter } = this.#parts;
    if (line.held.has(row.eventId)) return;
    const version = heads.find(line.roomId)?.version;
    const event = version === undefined ? undefined : staging.read(row.eventId, version);
    if (event === undefined || members.listLocalJoined(line.roomId).length === 0) {
      this.#remove(line.roomId, [row.eventId]);
      return;
    }
    const admission = admitter.admit(event, {});
    if (admission.kind === 'ask' || admission.kind === 'prepare') {
      line.isPaused = admission.kind === 'prepare';
      this.#work(line, row, () =>
        this.#parts.admit(event).finally(() => {
          if (admission.kind === 'prepare') line.isPaused = false;
        }),
      );
    } else if (admission.kind === 'missing') this.#lack(line, row, event, admission.prevEvents);
    else this.#finish(line, row, admission);
  }

  /** An event that lacks something waits for those before it, or has what it lacks fetched. */
  #lack(line: Line, row: StagedEvent, event: RoomEvent, prevEvents: readonly EventId[]): void {
    // Whoever made an attempt of its own before does not rely on the others any more.
    const coming = row.attempts > 0 ? [] : prevEvents.filter((id) => this.#isComing(line, id));
    if (coming.length > 0 && line.held.size < MAX_HELD) {
      this.#parts.foresee?.(event);
      this.#hold(line, { row, why: 'following', isFollower: true, waitsFor: coming, timer: undefined });
      return;
    }
    const { gaps } = this.#parts;
    if (gaps === undefined || line.held.size >= MAX_HELD) this.#stall(line, row, prevEvents);
    else {
      // One gap at a time of each server: the next may be filled by what was found for the first.
      this.#work(line, row, () =>
        this.#fills.run(`${line.roomId} ${row.origin}`, () =>
          this.#gate.run(() => this.#withinTime((signal) => gaps.fill(event, row.origin, signal))),
        ),
      );
    }
  }

  /** Whether an event is staged and not known to be stuck. */
  #isComing(line: Line, eventId: EventId): boolean {
    const held = line.held.get(eventId);
    return held === undefined ? this.#parts.staging.has(eventId) : held.why !== 'stalled';
  }

  /** Does what takes time for an event, beside the line. */
  #work(line: Line, row: StagedEvent, work: () => Promise<Acceptance>): void {
    const held: Held = { row, why: 'busy', isFollower: false, waitsFor: [], timer: undefined };
    this.#hold(line, held);
    this.#busy += 1;
    void this.#settle(line, held, work).finally(() => {
      this.#busy -= 1;
      this.#checkIdle();
    });
  }

  async #settle(line: Line, held: Held, work: () => Promise<Acceptance>): Promise<void> {
    const { row } = held;
    const data = { roomId: line.roomId, eventId: row.eventId, origin: row.origin };
    let acceptance: Acceptance | undefined;
    try {
      acceptance = await work();
    } catch (error) {
      // It stays staged; the next start goes on with it.
      if (this.#stopping.signal.aborted) return;
      this.#parts.log.error({ ...data, error }, 'what an event lacks could not be fetched');
    }
    if (this.#stopping.signal.aborted) return;
    this.#letGo(line, held);
    if (acceptance !== undefined && acceptance.kind !== 'missing') this.#finish(line, row, acceptance);
    else this.#stall(line, row, acceptance?.prevEvents ?? []);
    this.kick(line.roomId);
  }

  #finish(line: Line, row: StagedEvent, acceptance: Exclude<Acceptance, { kind: 'missing' }>): void {
    // One that was stored was removed in the same write.
    if (acceptance.kind === 'stored') return;
    const { roomId } = line;
    const { eventId, origin } = row;
    if (acceptance.kind === 'dropped') {
      this.#parts.log.warn({ roomId, eventId, origin, reason: acceptance.reason }, 'an event was dropped');
    }
    this.#remove(roomId, [eventId]);
    // Those behind it have to see for themselves.
    this.#release(line, eventId);
  }

  /** What an event lacks could not be had: it waits, and those behind it with it, or all are given up. */
  #stall(line: Line, row: StagedEvent, waitsFor: readonly EventId[]): void {
    const { clock, log, staging } = this.#parts;
    const attempts = row.attempts + 1;
    const wait = RETRY_MS[row.attempts];
    const { roomId } = line;
    const { eventId, origin } = row;
    const followers = this.#listFollowers(line, eventId);
    if (wait === undefined || line.held.size >= MAX_HELD) {
      log.warn({ roomId, eventId, origin, attempts, followers: followers.length }, 'an event was given up');
      for (const held of followers) this.#letGo(line, held);
      this.#remove(roomId, [eventId, ...followers.map((held) => held.row.eventId)]);
      return;
    }
    log.info({ roomId, eventId, origin, attempts }, 'what an event lacks could not be had');
    for (const held of followers) held.why = 'stalled';
    const stalled: Held = { row: { ...row, attempts }, why: 'stalled', isFollower: false, waitsFor, timer: undefined };
    stalled.timer = clock.after(wait, () => this.#again(line, stalled));
    this.#hold(line, stalled);
    this.#tryWrite(roomId, (tx) => staging.setAttempts(tx, eventId, attempts));
    // As whoever comes next would: the last of those behind it asks for itself, perhaps of another server.
    const last = followers.at(-1);
    if (attempts === 1 && last !== undefined) this.#again(line, last);
  }

  /** Those that wait for an event, and those that wait for them, as far as they rely on it. */
  #listFollowers(line: Line, eventId: EventId): Held[] {
    const followers = new Set<Held>();
    const pending = [eventId];
    for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
      for (const waiter of line.waiters.get(id) ?? []) {
        const held = line.held.get(waiter);
        if (held === undefined || !held.isFollower || followers.has(held)) continue;
        followers.add(held);
        pending.push(waiter);
      }
    }
    return [...followers];
  }

  #hold(line: Line, held: Held): void {
    const { eventId } = held.row;
    line.held.set(eventId, held);
    for (const id of held.waitsFor) {
      const waiters = line.waiters.get(id);
      if (waiters === undefined) line.waiters.set(id, new Set([eventId]));
      else waiters.add(eventId);
    }
  }

  #letGo(line: Line, held: Held): void {
    const { eventId } = held.row;
    held.timer?.cancel();
    if (line.held.get(eventId) === held) line.held.delete(eventId);
    for (const id of held.waitsFor) {
      const waiters = line.waiters.get(id);
      waiters?.delete(eventId);
      if (waiters?.size === 0) line.waiters.delete(id);
    }
  }

  /** Those that waited for an event have their turn. */
  #release(line: Line, eventId: EventId): void {
    for (const id of line.waiters.get(eventId) ?? []) {
      const held = line.held.get(id);
      if (held !== undefined) this.#again(line, held);
    }
  }

  #again(line: Line, held: Held): void {
    this.#letGo(line, held);
    line.turns.push(held.row);
    this.kick(line.roomId);
  }

  #remove(roomId: RoomId, eventIds: readonly EventId[]): void {
    this.#tryWrite(roomId, (tx) => {
      for (const id of eventIds) this.#parts.staging.remove(tx, id);
    });
  }

  #tryWrite(roomId: RoomId, change: (tx: WriteTx) => void): void {
    const { db, log } = this.#parts;
    try {
      db.write((tx) => {
        tx.onRollback(() => this.#recover(roomId));
        change(tx);
      });
    } catch (error) {
      log.error({ roomId, error }, 'what became of staged events could not be stored');
    }
  }

  /** A write was undone: the room's staged events are read again, a little later. */
  #recover(roomId: RoomId): void {
    if (this.#recoveries.has(roomId) || this.#stopping.signal.aborted) return;
    const timer = this.#parts.clock.after(RECOVERY_MS, () => {
      this.#recoveries.delete(roomId);
      this.#lineOf(roomId).read = 0;
      this.kick(roomId);
    });
    this.#recoveries.set(roomId, timer);
  }

  async #withinTime<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
    const late = new AbortController();
    const timer = this.#parts.clock.after(ATTEMPT_MS, () => late.abort(new Error('it took too long')));
    try {
      return await work(AbortSignal.any([this.#stopping.signal, late.signal]));
    } finally {
      timer.cancel();
    }
  }

  #checkIdle(): void {
    if (this.#isRunning || this.#busy > 0) return;
    this.#idle?.resolve();
    this.#idle = undefined;
  }
}
