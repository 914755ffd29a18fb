import { makeSigningKeyFile } from '../config/signing-key.ts';
import { fileError } from '../config/source.ts';
import { formatSigningKeyFile, generateSigningKey, SEED_BYTES } from '../matrix/signing.ts';
import { systemRandom } from '../util/random.ts';
import { type Command, CommandError, parseFlags } from './command.ts';

export const generateSigningKeyCommand: Command = {
  name: 'generate-signing-key',
  help: `Usage: hearth generate-signing-key [-o FILE]

Makes a key for a server to sign with.

  -o, --output FILE  write it to FILE, which must not be there yet; without it, the key is printed`,
  run: async (args, terminal) => {
    const { values } = parseFlags(args, { options: { output: { type: 'string', short: 'o' } } });
    if (values.output === undefined || values.output === '-') {
      terminal.print(formatSigningKeyFile(generateSigningKey(systemRandom.bytes(SEED_BYTES))).trimEnd());
      return 0;
    }
    try {
      makeSigningKeyFile(values.output, systemRandom);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'EEXIST') {
        throw new CommandError(`${values.output} is there already, and stays as it is`, { cause: error });
      }
      throw new CommandError(`${values.output} cannot be written: ${fileError(error)}`, { cause: error });
    }
    return 0;
  },
};
