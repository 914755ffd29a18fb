/** What a file in a backup is called: its path in the data directory, with slashes. */

const MAX_NAME = 1_000;
const MAX_SEGMENT = 200;
/** File systems take 255 bytes; a date and what tells unfinished files apart go beside it. */
const MAX_OF_SERVER = 120;

/** Names that Windows takes for devices, whatever follows their first dot. */
const DEVICES = /^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)/i;
/** Separators and streams of other systems, wildcards, and what no name should hold. */
const ODD = /[\\:*?"<>|\p{Cc}]/u;

/** What stays in the data directory whatever is restored: it belongs to the machine, or to this work. */
const RESERVED = new Set([
  'backups',
  'backups.json',
  'backup-work',
  'restore',
  'logs',
  'control.json',
  'homeserver.pid',
]);

/** Whether a path stays in the directory it is unpacked into, on every system, and takes no place it must not take. */
export function isSafeName(name: string): boolean {
  if (name.length > MAX_NAME) return false;
  const segments = name.split('/');
  const isSafe = segments.every(
    (segment) =>
      segment !== '' &&
      segment.length <= MAX_SEGMENT &&
      // `.`, `..`, and what Windows would cut to another name.
      !/[. ]$/.test(segment) &&
      !DEVICES.test(segment) &&
      !ODD.test(segment),
  );
  const top = (segments[0] ?? '').toLowerCase();
  return (
    isSafe &&
    !top.startsWith('.') &&
    !RESERVED.has(top) &&
    !top.endsWith('.before-restore') &&
    !/^homeserver\.db[-.]/.test(top)
  );
}

/** What may stand in a file name, of a server name. */
export function fileNameOf(serverName: string): string {
  return serverName.replaceAll(/[^A-Za-z0-9.-]/g, '_').slice(0, MAX_OF_SERVER);
}
