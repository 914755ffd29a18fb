import type { Module } from '../../module.ts';
import type { AdministrationNeeds } from './needs.ts';
import { administrationRoutes } from './routes.ts';
import { createModeration } from './service.ts';

/** What administrators of the server do with their clients (spec: "Server administration"). */
export function administration(needs: AdministrationNeeds): Module {
  return { name: 'administration', routes: administrationRoutes({ ...needs, moderation: createModeration(needs) }) };
}
