import { X509Certificate } from 'node:crypto';
import { readFile, readdir, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';

/** Bytes that can still be written where `path` is; undefined where that cannot be found out. */
export async function freeBytesAt(path: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  } catch (error) {
    if (isFileError(error)) return undefined;
    throw error;
  }
}

/** Bytes of a database with what has not been written into it yet. */
export async function databaseBytes(file: string): Promise<number> {
  const sizes = await Promise.all([file, `${file}-wal`].map(sizeOf));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Bytes of the files in a directory that count, without those of directories below; 0 where there is none. */
export async function directoryBytes(directory: string, counts: (name: string) => boolean): Promise<number> {
  let names: readonly string[];
  try {
    names = await readdir(directory);
  } catch (error) {
    if (isFileError(error)) return 0;
    throw error;
  }
  let sum = 0;
  for (const name of names) if (counts(name)) sum += await sizeOf(join(directory, name));
  return sum;
}

async function sizeOf(path: string): Promise<number> {
  try {
    const found = await stat(path);
    return found.isFile() ? found.size : 0;
  } catch (error) {
    if (isFileError(error)) return 0;
    throw error;
  }
}

export interface Certificate {
  readonly subject: string;
  /** Ms since the epoch. */
  readonly expiresAt: number;
  readonly issuedAt?: number;
}

/** The first certificate of a PEM file; a sentence where there is none that can be read. */
export async function readCertificate(file: string): Promise<Certificate | { readonly problem: string }> {
  let pem: Buffer;
  try {
    pem = await readFile(file);
  } catch (error) {
    if (isFileError(error)) return { problem: `The certificate ${file} cannot be read (${String(error.code)}).` };
    throw error;
  }
  try {
    const certificate = new X509Certificate(pem);
    const [, name] = /(?:^|\n)CN=([^\n]+)/.exec(certificate.subject) ?? [];
    const [, alternative] = /DNS:([^,\s]+)/.exec(certificate.subjectAltName ?? '') ?? [];
    return {
      subject: alternative ?? name ?? certificate.subject,
      issuedAt: Date.parse(certificate.validFrom),
      expiresAt: Date.parse(certificate.validTo),
    };
  } catch {
    // OpenSSL's words about it help nobody.
    return { problem: `The file ${file} holds no certificate in PEM format.` };
  }
}

function isFileError(error: unknown): error is Error & { readonly code: unknown } {
  return error instanceof Error && 'code' in error;
}
