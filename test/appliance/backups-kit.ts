import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { type Disk, systemDisk } from '../../server/appliance/backups/disk.ts';
import { type MadeBackup, makeBackup } from '../../server/appliance/backups/make.ts';
import type { BackupSource } from '../../server/appliance/backups/port.ts';
import { restoreBackup, type RestoreOutcome } from '../../server/appliance/backups/restore.ts';
import { createAdopt, openBackupSource } from '../../server/appliance-ports/backups.ts';
import { silentLogger } from '../../server/util/log.ts';
import { systemRandom } from '../../server/util/random.ts';
import { TestServer } from '../kit/test-server.ts';

export const PASSPHRASE = 'eleven quiet herons';

/** As little as a header may ask for: what is tested here is not how long guessing takes. */
export const CHEAP = { memoryKiB: 1_024, passes: 1, lanes: 1 };

/** A data directory of a server that had some life, stopped. */
export interface House extends AsyncDisposable {
  readonly dataDir: string;
  readonly token: string;
  readonly roomId: string;
}

/** Names → digests of what lies in a directory; the lock files of databases, which say nothing, left out. */
export function treeOf(directory: string): Record<string, string> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const digest = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');
  return Object.fromEntries(
    files
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((path) => !path.endsWith('.lock'))
      .map((path): [string, string] => [relative(directory, path), digest(path)])
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

export async function makeHouse(serverName = 'home.test', mediaBytes = 700_000): Promise<House> {
  const server = await TestServer.start({ serverName });
  const nora = await server.register('nora');
  const roomId = await nora.createRoom();
  await nora.send(roomId, 'good morning');
  const headers = { 'content-type': 'application/octet-stream' };
  await fetch(new URL('/_matrix/media/v3/upload', server.baseUrl), {
    method: 'POST',
    headers: { ...headers, authorization: `Bearer ${nora.token}` },
    body: new Uint8Array(systemRandom.bytes(mediaBytes)),
  });
  await server.end();
  return {
    dataDir: server.dir,
    token: nora.token ?? '',
    roomId,
    [Symbol.asyncDispose]: async () => server[Symbol.asyncDispose](),
  };
}

/** A directory that goes with the test. */
export function temporary(t: { after(done: () => void): void }): string {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-backups-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export interface Options {
  readonly disk?: Disk;
  readonly signal?: AbortSignal;
  readonly passphrase?: string;
  readonly progress?: (share: number, step: string) => void;
}

export async function backUp(
  dataDir: string,
  path: string,
  options: Options & { readonly source?: BackupSource; readonly media?: boolean; readonly scheduled?: boolean } = {},
): Promise<MadeBackup> {
  const opened = openBackupSource(dataDir);
  try {
    return await makeBackup({
      source: options.source ?? opened,
      dataDir,
      path,
      passphrase: options.passphrase ?? PASSPHRASE,
      media: options.media ?? true,
      scheduled: options.scheduled ?? false,
      now: Date.now(),
      random: systemRandom,
      disk: options.disk ?? systemDisk,
      cost: CHEAP,
      signal: options.signal ?? new AbortController().signal,
      progress: options.progress ?? (() => undefined),
    });
  } finally {
    opened.close();
  }
}

export function restore(path: string, dataDir: string, options: Options = {}): Promise<RestoreOutcome> {
  return restoreBackup({
    path,
    passphrase: options.passphrase ?? PASSPHRASE,
    dataDir,
    adopt: createAdopt({ log: silentLogger, now: () => Date.now() }),
    whileHeld: (work) => work(),
    random: systemRandom,
    disk: options.disk ?? systemDisk,
    signal: options.signal ?? new AbortController().signal,
    progress: options.progress ?? (() => undefined),
  });
}

/** A disk that takes so many more bytes, all files together. */
export function diskWith(bytes: number): Disk {
  let left = bytes;
  return {
    freeBytes: () => Promise.resolve(Number.MAX_SAFE_INTEGER),
    create: async (path) => {
      const sink = await systemDisk.create(path);
      return {
        ...sink,
        write: async (data) => {
          left -= data.length;
          if (left < 0) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
          await sink.write(data);
        },
      };
    },
  };
}

/** A copy of a file with something done to its bytes. */
export function altered(path: string, to: string, change: (bytes: Buffer) => Buffer): string {
  writeFileSync(to, change(Buffer.from(readFileSync(path))));
  return to;
}

export const sizeOf = (path: string): number => statSync(path).size;
