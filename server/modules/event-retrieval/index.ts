import type { Module } from '../../module.ts';
import { type EventRetrievalNeeds, retrieval } from './service.ts';
import { retrievalRoutes } from './routes.ts';

export type { EventRetrievalNeeds } from './service.ts';

/**
 * The events of rooms as other servers fetch them (spec: server-server API, "Backfilling and retrieving missing events",
 * "Retrieving events", "Retrieving event authorisation information").
 */
export function eventRetrieval(needs: EventRetrievalNeeds): Module {
  return { name: 'event-retrieval', routes: retrievalRoutes(retrieval(needs)) };
}
