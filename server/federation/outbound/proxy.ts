import { isIP } from 'node:net';
import { buildList, listHolds } from './address-guard.ts';

/** A server that connections are made through. */
export interface Proxy {
  readonly kind: 'http' | 'https' | 'socks5';
  readonly host: string;
  readonly port: number;
  readonly user: string | undefined;
  readonly password: string | undefined;
  /** Names are looked up by the proxy: always with HTTP, with SOCKS if it is written `socks5h:`. */
  readonly looksUpNames: boolean;
}

/** Where requests may or must go through a proxy. */
export interface ProxySettings {
  /** `[scheme://][user:password@]host[:port]`, scheme one of http, https, socks5, socks5h. */
  readonly httpProxy: string | undefined;
  readonly httpsProxy: string | undefined;
  /** Hosts reached without: names (those below them too), addresses, CIDR ranges, each with an optional port; `*` all. */
  readonly noProxyHosts: readonly string[] | undefined;
}

const KINDS: Readonly<Record<string, Proxy['kind']>> = {
  'http:': 'http',
  'https:': 'https',
  'socks:': 'socks5',
  'socks5:': 'socks5',
  'socks5h:': 'socks5',
};
const DEFAULT_PORT = 1080;

/** Reads the address of a proxy. Throws RangeError, without repeating the text: it may hold a password. */
export function parseProxy(text: string): Proxy {
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.parse(withScheme);
  const kind = url === null ? undefined : KINDS[url.protocol];
  if (url === null || kind === undefined || url.hostname === '') {
    throw new RangeError('the address of the proxy must be like http://user:password@proxy.example.com:8080');
  }
  return {
    kind,
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: portOf(url, withScheme),
    user: url.username === '' ? undefined : decodeURIComponent(url.username),
    password: url.password === '' ? undefined : decodeURIComponent(url.password),
    looksUpNames: kind !== 'socks5' || url.protocol === 'socks5h:',
  };
}

function portOf(url: URL, written: string): number {
  if (url.port !== '') return Number(url.port);
  // The URL parser drops a port that is the scheme's own; written out, it is meant.
  const ownPort = url.protocol === 'http:' ? 80 : url.protocol === 'https:' ? 443 : undefined;
  return ownPort !== undefined && new RegExp(`:0*${ownPort}/?$`).test(written) ? ownPort : DEFAULT_PORT;
}

/** Chooses the proxy for each connection. */
export class ProxyChoice {
  readonly #http: Proxy | undefined;
  readonly #https: Proxy | undefined;
  readonly #exceptions: readonly Exception[];

  /** Throws RangeError for an address that is none. */
  constructor({ httpProxy, httpsProxy, noProxyHosts }: ProxySettings) {
    this.#http = httpProxy === undefined || httpProxy === '' ? undefined : parseProxy(httpProxy);
    this.#https = httpsProxy === undefined || httpsProxy === '' ? undefined : parseProxy(httpsProxy);
    this.#exceptions = (noProxyHosts ?? []).map((entry) => readException(entry)).filter((entry) => entry !== undefined);
  }

  /** The proxy to reach `host` (a name or an IP literal without brackets) through; undefined: directly. */
  find(secure: boolean, host: string, port: number): Proxy | undefined {
    const proxy = secure ? this.#https : this.#http;
    if (proxy === undefined) return undefined;
    const name = host.toLowerCase().replace(/\.$/, '');
    return this.#exceptions.some((excepts) => excepts(name, port)) ? undefined : proxy;
  }
}

type Exception = (host: string, port: number) => boolean;

function readException(entry: string): Exception | undefined {
  const text = entry.trim().toLowerCase();
  if (text === '') return undefined;
  if (text === '*') return () => true;
  const range = findRange(text);
  if (range !== undefined) return (host) => isIP(host) !== 0 && listHolds(range, host);
  const [, bracketed, plain = '', port] = /^(?:\[([0-9a-f:.]+)\]|([^:]*))(?::(\d+))?$/.exec(text) ?? [];
  const host = bracketed ?? plain.replace(/^\*?\./, '').replace(/\.$/, '');
  if (host === '') return undefined;
  const fits = isIP(host) === 0 ? (name: string) => name === host || name.endsWith(`.${host}`) : isAddress(host);
  return (name, toPort) => fits(name) && (port === undefined || Number(port) === toPort);
}

function isAddress(address: string): (host: string) => boolean {
  const list = buildList([address]);
  return (host) => isIP(host) !== 0 && listHolds(list, host);
}

function findRange(text: string): ReturnType<typeof buildList> | undefined {
  const [address = ''] = text.split('/', 1);
  if (isIP(address) === 0 || (!text.includes('/') && isIP(address) === 4)) return undefined;
  try {
    return buildList([text]);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
