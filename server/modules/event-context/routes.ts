import { setImmediate } from 'node:timers/promises';
import { route, type Requester, type Route } from '../../http/route.ts';
import { eventId, limit, roomId } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { forbidden, notFound } from '../../matrix/errors.ts';
import { splitStateKey } from '../../matrix/events/event.ts';
import type { EventId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import { formatTimelineToken } from '../../rooms/timeline-token.ts';
import type {
  EventReader,
  PersistedEvent,
  RoomState,
  StateReader,
  Timeline,
  TimelineToken,
  Visibility,
} from '../../rooms/types.ts';
import type { ClientEventFormatter } from '../../sync/client-event.ts';
import { emptyFilter, type RoomEventFilter } from '../../sync/filter.ts';
import { eventMatcher } from '../../sync/filter-match.ts';

/** The history of a room as one user may read it. */
export interface History {
  /** A page in the direction asked for: visible to the viewer, let through by the filter, nobody's whom they ignore. */
  page(
    request: {
      readonly requester: Requester;
      readonly roomId: PersistedEvent['roomId'];
      readonly from: TimelineToken;
      readonly direction: 'b' | 'f';
      readonly limit: number;
      readonly filter: RoomEventFilter;
    },
    signal: AbortSignal,
  ): Promise<{ readonly events: readonly PersistedEvent[]; readonly end: TimelineToken | undefined }>;
  /** The event, if the user may read it. */
  findEvent(
    requester: Requester,
    roomId: PersistedEvent['roomId'],
    eventId: PersistedEvent['eventId'],
    signal: AbortSignal,
  ): Promise<PersistedEvent | undefined>;
  /** Reads the `filter` of a query. @throws MatrixError M_NOT_JSON, M_BAD_JSON */
  readFilter(text: string): RoomEventFilter;
}

export interface EventContextNeeds {
  readonly history: History;
  readonly events: Pick<EventReader, 'listEvents'>;
  readonly state: Pick<StateReader, 'stateAfter'>;
  readonly timeline: Pick<Timeline, 'tokenAt'>;
  readonly visibility: Pick<Visibility, 'accessOf'>;
  readonly formatter: Pick<ClientEventFormatter, 'format' | 'formatOne'>;
}

const DEFAULT_LIMIT = 10;
const MAX_LIMIT = 100;
/** State events formatted in one go; others get their turn after each. */
const SLICE = 250;

/** Spec: client-server API, "Event Context". */
export function contextRoutes(needs: EventContextNeeds): Route[] {
  const { history, timeline, visibility, formatter } = needs;
  return [
    route({
      method: 'GET',
      path: '/_matrix/client/v3/rooms/:roomId/context/:eventId',
      auth: 'user',
      guests: true,
      params: Type.Object({ roomId, eventId }),
      query: Type.Object({ limit: Type.Optional(limit), filter: Type.Optional(Type.String()) }),
      handle: async ({ requester, params, query, signal }) => {
        if (visibility.accessOf(requester.userId, params.roomId) === undefined) {
          throw forbidden('You are not in this room');
        }
        const filter = query.filter === undefined ? emptyFilter.room.timeline : history.readFilter(query.filter);
        const event = await history.findEvent(requester, params.roomId, params.eventId, signal);
        if (event === undefined) throw notFound('There is no such event that you may read');
        const most = Math.min(query.limit ?? DEFAULT_LIMIT, MAX_LIMIT);
        const page = (direction: 'b' | 'f', from: TimelineToken, count: number) =>
          history.page({ requester, roomId: params.roomId, from, direction, limit: count, filter }, signal);
        const justBefore = timeline.tokenAt(event, 'before');
        const justAfter = timeline.tokenAt(event, 'after');
        const before = await page('b', justBefore, Math.floor(most / 2));
        const after = await page('f', justAfter, most - Math.floor(most / 2));

        const [first, last] = [before.events.at(-1), after.events.at(-1)];
        const shown = { requester, filter, around: [...before.events, event, ...after.events] };
        return {
          start: formatTimelineToken(first === undefined ? justBefore : timeline.tokenAt(first, 'before')),
          end: formatTimelineToken(last === undefined ? justAfter : timeline.tokenAt(last, 'after')),
          events_before: formatter.format(before.events, requester, { bundle: true }),
          event: formatter.formatOne(event, requester, { bundle: true }),
          events_after: formatter.format(after.events, requester, { bundle: true }),
          state: await showState(needs, needs.state.stateAfter((last ?? event).eventId), shown),
        };
      },
    }),
  ];
}

/** The state at the last event, as the filter wants it; with lazy-loading only the members who speak. */
async function showState(
  { events, formatter }: EventContextNeeds,
  state: RoomState | undefined,
  shown: { requester: Requester; filter: RoomEventFilter; around: readonly PersistedEvent[] },
): Promise<JsonObject[]> {
  const matcher = eventMatcher(shown.filter);
  if (state === undefined || matcher.none) return [];
  const senders = new Set<string>(shown.around.map((event) => event.sender));
  const wanted: EventId[] = [];
  for (const [key, eventId] of state.entries()) {
    const { type, stateKey } = splitStateKey(key);
    if (!matcher.allowsType(type)) continue;
    if (shown.filter.lazyLoadMembers !== true || type !== 'm.room.member' || senders.has(stateKey)) {
      wanted.push(eventId);
    }
  }
  const formatted: JsonObject[] = [];
  for (let at = 0; at < wanted.length; at += SLICE) {
    if (at > 0) await setImmediate();
    const slice = events.listEvents(wanted.slice(at, at + SLICE)).filter((event) => matcher.matches(event));
    formatted.push(...formatter.format(slice, shown.requester));
  }
  return formatted;
}
