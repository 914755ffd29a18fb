import type { RoomId, UserId } from '../matrix/identifiers.ts';
import type { PersistedEvent, RoomState, Timeline, TimelineToken, Visibility } from '../rooms/types.ts';
import type { StreamPosition } from '../storage/types.ts';
import type { RoomEventFilter } from './filter.ts';
import { eventMatcher, filterRelated, type RelatedEvents } from './filter-match.ts';
import { positionBefore } from './own-changes.ts';

/** The newest events of a room in a window that one viewer is to be shown. */
export interface LoadedTimeline {
  /** Oldest first. */
  readonly events: readonly PersistedEvent[];
  readonly limited: boolean;
  readonly prevBatch: TimelineToken;
}

export interface TimelineNeeds {
  readonly timeline: Pick<Timeline, 'since' | 'tokenAt'>;
  readonly visibility: Pick<Visibility, 'filterVisible'>;
  readonly related: RelatedEvents | undefined;
}

export interface TimelineRequest {
  readonly roomId: RoomId;
  readonly since: StreamPosition;
  readonly until: StreamPosition;
  readonly viewer: UserId;
  readonly ignoredUsers: ReadonlySet<UserId>;
  readonly filter: RoomEventFilter;
  readonly limit: number;
  /** The state at the end of the timeline. */
  readonly state: RoomState;
  /** Whether the events of that state are shown whenever they were sent: the viewer is to learn of them anyhow. */
  readonly stateIsVisible: boolean;
  /** Whether the viewer's own memberships are shown to them whatever the history visibility says: that they were put out. */
  readonly ownMemberships: boolean;
}

/** How often more is loaded to make up for events the viewer may not see. */
const MOST_ROUNDS = 5;

/** Loads the timeline of a room: filtered, without what the viewer ignores or may not see. */
export function loadTimeline(needs: TimelineNeeds, request: TimelineRequest): LoadedTimeline {
  const { roomId, since, until, filter, limit, ignoredUsers } = request;
  const matcher = eventMatcher(filter);
  const atEnd: TimelineToken = { order: 'stream', position: until };
  if (since >= until) return { events: [], limited: false, prevBatch: atEnd };
  if (matcher.none || !matcher.allowsRoom(roomId)) return { events: [], limited: false, prevBatch: atEnd };
  if (limit === 0) return { events: [], limited: true, prevBatch: atEnd };

  const accept = (event: PersistedEvent): boolean =>
    matcher.matches(event) && (event.stateKey !== undefined || !ignoredUsers.has(event.sender));
  let events: PersistedEvent[] = [];
  let now = until;
  for (let round = 1; ; round += 1) {
    // Where much was invisible, more is: later rounds take larger steps.
    const page = needs.timeline.since({
      roomId,
      since,
      now,
      limit: round === 1 ? limit : Math.max(2 * limit, 20),
      accept,
    });
    events = [...keepVisible(needs, request, page.events), ...events];
    const first = page.events[0];
    const [cutAt] = events.length > limit ? events.slice(-limit) : [];
    if (cutAt !== undefined) {
      return { events: events.slice(-limit), limited: true, prevBatch: needs.timeline.tokenAt(cutAt, 'before') };
    }
    const { limited, prevBatch } = page;
    if (!limited || first === undefined || events.length === limit || round === MOST_ROUNDS) {
      return { events, limited, prevBatch };
    }
    now = positionBefore(first.position);
  }
}

function keepVisible(
  { visibility, related }: TimelineNeeds,
  { viewer, state, filter, stateIsVisible, ownMemberships }: TimelineRequest,
  events: readonly PersistedEvent[],
): PersistedEvent[] {
  const asked = filterRelated(events, filter, related);
  const visible = visibility.filterVisible(viewer, asked);
  if (visible.length === asked.length) return visible;
  // What comes back may be a pruned copy, so they are told apart by their IDs.
  const allowed = new Map(visible.map((event) => [event.eventId, event]));
  return asked.flatMap((event) => {
    const seen = allowed.get(event.eventId);
    if (seen !== undefined) return [seen];
    const isOwn = ownMemberships && event.type === 'm.room.member' && event.stateKey === viewer;
    return isOwn || (stateIsVisible && isPartOf(state, event)) ? [event] : [];
  });
}

function isPartOf(state: RoomState, { type, stateKey, eventId }: PersistedEvent): boolean {
  return stateKey !== undefined && state.find(type, stateKey) === eventId;
}
