import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Address, expectOk, type Json, TestClient } from '../kit/test-client.ts';

/** How long a server may take until it answers, ms. */
const START_MS = 60_000;
const TRIES = 3;

/** What people call a make of server. */
export type Kind = 'Hearth' | 'Synapse';

/** What to run, and where it will answer. */
export interface Setup {
  readonly kind: Kind;
  readonly serverName: string;
  /** Where clients speak to it. */
  readonly baseUrl: string;
  /** Where other servers speak to it, with TLS. */
  readonly federationPort: number;
  /** Its files; it exists. */
  readonly dir: string;
  readonly command: readonly [string, ...string[]];
}

/** A homeserver of any make in a process of its own, which can be stopped and started again on the data it has. */
export class Homeserver implements Address {
  readonly kind: Kind;
  readonly serverName: string;
  readonly baseUrl: string;
  readonly federationPort: number;
  readonly dir: string;
  readonly #setup: Setup;
  #child: ChildProcess | undefined;
  #up = Promise.withResolvers<void>();
  #isUp = false;

  private constructor(setup: Setup) {
    this.kind = setup.kind;
    this.serverName = setup.serverName;
    this.baseUrl = setup.baseUrl;
    this.federationPort = setup.federationPort;
    this.dir = setup.dir;
    this.#setup = setup;
  }

  /** Starts what `setUp` has written. Another program may take a port meanwhile: then it is set up once more, with others. */
  static async start(setUp: () => Promise<Setup>): Promise<Homeserver> {
    for (let tries = 1; ; tries += 1) {
      const setup = await setUp();
      const server = new Homeserver(setup);
      try {
        await server.begin();
        return server;
      } catch (error) {
        const output = readFileSync(join(setup.dir, 'output.log'), 'utf8');
        if (tries === TRIES || !/EADDRINUSE|address (is )?already in use/i.test(output)) throw error;
        rmSync(setup.dir, { recursive: true, force: true });
      }
    }
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Resolves when it answers, at once if it does. */
  up(): Promise<void> {
    return this.#up.promise;
  }

  /** Starts it on the data it has; resolves when it answers. */
  async begin(): Promise<void> {
    assert.equal(this.#child, undefined, 'it does not run yet');
    mkdirSync(this.dir, { recursive: true });
    const [program, ...args] = this.#setup.command;
    const child = spawn(program, args, { cwd: this.dir, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    // A story that breaks off must not leave it behind.
    const endWithUs = (): void => void child.kill('SIGKILL');
    process.once('exit', endWithUs);
    child.once('close', () => process.off('exit', endWithUs));
    const output = createWriteStream(join(this.dir, 'output.log'), { flags: 'a' });
    child.stdout.pipe(output, { end: false });
    child.stderr.pipe(output, { end: false });
    child.once('close', () => output.end());
    try {
      await this.#answers(child);
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#isUp = true;
    this.#up.resolve();
  }

  /** Asks it to stop and waits until it has. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    this.#isUp = false;
    this.#up = Promise.withResolvers();
    if (child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'close');
    const impatience = setTimeout(() => child.kill('SIGKILL'), 20_000);
    child.kill('SIGTERM');
    await closed;
    clearTimeout(impatience);
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.begin();
  }

  anonymous(): TestClient {
    return new TestClient(this);
  }

  /** Registers somebody and gives them a client. */
  async register(username: string, options: Json = {}): Promise<TestClient> {
    const body = expectOk(
      await this.anonymous().post('/_matrix/client/v3/register', {
        username,
        password: `password of ${username}`,
        auth: { type: 'm.login.dummy' },
        ...options,
      }),
    );
    return new TestClient(this, { token: body.access_token, userId: body.user_id, deviceId: body.device_id });
  }

  async #answers(child: ChildProcess): Promise<void> {
    const deadline = performance.now() + START_MS;
    for (;;) {
      assert.ok(
        child.exitCode === null && child.signalCode === null,
        `${this.kind} ended while it started; see ${this.dir}`,
      );
      assert.ok(performance.now() < deadline, `${this.kind} does not answer; see ${this.dir}`);
      const answer = await fetch(`${this.baseUrl}/_matrix/client/versions`).catch(() => undefined);
      await answer?.arrayBuffer();
      if (answer?.status === 200) return;
      await pause(50);
    }
  }
}
