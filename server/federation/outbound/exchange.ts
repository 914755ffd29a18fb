import { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import type { Clock, Timer } from '../../util/clock.ts';
import { describeError, OutboundError } from './outbound-error.ts';

export interface OutboundRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  /** Path and query, escaped. */
  readonly path: string;
  /** Lower-case names. Whoever names an accept-encoding undoes it, and bounds what that makes of the body. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | undefined;
  /** From now to the last byte of the answer, ms. */
  readonly timeoutMs: number;
  /** Largest body of a successful answer, bytes. What comes with an error is bounded on its own. */
  readonly maxBytes: number;
  readonly signal?: AbortSignal | undefined;
}

/** An answer whose body is still to be read. It must be read or destroyed. */
export interface OutboundAnswer {
  readonly status: number;
  /** Lower-case names; several of one name are joined with commas. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Fails with an `OutboundError`. */
  readonly body: Readable;
}

/** How much may come with an error, at least, bytes. */
const ERROR_BYTES = 128 * 1024;
/** A body slower than this is given up, bytes per second; measured over stretches of so many ms, the first after a grace. */
const MIN_RATE = 1024;
const RATE_WINDOW_MS = 20_000;
const RATE_GRACE_MS = 10_000;

/** One request and its answer, between undici and the one who asked. Holds time, size and rate to their limits. */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly answer: Promise<OutboundAnswer>;
  readonly #clock: Clock;
  readonly #request: OutboundRequest;
  readonly #resolve: (answer: OutboundAnswer) => void;
  readonly #reject: (error: OutboundError) => void;
  readonly #deadline: Timer;
  readonly #onAbort = (): void => this.#fail(new OutboundError('aborted', 'the request was called off'));
  #controller: Dispatcher.DispatchController | undefined;
  #failure: OutboundError | undefined;
  #isComplete = false;
  #body: Readable | undefined;
  #rateTimer: Timer | undefined;
  #limit: number;
  #received = 0;
  #receivedBefore = 0;
  /** The reader was the slower one at some time in this stretch. */
  #waitedForReader = false;

  constructor(request: OutboundRequest, clock: Clock) {
    const { promise, resolve, reject } = Promise.withResolvers<OutboundAnswer>();
    this.answer = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#request = request;
    this.#clock = clock;
    this.#limit = request.maxBytes;
    this.#deadline = clock.after(request.timeoutMs, () =>
      this.#fail(new OutboundError('timeout', `there was no complete answer after ${request.timeoutMs} ms`)),
    );
    request.signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#failure !== undefined) controller.abort(this.#failure);
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    // 103 and the like come before the answer.
    if (status < 200 || this.#failure !== undefined) return;
    const flat = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [
        name.toLowerCase(),
        Array.isArray(value) ? value.join(', ') : value,
      ]),
    );
    const encoding = flat['content-encoding'];
    const isAskedFor = this.#request.headers['accept-encoding'] !== undefined;
    if (encoding !== undefined && encoding.toLowerCase() !== 'identity' && !isAskedFor) {
      return this.#fail(new OutboundError('malformed', 'the answer is compressed, which was not asked for'));
    }
    const isSuccess = status < 300;
    if (!isSuccess) this.#limit = Math.max(this.#limit, ERROR_BYTES);
    const declared = this.#request.method === 'HEAD' || !isSuccess ? 0 : Number(flat['content-length'] ?? 0);
    if (declared > this.#limit) return this.#fail(this.#tooLarge());
    this.#body = this.#makeBody();
    this.#watchRate(RATE_GRACE_MS);
    this.#resolve({ status, headers: flat, body: this.#body });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#failure !== undefined) return;
    this.#received += chunk.length;
    if (this.#received > this.#limit) return this.#fail(this.#tooLarge());
    if (this.#body?.push(chunk) === false) {
      this.#waitedForReader = true;
      controller.pause();
    }
  }

  onResponseEnd(): void {
    if (this.#failure !== undefined) return;
    this.#isComplete = true;
    this.#release();
    // The pool takes a turn to notice that the connection is free. Whoever asks again at once is to have this one.
    setImmediate(() => setImmediate(() => this.#body?.push(null)));
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    this.#fail(this.#translate(error));
  }

  #makeBody(): Readable {
    const body = new Readable({
      read: () => this.#controller?.resume(),
      destroy: (error, done) => {
        // One who stops reading half-way has no use for the rest of it.
        if (!this.#isComplete) this.#fail(new OutboundError('aborted', 'the answer was not read to its end'));
        done(error);
      },
    });
    // It may fail while nobody listens yet; whoever reads it later is told nevertheless.
    body.on('error', () => {});
    return body;
  }

  /** Looks every now and then whether the peer sends at all: one that dribbles could hold us for as long as it likes. */
  #watchRate(graceMs = 0): void {
    this.#rateTimer = this.#clock.after(graceMs > 0 ? graceMs : RATE_WINDOW_MS, () => {
      const slow = this.#received - this.#receivedBefore < (MIN_RATE * RATE_WINDOW_MS) / 1000;
      if (graceMs === 0 && slow && !this.#waitedForReader) {
        return this.#fail(new OutboundError('too-slow', `the answer came with less than ${MIN_RATE} bytes a second`));
      }
      this.#receivedBefore = this.#received;
      this.#waitedForReader = this.#controller?.paused ?? false;
      this.#watchRate();
    });
  }

  #fail(error: OutboundError): void {
    if (this.#failure !== undefined || this.#isComplete) return;
    this.#failure = error;
    this.#release();
    this.#reject(error);
    this.#body?.destroy(error);
    this.#controller?.abort(error);
  }

  #release(): void {
    this.#deadline.cancel();
    this.#rateTimer?.cancel();
    this.#request.signal?.removeEventListener('abort', this.#onAbort);
  }

  #tooLarge(): OutboundError {
    return new OutboundError('too-large', `the answer is larger than ${this.#limit} bytes`);
  }

  #translate(error: Error): OutboundError {
    if (error instanceof OutboundError) return error;
    const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
    if (
      error.name === 'HTTPParserError' ||
      code.startsWith('HPE_') ||
      code === 'UND_ERR_HEADERS_OVERFLOW' ||
      code.startsWith('UND_ERR_RES')
    ) {
      return new OutboundError('malformed', `the answer is not HTTP: ${describeError(error)}`, { cause: error });
    }
    const isLost = this.#body === undefined && ['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'].includes(code);
    return new OutboundError('unreachable', describeError(error), { cause: error, connectionLost: isLost });
  }
}
