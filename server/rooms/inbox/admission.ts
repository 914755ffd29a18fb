import type { RoomEvent } from '../../matrix/events/event.ts';
import type { EventId } from '../../matrix/identifiers.ts';
import type { RoomVersion } from '../../matrix/room-versions.ts';
import type { Database, WriteTx } from '../../storage/types.ts';
import type { Logger } from '../../util/log.ts';
import type { EventStore, StoredEvent } from '../event-store.ts';
import type { RoomHead, RoomHeads } from '../extremities.ts';
import type { Gathered, Gatherer } from '../gather.ts';
import { judge, type Judgement } from '../judge.ts';
import type { Persister } from '../persist.ts';
import type { PolicyCheck, Recommendation } from '../policy-servers.ts';
import type { StateResolver } from '../resolution.ts';
import { EMPTY_STATE, type StateGroupId, type StateGroups } from '../state-groups.ts';
import type { PersistedEvent } from '../types.ts';

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

/** What became of an event, or what has to be waited for before it can be said. */
export type Admission =
  | Acceptance
  /** The room's policy server has to be asked. */
  | { readonly kind: 'ask' }
  /** These states are to be resolved beforehand, since that takes long; to something near the room's current state. */
  | { readonly kind: 'prepare'; readonly states: readonly StateGroupId[]; readonly near: StateGroupId };

export interface AdmitOptions {
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
  /** The states after the prev events we lack, put together beforehand out of what other servers told. */
  readonly toldStates?: readonly StateGroupId[];
  /** The version of a room that this event is the first of. */
  readonly newRoom?: RoomVersion;
  /** Runs in the write that stores the event, after it; undone with it. Not for one that is known or dropped. */
  readonly alongside?: (tx: WriteTx, event: PersistedEvent) => void;
}

/** What is told of events that get their place in the graph, in the write that gives it to them. */
export type OnPlaced = (tx: WriteTx, event: PersistedEvent) => void;

export interface AdmitterParts {
  readonly db: Database;
  readonly log: Logger;
  readonly heads: RoomHeads;
  readonly events: EventStore;
  readonly groups: StateGroups;
  readonly gatherer: Gatherer;
  readonly resolver: StateResolver;
  readonly persister: Persister;
  readonly policy?: PolicyCheck | undefined;
  readonly onPlaced?: OnPlaced | undefined;
}

/**
 * The uninterrupted part of the road of an event of another server: gathered from the database, judged, persisted. Its
 * format, signatures and hash must have been checked.
 */
export class Admitter {
  readonly #parts: AdmitterParts;

  constructor(parts: AdmitterParts) {
    this.#parts = parts;
  }

  /** `isFinal`: do without what has still to be waited for. */
  admit(given: RoomEvent, options: AdmitOptions, { isFinal = false }: { readonly isFinal?: boolean } = {}): Admission {
    const { db, heads, events, gatherer, policy } = this.#parts;
    const { as = 'live', newRoom } = options;
    const known = this.findKnown(given.eventId, options);
    if (known !== undefined) return { kind: 'known', event: known };
    // Of an outlier, what is stored gets its place: in room versions 1 and 2 something else may go by the same ID.
    const event = events.find(given.eventId) ?? given;
    if (event.roomId !== given.roomId) return { kind: 'dropped', reason: 'an event of another room has its ID' };
    const gathered = gatherer.gather(event);
    const isTold = options.stateBefore !== undefined || options.toldStates !== undefined;
    const lacksState = as !== 'outlier' && !isTold && gathered.missingPrevEvents.length > 0;
    if (gathered.missingAuthEvents.length > 0 || lacksState) {
      const prevEvents = lacksState ? gathered.missingPrevEvents : [];
      return { kind: 'missing', authEvents: gathered.missingAuthEvents, prevEvents };
    }
    const recommendation = as === 'live' ? policy?.find(event) : ({ isRecommended: true, event } as const);
    if (policy !== undefined && recommendation === undefined && !isFinal) return { kind: 'ask' };
    const checked = recommendation?.isRecommended === true ? recommendation.event : event;
    const found = heads.find(event.roomId);
    if (found !== undefined && as !== 'outlier' && !isFinal) {
      const states = this.#findHeavy(found, checked, gathered, options);
      if (states !== undefined) return { kind: 'prepare', states, near: found.current };
    }
    return db.write((tx): Acceptance => {
      if (found === undefined && newRoom === undefined) return { kind: 'dropped', reason: 'the room is not known' };
      const head = found ?? heads.insert(tx, event.roomId, event.version);
      const stored = this.#judgeAndPersist(tx, head, checked, gathered, options, recommendation);
      options.alongside?.(tx, stored);
      return { kind: 'stored', event: stored };
    });
  }

  /** What is stored was checked then; only an outlier can still become more. */
  findKnown(eventId: EventId, { as }: Pick<AdmitOptions, 'as'>): StoredEvent | undefined {
    const known = this.#parts.events.find(eventId);
    return known?.outlier === true && as !== 'outlier' ? undefined : known;
  }

  #judgeAndPersist(
    tx: WriteTx,
    head: RoomHead,
    event: RoomEvent,
    gathered: Gathered,
    options: AdmitOptions,
    recommendation: Recommendation | undefined,
  ): StoredEvent {
    const { log, persister, policy, onPlaced } = this.#parts;
    const { as = 'live' } = options;
    const stateBefore = as === 'outlier' ? undefined : this.#stateBefore(tx, head, gathered, options);
    let judgement = this.#judge(head, event, gathered, stateBefore, as);
    // 7
    if (
      as !== 'outlier' &&
      judgement.verdict === 'accepted' &&
      policy !== undefined &&
      recommendation?.isRecommended !== true
    ) {
      judgement = { verdict: 'soft-failed', reason: 'the policy server of the room does not recommend it' };
    }
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
    if (stateBefore !== undefined) onPlaced?.(tx, stored);
    return stored;
  }

  #judge(
    head: RoomHead,
    event: RoomEvent,
    { authEvents, create }: Gathered,
    stateBefore: StateGroupId | undefined,
    as: AdmitOptions['as'],
  ): Judgement {
    const { gatherer } = this.#parts;
    return judge({
      event,
      authEvents,
      create,
      isRejected: (id) => gatherer.isRejected(id),
      stateBefore: stateBefore === undefined ? undefined : gatherer.authState(stateBefore),
      currentState:
        as !== 'live' || stateBefore === head.current || head.extremities.length === 0
          ? undefined
          : gatherer.authState(head.current),
    });
  }

  /** The first states that have to be resolved for an event and take long to. */
  #findHeavy(
    head: RoomHead,
    event: RoomEvent,
    gathered: Gathered,
    options: AdmitOptions,
  ): readonly StateGroupId[] | undefined {
    const { gatherer, resolver } = this.#parts;
    const { as = 'live', stateBefore: told, toldStates = [] } = options;
    // What is told event by event becomes a state only in the write that uses it.
    if (told !== undefined) return undefined;
    let stateBefore: StateGroupId | undefined = head.current;
    if (toldStates.length > 0 || !gatherer.followsAll(head, gathered.prevEvents)) {
      const states = [...toldStates, ...statesAfter(gathered.prevEvents)];
      if (states.length === 0) return undefined;
      if (!resolver.attempt(head.version, states, head.current)) return states;
      stateBefore = resolver.find(head.version, states);
    }
    if (as !== 'live' || stateBefore === undefined) return undefined;
    return this.#findHeavyAfter(head, event, gathered, stateBefore);
  }

  /** The states that the room's current one will have to be resolved from, with this event among its ends. */
  #findHeavyAfter(
    head: RoomHead,
    event: RoomEvent,
    gathered: Gathered,
    stateBefore: StateGroupId,
  ): readonly StateGroupId[] | undefined {
    const { db, heads, events, groups, resolver, persister } = this.#parts;
    const { version } = head;
    const others = statesAfter(
      persister.listUnfollowed(head, gathered.prevEvents).map(({ nid }) => events.getByNid(nid)),
    );
    if (others.length === 0) return undefined;
    const isHidden = heads.isMissing(head, event.eventId);
    let states = isHidden ? others : [...others, stateBefore];
    if (resolver.find(version, states) !== undefined && !resolver.isHeavy(version, states)) return undefined;
    if (this.#judge(head, event, gathered, stateBefore, 'live').verdict !== 'accepted') return undefined;
    const { type, stateKey } = event;
    if (stateKey !== undefined && !isHidden && resolver.isHeavy(version, states)) {
      // The state after it has to be there beforehand, and for that the event: as one that is not part of the graph yet.
      const stateAfter = db.write((tx) => {
        const { nid } =
          events.find(event.eventId) ?? this.#judgeAndPersist(tx, head, event, gathered, { as: 'outlier' }, undefined);
        return groups.withEvent(tx, stateBefore, { type, stateKey, eventNid: nid });
      });
      states = [...others, stateAfter];
    }
    return resolver.attempt(version, states, head.current) ? undefined : states;
  }

  /** What follows from the prev events we have and, where some are missing, from the states we were told. */
  #stateBefore(tx: WriteTx, head: RoomHead, { prevEvents }: Gathered, options: AdmitOptions): StateGroupId {
    const { gatherer, resolver } = this.#parts;
    const { stateBefore, toldStates = [] } = options;
    const told = stateBefore === undefined ? toldStates : [...toldStates, this.#storeTold(tx, head, stateBefore)];
    if (told.length === 0) return gatherer.stateBefore(tx, head, prevEvents);
    return resolver.resolve(tx, head.version, [...told, ...statesAfter(prevEvents)], head.current);
  }

  #storeTold(tx: WriteTx, head: RoomHead, stateBefore: readonly EventId[]): StateGroupId {
    const { events, groups } = this.#parts;
    return groups.change(
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
  }
}

function statesAfter(prevEvents: readonly StoredEvent[]): StateGroupId[] {
  return prevEvents.map(({ stateAfter }) => stateAfter ?? EMPTY_STATE);
}
