import type { ServerName } from '../../matrix/identifiers.ts';
import type { Clock, Timer } from '../../util/clock.ts';

/** The clock of the wall is looked at this often (ms): it may have been set, and timers do not notice that. */
const LOOK_MS = 60_000;

/** When a wait is over: by the clock of the wall, or by the one that nobody sets, whichever comes first. */
interface Wait {
  /** Ms since the epoch. */
  readonly at: number;
  /** Of the monotonic clock, ms. */
  readonly end: number;
}

/** Remembers when servers are to be tried again, with one timer for all of them. */
export class RetryTimer {
  readonly #clock: Clock;
  readonly #due: (server: ServerName) => void;
  readonly #waiting = new Map<ServerName, Wait>();
  #timer: Timer | undefined;
  /** Of the monotonic clock, ms. */
  #looksAt = Number.POSITIVE_INFINITY;

  /** `due` is called for each server when its time has come; it waits no longer then. */
  constructor({ clock, due }: { clock: Clock; due: (server: ServerName) => void }) {
    this.#clock = clock;
    this.#due = due;
  }

  has(server: ServerName): boolean {
    return this.#waiting.has(server);
  }

  list(): ServerName[] {
    return [...this.#waiting.keys()];
  }

  /** `at`: ms since the epoch. Takes the place of what was set before. */
  set(server: ServerName, at: number): void {
    const end = this.#clock.monotonic() + Math.max(0, at - this.#clock.now());
    this.#waiting.set(server, { at, end });
    if (end < this.#looksAt) this.#arm(end);
  }

  /** Returns whether the server was waiting. */
  remove(server: ServerName): boolean {
    return this.#waiting.delete(server);
  }

  clear(): void {
    this.#waiting.clear();
    this.#timer?.cancel();
    this.#looksAt = Number.POSITIVE_INFINITY;
  }

  #arm(end: number): void {
    this.#timer?.cancel();
    const delay = Math.min(LOOK_MS, Math.max(0, end - this.#clock.monotonic()));
    this.#looksAt = this.#clock.monotonic() + delay;
    this.#timer = this.#clock.after(delay, () => this.#look());
  }

  #look(): void {
    this.#looksAt = Number.POSITIVE_INFINITY;
    const [now, monotonic] = [this.#clock.now(), this.#clock.monotonic()];
    const due: ServerName[] = [];
    let next = Number.POSITIVE_INFINITY;
    for (const [server, { at, end }] of this.#waiting) {
      if (at <= now || end <= monotonic) due.push(server);
      else next = Math.min(next, end);
    }
    if (next < Number.POSITIVE_INFINITY) this.#arm(next);
    for (const server of due) {
      if (this.#waiting.delete(server)) this.#due(server);
    }
  }
}
