import type { Requester } from '../../http/route.ts';
import { forbidden, limitExceeded, MatrixError, notFound } from '../../matrix/errors.ts';
import type { EventId, RoomId, UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { EventReader, PersistedEvent, Projection } from '../../rooms/types.ts';
import type { Database, WriteTx } from '../../storage/types.ts';
import type { Clock, Timer } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import { type Random, randomString } from '../../util/random.ts';
import type { DelayedDraft, DelayedEvent, DelayedEventStore, FinalisedPlace } from './store.ts';

/** Sends an event as the client of a user would, with all that is checked then. */
export interface ClientSending {
  /** `alongside` runs in the write that stores the event; not at all where the room says the same already. */
  sendAs(request: {
    readonly requester: Requester;
    readonly roomId: RoomId;
    readonly type: string;
    readonly stateKey: string | undefined;
    readonly content: JsonObject;
    readonly ts: number | undefined;
    readonly alongside: (tx: WriteTx, event: PersistedEvent) => void;
  }): Promise<EventId>;
}

/** What has to be known of an account to act for it. */
export interface DelayedEventUsers {
  find(userId: UserId):
    | {
        readonly kind: 'user' | 'guest';
        readonly isAdmin: boolean;
        readonly locked: boolean;
        readonly suspended: boolean;
        readonly rateLimited: boolean;
        readonly deactivated: boolean;
      }
    | undefined;
}

export interface DelayedEventSettings {
  /** The longest delay (ms); undefined: nobody may delay anything. */
  readonly maxDelayMs: number | undefined;
  /** How many events of one user may wait at once. */
  readonly maxPerUser: number;
}

export interface DelayedEventNeeds {
  readonly db: Database;
  readonly clock: Pick<Clock, 'now' | 'after'>;
  readonly random: Random;
  readonly log: Logger;
  readonly settings: DelayedEventSettings;
  readonly events: Pick<EventReader, 'findEvent'>;
  readonly users: DelayedEventUsers;
  readonly sending: ClientSending;
}

/** The longest sleep, in ms: the clock on the wall, which counts here, may be set, and the machine sleep. */
const LONGEST_SLEEP_MS = 10_000;
/** How long (ms) is waited after something failed for reasons of this server's own. */
const TROUBLE_PAUSE_MS = 60_000;
const MOST_AT_ONCE = 50;
/** How long (ms), and how many for each user, finalised events can be asked for (as MSC4140 recommends). */
const KEPT_MS = 7 * 86_400_000;
const KEPT_PER_USER = 1_000;
/** Old ones are looked for once in so many that are finalised. */
const SWEEP_EVERY = 50;
const DELAY_ID_LENGTH = 32;

/**
 * Events that clients have sent at a later time (MSC4140). Whether the sender may is seen when that has come. An event
 * and the end of its wait are one write, so that it is sent once, whenever the process ends.
 */
export class DelayedEvents {
  readonly projection: Projection;
  readonly #needs: DelayedEventNeeds;
  readonly #store: DelayedEventStore;
  /** Being sent just now. */
  readonly #underWay = new Map<string, Promise<void>>();
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #stopped = true;
  #sinceSweep = 0;

  constructor(needs: DelayedEventNeeds, store: DelayedEventStore) {
    this.#needs = needs;
    this.#store = store;
    this.projection = {
      name: 'delayed-events',
      project: (tx, event, { stateDeltas }) => {
        for (const { type, stateKey, after } of stateDeltas) {
          if (after === undefined || !store.isStateAwaited(event.roomId, type, stateKey)) continue;
          const holder = after === event.eventId ? event : needs.events.findEvent(after);
          if (holder === undefined) continue;
          // What somebody else has said since is news to whoever scheduled theirs before, and not to be undone by it.
          const key = { roomId: event.roomId, type, stateKey, owner: holder.sender };
          store.failState(tx, key, { ts: needs.clock.now(), error: OVERTAKEN });
        }
      },
    };
  }

  start(): void {
    this.#stopped = false;
    this.#schedule();
  }

  /** Time may have passed unseen. */
  wake(): void {
    this.#schedule();
  }

  /** Resolves when nothing is being sent any more. What waits goes on waiting at the next start. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#running;
    await Promise.allSettled(this.#underWay.values());
  }

  /**
   * Has an event sent when its delay is over; gives its delay ID. The same transaction again gives the first one's.
   * @throws MatrixError M_FORBIDDEN where nothing may be delayed, M_UNKNOWN with M_MAX_DELAY_EXCEEDED, M_LIMIT_EXCEEDED
   */
  schedule(draft: DelayedDraft): string {
    const { db, clock, random, settings } = this.#needs;
    if (settings.maxDelayMs === undefined || settings.maxPerUser === 0) {
      throw new MatrixError('M_FORBIDDEN', 'This server sends nothing later', {
        fields: { 'org.matrix.msc4140.errcode': 'M_MAX_DELAY_UNSUPPORTED' },
      });
    }
    if (draft.delayMs > settings.maxDelayMs) {
      // NOT-SPEC: the newest text of the proposal has M_FORBIDDEN here; calls in today's clients shorten their delay on this.
      throw new MatrixError('M_UNKNOWN', `The delay is longer than ${settings.maxDelayMs} ms`, {
        status: 400,
        fields: {
          'org.matrix.msc4140.errcode': 'M_MAX_DELAY_EXCEEDED',
          'org.matrix.msc4140.max_delay': settings.maxDelayMs,
        },
      });
    }
    const known = this.#store.findByTransaction(draft);
    if (known !== undefined) return known;
    const now = clock.now();
    const excess = this.#store.countScheduled(draft.userId) - settings.maxPerUser;
    if (excess >= 0) {
      const freeAt = this.#store.listScheduled(draft.userId)[excess]?.dueTs ?? now;
      throw limitExceeded(Math.max(1, freeAt - now));
    }
    const delayId = randomString(random, DELAY_ID_LENGTH);
    db.write((tx) => this.#store.insert(tx, delayId, draft, now + draft.delayMs));
    this.#schedule();
    return delayId;
  }

  /** One of a user's own. @throws MatrixError M_NOT_FOUND */
  get(userId: UserId, delayId: string): DelayedEvent {
    const event = this.#store.find(delayId);
    if (event === undefined || event.userId !== userId) throw unknown();
    return event;
  }

  listScheduled(userId: UserId): DelayedEvent[] {
    return this.#store.listScheduled(userId);
  }

  listFinalised(userId: UserId, after: FinalisedPlace | undefined, limit: number): DelayedEvent[] {
    return this.#store.listFinalised(userId, after, limit);
  }

  /** Begins its wait anew. @throws MatrixError M_NOT_FOUND if it does not wait (any more) */
  restart(delayId: string): void {
    const { db, clock } = this.#needs;
    if (!db.write((tx) => this.#store.restart(tx, delayId, clock.now()))) throw unknown();
  }

  /** Ends its wait. To do it twice is no mistake. @throws MatrixError M_NOT_FOUND if it was sent, or is not known */
  async cancel(delayId: string): Promise<void> {
    const { db, clock } = this.#needs;
    await this.#underWay.get(delayId)?.catch(() => undefined);
    const event = this.#store.find(delayId);
    if (event === undefined || event.finalised?.eventId !== undefined) throw unknown();
    if (event.finalised !== undefined) return;
    db.write((tx) => {
      this.#store.finalise(tx, delayId, { ts: clock.now(), eventId: undefined, error: undefined });
      this.#sweep(tx, event.userId);
    });
  }

  /**
   * Sends it now. To do it twice is no mistake. Where it cannot be sent, it goes on waiting.
   * @throws MatrixError M_NOT_FOUND if it was cancelled, or is not known; else what the sending refuses
   */
  async sendNow(delayId: string): Promise<void> {
    const event = this.#store.find(delayId);
    if (event === undefined) throw unknown();
    if (event.finalised !== undefined) {
      if (event.finalised.eventId !== undefined) return;
      throw unknown();
    }
    await this.#send(event);
  }

  removeOfUser(tx: WriteTx, userId: UserId): void {
    this.#store.removeUser(tx, userId);
  }

  /** The delay ID that an event was sent under, as long as it is remembered. */
  findDelayId(eventId: EventId): string | undefined {
    return this.#store.findSent(eventId);
  }

  /** `soonest`: ms from now before which nothing is tried. */
  #schedule(soonest = 0): void {
    if (this.#stopped || this.#running !== undefined) return;
    this.#timer?.cancel();
    const next = this.#store.findNextDue();
    if (next === undefined) return;
    const wait = Math.max(soonest, Math.min(LONGEST_SLEEP_MS, next - this.#needs.clock.now()));
    this.#timer = this.#needs.clock.after(wait, () => {
      this.#running = this.#run();
    });
  }

  async #run(): Promise<void> {
    let hadTrouble = false;
    try {
      await this.#sendDue();
    } catch (error) {
      this.#needs.log.error({ error }, 'delayed events that are due could not be looked for; it is tried again');
      hadTrouble = true;
    }
    this.#running = undefined;
    this.#schedule(hadTrouble ? TROUBLE_PAUSE_MS : 0);
  }

  async #sendDue(): Promise<void> {
    const { db, clock, log } = this.#needs;
    for (const event of this.#store.listDue(clock.now(), MOST_AT_ONCE)) {
      if (this.#stopped) break;
      // It may have been cancelled, or begun anew, while those before it were sent.
      const current = this.#store.find(event.delayId);
      if (current === undefined || current.finalised !== undefined || current.dueTs > clock.now()) continue;
      try {
        await this.#send(current);
      } catch (error) {
        if (error instanceof MatrixError && error.errcode !== 'M_LIMIT_EXCEEDED') {
          this.#fail(current, error);
          continue;
        }
        if (error instanceof MatrixError) {
          log.info({ roomId: event.roomId }, 'a delayed event came with too many others; it is tried again');
        } else {
          // A full disk, for instance.
          log.error({ error, roomId: event.roomId }, 'a delayed event could not be sent; it is tried again');
        }
        // It stands back, or a few that cannot be sent would be tried over and over before any other.
        db.write((tx) => this.#store.postpone(tx, current.delayId, clock.now() + TROUBLE_PAUSE_MS));
      }
    }
  }

  #send(event: DelayedEvent): Promise<void> {
    const sending = this.#underWay.get(event.delayId);
    if (sending !== undefined) return sending;
    const begun = this.#sendOnce(event).finally(() => this.#underWay.delete(event.delayId));
    this.#underWay.set(event.delayId, begun);
    return begun;
  }

  async #sendOnce(event: DelayedEvent): Promise<void> {
    const { db, clock, sending } = this.#needs;
    const { delayId, roomId, type, stateKey, content, originServerTs: ts } = event;
    const requester = this.#actAs(event);
    const finalise = (tx: WriteTx, eventId: EventId): boolean => {
      this.#sweep(tx, event.userId);
      return this.#store.finalise(tx, delayId, { ts: clock.now(), eventId, error: undefined });
    };
    const alongside = (tx: WriteTx, sent: PersistedEvent): void => {
      // Somebody else's state came in between: then this event is undone with the write.
      if (!finalise(tx, sent.eventId)) throw new MatrixError('M_NOT_FOUND', 'It was cancelled meanwhile');
    };
    const eventId = await sending.sendAs({ requester, roomId, type, stateKey, content, ts, alongside });
    // The room said so already, or the way it went takes nothing along.
    if (this.#store.find(delayId)?.finalised === undefined) db.write((tx) => finalise(tx, eventId));
  }

  /** Whoever scheduled it, as their account stands today. */
  #actAs({ userId, deviceId, appserviceId, type }: DelayedEvent): Requester {
    const account = this.#needs.users.find(userId);
    if (appserviceId === undefined && (account === undefined || account.deactivated)) {
      throw forbidden('The account is not there any more');
    }
    if (account?.locked === true) throw new MatrixError('M_USER_LOCKED', 'The account is locked');
    return {
      userId,
      deviceId,
      tokenId: undefined,
      isGuest: account?.kind === 'guest',
      isAdmin: account?.isAdmin ?? false,
      isSuspended: account?.suspended ?? false,
      appserviceId,
      // What it counts as a message it has counted when it was scheduled; many may be due at once after the machine slept.
      // Invitations have narrower limits of their own.
      rateLimited: type === 'm.room.member' && (account?.rateLimited ?? true),
    };
  }

  #fail({ delayId, userId, type, roomId }: DelayedEvent, error: MatrixError): void {
    const { db, clock, log } = this.#needs;
    const told: JsonObject = { ...error.fields, errcode: error.errcode, error: error.message };
    db.write((tx) => {
      this.#store.finalise(tx, delayId, { ts: clock.now(), eventId: undefined, error: told });
      this.#sweep(tx, userId);
    });
    log.info({ roomId, type, errcode: error.errcode }, 'a delayed event was refused when its time had come');
  }

  #sweep(tx: WriteTx, userId: UserId): void {
    this.#sinceSweep += 1;
    if (this.#sinceSweep < SWEEP_EVERY) return;
    this.#sinceSweep = 0;
    this.#store.removeOld(tx, this.#needs.clock.now() - KEPT_MS, 2 * SWEEP_EVERY);
    this.#store.removeBeyond(tx, userId, KEPT_PER_USER);
  }
}

const OVERTAKEN: JsonObject = {
  errcode: 'M_UNKNOWN',
  error: 'Somebody else has set this state meanwhile',
  'org.matrix.msc4140.errcode': 'M_CANCELLED_BY_STATE_UPDATE',
};

function unknown(): MatrixError {
  return notFound('There is no such delayed event');
}
