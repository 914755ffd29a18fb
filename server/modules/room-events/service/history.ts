import type { Requester } from '../../../http/route.ts';
import { notFound } from '../../../matrix/errors.ts';
import type { EventId, RoomId, UserId } from '../../../matrix/identifiers.ts';
import type { PersistedEvent, TimelineToken } from '../../../rooms/types.ts';
import { STREAM_START } from '../../../storage/types.ts';
import { parseFilterText, parseRoomEventFilter, type RoomEventFilter } from '../../../sync/filter.ts';
import { eventMatcher, filterRelated } from '../../../sync/filter-match.ts';
import { checkAccess, type RoomAccess } from './access.ts';
import type { RoomEventsNeeds } from './needs.ts';

export interface HistoryRequest {
  readonly requester: Requester;
  readonly roomId: RoomId;
  /** Undefined: from the last event (going back) or the first (going forward) that the viewer may see. */
  readonly from: TimelineToken | undefined;
  readonly to?: TimelineToken | undefined;
  readonly direction: 'b' | 'f';
  readonly limit: number;
  readonly filter: RoomEventFilter;
}

export interface HistoryPage {
  /** In the direction asked for. */
  readonly events: readonly PersistedEvent[];
  readonly start: TimelineToken;
  /** Where the next page begins. Undefined: there is nothing more. */
  readonly end: TimelineToken | undefined;
}

/** The history of rooms as one user may read it. */
export interface History {
  /**
   * A page of what the viewer may see and the filter lets through, without what users they ignore have sent (state
   * excepted). It may be shorter than `limit` and still have an end.
   * @throws MatrixError M_FORBIDDEN
   */
  page(request: HistoryRequest): HistoryPage;
  /** The event, if it is one of the room that the viewer may read. */
  findEvent(requester: Requester, roomId: RoomId, eventId: EventId): PersistedEvent | undefined;
  /**
   * The event the viewer may read that is nearest to a time (ms), in one direction.
   * @throws MatrixError M_FORBIDDEN, M_NOT_FOUND if there is none
   */
  getNearest(requester: Requester, roomId: RoomId, ts: number, direction: 'b' | 'f'): PersistedEvent;
  /** Reads the `filter` of a query. @throws MatrixError M_NOT_JSON, M_BAD_JSON */
  readFilter(text: string): RoomEventFilter;
}

/** How often more is loaded to make up for events the viewer may not see. */
const MOST_ROUNDS = 5;
const NEAREST_LIMIT = 100;
const NO_FILTER: RoomEventFilter = {};

export function roomHistory(needs: RoomEventsNeeds): History {
  const { events, timeline, visibility, relations, ignoredUsers } = needs;

  const isHeard = (viewer: UserId): ((event: PersistedEvent) => boolean) => {
    const ignored = ignoredUsers(viewer);
    return (event) => event.stateKey !== undefined || !ignored.has(event.sender);
  };

  const placeBehind = (event: PersistedEvent, direction: 'b' | 'f'): TimelineToken =>
    timeline.tokenAt(event, direction === 'b' ? 'before' : 'after');

  const page: History['page'] = (request) => {
    const { requester, roomId, direction, limit, filter } = request;
    const access = checkAccess(needs, requester.userId, roomId);
    const { from, to } = withinStay(needs, access, request);
    const start = request.from ?? from ?? startOf(needs, roomId, direction);
    const matcher = eventMatcher(filter);
    if (matcher.none || !matcher.allowsRoom(roomId)) return { events: [], start, end: undefined };
    if (limit === 0) return { events: [], start, end: start };

    const heard = isHeard(requester.userId);
    const accept = (event: PersistedEvent): boolean => matcher.matches(event) && heard(event);
    const found: PersistedEvent[] = [];
    let place = from;
    for (let round = 1; ; round += 1) {
      const loaded = timeline.page({ roomId, from: place, to, direction, limit, accept });
      const visible = visibility.filterVisible(requester.userId, filterRelated(loaded.events, filter, relations));
      found.push(...visible.slice(0, limit - found.length));
      const last = found.at(-1);
      if (last !== undefined && found.length === limit) {
        return { events: found, start, end: placeBehind(last, direction) };
      }
      if (loaded.end === undefined) {
        // Only an empty page is the last one: going forward there may be more by the time the client asks again.
        const lastLoaded = last === undefined ? undefined : (loaded.events.at(-1) ?? last);
        return { events: found, start, end: lastLoaded && placeBehind(lastLoaded, direction) };
      }
      place = loaded.end;
      // A short page has an end where so many events were looked at that it is time to let others have their turn.
      if (round === MOST_ROUNDS || loaded.events.length < limit) return { events: found, start, end: place };
    }
  };

  return {
    page,

    findEvent: (requester, roomId, eventId) => {
      const event = events.findEvent(eventId);
      if (event === undefined || event.roomId !== roomId || event.outlier || !isHeard(requester.userId)(event)) {
        return undefined;
      }
      return visibility.filterVisible(requester.userId, [event])[0];
    },

    getNearest: (requester, roomId, ts, direction) => {
      checkAccess(needs, requester.userId, roomId);
      const nearest = timeline.findNearest(roomId, ts, direction);
      if (nearest !== undefined) {
        // Should the viewer not be allowed to see it, then the next one that way will have to do.
        const from = timeline.tokenAt(nearest, direction === 'f' ? 'before' : 'after');
        const [seen] = page({ requester, roomId, from, direction, limit: NEAREST_LIMIT, filter: NO_FILTER }).events;
        if (seen !== undefined) return seen;
      }
      throw notFound(`There is no event ${direction === 'f' ? 'at or after' : 'at or before'} that time`);
    },

    readFilter: (text) => parseRoomEventFilter(parseFilterText(text)),
  };
}

/**
 * The ends of what is asked for, drawn in to the time before the viewer left, so that nothing has to be read that they
 * may not see anyhow. In a room that anyone may read they see what came later too.
 */
function withinStay(
  { state }: RoomEventsNeeds,
  { leftAt }: RoomAccess,
  { roomId, from, to, direction }: HistoryRequest,
): { from: TimelineToken | undefined; to: TimelineToken | undefined } {
  if (leftAt === undefined) return { from, to };
  const visibility = state.findCurrent(roomId, 'm.room.history_visibility', '')?.content['history_visibility'];
  if (visibility === 'world_readable') return { from, to };
  const drawIn = (token: TimelineToken | undefined): TimelineToken => {
    const isEarlier = token !== undefined && (token.order === 'topological' || token.position <= leftAt);
    return isEarlier ? token : { order: 'stream', position: leftAt };
  };
  return direction === 'b' ? { from: drawIn(from), to } : { from, to: drawIn(to) };
}

function startOf({ timeline }: RoomEventsNeeds, roomId: RoomId, direction: 'b' | 'f'): TimelineToken {
  const latest = direction === 'b' ? timeline.findLatest(roomId) : undefined;
  return latest === undefined
    ? { order: 'topological', depth: 0, position: STREAM_START }
    : timeline.tokenAt(latest, 'after');
}
