import { redactEvent } from '../matrix/events/redact.ts';
import type { RoomId, UserId } from '../matrix/identifiers.ts';
import type { EventStore, StoredEvent } from './event-store.ts';
import type { RoomHead, RoomHeads } from './extremities.ts';
import { type Members, membershipOf } from './membership.ts';
import type { StateGroupId, StateGroups } from './state-groups.ts';
import type { Membership, PersistedEvent, RoomMember, Visibility } from './types.ts';

export type HistoryVisibility = 'world_readable' | 'shared' | 'invited' | 'joined';

/** What the rules ask of a state, for one user. */
interface Outlook {
  readonly visibility: HistoryVisibility;
  readonly membership: Membership;
}

/** Who may see which events (spec: client-server API, "Room History Visibility"). */
export class RoomVisibility implements Visibility {
  readonly #heads: RoomHeads;
  readonly #events: EventStore;
  readonly #groups: StateGroups;
  readonly #members: Members;
  readonly #isErased: (userId: UserId) => boolean;

  constructor(parts: {
    heads: RoomHeads;
    events: EventStore;
    groups: StateGroups;
    members: Members;
    isErased: (userId: UserId) => boolean;
  }) {
    this.#heads = parts.heads;
    this.#events = parts.events;
    this.#groups = parts.groups;
    this.#members = parts.members;
    this.#isErased = parts.isErased;
  }

  canSee(userId: UserId, event: PersistedEvent): boolean {
    return new Viewing(userId, this.#groups, this.#events, this.#members).canSee(this.#events.asStored(event));
  }

  filterVisible(userId: UserId, events: readonly PersistedEvent[]): PersistedEvent[] {
    const viewing = new Viewing(userId, this.#groups, this.#events, this.#members);
    const visible: PersistedEvent[] = [];
    for (const event of events) {
      const stored = this.#events.asStored(event);
      if (stored === undefined || !viewing.canSee(stored)) continue;
      visible.push(this.#withoutErased(userId, event, () => viewing.membershipAt(stored)));
    }
    return visible;
  }

  accessOf(
    userId: UserId,
    roomId: RoomId,
  ): { kind: 'joined' } | { kind: 'left'; member: RoomMember } | { kind: 'peek' } | undefined {
    const member = this.#members.findMember(roomId, userId);
    if (member?.membership === 'join') return { kind: 'joined' };
    const hasLeft = member?.membership === 'leave' || member?.membership === 'ban';
    // Whoever was only ever invited was never in the room.
    if (hasLeft && !member.forgotten && member.joinedPosition !== undefined) return { kind: 'left', member };
    const head = this.#heads.find(roomId);
    return head !== undefined && this.#isWorldReadable(head) ? { kind: 'peek' } : undefined;
  }

  #isWorldReadable(head: RoomHead): boolean {
    const nid = this.#groups.find(head.current, 'm.room.history_visibility', '');
    return readVisibility(nid === undefined ? undefined : this.#events.getByNid(nid)) === 'world_readable';
  }

  /** What a user who had their account erased said is shown whole only to those who were there to hear it. */
  #withoutErased(viewer: UserId, event: PersistedEvent, membershipAt: () => Membership): PersistedEvent {
    if (event.sender === viewer || !this.#isErased(event.sender) || membershipAt() === 'join') return event;
    return { ...event, ...redactEvent(event) };
  }
}

/** One user looking at events. What was found out about a state is kept: most events in a row have the same. */
class Viewing {
  readonly #userId: UserId;
  readonly #groups: StateGroups;
  readonly #events: EventStore;
  readonly #members: Members;
  readonly #outlooks = new Map<StateGroupId, Outlook>();

  constructor(userId: UserId, groups: StateGroups, events: EventStore, members: Members) {
    this.#userId = userId;
    this.#groups = groups;
    this.#events = events;
    this.#members = members;
  }

  canSee(event: StoredEvent | undefined): boolean {
    if (event === undefined || event.verdict !== 'accepted') return false;
    const isOwnMembership = event.type === 'm.room.member' && event.stateKey === this.#userId;
    // An invite to a room we hold no state of.
    if (event.stateBefore === undefined || event.stateAfter === undefined) return isOwnMembership;
    const before = this.#outlook(event.stateBefore);
    if (this.#allows(event, before)) return true;
    // Events that change what is asked for may be seen by what held before or by what holds after them.
    const changesOutlook = isOwnMembership || event.type === 'm.room.history_visibility';
    return changesOutlook && this.#allows(event, this.#outlook(event.stateAfter));
  }

  membershipAt(event: StoredEvent): Membership {
    return event.stateBefore === undefined ? 'leave' : this.#outlook(event.stateBefore).membership;
  }

  #allows(event: StoredEvent, { visibility, membership }: Outlook): boolean {
    // 1
    if (visibility === 'world_readable') return true;
    // 2
    if (membership === 'join') return true;
    // 3
    if (visibility === 'shared' && this.#joinedAfter(event)) return true;
    // 4
    return membership === 'invite' && visibility === 'invited';
  }

  #joinedAfter(event: StoredEvent): boolean {
    const member = this.#members.findMember(event.roomId, this.#userId);
    if (member?.membership === 'join') return true;
    if (member?.joinedPosition === undefined) return false;
    // History that was fetched later lies before all that came as news.
    return event.timeline === 'history' || event.position < member.joinedPosition;
  }

  #outlook(state: StateGroupId): Outlook {
    const known = this.#outlooks.get(state);
    if (known !== undefined) return known;
    const member = this.#find(state, 'm.room.member', this.#userId);
    const outlook: Outlook = {
      visibility: readVisibility(this.#find(state, 'm.room.history_visibility', '')),
      membership: member === undefined ? 'leave' : membershipOf(member),
    };
    this.#outlooks.set(state, outlook);
    return outlook;
  }

  #find(state: StateGroupId, type: string, stateKey: string): StoredEvent | undefined {
    const nid = this.#groups.find(state, type, stateKey);
    return nid === undefined ? undefined : this.#events.getByNid(nid);
  }
}

/** What an m.room.history_visibility event says. What is not set or not understood counts as `shared`. */
export function readVisibility(event: { readonly content: PersistedEvent['content'] } | undefined): HistoryVisibility {
  const visibility = event?.content['history_visibility'];
  return visibility === 'world_readable' || visibility === 'invited' || visibility === 'joined' ? visibility : 'shared';
}
