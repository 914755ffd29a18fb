import { join } from 'node:path';
import type { About } from '../appliance/contract.ts';
import { type CertificateMark, markCertificate } from '../appliance/status/certificate-watch.ts';
import type { ServerFacts } from '../appliance/status/facts.ts';
import { readVersion } from '../cli/version.ts';
import { type Config, loadConfig, type LoadOptions } from '../config/config.ts';
import { roomVersions } from '../matrix/room-versions.ts';
import { SPEC_VERSIONS } from '../modules/capabilities/service.ts';

/** The configuration as it was last read well, for what has to be said while it is not well. */
export class ConfigWatch {
  readonly #load: LoadOptions & { readonly dataDir: string };
  #config: Config | undefined;
  #certificate: CertificateMark | undefined;

  constructor(load: { readonly dataDir: string; readonly overrides: LoadOptions['overrides'] }) {
    this.#load = { dataDir: load.dataDir, ...(load.overrides === undefined ? {} : { overrides: load.overrides }) };
  }

  /** For a start. Throws ConfigError. */
  begin(): ReturnType<typeof loadConfig> {
    const loaded = loadConfig({ ...this.#load, makeFiles: true });
    this.#config = loaded.config;
    const { certificateFile } = this.facts() ?? {};
    this.#certificate = certificateFile === undefined ? undefined : markCertificate(certificateFile);
    return loaded;
  }

  /** As it was when the homeserver began; undefined where it needs none. */
  get certificate(): CertificateMark | undefined {
    return this.#certificate;
  }

  /** Throws ConfigError. */
  load(): Config {
    return loadConfig(this.#load).config;
  }

  facts(): ServerFacts | undefined {
    const config = this.#config;
    if (config === undefined) return undefined;
    const { serverName, federation, listeners, tls, databasePath } = config;
    return {
      serverName,
      federates: federation.allowedServers === undefined || federation.allowedServers.length > 0,
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
