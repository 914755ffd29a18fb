import { route, type Route } from '../../http/route.ts';
import { durationMs, roomId, userId } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { forbidden } from '../../matrix/errors.ts';
import type { Typing } from './service.ts';

export function typingRoutes(typing: Typing): Route[] {
  return [
    route({
      method: 'PUT',
      path: '/_matrix/client/v3/rooms/:roomId/typing/:userId',
      auth: 'user',
      params: Type.Object({ roomId, userId }),
      body: Type.Object({ typing: Type.Boolean(), timeout: Type.Optional(durationMs) }),
      handle: ({ requester, params, body }) => {
        if (requester.userId !== params.userId) throw forbidden('You can only say of yourself that you are typing');
        typing.set(params.roomId, params.userId, body.typing, body.timeout);
        return {};
      },
    }),
  ];
}
