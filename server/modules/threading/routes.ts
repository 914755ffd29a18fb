import { route, type Route } from '../../http/route.ts';
import { roomId } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { forbidden, invalidParam } from '../../matrix/errors.ts';
import { formatTimelineToken } from '../../rooms/timeline-token.ts';
import type { Visibility } from '../../rooms/types.ts';
import type { ClientEventFormatter } from '../../sync/client-event.ts';
import type { SyncTokens } from '../../sync/token.ts';
import { listThreads, type ThreadingNeeds } from './service.ts';
import type { Place } from './store.ts';

export interface ThreadRouteNeeds extends ThreadingNeeds {
  readonly visibility: Pick<Visibility, 'filterVisible' | 'accessOf'>;
  readonly formatter: Pick<ClientEventFormatter, 'format'>;
  readonly tokens: Pick<SyncTokens, 'parsePlace'>;
}

/** Threads on a page, unless asked for fewer or more, and at most. */
const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 100;

/** Spec: client-server API, "Querying threads in a room"; the second path is from before it was stable. */
export function threadRoutes(needs: ThreadRouteNeeds): Route[] {
  return [
    route({
      method: 'GET',
      path: [
        '/_matrix/client/v1/rooms/:roomId/threads',
        '/_matrix/client/unstable/org.matrix.msc3856/rooms/:roomId/threads',
      ],
      auth: 'user',
      params: Type.Object({ roomId }),
      query: Type.Object({
        include: Type.Optional(Type.Union([Type.Literal('all'), Type.Literal('participated')])),
        limit: Type.Optional(Type.Integer({ minimum: 1 })),
        from: Type.Optional(Type.String()),
      }),
      handle: ({ requester, params, query }) => {
        if (needs.visibility.accessOf(requester.userId, params.roomId) === undefined) {
          throw forbidden('You are not allowed to view this room');
        }
        const { roots, end } = listThreads(needs, {
          viewer: requester.userId,
          roomId: params.roomId,
          from: query.from === undefined ? undefined : readPlace(needs, query.from),
          limit: Math.min(query.limit ?? DEFAULT_LIMIT, MAX_LIMIT),
          participated: query.include === 'participated',
        });
        const chunk = needs.formatter.format(roots, requester, { bundle: true });
        return end === undefined
          ? { chunk }
          : { chunk, next_batch: formatTimelineToken({ order: 'topological', ...end }) };
      },
    }),
  ];
}

function readPlace({ tokens }: ThreadRouteNeeds, text: string): Place {
  const token = tokens.parsePlace(text, 'from');
  if (token.order === 'stream') throw invalidParam('The query parameter from is no token of a list of threads');
  return token;
}
