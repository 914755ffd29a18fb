import type { Ports } from '../appliance/homeserver.ts';
import type { Composition } from '../compose.ts';
import { accountsPort } from './accounts.ts';

/** What the appliance does with the homeserver, made of its parts. */
export function createPorts(parts: Composition): Ports {
  return { accounts: accountsPort(parts) };
}
