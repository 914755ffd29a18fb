/**
 * Shares the event loop among those who have much to do: in each of its turns, one of them works for a while. Slices of
 * work that merely wait for the next turn all run in that one, and together take as long as if there were none.
 */
export class Turns {
  readonly #waiting: (() => void)[] = [];
  #isTaken = false;

  /** Takes the turn of now, if it is nobody's. */
  take(): boolean {
    if (this.#isTaken) return false;
    this.#begin();
    return true;
  }

  /** Resolves in a turn of one's own, in the order of asking. */
  wait(): Promise<void> {
    if (!this.#isTaken) this.#begin();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #begin(): void {
    this.#isTaken = true;
    setImmediate(() => {
      this.#isTaken = false;
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#begin();
      next();
    });
  }
}

/** There is one event loop. */
export const turns = new Turns();
