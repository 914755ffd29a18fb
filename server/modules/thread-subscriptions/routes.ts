import { route, type Route } from '../../http/route.ts';
import { eventId, roomId } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { type Database, STREAM_START, type StreamPosition } from '../../storage/types.ts';
import { parsePlace, type ThreadSubscriptions } from './service.ts';

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 512;

/** Following threads (MSC4306), and the list of those one follows (MSC4308). */
export function threadSubscriptionRoutes({
  db,
  subscriptions,
  positionOf,
}: {
  readonly db: Pick<Database, 'position'>;
  readonly subscriptions: ThreadSubscriptions;
  /** Reads positions of sliding sync, from which the list may be asked for too. @throws MatrixError M_INVALID_PARAM */
  readonly positionOf: (token: string) => StreamPosition;
}): Route[] {
  const path = '/_matrix/client/unstable/io.element.msc4306/rooms/:roomId/thread/:rootId/subscription';
  const params = Type.Object({ roomId, rootId: eventId });
  const readToken = (token: string): StreamPosition => parsePlace(token) ?? positionOf(token);
  return [
    route({
      method: 'GET',
      path,
      auth: 'user',
      params,
      handle: async ({ requester, params: { roomId: room, rootId }, signal }) => {
        const { automatic } = await subscriptions.get(requester, room, rootId, signal);
        return { automatic };
      },
    }),
    route({
      method: 'PUT',
      path,
      auth: 'user',
      params,
      body: Type.Object({ automatic: Type.Optional(Type.Union([eventId, Type.Null()])) }),
      handle: async ({ requester, params: { roomId: room, rootId }, body, signal }) => {
        const cause = body.automatic ?? undefined;
        await subscriptions.subscribe(requester, { roomId: room, rootId, cause }, signal);
        return {};
      },
    }),
    route({
      method: 'DELETE',
      path,
      auth: 'user',
      params,
      handle: async ({ requester, params: { roomId: room, rootId }, signal }) => {
        await subscriptions.unsubscribe(requester, room, rootId, signal);
        return {};
      },
    }),
    route({
      method: 'GET',
      path: '/_matrix/client/unstable/io.element.msc4308/thread_subscriptions',
      auth: 'user',
      query: Type.Object({
        dir: Type.Literal('b'),
        limit: Type.Optional(Type.Integer({ minimum: 1 })),
        // The end nearer to now; what it stands for is among what is listed. `to` is not.
        from: Type.Optional(Type.String()),
        to: Type.Optional(Type.String()),
      }),
      handle: ({ requester, query }) => {
        const now = query.from === undefined ? db.position() : readToken(query.from);
        const since = query.to === undefined ? STREAM_START : readToken(query.to);
        const limit = Math.min(query.limit ?? DEFAULT_LIMIT, MAX_LIMIT);
        const { subscribed, unsubscribed, prevBatch } = subscriptions.changesSince(requester.userId, since, now, limit);
        return {
          ...(Object.keys(subscribed).length === 0 ? {} : { subscribed }),
          ...(Object.keys(unsubscribed).length === 0 ? {} : { unsubscribed }),
          ...(prevBatch === undefined ? {} : { end: prevBatch }),
        };
      },
    }),
  ];
}
