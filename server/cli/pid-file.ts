import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileError } from '../config/source.ts';
import { CommandError } from './command.ts';

/** A file with this process's ID, there for as long as it is held. */
export interface PidFile extends Disposable {
  release(): void;
}

/** Writes the file; without a path, nothing. Throws CommandError if it cannot be written. */
export function holdPidFile(path: string | undefined): PidFile {
  if (path !== undefined) {
    try {
      writeFileSync(path, `${process.pid}\n`);
    } catch (error) {
      throw new CommandError(`The pid file ${path} cannot be written: ${fileError(error)}`, { cause: error });
    }
  }
  const release = (): void => {
    if (path !== undefined && isOurs(path)) rmSync(path, { force: true });
  };
  return { release, [Symbol.dispose]: release };
}

// Another process may have taken the file over in the meantime.
function isOurs(path: string): boolean {
  try {
    return readFileSync(path, 'utf8').trim() === String(process.pid);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
}
