import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import getRawBody from 'raw-body';

import { parseJson } from '../matrix/canonical-json.ts';
import { MatrixError, notJson, tooLarge } from '../matrix/errors.ts';
import type { JsonValue } from '../matrix/json.ts';
import type { Clock, Timer } from '../util/clock.ts';

/** Largest JSON body in bytes where a route says nothing: ample for an event of 64 KiB, a batch of keys, account data. */
export const DEFAULT_BODY_LIMIT = 1024 * 1024;

/** How long the whole of a JSON body may take to arrive, in milliseconds. */
const JSON_BODY_TIMEOUT_MS = 60_000;
/** How long a streamed body may go without a byte, in milliseconds. In all it may take hours: uplinks are slow. */
const STREAM_STALL_TIMEOUT_MS = 60_000;
/** How much of a body nobody wants is still read (bytes), and for how long (milliseconds). */
const DISCARD_LIMIT = 64 * 1024 * 1024;
const DISCARD_TIMEOUT_MS = 10_000;

/** The client left before its request was complete; there is nobody to answer. */
export class ClientGoneError extends Error {
  constructor() {
    super('the client went away');
    this.name = 'ClientGoneError';
  }
}

/** Whether the request says that a body follows. An empty one counts as none. */
function hasBody(req: IncomingMessage): boolean {
  if (req.headers['transfer-encoding'] !== undefined) return true;
  const length = req.headers['content-length'];
  return length !== undefined && length !== '0';
}

/**
 * Reads a JSON body of at most `limit` bytes, whatever its Content-Type says (spec: client-server API, "API Standards").
 * Undefined where it is empty. Throws M_TOO_LARGE, M_NOT_JSON (also for broken UTF-8), M_BAD_JSON (also for lone surrogates and
 * endless nesting), 408 when it takes too long, ClientGoneError. `seen` is given the bytes before they are parsed.
 */
export async function readJson(
  req: IncomingMessage,
  limit: number,
  clock: Clock,
  seen?: (bytes: Uint8Array) => void,
): Promise<JsonValue | undefined> {
  if (!hasBody(req)) return undefined;
  if (declaredLength(req) > limit) throw bodyTooLarge(limit);
  if (req.headers['content-encoding'] !== undefined && req.headers['content-encoding'] !== 'identity') {
    throw new MatrixError('M_UNKNOWN', 'Compressed request bodies are not supported', { status: 415 });
  }
  const { promise: timeout, reject } = Promise.withResolvers<never>();
  const timer = clock.after(JSON_BODY_TIMEOUT_MS, () => reject(stalled()));
  try {
    const reading = getRawBody(req, { limit, length: req.headers['content-length'] ?? null });
    const bytes = await Promise.race([reading, timeout]);
    if (bytes.length === 0) return undefined;
    seen?.(bytes);
    return parseJson(bytes);
  } catch (error) {
    throw translate(error, limit);
  } finally {
    timer.cancel();
  }
}

function translate(error: unknown, limit: number): unknown {
  if (!(error instanceof Error) || !('type' in error)) return error;
  switch (error.type) {
    case 'entity.too.large':
      return bodyTooLarge(limit);
    case 'request.aborted':
      return new ClientGoneError();
    case 'request.size.invalid':
      return notJson('The body has not the length it was announced with');
    default:
      return error;
  }
}

function declaredLength(req: IncomingMessage): number {
  return Number(req.headers['content-length'] ?? 0);
}

function bodyTooLarge(limit: number): MatrixError {
  return tooLarge(`The body is larger than ${limit} bytes`);
}

function stalled(): MatrixError {
  return new MatrixError('M_UNKNOWN', 'The body took too long to arrive', { status: 408 });
}

/**
 * A request's body as a stream. Destroying it leaves the connection alone, so that a refusal still reaches the client: that is
 * why it is not simply the request.
 */
class BodyStream extends Readable {
  readonly #req: IncomingMessage;
  readonly #clock: Clock;
  readonly #limit: number;
  #received = 0;
  #stallTimer: Timer | undefined;

  constructor(req: IncomingMessage, limit: number, clock: Clock) {
    super();
    this.#req = req;
    this.#clock = clock;
    this.#limit = limit;
    // Whoever reads hears of an error; if nobody does, it is no reason for the process to die.
    this.on('error', () => {});
    req.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose).on('error', this.#onClose);
    req.pause();
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#stallTimer?.cancel();
    this.#received += chunk.length;
    if (this.#received > this.#limit) {
      this.destroy(bodyTooLarge(this.#limit));
      return;
    }
    // Only the client's slowness counts against it, not that of whoever reads from here.
    if (this.push(chunk)) this.#expectMore();
    else this.#req.pause();
  };

  readonly #onEnd = (): void => {
    this.#detach();
    this.push(null);
  };

  readonly #onClose = (): void => {
    if (!this.#req.complete) this.destroy(new ClientGoneError());
  };

  #expectMore(): void {
    this.#stallTimer = this.#clock.after(STREAM_STALL_TIMEOUT_MS, () => this.destroy(stalled()));
  }

  #detach(): void {
    this.#stallTimer?.cancel();
    this.#req.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose).off('error', this.#onClose);
  }

  override _read(): void {
    if (!this.#req.isPaused()) return;
    this.#expectMore();
    this.#req.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#detach();
    if (!this.#req.complete) this.#req.pause();
    callback(error);
  }
}

/** The body as a stream of at most `limit` bytes. Throws M_TOO_LARGE at once where the client announces more. */
export function streamBody(req: IncomingMessage, limit: number, clock: Clock): Readable {
  if (declaredLength(req) > limit) throw bodyTooLarge(limit);
  return new BodyStream(req, limit, clock);
}

/**
 * After the reply: reads on what nobody wanted, so that a client in the middle of sending gets to see the reply rather
 * than a reset connection. Not for long, and not for ever so much.
 */
export function discardRest(req: IncomingMessage, clock: Clock): void {
  if (req.complete || req.destroyed) return;
  let left = DISCARD_LIMIT;
  const timer = clock.after(DISCARD_TIMEOUT_MS, () => req.socket.destroy());
  req.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) req.socket.destroy();
  });
  req.once('close', () => timer.cancel());
  req.once('error', () => timer.cancel());
  req.resume();
}
