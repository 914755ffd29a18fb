/** One connection to one address, and what it shows of itself. */
import { lookup as systemLookup } from 'node:dns/promises';
import { isIP, isIPv6, type Socket } from 'node:net';
import { connect as tlsConnect, type TLSSocket } from 'node:tls';
import { describeError, OutboundError } from '../../federation/outbound/outbound-error.ts';
import type { Proxy } from '../../federation/outbound/proxy.ts';
import { ordinaryTls, TlsPolicy } from '../../federation/outbound/tls-policy.ts';
import { tunnel } from '../../federation/outbound/tunnel.ts';
import { placeName, scopeOf } from './addresses.ts';
import { readCertificate, type TlsFacts } from './certificate.ts';
import { codeOf, type World } from './world.ts';

/** Why there is no connection. */
export type ConnectFailure =
  | 'refused'
  | 'timeout'
  | 'unreachable'
  /** This machine has no way to addresses of that family. */
  | 'no-way'
  /** The proxy that this machine goes through does not get there, or does not answer itself. */
  | 'proxy'
  /** What answers speaks no TLS. */
  | 'not-tls'
  | 'old-tls'
  /** It says by an alert that it will not go on. */
  | 'tls-alert'
  | 'closed';

export class ConnectError extends Error {
  readonly kind: ConnectFailure;

  constructor(kind: ConnectFailure, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'ConnectError';
    this.kind = kind;
  }
}

export interface Secured {
  readonly socket: TLSSocket;
  readonly tls: TlsFacts;
}

/**
 * A TCP connection. Where `host` is told, whose address it is, it goes through the proxy of this machine, if there is one for
 * that host. Rejects with a `ConnectError`.
 */
export async function openTcp(
  address: string,
  port: number,
  world: World,
  signal: AbortSignal,
  host?: string,
): Promise<Socket> {
  const deadline = startDeadline(world, world.limits.connectMs, signal);
  try {
    const proxy = host === undefined ? undefined : findProxy(host, address, port, world);
    if (proxy !== undefined) return await throughProxy(proxy, address, port, world, deadline.signal);
    return await world.dial(address, port, deadline.signal);
  } catch (error) {
    if (error instanceof ConnectError) throw error;
    throw new ConnectError(kindOfTcpError(error, address), describeError(error), error);
  } finally {
    deadline.end();
  }
}

/** The proxy that this machine goes through to a host; what is at home is reached without. */
export function findProxy(host: string, address: string, port: number, world: World): Proxy | undefined {
  const proxy = scopeOf(address) === 'public' ? world.proxies?.()?.find(true, host, port) : undefined;
  return proxy === undefined || world.proxies?.()?.find(true, address, port) === undefined ? undefined : proxy;
}

async function throughProxy(
  proxy: Proxy,
  address: string,
  port: number,
  world: World,
  signal: AbortSignal,
): Promise<Socket> {
  const name = placeName(proxy.host, proxy.port);
  const broken = (error: unknown): ConnectError =>
    new ConnectError('proxy', `The proxy ${name}: ${describeError(error)}`, error);
  let socket: Socket;
  try {
    const at = isIP(proxy.host) === 0 ? (await systemLookup(proxy.host)).address : proxy.host;
    socket = await world.dial(at, proxy.port, signal);
  } catch (error) {
    throw broken(error);
  }
  // Whoever has it next listens for himself; what breaks in between shows there as well.
  socket.on('error', () => {});
  const giveUp = (): void => void socket.destroy(new Error('it did not answer in time'));
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    const closed = Promise.withResolvers<never>();
    socket.once('close', () => closed.reject(new Error('it hung up or did not answer in time')));
    const secured =
      proxy.kind === 'https' ? { socket, ...new TlsPolicy(ordinaryTls).optionsFor(proxy.host) } : undefined;
    const toProxy = secured === undefined ? socket : tlsConnect(secured);
    toProxy.on('error', closed.reject);
    return await Promise.race([tunnel(toProxy, proxy, address, port), closed.promise]);
  } catch (error) {
    socket.destroy();
    throw broken(error);
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

/**
 * TLS over a connection, whatever the certificate is like: `tls` tells. `name` is a DNS name, asked for by SNI, or an IP
 * address. Rejects with a `ConnectError`; the connection is closed then.
 */
export async function secure(socket: Socket, name: string, world: World, signal: AbortSignal): Promise<Secured> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const secured = tlsConnect({
    socket,
    ALPNProtocols: ['http/1.1'],
    minVersion: 'TLSv1.2',
    // Looked at afterwards: a finding has to say more than that it failed.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ...(isIP(name) === 0 ? { servername: name } : {}),
    ...(world.authorities === undefined ? {} : { ca: [...world.authorities] }),
  });
  const deadline = startDeadline(world, world.limits.connectMs, signal);
  deadline.signal.addEventListener('abort', () =>
    reject(new ConnectError('timeout', 'the TLS handshake did not come to an end')),
  );
  secured.once('secureConnect', () => resolve());
  // It stays for the life of the connection: what breaks later shows in whatever is asked over it.
  secured.on('error', reject);
  secured.once('close', () => reject(new ConnectError('closed', 'the connection was closed during the TLS handshake')));
  try {
    await promise;
    return { socket: secured, tls: readCertificate(secured, name) };
  } catch (error) {
    secured.destroy();
    socket.destroy();
    if (error instanceof ConnectError) throw error;
    throw new ConnectError(kindOfTlsError(error), describeError(error), error);
  } finally {
    deadline.end();
  }
}

/** Aborted after `ms`, or with `signal`. `end` lets go of both. */
export function startDeadline(
  { clock }: Pick<World, 'clock'>,
  ms: number,
  signal: AbortSignal,
): { readonly signal: AbortSignal; end(): void } {
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  const timer = clock.after(ms, abort);
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  return {
    signal: controller.signal,
    end: () => {
      timer.cancel();
      signal.removeEventListener('abort', abort);
    },
  };
}

function kindOfTcpError(error: unknown, address: string): ConnectFailure {
  if (error instanceof OutboundError) return error.kind === 'timeout' ? 'timeout' : 'unreachable';
  switch (codeOf(error)) {
    case 'ECONNREFUSED':
      return 'refused';
    case 'ETIMEDOUT':
      return 'timeout';
    case 'ENETUNREACH':
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
      return 'no-way';
    case 'EHOSTUNREACH':
      // Linux says this of IPv6 where only its own network segment is reached.
      return isIPv6(address) ? 'no-way' : 'unreachable';
    case 'ECONNRESET':
      return 'closed';
    default:
      return 'unreachable';
  }
}

function kindOfTlsError(error: unknown): ConnectFailure {
  const code = codeOf(error);
  if (/WRONG_VERSION_NUMBER|HTTP_REQUEST|PACKET_LENGTH_TOO_LONG|INVALID_RECORD|RECORD_LAYER/.test(code))
    return 'not-tls';
  if (/PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|VERSION_TOO_LOW/.test(code)) return 'old-tls';
  if (/ALERT/.test(code)) return 'tls-alert';
  return code === 'ECONNRESET' || code === 'EPIPE' ? 'closed' : 'tls-alert';
}
