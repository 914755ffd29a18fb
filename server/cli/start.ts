import { rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Appliance } from '../compose-appliance.ts';
import { CONFIG_FILE, loadConfig } from '../config/config.ts';
import { defaultDataDir, hasConfig } from '../config/data-dir.ts';
import { isServerName } from '../matrix/identifiers.ts';
import { systemClock } from '../util/clock.ts';
import { type Log, openLog } from '../util/file-log.ts';
import { systemRandom } from '../util/random.ts';
import { type Command, CommandError, parseFlags, parsePort, type Terminal, UsageError } from './command.ts';
import { makeOrExplain } from './generate-config.ts';
import { watchProcess } from './watch-process.ts';

const DEFAULT_SERVER_NAME = 'localhost';
const DEFAULT_CONTROL_PORT = 8010;
const LOG_BYTES = 10 * 1024 * 1024;

/** Where a program on this machine finds the interface of the server that runs on a data directory; mode 0600. */
export const CONTROL_FILE = 'control.json';

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
    const { dataDir, overrides } = launch;
    if (!hasConfig(dataDir)) {
      const { serverName = DEFAULT_SERVER_NAME, ...ports } = overrides;
      makeOrExplain(dataDir, { serverName, ...ports });
    }
    const log = await openLogOf(dataDir);
    const controlFile = join(dataDir, CONTROL_FILE);
    const watch = watchProcess(log, terminal, () => undefined);
    try {
      const { appliance, url } = await open(launch, log);
      try {
        writeFileSync(controlFile, `${JSON.stringify({ url, token: launch.ownToken })}\n`, { mode: 0o600 });
        announce(appliance, url, dataDir, terminal);
        watch.onReload(() => {
          log.reopen();
          appliance.reload();
        });
        await watch.asked();
      } finally {
        rmSync(controlFile, { force: true });
        await watch.finish(appliance);
      }
      return 0;
    } finally {
      await log.close();
    }
  },
};

interface Launch {
  readonly dataDir: string;
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
    overrides: {
      serverName,
      clientPort: parsePort('--client-port', values['client-port']),
      federationPort: parsePort('--federation-port', values['federation-port']),
    },
    controlPort: parsePort('--control-port', values['control-port']),
    ownToken: systemRandom.bytes(32).toString('base64url'),
  };
}

/** A configuration with a mistake must not keep the interface from saying so. */
async function openLogOf(dataDir: string): Promise<Log> {
  const target = (() => {
    try {
      return loadConfig({ dataDir }).config.log;
    } catch {
      return { level: 'info', file: join(dataDir, 'logs', 'hearth.log'), maxBytes: LOG_BYTES, keep: 3 } as const;
    }
  })();
  try {
    return await openLog(target);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CommandError(`The log file ${target.file ?? ''} cannot be opened: ${why}`, { cause: error });
  }
}

async function open(launch: Launch, { logger }: Log): Promise<{ appliance: Appliance; url: string }> {
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
