/** What the schema of the database is made of, step by step, in a form that can be kept and compared. */
import { createHash } from 'node:crypto';
import type { MigrationSet } from '../../server/storage/types.ts';

/** Owner → SHA-256 (hex) of each of its steps, the first one first. */
export type StepList = Readonly<Record<string, readonly string[]>>;

/** Lists the steps of `sets`, owners in alphabetical order. White space does not count. */
export function listSteps(sets: readonly MigrationSet[]): StepList {
  const lists = sets.map(({ owner, migrations }): [string, string[]] => [
    owner,
    migrations.map(({ sql }) => createHash('sha256').update(sql.replace(/\s+/g, ' ').trim()).digest('hex')),
  ]);
  return Object.fromEntries(lists.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** How `present` departs from what was `released`, a sentence each: databases out there hold the released steps. */
export function findDepartures(released: StepList, present: StepList): string[] {
  const owners = [...new Set([...Object.keys(released), ...Object.keys(present)])];
  return owners.flatMap((owner) => {
    const before = released[owner] ?? [];
    const now = present[owner] ?? [];
    return Array.from({ length: Math.max(before.length, now.length) }, (_, index) => {
      const step = `step ${index + 1} of "${owner}"`;
      if (index >= now.length) return `${step} is gone`;
      if (index >= before.length) return `${step} is new and not listed yet`;
      return before[index] === now[index] ? undefined : `${step} was changed`;
    }).filter((departure) => departure !== undefined);
  });
}
