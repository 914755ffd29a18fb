import type { Pool } from 'undici';
import type { Clock } from '../../util/clock.ts';
import { AddressGuard } from './address-guard.ts';
import { type AddressLookup, Connector, type Target } from './connector.ts';
import { type Dial, dialTcp } from './dial.ts';
import { Exchange, type OutboundAnswer, type OutboundRequest } from './exchange.ts';
import { OutboundError } from './outbound-error.ts';
import { ProxyChoice, type ProxySettings } from './proxy.ts';
import { TlsPolicy, type TlsSettings } from './tls-policy.ts';
import { proxyAuthorization } from './tunnel.ts';

export interface OutboundSettings extends ProxySettings {
  /** Addresses and CIDR ranges that connections must not lead to. */
  readonly deny: readonly string[];
  /** Exceptions from those. */
  readonly allow: readonly string[];
  readonly tls: TlsSettings;
  /** What this server calls itself. */
  readonly userAgent: string;
}

export interface OutboundNeeds {
  readonly clock: Clock;
  readonly lookup: AddressLookup;
  /** Plain TCP unless told. */
  readonly dial?: Dial;
  readonly settings: OutboundSettings;
}

/** So many connections to one server; a slow one must not keep the others waiting. */
const CONNECTIONS = 6;
/** How long an idle connection is kept where the peer does not say, and at most, ms. */
const IDLE_MS = 20_000;
const LONGEST_IDLE_MS = 60_000;

interface SharedPool {
  readonly pool: Pool;
  target: Target;
}

/**
 * Every HTTP request of this server's own goes through one of these: it checks where connections lead to at the moment they
 * are made, keeps them for a while, and bounds time, size and rate of what comes back. Redirects are not followed.
 */
export class Outbound {
  readonly #clock: Clock;
  readonly #settings: OutboundSettings;
  readonly #connector: Connector;
  readonly #pools = new Map<string, SharedPool>();
  /** No longer in use, but with requests under way. */
  readonly #closing = new Set<Pool>();
  #Pool: typeof Pool | undefined;
  #isClosed = false;

  /** Throws where the settings hold no usable proxy, range or file. */
  constructor({ clock, lookup, dial = dialTcp, settings }: OutboundNeeds) {
    this.#clock = clock;
    this.#settings = settings;
    this.#connector = new Connector({
      clock,
      lookup,
      dial,
      guard: new AddressGuard(settings),
      proxies: new ProxyChoice(settings),
      tls: new TlsPolicy(settings.tls),
    });
  }

  /** Sends a request and resolves with the beginning of its answer. Rejects with an `OutboundError`. */
  async send(target: Target, request: OutboundRequest): Promise<OutboundAnswer> {
    this.#Pool ??= (await import('undici/lib/dispatcher/pool.js')).default;
    if (this.#isClosed) throw new OutboundError('aborted', 'the server is stopping');
    if (request.signal?.aborted === true) throw new OutboundError('aborted', 'the request was called off');
    const exchange = new Exchange(request, this.#clock);
    const { method, path, body } = request;
    this.#poolFor(target, this.#Pool).dispatch(
      {
        method,
        path,
        headers: this.#headers(request),
        ...(body === undefined ? {} : { body }),
        ...this.#absoluteForm(target, request),
      },
      exchange,
    );
    return exchange.answer;
  }

  /** The network is another than before: connections that stand idle lead nowhere any more. Requests under way go on. */
  wake(): void {
    for (const key of this.#pools.keys()) this.#drop(key);
  }

  /** Breaks off what is under way and closes all connections. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#connector.close();
    const reason = new OutboundError('aborted', 'the server is stopping');
    const pools = [...[...this.#pools.values()].map(({ pool }) => pool), ...this.#closing];
    this.#pools.clear();
    this.#closing.clear();
    await Promise.all(pools.map((pool) => pool.destroy(reason)));
  }

  /** How many targets have connections; for tests and metrics. */
  get size(): number {
    return this.#pools.size;
  }

  #poolFor(target: Target, PoolClass: typeof Pool): Pool {
    const known = this.#pools.get(target.key);
    if (known !== undefined) {
      known.target = target;
      return known.pool;
    }
    // The address given to the pool names nothing: the Host header comes with each request, the rest from the target.
    const pool = new PoolClass(`${target.secure ? 'https' : 'http'}://target.invalid`, {
      connections: CONNECTIONS,
      pipelining: 1,
      allowH2: false,
      keepAliveTimeout: IDLE_MS,
      keepAliveMaxTimeout: LONGEST_IDLE_MS,
      // Each exchange keeps the time itself.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: (_, callback) => {
        this.#connector.connect(shared.target).then(
          (socket) => callback(null, socket),
          (error: Error) => callback(error, null),
        );
      },
    });
    const shared: SharedPool = { pool, target };
    this.#pools.set(target.key, shared);
    const dropIfUnused = (): void => {
      const { connected, size } = pool.stats;
      if (connected === 0 && size === 0 && this.#pools.get(target.key) === shared) this.#drop(target.key);
    };
    pool.on('disconnect', () => setImmediate(dropIfUnused));
    pool.on('connectionError', () => setImmediate(dropIfUnused));
    return pool;
  }

  #drop(key: string): void {
    const shared = this.#pools.get(key);
    if (shared === undefined) return;
    this.#pools.delete(key);
    const { pool } = shared;
    this.#closing.add(pool);
    const done = (): void => void this.#closing.delete(pool);
    // Rejected where it is broken off meanwhile, which is just as well.
    pool.close().then(done, done);
  }

  #headers({ headers }: OutboundRequest): Record<string, string> {
    return { 'user-agent': this.#settings.userAgent, 'accept-encoding': 'identity', ...headers };
  }

  /** A proxy for plain HTTP wants the whole address in the request line (RFC 9112, section 3.2.2). */
  #absoluteForm(
    target: Target,
    request: OutboundRequest,
  ): { path: string; headers: Record<string, string> } | undefined {
    const [endpoint] = target.endpoints;
    if (target.secure || endpoint === undefined) return undefined;
    const proxy = this.#connector.findProxy(false, endpoint);
    if (proxy === undefined || proxy.kind === 'socks5') return undefined;
    const authorization = proxyAuthorization(proxy);
    return {
      path: `http://${request.headers['host'] ?? endpoint.host}${request.path}`,
      headers: {
        ...this.#headers(request),
        ...(authorization === undefined ? {} : { 'proxy-authorization': authorization }),
      },
    };
  }
}
