import { route, type Requester, type Route } from '../../../http/route.ts';
import { direction, eventId, limit, roomId } from '../../../http/schemas.ts';
import { Type } from '../../../http/type.ts';
import { notFound } from '../../../matrix/errors.ts';
import type { JsonObject, JsonValue } from '../../../matrix/json.ts';
import { formatTimelineToken } from '../../../rooms/timeline-token.ts';
import type { PersistedEvent } from '../../../rooms/types.ts';
import type { RoomEventFilter } from '../../../sync/filter.ts';
import type { History } from '../service/history.ts';
import type { RoomEventsNeeds } from '../service/needs.ts';

const DEFAULT_LIMIT = 10;
/** NOT-SPEC: no page has more, so that no request keeps the others waiting; the rest is behind `end`. */
const MAX_LIMIT = 250;
const NO_FILTER: RoomEventFilter = {};

/** Reading what was said (spec: client-server API, "Getting events for a room"). */
export function historyRoutes(needs: RoomEventsNeeds, history: History): Route[] {
  const { formatter, tokens, settings } = needs;
  const mostEvents = Math.min(MAX_LIMIT, settings.timelineLimit ?? MAX_LIMIT);
  return [
    route({
      method: 'GET',
      path: '/_matrix/client/v3/rooms/:roomId/messages',
      auth: 'user',
      guests: true,
      params: Type.Object({ roomId }),
      query: Type.Object({
        from: Type.Optional(Type.String()),
        to: Type.Optional(Type.String()),
        dir: direction,
        limit: Type.Optional(limit),
        filter: Type.Optional(Type.String()),
      }),
      handle: async ({ requester, params, query, signal }) => {
        const filter = query.filter === undefined ? NO_FILTER : history.readFilter(query.filter);
        const request = {
          requester,
          roomId: params.roomId,
          from: query.from === undefined ? undefined : tokens.parsePlace(query.from, 'from'),
          to: query.to === undefined ? undefined : tokens.parsePlace(query.to, 'to'),
          direction: query.dir,
          limit: Math.min(query.limit ?? DEFAULT_LIMIT, mostEvents),
          filter,
        };
        const { events, start, end } = await history.page(request, signal);
        const page: Record<string, JsonValue> = {
          start: query.from ?? formatTimelineToken(start),
          chunk: formatter.format(events, requester, { bundle: true }),
        };
        if (end !== undefined) page['end'] = formatTimelineToken(end);
        if (filter.lazyLoadMembers === true) page['state'] = showSpeakers(needs, events, requester);
        return page;
      },
    }),
    route({
      method: 'GET',
      path: '/_matrix/client/v3/rooms/:roomId/event/:eventId',
      auth: 'user',
      guests: true,
      params: Type.Object({ roomId, eventId }),
      handle: async ({ requester, params, signal }) => {
        const event = await history.findEvent(requester, params.roomId, params.eventId, signal);
        if (event === undefined) throw notFound('There is no such event that you may read');
        return formatter.formatOne(event, requester, { bundle: true });
      },
    }),
    route({
      method: 'GET',
      path: [
        '/_matrix/client/v1/rooms/:roomId/timestamp_to_event',
        // From before it was stable.
        '/_matrix/client/unstable/org.matrix.msc3030/rooms/:roomId/timestamp_to_event',
      ],
      auth: 'user',
      params: Type.Object({ roomId }),
      query: Type.Object({ ts: Type.Integer(), dir: direction }),
      handle: async ({ requester, params, query, signal }) => {
        const event = await history.getNearest(requester, params.roomId, query.ts, query.dir, signal);
        return { event_id: event.eventId, origin_server_ts: event.originServerTs };
      },
    }),
  ];
}

/**
 * The memberships of those who speak on a page, as they were at its first event (spec: "Lazy-loading room members"), or
 * at its last where somebody came only later.
 */
function showSpeakers(
  { events, state, formatter }: RoomEventsNeeds,
  page: readonly PersistedEvent[],
  requester: Requester,
): JsonObject[] {
  const states = [page.at(0), page.at(-1)].map((event) => event && state.stateAfter(event.eventId));
  const speakers = new Set(page.map((event) => event.sender));
  const memberships = [...speakers].flatMap((userId) => {
    const found = states.map((then) => then?.find('m.room.member', userId)).find((eventId) => eventId !== undefined);
    return found ?? [];
  });
  return formatter.format(events.listEvents(memberships), requester);
}
