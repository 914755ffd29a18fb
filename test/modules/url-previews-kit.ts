import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import sharp from 'sharp';
import { DnsError } from '../../server/federation/discovery/dns.ts';
import { dialTcp } from '../../server/federation/outbound/dial.ts';
import type { StartOptions } from '../../server/main.ts';
import type { Answer, TestClient } from '../kit/test-client.ts';
import { TestServer, type TestServerOptions } from '../kit/test-server.ts';

/** What a page of the played web answers with: bytes and headers, or whatever the test does itself. */
export type Page =
  | { readonly status?: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string | Buffer }
  | ((request: IncomingMessage, response: ServerResponse) => void);

export interface Request {
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
}

/** Where the played web is, as far as anybody is told. */
const PUBLIC_ADDRESS = '93.184.215.14';

/** Ranges that the manual recommends not to let previews into. */
export const LOCAL_RANGES: readonly string[] = (
  '127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 192.0.0.0/24 169.254.0.0/16 192.88.99.0/24 ' +
  '198.18.0.0/15 192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 ::1/128 fe80::/10 fc00::/7 2001:db8::/32 ' +
  'ff00::/8 fec0::/10'
).split(' ');

/** A web of pages that a test plays: every name but those it says otherwise of leads to it. */
export class PlayedWeb implements AsyncDisposable {
  readonly requests: Request[] = [];
  /** Every address that was connected to. */
  readonly dialled: string[] = [];
  /** Names and the addresses they have; each look-up gives the next, the last of them for ever. */
  readonly names = new Map<string, string[][]>();
  readonly #pages = new Map<string, Page>();
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((request, response) => this.#answer(request, response));
  #port = 0;

  static async start(): Promise<PlayedWeb> {
    const web = new PlayedWeb();
    web.#server.on('connection', (socket) => {
      web.#sockets.add(socket);
      socket.once('close', () => web.#sockets.delete(socket));
    });
    web.#server.listen(0, '127.0.0.1');
    await once(web.#server, 'listening');
    const address = web.#server.address();
    assert.ok(typeof address === 'object' && address !== null);
    web.#port = address.port;
    return web;
  }

  get network(): NonNullable<StartOptions['network']> {
    return {
      dns: {
        addresses: async (host) => {
          const known = this.names.get(host);
          if (host.endsWith('.nowhere')) throw new DnsError(`${host} is not known here`, true);
          const value = known === undefined ? [PUBLIC_ADDRESS] : ((known.length > 1 ? known.shift() : known[0]) ?? []);
          return { value, ttlMs: 0 };
        },
        services: async () => ({ value: [], ttlMs: 0 }),
      },
      dial: async (address, _port, signal) => {
        this.dialled.push(address);
        return dialTcp('127.0.0.1', this.#port, signal);
      },
    };
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** `address`: host and path with its query. */
  page(address: string, page: Page): void {
    this.#pages.set(address, page);
  }

  html(address: string, html: string, headers: Readonly<Record<string, string>> = {}): void {
    this.page(address, { headers: { 'content-type': 'text/html; charset=utf-8', ...headers }, body: html });
  }

  picture(address: string, body: Buffer, type = 'image/png'): void {
    this.page(address, { headers: { 'content-type': type }, body });
  }

  redirect(address: string, location: string): void {
    this.page(address, { status: 302, headers: { location } });
  }

  /** How often an address was asked for. */
  count(address: string): number {
    return this.requests.filter(({ url }) => url === address).length;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = `${request.headers.host}${request.url}`;
    this.requests.push({ url, headers: request.headers });
    const page = this.#pages.get(url);
    if (typeof page === 'function') return page(request, response);
    const { status = 200, headers = {}, body = '' } = page ?? { status: 404 };
    response.writeHead(status, { 'content-length': Buffer.byteLength(body), ...headers });
    response.end(body);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

export const PREVIEW_PATH = '/_matrix/client/v1/media/preview_url';

/** A server that makes previews, on a web that the test plays. */
export async function serverOn(web: PlayedWeb, options: TestServerOptions = {}): Promise<TestServer> {
  return TestServer.start({
    network: web.network,
    ...options,
    config: { url_preview_enabled: true, url_preview_ip_range_blacklist: LOCAL_RANGES, ...options.config },
  });
}

export function preview(client: TestClient, url: string, ts?: number): Promise<Answer> {
  return client.get(PREVIEW_PATH, { url, ts });
}

export function drawPicture(width: number, height: number, colour = '#884400'): Promise<Buffer> {
  return sharp({ create: { width, height, channels: 3, background: colour } })
    .png()
    .toBuffer();
}
