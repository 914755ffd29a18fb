import { isIP } from 'node:net';
import type { ServerName } from '../../matrix/identifiers.ts';

/** A server name taken apart (spec: appendices, "Server Name"). */
export interface ServerAddress {
  /** A DNS name, or an IP literal without brackets. */
  readonly host: string;
  readonly port: number | undefined;
  readonly isIpLiteral: boolean;
}

/** Takes a server name apart; undefined where its port or its IPv6 address is none. */
export function parseServerAddress(name: ServerName): ServerAddress | undefined {
  const [, bracketed, plain = '', digits] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d+))?$/.exec(name) ?? [];
  const host = bracketed ?? plain;
  const port = digits === undefined ? undefined : Number(digits);
  if (host === '' || (port !== undefined && (port < 1 || port > 65_535))) return undefined;
  if (bracketed !== undefined && isIP(bracketed) !== 6) return undefined;
  return { host, port, isIpLiteral: isIP(host) !== 0 };
}
