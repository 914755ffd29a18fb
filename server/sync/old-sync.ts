import type { Route } from '../http/route.ts';
import { route } from '../http/route.ts';
import { eventId, roomId } from '../http/schemas.ts';
import { Type } from '../http/type.ts';
import { MatrixError, notFound } from '../matrix/errors.ts';
import { Deadline } from './notifier.ts';
import { eventStream } from './old-event-stream.ts';
import { initialSync, roomInitialSync } from './old-initial-sync.ts';
import { whilePresent } from './routes.ts';
import { checkReadable, type OldSyncNeeds } from './old-sync-parts.ts';

const DEFAULT_LIMIT = 10;
/** Events of one answer of /events, unless asked for fewer. */
const MOST_STREAM_EVENTS = 100;
const DEFAULT_TIMEOUT_MS = 30_000;

const limit = Type.Optional(Type.Integer({ minimum: 0 }));

/**
 * The deprecated operations that came before /sync (spec: old_sync, peeking_events, room_initial_sync), made of the same
 * windows and contributions.
 */
export function oldSyncRoutes(needs: OldSyncNeeds): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/_matrix/client/v3/initialSync',
      auth: 'user',
      query: Type.Object({ limit, archived: Type.Optional(Type.Boolean()) }),
      handle: ({ requester, query }) => initialSync(needs, requester, cap(needs, query.limit), query.archived ?? false),
    }),
    route({
      method: 'GET',
      path: '/_matrix/client/v3/rooms/:roomId/initialSync',
      auth: 'user',
      guests: true,
      params: Type.Object({ roomId }),
      query: Type.Object({ limit }),
      handle: ({ requester, params, query }) =>
        roomInitialSync(needs, requester, params.roomId, cap(needs, query.limit)),
    }),
    route({
      method: 'GET',
      path: '/_matrix/client/v3/events',
      auth: 'user',
      guests: true,
      query: Type.Object({
        from: Type.Optional(Type.String()),
        timeout: Type.Optional(Type.Integer({ minimum: 0 })),
        room_id: Type.Optional(roomId),
        limit: Type.Optional(Type.Integer({ minimum: 1 })),
      }),
      handle: ({ requester, query, signal }) => {
        if (requester.isGuest && query.room_id === undefined) {
          throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests have to name a room', { status: 403 });
        }
        if (query.room_id !== undefined) checkReadable(needs, requester, query.room_id);
        // Old clients have an empty one where they mean none.
        const from = (query.from ?? '') === '' ? undefined : needs.tokens.parse(query.from ?? '', 'from');
        const deadline = new Deadline(needs.clock, query.timeout ?? DEFAULT_TIMEOUT_MS);
        const most = Math.min(query.limit ?? MOST_STREAM_EVENTS, MOST_STREAM_EVENTS);
        return whilePresent(needs.presence, requester, undefined, () =>
          eventStream(needs, { requester, from, roomId: query.room_id, limit: most }, deadline, signal),
        );
      },
    }),
    route({
      method: 'GET',
      path: '/_matrix/client/v3/events/:eventId',
      auth: 'user',
      params: Type.Object({ eventId }),
      handle: ({ requester, params }) => {
        const event = needs.events.findEvent(params.eventId);
        const readable =
          event !== undefined &&
          event.verdict === 'accepted' &&
          !event.outlier &&
          needs.visibility.canSee(requester.userId, event);
        if (!readable) throw notFound('There is no such event that you may read');
        return needs.formatter.formatOne(event, requester, { bundle: true });
      },
    }),
  ];
}

function cap({ timelineLimit }: OldSyncNeeds, asked: number | undefined): number {
  return Math.min(asked ?? DEFAULT_LIMIT, timelineLimit ?? Number.MAX_SAFE_INTEGER);
}
