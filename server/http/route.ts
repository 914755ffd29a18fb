import type { Readable } from 'node:stream';
import type { Static, TSchema } from 'typebox';
import type { DeviceId, ServerName, UserId } from '../matrix/identifiers.ts';

/** Who makes a client request. */
export interface Requester {
  readonly userId: UserId;
  /** Undefined only for an application service that acts without a device. */
  readonly deviceId: DeviceId | undefined;
  /** Names the access token without being it: to tell "all tokens but mine" apart. */
  readonly tokenId: number | undefined;
  readonly isGuest: boolean;
  /** A server administrator (not of a room). */
  readonly isAdmin: boolean;
  /** May read, leave and log out, but do nothing others would notice (spec: account suspension). */
  readonly isSuspended: boolean;
  /** Set when an application service speaks; its registration's ID. */
  readonly appserviceId: string | undefined;
  /** False for those whom rate limits spare (application services by their registration, users by an administrator). */
  readonly rateLimited: boolean;
}

/** Who may call: anyone; anyone, but known if they show a token; a user with a valid token; another homeserver. */
export type Auth = 'none' | 'optional' | 'user' | 'server';

/** What the authentication of a route gives its handler. */
export type RequesterOf<A extends Auth> = A extends 'user'
  ? Requester
  : A extends 'optional'
    ? Requester | undefined
    : undefined;

/** A request whose every part was checked against the route's schemas. */
export interface RouteRequest<P, Q, B, A extends Auth, Raw extends boolean = false> {
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  /**
   * The body's bytes as they arrive, on routes with `rawBody: true`. Fails with M_TOO_LARGE past the route's limit, and
   * when the client goes away or stalls. What is left unread is thrown away after the reply.
   */
  readonly bodyStream: Raw extends true ? Readable : undefined;
  readonly requester: RequesterOf<A>;
  /** The server that signed the request, on routes with `auth: 'server'`. */
  readonly origin: A extends 'server' ? ServerName : undefined;
  /** The address the request came from, behind trusted proxies the one they report. */
  readonly ip: string;
  readonly userAgent: string | undefined;
  /** The path and query as the client wrote them. May hold an access token: never to be logged. */
  readonly url: string;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Aborted when the client has gone away or the server stops: long polls end then. */
  readonly signal: AbortSignal;
}

/** A reply that is more than "200 and this JSON". */
export class Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** An object is sent as JSON, a string or buffer as it is, a stream as it comes (destroyed if the client leaves). */
  readonly body: object | string | Buffer | Readable;
  constructor(options: {
    status?: number;
    headers?: Record<string, string>;
    body: object | string | Buffer | Readable;
  }) {
    this.status = options.status ?? 200;
    this.headers = options.headers ?? {};
    this.body = options.body;
  }
}

/**
 * A reply that is a page for a browser. Its styles may stand in the page; scripts and frames are refused unless the reply
 * brings a Content-Security-Policy of its own.
 */
export function htmlReply(html: string, status = 200): Reply {
  return new Reply({ status, headers: { 'content-type': 'text/html; charset=utf-8' }, body: html });
}

export type Method = 'GET' | 'PUT' | 'POST' | 'DELETE';

/**
 * What a listener can serve. `control` is the desktop program's own API, `metrics` that of monitoring: both are for
 * no web page of another origin, so they alone get no CORS headers.
 */
export type Resource =
  | 'client'
  | 'federation'
  | 'keys'
  | 'media'
  | 'openid'
  | 'static'
  | 'consent'
  | 'metrics'
  | 'health'
  | 'control';

/** One operation of an API, as its module writes it. */
export interface RouteSpec<
  P extends TSchema,
  Q extends TSchema,
  B extends TSchema,
  A extends Auth,
  Raw extends boolean = false,
> {
  readonly method: Method;
  /**
   * `/_matrix/client/v3/rooms/:roomId/leave`. Several paths serve the same operation. What is under
   * `/_matrix/client/v3/` answers under `/r0/` as well (and `/_matrix/media/v3/` under `/r0/` and `/v1/`).
   */
  readonly path: string | readonly string[];
  readonly auth: A;
  /** Whether guests may call it. They may not unless this is said (spec: guest access). */
  readonly guests?: boolean;
  /** Whether a locked account may still call it (log out, mostly). */
  readonly locked?: boolean;
  /** Path parameters, decoded. Every `:name` of the path must be there. A mismatch is M_INVALID_PARAM. */
  readonly params?: P;
  /** Query parameters: text is turned into the schema's numbers and booleans first. A mismatch is M_INVALID_PARAM, one that is lacking M_MISSING_PARAM. */
  readonly query?: Q;
  /** The JSON body. Not JSON: M_NOT_JSON; a mismatch: M_BAD_JSON. Unknown keys stay. Routes without it read no body. */
  readonly body?: B;
  /** An empty body counts as `{}`, as clients have long been forgiven. */
  readonly emptyBodyAllowed?: boolean;
  /** The body is handed over as a stream, unread, whatever its type: for media. Then `body` cannot be given. */
  readonly rawBody?: Raw;
  /** Largest body in bytes; `DEFAULT_BODY_LIMIT` (1 MiB) unless said. Beyond it: M_TOO_LARGE. */
  readonly bodyLimit?: number;
  /** Which of the listener's resources it belongs to; told from the path unless said. */
  readonly resource?: Resource;
  handle(request: RouteRequest<Static<P>, Static<Q>, Static<B>, A, Raw>): Promise<object> | object;
}

/** A route whose types have been checked where it was written; the server needs no more than this. */
export interface Route extends Omit<RouteSpec<TSchema, TSchema, TSchema, Auth, boolean>, 'handle'> {
  handle(request: RouteRequest<unknown, unknown, unknown, Auth, boolean>): Promise<object> | object;
}

/**
 * Declares a route. `handle` gets what the schemas describe and returns a plain object (200, JSON) or a `Reply`;
 * refusals are thrown as `MatrixError`.
 */
export function route<
  P extends TSchema = TSchema,
  Q extends TSchema = TSchema,
  B extends TSchema = TSchema,
  A extends Auth = Auth,
  Raw extends boolean = false,
>(spec: RouteSpec<P, Q, B, A, Raw>): Route {
  return spec as unknown as Route;
}
