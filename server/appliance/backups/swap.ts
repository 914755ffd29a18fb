import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { Compile } from 'typebox/schema';
import { Type } from '../../http/type.ts';
import { holdDatabase } from '../../storage/connection.ts';
import { DATABASE_SUFFIXES } from '../../storage/copy.ts';
import { folderError } from './disk.ts';
import { isLeftOver } from './leftovers.ts';
import { fileNameOf } from './names.ts';

/**
 * The last step of a restoration. What is to be done is written down first; from that moment on it is carried out, by this
 * process or, if that ends, by the next one that starts on the data directory. Until then nothing is changed. What was there is
 * moved into a folder that stays.
 */

const DATABASE = 'homeserver.db';
const CONFIG = 'homeserver.yaml';
/** In the data directory: what is being restored, each in a folder of its own, and the plan. */
export const RESTORE_FOLDER = 'restore';
const PLAN = 'plan.json';

const planCheck = Compile(
  Type.Object({
    server_name: Type.String(),
    /** The folder with the new files, in the restore folder. */
    staged: Type.String({ pattern: '^[\\w-]+$' }),
    /** Where what was there goes. */
    kept: Type.String({ pattern: '^[\\w.-]+\\.before-restore$' }),
    entries: Type.Array(Type.String({ pattern: '^[^/\\\\]+$' })),
  }),
);

export interface Restored {
  readonly serverName: string;
  /** The folder that holds what was there before; undefined where nothing was. */
  readonly kept: string | undefined;
}

/**
 * Puts what lies in `restore/<staged>` in its place. Throws `StorageError` of kind `locked` where a server runs on the data, and
 * the file system's errors; whatever was begun is then finished by `finishRestore`.
 */
export function swapIn(dataDir: string, { staged, serverName }: { staged: string; serverName: string }): Restored {
  const lock = holdDatabase(join(dataDir, DATABASE));
  try {
    const plan = {
      server_name: serverName,
      staged,
      kept: freeName(dataDir, serverName),
      entries: inOrder(readdirSync(join(dataDir, RESTORE_FOLDER, staged))),
    };
    const path = join(dataDir, RESTORE_FOLDER, PLAN);
    writeDurably(path, JSON.stringify(plan));
    return carryOut(dataDir, plan);
  } finally {
    lock.release();
  }
}

/**
 * Carries out what a restoration that was ended in the middle had decided, and removes what one left that had not. To be called
 * before anything else in the data directory is read. Throws as `swapIn`.
 */
export function finishRestore(dataDir: string): Restored | undefined {
  const plan = readPlan(dataDir);
  if (plan === undefined) {
    clearStaged(dataDir);
    return undefined;
  }
  const lock = holdDatabase(join(dataDir, DATABASE));
  try {
    return carryOut(dataDir, plan);
  } finally {
    lock.release();
  }
}

interface Plan {
  readonly server_name: string;
  readonly staged: string;
  readonly kept: string;
  readonly entries: readonly string[];
}

function readPlan(dataDir: string): Plan | undefined {
  let text: string;
  try {
    text = readFileSync(join(dataDir, RESTORE_FOLDER, PLAN), 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  const plan: unknown = JSON.parse(text);
  if (!planCheck.Check(plan)) throw new Error(`${join(dataDir, RESTORE_FOLDER, PLAN)} is damaged`);
  return plan;
}

// Each step may be the one after which the process ends: all are repeated by the next one, and do nothing where they are done.
function carryOut(dataDir: string, plan: Plan): Restored {
  const staged = join(dataDir, RESTORE_FOLDER, plan.staged);
  const kept = join(dataDir, plan.kept);
  mkdirSync(kept, { recursive: true, mode: 0o700 });
  for (const entry of plan.entries) {
    const fresh = join(staged, entry);
    // It is in its place already.
    if (!existsSync(fresh)) continue;
    const target = join(dataDir, entry);
    if (entry === DATABASE) keepJournals(target, join(kept, entry));
    keep(target, join(kept, entry));
    renameSync(fresh, target);
  }
  for (const folder of [kept, dataDir]) syncFolder(folder);
  rmSync(join(dataDir, RESTORE_FOLDER, PLAN));
  syncFolder(join(dataDir, RESTORE_FOLDER));
  clearStaged(dataDir);
  const isEmpty = readdirSync(kept).length === 0;
  if (isEmpty) rmdirSync(kept);
  return { serverName: plan.server_name, kept: isEmpty ? undefined : kept };
}

/** A file stays until the new one takes its place in one step, where that can be; a folder has to make room first. */
function keep(target: string, kept: string): void {
  if (!existsSync(target)) return;
  if (lstatSync(target).isDirectory()) {
    renameSync(target, kept);
    return;
  }
  if (existsSync(kept)) return;
  try {
    linkSync(target, kept);
  } catch {
    // Not every file system has links. Until the new one is there, the plan is.
    renameSync(target, kept);
  }
}

/** What belongs to the old database must not be taken for the new one's. */
function keepJournals(target: string, kept: string): void {
  for (const suffix of DATABASE_SUFFIXES) {
    if (suffix === '' || suffix === '.lock' || !existsSync(`${target}${suffix}`)) continue;
    renameSync(`${target}${suffix}`, `${kept}${suffix}`);
  }
}

/** The database next to last and the configuration last. */
function inOrder(entries: readonly string[]): string[] {
  const rank = (entry: string): number => (entry === CONFIG ? 2 : entry === DATABASE ? 1 : 0);
  return entries.toSorted((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

function freeName(dataDir: string, serverName: string): string {
  const name = fileNameOf(serverName);
  for (let count = 1; ; count += 1) {
    const candidate = `${name}${count === 1 ? '' : `-${count}`}.before-restore`;
    if (!existsSync(join(dataDir, candidate))) return candidate;
  }
}

/** Folders of restorations whose process is gone. */
function clearStaged(dataDir: string): void {
  const folder = join(dataDir, RESTORE_FOLDER);
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) {
    if (isLeftOver(name)) rmSync(join(folder, name), { recursive: true, force: true });
  }
  if (readdirSync(folder).length === 0) rmdirSync(folder);
}

function writeDurably(path: string, text: string): void {
  const part = `${path}.part`;
  rmSync(part, { force: true });
  writeFileSync(part, text, { mode: 0o600, flush: true });
  renameSync(part, path);
  syncFolder(dirname(path));
}

function syncFolder(path: string): void {
  if (process.platform === 'win32') return;
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } catch (error) {
    if (!folderError(error)) throw error;
  } finally {
    closeSync(folder);
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
