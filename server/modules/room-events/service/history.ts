import type { Requester } from '../../../http/route.ts';
import { notFound } from '../../../matrix/errors.ts';
import type { EventId, RoomId, UserId } from '../../../matrix/identifiers.ts';
import type { PersistedEvent, TimelineToken } from '../../../rooms/types.ts';
import { STREAM_START } from '../../../storage/types.ts';
import { parseFilterText, parseRoomEventFilter, type RoomEventFilter } from '../../../sync/filter.ts';
import { eventMatcher, filterRelated } from '../../../sync/filter-match.ts';
import { checkAccess, type RoomAccess } from './access.ts';
import type { PastElsewhere, RoomEventsNeeds } from './needs.ts';

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

/** A page of what is held. */
interface HeldPage extends HistoryPage {
  /** What has been looked at: from where; and to where, or everything that way, or nothing at all. */
  readonly from: TimelineToken;
  readonly lookedTo: TimelineToken | 'all' | 'nothing';
}

/**
 * The history of rooms as one user may read it. What this server does not hold, it asks other servers of the room for,
 * unless `signal` says that nobody waits for it any more.
 */
export interface History {
  /**
   * A page of what the viewer may see and the filter lets through, without what users they ignore have sent (state
   * excepted). It may be shorter than `limit` and still have an end.
   * @throws MatrixError M_FORBIDDEN
   */
  page(request: HistoryRequest, signal?: AbortSignal): Promise<HistoryPage>;
  /** The event, if it is one of the room that the viewer may read. */
  findEvent(
    requester: Requester,
    roomId: RoomId,
    eventId: EventId,
    signal?: AbortSignal,
  ): Promise<PersistedEvent | undefined>;
  /**
   * The event the viewer may read that is nearest to a time (ms), in one direction.
   * @throws MatrixError M_FORBIDDEN, M_NOT_FOUND if there is none
   */
  getNearest(
    requester: Requester,
    roomId: RoomId,
    ts: number,
    direction: 'b' | 'f',
    signal?: AbortSignal,
  ): Promise<PersistedEvent>;
  /** Reads the `filter` of a query. @throws MatrixError M_NOT_JSON, M_BAD_JSON */
  readFilter(text: string): RoomEventFilter;
}

/** How often more is loaded to make up for events the viewer may not see. */
const MOST_ROUNDS = 5;
/** How often other servers are asked for one page. */
const MOST_FETCHES = 2;
const NEAREST_LIMIT = 100;
const NO_FILTER: RoomEventFilter = {};

export function roomHistory(needs: RoomEventsNeeds): History {
  const { events, timeline, visibility, relations, ignoredUsers, elsewhere } = needs;

  const isHeard = (viewer: UserId): ((event: PersistedEvent) => boolean) => {
    const ignored = ignoredUsers(viewer);
    return (event) => event.stateKey !== undefined || !ignored.has(event.sender);
  };

  const placeBehind = (event: PersistedEvent, direction: 'b' | 'f'): TimelineToken =>
    timeline.tokenAt(event, direction === 'b' ? 'before' : 'after');

  const pageOfHeld = (request: HistoryRequest): HeldPage => {
    const { requester, roomId, direction, limit, filter } = request;
    const access = checkAccess(needs, requester.userId, roomId);
    const { from, to } = withinStay(needs, access, request);
    const start = request.from ?? from ?? startOf(needs, roomId, direction);
    const matcher = eventMatcher(filter);
    const nothing: HeldPage = { events: [], start, end: undefined, from: start, lookedTo: 'nothing' };
    if (matcher.none || !matcher.allowsRoom(roomId)) return nothing;
    if (limit === 0) return { ...nothing, end: start };
    const pageTo = (end: TimelineToken | undefined, lookedTo: TimelineToken | 'all' | undefined = end): HeldPage => ({
      events: found,
      start,
      end,
      from: from ?? start,
      lookedTo: lookedTo ?? 'all',
    });

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
        return pageTo(placeBehind(last, direction));
      }
      if (loaded.end === undefined) {
        // Only an empty page is the last one: going forward there may be more by the time the client asks again.
        const lastLoaded = last === undefined ? undefined : (loaded.events.at(-1) ?? last);
        return pageTo(lastLoaded && placeBehind(lastLoaded, direction), 'all');
      }
      place = loaded.end;
      // A short page has an end where so many events were looked at that it is time to let others have their turn.
      if (round === MOST_ROUNDS || loaded.events.length < limit) return pageTo(place);
    }
  };

  const page: History['page'] = async (request, signal) => {
    let held = pageOfHeld(request);
    if (elsewhere === undefined) return held;
    const { roomId, limit } = request;
    for (let fetches = 0; fetches < MOST_FETCHES; fetches += 1) {
      const gap = findGap(needs, elsewhere, request, held);
      if (gap === undefined) return held;
      if (!(await elsewhere.backfill(roomId, { depth: gap }, limit, signal))) break;
      held = pageOfHeld(request);
    }
    if (request.direction === 'f' || held.end !== undefined) return held;
    // There is more, but not here, or not yet. A client that asks again once gets a token that differs; a second time it
    // gets the same, which tells it that for now this is the end.
    const gap = findGap(needs, elsewhere, request, held);
    // What nobody here may ever see is not waited for.
    if (gap === undefined || !elsewhere.mayFillBefore(roomId, gap)) return held;
    return { ...held, end: { order: 'topological', depth: gap, position: STREAM_START } };
  };

  const show = (requester: Requester, event: PersistedEvent): PersistedEvent | undefined =>
    visibility.filterVisible(requester.userId, [event])[0];

  return {
    page,

    findEvent: async (requester, roomId, eventId, signal) => {
      let event = events.findEvent(eventId);
      const isLacking = event === undefined || (event.roomId === roomId && event.outlier);
      if (isLacking && visibility.accessOf(requester.userId, roomId)?.kind === 'joined') {
        event = await elsewhere?.fetchEvent(roomId, eventId, signal);
      }
      if (event === undefined || event.roomId !== roomId || event.outlier || !isHeard(requester.userId)(event)) {
        return undefined;
      }
      return show(requester, event);
    },

    getNearest: async (requester, roomId, ts, direction, signal) => {
      checkAccess(needs, requester.userId, roomId);
      const held = timeline.findNearest(roomId, ts, direction);
      const nearest = (await fetchNearer(needs, { roomId, ts, direction, held }, signal)) ?? held;
      if (nearest !== undefined) {
        // Should the viewer not be allowed to see it, then the next one that way will have to do.
        const from = timeline.tokenAt(nearest, direction === 'f' ? 'before' : 'after');
        const next = pageOfHeld({ requester, roomId, from, direction, limit: NEAREST_LIMIT, filter: NO_FILTER });
        const [seen] = next.events;
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

/**
 * Where events are lacking within a page, or behind it if it is the last one: the depth of the event that follows them.
 * A gap just at the end of a page is for the next one.
 */
function findGap(
  { timeline }: RoomEventsNeeds,
  elsewhere: PastElsewhere,
  { roomId, to, direction }: HistoryRequest,
  { from, lookedTo }: HeldPage,
): number | undefined {
  if (lookedTo === 'nothing') return undefined;
  const depthAt = (token: TimelineToken): number => {
    if (token.order === 'topological') return token.depth;
    // What a gap lies before is the event this side of it: the one the token was given out for.
    const [next] = timeline.page({ roomId, from: token, direction: 'f', limit: 1 }).events;
    return next?.depth ?? (direction === 'b' ? Number.MAX_SAFE_INTEGER : 0);
  };
  const openEnd = direction === 'b' ? -1 : Number.MAX_SAFE_INTEGER;
  const last = lookedTo === 'all' ? to : lookedTo;
  const begin = depthAt(from);
  const stop = last === undefined ? openEnd : depthAt(last);
  const [low, high] = direction === 'b' ? [stop, begin] : [begin, stop];
  const gap = elsewhere.findGapBefore(roomId, high);
  return gap !== undefined && gap > low ? gap : undefined;
}

/** The event that is nearer to a time than the one that is held, if events are lacking between them. */
async function fetchNearer(
  { timeline, elsewhere }: RoomEventsNeeds,
  search: { roomId: RoomId; ts: number; direction: 'b' | 'f'; held: PersistedEvent | undefined },
  signal: AbortSignal | undefined,
): Promise<PersistedEvent | undefined> {
  const { roomId, ts, direction, held } = search;
  if (elsewhere === undefined || held?.originServerTs === ts) return undefined;
  const before = direction === 'b' ? held : timeline.findNearest(roomId, ts, 'b');
  const after = direction === 'f' ? held : timeline.findNearest(roomId, ts, 'f');
  const gap = elsewhere.findGapBefore(roomId, after?.depth ?? Number.MAX_SAFE_INTEGER);
  if (gap === undefined || gap <= (before?.depth ?? -1)) return undefined;
  const isNearer = (originServerTs: number): boolean =>
    held === undefined || Math.abs(originServerTs - ts) < Math.abs(held.originServerTs - ts);
  return elsewhere.fetchNearest(roomId, ts, direction, isNearer, signal);
}

function startOf({ timeline }: RoomEventsNeeds, roomId: RoomId, direction: 'b' | 'f'): TimelineToken {
  const latest = direction === 'b' ? timeline.findLatest(roomId) : undefined;
  return latest === undefined
    ? { order: 'topological', depth: 0, position: STREAM_START }
    : timeline.tokenAt(latest, 'after');
}
