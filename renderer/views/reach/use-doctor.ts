import type { DoctorReport, Job } from '../../../server/appliance/contract.ts';
import type { Failure } from '../../api/api.ts';
import { type Read, useAct, useCall, useJob, useJobs, useWatch } from '../../api/calls.ts';

export interface DoctorDesk {
  /** `last`: the last look at this server. `latest`: the look at any server that is under way or was last. */
  readonly read: Read<{ last?: DoctorReport; latest?: DoctorReport }>;
  /** The one that looks just now, whoever sent it. */
  readonly running: Job | undefined;
  readonly isStarting: boolean;
  /** Why none could be sent, or the last one came to nothing. */
  readonly failure: Failure | undefined;
  readonly failedJob: Job | undefined;
  /** Looks at a server; without a name, at this one. */
  readonly check: (serverName?: string) => Promise<unknown>;
}

/** The doctor: what it found last, and the means to send it. */
export function useDoctor(): DoctorDesk {
  const read = useCall('GET /doctor');
  const start = useAct('POST /doctor');
  const jobs = useJobs();
  const started = useJob(start.answer?.jobId);
  useWatch(start.answer?.jobId, 'every-end');
  return {
    read,
    running:
      started?.state === 'running' ? started : jobs.find(({ kind, state }) => kind === 'doctor' && state === 'running'),
    isStarting: start.isRunning,
    failure: start.failure,
    failedJob: started?.state === 'failed' ? started : undefined,
    check: (serverName) => start.run({ body: serverName === undefined ? {} : { serverName } }),
  };
}
