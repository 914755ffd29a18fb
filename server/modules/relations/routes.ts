import { route, type Requester, type Route } from '../../http/route.ts';
import { direction, eventId, eventType, limit, nonEmptyText, roomId } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { notFound } from '../../matrix/errors.ts';
import type { EventId, RoomId } from '../../matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../../matrix/json.ts';
import { formatTimelineToken } from '../../rooms/timeline-token.ts';
import type { ClientEventFormatter } from '../../sync/client-event.ts';
import type { SyncTokens } from '../../sync/token.ts';
import { type ChildrenNeeds, findVisible, listChildren } from './service/children.ts';

export interface RelationRouteNeeds extends ChildrenNeeds {
  readonly formatter: Pick<ClientEventFormatter, 'format'>;
  readonly tokens: Pick<SyncTokens, 'parsePlace'>;
}

/** Children on a page, unless asked for fewer or more, and at most. */
const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 250;
/** How deep `recurse` goes (spec: at least 3). */
const RECURSION_DEPTH = 3;

interface Query {
  readonly from?: string;
  readonly to?: string;
  readonly limit?: number;
  readonly dir?: 'b' | 'f';
  readonly recurse?: boolean;
  readonly 'org.matrix.msc3715.dir'?: 'b' | 'f';
  readonly 'org.matrix.msc3981.recurse'?: boolean;
}

interface Wanted {
  readonly roomId: RoomId;
  readonly eventId: EventId;
  readonly relType?: string;
  readonly eventType?: string;
}

/** Spec: client-server API, "Relationships API". Clients from before it was stable still ask under the unstable path. */
export function relationRoutes(needs: RelationRouteNeeds): Route[] {
  const parent = '/rooms/:roomId/relations/:eventId';
  return [parent, `${parent}/:relType`, `${parent}/:relType/:eventType`].map((path) =>
    route({
      method: 'GET',
      path: [`/_matrix/client/v1${path}`, `/_matrix/client/unstable${path}`],
      auth: 'user',
      params: Type.Object({
        roomId,
        eventId,
        relType: Type.Optional(nonEmptyText(255)),
        eventType: Type.Optional(eventType),
      }),
      query: Type.Object({
        from: Type.Optional(Type.String()),
        to: Type.Optional(Type.String()),
        limit: Type.Optional(limit),
        dir: Type.Optional(direction),
        recurse: Type.Optional(Type.Boolean()),
        'org.matrix.msc3715.dir': Type.Optional(direction),
        'org.matrix.msc3981.recurse': Type.Optional(Type.Boolean()),
      }),
      handle: ({ requester, params, query }) => answer(needs, requester, params, query),
    }),
  );
}

function answer(needs: RelationRouteNeeds, requester: Requester, wanted: Wanted, query: Query): JsonObject {
  const { roomId: room, eventId: parentId, relType, eventType: type } = wanted;
  if (findVisible(needs, requester.userId, room, parentId) === undefined) {
    throw notFound('There is no such event that you may read');
  }
  const recurse = query.recurse ?? query['org.matrix.msc3981.recurse'] ?? false;
  const { events, end } = listChildren(needs, requester.userId, {
    parentId,
    relType,
    type,
    levels: recurse ? RECURSION_DEPTH : 1,
    direction: query.dir ?? query['org.matrix.msc3715.dir'] ?? 'b',
    from: query.from === undefined ? undefined : needs.tokens.parsePlace(query.from, 'from'),
    to: query.to === undefined ? undefined : needs.tokens.parsePlace(query.to, 'to'),
    limit: Math.min(query.limit ?? DEFAULT_LIMIT, MAX_LIMIT),
  });
  const page: Record<string, JsonValue> = { chunk: needs.formatter.format(events, requester, { bundle: true }) };
  if (end !== undefined) page['next_batch'] = formatTimelineToken(end);
  if (query.from !== undefined) page['prev_batch'] = query.from;
  if (recurse) page['recursion_depth'] = RECURSION_DEPTH;
  return page;
}
