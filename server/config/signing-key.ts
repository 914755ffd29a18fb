import { mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  formatSigningKeyFile,
  generateSigningKey,
  parseSigningKeyFile,
  SEED_BYTES,
  type SigningKey,
} from '../matrix/signing.ts';
import type { Random } from '../util/random.ts';
import { ConfigError } from './problems.ts';
import { fileError } from './source.ts';
import type { Config } from './types.ts';
import { writeNewFile } from './new-file.ts';

/**
 * The keys this server has; the first is the one to sign with. The key's file is made (mode 0600) if there is none.
 * Throws ConfigError if it cannot be made, read or understood.
 */
export function loadSigningKeys(signing: Config['signing'], random: Random): readonly [SigningKey, ...SigningKey[]] {
  const { keyPath, inlineKey } = signing;
  if (inlineKey !== undefined) return parse(inlineKey, 'signing_key');
  const text = readKeyFile(keyPath);
  if (text !== undefined) return parse(text, keyPath);
  try {
    mkdirSync(dirname(keyPath), { recursive: true, mode: 0o700 });
    return [makeSigningKeyFile(keyPath, random)];
  } catch (error) {
    throw keyError(keyPath, `the signing key cannot be made: ${fileError(error)}`);
  }
}

/**
 * The keys to sign other servers' keys with; undefined: those the server signs with. Throws ConfigError where the file that is
 * named for them cannot be read or understood.
 */
export function loadNotaryKeys({ notaryKeyPath }: Config['signing']): readonly SigningKey[] | undefined {
  if (notaryKeyPath === undefined) return undefined;
  const text = readKeyFile(notaryKeyPath);
  if (text === undefined) throw keyError(notaryKeyPath, 'the key server’s signing keys are not there');
  return parse(text, notaryKeyPath);
}

/** Checks a signing key as far as it is there already. Throws ConfigError if it is of no use. */
export function checkSigningKeys(signing: Config['signing']): void {
  const { keyPath, inlineKey } = signing;
  loadNotaryKeys(signing);
  const text = inlineKey ?? readKeyFile(keyPath);
  if (text !== undefined) parse(text, inlineKey === undefined ? keyPath : 'signing_key');
}

/** Makes a new key and writes it to a file that must not be there yet. Throws the file system's error. */
export function makeSigningKeyFile(path: string, random: Random): SigningKey {
  const key = generateSigningKey(random.bytes(SEED_BYTES));
  // An existing key is never written over. Without it other servers would take this one for an impostor.
  writeNewFile(path, formatSigningKeyFile(key));
  return key;
}

function readKeyFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw keyError(path, `the signing key cannot be read: ${fileError(error)}`);
  }
}

function parse(text: string, name: string): readonly [SigningKey, ...SigningKey[]] {
  try {
    return parseSigningKeyFile(text);
  } catch (error) {
    throw keyError(name, error instanceof Error ? error.message : String(error));
  }
}

function keyError(file: string, message: string): ConfigError {
  return new ConfigError([{ file, line: undefined, column: undefined, option: '', message }]);
}
