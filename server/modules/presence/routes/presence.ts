import { route, type Route } from '../../../http/route.ts';
import { text, userId } from '../../../http/schemas.ts';
import { Type } from '../../../http/type.ts';
import { forbidden } from '../../../matrix/errors.ts';
import { MAX_STATUS_BYTES, type Presence } from '../service/presence.ts';

export function presenceRoutes(presence: Presence): Route[] {
  const path = '/_matrix/client/v3/presence/:userId/status';
  const params = Type.Object({ userId });
  return [
    route({
      method: 'GET',
      path,
      auth: 'user',
      params,
      handle: ({ requester, params: { userId: whose } }) => presence.read(requester.userId, whose),
    }),
    route({
      method: 'PUT',
      path,
      auth: 'user',
      params,
      body: Type.Object({
        presence: Type.Union([Type.Literal('online'), Type.Literal('offline'), Type.Literal('unavailable')]),
        status_msg: Type.Optional(Type.Union([text(MAX_STATUS_BYTES), Type.Null()])),
      }),
      handle: ({ requester, params: { userId: whose }, body }) => {
        if (requester.userId !== whose) throw forbidden('You can only set your own presence');
        presence.set(requester, body.presence, body.status_msg ?? undefined);
        return {};
      },
    }),
  ];
}
