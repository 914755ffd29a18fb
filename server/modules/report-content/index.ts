import type { Module } from '../../module.ts';
import { reportRoutes, type ReportNeeds } from './routes.ts';
import { ReportStore } from './store.ts';

export { migrations } from './schema.ts';

/** Reports of events, rooms and users (spec: "Reporting Content"). */
export function reportContent(needs: ReportNeeds): Module {
  return { name: 'report-content', routes: reportRoutes({ ...needs, store: new ReportStore(needs.db) }) };
}
