import type { EventId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import type { PersistedEvent } from '../../rooms/types.ts';
import type { Database } from '../../storage/types.ts';
import { threadPurge } from './purge.ts';
import { threadRoutes, type ThreadRouteNeeds } from './routes.ts';
import { findThread, type ThreadId, threadProjection } from './service.ts';
import { ThreadStore } from './store.ts';

export { migrations } from './schema.ts';
export type { ThreadId, ThreadRelations } from './service.ts';

/** What other parts of the server may ask about threads. */
export interface Threads {
  /** The thread an event is in; `main` for an event that is not known. */
  threadOf(eventId: EventId): ThreadId;
  /** The same for an event at hand. */
  threadOfEvent(event: PersistedEvent): ThreadId;
}

export interface ThreadsNeeds extends Omit<ThreadRouteNeeds, 'store'> {
  readonly db: Database;
}

/** Lists of threads, and which thread an event is in (spec: client-server API, "Threading"). */
export function threading({ db, ...needs }: ThreadsNeeds): Module & { readonly threads: Threads } {
  const all = { ...needs, store: new ThreadStore(db) };
  return {
    name: 'threading',
    threads: {
      threadOf: (eventId) => {
        const event = needs.events.findEvent(eventId);
        return event === undefined ? 'main' : findThread(needs, event);
      },
      threadOfEvent: (event) => findThread(needs, event),
    },
    routes: threadRoutes(all),
    projections: [threadProjection(all)],
    purge: threadPurge(db),
  };
}
