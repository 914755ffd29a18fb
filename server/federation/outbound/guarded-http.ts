import { buffer } from 'node:stream/consumers';
import type { Readable } from 'node:stream';
import type { JsonObject } from '../../matrix/json.ts';
import type { Target } from './connector.ts';
import type { OutboundRequest } from './exchange.ts';
import { OutboundError } from './outbound-error.ts';
import type { Outbound } from './outbound.ts';

export interface HttpOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** For everything, redirects included, ms; 30 s unless told. */
  readonly timeoutMs?: number;
  /** Largest body, bytes; 1 MiB unless told. */
  readonly maxBytes?: number;
  /** How many redirects are followed; 5 unless told, 0 gives the redirect itself. */
  readonly maxRedirects?: number;
  /** Only https: addresses, redirects included. */
  readonly secureOnly?: boolean;
  readonly signal?: AbortSignal;
}

/** An answer as a stream. Its body must be read or destroyed. */
export interface HttpStream {
  /** Where it came from in the end. */
  readonly url: URL;
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Readable;
}

/** A whole answer. */
export interface HttpAnswer extends Omit<HttpStream, 'body'> {
  readonly body: Buffer;
}

/**
 * HTTP to addresses that came from outside: each hop of a redirect is checked against the deny list like the first, and time
 * and size are bounded. Whatever status comes is an answer; all else is an `OutboundError`.
 */
export interface GuardedHttp {
  get(url: string | URL, options?: HttpOptions): Promise<HttpAnswer>;
  /** Posts JSON, or bytes with the content-type given among the headers. A redirect is followed only with 307 or 308. */
  post(url: string | URL, body: JsonObject | Uint8Array, options?: HttpOptions): Promise<HttpAnswer>;
  /** As `post`, with the method PUT. */
  put(url: string | URL, body: JsonObject | Uint8Array, options?: HttpOptions): Promise<HttpAnswer>;
  /** As `get`, for what is not to be held in memory. */
  open(url: string | URL, options?: HttpOptions): Promise<HttpStream>;
}

interface Body {
  readonly type: string;
  readonly bytes: string | Uint8Array;
}

const TIMEOUT_MS = 30_000;
const MAX_BYTES = 1024 * 1024;
const MAX_REDIRECTS = 5;
const MAX_URL_LENGTH = 8192;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** What must not be told to whomever a redirect names. */
const CONFIDENTIAL = new Set(['authorization', 'cookie', 'proxy-authorization']);

/** HTTP over `outbound`, by its deny list, proxies and certificates. */
export function createGuardedHttp({
  outbound,
  clock,
}: {
  outbound: Outbound;
  clock: { monotonic(): number };
}): GuardedHttp {
  const send = async (
    method: 'GET' | 'POST' | 'PUT',
    url: string | URL,
    body: Body | undefined,
    options: HttpOptions,
  ) => {
    const end = clock.monotonic() + (options.timeoutMs ?? TIMEOUT_MS);
    let at = readUrl(url, undefined, options);
    let headers = Object.fromEntries(
      Object.entries(options.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]),
    );
    if (body !== undefined) headers = { 'content-type': body.type, ...headers };
    for (let redirects = 0; ; redirects += 1) {
      const request: OutboundRequest = {
        method,
        path: at.pathname + at.search,
        headers: { accept: '*/*', ...headers, host: at.host },
        body: body?.bytes,
        timeoutMs: Math.max(1, end - clock.monotonic()),
        maxBytes: options.maxBytes ?? MAX_BYTES,
        signal: options.signal,
      };
      const answer = await outbound.send(targetOf(at), request);
      const { location } = answer.headers;
      const isFollowed = REDIRECTS.has(answer.status) && location !== undefined && options.maxRedirects !== 0;
      // Other redirects of a POST are asked for as a GET by browsers: nobody here wants such an answer.
      if (!isFollowed || (method !== 'GET' && answer.status < 307)) return { url: at, ...answer };
      answer.body.destroy();
      if (redirects >= (options.maxRedirects ?? MAX_REDIRECTS)) {
        throw new OutboundError('malformed', `${at.host} leads from one redirect to the next`);
      }
      const next = readUrl(location, at, options);
      if (next.origin !== at.origin) {
        headers = Object.fromEntries(Object.entries(headers).filter(([name]) => !CONFIDENTIAL.has(name)));
      }
      at = next;
    }
  };
  const readAll = async ({ body, ...head }: HttpStream): Promise<HttpAnswer> => ({ ...head, body: await buffer(body) });
  return {
    get: async (url, options = {}) => readAll(await send('GET', url, undefined, options)),
    post: async (url, body, options = {}) => readAll(await send('POST', url, toBody(body), options)),
    put: async (url, body, options = {}) => readAll(await send('PUT', url, toBody(body), options)),
    open: (url, options = {}) => send('GET', url, undefined, options),
  };
}

function toBody(body: JsonObject | Uint8Array): Body {
  return body instanceof Uint8Array
    ? { type: 'application/octet-stream', bytes: body }
    : { type: 'application/json', bytes: JSON.stringify(body) };
}

function readUrl(text: string | URL, base: URL | undefined, { secureOnly = false }: HttpOptions): URL {
  const url = String(text).length > MAX_URL_LENGTH ? null : URL.parse(String(text), base?.href);
  const isHttp = url?.protocol === 'https:' || (url?.protocol === 'http:' && !secureOnly);
  // A name and password in an address are there to deceive more often than not.
  if (url === null || !isHttp || url.username !== '' || url.password !== '') {
    throw new OutboundError(
      'malformed',
      base === undefined ? 'this is no web address' : 'a redirect leads to no web address',
    );
  }
  return url;
}

function targetOf({ protocol, hostname, port, origin }: URL): Target {
  const secure = protocol === 'https:';
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  return {
    key: origin,
    secure,
    endpoints: [{ host, port: port === '' ? (secure ? 443 : 80) : Number(port) }],
    tlsName: host,
  };
}
