import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileError } from '../config/source.ts';
import { CommandError } from './command.ts';

/** A file that holds the ID of this process while it runs. */
export class PidFile {
  readonly #path: string | undefined;

  /** Without a path, all this does nothing. */
  constructor(path: string | undefined) {
    this.#path = path;
  }

  /** Throws CommandError if it cannot be written. */
  write(): void {
    if (this.#path === undefined) return;
    try {
      writeFileSync(this.#path, `${process.pid}\n`);
    } catch (error) {
      throw new CommandError(`The pid file ${this.#path} cannot be written: ${fileError(error)}`, { cause: error });
    }
  }

  /** The same, unless another process that still runs stands there. Throws CommandError. */
  writeUnlessHeld(): void {
    if (this.#path !== undefined && !isHeld(this.#path)) this.write();
  }

  /** Removes the file, unless another process has taken it over. */
  release(): void {
    if (this.#path !== undefined && isOurs(this.#path)) rmSync(this.#path, { force: true });
  }
}

function isOurs(path: string): boolean {
  return readPid(path) === String(process.pid);
}

function isHeld(path: string): boolean {
  const pid = Number(readPid(path));
  if (!Number.isSafeInteger(pid) || pid <= 0 || pid === process.pid) return false;
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // It is there, and somebody else's.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

function readPid(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
