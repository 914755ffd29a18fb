import { Reply, route, type Route } from '../../../http/route.ts';
import { eventType, roomId, stateKey } from '../../../http/schemas.ts';
import { Type } from '../../../http/type.ts';
import { notFound } from '../../../matrix/errors.ts';
import { checkAccess, stateFor } from '../service/access.ts';
import { listJoined, listMembers } from '../service/members.ts';
import type { RoomEventsNeeds } from '../service/needs.ts';
import { showAll } from '../service/show.ts';

const membership = Type.Optional(
  Type.Union([
    Type.Literal('join'),
    Type.Literal('invite'),
    Type.Literal('knock'),
    Type.Literal('leave'),
    Type.Literal('ban'),
  ]),
);

/** The state of a room and its members (spec: client-server API, "Getting events for a room"). */
export function stateRoutes(needs: RoomEventsNeeds): Route[] {
  const room = '/_matrix/client/v3/rooms/:roomId';
  return [
    route({
      method: 'GET',
      path: `${room}/state`,
      auth: 'user',
      guests: true,
      params: Type.Object({ roomId }),
      handle: async ({ requester, params }) => {
        const access = checkAccess(needs, requester.userId, params.roomId);
        const state = stateFor(needs, params.roomId, access);
        const eventIds = Array.from(state.entries(), ([, eventId]) => eventId);
        return new Reply({ body: await showAll(needs, eventIds, requester) });
      },
    }),
    route({
      method: 'GET',
      path: [`${room}/state/:eventType`, `${room}/state/:eventType/`, `${room}/state/:eventType/:stateKey`],
      auth: 'user',
      guests: true,
      params: Type.Object({ roomId, eventType, stateKey: Type.Optional(stateKey) }),
      query: Type.Object({ format: Type.Optional(Type.Union([Type.Literal('content'), Type.Literal('event')])) }),
      handle: ({ requester, params, query }) => {
        const access = checkAccess(needs, requester.userId, params.roomId);
        const state = stateFor(needs, params.roomId, access);
        const eventId = state.find(params.eventType, params.stateKey ?? '');
        const event = eventId === undefined ? undefined : needs.events.findEvent(eventId);
        if (event === undefined) throw notFound('The room has no such state');
        return query.format === 'event' ? needs.formatter.formatOne(event, requester) : event.content;
      },
    }),
    route({
      method: 'GET',
      path: `${room}/members`,
      auth: 'user',
      guests: true,
      params: Type.Object({ roomId }),
      query: Type.Object({ at: Type.Optional(Type.String()), membership, not_membership: membership }),
      handle: async ({ requester, params, query }) => ({
        chunk: await listMembers(needs, {
          requester,
          roomId: params.roomId,
          at: query.at === undefined ? undefined : needs.tokens.parsePlace(query.at, 'at'),
          membership: query.membership,
          notMembership: query.not_membership,
        }),
      }),
    }),
    route({
      method: 'GET',
      path: `${room}/joined_members`,
      auth: 'user',
      params: Type.Object({ roomId }),
      handle: ({ requester, params }) => ({ joined: listJoined(needs, requester, params.roomId) }),
    }),
  ];
}
