import type { Job } from '../../server/appliance/contract.ts';

/** What was read of jobs and what was told since, the latest first. One that is over is not running again. */
export function joinJobs(read: readonly Job[], told: ReadonlyMap<string, Job>): readonly Job[] {
  const known = new Set(read.map(({ id }) => id));
  const fresh = [...told.values()].filter(({ id }) => !known.has(id)).reverse();
  const joined = read.map((job) => (job.state === 'running' ? (told.get(job.id) ?? job) : job));
  return [...fresh, ...joined];
}
