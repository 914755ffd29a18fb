import type { DoctorReport, Finding, Verdict } from '../appliance/contract.ts';
import { examine } from '../appliance/doctor/examine.ts';
import { createWorld } from '../appliance/doctor/world.ts';
import type { OwnServer } from '../appliance/doctor/port.ts';
import { ownServerOf } from '../appliance-ports/doctor.ts';
import { loadConfig } from '../config/config.ts';
import { defaultDataDir, hasConfig } from '../config/data-dir.ts';
import { checkSigningKeys, loadSigningKeys } from '../config/signing-key.ts';
import { systemRandom } from '../util/random.ts';
import { type Command, CommandError, parseFlags, type Terminal, UsageError } from './command.ts';

export const doctor: Command = {
  name: 'doctor',
  help: `Usage: hearth doctor [SERVER_NAME] [--config FILE]… | [--data-dir DIR] [--json]

Looks whether other servers and people's apps can reach a Matrix server: its name, delegation, DNS records, ports,
certificates, signing keys and clock. Says what is wrong and what to do about it. Without a name it looks at the server of
the data directory. Changes nothing. The exit code is 0 if all is well, or nearly; 1 if something is wrong.

  -c, --config FILE  a configuration file, or a directory with files named *.yaml; may be given several times
  --data-dir DIR     a data directory with a homeserver.yaml (${defaultDataDir()})
  --json             print the whole report as JSON`,
  run: async (args, terminal) => {
    const { values, positionals } = parseFlags(args, {
      options: {
        config: { type: 'string', short: 'c', multiple: true },
        'data-dir': { type: 'string' },
        json: { type: 'boolean' },
      },
      allowPositionals: true,
    });
    const [name, ...others] = positionals;
    if (others.length > 0) throw new UsageError('one server name can be looked at');
    if (values.config !== undefined && values['data-dir'] !== undefined) {
      throw new UsageError('either --config or --data-dir can be given');
    }
    const own = findOwn(values.config, values['data-dir']);
    const wanted = name ?? own?.serverName;
    if (wanted === undefined) {
      throw new CommandError(
        'There is no server in the data directory; say which server to look at: hearth doctor example.com',
      );
    }
    const report = await examine(wanted, {
      world: createWorld(),
      own,
      // Told on the side: standard output is the report.
      ...(values.json === true ? {} : { progress: (_done, step) => terminal.complain(`${step} …`) }),
    });
    if (values.json === true) terminal.print(JSON.stringify(report, undefined, 2));
    else print(report, terminal);
    return report.verdict === 'bad' ? 1 : 0;
  },
};

/** The server of a configuration; undefined where none was named and there is none. Makes nothing. Throws ConfigError. */
function findOwn(configPath: readonly string[] | undefined, dataDir: string | undefined): OwnServer | undefined {
  if (configPath === undefined && dataDir === undefined && !hasConfig(defaultDataDir())) return undefined;
  const { config } = loadConfig(configPath === undefined ? { dataDir: dataDir ?? defaultDataDir() } : { configPath });
  checkSigningKeys(config.signing);
  return ownServerOf(config, loadSigningKeys(config.signing, systemRandom));
}

const SIGNS: Readonly<Record<Verdict, string>> = { good: 'ok  ', warning: 'look', bad: 'BAD ', skipped: '-   ' };

function print({ summary, findings }: DoctorReport, terminal: Terminal): void {
  for (const finding of findings) printFinding(finding, terminal);
  terminal.print('');
  terminal.print(summary);
}

function printFinding({ verdict, title, text, nextStep, details = [] }: Finding, terminal: Terminal): void {
  terminal.print(`${SIGNS[verdict]} ${title}: ${text}`);
  if (verdict === 'bad' || verdict === 'warning') for (const detail of details) terminal.print(`         ${detail}`);
  if (nextStep !== undefined) terminal.print(`      → ${nextStep}`);
}
