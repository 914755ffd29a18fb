import type { Random } from '../../util/random.ts';

export interface RetrySettings {
  /** Longest wait between tries, ms, and how many further ones there are: while a user waits, and while nobody does. */
  readonly maxShortDelayMs: number;
  readonly maxShortRetries: number;
  readonly maxLongDelayMs: number;
  readonly maxLongRetries: number;
}

/** How long to wait before each further try. */
export interface RetryPlan {
  /** The wait after the `failures`th failure in a row, ms; undefined: give up. `askedMs` is what the server asks for. */
  waitAfter(failures: number, askedMs: number | undefined): number | undefined;
}

const FIRST_SHORT_MS = 500;
const FIRST_LONG_MS = 4000;

/** The plan for one of the ways of being patient. Waits grow, and vary by chance within a fifth of what they would be. */
export function planRetries(patience: 'none' | 'short' | 'long', settings: RetrySettings, random: Random): RetryPlan {
  const [tries, first, factor, longest] =
    patience === 'none'
      ? [0, 0, 1, 0]
      : patience === 'short'
        ? [settings.maxShortRetries, FIRST_SHORT_MS, 2, settings.maxShortDelayMs]
        : [settings.maxLongRetries, FIRST_LONG_MS, 4, settings.maxLongDelayMs];
  return {
    waitAfter: (failures, askedMs) => {
      if (failures > tries) return undefined;
      // Coming back before the time asked for would only be refused again.
      if (askedMs !== undefined && askedMs > longest) return undefined;
      const grown = Math.min(first * factor ** (failures - 1), longest);
      const jittered = grown * (0.8 + (random.bytes(4).readUInt32BE() / 2 ** 32) * 0.4);
      return Math.max(askedMs ?? 0, Math.min(longest, Math.round(jittered)));
    },
  };
}

/** What a Retry-After header asks for, ms (RFC 9110, section 10.2.3); undefined where it asks for nothing intelligible. */
export function readRetryAfter(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  if (/^\s*\d{1,10}\s*$/.test(header)) return Number(header) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}
