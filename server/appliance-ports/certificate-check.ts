import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { SetupPlan } from '../appliance/setup/port.ts';
import { MatrixError } from '../matrix/errors.ts';

/**
 * Whether apps and other servers will take the certificate of a plan: that of its name or address, with its key, not expired.
 * Throws a MatrixError with the `field` at fault.
 */
export function checkCertificate(
  { serverName, publicUrl, certificatePath, privateKeyPath }: SetupPlan,
  { dataDir, now }: { readonly dataDir: string; readonly now: number },
): void {
  if (certificatePath === undefined || privateKeyPath === undefined) return;
  const certificate = readAs(
    'certificatePath',
    resolve(dataDir, certificatePath),
    (content) => new X509Certificate(content),
    'This file holds no certificate in PEM format',
  );
  const key: KeyObject = readAs(
    'privateKeyPath',
    resolve(dataDir, privateKeyPath),
    (content) => createPrivateKey(content),
    'This file holds no private key in PEM format that can be used without a password',
  );
  if (!certificate.checkPrivateKey(key)) throw refusal('privateKeyPath', 'This is not the key of that certificate');
  if (certificate.validToDate.getTime() <= now) {
    throw refusal('certificatePath', `This certificate expired on ${certificate.validTo}; get a new one first`);
  }
  const host = publicUrl === undefined ? undefined : URL.parse(publicUrl)?.hostname;
  const wanted = [...new Set([serverName, ...(host === undefined ? [] : [host])])];
  if (wanted.some((name) => certificate.checkHost(name) !== undefined)) return;
  const named = (certificate.subjectAltName ?? certificate.subject).replaceAll('DNS:', '');
  throw refusal(
    'certificatePath',
    `This certificate is for ${named.slice(0, 200)}, and not for ${wanted.join(' or ')}`,
  );
}

function readAs<T>(field: string, path: string, read: (content: Buffer) => T, otherwise: string): T {
  const content = readFileSync(path);
  try {
    return read(content);
  } catch {
    throw refusal(field, otherwise);
  }
}

function refusal(field: string, message: string): MatrixError {
  return new MatrixError('M_INVALID_PARAM', message, { fields: { field } });
}
