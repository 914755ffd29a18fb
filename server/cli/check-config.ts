import { loadConfig } from '../config/config.ts';
import { defaultDataDir } from '../config/data-dir.ts';
import { checkSigningKeys } from '../config/signing-key.ts';
import { type Command, parseFlags, UsageError } from './command.ts';

export const checkConfig: Command = {
  name: 'check-config',
  help: `Usage: hearth check-config [--config FILE]… | [--data-dir DIR]

Reads a configuration as a start would, and says what is wrong with it and what in it has no effect. Changes nothing.

  -c, --config FILE  a configuration file, or a directory with files named *.yaml; may be given several times
  --data-dir DIR     a data directory with a homeserver.yaml`,
  run: async (args, terminal) => {
    const { values, positionals } = parseFlags(args, {
      options: { config: { type: 'string', short: 'c', multiple: true }, 'data-dir': { type: 'string' } },
      allowPositionals: true,
    });
    const files = [...(values.config ?? []), ...positionals];
    if (files.length > 0 && values['data-dir'] !== undefined) {
      throw new UsageError('either --config or --data-dir can be given');
    }
    const { config, warnings } = loadConfig(
      files.length > 0 ? { configPath: files } : { dataDir: values['data-dir'] ?? defaultDataDir() },
    );
    checkSigningKeys(config.signing);
    for (const warning of warnings) terminal.print(`warning: ${warning}`);
    terminal.print(`${config.files.join(', ')}: in order, for ${config.serverName}`);
    return 0;
  },
};
