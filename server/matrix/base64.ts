/**
 * Base64 without padding (spec: appendices, "Unpadded Base64"), in the ordinary and the URL-safe alphabet.
 *
 * Decoding takes padded and unpadded text alike, as the spec advises, but nothing outside the alphabet. Bits beyond the
 * last whole byte are ignored: the seed in the spec's own test vectors has some set.
 */

const STANDARD = /^[0-9A-Za-z+/]*={0,2}$/;
const URL_SAFE = /^[0-9A-Za-z_-]*={0,2}$/;

/** Ordinary alphabet, no padding. */
export function encodeBase64(bytes: Uint8Array): string {
  return unpad(asBuffer(bytes).toString('base64'));
}

/** URL-safe alphabet, no padding. */
export function encodeBase64Url(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('base64url');
}

/** The bytes of ordinary base64, padded or not; undefined where `text` is none. */
export function decodeBase64(text: string): Buffer | undefined {
  return STANDARD.test(text) && isPossibleLength(text) ? Buffer.from(text, 'base64') : undefined;
}

/** The bytes of URL-safe base64, padded or not; undefined where `text` is none. */
export function decodeBase64Url(text: string): Buffer | undefined {
  return URL_SAFE.test(text) && isPossibleLength(text) ? Buffer.from(text, 'base64url') : undefined;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function unpad(text: string): string {
  if (text.endsWith('==')) return text.slice(0, -2);
  return text.endsWith('=') ? text.slice(0, -1) : text;
}

// A single character over holds six bits, less than a byte. Padding, where it is used, fills up to four exactly.
function isPossibleLength(text: string): boolean {
  return text.endsWith('=') ? text.length % 4 === 0 : text.length % 4 !== 1;
}
