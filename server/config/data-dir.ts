import { existsSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { systemRandom, type Random } from '../util/random.ts';
import { signingKeyFileName } from './build.ts';
import { CONFIG_FILE } from './config.ts';
import { generateConfig, type ConfigWishes } from './generate.ts';
import { makeSigningKeyFile } from './signing-key.ts';
import { writeNewFile } from './new-file.ts';

interface Surroundings {
  readonly platform: NodeJS.Platform;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
}

/** Where a user's data lies on this system, if nobody says otherwise. */
export function defaultDataDir(
  { platform, env, home }: Surroundings = { platform: process.platform, env: process.env, home: homedir() },
): string {
  switch (platform) {
    case 'darwin':
      return join(home, 'Library', 'Application Support', 'Hearth');
    case 'win32':
      return join(env['LOCALAPPDATA'] || join(home, 'AppData', 'Local'), 'Hearth');
    default: {
      // XDG base directories: a relative path is to be ignored.
      const xdg = env['XDG_DATA_HOME'] ?? '';
      return join(isAbsolute(xdg) ? xdg : join(home, '.local', 'share'), 'hearth');
    }
  }
}

/** Whether a data directory has a configuration. */
export function hasConfig(dataDir: string): boolean {
  return existsSync(join(dataDir, CONFIG_FILE));
}

/**
 * Makes a data directory (mode 0700) with a configuration and a signing key (0600), and returns their paths. Throws the
 * file system's error, EEXIST if there is a configuration already. A key that is there stays.
 */
export function makeDataDir(
  dataDir: string,
  wishes: ConfigWishes,
  random: Random = systemRandom,
): { readonly configFile: string; readonly keyFile: string } {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const configFile = join(dataDir, CONFIG_FILE);
  const keyFile = join(dataDir, signingKeyFileName(wishes.serverName));
  // The key first: a directory with a configuration counts as complete.
  if (!existsSync(keyFile)) makeSigningKeyFile(keyFile, random);
  writeNewFile(configFile, generateConfig(wishes, random));
  return { configFile, keyFile };
}
