/**
 * A control server with a rich household behind it, for what the interface shows: it answers every call of the contract
 * from what `world` holds, and stories change that.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { existsSync, readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import type { AnswerOf, CallName, ControlError, Job, ServerSentEvent } from '../../server/appliance/contract.ts';
import { pages } from './browser.ts';
import { historyOf, household } from './household.ts';

/** What a call is answered with. */
type Answers = { [C in CallName]?: AnswerOf<C> | ((input: FakeInput) => AnswerOf<C> | FakeRefusal) | FakeRefusal };
interface FakeInput {
  readonly params: readonly string[];
  readonly query: URLSearchParams;
  readonly body: unknown;
}

export class FakeRefusal {
  readonly status: number;
  readonly error: ControlError;

  constructor(status: number, error: string, field?: string) {
    this.status = status;
    this.error = { errcode: 'M_UNKNOWN', error, ...(field === undefined ? {} : { field }) };
  }
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};
/** As the real one sends it: a page that needs more than this is broken there. */
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export class FakeHouse implements AsyncDisposable {
  readonly answers: Answers;
  /** Calls that came, as "METHOD /path", with their bodies. */
  readonly seen: { readonly call: string; readonly body: unknown }[] = [];
  readonly #listeners = new Set<ServerResponse>();
  readonly #server: Server;
  #isSessionGood = true;

  private constructor(answers: Answers) {
    this.answers = answers;
    this.#server = createServer((req, res) => void this.#serve(req, res));
  }

  static async start(changes: Answers = {}): Promise<FakeHouse> {
    const house = new FakeHouse({
      ...household(),
      'GET /history': ({ query }) => historyOf(Date.now(), Number(query.get('hours'))),
      ...changes,
    });
    await house.open(0);
    return house;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** A link into the interface, to one of its pages. */
  link(): string {
    return `${this.url}/#/link/a-secret-that-is-good`;
  }

  open(port: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once('error', reject);
    this.#server.listen(port, '127.0.0.1', resolve);
    return promise;
  }

  /** Goes away, and gives the port it had. */
  async close(): Promise<number> {
    const { port } = this.#server.address() as AddressInfo;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
    return port;
  }

  /** From now on nobody is known any more. */
  endSessions(): void {
    this.#isSessionGood = false;
  }

  tell(event: ServerSentEvent): void {
    for (const listener of this.#listeners) listener.write(`data: ${JSON.stringify(event)}\n\n`);
  }

  /** Tells how a job goes, and keeps it for those who ask. */
  job(job: Job): void {
    const { jobs } = this.#plain('GET /jobs');
    this.answers['GET /jobs'] = { jobs: [job, ...jobs.filter(({ id }) => id !== job.id)] };
    this.tell({ topic: 'job', job });
  }

  #plain<C extends CallName>(name: C): AnswerOf<C> {
    const answers: Readonly<Record<string, unknown>> = this.answers;
    return answers[name] as AnswerOf<C>;
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(req.url ?? '/', this.url);
    if (!pathname.startsWith('/_hearth/control/')) return this.#page(pathname, res);
    const path = pathname.slice('/_hearth/control'.length);
    const text = await readText(req);
    const body: unknown = text === '' ? undefined : JSON.parse(text);
    const call = `${req.method} ${path}`;
    if (call !== 'POST /session' && !(this.#isSessionGood && req.headers.authorization === 'Bearer a-token')) {
      return refuse(res, new FakeRefusal(401, 'This session is over; open Hearth again'));
    }
    if (call === 'GET /events') {
      res.writeHead(200, { 'content-type': 'text/event-stream' }).write(':\n\n');
      this.#listeners.add(res);
      res.once('close', () => this.#listeners.delete(res));
      return;
    }
    this.seen.push({ call, body });
    const name = Object.keys(this.answers).find((each) => patternOf(each).test(call)) as CallName | undefined;
    if (name === undefined) return refuse(res, new FakeRefusal(404, 'Unrecognized request'));
    const given: unknown = this.answers[name];
    const params = patternOf(name).exec(call)?.slice(1).map(decodeURIComponent) ?? [];
    const answer: unknown =
      typeof given === 'function'
        ? (given as (input: FakeInput) => unknown)({ params, query: searchParams, body })
        : given;
    if (answer instanceof FakeRefusal) return refuse(res, answer);
    if (name === 'POST /session') this.#isSessionGood = true;
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  }

  #page(pathname: string, res: ServerResponse): void {
    const file = pathname === '/' ? 'index.html' : pathname.slice(1);
    const path = join(pages, file);
    if (file.includes('..') || !existsSync(path)) {
      res.writeHead(404).end();
      return;
    }
    res.writeHead(200, {
      'content-type': TYPES[extname(file)] ?? 'application/octet-stream',
      'content-security-policy': CSP,
    });
    res.end(readFileSync(path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server.listening) await this.close();
  }
}

function refuse(res: ServerResponse, { status, error }: FakeRefusal): void {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(error));
}

function patternOf(name: string): RegExp {
  return new RegExp(`^${name.replaceAll(/[.*+?^$()|[\]\\]/g, String.raw`\$&`).replaceAll(/\{\w+\}/g, '([^/]+)')}$`);
}
