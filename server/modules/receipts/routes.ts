import { route, type Route } from '../../http/route.ts';
import { eventId, roomId } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { invalidParam } from '../../matrix/errors.ts';
import type { EventId, RoomId, UserId } from '../../matrix/identifiers.ts';
import type { Receipts } from './service.ts';

/** Sets the m.fully_read marker, which is no receipt but may be set as if it were. */
export type SetFullyRead = (roomId: RoomId, userId: UserId, eventId: EventId) => void;

export function receiptRoutes({ receipts, setFullyRead }: { receipts: Receipts; setFullyRead: SetFullyRead }): Route[] {
  return [
    route({
      method: 'POST',
      path: '/_matrix/client/v3/rooms/:roomId/receipt/:receiptType/:eventId',
      auth: 'user',
      guests: true,
      params: Type.Object({
        roomId,
        receiptType: Type.Union([Type.Literal('m.read'), Type.Literal('m.read.private'), Type.Literal('m.fully_read')]),
        eventId,
      }),
      body: Type.Object({ thread_id: Type.Optional(Type.Unknown()) }),
      emptyBodyAllowed: true,
      handle: ({ requester, params, body }) => {
        const thread = body.thread_id;
        if (thread !== undefined && (typeof thread !== 'string' || thread === '')) {
          throw invalidParam('thread_id must be text that is not empty');
        }
        if (params.receiptType === 'm.fully_read') {
          if (thread !== undefined) throw invalidParam('m.fully_read is not about threads');
          setFullyRead(params.roomId, requester.userId, params.eventId);
        } else {
          receipts.set(params.roomId, requester.userId, params.receiptType, params.eventId, thread);
        }
        return {};
      },
    }),
  ];
}
