import { chmodSync, readFileSync, rmSync, statSync } from 'node:fs';
import type { RequestListener, Server } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import { connect, isIPv6, type AddressInfo, type Socket } from 'node:net';

import { systemClock } from '../util/clock.ts';
import type { Logger } from '../util/log.ts';
import type { Resource } from './route.ts';

// Not imported: an import asks a built-in module for all it has, and what this one has includes a WebSocket client, which
// takes tens of milliseconds to load.
const { createServer: createPlainServer, STATUS_CODES } = process.getBuiltinModule('node:http');

/** One port (or socket file) to listen on. */
export interface ListenerOptions {
  /** 0 lets the system choose. Undefined on a socket file. */
  readonly port: number | undefined;
  /** `::` alone stands for all interfaces, IPv4 too. */
  readonly bindAddresses: readonly string[];
  /** PEM files. Undefined: plain HTTP. */
  readonly tls: { readonly certPath: string; readonly keyPath: string } | undefined;
  /** Whether X-Forwarded-For is believed: only behind a proxy that sets it. */
  readonly xForwarded: boolean;
  /** Only their routes answer here, and `/health`. */
  readonly resources: readonly Resource[];
  /** Those whose replies are compressed; all unless said. */
  readonly compressed?: readonly Resource[];
  /** A header whose value names the request in the log, lower case. */
  readonly requestIdHeader?: string | undefined;
  /** How the listener is called in the log; its port unless said. */
  readonly tag?: string | undefined;
  /** A Unix socket instead of a port, and its file mode. */
  readonly socketPath?: string | undefined;
  readonly socketMode?: number;
}

/** Where a listener can be reached. */
export interface ListeningAddress {
  /** An IP address, or the path of a Unix socket (then the port is 0). */
  readonly address: string;
  readonly port: number;
  readonly tls: boolean;
  readonly resources: readonly Resource[];
}

/** A listener could not be opened; the message tells the administrator why. */
export class ListenError extends Error {
  readonly code: string | undefined;
  constructor(message: string, cause: unknown) {
    super(message, { cause });
    this.name = 'ListenError';
    this.code = codeOf(cause);
  }
}

// Beyond these a client is broken or hostile. Sync requests carry their filter in the URL, hence the header size.
const MAX_HEADER_BYTES = 32 * 1024;
const MAX_HEADERS = 100;
const HEADERS_TIMEOUT_MS = 20_000;
const TLS_HANDSHAKE_TIMEOUT_MS = 20_000;
const TIMEOUT_CHECK_INTERVAL_MS = 5_000;
/** Longer than the 60 s after which proxies give up an idle connection, so that it is never we who close under their feet. */
const KEEP_ALIVE_MS = 75_000;
const MAX_CONNECTIONS = 4_000;

/** One server for each bind address of one listener, and the connections they hold. */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #handler: RequestListener;
  readonly #log: Logger;
  readonly #servers: (Server | TlsServer)[] = [];
  readonly #sockets = new Set<Socket>();
  #addresses: ListeningAddress[] = [];

  constructor(options: ListenerOptions, handler: RequestListener, log: Logger) {
    this.#options = options;
    this.#handler = handler;
    this.#log = log;
  }

  get addresses(): readonly ListeningAddress[] {
    return this.#addresses;
  }

  /** Opens all its addresses, or none and throws ListenError. */
  async start(): Promise<void> {
    try {
      if (this.#options.socketPath !== undefined) await this.#listenOnFile(this.#options.socketPath);
      else await this.#listenOnPort();
    } catch (error) {
      this.#destroy();
      this.#forget();
      throw error;
    }
  }

  async #listenOnPort(): Promise<void> {
    const { bindAddresses } = this.#options;
    // The system chooses once; further addresses share that port.
    let port = this.#options.port ?? 0;
    let unavailable: ListenError | undefined;
    for (const address of bindAddresses) {
      // With 0.0.0.0 beside it, `::` must leave IPv4 alone, or the two collide.
      const ipv6Only = address === '::' && bindAddresses.includes('0.0.0.0');
      try {
        port = await this.#listen({ host: address, port, ipv6Only });
      } catch (error) {
        if (!isIPv6(address) || !isMissingIpv6(error)) throw listenError(address, port, error);
        unavailable = listenError(address, port, error);
        this.#log.warn({ address, port }, 'no IPv6 on this machine, address left out');
        if (address === '::' && !ipv6Only) port = await this.#listenInstead('0.0.0.0', port);
      }
    }
    if (this.#servers.length === 0) {
      throw unavailable ?? new ListenError(`no address to listen on for port ${port}`, undefined);
    }
  }

  async #listenInstead(address: string, port: number): Promise<number> {
    try {
      return await this.#listen({ host: address, port });
    } catch (error) {
      throw listenError(address, port, error);
    }
  }

  async #listenOnFile(path: string): Promise<void> {
    await removeStaleSocket(path);
    try {
      await this.#listen({ path });
      chmodSync(path, this.#options.socketMode ?? 0o600);
    } catch (error) {
      throw new ListenError(`cannot listen on the socket ${path}: ${reasonOf(error)}`, error);
    }
  }

  async #listen(where: { host: string; port: number; ipv6Only?: boolean } | { path: string }): Promise<number> {
    const server = this.#createServer();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once('error', reject);
    server.listen(where, resolve);
    await promise;
    server.off('error', reject);
    server.on('error', (error) => this.#log.error({ error: error.message }, 'listener failed'));
    this.#servers.push(server);
    const bound = server.address();
    const tls = this.#options.tls !== undefined;
    const { resources } = this.#options;
    if (!isAddressInfo(bound)) {
      this.#addresses = [...this.#addresses, { address: bound ?? '', port: 0, tls, resources }];
      return 0;
    }
    this.#addresses = [...this.#addresses, { address: bound.address, port: bound.port, tls, resources }];
    return bound.port;
  }

  #createServer(): Server | TlsServer {
    const limits = {
      keepAlive: true,
      keepAliveTimeout: KEEP_ALIVE_MS,
      headersTimeout: HEADERS_TIMEOUT_MS,
      // Bodies have limits of their own, that of media being hours.
      requestTimeout: 0,
      connectionsCheckingInterval: TIMEOUT_CHECK_INTERVAL_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      noDelay: true,
    };
    const { tls } = this.#options;
    const server =
      tls === undefined
        ? createPlainServer(limits, this.#handler)
        : process
            .getBuiltinModule('node:https')
            .createServer(
              { ...limits, ...readCertificate(tls), minVersion: 'TLSv1.2', handshakeTimeout: TLS_HANDSHAKE_TIMEOUT_MS },
              this.#handler,
            );
    server.maxConnections = MAX_CONNECTIONS;
    server.maxHeadersCount = MAX_HEADERS;
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    server.on('drop', () => this.#log.warn({ limit: MAX_CONNECTIONS }, 'too many connections, one was refused'));
    server.on('clientError', (error: Error, socket: Socket) => refuseMalformed(error, socket));
    server.on('tlsClientError', (error: Error) => this.#log.debug({ error: error.message }, 'TLS handshake failed'));
    return server;
  }

  /** Reads certificate and key anew; connections made before keep the old. Throws, and changes nothing, where they are bad. */
  reloadCertificate(): void {
    const { tls } = this.#options;
    if (tls === undefined) return;
    const certificate = readCertificate(tls);
    for (const server of this.#servers) {
      if ('setSecureContext' in server) server.setSecureContext({ ...certificate, minVersion: 'TLSv1.2' });
    }
  }

  /** Accepts nothing new, lets replies under way finish for `graceMs`, then closes what is left. */
  async stop(graceMs: number): Promise<void> {
    const closing = this.#servers.map((server) => close(server));
    // By the machine's own clock, as sockets do all else: a stop must end even where time stands still for the rest.
    const timer = systemClock.after(graceMs, () => this.#destroy());
    await Promise.all(closing);
    timer.cancel();
    this.#forget();
  }

  #forget(): void {
    this.#servers.length = 0;
    this.#addresses = [];
  }

  #destroy(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

async function close(server: Server | TlsServer): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  // The callback's error only says that it was closed already.
  server.close(() => resolve());
  server.closeIdleConnections();
  await promise;
}

function readCertificate(tls: { certPath: string; keyPath: string }): { cert: Buffer; key: Buffer } {
  try {
    return { cert: readFileSync(tls.certPath), key: readFileSync(tls.keyPath) };
  } catch (error) {
    throw new ListenError(`cannot read the TLS certificate or its key: ${reasonOf(error)}`, error);
  }
}

/** Requests that are no HTTP get an answer all the same, in the only form that can be hoped to be understood. */
function refuseMalformed(error: Error, socket: Socket): void {
  if (codeOf(error) === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const status = statusOfMalformed(codeOf(error));
  const body = JSON.stringify({ errcode: 'M_UNKNOWN', error: STATUS_CODES[status] ?? 'Bad Request' });
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Bad Request'}\r\nConnection: close\r\n` +
      'Content-Type: application/json\r\nAccess-Control-Allow-Origin: *\r\n' +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

function statusOfMalformed(code: string | undefined): number {
  if (code === 'HPE_HEADER_OVERFLOW') return 431;
  return code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400;
}

/** A socket file that a killed process left behind is in the way; one that answers belongs to somebody. */
async function removeStaleSocket(path: string): Promise<void> {
  if (statSync(path, { throwIfNoEntry: false })?.isSocket() !== true) return;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const probe = connect(path, () => resolve(true)).once('error', () => resolve(false));
  const alive = await promise;
  probe.destroy();
  if (!alive) rmSync(path, { force: true });
}

function isAddressInfo(address: AddressInfo | string | null): address is AddressInfo {
  return typeof address === 'object' && address !== null;
}

function isMissingIpv6(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL';
}

function listenError(address: string, port: number, error: unknown): ListenError {
  if (error instanceof ListenError) return error;
  return new ListenError(`cannot listen on port ${port} of ${address}: ${reasonOf(error)}`, error);
}

function reasonOf(error: unknown): string {
  switch (codeOf(error)) {
    case 'EADDRINUSE':
      return 'another program is using it';
    case 'EACCES':
      return 'the system does not permit it (ports below 1024 often need special rights)';
    case 'EADDRNOTAVAIL':
      return 'this machine has no such address';
    case 'EAFNOSUPPORT':
      return 'this machine does not support that kind of address';
    case 'ENOTFOUND':
      return 'the address is not known';
    default:
      return error instanceof Error ? error.message : String(error);
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
