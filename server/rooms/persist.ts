import type { RoomEvent } from '../matrix/events/event.ts';
import { type EventId, isUserId, type UserId } from '../matrix/identifiers.ts';
import type { WriteTx } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import type { EventStore, StoredEvent, TimelineKind } from './event-store.ts';
import type { Extremity, RoomHead, RoomHeads } from './extremities.ts';
import { isDummy } from './extremity-cap.ts';
import { type MemberChange, type Members, membershipOf } from './membership.ts';
import type { Redactions } from './redactions.ts';
import type { StateResolver } from './resolution.ts';
import { EMPTY_STATE, type StateDifference, type StateGroupId, type StateGroups } from './state-groups.ts';
import { type PrejoinState, type ShownState, strippedStateFor } from './stripped-state.ts';
import type { PersistedEvent, Projection, StateDelta, Verdict } from './types.ts';

/** A judged event on its way into the database. */
export interface Judged {
  readonly event: RoomEvent;
  readonly verdict: Verdict;
  /** The state before it; undefined for an outlier. */
  readonly stateBefore: StateGroupId | undefined;
  /** The prev events we have. */
  readonly prevEvents: readonly StoredEvent[];
  /** The prev events we lack. */
  readonly missing: readonly EventId[];
  /** False for history fetched later, which changes nothing in the present. */
  readonly live: boolean;
  /**
   * For the join that brings this server into a room: the state whose members of other servers have their places already,
   * since the places of many are written beforehand; and the users of this server that it names.
   */
  readonly placed?: { readonly state: StateGroupId; readonly local: readonly UserId[] };
  /** Made a moment ago: it cannot be known already, and nothing can refer to it yet. */
  readonly isNew?: boolean;
}

/** What came of a redaction: its target as it was. */
type Redacted = StoredEvent | undefined;

/** The last step of the road: the one place that writes events, all that follows from one in a single write. */
export class Persister {
  readonly #clock: Clock;
  readonly #heads: RoomHeads;
  readonly #events: EventStore;
  readonly #groups: StateGroups;
  readonly #members: Members;
  readonly #redactions: Redactions;
  readonly #resolver: StateResolver;
  readonly #projections: readonly Projection[];
  readonly #prejoinState: readonly PrejoinState[];

  constructor(parts: {
    clock: Clock;
    heads: RoomHeads;
    events: EventStore;
    groups: StateGroups;
    members: Members;
    redactions: Redactions;
    resolver: StateResolver;
    projections: readonly Projection[];
    prejoinState: readonly PrejoinState[];
  }) {
    this.#clock = parts.clock;
    this.#heads = parts.heads;
    this.#events = parts.events;
    this.#groups = parts.groups;
    this.#members = parts.members;
    this.#redactions = parts.redactions;
    this.#resolver = parts.resolver;
    this.#projections = parts.projections;
    this.#prejoinState = parts.prejoinState;
  }

  /** Stores a judged event of the room that `head` stands for. An outlier we have takes its place in the graph. */
  persist(tx: WriteTx, head: RoomHead, judged: Judged): StoredEvent {
    const { event, verdict, stateBefore, live, isNew = false } = judged;
    const position = tx.nextPosition();
    const receivedTs = this.#clock.now();
    const known = isNew ? undefined : this.#events.find(event.eventId);
    const nid = known?.nid ?? position;

    const isAccepted = verdict === 'accepted' && stateBefore !== undefined;
    const effect =
      isAccepted && event.type === 'm.room.redaction' ? this.#redactions.effectOf(event, stateBefore) : undefined;
    const placement = {
      position,
      receivedTs,
      verdict,
      outlier: stateBefore === undefined,
      timeline: timelineOf(event, isAccepted, live, effect === undefined || effect.kind === 'apply'),
      stateBefore,
      stateAfter: this.#stateAfter(tx, judged, nid),
      replaces: this.#replacedBy(event, stateBefore),
    };
    let stored =
      known === undefined
        ? this.#events.insert(tx, head.nid, event, placement)
        : this.#events.replace(tx, known, placement);
    // Nothing else follows from an event outside the graph.
    if (stateBefore === undefined) return stored;

    for (const id of judged.missing) this.#heads.insertMissing(tx, head, id, nid);
    const isFollowed = !isNew && this.#heads.removeMissing(tx, head, event.eventId);
    const after = isAccepted && live ? this.#moveOn(tx, head, stored, judged.prevEvents, isFollowed) : head;
    this.#heads.update(tx, head, after, position);
    const changed = this.#listChanged(head, after, judged);
    const moved = judged.placed === undefined ? changed : this.#listUnplaced(head, after, judged.placed, changed);
    this.#members.apply(tx, head, position, this.#memberChanges(after, moved));
    if (stored.timeline === 'live') tx.touch(`room:${event.roomId}`);

    let redacted: Redacted;
    if (effect?.kind === 'apply') {
      redacted = effect.target;
      this.#redact(tx, head, stored, effect.target);
    } else if (effect?.kind === 'wait') this.#redactions.wait(tx, stored, effect.targetId);
    const original = stored;
    const overdue = isAccepted && !isNew ? this.#redactions.takeWaiting(tx, stored) : [];
    for (const redaction of overdue) stored = this.#redact(tx, head, redaction, stored);

    if (verdict !== 'rejected') {
      const told = isWithoutMembers(head, judged) ? [...changed, ...moved] : changed;
      this.#project(tx, stored, { stateDeltas: this.#deltas(told), redacted, live: live && !isDummy(event) });
    }
    for (const redaction of overdue) this.#reveal(tx, redaction, original);
    return stored;
  }

  #stateAfter(tx: WriteTx, { event, verdict, stateBefore }: Judged, nid: number): StateGroupId | undefined {
    const { type, stateKey } = event;
    if (stateBefore === undefined || stateKey === undefined || verdict === 'rejected') return stateBefore;
    return this.#groups.withEvent(tx, stateBefore, { type, stateKey, eventNid: nid });
  }

  #replacedBy({ type, stateKey }: RoomEvent, stateBefore: StateGroupId | undefined): number | undefined {
    if (stateBefore === undefined || stateKey === undefined) return undefined;
    return this.#groups.find(stateBefore, type, stateKey);
  }

  /** The room as it stands after an accepted event: its extremities and the state resolved over them. */
  #moveOn(
    tx: WriteTx,
    head: RoomHead,
    event: StoredEvent,
    prevEvents: readonly StoredEvent[],
    isFollowed: boolean,
  ): RoomHead {
    const kept = this.listUnfollowed(head, prevEvents);
    const extremities =
      isFollowed && kept.length > 0 ? kept : [...kept, { nid: event.nid, eventId: event.eventId, depth: event.depth }];
    const lastPosition = event.timeline === 'live' ? event.position : head.lastPosition;
    const states = extremities.map(({ nid }) => this.#events.getByNid(nid).stateAfter ?? EMPTY_STATE);
    return {
      ...head,
      extremities,
      lastPosition,
      current: this.#resolver.resolve(tx, head.version, states, head.current),
    };
  }

  /** The extremities that are still some once these events are followed. */
  listUnfollowed(head: RoomHead, prevEvents: readonly StoredEvent[]): Extremity[] {
    const followed = this.#followedBy(prevEvents);
    return head.extremities.filter(({ nid }) => !followed.has(nid));
  }

  /**
   * The events that are no longer extremities once these are followed: they themselves, and what lies behind those that
   * never were extremities because they were not accepted.
   */
  #followedBy(prevEvents: readonly StoredEvent[]): Set<number> {
    const followed = new Set<number>();
    const pending = [...prevEvents];
    for (let event = pending.pop(); event !== undefined; event = pending.pop()) {
      if (followed.has(event.nid)) continue;
      followed.add(event.nid);
      if (event.verdict === 'accepted') continue;
      for (const id of event.prevEvents) {
        const prev = this.#events.find(id);
        if (prev !== undefined && !prev.outlier) pending.push(prev);
      }
    }
    return followed;
  }

  /** What an event changed in the current state; without the members where `isWithoutMembers` says so. */
  #listChanged(head: RoomHead, after: RoomHead, judged: Judged): StateDifference[] {
    if (head.current === after.current) return [];
    if (!isWithoutMembers(head, judged)) return this.#groups.difference(head.current, after.current);
    return this.#groups
      .list(after.current, 'm.room.member')
      .map(([type, stateKey, right]) => ({ type, stateKey, left: undefined, right }));
  }

  /**
   * Whose places are not what the state says: members of other servers where it is not the one that was `placed`, and
   * local users, who may have had an invite or knock that the state knows nothing of.
   */
  #listUnplaced(
    head: RoomHead,
    after: RoomHead,
    { state: placed, local: named }: NonNullable<Judged['placed']>,
    changed: readonly StateDifference[],
  ): StateDifference[] {
    const isMember = ({ type, stateKey }: StateDifference): boolean => type === 'm.room.member' && isUserId(stateKey);
    const isLocal = (stateKey: string): stateKey is UserId => isUserId(stateKey) && this.#members.isLocal(stateKey);
    const local = new Set([...this.#members.listLocal(head.roomId), ...named]);
    for (const { type, stateKey } of changed) if (type === 'm.room.member' && isLocal(stateKey)) local.add(stateKey);
    const unplaced = this.#groups
      .difference(placed, after.current)
      .filter((difference) => isMember(difference) && !isLocal(difference.stateKey));
    for (const stateKey of local) {
      const member = this.#members.findMember(head.roomId, stateKey);
      const left = member === undefined ? undefined : this.#events.findNid(member.eventId);
      const right = this.#groups.find(after.current, 'm.room.member', stateKey);
      const isOut = member?.membership === 'leave' || member?.membership === 'ban';
      if (right === undefined && (left === undefined || isOut)) continue;
      const isSame =
        left === right && right !== undefined && member?.membership === membershipOf(this.#events.getByNid(right));
      if (!isSame) unplaced.push({ type: 'm.room.member', stateKey, left, right });
    }
    return unplaced;
  }

  #memberChanges(head: RoomHead, changed: readonly StateDifference[]): MemberChange[] {
    const changes: MemberChange[] = [];
    const state: ShownState = {
      find: (type, stateKey) => {
        const nid = this.#groups.find(head.current, type, stateKey);
        return nid === undefined ? undefined : this.#events.getByNid(nid);
      },
      list: (type) => this.#groups.listType(head.current, type).map(([, nid]) => this.#events.getByNid(nid)),
    };
    for (const { type, stateKey: userId, left, right } of changed) {
      const nid = right ?? left;
      if (type !== 'm.room.member' || nid === undefined || !isUserId(userId)) continue;
      const event = this.#events.getByNid(nid);
      const membership = membershipOf(event);
      const isShown = right !== undefined && (membership === 'invite' || membership === 'knock');
      const strippedState = isShown ? strippedStateFor(event, this.#prejoinState, state) : undefined;
      changes.push({ userId, event, isGone: right === undefined, strippedState });
    }
    return changes;
  }

  #redact(tx: WriteTx, head: RoomHead, redaction: StoredEvent, target: StoredEvent): StoredEvent {
    const pruned = this.#redactions.apply(tx, redaction, target, this.#clock.now());
    if (pruned !== target && target.type === 'm.room.member') this.#members.clearProfile(tx, head, pruned);
    return pruned;
  }

  /** A redaction that had to wait for its target is shown now that it has taken effect. */
  #reveal(tx: WriteTx, redaction: StoredEvent, target: StoredEvent): void {
    if (redaction.timeline !== 'none') return;
    const position = tx.nextPosition();
    const shown = this.#events.reveal(tx, redaction.nid, position);
    const head = this.#heads.find(redaction.roomId);
    if (head !== undefined) this.#heads.update(tx, head, { ...head, lastPosition: position }, position);
    tx.touch(`room:${redaction.roomId}`);
    this.#project(tx, shown, { stateDeltas: [], redacted: target, live: true });
  }

  #deltas(changed: readonly StateDifference[]): StateDelta[] {
    const idOf = (nid: number | undefined): EventId | undefined =>
      nid === undefined ? undefined : this.#events.eventIdOf(nid);
    return changed.map(({ type, stateKey, left, right }) => ({
      type,
      stateKey,
      before: idOf(left),
      after: idOf(right),
    }));
  }

  #project(tx: WriteTx, event: PersistedEvent, effects: Parameters<Projection['project']>[2]): void {
    for (const projection of this.#projections) projection.project(tx, event, effects);
  }
}

/**
 * A redaction is shown only once it has taken effect, except where the auth rules alone decide (room versions 1, 2); what
 * says nothing, never.
 */
function timelineOf(event: RoomEvent, isAccepted: boolean, live: boolean, isInForce: boolean): TimelineKind {
  if (isDummy(event)) return 'none';
  if (!isAccepted || !(isInForce || event.version.redactionsInAuthRules)) return 'none';
  return live ? 'live' : 'history';
}

/** All of a room is new to this server, and its members, who may be many, have their places already. */
function isWithoutMembers(head: RoomHead, { placed }: Judged): boolean {
  return placed !== undefined && head.current === EMPTY_STATE;
}
