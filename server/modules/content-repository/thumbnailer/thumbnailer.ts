import { type ChildProcess, fork } from 'node:child_process';
import { extname, join } from 'node:path';
import { limitExceeded } from '../../../matrix/errors.ts';
import type { Clock, Timer } from '../../../util/clock.ts';
import type { Logger } from '../../../util/log.ts';
import {
  type Answer,
  isAnswer,
  type Measured,
  type MeasureOrder,
  type Order,
  type Refused,
  type ThumbnailAnswer,
  type ThumbnailOrder,
} from './protocol.ts';

export interface ThumbnailerNeeds {
  readonly clock: Clock;
  readonly log: Logger;
  /** The program of the processes; the one beside this file unless told. */
  readonly program?: string;
}

const MAX_WORKERS = 2;
/** Orders that wait; more are refused. */
const MAX_WAITING = 200;
const ORDER_TIMEOUT_MS = 20_000;
const IDLE_MS = 30_000;

interface Job {
  readonly order: Order;
  readonly resolve: (answer: Answer) => void;
}

const FAILED: Refused = { kind: 'refused', reason: 'failed' };

/**
 * Has thumbnails drawn by processes of their own: a picture can bring the library that draws it down, or keep it busy for
 * minutes, and only a process can be killed. They are started when there is something to do and end when there is not.
 */
export class Thumbnailer {
  readonly #needs: ThumbnailerNeeds;
  readonly #workers = new Set<Worker>();
  readonly #waiting: Job[] = [];
  #isStopped = false;

  constructor(needs: ThumbnailerNeeds) {
    this.#needs = needs;
  }

  /** Draws one. Whatever goes wrong with it is an answer. Throws M_LIMIT_EXCEEDED where too many wait already. */
  make(order: ThumbnailOrder): Promise<ThumbnailAnswer> {
    return this.#ask(order).then((answer) => (answer.kind === 'measured' ? FAILED : answer));
  }

  /** Tells what a picture is; rejects where `make` throws. */
  async measure(order: Omit<MeasureOrder, 'kind'>): Promise<Measured | Refused> {
    const answer = await this.#ask({ ...order, kind: 'measure' });
    return answer.kind === 'measured' || answer.kind === 'refused' ? answer : FAILED;
  }

  #ask(order: Order): Promise<Answer> {
    if (this.#isStopped) return Promise.resolve(FAILED);
    if (this.#waiting.length >= MAX_WAITING) throw limitExceeded(2_000);
    const { promise, resolve } = Promise.withResolvers<Answer>();
    this.#waiting.push({ order, resolve });
    this.#next();
    return promise;
  }

  /** Ends all processes; what is under way fails. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const { resolve } of this.#waiting.splice(0)) resolve(FAILED);
    await Promise.all([...this.#workers].map((worker) => worker.kill()));
  }

  #next(): void {
    while (this.#waiting.length > 0) {
      const worker = this.#freeWorker();
      if (worker === undefined) return;
      const job = this.#waiting.shift();
      if (job !== undefined) worker.begin(job);
    }
  }

  #freeWorker(): Worker | undefined {
    for (const worker of this.#workers) if (worker.isFree) return worker;
    if (this.#workers.size >= MAX_WORKERS || this.#isStopped) return undefined;
    const worker = new Worker(this.#needs, {
      freed: () => this.#next(),
      gone: () => {
        this.#workers.delete(worker);
        this.#next();
      },
    });
    this.#workers.add(worker);
    return worker;
  }
}

/** One of the processes. */
class Worker {
  readonly #needs: ThumbnailerNeeds;
  readonly #tell: { freed(): void; gone(): void };
  readonly #child: ChildProcess;
  readonly #gone = Promise.withResolvers<void>();
  #job: Job | undefined;
  #timer: Timer | undefined;
  #isEnding = false;

  constructor(needs: ThumbnailerNeeds, tell: { freed(): void; gone(): void }) {
    this.#needs = needs;
    this.#tell = tell;
    const program = needs.program ?? join(import.meta.dirname, `worker${extname(import.meta.filename)}`);
    this.#child = fork(program, [], { execArgv: [], stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    this.#child.on('message', (message) => this.#answered(message));
    this.#child.on('error', (error) => {
      this.#needs.log.error({ error: error.message }, 'the process that draws thumbnails does not work');
      this.#end(null, null);
    });
    this.#child.once('exit', (code, signal) => this.#end(code, signal));
  }

  get isFree(): boolean {
    return this.#job === undefined && !this.#isEnding;
  }

  begin(job: Job): void {
    const { clock, log } = this.#needs;
    this.#timer?.cancel();
    this.#job = job;
    this.#timer = clock.after(ORDER_TIMEOUT_MS, () => {
      log.warn({ ms: ORDER_TIMEOUT_MS }, 'a thumbnail took too long to draw');
      void this.kill();
    });
    this.#child.send(job.order);
  }

  /** Resolves when the process is gone. */
  async kill(): Promise<void> {
    this.#isEnding = true;
    this.#timer?.cancel();
    this.#child.kill('SIGKILL');
    await this.#gone.promise;
  }

  #answered(message: unknown): void {
    const job = this.#job;
    if (job === undefined || this.#isEnding) return;
    this.#job = undefined;
    this.#timer?.cancel();
    this.#timer = this.#needs.clock.after(IDLE_MS, () => void this.kill());
    job.resolve(isAnswer(message) ? message : FAILED);
    this.#tell.freed();
  }

  #end(code: number | null, signal: NodeJS.Signals | null): void {
    const job = this.#job;
    this.#job = undefined;
    this.#timer?.cancel();
    if (job !== undefined && !this.#isEnding) {
      this.#needs.log.warn({ code, signal }, 'the process that draws thumbnails ended over a picture');
    }
    this.#isEnding = true;
    job?.resolve(FAILED);
    this.#gone.resolve();
    this.#tell.gone();
  }
}
