import { existsSync } from 'node:fs';
import { mkdir, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Random } from '../../util/random.ts';
import type { ArchivedFile, Manifest } from './archive.ts';
import { type Disk, removeQuietly, syncFolder } from './disk.ts';
import { nameWork } from './leftovers.ts';
import { checkRoom } from './make.ts';
import { openBackup } from './read.ts';
import { explainDisk, refusal } from './refusal.ts';
import { RESTORE_FOLDER, type Restored, swapIn } from './swap.ts';

/** Makes what was unpacked fit to be used, or throws an Error whose message says why it is not. */
export type Adopt = (
  directory: string,
  of: {
    /** Where it is to go. */
    readonly dataDir: string;
    readonly serverName: string;
    readonly madeAt: number;
    readonly hasMedia: boolean;
    readonly signal: AbortSignal;
  },
) => Promise<void>;

export interface RestoreOrder {
  readonly path: string;
  readonly passphrase: string;
  readonly dataDir: string;
  readonly adopt: Adopt;
  /** Does the last step while no server runs on the data. */
  readonly whileHeld: (work: () => Promise<Restored>) => Promise<Restored>;
  readonly random: Random;
  readonly disk: Disk;
  readonly signal: AbortSignal;
  /** `share` from 0 to 1. */
  readonly progress: (share: number, step: string) => void;
}

export interface RestoreOutcome extends Restored {
  /** When the backup was made, ms since the epoch. */
  readonly madeAt: number;
  readonly hasMedia: boolean;
}

/**
 * Puts the content of a backup in the place of what is in the data directory. Everything is unpacked and checked beside it first:
 * until the very last step nothing is changed. Throws a refusal in words, and the reason of `signal`.
 */
export async function restoreBackup(order: RestoreOrder): Promise<RestoreOutcome> {
  const { dataDir, signal, progress } = order;
  await using backup = await openBackup(order.path);
  using work = nameWork(order.random);
  const { name: staged } = work;
  const directory = join(dataDir, RESTORE_FOLDER, staged);
  let decided = false;
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const unpacking = new Unpacking(directory, order.disk);
    const manifest = await backup.read(
      { passphrase: order.passphrase, signal, progress: (share) => progress(0.85 * share, 'Unpacking') },
      unpacking,
    );
    await unpacking.finish();
    if (manifest.server_name !== backup.header.serverName) throw refusal('The backup contradicts itself');
    progress(0.85, 'Checking');
    await order.adopt(directory, {
      dataDir,
      serverName: manifest.server_name,
      madeAt: manifest.made_at,
      hasMedia: manifest.media,
      signal,
    });
    signal.throwIfAborted();
    progress(0.95, 'Putting everything in its place');
    const restored = await order.whileHeld(async () => {
      signal.throwIfAborted();
      decided = true;
      return swapIn(dataDir, { staged, serverName: manifest.server_name });
    });
    return { ...restored, madeAt: manifest.made_at, hasMedia: manifest.media };
  } catch (error) {
    throw explainDisk(error, 'The backup could not be restored');
  } finally {
    // Once it is decided, what is not in its place yet is all there is of it.
    if (!decided || !existsSync(join(dataDir, RESTORE_FOLDER, 'plan.json'))) {
      await removeQuietly(directory);
      await removeIfEmpty(join(dataDir, RESTORE_FOLDER));
    }
  }
}

async function removeIfEmpty(folder: string): Promise<void> {
  try {
    await rmdir(folder);
  } catch (error) {
    // Another restoration has its files there, or has removed it.
    if (!(error instanceof Error && 'code' in error && /^(ENOTEMPTY|EEXIST|ENOENT)$/.test(String(error.code))))
      throw error;
  }
}

/** Writes the files of a backup into a folder. */
class Unpacking {
  readonly #directory: string;
  readonly #disk: Disk;
  readonly #folders = new Set<string>();
  readonly #names = new Set<string>();

  constructor(directory: string, disk: Disk) {
    this.#directory = directory;
    this.#disk = disk;
  }

  async begin(manifest: Manifest): Promise<void> {
    await checkRoom(this.#disk, this.#directory, manifest.bytes, 'what is in the backup');
  }

  async file({ name }: ArchivedFile, content: AsyncIterable<Buffer>): Promise<void> {
    const path = join(this.#directory, ...name.split('/'));
    await this.#makeFolder(dirname(path));
    const sink = await this.#disk.create(path);
    try {
      for await (const piece of content) await sink.write(piece);
      await sink.sync();
    } finally {
      await sink.close();
    }
    this.#names.add(name);
  }

  /** Everything is there, and durable. */
  async finish(): Promise<void> {
    for (const name of ['homeserver.db', 'homeserver.yaml']) {
      if (!this.#names.has(name)) throw refusal(`The backup has no ${name}`);
    }
    for (const folder of [...this.#folders, this.#directory]) await syncFolder(folder);
  }

  async #makeFolder(path: string): Promise<void> {
    if (path === this.#directory || this.#folders.has(path)) return;
    await mkdir(path, { recursive: true, mode: 0o700 });
    for (let at = path; at !== this.#directory; at = dirname(at)) this.#folders.add(at);
  }
}
