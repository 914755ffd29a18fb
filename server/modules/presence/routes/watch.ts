import type { Route } from '../../../http/route.ts';
import { isJsonObject } from '../../../matrix/json.ts';
import type { Presence } from '../service/presence.ts';
import type { PresenceState } from '../store.ts';

/** Operations with which a client waits for news. While one is under way, the device is there. */
const WAITING = new Set(['/_matrix/client/v3/sync', '/_matrix/client/v3/events']);

/** The same routes, so that presence hears when a request for news begins and when it is over. */
export function watchRoutes(presence: Presence, routes: readonly Route[]): Route[] {
  return routes.map((route) => {
    if (route.method !== 'GET' || typeof route.path !== 'string' || !WAITING.has(route.path)) return route;
    return {
      ...route,
      handle: async (request) => {
        const { requester, query } = request;
        if (requester === undefined) return route.handle(request);
        const end = presence.beginSync(requester, askedIn(query));
        try {
          return await route.handle(request);
        } finally {
          end();
        }
      },
    };
  });
}

function askedIn(query: unknown): PresenceState | undefined {
  const asked = isJsonObject(query) ? query['set_presence'] : undefined;
  return asked === 'online' || asked === 'unavailable' || asked === 'offline' ? asked : undefined;
}
