import { MatrixError } from '../matrix/errors.ts';
import type { JsonObject } from '../matrix/json.ts';

/** An error as it is sent. */
export interface ErrorResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: JsonObject;
}

// Where the spec leaves the status open, it is the one clients have long met. All others are 400.
const STATUS_OF: ReadonlyMap<string, number> = new Map([
  ['M_MISSING_TOKEN', 401],
  ['M_UNKNOWN_TOKEN', 401],
  ['M_UNAUTHORIZED', 401],
  ['M_USER_LOCKED', 401],
  ['M_FORBIDDEN', 403],
  ['M_GUEST_ACCESS_FORBIDDEN', 403],
  ['M_USER_DEACTIVATED', 403],
  ['M_USER_SUSPENDED', 403],
  ['M_RESOURCE_LIMIT_EXCEEDED', 403],
  ['M_USER_LIMIT_EXCEEDED', 403],
  ['M_CANNOT_LEAVE_SERVER_NOTICE_ROOM', 403],
  ['M_CONSENT_NOT_GIVEN', 403],
  ['M_TERMS_NOT_SIGNED', 403],
  ['M_INVITE_BLOCKED', 403],
  ['M_THREEPID_DENIED', 403],
  ['M_WRONG_ROOM_KEYS_VERSION', 403],
  ['M_NOT_FOUND', 404],
  ['M_UNRECOGNIZED', 404],
  ['M_CANNOT_OVERWRITE_MEDIA', 409],
  ['M_TOO_LARGE', 413],
  ['M_LIMIT_EXCEEDED', 429],
  ['M_BAD_STATUS', 502],
  ['M_CONNECTION_FAILED', 502],
  ['M_CONNECTION_TIMEOUT', 504],
  ['M_NOT_YET_UPLOADED', 504],
]);

/** The HTTP status that belongs to an errcode (spec: client-server API, "Standard error response"). */
function statusOf(errcode: string): number {
  return STATUS_OF.get(errcode) ?? 400;
}

const INTERNAL: ErrorResponse = {
  status: 500,
  headers: {},
  body: { errcode: 'M_UNKNOWN', error: 'Internal server error' },
};

/**
 * What the client is told about an error: a refusal in its own words; of anything else only that it happened. The caller
 * logs the rest.
 */
export function errorResponse(error: unknown): ErrorResponse {
  if (!(error instanceof MatrixError)) return INTERNAL;
  const headers: Record<string, string> = {};
  const status = error.status ?? statusOf(error.errcode);
  const { retry_after_ms: retryAfterMs } = error.fields;
  if (status === 429 && typeof retryAfterMs === 'number') {
    // Spec: client-server API, "Rate limiting". The header counts in whole seconds.
    headers['retry-after'] = String(Math.max(1, Math.ceil(retryAfterMs / 1000)));
  }
  return { status, headers, body: { ...error.fields, errcode: error.errcode, error: error.message } };
}
