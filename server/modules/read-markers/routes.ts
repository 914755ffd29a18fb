import { route, type Route } from '../../http/route.ts';
import { eventId, roomId, userId } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { forbidden, notFound } from '../../matrix/errors.ts';
import type { EventId, RoomId, UserId } from '../../matrix/identifiers.ts';
import type { Database } from '../../storage/types.ts';
import type { ReadMarkers } from './service.ts';

/** Sets a receipt that is not about threads, for which this request saves a second one. */
export type SetReceipt = (roomId: RoomId, userId: UserId, type: 'm.read' | 'm.read.private', eventId: EventId) => void;

export function readMarkerRoutes({
  db,
  markers,
  setReceipt,
}: {
  db: Pick<Database, 'write'>;
  markers: ReadMarkers;
  setReceipt: SetReceipt;
}): Route[] {
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
      handle: ({ requester, params, body }) => {
        // One write around them all: where one is refused, none is set.
        db.write(() => {
          const fullyRead = body['m.fully_read'];
          if (fullyRead !== undefined) markers.set(params.roomId, requester.userId, fullyRead);
          for (const type of ['m.read', 'm.read.private'] as const) {
            const read = body[type];
            if (read !== undefined) setReceipt(params.roomId, requester.userId, type, read);
          }
        });
        return {};
      },
    }),
    // Kept here rather than with other account data, but read in the same way.
    route({
      method: 'GET',
      path: '/_matrix/client/v3/user/:userId/rooms/:roomId/account_data/m.fully_read',
      auth: 'user',
      guests: true,
      params: Type.Object({ userId, roomId }),
      handle: ({ requester, params }) => {
        if (requester.userId !== params.userId) throw forbidden('Account data can only be read by their owner');
        const marked = markers.find(params.roomId, params.userId);
        if (marked === undefined) throw notFound('There is no marker in this room');
        return { event_id: marked };
      },
    }),
  ];
}
