import type { RateLimit } from '../../http/rate-limit.ts';
import { route, type Route } from '../../http/route.ts';
import { roomIdOrAlias } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { isServerName } from '../../matrix/identifiers.ts';
import type { RoomPreviews } from './service.ts';

/** What a question of somebody who is not logged in counts, to the limit of their address. */
const ANONYMOUS_COST = 5;

/** Spec: `GET /room_summary/{roomIdOrAlias}`, with or without an access token. */
export function previewRoutes(previews: RoomPreviews, askingLimit: RateLimit): Route[] {
  return [
    route({
      method: 'GET',
      path: [
        '/_matrix/client/v1/room_summary/:roomIdOrAlias',
        // MSC3266, whose names clients use until they know the spec's.
        '/_matrix/client/unstable/im.nheko.summary/summary/:roomIdOrAlias',
        '/_matrix/client/unstable/im.nheko.summary/rooms/:roomIdOrAlias/summary',
      ],
      auth: 'optional',
      guests: true,
      params: Type.Object({ roomIdOrAlias }),
      query: Type.Object({ via: Type.Optional(Type.Array(Type.String())) }),
      handle: ({ requester, params, query, ip }) =>
        previews.summarise(requester?.userId, params.roomIdOrAlias, {
          // Names that are none cannot be asked.
          via: (query.via ?? []).filter(isServerName),
          beforeAsking: () => {
            if (requester === undefined) askingLimit.check(ip, ANONYMOUS_COST);
            else askingLimit.checkFor(requester, requester.userId);
          },
        }),
    }),
  ];
}
