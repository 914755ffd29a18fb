import { type Requester, route, type Route } from '../../http/route.ts';
import { emptyObject, jsonObject, roomId, roomIdOrAlias, userId } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { badJson, missingParam } from '../../matrix/errors.ts';
import { isServerName, type RoomId, type ServerName, type UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { MembershipReader, PersistedEvent } from '../../rooms/types.ts';
import type { ThirdPartySigned } from './service/joins.ts';
import type { MembershipParts } from './service/membership.ts';
import type { ChangeOptions } from './service/places.ts';

const text = Type.Optional(Type.String());
/** Null is what some clients send for "no reason". */
const reason = Type.Optional(Type.Union([Type.String(), Type.Null()]));
const thirdPartySigned = Type.Unsafe<ThirdPartySigned>(
  Type.Object({ sender: userId, mxid: userId, token: Type.String(), signatures: jsonObject }),
);

/** Where to ask about a room; `server_name` is what older clients write. Names that are none cannot be asked. */
const via = Type.Object({
  via: Type.Optional(Type.Array(Type.String())),
  server_name: Type.Optional(Type.Array(Type.String())),
});

function serversIn(query: { readonly via?: string[]; readonly server_name?: string[] }): readonly ServerName[] {
  return (query.via ?? query.server_name ?? []).filter(isServerName);
}

function reasonIn(body: { readonly reason?: string | null }): ChangeOptions {
  return typeof body.reason === 'string' ? { content: { reason: body.reason } } : {};
}

/** Joining, inviting, leaving, and what members do to each other (spec: "Room membership"). */
export function membershipRoutes(
  { joins, invites, departures }: MembershipParts,
  members: Pick<MembershipReader, 'listRoomsOf'>,
): Route[] {
  const params = Type.Object({ roomId });

  type Moderation = (by: Requester, room: RoomId, target: UserId, options: ChangeOptions) => Promise<PersistedEvent>;
  const moderation = (action: string, apply: Moderation): Route =>
    route({
      method: 'POST',
      path: `/_matrix/client/v3/rooms/:roomId/${action}`,
      auth: 'user',
      params,
      body: Type.Object({ user_id: userId, reason }),
      handle: async ({ requester, params: { roomId: room }, body }) => {
        await apply(requester, room, body.user_id, reasonIn(body));
        return {};
      },
    });

  return [
    route({
      method: 'GET',
      path: '/_matrix/client/v3/joined_rooms',
      auth: 'user',
      guests: true,
      handle: ({ requester }) => ({
        joined_rooms: members.listRoomsOf(requester.userId, ['join']).map((member) => member.roomId),
      }),
    }),

    route({
      method: 'POST',
      path: '/_matrix/client/v3/rooms/:roomId/join',
      auth: 'user',
      guests: true,
      params,
      body: Type.Object({ reason, third_party_signed: Type.Optional(thirdPartySigned) }),
      emptyBodyAllowed: true,
      handle: async ({ requester, params: { roomId: room }, body }) => ({
        room_id: await joins.join(requester, room, {
          ...reasonIn(body),
          thirdPartySigned: body.third_party_signed,
        }),
      }),
    }),

    route({
      method: 'POST',
      path: '/_matrix/client/v3/join/:roomIdOrAlias',
      auth: 'user',
      guests: true,
      params: Type.Object({ roomIdOrAlias }),
      query: via,
      body: Type.Object({ third_party_signed: Type.Optional(thirdPartySigned) }),
      emptyBodyAllowed: true,
      handle: async ({ requester, params: target, query, body }) => {
        // Further keys become part of the membership, as clients have come to expect here.
        const { third_party_signed: signed, ...content }: JsonObject & { third_party_signed?: ThirdPartySigned } = body;
        const options = { via: serversIn(query), thirdPartySigned: signed, content };
        return { room_id: await joins.join(requester, target.roomIdOrAlias, options) };
      },
    }),

    route({
      method: 'POST',
      path: '/_matrix/client/v3/knock/:roomIdOrAlias',
      auth: 'user',
      params: Type.Object({ roomIdOrAlias }),
      query: via,
      body: Type.Object({ reason }),
      emptyBodyAllowed: true,
      handle: async ({ requester, params: target, query, body }) => ({
        room_id: await joins.knock(requester, target.roomIdOrAlias, { ...reasonIn(body), via: serversIn(query) }),
      }),
    }),

    route({
      method: 'POST',
      path: '/_matrix/client/v3/rooms/:roomId/invite',
      auth: 'user',
      params,
      body: Type.Object({
        user_id: Type.Optional(userId),
        reason,
        medium: text,
        address: text,
        id_server: text,
        id_access_token: text,
      }),
      handle: async ({ requester, params: { roomId: room }, body }) => {
        const { user_id: invitee, medium, address, id_server: idServer, id_access_token: idAccessToken } = body;
        if (medium !== undefined && address !== undefined) {
          if (idServer === undefined || idAccessToken === undefined) {
            throw missingParam('An invite by address needs id_server and id_access_token');
          }
          await invites.inviteByAddress(requester, room, { medium, address, idServer, idAccessToken });
          return {};
        }
        if (invitee === undefined) throw badJson('The key user_id is missing from the body');
        await invites.invite(requester, room, invitee, reasonIn(body));
        return {};
      },
    }),

    route({
      method: 'POST',
      path: '/_matrix/client/v3/rooms/:roomId/leave',
      auth: 'user',
      guests: true,
      params,
      body: Type.Object({ reason }),
      emptyBodyAllowed: true,
      handle: async ({ requester, params: { roomId: room }, body }) => {
        await departures.leave(requester, room, reasonIn(body));
        return {};
      },
    }),

    route({
      method: 'POST',
      path: '/_matrix/client/v3/rooms/:roomId/forget',
      auth: 'user',
      params,
      body: emptyObject,
      emptyBodyAllowed: true,
      handle: ({ requester, params: { roomId: room } }) => {
        departures.forget(requester.userId, room);
        return {};
      },
    }),

    moderation('kick', (...change) => departures.kick(...change)),
    moderation('ban', (...change) => departures.ban(...change)),
    moderation('unban', (...change) => departures.unban(...change)),
  ];
}
