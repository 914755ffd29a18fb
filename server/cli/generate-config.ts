import { resolve } from 'node:path';
import { hasConfig, makeDataDir } from '../config/data-dir.ts';
import { fileError } from '../config/source.ts';
import { isServerName } from '../matrix/identifiers.ts';
import { type Command, CommandError, parseFlags, parsePort, UsageError } from './command.ts';

export const generateConfigCommand: Command = {
  name: 'generate-config',
  help: `Usage: hearth generate-config --server-name NAME --data-dir DIR [options]

Makes DIR with a commented configuration, homeserver.yaml, and a signing key. What is there already stays as it is.

  --server-name NAME      the name at the end of every user ID, such as example.com
  --data-dir DIR          the directory that everything is kept in
  --client-port PORT      the port for clients (8008 unless given)
  --federation-port PORT  a further port for other servers
  --report-stats yes|no   accepted as Synapse has it; nothing is ever reported`,
  run: async (args, terminal) => {
    const { values } = parseFlags(args, {
      options: {
        'server-name': { type: 'string' },
        'data-dir': { type: 'string' },
        'client-port': { type: 'string' },
        'federation-port': { type: 'string' },
        'report-stats': { type: 'string' },
      },
    });
    const { 'server-name': serverName, 'data-dir': dataDir } = values;
    if (serverName === undefined || dataDir === undefined) {
      throw new UsageError('--server-name and --data-dir are needed');
    }
    if (!isServerName(serverName)) {
      throw new UsageError(`"${serverName}" is no server name; it is written like example.com or example.com:8448`);
    }
    const { configFile, keyFile } = makeOrExplain(dataDir, {
      serverName,
      clientPort: parsePort('--client-port', values['client-port']),
      federationPort: parsePort('--federation-port', values['federation-port']),
    });
    terminal.print(`Configuration: ${configFile}`);
    terminal.print(`Signing key:   ${keyFile}`);
    return 0;
  },
};

/** Makes a data directory. Throws CommandError if it cannot be made or is there already. */
export function makeOrExplain(
  dataDir: string,
  wishes: Parameters<typeof makeDataDir>[1],
): ReturnType<typeof makeDataDir> {
  const path = resolve(dataDir);
  try {
    return makeDataDir(path, wishes);
  } catch (error) {
    if (hasConfig(path)) {
      throw new CommandError(`${path} has a configuration already, and it stays as it is`, { cause: error });
    }
    throw new CommandError(`${path} cannot be made: ${fileError(error)}`, { cause: error });
  }
}
