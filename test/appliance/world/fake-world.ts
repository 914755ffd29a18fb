/** A world of names, addresses and servers on this machine, for whoever looks at servers from outside. */
import { once } from 'node:events';
import { createServer as createPlainServer, type RequestListener, request } from 'node:http';
import { createServer } from 'node:https';
import { type AddressInfo, connect, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Verdict } from '../../../server/appliance/contract.ts';
import type { DoctorReport, Finding } from '../../../server/appliance/contract.ts';
import { examine } from '../../../server/appliance/doctor/examine.ts';
import { createWorld, type HostRecords, usualLimits, type World } from '../../../server/appliance/doctor/world.ts';
import { DnsError } from '../../../server/federation/discovery/dns.ts';
import type { SrvRecord } from '../../../server/federation/discovery/srv-query.ts';
import { generateSigningKey, type SigningKey, signJson } from '../../../server/matrix/signing.ts';
import { systemRandom } from '../../../server/util/random.ts';
import {
  type CertificateWishes,
  type IssuedCertificate,
  makeAuthority,
  type TestAuthority,
} from '../../kit/certificates.ts';

/** How the network answers for an address and a port: a server on this machine, or one of its refusals. */
type Answer = { readonly host: string; readonly port: number } | 'refused' | 'silent' | 'unreachable' | 'no-way';

const CODES = { refused: 'ECONNREFUSED', unreachable: 'EHOSTUNREACH', 'no-way': 'ENETUNREACH' } as const;

export interface Serving {
  /** `address:port` or `[address]:port`, as others know it. */
  readonly at: string | readonly string[];
  /** What the certificate is for; a list of DNS names, or all wishes, or the certificate itself. */
  readonly certificate?: readonly string[] | CertificateWishes | IssuedCertificate;
  /** No TLS. */
  readonly plain?: boolean;
  /** Listens on ::1. */
  readonly six?: boolean;
  readonly answer: RequestListener;
}

export class FakeWorld implements AsyncDisposable {
  readonly authority: TestAuthority;
  readonly hosts = new Map<string, Partial<HostRecords> | 'no-answer'>();
  readonly services = new Map<string, readonly SrvRecord[]>();
  readonly network = new Map<string, Answer>();
  /** The names that were asked for by SNI, by address and port. */
  readonly sni: string[] = [];
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();

  private constructor(authority: TestAuthority) {
    this.authority = authority;
  }

  static async start(): Promise<FakeWorld> {
    return new FakeWorld(await makeAuthority('An authority that everybody trusts'));
  }

  /** Puts a web server somewhere; gives its port on this machine. */
  async serve({ at, certificate = [], plain = false, six = false, answer }: Serving): Promise<number> {
    const issued = await this.#issue(certificate);
    const server = plain
      ? createPlainServer(answer)
      : createServer(
          {
            ...issued,
            SNICallback: (name, done) => {
              this.sni.push(name);
              done(null);
            },
          },
          answer,
        );
    return this.listen(server, at, six);
  }

  /** Puts any server somewhere. */
  async listen(server: Server, at: string | readonly string[], six = false): Promise<number> {
    // Where there is no IPv6 at all, the address is played like all others.
    const host =
      six &&
      Object.values(networkInterfaces())
        .flat()
        .some((one) => one?.address === '::1')
        ? '::1'
        : '127.0.0.1';
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => this.#sockets.delete(socket));
    });
    server.listen(0, host);
    await once(server, 'listening');
    this.#servers.push(server);
    const { port } = server.address() as AddressInfo;
    for (const place of [at].flat()) this.network.set(place, { host, port });
    return port;
  }

  /** Takes connections and does this with them. */
  listenRaw(at: string, take: (socket: Socket) => void): Promise<number> {
    return this.listen(createTcpServer(take), at);
  }

  async #issue(certificate: NonNullable<Serving['certificate']>): Promise<IssuedCertificate> {
    if ('cert' in certificate) return certificate;
    if (Array.isArray(certificate)) return this.authority.issue({ dnsNames: certificate });
    return this.authority.issue(certificate as CertificateWishes);
  }

  /** The world as it is seen from a computer in it. */
  view(parts: Partial<World> = {}): World {
    return createWorld({
      authorities: [this.authority.cert],
      localAddresses: () => [],
      limits: usualLimits,
      dns: {
        host: async (name) => {
          const found = this.hosts.get(name);
          if (found === 'no-answer') throw new DnsError(`nobody answers for ${name}`, false);
          if (found === undefined) throw new DnsError(`${name} is not known`, true);
          return { ipv4: [], ipv6: [], ...found };
        },
        services: async (name) => this.services.get(name) ?? [],
      },
      dial: async (address, port, signal) => {
        const answer =
          this.network.get(address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`) ?? 'refused';
        if (answer === 'silent') {
          const { promise, reject } = Promise.withResolvers<never>();
          const end = (): void => reject(Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' }));
          signal.addEventListener('abort', end, { once: true });
          if (signal.aborted) end();
          return promise;
        }
        if (typeof answer === 'string') throw Object.assign(new Error(answer), { code: CODES[answer] });
        const socket = connect(answer);
        await once(socket, 'connect');
        return socket;
      },
      ...parts,
    });
  }

  /** What the doctor says of a server here. */
  examine(name: string, parts: Partial<World> = {}): Promise<DoctorReport> {
    return examine(name, { world: this.view(parts) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(
      this.#servers.map(async (server) => {
        server.close();
        await once(server, 'close');
      }),
    );
  }
}

export interface MatrixWishes {
  readonly name: string;
  readonly key?: SigningKey;
  /** What it calls itself in its keys. */
  readonly claims?: string;
  readonly validUntil?: number;
  /** Signs with another key than it shows. */
  readonly signedBy?: SigningKey;
  /** Its Date header. */
  readonly date?: Date;
  /** Answers to paths before anything else. */
  readonly files?: Readonly<Record<string, { status?: number; headers?: Record<string, string>; body?: string }>>;
}

export const someKey = (): SigningKey => generateSigningKey(systemRandom.bytes(32));

/** What a homeserver answers to those who only look at it. */
export function matrixServer(wishes: MatrixWishes): RequestListener {
  const { name, key = someKey(), claims = name, signedBy = key, date, files = {} } = wishes;
  return ({ url = '/', headers, method }, response) => {
    if (date !== undefined) response.setHeader('date', date.toUTCString());
    const file = files[`${method} ${url.split('?', 1)[0]}`] ?? files[url.split('?', 1)[0] ?? ''];
    if (file !== undefined) {
      response.writeHead(file.status ?? 200, { 'content-type': 'application/json', ...file.headers });
      response.end(file.body ?? '');
      return;
    }
    if (method === 'OPTIONS') {
      response.writeHead(204, {
        'access-control-allow-origin': '*',
        'access-control-allow-methods': 'GET, HEAD, POST, PUT, DELETE, OPTIONS',
        'access-control-allow-headers': 'X-Requested-With, Content-Type, Authorization',
      });
      response.end();
      return;
    }
    const json = (status: number, body: object, more: Record<string, string> = {}): void => {
      response.writeHead(status, { 'content-type': 'application/json', ...more });
      response.end(JSON.stringify(body));
    };
    if (url === '/_matrix/federation/v1/version') return json(200, { server: { name: 'Played', version: '1' } });
    if (url === '/_matrix/key/v2/server') {
      const keys = {
        server_name: claims,
        verify_keys: { [key.keyId]: { key: key.publicKeyBase64 } },
        old_verify_keys: {},
        valid_until_ts: wishes.validUntil ?? Date.now() + 3_600_000,
      };
      return json(200, signJson(keys, claims, { ...signedBy, keyId: key.keyId }));
    }
    if (/^\/_matrix\/federation\/v1\/state\/[^/?]+(\?|$)/.test(url)) return json(401, { errcode: 'M_UNAUTHORIZED' });
    if (url.startsWith('/_matrix/federation/v1/query/profile') && headers.authorization !== undefined) {
      return json(404, { errcode: 'M_NOT_FOUND' });
    }
    if (/^\/_matrix\/client\/v3\/directory\/room\/[^/?]+$/.test(url)) return json(404, { errcode: 'M_NOT_FOUND' });
    if (url === '/_matrix/client/versions') {
      return json(200, { versions: ['v1.18'] }, { 'access-control-allow-origin': '*' });
    }
    return json(404, { errcode: 'M_UNRECOGNIZED', error: 'Unrecognized request' });
  };
}

/** A reverse proxy for a server on this machine. `rewrite` is what it does to paths. */
export function proxyTo(
  port: () => number,
  {
    rewrite = (path: string) => path,
    headers = { 'x-forwarded-for': '81.2.69.142', 'x-forwarded-proto': 'https' },
  } = {},
): RequestListener {
  return (incoming, response) => {
    const onward = request(
      {
        port: port(),
        host: '127.0.0.1',
        method: incoming.method ?? 'GET',
        path: rewrite(incoming.url ?? '/'),
        headers: { ...incoming.headers, ...headers },
      },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      },
    );
    onward.on('error', () => response.writeHead(502).end());
    incoming.pipe(onward);
  };
}

export const serverFile = (server: string): Record<string, { body: string }> => ({
  '/.well-known/matrix/server': { body: JSON.stringify({ 'm.server': server }) },
});

export const clientFile = (url: string): Record<string, { body: string; headers: Record<string, string> }> => ({
  '/.well-known/matrix/client': {
    body: JSON.stringify({ 'm.homeserver': { base_url: url } }),
    headers: { 'access-control-allow-origin': '*' },
  },
});

/** The finding whose id begins so. */
export function findingOf({ findings }: DoctorReport, id: string): Finding {
  const found = findings.find((finding) => finding.id === id) ?? findings.find((finding) => finding.id.startsWith(id));
  if (found === undefined)
    throw new Error(`no finding ${id} among ${findings.map((finding) => finding.id).join(', ')}`);
  return found;
}

/** Verdict, sentence and next step in one text, to be matched. */
export function wordsOf(report: DoctorReport, id: string): string {
  const { verdict, text, nextStep = '' } = findingOf(report, id);
  return `${verdict}: ${text} → ${nextStep}`;
}

export const verdictsOf = ({ findings }: DoctorReport): Record<string, Verdict> =>
  Object.fromEntries(findings.map(({ id, verdict }) => [id, verdict]));
