import { join, resolve } from 'node:path';
import type { Appliance } from '../compose-appliance.ts';
import { type Config, CONFIG_FILE, loadConfig } from '../config/config.ts';
import { defaultDataDir, hasConfig } from '../config/data-dir.ts';
import { ConfigError } from '../config/problems.ts';
import { isServerName } from '../matrix/identifiers.ts';
import { systemClock } from '../util/clock.ts';
import { type Log, type LogTarget, openLog } from '../util/file-log.ts';
import { systemRandom } from '../util/random.ts';
import { type Command, CommandError, parseFlags, parsePort, type Terminal, UsageError } from './command.ts';
import { askForLink, CONTROL_FILE, removeControlFile, writeControlFile } from './control-file.ts';
import { DEFAULT_CONTROL_PORT } from './control-port.ts';
import { finishInterrupted } from './finish-restore.ts';
import { findClientPort } from './free-port.ts';
import { makeOrExplain } from './generate-config.ts';
import { PidFile } from './pid-file.ts';
import { parentGone } from './watch-parent.ts';
import { watchProcess } from './watch-process.ts';

const DEFAULT_SERVER_NAME = 'localhost';
const LOG_BYTES = 10 * 1024 * 1024;

export { CONTROL_FILE };

export const start: Command = {
  name: 'start',
  help: `Usage: hearth start [options]

Runs the homeserver with its interface until it gets SIGTERM or SIGINT, and prints a link to the interface that can be used
once. Its data are in ${defaultDataDir()}
unless told otherwise; what isn't there is made.

  --data-dir DIR          the directory that everything is kept in
  --server-name NAME      the name of a new server; the interface can change it until somebody has an account
  --client-port PORT      in place of the port of the listener for clients
  --federation-port PORT  in place of the port of the listener for other servers
  --control-port PORT     the port of the interface, on this machine only (${DEFAULT_CONTROL_PORT}; another one if that is taken)`,
  run: async (args, terminal) => {
    const launch = readLaunch(args);
    const { dataDir, overrides, serverName = DEFAULT_SERVER_NAME } = launch;
    const link = await askForLink(dataDir);
    if (link !== undefined) {
      throw new CommandError(`Hearth runs on ${dataDir} already. Open ${link}\nThat link works once.`);
    }
    await finishInterrupted(dataDir, terminal);
    if (!hasConfig(dataDir)) {
      const clientPort = overrides.clientPort ?? (await findClientPort());
      makeOrExplain(dataDir, { ...overrides, clientPort, serverName });
    }
    const log = await openLogOf(dataDir);
    const pidFile = new PidFile(tryLoad(dataDir)?.pidFile);
    const watch = watchProcess(log, terminal, () => pidFile.release());
    try {
      const { appliance, url } = await open(launch, log);
      const address = { url, token: launch.ownToken };
      try {
        tryToLeave('pid file', log, () => pidFile.writeUnlessHeld());
        tryToLeave(CONTROL_FILE, log, () => writeControlFile(dataDir, address));
        announce(appliance, url, dataDir, terminal);
        watch.onReload(() => {
          log.reopen();
          log.setLevel(logTargetOf(dataDir).level);
          appliance.reload();
        });
        // npm has a shell between itself and the server, which ends with it and passes on no signal.
        const isUnderNpm = process.env['npm_lifecycle_event'] !== undefined;
        await Promise.race(isUnderNpm ? [watch.asked(), parentGone()] : [watch.asked()]);
      } finally {
        removeControlFile(dataDir, address);
        await watch.finish(appliance);
      }
      return 0;
    } finally {
      pidFile.release();
      await log.close();
    }
  },
};

interface Launch {
  readonly dataDir: string;
  /** Of a server that is made: later, setting it up may give it another. */
  readonly serverName: string | undefined;
  readonly overrides: NonNullable<Parameters<typeof loadConfig>[0]['overrides']>;
  readonly controlPort: number | undefined;
  /** For programs on this machine that can read the data directory. */
  readonly ownToken: string;
}

function readLaunch(args: readonly string[]): Launch {
  const { values } = parseFlags(args, {
    options: {
      'data-dir': { type: 'string' },
      'server-name': { type: 'string' },
      'client-port': { type: 'string' },
      'federation-port': { type: 'string' },
      'control-port': { type: 'string' },
    },
  });
  const serverName = values['server-name'];
  if (serverName !== undefined && !isServerName(serverName)) {
    throw new UsageError(`"${serverName}" is no server name; it is written like example.com or example.com:8448`);
  }
  return {
    dataDir: resolve(values['data-dir'] ?? defaultDataDir()),
    serverName,
    overrides: {
      clientPort: parsePort('--client-port', values['client-port']),
      federationPort: parsePort('--federation-port', values['federation-port']),
    },
    controlPort: parsePort('--control-port', values['control-port']),
    ownToken: systemRandom.bytes(32).toString('base64url'),
  };
}

/** Neither a configuration with a mistake nor a full or forbidden disk must keep the interface from saying so. */
export async function openLogOf(dataDir: string): Promise<Log> {
  const target = logTargetOf(dataDir);
  try {
    return await openLog(target);
  } catch (error) {
    const log = await openLog({ ...target, file: undefined });
    log.logger.error({ file: target.file, error }, 'the log file cannot be opened; the log goes to standard output');
    return log;
  }
}

/** Does what is of use to other programs only, and what the server does without where the disk refuses it. */
export function tryToLeave(what: string, { logger }: Log, leave: () => void): void {
  try {
    leave();
  } catch (error) {
    logger.error({ what, error }, 'a file for other programs could not be written');
  }
}

export function logTargetOf(dataDir: string): LogTarget {
  return (
    tryLoad(dataDir)?.log ?? { level: 'info', file: join(dataDir, 'logs', 'hearth.log'), maxBytes: LOG_BYTES, keep: 3 }
  );
}

/** Undefined with a mistake in it, of which the interface tells. */
export function tryLoad(dataDir: string): Config | undefined {
  try {
    return loadConfig({ dataDir }).config;
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}

async function open(launch: Launch, { logger, setLevel }: Log): Promise<{ appliance: Appliance; url: string }> {
  const { builtPages, composeAppliance } = await import('../compose-appliance.ts');
  const compose = (controlPort: number): Appliance =>
    composeAppliance({
      dataDir: launch.dataDir,
      overrides: launch.overrides,
      controlPort,
      shellToken: launch.ownToken,
      pages: builtPages,
      clock: systemClock,
      random: systemRandom,
      log: logger,
      setLogLevel: setLevel,
      startServer: async (...parts) => (await import('../main.ts')).startServer(...parts),
    });
  const wanted = launch.controlPort ?? DEFAULT_CONTROL_PORT;
  try {
    const appliance = compose(wanted);
    return { appliance, url: await appliance.start() };
  } catch (error) {
    const isTaken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
    if (!isTaken) throw error;
    if (launch.controlPort !== undefined) throw new CommandError(error.message, { cause: error });
    const appliance = compose(0);
    return { appliance, url: await appliance.start() };
  }
}

function announce(appliance: Appliance, url: string, dataDir: string, terminal: Terminal): void {
  terminal.print(`Hearth keeps its data in ${dataDir} (configuration: ${CONFIG_FILE})`);
  terminal.print(`Open ${url}/#/link/${appliance.createLink()}`);
  terminal.print('That link works once. Later, sign in on that page with the account that runs the server.');
}
