import { route, type Route } from '../../http/route.ts';
import type { RateLimit } from '../../http/rate-limit.ts';
import { eventId, roomId, text, userId } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { notFound } from '../../matrix/errors.ts';
import { type ServerName, serverNameOf, type UserId } from '../../matrix/identifiers.ts';
import type { EventReader, MembershipReader, Visibility } from '../../rooms/types.ts';
import type { Database } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import type { Report, ReportStore } from './store.ts';

/** Longest reason, in bytes. Long enough for a story, short enough not to be a way to fill the disk. */
const MAX_REASON_BYTES = 10_000;

export interface ReportNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly serverName: ServerName;
  readonly log: Logger;
  readonly events: Pick<EventReader, 'findRoom' | 'findEvent'>;
  readonly rooms: Pick<MembershipReader, 'isJoined'>;
  readonly visibility: Pick<Visibility, 'canSee'>;
  readonly users: { exists(userId: UserId): boolean };
  /** rc_reports */
  readonly limit: RateLimit;
}

export function reportRoutes(needs: ReportNeeds & { store: ReportStore }): Route[] {
  const { db, clock, log, serverName, events, rooms, visibility, users, limit, store } = needs;
  const reason = text(MAX_REASON_BYTES);

  /** Whoever annoys people here is mostly from elsewhere, and may be known by nothing but an unwanted invite. */
  function isKnown(user: UserId): boolean {
    return serverNameOf(user) !== serverName || users.exists(user);
  }

  function file(report: Omit<Report, 'receivedTs'>): object {
    db.write((tx) => store.insert(tx, { ...report, receivedTs: clock.now() }));
    log.info({ kind: report.kind, reporter: report.reporter }, 'content reported');
    return {};
  }

  return [
    route({
      method: 'POST',
      path: '/_matrix/client/v3/rooms/:roomId/report/:eventId',
      auth: 'user',
      params: Type.Object({ roomId, eventId }),
      body: Type.Object({
        // Null is what some clients send for "no reason".
        reason: Type.Optional(Type.Union([reason, Type.Null()])),
        score: Type.Optional(Type.Union([Type.Integer({ minimum: -100, maximum: 0 }), Type.Null()])),
      }),
      handle: ({ requester, params, body }) => {
        limit.checkFor(requester, requester.userId);
        const event = rooms.isJoined(params.roomId, requester.userId) ? events.findEvent(params.eventId) : undefined;
        if (event === undefined || event.roomId !== params.roomId || !visibility.canSee(requester.userId, event)) {
          throw notFound('The event was not found, or you are not joined to the room');
        }
        return file({
          kind: 'event',
          reporter: requester.userId,
          roomId: params.roomId,
          eventId: params.eventId,
          userId: event.sender,
          reason: body.reason ?? undefined,
          score: body.score ?? undefined,
        });
      },
    }),
    route({
      method: 'POST',
      path: [
        '/_matrix/client/v3/rooms/:roomId/report',
        // MSC4151, from before it was stable.
        '/_matrix/client/unstable/org.matrix.msc4151/rooms/:roomId/report',
      ],
      auth: 'user',
      params: Type.Object({ roomId }),
      body: Type.Object({ reason }),
      handle: ({ requester, params, body }) => {
        limit.checkFor(requester, requester.userId);
        if (events.findRoom(params.roomId) === undefined) throw notFound('The room was not found');
        return file({ kind: 'room', reporter: requester.userId, roomId: params.roomId, reason: body.reason });
      },
    }),
    route({
      method: 'POST',
      path: '/_matrix/client/v3/users/:userId/report',
      auth: 'user',
      params: Type.Object({ userId }),
      body: Type.Object({ reason }),
      handle: ({ requester, params, body }) => {
        limit.checkFor(requester, requester.userId);
        if (!isKnown(params.userId)) throw notFound('The user was not found');
        return file({ kind: 'user', reporter: requester.userId, userId: params.userId, reason: body.reason });
      },
    }),
  ];
}
