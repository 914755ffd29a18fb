import type { ServerName } from '../../matrix/identifiers.ts';
import type { Clock, Timer } from '../../util/clock.ts';

/** The clock of the wall is looked at this often (ms): it may have been set, and timers do not notice that. */
const LOOK_MS = 60_000;

/** Remembers when servers are to be tried again, with one timer for all of them. */
export class RetryTimer {
  readonly #clock: Clock;
  readonly #due: (server: ServerName) => void;
  /** Times in ms since the epoch. */
  readonly #waiting = new Map<ServerName, number>();
  #timer: Timer | undefined;
  #wakesAt = Number.POSITIVE_INFINITY;

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
    this.#waiting.set(server, at);
    if (at < this.#wakesAt) this.#arm(at);
  }

  /** Returns whether the server was waiting. */
  remove(server: ServerName): boolean {
    return this.#waiting.delete(server);
  }

  clear(): void {
    this.#waiting.clear();
    this.#timer?.cancel();
    this.#wakesAt = Number.POSITIVE_INFINITY;
  }

  #arm(at: number): void {
    this.#timer?.cancel();
    const delay = Math.min(LOOK_MS, Math.max(0, at - this.#clock.now()));
    this.#wakesAt = this.#clock.now() + delay;
    this.#timer = this.#clock.after(delay, () => this.#look());
  }

  #look(): void {
    this.#wakesAt = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    const due: ServerName[] = [];
    let next = Number.POSITIVE_INFINITY;
    for (const [server, at] of this.#waiting) {
      if (at <= now) due.push(server);
      else next = Math.min(next, at);
    }
    if (next < Number.POSITIVE_INFINITY) this.#arm(next);
    for (const server of due) {
      if (this.#waiting.delete(server)) this.#due(server);
    }
  }
}
