import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Agent, createServer, request as httpsRequest } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { encodeBase64 } from '../../server/matrix/base64.ts';
import { isServerName, type ServerName } from '../../server/matrix/identifiers.ts';
import type { JsonObject } from '../../server/matrix/json.ts';
import { type SigningKey, signJson } from '../../server/matrix/signing.ts';
import { signRequest } from '../../server/federation/request-signing.ts';
import type { Clock } from '../../server/util/clock.ts';
import { systemClock } from '../../server/util/clock.ts';
import type { Answer, Json } from './test-client.ts';
import type { Place, TestNetwork } from './test-network.ts';
import type { TestServer } from './test-server.ts';

/** A request that a played server got. */
export interface Heard {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** `v1/make_join` and so on for the federation API; otherwise the path without `/_matrix/`. */
  readonly operation: string;
  /** What follows the operation in the path, unescaped. */
  readonly params: readonly string[];
  readonly query: URLSearchParams;
  readonly body: Json;
}

/** What a played server answers: JSON or text, all at once or in pieces for as long as somebody reads them. */
export interface ScriptedAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly json?: unknown;
  readonly text?: string;
  readonly pieces?: Iterable<string | Buffer> | AsyncIterable<string | Buffer>;
}

/** Undefined leaves the answer to the next script, or to what every server answers. */
export type Script = (heard: Heard) => ScriptedAnswer | undefined | Promise<ScriptedAnswer | undefined>;

export interface AskOptions {
  /** Whom the request claims to come from; this server unless told. */
  readonly origin?: ServerName;
  /** Whom it is signed for; the one it is sent to unless told. */
  readonly destination?: ServerName;
  /** The key to sign with; its own unless told. */
  readonly key?: SigningKey;
  /** Instead of a signature. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** How long a played server says its keys are good, ms. */
const KEYS_VALID_MS = 24 * 3_600_000;
/** Bytes handed to a connection at a time. */
const PIECE = 64 * 1024;

/**
 * A homeserver that a test plays, over real TLS: its answers are what the test says, by scripts of which the latest comes
 * first; what none of them answers is answered as a well-meaning server would that knows nothing.
 */
export class ScriptedServer implements Place, AsyncDisposable {
  readonly name: ServerName;
  readonly key: SigningKey;
  /** Every request it got, in order. */
  readonly heard: Heard[] = [];
  /** Bytes of answers that were taken off its hands. */
  written = 0;
  /** Connections that were opened to it. */
  connections = 0;
  federationPort: number | undefined;
  readonly #ca: Buffer;
  readonly #clock: Clock;
  readonly #scripts: Script[] = [];
  readonly #agent: Agent;
  readonly #sockets = new Set<Socket>();
  #stop: (() => Promise<void>) | undefined;
  #transactions = 0;

  private constructor(name: ServerName, key: SigningKey, ca: Buffer, clock: Clock) {
    this.name = name;
    this.key = key;
    this.#ca = ca;
    this.#clock = clock;
    this.#agent = new Agent({ ca, keepAlive: true, maxSockets: 64 });
  }

  /** Starts it and gives it its place on the network. */
  static async start(
    network: TestNetwork,
    { name, key, clock = systemClock }: { name: string; key: SigningKey; clock?: Clock },
  ): Promise<ScriptedServer> {
    assert.ok(isServerName(name), name);
    const files = await network.issueTo(name);
    const played = new ScriptedServer(name, key, readFileSync(files.caPath), clock);
    await played.#listen({ cert: readFileSync(files.certPath), key: readFileSync(files.keyPath) });
    network.place(name, played);
    return played;
  }

  async #listen(tls: { readonly cert: Buffer; readonly key: Buffer }): Promise<void> {
    const server = createServer(tls, (req, res) => void this.#serve(req, res));
    server.on('connection', (socket: Socket) => {
      this.connections += 1;
      this.#keep(socket);
    });
    server.on('tlsClientError', (_error, socket: TLSSocket) => socket.destroy());
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    this.federationPort = (server.address() as AddressInfo).port;
    this.#stop = async () => {
      const closed = new Promise((resolve) => void server.close(resolve));
      for (const socket of this.#sockets) socket.destroy();
      await closed;
    };
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.#sockets.delete(socket));
  }

  /** From now on it answers so, before what it answered until now. */
  script(script: Script): void {
    this.#scripts.unshift(script);
  }

  /** The same for one operation. */
  answer(operation: string, script: Script): void {
    this.script((heard) => (heard.operation === operation ? script(heard) : undefined));
  }

  /** How often it was asked for an operation. */
  count(operation: string): number {
    return this.heard.filter((heard) => heard.operation === operation).length;
  }

  /** What it says its keys are, signed; with what a test wants changed before that. */
  keysAnswer(changes: JsonObject = {}, key: SigningKey = this.key): JsonObject {
    const answer = {
      server_name: this.name,
      valid_until_ts: this.#clock.now() + KEYS_VALID_MS,
      verify_keys: { [key.keyId]: { key: encodeBase64(key.publicKey) } },
      old_verify_keys: {},
      ...changes,
    };
    return signJson(answer, this.name, key);
  }

  /** A signed request to a server; the body as JSON, or as text that is sent as it is. */
  async ask(
    to: TestServer,
    method: string,
    path: string,
    body?: JsonObject | string,
    options: AskOptions = {},
  ): Promise<Answer> {
    const contentText = typeof body === 'string' ? body : body === undefined ? undefined : JSON.stringify(body);
    const destination = options.destination ?? to.serverName;
    assert.ok(isServerName(destination));
    const { origin = this.name, key = this.key } = options;
    // Whoever is sent text signs over text that has a canonical form; a test that sends other text signs in vain.
    const signed = contentText === undefined ? undefined : canonicalTextOf(body, contentText);
    const authorization = signRequest({ method, uri: path, origin, destination, contentText: signed }, key);
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const req = httpsRequest(
      {
        host: '127.0.0.1',
        port: portOf(to),
        servername: to.serverName,
        agent: this.#agent,
        method,
        path,
        headers: options.headers ?? {
          authorization,
          ...(contentText === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(contentText) }),
        },
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      },
      (res) => void readAnswer(res).then(resolve, reject),
    );
    req.once('error', reject);
    req.end(contentText);
    return promise;
  }

  /** Sends a transaction. */
  transact(
    to: TestServer,
    { pdus = [], edus = [], id }: { pdus?: readonly Json[]; edus?: readonly Json[]; id?: string },
    options: AskOptions = {},
  ): Promise<Answer> {
    this.#transactions += 1;
    const body = { origin: this.name, origin_server_ts: this.#clock.now(), pdus, edus };
    return this.ask(
      to,
      'PUT',
      `/_matrix/federation/v1/send/${encodeURIComponent(id ?? `t${this.#transactions}`)}`,
      body,
      options,
    );
  }

  /** A bare connection to a server, for requests that are no proper ones. */
  async connect(to: TestServer): Promise<TLSSocket> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const socket = connectTls(
      { host: '127.0.0.1', port: portOf(to), servername: to.serverName, ca: this.#ca },
      resolve,
    );
    socket.once('error', reject);
    this.#keep(socket);
    await promise;
    return socket;
  }

  /** Stops listening and breaks every connection, those to others too. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy();
    const stop = this.#stop;
    this.#stop = undefined;
    await stop?.();
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    res.on('error', () => res.destroy());
    try {
      const heard = await readRequest(req);
      this.heard.push(heard);
      await this.#send(res, await this.#findAnswer(heard));
    } catch (error) {
      // A script that fails must not look like a server that is down.
      if (!res.headersSent) res.writeHead(500, { 'content-type': 'application/json' });
      res.end(JSON.stringify({ errcode: 'M_UNKNOWN', error: String(error) }));
    }
  }

  async #findAnswer(heard: Heard): Promise<ScriptedAnswer> {
    for (const script of this.#scripts) {
      const answer = await script(heard);
      if (answer !== undefined) return answer;
    }
    if (heard.path.startsWith('/_matrix/key/v2/server')) return { json: this.keysAnswer() };
    if (heard.operation === 'v1/send') return { json: { pdus: {} } };
    return refusal(404, 'M_UNRECOGNIZED');
  }

  async #send(res: ServerResponse, answer: ScriptedAnswer): Promise<void> {
    const { status = 200, headers = {}, json, text = JSON.stringify(json ?? {}), pieces } = answer;
    res.writeHead(status, { 'content-type': 'application/json', ...headers });
    for await (const piece of pieces ?? inPieces(text)) {
      if (!(await this.#write(res, piece))) return;
    }
    res.end();
  }

  /** Whether anybody is there to read more. */
  async #write(res: ServerResponse, piece: string | Buffer): Promise<boolean> {
    if (res.destroyed) return false;
    if (!res.write(piece)) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const go = (): void => resolve();
      res.once('drain', go).once('close', go);
      await promise;
      res.off('drain', go).off('close', go);
    }
    if (res.destroyed) return false;
    this.written += Buffer.byteLength(piece);
    return true;
  }
}

/** What a server answers that refuses. */
export function refusal(status: number, errcode: string, more: JsonObject = {}): ScriptedAnswer {
  return { status, json: { errcode, error: `No (${errcode})`, ...more } };
}

/** The port on which a server speaks to others. */
function portOf(server: TestServer): number {
  assert.ok(server.federationPort !== undefined, `${server.serverName} takes part in federation`);
  return server.federationPort;
}

/** What is signed of a body: its keys in order, nothing else changed, however wrong it is as canonical JSON. */
function canonicalTextOf(body: JsonObject | string | undefined, text: string): string {
  if (typeof body === 'string') return text;
  return JSON.stringify(sorted(body));
}

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries<Json>(value).filter(([, inner]) => inner !== undefined);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, inner]) => [key, sorted(inner)]));
}

function* inPieces(text: string): Generator<Buffer, void, undefined> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += PIECE) yield bytes.subarray(at, at + PIECE);
}

async function readRequest(req: IncomingMessage): Promise<Heard> {
  const chunks: Buffer[] = [];
  for await (const chunk of req) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString('utf8');
  const url = new URL(req.url ?? '/', 'https://played.test');
  const [version = '', name = '', ...params] = url.pathname.replace('/_matrix/federation/', '').split('/');
  const isFederation = url.pathname.startsWith('/_matrix/federation/');
  return {
    method: req.method ?? '',
    path: url.pathname,
    operation: isFederation ? `${version}/${name}` : url.pathname.replace('/_matrix/', ''),
    params: isFederation ? params.map(decodeURIComponent) : [],
    query: url.searchParams,
    body: text === '' ? undefined : JSON.parse(text),
  };
}

async function readAnswer(res: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  for await (const chunk of res) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString('utf8');
  const headers = new Headers(
    Object.entries(res.headers).flatMap(([name, value]): [string, string][] =>
      value === undefined ? [] : [[name, Array.isArray(value) ? value.join(', ') : value]],
    ),
  );
  const isJson = (res.headers['content-type'] ?? '').startsWith('application/json');
  return { status: res.statusCode ?? 0, headers, body: isJson ? JSON.parse(text) : text };
}
