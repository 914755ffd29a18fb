import { FederationError } from '../federation/errors.ts';
import type { Destinations, FederationClient } from '../federation/types.ts';
import type { EventId, RoomId, ServerName } from '../matrix/identifiers.ts';
import { askInTurn } from '../util/ask-in-turn.ts';
import type { Clock } from '../util/clock.ts';
import type { Backfiller } from './federation-types.ts';
import type { Batch } from './history-batch.ts';
import { type Gap, HistoryGaps } from './history-gaps.ts';
import { type Given, HistoryIntake, type IntakeParts } from './history-intake.ts';
import { askForHistory, askForTime } from './history-requests.ts';
import { HistoryServers } from './history-servers.ts';
import { TooManyOutliersError } from './outliers.ts';
import { PeerRequests } from './peer-requests.ts';
import type { MembershipReader, PersistedEvent, RoomInfo, StateReader } from './types.ts';

export interface BackfillerParts extends Omit<IntakeParts, 'peers'> {
  readonly clock: Clock;
  readonly serverName: ServerName;
  readonly client: FederationClient;
  readonly state: Pick<StateReader, 'findCurrent' | 'stateBefore'>;
  readonly members: Pick<MembershipReader, 'listServers' | 'listLocalJoined'>;
  /** Servers that are being left alone are not asked. */
  readonly destinations?: Pick<Destinations, 'readyAt'> | undefined;
}

/** What a room's past can be completed with. Waits for seconds at most, and goes on working for later. */
export interface History extends Backfiller {
  /** One event of the room that is not held, with its place in the graph. */
  fetchEvent(roomId: RoomId, eventId: EventId, signal?: AbortSignal): Promise<PersistedEvent | undefined>;
  /**
   * The event nearest to a time (ms) in a direction that other servers know of, if `isNearer` says that it is worth
   * having; it is held then.
   */
  fetchNearest(
    roomId: RoomId,
    ts: number,
    direction: 'b' | 'f',
    isNearer: (originServerTs: number) => boolean,
    signal?: AbortSignal,
  ): Promise<PersistedEvent | undefined>;
  /** Servers may be there again that were not. */
  wake(): void;
}

/** From how many gaps events are asked for at once. */
const GAPS_AT_ONCE = 5;
/** How long a server is given before the next one is asked as well, ms. */
const PATIENCE_MS = 1_500;
/** How long whoever asks waits, ms; and how long the work may go on behind their backs. */
const WAIT_MS = 5_000;
const WORK_MS = 60_000;
/** Pieces of work under way, in all rooms: each may hold some megabytes. */
const MOST_AT_ONCE = 20;

/** Work for one room. What has the same purpose is the same. */
interface Plan {
  readonly purpose: string;
  readonly run: (working: AbortSignal) => Promise<boolean>;
}

/** Work for one room that is under way. */
interface Work {
  readonly purpose: string;
  readonly done: Promise<boolean>;
}

/** Makes what brings the history that this server does not hold from other servers of the room. */
export function createBackfiller(parts: BackfillerParts): History {
  return new RoomHistory(parts);
}

class RoomHistory implements History {
  readonly #parts: BackfillerParts;
  readonly #gaps: HistoryGaps;
  readonly #servers: HistoryServers;
  readonly #peers: PeerRequests;
  readonly #intake: HistoryIntake;
  readonly #work = new Map<RoomId, Work>();

  constructor(parts: BackfillerParts) {
    this.#parts = parts;
    this.#gaps = new HistoryGaps(parts);
    this.#servers = new HistoryServers({ ...parts, destinations: parts.destinations });
    this.#peers = new PeerRequests(parts.client);
    this.#intake = new HistoryIntake({ ...parts, peers: this.#peers });
  }

  hasGapBefore(roomId: RoomId, depth: number): boolean {
    return this.#gaps.findBefore(roomId, depth) !== undefined;
  }

  findGapBefore(roomId: RoomId, depth: number): number | undefined {
    return this.#gaps.findBefore(roomId, depth);
  }

  mayFillBefore(roomId: RoomId, depth: number): boolean {
    if (this.#parts.members.listLocalJoined(roomId).length === 0) return false;
    return this.#choose(roomId, this.#gaps.listAllBefore(roomId, depth), 1).length > 0;
  }

  wake(): void {
    this.#gaps.forgetFailures();
  }

  async backfill(
    roomId: RoomId,
    { depth }: { readonly depth: number },
    limit: number,
    signal?: AbortSignal,
  ): Promise<boolean> {
    if (limit <= 0) return false;
    return this.#wait(signal, (deadline) =>
      this.#inTurn(roomId, deadline, (room) => {
        const gaps = this.#chooseGaps(roomId, depth);
        const [nearest] = gaps;
        if (nearest === undefined) return undefined;
        return { purpose: `gap ${nearest.missingId}`, run: (working) => this.#fill(room, gaps, working) };
      }),
    );
  }

  async fetchEvent(roomId: RoomId, eventId: EventId, signal?: AbortSignal): Promise<PersistedEvent | undefined> {
    const { events } = this.#parts;
    await this.#wait(signal, (deadline) =>
      this.#inTurn(roomId, deadline, (room) => {
        if (events.find(eventId)?.outlier === false || !this.#gaps.mayTry(eventId)) return undefined;
        return { purpose: `event ${eventId}`, run: (working) => this.#fetch(room, eventId, working) };
      }),
    );
    const event = events.find(eventId);
    return event?.roomId === roomId && !event.outlier ? event : undefined;
  }

  async fetchNearest(
    roomId: RoomId,
    ts: number,
    direction: 'b' | 'f',
    isNearer: (originServerTs: number) => boolean,
    signal?: AbortSignal,
  ): Promise<PersistedEvent | undefined> {
    let found: PersistedEvent | undefined;
    await this.#wait(signal, (deadline) =>
      this.#inTurn(roomId, deadline, (room) => ({
        purpose: `time ${direction} ${ts}`,
        run: async (working) => {
          found = await this.#searchTime(room, { ts, direction, isNearer }, working);
          return found !== undefined;
        },
      })),
    );
    return found;
  }

  /** Resolves as `act` does, to false when whoever asks has waited long enough or does not want to know any more. */
  async #wait(
    signal: AbortSignal | undefined,
    act: (deadline: { readonly isOver: boolean }) => Promise<boolean>,
  ): Promise<boolean> {
    const over = Promise.withResolvers<boolean>();
    const deadline = { isOver: false };
    const giveUp = (): void => {
      deadline.isOver = true;
      over.resolve(false);
    };
    const timer = this.#parts.clock.after(WAIT_MS, giveUp);
    if (signal?.aborted === true) giveUp();
    signal?.addEventListener('abort', giveUp, { once: true });
    try {
      return await Promise.race([act(deadline), over.promise]);
    } finally {
      timer.cancel();
      signal?.removeEventListener('abort', giveUp);
    }
  }

  /**
   * One piece of work at a time for a room. Who wants what is under way already shares it; others wait and look again
   * whether there is still anything to do.
   */
  async #inTurn(
    roomId: RoomId,
    deadline: { readonly isOver: boolean },
    plan: (room: RoomInfo) => Plan | undefined,
  ): Promise<boolean> {
    for (;;) {
      const { heads, members } = this.#parts;
      const room = heads.find(roomId);
      // Who is not in the room gets nothing.
      if (room === undefined || deadline.isOver || members.listLocalJoined(roomId).length === 0) return false;
      const current = this.#work.get(roomId);
      const planned = plan(room);
      if (planned === undefined) return false;
      if (current === undefined) {
        if (this.#work.size >= MOST_AT_ONCE) return false;
        return this.#begin(roomId, planned);
      }
      const done = await current.done;
      if (current.purpose === planned.purpose) return done;
    }
  }

  #begin(roomId: RoomId, { purpose, run }: Plan): Promise<boolean> {
    const { clock, log } = this.#parts;
    const stop = new AbortController();
    const timer = clock.after(WORK_MS, () => stop.abort());
    const work = async (): Promise<boolean> => {
      try {
        return await run(stop.signal);
      } catch (error) {
        if (!stop.signal.aborted) log.error({ roomId, error }, 'fetching history failed');
        return false;
      } finally {
        timer.cancel();
        stop.abort();
        this.#work.delete(roomId);
      }
    };
    const done = work();
    this.#work.set(roomId, { purpose, done });
    return done;
  }

  /** The nearest gaps at or behind a depth behind which there may be something to show. */
  #chooseGaps(roomId: RoomId, depth: number): Gap[] {
    return this.#choose(roomId, this.#gaps.listBefore(roomId, depth), GAPS_AT_ONCE);
  }

  #choose(roomId: RoomId, gaps: readonly Gap[], most: number): Gap[] {
    const chosen = new Map<EventId, Gap>();
    const views = new Map<EventId, boolean>();
    for (const gap of gaps) {
      if (chosen.size === most) break;
      const isWorthIt = views.get(gap.followerId) ?? this.#mayBeShown(roomId, gap.followerId);
      views.set(gap.followerId, isWorthIt);
      if (isWorthIt && !chosen.has(gap.missingId)) chosen.set(gap.missingId, gap);
    }
    return [...chosen.values()];
  }

  /**
   * Whether what comes before an event may be seen by anybody here, as far as the state before it tells. Of what may not,
   * other servers would only give redacted copies.
   */
  #mayBeShown(roomId: RoomId, followerId: EventId): boolean {
    const { state, events, members } = this.#parts;
    const before = state.stateBefore(followerId);
    const contentOf = (type: string, stateKey: string) => {
      const holderId = before?.find(type, stateKey);
      return holderId === undefined ? undefined : events.find(holderId)?.content;
    };
    const visibility = contentOf('m.room.history_visibility', '')?.['history_visibility'];
    if (visibility !== 'joined' && visibility !== 'invited') return true;
    return members.listLocalJoined(roomId).some((userId) => {
      const membership = contentOf('m.room.member', userId)?.['membership'];
      return membership === 'join' || (visibility === 'invited' && membership === 'invite');
    });
  }

  /** Asks for what lies behind gaps. Resolves to whether anything came. */
  async #fill(room: RoomInfo, gaps: readonly Gap[], working: AbortSignal): Promise<boolean> {
    const { roomId } = room;
    const wanted = gaps.map(({ missingId }) => missingId);
    const servers = this.#servers.choose(roomId, this.#sendersOf(gaps));
    for await (const { whom: server, answer } of this.#ask(servers, working, async (one, signal) => {
      const pdus = await askForHistory(this.#parts.client, one, { roomId, from: wanted }, signal);
      return this.#intake.read(room, pdus);
    })) {
      const given = { server, batch: answer, wanted, near: gaps[0]?.followerId };
      if ((await this.#take(room, given, working)) > 0) return true;
    }
    if (!working.aborted) for (const missingId of wanted) this.#gaps.failed(missingId);
    return false;
  }

  async #fetch(room: RoomInfo, eventId: EventId, working: AbortSignal): Promise<boolean> {
    const servers = this.#servers.choose(room.roomId, []);
    for await (const { whom: server, answer } of this.#ask(servers, working, (one, signal) =>
      this.#askForEvent(one, room, eventId, signal),
    )) {
      const given = { server, batch: answer, wanted: [eventId], near: undefined };
      if ((await this.#take(room, given, working)) > 0) return true;
    }
    if (!working.aborted) this.#gaps.failed(eventId);
    return false;
  }

  async #searchTime(
    room: RoomInfo,
    search: { ts: number; direction: 'b' | 'f'; isNearer: (originServerTs: number) => boolean },
    working: AbortSignal,
  ): Promise<PersistedEvent | undefined> {
    const { events } = this.#parts;
    const { roomId } = room;
    const fits = ({ originServerTs }: { readonly originServerTs: number }): boolean =>
      (search.direction === 'f' ? originServerTs >= search.ts : originServerTs <= search.ts) &&
      search.isNearer(originServerTs);
    const servers = this.#servers.choose(roomId, []);
    for await (const { whom: server, answer } of this.#ask(servers, working, async (one, signal) => {
      const told = await askForTime(this.#parts.client, one, { roomId, ...search }, signal);
      if (!fits(told)) return undefined;
      const batch = await this.#askForEvent(one, room, told.eventId, signal);
      // The event says when it was sent, not who passes it on.
      return [...batch.values()].every(fits) ? { eventId: told.eventId, batch } : undefined;
    })) {
      if (answer === undefined) continue;
      const { eventId, batch } = answer;
      await this.#take(room, { server, batch, wanted: [eventId], near: undefined }, working);
      const event = events.find(eventId);
      if (event?.roomId === roomId && !event.outlier && event.verdict === 'accepted' && fits(event)) return event;
    }
    return undefined;
  }

  #ask<Answer>(
    servers: readonly ServerName[],
    working: AbortSignal,
    ask: (server: ServerName, signal: AbortSignal) => Promise<Answer>,
  ): AsyncGenerator<{ whom: ServerName; answer: Answer }, void, undefined> {
    const { clock, log } = this.#parts;
    return askInTurn(servers, ask, {
      clock,
      patienceMs: PATIENCE_MS,
      signal: working,
      onFailure: (server, error) => {
        if (!(error instanceof FederationError)) throw error;
        log.debug({ server, kind: error.kind, errcode: error.errcode }, 'a server gave no history');
      },
    });
  }

  /** Stores what a server gave; if that cannot be done, it is for another server to give. */
  async #take(room: RoomInfo, given: Given, working: AbortSignal): Promise<number> {
    const { log } = this.#parts;
    const { server, batch } = given;
    if (batch.size === 0) return 0;
    try {
      const stored = await this.#intake.take(room, given, working);
      if (stored > 0) this.#servers.answered(room.roomId, server);
      log.info({ server, roomId: room.roomId, given: batch.size, stored }, 'history fetched');
      return stored;
    } catch (error) {
      if (!(error instanceof FederationError || error instanceof TooManyOutliersError)) throw error;
      log.info(
        { server, roomId: room.roomId, reason: error.message },
        'a server did not tell what its history rests upon',
      );
      return 0;
    }
  }

  #sendersOf(gaps: readonly Gap[]): PersistedEvent['sender'][] {
    return gaps.flatMap(({ followerId }) => this.#parts.events.find(followerId)?.sender ?? []);
  }

  /** The event as a batch of one; empty if it is held, or the server gave something else. */
  async #askForEvent(server: ServerName, room: RoomInfo, eventId: EventId, signal: AbortSignal): Promise<Batch> {
    const pdu = await this.#peers.event(server, eventId, signal);
    const batch = this.#intake.read(room, pdu === undefined ? [] : [pdu]);
    return new Map([...batch].filter(([id]) => id === eventId));
  }
}
