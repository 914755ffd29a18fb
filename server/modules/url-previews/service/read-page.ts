import { TextDecoder } from 'node:util';
import { Pace } from '../../../util/pace.ts';
import { type PageFacts, PageReader } from './page-reader.ts';

/** So many bytes say which encoding a page is in. */
const HEAD_BYTES = 4_096;
/** What is read at one stretch, characters; and for how long, ms. */
const PIECE = 4_096;
const SLICE_MS = 5;

/** Reads a page of a Content-Type as it comes. What comes after all that counts was seen is left unread. */
export async function readPage(
  content: AsyncIterable<Buffer>,
  type: string,
  clock: { monotonic(): number },
): Promise<PageFacts> {
  const reader = await PageReader.create();
  const pace = new Pace(clock, SLICE_MS);
  for await (const text of decoded(content, type)) {
    await writeInPieces(reader, text, pace);
    if (reader.isOver) break;
  }
  return reader.end();
}

/** Reads HTML that was part of something else. */
export async function readFragment(html: string, clock: { monotonic(): number }): Promise<PageFacts> {
  const reader = await PageReader.create();
  await writeInPieces(reader, html, new Pace(clock, SLICE_MS));
  return reader.end();
}

async function writeInPieces(reader: PageReader, text: string, pace: Pace): Promise<void> {
  for (let start = 0; start < text.length && !reader.isOver; start += PIECE) {
    await pace.step();
    reader.write(text.slice(start, start + PIECE));
  }
}

async function* decoded(content: AsyncIterable<Buffer>, type: string): AsyncGenerator<string, void, undefined> {
  let head: Buffer[] = [];
  let bytes = 0;
  let decoder: TextDecoder | undefined;
  for await (const chunk of content) {
    if (decoder !== undefined) {
      yield decoder.decode(chunk, { stream: true });
      continue;
    }
    head.push(chunk);
    bytes += chunk.length;
    if (bytes < HEAD_BYTES) continue;
    const first = Buffer.concat(head);
    head = [];
    decoder = await decoderOf(first, type);
    yield decoder.decode(first, { stream: true });
  }
  const rest = Buffer.concat(head);
  decoder ??= await decoderOf(rest, type);
  yield decoder.decode(rest);
}

/** HTML standard, "Determining the character encoding". */
async function decoderOf(first: Buffer, type: string): Promise<TextDecoder> {
  const { default: sniff } = await import('html-encoding-sniffer');
  const label = /;\s*charset\s*=\s*"?([\w:.-]+)/i.exec(type)?.[1];
  const encoding = sniff(first, {
    xml: /^application\/xhtml/i.test(type.trim()),
    ...(label === undefined ? {} : { transportLayerEncodingLabel: label }),
    // The standard leaves the guess open; what happens to be right UTF-8 hardly ever is anything else.
    defaultEncoding: isUtf8(first) ? 'UTF-8' : 'windows-1252',
  });
  try {
    return new TextDecoder(encoding);
  } catch (error) {
    // Some encodings that the standard knows are not there to be decoded.
    if (error instanceof RangeError) return new TextDecoder('utf-8');
    throw error;
  }
}

function isUtf8(first: Buffer): boolean {
  try {
    // Its last character may be cut in two.
    new TextDecoder('utf-8', { fatal: true }).decode(first, { stream: true });
    return true;
  } catch (error) {
    if (error instanceof TypeError) return false;
    throw error;
  }
}
