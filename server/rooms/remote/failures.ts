import { FederationError } from '../../federation/errors.ts';
import { MatrixError, notFound } from '../../matrix/errors.ts';
import { isJsonObject } from '../../matrix/json.ts';

/** Longest text of another server's error that is shown to a client, UTF-16 units. */
const MAX_MESSAGE = 500;

/** What other servers say of our own standing with them would be taken by a client as its own: it would sign out. */
const NOT_FOR_CLIENTS = new Set([
  'M_UNKNOWN_TOKEN',
  'M_MISSING_TOKEN',
  'M_UNAUTHORIZED',
  'M_USER_LOCKED',
  'M_USER_DEACTIVATED',
  'M_USER_SUSPENDED',
  'M_CONSENT_NOT_GIVEN',
  'M_LIMIT_EXCEEDED',
  // Spec: server-server API, send_join: these are our mistakes, not the client's.
  'M_MISSING_PARAM',
  'M_INVALID_PARAM',
  'M_BAD_JSON',
  'M_NOT_JSON',
  'M_UNRECOGNIZED',
]);

/** Which of several answers tells a user most. Those of servers that know the room come before those that do not. */
const WEIGHTS: Readonly<Record<string, number>> = {
  M_FORBIDDEN: 6,
  M_INCOMPATIBLE_ROOM_VERSION: 5,
  M_UNABLE_TO_GRANT_JOIN: 4,
  M_UNABLE_TO_AUTHORISE_JOIN: 4,
  M_NOT_FOUND: 2,
};

/** Whether a server does not know an operation, rather than what the operation is about. */
export function isUnknownOperation(error: unknown): boolean {
  if (!(error instanceof FederationError) || error.kind !== 'refused') return false;
  if (error.errcode === 'M_UNRECOGNIZED') return true;
  return error.errcode === undefined && (error.status === 404 || error.status === 405);
}

/** An answer that is not what was asked for. */
export function malformed(destination: FederationError['destination'], message: string): FederationError {
  return new FederationError('malformed', destination, message);
}

/**
 * What a client is told after none of several servers did what was asked: the answer that says most, in the words of the
 * server that gave it. What failed for another reason than a server's is thrown on.
 */
export function bestError(failures: readonly unknown[]): MatrixError {
  let best: { readonly weight: number; readonly error: MatrixError } | undefined;
  for (const failure of failures) {
    const weight = weightOf(failure);
    if (best === undefined || weight > best.weight) best = { weight, error: asMatrixError(failure) };
  }
  return best?.error ?? notFound('There is no server to ask about this room');
}

/** One failure as a client is told. Throws what is no failure of another server. */
export function asMatrixError(failure: unknown): MatrixError {
  if (failure instanceof MatrixError) return failure;
  if (!(failure instanceof FederationError)) throw failure;
  const { kind, status = 502, errcode, body, destination } = failure;
  if (kind !== 'refused' || !isPassedOn(status, errcode)) {
    return new MatrixError('M_UNKNOWN', `${destination} did not do what was asked of it: ${failure.message}`, {
      status: 502,
    });
  }
  const text = isJsonObject(body) ? body['error'] : undefined;
  const version = isJsonObject(body) ? body['room_version'] : undefined;
  return new MatrixError(errcode, typeof text === 'string' ? text.slice(0, MAX_MESSAGE) : 'Refused', {
    status,
    ...(errcode === 'M_INCOMPATIBLE_ROOM_VERSION' && typeof version === 'string'
      ? { fields: { room_version: version.slice(0, MAX_MESSAGE) } }
      : {}),
  });
}

function isPassedOn(status: number, errcode: string | undefined): errcode is string {
  return errcode !== undefined && [400, 403, 404].includes(status) && !NOT_FOR_CLIENTS.has(errcode);
}

function weightOf(failure: unknown): number {
  if (failure instanceof MatrixError) return WEIGHTS[failure.errcode] ?? 3;
  if (!(failure instanceof FederationError) || failure.kind !== 'refused') return 0;
  return isPassedOn(failure.status ?? 0, failure.errcode) ? (WEIGHTS[failure.errcode ?? ''] ?? 3) : 1;
}
