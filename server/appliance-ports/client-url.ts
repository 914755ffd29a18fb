import { isIPv6 } from 'node:net';
import { listOwnAddresses } from '../appliance/setup/own-addresses.ts';
import type { Config } from '../config/types.ts';

interface ClientListener {
  readonly address: string;
  readonly port: number;
  readonly tls: boolean;
  readonly resources: readonly string[];
}

/**
 * The addresses that clients can be given, the best first, without slashes at their ends: the one that is configured, or else
 * where the server listens, by the addresses that this machine has at this moment.
 */
export function clientUrls(
  { publicBaseUrl, publicBaseUrlGiven }: Pick<Config, 'publicBaseUrl' | 'publicBaseUrlGiven'>,
  listeners: readonly ClientListener[],
  own: readonly string[] = listOwnAddresses(),
): readonly [string, ...string[]] {
  const configured = publicBaseUrl.replace(/\/$/, '');
  if (publicBaseUrlGiven) return [configured];
  const found = listeners
    .filter(({ resources, port }) => resources.includes('client') && port !== 0)
    .flatMap(({ address, port, tls }) => hostsOf(address, own).map((host) => ({ host, port, tls })))
    // What is reached from one's own machine alone is the last thing to tell a phone.
    .toSorted((a, b) => Number(a.host === 'localhost') - Number(b.host === 'localhost'))
    .map(({ host, port, tls }) => `${tls ? 'https' : 'http'}://${isIPv6(host) ? `[${host}]` : host}:${port}`);
  const [first = configured, ...others] = new Set(found);
  return [first, ...others.filter((url) => !url.includes('//localhost:'))];
}

/** What a listening address is called from elsewhere in the network. */
function hostsOf(address: string, own: readonly string[]): readonly string[] {
  if (address === '::') return own.length === 0 ? ['localhost'] : own;
  if (address === '0.0.0.0') {
    const ipv4 = own.filter((each) => !isIPv6(each));
    return ipv4.length === 0 ? ['localhost'] : ipv4;
  }
  return [address === '::1' || address.startsWith('127.') ? 'localhost' : address];
}
