import { route, type Route } from '../../../http/route.ts';
import { emptyObject, roomAlias, roomId } from '../../../http/schemas.ts';
import { Type } from '../../../http/type.ts';
import { forbidden, notFound } from '../../../matrix/errors.ts';
import type { Aliases } from '../service/aliases.ts';
import type { DirectoryNeeds } from '../service/needs.ts';
import type { RoomSummaries } from '../service/summaries.ts';

/** Spec: "Room aliases". */
export function aliasRoutes({
  aliases,
  members,
  summaries,
}: Pick<DirectoryNeeds, 'members'> & { readonly aliases: Aliases; readonly summaries: RoomSummaries }): Route[] {
  const path = '/_matrix/client/v3/directory/room/:roomAlias';
  const params = Type.Object({ roomAlias });
  return [
    route({
      method: 'PUT',
      path,
      auth: 'user',
      params,
      body: Type.Object({ room_id: roomId }),
      handle: ({ requester, params: { roomAlias: alias }, body }) => {
        aliases.create(requester, alias, body.room_id);
        return {};
      },
    }),
    route({
      method: 'GET',
      path,
      auth: 'none',
      params,
      handle: async ({ params: { roomAlias: alias } }) => {
        const target = await aliases.find(alias);
        if (target === undefined) throw notFound(`There is no room alias ${alias}`);
        return { room_id: target.roomId, servers: target.servers };
      },
    }),
    route({
      method: 'DELETE',
      path,
      auth: 'user',
      params,
      // Some clients send an empty body.
      body: emptyObject,
      emptyBodyAllowed: true,
      handle: async ({ requester, params: { roomAlias: alias } }) => {
        await aliases.delete(requester, alias);
        return {};
      },
    }),
    route({
      method: 'GET',
      path: [
        '/_matrix/client/v3/rooms/:roomId/aliases',
        // MSC2432, whose name clients used before the spec had one.
        '/_matrix/client/unstable/org.matrix.msc2432/rooms/:roomId/aliases',
      ],
      auth: 'user',
      params: Type.Object({ roomId }),
      handle: ({ requester, params: { roomId: room } }) => {
        const mayRead = members.isJoined(room, requester.userId) || summaries.find(room)?.worldReadable === true;
        if (!mayRead) throw forbidden('You are not in this room');
        return { aliases: aliases.list(room) };
      },
    }),
  ];
}
