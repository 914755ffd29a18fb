import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { Sink } from './disk.ts';
import { CUT_OFF, type ReadAt } from './format.ts';
import { refusal } from './refusal.ts';

/** Plain bytes in one chunk; the last one may have fewer. */
const CHUNK_BYTES = 256 * 1024;
const SEAL_BYTES = 16;
const NONCE_BYTES = 12;

/**
 * The nonce of a chunk names its place and says whether it is the last (the STREAM construction of Hoang, Reyhanitabar, Rogaway
 * and Vizár, 2015): a chunk that is missing, moved, repeated or of another file does not open, nor what ends too early or
 * too late. The key is used for one file only.
 */
function nonceOf(place: number, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES);
  nonce.writeUIntBE(place, 5, 6);
  nonce.writeUInt8(isLast ? 1 : 0, NONCE_BYTES - 1);
  return nonce;
}

function seal(key: Buffer, place: number, isLast: boolean, plain: Buffer): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, nonceOf(place, isLast));
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

function unseal(key: Buffer, place: number, isLast: boolean, sealed: Buffer): Buffer | undefined {
  const decipher = createDecipheriv('aes-256-gcm', key, nonceOf(place, isLast));
  decipher.setAuthTag(sealed.subarray(sealed.length - SEAL_BYTES));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(0, sealed.length - SEAL_BYTES)), decipher.final()]);
  } catch {
    // The one thing that can be wrong here: it was not sealed like this.
    return undefined;
  }
}

/** Seals what is written to it. Holds one chunk in memory. */
export class SealedWriter {
  readonly #sink: Sink;
  readonly #key: Buffer;
  readonly #chunk = Buffer.alloc(CHUNK_BYTES);
  #used = 0;
  #place = 0;
  /** Bytes that went into the file. */
  written = 0;

  constructor(sink: Sink, key: Buffer) {
    this.#sink = sink;
    this.#key = key;
  }

  async write(data: Buffer): Promise<void> {
    for (let taken = 0; taken < data.length; ) {
      // A full chunk waits for what comes after it: it may be the last.
      if (this.#used === CHUNK_BYTES) await this.#flush(false);
      const some = data.subarray(taken, taken + CHUNK_BYTES - this.#used);
      some.copy(this.#chunk, this.#used);
      this.#used += some.length;
      taken += some.length;
    }
  }

  /** Nothing follows. */
  async finish(): Promise<void> {
    await this.#flush(true);
  }

  async #flush(isLast: boolean): Promise<void> {
    const sealed = seal(this.#key, this.#place, isLast, this.#chunk.subarray(0, this.#used));
    await this.#sink.write(sealed);
    this.written += sealed.length;
    this.#place += 1;
    this.#used = 0;
  }
}

/** Reads what was sealed, from `start` to the end of a file of `size` bytes. Each read opens one chunk. */
export class SealedReader {
  readonly #readAt: ReadAt;
  readonly #key: Buffer;
  readonly #size: number;
  #position: number;
  #place = 0;
  #rest: Buffer = Buffer.alloc(0);

  constructor(readAt: ReadAt, key: Buffer, { start, size }: { readonly start: number; readonly size: number }) {
    this.#readAt = readAt;
    this.#key = key;
    this.#position = start;
    this.#size = size;
  }

  /** Bytes of the file that were read. */
  get position(): number {
    return this.#position;
  }

  /** At most `most` bytes, at least one; none at the end. Throws a refusal where the file is damaged. */
  async some(most: number): Promise<Buffer> {
    while (this.#rest.length === 0) {
      if (this.#place > 0 && this.#position >= this.#size) return this.#rest;
      this.#rest = await this.#next();
    }
    const some = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(some.length);
    return some;
  }

  /** Exactly so many bytes. Throws a refusal where there are fewer. */
  async exactly(length: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for (let left = length; left > 0; ) {
      const some = await this.some(left);
      if (some.length === 0) throw refusal(CUT_OFF);
      pieces.push(some);
      left -= some.length;
    }
    const [only] = pieces;
    return pieces.length === 1 && only !== undefined ? only : Buffer.concat(pieces);
  }

  async #next(): Promise<Buffer> {
    const length = Math.min(CHUNK_BYTES + SEAL_BYTES, this.#size - this.#position);
    const sealed = length <= 0 ? Buffer.alloc(0) : await this.#readAt(this.#position, length);
    if (sealed.length < length || sealed.length < SEAL_BYTES) throw refusal(CUT_OFF);
    const isLast = this.#position + length === this.#size;
    const plain = unseal(this.#key, this.#place, isLast, sealed);
    if (plain === undefined) throw refusal(this.#diagnose(sealed, isLast));
    this.#position += length;
    this.#place += 1;
    return plain;
  }

  #diagnose(sealed: Buffer, isLast: boolean): string {
    if (unseal(this.#key, this.#place, !isLast, sealed) !== undefined) {
      return isLast ? CUT_OFF : 'The file is damaged: something was added to its end';
    }
    // What ends in the middle of a chunk cannot be told from one that was changed near its end.
    const where = `${(this.#position / 1_048_576).toFixed(1)} MB from its beginning`;
    return isLast ? `The file is cut off or damaged near its end, ${where}` : `The file is damaged, ${where}`;
  }
}
