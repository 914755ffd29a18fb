import { Readable } from 'node:stream';
import { Reply, route, type Route } from '../../http/route.ts';
import { direction, eventId, roomId } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import type { Retrieval, SlicedList } from './service.ts';

/** The most events of one answer to /backfill and /get_missing_events, whatever is asked for. */
const MOST_BACKFILLED = 100;
const MOST_MISSING = 20;
const DEFAULT_MISSING = 10;
/** How many events one may go back from: forward extremities are few, and no query is longer. */
const MOST_POINTS = 100;
/** How many events a server may say that it has. */
const MOST_ENDS = 1_000;

const count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

/** Reading the graph and the state of rooms (spec: server-server API). */
export function retrievalRoutes(service: Retrieval): Route[] {
  return [
    route({
      method: 'GET',
      path: '/_matrix/federation/v1/event/:eventId',
      auth: 'server',
      params: Type.Object({ eventId }),
      handle: ({ origin, params }) => service.getEvent(origin, params.eventId),
    }),
    route({
      method: 'GET',
      path: '/_matrix/federation/v1/state/:roomId',
      auth: 'server',
      params: Type.Object({ roomId }),
      query: Type.Object({ event_id: eventId }),
      handle: ({ origin, params, query }) => streamed(service.getState(origin, params.roomId, query.event_id)),
    }),
    route({
      method: 'GET',
      path: '/_matrix/federation/v1/state_ids/:roomId',
      auth: 'server',
      params: Type.Object({ roomId }),
      query: Type.Object({ event_id: eventId }),
      handle: ({ origin, params, query }) => streamed(service.getStateIds(origin, params.roomId, query.event_id)),
    }),
    route({
      method: 'GET',
      path: '/_matrix/federation/v1/event_auth/:roomId/:eventId',
      auth: 'server',
      params: Type.Object({ roomId, eventId }),
      handle: ({ origin, params }) => streamed(service.getAuthChain(origin, params.roomId, params.eventId)),
    }),
    route({
      method: 'GET',
      path: '/_matrix/federation/v1/backfill/:roomId',
      auth: 'server',
      params: Type.Object({ roomId }),
      query: Type.Object({ v: Type.Array(eventId, { maxItems: MOST_POINTS }), limit: count }),
      handle: ({ origin, params, query }) =>
        service.listBackwards(origin, params.roomId, query.v, Math.min(query.limit, MOST_BACKFILLED)),
    }),
    route({
      method: 'POST',
      path: '/_matrix/federation/v1/get_missing_events/:roomId',
      auth: 'server',
      params: Type.Object({ roomId }),
      body: Type.Object({
        limit: Type.Optional(count),
        min_depth: Type.Optional(count),
        earliest_events: Type.Optional(Type.Array(eventId, { maxItems: MOST_ENDS })),
        // NOT-SPEC: both are required there; a question without them is answered with nothing, as ever.
        latest_events: Type.Optional(Type.Array(eventId, { maxItems: MOST_ENDS })),
      }),
      handle: ({ origin, params, body }) => ({
        events: service.listMissing(origin, params.roomId, {
          earliest: body.earliest_events ?? [],
          // More than a few would only be a way to make us look for long.
          latest: (body.latest_events ?? []).slice(0, MOST_POINTS),
          limit: Math.min(body.limit ?? DEFAULT_MISSING, MOST_MISSING),
          minDepth: body.min_depth ?? 0,
        }),
      }),
    }),
    route({
      method: 'GET',
      path: '/_matrix/federation/v1/timestamp_to_event/:roomId',
      auth: 'server',
      params: Type.Object({ roomId }),
      query: Type.Object({ ts: Type.Integer(), dir: direction }),
      handle: ({ origin, params, query }) => {
        const event = service.getNearest(origin, params.roomId, query.ts, query.dir);
        return { event_id: event.eventId, origin_server_ts: event.originServerTs };
      },
    }),
  ];
}

/** A JSON object of lists that are made while it is sent: they may be of any length. */
function streamed(lists: readonly SlicedList[]): Reply {
  return new Reply({
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
    body: Readable.from(jsonOf(lists), { objectMode: false }),
  });
}

async function* jsonOf(lists: readonly SlicedList[]): AsyncGenerator<string, void, undefined> {
  let opening = '{';
  for (const [name, slices] of lists) {
    yield `${opening}${JSON.stringify(name)}:[`;
    let separator = '';
    for await (const slice of slices) {
      if (slice.length === 0) continue;
      yield separator + slice.join(',');
      separator = ',';
    }
    opening = '],';
  }
  yield lists.length === 0 ? '{}' : ']}';
}
