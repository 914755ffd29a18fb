/** What the doctor sees of the world: names, connections, time. Tests play it. */
import { lookup as systemLookup, Resolver } from 'node:dns/promises';
import { isIPv4 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { type Dns, DnsError } from '../../federation/discovery/dns.ts';
import type { SrvRecord } from '../../federation/discovery/srv-query.ts';
import { type Dial, dialTcp } from '../../federation/outbound/dial.ts';
import type { ProxyChoice } from '../../federation/outbound/proxy.ts';
import { type Clock, systemClock } from '../../util/clock.ts';

/** The addresses of a host, as they are published. */
export interface HostRecords {
  readonly ipv4: readonly string[];
  readonly ipv6: readonly string[];
  /** What the name is an alias of (CNAME). */
  readonly alias?: string | undefined;
  /** Only this machine or its network knows the name: no name server that others ask does. */
  readonly isLocalOnly?: boolean | undefined;
  /** The question for this record was answered with an error, which is not the same as "there is none". */
  readonly failed?: 'A' | 'AAAA' | undefined;
}

/** Why a name leads to no address: what the name servers said, or that none said anything. */
type NameFailure = 'no-name' | 'dangling' | 'server-error' | 'refused' | 'no-answer';

export class NameError extends DnsError {
  readonly why: NameFailure;
  /** What the name is an alias of, where that is what has no address. */
  readonly alias: string | undefined;

  constructor(why: NameFailure, message: string, { alias, cause }: { alias?: string; cause?: unknown } = {}) {
    super(message, why === 'no-name' || why === 'dangling', cause);
    this.name = 'NameError';
    this.why = why;
    this.alias = alias;
  }
}

export interface DoctorDns {
  /** Rejects with a `DnsError`, definite where the name has no address at all. */
  host(name: string): Promise<HostRecords>;
  /** None if there are none. Rejects with a `DnsError` where that cannot be found out. */
  services(name: string): Promise<readonly SrvRecord[]>;
}

/** How long things may take, ms, and how large an answer may be, bytes. */
export interface DoctorLimits {
  readonly connectMs: number;
  readonly answerMs: number;
  readonly totalMs: number;
  readonly maxBytes: number;
}

export interface World {
  readonly dns: DoctorDns;
  readonly dial: Dial;
  readonly clock: Clock;
  /** Addresses of this machine's network interfaces. */
  readonly localAddresses: () => readonly string[];
  /** Which proxy this machine goes through to others; undefined: none. */
  readonly proxies?: (() => ProxyChoice | undefined) | undefined;
  /** PEM; undefined: the authorities that everybody trusts. */
  readonly authorities: readonly string[] | undefined;
  readonly limits: DoctorLimits;
}

export const usualLimits: DoctorLimits = { connectMs: 5_000, answerMs: 8_000, totalMs: 30_000, maxBytes: 64 * 1024 };

/** The world as this machine sees it, but for what is given. */
export function createWorld(parts: Partial<World> = {}): World {
  return {
    dns: parts.dns ?? createPublicDns(),
    dial: parts.dial ?? dialTcp,
    clock: parts.clock ?? systemClock,
    localAddresses: parts.localAddresses ?? addressesOfThisMachine,
    proxies: parts.proxies,
    authorities: parts.authorities,
    limits: parts.limits ?? usualLimits,
  };
}

/** IP addresses of this machine, those that only it knows left out. */
export function addressesOfThisMachine(): string[] {
  return Object.values(networkInterfaces()).flatMap((list = []) =>
    list.filter(({ internal }) => !internal).map(({ address }) => address),
  );
}

const NOTHING = new Set(['ENODATA', 'ENOTFOUND']);
const FAILURES: Readonly<Record<string, NameFailure>> = { ESERVFAIL: 'server-error', EREFUSED: 'refused' };

/**
 * Asks name servers rather than the operating system: the hosts file and names of the local network would hide what others
 * see. Only a name that no name server knows is looked up the local way.
 */
export function createPublicDns(
  resolver = new Resolver({ timeout: 2_500, tries: 2 }),
  local: (name: string) => Promise<HostRecords | undefined> = lookUpLocally,
): DoctorDns {
  const query = async <Record>(name: string, ask: () => Promise<readonly Record[]>): Promise<readonly Record[]> => {
    try {
      return await ask();
    } catch (error) {
      const code = codeOf(error);
      if (NOTHING.has(code)) return [];
      throw new NameError(FAILURES[code] ?? 'no-answer', `no name server tells about ${name} (${code})`, {
        cause: error,
      });
    }
  };
  return {
    host: async (name) => {
      const [ipv4, ipv6, aliases] = await Promise.allSettled([
        query(name, () => resolver.resolve4(name)),
        query(name, () => resolver.resolve6(name)),
        query(name, () => resolver.resolveCname(name)),
      ]);
      const found = {
        ipv4: ipv4.status === 'fulfilled' ? ipv4.value : [],
        ipv6: ipv6.status === 'fulfilled' ? ipv6.value : [],
        alias: aliases.status === 'fulfilled' ? aliases.value[0] : undefined,
        failed:
          ipv4.status === 'rejected' ? ('A' as const) : ipv6.status === 'rejected' ? ('AAAA' as const) : undefined,
      };
      if (found.ipv4.length + found.ipv6.length > 0) return found;
      const known = await local(name);
      // Where name servers could not be asked, that only this machine knows the name would be a guess.
      if (known !== undefined) return { ...known, isLocalOnly: found.failed === undefined };
      if (ipv4.status === 'rejected') throw ipv4.reason;
      if (ipv6.status === 'rejected') throw ipv6.reason;
      if (found.alias !== undefined) {
        throw new NameError('dangling', `${found.alias} has no address`, { alias: found.alias });
      }
      throw new NameError('no-name', `${name} has no address`);
    },
    services: async (name) =>
      (await query(name, () => resolver.resolveSrv(name))).map(({ name: target, port, priority, weight }) => ({
        target: target.replace(/\.$/, ''),
        port,
        priority,
        weight,
      })),
  };
}

async function lookUpLocally(name: string): Promise<HostRecords | undefined> {
  try {
    const found = (await systemLookup(name, { all: true, order: 'verbatim' })).map(({ address }) => address);
    return found.length === 0 ? undefined : byFamily(found);
  } catch (error) {
    // Whatever the system says then, there is no address; the name servers' answer is the one to tell.
    if (error instanceof Error) return undefined;
    throw error;
  }
}

/** Asks everything once, and waits no longer than `signal` lets it. */
export function patientDns(dns: DoctorDns, signal: AbortSignal): DoctorDns {
  const hosts = new Map<string, Promise<HostRecords>>();
  const services = new Map<string, Promise<readonly SrvRecord[]>>();
  const ask = async <Found>(
    kept: Map<string, Promise<Found>>,
    name: string,
    look: () => Promise<Found>,
  ): Promise<Found> => {
    const asked = kept.get(name) ?? look();
    kept.set(name, asked);
    const { promise, reject } = Promise.withResolvers<never>();
    const giveUp = (): void => reject(new NameError('no-answer', `name servers did not tell about ${name} in time`));
    signal.addEventListener('abort', giveUp, { once: true });
    if (signal.aborted) giveUp();
    try {
      return await Promise.race([asked, promise]);
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  };
  return {
    host: (name) => ask(hosts, name, () => dns.host(name)),
    services: (name) => ask(services, name, () => dns.services(name)),
  };
}

/** What the homeserver's own way of asking gives. */
export function dnsOf(dns: Dns): DoctorDns {
  return {
    host: async (name) => byFamily((await dns.addresses(name)).value),
    services: async (name) => (await dns.services(name)).value,
  };
}

function byFamily(addresses: readonly string[]): { ipv4: string[]; ipv6: string[] } {
  return {
    ipv4: addresses.filter((address) => isIPv4(address)),
    ipv6: addresses.filter((address) => !isIPv4(address)),
  };
}

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown';
}
