import { existsSync } from 'node:fs';
import type { DoctorReport, Finding, Verdict } from '../appliance/contract.ts';
import { examine } from '../appliance/doctor/examine.ts';
import { createWorld } from '../appliance/doctor/world.ts';
import type { OwnServer } from '../appliance/doctor/port.ts';
import { ownServerOf } from '../appliance-ports/doctor.ts';
import { buildOutbound } from '../config/build-federation.ts';
import { loadConfig } from '../config/config.ts';
import { defaultDataDir, hasConfig } from '../config/data-dir.ts';
import { ConfigError } from '../config/problems.ts';
import { checkSigningKeys, loadSigningKeys } from '../config/signing-key.ts';
import type { Config } from '../config/types.ts';
import { ProxyChoice } from '../federation/outbound/proxy.ts';
import { systemRandom } from '../util/random.ts';
import { type Command, CommandError, parseFlags, type Terminal, UsageError } from './command.ts';

export const doctor: Command = {
  name: 'doctor',
  help: `Usage: hearth doctor [SERVER_NAME] [--config FILE]… | [--data-dir DIR] [--json]

Looks whether other servers and people's apps can reach a Matrix server: its name, delegation, DNS records, ports,
certificates, signing keys and clock. Says what is wrong and what to do about it. Without a name it looks at the server of
the data directory. Goes through the proxy that the configuration, or https_proxy in the environment, names. Changes
nothing. The exit code is 0 if all is well, or nearly; 1 if something is wrong; 2 if it was called wrongly; 3 if it could not
be seen from this computer.

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
    const { own, serverName, outbound } = findOwn(values.config, values['data-dir'], name, terminal);
    const wanted = name?.trim() ?? serverName;
    if (wanted === undefined) {
      throw new CommandError(
        'There is no server in the data directory; say which server to look at: hearth doctor example.com',
      );
    }
    const proxies = new ProxyChoice(outbound);
    const report = await examine(wanted, {
      world: createWorld({ proxies: () => proxies }),
      own,
      // Told on the side: standard output is the report.
      ...(values.json === true ? {} : { progress: (_done, step) => terminal.complain(`${step} …`) }),
    });
    if (values.json === true) terminal.print(JSON.stringify(report, undefined, 2));
    else print(report, terminal);
    if (report.verdict === 'bad') return 1;
    const isSeen = report.findings.some(({ id, verdict }) => verdict === 'good' && /^(?:keys |home$|heard$)/.test(id));
    return isSeen ? 0 : 3;
  },
};

interface Found {
  /** The server of the data directory, where it has been started once: before, it has no key. */
  readonly own: OwnServer | undefined;
  readonly serverName: string | undefined;
  readonly outbound: Config['outbound'];
}

/** What a configuration tells; nothing where none was named and there is none. Makes nothing. Throws ConfigError. */
function findOwn(
  configPath: readonly string[] | undefined,
  dataDir: string | undefined,
  wanted: string | undefined,
  terminal: Terminal,
): Found {
  const isNamed = configPath !== undefined || dataDir !== undefined;
  const nothing = { own: undefined, serverName: undefined, outbound: outboundOfEnvironment() };
  if (!isNamed && !hasConfig(defaultDataDir())) return nothing;
  try {
    const { config } = loadConfig(configPath === undefined ? { dataDir: dataDir ?? defaultDataDir() } : { configPath });
    const { signing, serverName, outbound } = config;
    checkSigningKeys(signing);
    const hasKey = signing.inlineKey !== undefined || existsSync(signing.keyPath);
    const own = hasKey ? ownServerOf(config, loadSigningKeys(signing, systemRandom)) : undefined;
    return { own, serverName, outbound };
  } catch (error) {
    // Another server can be looked at whatever is the matter with our own.
    if (!(error instanceof ConfigError) || isNamed || wanted === undefined) throw error;
    terminal.complain(`The configuration in ${defaultDataDir()} cannot be used, and is left aside: ${error.message}`);
    return nothing;
  }
}

function outboundOfEnvironment(): Config['outbound'] {
  const unset = {
    http_proxy: undefined,
    https_proxy: undefined,
    no_proxy_hosts: undefined,
    ip_range_blacklist: [],
    ip_range_whitelist: [],
    user_agent_suffix: undefined,
  };
  return buildOutbound(unset);
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
