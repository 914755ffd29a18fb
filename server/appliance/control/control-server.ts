import { createHttpServer, type HttpServer } from '../../http/server.ts';
import { Reply, route, type Route } from '../../http/route.ts';
import { Type } from '../../http/type.ts';
import { forbidden, limitExceeded } from '../../matrix/errors.ts';
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import type { Announcer } from '../announcer.ts';
import { API_PREFIX, type ControlCall } from './call.ts';
import { eventStream } from './event-stream.ts';
import { bearerOf, createGate } from './gate.ts';
import { pageRoutes } from './pages.ts';
import { type Sessions, tokenMissing } from './sessions.ts';

interface ControlServerParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly announcer: Announcer;
  readonly sessions: Sessions;
  readonly calls: readonly ControlCall[];
  /** Where the built interface lies. */
  readonly pages: string;
  /** 0 lets the system choose. */
  readonly port: number;
}

/** The listener of the interface: on this machine only, whatever the homeserver does meanwhile. */
export interface ControlServer {
  /** Throws ListenError. Gives the address of the interface, without a slash at its end. */
  start(): Promise<string>;
  stop(): Promise<void>;
}

export function createControlServer(parts: ControlServerParts): ControlServer {
  const { clock, log, sessions } = parts;
  const port = (): number => http.addresses[0]?.port ?? 0;
  const http: HttpServer = createHttpServer({
    routes: [
      ...parts.calls.map((each) => each.route),
      ...sessionRoutes(sessions),
      events(parts),
      ...pageRoutes(parts.pages),
    ],
    listeners: [
      {
        port: parts.port,
        bindAddresses: ['127.0.0.1'],
        tls: undefined,
        xForwarded: false,
        resources: ['control'],
        // An event that waits for its fellows to be compressed with comes too late.
        compressed: [],
        tag: 'control',
      },
    ],
    // Nothing here rests on a database of its own: what the homeserver writes, its own calls wait for.
    db: { committed: () => Promise.resolve() },
    log: withoutReads(log),
    clock,
    authenticator: { authenticate: () => ({ kind: 'unknown' }) },
    gate: createGate({ port, sessions }),
    stopGraceMs: 500,
  });
  return {
    start: async () => {
      await http.start();
      return `http://127.0.0.1:${port()}`;
    },
    stop: () => http.stop(),
  };
}

function sessionRoutes(sessions: Sessions): Route[] {
  const byLink = Type.Object({ link: Type.String({ maxLength: 200 }) });
  const byAccount = Type.Object({
    username: Type.String({ maxLength: 255 }),
    password: Type.String({ maxLength: 512 }),
  });
  const path = `${API_PREFIX}/session`;
  return [
    // Not by `call`: they have to know the token of the request.
    route({
      method: 'POST',
      path,
      auth: 'none',
      resource: 'control',
      body: Type.Union([byLink, byAccount]),
      handle: async ({ body }) => ({
        token:
          'link' in body ? sessions.openByLink(body.link) : await sessions.openByAccount(body.username, body.password),
      }),
    }),
    route({
      method: 'DELETE',
      path,
      auth: 'none',
      resource: 'control',
      handle: ({ headers }) => {
        const token = bearerOf(headers['authorization']);
        if (token !== undefined) sessions.close(token);
        return {};
      },
    }),
    route({
      method: 'POST',
      path: `${API_PREFIX}/links`,
      auth: 'none',
      resource: 'control',
      handle: ({ headers }) => {
        const token = bearerOf(headers['authorization']);
        // Else one session could go on for ever by links that it makes itself.
        if (token === undefined || !sessions.isOwner(token)) {
          throw forbidden('Links are only given to programs on this machine that can read the data directory');
        }
        return { link: sessions.createLink() };
      },
    }),
  ];
}

/** A browser has a few tabs, the shell one window: more streams are somebody's mistake. */
const MAX_STREAMS = 100;

function events({ announcer, clock, sessions }: ControlServerParts): Route {
  let streams = 0;
  return route({
    method: 'GET',
    path: `${API_PREFIX}/events`,
    auth: 'none',
    resource: 'control',
    handle: ({ signal, headers }) => {
      const token = bearerOf(headers['authorization']);
      if (token === undefined) throw tokenMissing();
      if (streams >= MAX_STREAMS) throw limitExceeded(5_000);
      const end = sessions.endOf(token);
      const body = eventStream({
        announcer,
        clock,
        signal: end === undefined ? signal : AbortSignal.any([signal, end]),
        isWelcome: () => sessions.isGood(token),
      });
      streams += 1;
      body.once('close', () => {
        streams -= 1;
      });
      return new Reply({
        headers: { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store' },
        body,
      });
    },
  });
}

/** Pages look every few seconds: what only reads would soon be all there is in the log that they show. */
function withoutReads(log: Logger): Logger {
  return {
    ...log,
    info: (data, sentence) => {
      const isRead = data['method'] === 'GET' && Number(data['status']) < 400;
      log[isRead ? 'debug' : 'info'](data, sentence);
    },
  };
}
