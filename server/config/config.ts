import { dirname, join, resolve } from 'node:path';
import { isServerName } from '../matrix/identifiers.ts';
import { buildConfig } from './build.ts';
import { ConfigError } from './problems.ts';
import { Source } from './source.ts';
import type { Config } from './types.ts';

export type { Config } from './types.ts';

/** The name of the configuration file in a data directory. */
export const CONFIG_FILE = 'homeserver.yaml';

export interface LoadOptions {
  /** Files, or directories with files named *.yaml. An option in a later one replaces that of an earlier one. */
  readonly configPath?: string | readonly string[] | undefined;
  /** Where files live that no option names. Without `configPath`, the configuration is `homeserver.yaml` in it. */
  readonly dataDir?: string | undefined;
  /** What goes before the files. */
  readonly overrides?: {
    readonly serverName?: string | undefined;
    readonly clientPort?: number | undefined;
    readonly federationPort?: number | undefined;
  };
  /** Whether a lacking file for the registration secret is made, as for a start. */
  readonly makeFiles?: boolean;
}

/**
 * Reads the configuration. Warnings name options that have no effect, a line each. Throws ConfigError with everything
 * that is wrong.
 */
export function loadConfig(options: LoadOptions): { readonly config: Config; readonly warnings: readonly string[] } {
  const { configPath, dataDir: givenDir, overrides = {} } = options;
  const paths = configPath === undefined ? [join(givenDir ?? '.', CONFIG_FILE)] : [configPath].flat();
  const source = new Source(paths);
  const serverName = overrides.serverName ?? source.values.server_name;
  if (overrides.serverName !== undefined && !isServerName(overrides.serverName)) {
    refuseOutsideFiles(source, 'server name', 'must be a name such as example.com, without https:// or slashes');
  }
  if (serverName === undefined) {
    source.refuse(['server_name'], 'is needed: the name at the end of every user ID, such as example.com');
  }
  // Whatever is wrong with the name, the rest is looked at too, so that all mistakes come out at once.
  const name = serverName !== undefined && isServerName(serverName) ? serverName : 'localhost';
  if (!isServerName(name)) throw new TypeError('localhost is a server name');
  const [firstFile] = source.files;
  const config = buildConfig(source, name, {
    dataDir: resolve(givenDir ?? (firstFile === undefined ? '.' : dirname(firstFile))),
    inDataDir: configPath === undefined,
    clientPort: overrides.clientPort,
    federationPort: overrides.federationPort,
    makeFiles: options.makeFiles === true && source.problems.length === 0,
  });
  if (source.problems.length > 0) throw new ConfigError(source.problems);
  return { config: deepFreeze(config), warnings: source.warnings };
}

function refuseOutsideFiles(source: Source, what: string, message: string): void {
  source.problems.push({ file: 'command line', line: undefined, column: undefined, option: what, message });
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const inner of Object.values(value)) deepFreeze(inner);
  return value;
}
