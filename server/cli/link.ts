import { resolve } from 'node:path';
import { defaultDataDir } from '../config/data-dir.ts';
import { type Command, CommandError, parseFlags } from './command.ts';
import { askForLink } from './control-file.ts';

export const link: Command = {
  name: 'link',
  help: `Usage: hearth link [--data-dir DIR]

Prints a new link to the interface of the server that runs on a data directory. It can be used once.

  --data-dir DIR  the directory that everything is kept in; ${defaultDataDir()} unless told otherwise`,
  run: async (args, terminal) => {
    const { values } = parseFlags(args, { options: { 'data-dir': { type: 'string' } } });
    const dataDir = resolve(values['data-dir'] ?? defaultDataDir());
    const found = await askForLink(dataDir);
    if (found === undefined) {
      throw new CommandError(`No Hearth with an interface runs on ${dataDir}; "hearth start" starts one`);
    }
    terminal.print(found);
    return 0;
  },
};
