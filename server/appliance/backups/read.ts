import { type FileHandle, open } from 'node:fs/promises';
import { type ArchiveHandler, type Manifest, readArchive } from './archive.ts';
import { type BackupHeader, type ReadAt, readHeader, type ReadHeader } from './format.ts';
import { explainDisk } from './refusal.ts';
import { SealedReader } from './sealed.ts';

export interface ReadOptions {
  readonly passphrase: string;
  readonly signal: AbortSignal;
  /** How much was read, from 0 to 1. */
  readonly progress: (share: number) => void;
}

/** A backup file that is open. */
export interface OpenBackup extends AsyncDisposable {
  readonly header: BackupHeader;
  /** Reads everything, handing it to `handler`. Throws a refusal where something is wrong with it, and what `handler` throws. */
  read(options: ReadOptions, handler: ArchiveHandler): Promise<Manifest>;
  /** Reads everything, and says how many files there are. */
  verify(options: ReadOptions): Promise<Manifest & { readonly files: number }>;
}

/** Opens a backup file. Throws a refusal for what is none, or cannot be read. */
export async function openBackup(path: string): Promise<OpenBackup> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    throw explainDisk(error, 'The backup cannot be read');
  }
  try {
    const { size } = await handle.stat();
    const readAt = async (position: number, length: number): Promise<Buffer> => {
      const buffer = Buffer.allocUnsafe(length);
      let filled = 0;
      while (filled < length) {
        const { bytesRead } = await handle.read(buffer, filled, length - filled, position + filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      return buffer.subarray(0, filled);
    };
    const start = await readHeader(readAt);
    return new BackupFile(handle, { start, readAt, size });
  } catch (error) {
    await handle.close();
    throw explainDisk(error, 'The backup cannot be read');
  }
}

interface BackupParts {
  readonly start: ReadHeader;
  readonly readAt: ReadAt;
  readonly size: number;
}

class BackupFile implements OpenBackup {
  readonly header: BackupHeader;
  readonly #handle: FileHandle;
  readonly #parts: BackupParts;

  constructor(handle: FileHandle, parts: BackupParts) {
    this.#handle = handle;
    this.#parts = parts;
    this.header = parts.start.header;
  }

  async read({ passphrase, signal, progress }: ReadOptions, handler: ArchiveHandler): Promise<Manifest> {
    const { start, readAt, size } = this.#parts;
    const key = await start.unlock(passphrase);
    const source = new SealedReader(
      async (position, length) => {
        signal.throwIfAborted();
        progress(position / size);
        return readAt(position, length);
      },
      key,
      { start: start.end, size },
    );
    return readArchive(source, handler);
  }

  async verify(options: ReadOptions): Promise<Manifest & { readonly files: number }> {
    let files = 0;
    const manifest = await this.read(options, {
      begin: () => undefined,
      file: async (_file, content) => {
        for await (const _piece of content);
        files += 1;
      },
    });
    return { ...manifest, files };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}
