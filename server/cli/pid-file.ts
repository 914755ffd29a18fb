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

  /** Removes the file, unless another process has taken it over. */
  release(): void {
    if (this.#path !== undefined && isOurs(this.#path)) rmSync(this.#path, { force: true });
  }
}

function isOurs(path: string): boolean {
  try {
    return readFileSync(path, 'utf8').trim() === String(process.pid);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
}
