/**
 * The program that the desktop shell runs in a process of its own: the homeserver with its control API, told what to do by
 * messages. What it is given to keep secret never stands in its arguments or its environment.
 */
import { join } from 'node:path';
import { fileSecrets, type SecretStore } from '../appliance/backups/records.ts';
import { defaultDataDir, hasConfig } from '../config/data-dir.ts';
import { systemClock } from '../util/clock.ts';
import { systemRandom } from '../util/random.ts';
import { CommandError } from './command.ts';
import { askForLink, CONTROL_FILE, removeControlFile, writeControlFile } from './control-file.ts';
import { finishInterrupted } from './finish-restore.ts';
import { findClientPort } from './free-port.ts';
import { makeOrExplain } from './generate-config.ts';
import { PidFile } from './pid-file.ts';
import { type FromShell, openShellPort, type ShellPort } from './shell-port.ts';
import { logTargetOf, openLogOf, tryLoad, tryToLeave } from './start.ts';
import { watchProcess } from './watch-process.ts';

const SERVER_NAME = 'localhost';
const LASTING = new Set(['EACCES', 'EEXIST', 'ENOTDIR', 'EROFS']);
const terminal = {
  print: (line: string) => process.stdout.write(`${line}\n`),
  complain: (line: string) => process.stderr.write(`${line}\n`),
};

const port = openShellPort();
try {
  await startForShell(port);
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  terminal.complain(error instanceof CommandError ? message : String(error instanceof Error ? error.stack : error));
  // What a person has to change first is not tried again.
  port.tell({ type: 'failed', message, isFinal: error instanceof CommandError || isAboutPlace(error) });
  process.exitCode = 1;
  port.close();
}

/** Runs until the shell says `stop`, goes away, or the system asks for an end. */
async function startForShell(port: ShellPort): Promise<void> {
  // In a desktop program, what this process starts of its own (to make thumbnails) would be the whole program once more.
  if ('electron' in process.versions) process.env['ELECTRON_RUN_AS_NODE'] = '1';
  const given = await port.begin();
  const { token, dataDir = defaultDataDir() } = given;
  const link = await askForLink(dataDir);
  if (link !== undefined) {
    throw new CommandError(`Another Hearth runs on ${dataDir} already. End it, or open ${link} in a browser.`);
  }
  await finishInterrupted(dataDir, terminal);
  if (!hasConfig(dataDir)) {
    makeOrExplain(dataDir, { serverName: SERVER_NAME, clientPort: await findClientPort() });
  }
  const log = await openLogOf(dataDir);
  const pidFile = new PidFile(tryLoad(dataDir)?.pidFile);
  const watch = watchProcess(log, terminal, () => pidFile.release());
  try {
    const { builtPages, composeAppliance } = await import('../compose-appliance.ts');
    const appliance = composeAppliance({
      dataDir,
      overrides: {},
      controlPort: 0,
      shellToken: token,
      pages: builtPages,
      clock: systemClock,
      random: systemRandom,
      log: log.logger,
      setLogLevel: log.setLevel,
      secrets: shellSecrets(given, dataDir, port),
      startServer: async (...parts) => (await import('../main.ts')).startServer(...parts),
    });
    const url = await appliance.start();
    try {
      tryToLeave('pid file', log, () => pidFile.writeUnlessHeld());
      tryToLeave(CONTROL_FILE, log, () => writeControlFile(dataDir, { url, token }));
      watch.onReload(() => {
        log.reopen();
        log.setLevel(logTargetOf(dataDir).level);
        appliance.reload();
      });
      port.onSleep(() => log.logger.info({}, 'the machine goes to sleep'));
      port.tell({ type: 'listening', url, dataDir, database: databaseOf(dataDir) });
      await Promise.race([watch.asked(), port.asked()]);
    } finally {
      removeControlFile(dataDir, { url, token });
      await watch.finish(appliance);
    }
  } finally {
    pidFile.release();
    await log.close();
    port.close();
  }
}

/** Secrets that the shell keeps. One that lies in a file, from a time without a shell, is good until it is replaced. */
function shellSecrets({ secrets }: FromShell, dataDir: string, port: ShellPort): SecretStore {
  const known = new Map(secrets);
  const files = fileSecrets(dataDir);
  return {
    find: (name) => known.get(name) ?? files.find(name),
    put: (name, value) => {
      if (value === undefined) known.delete(name);
      else known.set(name, value);
      files.put(name, undefined);
      port.tell({ type: 'secret', name, value });
    },
  };
}

/** Where a configuration with a mistake does not say, it is where a new one would put it. */
function databaseOf(dataDir: string): string {
  return tryLoad(dataDir)?.databasePath ?? join(dataDir, 'homeserver.db');
}

/** The data directory cannot be one, or is not this user's: waiting changes nothing of that. */
function isAboutPlace(error: unknown): boolean {
  return error instanceof Error && 'code' in error && LASTING.has(String(error.code));
}
