import type { RateLimit } from '../../http/rate-limit.ts';
import { route, type Route } from '../../http/route.ts';
import { Type } from '../../http/type.ts';
import { unknownError } from '../../matrix/errors.ts';
import type { Progress } from '../../storage/progress.ts';
import type { Database } from '../../storage/types.ts';
import { FIRST_BATCH, parseBatch, readCriteria, searchSchema } from './service/criteria.ts';
import { find, type FindNeeds } from './service/find.ts';
import type { Gathering } from './service/gathering.ts';
import { show, type ShowNeeds } from './service/show.ts';

export interface SearchRouteNeeds extends FindNeeds, ShowNeeds {
  readonly db: Pick<Database, 'position'>;
  readonly progress: Progress;
  readonly gathering: Gathering;
  readonly limit: RateLimit;
  readonly settings: { readonly enabled: boolean };
  readonly events: FindNeeds['events'] & ShowNeeds['events'];
  readonly state: FindNeeds['state'] & ShowNeeds['state'];
  readonly visibility: FindNeeds['visibility'];
}

/** How long a search waits for the index to catch up, ms. */
const LONGEST_WAIT_MS = 500;

/** Spec: client-server API, "Server Side Search". */
export function searchRoutes(needs: SearchRouteNeeds): Route[] {
  const { db, progress, gathering, limit, settings } = needs;
  return [
    route({
      method: 'POST',
      path: '/_matrix/client/v3/search',
      auth: 'user',
      query: Type.Object({ next_batch: Type.Optional(Type.String()) }),
      body: searchSchema,
      handle: async ({ requester, query, body, signal }) => {
        if (!settings.enabled) throw unknownError('Messages cannot be searched on this server');
        limit.checkFor(requester, requester.userId);
        const asked = body.search_categories.room_events;
        if (asked === undefined) return { search_categories: {} };
        const criteria = readCriteria(asked);
        const batch = query.next_batch === undefined ? FIRST_BATCH : parseBatch(query.next_batch);
        await gathering.hurry(progress.until(db.position(), LONGEST_WAIT_MS));
        const findings = await find(needs, requester, criteria, batch, signal);
        return { search_categories: { room_events: await show(needs, requester, criteria, batch, findings) } };
      },
    }),
  ];
}
