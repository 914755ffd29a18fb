import type { GuardedHttp, HttpAnswer, HttpOptions } from '../../../federation/outbound/guarded-http.ts';
import { OutboundError } from '../../../federation/outbound/outbound-error.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { Clock } from '../../../util/clock.ts';
import type { Registration } from './registry.ts';

/** How long an application service may take for a transaction, ms. */
const TRANSACTION_TIMEOUT_MS = 60_000;
/** How long for a question that somebody waits for, ms. */
const QUERY_TIMEOUT_MS = 15_000;
/** Spec: "Querying": it is to be asked several times. */
const QUERY_TRIES = 3;
const QUERY_PAUSE_MS = 300;
/** How long one that does not answer is not asked anything else, ms. */
const SILENCE_MS = 30_000;
/** How long it is remembered that only the old path of an operation is known there, ms. */
const LEGACY_MS = 3_600_000;
/** Largest answer, bytes. */
const MAX_BYTES = 4 * 1024 * 1024;

/** The operations of the application service API, with the paths they once had (spec: "Legacy routes"). */
const PATHS = {
  transactions: ['/_matrix/app/v1/transactions/', '/transactions/'],
  users: ['/_matrix/app/v1/users/', '/users/'],
  rooms: ['/_matrix/app/v1/rooms/', '/rooms/'],
  thirdparty: ['/_matrix/app/v1/thirdparty/', '/_matrix/app/unstable/thirdparty/'],
  ping: ['/_matrix/app/v1/ping', undefined],
} as const;
type Operation = keyof typeof PATHS;

interface Message {
  readonly method: 'GET' | 'PUT' | 'POST';
  readonly operation: Operation;
  /** What follows in the path, escaped. */
  readonly rest: string;
  readonly query?: URLSearchParams;
  readonly body?: string;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** What became of a question. */
export type QueryOutcome =
  | { readonly kind: 'answer'; readonly status: number; readonly body: JsonValue | undefined }
  | { readonly kind: 'silence' };

/** Speaks to one application service (spec: "Homeserver -> Application Service API"). */
export class AppserviceClient {
  readonly #http: GuardedHttp;
  readonly #clock: Clock;
  readonly #registration: Registration & { readonly url: string };
  readonly #tokenInAddress: boolean;
  /** Operations known there by their old path only, until then (monotonic, ms). */
  readonly #legacy = new Map<Operation, number>();
  /** Not asked anything until then (monotonic, ms). */
  #silentUntil = Number.NEGATIVE_INFINITY;

  constructor(needs: {
    readonly http: GuardedHttp;
    readonly clock: Clock;
    readonly registration: Registration & { readonly url: string };
    readonly tokenInAddress: boolean;
  }) {
    this.#http = needs.http;
    this.#clock = needs.clock;
    this.#registration = needs.registration;
    this.#tokenInAddress = needs.tokenInAddress;
  }

  /** Sends a transaction; gives the status of the answer. Rejects with an `OutboundError` where there is none. */
  async sendTransaction(number: number, body: string, signal: AbortSignal): Promise<number> {
    const { status } = await this.#send({
      method: 'PUT',
      operation: 'transactions',
      rest: String(number),
      body,
      timeoutMs: TRANSACTION_TIMEOUT_MS,
      signal,
    });
    this.#silentUntil = Number.NEGATIVE_INFINITY;
    return status;
  }

  /** One try, whatever was found out before. Rejects with an `OutboundError` where there is no answer. */
  ping(body: JsonObject): Promise<HttpAnswer> {
    return this.#send({
      method: 'POST',
      operation: 'ping',
      rest: '',
      body: JSON.stringify(body),
      timeoutMs: QUERY_TIMEOUT_MS,
    });
  }

  /** Asks something that somebody waits for; several times where there is no answer. Never rejects. */
  async query(
    operation: 'users' | 'rooms' | 'thirdparty',
    rest: string,
    query?: URLSearchParams,
  ): Promise<QueryOutcome> {
    for (let tries = 1; this.#clock.monotonic() >= this.#silentUntil; tries += 1) {
      try {
        const answer = await this.#send({
          method: 'GET',
          operation,
          rest,
          timeoutMs: QUERY_TIMEOUT_MS,
          ...(query === undefined ? {} : { query }),
        });
        return { kind: 'answer', status: answer.status, body: parse(answer) };
      } catch (error) {
        if (!(error instanceof OutboundError)) throw error;
        const isOver = error.kind === 'timeout' || error.kind === 'aborted' || tries >= QUERY_TRIES;
        if (isOver) {
          this.#silentUntil = this.#clock.monotonic() + SILENCE_MS;
          break;
        }
        await new Promise<void>((resolve) => this.#clock.after(QUERY_PAUSE_MS, resolve));
      }
    }
    return { kind: 'silence' };
  }

  async #send(message: Message): Promise<HttpAnswer> {
    const { operation } = message;
    const [path, legacyPath] = PATHS[operation];
    const isLegacy = (this.#legacy.get(operation) ?? 0) > this.#clock.monotonic();
    if (legacyPath === undefined) return this.#sendTo(path, message);
    if (!isLegacy) {
      const answer = await this.#sendTo(path, message);
      if (!isUnknownPath(answer)) return answer;
    }
    const answer = await this.#sendTo(legacyPath, message);
    if (!isUnknownPath(answer)) {
      if (!isLegacy) this.#legacy.set(operation, this.#clock.monotonic() + LEGACY_MS);
    } else this.#legacy.delete(operation);
    return answer;
  }

  #sendTo(path: string, { method, rest, query, body, timeoutMs, signal }: Message): Promise<HttpAnswer> {
    const { url: base, hsToken } = this.#registration;
    const url = new URL(`${base.replace(/\/+$/, '')}${path}${rest}`);
    for (const [name, value] of query ?? []) url.searchParams.append(name, value);
    if (this.#tokenInAddress) url.searchParams.set('access_token', hsToken);
    const options: HttpOptions = {
      headers: {
        authorization: `Bearer ${hsToken}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      timeoutMs,
      maxBytes: MAX_BYTES,
      maxRedirects: 0,
      ...(signal === undefined ? {} : { signal }),
    };
    if (method === 'GET') return this.#http.get(url, options);
    const bytes = Buffer.from(body ?? '');
    return method === 'PUT' ? this.#http.put(url, bytes, options) : this.#http.post(url, bytes, options);
  }
}

function parse({ body }: HttpAnswer): JsonValue | undefined {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Whether there is no such operation there, as opposed to no such user or alias. */
function isUnknownPath(answer: HttpAnswer): boolean {
  if (answer.status === 405 || answer.status === 501) return true;
  if (answer.status !== 404) return false;
  const body = parse(answer);
  const errcode = isJsonObject(body) ? body['errcode'] : undefined;
  return errcode === undefined ? !isJsonObject(body) : errcode === 'M_UNRECOGNIZED';
}
