import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { FederationError } from '../../server/federation/errors.ts';
import { createFederationKeys, type FederationKeys } from '../../server/federation/key-ring/create-keys.ts';
import { federationMigrations } from '../../server/federation/schema.ts';
import type { FederationRequest } from '../../server/federation/types.ts';
import { parseJson } from '../../server/matrix/canonical-json.ts';
import { buildEvent, type EventDraft } from '../../server/matrix/events/build.ts';
import type { RoomEvent } from '../../server/matrix/events/event.ts';
import { isRoomId, isServerName, isUserId, type ServerName } from '../../server/matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../server/matrix/json.ts';
import { type RoomVersion, roomVersions } from '../../server/matrix/room-versions.ts';
import { type SigningKey, signingKeyFromSeed, signJson } from '../../server/matrix/signing.ts';
import { openDatabase } from '../../server/storage/database.ts';
import { type Logger, silentLogger } from '../../server/util/log.ts';
import { systemRandom } from '../../server/util/random.ts';
import { ManualClock } from '../kit/manual-clock.ts';

export const DAY = 24 * 60 * 60 * 1000;
export const HOME = serverName('hearth.test');

export function serverName(text: string): ServerName {
  if (!isServerName(text)) throw new TypeError(`not a server name: ${text}`);
  return text;
}

export function newKey(version: string): SigningKey {
  return signingKeyFromSeed(systemRandom.bytes(32), version);
}

export function versionOf(id: string): RoomVersion {
  const version = roomVersions.get(id);
  if (version === undefined) throw new TypeError(`no room version: ${id}`);
  return version;
}

/** A server of the test's own making that tells its keys over real HTTP, and lies if told to. */
export class Peer {
  readonly name: ServerName;
  keys: SigningKey[];
  oldKeys: { readonly key: SigningKey; readonly expiredAt: number }[] = [];
  validUntil: number;
  /** Every request that came, as "GET /path". */
  readonly requests: string[] = [];
  /** The bodies that came with them. */
  readonly bodies: JsonValue[] = [];
  /** What it answers in place of its keys. */
  respond:
    | ((request: string, body: JsonValue | undefined) => { status?: number; body: JsonValue } | undefined)
    | undefined;
  /** Requests wait for it before they are answered. */
  hold: Promise<unknown> | undefined;
  #port = 0;
  #nextRequest = Promise.withResolvers<void>();

  constructor(name: string, validUntil: number) {
    this.name = serverName(name);
    this.keys = [newKey('one')];
    this.validUntil = validUntil;
  }

  get key(): SigningKey {
    const [key] = this.keys;
    if (key === undefined) throw new TypeError('this server has no key');
    return key;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Resolves when the next request has come; it may not have been answered yet. */
  nextRequest(): Promise<void> {
    return this.#nextRequest.promise;
  }

  async listen(t: TestContext): Promise<void> {
    const server = createServer((req, res) => {
      void (async () => {
        const chunks: Buffer[] = [];
        for await (const chunk of req) chunks.push(chunk as Buffer);
        const text = Buffer.concat(chunks).toString();
        const body = text === '' ? undefined : parseJson(text);
        const request = `${req.method} ${req.url}`;
        this.requests.push(request);
        if (body !== undefined) this.bodies.push(body);
        this.#nextRequest.resolve();
        this.#nextRequest = Promise.withResolvers();
        await this.hold;
        const answer = this.respond?.(request, body) ?? { body: this.answer() };
        res.writeHead(answer.status ?? 200, { 'content-type': 'application/json' });
        res.end(JSON.stringify(answer.body));
      })();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.#port = (server.address() as AddressInfo).port;
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
  }

  /** What it publishes, signed with all its keys, with `changes` made before it signs. */
  answer(changes: JsonObject = {}): JsonObject {
    let json: JsonObject = {
      server_name: this.name,
      verify_keys: Object.fromEntries(this.keys.map((key) => [key.keyId, { key: key.publicKeyBase64 }])),
      old_verify_keys: Object.fromEntries(
        this.oldKeys.map(({ key, expiredAt }) => [key.keyId, { key: key.publicKeyBase64, expired_ts: expiredAt }]),
      ),
      valid_until_ts: this.validUntil,
      ...changes,
    };
    for (const key of this.keys) json = signJson(json, this.name, key);
    return json;
  }

  /** Makes it a notary that knows of others what they would say themselves. */
  vouchFor(...others: readonly Peer[]): void {
    this.respond = (request) =>
      request === 'POST /_matrix/key/v2/query'
        ? { body: { server_keys: others.map((other) => signJson(other.answer(), this.name, this.key)) } }
        : undefined;
  }

  /** An event of one of its users. */
  event(options: Partial<EventDraft> & { version?: RoomVersion; signWith?: SigningKey } = {}): RoomEvent {
    const { signWith, ...rest } = options;
    const sender = `@dora:${this.name}`;
    const roomId = '!room:away.test';
    if (!isUserId(sender) || !isRoomId(roomId)) throw new TypeError('no user or no room');
    return buildEvent({
      version: versionOf('10'),
      roomId,
      type: 'm.room.message',
      sender,
      content: { body: 'hello' },
      originServerTs: this.validUntil - DAY,
      depth: 5,
      prevEvents: [],
      authEvents: [],
      serverName: this.name,
      signingKey: signWith ?? this.key,
      eventIdLocalpart: systemRandom.bytes(8).toString('hex'),
      ...rest,
    });
  }
}

export interface House {
  readonly clock: ManualClock;
  readonly key: SigningKey;
  readonly keys: FederationKeys;
  /** Opens the same data anew, as after a restart. */
  restart(): Promise<House>;
  /** A server that others can reach. */
  peer(name: string): Promise<Peer>;
  /** Takes a server off the network. */
  lose(peer: Peer): void;
  /** Puts it back. */
  find(peer: Peer): void;
}

export interface HouseOptions {
  readonly clock?: ManualClock;
  readonly key?: SigningKey;
  readonly otherKeys?: readonly SigningKey[];
  readonly notaryKeys?: readonly SigningKey[];
  readonly oldKeys?: Readonly<Record<string, { readonly key: string; readonly expiredAtMs: number }>>;
  /** Asked when the house is opened; peers may be made before. */
  readonly trusted?: readonly {
    readonly serverName: ServerName;
    readonly verifyKeys: Readonly<Record<string, string>>;
  }[];
  readonly network?: Map<string, Peer>;
  readonly folder?: string;
  readonly log?: Logger;
}

/** This server's keys and key ring on a database of its own, with real requests to the peers of the test. */
export function openHouse(t: TestContext, options: HouseOptions = {}): House {
  const { clock = new ManualClock(), key = newKey('home'), network = new Map<string, Peer>() } = options;
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'hearth-keys-'));
  if (options.folder === undefined) t.after(() => rmSync(folder, { recursive: true, force: true }));
  const db = openDatabase({
    path: join(folder, 'homeserver.db'),
    owner: HOME,
    migrations: [federationMigrations],
    log: silentLogger,
  });
  const keys = createFederationKeys({
    db,
    clock,
    random: systemRandom,
    log: options.log ?? silentLogger,
    client: { request: (request) => ask(network, request) },
    settings: {
      serverName: HOME,
      oldKeys: options.oldKeys ?? {},
      keyRefreshIntervalMs: DAY,
      trustedKeyServers: options.trusted ?? [],
    },
    signingKeys: [key, ...(options.otherKeys ?? [])],
    notaryKeys: options.notaryKeys,
  });
  let closed = false;
  const close = async (): Promise<void> => {
    if (closed) return;
    closed = true;
    await keys.stop();
    await db.close();
  };
  t.after(close);
  return {
    clock,
    key,
    keys,
    restart: async () => {
      await close();
      return openHouse(t, { ...options, clock, key, network, folder });
    },
    peer: async (name) => {
      const peer = new Peer(name, clock.now() + DAY);
      await peer.listen(t);
      network.set(peer.name, peer);
      return peer;
    },
    lose: (peer) => void network.delete(peer.name),
    find: (peer) => void network.set(peer.name, peer),
  };
}

/** A peer on a network that a house is opened on later. */
export async function peerOn(
  t: TestContext,
  network: Map<string, Peer>,
  clock: ManualClock,
  name: string,
): Promise<Peer> {
  const peer = new Peer(name, clock.now() + DAY);
  await peer.listen(t);
  network.set(peer.name, peer);
  return peer;
}

/** A client that knows where the peers listen, and no more than is needed of the rest. */
async function ask(network: ReadonlyMap<string, Peer>, request: FederationRequest): Promise<JsonValue> {
  const { destination, method, path, body, maxBytes = 10_000_000, signal } = request;
  const peer = network.get(destination);
  if (peer === undefined) throw new FederationError('unreachable', destination, 'no such host');
  const response = await fetch(`${peer.url}${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signal === undefined ? {} : { signal }),
  }).catch((cause: unknown) => {
    throw new FederationError('unreachable', destination, 'no connection', { cause });
  });
  const text = await response.text();
  if (text.length > maxBytes) throw new FederationError('malformed', destination, 'the answer is too large');
  const json = parseJson(text);
  if (!response.ok) {
    throw new FederationError('refused', destination, 'refused', {
      status: response.status,
      ...(isJsonObject(json) ? { body: json } : {}),
    });
  }
  return json;
}
