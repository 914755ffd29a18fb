/** A timer that was set; cancelling one that has fired does nothing. */
export interface Timer {
  cancel(): void;
}

/** Where time comes from. Everything that reads the time or waits takes one, so that tests can move it by hand. */
export interface Clock {
  /** Milliseconds since the Unix epoch. May jump when the machine's clock is set. */
  now(): number;
  /** Milliseconds since an arbitrary start; never goes back. For durations. */
  monotonic(): number;
  /** Calls `callback` once, `delayMs` milliseconds from now at the earliest. Does not keep the process alive. */
  after(delayMs: number, callback: () => void): Timer;
}

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (delayMs, callback) => {
    // setTimeout fires at once above 2^31-1 ms, so a longer wait is made of several.
    const longest = 2_147_483_647;
    let handle: NodeJS.Timeout;
    const wait = (left: number): void => {
      handle = setTimeout(() => (left > longest ? wait(left - longest) : callback()), Math.min(left, longest));
      handle.unref();
    };
    wait(Math.max(0, delayMs));
    return { cancel: () => clearTimeout(handle) };
  },
};
