import type { Context } from 'koa';
import compress from 'koa-compress';
import { Readable } from 'node:stream';
import { constants } from 'node:zlib';

import { protect } from './headers.ts';
import type { PreparedReply } from './prepare-reply.ts';

/** Smaller bodies cost more to compress than to send. Bytes. */
const COMPRESS_FROM = 1024;
/** Larger bodies may not fit the socket's buffer, so a client can stop reading them; streams likewise. Bytes. */
const LARGE_PAYLOAD = 64 * 1024;
/** How long a client may take to read anything at all of a large reply, in milliseconds. */
const WRITE_STALL_MS = 120_000;

const compressBody = compress({
  threshold: COMPRESS_FROM,
  br: { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } },
  gzip: {},
  deflate: false,
  zstd: false,
});
const nothingNext = async (): Promise<void> => {};

export interface SendOptions {
  readonly compress: boolean;
  /** What is sent instead of a reply that turned out to be impossible. */
  refuse(error: unknown): PreparedReply;
  /** Is told when it is too late for that. */
  brokeOff(error: Error): void;
}

/** Writes a reply, or another in its place; a stream goes on after this has returned. */
export async function sendReply(ctx: Context, reply: PreparedReply, options: SendOptions): Promise<void> {
  try {
    writeHead(ctx, reply);
    protect(ctx.res);
  } catch (error) {
    // A header that cannot be written, say.
    discardReply(reply);
    writeInstead(ctx, reply, options.refuse(error));
    return;
  }
  const { payload } = reply;
  if (payload instanceof Readable) {
    stream(ctx, reply, payload, options);
    return;
  }
  ctx.body = payload;
  if (payload.length > LARGE_PAYLOAD) ctx.req.socket.setTimeout(WRITE_STALL_MS);
  if (payload.length >= COMPRESS_FROM && options.compress) await compressBody(ctx, nothingNext);
}

/** Lets go of a reply that will not be sent. */
export function discardReply({ payload }: PreparedReply): void {
  if (payload instanceof Readable) payload.destroy();
}

function writeHead(ctx: Context, { status, headers }: PreparedReply): void {
  for (const name in headers) ctx.res.setHeader(name, headers[name] ?? '');
  ctx.status = status;
}

/** Ends the response with another reply; the headers that every reply has stay. */
function writeInstead(ctx: Context, withdrawn: PreparedReply, { payload, ...head }: PreparedReply): void {
  for (const name in withdrawn.headers) ctx.res.removeHeader(name);
  writeHead(ctx, { payload, ...head });
  protect(ctx.res);
  ctx.respond = false;
  ctx.res.end(payload);
}

/** Not left to Koa: a stream that fails before its first byte shall be an error like any other. */
function stream(ctx: Context, reply: PreparedReply, payload: Readable, options: SendOptions): void {
  const { req, res } = ctx;
  ctx.respond = false;
  const fail = (error: Error): void => {
    if (!res.headersSent) {
      writeInstead(ctx, reply, options.refuse(error));
      return;
    }
    options.brokeOff(error);
    res.destroy();
  };
  if (payload.errored !== null) {
    fail(payload.errored);
  } else if (res.destroyed || req.method === 'HEAD') {
    payload.destroy();
    res.end();
  } else {
    req.socket.setTimeout(WRITE_STALL_MS);
    payload.once('error', fail);
    res.once('close', () => payload.destroy());
    payload.pipe(res);
  }
}
