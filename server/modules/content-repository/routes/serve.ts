import { Readable } from 'node:stream';
import { Reply } from '../../../http/route.ts';
import type { Random } from '../../../util/random.ts';
import type { OpenFile } from '../service/media-files.ts';
import { writeMultipart } from '../service/multipart.ts';

/** Content to be sent. `open` is closed once it is, or is not to be. */
export interface ServedContent {
  readonly open: OpenFile;
  /** Its SHA-256. */
  readonly file: Buffer;
  readonly type: string;
  readonly disposition: string;
}

export interface ServeOptions {
  /** The request's headers, lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Whether it was only to be had with a token: then no cache but the client's own may keep it. */
  readonly isPrivate: boolean;
}

/** What is read from disk at a time, bytes. */
const CHUNK_BYTES = 128 * 1024;
/** What an address holds never changes; but it may be removed, so nobody keeps it for good. Seconds. */
const MAX_AGE = 86_400;

// Spec: "Content repository".
const CONTENT_SECURITY_POLICY =
  "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';";

/** Sends content to a client: all of it, a part (RFC 9110, section 14), or word that the client has it already. */
export async function serveContent(served: ServedContent, options: ServeOptions): Promise<Reply> {
  const { open, file, type, disposition } = served;
  const { bytes, handle } = open;
  const etag = `"${file.toString('base64url')}"`;
  const { headers: asked, isPrivate } = options;
  const kept = {
    etag,
    'cache-control': `${isPrivate ? 'private' : 'public'}, max-age=${MAX_AGE}, immutable`,
    'content-security-policy': CONTENT_SECURITY_POLICY,
    'cross-origin-resource-policy': 'cross-origin',
    'accept-ranges': 'bytes',
  };
  if (isMatched(asked['if-none-match'], etag)) {
    await handle.close();
    return new Reply({ status: 304, headers: kept, body: '' });
  }
  const headers = { ...kept, 'content-type': type, 'content-disposition': disposition };
  const ifRange = asked['if-range'];
  const range = ifRange === undefined || ifRange === etag ? parseRange(asked['range'], bytes) : 'all';
  if (range === 'none') {
    await handle.close();
    return new Reply({
      status: 416,
      headers: { 'content-range': `bytes */${bytes}` },
      body: { errcode: 'M_INVALID_PARAM', error: 'There is no such part of this content' },
    });
  }
  if (range === 'all') {
    const body = handle.createReadStream({ highWaterMark: CHUNK_BYTES });
    return new Reply({ headers: { ...headers, 'content-length': String(bytes) }, body });
  }
  const { start, end } = range;
  return new Reply({
    status: 206,
    headers: {
      ...headers,
      'content-length': String(end - start + 1),
      'content-range': `bytes ${start}-${end}/${bytes}`,
    },
    body: handle.createReadStream({ start, end, highWaterMark: CHUNK_BYTES }),
  });
}

/** Sends content to another server (spec: server-server API, "Content Repository"). */
export function serveToServer({ open, type, disposition }: ServedContent, random: Random): Reply {
  const content = open.handle.createReadStream({ highWaterMark: CHUNK_BYTES });
  const { contentType, bytes, body } = writeMultipart(random, { type, disposition, bytes: open.bytes, content });
  const stream = Readable.from(body, { objectMode: false });
  // One that is never read never comes to the file, which would stay open.
  stream.once('close', () => content.destroy());
  return new Reply({ headers: { 'content-type': contentType, 'content-length': String(bytes) }, body: stream });
}

function isMatched(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.split(',').some((each) => each.trim() === '*' || each.trim().replace(/^W\//, '') === etag);
}

/** A part with both its first and last byte; all, also where several parts are asked for; none where it lies outside. */
function parseRange(header: string | undefined, bytes: number): { start: number; end: number } | 'all' | 'none' {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.replaceAll(/\s/g, '') ?? '');
  const [, first = '', last = ''] = match ?? [];
  if (match === null || (first === '' && last === '')) return 'all';
  if (first === '') {
    const length = Math.min(Number(last), bytes);
    return length === 0 ? 'none' : { start: bytes - length, end: bytes - 1 };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return 'all';
  if (start >= bytes) return 'none';
  return { start, end: last === '' ? bytes - 1 : Math.min(Number(last), bytes - 1) };
}
