import { buffer } from 'node:stream/consumers';
import { parseJson } from '../../matrix/canonical-json.ts';
import { MatrixError } from '../../matrix/errors.ts';
import type { ServerName } from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonValue } from '../../matrix/json.ts';
import type { SigningKey } from '../../matrix/signing.ts';
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import type { Random } from '../../util/random.ts';
import { type Discovery, DiscoveryError, type ServerRoute } from '../discovery/discovery.ts';
import { FederationError } from '../errors.ts';
import type { OutboundAnswer } from '../outbound/exchange.ts';
import { OutboundError } from '../outbound/outbound-error.ts';
import type { Outbound } from '../outbound/outbound.ts';
import { bodyText, signRequest } from '../request-signing.ts';
import type { Destinations, FederationClient, FederationRequest, FederationResponse } from '../types.ts';
import { planRetries, readRetryAfter, type RetrySettings } from './retry.ts';

export interface ClientSettings extends RetrySettings {
  /** The only servers to have dealings with; undefined: all. */
  readonly allowedServers: readonly ServerName[] | undefined;
  /** For a whole answer, ms, where a request says nothing. */
  readonly timeoutMs: number;
}

export interface ClientNeeds {
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly discovery: Discovery;
  readonly outbound: Pick<Outbound, 'send'>;
  readonly destinations: Pick<Destinations, 'readyAt' | 'succeeded' | 'failed'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly settings: ClientSettings;
}

const MAX_BYTES = 10 * 1024 * 1024;
/** Of a refusal no more than this is read, bytes. */
const MAX_REFUSAL_BYTES = 64 * 1024;
/** An address longer than this reaches hardly any server, characters. */
const MAX_URI_LENGTH = 64 * 1024;

/** A request made ready to be sent. */
interface Prepared {
  readonly request: FederationRequest;
  readonly uri: string;
  readonly body: string | undefined;
  readonly authorization: string;
}

/** What one try came to, beyond the error it failed with. */
interface Failure {
  readonly error: FederationError;
  /** The server, or the way to it, is at fault: it is to be left alone for a while. */
  readonly isTrouble: boolean;
  /** Trying again soon is of no use. */
  readonly isFinal?: boolean;
  readonly retryAfterMs?: number | undefined;
}

/** Asks other servers, with every request signed. */
export function createFederationClient(needs: ClientNeeds): FederationClient {
  return new Client(needs);
}

class Client implements FederationClient {
  readonly #needs: ClientNeeds;
  readonly #allowed: ReadonlySet<ServerName> | undefined;

  constructor(needs: ClientNeeds) {
    this.#needs = needs;
    const { allowedServers } = needs.settings;
    this.#allowed = allowedServers === undefined ? undefined : new Set(allowedServers);
  }

  async request(request: FederationRequest): Promise<JsonValue> {
    return this.#ask(request, async ({ body }) => {
      const bytes = await buffer(body);
      try {
        return parseJson(bytes);
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
        throw new OutboundError('malformed', `the answer is not what JSON should be: ${error.message}`, {
          cause: error,
        });
      }
    });
  }

  async open(request: FederationRequest): Promise<FederationResponse> {
    return this.#ask(request, async (answer) => answer);
  }

  async #ask<Result>(request: FederationRequest, use: (answer: OutboundAnswer) => Promise<Result>): Promise<Result> {
    const { destinations, settings, random } = this.#needs;
    const { destination, signal } = request;
    this.#checkAllowed(request);
    const prepared = this.#prepare(request);
    const plan = planRetries(request.retries ?? 'none', settings, random);
    for (let failures = 1; ; failures += 1) {
      if (signal?.aborted === true) throw aborted(destination);
      const failure = await this.#try(prepared, use);
      if ('result' in failure) {
        destinations.succeeded(destination);
        return failure.result;
      }
      const { error, isTrouble, isFinal = !isTrouble, retryAfterMs } = failure;
      const wait = isFinal ? undefined : plan.waitAfter(failures, retryAfterMs);
      if (wait === undefined) {
        if (isTrouble) destinations.failed(destination, error.message);
        // A refusal is an answer too: whoever gives it is there.
        else if (error.kind === 'refused') destinations.succeeded(destination);
        this.#needs.log.debug(
          {
            destination,
            kind: error.kind,
            status: error.status,
            errcode: error.errcode,
            reason: error.message,
            failures,
          },
          'a request to another server failed',
        );
        throw error;
      }
      await this.#pause(wait, request);
    }
  }

  /** Throws where nothing may be sent. */
  #checkAllowed({ destination, ignoreBackoff = false }: FederationRequest): void {
    const { serverName, destinations, clock } = this.#needs;
    if (destination === serverName) {
      throw new FederationError('denied', destination, 'a server does not send requests to itself');
    }
    if (this.#allowed?.has(destination) === false) {
      throw new FederationError('denied', destination, `the configuration allows no dealings with ${destination}`);
    }
    if (!ignoreBackoff && destinations.readyAt(destination) > clock.now()) {
      throw new FederationError('backing-off', destination, `${destination} is left alone for a while after it failed`);
    }
  }

  #prepare(request: FederationRequest): Prepared {
    const { serverName: origin, signingKey } = this.#needs;
    const { destination, method, body: content } = request;
    const uri = request.path + queryText(request.query);
    if (uri.length > MAX_URI_LENGTH) throw new RangeError('the address of a request to another server is too long');
    // What is sent is, byte for byte, what was signed.
    const body = content === undefined ? undefined : bodyText(content);
    const authorization = signRequest({ method, uri, origin, destination, contentText: body }, signingKey);
    return { request, uri, body, authorization };
  }

  async #try<Result>(
    prepared: Prepared,
    use: (answer: OutboundAnswer) => Promise<Result>,
  ): Promise<{ readonly result: Result } | Failure> {
    const { destination, signal } = prepared.request;
    let route: ServerRoute | undefined;
    let answer: OutboundAnswer | undefined;
    try {
      const end = this.#needs.clock.monotonic() + (prepared.request.timeoutMs ?? this.#needs.settings.timeoutMs);
      route = await this.#findRoute(prepared.request);
      answer = await this.#send(prepared, route, end);
      if (answer.status < 200 || answer.status > 299) return await this.#readRefusal(destination, answer);
      return { result: await use(answer) };
    } catch (error) {
      if (error instanceof DiscoveryError) return trouble('unreachable', destination, error.message, error);
      if (!(error instanceof OutboundError)) throw error;
      if (signal?.aborted === true) return { error: aborted(destination, error), isTrouble: false };
      return this.#failureOf(error, destination, route, answer);
    }
  }

  #failureOf(
    error: OutboundError,
    destination: ServerName,
    route: ServerRoute | undefined,
    answer: OutboundAnswer | undefined,
  ): Failure {
    const { message } = error;
    switch (error.kind) {
      case 'unreachable':
      case 'timeout':
        if (route !== undefined && answer === undefined) this.#needs.discovery.doubt(destination, route);
        return trouble('unreachable', destination, `${destination} cannot be reached: ${message}`, error);
      case 'too-slow':
        return trouble('malformed', destination, `${destination}: ${message}`, error);
      case 'malformed':
        return { ...trouble('malformed', destination, `${destination}: ${message}`, error), isFinal: true };
      case 'too-large':
        // It is well, and says more than we can take.
        return { ...trouble('malformed', destination, `${destination}: ${message}`, error), isTrouble: false };
      case 'denied':
        return { ...trouble('denied', destination, message, error), isFinal: true };
      case 'aborted':
        return { error: aborted(destination, error), isTrouble: false };
    }
  }

  /** Where to send it; within the time the request has, for name servers may be slow. */
  async #findRoute({
    destination,
    signal,
    timeoutMs = this.#needs.settings.timeoutMs,
  }: FederationRequest): Promise<ServerRoute> {
    const { promise, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => reject(new OutboundError('aborted', 'the request was called off'));
    const onTimeout = (): void => reject(new OutboundError('timeout', 'it was not found out in time where it is'));
    const timer = this.#needs.clock.after(timeoutMs, onTimeout);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await Promise.race([this.#needs.discovery.find(destination), promise]);
    } finally {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  async #send(
    { request, uri, body, authorization }: Prepared,
    route: ServerRoute,
    end: number,
  ): Promise<OutboundAnswer> {
    const once = (): Promise<OutboundAnswer> =>
      this.#needs.outbound.send(route.target, {
        method: request.method,
        path: uri,
        headers: {
          host: route.hostHeader,
          accept: 'application/json',
          authorization,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        body,
        timeoutMs: Math.max(1, end - this.#needs.clock.monotonic()),
        maxBytes: request.maxBytes ?? MAX_BYTES,
        signal: request.signal,
      });
    try {
      return await once();
    } catch (error) {
      // A connection kept from before may be closed by the peer in the moment it is used. That says nothing of the server;
      // a GET or PUT may be sent twice.
      if (error instanceof OutboundError && error.connectionLost && request.method !== 'POST') return once();
      throw error;
    }
  }

  async #readRefusal(destination: ServerName, { status, headers, body }: OutboundAnswer): Promise<Failure> {
    const json = await readRefusalBody(body);
    const errcode = isJsonObject(json) && typeof json['errcode'] === 'string' ? json['errcode'] : undefined;
    const error = new FederationError('refused', destination, `${destination} refuses: HTTP ${status}`, {
      status,
      ...(errcode === undefined ? {} : { errcode }),
      ...(json === undefined ? {} : { body: json }),
    });
    const isBusy = status === 429;
    const askedMs = isBusy && isJsonObject(json) ? json['retry_after_ms'] : undefined;
    const retryAfterMs =
      readRetryAfter(headers['retry-after'], this.#needs.clock.now()) ??
      (typeof askedMs === 'number' && askedMs >= 0 ? askedMs : undefined);
    return {
      error,
      // One who limits us and says until when is well; one who does not say is left alone as if in trouble.
      isTrouble: status >= 500 || (isBusy && retryAfterMs === undefined),
      isFinal: status < 500 && !isBusy,
      retryAfterMs,
    };
  }

  /** Waits, unless whoever asked loses interest. */
  async #pause(waitMs: number, { destination, signal }: FederationRequest): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = this.#needs.clock.after(waitMs, resolve);
    const onAbort = (): void => reject(aborted(destination));
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await promise;
    } finally {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
    }
  }
}

function trouble(kind: FederationError['kind'], destination: ServerName, message: string, cause: unknown): Failure {
  return { error: new FederationError(kind, destination, message, { cause }), isTrouble: true };
}

function aborted(destination: ServerName, cause?: unknown): FederationError {
  return new FederationError('aborted', destination, 'the request was called off', { cause });
}

/** The JSON of a refusal; undefined where it is none, as proxies refuse in HTML, or where it does not arrive. */
async function readRefusalBody(body: OutboundAnswer['body']): Promise<JsonValue | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of body) {
      chunks.push(chunk);
      length += chunk.length;
      // Leaving the loop closes the connection: the rest is of no interest.
      if (length > MAX_REFUSAL_BYTES) return undefined;
    }
    return parseJson(Buffer.concat(chunks));
  } catch (error) {
    if (error instanceof MatrixError || (error instanceof OutboundError && error.kind !== 'aborted')) return undefined;
    throw error;
  }
}

/** `?…`, or nothing. Spaces become %20, which everybody reads the same way. */
function queryText(query: FederationRequest['query']): string {
  const parts = Object.entries(query ?? {}).flatMap(([name, value]) =>
    (value === undefined ? [] : isList(value) ? value : [String(value)]).map(
      (one) => `${encodeURIComponent(name)}=${encodeURIComponent(one)}`,
    ),
  );
  return parts.length === 0 ? '' : `?${parts.join('&')}`;
}

function isList(value: string | number | boolean | readonly string[]): value is readonly string[] {
  return Array.isArray(value);
}
