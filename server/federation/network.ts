/** Puts together what reaches other servers: names, connections, requests. */
import type { ServerName } from '../matrix/identifiers.ts';
import type { SigningKey } from '../matrix/signing.ts';
import type { Database } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import type { Logger } from '../util/log.ts';
import type { Random } from '../util/random.ts';
import { type ClientSettings, createFederationClient } from './client/client.ts';
import { createDestinations, type DestinationSettings } from './destinations/destinations.ts';
import { createDiscovery, type Discovery } from './discovery/discovery.ts';
import { createSystemDns, type Dns, DnsCache } from './discovery/dns.ts';
import { WellKnown } from './discovery/well-known.ts';
import type { Dial } from './outbound/dial.ts';
import { createGuardedHttp, type GuardedHttp } from './outbound/guarded-http.ts';
import { Outbound, type OutboundSettings } from './outbound/outbound.ts';
import type { ProxySettings } from './outbound/proxy.ts';
import { ordinaryTls } from './outbound/tls-policy.ts';
import type { Destinations, FederationClient } from './types.ts';

export interface NetworkSettings {
  readonly client: ClientSettings;
  readonly destinations: DestinationSettings;
  /** For requests to other servers; `http` has the same but for `tls`. */
  readonly outbound: OutboundSettings;
}

export interface NetworkNeeds {
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly db: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly settings: NetworkSettings;
  /** The machine's own unless told; tests play it. */
  readonly dns?: Dns;
  readonly dial?: Dial;
}

/** The way to other servers. */
export interface FederationNetwork {
  readonly client: FederationClient;
  readonly destinations: Destinations;
  readonly discovery: Discovery;
  /** HTTP to whoever is no homeserver: push gateways, identity servers. Certificates are checked in the ordinary way. */
  readonly http: GuardedHttp;
  /**
   * HTTP under another deny list, as previews of web pages have one, and through other proxies where these are given. It is
   * woken and closed with the rest.
   */
  guardedHttp(settings: Pick<OutboundSettings, 'deny' | 'allow'> & Partial<ProxySettings>): GuardedHttp;
  /** The machine slept or changed its network: nothing that was known of the way is relied on, and all are tried again. */
  wake(): void;
  /** Breaks off what is under way. */
  close(): Promise<void>;
}

/** Throws Error where a setting is unusable: a file of authorities that cannot be read, an address of a proxy that is none. */
export function createFederationNetwork(needs: NetworkNeeds): FederationNetwork {
  const { clock, random, settings, dial } = needs;
  const dns = new DnsCache({ dns: needs.dns ?? createSystemDns({ random, clock }), clock });
  const outbounds: Outbound[] = [];
  const createOutbound = (outboundSettings: OutboundSettings): Outbound => {
    const outbound = new Outbound({
      clock,
      lookup: (host) => dns.addresses(host),
      ...(dial === undefined ? {} : { dial }),
      settings: outboundSettings,
    });
    outbounds.push(outbound);
    return outbound;
  };
  const guardedHttp: FederationNetwork['guardedHttp'] = (own) =>
    createGuardedHttp({ outbound: createOutbound({ ...settings.outbound, tls: ordinaryTls, ...own }), clock });

  const outbound = createOutbound(settings.outbound);
  const wellKnown = new WellKnown({ http: createGuardedHttp({ outbound, clock }), clock, random });
  const discovery = createDiscovery({ dns, wellKnown, random });
  const destinations = createDestinations({ ...needs, settings: settings.destinations });
  const client = createFederationClient({ ...needs, discovery, outbound, destinations, settings: settings.client });
  return {
    client,
    destinations,
    discovery,
    http: guardedHttp({ deny: settings.outbound.deny, allow: settings.outbound.allow }),
    guardedHttp,
    wake: () => {
      for (const each of outbounds) each.wake();
      discovery.wake();
      // Last, since it sets those going who waited.
      destinations.wake();
    },
    close: async () => {
      await Promise.all(outbounds.map((each) => each.close()));
    },
  };
}
