import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { bodyText, signRequest } from '../../server/federation/request-signing.ts';
import type { ServerName } from '../../server/matrix/identifiers.ts';
import type { JsonObject } from '../../server/matrix/json.ts';
import { LeanClient, registerUser } from '../server-process.ts';
import type { Measured, Order, Report } from './house-messages.ts';
import { HOUSE, type PlayedServers, SHARED_KEY } from './played-servers.ts';

const UNLIMITED = { per_second: 1_000_000, burst_count: 1_000_000 };

export interface HouseOptions {
  /** A folder for a profile of what the process does with its time. */
  readonly profileDir?: string | undefined;
}

/** A homeserver in a process of its own that knows nobody but the played servers, on new data. */
export class HouseProcess implements AsyncDisposable {
  readonly port: number;
  readonly #dir: string;
  readonly #child: ChildProcess;

  private constructor(dir: string, child: ChildProcess, port: number) {
    this.#dir = dir;
    this.#child = child;
    this.port = port;
  }

  static async start(peers: PlayedServers, { profileDir }: HouseOptions = {}): Promise<HouseProcess> {
    const dir = mkdtempSync(join(tmpdir(), 'hearth-bench-'));
    const config = join(dir, 'homeserver.yaml');
    writeFileSync(config, stringify({ ...configOf(dir), federation_custom_ca_list: [peers.caPath] }));
    const profile = profileDir === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`];
    const child = fork(join(import.meta.dirname, 'house-child.ts'), [config, String(peers.port)], {
      execArgv: profile,
    });
    const report = await nextReport(child);
    assert.equal(report.kind, 'ready');
    return new HouseProcess(dir, child, report.port);
  }

  /** Somebody of the house. */
  async register(name: string): Promise<LeanClient> {
    return new LeanClient(this.port, (await registerUser(this.port, name)).token);
  }

  async reset(): Promise<void> {
    await this.#order({ kind: 'reset' });
  }

  read(): Promise<Measured> {
    return this.#order({ kind: 'read' });
  }

  async lose(servers: readonly string[]): Promise<void> {
    await this.#order({ kind: 'lose', servers });
  }

  async #order(order: Order): Promise<Measured> {
    const answer = nextReport(this.#child);
    this.#child.send(order);
    const report = await answer;
    assert.equal(report.kind, 'done');
    return report;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    await ended;
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

function configOf(dir: string): JsonObject {
  return {
    server_name: HOUSE,
    listeners: [
      { type: 'http', port: 0, bind_addresses: ['127.0.0.1'], resources: [{ names: ['client', 'federation'] }] },
    ],
    database: { name: 'sqlite3', args: { database: join(dir, 'homeserver.db') } },
    signing_key_path: join(dir, 'signing.key'),
    media_store_path: join(dir, 'media'),
    ip_range_blacklist: [],
    trusted_key_servers: [],
    enable_registration: true,
    enable_registration_without_verification: true,
    rc_message: UNLIMITED,
    rc_registration: UNLIMITED,
    rc_login: { address: UNLIMITED, account: UNLIMITED, failed_attempts: UNLIMITED },
    rc_joins: { local: UNLIMITED, remote: UNLIMITED },
    rc_joins_per_room: UNLIMITED,
    rc_invites: { per_room: UNLIMITED, per_user: UNLIMITED, per_issuer: UNLIMITED },
    rc_room_creation: UNLIMITED,
  };
}

async function nextReport(child: ChildProcess): Promise<Report> {
  const stopped = new AbortController();
  const ended = once(child, 'exit', { signal: stopped.signal }).then(([code]) => {
    throw new Error(`the house ended with ${code}`);
  });
  ended.catch(() => undefined);
  try {
    const [report] = (await Promise.race([once(child, 'message', { signal: stopped.signal }), ended])) as [Report];
    return report;
  } finally {
    stopped.abort();
  }
}

/** A transaction as it goes over the wire, signed beforehand: what it costs its sender is no part of what is measured. */
export interface ReadyTransaction {
  readonly uri: string;
  readonly text: string;
  readonly authorization: string;
}

let transactions = 0;

export function makeTransaction(origin: ServerName, pdus: readonly JsonObject[]): ReadyTransaction {
  transactions += 1;
  const uri = `/_matrix/federation/v1/send/bench${transactions}`;
  const text = bodyText({ origin, origin_server_ts: 1_600_000_000_000, pdus, edus: [] });
  const authorization = signRequest({ method: 'PUT', uri, origin, destination: HOUSE, contentText: text }, SHARED_KEY);
  return { uri, text, authorization };
}

/** One keep-alive connection of another server to the house. */
export class PeerConnection {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #port: number;

  constructor(port: number) {
    this.#port = port;
  }

  /** @throws Error unless every event of it is taken */
  async send({ uri, text, authorization }: ReadyTransaction): Promise<void> {
    const { status, body } = await this.#put(uri, text, authorization);
    if (status !== 200) throw new Error(`a transaction was answered with ${status}: ${body}`);
    if (body.includes('"error"')) throw new Error(`an event was refused: ${body}`);
  }

  #put(path: string, text: string, authorization: string): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          host: '127.0.0.1',
          port: this.#port,
          method: 'PUT',
          path,
          agent: this.#agent,
          headers: { authorization, 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
        },
        (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
          incoming.on('end', () =>
            resolve({ status: incoming.statusCode ?? 0, body: Buffer.concat(chunks).toString() }),
          );
          incoming.on('error', reject);
        },
      );
      outgoing.on('error', reject);
      outgoing.end(text);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
