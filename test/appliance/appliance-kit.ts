import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AnswerOf, BodyOf, CallName, Job, QueryOf, ServerSentEvent } from '../../server/appliance/contract.ts';
import { type Appliance, type ApplianceNeeds, composeAppliance } from '../../server/compose-appliance.ts';
import { makeDataDir } from '../../server/config/data-dir.ts';
import { startServer } from '../../server/main.ts';
import { type Clock, systemClock } from '../../server/util/clock.ts';
import { silentLogger } from '../../server/util/log.ts';
import { systemRandom } from '../../server/util/random.ts';
import { eventually } from '../kit/test-network.ts';

export interface ControlAnswer<Body = unknown> {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Body;
}

type Input<C extends CallName> = (BodyOf<C> extends undefined ? { body?: undefined } : { body: BodyOf<C> }) &
  (QueryOf<C> extends undefined ? { query?: undefined } : { query?: QueryOf<C> }) & {
    params?: Readonly<Record<string, string>>;
  };

export interface TestApplianceOptions {
  readonly serverName?: string;
  readonly clock?: Clock;
  readonly network?: ApplianceNeeds['network'];
  readonly world?: ApplianceNeeds['world'];
  /** Whether the way here is looked at by itself; not unless told, since that goes out into the world. */
  readonly watchesReach?: boolean;
  readonly log?: ApplianceNeeds['log'];
  /** What every start of the homeserver waits for. */
  readonly whileStarting?: () => Promise<void>;
  /** A directory that is there already, and stays. */
  readonly dataDir?: string;
  readonly pages?: string;
  /** Where the interface is listened for; any free port unless told. */
  readonly controlPort?: number;
}

/** Hearth as a person has it: the homeserver and its interface, on a folder of its own. */
export class TestAppliance implements AsyncDisposable {
  readonly dataDir: string;
  readonly appliance: Appliance;
  readonly url: string;
  readonly #token: string;
  readonly #keep: boolean;

  private constructor(parts: { dataDir: string; appliance: Appliance; url: string; token: string; keep: boolean }) {
    this.dataDir = parts.dataDir;
    this.appliance = parts.appliance;
    this.url = parts.url;
    this.#token = parts.token;
    this.#keep = parts.keep;
  }

  static async start(options: TestApplianceOptions = {}): Promise<TestAppliance> {
    const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'hearth-house-'));
    if (options.dataDir === undefined) {
      makeDataDir(dataDir, { serverName: options.serverName ?? 'localhost', clientPort: 0 });
    }
    const token = systemRandom.bytes(32).toString('base64url');
    const appliance = composeAppliance({
      dataDir,
      overrides: { clientPort: 0 },
      controlPort: options.controlPort ?? 0,
      shellToken: token,
      pages: options.pages ?? join(dataDir, 'no-pages'),
      clock: options.clock ?? systemClock,
      random: systemRandom,
      log: options.log ?? silentLogger,
      ...(options.network === undefined ? {} : { network: options.network }),
      world: options.world,
      watchesReach: options.watchesReach ?? false,
      startServer: async (config, log) => {
        await options.whileStarting?.();
        return startServer(config, log, {
          ...(options.clock === undefined ? {} : { clock: options.clock }),
          ...(options.network === undefined ? {} : { network: options.network }),
        });
      },
    });
    const url = await appliance.start();
    const started = new TestAppliance({ dataDir, appliance, url, token, keep: options.dataDir !== undefined });
    await eventually('the homeserver has started, or has not', () => {
      const { kind } = appliance.keeper.state;
      return kind !== 'starting' && kind !== 'stopped';
    });
    return started;
  }

  /** Calls the control API as the interface does, and gives its answer. Fails unless that is 200. */
  async call<C extends CallName>(name: C, input: Input<C> = {} as Input<C>): Promise<AnswerOf<C>> {
    const answer = await this.ask(name, input);
    assert.equal(answer.status, 200, `${name}: ${JSON.stringify(answer.body)}`);
    return answer.body as AnswerOf<C>;
  }

  /** The same, whatever the answer is. Headers given here replace those of the interface. */
  ask<C extends CallName>(
    name: C,
    input: Input<C> = {} as Input<C>,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<ControlAnswer> {
    const [method = '', template = ''] = name.split(' ');
    const path = template.replaceAll(/\{(\w+)\}/g, (_all, key: string) =>
      encodeURIComponent(input.params?.[key] ?? ''),
    );
    const query = new URLSearchParams(
      Object.entries(input.query ?? {}).map(([key, value]): [string, string] => [key, String(value)]),
    );
    const search = query.size === 0 ? '' : `?${query.toString()}`;
    return this.request(method, `/_hearth/control${path}${search}`, input.body, headers);
  }

  /** Any request to the listener of the interface. */
  request(
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<ControlAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<ControlAnswer>();
    const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    const req = request(
      `${this.url}${path}`,
      {
        method,
        headers: {
          authorization: `Bearer ${this.#token}`,
          ...(text === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
          ...headers,
        },
      },
      (res) => {
        const pieces: Buffer[] = [];
        res.on('data', (piece: Buffer) => pieces.push(piece));
        res.on('error', reject);
        res.on('end', () => {
          const content = Buffer.concat(pieces).toString();
          const isJson = res.headers['content-type']?.startsWith('application/json') === true;
          resolve({ status: res.statusCode ?? 0, headers: res.headers, body: isJson ? JSON.parse(content) : content });
        });
      },
    );
    req.on('error', reject);
    req.end(text);
    return promise;
  }

  /** What the event stream tells from now on; reading ends it. */
  async *events(signal: AbortSignal): AsyncGenerator<ServerSentEvent> {
    const response = await fetch(`${this.url}/_hearth/control/events`, {
      headers: { authorization: `Bearer ${this.#token}` },
      signal,
    });
    assert.equal(response.status, 200);
    let rest = '';
    for await (const piece of response.body ?? []) {
      rest += Buffer.from(piece).toString();
      const parts = rest.split('\n\n');
      rest = parts.pop() ?? '';
      for (const part of parts) if (part.startsWith('data: ')) yield JSON.parse(part.slice(6));
    }
  }

  /** Waits until a job is over, and gives it. */
  async finished(jobId: string): Promise<Job> {
    let found: Job | undefined;
    await eventually(`the job ${jobId} is over`, async () => {
      found = (await this.call('GET /jobs')).jobs.find(({ id }) => id === jobId);
      return found !== undefined && found.state !== 'running';
    });
    assert.ok(found !== undefined);
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.appliance.stop();
    if (!this.#keep) rmSync(this.dataDir, { recursive: true, force: true });
  }
}
