export type OutboundFailure =
  /** An address, or every address of a name, is on the deny list; nothing was sent. */
  | 'denied'
  /** No address, no connection, no certificate that counts, or the connection broke. */
  | 'unreachable'
  | 'timeout'
  /** The answer is no HTTP, or leads from one redirect to the next. */
  | 'malformed'
  | 'too-large'
  /** The answer came more slowly than anybody would wait for. */
  | 'too-slow'
  /** Whoever asked does not want to know any more. */
  | 'aborted';

/** A request over HTTP that gave no answer, or whose answer broke off. */
export class OutboundError extends Error {
  readonly kind: OutboundFailure;
  /** The connection broke before any of the answer came, as one does that stood idle until the peer closed it. */
  readonly connectionLost: boolean;

  constructor(kind: OutboundFailure, message: string, options: { cause?: unknown; connectionLost?: boolean } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'OutboundError';
    this.kind = kind;
    this.connectionLost = options.connectionLost ?? false;
  }
}

/** What went wrong in a few words for a log line: of an error of Node, its code and message. */
export function describeError(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return describeError(error.errors[0]);
  if (!(error instanceof Error)) return String(error);
  const { message } = error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  return code === undefined || message.includes(code) ? message : `${message} (${code})`;
}
