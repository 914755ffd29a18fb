import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { type Address, expectOk, TestClient } from '../kit/test-client.ts';

const CLI = join(import.meta.dirname, '..', '..', 'server', 'cli.ts');
const UNLIMITED = { per_second: 1_000_000, burst_count: 1_000_000 };

/**
 * The server as people run it: a process of its own, on data in a temporary folder. It can be killed, and keeps its
 * address over restarts, as clients expect it to.
 */
export class ServerProcess implements Address, AsyncDisposable {
  readonly dir: string;
  readonly databasePath: string;
  readonly #port: number;
  #child: ChildProcess | undefined;
  #output = '';
  #up = Promise.withResolvers<void>();
  #isUp = false;

  private constructor(dir: string, port: number) {
    this.dir = dir;
    this.databasePath = join(dir, 'homeserver.db');
    this.#port = port;
  }

  /** `config`: options of homeserver.yaml over its own; its listeners come after that for clients. */
  static async start(config: Readonly<Record<string, unknown>> = {}): Promise<ServerProcess> {
    for (let tries = 1; ; tries += 1) {
      const server = new ServerProcess(mkdtempSync(join(tmpdir(), 'hearth-process-')), await findPort());
      server.#writeConfig(config);
      try {
        await server.begin();
        return server;
      } catch (error) {
        rmSync(server.dir, { recursive: true, force: true });
        // Another program may have taken the port meanwhile.
        if (tries === 3 || !/EADDRINUSE|in use/.test(server.#output)) throw error;
      }
    }
  }

  get baseUrl(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Resolves when it answers, at once if it does. */
  up(): Promise<void> {
    return this.#up.promise;
  }

  /** Starts it on the data it has; resolves when it says where it answers. */
  async begin(): Promise<void> {
    assert.equal(this.#child, undefined, 'it does not run yet');
    const child = spawn(process.execPath, [CLI, 'serve', '--config', join(this.dir, 'homeserver.yaml')], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.#output = '';
    // A test that ends in the middle must not leave it behind.
    const endWithTest = (): void => void child.kill('SIGKILL');
    process.once('exit', endWithTest);
    child.once('close', () => process.off('exit', endWithTest));
    const { promise: ready, resolve, reject } = Promise.withResolvers<void>();
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text;
        if (this.#output.includes(this.baseUrl)) resolve();
      });
    }
    child.once('close', () => reject(new Error(`the server ended:\n${this.#output}`)));
    await ready;
    this.#isUp = true;
    this.#up.resolve();
  }

  /** Asks it to stop, as the system does when it shuts down, and waits until it has. */
  async stop(): Promise<void> {
    const [code, signal] = await this.#end('SIGTERM');
    // On Windows there is no asking.
    if (process.platform !== 'win32') assert.deepEqual([code, signal], [0, null], this.#output);
  }

  /** Ends it without warning. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child !== undefined) await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Registers somebody and gives them a client. */
  async register(username: string): Promise<TestClient> {
    const body = expectOk(
      await new TestClient(this).post('/_matrix/client/v3/register', {
        username,
        password: `password of ${username}`,
        auth: { type: 'm.login.dummy' },
      }),
    );
    return new TestClient(this, { token: body.access_token, userId: body.user_id, deviceId: body.device_id });
  }

  async #end(how: 'SIGTERM' | 'SIGKILL'): Promise<readonly unknown[]> {
    const child = this.#child;
    assert.ok(child !== undefined, 'it runs');
    this.#child = undefined;
    this.#isUp = false;
    this.#up = Promise.withResolvers();
    const closed = once(child, 'close');
    child.kill(how);
    return await closed;
  }

  #writeConfig({ listeners = [], ...config }: Readonly<Record<string, unknown>>): void {
    assert.ok(Array.isArray(listeners));
    writeFileSync(
      join(this.dir, 'homeserver.yaml'),
      stringify({
        server_name: 'hearth.test',
        listeners: [
          { type: 'http', port: this.#port, bind_addresses: ['127.0.0.1'], resources: [{ names: ['client'] }] },
          ...listeners,
        ],
        database: { name: 'sqlite3', args: { database: this.databasePath } },
        media_store_path: join(this.dir, 'media'),
        signing_key_path: join(this.dir, 'signing.key'),
        hearth: { log_file: join(this.dir, 'hearth.log') },
        enable_registration: true,
        enable_registration_without_verification: true,
        rc_message: UNLIMITED,
        rc_registration: UNLIMITED,
        rc_login: { address: UNLIMITED, account: UNLIMITED, failed_attempts: UNLIMITED },
        rc_joins: { local: UNLIMITED, remote: UNLIMITED },
        rc_joins_per_room: UNLIMITED,
        rc_invites: { per_room: UNLIMITED, per_user: UNLIMITED, per_issuer: UNLIMITED },
        rc_room_creation: UNLIMITED,
        ...config,
      }),
    );
  }
}

/** A free port outside of the range that systems take outgoing connections' from: it will be free after a restart too. */
export async function findPort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_000);
    const probe = createServer();
    const taken = new Promise<boolean>((resolve) => {
      probe.once('error', () => resolve(true)).once('listening', () => resolve(false));
    });
    probe.listen(port, '127.0.0.1');
    if (await taken) continue;
    probe.close();
    await once(probe, 'close');
    return port;
  }
}
