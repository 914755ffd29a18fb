import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';

import type { Match } from './router.ts';

/** One request and its reply, from the first header to the last byte. */
export class Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly id: string;
  readonly ip: string;
  readonly method: string;
  /** Path and query as they came. */
  readonly url: string;
  /** Without the query; not decoded. */
  readonly path: string;
  /** Monotonic milliseconds. */
  readonly startedAt: number;
  /** Kept, since a request lets go of its socket when it is over. */
  readonly socket: Socket;
  readonly bytesBefore: number;
  match: Match | undefined;
  /** The body, where a handler reads it itself. */
  bodyStream: Readable | undefined;
  /** Who it turned out to be, for the log: a user ID or a server name. */
  requester: string | undefined;
  #controller: AbortController | undefined;
  #abortReason: Error | undefined;
  /** Undefined once it is over. */
  #finishers: (() => void)[] | undefined = [];

  constructor(req: IncomingMessage, res: ServerResponse, known: { id: string; ip: string; startedAt: number }) {
    this.req = req;
    this.res = res;
    this.id = known.id;
    this.ip = known.ip;
    this.startedAt = known.startedAt;
    this.method = req.method ?? 'GET';
    this.url = req.url ?? '/';
    const query = this.url.indexOf('?');
    this.path = query === -1 ? this.url : this.url.slice(0, query);
    this.socket = req.socket;
    this.bytesBefore = req.socket.bytesWritten;
  }

  /** Made only for those who ask: most handlers are done before anybody could lose patience. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#abortReason !== undefined) this.#controller.abort(this.#abortReason);
    return this.#controller.signal;
  }

  get abortReason(): Error | undefined {
    return this.#abortReason;
  }

  /** Tells the handler that its reply has become pointless. */
  abort(reason: Error): void {
    if (this.#abortReason !== undefined) return;
    this.#abortReason = reason;
    this.#controller?.abort(reason);
  }

  /** Calls back once the reply is out or the client has gone, at once if that is so already. */
  onFinished(callback: () => void): void {
    if (this.#finishers === undefined) callback();
    else this.#finishers.push(callback);
  }

  /** It is over, one way or the other. */
  finish(): void {
    const finishers = this.#finishers ?? [];
    this.#finishers = undefined;
    for (const callback of finishers) callback();
  }
}
