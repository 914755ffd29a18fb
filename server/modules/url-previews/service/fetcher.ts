import { isIP } from 'node:net';
import { pipeline, type Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip } from 'node:zlib';
import type { GuardedHttp, HttpStream } from '../../../federation/outbound/guarded-http.ts';
import { OutboundError } from '../../../federation/outbound/outbound-error.ts';
import { MatrixError } from '../../../matrix/errors.ts';
import type { Clock } from '../../../util/clock.ts';
import type { BlockList } from './block-list.ts';
import { isPortForOthers } from './ports.ts';

export interface FetchOptions {
  /** The media types that are wanted, as the header Accept names them. */
  readonly accept: string;
  /** Both as it travels and unpacked. */
  readonly maxBytes: number;
  /** When it must be there in whole, on the monotonic clock, ms. */
  readonly end: number;
  readonly signal: AbortSignal;
}

/** Something on the web. Its content must be read or it be closed. */
export interface Found {
  /** Where it is in the end. */
  readonly url: URL;
  /** Its Content-Type. */
  readonly type: string;
  /** Lower-case names. */
  readonly headers: HttpStream['headers'];
  /** Unpacked. Fails with a `MatrixError`. */
  readonly content: AsyncIterable<Buffer>;
  close(): void;
}

interface FetcherNeeds {
  readonly clock: Clock;
  readonly http: Pick<GuardedHttp, 'open'>;
  readonly blocked: BlockList;
  readonly acceptLanguage: readonly string[];
}

const MAX_REDIRECTS = 8;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** For one address with all that it leads to, ms. */
const FETCH_MS = 20_000;
// Some sites tell only those who call themselves a bot what their pages are about.
const USER_AGENT = 'Hearth (bot)';
const ANY_TYPE = 'application/octet-stream';

/** Fetches what is behind links. Every address on the way is checked, not only the first. */
export class Fetcher {
  readonly #needs: FetcherNeeds;

  constructor(needs: FetcherNeeds) {
    this.#needs = needs;
  }

  /**
   * Throws M_UNKNOWN: 400 for what is no web address, 403 where it leads to what is forbidden, 502 or 504 where it leads to
   * nothing; M_TOO_LARGE (502).
   */
  async open(url: URL, options: FetchOptions): Promise<Found> {
    const { http, clock, acceptLanguage } = this.#needs;
    const end = Math.min(options.end, clock.monotonic() + FETCH_MS);
    let at = url;
    for (let redirects = 0; ; redirects += 1) {
      this.check(at);
      const answer = await http
        .open(at, {
          headers: {
            accept: options.accept,
            'accept-encoding': 'gzip, br',
            'accept-language': acceptLanguage.join(','),
            'user-agent': USER_AGENT,
          },
          timeoutMs: Math.max(1, end - clock.monotonic()),
          maxBytes: options.maxBytes,
          maxRedirects: 0,
          signal: options.signal,
        })
        .catch((error: unknown) => {
          throw refusalOf(error, at);
        });
      const next = REDIRECTS.has(answer.status) ? answer.headers['location'] : undefined;
      if (next === undefined) return this.#found(at, answer, options);
      answer.body.destroy();
      if (redirects >= MAX_REDIRECTS) throw unavailable('The address leads from one redirect to the next');
      const followed = URL.parse(next, at.href);
      if (followed === null) throw unavailable('The address leads to none');
      at = followed;
    }
  }

  /** Throws M_UNKNOWN (400, 403) for an address that is not asked for. */
  check(url: URL): void {
    if (url.protocol !== 'http:' && url.protocol !== 'https:') {
      throw new MatrixError('M_UNKNOWN', 'Only web pages have previews', { status: 400 });
    }
    if (this.#needs.blocked.holds(url)) throw refused('The address is one that this server does not preview');
    // They are there to deceive more often than not, and what is behind them is not for all who see the preview.
    if (url.username !== '' || url.password !== '') throw refused('Addresses with a name or password have no preview');
    if (isPortForOthers(url.port)) throw refused('The port is one of another protocol');
  }

  #found(url: URL, { status, headers, body }: HttpStream, { maxBytes }: FetchOptions): Found {
    if (status < 200 || status > 299) {
      body.destroy();
      throw unavailable(`The page answers with HTTP ${status}`);
    }
    const content = unpacked(body, headers['content-encoding'], maxBytes);
    return {
      url,
      type: headers['content-type'] ?? ANY_TYPE,
      headers,
      content: translated(content, url),
      close: () => void body.destroy(),
    };
  }
}

export function unavailable(message: string, status: 502 | 504 = 502): MatrixError {
  return new MatrixError('M_UNKNOWN', message, { status });
}

export function tooLargeThere(): MatrixError {
  return new MatrixError('M_TOO_LARGE', 'What is behind the address is too large', { status: 502 });
}

function refused(message: string): MatrixError {
  return new MatrixError('M_UNKNOWN', message, { status: 403 });
}

async function* translated(content: AsyncIterable<Buffer>, url: URL): AsyncGenerator<Buffer, void, undefined> {
  try {
    yield* content;
  } catch (error) {
    throw refusalOf(error, url);
  }
}

async function* unpacked(
  body: Readable,
  header: string | undefined,
  maxBytes: number,
): AsyncGenerator<Buffer, void, undefined> {
  let bytes = 0;
  for await (const chunk of unpackerOf(body, header)) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw tooLargeThere();
    yield chunk;
  }
}

function unpackerOf(body: Readable, header: string | undefined): AsyncIterable<Buffer> {
  const encoding = header?.trim().toLowerCase() ?? '';
  if (encoding === '' || encoding === 'identity') return body;
  const isGzip = encoding === 'gzip' || encoding === 'x-gzip';
  // Packed twice, or in a way that was not asked for.
  if (!isGzip && encoding !== 'br') throw unavailable('The page is packed in a way that was not asked for');
  const unpack = isGzip ? createGunzip() : createBrotliDecompress();
  // Whatever fails destroys the end that is read here, which tells.
  return pipeline(body, unpack, () => {});
}

/** What a client is told of a failure. What is our own fault stays what it is. */
function refusalOf(error: unknown, { hostname }: URL): unknown {
  if (error instanceof OutboundError) {
    switch (error.kind) {
      case 'denied':
        // Of a name, no more is told than that it leads nowhere.
        return isIP(hostname.replace(/^\[(.*)\]$/, '$1')) === 0
          ? unavailable('The address leads nowhere')
          : refused('The address is one that this server does not ask');
      case 'too-large':
        return tooLargeThere();
      case 'timeout':
      case 'too-slow':
        return unavailable('The page takes too long to answer', 504);
      default:
        return unavailable('The address leads nowhere');
    }
  }
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (/^(?:Z_|ERR_BROTLI|ERR__ERROR|ERR_PADDING)/.test(code)) return unavailable('The page is packed wrongly');
  return error;
}
