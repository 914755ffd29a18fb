import { LRUCache } from 'lru-cache';
import type { Requester, Route } from '../http/route.ts';
import { route } from '../http/route.ts';
import { userId } from '../http/schemas.ts';
import { Type } from '../http/type.ts';
import { forbidden, invalidParam, notFound } from '../matrix/errors.ts';
import type { UserId } from '../matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../matrix/json.ts';
import type { Database } from '../storage/types.ts';
import { parseFilter, parseFilterText, type SyncFilter, syncFilterSchema } from './filter.ts';
import type { FilterStore } from './filter-store.ts';
import { atMost } from '../util/lru.ts';

/** Filters, read and made ready, kept so that each long poll does not do it again. */
const KEPT_FILTERS = 256;

export interface Filters {
  readonly routes: readonly Route[];
  /**
   * The filter that a `filter` query parameter means: JSON, if it begins with `{`, or the ID of an uploaded one.
   * @throws MatrixError M_NOT_JSON, M_BAD_JSON, or M_INVALID_PARAM for an unknown ID
   */
  resolve(userId: UserId, parameter: string | undefined): SyncFilter;
}

/** Uploading, downloading and using filters (spec: client-server API, "Filtering"). */
export function filters({
  db,
  store,
  timelineLimit,
}: {
  db: Database;
  store: FilterStore;
  /** The most events per room and answer; undefined for no limit. */
  timelineLimit: number | undefined;
}): Filters {
  const ready = new LRUCache<string, SyncFilter>(atMost(KEPT_FILTERS));

  const parseCached = (key: string, definition: () => JsonValue): SyncFilter => {
    const known = ready.get(key);
    if (known !== undefined) return known;
    const parsed = parseFilter(definition(), timelineLimit);
    ready.set(key, parsed);
    return parsed;
  };

  const post = route({
    method: 'POST',
    path: '/_matrix/client/v3/user/:userId/filter',
    auth: 'user',
    params: Type.Object({ userId }),
    body: syncFilterSchema,
    handle: ({ requester, params, body }) => {
      checkOwn(requester, params.userId);
      parseFilter(body as JsonObject);
      const known = store.findId(requester.userId, body as JsonObject);
      return {
        filter_id: known ?? db.write((tx) => store.insert(tx, requester.userId, body as JsonObject)),
      };
    },
  });

  const get = route({
    method: 'GET',
    path: '/_matrix/client/v3/user/:userId/filter/:filterId',
    auth: 'user',
    params: Type.Object({ userId, filterId: Type.String() }),
    handle: ({ requester, params }) => {
      checkOwn(requester, params.userId);
      const definition = store.find(requester.userId, params.filterId);
      if (definition === undefined) throw notFound('There is no such filter');
      return definition;
    },
  });

  return {
    routes: [post, get],
    resolve: (user, parameter) => {
      if (parameter === undefined) return parseCached('', () => ({}));
      if (parameter.startsWith('{')) return parseCached(parameter, () => parseFilterText(parameter));
      // IDs are each user's own. A JSON filter begins with a brace, so the two kinds of keys never meet.
      return parseCached(`${user} ${parameter}`, () => {
        const definition = store.find(user, parameter);
        if (definition === undefined) throw invalidParam('There is no filter of that ID');
        return definition;
      });
    },
  };
}

function checkOwn(requester: Requester, userId: UserId): void {
  if (requester.userId !== userId) throw forbidden('The filters of other users are theirs');
}
