import type { parseArgs as ParseArgs, ParseArgsConfig } from 'node:util';

// Not imported: an import asks a built-in module for all it has, and this one loads a good deal of it only then.
const { parseArgs } = process.getBuiltinModule('node:util');

/** What a command reads from and writes to. */
export interface Terminal {
  /** A line on standard output. */
  print(line: string): void;
  /** A line on standard error. */
  complain(line: string): void;
}

/** A sub-command of the command line. */
export interface Command {
  readonly name: string;
  /** Shown by `--help`: how it is called and what each flag does. */
  readonly help: string;
  /** Returns the exit code. Throws UsageError, CommandError or ConfigError for the user's mistakes. */
  run(args: readonly string[], terminal: Terminal): Promise<number>;
}

/** The command line itself is wrong: the usage is shown, the exit code is 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The command cannot be carried out: one line says why, the exit code is 1. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}

/** `parseArgs` of Node, with `--help` and mistakes as UsageError. */
export function parseFlags<const T extends ParseArgsConfig>(
  args: readonly string[],
  config: T,
): ReturnType<typeof ParseArgs<T & { args: string[]; strict: true }>> {
  try {
    return parseArgs({ ...config, args: [...args], strict: true });
  } catch (error) {
    if (error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')) {
      // Node's advice on how to pass such a thing as a positional argument is more than is wanted.
      throw new UsageError(error.message.split('. ', 1)[0] ?? error.message);
    }
    throw error;
  }
}

/** The port in `text`. Throws UsageError if there is none. */
export function parsePort(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port <= 65_535) return port;
  throw new UsageError(`${flag} has to be a port number from 0 to 65535, not "${text}"`);
}
