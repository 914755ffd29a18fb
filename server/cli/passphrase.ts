import { readFileSync } from 'node:fs';
import { fileError } from '../config/source.ts';
import { CommandError } from './command.ts';
import { askTwice, Prompt } from './prompt.ts';

/** The environment variable that may hold the passphrase of a backup. */
export const PASSPHRASE_VARIABLE = 'HEARTH_PASSPHRASE';

/** A passphrase out of a file or the environment, or asked for; twice where it is a new one. Throws CommandError. */
export async function findPassphrase(
  file: string | undefined,
  { isNew }: { readonly isNew: boolean },
): Promise<string> {
  const given = file === undefined ? process.env[PASSPHRASE_VARIABLE] : readSecret(file);
  if (given !== undefined && given !== '') return given;
  if (file !== undefined) throw new CommandError(`${file} is empty`);
  if (isNew) return askTwice('Passphrase: ', 'Once more: ');
  const prompt = new Prompt();
  try {
    return await prompt.askHidden('Passphrase: ');
  } finally {
    prompt.close();
  }
}

function readSecret(file: string): string {
  try {
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw new CommandError(`${file} cannot be read: ${fileError(error)}`, { cause: error });
  }
}

/** What went wrong with a backup, as a mistake of the user's where it is none of the program's. */
export function explainFailure(error: unknown): unknown {
  if (!(error instanceof Error) || !['MatrixError', 'StorageError'].includes(error.name)) return error;
  return new CommandError(error.message, { cause: error });
}
