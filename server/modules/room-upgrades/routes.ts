import { route, type Route } from '../../http/route.ts';
import { roomId, userId } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import type { RoomUpgrades } from './service/upgrade.ts';

/** Spec: `POST /rooms/{roomId}/upgrade`. */
export function upgradeRoutes(upgrades: RoomUpgrades): Route[] {
  return [
    route({
      method: 'POST',
      path: '/_matrix/client/v3/rooms/:roomId/upgrade',
      auth: 'user',
      params: Type.Object({ roomId }),
      body: Type.Object({
        new_version: Type.String(),
        additional_creators: Type.Optional(Type.Union([Type.Array(userId), Type.Null()])),
      }),
      handle: async ({ requester, params, body }) => ({
        replacement_room: await upgrades.upgrade(requester, {
          roomId: params.roomId,
          version: body.new_version,
          additionalCreators: body.additional_creators ?? [],
        }),
      }),
    }),
  ];
}
