import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { About, Settings } from '../appliance/contract.ts';
import type { ConfigReading } from '../appliance/settings/port.ts';
import { type CertificateMark, markCertificate } from '../appliance/status/certificate-watch.ts';
import type { ServerFacts } from '../appliance/status/facts.ts';
import { readVersion } from '../cli/version.ts';
import { isHomeName } from '../appliance/doctor/name.ts';
import type { ConfigStanding } from '../appliance/status/judge.ts';
import { type Config, CONFIG_FILE, loadConfig, type LoadOptions } from '../config/config.ts';
import { roomVersions } from '../matrix/room-versions.ts';
import { SPEC_VERSIONS } from '../modules/capabilities/service.ts';
import { readOptions } from './config-file.ts';

/** The configuration as it was last read well, for what has to be said while it is not well. */
export class ConfigWatch {
  readonly #load: LoadOptions & { readonly dataDir: string };
  #config: Config | undefined;
  #certificate: CertificateMark | undefined;
  #inUse: Pick<ConfigReading, 'value'> | undefined;
  readonly #file: string;
  #standing: { readonly mark: string; readonly of: ConfigStanding } | undefined;

  constructor(load: { readonly dataDir: string; readonly overrides: LoadOptions['overrides'] }) {
    this.#load = { dataDir: load.dataDir, ...(load.overrides === undefined ? {} : { overrides: load.overrides }) };
    this.#file = join(load.dataDir, CONFIG_FILE);
  }

  /** For a start. Throws ConfigError. */
  begin(): ReturnType<typeof loadConfig> {
    const loaded = loadConfig({ ...this.#load, makeFiles: true });
    this.#inUse = readOptions(this.#load.dataDir);
    this.#config = loaded.config;
    this.#standing = undefined;
    const { certificateFile } = this.facts() ?? {};
    const keyFile = loaded.config.tls?.privateKeyPath;
    this.#certificate =
      certificateFile === undefined || keyFile === undefined ? undefined : markCertificate(certificateFile, keyFile);
    return loaded;
  }

  /** As it was when the homeserver began; undefined where it needs none. */
  get certificate(): CertificateMark | undefined {
    return this.#certificate;
  }

  /** What the options said when the homeserver began. */
  get inUse(): Pick<ConfigReading, 'value'> | undefined {
    return this.#inUse;
  }

  /** Throws ConfigError. */
  load(): Config {
    return loadConfig(this.#load).config;
  }

  /**
   * How the file that lies there now compares with what the homeserver was started with. Read anew only when it changes, or
   * `live` does: what else the comparison rests on.
   */
  standing(read: () => Pick<Settings, 'problems' | 'restartDue'>, live: string | undefined): ConfigStanding {
    const found = statSync(this.#file, { throwIfNoEntry: false });
    const file = found === undefined ? '' : `${found.ino}-${found.size}-${found.mtimeMs}`;
    const mark = `${file} ${live ?? ''}`;
    // A mistake may be mended in another file that this one names.
    if (this.#standing?.mark !== mark || this.#standing.of.problem !== undefined) {
      const { problems, restartDue } = read();
      this.#standing = { mark, of: { restartDue, problem: problems.length === 0 ? undefined : problems.join('\n') } };
    }
    return this.#standing.of;
  }

  facts(): ServerFacts | undefined {
    const config = this.#config;
    if (config === undefined) return undefined;
    const { serverName, federation, listeners, tls, databasePath } = config;
    return {
      serverName,
      // A name that only means something at home is found by nobody else.
      federates: federation.allowedServers?.length !== 0 && !isHomeName(serverName.replace(/:\d+$/, '')),
      certificateFile: listeners.some((listener) => listener.tls) ? tls?.certificatePath : undefined,
      databaseFile: databasePath,
    };
  }

  /** Undefined where the log goes to standard output. */
  logFile(): string | undefined {
    return this.#config === undefined ? join(this.#load.dataDir, 'logs', 'hearth.log') : this.#config.log.file;
  }

  about(configFile: string): About {
    return {
      version: readVersion(),
      node: process.versions.node,
      platform: `${process.platform} ${process.arch}`,
      dataDirectory: this.#load.dataDir,
      configFile,
      specVersions: [...SPEC_VERSIONS],
      roomVersions: [...roomVersions.keys()],
    };
  }
}
