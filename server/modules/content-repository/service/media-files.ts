import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { MatrixError } from '../../../matrix/errors.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';
import type { Logger } from '../../../util/log.ts';
import { randomString, type Random } from '../../../util/random.ts';
import { SerialQueue } from '../../../util/serial-queue.ts';
import type { DebrisStore } from '../store/debris.ts';
import type { MediaStore } from '../store/media.ts';
import type { ThumbnailStore } from '../store/thumbnails.ts';

/** Content that has come in whole and is on disk, though not yet in its place. */
export interface Arrived {
  readonly path: string;
  readonly file: Buffer;
  readonly bytes: number;
}

/** A file that is open to be read. Whoever gets it closes it. */
export interface OpenFile {
  readonly handle: FileHandle;
  readonly bytes: number;
}

export interface MediaFilesNeeds {
  readonly db: Database;
  readonly random: Random;
  readonly log: Logger;
  readonly path: string;
  readonly media: MediaStore;
  readonly thumbnails: ThumbnailStore;
  readonly debris: DebrisStore;
}

const DEBRIS_BATCH = 100;
const NO_SPACE = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/**
 * The files of media, named by the SHA-256 of what they hold, each there once. A file is written elsewhere, synced and moved
 * into place before a row refers to it; meanwhile, and once nothing refers to it any more, the table of debris names it, so
 * that no crash leaves anything behind.
 */
export class MediaFiles {
  readonly #needs: MediaFilesNeeds;
  readonly #content: string;
  readonly #incoming: string;
  readonly #knownFolders = new Set<string>();
  /** One at a time for each file: it must not be put in place while it is being deleted. */
  readonly #lines = new SerialQueue();

  constructor(needs: MediaFilesNeeds) {
    this.#needs = needs;
    this.#content = join(needs.path, 'content');
    this.#incoming = join(needs.path, 'incoming');
  }

  /** Makes the folders and throws away what was half written when the server stopped. Throws where they cannot be used. */
  start(): void {
    for (const folder of [this.#content, this.#incoming]) mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.#incoming))
      rmSync(join(this.#incoming, name), { recursive: true, force: true });
  }

  /** Waits until no file is being moved or deleted. */
  async stop(): Promise<void> {
    // Only a commit sets off the deletions that belong to it; one that fails belongs to somebody else.
    await Promise.allSettled([this.#needs.db.committed()]);
    await this.#lines.idle();
  }

  pathOf(file: Buffer): string {
    const name = file.toString('hex');
    return join(this.#content, name.slice(0, 2), name.slice(2));
  }

  /** Where something may be written that is then adopted or thrown away. */
  incomingPath(): string {
    return join(this.#incoming, randomString(this.#needs.random, 32));
  }

  /**
   * Writes `content` to disk as it comes. Throws `tooLarge()` past `maxBytes`, what the content fails with, and 507 where the
   * disk is full; then nothing is left.
   */
  async receive(content: AsyncIterable<Buffer>, maxBytes: number, tooLarge: () => Error): Promise<Arrived> {
    const path = this.incomingPath();
    const hash = createHash('sha256');
    let bytes = 0;
    try {
      await using target = await open(path, 'wx', 0o600);
      for await (const chunk of content) {
        bytes += chunk.length;
        if (bytes > maxBytes) throw tooLarge();
        hash.update(chunk);
        await writeAll(target, chunk);
      }
      await target.sync();
    } catch (error) {
      await rm(path, { force: true });
      throw this.#refusalOf(error);
    }
    return { path, file: hash.digest(), bytes };
  }

  /** Takes a file that another process has written to `incomingPath()`. */
  async adopt(path: string): Promise<Arrived> {
    try {
      await using source = await open(path, 'r+');
      const hash = createHash('sha256');
      let bytes = 0;
      for await (const chunk of source.createReadStream({ autoClose: false })) {
        hash.update(chunk);
        bytes += chunk.length;
      }
      await source.sync();
      return { path, file: hash.digest(), bytes };
    } catch (error) {
      await rm(path, { force: true });
      throw this.#refusalOf(error);
    }
  }

  /** Throws away what has come in but is not wanted. */
  async discard({ path }: Pick<Arrived, 'path'>): Promise<void> {
    await rm(path, { force: true });
  }

  /**
   * Puts a file in its place and then has it recorded. Resolves once that is on disk. Where `record` throws, the file goes
   * again, unless something else refers to it.
   */
  async keep<Result>(
    arrived: Arrived,
    record: (tx: WriteTx) => Result extends PromiseLike<unknown> ? never : Result,
  ): Promise<Result> {
    const { db, debris } = this.#needs;
    const { file, path } = arrived;
    return this.#lines.run(file.toString('hex'), async () => {
      try {
        db.write((tx) => debris.insert(tx, file));
        await db.committed();
        await this.#putInPlace(arrived);
        const result = db.write<Result>((tx) => {
          const recorded = record(tx);
          debris.remove(tx, file);
          return recorded;
        });
        await db.committed();
        return result;
      } catch (error) {
        await rm(path, { force: true });
        await this.#clearAfterFailure(file);
        throw this.#refusalOf(error);
      }
    });
  }

  /** Opens a file; undefined where it is not there. */
  async open(file: Buffer): Promise<OpenFile | undefined> {
    let handle: FileHandle | undefined;
    try {
      handle = await open(this.pathOf(file), 'r');
      const { size } = await handle.stat();
      return { handle, bytes: size };
    } catch (error) {
      await handle?.close();
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** One who referred to `file` does so no more. If it was the last, the file goes after the commit, and its thumbnails too. */
  release(tx: WriteTx, file: Buffer): void {
    const { media, thumbnails } = this.#needs;
    if (media.hasFile(file)) return;
    const made = thumbnails.list(file);
    thumbnails.removeAll(tx, file);
    for (const each of [file, ...made.map((thumbnail) => thumbnail.file)]) this.giveUp(tx, each);
  }

  /** Says that nothing may refer to `file` any more. If so it goes after the commit. */
  giveUp(tx: WriteTx, file: Buffer): void {
    this.#needs.debris.insert(tx, file);
    tx.onCommit(() => void this.#clearSoon(file));
  }

  /** Deletes all files that nothing refers to. */
  async clearDebris(): Promise<void> {
    const tried = new Set<string>();
    for (;;) {
      const found = this.#needs.debris.list(DEBRIS_BATCH).filter((file) => !tried.has(file.toString('hex')));
      if (found.length === 0) return;
      for (const file of found) {
        tried.add(file.toString('hex'));
        await this.#clearSoon(file);
        await nextTurn();
      }
    }
  }

  async #clearSoon(file: Buffer): Promise<void> {
    try {
      await this.#lines.run(file.toString('hex'), () => this.#clear(file));
    } catch (error) {
      // It stays among the debris: the file may be open elsewhere, which some systems hold against deleting it.
      this.#needs.log.warn({ error: String(error) }, 'a media file could not be deleted yet');
    }
  }

  async #clearAfterFailure(file: Buffer): Promise<void> {
    try {
      await this.#clear(file);
    } catch (error) {
      this.#needs.log.warn({ error: String(error) }, 'a media file could not be deleted yet');
    }
  }

  async #clear(file: Buffer): Promise<void> {
    const { db, media, thumbnails, debris } = this.#needs;
    if (!media.hasFile(file) && !thumbnails.hasFile(file)) await rm(this.pathOf(file), { force: true });
    db.write((tx) => debris.remove(tx, file));
    await db.committed();
  }

  /** A full disk is worth a clear word, to the user and to whoever runs the server. */
  #refusalOf(error: unknown): unknown {
    const code = codeOf(error) ?? '';
    if (!NO_SPACE.has(code)) return error;
    this.#needs.log.error({ code }, 'there is no space left for media');
    return new MatrixError('M_UNKNOWN', 'There is no space left to keep this', { status: 507 });
  }

  async #putInPlace({ path, file, bytes }: Arrived): Promise<void> {
    const target = this.pathOf(file);
    const there = await stat(target).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    });
    // A file of another length was damaged by something else.
    if (there?.size === bytes) {
      await rm(path, { force: true });
      return;
    }
    const folder = join(target, '..');
    if (!this.#knownFolders.has(folder)) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await syncFolder(this.#content);
      this.#knownFolders.add(folder);
    }
    await rename(path, target);
    await syncFolder(folder);
  }
}

async function writeAll(target: FileHandle, chunk: Buffer): Promise<void> {
  for (let written = 0; written < chunk.length; ) {
    const { bytesWritten } = await target.write(chunk, written, chunk.length - written);
    written += bytesWritten;
  }
}

/** Makes the names in a folder durable; Windows does that by itself and refuses to be asked. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  await using folder = await open(path, 'r');
  await folder.sync();
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
