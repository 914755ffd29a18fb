import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileError, type Source } from './source.ts';
import { writeNewFile } from './new-file.ts';

/** Options that may also be given as `<name>_path`, the path of a file with the value. */
export type SecretName =
  | 'registration_shared_secret'
  | 'macaroon_secret_key'
  | 'form_secret'
  | 'turn_shared_secret'
  | 'recaptcha_public_key'
  | 'recaptcha_private_key';

/**
 * The value of an option that may stand in a file of its own. Both at once are refused, and so is a file that is empty or
 * cannot be read.
 */
export function findSecret(source: Source, name: SecretName): string | undefined {
  const path = source.values[`${name}_path`];
  if (path === undefined) return source.values[name];
  if (source.values[name] !== undefined) {
    source.refuse([`${name}_path`, name], `only one of ${name} and ${name}_path can be given`);
    return undefined;
  }
  try {
    const secret = readFileSync(path, 'utf8').trim();
    if (secret !== '') return secret;
    source.refuse([`${name}_path`], `${path} is empty`);
  } catch (error) {
    source.refuse([`${name}_path`], `${path} cannot be read: ${fileError(error)}`);
  }
  return undefined;
}

/** The shared secret for registration. Its file is made, with a new secret, if it is not there and `make` is true. */
export function findRegistrationSecret(source: Source, make: boolean): string | undefined {
  const path = source.values.registration_shared_secret_path;
  if (path === undefined || source.values.registration_shared_secret !== undefined || exists(path)) {
    return findSecret(source, 'registration_shared_secret');
  }
  if (!make) return undefined;
  const secret = randomBytes(32).toString('hex');
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeNewFile(path, `${secret}\n`);
    return secret;
  } catch (error) {
    source.refuse(['registration_shared_secret_path'], `${path} cannot be made: ${fileError(error)}`);
    return undefined;
  }
}

function exists(path: string): boolean {
  try {
    readFileSync(path);
    return true;
  } catch (error) {
    // Whatever else is wrong with it comes out when it is read.
    return !(error instanceof Error && 'code' in error && error.code === 'ENOENT');
  }
}

/** Refuses a file that cannot be read. */
export function checkReadable(
  source: Source,
  name: 'tls_certificate_path' | 'tls_private_key_path' | 'federation_custom_ca_list',
  path: string,
): void {
  try {
    readFileSync(path);
  } catch (error) {
    source.refuse([name], `${path} cannot be read: ${fileError(error)}`);
  }
}
