import { call, type ControlCall } from '../control/call.ts';
import type { Jobs } from './jobs.ts';

export function jobCalls(jobs: Pick<Jobs, 'list' | 'cancel'>): ControlCall[] {
  return [
    call('GET /jobs', { handle: () => ({ jobs: jobs.list() }) }),
    call('POST /jobs/{jobId}/cancel', {
      handle: ({ params: { jobId } }) => {
        jobs.cancel(jobId);
        return {};
      },
    }),
  ];
}
