/** A server in a process of its own, as it runs for people, and a lean client to load it with. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';

const root = join(import.meta.dirname, '..');
const UNLIMITED = { per_second: 1_000_000, burst_count: 1_000_000 };

/** A port that nobody listens on right now. */
async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('the probe has no port');
  return address.port;
}

export interface ServerProcess {
  readonly port: number;
  readonly pid: number;
  /** From the start of the process to the first answered request, ms. */
  readonly startMs: number;
  stop(): Promise<void>;
}

/** A folder with a configuration in which no rate limit is met. */
export async function makeDataDir(): Promise<{ dir: string; config: string; port: number; remove(): void }> {
  const dir = mkdtempSync(join(tmpdir(), 'hearth-bench-'));
  const port = await freePort();
  const config = join(dir, 'homeserver.yaml');
  writeFileSync(
    config,
    stringify({
      server_name: 'hearth.bench',
      listeners: [{ type: 'http', port, bind_addresses: ['127.0.0.1'], resources: [{ names: ['client'] }] }],
      database: { name: 'sqlite3', args: { database: join(dir, 'homeserver.db') } },
      signing_key_path: join(dir, 'signing.key'),
      media_store_path: join(dir, 'media'),
      hearth: { log_level: 'warn' },
      enable_registration: true,
      enable_registration_without_verification: true,
      rc_message: UNLIMITED,
      rc_registration: UNLIMITED,
      rc_login: { address: UNLIMITED, account: UNLIMITED, failed_attempts: UNLIMITED },
      rc_joins: { local: UNLIMITED, remote: UNLIMITED },
      rc_joins_per_room: UNLIMITED,
      rc_invites: { per_room: UNLIMITED, per_user: UNLIMITED, per_issuer: UNLIMITED },
      rc_room_creation: UNLIMITED,
    }),
  );
  return { dir, config, port, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

let isBundled = false;

/** What people run is the bundle of the server: it is made anew where sources have changed. */
function makeBundle(): void {
  if (!isBundled) execFileSync(process.execPath, [join(root, 'build/start.ts')], { cwd: root, stdio: 'inherit' });
  isBundled = true;
}

/** Starts the server on a configuration and waits until it answers. */
export async function startProcess(config: string, port: number): Promise<ServerProcess> {
  makeBundle();
  const started = performance.now();
  const child = spawn(process.execPath, [join(root, 'build/run.js'), 'serve', '--config', config], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const client = new LeanClient(port);
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}`);
    try {
      const { status } = await client.send('GET', '/_matrix/client/versions');
      if (status === 200) break;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ECONNREFUSED')) throw error;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
  const startMs = performance.now() - started;
  client.close();
  return { port, pid: child.pid ?? 0, startMs, stop: () => stopProcess(child) };
}

async function stopProcess(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

/** Resident memory of a process, bytes. */
export function residentBytes(pid: number): number {
  if (process.platform === 'linux') {
    const match = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return Number(match?.[1] ?? Number.NaN) * 1024;
  }
  return Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' }).trim()) * 1024;
}

export interface LeanAnswer {
  readonly status: number;
  readonly text: string;
}

/** One keep-alive connection and as little work as possible around it. */
export class LeanClient {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #port: number;
  readonly #token: string | undefined;

  constructor(port: number, token?: string) {
    this.#port = port;
    this.#token = token;
  }

  send(method: string, path: string, body?: unknown): Promise<LeanAnswer> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          host: '127.0.0.1',
          port: this.#port,
          method,
          path,
          agent: this.#agent,
          headers: {
            ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
            ...(text === undefined
              ? {}
              : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
          },
        },
        (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
          incoming.on('end', () =>
            resolve({ status: incoming.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
          );
          incoming.on('error', reject);
        },
      );
      outgoing.on('error', reject);
      outgoing.end(text);
    });
  }

  /** The JSON of an answer that must be a success. */
  // oxlint-disable-next-line typescript/no-explicit-any -- a load script looks into answers freely
  async json(method: string, path: string, body?: unknown): Promise<any> {
    const { status, text } = await this.send(method, path, body);
    if (status !== 200) throw new Error(`${method} ${path}: ${status} ${text}`);
    return JSON.parse(text);
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** Registers somebody and gives their token and user ID. */
export async function registerUser(port: number, username: string): Promise<{ token: string; userId: string }> {
  const client = new LeanClient(port);
  const body = await client.json('POST', '/_matrix/client/v3/register', {
    username,
    password: 'a password for the bench',
    auth: { type: 'm.login.dummy' },
  });
  client.close();
  return { token: body.access_token, userId: body.user_id };
}
