import type { Database } from '../storage/types.ts';
import { type Clock, systemClock, type Timer } from '../util/clock.ts';
import type { Logger } from '../util/log.ts';
import { accessLog, type FinishedRequest } from './access-log.ts';
import type { Authenticator, FederationAuthenticator } from './authenticate.ts';
import type { Exchange } from './exchange.ts';
import { Listener, type ListenerOptions, type ListeningAddress } from './listener.ts';
import { Reply, route, type Route } from './route.ts';
import { buildRouter } from './router.ts';
import { type Gate, requestListener, StoppingError, type RequestLimiter, type ServeNeeds } from './serve.ts';
import { prepareChecks } from './validate.ts';

export type { ListenerOptions, ListeningAddress } from './listener.ts';

/** Is told of each request once it is over. */
export interface HttpMetrics {
  requestFinished(request: FinishedRequest): void;
}

export interface HttpServerOptions {
  readonly routes: readonly Route[];
  readonly listeners: readonly ListenerOptions[];
  readonly db: Pick<Database, 'committed'>;
  readonly log: Logger;
  readonly clock: Clock;
  readonly authenticator: Authenticator;
  /** Without it, routes with `auth: 'server'` answer 401 M_UNAUTHORIZED. */
  readonly federationAuthenticator?: FederationAuthenticator;
  /** A limit over all routes; routes with limits of their own use `RateLimit` themselves. */
  readonly rateLimiter?: RequestLimiter;
  /** Who may come in at all; everybody unless given. */
  readonly gate?: Gate;
  readonly metrics?: HttpMetrics;
  /** How long `stop` lets replies finish, in milliseconds; 3 s unless said. */
  readonly stopGraceMs?: number;
}

/** The HTTP side of the server. */
export interface HttpServer {
  /** Opens every listener, or none and throws `ListenError` with a message for the administrator. */
  start(): Promise<{ addresses: readonly ListeningAddress[] }>;
  /**
   * Accepts no more, aborts the `signal` of requests under way, gives their replies `stopGraceMs` and then closes what is
   * left. Resolves when every connection is closed.
   */
  stop(): Promise<void>;
  /** Where it listens; empty before `start` and after `stop`. */
  readonly addresses: readonly ListeningAddress[];
  /** Reads the certificates of TLS listeners anew. Throws where one is bad; those before it are in use then, it is not. */
  reloadCertificates(): void;
}

const STOP_GRACE_MS = 3_000;
/** How long after the start (ms) what the first real request will need is loaded, if none has come by then. */
const WARM_UP_MS = 1_000;

/**
 * Makes the HTTP server of the given routes; it listens from `start` on. Throws at once where routes contradict each other.
 * `GET /health` answers on every listener.
 */
export function createHttpServer(options: HttpServerOptions): HttpServer {
  const { log, clock, metrics } = options;
  const inFlight = new Set<Exchange>();
  const writeLine = accessLog(log);
  let stopping = false;
  let warmUp: Timer | undefined;

  const needs: ServeNeeds = {
    router: buildRouter([...options.routes, health]),
    db: options.db,
    log,
    clock,
    authenticator: options.authenticator,
    federationAuthenticator: options.federationAuthenticator,
    rateLimiter: options.rateLimiter,
    gate: options.gate,
    inFlight,
    isStopping: () => stopping,
    finished: (request) => {
      writeLine(request);
      metrics?.requestFinished(request);
    },
  };
  const listeners = options.listeners.map((each) => new Listener(each, requestListener(needs, each), log));

  return {
    start: async () => {
      const started: Listener[] = [];
      stopping = false;
      try {
        for (const listener of listeners) {
          await listener.start();
          started.push(listener);
        }
      } catch (error) {
        await Promise.all(started.map((listener) => listener.stop(0)));
        throw error;
      }
      // On the machine's own clock: it is about the machine being idle, and a clock that tests hold still would hold it too.
      warmUp = systemClock.after(WARM_UP_MS, () => void prepareChecks());
      return { addresses: listeners.flatMap((listener) => listener.addresses) };
    },
    stop: async () => {
      stopping = true;
      warmUp?.cancel();
      const reason = new StoppingError();
      const stopped = listeners.map((listener) => listener.stop(options.stopGraceMs ?? STOP_GRACE_MS));
      for (const exchange of inFlight) exchange.abort(reason);
      await Promise.all(stopped);
    },
    get addresses() {
      return listeners.flatMap((listener) => listener.addresses);
    },
    reloadCertificates: () => {
      for (const listener of listeners) listener.reloadCertificate();
    },
  };
}

const health = route({
  method: 'GET',
  path: '/health',
  auth: 'none',
  resource: 'health',
  handle: () => new Reply({ body: 'OK' }),
});
