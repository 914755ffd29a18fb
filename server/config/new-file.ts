import { closeSync, existsSync, fsyncSync, linkSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';

/** What file systems without hard links answer. */
const WITHOUT_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EINVAL', 'EMLINK', 'EISDIR']);

/**
 * Writes a file (mode 0600) that must not be there yet. Whatever happens meanwhile, there is the whole file or none: one that
 * was begun would be taken for the real one at the next start. Throws the file system's error, EEXIST where there is one.
 */
export function writeNewFile(path: string, text: string): void {
  const draft = `${path}.${process.pid}.new`;
  try {
    // One that was left behind by a program of the same number.
    rmSync(draft, { force: true });
    const handle = openSync(draft, 'wx', 0o600);
    try {
      writeFileSync(handle, text);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    // Unlike renaming, this never takes the place of a file that is there.
    linkSync(draft, path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (!WITHOUT_LINKS.has(code) || !existsSync(draft) || existsSync(path)) throw error;
    renameSync(draft, path);
  } finally {
    rmSync(draft, { force: true });
  }
}
