import type { Module } from '../../module.ts';
import type { Clock } from '../../util/clock.ts';
import type { Random } from '../../util/random.ts';
import { rendezvousRoutes, type RendezvousRouteNeeds } from './routes.ts';
import { RendezvousSessions } from './sessions.ts';

/** How long (ms) a session lasts: somebody has to find the camera, and type a few digits. */
const LIFETIME_MS = 300_000;
/** Sessions at once. At 4 KiB each they come to half a megabyte at most. */
const CAPACITY = 100;

/** Where devices meet to sign one in by a QR code shown on the other (MSC4108). */
export function rendezvous({
  clock,
  random,
  ...needs
}: Omit<RendezvousRouteNeeds, 'sessions'> & { readonly clock: Pick<Clock, 'now'>; readonly random: Random }): Module {
  const sessions = new RendezvousSessions({ clock, random, lifetimeMs: LIFETIME_MS, capacity: CAPACITY });
  return { name: 'rendezvous', routes: rendezvousRoutes({ ...needs, sessions }) };
}
