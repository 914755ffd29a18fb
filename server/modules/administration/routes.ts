import { type Requester, route, type Route } from '../../http/route.ts';
import { userId } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { forbidden, notFound } from '../../matrix/errors.ts';
import type { UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { AdministrationNeeds } from './needs.ts';
import { checkMayAdminister, type Moderation } from './service.ts';

const userParams = Type.Object({ userId });

/** Under its own name, and under that by which the proposal was tried out (MSC4323). */
function moderationPaths(action: string): string[] {
  return ['/_matrix/client/v1/admin', '/_matrix/client/unstable/uk.timedout.msc4323/admin'].map(
    (prefix) => `${prefix}/${action}/:userId`,
  );
}

/** Spec: client-server API, "Server administration". */
export function administrationRoutes(needs: AdministrationNeeds & { readonly moderation: Moderation }): Route[] {
  const { serverName, accounts, devices, moderation } = needs;

  function checkMayLookUp(requester: Requester, user: UserId): void {
    if (requester.userId === user) return;
    if (!requester.isAdmin) throw forbidden('You can look up nobody but yourself');
    checkMayAdminister(requester, user, serverName);
    if (accounts.find(user) === undefined) throw notFound('There is no such user');
  }

  return [
    route({
      method: 'GET',
      path: '/_matrix/client/v3/admin/whois/:userId',
      auth: 'user',
      params: userParams,
      handle: ({ requester, params }) => {
        checkMayLookUp(requester, params.userId);
        return { user_id: params.userId, devices: describeDevices(devices, params.userId) };
      },
    }),
    route({
      method: 'GET',
      path: moderationPaths('suspend'),
      auth: 'user',
      params: userParams,
      handle: ({ requester, params }) => ({
        suspended: moderation.isTaken(requester, params.userId, 'suspended'),
      }),
    }),
    route({
      method: 'PUT',
      path: moderationPaths('suspend'),
      auth: 'user',
      params: userParams,
      body: Type.Object({ suspended: Type.Boolean() }),
      handle: ({ requester, params, body: { suspended } }) => {
        moderation.set(requester, params.userId, 'suspended', suspended);
        return { suspended };
      },
    }),
    route({
      method: 'GET',
      path: moderationPaths('lock'),
      auth: 'user',
      params: userParams,
      handle: ({ requester, params }) => ({ locked: moderation.isTaken(requester, params.userId, 'locked') }),
    }),
    route({
      method: 'PUT',
      path: moderationPaths('lock'),
      auth: 'user',
      params: userParams,
      body: Type.Object({ locked: Type.Boolean() }),
      handle: ({ requester, params, body: { locked } }) => {
        moderation.set(requester, params.userId, 'locked', locked);
        return { locked };
      },
    }),
  ];
}

/** Where each device was seen. A device has one session here: that which its access token is of. */
function describeDevices(devices: AdministrationNeeds['devices'], user: UserId): JsonObject {
  const connections = Map.groupBy(devices.listConnections(user), ({ deviceId }) => deviceId);
  return Object.fromEntries(
    devices.list(user).map(({ deviceId }) => [
      deviceId,
      {
        sessions: [
          {
            connections: (connections.get(deviceId) ?? []).map(({ ip, userAgent, lastSeenMs }) => ({
              ip,
              last_seen: lastSeenMs,
              user_agent: userAgent,
            })),
          },
        ],
      },
    ]),
  );
}
