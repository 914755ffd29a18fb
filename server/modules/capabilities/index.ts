import type { Module } from '../../module.ts';
import { discoveryRoutes } from './routes.ts';
import type { CapabilitiesNeeds } from './service.ts';

export type { CapabilitiesNeeds, CapabilityFacts } from './service.ts';

/** What this server is and can do (spec: "Server Discovery", "API Versions", "Capabilities negotiation"). */
export function capabilities(needs: CapabilitiesNeeds): Module {
  return { name: 'capabilities', routes: discoveryRoutes(needs) };
}
