import { logger } from 'matrix-js-sdk/lib/logger.js';

/*
 * To be imported before the SDK, parts of which take hold of its logger as soon as they are loaded, whichever logger a
 * client is given later.
 */

const nothing = (): void => undefined;

/** A logger that says nothing. */
export const quiet = {
  trace: nothing,
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  getChild: () => quiet,
};

Object.assign(logger, { ...quiet, log: nothing });

/** Timers of this length (ms) and more do not keep the process alive: the SDK leaves some behind when it is stopped. */
const LONG_MS = 1_000;

const { setTimeout: setAny } = globalThis;
globalThis.setTimeout = Object.assign((...args: Parameters<typeof setAny>) => {
  const timer = setAny(...args);
  return (args[1] ?? 0) < LONG_MS ? timer : timer.unref();
}, setAny);
