import type { IncomingMessage, ServerResponse } from 'node:http';
import { isIP } from 'node:net';

/** Spec: client-server API, "Web Browser Clients". Retry-After is not among what scripts may read unless it is named. */
export function allowAnyOrigin(res: ServerResponse): void {
  res.setHeader('Access-Control-Allow-Origin', '*');
  res.setHeader('Access-Control-Allow-Methods', 'GET, POST, PUT, DELETE, OPTIONS');
  res.setHeader(
    'Access-Control-Allow-Headers',
    'X-Requested-With, Content-Type, Authorization, If-Match, If-None-Match',
  );
  res.setHeader('Access-Control-Expose-Headers', 'Retry-After');
}

/** Spares browsers a preflight for each request. Seconds; no browser keeps it longer than a day. */
export function letPreflightBeKept(res: ServerResponse): void {
  res.setHeader('Access-Control-Max-Age', '86400');
}

const NOTHING_RUNS = "default-src 'none'; frame-ancestors 'none'";
const PAGE =
  "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'";

/** Headers that keep a reply from being more than it is. What the reply itself brings is left alone. */
export function protect(res: ServerResponse): void {
  res.setHeader('X-Content-Type-Options', 'nosniff');
  if (!res.hasHeader('Referrer-Policy')) res.setHeader('Referrer-Policy', 'no-referrer');
  if (!res.hasHeader('Content-Security-Policy')) {
    const type = res.getHeader('Content-Type');
    const isPage = typeof type === 'string' && type.startsWith('text/html');
    res.setHeader('Content-Security-Policy', isPage ? PAGE : NOTHING_RUNS);
  }
}

/**
 * The address a request came from. Behind a proxy the last one it reports, which is the only one it saw with its own eyes:
 * what stands before it was written by the client.
 */
export function clientAddress(req: IncomingMessage, believeForwarded: boolean): string {
  if (believeForwarded) {
    const forwarded = req.headers['x-forwarded-for'];
    const list = Array.isArray(forwarded) ? forwarded.join(',') : forwarded;
    const last = withoutPort(list?.slice(list.lastIndexOf(',') + 1).trim() ?? '');
    if (isIP(last) !== 0) return plainAddress(last);
  }
  return plainAddress(req.socket.remoteAddress ?? '');
}

function withoutPort(address: string): string {
  const bracketed = /^\[([0-9a-f:.]+)\](?::\d+)?$/i.exec(address);
  if (bracketed?.[1] !== undefined) return bracketed[1];
  return /^[\d.]+:\d+$/.test(address) ? address.slice(0, address.indexOf(':')) : address;
}

/** IPv4 looks the same whether it came in on an IPv6 socket or not. */
function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}
