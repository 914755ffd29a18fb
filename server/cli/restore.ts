import { existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { systemDisk } from '../appliance/backups/disk.ts';
import { restoreBackup } from '../appliance/backups/restore.ts';
import { createAdopt } from '../appliance-ports/backups.ts';
import { loadConfig } from '../config/config.ts';
import { defaultDataDir, hasConfig } from '../config/data-dir.ts';
import { holdDatabase } from '../storage/connection.ts';
import { silentLogger } from '../util/log.ts';
import { systemRandom } from '../util/random.ts';
import { type Command, CommandError, parseFlags, UsageError } from './command.ts';
import { finishInterrupted } from './finish-restore.ts';
import { explainFailure, findPassphrase, PASSPHRASE_VARIABLE } from './passphrase.ts';
import { showSteps } from './show-steps.ts';

export const restore: Command = {
  name: 'restore',
  help: `Usage: hearth restore FILE [options]

Unpacks a backup into a data directory: all of it, or nothing where something is wrong. No server may be running there.

  --data-dir DIR          the data directory (${defaultDataDir()} unless given); made if it isn't there
  --replace               also where there is a server already, which is kept in a folder that ends in .before-restore
  --passphrase-file FILE  a file with the passphrase; else the variable ${PASSPHRASE_VARIABLE} is used, or it is asked for`,
  run: async (args, terminal) => {
    const { values, positionals } = parseFlags(args, {
      options: {
        'data-dir': { type: 'string' },
        replace: { type: 'boolean' },
        'passphrase-file': { type: 'string' },
      },
      allowPositionals: true,
    });
    const [file, ...others] = positionals;
    if (file === undefined || others.length > 0) throw new UsageError('one backup file is needed');
    const dataDir = resolve(values['data-dir'] ?? defaultDataDir());
    await finishInterrupted(dataDir, terminal);
    if (values.replace !== true && (hasConfig(dataDir) || existsSync(join(dataDir, 'homeserver.db')))) {
      throw new CommandError(`${dataDir} holds a server already; with --replace the backup takes its place`);
    }
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    const stopping = new AbortController();
    const stop = (): void => stopping.abort(new CommandError('Broken off; nothing was changed'));
    process.on('SIGINT', stop).on('SIGTERM', stop);
    try {
      const elsewhere = holdDatabaseElsewhere(dataDir);
      try {
        const { serverName, madeAt, kept, hasMedia } = await restoreBackup({
          path: resolve(file),
          passphrase: await findPassphrase(values['passphrase-file'], { isNew: false }),
          dataDir,
          adopt: createAdopt({ log: silentLogger, now: () => Date.now() }),
          whileHeld: (work) => work(),
          random: systemRandom,
          disk: systemDisk,
          signal: stopping.signal,
          progress: showSteps(),
        });
        terminal.print(`${dataDir} holds ${serverName} as it was on ${new Date(madeAt).toISOString()}`);
        if (kept !== undefined) terminal.print(`What was there before is in ${kept}`);
        if (!hasMedia) terminal.print('The backup was made without media: those that are not here already are lost.');
        terminal.print(
          'What was changed since then is undone, also new passwords and sign-outs: whoever was signed out is',
        );
        terminal.print(
          'signed in again. Look through the devices of everybody, and sign out those that should not be there.',
        );
        terminal.print(
          'Backups on a schedule have to be switched on again, unless they were on in this directory already.',
        );
        terminal.print(`Start it: node server/cli.ts start${dirOption(values['data-dir'])}`);
        return 0;
      } finally {
        elsewhere?.release();
      }
    } catch (error) {
      throw explainFailure(error);
    } finally {
      process.off('SIGINT', stop).off('SIGTERM', stop);
    }
  },
};

function dirOption(given: string | undefined): string {
  if (given === undefined) return '';
  return ` --data-dir ${/^[\w./:\\-]+$/.test(given) ? given : JSON.stringify(given)}`;
}

/** A server whose database is not in its data directory must not be running either. */
function holdDatabaseElsewhere(dataDir: string): { release(): void } | undefined {
  let path: string;
  try {
    path = loadConfig({ dataDir }).config.databasePath;
  } catch (error) {
    // No server runs with such a configuration.
    if (error instanceof Error && error.name === 'ConfigError') return undefined;
    throw error;
  }
  return path === join(dataDir, 'homeserver.db') || !existsSync(path) ? undefined : holdDatabase(path);
}
