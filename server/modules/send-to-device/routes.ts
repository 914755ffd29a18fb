import { route, type Route } from '../../http/route.ts';
import { eventType, jsonObject, mapByUser, mapOf, nonEmptyText } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import type { ToDevice } from './service.ts';

/** A key for every device of a large room has to fit. */
const MAX_BODY_BYTES = 8 * 1024 * 1024;

export function sendToDeviceRoutes(toDevice: ToDevice): Route[] {
  return [
    route({
      method: 'PUT',
      path: '/_matrix/client/v3/sendToDevice/:eventType/:txnId',
      auth: 'user',
      guests: true,
      params: Type.Object({ eventType, txnId: nonEmptyText(512) }),
      body: Type.Object({ messages: mapByUser(mapOf(jsonObject)) }),
      bodyLimit: MAX_BODY_BYTES,
      handle: ({ requester, params, body }) => {
        toDevice.send({
          sender: requester.userId,
          deviceId: requester.deviceId,
          transactionId: params.txnId,
          type: params.eventType,
          messages: body.messages,
        });
        return {};
      },
    }),
  ];
}
