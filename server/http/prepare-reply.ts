import { Readable } from 'node:stream';

import { Reply } from './route.ts';

/** A reply that only has to be written: headers in lower case, the body as bytes, text or a stream of bytes. */
export interface PreparedReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly payload: string | Buffer | Readable;
}

/**
 * Turns what a handler returned (a `Reply`, or an object to be sent as JSON) into what is written, with the headers that
 * belong to its kind unless it brings them. Throws where the object has no JSON form.
 */
export function prepareReply(result: object): PreparedReply {
  const { status, headers, body } = result instanceof Reply ? result : { status: 200, headers: {}, body: result };
  const own = lowerCase(headers);
  if (body instanceof Readable) {
    // It may fail while the commit is waited for, when nobody looks; whoever sends it asks for `errored` first.
    body.on('error', () => {});
    return { status, headers: { 'content-type': 'application/octet-stream', ...own }, payload: body };
  }
  if (Buffer.isBuffer(body)) {
    return { status, headers: { 'content-type': 'application/octet-stream', ...own }, payload: body };
  }
  // What one user may see, a cache must not show to the next.
  if (typeof body === 'string') {
    const usual = { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' };
    return { status, headers: { ...usual, ...own }, payload: body };
  }
  const payload: string | undefined = JSON.stringify(body);
  if (payload === undefined) throw new TypeError('a handler returned nothing');
  return { status, headers: { 'content-type': 'application/json', 'cache-control': 'no-store', ...own }, payload };
}

function lowerCase(headers: Readonly<Record<string, string>>): Record<string, string> {
  const lowered: Record<string, string> = {};
  for (const name in headers) lowered[name.toLowerCase()] = headers[name] ?? '';
  return lowered;
}
