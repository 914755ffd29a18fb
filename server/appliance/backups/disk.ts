import { type FileHandle, open, rm, statfs } from 'node:fs/promises';

/** A file that is being written. */
export interface Sink {
  write(data: Buffer): Promise<void>;
  /** Resolves when all of it is on the disk. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** What backups do to the disk; tests hand in one that is full. */
export interface Disk {
  /** A new file that only its owner may read. Throws EEXIST where there is one. */
  create(path: string): Promise<Sink>;
  /** Bytes that can still be written where `directory` is. */
  freeBytes(directory: string): Promise<number>;
}

export const systemDisk: Disk = {
  create: async (path) => {
    const handle = await open(path, 'wx', 0o600);
    return { write: (data) => writeAll(handle, data), sync: () => handle.sync(), close: () => handle.close() };
  },
  freeBytes: async (directory) => {
    const { bavail, bsize, blocks } = await statfs(directory);
    // Some that are somewhere on the network do not tell.
    return blocks === 0 ? Number.MAX_SAFE_INTEGER : bavail * bsize;
  },
};

async function writeAll(handle: FileHandle, data: Buffer): Promise<void> {
  for (let written = 0; written < data.length; ) {
    const { bytesWritten } = await handle.write(data, written, data.length - written);
    written += bytesWritten;
  }
}

/** Makes the names in a folder durable; Windows does that by itself and refuses to be asked. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  await using folder = await open(path, 'r');
  try {
    await folder.sync();
  } catch (error) {
    if (!folderError(error)) throw error;
  }
}

/** Whether an error only says that a file system, such as one on the network, knows no such thing for folders. */
export function folderError(error: unknown): boolean {
  return (
    error instanceof Error && 'code' in error && /^(EINVAL|ENOTSUP|EOPNOTSUPP|ENOSYS|EBADF)$/.test(String(error.code))
  );
}

/** Removes a file or folder. Where that fails so did what came before, and that is what whoever asked should hear of. */
export async function removeQuietly(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
  }
}
