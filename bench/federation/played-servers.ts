import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isUserId } from '../../server/matrix/identifiers.ts';
import { isJsonObject, type JsonValue } from '../../server/matrix/json.ts';
import { signJson } from '../../server/matrix/signing.ts';
import { makeAuthority } from '../../test/kit/certificates.ts';
import { type PlayedRoom, serverName, SHARED_KEY } from './played-room.ts';

export { SHARED_KEY } from './played-room.ts';

export const HOUSE = serverName('hearth.bench');
const KEYS_VALID_MS = 24 * 3_600_000;

/** All other servers of the world, on one port: who is meant says the Host header. They know the rooms they are shown. */
export class PlayedServers implements AsyncDisposable {
  readonly port: number;
  readonly caPath: string;
  /** Events that came in transactions, by the server they came to. */
  readonly received = new Map<string, number>();
  /** Is told after each transaction. */
  onReceived: (() => void) | undefined;
  readonly #dir: string;
  readonly #server: Server;
  readonly #rooms = new Map<string, { readonly room: PlayedRoom; joinAnswer: string }>();
  readonly #lost = new Set<string>();

  private constructor(dir: string, server: Server, caPath: string) {
    this.#dir = dir;
    this.#server = server;
    this.caPath = caPath;
    this.port = (server.address() as AddressInfo).port;
    server.on('request', (req, res) => void this.#serve(req, res));
  }

  static async start(): Promise<PlayedServers> {
    const dir = mkdtempSync(join(tmpdir(), 'hearth-bench-peers-'));
    const files = await (await makeAuthority()).issueTo(dir, { dnsNames: ['*.fed.bench'] });
    const server = createServer({ cert: readFileSync(files.certPath), key: readFileSync(files.keyPath) });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    return new PlayedServers(dir, server, files.caPath);
  }

  /** From now on the room can be joined, in the state it has now. */
  show(room: PlayedRoom): void {
    this.#rooms.set(room.roomId, { room, joinAnswer: room.prepareJoinAnswer() });
  }

  /** These do not answer any more. */
  lose(servers: readonly string[]): void {
    for (const name of servers) this.#lost.add(name);
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const host = (req.headers.host ?? '').replace(/:\d+$/, '');
    if (this.#lost.has(host)) {
      req.socket.destroy();
      return;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString('utf8');
    const answer = this.#answer(host, req.url ?? '/', text);
    res.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'application/json' });
    res.end(answer ?? '{"errcode":"M_UNRECOGNIZED","error":"No"}');
  }

  /** The JSON of an answer; undefined for what is not known. */
  #answer(host: string, uri: string, text: string): string | undefined {
    const url = new URL(uri, 'https://played.bench');
    if (url.pathname.startsWith('/_matrix/key/v2/server')) return JSON.stringify(keysOf(host));
    const [version, operation, ...escaped] = url.pathname.replace('/_matrix/federation/', '').split('/');
    const [first = '', second = ''] = escaped.map(decodeURIComponent);
    const shown = this.#rooms.get(first);
    switch (`${version}/${operation}`) {
      case 'v1/send':
        return this.#receive(host, text);
      case 'v1/make_join':
        assert.ok(isUserId(second));
        return shown === undefined ? undefined : JSON.stringify(shown.room.joinTemplate(second));
      case 'v2/send_join':
        if (shown === undefined) return undefined;
        return `${shown.joinAnswer}${JSON.stringify(shown.room.takeJoin(JSON.parse(text)).pdu)}}`;
      case 'v1/backfill': {
        const before = shown?.room.listBefore(url.searchParams.getAll('v'), Number(url.searchParams.get('limit')));
        return JSON.stringify({ origin: host, origin_server_ts: Date.now(), pdus: (before ?? []).map((e) => e.pdu) });
      }
      case 'v1/state_ids': {
        const found = shown?.room.stateBefore(url.searchParams.get('event_id') ?? '');
        if (found === undefined) return undefined;
        const [pduIds, chainIds] = [found.state, found.chain].map((events) => events.map(({ eventId }) => eventId));
        return JSON.stringify({ pdu_ids: pduIds, auth_chain_ids: chainIds });
      }
      default:
        return undefined;
    }
  }

  #receive(host: string, text: string): string {
    const body: JsonValue = JSON.parse(text);
    const pdus = isJsonObject(body) && Array.isArray(body['pdus']) ? body['pdus'].length : 0;
    this.received.set(host, (this.received.get(host) ?? 0) + pdus);
    this.onReceived?.();
    return '{"pdus":{}}';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => void this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

function keysOf(host: string): JsonValue {
  return signJson(
    {
      server_name: host,
      valid_until_ts: Date.now() + KEYS_VALID_MS,
      verify_keys: { [SHARED_KEY.keyId]: { key: SHARED_KEY.publicKeyBase64 } },
      old_verify_keys: {},
    },
    host,
    SHARED_KEY,
  );
}
