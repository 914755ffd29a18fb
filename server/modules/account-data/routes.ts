import { route, type Route } from '../../http/route.ts';
import { eventType, jsonObject, roomId, userId } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { forbidden } from '../../matrix/errors.ts';
import type { UserId } from '../../matrix/identifiers.ts';
import type { AccountData } from './service.ts';

function checkOwn(requester: { userId: UserId }, of: UserId): void {
  if (requester.userId !== of) throw forbidden('Account data can only be read and set by their owner');
}

export function accountDataRoutes(accountData: AccountData): Route[] {
  const global = '/_matrix/client/v3/user/:userId/account_data/:type';
  const perRoom = '/_matrix/client/v3/user/:userId/rooms/:roomId/account_data/:type';
  // MSC3391, which is in no release of the spec.
  const unstable = '/_matrix/client/unstable/org.matrix.msc3391';
  const globalParams = Type.Object({ userId, type: eventType });
  const roomParams = Type.Object({ userId, roomId, type: eventType });
  return [
    route({
      method: 'PUT',
      path: global,
      auth: 'user',
      params: globalParams,
      body: jsonObject,
      handle: ({ requester, params, body }) => {
        checkOwn(requester, params.userId);
        accountData.set(params.userId, undefined, params.type, body);
        return {};
      },
    }),
    route({
      method: 'GET',
      path: global,
      auth: 'user',
      params: globalParams,
      handle: ({ requester, params }) => {
        checkOwn(requester, params.userId);
        return accountData.get(params.userId, undefined, params.type);
      },
    }),
    route({
      method: 'DELETE',
      path: `${unstable}/user/:userId/account_data/:type`,
      auth: 'user',
      params: globalParams,
      handle: ({ requester, params }) => {
        checkOwn(requester, params.userId);
        accountData.remove(params.userId, undefined, params.type);
        return {};
      },
    }),
    route({
      method: 'DELETE',
      path: `${unstable}/user/:userId/rooms/:roomId/account_data/:type`,
      auth: 'user',
      params: roomParams,
      handle: ({ requester, params }) => {
        checkOwn(requester, params.userId);
        accountData.remove(params.userId, params.roomId, params.type);
        return {};
      },
    }),
    route({
      method: 'PUT',
      path: perRoom,
      auth: 'user',
      params: roomParams,
      body: jsonObject,
      handle: ({ requester, params, body }) => {
        checkOwn(requester, params.userId);
        accountData.set(params.userId, params.roomId, params.type, body);
        return {};
      },
    }),
    route({
      method: 'GET',
      path: perRoom,
      auth: 'user',
      params: roomParams,
      handle: ({ requester, params }) => {
        checkOwn(requester, params.userId);
        return accountData.get(params.userId, params.roomId, params.type);
      },
    }),
  ];
}
