import { readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import type { CustomScheme } from 'electron';
import { API_PREFIX } from './control-client.ts';
import { failureFiles } from './failure-page.ts';
import { isMissing } from './files.ts';
import { strings } from './strings.ts';
import type { ServerState } from './contract.ts';

/** The page's address: of a scheme that no other program and no web page can open. */
export const PAGE_ORIGIN = 'hearth://app';

export const SCHEME: CustomScheme = {
  scheme: 'hearth',
  privileges: { standard: true, secure: true, supportFetchAPI: true, stream: true, codeCache: true },
};

export const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.json': 'application/json',
  '.webmanifest': 'application/manifest+json',
};

interface PageParts {
  readonly pages: string;
  readonly token: string;
  readonly fetch: typeof fetch;
  /** Where the control API answers at the moment. */
  readonly controlUrl: () => string | undefined;
  readonly serverState: () => ServerState;
}

/**
 * Answers the page's requests: its files, and the calls of the control API, which are passed on with the token that the
 * page itself never sees.
 */
export function createPageHandler(parts: PageParts): (request: Request) => Promise<Response> {
  return async (request) => {
    const url = new URL(request.url);
    if (url.host !== 'app') return refuse(404, 'M_NOT_FOUND', 'There is no such address');
    if (url.pathname === API_PREFIX || url.pathname.startsWith(`${API_PREFIX}/`)) return passOn(parts, request, url);
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return refuse(405, 'M_UNRECOGNIZED', 'Files can only be read');
    }
    const own = failureFiles(url.pathname, parts.serverState());
    if (own !== undefined) return page(own.type, own.body);
    return file(parts.pages, url.pathname);
  };
}

async function passOn({ token, fetch, controlUrl }: PageParts, request: Request, url: URL): Promise<Response> {
  const origin = request.headers.get('origin');
  if (origin !== null && origin !== PAGE_ORIGIN) return refuse(403, 'M_FORBIDDEN', 'Only the page itself calls this');
  const base = controlUrl();
  if (base === undefined) return refuse(502, 'M_UNKNOWN', strings.server.away);
  const headers = new Headers({ authorization: `Bearer ${token}` });
  for (const name of ['content-type', 'accept']) {
    const value = request.headers.get(name);
    if (value !== null) headers.set(name, value);
  }
  const end = new AbortController();
  const abort = (): void => end.abort();
  request.signal.addEventListener('abort', abort, { once: true });
  try {
    const answer = await fetch(`${base}${url.pathname}${url.search}`, {
      method: request.method,
      headers,
      signal: end.signal,
      redirect: 'error',
      ...(request.body === null ? {} : { body: await request.arrayBuffer() }),
    });
    const passed = new Headers({ 'x-content-type-options': 'nosniff', 'content-security-policy': CSP });
    for (const name of ['content-type', 'cache-control', 'retry-after', 'content-disposition']) {
      const value = answer.headers.get(name);
      if (value !== null) passed.set(name, value);
    }
    return new Response(answer.body, { status: answer.status, headers: passed });
  } catch (error) {
    if (end.signal.aborted) throw error;
    return refuse(502, 'M_UNKNOWN', strings.server.away);
  }
}

async function file(directory: string, pathname: string): Promise<Response> {
  const name = pathname === '/' ? 'index.html' : decode(pathname)?.slice(1);
  // One folder deep and plain names only: nothing that leads elsewhere can be written so.
  if (name === undefined || !/^(?:[\w-][\w.-]*\/)?[\w-][\w.-]*$/.test(name)) {
    return refuse(404, 'M_NOT_FOUND', 'There is no such file');
  }
  const type = TYPES[extname(name)];
  if (type === undefined) return refuse(404, 'M_NOT_FOUND', 'There is no such file');
  try {
    return page(type, await readFile(join(directory, name)));
  } catch (error) {
    if (!isMissing(error)) throw error;
    return refuse(404, 'M_NOT_FOUND', 'There is no such file');
  }
}

function decode(pathname: string): string | undefined {
  try {
    return decodeURIComponent(pathname);
  } catch {
    return undefined;
  }
}

function page(type: string, body: string | Uint8Array<ArrayBuffer>): Response {
  return new Response(body, {
    headers: {
      'content-type': type,
      'cache-control': 'no-cache',
      'content-security-policy': CSP,
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
    },
  });
}

function refuse(status: number, errcode: string, error: string): Response {
  return Response.json({ errcode, error }, { status, headers: { 'content-security-policy': CSP } });
}
