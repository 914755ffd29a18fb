/** Requests over a connection that is held in hand, with limits of time and size. */
import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { describeError } from '../../federation/outbound/outbound-error.ts';
import { parseJson } from '../../matrix/canonical-json.ts';
import { MatrixError } from '../../matrix/errors.ts';
import { isJsonObject, type JsonObject } from '../../matrix/json.ts';
import type { Timer } from '../../util/clock.ts';
import { startDeadline } from './connection.ts';
import { codeOf, type World } from './world.ts';

// Not imported: an import asks a built-in module for all it has, which here includes a WebSocket client of several megabytes.
const { request } = process.getBuiltinModule('node:http');

/** How long whoever lets a body come may still think better of it, ms. */
const GRACE_MS = 500;

export interface Asked {
  /** A POST sends no body: it only announces one, and `expect: 100-continue` is answered with status 100. */
  readonly method?: 'GET' | 'OPTIONS' | 'POST';
  /** Path and query, sent as they are. */
  readonly path: string;
  /** What the Host header says. */
  readonly host: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Answer {
  readonly status: number;
  /** Lower-case names; several of one name are joined with commas. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Buffer;
  /** The body, where it is a JSON object. */
  readonly json: JsonObject | undefined;
}

export type AnswerFailure = 'slow' | 'closed' | 'malformed' | 'too-large';

export class AnswerError extends Error {
  readonly kind: AnswerFailure;

  constructor(kind: AnswerFailure, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'AnswerError';
    this.kind = kind;
  }
}

/** One request and its answer; the connection is closed after it. Rejects with an `AnswerError`. */
export async function exchange(
  socket: Socket,
  { method = 'GET', path, host, headers = {} }: Asked,
  world: World,
  signal: AbortSignal,
): Promise<Answer> {
  const deadline = startDeadline(world, world.limits.answerMs, signal);
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  let asked: ClientRequest | undefined;
  let grace: Timer | undefined;
  deadline.signal.addEventListener('abort', () =>
    reject(new AnswerError('slow', 'there was no complete answer in time')),
  );
  if (deadline.signal.aborted) reject(new AnswerError('slow', 'there was no time left to ask'));
  try {
    asked = request(
      {
        method,
        path,
        // With a connection given, nothing is looked up.
        createConnection: () => socket,
        headers: { 'user-agent': 'Hearth doctor', accept: 'application/json', ...headers, host, connection: 'close' },
        maxHeaderSize: 32 * 1024,
      },
      (message) => {
        read(message, world.limits.maxBytes).then(resolve, reject);
      },
    );
    asked.on('error', reject);
    asked.once('continue', () => {
      // Some say that to everything, and what they make of it right after.
      grace = world.clock.after(GRACE_MS, () =>
        resolve({ status: 100, headers: {}, body: Buffer.alloc(0), json: undefined }),
      );
    });
    if (method === 'POST') asked.flushHeaders();
    else asked.end();
    return await promise;
  } catch (error) {
    if (error instanceof AnswerError) throw error;
    const isHttp = !codeOf(error).startsWith('HPE_');
    throw new AnswerError(isHttp ? 'closed' : 'malformed', describeError(error), error);
  } finally {
    deadline.end();
    grace?.cancel();
    asked?.destroy();
    socket.destroy();
  }
}

async function read(message: IncomingMessage, maxBytes: number): Promise<Answer> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of message as AsyncIterable<Buffer>) {
    size += piece.length;
    if (size > maxBytes) throw new AnswerError('too-large', `the answer is larger than ${maxBytes} bytes`);
    pieces.push(piece);
  }
  const body = Buffer.concat(pieces);
  const headers = Object.fromEntries(
    Object.entries(message.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value]),
  );
  return { status: message.statusCode ?? 0, headers, body, json: readJson(body) };
}

function readJson(body: Buffer): JsonObject | undefined {
  try {
    const json: unknown = parseJson(body);
    return isJsonObject(json) ? json : undefined;
  } catch (error) {
    // What is no JSON is said by whoever expected it.
    if (error instanceof MatrixError) return undefined;
    throw error;
  }
}
