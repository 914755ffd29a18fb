import { createContext, Script } from 'node:vm';

/** How long a pattern that might take for ever may look at one name, ms. */
const PATIENCE_MS = 20;
/** Stopped after less work than this, µs, it was not the pattern that took the time: others had the processor. */
const FAIR_SHARE_US = 10_000;
/** How often it may look at a name again where it had no fair share. */
const MAX_LOOKS = 5;
/** So many repetitions in a row look at a name of 255 characters a few million times at worst. */
const MANY_REPETITIONS = 3;
/** A repetition that is limited to more than this counts as one without limit. */
const MANY_TIMES = 10;

/**
 * A regular expression of a registration. Anybody can make up names it is asked about, so one that might take for ever
 * (a repetition within a repetition, or too many of them) is stopped after a while, and then does not match.
 */
export class NamePattern {
  readonly #pattern: RegExp;
  readonly #isRisky: boolean;
  readonly #onTimeout: () => void;

  constructor(pattern: RegExp, onTimeout: () => void) {
    this.#pattern = pattern;
    this.#isRisky = isRisky(pattern.source);
    this.#onTimeout = onTimeout;
  }

  matches(name: string): boolean {
    return this.#isRisky ? this.#matchInTime(name) : this.#pattern.test(name);
  }

  #matchInTime(name: string): boolean {
    stage ??= { script: new Script('pattern.test(name)'), context: createContext({}) };
    Object.assign(stage.context, { pattern: this.#pattern, name });
    for (let looks = 1; looks <= MAX_LOOKS; looks += 1) {
      const before = process.threadCpuUsage();
      try {
        return stage.script.runInContext(stage.context, { timeout: PATIENCE_MS }) === true;
      } catch (error) {
        if (!isTimeout(error)) throw error;
        const { user, system } = process.threadCpuUsage(before);
        if (user + system >= FAIR_SHARE_US) break;
      }
    }
    this.#onTimeout();
    return false;
  }
}

/** The error is one of the other context's, whose Error is not ours. */
function isTimeout(error: unknown): boolean {
  return (
    typeof error === 'object' && error !== null && 'code' in error && error.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT'
  );
}

/** Where code can be stopped; made when a pattern first needs it. */
let stage: { readonly script: Script; readonly context: object } | undefined;

interface Group {
  /** Something in it can match the same text in several ways. */
  isOpen: boolean;
}

/** Whether a regular expression might take more than polynomial time, or too high a power of it. */
export function isRisky(source: string): boolean {
  let repetitions = 0;
  const groups: Group[] = [{ isOpen: false }];
  let closed: Group | undefined;
  let previous = '';
  const tokens = source.match(/\\(?:k<[^>]*>|[^])|\[(?:\\[^]|[^\]\\])*\]|\{\d+(?:,\d*)?\}|[^]/g) ?? [];
  for (const token of tokens) {
    const group = groups.at(-1);
    const before = closed;
    const isOption = token === '?' && previous !== '(' && previous !== '?' && !isRepetition(previous);
    closed = undefined;
    previous = token;
    if (/^\\[1-9k]/.test(token)) return true;
    if (token === '(') groups.push({ isOpen: false });
    else if (token === ')') {
      closed = groups.pop();
      // What holds it is open where it is: a repetition around both repeats what is inside.
      const outer = groups.at(-1);
      if (outer !== undefined && closed?.isOpen === true) outer.isOpen = true;
    } else if ((token === '|' || isOption) && group !== undefined) group.isOpen = true;
    else if (isRepetition(token)) {
      if (before?.isOpen === true) return true;
      repetitions += 1;
      if (group !== undefined) group.isOpen = true;
    }
  }
  return repetitions > MANY_REPETITIONS;
}

function isRepetition(token: string): boolean {
  if (token === '*' || token === '+') return true;
  const [, from, comma, to] = /^\{(\d+)(,?)(\d*)\}$/.exec(token) ?? [];
  if (from === undefined) return false;
  if (comma === '') return Number(from) > MANY_TIMES;
  return to === '' || Number(to) > MANY_TIMES;
}
