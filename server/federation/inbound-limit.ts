import { ClientGoneError } from '../http/body.ts';
import { limitExceeded } from '../matrix/errors.ts';
import type { ServerName } from '../matrix/identifiers.ts';
import type { Clock, Timer } from '../util/clock.ts';

export interface InboundLimitSettings {
  /** Length of the window in which requests are counted, ms. */
  readonly windowMs: number;
  /** Requests in a window before further ones are delayed. */
  readonly sleepLimit: number;
  /** How long they are delayed, ms. */
  readonly sleepDelayMs: number;
  /** Requests that wait before further ones are refused. */
  readonly rejectLimit: number;
  /** Requests worked on at once. */
  readonly concurrent: number;
}

/** A request as far as the limit needs to see it. */
export interface LimitedFederationRequest {
  readonly method: string;
  readonly uri: string;
  /** Calls back once the request is over, at once if it is already. */
  readonly onFinished?: ((callback: () => void) => void) | undefined;
}

interface Waiting {
  readonly admitted: PromiseWithResolvers<void>;
  nap: Timer | undefined;
}

interface OriginState {
  /** When requests came, monotonic ms, within the window. */
  times: number[];
  /** Those that are slept off and those that wait for a place. */
  readonly waiting: Set<Waiting>;
  readonly line: Waiting[];
  working: number;
}

/** States beyond which those of servers that have gone quiet are cleared away. */
const STATES_KEPT = 1_000;

/** How many requests of one server are worked on at once, and how many may wait: no server can take all there is. */
export class InboundLimit {
  readonly #clock: Clock;
  readonly #settings: InboundLimitSettings;
  readonly #states = new Map<ServerName, OriginState>();

  constructor({ clock, settings }: { clock: Clock; settings: InboundLimitSettings }) {
    this.#clock = clock;
    this.#settings = settings;
  }

  /**
   * Resolves when the request may be worked on; its place is free again once it is finished. Throws M_LIMIT_EXCEEDED where
   * too many wait, ClientGoneError where the peer leaves meanwhile. Transactions pass: a server sends one at a time, and
   * while it waits nothing else of it would arrive.
   */
  async admit(origin: ServerName, { method, uri, onFinished }: LimitedFederationRequest): Promise<void> {
    if (onFinished === undefined || (method === 'PUT' && uri.startsWith('/_matrix/federation/v1/send/'))) return;
    const { windowMs, sleepLimit, sleepDelayMs, rejectLimit } = this.#settings;
    const state = this.#stateOf(origin);
    if (state.waiting.size >= rejectLimit) throw limitExceeded(windowMs / Math.max(1, sleepLimit));

    const now = this.#clock.monotonic();
    state.times = state.times.filter((time) => time > now - windowMs);
    state.times.push(now);
    const waiting: Waiting = { admitted: Promise.withResolvers(), nap: undefined };
    state.waiting.add(waiting);
    onFinished(() => this.#leave(state, waiting));
    if (state.times.length > sleepLimit) {
      waiting.nap = this.#clock.after(sleepDelayMs, () => this.#queue(state, waiting));
    } else {
      this.#queue(state, waiting);
    }
    await waiting.admitted.promise;
  }

  #queue(state: OriginState, waiting: Waiting): void {
    // Whoever left while it was slept off waits no longer.
    if (!state.waiting.has(waiting)) return;
    state.line.push(waiting);
    this.#letIn(state);
  }

  #letIn(state: OriginState): void {
    while (state.working < this.#settings.concurrent) {
      const next = state.line.shift();
      if (next === undefined) return;
      state.waiting.delete(next);
      state.working += 1;
      next.admitted.resolve();
    }
  }

  #leave(state: OriginState, waiting: Waiting): void {
    if (state.waiting.delete(waiting)) {
      waiting.nap?.cancel();
      const place = state.line.indexOf(waiting);
      if (place !== -1) state.line.splice(place, 1);
      waiting.admitted.reject(new ClientGoneError());
    } else {
      state.working -= 1;
      this.#letIn(state);
    }
  }

  #stateOf(origin: ServerName): OriginState {
    const known = this.#states.get(origin);
    if (known !== undefined) return known;
    if (this.#states.size >= STATES_KEPT) this.#clearAway();
    const state: OriginState = { times: [], waiting: new Set(), line: [], working: 0 };
    this.#states.set(origin, state);
    return state;
  }

  #clearAway(): void {
    const since = this.#clock.monotonic() - this.#settings.windowMs;
    for (const [origin, { times, waiting, working }] of this.#states) {
      if (waiting.size === 0 && working === 0 && (times.at(-1) ?? 0) <= since) this.#states.delete(origin);
    }
  }
}
