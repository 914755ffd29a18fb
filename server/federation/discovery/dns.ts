import { lookup as systemLookup, Resolver } from 'node:dns/promises';
import type { Clock } from '../../util/clock.ts';
import type { Random } from '../../util/random.ts';
import { type SrvRecord, querySrv } from './srv-query.ts';
import { type Found, TimedCache } from './timed-cache.ts';

/** A name has no addresses, or nobody could be asked for them. */
export class DnsError extends Error {
  /** The name does not exist, or has none of what was asked for: asking again soon makes no sense. */
  readonly isDefinite: boolean;

  constructor(message: string, isDefinite: boolean, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'DnsError';
    this.isDefinite = isDefinite;
  }
}

/** Asks the domain name system. Keeps nothing. */
export interface Dns {
  /** IPv4 and IPv6 addresses of a host, at least one, the best first. Rejects with a `DnsError`. */
  addresses(host: string): Promise<Found<readonly string[]>>;
  /** The SRV records of a name; none if it has none. Rejects with a `DnsError` if that cannot be found out. */
  services(name: string): Promise<Found<readonly SrvRecord[]>>;
}

/** getaddrinfo() says nothing of how long its answers hold, ms. */
const ADDRESS_TTL_MS = 60_000;
/** Node runs two look-ups by the system at a time, and a dead name server keeps one for many seconds. */
const SYSTEM_LOOKUPS = 2;
const DEFINITE = new Set(['ENOTFOUND', 'ENODATA', 'ENONAME', 'NXDOMAIN']);

function toDnsError(host: string, error: unknown): DnsError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
  return new DnsError(`the address of ${host} was not found (${code})`, DEFINITE.has(code), error);
}

/**
 * The domain name system as this machine knows it. Addresses come from the operating system, which also knows the hosts
 * file, names of the local network and those of a VPN; while that is busy, the configured name servers are asked directly.
 */
export function createSystemDns(needs: { readonly random: Random; readonly clock: Clock }): Dns {
  const resolver = new Resolver({ timeout: 2000, tries: 2 });
  let running = 0;
  const bySystem = async (host: string): Promise<readonly string[]> => {
    running += 1;
    try {
      return (await systemLookup(host, { all: true, order: 'verbatim' })).map(({ address }) => address);
    } finally {
      running -= 1;
    }
  };
  const direct = async (host: string): Promise<readonly string[]> => {
    const results = await Promise.allSettled([resolver.resolve6(host), resolver.resolve4(host)]);
    return results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
  };
  return {
    addresses: async (host) => {
      try {
        const quick = running < SYSTEM_LOOKUPS ? [] : await direct(host);
        return { value: quick.length > 0 ? quick : await bySystem(host), ttlMs: ADDRESS_TTL_MS };
      } catch (error) {
        throw toDnsError(host, error);
      }
    },
    services: async (name) => {
      try {
        return await querySrv(name, { ...needs, servers: resolver.getServers(), resolver });
      } catch (error) {
        throw toDnsError(name, error);
      }
    },
  };
}

/** How long answers are kept, ms: whatever their TTL says, not less and not more than this. */
const SHORTEST_MS = 30_000;
const LONGEST_MS = 3_600_000;
/** How long it is remembered that a host has no address, ms. */
const NO_ADDRESS_MS = 60_000;
const HOSTS_KEPT = 5000;
/** How long the last good SRV records go on being used when they cannot be had anew, ms. */
const STALE_SERVICES_MS = 24 * 3_600_000;
/** How soon to ask again when they could not be had, ms. */
const RETRY_SERVICES_MS = 300_000;

/** Remembers what `dns` answers, within bounds. */
export class DnsCache {
  readonly #dns: Dns;
  readonly #addresses: TimedCache<readonly string[] | DnsError>;
  readonly #services: TimedCache<readonly SrvRecord[]>;
  /** What was last answered, to fall back on. */
  readonly #lastServices: TimedCache<readonly SrvRecord[]>;

  constructor({ dns, clock }: { readonly dns: Dns; readonly clock: Clock }) {
    this.#dns = dns;
    this.#addresses = new TimedCache(clock, HOSTS_KEPT);
    this.#services = new TimedCache(clock, HOSTS_KEPT);
    this.#lastServices = new TimedCache(clock, HOSTS_KEPT);
  }

  /** The addresses of a host, at least one. Rejects with a `DnsError`. */
  async addresses(host: string): Promise<readonly string[]> {
    const found = await this.#addresses.get(keyOf(host), async () => {
      try {
        return bounded(await this.#dns.addresses(host));
      } catch (error) {
        if (error instanceof DnsError && error.isDefinite) return { value: error, ttlMs: NO_ADDRESS_MS };
        throw error;
      }
    });
    if (found instanceof DnsError) throw found;
    return found;
  }

  /**
   * The SRV records of a name. Where they cannot be had: those of before for a day, else none, for a while. (There are
   * routers that leave such questions unanswered, and most servers have no SRV records.)
   */
  services(name: string): Promise<readonly SrvRecord[]> {
    const key = keyOf(name);
    return this.#services.get(key, async () => {
      try {
        const found = bounded(await this.#dns.services(name));
        this.#lastServices.put(key, { value: found.value, ttlMs: found.ttlMs + STALE_SERVICES_MS });
        return found;
      } catch (error) {
        if (!(error instanceof DnsError)) throw error;
        return { value: this.#lastServices.find(key)?.value ?? [], ttlMs: RETRY_SERVICES_MS };
      }
    });
  }

  /** Forgets what it knows of a host. */
  forget(name: string): void {
    this.#addresses.delete(keyOf(name));
    this.#services.delete(keyOf(name));
  }

  /** Forgets everything: another network may answer otherwise. */
  clear(): void {
    this.#addresses.clear();
    this.#services.clear();
    this.#lastServices.clear();
  }
}

function bounded<Value>({ value, ttlMs }: Found<Value>): Found<Value> {
  return { value, ttlMs: Math.min(Math.max(ttlMs, SHORTEST_MS), LONGEST_MS) };
}

function keyOf(name: string): string {
  return name.toLowerCase().replace(/\.$/, '');
}
