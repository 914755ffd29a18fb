import { mkdirSync, statSync } from 'node:fs';
import { dirname, extname, join, resolve } from 'node:path';
import { backupName, makeBackup } from '../appliance/backups/make.ts';
import { systemDisk } from '../appliance/backups/disk.ts';
import { checkNewPassphrase } from '../appliance/backups/passphrase.ts';
import { explainDisk } from '../appliance/backups/refusal.ts';
import { openBackupSource } from '../appliance-ports/backups.ts';
import { defaultDataDir } from '../config/data-dir.ts';
import { systemRandom } from '../util/random.ts';
import { type Command, CommandError, parseFlags, UsageError } from './command.ts';
import { explainFailure, findPassphrase, PASSPHRASE_VARIABLE } from './passphrase.ts';
import { showSteps } from './show-steps.ts';

export const backup: Command = {
  name: 'backup',
  help: `Usage: hearth backup [--config FILE]… | [--data-dir DIR] [options]

Writes the database, media, signing key and configuration of a server into one encrypted file, and reads it back. The server
may be running.

  -c, --config FILE       a configuration file, or a directory with files named *.yaml, as they are given to hearth serve; may be
                          given several times, and several files become one in the backup
  --data-dir DIR          the data directory (${defaultDataDir()} unless given)
  -o, --output PATH       the new file, or a directory for it, which is made if it isn't there (then without a dot in its name);
                          the directory backups in the data directory unless given
  --no-media              leave media out
  --passphrase-file FILE  a file with the passphrase; else the variable ${PASSPHRASE_VARIABLE} is used, or it is asked for`,
  run: async (args, terminal) => {
    const { values } = parseFlags(args, {
      options: {
        config: { type: 'string', short: 'c', multiple: true },
        'data-dir': { type: 'string' },
        output: { type: 'string', short: 'o' },
        'no-media': { type: 'boolean' },
        'passphrase-file': { type: 'string' },
      },
    });
    const { config: configPath, 'data-dir': given } = values;
    if (configPath !== undefined && given !== undefined) {
      throw new UsageError('either --config or --data-dir can be given');
    }
    const from = configPath === undefined ? resolve(given ?? defaultDataDir()) : { configPath };
    const stopping = new AbortController();
    const stop = (): void => stopping.abort(new CommandError('Broken off; nothing was left'));
    process.on('SIGINT', stop).on('SIGTERM', stop);
    try {
      const source = openBackupSource(from);
      const { dataDir } = source;
      try {
        const passphrase = await findPassphrase(values['passphrase-file'], { isNew: true });
        checkNewPassphrase(passphrase);
        const now = Date.now();
        const path = outputPath(values.output, dataDir, backupName(source.serverName, now));
        makeFolder(dirname(path));
        const made = await makeBackup({
          source,
          dataDir,
          path,
          passphrase,
          media: values['no-media'] !== true,
          scheduled: false,
          now,
          random: systemRandom,
          disk: systemDisk,
          signal: stopping.signal,
          progress: showSteps(),
        });
        terminal.print(made.path);
        terminal.complain(`${made.files} files, ${(made.bytes / 1_048_576).toFixed(1)} MB, read back and found whole`);
        if (made.missingMedia + made.damagedMedia > 0) {
          terminal.complain(
            `Of the media, ${made.missingMedia} are missing and ${made.damagedMedia} are damaged on the disk`,
          );
        }
        return 0;
      } finally {
        source.close();
      }
    } catch (error) {
      throw explainFailure(error);
    } finally {
      process.off('SIGINT', stop).off('SIGTERM', stop);
    }
  },
};

function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw explainDisk(error, `The directory ${path} cannot be made`);
  }
}

/** A directory gets a file of the usual name. */
function outputPath(output: string | undefined, dataDir: string, name: string): string {
  if (output === undefined) return join(dataDir, 'backups', name);
  const path = resolve(output);
  const known = statSync(path, { throwIfNoEntry: false });
  const isDirectory = known?.isDirectory() ?? (extname(path) === '' || /[\\/]$/.test(output));
  return isDirectory ? join(path, name) : path;
}
