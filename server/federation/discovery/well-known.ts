import { LRUCache } from 'lru-cache';
import { parseJson } from '../../matrix/canonical-json.ts';
import { MatrixError } from '../../matrix/errors.ts';
import { isServerName, type ServerName } from '../../matrix/identifiers.ts';
import { isJsonObject } from '../../matrix/json.ts';
import type { Clock } from '../../util/clock.ts';
import { atMost } from '../../util/lru.ts';
import type { Random } from '../../util/random.ts';
import type { GuardedHttp, HttpAnswer } from '../outbound/guarded-http.ts';
import { OutboundError } from '../outbound/outbound-error.ts';
import { parseServerAddress } from './server-address.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** How long an answer is kept where it does not say, and at least and at most, ms (spec: "Resolving server names", 3). */
const DEFAULT_TTL_MS = 24 * HOUR;
const SHORTEST_TTL_MS = 5 * MINUTE;
const LONGEST_TTL_MS = 48 * HOUR;
/** How long a failure is remembered, ms: the first, doubled with each further one, at most. */
const FIRST_FAILURE_MS = 2 * MINUTE;
const LONGEST_FAILURE_MS = HOUR;
/** How long past its time an answer goes on being used while no new one can be had, ms. */
const STALE_MS = 24 * HOUR;
/** An answer is renewed in the background when this part of its time is over. */
const RENEWAL = 0.8;
/** A host asked less than this ago is not asked again because what it names cannot be reached, ms. */
const YOUNG_MS = 5 * MINUTE;

const MAX_BYTES = 50 * 1024;
const TIMEOUT_MS = 10_000;
const MAX_REDIRECTS = 5;
const HOSTS_KEPT = 5000;

interface Kept {
  /** Where the server is said to be; undefined: it does not say. */
  readonly delegate: ServerName | undefined;
  readonly askedAt: number;
  readonly renewAt: number;
  readonly expiresAt: number;
  /** Until when the answer may go on being used if no new one can be had. */
  readonly usableUntil: number;
  /** Failures in a row. */
  readonly failures: number;
}

/** What came of a look-up. */
type Outcome =
  | { readonly kind: 'delegated'; readonly to: ServerName; readonly ttlMs: number }
  /** It answered, but not with a valid file. */
  | { readonly kind: 'none' }
  /** It did not answer, or says that it cannot now. */
  | { readonly kind: 'unavailable' };

/** Asks hosts for `/.well-known/matrix/server` and remembers what they say. */
export class WellKnown {
  readonly #http: GuardedHttp;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #kept = new LRUCache<string, Kept>(atMost(HOSTS_KEPT));
  readonly #running = new Map<string, Promise<ServerName | undefined>>();

  constructor({ http, clock, random }: { readonly http: GuardedHttp; readonly clock: Clock; readonly random: Random }) {
    this.#http = http;
    this.#clock = clock;
    this.#random = random;
  }

  /** Whom `host` delegates to; undefined if to nobody, or if it does not answer. Never rejects. */
  async find(host: string): Promise<ServerName | undefined> {
    const key = host.toLowerCase();
    const kept = this.#kept.get(key);
    const now = this.#clock.now();
    if (kept === undefined || now >= kept.expiresAt) return this.#look(key);
    if (now >= kept.renewAt) void this.#look(key);
    return kept.delegate;
  }

  /** What `host` delegates to could not be reached: it may have moved, so an answer that is not fresh is renewed at next use. */
  doubt(host: string): void {
    const key = host.toLowerCase();
    const kept = this.#kept.get(key);
    const now = this.#clock.now();
    if (kept?.delegate === undefined || now < kept.askedAt + YOUNG_MS) return;
    this.#kept.set(key, { ...kept, expiresAt: now });
  }

  /** Forgets failures: on another network they say nothing. */
  forgetFailures(): void {
    for (const [key, kept] of this.#kept.entries()) {
      if (kept.delegate === undefined) this.#kept.delete(key);
    }
  }

  #look(key: string): Promise<ServerName | undefined> {
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    const looking = this.#fetch(key)
      .then((outcome) => this.#keep(key, outcome))
      .finally(() => this.#running.delete(key));
    this.#running.set(key, looking);
    return looking;
  }

  #keep(key: string, outcome: Outcome): ServerName | undefined {
    const now = this.#clock.now();
    const before = this.#kept.get(key);
    if (outcome.kind === 'delegated') {
      const expiresAt = now + outcome.ttlMs;
      this.#kept.set(key, {
        delegate: outcome.to,
        askedAt: now,
        renewAt: now + outcome.ttlMs * RENEWAL,
        expiresAt,
        usableUntil: expiresAt + STALE_MS,
        failures: 0,
      });
      return outcome.to;
    }
    const failures = (before?.failures ?? 0) + 1;
    const nextAt = now + Math.min(FIRST_FAILURE_MS * 2 ** Math.min(failures - 1, 10), LONGEST_FAILURE_MS);
    const isUsable = outcome.kind === 'unavailable' && before !== undefined && now < before.usableUntil;
    const delegate = isUsable ? before.delegate : undefined;
    this.#kept.set(key, {
      delegate,
      askedAt: now,
      renewAt: nextAt,
      expiresAt: nextAt,
      usableUntil: delegate === undefined || before === undefined ? 0 : before.usableUntil,
      failures,
    });
    return delegate;
  }

  async #fetch(host: string): Promise<Outcome> {
    let answer: HttpAnswer;
    try {
      answer = await this.#http.get(`https://${host}/.well-known/matrix/server`, {
        headers: { accept: 'application/json' },
        maxBytes: MAX_BYTES,
        maxRedirects: MAX_REDIRECTS,
        timeoutMs: TIMEOUT_MS,
        secureOnly: true,
      });
    } catch (error) {
      if (!(error instanceof OutboundError)) throw error;
      const isAnswer = error.kind === 'malformed' || error.kind === 'too-large' || error.kind === 'denied';
      return { kind: isAnswer ? 'none' : 'unavailable' };
    }
    if (answer.status >= 500 || answer.status === 429) return { kind: 'unavailable' };
    const to = answer.status === 200 ? readDelegate(answer.body) : undefined;
    if (to === undefined) return { kind: 'none' };
    return { kind: 'delegated', to, ttlMs: this.#ttlOf(answer.headers) };
  }

  #ttlOf(headers: HttpAnswer['headers']): number {
    const given = readFreshness(headers, this.#clock.now());
    // Where nobody says, chance keeps all that were learnt at one time from expiring at one time.
    const ttl = given ?? DEFAULT_TTL_MS * (0.9 + this.#random.bytes(1).readUInt8() / 1280);
    return Math.min(Math.max(ttl, SHORTEST_TTL_MS), LONGEST_TTL_MS);
  }
}

/** The `m.server` of the file; undefined where it is not valid. Its content type means nothing (spec: GET /.well-known/matrix/server). */
function readDelegate(body: Buffer): ServerName | undefined {
  let json: unknown;
  try {
    json = parseJson(body);
  } catch (error) {
    if (error instanceof MatrixError) return undefined;
    throw error;
  }
  const name = isJsonObject(json) && Object.hasOwn(json, 'm.server') ? json['m.server'] : undefined;
  if (typeof name !== 'string' || !isServerName(name)) return undefined;
  return parseServerAddress(name) === undefined ? undefined : name;
}

/** How long an answer says that it is fresh, ms (RFC 9111, section 4.2.1); undefined where it does not. */
export function readFreshness(headers: Readonly<Record<string, string | undefined>>, now: number): number | undefined {
  const directives = new Map<string, string>();
  for (const part of (headers['cache-control'] ?? '').split(',')) {
    const [name = '', value = ''] = part.trim().split('=', 2);
    directives.set(name.toLowerCase(), value.replaceAll('"', ''));
  }
  if (directives.has('no-store') || directives.has('no-cache')) return 0;
  const maxAge = directives.get('max-age');
  if (maxAge !== undefined && /^\d{1,15}$/.test(maxAge)) {
    const age = headers['age'];
    const spent = age !== undefined && /^\d{1,15}$/.test(age) ? Number(age) : 0;
    return Math.max(0, Number(maxAge) - spent) * 1000;
  }
  const expires = headers['expires'];
  if (expires === undefined) return undefined;
  // By the standard, a time that cannot be read is one in the past.
  const at = Date.parse(expires);
  return Number.isNaN(at) ? 0 : Math.max(0, at - now);
}
