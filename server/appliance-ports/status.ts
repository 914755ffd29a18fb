import type { RemoteServer } from '../appliance/contract.ts';
import type { StatusPort } from '../appliance/status/port.ts';
import type { Composition } from '../compose.ts';
import type { ServerName } from '../matrix/identifiers.ts';

/** The most servers looked at; a household deals with far fewer. */
const MOST_SERVERS = 1000;

export function statusPort(
  parts: Pick<Composition, 'accounts' | 'rooms' | 'federation' | 'activity' | 'devices' | 'media'>,
): StatusPort {
  const { accounts, rooms, federation, activity, devices, media } = parts;
  return {
    activity,
    counts: () => {
      const people = accounts.lookup.listLocalUsers();
      return {
        people: people.length,
        devices: people.reduce((count, userId) => count + devices.list(userId).length, 0),
        rooms: rooms.standing.countJoined(people),
      };
    },
    mediaBytes: () => media?.bytesByOrigin() ?? { local: 0, remote: 0 },
    federation: () => {
      const servers = new Map<ServerName, RemoteServer>();
      for (const known of federation.network.destinations.list({ limit: MOST_SERVERS })) {
        servers.set(known.server, {
          name: known.server,
          state: known.failingSince === undefined ? 'well' : 'failing',
          queued: 0,
          ...(known.lastSuccess === undefined ? {} : { lastContactAt: known.lastSuccess }),
          ...(known.retryAt === undefined ? {} : { retryAt: known.retryAt }),
          ...(known.failingSince === undefined || known.lastError === undefined ? {} : { reason: known.lastError }),
        });
      }
      let queued = 0;
      for (const { server: name, pdus, edus } of federation.sender.listQueues()) {
        const known = servers.get(name) ?? { name, state: 'well' as const };
        queued += pdus + edus;
        servers.set(name, { ...known, state: known.state === 'failing' ? 'failing' : 'waiting', queued: pdus + edus });
      }
      return { servers: [...servers.values()], queued, catchingUpRooms: rooms.standing.countCatchingUp() };
    },
  };
}
