/**
 * Reads one large JSON object while it arrives, holding one value at a time: lists that are named are given out element
 * by element. What the grammar of JSON forbids between values is an error, within them `JSON.parse` decides.
 */

export interface JsonStreamOptions {
  /** Keys of the object whose values, where they are lists, are given out by elements. */
  readonly lists: readonly string[];
  /** Largest single value or element, bytes. Larger ones are passed over. */
  readonly maxBytes: number;
  /** How deep a value may nest. Deeper ones are passed over. */
  readonly maxDepth: number;
  /** The object is the second element of a list, as some old answers have it. */
  readonly isWrapped?: boolean;
}

/** A value of the object, or an element of one of its named lists. */
export type JsonPart =
  | { readonly key: string; readonly isElement: boolean; readonly value: unknown }
  /** Too large or too deep. */
  | { readonly key: string; readonly isElement: boolean; readonly passedOver: true };

/** What arrived is not the JSON it should be, or ended too early. */
export class JsonStreamError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'JsonStreamError';
  }
}

/** The parts of the object, in order. Throws JsonStreamError, and whatever `body` throws. */
export async function* readJsonParts(
  body: AsyncIterable<Uint8Array>,
  options: JsonStreamOptions,
): AsyncGenerator<JsonPart, void, undefined> {
  const scanner = new Scanner(options);
  for await (const chunk of body) {
    for (const part of scanner.scan(chunk)) yield part;
  }
  scanner.end();
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;

/** Longest key of the object, bytes. */
const MAX_KEY_BYTES = 1_000;

type Place =
  | 'start'
  | 'wrapper'
  | 'wrapper-comma'
  | 'wrapped'
  | 'first-key'
  | 'key'
  | 'colon'
  | 'value'
  | 'after-value'
  | 'first-element'
  | 'element'
  | 'after-element'
  | 'wrapper-end'
  | 'done';

/** The value that is being taken up. */
interface Capture {
  readonly pieces: Uint8Array[];
  bytes: number;
  depth: number;
  inString: boolean;
  isEscaped: boolean;
  /** A number or word: it ends where something else begins. */
  readonly isBare: boolean;
  isTooMuch: boolean;
  isComplete: boolean;
}

class Scanner {
  readonly #options: JsonStreamOptions;
  #place: Place = 'start';
  #key = '';
  #capture: Capture | undefined;

  constructor(options: JsonStreamOptions) {
    this.#options = options;
  }

  *scan(chunk: Uint8Array): Generator<JsonPart, void, undefined> {
    let at = 0;
    while (at < chunk.length) {
      if (this.#capture !== undefined) {
        at = this.#takeUp(this.#capture, chunk, at);
        if (!this.#capture.isComplete) return;
        const part = this.#finish(this.#capture);
        if (part !== undefined) yield part;
        continue;
      }
      const byte = chunk[at] ?? 0;
      if (isSpace(byte)) at += 1;
      else at = this.#step(byte, at);
    }
  }

  end(): void {
    if (this.#place !== 'done') throw new JsonStreamError('the JSON ended too early');
  }

  /** Acts on one byte between values. Gives where to go on: at the same byte if a value begins with it. */
  #step(byte: number, at: number): number {
    const next = (place: Place): number => {
      this.#place = place;
      return at + 1;
    };
    switch (this.#place) {
      case 'start':
        if (this.#options.isWrapped === true && byte === OPEN_BRACKET) return next('wrapper');
        if (this.#options.isWrapped !== true && byte === OPEN_BRACE) return next('first-key');
        break;
      case 'wrapper':
        return this.#begin(byte, at);
      case 'wrapper-comma':
        if (byte === COMMA) return next('wrapped');
        break;
      case 'wrapped':
        if (byte === OPEN_BRACE) return next('first-key');
        break;
      case 'first-key':
        if (byte === CLOSE_BRACE) return next(this.#afterObject());
        if (byte === QUOTE) return this.#begin(byte, at);
        break;
      case 'key':
        if (byte === QUOTE) return this.#begin(byte, at);
        break;
      case 'colon':
        if (byte === COLON) return next('value');
        break;
      case 'value':
        if (byte === OPEN_BRACKET && this.#options.lists.includes(this.#key)) return next('first-element');
        return this.#begin(byte, at);
      case 'after-value':
        if (byte === COMMA) return next('key');
        if (byte === CLOSE_BRACE) return next(this.#afterObject());
        break;
      case 'first-element':
        if (byte === CLOSE_BRACKET) return next('after-value');
        return this.#begin(byte, at);
      case 'element':
        return this.#begin(byte, at);
      case 'after-element':
        if (byte === COMMA) return next('element');
        if (byte === CLOSE_BRACKET) return next('after-value');
        break;
      case 'wrapper-end':
        if (byte === CLOSE_BRACKET) return next('done');
        break;
      case 'done':
        break;
    }
    throw new JsonStreamError('the JSON is malformed');
  }

  #afterObject(): Place {
    return this.#options.isWrapped === true ? 'wrapper-end' : 'done';
  }

  #begin(byte: number, at: number): number {
    if (byte === COMMA || byte === COLON || byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      throw new JsonStreamError('the JSON is malformed');
    }
    const isBare = byte !== QUOTE && byte !== OPEN_BRACE && byte !== OPEN_BRACKET;
    this.#capture = {
      pieces: [],
      bytes: 0,
      depth: 0,
      inString: false,
      isEscaped: false,
      isBare,
      isTooMuch: false,
      isComplete: false,
    };
    return at;
  }

  /** Takes up as much of the value as the chunk has. Gives where it stopped. */
  #takeUp(capture: Capture, chunk: Uint8Array, from: number): number {
    const { maxDepth } = this.#options;
    let at = from;
    let isDone = false;
    while (at < chunk.length && !isDone) {
      const byte = chunk[at] ?? 0;
      if (capture.isBare) {
        if (byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET || isSpace(byte)) {
          isDone = true;
          break;
        }
      } else if (capture.inString) {
        if (capture.isEscaped) capture.isEscaped = false;
        else if (byte === BACKSLASH) capture.isEscaped = true;
        else if (byte === QUOTE) {
          capture.inString = false;
          isDone = capture.depth === 0;
        }
      } else if (byte === QUOTE) {
        capture.inString = true;
      } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        capture.depth += 1;
        if (capture.depth > maxDepth) capture.isTooMuch = true;
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        capture.depth -= 1;
        isDone = capture.depth === 0;
      }
      at += 1;
    }
    capture.bytes += at - from;
    const isKey = this.#place === 'first-key' || this.#place === 'key';
    if (capture.bytes > (isKey ? MAX_KEY_BYTES : this.#options.maxBytes)) capture.isTooMuch = true;
    if (capture.isTooMuch) capture.pieces.length = 0;
    else capture.pieces.push(chunk.subarray(from, at));
    capture.isComplete = isDone;
    return at;
  }

  /** The value is all there. */
  #finish(capture: Capture): JsonPart | undefined {
    this.#capture = undefined;
    const place = this.#place;
    const value = capture.isTooMuch ? undefined : parse(capture.pieces);
    if (place === 'wrapper') {
      this.#place = 'wrapper-comma';
      return undefined;
    }
    if (place === 'first-key' || place === 'key') {
      if (typeof value !== 'string') throw new JsonStreamError('a key is too long');
      this.#key = value;
      this.#place = 'colon';
      return undefined;
    }
    const isElement = place === 'first-element' || place === 'element';
    this.#place = isElement ? 'after-element' : 'after-value';
    const key = this.#key;
    return capture.isTooMuch ? { key, isElement, passedOver: true } : { key, isElement, value };
  }
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

function parse(pieces: readonly Uint8Array[]): unknown {
  const [first = new Uint8Array()] = pieces;
  const bytes = pieces.length === 1 ? Buffer.from(first.buffer, first.byteOffset, first.length) : Buffer.concat(pieces);
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    throw new JsonStreamError('the JSON is malformed');
  }
}
