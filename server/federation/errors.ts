import type { ServerName } from '../matrix/identifiers.ts';
import type { JsonValue } from '../matrix/json.ts';

export type FederationFailure =
  /** It answered with an error; `status`, `errcode` and `body` tell which. */
  | 'refused'
  /** No connection, no certificate we trust, no answer in time. */
  | 'unreachable'
  /** It is being left alone after earlier failures; nothing was sent. */
  | 'backing-off'
  /** What it answered is not what was asked for: not JSON, too large, too slow. */
  | 'malformed'
  /** The configuration or the deny list forbids dealings with it; nothing was sent. */
  | 'denied'
  /** Whoever asked does not want to know any more. */
  | 'aborted';

/** A request to another server that gave no usable answer. */
export class FederationError extends Error {
  readonly kind: FederationFailure;
  readonly destination: ServerName;
  /** HTTP status of a refusal. */
  readonly status: number | undefined;
  /** The refusal's `errcode`, if it is a Matrix error. */
  readonly errcode: string | undefined;
  /** The refusal's JSON. */
  readonly body: JsonValue | undefined;

  constructor(
    kind: FederationFailure,
    destination: ServerName,
    message: string,
    details: { status?: number; errcode?: string; body?: JsonValue; cause?: unknown } = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'FederationError';
    this.kind = kind;
    this.destination = destination;
    this.status = details.status;
    this.errcode = details.errcode;
    this.body = details.body;
  }
}
