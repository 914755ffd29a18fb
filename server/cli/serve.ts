import { isIPv6 } from 'node:net';
import { resolve } from 'node:path';
import { type Config, loadConfig } from '../config/config.ts';
import { defaultDataDir, hasConfig } from '../config/data-dir.ts';
import { fileError } from '../config/source.ts';
import { isServerName } from '../matrix/identifiers.ts';
import { type Log, openLog } from '../util/file-log.ts';
import { type Command, CommandError, parseFlags, parsePort, type Terminal, UsageError } from './command.ts';
import { finishInterrupted } from './finish-restore.ts';
import { makeOrExplain } from './generate-config.ts';
import { PidFile } from './pid-file.ts';
import type { RunningServer, StartServer } from './running-server.ts';
import { watchProcess } from './watch-process.ts';

const DEFAULT_SERVER_NAME = 'localhost';

/** The command `serve`, for a server that `startServer` starts. */
export function serveWith(startServer: StartServer): Command {
  return {
    name: 'serve',
    help: `Usage: hearth serve [--config FILE]… | [--data-dir DIR] [options]

Runs the homeserver until it gets SIGTERM or SIGINT. SIGHUP makes it begin its log file and read its certificates anew.
Without --config and --data-dir its data are in ${defaultDataDir()}.
A data directory that isn't there is made.

  -c, --config FILE       a configuration file, or a directory with files named *.yaml; may be given several times, and
                          an option in a later one replaces that of an earlier one
  --data-dir DIR          the directory that everything is kept in, with its homeserver.yaml
  --server-name NAME      in place of server_name
  --client-port PORT      in place of the port of the listener for clients
  --federation-port PORT  in place of the port of the listener for other servers
  --print-setup-link      print a link to the setup page that can be used once`,
    run: async (args, terminal) => {
      const launch = readLaunch(args);
      if (launch.dataDir !== undefined) await finishInterrupted(launch.dataDir, terminal);
      const isNew = launch.dataDir !== undefined && !hasConfig(launch.dataDir);
      if (isNew) makeNew(launch.dataDir, launch, terminal);
      // What is made at the first start is in the file; later, the command line goes before it.
      const { config, warnings } = loadConfig({ ...launch, makeFiles: true });
      const log = await openLogOf(config);
      const pidFile = new PidFile(config.pidFile);
      try {
        // Signals are heard before the first line is written: whoever has read it may stop the server.
        const watch = watchProcess(log, terminal, () => pidFile.release());
        for (const warning of warnings) log.logger.warn({ option: warning }, 'an option has no effect');
        const server = await start(startServer, config, log, launch.printSetupLink || isNew);
        try {
          // Only now: a second server on the same data has failed by here, and must not touch the file of the first.
          pidFile.write();
          watch.onReload(() => reloadAll(server, log, launch));
          announce(server, config, terminal);
          await watch.asked();
        } finally {
          await watch.finish(server);
        }
        return 0;
      } finally {
        pidFile.release();
        await log.close();
      }
    },
  };
}

export const serve: Command = serveWith(async (...parts) => (await import('../main.ts')).startServer(...parts));

interface Launch {
  readonly configPath: readonly string[] | undefined;
  /** Undefined with configuration files: then it is where the first of them is. */
  readonly dataDir: string | undefined;
  readonly overrides: {
    readonly serverName: string | undefined;
    readonly clientPort: number | undefined;
    readonly federationPort: number | undefined;
  };
  readonly printSetupLink: boolean;
}

function readLaunch(args: readonly string[]): Launch {
  const { values } = parseFlags(args, {
    options: {
      config: { type: 'string', short: 'c', multiple: true },
      'data-dir': { type: 'string' },
      'server-name': { type: 'string' },
      'client-port': { type: 'string' },
      'federation-port': { type: 'string' },
      'print-setup-link': { type: 'boolean' },
    },
  });
  const { config: configPath, 'data-dir': dataDir, 'server-name': serverName } = values;
  if (configPath !== undefined && dataDir !== undefined) {
    throw new UsageError('either --config or --data-dir can be given');
  }
  if (serverName !== undefined && !isServerName(serverName)) {
    throw new UsageError(`"${serverName}" is no server name; it is written like example.com or example.com:8448`);
  }
  return {
    configPath,
    dataDir: configPath === undefined ? resolve(dataDir ?? defaultDataDir()) : undefined,
    overrides: {
      serverName,
      clientPort: parsePort('--client-port', values['client-port']),
      federationPort: parsePort('--federation-port', values['federation-port']),
    },
    printSetupLink: values['print-setup-link'] === true,
  };
}

function makeNew(dataDir: string, { overrides }: Launch, terminal: Terminal): void {
  const { clientPort, federationPort, serverName = DEFAULT_SERVER_NAME } = overrides;
  const { configFile } = makeOrExplain(dataDir, { serverName, clientPort, federationPort });
  terminal.print(`A new server called ${serverName} was made; its configuration is ${configFile}`);
}

async function openLogOf({ log }: Config): Promise<Log> {
  try {
    return await openLog(log);
  } catch (error) {
    throw new CommandError(`The log file ${log.file ?? ''} cannot be opened: ${fileError(error)}`, { cause: error });
  }
}

// Errors that are about this machine or its configuration rather than a mistake in the program. Told by their names:
// the classes belong to parts that are only loaded with the server.
const explained = new Set(['ListenError', 'StorageError', 'ConfigError']);

async function start(
  startServer: StartServer,
  config: Config,
  { logger }: Log,
  setupLink: boolean,
): Promise<RunningServer> {
  try {
    return await startServer(config, logger, { setupLink });
  } catch (error) {
    logger.error({ error }, 'the server could not be started');
    if (!(error instanceof Error)) throw error;
    if (!explained.has(error.name))
      throw new CommandError(`The server could not be started: ${error.message}`, { cause: error });
    const hint = portIsTaken(error) ? ' (--client-port and --federation-port take others)' : '';
    throw new CommandError(`The server could not be started: ${error.message}${hint}`, { cause: error });
  }
}

function portIsTaken(error: Error): boolean {
  return 'code' in error && error.code === 'EADDRINUSE';
}

/** Says where the server can be reached: in words, unless standard output is the log. */
function announce({ addresses, setupLink }: RunningServer, { log }: Config, terminal: Terminal): void {
  if (log.file !== undefined) {
    for (const address of addresses) {
      if (address.resources.includes('client')) terminal.print(`Clients connect to ${urlOf(address)}`);
    }
    terminal.print(`The log is ${log.file}`);
  }
  if (setupLink !== undefined) terminal.print(`Set the server up at ${setupLink}`);
}

function urlOf({ address, port, tls }: RunningServer['addresses'][number]): string {
  if (port === 0) return `the socket ${address}`;
  const isEverywhere = address === '::' || address === '0.0.0.0';
  const host = isEverywhere ? 'localhost' : isIPv6(address) ? `[${address}]` : address;
  return `${tls ? 'https' : 'http'}://${host}:${port}`;
}

// A broken configuration must not end a server that runs well; it goes on with what it has.
function reloadAll(server: RunningServer, { logger, reopen, setLevel }: Log, launch: Launch): void {
  reopen();
  try {
    setLevel(loadConfig(launch).config.log.level);
    server.reload();
    logger.info({}, 'reloaded');
  } catch (error) {
    logger.error({ error }, 'could not be reloaded, goes on as before');
  }
}
