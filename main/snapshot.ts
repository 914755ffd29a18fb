import { constants } from 'node:fs';
import { copyFile, mkdir, open, readdir, rename, rm, stat, statfs } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** What goes with a program that ran, and belongs to no copy. */
const PASSING = /^control\.json$|\.pid$|\.new$|\.lock$/;
/** Bytes that have to stay free beside the copy. */
const SPARE_BYTES = 100 * 1024 * 1024;
const ROOM_ERROR = 'NoRoomError';

/** What of the data a new version may change: the files of the data directory itself, and the database. */
interface Data {
  readonly dataDir: string;
  /** The database's file, wherever it lies. */
  readonly database: string;
}

export function isNoRoom(error: unknown): boolean {
  return error instanceof Error && (error.name === ROOM_ERROR || ('code' in error && error.code === 'ENOSPC'));
}

/**
 * Copies the data of a server that does not run into `directory`, whole or not at all. Media are not copied: they are
 * only ever added to. Throws the file system's error, or one that `isNoRoom` knows.
 */
export async function takeSnapshot(
  data: Data,
  directory: string,
  freeBytes: (path: string) => Promise<number> = freeBytesAt,
): Promise<void> {
  const files = await filesOf(data);
  const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
  const needed = sizes.reduce((sum, size) => sum + size, SPARE_BYTES);
  await mkdir(dirname(directory), { recursive: true, mode: 0o700 });
  if ((await freeBytes(dirname(directory))) < needed)
    throw Object.assign(new Error('not enough room on the disk'), { name: ROOM_ERROR });
  const temporary = `${directory}.new`;
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { mode: 0o700 });
  try {
    for (const file of files) await copyWhole(file, join(temporary, basename(file)));
    await rm(directory, { recursive: true, force: true });
    await rename(temporary, directory);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
}

/** Puts a snapshot in the place of what is there. May be repeated after it was cut off. Throws the file system's error. */
export async function restoreSnapshot({ dataDir, database }: Data, directory: string): Promise<void> {
  const names = await readdir(directory);
  const targetOf = (name: string): string =>
    name.startsWith(basename(database)) ? join(dirname(database), name) : join(dataDir, name);
  for (const name of names) {
    const target = targetOf(name);
    await copyWhole(join(directory, name), `${target}.new`);
  }
  // What the database has beside it belongs to the one that goes: it must not meet the one that comes.
  for (const suffix of ['-wal', '-shm', '-journal']) await rm(`${database}${suffix}`, { force: true });
  for (const name of names) await rename(`${targetOf(name)}.new`, targetOf(name));
}

async function freeBytesAt(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}

async function filesOf({ dataDir, database }: Data): Promise<string[]> {
  const entries = await readdir(dataDir, { withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && !PASSING.test(entry.name));
  const all = new Set(files.map(({ name }) => join(dataDir, name)));
  for (const entry of await readdir(dirname(database), { withFileTypes: true })) {
    if (entry.isFile() && entry.name.startsWith(basename(database)) && !PASSING.test(entry.name)) {
      all.add(join(dirname(database), entry.name));
    }
  }
  return [...all];
}

async function copyWhole(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_FICLONE);
  const file = await open(to, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
