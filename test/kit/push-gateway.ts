import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { makeAuthority, type TestAuthority } from './certificates.ts';
import type { Json } from './test-client.ts';

/** How a gateway answers a notification: JSON with a status (200 unless told), or nothing at all. */
export type GatewayAnswer = { readonly status?: number; readonly json?: unknown } | 'silence';

/** Asked for each notification in turn; undefined takes it and rejects nothing. */
export type GatewayScript = (notification: Json) => GatewayAnswer | Promise<GatewayAnswer | undefined> | undefined;

/** What lets a server reach gateways on this machine: tests alone want that. */
export const REACHES_GATEWAYS = { ip_range_whitelist: ['127.0.0.0/8'] };

/** How long a test waits for something that has to come, ms. */
const PATIENCE_MS = 10_000;

let authority: Promise<TestAuthority> | undefined;

/** One for all gateways of this process, which trusts it from then on. */
function trustedAuthority(): Promise<TestAuthority> {
  authority ??= makeAuthority('Push gateways of a test').then((made) => {
    setDefaultCACertificates([...getCACertificates('default'), made.cert]);
    return made;
  });
  return authority;
}

/** A push gateway on 127.0.0.1, over TLS, that answers as a test wants it to. */
export class PushGateway implements AsyncDisposable {
  readonly #server: Server;
  readonly #ca: string;
  readonly #heard: Json[] = [];
  readonly #arrived = new EventTarget();
  script: GatewayScript = () => undefined;

  private constructor(server: Server, ca: string) {
    this.#server = server;
    this.#ca = ca;
  }

  static async start(): Promise<PushGateway> {
    const ca = await trustedAuthority();
    const server = createServer(await ca.issue({ ipAddresses: ['127.0.0.1'] }));
    const gateway = new PushGateway(server, ca.cert);
    server.on('request', (req, res) => {
      const chunks: Buffer[] = [];
      req.on('data', (chunk: Buffer) => chunks.push(chunk));
      req.on('end', () => {
        const body = JSON.parse(Buffer.concat(chunks).toString('utf8'));
        const fits = req.method === 'POST' && req.url === '/_matrix/push/v1/notify';
        void gateway.#answer(fits ? body.notification : undefined).then((answer) => {
          if (answer === 'silence') return;
          res.writeHead(answer.status ?? 200, { 'content-type': 'application/json' });
          res.end(JSON.stringify(answer.json ?? {}));
        });
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return gateway;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `https://127.0.0.1:${this.port}/_matrix/push/v1/notify`;
  }

  /** The certificate of its authority, for a server in a process of its own. */
  get caCertificate(): string {
    return this.#ca;
  }

  /** The notifications it was told of, oldest first. */
  get heard(): readonly Json[] {
    return this.#heard;
  }

  /** What the notifications say, of those that are about an event. */
  get bodies(): readonly string[] {
    return this.#heard.filter(({ event_id: id }) => id !== undefined).map(({ content }) => content?.body);
  }

  /** Waits until it has heard of so many notifications, or of one that `fits`, and gives the last or that one. */
  async until(wanted: number | ((notification: Json) => boolean)): Promise<Json> {
    const find = (): Json =>
      typeof wanted === 'number' ? this.#heard[wanted - 1] : this.#heard.find((each) => wanted(each));
    const end = AbortSignal.timeout(PATIENCE_MS);
    for (let found = find(); ; found = find()) {
      if (found !== undefined) return found;
      assert.ok(!end.aborted, `heard ${this.#heard.length} notifications: ${JSON.stringify(this.#heard)}`);
      await new Promise<void>((resolve) => {
        this.#arrived.addEventListener('arrived', () => resolve(), { once: true });
        end.addEventListener('abort', () => resolve(), { once: true });
      });
    }
  }

  /** A pusher of this gateway's, as a client sets it. */
  pusher(pushkey: string, more: Json = {}): Json {
    const { data, ...rest } = more;
    return {
      kind: 'http',
      app_id: 'org.example.app',
      app_display_name: 'An app',
      device_display_name: 'A phone',
      pushkey,
      lang: 'en',
      data: { url: this.url, ...data },
      ...rest,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #answer(notification: Json): Promise<Exclude<GatewayAnswer, undefined>> {
    if (notification === undefined) return { status: 404 };
    this.#heard.push(notification);
    this.#arrived.dispatchEvent(new Event('arrived'));
    return (await this.script(notification)) ?? { json: { rejected: [] } };
  }
}
