import { createHash } from 'node:crypto';
import { notFound } from '../../matrix/errors.ts';
import type { Clock } from '../../util/clock.ts';
import type { LogData, Logger } from '../../util/log.ts';
import type { Announcer } from '../announcer.ts';
import type { Problem } from '../contract.ts';
import { plainWords } from './plain-words.ts';

/** How long (ms) one that was put aside is not shown again, as long as it is the very same. */
const PUT_ASIDE_MS = 24 * 3_600_000;
/** Kinds of problems that are remembered; the one that has not come up for longest goes first. */
const MOST = 50;
const MAX_DETAIL = 2000;
const MAX_DEPTH = 4;
/** What may never be shown, should it have slipped into a line. */
const SECRET = /passw|token|secret|authorization|pepper|signature/i;

/** What went wrong lately, in plain words: warnings and errors of the log, one for each sentence. */
export class Problems {
  readonly #clock: Clock;
  readonly #announcer: Pick<Announcer, 'moved'>;
  /** By sentence, the one that came up last at the end. */
  readonly #kept = new Map<string, { id: string; at: number; count: number; detail: string }>();
  /** By sentence: what was seen of it, and until when (on the clock that nobody sets) that is no news. */
  readonly #putAside = new Map<string, { readonly detail: string; readonly until: number }>();

  constructor({ clock, announcer }: { readonly clock: Clock; readonly announcer: Pick<Announcer, 'moved'> }) {
    this.#clock = clock;
    this.#announcer = announcer;
  }

  /** A logger that writes to `log`, and notes what goes wrong. */
  listen(log: Logger): Logger {
    return this.#wrap(log, {});
  }

  /** The newest first. */
  list(): Problem[] {
    return [...this.#kept].toReversed().map(([sentence, { id, at, count, detail }]) => {
      const words = plainWords[sentence] ?? { text: toSentence(sentence) };
      return { id, at, count, detail, ...words };
    });
  }

  /** Puts one aside until it comes up in another way, or after a day. Throws M_NOT_FOUND. */
  dismiss(id: string): void {
    const found = [...this.#kept].find(([, problem]) => problem.id === id);
    if (found === undefined) throw notFound('This problem is not there any more');
    const [sentence, { detail }] = found;
    this.#kept.delete(sentence);
    this.#putAside.delete(sentence);
    this.#putAside.set(sentence, { detail, until: this.#clock.monotonic() + PUT_ASIDE_MS });
    for (const oldest of this.#putAside.keys()) {
      if (this.#putAside.size <= MOST) break;
      this.#putAside.delete(oldest);
    }
    this.#announcer.moved('problems');
  }

  #wrap(log: Logger, bound: LogData): Logger {
    return {
      debug: (data, sentence) => log.debug(data, sentence),
      info: (data, sentence) => log.info(data, sentence),
      warn: (data, sentence) => {
        log.warn(data, sentence);
        this.#note({ ...bound, ...data }, sentence);
      },
      error: (data, sentence) => {
        log.error(data, sentence);
        this.#note({ ...bound, ...data }, sentence);
      },
      child: (data) => this.#wrap(log.child(data), { ...bound, ...data }),
    };
  }

  #note(data: LogData, sentence: string): void {
    const detail = describe(data);
    const putAside = this.#putAside.get(sentence);
    if (putAside !== undefined && putAside.detail === detail && this.#clock.monotonic() < putAside.until) return;
    this.#putAside.delete(sentence);
    const before = this.#kept.get(sentence);
    this.#kept.delete(sentence);
    this.#kept.set(sentence, {
      id: before?.id ?? createHash('sha256').update(sentence).digest('base64url').slice(0, 16),
      at: this.#clock.now(),
      count: (before?.count ?? 0) + 1,
      detail,
    });
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= MOST) break;
      this.#kept.delete(oldest);
    }
    this.#announcer.moved('problems');
  }
}

function toSentence(sentence: string): string {
  return `${sentence.charAt(0).toUpperCase()}${sentence.slice(1)}.`;
}

/** The data of a line, a line each. */
function describe(data: LogData): string {
  const lines = Object.entries(data).map(([key, value]) => `${key}: ${inWords(key, value, 0)}`);
  const text = lines.join('\n');
  return text.length > MAX_DETAIL ? `${text.slice(0, MAX_DETAIL - 1)}…` : text;
}

function inWords(key: string, value: unknown, depth: number): string {
  if (SECRET.test(key)) return '(not shown)';
  if (value instanceof Error) {
    const cause =
      value.cause === undefined || depth > MAX_DEPTH ? '' : ` (${inWords('cause', value.cause, depth + 1)})`;
    return `${value.message}${cause}`;
  }
  if (typeof value === 'string') return value;
  if (typeof value !== 'object' || value === null) return String(value);
  if (depth > MAX_DEPTH) return '…';
  const entries = Array.isArray(value)
    ? value.slice(0, 20).map((item) => inWords('', item, depth + 1))
    : Object.entries(value)
        .slice(0, 20)
        .map(([name, inner]) => `${name}: ${inWords(name, inner, depth + 1)}`);
  return entries.join(', ');
}
