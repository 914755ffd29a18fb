import type { Module } from '../../module.ts';
import { contextRoutes, type EventContextNeeds } from './routes.ts';

export type { History } from './routes.ts';

/** What happened around an event (spec: client-server API, "Event Context"). */
export function eventContext(needs: EventContextNeeds): Module {
  return { name: 'event-context', routes: contextRoutes(needs) };
}
