import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { type Address, type Answer, type Json, type RequestOptions, TestClient } from './test-client.ts';

/** A request that a played application service got. */
export interface HeardByService {
  readonly method: string;
  /** Unescaped, without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly authorization: string | undefined;
  readonly body: Json;
}

export interface ServiceAnswer {
  readonly status?: number;
  readonly json?: unknown;
  readonly text?: string;
}

/** Undefined leaves the answer to what was scripted before, and at last to 200 for transactions and pings and 404 for the rest. */
export type ServiceScript = (heard: HeardByService) => ServiceAnswer | undefined | Promise<ServiceAnswer | undefined>;

interface Waiting {
  readonly isIt: (heard: HeardByService) => boolean;
  readonly resolve: (heard: HeardByService) => void;
}

/** An application service that a test plays: what it is registered with, what it hears, and what it answers. */
export class ScriptedAppService implements AsyncDisposable {
  readonly registration: Json;
  /** Every request it got, in order. */
  readonly heard: HeardByService[] = [];
  readonly #dir = mkdtempSync(join(tmpdir(), 'hearth-appservice-'));
  readonly #scripts: ServiceScript[] = [];
  #waiting: Waiting[] = [];
  #server: Server | undefined;
  #port = 0;

  private constructor(registration: Json) {
    this.registration = registration;
  }

  /** Begins to listen. `registration` goes over what every service here has: users `@_<id>_…` and aliases `#_<id>_…` of its own. */
  static async start(registration: Json = {}): Promise<ScriptedAppService> {
    const id = registration.id ?? 'bridge';
    const service = new ScriptedAppService({
      id,
      as_token: `as token of ${id}`.replaceAll(' ', '-'),
      hs_token: `hs token of ${id}`.replaceAll(' ', '-'),
      sender_localpart: `${id}bot`,
      rate_limited: false,
      namespaces: {
        users: [{ regex: `@_${id}_.*`, exclusive: true }],
        aliases: [{ regex: `#_${id}_.*`, exclusive: true }],
        rooms: [],
      },
      ...registration,
    });
    await service.listen();
    if (!('url' in registration)) service.registration.url = `http://127.0.0.1:${service.#port}`;
    return service;
  }

  /** The file of its registration, written anew. */
  get file(): string {
    const file = join(this.#dir, 'registration.yaml');
    writeFileSync(file, stringify(this.registration));
    return file;
  }

  /** Where it listens on 127.0.0.1. */
  get port(): number {
    return this.#port;
  }

  get token(): string {
    return this.registration.as_token;
  }

  /** Listens (again), on the port it had. */
  async listen(): Promise<void> {
    const server = createServer((request, response) => {
      this.#answer(request).then(
        ({ status = 200, json, text }) => {
          response.writeHead(status, { 'content-type': text === undefined ? 'application/json' : 'text/plain' });
          response.end(text ?? JSON.stringify(json ?? {}));
        },
        (error: unknown) => response.destroy(error instanceof Error ? error : undefined),
      );
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (server.address() as AddressInfo).port;
  }

  /** Is gone: connections are refused. */
  async hangUp(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hangUp();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  /** Answers from now on as `script` says, where it says something. */
  on(script: ServiceScript): void {
    this.#scripts.unshift(script);
  }

  /** The transactions it was sent, each try of one by itself. */
  get transactions(): HeardByService[] {
    return this.heard.filter(isTransaction);
  }

  /** The events of the transactions it was sent, a repeated transaction counting once. */
  get events(): Json[] {
    const byPath = new Map(this.transactions.map((heard) => [heard.path, heard.body]));
    return [...byPath.values()].flatMap((body) => body.events);
  }

  /** The first request of which `isIt` holds, whether it has come already or not. */
  until(isIt: (heard: HeardByService) => boolean): Promise<HeardByService> {
    const known = this.heard.find(isIt);
    if (known !== undefined) return Promise.resolve(known);
    return this.next(isIt);
  }

  /** As `until`, of those still to come. */
  next(isIt: (heard: HeardByService) => boolean): Promise<HeardByService> {
    return new Promise((resolve) => this.#waiting.push({ isIt, resolve }));
  }

  /** The first event of which `isIt` holds, from whatever transaction it comes in. */
  async untilEvent(isIt: (event: Json) => boolean): Promise<Json> {
    const heard = await this.until((each) => isTransaction(each) && each.body.events.some(isIt));
    return heard.body.events.find(isIt);
  }

  /** The first entry of which `isIt` holds in some list of a transaction, such as `ephemeral`. */
  async untilIn(list: string, isIt: (entry: Json) => boolean): Promise<Json> {
    const heard = await this.until((each) => isTransaction(each) && (each.body[list] ?? []).some(isIt));
    return heard.body[list].find(isIt);
  }

  /** A client that speaks with the service's token, as one of its users if one is named. */
  as(server: Address, userId?: string, deviceId?: string): TestClient {
    return new MasqueradingClient(server, this.token, { user_id: userId, device_id: deviceId });
  }

  async #answer(request: IncomingMessage): Promise<ServiceAnswer> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString('utf8');
    const url = new URL(request.url ?? '/', 'http://service.test');
    const heard: HeardByService = {
      method: request.method ?? '',
      path: decodeURIComponent(url.pathname),
      query: url.searchParams,
      authorization: request.headers.authorization,
      body: text === '' ? undefined : JSON.parse(text),
    };
    this.heard.push(heard);
    const woken = this.#waiting.filter(({ isIt }) => isIt(heard));
    this.#waiting = this.#waiting.filter((waiting) => !woken.includes(waiting));
    for (const { resolve } of woken) resolve(heard);
    for (const script of this.#scripts) {
      const answer = await script(heard);
      if (answer !== undefined) return answer;
    }
    const isTaken = isTransaction(heard) || heard.path === '/_matrix/app/v1/ping';
    return isTaken ? {} : { status: 404, json: { errcode: 'M_NOT_FOUND' } };
  }
}

/** Whether a request brings a transaction. */
export function isTransaction({ method, path }: HeardByService): boolean {
  return method === 'PUT' && path.includes('/transactions/');
}

/** A client whose every request says whom it is made for. */
class MasqueradingClient extends TestClient {
  readonly #who: Readonly<Record<string, string | undefined>>;

  constructor(server: Address, token: string, who: { user_id: string | undefined; device_id: string | undefined }) {
    super(server, {
      token,
      ...(who.user_id === undefined ? {} : { userId: who.user_id }),
      ...(who.device_id === undefined ? {} : { deviceId: who.device_id }),
    });
    this.#who = who;
  }

  override request(method: string, path: string, options: RequestOptions = {}): Promise<Answer> {
    assert.ok(path.startsWith('/'));
    return super.request(method, path, { ...options, query: { ...this.#who, ...options.query } });
  }
}
