import { randomUUID } from 'node:crypto';

import { CanonicalJsonError } from '../matrix/canonical-json.ts';
import type { JsonValue } from '../matrix/json.ts';

/*
 * Canonical JSON has no floats, but bodies of requests do: content of clients that nobody checked. What a server signed then
 * is the number as it wrote it, `1.0` or `1e-07`, and that is lost once it has become a number here.
 */

const STRING_OR_NUMBER = /"[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9][-+.0-9eE]*/g;
const SUSPECT_NUMBER = /[0-9](?:[.eE]|[0-9]{15})/;

/** Whether JSON text may hold numbers that are not written as we would write them. True for some that hold none. */
export function needsVerbatimNumbers(json: string): boolean {
  return SUSPECT_NUMBER.test(json);
}

/**
 * Canonical text of something around the JSON text `json`, with each number in it written as it stands there. `write` is
 * given the value to write. Throws CanonicalJsonError where `json` is none.
 */
export function verbatimCanonicalJson(json: string, write: (value: JsonValue) => string): string {
  // A mark nobody could guess stands in for each such number while the rest is written.
  const mark = randomUUID();
  const marked = json.replaceAll(STRING_OR_NUMBER, (token) =>
    token.startsWith('"') || isPlainInteger(token) ? token : `"${mark}${token}"`,
  );
  let parsed: JsonValue;
  try {
    parsed = JSON.parse(marked) as JsonValue;
  } catch {
    throw new CanonicalJsonError('the text is not JSON');
  }
  return write(parsed).replaceAll(new RegExp(`"${mark}([-+.0-9eE]+)"`, 'g'), '$1');
}

/** A number that has one form only, whoever writes it. */
function isPlainInteger(token: string): boolean {
  const number = Number(token);
  return Number.isSafeInteger(number) && String(number) === token;
}
