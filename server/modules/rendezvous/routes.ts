import type { Readable } from 'node:stream';
import type { RateLimit } from '../../http/rate-limit.ts';
import { Reply, route, type Route } from '../../http/route.ts';
import { Type } from '../../http/type.ts';
import { invalidParam, missingParam, notFound } from '../../matrix/errors.ts';
import type { RendezvousSession, RendezvousSessions } from './sessions.ts';

export interface RendezvousRouteNeeds {
  readonly sessions: RendezvousSessions;
  /** Where clients reach this server, with a slash at the end. */
  readonly publicBaseUrl: string;
  readonly limits: {
    /** Sessions opened from one address. */
    readonly opening: RateLimit;
    /** Anything else about sessions from one address: each of two devices behind it looks about once a second. */
    readonly using: RateLimit;
  };
}

/** The most a session holds, in bytes. */
const MAX_BYTES = 4 * 1024;
const PATH = '_matrix/client/unstable/org.matrix.msc4108/rendezvous';

type Headers = Readonly<Record<string, string | undefined>>;

/** A place where a new device and one that is signed in meet, before the new one has an account (MSC4108). */
export function rendezvousRoutes({ sessions, publicBaseUrl, limits }: RendezvousRouteNeeds): Route[] {
  const params = Type.Object({ id: Type.String() });
  const get = (id: string): RendezvousSession => {
    const session = sessions.find(id);
    if (session === undefined) throw notFound('There is no such session (any more)');
    return session;
  };
  return [
    route({
      method: 'POST',
      path: `/${PATH}`,
      auth: 'none',
      rawBody: true,
      bodyLimit: MAX_BYTES,
      handle: async ({ headers, bodyStream, ip }) => {
        limits.opening.check(ip);
        checkType(headers);
        const { id, session } = sessions.open(await readAll(bodyStream));
        const url = new URL(`${PATH}/${id}`, publicBaseUrl).href;
        return new Reply({ status: 201, headers: headersOf(session), body: { url } });
      },
    }),
    route({
      method: 'GET',
      path: `/${PATH}/:id`,
      auth: 'none',
      params,
      handle: ({ headers, params: { id }, ip }) => {
        limits.using.check(ip);
        const session = get(id);
        if (isNamedIn(headers['if-none-match'], session.etag)) {
          return new Reply({ status: 304, headers: headersOf(session), body: '' });
        }
        return new Reply({ headers: { ...headersOf(session), 'content-type': 'text/plain' }, body: session.data });
      },
    }),
    route({
      method: 'PUT',
      path: `/${PATH}/:id`,
      auth: 'none',
      params,
      rawBody: true,
      bodyLimit: MAX_BYTES,
      handle: async ({ headers, params: { id }, bodyStream, ip }) => {
        limits.using.check(ip);
        checkType(headers);
        const condition = headers['if-match'];
        if (condition === undefined) throw missingParam('The header If-Match is missing');
        const data = await readAll(bodyStream);
        const session = get(id);
        if (!isNamedIn(condition, session.etag)) {
          const told = {
            errcode: 'M_UNKNOWN',
            error: 'The other side has written meanwhile',
            'org.matrix.msc4108.errcode': 'M_CONCURRENT_WRITE',
          };
          return new Reply({ status: 412, headers: headersOf(session), body: told });
        }
        const changed = sessions.update(id, session, data);
        // A type, though there is nothing of it: some proxies take the ETag from replies without one.
        return new Reply({ status: 202, headers: { ...headersOf(changed), 'content-type': 'text/plain' }, body: '' });
      },
    }),
    route({
      method: 'DELETE',
      path: `/${PATH}/:id`,
      auth: 'none',
      params,
      handle: ({ params: { id }, ip }) => {
        limits.using.check(ip);
        if (!sessions.close(id)) throw notFound('There is no such session (any more)');
        return new Reply({ status: 204, body: '' });
      },
    }),
  ];
}

function headersOf({ etag, lastModified, expires }: RendezvousSession): Record<string, string> {
  return {
    etag,
    expires: new Date(expires).toUTCString(),
    'last-modified': new Date(lastModified).toUTCString(),
    'cache-control': 'no-store, no-transform',
    pragma: 'no-cache',
    'access-control-expose-headers': 'ETag, Expires, Last-Modified, Retry-After',
  };
}

function checkType(headers: Headers): void {
  const type = headers['content-type'];
  if (type === undefined) throw missingParam('The header Content-Type is missing');
  if (!/^text\/plain *(?:;|$)/i.test(type)) throw invalidParam('The header Content-Type must be text/plain');
}

/** Whether a condition in a header names a tag: it holds a list of them, or `*` for any. */
function isNamedIn(condition: string | undefined, etag: string): boolean {
  if (condition === undefined) return false;
  return condition.split(',').some((tag) => ['*', etag, `W/${etag}`].includes(tag.trim()));
}

async function readAll(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) if (Buffer.isBuffer(chunk)) chunks.push(chunk);
  return Buffer.concat(chunks);
}
