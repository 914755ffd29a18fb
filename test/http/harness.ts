import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

import type { Authentication, Authenticator } from '../../server/http/authenticate.ts';
import type { Requester, Route } from '../../server/http/route.ts';
import { createHttpServer, type HttpServer, type HttpServerOptions } from '../../server/http/server.ts';
import { isDeviceId, isUserId } from '../../server/matrix/identifiers.ts';
import { systemClock } from '../../server/util/clock.ts';
import type { LogData, Logger } from '../../server/util/log.ts';

/** A requester with the parts a test cares about. */
export function requester(userId: string, parts: Partial<Requester> = {}): Requester {
  const deviceId = 'DEVICE';
  if (!isUserId(userId) || !isDeviceId(deviceId)) throw new TypeError(`not a user ID: ${userId}`);
  return {
    userId,
    deviceId,
    tokenId: 1,
    isGuest: false,
    isAdmin: false,
    isSuspended: false,
    appserviceId: undefined,
    rateLimited: true,
    ...parts,
  };
}

/** Knows the tokens it is given; every other one is unknown. */
export function tokens(known: Record<string, Authentication>): Authenticator {
  return { authenticate: (token) => known[token] ?? { kind: 'unknown' } };
}

export interface LogLine {
  readonly level: string;
  readonly data: LogData;
  readonly sentence: string;
}

/** A log that keeps its lines. */
export function recordingLog(): { log: Logger; lines: LogLine[] } {
  const lines: LogLine[] = [];
  const at =
    (level: string) =>
    (data: LogData, sentence: string): void => {
      lines.push({ level, data, sentence });
    };
  const log: Logger = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), child: () => log };
  return { log, lines };
}

export interface Served {
  readonly server: HttpServer;
  readonly origin: string;
  readonly port: number;
  readonly lines: LogLine[];
  /** Sends bytes as they are and gives everything that comes back until the server closes. */
  readonly raw: (text: string) => Promise<string>;
  /** An open connection. */
  readonly open: () => Promise<Socket>;
}

/** Serves `routes` on a port of the system's choice, until the test is over. Ann's token is `ann`. */
export async function serve(
  t: TestContext,
  routes: readonly Route[],
  options: Partial<HttpServerOptions> = {},
): Promise<Served> {
  const { log, lines } = recordingLog();
  const server = createHttpServer({
    routes,
    listeners: [
      {
        port: 0,
        bindAddresses: ['127.0.0.1'],
        tls: undefined,
        xForwarded: false,
        resources: ['client', 'federation', 'keys', 'media'],
      },
    ],
    db: { committed: async () => {} },
    log,
    clock: systemClock,
    stopGraceMs: 200,
    authenticator: tokens({ ann: { kind: 'ok', requester: requester('@ann:home') } }),
    ...options,
  });
  const { addresses } = await server.start();
  t.after(() => server.stop());
  const port = addresses[0]?.port ?? 0;
  const open = async (): Promise<Socket> => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const socket = connect(port, '127.0.0.1', resolve).once('error', reject);
    await promise;
    t.after(() => socket.destroy());
    return socket;
  };
  const raw = async (text: string): Promise<string> => {
    const socket = await open();
    socket.write(text);
    return readAll(socket);
  };
  return { server, origin: `http://127.0.0.1:${port}`, port, lines, raw, open };
}

/** Everything a socket gives until it is closed. */
export async function readAll(socket: Socket): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  socket.once('close', resolve);
  await promise;
  return text;
}

/** The parts of a reply that tests look at. */
export async function ask(
  url: string,
  init: RequestInit = {},
): Promise<{ status: number; body: unknown; headers: Headers }> {
  const response = await fetch(url, init);
  const text = await response.text();
  const isJson = response.headers.get('content-type') === 'application/json';
  return { status: response.status, body: isJson && text !== '' ? JSON.parse(text) : text, headers: response.headers };
}

/** As `ask`, for those who only want status and errcode. */
export async function refusal(url: string, init: RequestInit = {}): Promise<[status: number, errcode: unknown]> {
  const { status, body } = await ask(url, init);
  const errcode = typeof body === 'object' && body !== null && 'errcode' in body ? body.errcode : undefined;
  return [status, errcode];
}

export const asAnn = { authorization: 'Bearer ann' };
