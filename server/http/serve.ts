import Koa from 'koa';
import type { IncomingHttpHeaders, RequestListener } from 'node:http';
import { parse as parseQueryString } from 'node:querystring';

import { MatrixError, notJson, unrecognized } from '../matrix/errors.ts';
import type { ServerName } from '../matrix/identifiers.ts';
import type { Database } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import type { Logger } from '../util/log.ts';
import { loggablePath, type FinishedRequest } from './access-log.ts';
import {
  authenticateServer,
  authenticateUser,
  type Authenticator,
  type FederationAuthenticator,
} from './authenticate.ts';
import { ClientGoneError, DEFAULT_BODY_LIMIT, discardRest, readJson, streamBody } from './body.ts';
import { errorResponse } from './error-response.ts';
import { Exchange } from './exchange.ts';
import { allowAnyOrigin, clientAddress, letPreflightBeKept } from './headers.ts';
import type { ListenerOptions } from './listener.ts';
import { prepareReply, type PreparedReply } from './prepare-reply.ts';
import { Reply, type Auth, type Requester, type RouteRequest } from './route.ts';
import type { Match, Router, ServedRoute } from './router.ts';
import { discardReply, sendReply } from './send-reply.ts';
import { canCheck, prepareChecks } from './validate.ts';

/** What a limit that lies over all routes gets to see of a request. */
export interface LimitedRequest {
  readonly method: string;
  readonly template: string;
  readonly requester: Requester | undefined;
  readonly ip: string;
}

/** Refuses a request by throwing M_LIMIT_EXCEEDED; runs once it is known who asks, before the body is read. */
export type RequestLimiter = (request: LimitedRequest) => void;

/** What a gate gets to see of a request before anything else does. */
export interface GatedRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly ip: string;
}

/** Refuses a request, whatever it asks for, by throwing a MatrixError. */
export type Gate = (request: GatedRequest) => void;

/** What is needed to answer requests. */
export interface ServeNeeds {
  readonly router: Router;
  readonly db: Pick<Database, 'committed'>;
  readonly log: Logger;
  readonly clock: Clock;
  readonly authenticator: Authenticator;
  readonly federationAuthenticator?: FederationAuthenticator | undefined;
  readonly rateLimiter?: RequestLimiter | undefined;
  readonly gate?: Gate | undefined;
  /** Requests under way, those of all listeners. */
  readonly inFlight: Set<Exchange>;
  isStopping(): boolean;
  finished(request: FinishedRequest): void;
}

/** The server is stopping: the reason of `signal` then. */
export class StoppingError extends Error {
  constructor() {
    super('the server is stopping');
    this.name = 'StoppingError';
  }
}

type Query = Readonly<Record<string, string | string[] | undefined>>;

const NO_QUERY: Query = Object.freeze(Object.create(null));

/** Answers the requests that come in on one listener: each gets a reply, whatever happens. */
export function requestListener(needs: ServeNeeds, options: ListenerOptions): RequestListener {
  const app = new Koa();
  app.on('error', (error: Error) => needs.log.debug({ error: error.message }, 'reply could not be sent'));
  const service = new ListenerService(needs, options);
  app.use((ctx) => service.serve(ctx));
  const handle = app.callback();
  return (req, res) => void handle(req, res);
}

class ListenerService {
  readonly #needs: ServeNeeds;
  readonly #options: ListenerOptions;
  readonly #serves: (served: ServedRoute) => boolean;
  readonly #compresses: (served: ServedRoute) => boolean;
  readonly #idPrefix: string;
  #count = 0;

  constructor(needs: ServeNeeds, options: ListenerOptions) {
    this.#needs = needs;
    this.#options = options;
    const answered = new Set([...options.resources, 'health']);
    this.#serves = (served) => served.resources.some((resource) => answered.has(resource));
    const compressed = new Set(options.compressed ?? options.resources);
    this.#compresses = (served) => served.resources.some((resource) => compressed.has(resource));
    this.#idPrefix = needs.clock.now().toString(36);
  }

  async serve(ctx: Koa.Context): Promise<void> {
    const { req, res } = ctx;
    const exchange = new Exchange(req, res, {
      id: this.#requestId(req.headers),
      ip: clientAddress(req, this.#options.xForwarded),
      startedAt: this.#needs.clock.monotonic(),
    });
    this.#needs.inFlight.add(exchange);
    if (this.#needs.isStopping()) exchange.abort(new StoppingError());
    res.once('close', () => this.#finish(exchange));

    let reply = await this.#prepare(exchange);
    try {
      // Not even an error or a read may outrun the commit of what it rests on.
      await this.#needs.db.committed();
    } catch (error) {
      discardReply(reply);
      reply = this.#refusal(exchange, error);
    }
    if (this.#needs.isStopping()) res.setHeader('Connection', 'close');
    const { match } = exchange;
    await sendReply(ctx, reply, {
      compress: match !== undefined && this.#compresses(match.served),
      refuse: (error) => this.#refusal(exchange, error),
      brokeOff: (error) =>
        this.#needs.log.error({ ...this.#about(exchange), error: describe(error) }, 'reply broke off'),
    });
  }

  async #prepare(exchange: Exchange): Promise<PreparedReply> {
    try {
      return prepareReply(await this.#answer(exchange));
    } catch (error) {
      return this.#refusal(exchange, error);
    }
  }

  async #answer(exchange: Exchange): Promise<object> {
    const { method, path, req, res, ip } = exchange;
    this.#needs.gate?.({ method, path, headers: req.headers, ip });
    const match = this.#find(exchange);
    // Pages of other origins have no business with what is for this machine's own program.
    if (match === undefined || !isPrivate(match.served)) allowAnyOrigin(res);
    if (method === 'OPTIONS') {
      // Spec: client-server API, "Web Browser Clients": any path, and nothing of its logic.
      letPreflightBeKept(res);
      return new Reply({ status: 204, body: '' });
    }
    if (match !== undefined) {
      exchange.match = match;
      return this.#call(exchange, match);
    }
    const methods = this.#needs.router.methodsOf(path, this.#serves);
    if (methods.length === 0) throw unrecognized('Unrecognized request');
    const { status, headers, body } = errorResponse(
      new MatrixError('M_UNRECOGNIZED', 'This path does not know that method', { status: 405 }),
    );
    return new Reply({ status, headers: { ...headers, allow: [...methods, 'OPTIONS'].join(', ') }, body });
  }

  #find({ method, path }: Exchange): Match | undefined {
    const { router } = this.#needs;
    // A preflight asks for the route that will be called next; which it is decides about its headers.
    const methods = method === 'OPTIONS' ? router.methodsOf(path, this.#serves) : [method];
    const match = methods[0] === undefined ? undefined : router.find(methods[0], path);
    return match !== undefined && this.#serves(match.served) ? match : undefined;
  }

  async #call(exchange: Exchange, { served, params }: Match): Promise<object> {
    const { req, ip, url, path } = exchange;
    const { route, template } = served;
    const { clock, rateLimiter } = this.#needs;
    const query = path.length === url.length ? NO_QUERY : parseQueryString(url.slice(path.length + 1));
    const limit = route.bodyLimit ?? DEFAULT_BODY_LIMIT;

    let requester: Requester | undefined;
    if (route.auth === 'user' || route.auth === 'optional') {
      requester = await authenticateUser(this.#needs.authenticator, route, { headers: req.headers, query, ip });
      exchange.requester = requester?.userId;
    }
    rateLimiter?.({ method: exchange.method, template, requester, ip });

    // What a server signs includes the body, so it is read even where nobody looks at it.
    const wantsJson = route.rawBody !== true && (served.checkBody !== undefined || route.auth === 'server');
    let bytes: Uint8Array | undefined;
    const keepBytes = (read: Uint8Array): void => {
      bytes = read;
    };
    const seen = route.auth === 'server' ? keepBytes : undefined;
    const content = wantsJson ? await readJson(req, limit, clock, seen) : undefined;
    let origin: ServerName | undefined;
    if (route.auth === 'server') {
      const authorization = req.headersDistinct['authorization'] ?? [];
      const onFinished = (callback: () => void): void => exchange.onFinished(callback);
      const signed = { method: exchange.method, uri: url, authorization, content, body: bytes, ip, onFinished };
      origin = await authenticateServer(this.#needs.federationAuthenticator, signed);
      exchange.requester = origin;
    }

    if (!canCheck() && (served.checkParams ?? served.checkQuery ?? served.checkBody) !== undefined)
      await prepareChecks();
    const checkedParams = served.checkParams?.(params) ?? params;
    const checkedQuery = served.checkQuery?.(query) ?? query;
    let body: unknown;
    if (served.checkBody !== undefined) {
      if (content === undefined && route.emptyBodyAllowed !== true) throw notJson('The body is empty, not JSON');
      body = served.checkBody(content === undefined ? {} : content);
    }

    if (route.rawBody === true) exchange.bodyStream = streamBody(req, limit, clock);
    const request: RouteRequest<unknown, unknown, unknown, Auth, boolean> = {
      params: checkedParams,
      query: checkedQuery,
      body,
      bodyStream: exchange.bodyStream,
      requester,
      origin,
      ip,
      userAgent: req.headers['user-agent'],
      url,
      get headers() {
        return singleValues(req.headers);
      },
      get signal() {
        return exchange.signal;
      },
    };
    return route.handle(request);
  }

  /** What is sent instead. Everything that is no refusal is our own fault, and told to the log only. */
  #refusal(exchange: Exchange, error: unknown): PreparedReply {
    let answered = error;
    if (!(error instanceof MatrixError)) {
      const about = this.#about(exchange);
      if (exchange.abortReason instanceof StoppingError) {
        this.#needs.log.debug({ ...about, error: describe(error) }, 'request cut short by the stop');
        answered = new MatrixError('M_UNKNOWN', 'The server is shutting down', { status: 503 });
      } else if (error instanceof ClientGoneError || exchange.abortReason !== undefined) {
        this.#needs.log.debug(about, 'client left before the reply');
      } else {
        this.#needs.log.error({ ...about, error: describe(error) }, 'request failed');
      }
    }
    const { status, headers, body } = errorResponse(answered);
    // The ID names the line of the log that says more.
    const id = status >= 500 ? { 'x-request-id': exchange.id } : {};
    return prepareReply(new Reply({ status, headers: { ...headers, ...id }, body }));
  }

  #finish(exchange: Exchange): void {
    const { req, res, socket, match } = exchange;
    const aborted = !res.writableFinished;
    this.#needs.inFlight.delete(exchange);
    exchange.finish();
    exchange.bodyStream?.destroy(aborted ? new ClientGoneError() : undefined);
    if (aborted) exchange.abort(new ClientGoneError());
    else discardRest(req, this.#needs.clock);
    this.#needs.finished({
      requestId: exchange.id,
      method: exchange.method,
      template: match?.served.template,
      url: exchange.url,
      status: res.statusCode,
      ms: this.#needs.clock.monotonic() - exchange.startedAt,
      bytes: socket.bytesWritten - exchange.bytesBefore,
      requester: exchange.requester,
      ip: exchange.ip,
      listener: this.#options.tag ?? String(socket.localPort ?? this.#options.socketPath ?? ''),
      aborted,
    });
  }

  #requestId(headers: IncomingHttpHeaders): string {
    this.#count += 1;
    const { requestIdHeader } = this.#options;
    const given = requestIdHeader === undefined ? undefined : headers[requestIdHeader];
    if (typeof given === 'string' && /^[\w.:=+/-]{1,100}$/.test(given)) return given;
    return `${this.#idPrefix}-${this.#count}`;
  }

  #about({ id, method, match, url }: Exchange): { requestId: string; method: string; path: string } {
    return { requestId: id, method, path: match?.served.template ?? loggablePath(url) };
  }
}

function isPrivate({ resources }: ServedRoute): boolean {
  return resources.includes('control') || resources.includes('metrics');
}

function singleValues(headers: IncomingHttpHeaders): Record<string, string | undefined> {
  const single: Record<string, string | undefined> = {};
  for (const [name, value] of Object.entries(headers)) single[name] = Array.isArray(value) ? value.join(', ') : value;
  return single;
}

function describe(error: unknown): object {
  if (!(error instanceof Error)) return { message: String(error) };
  const { name, message, stack, cause } = error;
  return { name, message, stack, ...(cause === undefined ? {} : { cause: describe(cause) }) };
}
