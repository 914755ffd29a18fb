import type { Module } from '../../module.ts';
import { Progress } from '../../storage/progress.ts';
import type { Database } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import { searchPurge } from './purge.ts';
import { searchRoutes, type SearchRouteNeeds } from './routes.ts';
import { type IndexingNeeds, searchFollower, searchProjection } from './service/follower.ts';
import { Gathering } from './service/gathering.ts';
import { SearchStore } from './store.ts';

export { migrations } from './schema.ts';

export interface SearchNeeds
  extends Omit<SearchRouteNeeds, 'db' | 'store' | 'progress' | 'gathering' | 'events' | 'timeline'>,
    Pick<IndexingNeeds, 'edits'> {
  readonly db: Database;
  readonly clock: Pick<Clock, 'after'>;
  readonly events: SearchRouteNeeds['events'] & IndexingNeeds['events'];
  readonly timeline: SearchRouteNeeds['timeline'] & IndexingNeeds['timeline'];
}

/** How long what is new is gathered before it is indexed, ms. */
const GATHERING_MS = 250;

/** Full-text search in the messages, names and topics of rooms (spec: client-server API, "Server Side Search"). */
export function search(given: SearchNeeds): Module {
  const { db, clock, settings } = given;
  const store = new SearchStore(db);
  const progress = new Progress(clock);
  const gathering = new Gathering(clock, GATHERING_MS);
  const needs = { ...given, store, progress, gathering };
  const routes = searchRoutes(needs);
  if (!settings.enabled) {
    return {
      name: 'search',
      routes,
      start: () => {
        // An index that is not kept up would be wrong when it is used again.
        if (!store.isRebuildDue()) db.write((tx) => store.clear(tx));
      },
    };
  }
  return {
    name: 'search',
    routes,
    projections: [searchProjection(needs)],
    followers: [searchFollower(needs)],
    purge: searchPurge(db, store),
  };
}
