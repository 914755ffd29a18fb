import type { JsonObject } from '../../matrix/json.ts';
import type { Reach } from '../contract.ts';

/** What the guidance is made of. */
export interface DelegationFacts {
  readonly serverName: string;
  readonly reach: Reach;
  /** The address clients are given, where one is set. */
  readonly publicUrl: string | undefined;
  /** Where Hearth listens on this computer. */
  readonly listeners: readonly {
    readonly port: number;
    readonly bindAddresses: readonly string[];
    readonly tls: boolean;
    readonly forClients: boolean;
    readonly forServers: boolean;
    readonly trustsForwarded: boolean;
  }[];
  /** Further keys of the file for clients. */
  readonly extraClientContent: JsonObject;
  readonly maxUploadBytes: number;
  /** Public addresses of this computer's own; mostly IPv6, since IPv4 mostly ends at the router. */
  readonly publicAddresses: readonly string[];
  /** The computer's address in the home network, for a proxy on another one. */
  readonly homeAddress: string | undefined;
}

/** The names and ports that the guidance speaks of. */
export interface Way {
  readonly serverName: string;
  /** The server name's host: where the delegation files are looked for. */
  readonly nameHost: string;
  /** Where connections are to go. */
  readonly publicHost: string;
  readonly clientUrl: string;
  /** What `m.server` says; undefined where the name says itself where the server is. */
  readonly delegate: string | undefined;
  /** Whether Hearth has a certificate itself, and no proxy is needed. */
  readonly isDirect: boolean;
  /** Where a proxy reaches Hearth: the port for clients, and for other servers if that is another. */
  readonly clientPort: number;
  readonly serverPort: number;
  readonly maxUploadMegabytes: number;
  readonly files: { readonly server: string; readonly client: string };
}

const USUAL_PORT = 8008;
const MEGABYTE = 1024 * 1024;

export function planWay(facts: DelegationFacts): Way {
  const { serverName, publicUrl, listeners, extraClientContent, maxUploadBytes, reach } = facts;
  const { host: nameHost, port: namePort } = splitName(serverName);
  const url = publicUrl === undefined ? null : URL.parse(publicUrl);
  const publicHost = url === null ? nameHost : url.hostname.replace(/^\[|\]$/g, '');
  const isDirect = reach !== 'proxy' && listeners.some(({ tls, forServers }) => tls && forServers);
  const plain = listeners.filter(({ tls }) => !tls);
  const clientPort = plain.find(({ forClients }) => forClients)?.port ?? USUAL_PORT;
  const both = plain.find(({ port, forServers }) => port === clientPort && forServers);
  const serverPort = both?.port ?? plain.find(({ forServers }) => forServers)?.port ?? clientPort;
  const direct = listeners.find(({ tls, forServers }) => tls && forServers)?.port ?? 8448;
  const clientUrl = url === null ? homeUrl(facts, nameHost, clientPort) : url.href.replace(/\/$/, '');
  // Where the proxy answers clients it can answer servers, too: one port to open.
  const outerPort = isDirect ? direct : url !== null && url.port !== '' ? Number(url.port) : 443;
  const delegate = namePort === undefined && !isAddress(nameHost) ? `${bracket(publicHost)}:${outerPort}` : undefined;
  return {
    serverName,
    nameHost,
    publicHost,
    clientUrl,
    delegate,
    isDirect,
    clientPort,
    serverPort,
    maxUploadMegabytes: Math.max(1, Math.ceil(maxUploadBytes / MEGABYTE)),
    files: {
      server: `{"m.server": ${plainJson(delegate ?? serverName)}}`,
      client: plainJson({ ...extraClientContent, 'm.homeserver': { base_url: clientUrl } }),
    },
  };
}

/** What may mean more than itself in one of the configuration languages, and what is not ASCII. */
const SPECIAL = /[^\w :/.,@+*=?&~!()[\]-]/g;

/**
 * JSON that can stand between single quotes or backticks in the configuration of any of the proxies: in its texts, what
 * would end the quotes, be replaced or be taken for an escape there is written as an escape of JSON that none of them knows.
 */
function plainJson(value: unknown): string {
  return JSON.stringify(value).replaceAll(/"(?:[^"\\]|\\.)*"/g, (text) => {
    const inner = JSON.parse(text) as string;
    return `"${inner.replaceAll(SPECIAL, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)}"`;
  });
}

function homeUrl({ reach }: DelegationFacts, host: string, port: number): string {
  return reach === 'home' ? `http://${bracket(host)}:${port}` : `https://${bracket(host)}`;
}

function splitName(name: string): { host: string; port: number | undefined } {
  const [, bracketed, plain = name, digits] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d+))?$/.exec(name) ?? [];
  return { host: bracketed ?? plain, port: digits === undefined ? undefined : Number(digits) };
}

function isAddress(host: string): boolean {
  return host.includes(':') || /^\d+(?:\.\d+){3}$/.test(host);
}

function bracket(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
