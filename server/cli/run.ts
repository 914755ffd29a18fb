import { findSimilar } from '../config/problems.ts';
import { CommandError, type Command, type Terminal, UsageError } from './command.ts';

// Loaded when they are called: what one of them needs must not slow the others down.
const commands: Readonly<Record<string, { readonly summary: string; load(): Promise<Command> }>> = {
  start: {
    summary: 'run the homeserver with its interface',
    load: async () => (await import('./start.ts')).start,
  },
  link: {
    summary: 'print a new link to the interface of a server that runs',
    load: async () => (await import('./link.ts')).link,
  },
  serve: {
    summary: 'run the homeserver alone',
    load: async () => (await import('./serve.ts')).serve,
  },
  'generate-config': {
    summary: 'make a data directory with a configuration and a signing key',
    load: async () => (await import('./generate-config.ts')).generateConfigCommand,
  },
  'check-config': {
    summary: 'say what is wrong with a configuration, or has no effect',
    load: async () => (await import('./check-config.ts')).checkConfig,
  },
  doctor: {
    summary: 'look whether other servers and apps can reach a server, and say what to do',
    load: async () => (await import('./doctor.ts')).doctor,
  },
  'register-user': {
    summary: 'create an account on a running server',
    load: async () => (await import('./register-user.ts')).registerUser,
  },
  backup: {
    summary: 'write everything into one encrypted file',
    load: async () => (await import('./backup.ts')).backup,
  },
  restore: {
    summary: 'put a backup in the place of a data directory',
    load: async () => (await import('./restore.ts')).restore,
  },
  'hash-password': {
    summary: 'print the hash of a password, as the database has it',
    load: async () => (await import('./hash-password.ts')).hashPassword,
  },
  'generate-signing-key': {
    summary: 'make a signing key',
    load: async () => (await import('./generate-signing-key.ts')).generateSigningKeyCommand,
  },
  version: {
    summary: 'print the version',
    load: async () => (await import('./version.ts')).versionCommand,
  },
};

function usage(): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length));
  const lines = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`);
  return ['Usage: hearth <command> [options]', '', ...lines, '', '"hearth <command> --help" tells more.'].join('\n');
}

/**
 * Runs the command line `args` (without node and the script) and returns the exit code: 0, 1 if it could not be done,
 * 2 if it was called wrongly. A mistake of the user's never shows as a stack trace. `others` take the place of the
 * commands of their names.
 */
export async function run(
  args: readonly string[],
  terminal: Terminal,
  others: Readonly<Record<string, Command>> = {},
): Promise<number> {
  const [name, ...rest] = args;
  if (name === '--help' || name === '-h' || name === 'help') {
    terminal.print(usage());
    return 0;
  }
  const entry = commandOf(name === '--version' ? 'version' : name);
  if (entry === undefined) {
    const similar = name === undefined ? undefined : findSimilar(name, Object.keys(commands));
    if (name !== undefined) {
      terminal.complain(`There is no command "${name}"${similar === undefined ? '' : `; did you mean "${similar}"?`}`);
    }
    terminal.complain(usage());
    return 2;
  }
  const command = others[entry.name] ?? (await entry.load());
  if (rest.includes('--help') || rest.includes('-h')) {
    terminal.print(command.help);
    return 0;
  }
  try {
    return await command.run(rest, terminal);
  } catch (error) {
    if (error instanceof UsageError) {
      terminal.complain(`${command.name}: ${error.message}`);
      terminal.complain(command.help);
      return 2;
    }
    // ConfigError is told by its name: its module is only loaded where a configuration is.
    if (error instanceof CommandError || (error instanceof Error && error.name === 'ConfigError')) {
      terminal.complain(error.message);
      return 1;
    }
    throw error;
  }
}

function commandOf(name: string | undefined): ((typeof commands)[string] & { readonly name: string }) | undefined {
  const entry = name !== undefined && Object.hasOwn(commands, name) ? commands[name] : undefined;
  return name === undefined || entry === undefined ? undefined : { ...entry, name };
}

/** Runs the command line that this process was started with. */
export async function runHere(): Promise<void> {
  process.exitCode = await run(process.argv.slice(2), {
    print: (line) => process.stdout.write(`${line}\n`),
    complain: (line) => process.stderr.write(`${line}\n`),
  });
}
