import type { TSchema } from 'typebox';
import { route, type Route } from '../../http/route.ts';
import { eventType, jsonObject, stateKey, userId } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import type { RoomCreation } from './service/create-room.ts';

// Null is what some clients send for what they have no value of.
const optional = <S extends TSchema>(schema: S) => Type.Optional(Type.Union([schema, Type.Null()]));

const body = Type.Object({
  visibility: optional(Type.Union([Type.Literal('public'), Type.Literal('private')])),
  room_alias_name: optional(Type.String()),
  name: optional(Type.String()),
  topic: optional(Type.String()),
  invite: optional(Type.Array(userId)),
  invite_3pid: optional(
    Type.Array(
      Type.Object({
        id_server: Type.String(),
        id_access_token: Type.String(),
        medium: Type.String(),
        address: Type.String(),
      }),
    ),
  ),
  room_version: optional(Type.String()),
  creation_content: optional(jsonObject),
  initial_state: optional(
    Type.Array(Type.Object({ type: eventType, state_key: Type.Optional(stateKey), content: jsonObject })),
  ),
  preset: optional(
    Type.Union([Type.Literal('private_chat'), Type.Literal('public_chat'), Type.Literal('trusted_private_chat')]),
  ),
  is_direct: optional(Type.Boolean()),
  power_level_content_override: optional(jsonObject),
});

/** Spec: `POST /createRoom`. */
export function creationRoutes(creation: RoomCreation): Route[] {
  return [
    route({
      method: 'POST',
      path: '/_matrix/client/v3/createRoom',
      auth: 'user',
      body,
      handle: async ({ requester, body: asked }) => ({
        room_id: await creation.createRoom(requester, {
          visibility: asked.visibility ?? undefined,
          aliasLocalpart: asked.room_alias_name ?? undefined,
          name: asked.name ?? undefined,
          topic: asked.topic ?? undefined,
          invite: asked.invite ?? undefined,
          inviteByAddress: asked.invite_3pid?.map((invitee) => ({
            medium: invitee.medium,
            address: invitee.address,
            idServer: invitee.id_server,
            idAccessToken: invitee.id_access_token,
          })),
          version: asked.room_version ?? undefined,
          creationContent: asked.creation_content ?? undefined,
          initialState: asked.initial_state?.map((event) => ({
            type: event.type,
            stateKey: event.state_key ?? '',
            content: event.content,
          })),
          preset: asked.preset ?? undefined,
          isDirect: asked.is_direct ?? undefined,
          powerLevels: asked.power_level_content_override ?? undefined,
        }),
      }),
    }),
  ];
}
