import type { JsonObject } from './json.ts';

/**
 * A refusal in the words of the spec (client-server API, "Standard error response"). Rules return values; this is
 * thrown at the edge, where a request has to be refused. `server/http` turns it into a response; it alone knows the
 * HTTP status that belongs to an errcode, unless `status` overrides it.
 */
export class MatrixError extends Error {
  readonly errcode: string;
  /** Further keys of the response body. */
  readonly fields: JsonObject;
  /** An HTTP status that departs from the usual one of this errcode. */
  readonly status: number | undefined;

  constructor(errcode: string, message: string, options: { fields?: JsonObject; status?: number } = {}) {
    super(message);
    this.name = 'MatrixError';
    this.errcode = errcode;
    this.fields = options.fields ?? {};
    this.status = options.status;
  }
}

export const forbidden = (message: string): MatrixError => new MatrixError('M_FORBIDDEN', message);
export const notFound = (message: string): MatrixError => new MatrixError('M_NOT_FOUND', message);
export const badJson = (message: string): MatrixError => new MatrixError('M_BAD_JSON', message);
export const notJson = (message: string): MatrixError => new MatrixError('M_NOT_JSON', message);
export const invalidParam = (message: string): MatrixError => new MatrixError('M_INVALID_PARAM', message);
export const missingParam = (message: string): MatrixError => new MatrixError('M_MISSING_PARAM', message);
export const missingToken = (message: string): MatrixError => new MatrixError('M_MISSING_TOKEN', message);
export const unrecognized = (message: string): MatrixError => new MatrixError('M_UNRECOGNIZED', message);
export const tooLarge = (message: string): MatrixError => new MatrixError('M_TOO_LARGE', message);
/** A client's mistake that no other errcode names (400). */
export const unknownError = (message: string): MatrixError => new MatrixError('M_UNKNOWN', message, { status: 400 });
export const unknownToken = (message: string, softLogout = false): MatrixError =>
  new MatrixError('M_UNKNOWN_TOKEN', message, { fields: softLogout ? { soft_logout: true } : {} });
/** Too many requests; `retryAfterMs` is when to come back, in milliseconds. */
export const limitExceeded = (retryAfterMs: number): MatrixError =>
  new MatrixError('M_LIMIT_EXCEEDED', 'Too many requests', { fields: { retry_after_ms: Math.ceil(retryAfterMs) } });
