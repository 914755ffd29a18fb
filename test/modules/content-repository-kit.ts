import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { RateLimit } from '../../server/http/rate-limit.ts';
import { createHttpServer, type HttpServer } from '../../server/http/server.ts';
import { isServerName, isUserId, type ServerName, type UserId } from '../../server/matrix/identifiers.ts';
import {
  type ContentNeeds,
  type ContentRepository,
  contentRepository,
  type ContentSettings,
  migrations,
} from '../../server/modules/content-repository/index.ts';
import { type OpenDatabase, openDatabase } from '../../server/storage/database.ts';
import type { Clock } from '../../server/util/clock.ts';
import { silentLogger } from '../../server/util/log.ts';
import { systemRandom } from '../../server/util/random.ts';
import { requester } from '../http/harness.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import type { Json } from '../kit/test-client.ts';

export const HOME: ServerName = serverName('home.test');

export function serverName(text: string): ServerName {
  assert.ok(isServerName(text), text);
  return text;
}

export function userId(text: string): UserId {
  assert.ok(isUserId(text), text);
  return text;
}

/** An answer with its body as bytes. */
export interface Bytes {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Buffer;
  /** The body as JSON. */
  readonly json: Json;
}

export interface Ask {
  readonly method?: string;
  readonly token?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: RequestInit['body'];
  readonly query?: Readonly<Record<string, string | number | boolean>>;
  readonly signal?: AbortSignal;
}

/** Asks for bytes. */
export async function ask(baseUrl: string, path: string, options: Ask = {}): Promise<Bytes> {
  const url = new URL(path, baseUrl);
  for (const [name, value] of Object.entries(options.query ?? {})) url.searchParams.set(name, String(value));
  const { method = 'GET', token, headers, body, signal } = options;
  const response = await fetch(url, {
    method,
    headers: { ...(token === undefined ? {} : { authorization: `Bearer ${token}` }), ...headers },
    // Text would be given a type that nobody asked for.
    ...(body === undefined ? {} : { body: typeof body === 'string' ? Buffer.from(body) : body, duplex: 'half' }),
    ...(signal === undefined ? {} : { signal }),
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  return {
    status: response.status,
    headers: response.headers,
    bytes,
    get json(): Json {
      return JSON.parse(bytes.toString());
    },
  };
}

/** Asserts a refusal. */
export function expectRefusal(answer: Bytes, status: number, errcode: string): Json {
  assert.deepEqual(
    { status: answer.status, errcode: answer.json.errcode },
    { status, errcode },
    answer.bytes.toString().slice(0, 300),
  );
  return answer.json;
}

/** `server/id` of an `mxc://` URI. */
export function pathOf(mxcUri: string): string {
  assert.match(mxcUri, /^mxc:\/\/[^/]+\/[\w-]{24,}$/);
  return mxcUri.slice('mxc://'.length);
}

const SETTINGS: Omit<ContentSettings, 'storePath'> = {
  serverName: HOME,
  maxUploadBytes: 1_000_000,
  maxImagePixels: 4_000_000,
  dynamicThumbnails: false,
  thumbnailSizes: [
    { width: 32, height: 32, method: 'crop' },
    { width: 96, height: 96, method: 'crop' },
    { width: 320, height: 240, method: 'scale' },
    { width: 640, height: 480, method: 'scale' },
  ],
  localLifetimeMs: undefined,
  remoteLifetimeMs: undefined,
  remoteCacheBytes: undefined,
  maxPendingUploads: 2,
  pendingUploadLifetimeMs: 60_000,
  uploadLimits: [],
  authenticatedOnly: true,
  blockedServers: [],
};

export interface HouseOptions {
  readonly settings?: Partial<ContentSettings>;
  readonly clock?: Clock;
  readonly remote?: ContentNeeds['remote'];
  /** Bytes a user may have fetched at once; nothing comes after. */
  readonly remoteBurst?: number;
}

/**
 * The content repository alone, with a server around it. Tokens are names of users; `guest` is one, `suspended` too. Every
 * server that asks is peer.test.
 */
export class MediaHouse {
  readonly dir: string;
  readonly clock: Clock;
  #options: HouseOptions;
  #db: OpenDatabase | undefined;
  #repository: ContentRepository | undefined;
  #http: HttpServer | undefined;
  baseUrl = '';

  private constructor(dir: string, options: HouseOptions) {
    this.dir = dir;
    this.#options = options;
    this.clock = options.clock ?? new ManualClock();
  }

  static async open(t: TestContext, options: HouseOptions = {}): Promise<MediaHouse> {
    const house = new MediaHouse(mkdtempSync(join(tmpdir(), 'hearth-media-')), options);
    t.after(async () => {
      await house.end();
      rmSync(house.dir, { recursive: true, force: true });
    });
    await house.begin();
    return house;
  }

  async begin(settings: Partial<ContentSettings> = {}): Promise<void> {
    this.#options = { ...this.#options, settings: { ...this.#options.settings, ...settings } };
    const { clock } = this;
    const db = openDatabase({ path: join(this.dir, 'homeserver.db'), migrations: [migrations], log: silentLogger });
    const repository = contentRepository({
      db,
      clock,
      random: systemRandom,
      log: silentLogger,
      settings: { ...SETTINGS, storePath: join(this.dir, 'media'), ...this.#options.settings },
      limits: {
        create: new RateLimit({ perSecond: 0, burstCount: 1000, clock }),
        remoteBytes: new RateLimit({ perSecond: 0, burstCount: this.#options.remoteBurst ?? 1e9, clock }),
      },
      remote: this.#options.remote,
    });
    repository.start?.();
    const http = createHttpServer({
      routes: repository.routes ?? [],
      listeners: [
        {
          port: 0,
          bindAddresses: ['127.0.0.1'],
          tls: undefined,
          xForwarded: false,
          resources: ['client', 'federation', 'media'],
        },
      ],
      db,
      log: silentLogger,
      clock,
      stopGraceMs: 200,
      authenticator: {
        authenticate: (token) => ({
          kind: 'ok',
          requester: requester(`@${token}:${HOME}`, { isGuest: token === 'guest', isSuspended: token === 'suspended' }),
        }),
      },
      federationAuthenticator: async () => serverName('peer.test'),
    });
    const { addresses } = await http.start();
    this.baseUrl = `http://127.0.0.1:${addresses[0]?.port}`;
    this.#db = db;
    this.#repository = repository;
    this.#http = http;
  }

  /** Stops it, once it has done what it was doing. */
  async end(): Promise<void> {
    await this.#http?.stop();
    await this.#repository?.stop?.();
    await this.#db?.close();
    this.#http = undefined;
    this.#repository = undefined;
    this.#db = undefined;
  }

  async restart(settings: Partial<ContentSettings> = {}): Promise<void> {
    await this.end();
    await this.begin(settings);
  }

  get media(): ContentRepository['media'] {
    assert.ok(this.#repository !== undefined, 'the house is open');
    return this.#repository.media;
  }

  get db(): OpenDatabase {
    assert.ok(this.#db !== undefined, 'the house is open');
    return this.#db;
  }

  ask(path: string, options: Ask = {}): Promise<Bytes> {
    return ask(this.baseUrl, path, options);
  }

  /** Ann uploads something; gives the path of its address. */
  async upload(body: NonNullable<RequestInit['body']>, options: Ask = {}): Promise<string> {
    const answer = await this.ask('/_matrix/media/v3/upload', { method: 'POST', token: 'ann', body, ...options });
    assert.equal(answer.status, 200, answer.bytes.toString());
    return pathOf(answer.json.content_uri);
  }

  download(path: string, options: Ask = {}): Promise<Bytes> {
    return this.ask(`/_matrix/client/v1/media/download/${path}`, { token: 'bob', ...options });
  }

  /** As another server asks. */
  askAsPeer(path: string, options: Ask = {}): Promise<Bytes> {
    const authorization = 'X-Matrix origin="peer.test",destination="home.test",key="ed25519:1",sig="x"';
    return this.ask(`/_matrix/federation/v1/media/${path}`, { headers: { authorization }, ...options });
  }

  thumbnail(path: string, query: NonNullable<Ask['query']>): Promise<Bytes> {
    return this.ask(`/_matrix/client/v1/media/thumbnail/${path}`, { token: 'bob', query });
  }

  /** The files that are kept, and those that are on their way. */
  files(): { readonly kept: string[]; readonly incoming: string[] } {
    const list = (folder: string): string[] =>
      readdirSync(join(this.dir, 'media', folder), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name));
    return { kept: list('content'), incoming: list('incoming') };
  }
}
