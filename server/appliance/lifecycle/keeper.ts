import { MatrixError } from '../../matrix/errors.ts';
import type { Clock, Timer } from '../../util/clock.ts';
import { Backoff } from '../../util/backoff.ts';
import type { Logger } from '../../util/log.ts';
import { SerialQueue } from '../../util/serial-queue.ts';
import type { Announcer } from '../announcer.ts';
import type { Homeserver } from '../homeserver.ts';

/** How the homeserver is. Times are ms since the epoch. */
export type KeeperState =
  | { readonly kind: 'starting' }
  | { readonly kind: 'running'; readonly homeserver: Homeserver; readonly since: number }
  | { readonly kind: 'paused' }
  /** It did not start: why, in words for a person; and when it is tried again, where that can help. */
  | { readonly kind: 'failed'; readonly message: string; readonly error: unknown; readonly retryAt: number | undefined }
  /** Something takes its place on the data, in words. */
  | { readonly kind: 'held'; readonly by: string }
  | { readonly kind: 'stopped' };

interface KeeperParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly announcer: Pick<Announcer, 'moved'>;
  /** Starts the homeserver on what is in the data directory. Its errors' messages are for people. */
  readonly begin: () => Promise<Homeserver>;
}

/** A start that failed for want of something that may come back (a port, a disk, another program's lock) is tried again. */
const RETRY = { firstMs: 5_000, longestMs: 300_000 };

/** Starts, stops and pauses the homeserver, one thing at a time. */
export class Keeper {
  readonly #parts: KeeperParts;
  readonly #line = new SerialQueue();
  readonly #backoff = new Backoff(RETRY);
  #state: KeeperState = { kind: 'stopped' };
  #retry: Timer | undefined;
  #isOver = false;

  constructor(parts: KeeperParts) {
    this.#parts = parts;
  }

  get state(): KeeperState {
    return this.#state;
  }

  /** The homeserver, where it runs. Throws M_UNKNOWN (503) where it does not. */
  get(): Homeserver {
    const state = this.#state;
    if (state.kind === 'running') return state.homeserver;
    const why = state.kind === 'failed' ? `${WHY_NOT.failed}: ${state.message}` : WHY_NOT[state.kind];
    throw new MatrixError('M_UNKNOWN', why, { status: 503 });
  }

  find(): Homeserver | undefined {
    return this.#state.kind === 'running' ? this.#state.homeserver : undefined;
  }

  /** Starts it unless it runs. Resolves either way: `state` tells how it went. */
  start(): Promise<void> {
    return this.#inTurn(() => this.#begin());
  }

  /** Stops it until `start`. */
  pause(): Promise<void> {
    return this.#inTurn(() => this.#end({ kind: 'paused' }));
  }

  restart(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#end({ kind: 'starting' });
      await this.#begin();
    });
  }

  /** Stops it for good: whatever is asked for afterwards, it stays so. */
  stop(): Promise<void> {
    this.#isOver = true;
    return this.#inTurn(() => this.#end({ kind: 'stopped' }));
  }

  /** The machine woke up, or its network changed: a start that waits for its next try is tried now. */
  wake(): void {
    const state = this.#state;
    if (state.kind !== 'failed' || state.retryAt === undefined) return;
    this.#backoff.reset();
    void this.start();
  }

  /**
   * Does something to the data that the homeserver must not see, while it does not run; then it is as it was before. `what`
   * is shown meanwhile.
   */
  whileHeld<Result>(what: string, work: () => Promise<Result>): Promise<Result> {
    return this.#inTurn(async () => {
      const before = this.#state.kind;
      await this.#end({ kind: 'held', by: what });
      try {
        return await work();
      } finally {
        if (before === 'paused' || before === 'stopped') this.#become({ kind: before });
        else await this.#begin();
      }
    });
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    return this.#line.run('homeserver', work);
  }

  async #begin(): Promise<void> {
    if (this.#state.kind === 'running') return;
    if (this.#isOver) return this.#become({ kind: 'stopped' });
    const { clock, log, begin } = this.#parts;
    this.#retry?.cancel();
    this.#become({ kind: 'starting' });
    try {
      const homeserver = await begin();
      this.#backoff.reset();
      this.#become({ kind: 'running', homeserver, since: clock.now() });
    } catch (error) {
      log.error({ error }, 'the homeserver could not be started');
      const wait = mayPass(error) ? this.#backoff.next() : undefined;
      if (wait !== undefined) {
        this.#retry = clock.after(wait, () => {
          if (this.#state.kind === 'failed') void this.start();
        });
      }
      const message = error instanceof Error ? error.message : String(error);
      this.#become({ kind: 'failed', message, error, retryAt: wait === undefined ? undefined : clock.now() + wait });
    }
  }

  /** Nobody is to do anything with a homeserver that is stopping: what comes `next` counts at once. */
  async #end(next: KeeperState): Promise<void> {
    this.#retry?.cancel();
    const state = this.#state;
    this.#become(this.#isOver ? { kind: 'stopped' } : next);
    if (state.kind !== 'running') return;
    try {
      await state.homeserver.stop();
    } catch (error) {
      // What comes next must not wait for ever because of it.
      this.#parts.log.error({ error }, 'the homeserver did not stop properly');
    }
  }

  #become(state: KeeperState): void {
    this.#state = state;
    this.#parts.announcer.moved('status');
  }
}

const WHY_NOT: Readonly<Record<Exclude<KeeperState['kind'], 'running'>, string>> = {
  starting: 'The homeserver is starting; try again in a moment',
  paused: 'The homeserver is paused',
  failed: 'The homeserver could not be started',
  held: 'The homeserver waits until something else is done',
  stopped: 'The homeserver does not run',
};

/** Whether a later try may go better though nobody has changed anything. A mistake in the configuration stays one. */
function mayPass(error: unknown): boolean {
  return error instanceof Error && error.name !== 'ConfigError';
}
