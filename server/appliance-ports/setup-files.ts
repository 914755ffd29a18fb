import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join, resolve } from 'node:path';
import type { PreparedSetup, SetupFiles, SetupPlan } from '../appliance/setup/port.ts';
import { signingKeyFileName } from '../config/build.ts';
import { type Config, CONFIG_FILE, loadConfig, type LoadOptions } from '../config/config.ts';
import { changeReachText, setUpConfigText } from '../config/edit-setup.ts';
import { replaceConfig } from '../config/edit.ts';
import { DEFAULT_CLIENT_PORT } from '../config/listeners.ts';
import { ConfigError } from '../config/problems.ts';
import { makeSigningKeyFile } from '../config/signing-key.ts';
import { checkCertificate } from './certificate-check.ts';
import { presentReach, suitsReach } from './present-reach.ts';
import { MatrixError } from '../matrix/errors.ts';
import type { Clock } from '../util/clock.ts';
import type { Random } from '../util/random.ts';

interface SetupFilesNeeds {
  readonly dataDir: string;
  readonly overrides: LoadOptions['overrides'];
  readonly random: Random;
  readonly clock: Pick<Clock, 'now'>;
}

/** What setting up does to the files in a data directory. */
export function setupFiles({ dataDir, overrides, random, clock }: SetupFilesNeeds): SetupFiles {
  const file = join(dataDir, CONFIG_FILE);
  const load = { dataDir, ...(overrides === undefined ? {} : { overrides }) };
  return {
    present: () => {
      const config = tryLoad(load);
      return config === undefined ? undefined : presentReach(config);
    },
    prepare: (plan) => {
      const before = readFileSync(file, 'utf8');
      const config = tryLoad(load);
      const text = setUpConfigText(file, before, plan, { ...surroundings(config), random });
      // The same care as for the change itself, with nothing changed: what is wrong comes out while the server still runs.
      const trial = `${file}.setup`;
      try {
        replaceConfig(trial, text, load);
      } catch (error) {
        if (error instanceof ConfigError) throw toRefusal(error, plan, trial);
        throw error;
      } finally {
        rmSync(trial, { force: true });
      }
      checkCertificate(plan, { dataDir, now: clock.now() });
      return change({ ...load, file, before, text, config, serverName: plan.serverName, random });
    },
    changeReach: (plan) => {
      const before = readFileSync(file, 'utf8');
      try {
        const { config } = loadConfig(load);
        const { serverName } = config;
        const keepsListeners = suitsReach(config, plan.reach, plan.certificatePath !== undefined);
        const text = changeReachText(
          file,
          before,
          { ...plan, serverName },
          { ...surroundings(config), keepsListeners, keepsCertificate: namesCertificate(config, plan, dataDir) },
        );
        if (text === before) return false;
        // What is wrong with the files is told before anything has changed.
        const trial = `${file}.setup`;
        try {
          replaceConfig(trial, text, load);
        } finally {
          rmSync(trial, { force: true });
        }
        checkCertificate({ ...plan, serverName }, { dataDir, now: clock.now() });
        replaceConfig(file, text, load);
        return true;
      } catch (error) {
        if (error instanceof ConfigError) throw toRefusal(error, plan, file);
        throw error;
      }
    },
  };
}

function change({
  file,
  before,
  text,
  config,
  serverName,
  random,
  ...load
}: LoadOptions & {
  readonly dataDir: string;
  readonly file: string;
  readonly before: string;
  readonly text: string;
  readonly config: Config | undefined;
  readonly serverName: string;
  readonly random: Random;
}): PreparedSetup {
  const keyFile = join(load.dataDir, signingKeyFileName(serverName));
  const isRenamed = config !== undefined && config.serverName !== serverName;
  const database = config?.databasePath;
  const aside = database === undefined ? undefined : freeName(`${database}.unused`);
  return {
    isChange: text !== before,
    apply: () => {
      if (!existsSync(keyFile) && isRenamed) makeSigningKeyFile(keyFile, random);
      // The database goes before the configuration changes: one without a database makes a new one of its name, while a
      // database of another name would keep the server from starting.
      if (isRenamed && database !== undefined && aside !== undefined) moveDatabase(database, aside);
      replaceConfig(file, text, load);
    },
    undo: () => {
      if (isRenamed && database !== undefined && aside !== undefined && existsSync(aside)) {
        for (const suffix of SUFFIXES) rmSync(`${database}${suffix}`, { force: true });
        replaceConfig(file, before, load);
        moveDatabase(aside, database);
      } else replaceConfig(file, before, load);
    },
  };
}

/** What belongs to a database: the file itself comes last, so that it never stands without what is to be written into it. */
const SUFFIXES = ['-shm', '-wal', ''] as const;

function moveDatabase(from: string, to: string): void {
  for (const suffix of SUFFIXES) {
    if (existsSync(`${from}${suffix}`)) renameSync(`${from}${suffix}`, `${to}${suffix}`);
  }
}

function freeName(path: string): string {
  for (let number = 1; ; number += 1) {
    const name = number === 1 ? path : `${path}-${number}`;
    if (!existsSync(name)) return name;
  }
}

function tryLoad(load: LoadOptions): Config | undefined {
  try {
    return loadConfig(load).config;
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}

function surroundings(config: Config | undefined): { readonly clientPort: number; readonly hasIpv6: boolean } {
  return {
    clientPort: config === undefined ? DEFAULT_CLIENT_PORT : clientPortOf(config),
    hasIpv6: Object.values(networkInterfaces()).some((each) => each?.some(({ family }) => family === 'IPv6')),
  };
}

/** Whether these are the files that are named already, if in other words. */
function namesCertificate(
  { tls }: Config,
  { certificatePath, privateKeyPath }: Omit<SetupPlan, 'serverName'>,
  dataDir: string,
): boolean {
  if (tls === undefined || certificatePath === undefined || privateKeyPath === undefined) return false;
  return (
    resolve(dataDir, certificatePath) === resolve(dataDir, tls.certificatePath) &&
    resolve(dataDir, privateKeyPath) === resolve(dataDir, tls.privateKeyPath)
  );
}

function clientPortOf({ listeners }: Config): number {
  const clients = listeners.filter(({ resources, port }) => resources.includes('client') && port !== undefined);
  return (clients.find(({ tls }) => !tls) ?? clients[0])?.port ?? DEFAULT_CLIENT_PORT;
}

const FIELDS: Readonly<Record<string, keyof SetupPlan>> = {
  server_name: 'serverName',
  public_baseurl: 'publicUrl',
  tls_certificate_path: 'certificatePath',
  tls_private_key_path: 'privateKeyPath',
};

function toRefusal(error: ConfigError, plan: Partial<SetupPlan>, file: string): MatrixError {
  for (const { option, message } of error.problems) {
    const field = FIELDS[option];
    if (field !== undefined && plan[field] !== undefined) {
      return new MatrixError('M_INVALID_PARAM', message, { fields: { field } });
    }
  }
  const sentences = error.message.replaceAll(file, CONFIG_FILE);
  return new MatrixError('M_INVALID_PARAM', `The configuration could not be used then: ${sentences}`);
}
