import { createReadStream, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { rename, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Random } from '../../util/random.ts';
import type { BackupResult } from '../contract.ts';
import { ArchiveWriter } from './archive.ts';
import { type Disk, removeQuietly, syncFolder } from './disk.ts';
import { beginFile, type KeyCost } from './format.ts';
import { isLeftOver, nameWork } from './leftovers.ts';
import { fileNameOf } from './names.ts';
import type { BackupSource } from './port.ts';
import { openBackup } from './read.ts';
import { explainDisk, refusal } from './refusal.ts';
import { SealedWriter } from './sealed.ts';

export const BACKUP_SUFFIX = '.hearthbackup';
const PART_SUFFIX = '.part';
/** Room that is left on a disk, whatever a backup takes. */
const SPARE_BYTES = 16 * 1024 * 1024;
const READ_BYTES = 256 * 1024;

export interface BackupOrder {
  readonly source: BackupSource;
  /** Where the copy of the database is for a while. */
  readonly dataDir: string;
  /** The new file, in a folder that is there; no such file may be. */
  readonly path: string;
  readonly passphrase: string;
  readonly media: boolean;
  readonly scheduled: boolean;
  /** ms since the epoch. */
  readonly now: number;
  readonly random: Random;
  readonly disk: Disk;
  readonly cost?: KeyCost | undefined;
  readonly signal: AbortSignal;
  /** `share` from 0 to 1. */
  readonly progress: (share: number, step: string) => void;
}

export type MadeBackup = Readonly<BackupResult>;

/** What a backup is called: of which server, and when it was made (UTC). */
export function backupName(serverName: string, now: number): string {
  const time = new Date(now).toISOString().replaceAll(/[-:]|\.\d+/g, '');
  return `hearth-${fileNameOf(serverName)}-${time}${BACKUP_SUFFIX}`;
}

/** About how many bytes a backup will have. */
export function estimateBytes(source: BackupSource, media: boolean): number {
  const { databaseBytes, mediaBytes } = source.measure();
  // Encrypted messages hardly become smaller by compression, the rest becomes much smaller.
  return Math.round(databaseBytes * 0.75) + (media ? mediaBytes : 0) + 1024 * 1024;
}

/**
 * Makes a backup and reads it back. Throws a refusal in words where it cannot be made, and the reason of `signal`; then nothing
 * of it is left.
 */
export async function makeBackup(order: BackupOrder): Promise<MadeBackup> {
  const { path, dataDir, random, disk, source, media } = order;
  const directory = dirname(path);
  using own = nameWork(random);
  const work = join(dataDir, 'backup-work', own.name);
  const part = join(directory, `.${basename(path)}.${own.name}${PART_SUFFIX}`);
  try {
    clearWork(dataDir);
    clearParts(directory, source.serverName);
    mkdirSync(work, { recursive: true, mode: 0o700 });
    const { databaseBytes } = source.measure();
    const backupBytes = estimateBytes(source, media);
    // The server that runs needs what is left of its disk, too.
    const isOneDisk = statSync(directory).dev === statSync(work).dev;
    await checkRoom(disk, directory, backupBytes + (isOneDisk ? databaseBytes : 0), 'the backup');
    if (!isOneDisk) await checkRoom(disk, work, databaseBytes, 'a copy of the database');
    const made = await write(order, { part, copy: join(work, 'homeserver.db') });
    order.progress(0.7, 'Reading it back');
    await using written = await openBackup(part);
    await written.verify({
      passphrase: order.passphrase,
      signal: order.signal,
      progress: (share) => order.progress(0.7 + 0.3 * share, 'Reading it back'),
    });
    order.signal.throwIfAborted();
    await refuseExisting(path);
    await rename(part, path);
    await syncFolder(directory);
    return { ...made, name: basename(path), path };
  } catch (error) {
    throw explainDisk(error, 'The backup could not be written');
  } finally {
    // What of this fails is done by the next backup.
    await removeQuietly(part);
    await removeQuietly(work);
  }
}

async function write(
  order: BackupOrder,
  { part, copy }: { readonly part: string; readonly copy: string },
): Promise<Omit<MadeBackup, 'name' | 'path'>> {
  const { source, signal, progress, disk } = order;
  progress(0, 'Copying the database');
  await source.copyDatabase(copy, {
    signal,
    progress: (share) => progress(0.15 * share, 'Copying the database'),
  });
  const known = source.openMedia(copy);
  const sink = await disk.create(part);
  try {
    const header = { serverName: source.serverName, madeAt: order.now, scheduled: order.scheduled };
    const { bytes: beginning, contentKey } = await beginFile(order.passphrase, header, order);
    await sink.write(beginning);
    const sealed = new SealedWriter(sink, contentKey);
    const archive = new ArchiveWriter(sealed);
    const small = source.listFiles().map((file) => ({ file, bytes: sizeOf(file) }));
    const databaseBytes = statSync(copy).size;
    let expected = small.reduce((sum, { bytes }) => sum + bytes, databaseBytes);
    if (order.media) for (const { bytes } of known.list()) expected += bytes;
    await archive.begin({
      server_name: source.serverName,
      made_at: order.now,
      version: source.version,
      media: order.media,
      bytes: expected,
    });
    let done = 0;
    let files = 0;
    const add = async (name: string, bytes: number, content: AsyncIterable<Buffer>, gzip: boolean): Promise<Buffer> => {
      const counted = async function* (): AsyncGenerator<Buffer> {
        for await (const piece of content) {
          signal.throwIfAborted();
          done += piece.length;
          progress(0.15 + (0.55 * done) / expected, 'Writing');
          yield piece;
        }
      };
      files += 1;
      return archive.add({ name, bytes, gzip }, counted());
    };
    await add('homeserver.db', databaseBytes, readFileAt(copy), true);
    for (const { file, bytes } of small) {
      await add(file.name, bytes, 'content' in file ? whole(file.content) : readFileAt(file.path), true);
    }
    let missingMedia = 0;
    let damagedMedia = 0;
    for (const { name, path, sha256, bytes } of order.media ? known.list() : []) {
      signal.throwIfAborted();
      const size = await sizeAt(path);
      // Somebody removed it a moment ago, or the file is not what it was: a restored server says that it is not there.
      if (size === undefined) missingMedia += 1;
      else if (size !== bytes) damagedMedia += 1;
      else if ((await add(name, bytes, readFileAt(path), false)).toString('hex') !== sha256) damagedMedia += 1;
    }
    await archive.finish();
    await sink.sync();
    return { bytes: beginning.length + sealed.written, files, missingMedia, damagedMedia };
  } finally {
    known.close();
    await sink.close();
  }
}

/** Removes copies of the database that backups left which ended with their process. */
function clearWork(dataDir: string): void {
  const directory = join(dataDir, 'backup-work');
  for (const name of namesIn(directory)) {
    if (isLeftOver(name)) rmSync(join(directory, name), { recursive: true, force: true });
  }
}

/** The same of unfinished files of a server, in the directory of its backups. */
function clearParts(directory: string, serverName: string): void {
  const beginning = `.hearth-${fileNameOf(serverName)}-`;
  for (const name of namesIn(directory)) {
    const [, work] = /\.(\d+-\w+)\.part$/.exec(name) ?? [];
    if (name.startsWith(beginning) && work !== undefined && isLeftOver(work))
      rmSync(join(directory, name), { force: true });
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}

/** Throws a refusal where a disk has not so many bytes left. */
export async function checkRoom(disk: Disk, directory: string, bytes: number, what: string): Promise<void> {
  const free = await disk.freeBytes(directory);
  if (free >= bytes + SPARE_BYTES) return;
  const inMb = (count: number): string => `${Math.ceil(count / 1_048_576)} MB`;
  throw refusal(
    `There is not enough room for ${what}: it needs about ${inMb(bytes)}, and the disk has ${inMb(free)} left`,
    { status: 507 },
  );
}

async function refuseExisting(path: string): Promise<void> {
  if ((await sizeAt(path)) !== undefined) throw refusal(`There is a file ${path} already, and it stays as it is`);
}

async function sizeAt(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function sizeOf(file: ReturnType<BackupSource['listFiles']>[number]): number {
  return 'content' in file ? file.content.length : statSync(file.path).size;
}

async function* whole(content: Buffer): AsyncGenerator<Buffer> {
  yield content;
}

function readFileAt(path: string): AsyncIterable<Buffer> {
  return createReadStream(path, { highWaterMark: READ_BYTES });
}
