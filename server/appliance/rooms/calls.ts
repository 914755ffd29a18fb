import { Type } from '../../http/type.ts';
import { notFound } from '../../matrix/errors.ts';
import { isRoomId, isUserId, type RoomId } from '../../matrix/identifiers.ts';
import type { Announcer } from '../announcer.ts';
import { call, type ControlCall } from '../control/call.ts';
import type { Jobs } from '../jobs/jobs.ts';
import { leaveRoom, purgeRoom } from './work.ts';
import type { RoomsPort } from './port.ts';

const MOST_AT_ONCE = 200;
const USUAL = 50;

const order = Type.Union([
  Type.Literal('name'),
  Type.Literal('size'),
  Type.Literal('members'),
  Type.Literal('activity'),
]);

/** Rooms, and the invites of strangers. */
export function roomCalls(parts: {
  port: () => RoomsPort;
  jobs: Pick<Jobs, 'start'>;
  announcer: Pick<Announcer, 'moved'>;
}): ControlCall[] {
  const { port, jobs, announcer } = parts;
  return [
    call('GET /rooms', {
      query: Type.Object({
        search: Type.Optional(Type.String({ maxLength: 255 })),
        order: Type.Optional(order),
        from: Type.Optional(Type.Integer({ minimum: 0 })),
        limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MOST_AT_ONCE })),
      }),
      handle: ({ query: { search = '', order: by = 'activity', from = 0, limit = USUAL } }) =>
        port().list({ search, order: by, from, limit }),
    }),
    call('GET /rooms/{roomId}', { handle: ({ params }) => port().get(roomOf(params)) }),
    call('POST /rooms/{roomId}/leave', {
      handle: ({ params }) => ({ jobId: jobs.start(leaveRoom(parts, roomOf(params))).id }),
    }),
    call('POST /rooms/{roomId}/purge', {
      handle: ({ params }) => ({ jobId: jobs.start(purgeRoom(parts, roomOf(params))).id }),
    }),
    call('PUT /rooms/{roomId}/blocked', {
      body: Type.Object({ blocked: Type.Boolean() }),
      handle: async ({ params, body }) => {
        await port().setBlocked(roomOf(params), body.blocked);
        announcer.moved('rooms');
        return {};
      },
    }),
    call('GET /stranger-invites', { handle: () => ({ invites: port().listStrangerInvites() }) }),
    call('POST /stranger-invites/decline', {
      body: Type.Object({ userId: Type.String({ maxLength: 255 }), roomId: Type.String({ maxLength: 255 }) }),
      handle: async ({ body: { userId, roomId } }) => {
        if (!isUserId(userId) || !isRoomId(roomId)) throw notFound('There is no such invite');
        await port().declineStrangerInvite(userId, roomId);
        announcer.moved('rooms');
        return {};
      },
    }),
  ];
}

function roomOf({ roomId }: { readonly roomId: string }): RoomId {
  if (!isRoomId(roomId)) throw notFound('There is no such room here');
  return roomId;
}
