import { loadConfig } from '../config/config.ts';
import { createPasswords, MAX_PASSWORD_LENGTH } from '../modules/accounts/service/passwords.ts';
import { systemRandom } from '../util/random.ts';
import { type Command, CommandError, parseFlags } from './command.ts';
import { askTwice } from './prompt.ts';

export const hashPassword: Command = {
  name: 'hash-password',
  help: `Usage: hearth hash-password [-p PASSWORD] [--config FILE]…

Prints the hash of a password as it stands in the database.

  -p, --password PASSWORD  the password; without it, it is asked for
  -c, --config FILE        a configuration, for the pepper in its password_config`,
  run: async (args, terminal) => {
    const { values } = parseFlags(args, {
      options: {
        password: { type: 'string', short: 'p' },
        config: { type: 'string', short: 'c', multiple: true },
      },
    });
    const pepper = values.config === undefined ? '' : loadConfig({ configPath: values.config }).config.passwords.pepper;
    const password = values.password ?? (await askTwice('Password: ', 'Once more: '));
    if (password === '') throw new CommandError('The password is empty');
    if (password.length > MAX_PASSWORD_LENGTH) {
      throw new CommandError(`The password is longer than ${MAX_PASSWORD_LENGTH} characters`);
    }
    terminal.print(await createPasswords({ pepper, random: systemRandom }).hash(password));
    return 0;
  },
};
