import { isUtf8 } from 'node:buffer';

import { badJson, notJson } from './errors.ts';
import type { JsonObject, JsonValue } from './json.ts';

/** A value has no canonical form; the message says why. */
export class CanonicalJsonError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'CanonicalJsonError';
  }
}

/**
 * How deep objects and arrays may nest in what is signed or hashed. The spec names no bound; one is needed so that no
 * event can exhaust the stack, and this is far beyond what any real event has.
 */
export const MAX_CANONICAL_DEPTH = 100;

/**
 * How deep a whole body may nest. Wider than `MAX_CANONICAL_DEPTH` on purpose: one absurd event must fail alone, not the
 * federation transaction around it. Narrow enough for any function that walks a value by recursion.
 */
export const MAX_PARSE_DEPTH = 1000;

interface CanonicalOptions {
  /**
   * True (the default) refuses numbers that are no integers within ±(2^53 - 1), as the spec demands. False writes them as
   * well as they can be: rooms of versions 1 to 5 hold such events (spec: rooms/v1, "Canonical JSON").
   */
  readonly strict?: boolean;
  /** Deepest nesting; `MAX_CANONICAL_DEPTH` unless told. For what is signed as a whole but neither stored nor hashed. */
  readonly maxDepth?: number;
}

/**
 * Canonical JSON (spec: appendices, "Canonical JSON"): no white space, keys sorted by code point, shortest escapes.
 * Throws CanonicalJsonError for what has no such form: floats, integers out of range, lone surrogates, nesting deeper
 * than `MAX_CANONICAL_DEPTH`, values JSON does not know.
 */
export function canonicalJson(
  value: JsonValue,
  { strict = true, maxDepth = MAX_CANONICAL_DEPTH }: CanonicalOptions = {},
): string {
  return write(value, strict, MAX_CANONICAL_DEPTH - maxDepth);
}

/** Why `value` has no canonical form, or undefined where it has one. The options are those of `canonicalJson`. */
export function checkCanonical(value: JsonValue, options: CanonicalOptions = {}): string | undefined {
  try {
    canonicalJson(value, options);
    return undefined;
  } catch (error) {
    if (error instanceof CanonicalJsonError) return error.message;
    throw error;
  }
}

function write(value: JsonValue, strict: boolean, depth: number): string {
  switch (typeof value) {
    case 'string':
      return quote(value);
    case 'number':
      if (Number.isSafeInteger(value)) return String(value);
      if (strict) throw new CanonicalJsonError('a number is not an integer within ±(2^53 - 1)');
      return writeLooseNumber(value);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      if (value === null) return 'null';
      if (depth === MAX_CANONICAL_DEPTH) throw new CanonicalJsonError('a value is nested too deeply');
      return isArray(value) ? writeArray(value, strict, depth + 1) : writeObject(value, strict, depth + 1);
    default:
      throw new CanonicalJsonError(`JSON has no value of type ${typeof value}`);
  }
}

function isArray(value: readonly JsonValue[] | JsonObject): value is readonly JsonValue[] {
  return Array.isArray(value);
}

function writeArray(values: readonly JsonValue[], strict: boolean, depth: number): string {
  let out = '[';
  let separator = '';
  for (const value of values) {
    out += separator + write(value, strict, depth);
    separator = ',';
  }
  return `${out}]`;
}

// What a JSON string may hold as it stands; anything else takes the slower road.
const PLAIN = /^[ !#-[\]-~]*$/;
// Code units whose order among themselves is not the order of the code points they write.
const ORDERED_BY_CODE_POINT = /[\ud800-\uffff]/;

function writeObject(object: JsonObject, strict: boolean, depth: number): string {
  const keys = Object.keys(object);
  let plain = true;
  let sorted = true;
  let previous = '';
  for (const key of keys) {
    if (key < previous) sorted = false;
    if (!PLAIN.test(key)) plain = false;
    previous = key;
  }
  if (!plain && keys.some((key) => ORDERED_BY_CODE_POINT.test(key))) keys.sort(compareCodePoints);
  else if (!sorted) keys.sort();

  let out = '{';
  let separator = '';
  for (const key of keys) {
    // A key of the object's own is there; `undefined` in its place is refused by write().
    const value = object[key] as JsonValue;
    out += separator + (plain ? `"${key}"` : quote(key)) + ':' + write(value, strict, depth);
    separator = ',';
  }
  return `${out}}`;
}

function quote(text: string): string {
  if (PLAIN.test(text)) return `"${text}"`;
  if (!text.isWellFormed()) throw new CanonicalJsonError('a string holds half of a surrogate pair');
  // For well-formed text, the escapes of JSON.stringify are exactly those of the canonical grammar.
  return JSON.stringify(text);
}

/** Compares by Unicode code point, where `<` compares UTF-16 code units. */
function compareCodePoints(left: string, right: string): number {
  const end = Math.min(left.length, right.length);
  for (let i = 0; i < end; i++) {
    let a = left.charCodeAt(i);
    let b = right.charCodeAt(i);
    if (a === b) continue;
    // Surrogates write the highest code points but stand below U+E000 to U+FFFF as code units: lift them above.
    if (a >= 0xd800 && a <= 0xdfff) a += 0x10000;
    if (b >= 0xd800 && b <= 0xdfff) b += 0x10000;
    return a - b;
  }
  return left.length - right.length;
}

/**
 * Numbers that canonical JSON forbids, in the form in which servers that hashed them most often wrote them: integers in
 * full, floats in the shortest digits, with an exponent below 1e-4 and from 1e16 on. The digits an integer beyond 2^53
 * lost when it was parsed stay lost, so the hash of an event with one may not come out right.
 */
function writeLooseNumber(value: number): string {
  if (!Number.isFinite(value)) throw new CanonicalJsonError('a number is not finite');
  if (Number.isInteger(value)) return BigInt(value).toString();
  const [digits = '', exponent = '0'] = value.toExponential().split('e');
  if (Number(exponent) >= -4) return String(value);
  return `${digits}e-${exponent.slice(1).padStart(2, '0')}`;
}

const SURROGATE_ESCAPE = /\\u[dD][89a-fA-F]/;

/**
 * Parses JSON from outside. Of a key given twice the last counts, as with nearly every parser: the spec does not forbid
 * it, and were it refused here, events other servers have accepted would be missing. Throws MatrixError M_NOT_JSON for
 * what is not JSON or not UTF-8, M_BAD_JSON for lone surrogates (which UTF-8 cannot carry on) and for nesting beyond
 * `MAX_PARSE_DEPTH`.
 */
export function parseJson(input: string | Uint8Array): JsonValue {
  let text: string;
  if (typeof input === 'string') {
    text = input;
    if (!text.isWellFormed()) throw notJson('The JSON is not valid Unicode');
  } else {
    if (!isUtf8(input)) throw notJson('The JSON is not valid UTF-8');
    text = Buffer.from(input.buffer, input.byteOffset, input.byteLength).toString('utf8');
  }
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch {
    // The parser's message would quote the text, which may hold a secret.
    throw notJson('The content is not JSON');
  }
  if (nestsDeeperThan(text, MAX_PARSE_DEPTH)) throw badJson('The JSON is nested too deeply');
  // The text is well formed, so only an escape can have made half a pair.
  if (SURROGATE_ESCAPE.test(text) && !isWellFormed(value)) throw badJson('A string holds half of a surrogate pair');
  return value;
}

/** Whether JSON text, already known to be valid, has more than `limit` objects and arrays inside each other. */
function nestsDeeperThan(text: string, limit: number): boolean {
  if (text.length <= limit) return false;
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit === 0x22) {
      i = endOfString(text, i);
    } else if (unit === 0x5b || unit === 0x7b) {
      depth++;
      if (depth > limit) return true;
    } else if (unit === 0x5d || unit === 0x7d) {
      depth--;
    }
  }
  return false;
}

/** The index of the quotation mark that ends the string which begins at `start`. */
function endOfString(text: string, start: number): number {
  let end = start;
  for (;;) {
    end = text.indexOf('"', end + 1);
    let backslashes = 0;
    while (text.charCodeAt(end - 1 - backslashes) === 0x5c) backslashes++;
    if (backslashes % 2 === 0) return end;
  }
}

function isWellFormed(value: JsonValue): boolean {
  if (typeof value === 'string') return value.isWellFormed();
  if (typeof value !== 'object' || value === null) return true;
  if (isArray(value)) return value.every(isWellFormed);
  return Object.entries(value).every(([key, inner]) => key.isWellFormed() && isWellFormed(inner));
}
