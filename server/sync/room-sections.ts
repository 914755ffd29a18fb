import { stripStateEvent } from '../matrix/events/strip.ts';
import type { EventId, RoomId, UserId } from '../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../matrix/json.ts';
import { formatTimelineToken } from '../rooms/timeline-token.ts';
import type {
  EventReader,
  MembershipReader,
  PersistedEvent,
  RoomMember,
  RoomState,
  StateReader,
} from '../rooms/types.ts';
import { STREAM_START, type StreamPosition } from '../storage/types.ts';
import type { ClientEventFormatter } from './client-event.ts';
import { eventMatcher, filterParts } from './filter-match.ts';
import type { LazyMembers } from './lazy-members.ts';
import { type DepartedRoom, positionBefore } from './own-changes.ts';
import type { RoomParts } from './parts.ts';
import { selectState } from './room-state.ts';
import { type LoadedTimeline, loadTimeline, type TimelineNeeds } from './room-timeline.ts';
import type { RoomSummaries, RoomSummary } from './summary.ts';
import type { RoomSyncPart, SyncContribution } from './types.ts';
import type { ComputedWindow } from './window.ts';

/** The key under which a client wants its state: before the timeline, or after it (by its stable or older name). */
export type StateSection = 'state' | 'state_after' | 'org.matrix.msc4222.state_after';

export interface RoomSectionNeeds extends TimelineNeeds {
  readonly events: Pick<EventReader, 'findEvent' | 'listEvents'>;
  readonly state: Pick<StateReader, 'stateAt' | 'difference'>;
  readonly members: Pick<MembershipReader, 'listStrippedState'>;
  readonly formatter: ClientEventFormatter;
  readonly summaries: RoomSummaries;
  readonly lazyMembers: LazyMembers;
  readonly contributions: () => readonly SyncContribution[];
}

const NO_PARTS: RoomParts = {
  accountData: [],
  ephemeral: [],
  unreadNotifications: undefined,
  unreadThreadNotifications: undefined,
};

/** The sections of single rooms in one answer of /sync. */
export class RoomSections {
  readonly #needs: RoomSectionNeeds;
  readonly #window: ComputedWindow;
  readonly #stateSection: StateSection;

  constructor(needs: RoomSectionNeeds, window: ComputedWindow, stateSection: StateSection) {
    this.#needs = needs;
    this.#window = window;
    this.#stateSection = stateSection;
  }

  /** A room under `join`; undefined if there is nothing new to say of it. */
  joined(roomId: RoomId, parts: RoomParts = NO_PARTS): JsonObject | undefined {
    const window = this.#window;
    const newlyJoined = window.initial || window.newlyJoined.has(roomId);
    const complete = newlyJoined || window.fullState;
    const moved = newlyJoined || window.active.has(roomId) || window.rejoined.has(roomId);
    const end = this.#needs.state.stateAt(roomId, window.now);
    const loaded = this.#timeline(roomId, end, {
      // Where nothing moved there is nothing to load.
      since: newlyJoined ? STREAM_START : moved ? window.since : window.now,
      until: window.now,
      ownMemberships: false,
    });
    const summary = this.#summary(roomId, end, complete, moved);
    const state = this.#state(roomId, {
      differences: complete ? undefined : moved ? window.changeOf(roomId).differences : [],
      end,
      timeline: loaded.events,
      heroes: summary?.heroes ?? [],
      own: complete,
    });
    const ephemeral = filterParts(parts.ephemeral, window.filter.room.ephemeral, roomId);
    const accountData = filterParts(parts.accountData, window.filter.room.accountData, roomId);
    const quiet =
      loaded.events.length === 0 &&
      state.length === 0 &&
      ephemeral.length === 0 &&
      accountData.length === 0 &&
      summary === undefined &&
      parts.unreadNotifications === undefined &&
      parts.unreadThreadNotifications === undefined;
    if (quiet && !complete) return undefined;

    // Somebody who was out for a while may have missed what was said meanwhile.
    const limited = loaded.limited || (newlyJoined && !window.initial) || window.rejoined.has(roomId);
    const room: Record<string, JsonValue> = {
      timeline: this.#showTimeline({ ...loaded, limited }),
      [this.#stateSection]: { events: state },
      ephemeral: { events: ephemeral },
      account_data: { events: accountData },
    };
    if (summary !== undefined) room['summary'] = summary.json;
    // Clients take what is unread in a room to be nothing if its news do not say.
    const counts = parts.unreadNotifications === undefined ? this.#completeCounts(roomId) : parts;
    if (counts.unreadNotifications !== undefined) room['unread_notifications'] = counts.unreadNotifications;
    if (counts.unreadThreadNotifications !== undefined) {
      room['unread_thread_notifications'] = counts.unreadThreadNotifications;
    }
    return room;
  }

  #completeCounts(roomId: RoomId): Pick<RoomSyncPart, 'unreadNotifications' | 'unreadThreadNotifications'> {
    for (const contribution of this.#needs.contributions()) {
      const counts = contribution.complete?.(this.#window, roomId);
      if (counts?.unreadNotifications !== undefined) return counts;
    }
    return {};
  }

  /** A room under `leave`: what happened up to when the viewer left, and that they did. */
  left(roomId: RoomId, departed: DepartedRoom, parts: RoomParts = NO_PARTS): JsonObject {
    const window = this.#window;
    const accountData = filterParts(parts.accountData, window.filter.room.accountData, roomId);
    const { events, state } = this.#departure(roomId, departed);
    return {
      timeline: this.#showTimeline(events),
      [this.#stateSection]: { events: state },
      account_data: { events: accountData },
    };
  }

  /** A room under `invite` or `knock`: its stripped state, the viewer's own membership in any case. */
  stripped(member: RoomMember): JsonObject {
    const stripped = this.#needs.members.listStrippedState(member.roomId, member.userId).map(strip);
    const hasOwn = stripped.some((event) => event['type'] === 'm.room.member' && event['state_key'] === member.userId);
    const own = hasOwn ? undefined : this.#needs.events.findEvent(member.eventId);
    return { events: own === undefined ? stripped : [...stripped, stripStateEvent(own)] };
  }

  #departure(
    roomId: RoomId,
    { member, leftAt, joinedAtSince }: DepartedRoom,
  ): { events: LoadedTimeline; state: JsonObject[] } {
    const window = this.#window;
    const own = this.#needs.events.findEvent(member.eventId);
    const ownIfWanted = own !== undefined && eventMatcher(window.filter.room.timeline).matches(own) ? [own] : [];
    if (leftAt === undefined || member.forgotten) {
      // Never in it (or wanting to know no more of it): that they are out is all there is to tell.
      const prevBatch = { order: 'stream', position: positionBefore(member.position) } as const;
      return { events: { events: ownIfWanted, limited: false, prevBatch }, state: [] };
    }
    const complete = !joinedAtSince || window.fullState || window.initial;
    const end = this.#needs.state.stateAt(roomId, leftAt);
    const since = joinedAtSince ? window.since : STREAM_START;
    const loaded = this.#timeline(roomId, end, { since, until: leftAt, ownMemberships: true });
    // A ban after a kick, say. Nothing else of what came after is theirs to see.
    const later = own !== undefined && own.position > leftAt ? ownIfWanted : [];
    const events = [...loaded.events, ...later];
    const limited = loaded.limited || (!joinedAtSince && !window.initial && !window.fullState);
    const state = this.#state(roomId, {
      differences: complete
        ? undefined
        : this.#needs.state.difference(this.#needs.state.stateAt(roomId, window.since), end),
      end,
      timeline: events,
      heroes: [],
      own: complete,
    });
    return { events: { ...loaded, events, limited }, state };
  }

  #timeline(
    roomId: RoomId,
    state: RoomState,
    range: { since: StreamPosition; until: StreamPosition; ownMemberships: boolean },
  ): LoadedTimeline {
    const { userId, ignoredUsers, filter } = this.#window;
    return loadTimeline(this.#needs, {
      roomId,
      ...range,
      viewer: userId,
      ignoredUsers,
      filter: filter.room.timeline,
      limit: filter.room.timeline.limit ?? 0,
      state,
      stateIsVisible: true,
    });
  }

  #summary(roomId: RoomId, end: RoomState, complete: boolean, moved: boolean): RoomSummary | undefined {
    const { userId } = this.#window;
    if (!complete) {
      if (!moved) return undefined;
      const { memberships, differences } = this.#window.changeOf(roomId);
      // Losing its name gives a room heroes.
      const renamed = differences.some(([key]) => key === 'm.room.name\0' || key === 'm.room.canonical_alias\0');
      if (memberships.size === 0 && !renamed) return undefined;
    }
    return this.#needs.summaries.of(roomId, userId, end);
  }

  #state(
    roomId: RoomId,
    options: {
      differences: Parameters<typeof selectState>[0]['differences'];
      end: RoomState;
      timeline: readonly PersistedEvent[];
      heroes: readonly UserId[];
      own: boolean;
    },
  ): JsonObject[] {
    const { filter, since, now, requester, userId } = this.#window;
    const { end, timeline, differences } = options;
    const matcher = eventMatcher(filter.room.state);
    const lazy = filter.room.state.lazyLoadMembers === true;
    const complete = differences === undefined;
    if (matcher.none || !matcher.allowsRoom(roomId)) return [];
    const [first] = timeline;
    if (first === undefined && differences?.length === 0 && options.heroes.length === 0) return [];
    const wanted = new Set<UserId>(options.heroes);
    for (const event of timeline) wanted.add(event.sender);
    if (options.own) wanted.add(userId);
    const redundant = filter.room.state.includeRedundantMembers === true || complete;
    const chosen = selectState({
      differences,
      start: first === undefined ? end : this.#needs.state.stateAt(roomId, positionBefore(first.position)),
      end,
      timeline,
      stateAfter: this.#stateSection !== 'state',
      matcher,
      lazy: lazy
        ? {
            wanted,
            isKnown: (user, eventId) =>
              !redundant && this.#needs.lazyMembers.isKnown(requester, roomId, user, eventId, since),
          }
        : undefined,
    });
    const events = this.#needs.events.listEvents(chosen).filter((event) => matcher.matches(event));
    if (lazy) this.#needs.lazyMembers.remember(requester, roomId, membersIn(events, timeline), now);
    return this.#needs.formatter.format(events, this.#viewer(), {
      format: this.#format(),
      eventFields: filter.eventFields,
    });
  }

  #showTimeline({ events, limited, prevBatch }: LoadedTimeline): JsonObject {
    const shown = this.#needs.formatter.format(events, this.#viewer(), {
      format: this.#format(),
      eventFields: this.#window.filter.eventFields,
      bundle: true,
    });
    return { events: shown, limited, prev_batch: formatTimelineToken(prevBatch) };
  }

  #format(): 'sync' | 'federation' {
    return this.#window.filter.eventFormat === 'federation' ? 'federation' : 'sync';
  }

  #viewer(): { userId: UserId; deviceId: ComputedWindow['requester']['deviceId']; ignoredUsers: ReadonlySet<UserId> } {
    const { userId, requester, ignoredUsers } = this.#window;
    return { userId, deviceId: requester.deviceId, ignoredUsers };
  }
}

/** Whose membership an answer tells, with the last event that does. */
function membersIn(
  state: readonly PersistedEvent[],
  timeline: readonly PersistedEvent[],
): ReadonlyMap<UserId, EventId> {
  const members = new Map<UserId, EventId>();
  for (const { type, stateKey, eventId } of [...state, ...timeline]) {
    if (type === 'm.room.member' && stateKey !== undefined) members.set(stateKey as UserId, eventId);
  }
  return members;
}

/** Only what stripped state may hold: it comes from other servers as they like (spec: "Stripped state"). */
function strip(event: JsonObject): JsonObject {
  const { type, state_key: stateKey, sender, content } = event;
  return {
    type: type ?? '',
    state_key: stateKey ?? '',
    sender: sender ?? '',
    content: isJsonObject(content) ? content : {},
  };
}
