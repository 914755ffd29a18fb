import { open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MatrixError, notFound } from '../../matrix/errors.ts';
import type { BackupFile } from '../contract.ts';
import { type BackupHeader, readHeader } from './format.ts';
import { BACKUP_SUFFIX } from './make.ts';
import { explainDisk } from './refusal.ts';

/** Files that are open at a time. */
const AT_ONCE = 32;

/** A backup in a directory; `header` undefined where it cannot be read. */
export interface Listed extends Omit<BackupFile, 'isVerified'> {
  readonly header: BackupHeader | undefined;
}

/** The backups in a directory, the newest first. None where there is no such directory. */
export async function listBackups(directory: string): Promise<Listed[]> {
  let names: string[];
  try {
    names = await readdir(directory);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw explainDisk(error, `The folder ${directory} cannot be read`);
  }
  const backups = names.filter(isBackupName);
  const found: (Listed | undefined)[] = [];
  for (let at = 0; at < backups.length; at += AT_ONCE) {
    found.push(...(await Promise.all(backups.slice(at, at + AT_ONCE).map((name) => lookAt(directory, name)))));
  }
  return found.filter((file) => file !== undefined).sort((a, b) => b.madeAt - a.madeAt || (a.name < b.name ? 1 : -1));
}

/** Where a backup of a directory lies. Throws M_NOT_FOUND for a name that is none, or leads elsewhere. */
export function backupPath(directory: string, name: string): string {
  if (!isBackupName(name)) throw notFound('There is no such backup');
  return join(directory, name);
}

/** Removes a backup. Throws M_NOT_FOUND where there is none. */
export async function removeBackup(directory: string, name: string): Promise<void> {
  const path = backupPath(directory, name);
  try {
    await rm(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') throw notFound('There is no such backup');
    throw explainDisk(error, 'The backup could not be removed');
  }
}

/** Whether a file of this name is meant to be a backup. */
export function isBackupName(name: string): boolean {
  return name.endsWith(BACKUP_SUFFIX) && !name.startsWith('.') && !/[\\/\p{Cc}]/u.test(name);
}

async function lookAt(directory: string, name: string): Promise<Listed | undefined> {
  const path = join(directory, name);
  try {
    const found = await stat(path);
    if (!found.isFile()) return undefined;
    const header = await headerAt(path);
    return {
      name,
      path,
      bytes: found.size,
      madeAt: header?.madeAt ?? Math.round(found.mtimeMs),
      ...(header === undefined ? {} : { serverName: header.serverName }),
      header,
    };
  } catch (error) {
    // It went while the directory was read.
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

async function headerAt(path: string): Promise<BackupHeader | undefined> {
  await using handle = await open(path, 'r');
  try {
    const { header } = await readHeader(async (position, length) => {
      const buffer = Buffer.alloc(length);
      const { bytesRead } = await handle.read(buffer, 0, length, position);
      return buffer.subarray(0, bytesRead);
    });
    return header;
  } catch (error) {
    if (error instanceof MatrixError) return undefined;
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') throw error;
    // Somebody else's, or on a bad spot of the disk: there it is, and the others can be read all the same.
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
}
