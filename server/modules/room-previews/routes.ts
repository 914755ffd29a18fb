import { route, type Route } from '../../http/route.ts';
import { roomIdOrAlias } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import type { RoomPreviews } from './service.ts';

/** Spec: `GET /room_summary/{roomIdOrAlias}`, with or without an access token. */
export function previewRoutes(previews: RoomPreviews): Route[] {
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
      handle: ({ requester, params }) => previews.summarise(requester?.userId, params.roomIdOrAlias),
    }),
  ];
}
