import type { Job } from '../../server/appliance/contract.ts';

/** What a part of the page tells of a job it watches: how it ends in any case, or only that it has failed. */
export type Tells = 'every-end' | 'failures';

/** Which jobs are watched where they were begun, so that nothing is told of them a second time elsewhere. */
export class WatchedJobs {
  readonly #watches = new Map<string, Set<{ readonly tells: Tells }>>();

  /** Ends by the returned function. */
  watch(jobId: string, tells: Tells): () => void {
    const watches = this.#watches.get(jobId) ?? new Set();
    const watch = { tells };
    this.#watches.set(jobId, watches.add(watch));
    return () => {
      watches.delete(watch);
      if (watches.size === 0) this.#watches.delete(jobId);
    };
  }

  /** Whether somebody who looks on is told in place how this one has ended. */
  tellsOf({ id, state }: Pick<Job, 'id' | 'state'>): boolean {
    const watches = [...(this.#watches.get(id) ?? [])];
    return watches.some(({ tells }) => tells === 'every-end' || state !== 'done');
  }
}
