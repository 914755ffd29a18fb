import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import type { Random } from '../../util/random.ts';
import { listBackups } from './catalogue.ts';
import { nameWork } from './leftovers.ts';
import { explainDisk, refusal } from './refusal.ts';

/** By this file a folder is known again: where a disk is not connected, an empty folder may stand in its place. */
const MARKER = '.hearth-backups';
const MARKER_TEXT = `Hearth keeps backups in this folder.

By this small file it knows that the disk it writes them to is the one that was chosen. Please leave it here: without it,
and without backups of its server, Hearth takes the disk for one that is not connected and makes no backup.
`;

/** Makes a folder that was chosen ready for backups. Throws a refusal with the field `directory` where it cannot be used. */
export function takeFolder(directory: string, random: Random): void {
  const field = 'directory';
  if (!isAbsolute(directory)) throw refusal('The whole path of the folder is needed', { field });
  using probe = nameWork(random);
  const file = join(directory, `.hearth-${probe.name}.part`);
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    // Written whether the marker is there or not: it may be from a time when the disk could be written to.
    writeFileSync(file, '', { flag: 'wx' });
    rmSync(file);
    mark(directory);
  } catch (error) {
    const explained = explainDisk(error, 'That folder cannot be used');
    throw refusal(explained instanceof Error ? explained.message : String(explained), { field });
  }
}

/** How a folder that was chosen looks now. `unknown`: nothing in it says that it is that one, so that its disk may be away. */
export type FolderState = 'known' | 'missing' | 'unknown';

/**
 * Looks for the folder that was chosen; one with backups of this server is known as well, since folders were not always marked.
 * Throws a refusal where it cannot be read.
 */
export async function lookAtFolder(directory: string, serverName: string | undefined): Promise<FolderState> {
  if (existsSync(join(directory, MARKER))) return 'known';
  if (!existsSync(directory)) return 'missing';
  const backups = await listBackups(directory);
  // Whose they are cannot be said while nobody knows what this server is called.
  const isOurs = backups.some(
    ({ header }) => header !== undefined && (serverName ?? header.serverName) === header.serverName,
  );
  return isOurs ? 'known' : 'unknown';
}

/** Throws the error of the file system. */
export function mark(directory: string): void {
  const path = join(directory, MARKER);
  if (!existsSync(path)) writeFileSync(path, MARKER_TEXT, { mode: 0o600, flush: true });
}
