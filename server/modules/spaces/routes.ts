import type { RateLimit } from '../../http/rate-limit.ts';
import { route, type Route } from '../../http/route.ts';
import { roomId } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import type { HierarchyForServers } from './service/for-servers.ts';
import type { Hierarchy } from './service/hierarchy.ts';

/** Spec: client-server API and server-server API, "Spaces". */
export function spaceRoutes({
  hierarchy,
  forServers,
  limit,
}: {
  hierarchy: Hierarchy;
  forServers: HierarchyForServers;
  limit: RateLimit;
}): Route[] {
  return [
    route({
      method: 'GET',
      path: '/_matrix/client/v1/rooms/:roomId/hierarchy',
      auth: 'user',
      guests: true,
      params: Type.Object({ roomId }),
      query: Type.Object({
        suggested_only: Type.Optional(Type.Boolean()),
        limit: Type.Optional(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER })),
        max_depth: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
        from: Type.Optional(Type.String()),
      }),
      handle: ({ requester, params, query, signal }) => {
        limit.checkFor(requester, requester.userId);
        return hierarchy.page(
          requester.userId,
          params.roomId,
          {
            suggestedOnly: query.suggested_only ?? false,
            maxDepth: query.max_depth,
            limit: query.limit,
            from: query.from,
          },
          signal,
        );
      },
    }),
    route({
      method: 'GET',
      path: '/_matrix/federation/v1/hierarchy/:roomId',
      auth: 'server',
      params: Type.Object({ roomId }),
      query: Type.Object({ suggested_only: Type.Optional(Type.Boolean()) }),
      handle: ({ origin, params, query }) => forServers.describe(origin, params.roomId, query.suggested_only ?? false),
    }),
  ];
}
