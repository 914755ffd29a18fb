import Type from 'typebox';
import { route, type Route } from '../../http/route.ts';
import { eventId, roomId } from '../../http/schemas.ts';
import type { EventId, RoomId, UserId } from '../../matrix/identifiers.ts';
import type { ReadMarkers } from './service.ts';

/** Sets a receipt that is not about threads, for which this request saves a second one. */
export type SetReceipt = (roomId: RoomId, userId: UserId, type: 'm.read' | 'm.read.private', eventId: EventId) => void;

export function readMarkerRoutes({ markers, setReceipt }: { markers: ReadMarkers; setReceipt: SetReceipt }): Route[] {
  return [
    route({
      method: 'POST',
      path: '/_matrix/client/v3/rooms/:roomId/read_markers',
      auth: 'user',
      guests: true,
      params: Type.Object({ roomId }),
      body: Type.Object({
        'm.fully_read': Type.Optional(eventId),
        'm.read': Type.Optional(eventId),
        'm.read.private': Type.Optional(eventId),
      }),
      handle: ({ requester: { userId }, params, body }) => {
        const fullyRead = body['m.fully_read'];
        if (fullyRead !== undefined) markers.set(params.roomId, userId, fullyRead);
        for (const type of ['m.read', 'm.read.private'] as const) {
          const read = body[type];
          if (read !== undefined) setReceipt(params.roomId, userId, type, read);
        }
        return {};
      },
    }),
  ];
}
