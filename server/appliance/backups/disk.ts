import { type FileHandle, open, statfs } from 'node:fs/promises';

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
    const { bavail, bsize } = await statfs(directory);
    return bavail * bsize;
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
  await folder.sync();
}
