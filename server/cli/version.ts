import { readFileSync } from 'node:fs';
import { isJsonObject } from '../matrix/json.ts';
import { type Command, parseFlags } from './command.ts';

/** The version in package.json. */
export function readVersion(): string {
  const content: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  const version = isJsonObject(content) ? content['version'] : undefined;
  if (typeof version !== 'string') throw new TypeError('package.json has no version');
  return version;
}

export const versionCommand: Command = {
  name: 'version',
  help: `Usage: hearth version

Prints the version of this program.`,
  run: async (args, terminal) => {
    parseFlags(args, { options: {} });
    terminal.print(`Hearth ${readVersion()}`);
    return 0;
  },
};
