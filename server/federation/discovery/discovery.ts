import type { ServerName } from '../../matrix/identifiers.ts';
import type { Random } from '../../util/random.ts';
import type { Endpoint, Target } from '../outbound/connector.ts';
import type { DnsCache } from './dns.ts';
import { parseServerAddress, type ServerAddress } from './server-address.ts';
import { orderServices } from './srv-query.ts';
import type { WellKnown } from './well-known.ts';

/** How a server is reached. */
export interface ServerRoute {
  readonly target: Target;
  /** What the Host header says. */
  readonly hostHeader: string;
}

/** A server name that leads nowhere. */
export class DiscoveryError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DiscoveryError';
  }
}

/** Finds out where servers are. */
export interface Discovery {
  /** Where and how to reach `server`. Rejects with a `DiscoveryError` if it has no place. */
  find(server: ServerName): Promise<ServerRoute>;
  /** `server` could not be reached where it was said to be: what led there is looked up anew. */
  doubt(server: ServerName, route: ServerRoute): void;
  /** The machine slept or changed its network: what was known of names may hold no more. */
  wake(): void;
}

const DEFAULT_PORT = 8448;
const MAX_PLACES = 8;
/** What SRV records are looked up by: the registered name first, then the one from before (deprecated). */
const SERVICES = ['_matrix-fed._tcp', '_matrix._tcp'];

/** Finds servers by the spec's rules (server-server API, "Resolving server names"); the step numbers are the spec's. */
export function createDiscovery({
  dns,
  wellKnown,
  random,
}: {
  readonly dns: Pick<DnsCache, 'services' | 'forget' | 'clear'>;
  readonly wellKnown: Pick<WellKnown, 'find' | 'doubt' | 'forgetFailures'>;
  readonly random: Random;
}): Discovery {
  const find = async (server: ServerName): Promise<ServerRoute> => {
    const address = parseServerAddress(server);
    if (address === undefined) throw new DiscoveryError(`${server} names no port or address there is`);
    // 1 and 2: an IP literal or an explicit port.
    const fixed = fixedPlace(address);
    if (fixed !== undefined) return routeTo(server, server, address, [fixed]);
    // 3: delegation. What it says is as good as the name itself, but is not asked whom it delegates to.
    const delegate = await wellKnown.find(address.host);
    const delegated = delegate === undefined ? undefined : parseServerAddress(delegate);
    if (delegate === undefined || delegated === undefined) {
      // 4 to 6.
      return routeTo(server, server, address, await findPlaces(address.host));
    }
    // 3.1 and 3.2, or 3.3 to 3.5.
    const place = fixedPlace(delegated);
    return routeTo(server, delegate, delegated, place === undefined ? await findPlaces(delegated.host) : [place]);
  };

  /** Steps 3.3 to 3.5 and 4 to 6: SRV records by the registered name, by the old one, then the default port. */
  const findPlaces = async (host: string): Promise<Endpoint[]> => {
    const services = await Promise.all(SERVICES.map((service) => dns.services(`${service}.${host}`)));
    const records = services.find((list) => list.length > 0);
    if (records === undefined) return [{ host, port: DEFAULT_PORT }];
    const places = orderServices(records, random);
    // RFC 2782: a target "." says that the service is not offered here, which is an answer too.
    if (places.length === 0) throw new DiscoveryError(`the SRV records of ${host} say that there is no server`);
    return places.slice(0, MAX_PLACES).map(({ target, port }) => ({ host: target, port }));
  };

  return {
    find,
    doubt: (server, { target }) => {
      wellKnown.doubt(parseServerAddress(server)?.host ?? server);
      const { tlsName, endpoints } = target;
      for (const { host, port } of endpoints) {
        dns.forget(host);
        // Where there are no SRV records, asking for them again is slow on some networks and seldom gives any.
        if (host === tlsName && port === DEFAULT_PORT) continue;
        for (const service of SERVICES) dns.forget(`${service}.${tlsName}`);
      }
    },
    wake: () => {
      wellKnown.forgetFailures();
      dns.clear();
    },
  };
}

function fixedPlace({ host, port, isIpLiteral }: ServerAddress): Endpoint | undefined {
  return isIpLiteral || port !== undefined ? { host, port: port ?? DEFAULT_PORT } : undefined;
}

/** The Host header is the (delegated) name as it is written, with its port if it has one; the certificate is for its host. */
function routeTo(
  server: ServerName,
  hostHeader: ServerName,
  { host }: ServerAddress,
  endpoints: readonly Endpoint[],
): ServerRoute {
  return {
    hostHeader,
    target: {
      key: `${server} ${hostHeader}`,
      secure: true,
      endpoints,
      tlsName: host,
      aliases: [server, parseServerAddress(server)?.host ?? server],
    },
  };
}
