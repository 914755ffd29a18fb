import type { RoomEvent } from '../matrix/events/event.ts';
import { checkContentHash } from '../matrix/events/hash.ts';
import { parsePdu } from '../matrix/events/parse.ts';
import { redactEvent } from '../matrix/events/redact.ts';
import { type EventId, isRoomId, type RoomId } from '../matrix/identifiers.ts';
import { isJsonObject } from '../matrix/json.ts';
import type { RoomVersion } from '../matrix/room-versions.ts';
import type { Database, WriteTx } from '../storage/types.ts';
import type { Logger } from '../util/log.ts';
import { SerialQueue } from '../util/serial-queue.ts';
import type { EventStore, StoredEvent } from './event-store.ts';
import type { RoomHead, RoomHeads } from './extremities.ts';
import type { Gathered, Gatherer } from './gather.ts';
import { judge } from './judge.ts';
import type { Persister } from './persist.ts';
import type { StateResolver } from './resolution.ts';
import { EMPTY_STATE, type StateGroupId, type StateGroups } from './state-groups.ts';
import type { PersistedEvent } from './types.ts';

/** What became of a PDU. */
export type Acceptance =
  /** It is stored; its verdict says whether it counts. */
  | { readonly kind: 'stored'; readonly event: PersistedEvent }
  /** It was before. */
  | { readonly kind: 'known'; readonly event: PersistedEvent }
  /** It is no event of a room we know, or not signed as it must be; nothing is kept of it. */
  | { readonly kind: 'dropped'; readonly reason: string }
  /** It cannot be judged without these. Nothing is kept of it. */
  | { readonly kind: 'missing'; readonly authEvents: readonly EventId[]; readonly prevEvents: readonly EventId[] };

export interface AcceptOptions {
  /**
   * What the event is to us: news; history from before what we hold; or an outlier, kept to check others. News unless
   * told.
   */
  readonly as?: 'live' | 'history' | 'outlier';
  /**
   * The state before the event as another server tells it, for an event whose prev events we lack. All of these must be
   * stored, be it as outliers.
   */
  readonly stateBefore?: readonly EventId[];
  /** The version of a room that this event is the first of. */
  readonly newRoom?: RoomVersion;
}

/** Whether an event bears all signatures it needs. May wait for the keys of other servers. */
export type CheckSignatures = (event: RoomEvent) => Promise<boolean> | boolean;

interface InboxParts {
  readonly db: Database;
  readonly log: Logger;
  readonly heads: RoomHeads;
  readonly events: EventStore;
  readonly groups: StateGroups;
  readonly gatherer: Gatherer;
  readonly resolver: StateResolver;
  readonly persister: Persister;
  readonly checkSignatures: CheckSignatures;
}

/** Where events of other servers enter the road: one at a time for each room, in the order they came. */
export class Inbox {
  readonly #parts: InboxParts;
  readonly #lines = new SerialQueue<RoomId>();

  constructor(parts: InboxParts) {
    this.#parts = parts;
  }

  /** Checks performed on receipt of a PDU (server-server API), in their order, and the event's storage. */
  async accept(pdu: unknown, options: AcceptOptions = {}): Promise<Acceptance> {
    const read = this.#read(pdu, options);
    if (typeof read === 'string') return { kind: 'dropped', reason: read };
    return this.#lines.run(read.roomId, () => this.#accept(read, options));
  }

  /** 1: the format of the room's version. Or why it is dropped. */
  #read(pdu: unknown, { newRoom }: AcceptOptions): RoomEvent | string {
    const roomId = isJsonObject(pdu) ? pdu['room_id'] : undefined;
    const known = typeof roomId === 'string' && isRoomId(roomId) ? this.#parts.heads.find(roomId) : undefined;
    const version = known?.version ?? newRoom;
    if (version === undefined) return 'the room is not known';
    const parsed = parsePdu(pdu, version);
    return parsed.ok ? parsed.event : parsed.reason;
  }

  async #accept(read: RoomEvent, options: AcceptOptions): Promise<Acceptance> {
    // What is stored was checked then; only an outlier can still become more.
    const known = this.#findKnown(read.eventId, options);
    if (known !== undefined) return { kind: 'known', event: known };
    // 2
    if (!(await this.#parts.checkSignatures(read)))
      return { kind: 'dropped', reason: 'a signature is missing or wrong' };
    // 3
    const event = checkContentHash(read.pdu, read.version) ? read : redactEvent(read);
    // From here on without a pause, so that nothing moves under the judge.
    return this.#judgeAndPersist(event, options);
  }

  #judgeAndPersist(event: RoomEvent, options: AcceptOptions): Acceptance {
    const { db, log, heads, gatherer, persister } = this.#parts;
    const { as = 'live', newRoom } = options;
    const known = this.#findKnown(event.eventId, options);
    if (known !== undefined) return { kind: 'known', event: known };
    const gathered = gatherer.gather(event);
    if (gathered.authEvents.some(({ roomId }) => roomId !== event.roomId)) {
      return { kind: 'dropped', reason: 'an auth event is of another room' };
    }
    if (gathered.prevEvents.some(({ roomId }) => roomId !== event.roomId)) {
      return { kind: 'dropped', reason: 'a prev event is of another room' };
    }
    const lacksState = as !== 'outlier' && options.stateBefore === undefined && gathered.missingPrevEvents.length > 0;
    if (gathered.missingAuthEvents.length > 0 || lacksState) {
      const prevEvents = lacksState ? gathered.missingPrevEvents : [];
      return { kind: 'missing', authEvents: gathered.missingAuthEvents, prevEvents };
    }
    return db.write((tx): Acceptance => {
      const found = heads.find(event.roomId);
      if (found === undefined && newRoom === undefined) return { kind: 'dropped', reason: 'the room is not known' };
      const head = found ?? heads.insert(tx, event.roomId, event.version);
      const stateBefore = as === 'outlier' ? undefined : this.#stateBefore(tx, head, gathered, options);
      const judgement = judge({
        event,
        authEvents: gathered.authEvents,
        create: gathered.create,
        isRejected: (id) => gatherer.isRejected(id),
        stateBefore: stateBefore === undefined ? undefined : gatherer.authState(stateBefore),
        currentState:
          as !== 'live' || stateBefore === head.current || head.extremities.length === 0
            ? undefined
            : gatherer.authState(head.current),
      });
      if (judgement.verdict !== 'accepted') {
        const { verdict, reason } = judgement;
        log.info({ eventId: event.eventId, roomId: event.roomId, verdict, reason }, 'event not accepted');
      }
      const stored = persister.persist(tx, head, {
        event,
        verdict: judgement.verdict,
        stateBefore,
        prevEvents: gathered.prevEvents,
        missing: stateBefore === undefined ? [] : gathered.missingPrevEvents,
        live: as === 'live',
      });
      return { kind: 'stored', event: stored };
    });
  }

  /** What follows from the prev events we have and, where some are missing, from the state we were told. */
  #stateBefore(tx: WriteTx, head: RoomHead, { prevEvents }: Gathered, { stateBefore }: AcceptOptions): StateGroupId {
    const { events, groups, gatherer, resolver } = this.#parts;
    if (stateBefore === undefined) return gatherer.stateBefore(tx, head, prevEvents);
    const told = groups.change(
      tx,
      EMPTY_STATE,
      stateBefore.map((id) => {
        const event = events.find(id);
        if (event?.stateKey === undefined || event.roomId !== head.roomId) {
          throw new TypeError('the state before an event must be made of stored state events of its room');
        }
        return { type: event.type, stateKey: event.stateKey, eventNid: event.nid };
      }),
    );
    const states = prevEvents.map(({ stateAfter }) => stateAfter ?? EMPTY_STATE);
    return resolver.resolve(tx, head.version, [told, ...states]);
  }

  #findKnown(eventId: EventId, { as }: AcceptOptions): StoredEvent | undefined {
    const known = this.#parts.events.find(eventId);
    return known?.outlier === true && as !== 'outlier' ? undefined : known;
  }
}
