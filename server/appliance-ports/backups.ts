import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BackupSource, SourceFile } from '../appliance/backups/port.ts';
import { refusal } from '../appliance/backups/refusal.ts';
import type { Adopt } from '../appliance/backups/restore.ts';
import { readVersion } from '../cli/version.ts';
import { signingKeyFileName } from '../config/build.ts';
import { CONFIG_FILE, type Config, loadConfig } from '../config/config.ts';
import { checkSigningKeys } from '../config/signing-key.ts';
import { parseSigningKeyFile } from '../matrix/signing.ts';
import { listKeptFiles, placeOf, sumKeptBytes } from '../modules/content-repository/index.ts';
import { type CopyOptions, DATABASE_SUFFIXES, openReader } from '../storage/copy.ts';
import type { OpenDatabase } from '../storage/database.ts';
import { StorageError } from '../storage/storage-error.ts';
import { type Logger, silentLogger } from '../util/log.ts';
import { workOnCopy } from './copy-work.ts';
import { keepPlaces, makePortable } from './portable-config.ts';

interface Data {
  readonly prepareRead: OpenDatabase['prepareRead'];
  copyTo(path: string, options?: CopyOptions): Promise<void>;
}

/** What a backup is made of while the homeserver runs. */
export function backupsPort({ config, db }: { readonly config: Config; readonly db: OpenDatabase }): BackupSource {
  return sourceOf(config, db);
}

/**
 * The same of a data directory, or of what configuration files say, beside whatever runs on it: in this process nothing may.
 * Throws ConfigError and StorageError. `close` it in the end.
 */
export function openBackupSource(
  from: string | { readonly configPath: readonly string[] },
): BackupSource & { readonly dataDir: string; close(): void } {
  const { config } = loadConfig(typeof from === 'string' ? { dataDir: from } : from);
  if (config.databasePath === ':memory:') throw refusal('The database is in memory only: there is nothing to keep');
  const reader = openReader(config.databasePath);
  return { ...sourceOf(config, reader), dataDir: config.dataDir, close: () => reader.close() };
}

function sourceOf(config: Config, data: Data): BackupSource {
  const { serverName, databasePath, signing } = config;
  const keyFile = signingKeyFileName(serverName);
  return {
    serverName,
    version: readVersion(),
    measure: () => ({
      databaseBytes: sizeAt(databasePath) + sizeAt(`${databasePath}-wal`),
      mediaBytes: sumKeptBytes(data),
    }),
    copyDatabase: async (path, options) => {
      await data.copyTo(path, options);
      // A copy of damage would be refused when it is needed, and would have pushed out those that are not.
      await refuseDamage(workOnCopy({ kind: 'check', path }, { log: silentLogger, signal: options.signal }));
    },
    openMedia: (copy) => {
      const reader = openReader(copy);
      return {
        list: function* () {
          for (const file of listKeptFiles(reader)) {
            const place = placeOf(file);
            const name = ['media', ...place.split(/[\\/]/)].join('/');
            yield { ...file, name, path: join(config.media.storePath, place) };
          }
        },
        close: () => reader.close(),
      };
    },
    listFiles: () => {
      const texts = config.files.map((path) => ({ path, text: readFileSync(path, 'utf8') }));
      const portable = makePortable(texts, { dataDir: config.dataDir, serverName, keyFile });
      const key: SourceFile[] = signing.inlineKey === undefined ? [{ name: keyFile, path: signing.keyPath }] : [];
      return [{ name: CONFIG_FILE, content: Buffer.from(portable.text) }, ...key, ...portable.files];
    },
    signingKey: () => {
      const text = (signing.inlineKey ?? readFileSync(signing.keyPath, 'utf8')).trim();
      const [{ keyId }] = parseSigningKeyFile(text);
      return { keyId, line: text, file: keyFile };
    },
  };
}

/** Where the same server is here already. */
function keepPlacesOf(
  dataDir: string,
  directory: string,
  { serverName, hasMedia }: { readonly serverName: string; readonly hasMedia: boolean },
): void {
  let present: Config;
  try {
    present = loadConfig({ dataDir }).config;
  } catch (error) {
    if (error instanceof Error && error.name === 'ConfigError') return;
    throw error;
  }
  if (present.serverName !== serverName) return;
  const file = join(directory, CONFIG_FILE);
  writeFileSync(file, keepPlaces(readFileSync(file, 'utf8'), { present, dataDir, hasMedia }), { flush: true });
}

async function refuseDamage(check: Promise<void>): Promise<void> {
  try {
    await check;
  } catch (error) {
    if (!(error instanceof StorageError) || error.kind !== 'corrupt') throw error;
    throw refusal(
      `The database of this server is damaged, so it was not backed up, and older backups were left alone. ` +
        `Restore the newest of them. (${error.message})`,
      { status: 500 },
    );
  }
}

function sizeAt(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** Checks what was unpacked of a backup as a start would, and makes its database fit to go on from. */
export function createAdopt({ log, now }: { readonly log: Logger; readonly now: () => number }): Adopt {
  return async (directory, { dataDir, serverName, madeAt, hasMedia, signal }) => {
    const path = join(directory, 'homeserver.db');
    try {
      const { config } = loadConfig({ dataDir: directory });
      if (config.serverName !== serverName || config.databasePath !== path) {
        throw refusal('The configuration in the backup does not fit the rest of it');
      }
      checkSigningKeys(config.signing);
      if (config.signing.inlineKey === undefined && sizeAt(config.signing.keyPath) === 0) {
        throw refusal('The backup has no signing key');
      }
      keepPlacesOf(dataDir, directory, { serverName, hasMedia });
      const order = { kind: 'adopt', path, owner: serverName, copiedAt: madeAt, now: now() } as const;
      await workOnCopy(order, { log, signal });
    } catch (error) {
      if (!(error instanceof Error) || !['ConfigError', 'StorageError'].includes(error.name)) throw error;
      // What is wrong is the backup's, and the folder it was unpacked to is of no use to anybody.
      const why = error.message.replaceAll(join(directory, '/'), '').replace('; restore it from a backup', '');
      throw refusal(`The backup cannot be used: ${why}`);
    } finally {
      for (const suffix of DATABASE_SUFFIXES) if (suffix !== '') rmSync(`${path}${suffix}`, { force: true });
    }
  };
}
