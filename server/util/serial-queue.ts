/**
 * Runs work one at a time per key, in the order it was handed in; different keys run side by side. Work that hands in
 * more work under its own key must not wait for it: it would wait for itself.
 */
export class SerialQueue<Key = string> {
  readonly #lines = new Map<Key, (() => Promise<void>)[]>();
  #idle: PromiseWithResolvers<void> | undefined;

  /** How many keys have work running or waiting. */
  get size(): number {
    return this.#lines.size;
  }

  /**
   * Runs `work` after all work handed in before under `key`, at once if there is none. Settles as `work` does; a
   * failure does not keep later work from running.
   */
  run<Result>(key: Key, work: () => Promise<Result> | Result): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    const step = async (): Promise<void> => {
      try {
        resolve(await work());
      } catch (error) {
        reject(error);
      }
    };
    const line = this.#lines.get(key);
    if (line !== undefined) {
      line.push(step);
    } else {
      const own = [step];
      this.#lines.set(key, own);
      void this.#drain(key, own);
    }
    return promise;
  }

  /** Resolves when no work is running or waiting under any key. */
  idle(): Promise<void> {
    if (this.#lines.size === 0) return Promise.resolve();
    this.#idle ??= Promise.withResolvers();
    return this.#idle.promise;
  }

  async #drain(key: Key, line: (() => Promise<void>)[]): Promise<void> {
    // Steps never reject: each settles the promise of the one who handed it in.
    for (let step = line.shift(); step !== undefined; step = line.shift()) await step();
    this.#lines.delete(key);
    if (this.#lines.size > 0) return;
    this.#idle?.resolve();
    this.#idle = undefined;
  }
}
