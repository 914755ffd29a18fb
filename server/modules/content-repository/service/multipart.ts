/**
 * The form in which servers give media to one another: `multipart/mixed` with a part for JSON and a part for the content
 * (spec: server-server API, "Content Repository"; RFC 2046, section 5.1).
 */
import { randomString, type Random } from '../../../util/random.ts';

/** An answer that has not the form it must have. */
export class MultipartError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'MultipartError';
  }
}

/** What the second part begins with. Its content, if any, comes from `content`, once. */
export interface ContentPart {
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly content: AsyncIterable<Buffer>;
}

const MAX_PREAMBLE_BYTES = 8 * 1024;
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_JSON_BYTES = 64 * 1024;
const MAX_LINE_BYTES = 256;
const LINE_END = Buffer.from('\r\n');
const HEADERS_END = Buffer.from('\r\n\r\n');

/** What all parts but the content may have of bytes. */
export const MULTIPART_OVERHEAD_BYTES = MAX_PREAMBLE_BYTES + 2 * MAX_HEADER_BYTES + MAX_JSON_BYTES + 1024;

/** The boundary that a Content-Type of `multipart/mixed` names. Throws MultipartError. */
function boundaryOf(contentType: string | undefined): string {
  const match = /^multipart\/mixed\s*;(?:.*;)?\s*boundary\s*=\s*(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i.exec(
    contentType ?? '',
  );
  const boundary = match?.[1] ?? match?.[2];
  if (boundary === undefined) throw new MultipartError('the answer is not multipart/mixed');
  return boundary;
}

/** Reads as far as the content. Throws MultipartError, as does the content where it breaks off. */
export async function readMultipart(
  body: AsyncIterable<Buffer>,
  contentType: string | undefined,
): Promise<ContentPart> {
  const delimiter = Buffer.from(`\r\n--${boundaryOf(contentType)}`);
  const reader = new DelimitedReader(body);
  // The first boundary may stand at the very beginning.
  reader.putBack(LINE_END);
  await reader.readUntil(delimiter, MAX_PREAMBLE_BYTES);
  await readHeaders(reader);
  // What the JSON may say one day is not known yet; that it ends is enough.
  await reader.readUntil(delimiter, MAX_JSON_BYTES);
  const headers = await readHeaders(reader);
  return { headers, content: reader.streamUntil(delimiter) };
}

async function readHeaders(reader: DelimitedReader): Promise<Record<string, string>> {
  const rest = (await reader.readUntil(LINE_END, MAX_LINE_BYTES)).toString('latin1');
  if (rest.trim() !== '') throw new MultipartError('the answer has too few parts');
  // A part without headers begins with an empty line.
  reader.putBack(LINE_END);
  const lines = (await reader.readUntil(HEADERS_END, MAX_HEADER_BYTES)).toString('utf8').split('\r\n');
  const headers: Record<string, string> = Object.create(null);
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon > 0) headers[line.slice(0, colon).trim().toLowerCase()] = line.slice(colon + 1).trim();
  }
  return headers;
}

/** Reads a stream from one delimiter to the next. */
class DelimitedReader {
  readonly #source: AsyncIterator<Buffer>;
  #held: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  putBack(bytes: Buffer): void {
    this.#held = Buffer.concat([bytes, this.#held]);
  }

  async #fill(): Promise<void> {
    const next = await this.#source.next();
    if (next.done === true) throw new MultipartError('the answer broke off');
    this.#held = this.#held.length === 0 ? next.value : Buffer.concat([this.#held, next.value]);
  }

  /** What comes before `delimiter`, which is consumed. */
  async readUntil(delimiter: Buffer, maxBytes: number): Promise<Buffer> {
    for (;;) {
      const at = this.#held.indexOf(delimiter);
      if (at !== -1 && at <= maxBytes) {
        const found = this.#held.subarray(0, at);
        this.#held = this.#held.subarray(at + delimiter.length);
        return found;
      }
      if (this.#held.length > maxBytes + delimiter.length) throw new MultipartError('a part of the answer is too long');
      await this.#fill();
    }
  }

  /** The same in pieces as they come; leaving it early lets go of the source. */
  async *streamUntil(delimiter: Buffer): AsyncGenerator<Buffer, void, undefined> {
    try {
      for (;;) {
        const at = this.#held.indexOf(delimiter);
        if (at !== -1) {
          if (at > 0) yield this.#held.subarray(0, at);
          return;
        }
        // The end of what is here may be the beginning of the delimiter.
        const safe = this.#held.length - delimiter.length + 1;
        if (safe > 0) {
          yield this.#held.subarray(0, safe);
          this.#held = this.#held.subarray(safe);
        }
        await this.#fill();
      }
    } finally {
      await this.#source.return?.();
    }
  }
}

/** Content framed as `readMultipart` takes it, with the Content-Type and the length of the whole. */
export function writeMultipart(
  random: Random,
  part: {
    readonly type: string;
    readonly disposition: string;
    readonly bytes: number;
    readonly content: AsyncIterable<Buffer>;
  },
): { readonly contentType: string; readonly bytes: number; readonly body: AsyncIterable<Buffer> } {
  // Long enough that no content holds it by chance, and nobody can put it there who does not know it.
  const boundary = randomString(random, 40);
  const head = Buffer.from(
    `--${boundary}\r\nContent-Type: application/json\r\n\r\n{}\r\n--${boundary}\r\n` +
      `Content-Type: ${part.type}\r\nContent-Disposition: ${part.disposition}\r\n\r\n`,
  );
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`);
  async function* whole(): AsyncGenerator<Buffer, void, undefined> {
    yield head;
    yield* part.content;
    yield tail;
  }
  return {
    contentType: `multipart/mixed; boundary=${boundary}`,
    bytes: head.length + part.bytes + tail.length,
    body: whole(),
  };
}
