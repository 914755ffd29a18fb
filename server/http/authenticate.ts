import type { IncomingMessage } from 'node:http';

import { MatrixError, missingToken, unknownToken } from '../matrix/errors.ts';
import type { ServerName } from '../matrix/identifiers.ts';
import type { JsonValue } from '../matrix/json.ts';
import type { Auth, Requester } from './route.ts';

/** What may matter about a request besides its token. */
export interface AuthenticationContext {
  readonly ip: string;
  readonly userAgent: string | undefined;
  /** `?user_id=`: whom an application service acts as (spec: application service API, "Identity assertion"). Not checked yet. */
  readonly userIdOverride: string | undefined;
  /** `?device_id=`: which of that user's devices. Not checked yet. Both mean nothing with a user's own token. */
  readonly deviceIdOverride: string | undefined;
}

/** What a token turned out to be. */
export type Authentication =
  | { readonly kind: 'ok'; readonly requester: Requester }
  /** Valid, of an account that is locked: only routes with `locked: true` go on, others give `error` or M_USER_LOCKED. */
  | { readonly kind: 'locked'; readonly requester: Requester; readonly error?: MatrixError }
  /** Never valid, or logged out. */
  | { readonly kind: 'unknown' }
  /** Expired: the device is still there and may refresh its token or log in again. */
  | { readonly kind: 'soft-logged-out' }
  | { readonly kind: 'deactivated' }
  /** Refused for a reason of its own, such as an application service speaking for a user not in its namespace. */
  | { readonly kind: 'refused'; readonly error: MatrixError };

/** Knows access tokens. Called for each request that shows one, so it should answer from memory. */
export interface Authenticator {
  authenticate(token: string, context: AuthenticationContext): Authentication | Promise<Authentication>;
}

/** A request of another homeserver, as far as its signature covers it (spec: server-server API, "Request Authentication"). */
export interface SignedRequest {
  readonly method: string;
  /** Path and query as they were sent. */
  readonly uri: string;
  /** Every Authorization header: one for each key it was signed with. */
  readonly authorization: readonly string[];
  /** The parsed JSON body; undefined where there was none. */
  readonly content: JsonValue | undefined;
  /** The same as it came, for what parsing loses: how numbers were written. */
  readonly body?: Uint8Array | undefined;
  readonly ip: string;
  /** Calls back once the request is over, at once if it is already: for those who count requests under way. */
  readonly onFinished?: (callback: () => void) => void;
}

/** Says which server signed a request; throws a MatrixError (401 M_UNAUTHORIZED) where none has. */
export type FederationAuthenticator = (request: SignedRequest) => Promise<ServerName>;

type Query = Readonly<Record<string, string | string[] | undefined>>;

/** The parts of a route that decide who may call it. */
interface AccessRule {
  readonly auth: Auth;
  readonly guests?: boolean;
  readonly locked?: boolean;
}

/**
 * The access token of a request: from `Authorization: Bearer`, else from `?access_token=`, which the spec has deprecated
 * and then removed, while old clients and bridges still send it.
 */
export function findAccessToken(headers: IncomingMessage['headers'], query: Query): string | undefined {
  const { authorization } = headers;
  if (authorization !== undefined) {
    const bearer = /^bearer +([^\s]+) *$/i.exec(authorization);
    if (bearer?.[1] !== undefined) return bearer[1];
  }
  return first(query['access_token']) || undefined;
}

/**
 * Who calls a route with `auth: 'user'` or `'optional'`. Undefined only for the latter, where no token was shown; one that
 * is shown must be good. Throws M_MISSING_TOKEN, M_UNKNOWN_TOKEN, M_USER_LOCKED, M_USER_DEACTIVATED,
 * M_GUEST_ACCESS_FORBIDDEN (spec: client-server API, "Using access tokens", "Account locking", "Guest access").
 */
export async function authenticateUser(
  authenticator: Authenticator,
  rule: AccessRule,
  request: { headers: IncomingMessage['headers']; query: Query; ip: string },
): Promise<Requester | undefined> {
  const token = findAccessToken(request.headers, request.query);
  if (token === undefined) {
    if (rule.auth === 'optional') return undefined;
    throw missingToken('This needs an access token');
  }
  const found = authenticator.authenticate(token, {
    ip: request.ip,
    userAgent: request.headers['user-agent'],
    userIdOverride: first(request.query['user_id']),
    // The second name is the one under which the proposal was tried out; bridges send it still.
    deviceIdOverride: first(request.query['device_id']) ?? first(request.query['org.matrix.msc3202.device_id']),
  });
  const requester = admit(found instanceof Promise ? await found : found, rule);
  if (requester.isGuest && rule.guests !== true && rule.auth === 'user') {
    throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests may not do this');
  }
  return requester;
}

function admit(found: Authentication, rule: AccessRule): Requester {
  switch (found.kind) {
    case 'ok':
      return found.requester;
    case 'locked':
      if (rule.locked === true) return found.requester;
      if (found.error !== undefined) throw found.error;
      throw new MatrixError('M_USER_LOCKED', 'This account is locked', { fields: { soft_logout: true } });
    case 'unknown':
      throw unknownToken('This access token is not known');
    case 'soft-logged-out':
      throw unknownToken('This access token has expired', true);
    case 'deactivated':
      throw new MatrixError('M_USER_DEACTIVATED', 'This account is deactivated');
    case 'refused':
      throw found.error;
  }
}

/** The origin of a request on a route with `auth: 'server'`. Throws 401 M_UNAUTHORIZED where it has none. */
export async function authenticateServer(
  authenticator: FederationAuthenticator | undefined,
  request: SignedRequest,
): Promise<ServerName> {
  if (authenticator === undefined || request.authorization.length === 0) {
    throw new MatrixError('M_UNAUTHORIZED', 'This needs the signature of a homeserver');
  }
  return authenticator(request);
}

function first(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
