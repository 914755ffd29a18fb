import { isIP, type Socket } from 'node:net';
import { connect as tlsConnect, type ConnectionOptions } from 'node:tls';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../util/clock.ts';
import { atMost } from '../../util/lru.ts';
import { Pace } from '../../util/pace.ts';
import type { AddressGuard } from './address-guard.ts';
import { type Dial, dialFirst } from './dial.ts';
import { describeError, OutboundError } from './outbound-error.ts';
import type { Proxy, ProxyChoice } from './proxy.ts';
import { ordinaryTls, TlsPolicy } from './tls-policy.ts';
import { tunnel } from './tunnel.ts';

export interface Endpoint {
  /** A DNS name, or an IP literal without brackets. */
  readonly host: string;
  readonly port: number;
}

/** Where connections for certain requests lead. */
export interface Target {
  /** What connections are shared by: two targets with one key lead to the same server under the same name. */
  readonly key: string;
  readonly secure: boolean;
  /** Tried in this order until one answers. */
  readonly endpoints: readonly Endpoint[];
  /** What the certificate must be for: a DNS name or an IP literal. */
  readonly tlsName: string;
  /** Further names by which the target may be excepted from the check of certificates. */
  readonly aliases?: readonly string[];
}

/** All IP addresses of a host, the best first. Rejects if it has none. */
export type AddressLookup = (host: string) => Promise<readonly string[]>;

interface ConnectorNeeds {
  readonly clock: Clock;
  readonly lookup: AddressLookup;
  readonly dial: Dial;
  readonly guard: AddressGuard;
  readonly proxies: ProxyChoice;
  readonly tls: TlsPolicy;
}

/** How long a connection to one endpoint may take to be there, name look-up and TLS included, ms; and to any of them. */
const ENDPOINT_TIMEOUT_MS = 15_000;
const CONNECT_TIMEOUT_MS = 40_000;
/** Of one host; a name with thousands of addresses is a trap. */
const MAX_ADDRESSES = 8;
const MAX_ENDPOINTS = 8;
const SESSIONS_KEPT = 200;
/** How long TLS handshakes are begun at a stretch, ms: each takes about one. */
const HANDSHAKES_SLICE_MS = 4;

/** Opens connections: looks names up, checks the addresses, goes through proxies, speaks TLS. */
export class Connector {
  readonly #needs: ConnectorNeeds;
  /** TLS sessions to resume, by what the certificate was checked for. */
  readonly #sessions = new LRUCache<string, Buffer>(atMost(SESSIONS_KEPT));
  readonly #closing = new AbortController();
  readonly #handshakes: Pace;
  #ordinaryTls: TlsPolicy | undefined;

  constructor(needs: ConnectorNeeds) {
    this.#needs = needs;
    this.#handshakes = new Pace(needs.clock, HANDSHAKES_SLICE_MS);
  }

  /** The proxy that a connection to this endpoint goes through. */
  findProxy(secure: boolean, { host, port }: Endpoint): Proxy | undefined {
    return this.#needs.proxies.find(secure, host, port);
  }

  /** A connection to the target, ready for HTTP. Rejects with an `OutboundError`. */
  async connect(target: Target): Promise<Socket> {
    const errors: OutboundError[] = [];
    const { clock } = this.#needs;
    const end = clock.monotonic() + CONNECT_TIMEOUT_MS;
    for (const endpoint of target.endpoints.slice(0, MAX_ENDPOINTS)) {
      const left = Math.min(ENDPOINT_TIMEOUT_MS, end - clock.monotonic());
      if (left <= 0 || this.#closing.signal.aborted) break;
      const limit = new AbortController();
      const timer = clock.after(left, () => limit.abort());
      try {
        const signal = AbortSignal.any([limit.signal, this.#closing.signal]);
        return await this.#connectTo(target, endpoint, signal);
      } catch (error) {
        errors.push(toOutboundError(error, limit.signal));
      } finally {
        timer.cancel();
      }
    }
    // That one of several addresses is forbidden says less than why the others did not answer.
    throw (
      errors.find(({ kind }) => kind !== 'denied') ??
      errors[0] ??
      new OutboundError('unreachable', 'there is nowhere to connect to')
    );
  }

  /** Gives up the connections that are being made. */
  close(): void {
    this.#closing.abort();
  }

  async #connectTo(target: Target, endpoint: Endpoint, signal: AbortSignal): Promise<Socket> {
    const socket = await this.#open(target.secure, endpoint, signal);
    if (!target.secure) return socket;
    return this.#secure(socket, target, signal);
  }

  async #open(secure: boolean, { host, port }: Endpoint, signal: AbortSignal): Promise<Socket> {
    const proxy = this.findProxy(secure, { host, port });
    if (proxy === undefined) {
      const addresses = await this.#findAllowed(host, signal);
      return dialFirst(addresses, port, { ...this.#needs, signal });
    }
    // A proxy that looks names up also decides where they may lead; an address it is asked for is known here already.
    const literal = literalAddress(host);
    const to = proxy.looksUpNames && literal === undefined ? [host] : await this.#findAllowed(host, signal);
    const socket = await this.#openProxy(proxy, signal);
    // The proxy's own TLS may hide whether it speaks TLS to the target: plain HTTP is asked of it, not tunnelled.
    if (!secure && proxy.kind !== 'socks5') return socket;
    return settleOrDestroy(socket, signal, tunnel(socket, proxy, to[0] ?? host, port));
  }

  /** A connection to the proxy itself: whoever configured it meant it, wherever it is. */
  async #openProxy(proxy: Proxy, signal: AbortSignal): Promise<Socket> {
    try {
      const addresses = isIP(proxy.host) === 0 ? await abortable(this.#needs.lookup(proxy.host), signal) : [proxy.host];
      const socket = await dialFirst(addresses, proxy.port, { ...this.#needs, signal });
      if (proxy.kind !== 'https') return socket;
      this.#ordinaryTls ??= new TlsPolicy(ordinaryTls);
      return await startTls(socket, this.#ordinaryTls.optionsFor(proxy.host), signal);
    } catch (error) {
      const { kind, message } = toOutboundError(error, signal);
      throw new OutboundError(kind, `the proxy cannot be reached: ${message}`, { cause: error });
    }
  }

  async #findAllowed(host: string, signal: AbortSignal): Promise<readonly string[]> {
    const literal = literalAddress(host);
    const found = literal === undefined ? await abortable(this.#needs.lookup(host), signal) : [literal];
    const allowed = found.filter((address) => this.#needs.guard.isAllowed(address)).slice(0, MAX_ADDRESSES);
    if (allowed.length === 0 && found.length > 0) {
      throw new OutboundError('denied', `the address of ${host} is one that requests must not go to`);
    }
    return allowed;
  }

  async #secure(socket: Socket, { key, tlsName, aliases }: Target, signal: AbortSignal): Promise<Socket> {
    // Many servers may be called upon at once; whoever else has work to do has turns in between.
    await settleOrDestroy(
      socket,
      signal,
      this.#handshakes.step().then(() => socket),
    );
    const session = this.#sessions.get(key);
    const options = this.#needs.tls.optionsFor(tlsName, aliases);
    const secured = await startTls(
      socket,
      { ...options, ...(session === undefined ? {} : { session }) },
      signal,
      (fresh) => this.#sessions.set(key, fresh),
    ).catch((error: unknown) => {
      this.#sessions.delete(key);
      throw error;
    });
    return secured;
  }
}

function startTls(
  socket: Socket,
  options: ConnectionOptions,
  signal: AbortSignal,
  onSession: (session: Buffer) => void = () => {},
): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const secured = tlsConnect({ socket, ...options });
  secured.on('session', onSession);
  secured.once('error', reject);
  secured.once('secureConnect', () => {
    secured.off('error', reject);
    resolve(secured);
  });
  return settleOrDestroy(secured, signal, promise);
}

/** Waits for `ready`; the connection does not outlive a failure or the signal. */
async function settleOrDestroy(socket: Socket, signal: AbortSignal, ready: Promise<Socket>): Promise<Socket> {
  try {
    return await abortable(ready, signal);
  } catch (error) {
    // Whatever it still has to complain about has been said.
    socket.on('error', () => {});
    socket.destroy();
    throw error;
  }
}

/** `promise`, or a rejection as soon as the signal is aborted. */
async function abortable<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const giveUp = (): void => reject(new OutboundError('timeout', 'connecting took too long'));
  signal.addEventListener('abort', giveUp, { once: true });
  if (signal.aborted) giveUp();
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

/** The IP address that a host is, if it is one: also in the shorthands (`127.1`) that resolvers understand. */
function literalAddress(host: string): string | undefined {
  if (isIP(host) !== 0) return host;
  const read = /^[0-9a-fx.]+$/i.test(host) ? URL.parse(`http://${host}`)?.hostname : undefined;
  return read !== undefined && isIP(read) !== 0 ? read : undefined;
}

function toOutboundError(error: unknown, signal: AbortSignal): OutboundError {
  if (error instanceof OutboundError) return error;
  if (signal.aborted) return new OutboundError('timeout', 'connecting took too long', { cause: error });
  return new OutboundError('unreachable', describeError(error), { cause: error });
}
