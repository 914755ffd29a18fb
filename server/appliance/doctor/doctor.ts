import { isServerName } from '../../matrix/identifiers.ts';
import type { Announcer } from '../announcer.ts';
import type { DoctorReport, Job } from '../contract.ts';
import type { JobReport, Jobs } from '../jobs/jobs.ts';
import { examine } from './examine.ts';
import type { OwnServer } from './port.ts';
import type { ReportFile } from './report-file.ts';
import type { World } from './world.ts';

export interface DoctorParts {
  readonly world: World;
  readonly jobs: Pick<Jobs, 'start'>;
  readonly announcer: Pick<Announcer, 'moved'>;
  /** Our own server as it is configured now. Throws a MatrixError. */
  readonly own: () => OwnServer;
  /** Where the last report of our own server is kept. */
  readonly reports: ReportFile;
}

/** Looks at servers, and remembers how our own was. */
export class Doctor {
  readonly #parts: DoctorParts;

  constructor(parts: DoctorParts) {
    this.#parts = parts;
  }

  /** The last report of our own server under the name it has; undefined if there is none. */
  last(serverName: string): DoctorReport | undefined {
    const last = this.#parts.reports.find();
    return last?.serverName === serverName ? last : undefined;
  }

  /** Begins to look at `serverName`, or our own server. Throws a MatrixError, M_UNKNOWN (409) while another look is under way. */
  start(serverName?: string): Job {
    const { jobs } = this.#parts;
    const own = this.#parts.own();
    const name = (serverName ?? own.serverName).trim();
    return jobs.start({
      kind: 'doctor',
      title: `Check whether ${isServerName(name) ? name : 'a server'} can be reached`,
      canCancel: true,
      excludes: 'doctor',
      run: (report) => this.#look(name, own, report),
    });
  }

  async #look(name: string, own: OwnServer, job: JobReport): Promise<DoctorReport> {
    const { world, announcer, reports } = this.#parts;
    const report = await examine(name, {
      world,
      own,
      signal: job.signal,
      progress: (done, step) => job.progress(done, step),
    });
    if (name === own.serverName) {
      reports.put(report);
      announcer.moved('doctor');
    }
    return report;
  }
}
