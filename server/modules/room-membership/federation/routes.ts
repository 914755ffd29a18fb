import { route, type Route } from '../../../http/route.ts';
import { jsonObject, jsonValue, roomId, userId } from '../../../http/schemas.ts';
import { Type } from '../../../http/type.ts';
import { isJsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { RoomVersion } from '../../../matrix/room-versions.ts';
import { roomComplexity } from './complexity.ts';
import { createHandshakes } from './handshakes.ts';
import { createInvitations, readVersion } from './invitations.ts';
import { joinReply } from './join-answer.ts';
import type { FederationParts } from './needs.ts';
import { createResidence } from './residence.ts';
import { createSubmissions } from './submissions.ts';
import { createThirdPartyInvitations } from './third-party.ts';

const V1 = '/_matrix/federation/v1';
const V2 = '/_matrix/federation/v2';

/** What a server says that does not name the room versions it speaks (spec: server-server API, GET make_join). */
const VERSIONS_UNLESS_TOLD: readonly string[] = ['1'];
const versions = Type.Object({ ver: Type.Optional(Type.Array(Type.String())) });

/** Joining, knocking, leaving and inviting as other servers do it (spec: server-server API). */
export function membershipFederationRoutes(parts: FederationParts): Route[] {
  const { needs, federation } = parts;
  const residence = createResidence(parts);
  const handshakes = createHandshakes(parts, residence);
  const submissions = createSubmissions(parts, residence, handshakes);
  const invitations = createInvitations(parts, residence);
  const thirdParty = createThirdPartyInvitations(parts, residence);

  const ofUser = Type.Object({ roomId, userId });
  // Which ID is right only the event itself can tell; that it is no event at all is to be told first.
  const ofEvent = Type.Object({ roomId, eventId: Type.String() });
  const isTrue = Type.Optional(Type.Boolean());

  return [
    route({
      method: 'GET',
      path: `${V1}/make_join/:roomId/:userId`,
      auth: 'server',
      params: ofUser,
      query: versions,
      handle: ({ origin, params, query }) =>
        handshakes.makeJoin(origin, params.roomId, params.userId, query.ver ?? VERSIONS_UNLESS_TOLD),
    }),
    route({
      method: 'GET',
      path: `${V1}/make_knock/:roomId/:userId`,
      auth: 'server',
      params: ofUser,
      query: versions,
      handle: ({ origin, params, query }) =>
        handshakes.makeKnock(origin, params.roomId, params.userId, query.ver ?? VERSIONS_UNLESS_TOLD),
    }),
    route({
      method: 'GET',
      path: `${V1}/make_leave/:roomId/:userId`,
      auth: 'server',
      params: ofUser,
      handle: ({ origin, params }) => handshakes.makeLeave(origin, params.roomId, params.userId),
    }),

    ...[V1, V2].map((prefix) =>
      route({
        method: 'PUT',
        path: `${prefix}/send_join/:roomId/:eventId`,
        auth: 'server',
        params: ofEvent,
        query: Type.Object({ omit_members: isTrue }),
        body: jsonObject,
        handle: async ({ origin, params, query, body }) => {
          const join = await submissions.submit({ origin, ...params }, body, 'join');
          // All members are told in any case; who can do without repeats is spared them.
          return joinReply(parts, join, { withoutRepeats: query.omit_members === true, wrapped: prefix === V1 });
        },
      }),
    ),
    ...[V1, V2].map((prefix) =>
      route({
        method: 'PUT',
        path: `${prefix}/send_leave/:roomId/:eventId`,
        auth: 'server',
        params: ofEvent,
        body: jsonObject,
        handle: async ({ origin, params, body }) => {
          await submissions.submit({ origin, ...params }, body, 'leave');
          return prefix === V1 ? [200, {}] : {};
        },
      }),
    ),
    route({
      method: 'PUT',
      path: `${V1}/send_knock/:roomId/:eventId`,
      auth: 'server',
      params: ofEvent,
      body: jsonObject,
      handle: async ({ origin, params, body }) => {
        const knock = await submissions.submit({ origin, ...params }, body, 'knock');
        return { knock_room_state: submissions.listKnockState(knock) };
      },
    }),

    route({
      method: 'PUT',
      path: `${V1}/invite/:roomId/:eventId`,
      auth: 'server',
      params: ofEvent,
      body: jsonObject,
      handle: async ({ origin, params, body }) => {
        const { unsigned } = body;
        const roomState = isJsonObject(unsigned) ? unsigned['invite_room_state'] : undefined;
        const version = versionOfOldInvite(roomState, needs.events.findRoom(params.roomId)?.version);
        const signed = await invitations.take({ origin, ...params }, { version, body, roomState });
        return [200, { event: signed }];
      },
    }),
    route({
      method: 'PUT',
      path: `${V2}/invite/:roomId/:eventId`,
      auth: 'server',
      params: ofEvent,
      body: Type.Object({
        room_version: Type.String(),
        event: jsonObject,
        invite_room_state: Type.Optional(jsonValue),
      }),
      handle: async ({ origin, params, body }) => {
        const version = readVersion(body.room_version);
        const invitation = { version, body: body.event, roomState: body.invite_room_state };
        return { event: await invitations.take({ origin, ...params }, invitation) };
      },
    }),

    route({
      method: 'PUT',
      path: `${V1}/exchange_third_party_invite/:roomId`,
      auth: 'server',
      params: Type.Object({ roomId }),
      body: jsonObject,
      handle: async ({ origin, params, body }) => {
        await thirdParty.exchange(origin, params.roomId, body);
        return {};
      },
    }),
    // NOT-SPEC: the specification has PUT, but identity servers have always sent POST.
    ...(['PUT', 'POST'] as const).map((method) =>
      route({
        method,
        path: `${V1}/3pid/onbind`,
        auth: 'none',
        body: Type.Object({
          medium: Type.String(),
          address: Type.String(),
          mxid: userId,
          invites: Type.Array(jsonValue),
        }),
        handle: async ({ body, ip }) => {
          federation.bindLimit.check(ip);
          await thirdParty.bind(body.mxid, body.invites);
          return {};
        },
      }),
    ),

    route({
      method: 'GET',
      path: [`${V1}/rooms/:roomId/complexity`, '/_matrix/federation/unstable/rooms/:roomId/complexity'],
      auth: 'server',
      params: Type.Object({ roomId }),
      handle: ({ origin, params }) => roomComplexity(parts, residence, origin, params.roomId),
    }),
  ];
}

/** An invite of this kind is to a room of version 1 or 2 and does not say which, unless by what it tells of the room. */
function versionOfOldInvite(roomState: JsonValue | undefined, held: RoomVersion | undefined): RoomVersion {
  const entries: readonly JsonValue[] = Array.isArray(roomState) ? roomState : [];
  const create = entries.find((entry) => isJsonObject(entry) && entry['type'] === 'm.room.create');
  const content = isJsonObject(create) ? create['content'] : undefined;
  const told = isJsonObject(content) ? content['room_version'] : undefined;
  return readVersion((held?.id ?? told) === '2' ? '2' : '1');
}
