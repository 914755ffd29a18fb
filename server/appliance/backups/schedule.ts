import type { BackupSchedule } from '../contract.ts';

/** What the plan of backups says of time. */
export type Rhythm = Pick<BackupSchedule, 'every' | 'atHour'>;

/**
 * When the next backup falls due after `after` (ms since the epoch): at that hour of this machine's local time, on the next day,
 * or a week later. An hour that the clocks skip counts as the one after it; of one that comes twice, the first.
 */
export function nextAfter({ every, atHour }: Rhythm, after: number): number | undefined {
  if (every === 'never') return undefined;
  const from = new Date(after);
  const at = (days: number): number =>
    new Date(from.getFullYear(), from.getMonth(), from.getDate() + days, atHour).getTime();
  if (every === 'week') return at(7);
  return at(0) > after ? at(0) : at(1);
}

/**
 * The first one of a plan that was just made: today or tomorrow, also of a weekly one.
 */
export function firstAfter({ every, atHour }: Rhythm, after: number): number | undefined {
  return every === 'never' ? undefined : nextAfter({ every: 'day', atHour }, after);
}
