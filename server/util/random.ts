import { randomBytes } from 'node:crypto';

/** Where chance comes from. Tests may hand in a predictable one. */
export interface Random {
  /** `length` bytes from a cryptographically strong source. */
  bytes(length: number): Buffer;
}

/** The operating system's random source. */
export const systemRandom: Random = { bytes: (length) => randomBytes(length) };

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/**
 * A random string of `length` characters taken evenly from `alphabet` (letters and digits unless told otherwise;
 * at most 256 characters).
 */
export function randomString(random: Random, length: number, alphabet: string = LETTERS): string {
  // Bytes past the last whole multiple of the alphabet would favour its first letters; they are thrown away.
  const fair = 256 - (256 % alphabet.length);
  let out = '';
  while (out.length < length) {
    for (const byte of random.bytes(length - out.length)) {
      if (byte < fair) out += alphabet.charAt(byte % alphabet.length);
    }
  }
  return out;
}
