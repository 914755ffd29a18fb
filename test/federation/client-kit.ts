import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import type { ClientSettings } from '../../server/federation/client/client.ts';
import { type Dns, DnsError } from '../../server/federation/discovery/dns.ts';
import type { SrvRecord } from '../../server/federation/discovery/srv-query.ts';
import { createFederationNetwork, type FederationNetwork } from '../../server/federation/network.ts';
import { type Dial, dialTcp } from '../../server/federation/outbound/dial.ts';
import type { OutboundSettings } from '../../server/federation/outbound/outbound.ts';
import { isServerName, type ServerName } from '../../server/matrix/identifiers.ts';
import { generateSigningKey, type SigningKey } from '../../server/matrix/signing.ts';
import { openDatabase, type OpenDatabase } from '../../server/storage/database.ts';
import { federationMigrations } from '../../server/federation/schema.ts';
import { type Clock, systemClock } from '../../server/util/clock.ts';
import { silentLogger } from '../../server/util/log.ts';
import { type Random, systemRandom } from '../../server/util/random.ts';
import { type CertificateWishes, makeAuthority, type TestAuthority } from '../kit/certificates.ts';

/** A server name, or a failed test. */
export function serverName(text: string): ServerName {
  if (!isServerName(text)) throw new TypeError(`${text} is no server name`);
  return text;
}

/** A request as one of the servers of the small internet saw it. */
export interface SeenRequest {
  /** The name asked for by SNI; false where there was none. */
  readonly sni: string | false;
  readonly host: string | undefined;
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

type Handler = RequestListener;

/** Answers everything with JSON. */
export function answerJson(body: unknown, status = 200, headers: Record<string, string> = {}): Handler {
  return (_, response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify(body));
  };
}

/** Answers with a delegation. */
export function delegateTo(name: string, headers: Record<string, string> = {}): Handler {
  return answerJson({ 'm.server': name }, 200, headers);
}

/**
 * An internet with names, addresses and servers of its own: what is dialled at one of its addresses arrives at a server on
 * this machine.
 */
export class SmallInternet implements AsyncDisposable {
  readonly authority: TestAuthority;
  readonly dir: string;
  readonly caPath: string;
  /** Name → addresses. */
  readonly hosts = new Map<string, readonly string[]>();
  /** Name → records. */
  readonly services = new Map<string, readonly Partial<SrvRecord>[]>();
  /** Names whose look-up fails for now. */
  readonly silentNames = new Set<string>();
  /** How long answers hold, ms. */
  dnsTtlMs = 60_000;
  readonly lookups: string[] = [];
  /** `address:port` of each connection that was tried. */
  readonly dialled: string[] = [];
  readonly seen: SeenRequest[] = [];
  /** Addresses nobody answers from, not even to refuse. */
  readonly blackHoles = new Set<string>();
  readonly #ports = new Map<string, number>();
  readonly #servers: Server[] = [];
  readonly #networks: { network: FederationNetwork; db: OpenDatabase }[] = [];

  private constructor(authority: TestAuthority) {
    this.authority = authority;
    this.dir = mkdtempSync(join(tmpdir(), 'hearth-net-'));
    this.caPath = join(this.dir, 'ca.pem');
    writeFileSync(this.caPath, authority.cert);
  }

  static async start(): Promise<SmallInternet> {
    return new SmallInternet(await makeAuthority());
  }

  readonly dns: Dns = {
    addresses: async (host) => {
      this.lookups.push(host);
      if (this.silentNames.has(host)) throw new DnsError(`no name server answers for ${host}`, false);
      const value = this.hosts.get(host);
      if (value === undefined) throw new DnsError(`${host} does not exist`, true);
      return { value, ttlMs: this.dnsTtlMs };
    },
    services: async (name) => {
      this.lookups.push(name);
      if (this.silentNames.has(name)) throw new DnsError(`no name server answers for ${name}`, false);
      const value = (this.services.get(name) ?? []).map((record) => ({
        priority: 0,
        weight: 0,
        target: '',
        port: 0,
        ...record,
      }));
      return { value, ttlMs: this.dnsTtlMs };
    },
  };

  readonly dial: Dial = (address, port, signal) => {
    const to = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
    this.dialled.push(to);
    const local = this.#ports.get(to);
    if (local !== undefined && !this.blackHoles.has(address)) return dialTcp('127.0.0.1', local, signal);
    const refusal = Object.assign(new Error(`connect ECONNREFUSED ${to}`), { code: 'ECONNREFUSED' });
    if (!this.blackHoles.has(address)) return Promise.reject(refusal);
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(refusal), { once: true }));
  };

  /** A TLS server at an address, with a certificate for the given names. */
  async serve(at: string, wishes: CertificateWishes, handler: Handler, authority = this.authority): Promise<Server> {
    return this.#listen(at, createHttpsServer(await authority.issue(wishes), this.#recording(handler)));
  }

  /** A plain HTTP server at an address. */
  async servePlainly(at: string, handler: Handler): Promise<Server> {
    return this.#listen(at, createHttpServer(this.#recording(handler)));
  }

  /** Connects an address with a server that already listens on this machine. */
  place(at: string, localPort: number): void {
    this.#ports.set(at, localPort);
  }

  /** Where something at an address listens in truth. */
  localPort(at: string): number {
    return this.#ports.get(at) ?? 0;
  }

  /** A homeserver's way into this internet. */
  network(
    options: {
      client?: Partial<ClientSettings>;
      outbound?: Partial<OutboundSettings>;
      clock?: Clock;
      random?: Random;
      signingKey?: SigningKey;
      dbPath?: string;
    } = {},
  ): FederationNetwork {
    const db = openDatabase({
      path: options.dbPath ?? ':memory:',
      migrations: [federationMigrations],
      log: silentLogger,
    });
    const random = options.random ?? systemRandom;
    const network = createFederationNetwork({
      serverName: serverName('hearth.test'),
      signingKey: options.signingKey ?? generateSigningKey(systemRandom.bytes(32)),
      db,
      clock: options.clock ?? systemClock,
      random,
      log: silentLogger,
      dns: this.dns,
      dial: this.dial,
      settings: {
        client: {
          allowedServers: undefined,
          timeoutMs: 60_000,
          maxShortDelayMs: 2000,
          maxShortRetries: 3,
          maxLongDelayMs: 60_000,
          maxLongRetries: 10,
          ...options.client,
        },
        destinations: { minMs: 600_000, factor: 2, maxMs: 7 * 86_400_000 },
        outbound: {
          deny: ['127.0.0.0/8', '10.0.0.0/8', '::1/128'],
          allow: [],
          httpProxy: undefined,
          httpsProxy: undefined,
          noProxyHosts: undefined,
          userAgent: 'Hearth/test',
          tls: {
            verifyCertificates: true,
            unverifiedNames: [],
            customCaPaths: [this.caPath],
            minimumVersion: 'TLSv1.2',
          },
          ...options.outbound,
        },
      },
    });
    this.#networks.push({ network, db });
    return network;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { network, db } of this.#networks) {
      await network.close();
      await db.close();
    }
    for (const server of this.#servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
    rmSync(this.dir, { recursive: true, force: true });
  }

  async #listen(at: string, server: Server): Promise<Server> {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.#ports.set(at, (server.address() as AddressInfo).port);
    this.#servers.push(server);
    return server;
  }

  #recording(handler: Handler): Handler {
    return (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        this.seen.push({
          sni: sniOf(request.socket),
          host: request.headers.host,
          method: request.method ?? '',
          url: request.url ?? '',
          headers: request.headers,
          body: Buffer.concat(chunks).toString(),
        });
        handler(request, response);
      });
    };
  }
}

function sniOf(socket: Socket): string | false {
  return socket instanceof TLSSocket && typeof socket.servername === 'string' ? socket.servername : false;
}
