import { MatrixError } from '../../matrix/errors.ts';

/** Why a backup cannot be made or used, in words for the person who asked for it; `field` is what they gave wrong. */
export function refusal(
  message: string,
  { field, status = 400 }: { field?: string; status?: number } = {},
): MatrixError {
  return new MatrixError('M_UNKNOWN', message, { status, ...(field === undefined ? {} : { fields: { field } }) });
}

/** What a failure of the file system means here; others pass as they are. */
export function explainDisk(error: unknown, doing: string): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error;
  const why = DISK[String(error.code)];
  return why === undefined ? error : new MatrixError('M_UNKNOWN', `${doing}: ${why}`, { status: 507 });
}

const DISK: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk is full for this user',
  EFBIG: 'the disk takes no file of this size',
  EROFS: 'the disk can only be read',
  EACCES: 'the system does not allow it',
  EPERM: 'the system does not allow it',
  ENOENT: 'there is no such file or folder',
  ENOTDIR: 'there is no such folder',
  EISDIR: 'it is a folder',
  EIO: 'the disk reports an error',
  ENXIO: 'the disk is not there any more',
  ENODEV: 'the disk is not there any more',
  ENOMEDIUM: 'the disk is not there any more',
  EBUSY: 'another program is using it',
  EMFILE: 'too many files are open',
  ENAMETOOLONG: 'its name is too long',
  ESTALE: 'the network folder is not connected any more',
  ENOTCONN: 'the network folder is not connected any more',
  EHOSTDOWN: 'the machine that has the folder does not answer',
  EHOSTUNREACH: 'the machine that has the folder does not answer',
  ENETUNREACH: 'the machine that has the folder does not answer',
  ETIMEDOUT: 'the machine that has the folder does not answer',
  UNKNOWN: 'the system says that it cannot be done',
};
