import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createGunzip, createGzip } from 'node:zlib';
import type { Static } from 'typebox';
import { Compile } from 'typebox/schema';
import { Type } from '../../http/type.ts';
import { isSafeName } from './names.ts';
import { refusal } from './refusal.ts';
import type { SealedReader, SealedWriter } from './sealed.ts';

/**
 * The content of a backup: records of one letter, a length and a JSON object. `M` what it is of, first; `F` a file, followed by
 * blocks of its bytes (a length each, the last one 0) and the SHA-256 of the bytes; `E` the end, which counts the files.
 */

const manifestSchema = Type.Object({
  server_name: Type.String({ minLength: 1, maxLength: 255 }),
  made_at: Type.Integer({ minimum: 0 }),
  /** Of the program that wrote it. */
  version: Type.String({ maxLength: 100 }),
  /** Whether media are in it. Without, those that are there stay. */
  media: Type.Boolean(),
  /** Bytes of all files. */
  bytes: Type.Integer({ minimum: 0 }),
});
const fileSchema = Type.Object({
  name: Type.String({ minLength: 1, maxLength: 1_000 }),
  bytes: Type.Integer({ minimum: 0 }),
  gzip: Type.Boolean(),
});
const endSchema = Type.Object({ files: Type.Integer({ minimum: 0 }), bytes: Type.Integer({ minimum: 0 }) });

export type Manifest = Static<typeof manifestSchema>;
/** A file of the archive, by its name there. */
export type ArchivedFile = Static<typeof fileSchema>;

const MAX_RECORD = 64 * 1024;
const MAX_BLOCK = 1024 * 1024;
const BLOCK = 256 * 1024;

/** Puts files into a backup, one after the other. */
export class ArchiveWriter {
  readonly #out: SealedWriter;
  #files = 0;
  #bytes = 0;

  constructor(out: SealedWriter) {
    this.#out = out;
  }

  async begin(manifest: Manifest): Promise<void> {
    await this.#record('M', manifest);
  }

  /** Adds a file of exactly `file.bytes` bytes and gives their SHA-256. Throws where `content` has more, or fewer. */
  async add(file: ArchivedFile, content: AsyncIterable<Buffer>): Promise<Buffer> {
    await this.#record('F', file);
    const hash = createHash('sha256');
    let bytes = 0;
    async function* counted(): AsyncGenerator<Buffer> {
      for await (const piece of content) {
        bytes += piece.length;
        hash.update(piece);
        yield piece;
      }
    }
    const write = async (pieces: AsyncIterable<Buffer>): Promise<void> => {
      for await (const piece of pieces) await this.#block(piece);
    };
    if (file.gzip) {
      const gzip = createGzip({ level: constants.Z_BEST_SPEED, chunkSize: BLOCK });
      await pipeline(Readable.from(counted(), { objectMode: true, highWaterMark: 1 }), gzip, write);
    } else {
      await write(counted());
    }
    if (bytes !== file.bytes) throw new Error(`${file.name} changed while it was read`);
    await this.#out.write(lengthOf(0));
    const digest = hash.digest();
    await this.#out.write(digest);
    this.#files += 1;
    this.#bytes += bytes;
    return digest;
  }

  async finish(): Promise<void> {
    await this.#record('E', { files: this.#files, bytes: this.#bytes });
    await this.#out.finish();
  }

  async #block(data: Buffer): Promise<void> {
    for (let at = 0; at < data.length; at += MAX_BLOCK) {
      const block = data.subarray(at, at + MAX_BLOCK);
      await this.#out.write(lengthOf(block.length));
      await this.#out.write(block);
    }
  }

  async #record(letter: string, content: object): Promise<void> {
    const text = Buffer.from(JSON.stringify(content));
    await this.#out.write(Buffer.concat([Buffer.from(letter), lengthOf(text.length), text]));
  }
}

function lengthOf(length: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(length);
  return bytes;
}

const manifestCheck = Compile(manifestSchema);
const fileCheck = Compile(fileSchema);
const endCheck = Compile(endSchema);

export interface ArchiveHandler {
  /** Throws where it is not to be read on. */
  begin(manifest: Manifest): Promise<void> | void;
  /** Reads all of `content`, which ends with an error where the file is not what it should be. */
  file(file: ArchivedFile, content: AsyncIterable<Buffer>): Promise<void>;
}

/** Reads a whole backup and checks everything that can be checked. Throws a refusal where something is wrong. */
export async function readArchive(source: SealedReader, handler: ArchiveHandler): Promise<Manifest> {
  const first = await readRecord(source);
  if (first.letter !== 'M' || !manifestCheck.Check(first.content)) throw malformed();
  const manifest = first.content;
  await handler.begin(manifest);
  const names = new Set<string>();
  let bytes = 0;
  for (;;) {
    const { letter, content } = await readRecord(source);
    if (letter === 'E') {
      if (!endCheck.Check(content) || content.files !== names.size || content.bytes !== bytes) throw malformed();
      if ((await source.some(1)).length > 0) throw malformed();
      return manifest;
    }
    if (letter !== 'F' || !fileCheck.Check(content)) throw malformed();
    if (!isSafeName(content.name)) throw refusal('The backup holds a file whose name is not allowed, and is not used');
    // Some systems take names for the same that differ in case or in how a letter is written.
    const key = content.name.normalize('NFC').toLowerCase();
    if (names.has(key)) throw malformed();
    names.add(key);
    bytes += content.bytes;
    if (bytes > manifest.bytes) throw malformed();
    await handler.file(content, readFile(source, content));
  }
}

async function* readFile(source: SealedReader, file: ArchivedFile): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const piece of file.gzip ? inflate(readBlocks(source)) : readBlocks(source)) {
    bytes += piece.length;
    if (bytes > file.bytes) throw malformed();
    hash.update(piece);
    yield piece;
  }
  if (bytes !== file.bytes || !(await source.exactly(DIGEST_BYTES)).equals(hash.digest())) throw malformed();
}

async function* inflate(blocks: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  const gunzip = createGunzip({ chunkSize: BLOCK });
  // Errors come out of the reading end, where they are awaited.
  const running = pipeline(Readable.from(blocks, { objectMode: true, highWaterMark: 1 }), gunzip).catch(
    () => undefined,
  );
  try {
    for await (const piece of gunzip) yield piece;
    // A stream that ended before its blocks did.
    if (!(await blocks.next()).done) throw malformed();
  } catch (error) {
    if (error instanceof Error && 'code' in error && String(error.code).startsWith('Z_')) throw malformed();
    throw error;
  } finally {
    gunzip.destroy();
    await running;
  }
}

async function* readBlocks(source: SealedReader): AsyncGenerator<Buffer> {
  for (;;) {
    const length = (await source.exactly(4)).readUInt32BE();
    if (length === 0) return;
    if (length > MAX_BLOCK) throw malformed();
    for (let left = length; left > 0; ) {
      const some = await source.some(left);
      if (some.length === 0) throw malformed();
      left -= some.length;
      yield some;
    }
  }
}

async function readRecord(source: SealedReader): Promise<{ readonly letter: string; readonly content: unknown }> {
  const head = await source.exactly(5);
  const length = head.readUInt32BE(1);
  if (length > MAX_RECORD) throw malformed();
  const text = (await source.exactly(length)).toString();
  try {
    return { letter: String.fromCharCode(head[0] ?? 0), content: JSON.parse(text) };
  } catch (error) {
    if (error instanceof SyntaxError) throw malformed();
    throw error;
  }
}

const DIGEST_BYTES = 32;

/** It opens with the passphrase, so whoever wrote it meant it to be like this, or was broken. */
function malformed(): Error {
  return refusal('The backup opens, but is not put together as it should be');
}
